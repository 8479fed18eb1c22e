//! Which of the patterns of one host fit a path.

use std::collections::HashMap;

use super::regexes::Regexes;
use super::tree::{Ending, Tree};
use super::{Entry, Offer, PathMatch, Run};
use crate::route::Fix;

/// The paths of one host pattern.
#[derive(Debug)]
pub(in crate::route) struct PathTable {
    exact: HashMap<Box<[u8]>, Run, foldhash::fast::RandomState>,
    tree: Tree,
    regexes: Regexes,
    any: Run,
    entries: Vec<Entry>,
}

impl PathTable {
    pub(in crate::route) fn build(mut offers: Vec<Offer<'_>>) -> Result<Self, Fix> {
        let mut table = PathTable {
            exact: HashMap::default(),
            tree: Tree::default(),
            regexes: Regexes::Few(Vec::new()),
            any: Run::default(),
            entries: Vec::with_capacity(offers.len()),
        };
        offers.sort_by_cached_key(Offer::rank);
        // Entries of one place must lie side by side, still in their order.
        let mut places: Vec<(Place, Vec<Entry>)> = Vec::new();
        let mut known: HashMap<Place, usize> = HashMap::new();
        let mut regexes = Vec::new();
        for offer in &offers {
            let place = match offer.pattern {
                PathMatch::Exact(path) => Place::Exact(path),
                PathMatch::Prefix(segments) if segments.is_empty() => Place::Any,
                PathMatch::Prefix(segments) => Place::Prefix(table.tree.node(segments)),
                PathMatch::Regex(text) => {
                    regexes.push((text.as_str(), offer.entry));
                    continue;
                }
                PathMatch::Template(segments) => Place::Template(table.tree.node(segments)),
            };
            let index = *known.entry(place).or_insert_with(|| {
                places.push((place, Vec::new()));
                places.len() - 1
            });
            places[index].1.push(offer.entry);
        }
        for (rank, (place, entries)) in places.into_iter().enumerate() {
            let run = table.keep(&entries);
            let ending = Ending { rank: rank as u32, run };
            match place {
                Place::Any => table.any = run,
                Place::Exact(path) => {
                    table.exact.insert(path.as_bytes().into(), run);
                }
                Place::Prefix(node) => table.tree.end_prefix(node, ending),
                Place::Template(node) => table.tree.end_template(node, ending),
            }
        }
        table.tree.compact();
        table.regexes = Regexes::new(&regexes)?;
        Ok(table)
    }

    fn keep(&mut self, entries: &[Entry]) -> Run {
        let from = self.entries.len() as u32;
        self.entries.extend_from_slice(entries);
        Run { from, to: self.entries.len() as u32 }
    }

    /// Offers the entries whose pattern fits the path, in order, until one is accepted.
    pub(in crate::route) fn find(
        &self,
        path: &[u8],
        mut accept: impl FnMut(Entry) -> bool,
    ) -> Option<Entry> {
        if let Some(run) = self.exact.get(path)
            && let Some(entry) = self.first(*run, &mut accept)
        {
            return Some(entry);
        }
        for ending in self.tree.fitting(path) {
            if let Some(entry) = self.first(ending.run, &mut accept) {
                return Some(entry);
            }
        }
        self.regexes.find(path, &mut accept).or_else(|| self.first(self.any, &mut accept))
    }

    /// The patterns of all expressions that fit.
    pub(in crate::route) fn fitting_regexes(&self, path: &[u8]) -> Vec<u32> {
        let mut fitting = Vec::new();
        self.regexes.find(path, &mut |entry| {
            fitting.push(entry.pattern);
            false
        });
        fitting
    }

    fn first(&self, run: Run, accept: &mut impl FnMut(Entry) -> bool) -> Option<Entry> {
        let entries = &self.entries[run.from as usize..run.to as usize];
        entries.iter().copied().find(|entry| accept(*entry))
    }
}

/// Where in a table an entry goes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Place<'a> {
    Any,
    Exact(&'a str),
    Prefix(u32),
    Template(u32),
}
