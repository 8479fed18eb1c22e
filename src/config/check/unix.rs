//! What is not done on a Unix socket, and would be missed there.

use transom_settings::ListenAddress;

use super::Check;
use crate::config::{ClientAuth, Listener};

impl Check<'_> {
    /// Connections to a Unix socket are served as they come: nobody without an address is let in or
    /// turned away by it, and neither TLS nor the PROXY protocol is spoken.
    pub(super) fn on_unix(&mut self, listener: &Listener, path: &str) {
        let is_unix = |address: &ListenAddress| matches!(address, ListenAddress::Unix(_));
        let Some(address) = listener.address.iter().find(|address| is_unix(&address.value)) else {
            return;
        };
        let hint = "give the socket a listener of its own";
        if let Some(tls) = listener.tls.as_ref().filter(|_| listener.udp.is_none()) {
            let at = format!("{path}.tls");
            let what = match tls.client_certificates.mode {
                ClientAuth::Required => {
                    let what = format!("nobody is asked for a certificate on `{address}`");
                    self.error(tls.span, at, what)
                }
                ClientAuth::Off | ClientAuth::Optional => {
                    self.warning(tls.span, at, format!("no TLS is spoken on `{address}`"))
                }
            };
            what.note(address.span, "it is listened on here").hint(hint).done();
        }
        if listener.proxy_protocol.is_some() {
            let what = format!("no PROXY header is read on `{address}`");
            self.warning(address.span, format!("{path}.proxy-protocol"), what).hint(hint).done();
        }
        if !listener.clients.is_empty() {
            let what = format!("`clients` turns nobody away on `{address}`: they have no address");
            self.warning(address.span, format!("{path}.clients"), what).hint(hint).done();
        }
    }
}
