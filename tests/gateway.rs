//! Policies that know who asks, over real sockets against the real program: one module for each
//! part. Tests are named for the rows they hold, `gw_`, or for what is seen.

#![allow(clippy::disallowed_methods, reason = "tests wait on threads of their own")]

mod gateway {
    mod apis;
    mod asking;
    mod browsers;
    mod canary;
    mod clock;
    mod compose;
    mod conditions;
    mod detours;
    mod disturbed;
    mod functions;
    mod grants;
    mod graphql;
    mod grpc_over_websocket;
    mod grpc_web;
    mod issuer;
    mod keys;
    mod limits;
    mod logins;
    mod many;
    mod once;
    mod passwords;
    mod payloads;
    mod portal;
    mod quotas;
    mod redis;
    mod rest_to_grpc;
    mod rest_to_soap;
    mod rig;
    mod shared;
    mod signatures;
    mod store;
    mod tokens;
    mod told;
    mod transforms;
    mod tried;
    mod versions;
}
