//! A tree of segments, in which templates and prefixes are found by one walk along the path.

use std::collections::HashMap;

use smallvec::SmallVec;

use super::{Run, Segment, segment_end};

/// Templates and prefixes, as a tree of their segments.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
}

/// What a path meets on its way through the tree.
pub(super) type Endings = SmallVec<[Ending; 16]>;

impl Default for Tree {
    /// With its root.
    fn default() -> Self {
        Tree { nodes: vec![Node::default()] }
    }
}

impl Tree {
    /// The node behind these segments, made if need be.
    pub(super) fn node(&mut self, segments: &[Segment]) -> u32 {
        let mut at = 0;
        for segment in segments {
            let fresh = self.nodes.len() as u32;
            let node = &mut self.nodes[at as usize];
            at = match segment {
                Segment::Literal(literal) => match node.literals.get(literal.as_bytes()) {
                    Some(child) => child,
                    None => {
                        node.literals.insert(literal.as_bytes(), fresh);
                        fresh
                    }
                },
                Segment::Name(_) => *node.name.get_or_insert(fresh),
            };
            if at == fresh {
                self.nodes.push(Node::default());
            }
        }
        at
    }

    /// A template ends at this node.
    pub(super) fn end_template(&mut self, node: u32, ending: Ending) {
        self.nodes[node as usize].template = ending;
    }

    /// A prefix ends at this node.
    pub(super) fn end_prefix(&mut self, node: u32, ending: Ending) {
        self.nodes[node as usize].prefix = ending;
    }

    /// Once all patterns are in it. Nodes are other ones from here on.
    pub(super) fn compact(&mut self) {
        self.nodes = compact(std::mem::take(&mut self.nodes));
    }

    /// What fits the path, in the order it is tried.
    pub(super) fn fitting(&self, path: &[u8]) -> Endings {
        let mut endings = Endings::new();
        self.walk(0, path, 0, &mut endings);
        endings.sort_unstable_by_key(|ending| ending.rank);
        endings
    }

    /// Walks the tree along the path. Only a node with a name forks the walk, so it is bounded by
    /// the configured patterns and never by what the client sends.
    fn walk(&self, node: u32, path: &[u8], slash: usize, endings: &mut Endings) {
        let (mut node, mut slash) = (&self.nodes[node as usize], slash);
        loop {
            if !node.lead.is_empty() {
                let Some(rest) = path[slash..].strip_prefix(&*node.lead) else {
                    return;
                };
                // `/api` leads to `/api` and `/api/x`, not to `/apiadmin`.
                if !matches!(rest, [] | [b'/', ..]) {
                    return;
                }
                slash += node.lead.len();
            }
            if node.prefix.run.to > 0 {
                endings.push(node.prefix);
            }
            let Some(end) = segment_end(path, slash) else {
                if node.template.run.to > 0 {
                    endings.push(node.template);
                }
                return;
            };
            let segment = &path[slash + 1..end];
            if let Some(name) = node.name
                && !segment.is_empty()
            {
                self.walk(name, path, end, endings);
            }
            match node.literals.get(segment) {
                Some(child) => node = &self.nodes[child as usize],
                None => return,
            }
            slash = end;
        }
    }
}

#[derive(Debug, Default)]
struct Node {
    /// What the path has to go on with, segment by segment, before the rest of the node counts: a
    /// chain of literals that nothing branches from or ends in.
    lead: Box<[u8]>,
    literals: Children,
    name: Option<u32>,
    /// The path ends here.
    template: Ending,
    /// The path ends here or goes on.
    prefix: Ending,
}

/// What a node offers, and when it is tried. No entries: nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ending {
    pub(super) rank: u32,
    pub(super) run: Run,
}

impl Node {
    /// The one child, where there is nothing else to do here.
    fn only_way(&self) -> Option<(&[u8], u32)> {
        let ends = self.template.run.to > 0 || self.prefix.run.to > 0;
        match &self.literals {
            Children::Few(list) if !ends && self.name.is_none() => match &list[..] {
                [(segment, child)] => Some((segment, *child)),
                _ => None,
            },
            _ => None,
        }
    }
}

#[derive(Debug)]
enum Children {
    Few(Vec<(Box<[u8]>, u32)>),
    #[expect(clippy::box_collection, reason = "nodes with few children are many and stay small")]
    Many(Box<HashMap<Box<[u8]>, u32, foldhash::fast::RandomState>>),
}

impl Default for Children {
    fn default() -> Self {
        Children::Few(Vec::new())
    }
}

/// Up to this many children are compared one by one.
const FEW_CHILDREN: usize = 8;

impl Children {
    fn get(&self, segment: &[u8]) -> Option<u32> {
        match self {
            Children::Few(list) => {
                list.iter().find(|(literal, _)| **literal == *segment).map(|(_, node)| *node)
            }
            Children::Many(map) => map.get(segment).copied(),
        }
    }

    fn insert(&mut self, segment: &[u8], node: u32) {
        match self {
            Children::Few(list) if list.len() < FEW_CHILDREN => list.push((segment.into(), node)),
            Children::Few(list) => {
                let mut map: HashMap<_, _, _> = std::mem::take(list).into_iter().collect();
                map.insert(segment.into(), node);
                *self = Children::Many(Box::new(map));
            }
            Children::Many(map) => {
                map.insert(segment.into(), node);
            }
        }
    }
}

/// Lays the nodes out in the order a walk meets them, chains of literals folded into one. Measured
/// with 10,000 hosts of one template each, where nearly every step misses the processor's caches.
fn compact(mut old: Vec<Node>) -> Vec<Node> {
    let mut nodes = vec![Node::default()];
    let mut open = vec![(0, 0)];
    while let Some((from, to)) = open.pop() {
        let mut node = std::mem::take(&mut old[from as usize]);
        let mut lead = Vec::new();
        while let Some((segment, child)) = node.only_way() {
            lead.push(b'/');
            lead.extend_from_slice(segment);
            node = std::mem::take(&mut old[child as usize]);
        }
        node.lead = lead.into();
        let mut moved = |child: &mut u32| {
            let fresh = nodes.len() as u32;
            nodes.push(Node::default());
            open.push((*child, fresh as usize));
            *child = fresh;
        };
        node.name.iter_mut().for_each(&mut moved);
        match &mut node.literals {
            Children::Few(list) => list.iter_mut().for_each(|(_, child)| moved(child)),
            Children::Many(map) => map.values_mut().for_each(moved),
        }
        nodes[to] = node;
    }
    nodes
}
