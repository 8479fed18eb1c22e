//! A connection to Redis or Valkey.

use std::future::poll_fn;
use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use transom_net::{Size, Stream, dial};
use transom_proxy::destination::{Ask, AttemptResult, Destination, Lease, Leasing};
use transom_proxy::fault::Code;
use transom_proxy::local::Local;
use transom_proxy::patience::within;
use transom_settings::Secret;

use super::resp::{Reply, command, reply};

/// How one gets in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entrance {
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub database: u32,
}

pub struct Link {
    stream: Stream,
    lease: Option<Lease>,
    local: Rc<Local>,
}

impl Link {
    /// Opens one and gets in.
    ///
    /// # Errors
    /// Why that cannot be.
    pub async fn open(
        destination: &Arc<dyn Destination>,
        entrance: &Entrance,
        patience: Duration,
        local: &Rc<Local>,
    ) -> Result<Self, String> {
        let ask = Ask {
            client: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            http: None,
            tried: &[],
            now: Instant::now(),
        };
        let leased = match destination.lease(&ask) {
            Leasing::Ready(lease) => Ok(lease),
            Leasing::Wait(waiting) => {
                let waited = within(&local.worker, patience, waiting).await;
                waited.unwrap_or_else(|| {
                    Err(transom_proxy::fault::Fault::new(Code::QueueTimeout, "no place in time"))
                })
            }
            Leasing::Refused(fault) => Err(fault),
        };
        let lease = leased.map_err(|fault| fault.to_string())?;
        let endpoint = lease.endpoint().clone();
        let dialled = within(&local.worker, patience, dial(&endpoint.target, &local.worker)).await;
        let stream = match dialled {
            Some(Ok(stream)) => stream,
            Some(Err(error)) => {
                lease.end(AttemptResult::Failed(Code::ConnectFailed));
                return Err(error.to_string());
            }
            None => {
                lease.end(AttemptResult::Failed(Code::ConnectTimeout));
                return Err(format!("{} takes too long to connect", endpoint.name));
            }
        };
        let mut link = Link { stream, lease: Some(lease), local: local.clone() };
        let mut hello = Vec::new();
        let mut expected = 0;
        if let Some(password) = &entrance.password {
            let (user, password) = (entrance.user.as_deref(), password.expose().as_bytes());
            match user {
                Some(user) => command(&[b"AUTH", user.as_bytes(), password], &mut hello),
                None => command(&[b"AUTH", password], &mut hello),
            }
            expected += 1;
        }
        if entrance.database > 0 {
            command(&[b"SELECT", entrance.database.to_string().as_bytes()], &mut hello);
            expected += 1;
        }
        for answer in link.ask(&hello, expected, patience).await? {
            if let Reply::Refused(why) = answer {
                return Err(why);
            }
        }
        Ok(link)
    }

    /// Sends commands and takes as many replies.
    ///
    /// # Errors
    /// Why there are none; the connection is of no use any more.
    pub async fn ask(
        &mut self,
        commands: &[u8],
        replies: usize,
        patience: Duration,
    ) -> Result<Vec<Reply>, String> {
        let worker = self.local.worker.clone();
        let stream = &mut self.stream;
        let asking = async {
            let mut sent = 0;
            while sent < commands.len() {
                let rest = [IoSlice::new(&commands[sent..])];
                sent += poll_fn(|cx| stream.poll_write(&rest, cx)).await?;
            }
            poll_fn(|cx| stream.poll_flush(cx)).await?;
            let mut found = Vec::with_capacity(replies);
            let mut bytes = Vec::new();
            while found.len() < replies {
                match reply(&bytes).map_err(std::io::Error::other)? {
                    Some((reply, used)) => {
                        found.push(reply);
                        bytes.drain(..used);
                    }
                    None => {
                        if poll_fn(|cx| stream.poll_fill(Size::Small, cx)).await? == 0 {
                            return Err(std::io::Error::other("it closed the connection"));
                        }
                        bytes.extend_from_slice(stream.filled());
                        let read = stream.filled().len();
                        stream.consume(read);
                    }
                }
            }
            Ok(found)
        };
        let answer = match within(&worker, patience, asking).await {
            Some(Ok(found)) => return Ok(found),
            Some(Err(error)) => (Code::BadResponse, error.to_string()),
            None => (Code::ResponseTimeout, "it does not answer in time".to_owned()),
        };
        if let Some(lease) = self.lease.take() {
            lease.end(AttemptResult::Failed(answer.0));
        }
        Err(answer.1)
    }
}
