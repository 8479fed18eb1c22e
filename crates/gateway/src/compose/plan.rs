//! What waits for what, and what a composed answer costs in the worst case.

use std::time::Duration;

use transom_proxy::action::forward::HostRule;
use transom_proxy::message::Method;
use transom_settings::{Span, list, quote};

use super::join::Join;
use super::run::{Composition, Part};
use super::shape::Shape;
use super::text::{BODY, Data, KEYS, Text, is_taken};
use super::worst::Worst;
use super::{Compose, path::Step};
use crate::call::Caller;
use crate::making::Making;

/// A part as it is written, with what it needs.
struct Draft<'a> {
    name: &'a str,
    place: Span,
    written: &'a super::Part,
    body: Option<Data>,
    /// Numbers of the parts whose answers it waits for.
    needs: Vec<usize>,
}

/// Builds it, or finds why it cannot be.
pub(super) fn build(
    written: &Compose,
    making: &mut Making<'_>,
    host: HostRule,
) -> Option<Composition> {
    if written.parts.is_empty() {
        let hint =
            "add what is asked: `parts: { user: { to: users, path: '/users/{capture.id}' } }`";
        making.error(making.place, "parts", "it has no parts", hint);
        return None;
    }
    let drafts = drafts(written, making)?;
    let order = order(&drafts, making)?;
    let worst = worst(written, &drafts, &order);
    afford(written, worst, making)?;
    let mut parts = Vec::new();
    for draft in &drafts {
        parts.push(part(draft, written, making)?);
    }
    let wants_body = drafts.iter().flat_map(Draft::texts).flat_map(Text::references);
    Some(Composition {
        wants_body: wants_body.into_iter().any(|reference| reference.part == BODY),
        parts,
        order,
        timeout: written.timeout.get(),
        completed: written.completed_header.to_string(),
        host,
        worst,
    })
}

impl Draft<'_> {
    fn texts(&self) -> Vec<&Text> {
        let mut texts: Vec<&Text> = vec![&self.written.path.value];
        texts.extend(self.written.headers.values().map(|text| &text.value));
        texts.extend(self.body.iter().flat_map(Data::texts));
        texts
    }
}

fn drafts<'a>(written: &'a Compose, making: &mut Making<'_>) -> Option<Vec<Draft<'a>>> {
    let mut drafts = Vec::new();
    let mut right = true;
    for (name, part) in written.parts.iter() {
        let (at, place) = (format!("parts.{name}"), name.span);
        if is_taken(name) || name.contains('.') {
            let what = format!("a part cannot be called {}", quote(name));
            making.error(
                place,
                &at,
                what,
                "texts would not know it from something else; rename it",
            );
            right = false;
        }
        let body = match part.body.as_ref().map(|body| (Data::of(&body.value.0), body.span)) {
            None => None,
            Some((Ok(data), _)) => Some(data),
            Some((Err(refusal), span)) => {
                let hint = refusal.hint.unwrap_or_default();
                making.error(span, &format!("{at}.body"), refusal.what, &hint);
                right = false;
                None
            }
        };
        if !part.path.begins_with('/') {
            let what = format!("{} is no path", quote(&part.path.to_string()));
            making.error(part.path.span, &format!("{at}.path"), what, "begin it with `/`");
            right = false;
        }
        for (from, to) in part.rename.iter() {
            if to.stars() > from.stars() {
                let what = format!("`{to}` has more `*` than `{}`", from.value);
                let hint = "each `*` on the right stands for what one on the left stood for";
                making.error(from.span, &format!("{at}.rename"), what, hint);
                right = false;
            }
        }
        drafts.push(Draft { name, place, written: part, body, needs: Vec::new() });
    }
    let names: Vec<&str> = drafts.iter().map(|draft| draft.name).collect();
    let mut needs = Vec::new();
    for draft in &drafts {
        let found = needed(draft, &names, making);
        right &= found.is_some();
        needs.push(found.unwrap_or_default());
    }
    for (draft, needs) in drafts.iter_mut().zip(needs) {
        draft.needs = needs;
    }
    right.then_some(drafts)
}

/// The parts that one waits for.
fn needed(draft: &Draft<'_>, names: &[&str], making: &mut Making<'_>) -> Option<Vec<usize>> {
    let at = format!("parts.{}", draft.name);
    let mut needs = Vec::new();
    let mut wanted: Vec<(&str, Span, &str)> = Vec::new();
    for text in draft.texts() {
        wanted.extend(text.references().map(|reference| (&*reference.part, draft.place, "")));
    }
    let after = draft.written.after.iter();
    wanted.extend(after.map(|name| (&***name, name.span, ".after")));
    if let Some(join) = &draft.written.join {
        match join.items.0.first() {
            Some(Step::Key(part)) => wanted.push((part, join.items.span, ".join.items")),
            _ => {
                let hint =
                    "begin with the name of the part that the items are in: `orders.items.*`";
                let at = format!("{at}.join.items");
                making.error(join.items.span, &at, "it names no part", hint);
                return None;
            }
        }
        if !draft.texts().iter().any(|text| text.references().any(|found| found.part == KEYS)) {
            let hint = "write it in the path or the body: `/prices?ids={keys}`";
            making.error(join.span, &at, "it asks for no `{keys}`", hint);
            return None;
        }
    }
    let mut right = true;
    for (name, place, key) in wanted {
        match names.iter().position(|known| *known == name) {
            Some(number) => needs.push(number),
            None if name == BODY => {}
            None if name == KEYS && draft.written.join.is_some() => {}
            None => {
                let known = list(names.iter().copied(), "and");
                let what = format!("no part named {}", quote(name));
                let hint = format!(
                    "parts are {known}; `{{body.FIELD}}` is what the client sent, `{{capture.NAME}}` a part of the path"
                );
                making.error(place, &format!("{at}{key}"), what, &hint);
                right = false;
            }
        }
    }
    needs.sort_unstable();
    needs.dedup();
    right.then_some(needs)
}

