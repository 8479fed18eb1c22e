//! A quota as it runs, and who has used what of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use transom_settings::json::{Value as Json, json};

use super::by::By;
use super::calendar::{Calendar, Quota};
use super::ledger::{Ledger, key_of};
use super::shared::Shared;
use super::told::Shown;
use crate::consumer::Consumer;
use crate::moment::Moment;

/// The quotas of one policy, and what was used of them.
pub struct Meter {
    /// What clients and operators may be told that the policy is called.
    pub title: String,
    pub calendar: Calendar,
    pub ledger: Arc<Ledger>,
    /// For how many keys that is, once this runs.
    pub keys: usize,
    /// For who has no plan, or one without a quota.
    pub ordinary: Terms,
    /// By the name of the plan, for each consumer.
    pub plans: HashMap<String, Terms>,
}

/// Quotas that hold together. The lists have one entry for each.
pub struct Terms {
    pub by: By,
    pub quotas: Vec<Quota>,
    pub shown: Vec<Shown>,
    /// In place of the ledger; empty where no other process has a part in it.
    pub shared: Vec<Arc<Shared>>,
}

/// What one consumer has used of one quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    pub policy: String,
    pub quota: Quota,
    /// Not there where other processes count too, and nothing was heard of them.
    pub used: Option<u64>,
    /// When it begins anew, in seconds since 1970.
    pub resets: i64,
}

impl Usage {
    /// As operators and consumers read it.
    pub fn to_json(&self) -> Json {
        json!({
            "policy": self.policy,
            "quota": self.quota.to_string(),
            "used": self.used,
            "left": self.used.map(|used| self.quota.count.saturating_sub(used)),
            "resets": Moment::of_second(self.resets).map(|moment| moment.to_string()),
        })
    }
}

/// The quotas of all policies of a file, as they are built one after the other.
#[derive(Default)]
pub struct Meters(Mutex<Vec<Arc<Meter>>>);

impl Meters {
    pub fn add(&self, meter: Arc<Meter>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(meter);
    }

    /// They run from now on, in the place of earlier ones with which they share what was used.
    pub fn take_over(&self) {
        self.all().iter().for_each(|meter| meter.ledger.allow(meter.keys));
    }

    /// Whether the quotas of plans are counted by any of them.
    pub fn count_plans(&self) -> bool {
        self.all().iter().any(|meter| !meter.plans.is_empty())
    }

    /// What a consumer has used of each that holds for it.
    pub fn usage(&self, consumer: &Consumer, now: i64) -> Vec<Usage> {
        self.all().iter().flat_map(|meter| meter.usage(consumer, now)).collect()
    }

    fn all(&self) -> Vec<Arc<Meter>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Meter {
    /// What holds for who is on this plan.
    pub fn terms(&self, plan: Option<&str>) -> &Terms {
        // who has none is not looked up
        plan.and_then(|plan| self.plans.get(plan)).unwrap_or(&self.ordinary)
    }

    /// What a consumer has used, where it is counted for each.
    pub fn usage(&self, consumer: &Consumer, now: i64) -> Vec<Usage> {
        let terms = self.terms(consumer.plan.as_deref());
        if terms.by != By::Consumer {
            return Vec::new();
        }
        let key: Vec<u8> = By::consumer(&consumer.name).collect();
        let usage = terms.quotas.iter().enumerate().map(|(at, quota)| {
            let mut used = self.ledger.used(key_of(&key), quota.per, &self.calendar, now);
            let shared = terms.shared.get(at).map(|shared| shared.left(&key));
            if let Some(Some(left)) = shared {
                used.used = quota.count.saturating_sub(left);
            }
            Usage {
                policy: self.title.clone(),
                quota: *quota,
                used: (shared != Some(None)).then_some(used.used),
                resets: used.until,
            }
        });
        usage.collect()
    }
}
