//! All that decides what a memory gives out next, as columns.

use std::borrow::Cow;

use crate::Error;
use crate::memory::ReplayMemory;
use crate::rings::{Ring, TERMINATED, row_of};
use crate::rng::Rng;

/// A memory's content, trimmed to what is filled; rows are in the order of the rings and of their slots.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State<'a> {
    /// The generator's state.
    pub rng: [u64; 4],
    /// For each environment how many transitions were ever pushed.
    pub counts: Vec<i64>,
    /// For each environment how many are there.
    pub lens: Vec<i64>,
    /// For each environment the slot that is written next.
    pub heads: Vec<i64>,
    /// For each environment whether the newest transition's episode goes on.
    pub open: Vec<bool>,
    /// Rows of observations.
    pub obs: Cow<'a, [u8]>,
    /// Rows of actions.
    pub actions: Cow<'a, [u8]>,
    /// Rewards.
    pub rewards: Vec<f32>,
    /// Whether the episode ended there in a final state.
    pub terminated: Vec<bool>,
    /// Whether the next observation is in `finals`, and not the next slot's observation.
    pub last: Vec<bool>,
    /// Rows of next observations, one for each true in `last`, in the same order.
    pub finals: Cow<'a, [u8]>,
    /// Priorities to the power alpha, where the memory has any.
    pub priorities: Option<Vec<f64>>,
}

