//! What several processes know together of requests that have a key, in Redis or Valkey.
//!
//! An entry is a hash: the `request` it is for, its `state` (`W` under way, `A` answered, `L` lost), which
//! `owner`, that is process, has the first request, until when that one is known to be `alive`, and the
//! `answer`. An owner that dies says nothing more, and its requests are lost.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use tokio::sync::oneshot;
use transom_net::Worker;
use transom_proxy::fields::Fields;
use transom_proxy::patience::within;
use transom_settings::is_token;

use super::store::{Answer, Digest};
use crate::redis::asking::{Asking, Away};
use crate::redis::resp::Reply;

/// See the module.
pub(super) struct Remote {
    pub(super) asking: Arc<Asking>,
    /// Before each key.
    pub(super) prefix: String,
    /// This process.
    pub(super) owner: Arc<Owner>,
    pub(super) keep: Duration,
    pub(super) patience: Duration,
    /// Whether a lost request may be made again.
    pub(super) again: bool,
}

/// What Redis says to what it was told.
type Told = oneshot::Receiver<Reply>;

/// What others know of a key.
#[derive(Debug)]
pub(super) enum Elsewhere {
    UnderWay,
    Answered(Answer),
    Lost,
    Another,
}

/// What became of the first request.
pub(super) enum Outcome {
    /// Nothing was done.
    Nothing,
    Lost,
    Answered(Arc<Answer>),
}

/// So long another process waits to hear of an owner.
const ALIVE: Duration = Duration::from_secs(5);

/// How often an owner says that it is alive.
pub(super) const BEAT: Duration = Duration::from_millis(1500);

/// Says what is known of a key, and makes it this owner's where that is nothing. It means the same when
/// it comes twice.
const ASK: &str = "\
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local request, state, owner, alive = unpack(redis.call('HMGET', KEYS[1], 'request', 'state', 'owner', 'alive'))
if request and request ~= ARGV[1] then return {'another'} end
if state == 'A' then return {'answered', redis.call('HGET', KEYS[1], 'answer')} end
if state == 'W' and owner ~= ARGV[2] and tonumber(alive) > now then return {'under-way'} end
local lost = state == 'L' or (state == 'W' and owner ~= ARGV[2])
if lost and ARGV[5] ~= '1' then
  redis.call('HSET', KEYS[1], 'state', 'L')
  return {'lost'}
end
redis.call('HSET', KEYS[1], 'request', ARGV[1], 'state', 'W', 'owner', ARGV[2], 'alive', now + ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return {'nothing'}";

/// What an owner says of its own, also where Redis has not heard of it, or has forgotten it.
const SAY: &str = "\
local owner, state = unpack(redis.call('HMGET', KEYS[1], 'owner', 'state'))
if owner and owner ~= ARGV[1] then return 0 end
if ARGV[2] == 'alive' then
  local t = redis.call('TIME')
  if state == 'W' then
    redis.call('HSET', KEYS[1], 'alive', t[1] * 1000 + math.floor(t[2] / 1000) + ARGV[3])
  end
elseif ARGV[2] == 'nothing' then
  if state == 'W' then redis.call('DEL', KEYS[1]) end
else
  redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'request', ARGV[4], 'state', ARGV[2], 'answer', ARGV[5])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return 1";

/// A name for this process that no other has.
pub(super) struct Owner(String);

impl Default for Owner {
    fn default() -> Self {
        let mut bytes = [0; 16];
        // a system without random bytes could not have started
        let _ = rand::fill(&mut bytes);
        Owner(HEXLOWER.encode(&bytes))
    }
}

impl Remote {
    /// What others know of a key. Where that is nothing, this process has the first request from now on.
    ///
    /// # Errors
    /// When Redis is away; nothing is remembered of this question then.
    pub(super) async fn ask(
        &self,
        key: &Digest,
        request: &Digest,
        worker: &Worker,
    ) -> Result<Option<Elsewhere>, Away> {
        let (alive, keep) = (millis(ALIVE), millis(self.keep));
        let again: &[u8] = if self.again { b"1" } else { b"0" };
        let named = self.key(key);
        let words: [&[u8]; 9] = [
            b"EVAL",
            ASK.as_bytes(),
            b"1",
            named.as_bytes(),
            request,
            self.owner.0.as_bytes(),
            alive.as_bytes(),
            keep.as_bytes(),
            again,
        ];
        let reply = self.asking.ask(&words, self.patience, worker).await;
        let understood = reply.and_then(|reply| understood(reply).ok_or(Away));
        if understood.is_err() {
            // it may come to it yet: what stands behind it takes it back
            self.tell(key, &[b"nothing"]);
        }
        understood
    }

    /// Says that the first request is under way still.
    pub(super) fn alive(&self, key: &Digest) {
        self.tell(key, &[b"alive", millis(ALIVE).as_bytes()]);
    }

