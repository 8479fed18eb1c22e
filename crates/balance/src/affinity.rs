//! Stickiness: a client comes back to the member that served it before.
//!
//! Either the client carries a [`Cookie`] that names the member to us and to nobody else, which needs
//! no memory and holds on several machines; or we remember for a while who was where, by what the
//! client sends anyway ([`Sessions`]).
//!
//! A member that is being drained keeps its clients. One that is down, ejected, in maintenance or gone
//! loses them: they are sent elsewhere and stick there.

mod cookie;
mod sessions;

use std::sync::Arc;

pub use self::cookie::{Cookie, SameSite, Token, random_secret};
pub use self::sessions::{Sessions, Sign};

/// How clients stick to members.
#[derive(Clone)]
pub enum Affinity {
    Cookie(Box<Cookie>),
    Remembered(Arc<Sessions>),
}
