//! Who among many does markedly worse than the others: Envoy's detectors as formulas.

/// What one member did since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    pub requests: u32,
    pub successes: u32,
    /// Of those that were answered, all together, in microseconds.
    pub latency: u64,
}

impl Tally {
    /// From 0 to 1.
    fn success_rate(&self) -> f64 {
        f64::from(self.successes) / f64::from(self.requests.max(1))
    }

    fn mean_latency(&self) -> f64 {
        self.latency as f64 / f64::from(self.requests.max(1))
    }
}

/// Which members are compared with each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Volume {
    /// How many there must be.
    pub members: u32,
    /// How many requests each must have had since the last look.
    pub requests: u32,
}

/// The members that are compared: all that had enough requests, where they are enough.
fn compared(tallies: &[Tally], volume: Volume) -> Vec<usize> {
    let enough: Vec<usize> =
        (0..tallies.len()).filter(|i| tallies[*i].requests >= volume.requests.max(1)).collect();
    if enough.len() < volume.members as usize { Vec::new() } else { enough }
}

/// Members whose success rate is below mean − `deviations` × standard deviation of all, each with
/// its rate and that bound.
pub fn low_success(tallies: &[Tally], volume: Volume, deviations: f64) -> Vec<(usize, f64, f64)> {
    let members = compared(tallies, volume);
    let count = members.len() as f64;
    let rate = |i: &usize| tallies[*i].success_rate();
    let mean = members.iter().map(rate).sum::<f64>() / count;
    let variance = members.iter().map(|i| (rate(i) - mean).powi(2)).sum::<f64>() / count;
    let bound = mean - deviations * variance.sqrt();
    members.iter().filter(|i| rate(i) < bound).map(|i| (*i, rate(i), bound)).collect()
}

/// Members of whose requests at least this share (from 0 to 1) has failed, with that share.
pub fn many_failures(tallies: &[Tally], volume: Volume, share: f64) -> Vec<(usize, f64)> {
    let failed = |i: usize| (i, 1.0 - tallies[i].success_rate());
    compared(tallies, volume).into_iter().map(failed).filter(|(_, rate)| *rate >= share).collect()
}

/// Members whose mean latency is more than `factor` times the median of the others', with that
/// factor. Envoy has no such detector; the median is taken so that one that hangs does not raise
/// what it is compared with.
pub fn slow(tallies: &[Tally], volume: Volume, factor: f64) -> Vec<(usize, f64)> {
    let members = compared(tallies, volume);
    let times = |i: usize| {
        let mut others: Vec<f64> = members
            .iter()
            .filter(|other| **other != i)
            .map(|other| tallies[*other].mean_latency())
            .collect();
        others.sort_unstable_by(f64::total_cmp);
        let median = others.get(others.len().saturating_sub(1) / 2).copied().unwrap_or(f64::MAX);
        tallies[i].mean_latency() / median.max(1.0)
    };
    members.iter().map(|i| (*i, times(*i))).filter(|(_, times)| *times > factor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tallies(of: &[(u32, u32)]) -> Vec<Tally> {
        let tally = |(requests, successes): &(u32, u32)| Tally {
            requests: *requests,
            successes: *successes,
            latency: u64::from(*requests) * 1000,
        };
        of.iter().map(tally).collect()
    }

    const VOLUME: Volume = Volume { members: 5, requests: 100 };

    #[test]
    fn a_member_far_below_the_others_is_found() {
        let good = (1000, 1000);
        for (what, of, found) in [
            ("all alike", vec![good; 5], vec![]),
            ("one fails half", vec![good, good, good, good, (1000, 500)], vec![4]),
            ("too few to compare", vec![good, good, good, (1000, 0)], vec![]),
            ("the bad one had too few", vec![good, good, good, good, good, (99, 0)], vec![]),
            ("all fail alike", vec![(1000, 100); 6], vec![]),
            ("nobody had any", vec![(0, 0); 6], vec![]),
        ] {
            let low: Vec<_> =
                low_success(&tallies(&of), VOLUME, 1.9).into_iter().map(|low| low.0).collect();
            assert_eq!(low, found, "{what}");
        }
        // mean 0.9, deviation 0.2: the bound is 0.9 - 1.9 * 0.2
        let (_, rate, bound) =
            low_success(&tallies(&[good, good, good, good, (1000, 500)]), VOLUME, 1.9)[0];
        assert!((rate - 0.5).abs() < 1e-9 && (bound - 0.52).abs() < 1e-9, "{rate} {bound}");
    }

    #[test]
    fn a_share_of_failures_needs_no_comparison() {
        let of = tallies(&[(100, 100), (100, 15), (100, 16), (49, 0), (100, 0)]);
        let volume = Volume { members: 4, requests: 50 };
        let found: Vec<_> = many_failures(&of, volume, 0.85).into_iter().map(|f| f.0).collect();
        assert_eq!(found, [1, 4]);
        assert_eq!(many_failures(&of, Volume { members: 5, ..volume }, 0.85), []);
    }

    #[test]
    fn who_is_many_times_slower_than_the_others_is_found() {
        let tally = |ms: u64| Tally { requests: 100, successes: 100, latency: ms * 100 * 1000 };
        let volume = Volume { members: 3, requests: 50 };
        let of: Vec<_> = [10, 12, 100].map(tally).into();
        let found: Vec<_> = slow(&of, volume, 3.0).into_iter().map(|(i, _)| i).collect();
        assert_eq!(found, [2]);
        assert_eq!(slow(&[10, 12, 29].map(tally), volume, 3.0), []);
        assert_eq!(slow(&[10, 100].map(tally), volume, 3.0), [], "two are too few");
        assert_eq!(slow(&[0, 0, 0].map(tally), volume, 3.0), []);
    }
}
