//! What is to be shown of a scaler.

use std::sync::atomic::Ordering;
use std::time::SystemTime;

use super::servers::Phase;
use super::{Scaler, locked};
use crate::scale::Driver;

/// See the module.
#[derive(Clone, Debug)]
pub struct ScaleView {
    pub min: usize,
    pub max: usize,
    pub target: f64,
    /// That accept requests, and that will soon.
    pub ready: usize,
    pub starting: usize,
    /// On their way out.
    pub leaving: usize,
    pub wanted: usize,
    /// Requests that are held.
    pub waiting: usize,
    /// The last decisions with their reasons, latest first.
    pub decisions: Vec<(SystemTime, String)>,
}

impl Scaler {
    pub fn view(&self) -> ScaleView {
        let (min, max, target) = {
            let plan = locked(&self.plan);
            (plan.rules.min, plan.rules.max, plan.rules.target)
        };
        let count = |fits: fn(Phase) -> bool| {
            locked(&self.servers).iter().filter(|one| fits(one.phase())).count()
        };
        let shown = locked(&self.shown);
        ScaleView {
            min,
            max,
            target,
            ready: match self.driver {
                Driver::Own(_) => count(|phase| phase == Phase::Ready),
                Driver::Asked(_) => self.members(),
            },
            starting: count(|phase| phase == Phase::Starting),
            leaving: count(|phase| matches!(phase, Phase::Draining(_) | Phase::Stopping)),
            wanted: shown.wanted,
            waiting: self.waiting.load(Ordering::Relaxed),
            decisions: shown.decisions.iter().rev().cloned().collect(),
        }
    }
}
