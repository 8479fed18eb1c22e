//! Who may connect or ask, by address.

use std::path::PathBuf;

use transom_settings::{Cidr, Spanned, settings};

settings! {
    /// Who passes, by address. The most specific block decides; one that stands on both sides is
    /// denied. Where there is anything to allow, who is on neither side is denied.
    ///
    /// Files hold one block a line; what follows `#` or `;` is a comment. They may have millions,
    /// and are read again at a reload.
    pub struct Addresses {
        /// Who passes.
        pub allow: Vec<Spanned<Cidr>> = Vec::new(),
        /// Files of those who pass.
        pub allow_files: Vec<Spanned<PathBuf>> = Vec::new(),
        /// Who does not.
        pub deny: Vec<Spanned<Cidr>> = Vec::new(),
        /// Files of those who do not.
        pub deny_files: Vec<Spanned<PathBuf>> = Vec::new(),
    }

    /// Lets clients pass or not, by their address. The most specific block decides; one that stands on
    /// both sides is denied. Where there is anything to allow, who is on neither side is denied.
    pub struct AddressPolicy {
        /// Who passes.
        pub allow: Vec<Spanned<Cidr>> = Vec::new(),
        /// Files of those who pass, with one block a line.
        pub allow_files: Vec<Spanned<PathBuf>> = Vec::new(),
        /// Who does not.
        pub deny: Vec<Spanned<Cidr>> = Vec::new(),
        /// Files of those who do not.
        pub deny_files: Vec<Spanned<PathBuf>> = Vec::new(),
        /// Whether who would be denied passes: the request is marked in the access log (`dry_run`) and
        /// counted in `transom_dry_run_total`.
        pub dry_run: bool = false,
    }
}

impl AddressPolicy {
    /// Who passes.
    pub fn addresses(&self) -> Addresses {
        Addresses {
            allow: self.allow.clone(),
            allow_files: self.allow_files.clone(),
            deny: self.deny.clone(),
            deny_files: self.deny_files.clone(),
        }
    }
}

impl Addresses {
    /// Whether it says nothing: everybody passes.
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty()
            && self.allow_files.is_empty()
            && self.deny.is_empty()
            && self.deny_files.is_empty()
    }
}
