//! Takes fields off requests, and off their trailers, that only policies of the route may set.
//!
//! **When it runs.** First of all in a chain that has such policies: so it does not matter which of
//! them runs, or whether it finds anything to say.

use std::sync::Arc;

use transom_settings::HeaderName;

use super::{Ahead, Policy};
use crate::exchange::Exchange;
use crate::fault::Fault;
use crate::message::Request;
use crate::stage::Stage;

/// See the module.
pub struct Reserve(Arc<[HeaderName]>);

impl Reserve {
    /// For the policies of a chain, if one of them reserves anything.
    pub fn of<'p>(policies: impl Iterator<Item = &'p dyn Policy>) -> Option<Self> {
        let mut names: Vec<_> = policies.flat_map(Policy::reserves).collect();
        names.sort();
        names.dedup();
        (!names.is_empty()).then(|| Reserve(names.into()))
    }
}

impl Policy for Reserve {
    fn kind(&self) -> &'static str {
        "reserve"
    }

    fn stage(&self) -> Stage {
        Stage::Admit
    }

    fn describe(&self) -> String {
        let names: Vec<_> = self.0.iter().map(|name| name.to_string()).collect();
        format!("takes off what clients send in {}", names.join(", "))
    }

    fn ahead(&self, _: &mut Exchange, request: &mut Request) -> Result<Ahead, Fault> {
        for name in self.0.iter() {
            request.fields.remove(&**name);
        }
        request.leave_out_of_trailers(&self.0);
        Ok(Ahead::Done)
    }
}
