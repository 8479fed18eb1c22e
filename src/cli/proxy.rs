//! `transom proxy`: the file that the words of the command line stand for.

use std::path::PathBuf;

use clap::Args;
use transom_settings::{FromText, ListenAddress, Refusal, json::json, quote};

use crate::config::Target;
use crate::load::Source;

#[derive(Clone, Debug, Args)]
pub(super) struct Proxy {
    /// Where to accept: `:8080` for every address, `127.0.0.1:8080`, or `unix:/path`.
    #[arg(long, value_name = "ADDR")]
    listen: String,
    /// Where to send: `127.0.0.1:3000`, `https://shop.example`, or `unix:/path`.
    #[arg(long, value_name = "ADDR|URL")]
    to: String,
    /// Encrypt, with a certificate made for `localhost` that no browser trusts.
    #[arg(long)]
    tls: bool,
}

impl Proxy {
    /// The configuration to run.
    ///
    /// # Errors
    /// What is wrong with the words.
    pub(super) fn source(&self) -> Result<Source, String> {
        let said = |option: &str, refusal: Refusal| {
            let hint = refusal.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
            format!("{option}: {}{hint}", refusal.what)
        };
        ListenAddress::from_text(&self.listen).map_err(|refusal| said("--listen", refusal))?;
        let to = Target::from_text(&self.to).map_err(|refusal| said("--to", refusal))?;
        let Target::Address { tls: upstream_tls, .. } = to else {
            let (to, meant) = (quote(&self.to), quote(&Target::meant(&self.to)));
            return Err(format!("--to: {to} is not an address; did you mean {meant}?"));
        };
        // what stands in front of a public site must ask for it by its name
        let host = if upstream_tls { "upstream" } else { "keep" };
        let mut listener = json!({
            "address": plain(&self.listen),
            "routes": [{ "forward": plain(&self.to), "rewrite": { "host": host } }],
        });
        if self.tls {
            let names = ["localhost", "127.0.0.1", "[::1]"];
            listener["tls"] = json!({ "self-signed": names, "unknown-names": "first" });
        }
        let config = json!({
            "log": { "access": { "format": "text" } },
            "listeners": { "proxy": listener },
        });
        // JSON is YAML
        let text = format!("{config:#}\n");
        Ok(Source::Text { path: PathBuf::from("(transom proxy)"), text })
    }

    /// What is said once it serves.
    pub(super) fn announcement(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme} on {} goes to {}; Ctrl-C ends it\n", self.listen, self.to)
    }
}

/// A word as it is, not as a reference to the environment.
fn plain(word: &str) -> String {
    word.replace("${", "$${")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_become_a_configuration_that_has_no_finding() {
        for (listen, to, tls, expected) in [
            (":8080", "127.0.0.1:3000", false, Ok("keep")),
            (":8443", "127.0.0.1:3000", true, Ok("keep")),
            ("127.0.0.1:0", "https://shop.example", false, Ok("upstream")),
            ("unix:/tmp/${A}.sock", "unix:/run/app.sock", false, Ok("keep")),
            (
                "8080",
                "127.0.0.1:3000",
                false,
                Err(
                    "--listen: `8080` is not an address to listen on: it is only a port; did you mean `:8080`?",
                ),
            ),
            (
                ":8080",
                "localhost",
                false,
                Err("--to: `localhost` is not an address; did you mean `localhost:80`?"),
            ),
            (
                ":8080",
                "3000",
                false,
                Err("--to: `3000` is not an address; did you mean `127.0.0.1:3000`?"),
            ),
            (
                ":8080",
                "http://",
                false,
                Err(
                    "--to: `http://` is not where a request can go: it has no host; name the host, such as `http://127.0.0.1:3000`",
                ),
            ),
            (
                ":8080",
                "ftp://a",
                false,
                Err(
                    "--to: `ftp://a` is not where a request can go: only `http://` and `https://` are known",
                ),
            ),
        ] {
            let proxy = Proxy { listen: listen.into(), to: to.into(), tls };
            match (proxy.source(), expected) {
                (Ok(Source::Text { path, text }), Ok(host)) => {
                    let loaded = crate::load::from_text(&path, &text, false, &|_| None);
                    let loaded = loaded.unwrap_or_else(|findings| panic!("{}", findings.render()));
                    assert!(loaded.findings.is_empty(), "{}", loaded.findings.render());
                    let listener = loaded.config.listeners.values().next().unwrap();
                    assert_eq!(listener.address[0].to_string(), listen);
                    assert_eq!(listener.tls.is_some(), tls);
                    let route = listener.routes.iter().next().unwrap();
                    let shown = transom_settings::FromText::to_json(&route.rewrite.host);
                    assert_eq!(shown, host);
                }
                (Err(what), Err(expected)) => assert_eq!(what, expected),
                (found, _) => panic!("{listen} {to}: {found:?}"),
            }
        }
    }
}
