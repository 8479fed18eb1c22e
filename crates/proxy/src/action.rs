//! The seam for what a route finally does, and the actions of level 1.

use crate::exchange::Exchange;
use crate::message::Request;
use crate::policy::Answering;

pub mod files;
pub mod forward;
pub mod redirect;
pub mod respond;

pub use files::{Files, FilesSettings};
pub use forward::Forward;
pub use redirect::Redirect;
pub use respond::Respond;

/// What answers.
pub trait Action: Send + Sync {
    /// The name of the kind.
    fn kind(&self) -> &'static str;

    /// One line for `transom explain`: what would happen.
    fn describe(&self) -> String;

    fn run<'a>(&'a self, exchange: &'a mut Exchange, request: Box<Request>) -> Answering<'a>;
}
