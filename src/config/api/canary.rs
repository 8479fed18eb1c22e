//! Who of those that name no version gets another than the default one, and whether that can be.

use transom_gateway::canary::Naming;
use transom_proxy::stage::Stage;
use transom_settings::{Name, Spanned, quote};

use super::expand::{Base, Expanding};
use super::ways::{VersionField, Way};
use super::{CanarySettings, Moved};
use crate::config::{Policy, PolicyUse};

/// What is wrong with a canary, with the key below the API and the remedy.
type Wrong = (String, String, &'static str);

impl Expanding<'_> {
    /// The canary of the API as those of the default version meet it. What is wrong becomes a finding.
    pub(super) fn canary(&mut self, base: &Base) -> Option<Moved> {
        let canary = self.api.canary.as_ref()?;
        let naming = match self.checked(canary, base) {
            Ok(naming) => naming,
            Err((key, what, hint)) => {
                self.error(canary.to.span, &key, what, hint);
                return None;
            }
        };
        let CanarySettings { to, share, by } = &canary.value;
        for key in self.of_the_default(to) {
            let what =
                "those who are moved have that of the default version, whose it is when they come";
            let hint = "write the same in both versions, or what both need at the listener";
            self.warning(to.span, &format!("versions.{}.{key}", to.value), what, hint);
        }
        let (to, share, by) = (to.value.clone(), *share, *by);
        Some(Moved { to, share, by, naming })
    }

    fn checked(&self, canary: &Spanned<CanarySettings>, base: &Base) -> Result<Naming, Wrong> {
        let (api, to) = (self.api, &canary.to);
        let wrong = |key: &str, what: &str, hint| Err((key.to_owned(), what.to_owned(), hint));
        let Some(default) = &api.default else {
            let what = "no version is for those that name none";
            return wrong("canary", what, "add `default:` with the version that the others get");
        };
        if default.value == to.value {
            return wrong("canary.to", "they get that version anyway", "name another version");
        }
        let ways = || api.by.iter().map(|way| &way.value);
        let field = ways().find_map(|way| match way {
            Way::Field(VersionField::Header(name)) => {
                Some(Naming::Header(name.clone(), to.to_string()))
            }
            Way::Field(VersionField::Query(name)) => {
                Some(Naming::Query(name.clone(), to.to_string()))
            }
            _ => None,
        });
        let path = || Naming::Path { from: base.bare.clone(), to: base.naming(to) };
        let by_path = ways().any(|way| *way == Way::Path);
        let Some(naming) = by_path.then(path).or(field) else {
            let what = "no path, field or parameter names a version";
            return wrong("canary", what, "add `path`, a `header` or a `query` to `by`");
        };
        let both = (api.versions.get(&**default), api.versions.get(&**to));
        // what could not be read is a finding of its own
        let (Some(from), Some(version)) = both else { return Ok(naming) };
        let key = |rest: &str| format!("versions.{}.{rest}", to.value);
        if from.identify != version.identify {
            let what = format!("{} asks otherwise who it is", quote(default));
            return Err((key("identify"), what, "write the same `identify` in both versions"));
        }
        if version.lifecycle.is_some() {
            let what = "those who are moved to it would not hear of its end".to_owned();
            return Err((key("lifecycle"), what, "move them to a version that is to stay"));
        }
        for (index, policy) in version.policies.numbered() {
            if self.stage(policy).is_some_and(|stage| stage < Stage::Authorize) {
                let what =
                    "those who are moved would pass it by: it runs before it is known who asks";
                let hint =
                    "write it in `policies` of the API, so that it stands around both versions";
                return Err((key(&format!("policies[{index}]")), what.to_owned(), hint));
            }
        }
        Ok(naming)
    }

    /// What is written otherwise in the version that some get, and has been applied before they are moved:
    /// whatever concerns the body of a request.
    fn of_the_default(&self, to: &Name) -> Vec<&'static str> {
        let version = |name: &Name| self.api.versions.get(&**name);
        let default = self.api.default.as_ref().and_then(|default| version(default));
        let (Some(from), Some(to)) = (default, version(to)) else { return Vec::new() };
        let (before, after) = (&from.timeouts, &to.timeouts);
        let all = [
            ("limits.body", from.limits.body == to.limits.body),
            ("limits.bandwidth", from.limits.bandwidth == to.limits.bandwidth),
            ("timeouts.body-idle", before.body_idle == after.body_idle),
            ("timeouts.body-min-rate", before.body_min_rate == after.body_min_rate),
        ];
        all.into_iter().filter(|(_, is_same)| !is_same).map(|(key, _)| key).collect()
    }

    /// Where in the chain a policy runs, if it is there.
    fn stage(&self, policy: &PolicyUse) -> Option<Stage> {
        let policy = match policy {
            PolicyUse::Inline(policy) => policy,
            PolicyUse::Named(name) => self.named.get(&***name)?,
        };
        Some(match policy {
            Policy::Address(_) => Stage::Admit,
            Policy::Headers(_) => Stage::Shape,
            Policy::Rule(rule) => rule.stage(),
        })
    }
}
