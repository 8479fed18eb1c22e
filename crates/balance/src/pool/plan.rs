//! Which members take part, with what weight and which part of the requests: decided whenever
//! something has changed, so that no request has to.
//!
//! - Members of priority 0 come first. As long as 1/1.4 of them are usable they get everything; of
//!   what they lack the next priority gets as much as it can take, and so on (Envoy's
//!   over-provisioning factor of 140).
//! - Where all priorities together cannot take everything, one of which less than the panic
//!   threshold is usable uses all its members.
//! - Where the pool looks at zones, a priority is split into those near us and the others.

use std::sync::Arc;

/// How much more than its part a usable member is trusted to take.
const OVERPROVISIONING: f64 = 1.4;

/// The whole, in which shares are counted.
pub(super) const ALL: u32 = 10_000;

/// What is known of a member.
#[derive(Clone, Debug)]
pub(super) struct Fact {
    pub(super) priority: u8,
    pub(super) zone: Option<Arc<str>>,
    /// In thousandths.
    pub(super) weight: u32,
    /// It has a weight, is ready by hand, and belongs to the subset.
    pub(super) wanted: bool,
    pub(super) usable: bool,
}

/// Whether members near us are preferred.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locality {
    /// The zone we stand in.
    pub zone: Arc<str>,
    pub preference: Preference,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preference {
    /// As much stays in our zone as keeps all members equally loaded, if every zone sends as much as
    /// ours (Envoy's zone-aware routing).
    Balanced,
    /// Everything stays in our zone while 1/1.4 of its members are usable; of the rest, in
    /// proportion.
    Nearest,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// In the order in which they stand in for each other.
    pub(super) portions: Vec<Portion>,
    /// Members that are not usable are used.
    pub(super) panics: bool,
}

/// Some members and the part of the requests that they get.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Portion {
    /// Of [`ALL`]. Zero: only where nobody else is left to try.
    pub(super) share: u32,
    /// Places of members, and their weights.
    pub(super) members: Vec<(u32, u32)>,
}

impl Plan {
    pub(super) fn of(facts: &[Fact], panic_threshold: f64, locality: Option<&Locality>) -> Plan {
        let mut priorities: Vec<u8> =
            facts.iter().filter(|fact| fact.wanted).map(|fact| fact.priority).collect();
        priorities.sort_unstable();
        priorities.dedup();
        let of = |priority: u8, usable_only: bool| -> Vec<u32> {
            let fits = |fact: &Fact| {
                fact.wanted && fact.priority == priority && (fact.usable || !usable_only)
            };
            (0..).zip(facts).filter(|(_, fact)| fits(fact)).map(|(index, _)| index).collect()
        };
        let healthy = |priority: u8| {
            of(priority, true).len() as f64 / of(priority, false).len().max(1) as f64
        };
        let capacity = |priority: u8| (healthy(priority) * OVERPROVISIONING).min(1.0);
        let total: f64 = priorities.iter().map(|priority| capacity(*priority)).sum::<f64>();
        let enough = total >= 1.0;
        let mut plan = Plan::default();
        let mut left = ALL;
        for (place, priority) in priorities.iter().copied().enumerate() {
            let panics = !enough && healthy(priority) < panic_threshold;
            let members = of(priority, !panics);
            let part = match (enough, total > 0.0) {
                (true, _) => capacity(priority),
                (false, true) => capacity(priority) / total,
                // nobody is usable: the first in line, if anybody
                (false, false) => f64::from(u8::from(place == 0)),
            };
            // rounding leaves nothing over
            let is_last = place + 1 == priorities.len();
            let share =
                if is_last { left } else { left.min((part * f64::from(ALL)).round() as u32) };
            left -= share;
            if members.is_empty() {
                left += share;
                continue;
            }
            plan.panics |= panics;
            plan.portions.extend(split(share, members, facts, locality));
        }
        // what nobody took goes to the first that there is
        if let Some(first) = plan.portions.first_mut() {
            first.share += left;
        }
        plan
    }
}

