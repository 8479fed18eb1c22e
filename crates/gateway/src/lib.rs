//! Level 3: knows who asks, what they may do and in what shape they want it.
//!
//! A kind of policy is one file below [`policy`] and one line in [`policy::POLICIES`]: from there
//! come its place in the configuration, its schema, its page in the manual and what runs.

pub mod authority;
pub mod call;
pub mod canary;
pub mod catalog;
pub mod compose;
pub mod consumer;
pub mod content;
pub mod escapes;
pub mod expression;
pub mod grpc;
pub mod identify;
pub mod kind;
pub mod limit;
pub mod making;
pub mod media;
pub mod moment;
pub mod oauth;
pub mod openapi;
pub mod origin;
mod pairs;
pub mod plan;
pub mod policy;
pub mod portal;
pub mod redis;
pub mod seal;
pub mod signing;
pub mod soap;
pub mod task;
pub mod token;
pub mod websocket;

pub use kind::{Entry, Kind, Rule};
pub use making::{Kept, Lender, Making};
