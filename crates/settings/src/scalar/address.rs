//! Addresses to listen on and to connect to.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use super::cidr::ip;
use super::host::host_name;
use crate::decode::{FromText, Refusal};
use crate::diagnostic::quote;

/// Where to accept: `0.0.0.0:80`, `[::]:443`, `:80` for every address of the machine, or
/// `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListenAddress {
    /// Every IPv4 and IPv6 address of the machine.
    Any(u16),
    Ip(SocketAddr),
    Unix(PathBuf),
}

impl ListenAddress {
    pub fn port(&self) -> Option<u16> {
        match self {
            ListenAddress::Any(port) => Some(*port),
            ListenAddress::Ip(address) => Some(address.port()),
            ListenAddress::Unix(_) => None,
        }
    }

    /// As the system takes it; `:80` is every address of the machine. None for a Unix socket.
    pub fn socket_address(&self) -> Option<SocketAddr> {
        match self {
            ListenAddress::Any(port) => Some((Ipv6Addr::UNSPECIFIED, *port).into()),
            ListenAddress::Ip(address) => Some(*address),
            ListenAddress::Unix(_) => None,
        }
    }

    /// Whether only this machine can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            ListenAddress::Any(_) => false,
            ListenAddress::Ip(address) => address.ip().is_loopback(),
            ListenAddress::Unix(_) => true,
        }
    }

    /// Whether who connects there on this machine comes here, as far as the addresses tell.
    pub fn is_reached_by(&self, endpoint: &EndpointAddress) -> bool {
        let (host, port) = match (self, endpoint) {
            (ListenAddress::Unix(ours), EndpointAddress::Unix(theirs)) => return ours == theirs,
            (_, EndpointAddress::Tcp { host, port }) => (host, port),
            _ => return false,
        };
        if self.port() != Some(*port) {
            return false;
        }
        let here = |ip: &IpAddr| ip.is_loopback() || ip.is_unspecified();
        match (self, host) {
            (ListenAddress::Any(_), EndpointHost::Ip(ip)) => here(ip),
            (ListenAddress::Ip(ours), EndpointHost::Ip(ip)) => {
                let every = ours.ip().is_unspecified() && ours.is_ipv4() == ip.is_ipv4();
                ours.ip() == *ip || every && here(ip)
            }
            (ListenAddress::Any(_), EndpointHost::Name(name)) => name == "localhost",
            (ListenAddress::Ip(ours), EndpointHost::Name(name)) => {
                name == "localhost" && here(&ours.ip())
            }
            (ListenAddress::Unix(_), _) => false,
        }
    }

    /// Whether both cannot be listened on at once. Port zero is a new port each time.
    pub fn clashes(&self, other: &ListenAddress) -> bool {
        use ListenAddress::{Any, Ip, Unix};
        match (self, other) {
            (Unix(ours), Unix(theirs)) => ours == theirs,
            (Unix(_), _) | (_, Unix(_)) => false,
            _ if self.port() != other.port() || self.port() == Some(0) => false,
            (Any(_), _) | (_, Any(_)) => true,
            (Ip(ours), Ip(theirs)) => {
                ours.ip() == theirs.ip()
                    || (ours.is_ipv4() == theirs.is_ipv4()
                        && (ours.ip().is_unspecified() || theirs.ip().is_unspecified()))
            }
        }
    }
}

