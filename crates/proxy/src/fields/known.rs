//! The names that Transom itself reads or writes, and how one is recognised.

/// Declares the known names once: the constant, its spelling on the wire.
macro_rules! known_names {
    ($($constant:ident = $text:literal),+ $(,)?) => {
        /// A field name that Transom knows by number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Known { $($constant),+ }

        impl Known {
            /// Every known name.
            pub const ALL: &[Known] = &[$(Known::$constant),+];
            const TEXT: &[&str] = &[$($text),+];
        }
    };
}

known_names! {
    Accept = "Accept",
    AcceptEncoding = "Accept-Encoding",
    AcceptRanges = "Accept-Ranges",
    Age = "Age",
    Allow = "Allow",
    AltSvc = "Alt-Svc",
    Authorization = "Authorization",
    CacheControl = "Cache-Control",
    CfConnectingIp = "CF-Connecting-IP",
    Connection = "Connection",
    ContentDisposition = "Content-Disposition",
    ContentEncoding = "Content-Encoding",
    ContentLength = "Content-Length",
    ContentRange = "Content-Range",
    ContentType = "Content-Type",
    Cookie = "Cookie",
    Date = "Date",
    ETag = "ETag",
    Expect = "Expect",
    Expires = "Expires",
    Forwarded = "Forwarded",
    Host = "Host",
    Http2Settings = "HTTP2-Settings",
    IfMatch = "If-Match",
    IfModifiedSince = "If-Modified-Since",
    IfNoneMatch = "If-None-Match",
    IfRange = "If-Range",
    IfUnmodifiedSince = "If-Unmodified-Since",
    KeepAlive = "Keep-Alive",
    LastModified = "Last-Modified",
    Location = "Location",
    MaxForwards = "Max-Forwards",
    Origin = "Origin",
    Proxy = "Proxy",
    ProxyAuthenticate = "Proxy-Authenticate",
    ProxyAuthorization = "Proxy-Authorization",
    ProxyConnection = "Proxy-Connection",
    ProxyStatus = "Proxy-Status",
    Range = "Range",
    Referer = "Referer",
    RetryAfter = "Retry-After",
    SecWebSocketAccept = "Sec-WebSocket-Accept",
    SecWebSocketKey = "Sec-WebSocket-Key",
    SecWebSocketVersion = "Sec-WebSocket-Version",
    Server = "Server",
    SetCookie = "Set-Cookie",
    Te = "TE",
    Traceparent = "Traceparent",
    Trailer = "Trailer",
    TransferEncoding = "Transfer-Encoding",
    TrueClientIp = "True-Client-IP",
    Upgrade = "Upgrade",
    UserAgent = "User-Agent",
    Vary = "Vary",
    Via = "Via",
    WwwAuthenticate = "WWW-Authenticate",
    XAspNetVersion = "X-AspNet-Version",
    XClientCert = "X-Client-Cert",
    XClientIp = "X-Client-IP",
    XForwardedFor = "X-Forwarded-For",
    XForwardedHost = "X-Forwarded-Host",
    XForwardedPort = "X-Forwarded-Port",
    XForwardedPrefix = "X-Forwarded-Prefix",
    XForwardedProto = "X-Forwarded-Proto",
    XForwardedScheme = "X-Forwarded-Scheme",
    XForwardedServer = "X-Forwarded-Server",
    XForwardedSsl = "X-Forwarded-Ssl",
    XForwardedUri = "X-Forwarded-Uri",
    XHttpMethod = "X-HTTP-Method",
    XHttpMethodOverride = "X-HTTP-Method-Override",
    XMethodOverride = "X-Method-Override",
    XOriginalUrl = "X-Original-URL",
    XPoweredBy = "X-Powered-By",
    XRealIp = "X-Real-IP",
    XRequestId = "X-Request-Id",
    XRewriteUrl = "X-Rewrite-URL",
}

/// The bytes of a name in three words, which tell it from every other name of its length.
type Words = [u64; 3];

/// The longest name that three words can tell from others.
const LONGEST: usize = 24;

/// What tells an upper-case letter of ASCII from the lower-case one, in all eight bytes.
const CASE: u64 = u64::from_le_bytes([0x20; 8]);

/// Both ends of the name, which may overlap, and the middle of a long one. Nothing is copied.
const fn words(name: &[u8]) -> Option<Words> {
    if let (Some(first), Some(last)) = (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        let middle = match name.split_at(8).1.first_chunk::<8>() {
            Some(_) if name.len() > LONGEST => return None,
            Some(middle) => u64::from_le_bytes(*middle),
            None => 0,
        };
        return Some([u64::from_le_bytes(*first), u64::from_le_bytes(*last), middle]);
    }
    if let (Some(first), Some(last)) = (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        return Some([u32::from_le_bytes(*first) as u64, u32::from_le_bytes(*last) as u64, 0]);
    }
    match name {
        [only] => Some([*only as u64, 0, 0]),
        [first, last] => Some([*first as u64, *last as u64, 0]),
        [first, middle, last] => Some([*first as u64, *last as u64, *middle as u64]),
        _ => None,
    }
}

/// Known names by a hash under which no two of them fall together, so that one comparison tells.
struct Table {
    factor: u64,
    /// One more than the number of the name, or 0.
    slots: [u8; 1 << SLOT_BITS],
    names: [Spelling; Known::TEXT.len()],
}