/// An order in which no part comes before one that it waits for.
fn order(drafts: &[Draft<'_>], making: &mut Making<'_>) -> Option<Vec<usize>> {
    let mut order: Vec<usize> = Vec::new();
    while order.len() < drafts.len() {
        let is_next = |number: &usize| {
            let ready = drafts[*number].needs.iter().all(|need| order.contains(need));
            !order.contains(number) && ready
        };
        match (0..drafts.len()).find(is_next) {
            Some(next) => order.push(next),
            None => {
                let stuck: Vec<usize> =
                    (0..drafts.len()).filter(|number| !order.contains(number)).collect();
                let names = list(stuck.iter().map(|number| drafts[*number].name), "and");
                let place = stuck.first().map_or(making.place, |number| drafts[*number].place);
                let what = match stuck.len() {
                    1 => format!("{names} waits for itself"),
                    _ => format!("{names} wait for each other"),
                };
                making.error(place, "parts", what, "take one of these references out");
                return None;
            }
        }
    }
    Some(order)
}

fn worst(written: &Compose, drafts: &[Draft<'_>], order: &[usize]) -> Worst {
    let whole = written.timeout.get();
    let mut depths = vec![(0usize, Duration::ZERO); drafts.len()];
    for &number in order {
        let draft = &drafts[number];
        let own = draft.written.timeout.map_or(whole, |time| time.get());
        let before = draft.needs.iter().map(|need| depths[*need]);
        let (depth, time) =
            before.fold((0, Duration::ZERO), |(d, t), (depth, time)| (d.max(depth), t.max(time)));
        depths[number] = (depth + 1, time + own);
    }
    Worst {
        calls: drafts.len(),
        depth: depths.iter().map(|(depth, _)| *depth).max().unwrap_or(0),
        bytes: drafts.iter().map(|draft| draft.written.max_body.bytes()).sum(),
        time: depths.iter().map(|(_, time)| *time).max().unwrap_or_default().min(whole),
    }
}

/// Whether it stays within its limits.
fn afford(written: &Compose, worst: Worst, making: &mut Making<'_>) -> Option<()> {
    let limits = &written.limits;
    let over = if worst.calls > limits.calls as usize {
        ("calls", format!("{} calls are more than {}", worst.calls, limits.calls))
    } else if worst.depth > limits.depth as usize {
        ("depth", format!("{} calls wait for each other, more than {}", worst.depth, limits.depth))
    } else if worst.bytes > limits.bytes.bytes() {
        let bytes = limits.bytes;
        ("bytes", format!("the answers may have {} bytes together, more than {bytes}", worst.bytes))
    } else {
        return Some(());
    };
    let place = if limits.span == Span::NOWHERE { making.place } else { limits.span };
    let hint = "raise the limit, or ask for less: `max-body` of a part is 1 MiB by default";
    making.error(place, &format!("limits.{}", over.0), over.1, hint);
    None
}

fn part(draft: &Draft<'_>, written: &Compose, making: &mut Making<'_>) -> Option<Part> {
    let of = draft.written;
    let destination = making.destination(&of.to, &format!("parts.{}.to", draft.name))?;
    let timeout = of.timeout.map_or(written.timeout, |time| time);
    let default = if draft.body.is_some() { Method::Post } else { Method::Get };
    Some(Part {
        name: draft.name.to_owned(),
        caller: Caller::new(destination, timeout.get(), of.max_body.len()),
        method: of.method.as_ref().map_or(default, |method| Method::of(&method.to_string())),
        target: of.path.value.clone(),
        headers: of
            .headers
            .iter()
            .map(|(name, text)| (name.to_string(), text.value.clone()))
            .collect(),
        body: draft.body.clone(),
        needs: draft.needs.clone(),
        required: of.required,
        absent: of.absent.clone(),
        fallback: of.fallback.as_ref().map(|fallback| fallback.0.clone()),
        shape: Shape {
            target: of.target.clone(),
            allow: of.allow.clone(),
            deny: of.deny.clone(),
            rename: of.rename.iter().map(|(from, to)| (from.value.clone(), to.clone())).collect(),
            group: of.group.clone(),
        },
        join: of.join.as_ref().and_then(|join| {
            let (part, items) = join.items.0.split_first()?;
            let Step::Key(part) = part else { return None };
            Some(Join {
                part: written.parts.names().position(|name| ***name == **part)?,
                items: super::Place(items.to_vec()),
                key: join.key.clone(),
                by: join.by.clone(),
                into: join.into.clone(),
                most: join.most as usize,
            })
        }),
    })
}