impl FromText for ListenAddress {
    const WHAT: &'static str = "an address such as `0.0.0.0:80`, `:80` or `unix:/path`";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        if let Some(path) = text.strip_prefix("unix:") {
            return unix(text, path).map(ListenAddress::Unix);
        }
        let refuse = |why: &str| {
            Refusal::new(format!("{} is not an address to listen on: {why}", quote(text)))
        };
        let example = "write an IP address and a port such as `0.0.0.0:443`, or `:443` for all";
        if !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit()) {
            return Err(refuse("it is only a port").hint(format!("did you mean `:{text}`?")));
        }
        let (host, port) = split(text).map_err(|why| refuse(why).hint(example))?;
        match host {
            "" | "*" => Ok(ListenAddress::Any(port)),
            "localhost" => Err(refuse("a name may stand for several addresses")
                .hint(format!("did you mean `127.0.0.1:{port}`?"))),
            host => match ip(host) {
                Ok(address) => Ok(ListenAddress::Ip(SocketAddr::new(address, port))),
                Err(_) => Err(refuse("its host is no IP address").hint(example)),
            },
        }
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "string", "examples": [":443", "0.0.0.0:80", "unix:/run/x.sock"] })
    }

    fn to_json(&self) -> serde_json::Value {
        self.to_string().into()
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Any(port) => write!(f, ":{port}"),
            ListenAddress::Ip(address) => address.fmt(f),
            ListenAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Where to connect: `host:port`, or `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointAddress {
    Tcp { host: EndpointHost, port: u16 },
    Unix(PathBuf),
}

/// A machine, by address or by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointHost {
    Ip(IpAddr),
    Name(String),
}

impl EndpointHost {
    pub fn from_text(text: &str) -> Result<Self, Refusal> {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        match ip(bare) {
            Ok(address) => Ok(EndpointHost::Ip(address)),
            Err(_) => host_name(text).map(EndpointHost::Name),
        }
    }
}

impl fmt::Display for EndpointHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EndpointHost::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
            EndpointHost::Ip(address) => address.fmt(f),
            EndpointHost::Name(name) => f.write_str(name),
        }
    }
}

impl FromText for EndpointAddress {
    const WHAT: &'static str = "an address such as `10.0.0.1:8080` or `unix:/path`";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        if let Some(path) = text.strip_prefix("unix:") {
            return unix(text, path).map(EndpointAddress::Unix);
        }
        let refuse = |why: &str| Refusal::new(format!("{} is not an endpoint: {why}", quote(text)));
        if text.contains("://") {
            let (scheme, rest) = text.split_once("://").unwrap_or_default();
            let (bare, path) = rest.split_once('/').unwrap_or((rest, ""));
            let hint = match path {
                "" if scheme == "https" => {
                    format!("did you mean `{bare}`, with `tls: {{}}` beside?")
                }
                "" => format!("did you mean `{bare}`?"),
                path => format!(
                    "did you mean `{bare}`? `rewrite: {{ add-prefix: /{path} }}` in the route adds the path"
                ),
            };
            return Err(refuse("it is a URL").hint(hint));
        }
        if text.contains([',', ' ']) {
            return Err(
                refuse("it is more than one word").hint("write several as a list: `[a, b]`")
            );
        }
        let (host, port) =
            split(text).map_err(|why| refuse(why).hint("write a host and a port"))?;
        if host.is_empty() {
            return Err(refuse("it has no host").hint(format!("did you mean `127.0.0.1:{port}`?")));
        }
        if port == 0 {
            return Err(refuse("the port is zero"));
        }
        let host = EndpointHost::from_text(host)
            .map_err(|refusal| Refusal { hint: refusal.hint, ..refuse(&refusal.what) })?;
        Ok(EndpointAddress::Tcp { host, port })
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({
            "type": "string",
            "examples": ["10.0.0.1:8080", "orders.internal:8080", "unix:/run/app.sock"],
        })
    }

    fn to_json(&self) -> serde_json::Value {
        self.to_string().into()
    }
}

impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EndpointAddress::Tcp { host, port } => write!(f, "{host}:{port}"),
            EndpointAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Host and port; the host may be empty, an IPv6 host stands in brackets, which are removed.
fn split(text: &str) -> Result<(&str, u16), &'static str> {
    let (host, port) = text.rsplit_once(':').ok_or("it has no port")?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']').ok_or("it has no `]` before the port")?,
        None if host.contains(':') => return Err("an IPv6 address stands in `[ ]`"),
        None => host,
    };
    if port.is_empty() || !port.bytes().all(|c| c.is_ascii_digit()) {
        return Err("the port is not a number");
    }
    let port = port.parse().map_err(|_| "the port is more than 65535")?;
    Ok((host, port))
}

/// Longest path a Unix socket can have on Linux, without the zero at its end.
const UNIX_LENGTH: usize = 107;

fn unix(text: &str, path: &str) -> Result<PathBuf, Refusal> {
    let refuse =
        |why: String| Refusal::new(format!("{} is not the path of a socket: {why}", quote(text)));
    // `unix:///run/x` is how URLs write it
    let path = path.strip_prefix("//").filter(|path| path.starts_with('/')).unwrap_or(path);
    if !path.starts_with('/') {
        return Err(refuse("it does not begin with `/`".into()));
    }
    if path.len() > UNIX_LENGTH {
        return Err(refuse(format!("it is longer than {UNIX_LENGTH} bytes")));
    }
    if path.contains('\0') {
        return Err(refuse("it holds a zero byte".into()));
    }
    if path.contains(char::is_control) {
        return Err(refuse("it holds a control character".into()));
    }
    Ok(PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_to_listen() {
        crate::scalar::check::<ListenAddress>(&[
            ("0.0.0.0:80", Ok("0.0.0.0:80")),
            (":80", Ok(":80")),
            ("*:80", Ok(":80")),
            ("[::]:443", Ok("[::]:443")),
            ("unix:/run/x.sock", Ok("unix:/run/x.sock")),
            (
                "unix:/x\ninfo: y",
                Err(
                    "`unix:/x\u{fffd}info: y` is not the path of a socket: it holds a control character",
                ),
            ),
            ("127.0.0.1:0", Ok("127.0.0.1:0")),
            ("80", Err("`80` is not an address to listen on: it is only a port")),
            ("0.0.0.0", Err("`0.0.0.0` is not an address to listen on: it has no port")),
            (
                "::1:80",
                Err("`::1:80` is not an address to listen on: an IPv6 address stands in `[ ]`"),
            ),
            (
                "0.0.0.0:http",
                Err("`0.0.0.0:http` is not an address to listen on: the port is not a number"),
            ),
            (
                "0.0.0.0:99999",
                Err("`0.0.0.0:99999` is not an address to listen on: the port is more than 65535"),
            ),
            (
                "shop.example:80",
                Err("`shop.example:80` is not an address to listen on: its host is no IP address"),
            ),
            (
                "localhost:80",
                Err(
                    "`localhost:80` is not an address to listen on: a name may stand for several addresses",
                ),
            ),
            ("unix:x", Err("`unix:x` is not the path of a socket: it does not begin with `/`")),
            ("", Err("`` is not an address to listen on: it has no port")),
        ]);
    }

    #[test]
    fn which_listener_an_endpoint_is() {
        for (listener, endpoint, expected) in [
            (":80", "127.0.0.1:80", true),
            (":80", "[::1]:80", true),
            (":80", "localhost:80", true),
            (":80", "0.0.0.0:80", true),
            (":80", "10.0.0.1:80", false),
            (":80", "127.0.0.1:81", false),
            (":80", "a.example:80", false),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:80", "localhost:80", true),
            ("10.0.0.1:80", "10.0.0.1:80", true),
            ("10.0.0.1:80", "localhost:80", false),
            ("unix:/run/a", "unix:/run/a", true),
            ("unix:/run/a", "unix:/run/b", false),
            ("unix:/run/a", "127.0.0.1:80", false),
        ] {
            let ours = ListenAddress::from_text(listener).unwrap();
            let theirs = EndpointAddress::from_text(endpoint).unwrap();
            assert_eq!(ours.is_reached_by(&theirs), expected, "{listener} {endpoint}");
        }
    }

    #[test]
    fn where_to_connect() {
        crate::scalar::check::<EndpointAddress>(&[
            ("10.0.0.1:8080", Ok("10.0.0.1:8080")),
            ("[::1]:8080", Ok("[::1]:8080")),
            ("Orders.internal:80", Ok("orders.internal:80")),
            ("localhost:80", Ok("localhost:80")),
            ("unix:/run/a", Ok("unix:/run/a")),
            ("unix:///run/a", Ok("unix:/run/a")),
            (":80", Err("`:80` is not an endpoint: it has no host")),
            ("a:1, b:2", Err("`a:1, b:2` is not an endpoint: it is more than one word")),
            ("a:0", Err("`a:0` is not an endpoint: the port is zero")),
            ("10.0.0.1", Err("`10.0.0.1` is not an endpoint: it has no port")),
            ("http://a:80/", Err("`http://a:80/` is not an endpoint: it is a URL")),
        ]);
    }

    #[test]
    fn u_11_an_endpoint_is_not_written_so_that_it_is_read_in_two_ways() {
        let number = "it ends in a number but is no IPv4 address";
        for host in ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "a.0x7f"] {
            let text = format!("{host}:80");
            let refused = EndpointAddress::from_text(&text).unwrap_err();
            assert!(refused.what.ends_with(number), "{text}: {}", refused.what);
        }
        for text in ["file:///etc/passwd", "gopher://a:70/", "http://169.254.169.254/", "a@b:80"] {
            assert!(EndpointAddress::from_text(text).is_err(), "{text}");
        }
    }

    #[test]
    fn clashes() {
        for (a, b, expected) in [
            (":80", "127.0.0.1:80", true),
            (":80", ":81", false),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("0.0.0.0:80", "[::1]:80", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("unix:/a", "unix:/a", true),
            ("unix:/a", ":80", false),
        ] {
            let address = |text| ListenAddress::from_text(text).unwrap();
            assert_eq!(address(a).clashes(&address(b)), expected, "{a} {b}");
            assert_eq!(address(b).clashes(&address(a)), expected, "{b} {a}");
        }
    }
}
