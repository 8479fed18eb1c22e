//! Endpoints come and go while requests do: by file, by DNS, by etcd, by a Docker-style socket, by
//! registration and by hand; and no request notices (done-when 3).
//!
//! etcd and dnsmasq are the real ones: `.ci/run` installs them. Without them these tests fail.

#![allow(clippy::disallowed_methods, reason = "tests wait on threads of their own")]

mod discovery {
    mod by_hand;
    mod dns;
    mod registries;
    mod rig;
}
