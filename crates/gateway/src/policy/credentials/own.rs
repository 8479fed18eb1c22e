//! A token of our own, fetched before the last one ends.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use transom_balance::log::{Level, Log};
use transom_net::Worker;
use transom_proxy::fault::{Code, Fault};
use transom_proxy::local::Local;
use transom_proxy::patience::within;
use transom_settings::Url;

use super::OwnToken;
use crate::oauth::{Failed, Granted, Server};
use crate::task::Task;

/// The token that we have now. Goes on over reloads.
pub(super) struct Own {
    settings: OwnToken,
    state: watch::Sender<State>,
}

#[derive(Clone, Default)]
struct State {
    /// What `Authorization` says, and until when.
    token: Option<(Arc<str>, Option<Instant>)>,
    /// When the next one is to be fetched.
    due: Option<Instant>,
    failures: u32,
}

/// How long a token is taken to be good of which the server does not say it.
const UNSAID: Duration = Duration::from_secs(300);

impl Own {
    pub(super) fn new(settings: &OwnToken) -> Self {
        Own { settings: settings.clone(), state: watch::Sender::new(State::default()) }
    }

    pub(super) fn is_for(&self, settings: &OwnToken) -> bool {
        self.settings == *settings
    }

    pub(super) fn url(&self) -> &Url {
        &self.settings.url
    }

    /// What `Authorization` is to say. Waits for the first token, not for others.
    pub(super) async fn token(&self, worker: &Worker) -> Result<Arc<str>, Fault> {
        let first = self.state.borrow().clone();
        let state = match first.token.is_none() && first.failures == 0 {
            false => first,
            true => {
                let mut told = self.state.subscribe();
                let there = told.wait_for(|state| state.token.is_some() || state.failures > 0);
                let waited = within(worker, self.settings.timeout.get(), there).await;
                waited.and_then(Result::ok).map_or_else(State::default, |state| state.clone())
            }
        };
        let now = worker.now();
        match state.token {
            Some((token, until)) if until.is_none_or(|until| now < until) => Ok(token),
            Some(_) => Err(unavailable("the token of our own has ended")),
            None => Err(unavailable("there is no token of our own yet")),
        }
    }

    /// What a fetch has given. Says when the next one is due.
    fn fetched(&self, outcome: &Result<Granted, Failed>, now: Instant) {
        self.state.send_modify(|state| match outcome {
            Ok(granted) => {
                let lasts = granted.lasts.unwrap_or(UNSAID);
                let until = granted.lasts.and_then(|lasts| now.checked_add(lasts));
                state.token = Some((format!("Bearer {}", granted.access).into(), until));
                // early enough that a server that is away for a while is not missed
                state.due = now.checked_add((lasts * 3 / 4).max(Duration::from_secs(1)));
                state.failures = 0;
            }
            Err(_) => {
                state.failures = state.failures.saturating_add(1);
                let pause = Duration::from_secs(1 << state.failures.min(5)) / 2;
                state.due = now.checked_add(pause);
            }
        });
    }
}

fn unavailable(why: &'static str) -> Fault {
    Fault::new(Code::AuthorityUnavailable, why)
}

/// Fetches it.
pub(super) struct Fetching {
    pub name: String,
    pub server: Server,
    pub own: Arc<Own>,
    pub log: Log,
}

impl Task for Fetching {
    fn run(self: Arc<Self>, local: Rc<Local>) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async move {
            loop {
                let due = self.own.state.borrow().due;
                let left = due.and_then(|due| due.checked_duration_since(local.worker.now()));
                if let Some(left) = left.filter(|left| !left.is_zero()) {
                    within(&local.worker, left, std::future::pending::<()>()).await;
                }
                self.fetch(&local).await;
            }
        })
    }
}

impl Fetching {
    async fn fetch(&self, local: &Rc<Local>) {
        let settings = &self.own.settings;
        let mut form = vec![("grant_type", "client_credentials")];
        form.extend(settings.scope.iter().map(|scope| ("scope", scope.as_str())));
        form.extend(settings.audience.iter().map(|audience| ("audience", audience.as_str())));
        let answer = self.server.ask_alone(local, &form).await;
        let outcome = answer.and_then(|answer| Ok(Granted::of(&answer)?));
        let failures = self.own.state.borrow().failures;
        let said = match &outcome {
            Ok(_) if failures > 0 => Some((Level::Info, "has its token again".to_owned())),
            Err(failed) if failures == 0 => {
                Some((Level::Warn, format!("gets no token: {}", failed.why)))
            }
            _ => None,
        };
        if let Some((level, what)) = said {
            (self.log)(level, &format!("{} {what}", self.name));
        }
        self.own.fetched(&outcome, local.worker.now());
    }
}