/// A known name as others are compared with it.
#[derive(Clone, Copy)]
struct Spelling {
    length: usize,
    words: Words,
    /// The bits in which another may differ: the case of its letters.
    case: Words,
}

const SLOT_BITS: u32 = 10;

const fn slot(words: &Words, length: usize, factor: u64) -> usize {
    let [first, last, middle] = *words;
    // Letters alike in either case. Others may fall together by it, which the comparison tells.
    let mixed = (first | CASE) ^ (last | CASE).rotate_left(23) ^ (middle | CASE).rotate_left(41);
    ((mixed ^ length as u64).wrapping_mul(factor) >> (u64::BITS - SLOT_BITS)) as usize
}

/// Where the letters are.
const fn letters(word: u64) -> u64 {
    let mut bytes = word.to_le_bytes();
    let mut i = 0;
    while i < bytes.len() {
        bytes[i] = if bytes[i].is_ascii_alphabetic() { 0x20 } else { 0 };
        i += 1;
    }
    u64::from_le_bytes(bytes)
}

impl Spelling {
    const fn of(text: &str) -> Self {
        let Some(words) = words(text.as_bytes()) else {
            panic!("a known name is longer than can be looked up")
        };
        let case = [letters(words[0]), letters(words[1]), letters(words[2])];
        Spelling { length: text.len(), words, case }
    }

    fn is(&self, words: &Words, length: usize) -> bool {
        let differ = |i: usize| (self.words[i] ^ words[i]) & !self.case[i];
        (self.length ^ length) as u64 | differ(0) | differ(1) | differ(2) == 0
    }
}

impl Table {
    /// Looks for a factor that keeps all names apart, while the program is compiled.
    const fn new() -> Self {
        let mut names = [Spelling::of("-"); Known::TEXT.len()];
        let mut i = 0;
        while i < names.len() {
            names[i] = Spelling::of(Known::TEXT[i]);
            i += 1;
        }
        let mut factor: u64 = 0x9e37_79b9_7f4a_7c15;
        loop {
            let mut slots = [0; 1 << SLOT_BITS];
            let mut i = 0;
            while i < names.len() {
                let at = slot(&names[i].words, names[i].length, factor);
                if slots[at] != 0 {
                    break;
                }
                slots[at] = i as u8 + 1;
                i += 1;
            }
            if i == names.len() {
                return Table { factor, slots, names };
            }
            factor = factor.wrapping_mul(0x5851_f42d_4c95_7f2d) | 1;
        }
    }
}

static TABLE: Table = Table::new();

impl Known {
    /// The usual spelling.
    pub fn text(self) -> &'static str {
        Known::TEXT[self as usize]
    }

    /// The known name spelled so in any case (ASCII only).
    pub fn of(name: &[u8]) -> Option<Known> {
        let words = words(name)?;
        let at = usize::from(TABLE.slots[slot(&words, name.len(), TABLE.factor)]).checked_sub(1)?;
        TABLE.names[at].is(&words, name.len()).then(|| Known::ALL[at])
    }
}

/// Some of the known names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnownSet(u128);

const _: () = assert!(Known::ALL.len() <= u128::BITS as usize);

impl KnownSet {
    pub const NONE: KnownSet = KnownSet(0);

    pub const fn of(names: &[Known]) -> Self {
        let mut set = 0;
        let mut i = 0;
        while i < names.len() {
            set |= 1 << names[i] as u8;
            i += 1;
        }
        KnownSet(set)
    }

    pub const fn has(self, name: Known) -> bool {
        self.0 >> name as u8 & 1 != 0
    }

    pub const fn and(self, others: KnownSet) -> Self {
        KnownSet(self.0 | others.0)
    }

    pub const fn without(self, others: KnownSet) -> Self {
        KnownSet(self.0 & !others.0)
    }

    /// Whether the two have any name in common.
    pub const fn meets(self, others: KnownSet) -> bool {
        self.0 & others.0 != 0
    }

    pub(super) fn insert(&mut self, name: Known) {
        self.0 |= 1 << name as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_found_in_any_case() {
        for known in Known::ALL {
            let text = known.text();
            assert_eq!(Known::of(text.as_bytes()), Some(*known));
            assert_eq!(Known::of(text.to_uppercase().as_bytes()), Some(*known));
            assert_eq!(Known::of(text.to_lowercase().as_bytes()), Some(*known));
        }
    }

    #[test]
    fn nothing_else_is_known() {
        for known in Known::ALL {
            let text = known.text().as_bytes();
            for at in 0..text.len() {
                for other in 0..=u8::MAX {
                    let mut name = text.to_vec();
                    name[at] = other;
                    let alike =
                        Known::ALL.iter().find(|k| k.text().as_bytes().eq_ignore_ascii_case(&name));
                    assert_eq!(Known::of(&name), alike.copied(), "{}", name.escape_ascii());
                }
            }
            assert_eq!(Known::of(&text[1..]), None);
            assert_eq!(Known::of(&[text, b"\0"].concat()), None, "{}", known.text());
        }
        assert_eq!(Known::of(b""), None);
        assert_eq!(Known::of(&[0; 8]), None);
        assert_eq!(Known::of(&[b'a'; LONGEST + 1]), None);
    }
}
