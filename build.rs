//! How the program is linked.

use std::env;
use std::process::Command;

/// The first release of glibc that can load packed relocations.
const LOADS_PACKED: (u32, u32) = (2, 36);

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Packed, the relocations of a program take a tenth of the room. A program that is linked with
    // a glibc does not run with an older one anyhow, so the one that is here is the one to ask.
    let here = env::var("HOST") == env::var("TARGET");
    if here && glibc().is_some_and(|version| version >= LOADS_PACKED) {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The version of glibc on this machine, where it has one.
fn glibc() -> Option<(u32, u32)> {
    let said = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?.stdout;
    let said = String::from_utf8(said).ok()?;
    let (major, minor) = said.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
