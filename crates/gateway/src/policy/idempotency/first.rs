//! The first request with a key, on its way: beside the exchange, so that it goes on when the client has
//! gone.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use transom_net::Worker;
use transom_proxy::body::Body;
use transom_proxy::body::joined::{self, Read};
use transom_proxy::chain::Next;
use transom_proxy::exchange::Exchange;
use transom_proxy::fault::{Code, Fault, Retry};
use transom_proxy::message::{Request, Response};
use transom_proxy::patience::within;
use transom_proxy::record::Record;

use super::remote::{BEAT, Elsewhere, Outcome, Remote};
use super::store::{Answer, Digest, First};
use super::{Idempotency, Lost, again, another, lost, under_way};
use crate::redis::asking::Away;

pub(super) struct Running {
    pub(super) rule: Arc<Idempotency>,
    pub(super) remote: Option<Arc<Remote>>,
    pub(super) key: Digest,
    /// Of the request.
    pub(super) fingerprint: Digest,
    pub(super) first: First,
}

/// What other processes were to be told, while Redis was away.
pub(super) struct Untold {
    remote: Arc<Remote>,
    key: Digest,
    request: Digest,
    outcome: Outcome,
}

/// What other processes know, or that this one goes alone.
enum Claim {
    Ours,
    /// Redis is away, and each remembers by itself.
    Alone,
    Known(Elsewhere),
    /// Redis is away, and nothing passes.
    Refused,
}

/// How often a key is looked at that is under way elsewhere: soon at first, then less often.
const SOON: Duration = Duration::from_millis(20);
const LATE: Duration = Duration::from_millis(500);

/// How long, and how often, other processes are told anew what became of a request.
const TELL: Duration = Duration::from_secs(1);
const TELLS: usize = 300;

impl Running {
    /// The response; and what others have yet to be told.
    pub(super) async fn run(
        mut self,
        exchange: &mut Exchange,
        request: Box<Request>,
        next: Next,
    ) -> (Result<Response, Fault>, Option<Untold>) {
        let Some(remote) = self.remote.clone() else {
            self.first.begin();
            let (response, outcome) = done(&self.rule, exchange, request, next).await;
            settle(self.first, &outcome);
            return (response, None);
        };
        let worker = exchange.local.worker.clone();
        match self.claim(&remote, &worker).await {
            Claim::Ours => {}
            Claim::Alone => exchange.record.remark("the key was looked up without Redis"),
            Claim::Known(Elsewhere::Answered(answer)) => {
                let answer = Arc::new(answer);
                self.first.answered(answer.clone(), Instant::now());
                return (Ok(again(&answer)), None);
            }
            Claim::Known(Elsewhere::Another) => return (Err(another()), None),
            Claim::Known(Elsewhere::Lost) => return (Err(lost()), None),
            Claim::Known(Elsewhere::UnderWay) => return (Err(under_way()), None),
            Claim::Refused => {
                let detail = "whether the request was made before cannot be asked: Redis is away";
                return (Err(Fault::new(Code::AuthorityUnavailable, detail)), None);
            }
        }
        self.first.begin();
        let (response, outcome) = {
            let mut doing = pin!(done(&self.rule, exchange, request, next));
            loop {
                match within(&worker, BEAT, doing.as_mut()).await {
                    Some(done) => break done,
                    None => remote.alive(&self.key),
                }
            }
        };
        settle(self.first, &outcome);
        // before the client has it: it may ask another process next
        let (key, request) = (self.key, self.fingerprint);
        let told = remote.say(&key, &request, &outcome, &worker).await;
        let untold = Untold { remote, key, request, outcome };
        (response, (!told).then_some(untold))
    }

    async fn claim(&self, remote: &Remote, worker: &Worker) -> Claim {
        let until = Instant::now() + self.rule.wait.get();
        let mut pause = SOON;
        loop {
            match remote.ask(&self.key, &self.fingerprint, worker).await {
                Ok(None) => return Claim::Ours,
                Ok(Some(Elsewhere::UnderWay)) if Instant::now() < until => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LATE);
                }
                Ok(Some(known)) => return Claim::Known(known),
                Err(Away) if self.rule.is_closed() => return Claim::Refused,
                Err(Away) => return Claim::Alone,
            }
        }
    }
}

