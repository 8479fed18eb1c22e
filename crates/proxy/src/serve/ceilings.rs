//! How much of a listener's requests may be under way, in all and of one client, and how fast one
//! client may ask. Held before a route is looked for; who is over costs no more than an answer.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use transom_net::Worker;
use transom_net::clients::{Open, Pace, Rates};
use transom_net::pressure::Room;

use crate::exchange::Exchange;
use crate::fault::{Code, Fault};
use crate::patience::Patience;

/// What a listener asks of the requests it takes. Where nothing is asked there is none of these.
pub struct Ceilings {
    /// Under way at once.
    pub requests: Option<usize>,
    /// Of one client.
    pub per_client: Option<usize>,
    /// Of one client.
    pub rate: Option<Pace>,
    pub over: OverLimit,
    /// Goes on in the next configuration.
    pub counts: Arc<Counts>,
}

/// What becomes of a client that is over a limit of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverLimit {
    /// It is told so at once.
    #[default]
    Refuse,
    /// It is told so after this time.
    Tarpit(Duration),
    /// It is told nothing: the connection is gone, and where a router lies between, it does not
    /// hear of that.
    Drop,
}

/// What is under way, and how fast clients ask.
#[derive(Default)]
pub struct Counts {
    requests: AtomicUsize,
    open: Open,
    rates: Rates,
    held: AtomicUsize,
}

/// How many are held in the tarpit at once. Others are told at once: to hold a connection costs us
/// more than to answer it.
const HELD: usize = 1000;
/// When a client may come again that was turned away for the others' sake.
const AGAIN: Duration = Duration::from_secs(1);

/// How a refusal is to be brought.
struct Over(OverLimit);

/// Counts a request that begins, until its exchange ends.
pub(super) fn enter(exchange: &mut Exchange) -> Result<(), Fault> {
    let worker = &exchange.local.worker;
    if worker.sheds() {
        let detail = "a part of the requests is turned away, see `transom_overload_level`";
        return Err(Fault::new(Code::Overloaded, detail).retry_after(AGAIN));
    }
    let mut under_way = UnderWay { total: None, counts: None, client: None };
    match worker.pressure().requests.enter() {
        Room::Unlimited => {}
        Room::Counted => under_way.total = Some(worker.clone()),
        Room::None => {
            let fault = Fault::new(Code::Overloaded, "`overload.requests` are under way");
            return Err(fault.retry_after(AGAIN));
        }
    }
    if exchange.site.ceilings.is_some() {
        let site = exchange.site.clone();
        site.ceilings.as_ref().map_or(Ok(()), |it| it.enter(exchange, &mut under_way))?;
    }
    if under_way.is_counted() {
        exchange.extensions.insert(under_way);
    }
    Ok(())
}

impl Ceilings {
    fn enter(&self, exchange: &mut Exchange, under_way: &mut UnderWay) -> Result<(), Fault> {
        let counts = &self.counts;
        if let Some(rate) = self.rate
            && let Err(wait) = counts.rates.take(exchange.client, exchange.started, rate)
        {
            exchange.extensions.insert(Over(self.over));
            let detail = "more requests than `request-rate-per-client`";
            return Err(Fault::new(Code::RateLimited, detail).retry_after(wait));
        }
        if let Some(most) = self.requests {
            under_way.counts = Some(counts.clone());
            if counts.requests.fetch_add(1, Ordering::Relaxed) >= most {
                let fault = Fault::new(Code::Overloaded, "`limits.requests` are under way");
                return Err(fault.retry_after(AGAIN));
            }
        }
        if let Some(most) = self.per_client {
            if !counts.open.enter(exchange.client, most) {
                exchange.extensions.insert(Over(self.over));
                let detail = "`requests-per-client` are under way";
                return Err(Fault::new(Code::RateLimited, detail).retry_after(AGAIN));
            }
            under_way.client = Some((counts.clone(), exchange.client));
        }
        Ok(())
    }
}

/// Waits where the refusal of this exchange is to be late. Says whether it is to be brought at all.
pub(super) async fn hold(exchange: &Exchange) -> bool {
    let over = exchange.extensions.get::<Over>().map_or(OverLimit::Refuse, |over| over.0);
    let time = match over {
        OverLimit::Refuse => return true,
        OverLimit::Drop => return false,
        OverLimit::Tarpit(time) => time,
    };
    let Some(ceilings) = &exchange.site.ceilings else { return true };
    let held = &ceilings.counts.held;
    let _held = Held(held);
    if held.fetch_add(1, Ordering::Relaxed) < HELD {
        let mut patience = Patience::new(&exchange.local.worker);
        std::future::poll_fn(|cx| patience.poll_over(Some(time), cx)).await;
    }
    true
}

/// One that was counted as held.
struct Held<'a>(&'a AtomicUsize);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where a request was counted.
struct UnderWay {
    total: Option<Worker>,
    counts: Option<Arc<Counts>>,
    client: Option<(Arc<Counts>, IpAddr)>,
}

impl UnderWay {
    fn is_counted(&self) -> bool {
        self.total.is_some() || self.counts.is_some() || self.client.is_some()
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(worker) = &self.total {
            worker.pressure().requests.leave();
        }
        if let Some(counts) = &self.counts {
            counts.requests.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some((counts, client)) = &self.client {
            counts.open.leave(*client);
        }
    }
}
