//! Blocks of addresses by the million, and which of them an address lies in.
//!
//! Overlapping blocks are laid flat into stretches that do not overlap, each with the length of the
//! longest block there, so that one search finds the most specific one. A table of the leading bits
//! says between which two stretches to search.
//!
//! A million blocks take 10 to 16 MB for IPv4 and three times that for IPv6, and a look-up 20 to 60
//! nanoseconds (`cargo bench -p transom-net --bench blocks`, docs/overload.md).

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use transom_settings::Cidr;

pub mod text;

/// A set of blocks. Never changes: another list is another value.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Blocks {
    v4: Flat<u32>,
    /// IPv6 blocks of whole networks (up to /64), by the first half of the address: that is nearly
    /// all there are, at half the memory.
    networks: Flat<u64>,
    /// Longer ones.
    hosts: Flat<u128>,
    written: usize,
}

impl Blocks {
    /// How many blocks were given, repetitions among them.
    pub fn len(&self) -> usize {
        self.written
    }

    pub fn is_empty(&self) -> bool {
        self.written == 0
    }

    /// Memory it holds, in bytes.
    pub fn size(&self) -> usize {
        self.v4.size() + self.networks.size() + self.hosts.size()
    }

    /// How long the most specific block is that holds the address: 0 to 32 bits of IPv4, 0 to 128
    /// of IPv6. IPv4 written as IPv6 is IPv4.
    pub fn longest(&self, address: IpAddr) -> Option<u8> {
        match address.to_canonical() {
            IpAddr::V4(address) => self.v4.find(address.into()),
            IpAddr::V6(address) => {
                let address = u128::from(address);
                self.hosts.find(address).or_else(|| self.networks.find((address >> 64) as u64))
            }
        }
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        self.longest(address).is_some()
    }
}

impl FromIterator<Cidr> for Blocks {
    fn from_iter<I: IntoIterator<Item = Cidr>>(blocks: I) -> Self {
        let (mut v4, mut networks, mut hosts, mut written) = (vec![], vec![], vec![], 0);
        for block in blocks {
            written += 1;
            match block.net() {
                IpNet::V4(net) => v4.push((u32::from(net.network()), net.prefix_len())),
                IpNet::V6(net) => match (u128::from(net.network()), net.prefix_len()) {
                    (network, prefix @ ..=64) => networks.push(((network >> 64) as u64, prefix)),
                    host => hosts.push(host),
                },
            }
        }
        Blocks { v4: Flat::of(v4), networks: Flat::of(networks), hosts: Flat::of(hosts), written }
    }
}

impl fmt::Debug for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blocks({})", self.written)
    }
}

/// Who passes, by address: the most specific block decides. One that is on both sides does not
/// pass, and where there is anything to allow, nor does who is on neither.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    pub allow: Vec<Arc<Blocks>>,
    pub deny: Vec<Arc<Blocks>>,
}

impl Rule {
    pub fn lets_pass(&self, address: IpAddr) -> bool {
        let longest =
            |lists: &[Arc<Blocks>]| lists.iter().filter_map(|list| list.longest(address)).max();
        match (longest(&self.allow), longest(&self.deny)) {
            (None, None) => self.allow.is_empty(),
            (allowed, denied) => allowed > denied,
        }
    }
}

/// An address as a number.
trait Number: Copy + Ord {
    const BITS: u8;
    /// The last address of a block that begins here.
    fn last(self, prefix: u8) -> Self;
    fn next(self) -> Option<Self>;
    /// How many steps of `1 << shift` it lies behind `first`.
    fn bucket(self, first: Self, shift: u8) -> usize;
    /// Whether those are less than `most`.
    fn is_bucket_below(self, most: usize, first: Self, shift: u8) -> bool;
}

macro_rules! number {
    ($int:ty) => {
        impl Number for $int {
            const BITS: u8 = <$int>::BITS as u8;

            fn last(self, prefix: u8) -> Self {
                self | <$int>::MAX.checked_shr(prefix.into()).unwrap_or(0)
            }

            fn next(self) -> Option<Self> {
                self.checked_add(1)
            }

            fn bucket(self, first: Self, shift: u8) -> usize {
                // Only asked for where the shift leaves few.
                ((self - first) >> shift) as usize
            }

            fn is_bucket_below(self, most: usize, first: Self, shift: u8) -> bool {
                (self - first) >> shift < most as $int
            }
        }
    };
}

