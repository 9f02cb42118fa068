//! Priorities, in a tree for drawing (Schaul et al. 2016, "Prioritized Experience Replay").

use std::hint::black_box;
use std::ops::Range;

use crate::Error;
use crate::storage::{Block, available_bytes};

/// The children of one node: eight f64 are one cache line.
type Family = [f64; FAN_OUT];
const FAN_OUT: usize = 8;

/// A tree with a leaf for each slot, its priority to the power alpha; the nodes above have sums and maxima.
///
/// A parent is always computed from its children, never adjusted by a difference: no rounding adds up, and the
/// same leaves make the same tree. The descent enters no child whose sum is 0, so a slot that is empty or has
/// priority 0 cannot be drawn, whatever the rounding.
#[derive(Debug)]
pub(crate) struct Priorities {
    alpha: f64,
    largest: f64,
    /// All families, level after level: a block, so that a large tree of few leaves takes few bytes.
    families: Block,
    /// Where each level's sums begin; the first level's families are the leaves, the last level is one family.
    sums: Vec<usize>,
    /// Where each level's maxima begin, from the second level on: leaves are their own maxima.
    maxima: Vec<usize>,
}

impl Priorities {
    /// A tree of `slots` zeros. O(levels).
    pub(crate) fn new(slots: usize, alpha: f64) -> Result<Self, Error> {
        let mut end = 0;
        let mut begins = |families: usize| {
            end += families;
            end - families
        };
        let sums = families(slots).map(&mut begins).collect();
        let maxima = families(slots).skip(1).map(&mut begins).collect();
        let bytes = Self::bytes(slots);
        let families = Block::new(bytes).map_err(|_| Error::OutOfMemory {
            what: "the tree of priorities",
            asked: bytes as u128,
            available: available_bytes(),
        })?;
        // Sums of as many as there are slots must stay finite, with room to round up.
        let largest = (f64::MAX / 4.0 / slots as f64).powf(1.0 / alpha.max(1.0));
        Ok(Self {
            alpha,
            largest,
            families,
            sums,
            maxima,
        })
    }

    /// The bytes of a tree for `slots` slots.
    pub(crate) fn bytes(slots: usize) -> usize {
        let all: usize = families(slots).sum();
        (2 * all - slots.div_ceil(FAN_OUT)) * size_of::<Family>()
    }

    pub(crate) fn alpha(&self) -> f64 {
        self.alpha
    }

    /// The largest priority that can be given.
    pub(crate) fn largest(&self) -> f64 {
        self.largest
    }

    /// The slots' leaves, and some zeros after them. O(1).
    pub(crate) fn leaves(&self) -> &[f64] {
        let families = self.sums.get(1).copied().unwrap_or(1);
        self.all()[..families].as_flattened()
    }

    /// The sum of all leaves. O(1).
    pub(crate) fn total(&self) -> f64 {
        sum(&self.all()[self.sums[self.sums.len() - 1]])
    }

    /// A priority to the power alpha; above 0 where the priority is. O(1).
    pub(crate) fn leaf(&self, priority: f64) -> f64 {
        if priority == 0.0 {
            return 0.0;
        }
        // Not the platform's own `pow`: draws must be the same everywhere.
        libm::pow(priority, self.alpha).max(f64::MIN_POSITIVE)
    }

    /// The leaf of a new transition: the largest leaf, or 1 if none is above 0. O(1).
    pub(crate) fn newest_leaf(&self) -> f64 {
        let max = max(&self.all()[self.maxima.last().copied().unwrap_or(0)]);
        if max > 0.0 { max } else { 1.0 }
    }

    /// Write one leaf and the nodes above it. O(log slots).
    pub(crate) fn set(&mut self, slot: u32, leaf: f64) {
        let mut nodes = self.nodes();
        let mut node = slot as usize;
        nodes.all.as_flattened_mut()[node] = leaf;
        for level in 1..nodes.sums.len() {
            node /= FAN_OUT;
            nodes.recompute(level, node);
        }
    }

    /// Write several leaves; of equal slots, the last counts. O(slots log slots); `scratch` has capacity for as many.
    pub(crate) fn set_many(&mut self, pairs: &[(u32, f64)], scratch: &mut Vec<u32>) {
        let mut nodes = self.nodes();
        let leaves = nodes.all.as_flattened_mut();
        for &(slot, leaf) in pairs {
            leaves[slot as usize] = leaf;
        }
        scratch.clear();
        scratch.extend(pairs.iter().map(|&(slot, _)| slot / FAN_OUT as u32));
        scratch.sort_unstable();
        for level in 1..nodes.sums.len() {
            scratch.dedup();
            let maxima = &nodes.all[nodes.maxima[level - 1]..].as_flattened();
            touch(scratch.iter().map(|&node| maxima[node as usize]));
            for &node in scratch.iter() {
                nodes.recompute(level, node as usize);
            }
            scratch.iter_mut().for_each(|node| *node /= FAN_OUT as u32);
        }
    }

