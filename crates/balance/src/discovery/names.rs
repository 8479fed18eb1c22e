//! The addresses behind names, looked up again whenever an answer's time is over.
//!
//! A name is looked up once for all pools that use it. What DNS does not answer, or answers with
//! nothing, takes nothing away: the last addresses are kept, and that they are is told. Only a name
//! of which DNS says three times in a row that it does not exist counts as gone (U-09).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use transom_net::Background;
use transom_net::background::Running;

use super::answer::Found;
use super::news::Changed;
use super::resolver::{NoAnswer, Resolver};

/// So often in a row must DNS say that there is nothing.
const GONE: u32 = 3;
/// Most time until a failed question is asked again.
const PAUSE: Duration = Duration::from_secs(30);

/// All names that are looked up.
pub struct Names {
    resolver: Arc<Resolver>,
    background: OnceLock<Background>,
    table: Mutex<HashMap<String, Weak<Name>>>,
}

/// A name as long as somebody wants its addresses.
pub struct Name {
    host: String,
    known: Mutex<Known>,
    /// Who is told of news.
    wanted_by: Mutex<Vec<Changed>>,
    running: Mutex<Option<Running>>,
}

/// What is known of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The last that DNS gave.
    pub addresses: Vec<IpAddr>,
    pub good: Option<Instant>,
    /// Why there is no newer answer, and since when.
    pub failing: Option<(String, Instant)>,
    /// How often in a row DNS has said that there is nothing.
    nothing: u32,
    failures: u32,
}

impl Known {
    /// Whether there has been an answer, if only that there is none.
    pub fn spoke(&self) -> bool {
        self.good.is_some() || self.failing.is_some()
    }

    /// DNS means it: the name does not exist.
    pub fn is_gone(&self) -> bool {
        self.nothing >= GONE
    }

    /// Takes an answer; gives whether that changes anything, and when to ask again.
    fn take(
        &mut self,
        answer: Result<Found<IpAddr>, NoAnswer>,
        least: Duration,
        now: Instant,
    ) -> (bool, Duration) {
        let before = (self.is_gone(), self.failing.is_some(), self.spoke());
        let failed = match answer {
            Ok(answer) => {
                let news = self.addresses != answer.found || before != (false, false, true);
                let found = Known { addresses: answer.found, good: Some(now), ..Known::default() };
                *self = found;
                return (news, answer.ttl);
            }
            Err(NoAnswer::Nothing(why)) => {
                self.nothing += 1;
                why
            }
            Err(NoAnswer::Failed(why)) => {
                self.nothing = 0;
                why
            }
        };
        self.failures += 1;
        let since = self.failing.as_ref().map_or(now, |(_, since)| *since);
        self.failing = Some((failed, since));
        let pause = least.saturating_mul(1 << (self.failures - 1).min(5)).min(PAUSE.max(least));
        (before != (self.is_gone(), true, true), pause)
    }
}

impl Names {
    pub fn new(resolver: Arc<Resolver>) -> Arc<Self> {
        let table = Mutex::default();
        Arc::new(Names { resolver, background: OnceLock::new(), table })
    }

    pub fn resolver(&self) -> &Arc<Resolver> {
        &self.resolver
    }

    /// Begins to look names up, those that are wanted already too.
    pub fn start(&self, background: &Background) {
        if self.background.set(background.clone()).is_ok() {
            for name in self.table().values().filter_map(Weak::upgrade) {
                self.look_up(&name, background);
            }
        }
    }

    /// A name that somebody wants, who is told of its news.
    pub fn want(&self, host: &str, told: &Changed) -> Arc<Name> {
        let mut table = self.table();
        if let Some(name) = table.get(host).and_then(Weak::upgrade) {
            let mut wanted_by = name.wanted_by();
            // Those of earlier configurations: a name of which there is no news would keep them all.
            wanted_by.retain(Changed::is_heard);
            wanted_by.push(told.clone());
            drop(wanted_by);
            return name;
        }
        let name = Arc::new(Name {
            host: host.to_owned(),
            known: Mutex::default(),
            wanted_by: Mutex::new(vec![told.clone()]),
            running: Mutex::new(None),
        });
        table.retain(|_, name| name.strong_count() > 0);
        table.insert(host.to_owned(), Arc::downgrade(&name));
        drop(table);
        if let Some(background) = self.background.get() {
            self.look_up(&name, background);
        }
        name
    }

    fn look_up(&self, name: &Arc<Name>, background: &Background) {
        let (weak, resolver) = (Arc::downgrade(name), self.resolver.clone());
        let host = name.host.clone();
        let task = background.run("name", move |_| async move {
            loop {
                let answer = resolver.addresses(&host).await;
                let Some(name) = weak.upgrade() else { return };
                let least = resolver.settings().least();
                let (news, pause) = name.known_mut().take(answer, least, Instant::now());
                if news {
                    name.tell();
                }
                drop(name);
                tokio::time::sleep(pause).await;
            }
        });
        *name.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
    }

    fn table(&self) -> MutexGuard<'_, HashMap<String, Weak<Name>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Name {
    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn known(&self) -> Known {
        self.known_mut().clone()
    }

    /// Goes on from what another resolver had found.
    pub fn following(&self, earlier: &Name) {
        let mut known = self.known_mut();
        if !known.spoke() {
            *known = earlier.known();
        }
    }

    fn tell(&self) {
        let mut wanted_by = self.wanted_by();
        wanted_by.retain(Changed::is_heard);
        for one in &*wanted_by {
            one.tell();
        }
    }

    fn wanted_by(&self) -> MutexGuard<'_, Vec<Changed>> {
        self.wanted_by.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_mut(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_listen_any_more_is_forgotten_when_the_name_is_wanted_again() {
        let names = Names::new(Arc::new(Resolver::new(Default::default())));
        let held = names.want("orders.internal", &Changed::default());
        for _ in 0..1000 {
            // a configuration that has come and gone
            let told = Changed::default();
            let _heard = told.subscribe();
            names.want("orders.internal", &told);
        }
        assert!(held.wanted_by().len() <= 2, "{}", held.wanted_by().len());
    }

    #[test]
    fn u09_what_dns_says_and_what_becomes_of_it() {
        let least = Duration::from_secs(5);
        let mut known = Known::default();
        let mut take = |answer: &str| {
            let answer = match answer {
                "none" => Err(NoAnswer::Nothing("none".into())),
                "fail" => Err(NoAnswer::Failed("fail".into())),
                list => Ok(Found {
                    found: list.split(' ').map(|ip| ip.parse().unwrap()).collect(),
                    ttl: Duration::from_secs(60),
                }),
            };
            let (news, pause) = known.take(answer, least, Instant::now());
            (news, pause.as_secs(), known.addresses.len(), known.is_gone())
        };
        for (answer, expected) in [
            ("10.0.0.1 10.0.0.2", (true, 60, 2, false)),
            ("10.0.0.1 10.0.0.2", (false, 60, 2, false)),
            ("fail", (true, 5, 2, false)),
            ("fail", (false, 10, 2, false)),
            ("10.0.0.1", (true, 60, 1, false)),
            ("none", (true, 5, 1, false)),
            ("none", (false, 10, 1, false)),
            ("fail", (false, 20, 1, false)),
            ("none", (false, 30, 1, false)),
            ("none", (false, 30, 1, false)),
            ("none", (true, 30, 1, true)),
            ("fail", (true, 30, 1, false)),
            ("10.0.0.9", (true, 60, 1, false)),
        ] {
            assert_eq!(take(answer), expected, "{answer}");
        }
    }
}
