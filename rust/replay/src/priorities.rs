//! Priorities and the tree that draws by them (Schaul et al. 2016, "Prioritized Experience Replay").

use crate::Error;

/// Children of one node: eight f64 are one cache line.
const FAN_OUT: usize = 8;

/// For each slot its priority to the power alpha, and above them their sums and maxima.
///
/// A parent is always computed from its children, never adjusted by a difference: no rounding adds up, and the
/// same leaves make the same tree. The descent enters no child whose sum is 0, so a slot that is empty or has
/// priority 0 cannot be drawn, whatever the rounding.
#[derive(Debug)]
pub(crate) struct Priorities {
    alpha: f64,
    /// Level 0 are the leaves, padded with 0 to a multiple of the fan-out; the last level is the root alone.
    sums: Vec<Vec<f64>>,
    /// The same for maxima, without the leaves: those are their own maxima.
    maxima: Vec<Vec<f64>>,
    largest: f64,
}

impl Priorities {
    /// A tree of `slots` zeros. O(slots).
    pub(crate) fn new(slots: usize, alpha: f64) -> Result<Self, Error> {
        let refused = || Error::OutOfMemory {
            asked: Self::bytes(slots) as u128,
            available: crate::available::available_bytes(),
        };
        let zeros = |count: usize| {
            let mut zeros = Vec::new();
            zeros.try_reserve_exact(count).map_err(|_| refused())?;
            zeros.resize(count, 0.0);
            Ok::<_, Error>(zeros)
        };
        let (mut sums, mut maxima) = (Vec::new(), Vec::new());
        for count in level_lengths(slots) {
            if !sums.is_empty() {
                maxima.push(zeros(count)?);
            }
            sums.push(zeros(count)?);
        }
        // Sums of as many as there are slots must stay finite, with room to round up.
        let largest = (f64::MAX / 4.0 / slots as f64).powf(1.0 / alpha.max(1.0));
        Ok(Self {
            alpha,
            sums,
            maxima,
            largest,
        })
    }

    /// The bytes that a tree of so many slots takes.
    pub(crate) fn bytes(slots: usize) -> usize {
        let lengths: Vec<usize> = level_lengths(slots).collect();
        (2 * lengths.iter().sum::<usize>() - lengths[0]) * size_of::<f64>()
    }

    pub(crate) fn alpha(&self) -> f64 {
        self.alpha
    }

    /// The largest priority that can be given.
    pub(crate) fn largest(&self) -> f64 {
        self.largest
    }

    /// The slots' priorities to the power alpha, and some zeros after them. O(1).
    pub(crate) fn leaves(&self) -> &[f64] {
        &self.sums[0]
    }

    /// The sum of all leaves. O(1).
    pub(crate) fn total(&self) -> f64 {
        self.sums[self.sums.len() - 1][0]
    }

    /// A priority to the power alpha; above 0 where the priority is. O(1).
    pub(crate) fn scaled(&self, priority: f64) -> f64 {
        if priority == 0.0 {
            0.0
        } else {
            libm::pow(priority, self.alpha).max(f64::MIN_POSITIVE)
        }
    }

    /// What a new transition gets: the largest leaf, or 1 where there is none above 0. O(1).
    pub(crate) fn newest_leaf(&self) -> f64 {
        let max = self.maxima[self.maxima.len() - 1][0];
        if max > 0.0 { max } else { 1.0 }
    }

    /// Write one leaf and what stands above it. O(log slots).
    pub(crate) fn set(&mut self, slot: u32, leaf: f64) {
        self.sums[0][slot as usize] = leaf;
        let mut node = slot as usize;
        for level in 0..self.maxima.len() {
            node /= FAN_OUT;
            self.recompute(level, node);
        }
    }

    /// Write several leaves, the last of equal slots counting; sorts `slots`' nodes in place. O(slots log slots).
    pub(crate) fn set_many(&mut self, pairs: &[(u32, f64)], nodes: &mut Vec<u32>) {
        for &(slot, leaf) in pairs {
            self.sums[0][slot as usize] = leaf;
        }
        nodes.clear();
        nodes.extend(pairs.iter().map(|&(slot, _)| slot));
        for level in 0..self.maxima.len() {
            nodes.iter_mut().for_each(|node| *node /= FAN_OUT as u32);
            if level == 0 {
                nodes.sort_unstable();
            }
            nodes.dedup();
            for &node in nodes.iter() {
                self.recompute(level, node as usize);
            }
        }
    }

    /// Write every leaf: `leaf(slot)` for each of `slots`. O(slots).
    pub(crate) fn fill(&mut self, leaf: impl Fn(usize) -> f64, slots: usize) {
        for slot in 0..slots {
            self.sums[0][slot] = leaf(slot);
        }
        for level in 0..self.maxima.len() {
            for node in 0..self.sums[level].len() / FAN_OUT {
                self.recompute(level, node);
            }
        }
    }

    /// Set every leaf to 0. O(slots).
    pub(crate) fn clear(&mut self) {
        self.sums
            .iter_mut()
            .chain(&mut self.maxima)
            .for_each(|level| level.fill(0.0));
    }

    /// The slot at `point` of the sum, 0 <= point < total. O(log slots).
    #[inline]
    pub(crate) fn find(&self, mut point: f64) -> u32 {
        let mut node = 0;
        for level in self.sums[..self.sums.len() - 1].iter().rev() {
            let children = &level[node * FAN_OUT..(node + 1) * FAN_OUT];
            let mut chosen = 0;
            for (child, &sum) in children.iter().enumerate() {
                if sum > 0.0 {
                    chosen = child;
                    if point < sum {
                        break;
                    }
                    point -= sum;
                }
            }
            // Rounding may carry `point` past the last child above 0: the answer is then below that child.
            node = node * FAN_OUT + chosen;
        }
        node as u32
    }

    /// The node above the children that start at `node * FAN_OUT` of `level`.
    fn recompute(&mut self, level: usize, node: usize) {
        let range = node * FAN_OUT..(node + 1) * FAN_OUT;
        let children = &self.sums[level][range.clone()];
        let sum: f64 = children.iter().sum();
        let below = if level == 0 {
            children
        } else {
            &self.maxima[level - 1][range]
        };
        self.maxima[level][node] = below
            .iter()
            .fold(0.0, |max, &child| if child > max { child } else { max });
        self.sums[level + 1][node] = sum;
    }
}

/// Nodes of each level, leaves first; all but the root in whole families.
fn level_lengths(slots: usize) -> impl Iterator<Item = usize> {
    let mut next = Some(slots.next_multiple_of(FAN_OUT).max(FAN_OUT));
    std::iter::from_fn(move || {
        let length = next?;
        next = match length {
            1 => None,
            FAN_OUT => Some(1),
            _ => Some((length / FAN_OUT).next_multiple_of(FAN_OUT)),
        };
        Some(length)
    })
}
