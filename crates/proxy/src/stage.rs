//! The fixed places in a chain. Within a stage policies run in the order of the file.

/// Where in the chain a kind of policy runs, and why there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Compress last on the way out, so that everything inside sees plain bytes.
    Encode,
    /// Cheap and anonymous: address rules, size limits, CORS, limits keyed by address.
    Admit,
    /// Who: key, password, token, client certificate.
    Identify,
    /// May they: access lists, scopes, asking another service.
    Authorize,
    /// How much: after identity, so that it can be counted per consumer.
    Limit,
    /// Rewrite, transform, validate, version.
    Shape,
    /// Cache: innermost, keyed by what would be sent, so a hit never skips authorisation.
    Store,
}

impl Stage {
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Encode => "encode",
            Stage::Admit => "admit",
            Stage::Identify => "identify",
            Stage::Authorize => "authorize",
            Stage::Limit => "limit",
            Stage::Shape => "shape",
            Stage::Store => "store",
        }
    }
}