number!(u32);
number!(u64);
number!(u128);

/// Stands for "in no block".
const NONE: u8 = u8::MAX;

/// Stretches of addresses in order. Before the first one there is no block.
#[derive(Clone, PartialEq, Eq)]
struct Flat<T> {
    /// Where each stretch begins; it ends where the next begins.
    starts: Box<[T]>,
    /// The longest block on it, or [`NONE`].
    lengths: Box<[u8]>,
    /// For each value of the leading bits, how many stretches begin before it.
    index: Box<[u32]>,
    shift: u8,
}

impl<T> Default for Flat<T> {
    fn default() -> Self {
        Flat { starts: [].into(), lengths: [].into(), index: [].into(), shift: 0 }
    }
}

impl<T: Number> Flat<T> {
    fn of(mut blocks: Vec<(T, u8)>) -> Self {
        // A block stands before those inside it.
        blocks.sort_unstable();
        blocks.dedup();
        let mut starts: Vec<T> = Vec::with_capacity(blocks.len() * 2);
        let mut lengths: Vec<u8> = Vec::with_capacity(blocks.len() * 2);
        let mut begin = |at: T, length: u8| {
            if starts.last() == Some(&at) {
                starts.pop();
                lengths.pop();
            }
            if lengths.last().copied().unwrap_or(NONE) != length {
                starts.push(at);
                lengths.push(length);
            }
        };
        // The blocks that are open where we stand, the outermost first.
        let mut open: Vec<(T, u8)> = Vec::new();
        let close = |until: Option<T>, open: &mut Vec<(T, u8)>, begin: &mut dyn FnMut(T, u8)| {
            while let Some((last, _)) = open.pop_if(|(last, _)| until.is_none_or(|at| *last < at)) {
                let around = open.last().map_or(NONE, |(_, length)| *length);
                if let Some(next) = last.next() {
                    begin(next, around);
                }
            }
        };
        for (first, length) in blocks {
            close(Some(first), &mut open, &mut begin);
            begin(first, length);
            open.push((first.last(length), length));
        }
        close(None, &mut open, &mut begin);
        starts.shrink_to_fit();
        lengths.shrink_to_fit();
        Flat::indexed(starts.into(), lengths.into())
    }

    fn indexed(starts: Box<[T]>, lengths: Box<[u8]>) -> Self {
        let (Some(&first), Some(&last)) = (starts.first(), starts.last()) else {
            return Flat::default();
        };
        // So few leading bits that there are four stretches for each value of them.
        let most = (starts.len() / 4).max(64);
        let fits = |shift: u8| last.is_bucket_below(most, first, shift);
        let shift = (0..T::BITS).find(|shift| fits(*shift)).unwrap_or(T::BITS - 1);
        let mut index = vec![0; last.bucket(first, shift) + 2];
        for start in &starts {
            index[start.bucket(first, shift) + 1] += 1;
        }
        for at in 1..index.len() {
            index[at] += index[at - 1];
        }
        Flat { starts, lengths, index: index.into(), shift }
    }

    fn find(&self, address: T) -> Option<u8> {
        let first = *self.starts.first()?;
        if address < first {
            return None;
        }
        let bucket = address.min(*self.starts.last()?).bucket(first, self.shift);
        let (from, to) = (self.index[bucket] as usize, self.index[bucket + 1] as usize);
        let before = self.starts[from..to].partition_point(|start| *start <= address);
        // `address` is not before the first stretch, so one lies at or before it.
        let length = self.lengths[from + before - 1];
        (length != NONE).then_some(length)
    }

