//! Settings of the way in for operators.

use std::path::PathBuf;

use transom_settings::{ListenAddress, Secret, Spanned, settings};

/// Characters of a token; fewer could be tried out.
pub const SHORTEST_TOKEN: usize = 16;

settings! {
    /// How the running program is looked into and steered.
    pub struct Admin {
        /// The Unix socket, readable only by its owner. By default `transom/admin.sock` below the
        /// runtime directory of the user.
        pub socket: Option<Spanned<PathBuf>> = None,
        /// An address of this machine to answer on as well. It needs a token.
        pub address: Option<Spanned<ListenAddress>> = None,
        /// What requests to the address prove themselves with: `Authorization: Bearer <token>`.
        pub token: Option<Secret> = None,
    }
}