/// A priority split by zones.
fn split(
    share: u32,
    members: Vec<u32>,
    facts: &[Fact],
    locality: Option<&Locality>,
) -> Vec<Portion> {
    let fact = |index: u32| &facts[index as usize];
    let weigh = |members: &[u32]| members.iter().map(|m| f64::from(fact(*m).weight)).sum::<f64>();
    let portion = |share, members: Vec<u32>| Portion {
        share,
        members: members.into_iter().map(|index| (index, fact(index).weight)).collect(),
    };
    let Some(locality) = locality else { return vec![portion(share, members)] };
    let is_near = |index: &u32| fact(*index).zone.as_ref() == Some(&locality.zone);
    let (near, far): (Vec<u32>, Vec<u32>) = members.iter().copied().partition(is_near);
    if near.is_empty() || far.is_empty() {
        return vec![portion(share, members)];
    }
    let all = weigh(&members);
    let mut zones: Vec<_> = members.iter().map(|index| fact(*index).zone.clone()).collect();
    zones.sort();
    zones.dedup();
    let origin = 1.0 / zones.len() as f64;
    let stays = match locality.preference {
        Preference::Balanced => weigh(&near) / all / origin,
        Preference::Nearest => {
            let priority = fact(near[0]).priority;
            let here = |one: &&Fact| {
                one.wanted && one.priority == priority && one.zone.as_ref() == Some(&locality.zone)
            };
            near.len() as f64 / facts.iter().filter(here).count().max(1) as f64 * OVERPROVISIONING
        }
    };
    let stays = (stays.min(1.0) * f64::from(share)).round() as u32;
    let mut rest = portion(share - stays, far);
    if locality.preference == Preference::Balanced {
        // only zones with more than they need themselves take what others lack
        let spare = |zone: &Option<Arc<str>>| {
            let own = |index: &&u32| fact(**index).zone == *zone;
            let own: Vec<u32> = members.iter().filter(own).copied().collect();
            let weight = weigh(&own) / all;
            ((weight - origin) / weight).max(0.0)
        };
        let spares: Vec<f64> =
            rest.members.iter().map(|(index, _)| spare(&fact(*index).zone)).collect();
        if spares.iter().any(|spare| *spare > 0.0) {
            for ((_, weight), spare) in rest.members.iter_mut().zip(spares) {
                *weight = (f64::from(*weight) * spare).round() as u32;
            }
            rest.members.retain(|(_, weight)| *weight > 0);
        }
    }
    vec![portion(stays, near), rest]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Members as `0a+` (priority, zone, usable) or `1b-` (not usable); a third sign `x` is not
    /// wanted.
    fn facts(text: &str) -> Vec<Fact> {
        let fact = |word: &str| {
            let word = word.as_bytes();
            Fact {
                priority: word[0] - b'0',
                zone: Some(Arc::from(char::from(word[1]).to_string())),
                weight: 1000,
                wanted: word[2] != b'x',
                usable: word[2] == b'+',
            }
        };
        text.split_whitespace().map(fact).collect()
    }

    fn shown(plan: &Plan) -> String {
        let portion = |portion: &Portion| {
            let members: String =
                portion.members.iter().map(|(index, _)| char::from(b'a' + *index as u8)).collect();
            format!("{}:{members}", portion.share)
        };
        let panic = if plan.panics { " panic" } else { "" };
        let portions: Vec<String> = plan.portions.iter().map(portion).collect();
        format!("{}{panic}", portions.join(" "))
    }

    #[test]
    fn lb12_priorities_spill_when_too_few_are_usable() {
        for (members, expected) in [
            ("0a+ 0a+", "10000:ab"),
            ("0a+ 0a+ 0ax", "10000:ab"),
            ("0a+ 0a+ 0a-", "10000:ab"),
            ("0a+ 0a- 0a-", "10000:abc panic"),
            ("0a- 0a-", "10000:ab panic"),
            ("", ""),
            ("0ax", ""),
            // a backup stands by
            ("0a+ 0a+ 1a+", "10000:ab 0:c"),
            // 3 of 4 are more than 1/1.4; 1 of 2 gives 70 %
            ("0a+ 0a+ 0a+ 0a- 1a+", "10000:abc 0:e"),
            ("0a+ 0a- 1a+", "7000:a 3000:c"),
            ("0a- 0a- 1a+", "10000:c"),
            ("0a- 0a- 1a- 2a+", "10000:d"),
            // 1 of 4 gives 35 %, 1 of 2 gives 70 %: together enough, no panic
            ("0a+ 0a- 0a- 0a- 1a+ 1a-", "3500:a 6500:e"),
            // 35 % and 35 %: half each, and both panic
            ("0a+ 0a- 0a- 0a- 1a+ 1a- 1a- 1a-", "5000:abcd 5000:efgh panic"),
            ("0a- 1a-", "10000:a 0:b panic"),
            // priorities need not begin with 0
            ("3a+ 7a+", "10000:a 0:b"),
        ] {
            assert_eq!(shown(&Plan::of(&facts(members), 0.5, None)), expected, "{members}");
        }
    }

    #[test]
    fn without_panic_who_is_not_usable_is_never_used() {
        for (members, expected) in
            [("0a+ 0a- 0a- 0a-", "10000:a"), ("0a- 0a-", ""), ("0a- 1a+ 1a- 1a-", "10000:b")]
        {
            assert_eq!(shown(&Plan::of(&facts(members), 0.0, None)), expected, "{members}");
        }
    }

    #[test]
    fn lb13_near_members_first() {
        use Preference::{Balanced, Nearest};
        for (preference, members, expected) in [
            // two zones, equally strong: all stays
            (Balanced, "0a+ 0a+ 0b+ 0b+", "10000:ab 0:cd"),
            // ours has a third, and half of all comes from us: two thirds stay
            (Balanced, "0a+ 0b+ 0b+", "6667:a 3333:bc"),
            (Balanced, "0a+ 0a+ 0b+", "10000:ab 0:c"),
            (Balanced, "0b+ 0c+", "10000:ab"),
            (Balanced, "0a+ 0a+", "10000:ab"),
            // of three zones only the third has more than it needs
            (Balanced, "0a+ 0b+ 0b+ 0c+ 0c+ 0c+", "5000:a 5000:def"),
            (Nearest, "0a+ 0b+ 0b+ 0b+", "10000:a 0:bcd"),
            (Nearest, "0a+ 0a- 0b+ 0b+", "7000:a 3000:cd"),
            (Nearest, "0a- 0b+ 0b+ 0b+", "10000:bcd"),
            // each priority for itself
            (Nearest, "0a+ 0b+ 1a+ 1b+", "10000:a 0:b 0:c 0:d"),
        ] {
            let locality = Locality { zone: Arc::from("a"), preference };
            let plan = Plan::of(&facts(members), 0.5, Some(&locality));
            assert_eq!(shown(&plan), expected, "{preference:?} {members}");
        }
    }

    #[test]
    fn shares_always_add_up() {
        let states = ["+", "-", "x"];
        for n in 0..3usize.pow(6) {
            let state = |place: u32| states[n / 3usize.pow(place) % 3];
            let text: Vec<String> = (0..6)
                .map(|p| format!("{}{}{}", p % 3, ["a", "b"][p as usize % 2], state(p)))
                .collect();
            for threshold in [0.0, 0.5, 1.0] {
                let locality = Locality { zone: Arc::from("a"), preference: Preference::Balanced };
                let plan = Plan::of(&facts(&text.join(" ")), threshold, Some(&locality));
                let sum: u32 = plan.portions.iter().map(|portion| portion.share).sum();
                let some = plan.portions.iter().any(|portion| !portion.members.is_empty());
                assert_eq!(sum, if some { ALL } else { 0 }, "{text:?} {plan:?}");
                assert!(plan.portions.iter().all(|portion| !portion.members.is_empty()));
            }
        }
    }
}