    /// Says what became of the first request, and waits until it is known there. Says whether it is.
    pub(super) async fn say(
        &self,
        key: &Digest,
        request: &Digest,
        outcome: &Outcome,
        worker: &Worker,
    ) -> bool {
        let keep = millis(self.keep);
        let told = match outcome {
            Outcome::Nothing => self.tell(key, &[b"nothing"]),
            Outcome::Lost => self.tell(key, &[b"L", keep.as_bytes(), request, b""]),
            Outcome::Answered(answer) => {
                self.tell(key, &[b"A", keep.as_bytes(), request, &encoded(answer)])
            }
        };
        let Some(told) = told else { return false };
        let told = within(worker, self.patience, told).await;
        matches!(told, Some(Ok(Reply::Number(_))))
    }

    fn tell(&self, key: &Digest, what: &[&[u8]]) -> Option<Told> {
        let named = self.key(key);
        let mut words: Vec<&[u8]> =
            vec![b"EVAL", SAY.as_bytes(), b"1", named.as_bytes(), self.owner.0.as_bytes()];
        words.extend_from_slice(what);
        self.asking.tell(&words)
    }

    fn key(&self, key: &Digest) -> String {
        format!("{}:once:{}", self.prefix, HEXLOWER.encode(key))
    }
}

fn millis(time: Duration) -> String {
    time.as_millis().max(1).to_string()
}

fn understood(reply: Reply) -> Option<Option<Elsewhere>> {
    let Reply::List(items) = reply else { return None };
    let mut items = items.into_iter();
    let Some(Reply::Text(word)) = items.next() else { return None };
    Some(Some(match &*word {
        b"nothing" => return Some(None),
        b"under-way" => Elsewhere::UnderWay,
        b"lost" => Elsewhere::Lost,
        b"another" => Elsewhere::Another,
        b"answered" => match items.next() {
            Some(Reply::Text(bytes)) => Elsewhere::Answered(decoded(bytes.into())?),
            _ => return None,
        },
        _ => return None,
    }))
}

/// An answer as it lies in Redis: the status, how many fields, each with its two lengths, and the body.
fn encoded(answer: &Answer) -> Vec<u8> {
    let mut out = Vec::with_capacity(answer.body.len() + 1024);
    out.extend_from_slice(&answer.status.to_be_bytes());
    out.extend_from_slice(&(answer.fields.iter().count() as u32).to_be_bytes());
    for field in answer.fields.iter() {
        for part in [field.name, field.value] {
            out.extend_from_slice(&(part.len() as u32).to_be_bytes());
            out.extend_from_slice(part);
        }
    }
    out.extend_from_slice(&answer.body);
    out
}

fn decoded(mut bytes: Bytes) -> Option<Answer> {
    let status = u16::from_be_bytes(bytes.get(..2)?.try_into().ok()?);
    let _ = bytes.split_to(2);
    let mut fields = Fields::new();
    for _ in 0..number(&mut bytes)? {
        let name = part(&mut bytes)?;
        let value = part(&mut bytes)?;
        // a name of other bytes would be the beginning of another answer
        if !is_token(&name) {
            return None;
        }
        fields.append(std::str::from_utf8(&name).ok()?, &value);
    }
    (100..600).contains(&status).then_some(Answer { status, fields, body: bytes })
}

fn number(bytes: &mut Bytes) -> Option<usize> {
    let number = u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?);
    let _ = bytes.split_to(4);
    usize::try_from(number).ok()
}

fn part(bytes: &mut Bytes) -> Option<Bytes> {
    let length = number(bytes)?;
    (bytes.len() >= length).then(|| bytes.split_to(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_comes_back_as_it_was_and_anything_else_is_none() {
        let mut fields = Fields::new();
        fields.append("Content-Type", b"text/plain");
        fields.append("X-Receipt", b"7\xff");
        fields.append("X-Receipt", b"");
        let answer = Answer { status: 201, fields, body: Bytes::from_static(b"charged\0 1") };
        let bytes = encoded(&answer);
        let same = decoded(bytes.clone().into()).unwrap();
        let lines = |fields: &Fields| {
            let mut out = Vec::new();
            fields.write(&mut out);
            out
        };
        assert_eq!((same.status, &same.body), (201, &answer.body));
        assert_eq!(lines(&same.fields), lines(&answer.fields));
        let head = bytes.len() - answer.body.len();
        for length in 0..head {
            assert!(decoded(bytes[..length].to_vec().into()).is_none(), "{length}");
        }
        let mut other = Fields::new();
        other.append("A: b\r\nC", b"d");
        let answer = Answer { status: 201, fields: other, body: Bytes::new() };
        assert!(decoded(encoded(&answer).into()).is_none(), "no name of a field");
        assert!(decoded(vec![0; 100].into()).is_none());
        assert!(decoded(vec![0xff; 100].into()).is_none());
    }
}
