//! Going through a configuration, each file that it names is read, and what is wrong with one is found.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use transom_net::blocks::text::{self, BadLine};
use transom_net::tls::client::{Roots, system_roots};
use transom_settings::{Diagnostic, Diagnostics, Span, Spanned, StatusPattern, quote};

use super::self_signed::{SelfSigned, self_signed};
use super::{List, Materials};
use crate::config::{
    Action, Addresses, Config, Driver, Placed, Policy, PolicyUse, Pool, Source, Target, Tls,
};
use crate::load::{Seen, read_bytes, reason, stamp};

/// Reads every file that the configuration names, but what `previous` has and need not change.
pub(super) fn read(
    config: &Config,
    base: &Path,
    previous: Option<&Materials>,
    seen: &mut Seen,
) -> Result<Materials, Diagnostics> {
    let mut reading = Reading {
        materials: Materials {
            base: base.to_owned(),
            files: HashMap::new(),
            self_signed: HashMap::new(),
            system_roots: None,
            lists: HashMap::new(),
        },
        seen,
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
        reading.pool(name, pool);
    }
    match reading.findings.is_empty() {
        true => Ok(reading.materials),
        false => Err(reading.findings),
    }
}

struct Reading<'a> {
    materials: Materials,
    /// What an earlier run has.
    earlier: Option<&'a HashMap<PathBuf, List>>,
    seen: &'a mut Seen,
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
                let copies = forward.mirror.as_ref().map(|mirror| &mirror.to.value);
                let targets = [Some(&forward.to.value), copies];
                let encrypted = |to: &Target| matches!(to, Target::Address { tls: true, .. });
                if targets.into_iter().flatten().any(encrypted) {
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

    fn pool(&mut self, name: &str, pool: &Pool) {
        for (index, source) in pool.sources.iter().enumerate() {
            self.registry(source, &format!("pools.{name}.sources[{index}]"));
        }
        let asked = pool.scale.as_ref().and_then(|scale| match &scale.driver {
            Driver::Command(_) => None,
            Driver::Docker(docker) => Some(&docker.server),
            Driver::Webhook(url) => Some(url),
        });
        if asked.is_some_and(|server| server.tls) {
            self.system_roots();
        }
        let Some(tls) = pool.tls.on() else { return };
        let at = format!("pools.{name}.tls");
        match &tls.ca {
            Some(ca) => self.file(ca, format!("{at}.ca")),
            None => self.system_roots(),
        }
        if let Some(own) = &tls.client_certificate {
            self.file(&own.certificate, format!("{at}.client-certificate.certificate"));
            self.file(&own.key, format!("{at}.client-certificate.key"));
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
        self.seen.note(&path);
        match read_bytes(&path) {
            Ok(bytes) => drop(self.materials.files.insert(written.value.clone(), bytes.into())),
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
        self.seen.add(&path, stamp);
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