    /// Write the leaves of neighbouring slots and the nodes above them.
    /// O(slots + levels).
    pub(crate) fn set_range(&mut self, slots: Range<u32>, leaves: impl Iterator<Item = f64>) {
        if slots.is_empty() {
            return;
        }
        let mut nodes = self.nodes();
        let (mut first, mut last) = (slots.start as usize, slots.end as usize - 1);
        let written = &mut nodes.all.as_flattened_mut()[first..=last];
        written
            .iter_mut()
            .zip(leaves)
            .for_each(|(written, leaf)| *written = leaf);
        for level in 1..nodes.sums.len() {
            (first, last) = (first / FAN_OUT, last / FAN_OUT);
            for node in first..=last {
                nodes.recompute(level, node);
            }
        }
    }

    /// Turn each point of the sum, 0 <= point < total, into the slot there; `slots` are as many zeros.
    /// O(points * log slots).
    ///
    /// Level by level for all points at once: their cache misses overlap.
    pub(crate) fn find(&self, points: &mut [f64], slots: &mut [u32]) {
        let all = self.all();
        for &begin in self.sums.iter().rev() {
            let level = &all[begin..];
            touch(slots.iter().map(|&node| level[node as usize][0]));
            for (point, node) in points.iter_mut().zip(slots.iter_mut()) {
                let family = &level[*node as usize];
                *node = *node * FAN_OUT as u32 + descend(family, point) as u32;
            }
        }
    }

    #[inline(always)]
    fn all(&self) -> &[Family] {
        bytemuck::cast_slice(&self.families)
    }

    #[inline(always)]
    fn nodes(&mut self) -> Nodes<'_> {
        Nodes {
            all: bytemuck::cast_slice_mut(&mut self.families),
            sums: &self.sums,
            maxima: &self.maxima,
        }
    }
}

/// The tree while it is written: its bytes are viewed as families once a call, not once a node.
struct Nodes<'a> {
    all: &'a mut [Family],
    sums: &'a [usize],
    maxima: &'a [usize],
}

impl Nodes<'_> {
    /// Compute the node above a family.
    #[inline(always)]
    fn recompute(&mut self, level: usize, node: usize) {
        let family = &self.all[self.sums[level - 1] + node];
        let below = self.maxima.get(level.wrapping_sub(2));
        let new_sum = sum(family);
        let new_max = max(below.map_or(family, |below| &self.all[below + node]));
        let numbers = self.all.as_flattened_mut();
        numbers[self.sums[level] * FAN_OUT + node] = new_sum;
        numbers[self.maxima[level - 1] * FAN_OUT + node] = new_max;
    }
}

/// Read numbers that are needed next: with nothing else between, all cache misses are under way at once.
fn touch(numbers: impl Iterator<Item = f64>) {
    black_box(numbers.fold(0, |bits, number| bits ^ number.to_bits()));
}

/// The child at `point` of a family's sum; `point` becomes one of that child's sum.
#[inline(always)]
fn descend(family: &Family, point: &mut f64) -> usize {
    // before[i + 1] > before[i] only where child i is above 0; so the child at which the running sum first passes
    // the point is above 0. No branch depends on the data, but for the rounding below.
    let mut before = [0.0; FAN_OUT + 1];
    let mut child = 0;
    for i in 0..FAN_OUT {
        before[i + 1] = before[i] + family[i];
        child += usize::from(*point >= before[i + 1]);
    }
    if child == FAN_OUT {
        // Rounding carried the point past the end: the last child above 0 is the nearest.
        child = family.iter().rposition(|&sum| sum > 0.0).unwrap_or(0);
    }
    *point -= before[child];
    child
}

#[inline(always)]
fn sum([a, b, c, d, e, f, g, h]: &Family) -> f64 {
    ((a + b) + (c + d)) + ((e + f) + (g + h))
}

#[inline(always)]
fn max(family: &Family) -> f64 {
    let larger = |a: f64, b: f64| if a > b { a } else { b };
    let [a, b, c, d, e, f, g, h] = *family;
    larger(
        larger(larger(a, b), larger(c, d)),
        larger(larger(e, f), larger(g, h)),
    )
}

/// Families of each level, leaves first, down to one.
fn families(slots: usize) -> impl Iterator<Item = usize> {
    let above = |&families: &usize| (families > 1).then(|| families.div_ceil(FAN_OUT));
    std::iter::successors(Some(slots.div_ceil(FAN_OUT)), above)
}
