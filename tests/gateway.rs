//! Policies that know who asks, over real sockets against the real program: one module for each
//! part. Tests are named for the rows they hold, `gw_`, or for what is seen.

#![allow(clippy::disallowed_methods, reason = "tests wait on threads of their own")]

mod gateway {
    mod browsers;
    mod compose;
    mod conditions;
    mod keys;
    mod limits;
    mod once;
    mod passwords;
    mod rig;
    mod shared;
    mod store;
    mod told;
}
