//! The files that a configuration names, once read: certificates, keys, authorities, error pages.
//!
//! Nothing else opens them. What is served from disk while running (`files:`) is not read here.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use transom_net::blocks::Blocks;
use transom_net::blocks::text::{self, BadLine};
use transom_net::tls::client::{Roots, system_roots};
use transom_net::tls::server::Pem;
use transom_settings::{Diagnostic, Diagnostics, HostPattern, Span, Spanned, StatusPattern, quote};

use crate::config::{
    Action, Addresses, Config, Driver, Placed, Policy, PolicyUse, Source, Target, Tls,
};
use crate::load::{read_bytes, reason};

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
    seen: Vec<(PathBuf, Stamp)>,
}

/// A list of blocks as it was read.
#[derive(Clone, Debug)]
struct List {
    blocks: Arc<Blocks>,
    stamp: Stamp,
    /// How long reading took; none where an earlier reading goes on.
    took: Option<Duration>,
}

/// A certificate made for a listener that asked for one.
#[derive(Clone, Debug)]
struct SelfSigned {
    names: Vec<String>,
    pem: Pem,
}

/// What shows that a file has changed; `None` where it cannot be looked at.
type Stamp = Option<(SystemTime, u64)>;

fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

impl Materials {
    /// Reads every file that the configuration names; relative paths start at `base`.
    ///
    /// # Errors
    /// A finding for each that cannot be read, at its place in the configuration.
    pub fn load(config: &Config, base: &Path) -> Result<Self, Diagnostics> {
        Self::read(config, base, None)
    }

    /// As [`Materials::load`], going on with what an earlier run has and need not change: lists
    /// whose files did not, and the certificates made for the same names: who has accepted one by
    /// hand need not do so again after a reload.
    ///
    /// # Errors
    /// As there.
    pub fn following(config: &Config, base: &Path, previous: &Self) -> Result<Self, Diagnostics> {
        let mut materials = Self::read(config, base, Some(previous))?;
        for (listener, made) in &mut materials.self_signed {
            let earlier = previous.self_signed.get(listener);
            if let Some(earlier) = earlier.filter(|earlier| earlier.names == made.names) {
                *made = earlier.clone();
            }
        }
        Ok(materials)
    }

    fn read(config: &Config, base: &Path, previous: Option<&Self>) -> Result<Self, Diagnostics> {
        let mut reading = Reading {
            materials: Materials {
                base: base.to_owned(),
                files: HashMap::new(),
                self_signed: HashMap::new(),
                system_roots: None,
                lists: HashMap::new(),
                seen: Vec::new(),
            },
            earlier: previous.map(|previous| &previous.lists),
            findings: Diagnostics::new(),
        };
        for (name, listener) in config.listeners.iter() {
            let at = format!("listeners.{name}");
            if let Some(tls) = &listener.tls {
                reading.tls(name, tls, &format!("{at}.tls"));
            }
            reading.pages(&listener.error_pages, &at);
            reading.lists(&listener.clients, &format!("{at}.clients"));
        }
        for placed in config.written_routes() {
            reading.route(&placed);
        }
        for (name, api) in config.apis.iter() {
            for (version, settings) in api.settings.versions.iter() {
                if let Some(document) = &settings.openapi {
                    reading.file(document, format!("apis.{name}.versions.{version}.openapi"));
                }
            }
        }
        for (name, policy) in config.policies.iter() {
            reading.policy(policy, &format!("policies.{name}"));
        }
        let relayed = config.listeners.values().filter_map(|listener| listener.tcp.as_ref());
        for tcp in relayed {
            let routes = tcp.routes.iter().map(|route| &route.forward);
            if tcp.forward.iter().chain(routes).any(|to| to.value.is_tls()) {
                reading.system_roots();
            }
        }
        for (name, pool) in config.pools.iter() {
            for (index, source) in pool.sources.iter().enumerate() {
                reading.registry(source, &format!("pools.{name}.sources[{index}]"));
            }
            if let Some(Driver::Webhook(url)) = pool.scale.as_ref().map(|scale| &scale.driver)
                && url.tls
            {
                reading.system_roots();
            }
            let Some(tls) = pool.tls.on() else { continue };
            let at = format!("pools.{name}.tls");
            match &tls.ca {
                Some(ca) => reading.file(ca, format!("{at}.ca")),
                None => reading.system_roots(),
            }
            if let Some(own) = &tls.client_certificate {
                reading.file(&own.certificate, format!("{at}.client-certificate.certificate"));
                reading.file(&own.key, format!("{at}.client-certificate.key"));
            }
        }
        match reading.findings.is_empty() {
            true => Ok(reading.materials),
            false => Err(reading.findings),
        }
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

    /// Every file that was read.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.seen.iter().map(|(path, _)| path.as_path())
    }