    fn size(&self) -> usize {
        size_of_val(&*self.starts) + size_of_val(&*self.lengths) + size_of_val(&*self.index)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use transom_settings::FromText;

    use super::*;

    fn blocks(texts: &[&str]) -> Blocks {
        texts.iter().map(|text| Cidr::from_text(text).unwrap()).collect()
    }

    #[test]
    fn the_most_specific_block_is_found() {
        let set = blocks(&[
            "10.0.0.0/8",
            "10.1.0.0/16",
            "10.1.2.0/24",
            "10.1.2.3",
            "10.255.255.255",
            "11.0.0.0/8",
            "255.255.255.255",
            "0.0.0.0",
            "2001:db8::/32",
            "2001:db8::1",
            "2001:db8:0:1::/64",
            "2001:db8:0:1::/65",
            "ffff::/16",
        ]);
        for (address, expected) in [
            ("10.0.0.0", Some(8)),
            ("10.0.255.255", Some(8)),
            ("10.1.0.0", Some(16)),
            ("10.1.2.2", Some(24)),
            ("10.1.2.3", Some(32)),
            ("10.1.2.4", Some(24)),
            ("10.1.3.0", Some(16)),
            ("10.2.0.0", Some(8)),
            ("10.255.255.255", Some(32)),
            ("11.0.0.0", Some(8)),
            ("12.0.0.0", None),
            ("9.255.255.255", None),
            ("0.0.0.0", Some(32)),
            ("0.0.0.1", None),
            ("255.255.255.255", Some(32)),
            ("::ffff:10.1.2.3", Some(32)),
            ("2001:db8::", Some(32)),
            ("2001:db8::1", Some(128)),
            ("2001:db8::2", Some(32)),
            ("2001:db8:0:1::2", Some(65)),
            ("2001:db8:0:1:8000::", Some(64)),
            ("2001:db9::", None),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Some(16)),
            ("::", None),
        ] {
            assert_eq!(set.longest(address.parse().unwrap()), expected, "{address}");
        }
        assert_eq!(blocks(&[]).longest([1, 2, 3, 4].into()), None);
        assert_eq!(blocks(&["0.0.0.0/0"]).longest([1, 2, 3, 4].into()), Some(0));
        assert_eq!(blocks(&["::/0"]).longest([1, 2, 3, 4].into()), None);
    }

    #[test]
    fn lb_37_of_allow_and_deny_the_more_specific_one_decides() {
        let rule = |allow: &[&str], deny: &[&str]| {
            let lists = |texts: &[&str]| match texts {
                [] => vec![],
                // As two lists, such as a file and what stands in the configuration itself.
                [first, rest @ ..] => vec![Arc::new(blocks(&[first])), Arc::new(blocks(rest))],
            };
            Rule { allow: lists(allow), deny: lists(deny) }
        };
        for (allow, deny, address, expected) in [
            (&[][..], &[][..], "1.2.3.4", true),
            (&[], &["1.0.0.0/8"], "1.2.3.4", false),
            (&[], &["1.0.0.0/8"], "2.2.3.4", true),
            (&["1.0.0.0/8"], &[], "1.2.3.4", true),
            (&["1.0.0.0/8"], &[], "2.2.3.4", false),
            (&["1.0.0.0/8"], &["1.2.0.0/16"], "1.2.3.4", false),
            (&["1.2.3.0/24", "9.9.9.9"], &["1.2.0.0/16"], "1.2.3.4", true),
            (&["9.9.9.9", "1.2.3.0/24"], &["8.8.8.8", "1.2.3.0/24"], "1.2.3.4", false),
            (&["9.9.9.9"], &["8.8.8.8"], "1.2.3.4", false),
        ] {
            let passes = rule(allow, deny).lets_pass(address.parse().unwrap());
            assert_eq!(passes, expected, "{allow:?} {deny:?} {address}");
        }
    }

    proptest! {
        /// Against looking at each block in turn.
        #[test]
        fn what_is_found_is_what_a_plain_search_finds(
            written in prop::collection::vec((any::<u32>(), 0u8..=32), 0..200),
            asked in prop::collection::vec(any::<u32>(), 20),
        ) {
            let nets: Vec<ipnet::Ipv4Net> = written
                .iter()
                // Close together, so that they overlap.
                .map(|(at, len)| ipnet::Ipv4Net::new((at & 0x0103_070f).into(), *len).unwrap().trunc())
                .collect();
            let set: Blocks =
                nets.iter().map(|net| Cidr::from_text(&net.to_string()).unwrap()).collect();
            let edges = nets.iter().flat_map(|net| {
                let (first, last) = (u32::from(net.network()), u32::from(net.broadcast()));
                [first, last, first.wrapping_sub(1), last.wrapping_add(1)]
            });
            for at in asked.into_iter().map(|at| at & 0x0103_070f).chain(edges) {
                let address = std::net::Ipv4Addr::from(at);
                let plain = nets.iter().filter(|n| n.contains(&address)).map(|n| n.prefix_len()).max();
                prop_assert_eq!(set.longest(address.into()), plain);
            }
        }
    }
}
