//! Changes of header fields, and the texts they are made of.

use transom_settings::{HeaderName, PathPattern, Segment, Span, Spanned, quote};

use super::Check;
use crate::config::{HeaderChanges, Route, Template, Variable};

/// What frames a message or belongs to one connection.
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "host",
];

impl Check<'_> {
    /// Fields that frame a message or belong to one connection are not the configuration's to
    /// change (RFC 9110 §7.6.1, RFC 9112 §6): a wrong value would split or join messages.
    pub(super) fn headers(&mut self, changes: &HeaderChanges, path: &str, route: Option<&Route>) {
        let appended = changes.append.iter().flat_map(|(name, values)| {
            values.iter().map(move |value| ("append", name, Some(value)))
        });
        let set = changes.set.iter().map(|(name, value)| ("set", name, Some(value)));
        let removed = changes.remove.iter().map(|name| ("remove", name, None));
        for (verb, name, value) in set.chain(appended).chain(removed) {
            let path = format!("{path}.{verb}");
            self.framing(name, &path);
            if let Some(value) = value {
                self.captures(value, name.span, &path, route);
            }
        }
    }

    pub(super) fn framing(&mut self, name: &Spanned<HeaderName>, path: &str) {
        if FRAMING.contains(&&***name) {
            let what = format!("{} is Transom's own to write", quote(name));
            let hint = match &***name {
                "host" => "use `rewrite: { host: ... }`",
                _ => "remove it",
            };
            self.error(name.span, path, what).hint(hint).done();
        }
    }

    /// Whether every `{capture.x}` is a part of each path of the route.
    pub(super) fn captures(
        &mut self,
        text: &Template,
        place: Span,
        path: &str,
        route: Option<&Route>,
    ) {
        self.foreign(text, place, path);
        // a policy with a name may stand in routes that have the capture
        let Some(route) = route else { return };
        for variable in text.variables() {
            let Variable::Capture(wanted) = variable else { continue };
            let paths = route.r#match.path.as_ref();
            let missing =
                paths.is_none_or(|paths| !paths.iter().all(|path| captures(path, wanted)));
            if missing {
                let what = format!("the route's path has no part named {}", quote(wanted));
                self.error(place, path, what)
                    .hint(format!("write `{{{wanted}}}` in `match.path`"))
                    .done();
            }
        }
    }
}

fn captures(path: &PathPattern, wanted: &str) -> bool {
    match path {
        PathPattern::Template { segments, .. } => segments
            .iter()
            .any(|segment| matches!(segment, Segment::Capture(name) if name == wanted)),
        PathPattern::Regex(regex) => {
            regex.contains(&format!("(?P<{wanted}>")) || regex.contains(&format!("(?<{wanted}>"))
        }
        PathPattern::Exact(_) | PathPattern::Prefix(_) => false,
    }
}