impl Untold {
    /// Tells it as soon as Redis is back.
    pub(super) async fn tell(self, worker: &Worker) {
        for _ in 0..TELLS {
            tokio::time::sleep(TELL).await;
            if self.remote.say(&self.key, &self.request, &self.outcome, worker).await {
                return;
            }
        }
    }
}

/// What became of it, for this process.
fn settle(first: First, outcome: &Outcome) {
    match outcome {
        Outcome::Nothing => first.forget(),
        // dropping it without a word says that it is lost
        Outcome::Lost => drop(first),
        Outcome::Answered(answer) => first.answered(answer.clone(), Instant::now()),
    }
}

/// Makes the request, and reads its answer if it is one that is kept.
async fn done(
    rule: &Idempotency,
    exchange: &mut Exchange,
    request: Box<Request>,
    next: Next,
) -> (Result<Response, Fault>, Outcome) {
    let mut response = next.run(exchange, request).await;
    if let Some(outcome) = not_kept(rule, &exchange.record, &response) {
        return (Ok(response), outcome);
    }
    let body = std::mem::take(&mut response.body);
    match joined::read(body, rule.max_response.len()).await {
        Ok(Read::Whole(body)) => {
            response.body = Body::of(body.clone());
            let (status, fields) = (response.status, response.fields.clone());
            let answer = Arc::new(Answer { status, fields, body });
            (Ok(response), Outcome::Answered(answer))
        }
        // it was done, and cannot be said again
        Ok(Read::Longer(body)) => {
            response.body = body;
            (Ok(response), Outcome::Lost)
        }
        Err(fault) => (Err(fault), Outcome::Lost),
    }
}

/// What becomes of a request whose answer is not kept.
fn not_kept(rule: &Idempotency, record: &Record, response: &Response) -> Option<Outcome> {
    match record.fault {
        Some(code) if untouched(code, record) || rule.lost == Lost::Again => Some(Outcome::Nothing),
        Some(_) => Some(Outcome::Lost),
        None if response.status >= 500 && !rule.server_errors => Some(Outcome::Nothing),
        None => None,
    }
}

/// Whether nothing of the request has been done where this was the fault in the end. Of several attempts one
/// that reached an endpoint may have done it, whatever became of the last.
fn untouched(code: Code, record: &Record) -> bool {
    // where the only attempt got through, but not the request
    let refused = record.attempts <= 1 && code.row().retry == Retry::Yes;
    never_sent(code) && (record.connected.is_none() || refused)
}

/// Whether an attempt with this fault has sent nothing, or nothing that was taken.
fn never_sent(code: Code) -> bool {
    let maybe = matches!(
        code,
        Code::BadResponse
            | Code::IncompleteResponse
            | Code::LargeResponseFields
            | Code::ResponseTimeout
    );
    !maybe && (code.row().retry != Retry::IfIdempotent) && code != Code::Internal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_have_been_done_may_be_done_again() {
        for (code, expected) in [
            (Code::ConnectRefused, true),
            (Code::ConnectTimeout, true),
            (Code::StreamRefused, true),
            (Code::NoEndpoint, true),
            (Code::PoolFull, true),
            (Code::TooLarge, true),
            (Code::BadResponse, false),
            (Code::ResponseTimeout, false),
            (Code::IncompleteResponse, false),
            (Code::Internal, false),
        ] {
            assert_eq!(untouched(code, &Record::default()), expected, "{code:?}");
        }
    }

    #[test]
    fn what_an_earlier_attempt_may_have_done_is_not_done_again() {
        for (code, attempts, connected, expected) in [
            (Code::ConnectRefused, 1, false, true),
            (Code::ConnectRefused, 3, false, true),
            // the first got through, and there was no answer
            (Code::ConnectRefused, 2, true, false),
            (Code::NoEndpoint, 1, true, false),
            (Code::QueueTimeout, 1, true, false),
            (Code::StreamRefused, 1, true, true),
            (Code::StreamRefused, 2, true, false),
            (Code::ResponseTimeout, 1, true, false),
        ] {
            let connected = connected.then(Instant::now);
            let record = Record { attempts, connected, ..Record::default() };
            assert_eq!(untouched(code, &record), expected, "{code:?} {attempts}");
        }
    }
}