    /// Whether any file that was read has another time or size than then. Looks at each.
    pub fn changed(&self) -> bool {
        self.seen.iter().any(|(path, then)| stamp(path) != *then)
    }
}

struct Reading<'a> {
    materials: Materials,
    /// What an earlier run has.
    earlier: Option<&'a HashMap<PathBuf, List>>,
    findings: Diagnostics,
}

impl Reading<'_> {
    fn route(&mut self, placed: &Placed<'_>) {
        let (route, at) = (placed.route, &*placed.path);
        self.pages(&route.error_pages, at);
        for (index, policy) in route.policies.numbered() {
            if let PolicyUse::Inline(policy) = policy {
                self.policy(policy, &placed.policy(index));
            }
        }
        match &route.action {
            Action::Files(files) => self.directory(&files.root, at),
            Action::Forward(forward) => {
                if let Target::Address { tls: true, .. } = forward.to.value {
                    self.system_roots();
                }
            }
            Action::Compose(compose) => {
                if compose.targets().iter().any(|(_, target)| target.is_tls()) {
                    self.system_roots();
                }
            }
            Action::Redirect(_) | Action::Respond(_) | Action::Portal(_) => {}
        }
    }

    fn policy(&mut self, policy: &Policy, at: &str) {
        match policy {
            Policy::Address(rule) => self.lists(&rule.addresses(), &format!("{at}.address")),
            Policy::Headers(_) => {}
            Policy::Rule(rule) => {
                for file in rule.files() {
                    self.file(file, format!("{at}.{}", rule.kind()));
                }
                let encrypted =
                    |target: &Target| matches!(target, Target::Address { tls: true, .. });
                if rule.targets().iter().any(|(_, target)| encrypted(target)) {
                    self.system_roots();
                }
            }
        }
    }

    /// Whom to trust that a registry is what it says.
    fn registry(&mut self, source: &Source, at: &str) {
        let (ca, tls) = match source {
            Source::Etcd(etcd) => (&etcd.ca, etcd.servers.iter().any(|server| server.tls)),
            Source::Consul(consul) => (&consul.ca, consul.server.tls),
            Source::Docker(docker) => (&None, docker.server.tls),
            Source::File(_) | Source::Srv(_) | Source::Registration(_) => return,
        };
        match ca {
            Some(ca) => self.file(ca, format!("{at}.ca")),
            None if tls => self.system_roots(),
            None => {}
        }
    }

    fn tls(&mut self, listener: &str, tls: &Tls, at: &str) {
        if let Some(certificate) = &tls.certificate {
            self.file(certificate, format!("{at}.certificate"));
        }
        if let Some(key) = &tls.key {
            self.file(key, format!("{at}.key"));
        }
        for (index, files) in tls.certificates.iter().enumerate() {
            self.file(&files.certificate, format!("{at}.certificates[{index}].certificate"));
            self.file(&files.key, format!("{at}.certificates[{index}].key"));
        }
        if let Some(ca) = &tls.client_certificates.ca {
            self.file(ca, format!("{at}.client-certificates.ca"));
        }
        if let Some(names) = &tls.self_signed {
            let written: Vec<String> = names.iter().map(|name| name.to_string()).collect();
            let place = names.first().map_or(Span::NOWHERE, |name| name.span);
            match self_signed(names) {
                Ok(pem) => {
                    let made = SelfSigned { names: written, pem };
                    self.materials.self_signed.insert(listener.to_owned(), made);
                }
                Err(why) => {
                    let what = format!("no certificate can be made for these names: {why}");
                    let at = format!("{at}.self-signed");
                    self.findings.push(Diagnostic::error(place, at, what));
                }
            }
        }
    }

    fn pages(&mut self, pages: &transom_settings::Map<StatusPattern, Spanned<PathBuf>>, at: &str) {
        for (status, page) in pages.iter() {
            self.file(page, format!("{at}.error-pages.{status}"));
        }
    }

    fn file(&mut self, written: &Spanned<PathBuf>, at: String) {
        if self.materials.files.contains_key(&written.value) {
            return;
        }
        let path = self.materials.resolve(written);
        // looked at before it is read: a change meanwhile is seen next time
        let stamp = stamp(&path);
        match read_bytes(&path) {
            Ok(bytes) => {
                self.materials.files.insert(written.value.clone(), bytes.into());
                self.materials.seen.push((path, stamp));
            }
            Err(why) => self.unreadable(written, at, &why),
        }
    }

    fn unreadable(&mut self, written: &Spanned<PathBuf>, at: String, why: &str) {
        let hint = self.hint(written, why);
        let what = format!("cannot read {}: {why}", quote(&written.display().to_string()));
        self.findings.push(Diagnostic::error(written.span, at, what).hint(hint));
    }

    fn lists(&mut self, addresses: &Addresses, at: &str) {
        for (key, files) in
            [("allow-files", &addresses.allow_files), ("deny-files", &addresses.deny_files)]
        {
            for file in files {
                self.list(file, format!("{at}.{key}"));
            }
        }
    }

    fn list(&mut self, written: &Spanned<PathBuf>, at: String) {
        if self.materials.lists.contains_key(&written.value) {
            return;
        }
        let path = self.materials.resolve(written);
        let stamp = stamp(&path);
        let earlier = self.earlier.and_then(|earlier| earlier.get(&written.value));
        let list = match earlier.filter(|list| list.stamp == stamp && stamp.is_some()) {
            Some(list) => List { took: None, ..list.clone() },
            None => {
                let start = Instant::now();
                let read = File::open(&path).and_then(|file| text::read(BufReader::new(file)));
                match read {
                    Ok(Ok(blocks)) => {
                        List { blocks: Arc::new(blocks), stamp, took: Some(start.elapsed()) }
                    }
                    Ok(Err((lines, wrong))) => return self.bad_lines(written, &at, lines, wrong),
                    Err(error) => return self.unreadable(written, at, &reason(error)),
                }
            }
        };
        self.materials.lists.insert(written.value.clone(), list);
        self.materials.seen.push((path, stamp));
    }

    fn bad_lines(
        &mut self,
        written: &Spanned<PathBuf>,
        at: &str,
        lines: Vec<BadLine>,
        wrong: usize,
    ) {
        let (shown, untold) = (written.display(), wrong - lines.len());
        for BadLine { number, why } in lines {
            let what = format!("{shown}:{number}: {}", why.what);
            let mut finding = Diagnostic::error(written.span, at, what);
            finding.hint = why.hint;
            self.findings.push(finding);
        }
        if untold > 0 {
            let what = format!("{shown}: {untold} more lines are wrong");
            let hint = "a list has one address or block a line, `#` begins a comment";
            self.findings.push(Diagnostic::error(written.span, at, what).hint(hint));
        }
    }

    fn directory(&mut self, written: &Spanned<PathBuf>, at: &str) {
        let path = self.materials.resolve(written);
        let why = match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => return,
            Ok(_) => "is not a directory",
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => "does not exist",
            Err(_) => "cannot be looked into",
        };
        let what = format!("the directory {} {why}", quote(&written.display().to_string()));
        let hint = self.hint(written, why);
        let at = format!("{at}.files.root");
        self.findings.push(Diagnostic::error(written.span, at, what).hint(hint));
    }

    fn hint(&self, written: &Path, why: &str) -> String {
        let base = fs::canonicalize(&self.materials.base);
        match (why, base) {
            ("permission denied", _) => {
                "make it readable for the user that Transom runs as".to_owned()
            }
            (_, Ok(base)) if written.is_relative() => {
                format!("put it there, or correct the path, which starts at `{}`", base.display())
            }
            _ => "put it there, or correct the path".to_owned(),
        }
    }

    fn system_roots(&mut self) {
        let roots = &mut self.materials.system_roots;
        roots.get_or_insert_with(|| Roots::System(system_roots()));
    }
}

