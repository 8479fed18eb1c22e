//! The files that a configuration names, once read: certificates, keys, authorities, error pages.
//!
//! Nothing else opens them. What is served from disk while running (`files:`) is not read here.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use transom_net::blocks::Blocks;
use transom_net::tls::client::Roots;
use transom_net::tls::server::Pem;
use transom_settings::Diagnostics;

use crate::config::Config;
use crate::load::{Seen, Stamp};

mod reading;
mod self_signed;

use self_signed::SelfSigned;

/// What a configuration refers to, in memory.
#[derive(Debug)]
pub struct Materials {
    base: PathBuf,
    /// By the path as it is written.
    files: HashMap<PathBuf, Bytes>,
    /// By the name of the listener.
    self_signed: HashMap<String, SelfSigned>,
    system_roots: Option<Roots>,
    /// Blocks of addresses, by the path as it is written.
    lists: HashMap<PathBuf, List>,
}

/// A list of blocks as it was read.
#[derive(Clone, Debug)]
struct List {
    blocks: Arc<Blocks>,
    stamp: Stamp,
    /// How long reading took; none where an earlier reading goes on.
    took: Option<Duration>,
}

impl Materials {
    /// Reads every file that the configuration names; relative paths start at `base`. `seen` is told of
    /// each, also of one that is not there: it may come.
    ///
    /// # Errors
    /// A finding for each that cannot be read, at its place in the configuration.
    pub fn load(config: &Config, base: &Path, seen: &mut Seen) -> Result<Self, Diagnostics> {
        reading::read(config, base, None, seen)
    }

    /// As [`Materials::load`], going on with what an earlier run has and need not change: lists
    /// whose files did not, and the certificates made for the same names: who has accepted one by
    /// hand need not do so again after a reload.
    ///
    /// # Errors
    /// As there.
    pub fn following(
        config: &Config,
        base: &Path,
        previous: &Self,
        seen: &mut Seen,
    ) -> Result<Self, Diagnostics> {
        let mut materials = reading::read(config, base, Some(previous), seen)?;
        for (listener, made) in &mut materials.self_signed {
            let earlier = previous.self_signed.get(listener);
            if let Some(earlier) = earlier.filter(|earlier| earlier.names == made.names) {
                *made = earlier.clone();
            }
        }
        Ok(materials)
    }

    /// What a file held, by the path that the configuration writes.
    pub fn file(&self, path: &Path) -> Option<&Bytes> {
        self.files.get(path)
    }

    /// The blocks that a file lists, by the path that the configuration writes.
    pub fn list(&self, path: &Path) -> Option<&Arc<Blocks>> {
        self.lists.get(path).map(|list| &list.blocks)
    }

    /// Which lists were read this time: where, how many blocks, bytes of memory, and how long it
    /// took.
    pub fn lists_read(&self) -> impl Iterator<Item = (&Path, usize, usize, Duration)> {
        self.lists.iter().filter_map(|(path, list)| {
            Some((path.as_path(), list.blocks.len(), list.blocks.size(), list.took?))
        })
    }

    /// Where a path of the configuration leads.
    pub fn resolve(&self, path: &Path) -> PathBuf {
        self.base.join(path)
    }

    /// The certificate made for a listener that has `self-signed`.
    pub fn self_signed(&self, listener: &str) -> Option<&Pem> {
        self.self_signed.get(listener).map(|made| &made.pem)
    }

    /// The authorities that the system trusts.
    pub fn system_roots(&self) -> Roots {
        self.system_roots.clone().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
