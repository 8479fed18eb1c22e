//! What an operator has changed of a pool while it runs.
//!
//! A change is kept over reloads, until the file says otherwise: as soon as what the file says of
//! that endpoint is not what it said when the change was made, the file wins and the change is
//! forgotten. What sources other than the file say makes no difference.

use std::collections::BTreeMap;
use std::time::SystemTime;

use transom_settings::EndpointAddress;

use super::Listed;
use crate::state::Administrative;

/// The changes of one pool, by the address that was named.
#[derive(Clone, Debug, Default)]
pub struct Manual(BTreeMap<EndpointAddress, Change>);

/// What was changed of one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What the file said of it then.
    pub said: Option<Listed>,
    /// It is added, and so described.
    pub added: Option<Listed>,
    pub removed: bool,
    pub weight: Option<u32>,
    pub standing: Administrative,
    pub since: SystemTime,
}

impl Change {
    fn is_nothing(&self) -> bool {
        self.added.is_none()
            && !self.removed
            && self.weight.is_none()
            && self.standing == Administrative::Ready
    }

    /// In words, for logs and operators.
    pub fn shown(&self) -> String {
        let mut words = Vec::new();
        if self.added.is_some() {
            words.push("added".to_owned());
        }
        if self.removed {
            words.push("removed".to_owned());
        }
        if let Some(weight) = self.weight {
            words.push(format!("weight {weight}"));
        }
        match self.standing {
            Administrative::Ready => {}
            Administrative::Drain => words.push("drain".to_owned()),
            Administrative::Maintenance => words.push("maintenance".to_owned()),
        }
        words.join(", ")
    }
}

impl Manual {
    /// What was changed of this address.
    pub fn of(&self, address: &EndpointAddress) -> Option<&Change> {
        self.0.get(address)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&EndpointAddress, &Change)> {
        self.0.iter()
    }

    /// Changes something of an endpoint, of which the file now says this.
    pub fn change(
        &mut self,
        address: &EndpointAddress,
        said: Option<Listed>,
        make: impl FnOnce(&mut Change),
    ) {
        let change = self.0.entry(address.clone()).or_insert_with(|| Change {
            said,
            added: None,
            removed: false,
            weight: None,
            standing: Administrative::Ready,
            since: SystemTime::now(),
        });
        make(change);
        change.since = SystemTime::now();
        if change.is_nothing() {
            self.0.remove(address);
        }
    }

    /// Goes on from earlier changes where the file says what it said. Gives those that are
    /// forgotten.
    pub fn following(
        earlier: &Manual,
        says: impl Fn(&EndpointAddress) -> Option<Listed>,
    ) -> (Self, Vec<(EndpointAddress, Change)>) {
        let all = earlier.0.iter().map(|(address, change)| (address.clone(), change.clone()));
        let (kept, forgotten) = all.partition::<Vec<_>, _>(|(at, change)| says(at) == change.said);
        (Manual(kept.into_iter().collect()), forgotten)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_stays_until_the_file_says_otherwise() {
        let one = |text: &str| Listed::read(text).unwrap();
        let (a, b) = (one("a:1"), one("b:1"));
        let mut manual = Manual::default();
        manual.change(&a.address, Some(a.clone()), |change| change.weight = Some(7));
        manual.change(&b.address, None, |change| change.added = Some(b.clone()));
        let heavier = Listed { weight: 3, ..a.clone() };
        for (file, kept) in [
            (vec![a.clone()], "a:1 weight 7; b:1 added"),
            (vec![heavier], "b:1 added"),
            (vec![], "b:1 added"),
            (vec![a.clone(), b.clone()], "a:1 weight 7"),
        ] {
            let says = |address: &EndpointAddress| {
                file.iter().find(|one| one.address == *address).cloned()
            };
            let (now, forgotten) = Manual::following(&manual, says);
            let shown: Vec<_> = now
                .iter()
                .map(|(address, change)| format!("{address} {}", change.shown()))
                .collect();
            assert_eq!(shown.join("; "), kept);
            assert_eq!(forgotten.len() + shown.len(), 2);
        }
    }

    #[test]
    fn what_is_taken_back_leaves_nothing() {
        let a = Listed::read("a:1").unwrap();
        let mut manual = Manual::default();
        manual.change(&a.address, None, |change| change.standing = Administrative::Drain);
        assert_eq!(manual.of(&a.address).unwrap().shown(), "drain");
        manual.change(&a.address, None, |change| change.standing = Administrative::Ready);
        assert!(manual.of(&a.address).is_none());
    }
}
