//! The policies of a route in running order.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use regex::RegexBuilder;
use transom_gateway::{Making, identify};
use transom_net::blocks::Rule;
use transom_proxy::policy::Policy as Running;
use transom_proxy::policy::address::Address;
use transom_proxy::policy::edit::{Edit, Edits};
use transom_proxy::policy::reserve::Reserve;
use transom_proxy::policy::rewrite::{Change, Rewrite};
use transom_settings::{Cidr, Name, Spanned};

use super::Build;
use crate::config::{self, HeaderChanges, Placed, Policy, PolicyUse};

/// Policies with a name, built once for all routes that use them; nothing for one that cannot be.
pub(super) type NamedPolicies<'a> = HashMap<&'a str, Option<Arc<dyn Running>>>;

/// Policies of versions, by their place in the file.
pub(super) type VersionPolicies<'a> = HashMap<String, Vec<(&'a Policy, Option<Arc<dyn Running>>)>>;

impl<'a> Build<'a> {
    /// The route's policies in running order: by stage, and within one as they are written, before
    /// the route's own rewrite and header changes.
    pub(super) fn chain(
        &mut self,
        route_name: &str,
        placed: &Placed<'a>,
    ) -> Option<Vec<Arc<dyn Running>>> {
        let (route, at) = (placed.route, &*placed.path);
        let mut chain = self.policies(route_name, placed)?;
        if let (Some((api, _)), Some(moved)) = (placed.version, placed.canary) {
            // before all others of its stage
            let canary = self.canary(api, moved, &chain)?;
            chain.insert(0, Arc::new(canary));
        }
        match rewrite(&route.rewrite) {
            Ok(None) => {}
            Ok(Some(rewrite)) => chain.push(Arc::new(rewrite)),
            Err(why) => {
                let place = route.rewrite.regex.as_ref().map(|regex| regex.r#match.span);
                let hint = "correct the expression";
                self.error(
                    place.unwrap_or_default(),
                    format!("{at}.rewrite.regex.match"),
                    why,
                    hint,
                );
                return None;
            }
        }
        let own = Edit {
            request: edits(&route.request_headers),
            response: edits(&route.response_headers),
        };
        if !own.request.is_empty() || !own.response.is_empty() {
            chain.push(Arc::new(own));
        }
        identify::complete(&mut chain, route.identify);
        chain.sort_by_key(|policy| policy.stage());
        if let Some(reserve) = Reserve::of(chain.iter().map(|policy| &**policy)) {
            chain.insert(0, Arc::new(reserve));
        }
        Some(chain)
    }

    /// The policies of a route as they are written.
    pub(super) fn policies(
        &mut self,
        route_name: &str,
        placed: &Placed<'a>,
    ) -> Option<Vec<Arc<dyn Running>>> {
        let built = placed.route.policies.numbered().map(|(index, policy)| match policy {
            PolicyUse::Inline(policy) => {
                let name = format!("{route_name} {} {index}", policy.kind());
                let at = placed.policy(index);
                match placed.version {
                    None => self.running(policy, &name, &at),
                    Some(_) => self.together(policy, &name, &at),
                }
            }
            PolicyUse::Named(name) => self.named(name),
        });
        // each is built, so that all that is wrong is found
        built.collect::<Vec<_>>().into_iter().collect()
    }

    /// A policy of a version, built once for all its routes; and for all versions, where it is one of
    /// their API.
    fn together(&mut self, policy: &'a Policy, name: &str, at: &str) -> Option<Arc<dyn Running>> {
        // those that are told the path of their route may differ from one to the other
        let known = self.versioned.get(at).into_iter().flatten();
        if let Some((_, built)) = known.into_iter().find(|(known, _)| *known == policy) {
            return built.clone();
        }
        let built = self.running(policy, name, at);
        self.versioned.entry(at.to_owned()).or_default().push((policy, built.clone()));
        built
    }

    /// The policy of this name, built once for all routes that use it.
    fn named(&mut self, name: &'a Name) -> Option<Arc<dyn Running>> {
        if let Some(built) = self.named.get(&**name) {
            return built.clone();
        }
        // one that is not there is found already
        let policy = self.config.policies.get(&**name)?;
        let built = self.running(policy, name, &format!("policies.{name}"));
        self.named.insert(name, built.clone());
        built
    }

    fn running(&mut self, policy: &Policy, name: &str, at: &str) -> Option<Arc<dyn Running>> {
        Some(match policy {
            Policy::Address(written) => Arc::new(Address {
                rule: self.addresses(&written.addresses()),
                dry_run: written.dry_run.then(|| name.into()),
            }),
            Policy::Headers(headers) => Arc::new(Edit {
                request: edits(&headers.request),
                response: edits(&headers.response),
            }),
            Policy::Rule(rule) => {
                let path = format!("{at}.{}", rule.kind());
                let place = rule.span;
                return rule.build(&mut Making::new(name, &path, place, self));
            }
        })
    }

    /// Who passes: what stands in the file itself is one list more.
    pub(super) fn addresses(&self, written: &config::Addresses) -> Rule {
        let lists = |blocks: &[Spanned<Cidr>], files: &[Spanned<PathBuf>]| {
            let own = (!blocks.is_empty())
                .then(|| Arc::new(blocks.iter().map(|block| block.value).collect()));
            let files = files.iter().filter_map(|file| self.materials.list(file).cloned());
            own.into_iter().chain(files).collect()
        };
        Rule {
            allow: lists(&written.allow, &written.allow_files),
            deny: lists(&written.deny, &written.deny_files),
        }
    }
}

fn edits(changes: &HeaderChanges) -> Edits {
    let append = changes
        .append
        .iter()
        .flat_map(|(name, values)| values.iter().map(|value| ((&**name).into(), value.clone())));
    Edits {
        remove: changes.remove.iter().map(|name| (&**name).into()).collect(),
        set: changes.set.iter().map(|(name, value)| ((&**name).into(), value.clone())).collect(),
        append: append.collect(),
    }
}

/// The changes of the path in their order, or nothing where there is none.
///
/// # Errors
/// Why the regular expression cannot be used.
pub fn rewrite(written: &config::Rewrite) -> Result<Option<Rewrite>, String> {
    let mut changes = Vec::new();
    if let Some(prefix) = &written.strip_prefix {
        changes.push(Change::StripPrefix(prefix.as_str().to_owned()));
    }
    if let Some(prefix) = &written.add_prefix {
        changes.push(Change::AddPrefix(prefix.as_str().to_owned()));
    }
    if let Some(replace) = &written.replace_prefix {
        let (from, to) = (replace.from.as_str().to_owned(), replace.to.as_str().to_owned());
        changes.push(Change::ReplacePrefix { from, to });
    }
    if let Some(regex) = &written.regex {
        let text: &str = &regex.r#match;
        let built = RegexBuilder::new(text).size_limit(1 << 20).build();
        let pattern = built.map_err(|error| {
            let error = error.to_string();
            let reason = error.lines().last().unwrap_or_default().trim();
            let reason = reason.strip_prefix("error: ").unwrap_or(reason);
            format!("`{text}` is not a regular expression for a path: {reason}")
        })?;
        changes.push(Change::Regex { pattern, with: regex.replace.value.clone() });
    }
    Ok((!changes.is_empty()).then_some(Rewrite { changes }))
}