impl ReplayMemory {
    /// A copy of everything. O(len).
    #[must_use]
    pub fn state(&self) -> State<'static> {
        let rings = &self.rings;
        let mut state = State {
            rng: self.rng.state(),
            ..State::default()
        };
        let mut obs = Vec::with_capacity(rings.len * rings.obs_bytes);
        let mut actions = Vec::with_capacity(rings.len * rings.action_bytes);
        let mut finals = Vec::new();
        for ring in &rings.rings {
            state.counts.push(ring.count as i64);
            state.lens.push(i64::from(ring.len));
            state.heads.push(i64::from(ring.head));
            state.open.push(ring.open);
        }
        for slot in self.filled_slots() {
            let record = rings.record(slot);
            let (reward, link) = rings.reward_and_link(slot);
            let (row, rest) = record.split_at(rings.obs_bytes);
            obs.extend_from_slice(row);
            actions.extend_from_slice(&rest[..rings.action_bytes]);
            state.rewards.push(reward);
            state.terminated.push(link & TERMINATED != 0);
            state.last.push(link != 0);
            if let Some(row) = row_of(link) {
                finals.extend_from_slice(rings.finals.row(row));
            }
        }
        (state.obs, state.actions, state.finals) = (obs.into(), actions.into(), finals.into());
        let leaves = |tree: &crate::priorities::Priorities| {
            self.filled_slots()
                .map(|slot| tree.leaves()[slot as usize])
                .collect()
        };
        state.priorities = self.priorities.as_ref().map(leaves);
        state
    }

    /// Become what `state` says, if it can be: everything is checked before anything is changed. O(capacity).
    ///
    /// # Errors
    /// [`Error::State`] with the first contradiction found, [`Error::OutOfMemory`] for the final observations.
    pub fn restore(&mut self, state: &State<'_>) -> Result<(), Error> {
        let rng = Rng::from_state(state.rng)?;
        let rings = self.check_rings(state)?;
        self.check_rows(state, &rings)?;
        let finals = state.last.iter().filter(|&&last| last).count();
        let held = self
            .filled_slots()
            .filter(|&slot| self.rings.reward_and_link(slot).1 != 0)
            .count();
        self.rings.finals.reserve(finals.saturating_sub(held))?;

        self.clear();
        self.rng = rng;
        self.rings.len = state.rewards.len();
        self.rings.rings = rings;
        let (obs_bytes, action_bytes) = (self.rings.obs_bytes, self.rings.action_bytes);
        let mut finals = 0;
        let slots: Vec<u32> = self.filled_slots().collect();
        for (row, &slot) in slots.iter().enumerate() {
            let mut link = 0;
            if state.last[row] {
                let place = self.rings.finals.take();
                self.rings
                    .finals
                    .row_mut(place)
                    .copy_from_slice(&state.finals[finals * obs_bytes..][..obs_bytes]);
                finals += 1;
                link = (place + 1) | if state.terminated[row] { TERMINATED } else { 0 };
            }
            let obs = &state.obs[row * obs_bytes..][..obs_bytes];
            let action = &state.actions[row * action_bytes..][..action_bytes];
            self.rings
                .write(slot, obs, action, state.rewards[row], link);
        }
        if let (Some(tree), Some(leaves)) = (&mut self.priorities, &state.priorities) {
            tree.replace(slots.iter().copied().zip(leaves.iter().copied()));
        }
        Ok(())
    }

    fn filled_slots(&self) -> impl Iterator<Item = u32> + use<'_> {
        let size = self.rings.size;
        let of_ring = move |(env, ring): (usize, &Ring)| {
            let start = env as u32 * size;
            start..start + ring.len
        };
        self.rings.rings.iter().enumerate().flat_map(of_ring)
    }

    fn check_rings(&self, state: &State<'_>) -> Result<Vec<Ring>, Error> {
        let num_envs = self.num_envs();
        check_length("counts", state.counts.len(), num_envs)?;
        check_length("lens", state.lens.len(), num_envs)?;
        check_length("heads", state.heads.len(), num_envs)?;
        check_length("open", state.open.len(), num_envs)?;
        let size = i64::from(self.rings.size);
        let most = i64::MAX / num_envs as i64;
        let ring = |env: usize| {
            let (count, len, head) = (state.counts[env], state.lens[env], state.heads[env]);
            let fits = (0..=size).contains(&len) && (len..=most).contains(&count);
            let placed = if len == size {
                (0..size).contains(&head)
            } else {
                head == len
            };
            if !(fits && placed) {
                let message = format!(
                    "environment {env} has count {count}, len {len} and head {head}, which no memory with {size} \
                     slots for each environment can have"
                );
                return Err(Error::State(message));
            }
            Ok(Ring {
                head: head as u32,
                len: len as u32,
                count: count as u64,
                open: state.open[env],
            })
        };
        (0..num_envs).map(ring).collect()
    }

    fn check_rows(&self, state: &State<'_>, rings: &[Ring]) -> Result<(), Error> {
        let rows: usize = rings.iter().map(|ring| ring.len as usize).sum();
        let (obs_bytes, action_bytes) = (self.rings.obs_bytes, self.rings.action_bytes);
        check_length("obs", state.obs.len(), rows * obs_bytes)?;
        check_length("actions", state.actions.len(), rows * action_bytes)?;
        check_length("rewards", state.rewards.len(), rows)?;
        check_length("terminated", state.terminated.len(), rows)?;
        check_length("last", state.last.len(), rows)?;
        let finals = state.last.iter().filter(|&&last| last).count();
        check_length("finals", state.finals.len(), finals * obs_bytes)?;
        if let Some(row) = (0..rows).find(|&row| state.terminated[row] && !state.last[row]) {
            return Err(Error::State(format!(
                "row {row} is terminated but not last"
            )));
        }
        let mut start = 0;
        for (env, ring) in rings.iter().enumerate().filter(|(_, ring)| ring.len > 0) {
            let newest = start + (if ring.head == 0 { ring.len } else { ring.head } - 1) as usize;
            if !state.last[newest] {
                return Err(Error::State(format!(
                    "the newest row of environment {env} is not last"
                )));
            }
            if ring.open && state.terminated[newest] {
                return Err(Error::State(format!(
                    "environment {env} is open but its newest row is terminated"
                )));
            }
            start += ring.len as usize;
        }
        match (&self.priorities, &state.priorities) {
            (None, None) => Ok(()),
            (Some(tree), Some(leaves)) => {
                check_length("priorities", leaves.len(), rows)?;
                let largest = tree.leaf(tree.largest());
                match leaves.iter().find(|leaf| !(0.0..=largest).contains(*leaf)) {
                    Some(leaf) => Err(Error::State(format!(
                        "priorities holds {leaf}, which cannot be a priority"
                    ))),
                    None => Ok(()),
                }
            }
            (None, Some(_)) => Err(Error::State(
                "it has priorities, but this memory has none".to_owned(),
            )),
            (Some(_), None) => Err(Error::State(
                "it has no priorities, but this memory has them".to_owned(),
            )),
        }
    }
}

fn check_length(name: &str, found: usize, expected: usize) -> Result<(), Error> {
    if found == expected {
        return Ok(());
    }
    Err(Error::State(format!(
        "{name} has length {found}, expected {expected}"
    )))
}
