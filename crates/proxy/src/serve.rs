//! From a client's connection to exchanges: one way in per version of HTTP.

use std::cell::Cell;
use std::rc::Rc;

use crate::local::Local;
use crate::site::Sites;

pub mod admit;
pub mod h1;
mod h1_request_body;

/// What the connections of one listener on one worker share.
pub struct Serving {
    pub sites: Sites,
    pub local: Rc<Local>,
    /// Accept nothing new, finish what is open, then go.
    pub draining: Cell<bool>,
}

impl Serving {
    pub fn new(sites: Sites, local: Rc<Local>) -> Rc<Self> {
        Rc::new(Serving { sites, local, draining: Cell::new(false) })
    }

    /// Every response from now on closes its connection, and those that lie idle are told.
    pub fn drain(&self) {
        self.draining.set(true);
        self.local.worker.wheel().wake_all();
    }
}
