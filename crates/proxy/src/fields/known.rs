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

/// The longest known name, and of how many words of eight bytes it is.
const LONGEST: usize = WORDS * 8;
const WORDS: usize = 3;

/// A name in lower case, eight bytes to a word.
type Folded = [u64; WORDS];

/// Upper-case letters of ASCII become lower-case ones, in all eight bytes at once.
const fn fold(word: u64) -> u64 {
    const EACH: u64 = u64::from_le_bytes([1; 8]);
    let low = word & (EACH * 0x7f);
    let from_a = low + EACH * (0x80 - b'A' as u64);
    let past_z = low + EACH * (0x7f - b'Z' as u64);
    let upper = (from_a ^ past_z) & !word & (EACH * 0x80);
    word | (upper >> 2)
}

const fn folded(padded: &[u8; LONGEST]) -> Folded {
    let (words, _) = padded.as_chunks::<8>();
    let mut out = [0; WORDS];
    let mut i = 0;
    while i < WORDS {
        out[i] = fold(u64::from_le_bytes(words[i]));
        i += 1;
    }
    out
}

/// Known names by a hash under which no two of them fall together, so that one comparison tells.
struct Table {
    factor: u64,
    /// One more than the number of the name, or 0.
    slots: [u8; 1 << SLOT_BITS],
    names: [Folded; Known::TEXT.len()],
}

const SLOT_BITS: u32 = 10;

const fn slot(name: &Folded, factor: u64) -> usize {
    let mixed = name[0] ^ name[1].rotate_left(23) ^ name[2].rotate_left(41);
    (mixed.wrapping_mul(factor) >> (u64::BITS - SLOT_BITS)) as usize
}

impl Table {
    /// Looks for a factor that keeps all names apart, while the program is compiled.
    const fn new() -> Self {
        let mut names = [[0; WORDS]; Known::TEXT.len()];
        let mut i = 0;
        while i < names.len() {
            let text = Known::TEXT[i].as_bytes();
            let mut padded = [0; LONGEST];
            let mut at = 0;
            while at < text.len() {
                padded[at] = text[at];
                at += 1;
            }
            names[i] = folded(&padded);
            i += 1;
        }
        let mut factor: u64 = 0x9e37_79b9_7f4a_7c15;
        loop {
            let mut slots = [0; 1 << SLOT_BITS];
            let mut i = 0;
            while i < names.len() && slots[slot(&names[i], factor)] == 0 {
                slots[slot(&names[i], factor)] = i as u8 + 1;
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
        let mut padded = [0; LONGEST];
        padded.get_mut(..name.len())?.copy_from_slice(name);
        let folded = folded(&padded);
        let at = usize::from(TABLE.slots[slot(&folded, TABLE.factor)]).checked_sub(1)?;
        // what ends in zeros would look like what is shorter
        let same = TABLE.names[at] == folded && Known::TEXT[at].len() == name.len();
        same.then(|| Known::ALL[at])
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