/// A certificate that nobody trusts, with a new key. It lives in memory only.
fn self_signed(names: &[Spanned<HostPattern>]) -> Result<Pem, String> {
    let names = names.iter().map(|name| match &name.value {
        HostPattern::Any => Err("`*` is no name, write `localhost` or `*.dev.example`".to_owned()),
        // an IPv6 address stands in brackets in a host, and without them in a certificate
        HostPattern::Exact(host) => Ok(host.trim_matches(['[', ']']).to_owned()),
        HostPattern::Wildcard(_) => Ok(name.to_string()),
    });
    let make = |names: Vec<String>| {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "Transom, self-signed");
        Ok((params.self_signed(&key)?, key))
    };
    let (certificate, key) =
        make(names.collect::<Result<_, _>>()?).map_err(|error: rcgen::Error| error.to_string())?;
    Ok(Pem {
        label: "the self-signed certificate".to_owned(),
        certificate: certificate.pem().into_bytes(),
        key: key.serialize_pem().into_bytes(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Arc<Config> {
        let loaded = crate::load::from_text(Path::new("f"), text, false, &|_| None);
        loaded.map_err(|findings| findings.render()).unwrap().config
    }

    #[test]
    fn every_file_that_is_missing_is_found_at_once() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("here.html"), "hello").unwrap();
        let config = config(
            "listeners:\n  web:\n    address: :443\n    tls: { certificate: a.pem, key: a.key }\n    \
             error-pages: { 404: here.html, 5xx: gone.html }\n    \
             routes: [{ match: { path: /s/** }, files: public }, { forward: p }]\n\
             pools:\n  p:\n    endpoints: 127.0.0.1:1\n    tls: { ca: ca.pem }\n",
        );
        let found = Materials::load(&config, folder.path()).unwrap_err();
        let paths: Vec<_> = found.findings().iter().map(|finding| finding.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "listeners.web.tls.certificate",
                "listeners.web.tls.key",
                "listeners.web.error-pages.5xx",
                "listeners.web.routes[0].files.root",
                "pools.p.tls.ca",
            ]
        );
        let said = found.render();
        assert!(said.contains("cannot read `a.pem`: there is no such file"), "{said}");
        assert!(said.contains("the directory `public` does not exist"), "{said}");
    }

    #[test]
    fn a_change_of_a_file_is_seen_and_a_self_signed_certificate_stays() {
        let folder = tempfile::tempdir().unwrap();
        let page = folder.path().join("a.html");
        fs::write(&page, "one").unwrap();
        let text = "listeners:\n  web:\n    address: :443\n    tls: { self-signed: [localhost, \"*.a.example\", 127.0.0.1, \"[::1]\"] }\n    \
                    error-pages: { 404: a.html }\n    routes: [{ respond: hello }]\n";
        let config = config(text);
        let first = Materials::load(&config, folder.path()).map_err(|f| f.render()).unwrap();
        assert!(!first.changed());
        assert_eq!(first.file(Path::new("a.html")).unwrap(), "one");
        fs::write(&page, "three").unwrap();
        assert!(first.changed());
        let second = Materials::load(&config, folder.path()).map_err(|f| f.render()).unwrap();
        let own = second.self_signed("web").unwrap().key.clone();
        let kept = first.self_signed("web").unwrap().key.clone();
        assert_ne!(own, kept);
        let third = Materials::following(&config, folder.path(), &first);
        let third = third.map_err(|f| f.render()).unwrap();
        assert_eq!(third.self_signed("web").unwrap().key, kept);
        fs::remove_file(&page).unwrap();
        assert!(first.changed());
    }

    #[test]
    fn lists_are_read_once_and_their_wrong_lines_told() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("bad.txt");
        let config = config(
            "listeners:\n  web:\n    address: :80\n    clients: { deny-files: bad.txt }\n    \
             routes: [{ policies: [{ address: { allow-files: bad.txt } }], respond: hello }]\n",
        );
        fs::write(&list, "192.0.2.0/24\n10.0.0.1/8\n").unwrap();
        let said = Materials::load(&config, folder.path()).unwrap_err().render();
        let expected = "listeners.web.clients.deny-files: bad.txt:2: `10.0.0.1/8` is not an address \
                        block: the address is not the first of the block";
        assert!(said.contains(expected), "{said}");
        assert!(said.contains("hint: did you mean `10.0.0.0/8`"), "{said}");
        fs::write(&list, "192.0.2.0/24\n").unwrap();
        let first = Materials::load(&config, folder.path()).map_err(|f| f.render()).unwrap();
        let following = |previous| {
            let next = Materials::following(&config, folder.path(), previous);
            next.map_err(|f| f.render()).unwrap()
        };
        let second = following(&first);
        let path = Path::new("bad.txt");
        assert!(Arc::ptr_eq(first.list(path).unwrap(), second.list(path).unwrap()));
        assert_eq!((first.lists_read().count(), second.lists_read().count()), (1, 0));
        fs::write(&list, "192.0.2.0/24\n10.0.0.0/8\n").unwrap();
        assert!(second.changed());
        assert_eq!(following(&second).list(path).unwrap().len(), 2);
    }
}
