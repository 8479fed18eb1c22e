//! What the file says of consumers.

use transom_settings::{Map, Name, Secret, Spanned, settings};

use super::digest::Digest;
use crate::moment::Moment;

settings! {
    /// A client of the API that has a name, and what it proves itself with.
    pub struct Consumer {
        /// Groups it belongs to, for rules about who may do what.
        pub groups: Vec<Name> = Vec::new(),
        /// What it may do, such as `orders:read`, where its credential does not say less.
        pub scopes: Vec<String> = Vec::new(),
        /// The limits it shares with others of the same plan.
        pub plan: Option<Spanned<Name>> = None,
        /// Remarks, such as a team or a contract. No rule looks at them.
        pub labels: Map<Name, String> = Map::new(),
        /// Keys for `api-key`.
        pub keys: Vec<Spanned<ConsumerKey>> = Vec::new(),
        /// Passwords for `basic-auth`, hashed.
        pub passwords: Vec<Spanned<ConsumerPassword>> = Vec::new(),
        /// Secrets with which requests are signed, for `hmac` and `http-signature`.
        pub secrets: Vec<Spanned<ConsumerSecret>> = Vec::new(),
        /// Public keys of who signs requests, for `http-signature`.
        pub public_keys: Vec<Spanned<ConsumerPublicKey>> = Vec::new(),
        /// Certificates for `client-certificate`.
        pub certificates: Vec<Spanned<ConsumerCertificate>> = Vec::new(),
    }

    /// A key of a consumer: itself, or its digest.
    pub struct ConsumerKey short(secret) {
        /// The key, of at least 16 letters.
        pub secret: Option<Secret> = None,
        /// In its place its SHA-256, so that the key stands nowhere.
        pub sha256: Option<Digest> = None,
        /// From when on it is refused.
        pub expires: Option<Moment> = None,
        /// What it allows, where that is less than what its consumer may do.
        pub scopes: Option<Vec<String>> = None,
    }

    /// A password of a consumer.
    pub struct ConsumerPassword short(hash) {
        /// Its hash, as `htpasswd -nB` prints it behind the name: argon2id, bcrypt, or one of the
        /// older forms of Apache.
        pub hash: Secret,
        /// The name that goes with it; that of the consumer where there is none.
        pub user: Option<String> = None,
    }

    /// A secret that a consumer and Transom share.
    pub struct ConsumerSecret short(secret) {
        /// What requests call it by; the name of the consumer where there is none.
        pub id: Option<String> = None,
        /// The secret, of at least 16 letters.
        pub secret: Secret,
    }

    /// The public key of who signs.
    pub struct ConsumerPublicKey short(pem) {
        /// What requests call it by; the name of the consumer where there is none.
        pub id: Option<String> = None,
        /// In PEM (`BEGIN PUBLIC KEY`): Ed25519, ECDSA on P-256 or P-384, or RSA of at least 2048 bits.
        pub pem: String,
    }

    /// What tells a client certificate that the listener has verified. All that is given must hold.
    pub struct ConsumerCertificate short(san) {
        /// The whole subject, as `{tls.client.subject}` has it: `CN=billing, O=Shop\, Inc.`, where special
        /// characters of a value are escaped as in RFC 4514.
        pub subject: Option<String> = None,
        /// A name in it: DNS name, URI or mail address.
        pub san: Option<String> = None,
        /// Its SHA-256 in hexadecimal.
        pub fingerprint: Option<Digest> = None,
    }
}
