//! Probes and agents: who is due is asked, and what is heard goes into the state of the member.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::{LONG, Station, Watch};
use crate::health::agent::Says;
use crate::log::Level;
use crate::state::{Administrative, Health, Own};

/// The outcome of one probe.
pub(super) struct Verdict {
    pub(super) key: u64,
    pub(super) outcome: Result<(), String>,
}

impl Watch {
    /// Sends out the probes that are due.
    pub(super) fn probe(&mut self, now: Instant) -> Instant {
        let mut wake = now + LONG;
        let Some(probing) = &self.care.probing else { return wake };
        for (key, ward) in &mut self.wards {
            if ward.probing || ward.member.state.administrative() == Administrative::Maintenance {
                continue;
            }
            if ward.due > now {
                wake = wake.min(ward.due);
                continue;
            }
            ward.probing = true;
            let (key, endpoint) = (*key, ward.member.spec.endpoint.clone());
            let (probing, verdicts) = (probing.clone(), self.verdicts.clone());
            let Station { worker, tasks, permits } = self.station.clone();
            tasks.start("health probe", async move {
                let _permit = permits.acquire().await;
                let timeout = probing.rhythm.timeout;
                let asked = tokio::time::timeout(timeout, probing.ask(&endpoint, &worker)).await;
                let late = || Err(format!("nothing within {} ms", timeout.as_millis()));
                let outcome = asked.unwrap_or_else(|_| late());
                // Nobody listens any more once the watch has ended.
                let _ = verdicts.send(Verdict { key, outcome });
            });
        }
        wake
    }

    /// Asks the agents whose turn it is.
    pub(super) fn ask(&mut self, now: Instant) -> Instant {
        let mut wake = now + LONG;
        let Some(agent) = &self.care.agent else { return wake };
        for (key, ward) in &mut self.wards {
            if ward.asking {
                continue;
            }
            if ward.ask > now {
                wake = wake.min(ward.ask);
                continue;
            }
            ward.asking = true;
            let (key, endpoint) = (*key, ward.member.spec.endpoint.clone());
            let (agent, lines) = (agent.clone(), self.lines.clone());
            let Station { worker, tasks, permits } = self.station.clone();
            tasks.start("agent", async move {
                let _permit = permits.acquire().await;
                let limit = agent.timeout;
                let said = tokio::time::timeout(limit, agent.ask(&endpoint, &worker)).await;
                let late = || Err(format!("nothing within {} ms", limit.as_millis()));
                // Nobody listens any more once the watch has ended.
                let _ = lines.send((key, said.unwrap_or_else(|_| late())));
            });
        }
        wake
    }

    /// Takes what an agent has said. Silence changes nothing: whether a member is there is for its
    /// probes and its traffic to find out.
    pub(super) fn heed(&mut self, key: u64, said: Result<Says, String>, now: Instant) {
        let Some(agent) = &self.care.agent else { return };
        let Some(ward) = self.wards.get_mut(&key) else { return };
        let (member, state) = (ward.member.clone(), &ward.member.state);
        ward.asking = false;
        ward.ask = now + agent.every.mul_f64(0.9 + 0.2 * self.random.unit());
        let said = match said {
            Ok(said) => said,
            Err(why) => {
                if !std::mem::replace(&mut ward.mute, true) {
                    self.say(Level::Warn, &member, &format!("has an agent of no use: {why}"));
                }
                return;
            }
        };
        let was_mute = std::mem::take(&mut ward.mute);
        if let Some(load) = said.load {
            state.report_load(load, now);
        }
        self.changed |= said.share.is_some_and(|share| state.set_own_share(share));
        let before = state.own();
        if let Some(own) = said.own
            && state.set_own(own, &*said.reason)
        {
            self.changed = true;
            if own == Own::Ready && before != Own::Drain {
                ward.start(self.care.slow_start.as_ref(), now);
            }
            let level = if own == Own::Ready { Level::Info } else { Level::Warn };
            let reason = match &*said.reason {
                "" => String::new(),
                reason => format!(": {reason}"),
            };
            self.say(level, &member, &format!("says that it is {}{reason}", own.as_str()));
        } else if was_mute {
            self.say(Level::Info, &member, "has an agent that answers again");
        }
        if let Some(most) = said.ceiling
            && member.state.set_own_ceiling(most)
        {
            let most = match most {
                usize::MAX => "any number of".to_owned(),
                most => most.to_string(),
            };
            self.say(Level::Info, &member, &format!("says that it takes {most} requests at once"));
            self.pool.hand_over();
        }
    }

    /// Takes the outcome of a probe.
    pub(super) fn hear(&mut self, verdict: Verdict, now: Instant) {
        let Some(rhythm) = self.care.probing.as_ref().map(|probing| probing.rhythm) else { return };
        let Some(ward) = self.wards.get_mut(&verdict.key) else { return };
        let (member, passed) = (ward.member.clone(), verdict.outcome.is_ok());
        let counts = &member.state.probes;
        if passed { &counts.passed } else { &counts.failed }.fetch_add(1, Ordering::Relaxed);
        ward.probing = false;
        let before = ward.machine.health();
        let health = ward.machine.probed(passed, &rhythm, now);
        ward.due = now + ward.machine.wait(&rhythm, self.random.unit());
        ward.passed = if passed { ward.passed + 1 } else { 0 };
        let reached = ward.passed >= rhythm.rise
            && member.state.passive.was_unreachable()
            && member.state.readmit();
        let why = match verdict.outcome {
            Ok(()) => "probes pass".to_owned(),
            Err(why) => why,
        };
        if let Some(health) = health {
            self.changed |= member.state.set_health(health, &*why);
            if before == Health::Down {
                self.changed |= ward.start(self.care.slow_start.as_ref(), now);
            }
        }
        if reached {
            ward.start(self.care.slow_start.as_ref(), now);
            self.changed = true;
        }
        match health {
            Some(Health::Down) => self.say(Level::Warn, &member, &format!("is down: {why}")),
            Some(_) if before == Health::Down => {
                self.say(Level::Info, &member, "is up: probes pass");
            }
            Some(_) | None => {}
        }
        if reached {
            self.say(Level::Info, &member, "is back: probes reach it again");
        }
    }
}
