//! A memory's whole state, as columns.

use std::borrow::Cow;

use crate::Error;
use crate::memory::ReplayMemory;
use crate::rng::Rng;
use crate::sampling::Priorities;
use crate::storage::{Ring, TERMINATED, row_of, with_room};

/// What needs the memory, for [`Error::OutOfMemory`].
const COPY: &str = "the copy of the replay memory";

/// A memory's state without unused slots; rows are in the order of the rings and their slots.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State<'a> {
    /// The generator's state.
    pub rng: [u64; 4],
    /// For each environment, the number of transitions ever pushed.
    pub counts: Cow<'a, [i64]>,
    /// For each environment, the number of stored transitions; with stacks this includes the `frame_stack - 1` oldest
    /// of a full ring, which are only kept for their frames.
    pub lens: Cow<'a, [i64]>,
    /// For each environment, the slot that is written next.
    pub heads: Cow<'a, [i64]>,
    /// For each environment, whether the newest transition's episode continues.
    pub open: Cow<'a, [bool]>,
    /// Rows of observations.
    pub obs: Cow<'a, [u8]>,
    /// Rows of actions.
    pub actions: Cow<'a, [u8]>,
    /// Rewards.
    pub rewards: Cow<'a, [f32]>,
    /// Whether the episode terminated there.
    pub terminated: Cow<'a, [bool]>,
    /// Whether the next observation is in `finals` instead of the next slot.
    pub last: Cow<'a, [bool]>,
    /// Rows of next observations, one for each true in `last`, in the same order.
    pub finals: Cow<'a, [u8]>,
    /// Priorities to the power alpha, if the memory has priorities.
    pub priorities: Option<Cow<'a, [f64]>>,
}

impl ReplayMemory {
    /// A copy of the state, for [`ReplayMemory::restore`]. O(len).
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if there is not enough memory for the copy.
    pub fn state(&self) -> Result<State<'static>, Error> {
        let rings = &self.rings;
        let envs = rings.rings.len();
        let rows = rings.rings.iter().map(|ring| ring.len as usize).sum();
        let of_envs = |number: fn(&Ring) -> i64| {
            let mut column = with_room(envs, COPY)?;
            column.extend(rings.rings.iter().map(number));
            Ok::<_, Error>(column)
        };
        let mut open = with_room(envs, COPY)?;
        open.extend(rings.rings.iter().map(|ring| ring.open));
        let mut obs = with_room(rows * rings.records.obs_bytes, COPY)?;
        let mut actions = with_room(rows * rings.records.action_bytes, COPY)?;
        let mut rewards = with_room(rows, COPY)?;
        let mut terminated = with_room(rows, COPY)?;
        let mut last = with_room(rows, COPY)?;
        let mut finals = with_room(self.held_finals() * rings.records.obs_bytes, COPY)?;
        for slot in self.filled_slots() {
            let record = rings.records.get(slot);
            let (reward, link) = rings.records.reward_and_link(slot);
            let (row, rest) = record.split_at(rings.records.obs_bytes);
            obs.extend_from_slice(row);
            actions.extend_from_slice(&rest[..rings.records.action_bytes]);
            rewards.push(reward);
            terminated.push(link & TERMINATED != 0);
            last.push(link != 0);
            if let Some(row) = row_of(link) {
                finals.extend_from_slice(rings.finals.row(row));
            }
        }
        let leaves = |tree: &Priorities| {
            let mut leaves = with_room(rows, COPY)?;
            leaves.extend(self.filled_slots().map(|slot| tree.leaves()[slot as usize]));
            Ok::<_, Error>(Cow::Owned(leaves))
        };
        Ok(State {
            rng: self.rng.state(),
            counts: of_envs(|ring| ring.count as i64)?.into(),
            lens: of_envs(|ring| i64::from(ring.len))?.into(),
            heads: of_envs(|ring| i64::from(ring.head))?.into(),
            open: open.into(),
            obs: obs.into(),
            actions: actions.into(),
            rewards: rewards.into(),
            terminated: terminated.into(),
            last: last.into(),
            finals: finals.into(),
            priorities: self.priorities.as_ref().map(leaves).transpose()?,
        })
    }

    /// Load `state`; everything is checked before anything is changed.
    /// O(len + num_envs), before and after.
    ///
    /// # Errors
    /// [`Error::State`] with the first contradiction found, [`Error::OutOfMemory`] for the final observations.
    pub fn restore(&mut self, state: &State<'_>) -> Result<(), Error> {
        let rng = Rng::from_state(state.rng)?;
        let rings = self.check_rings(state)?;
        self.check_rows(state, &rings)?;
        let finals = state.last.iter().filter(|&&last| last).count();
        let held = self.held_finals();
        self.rings.finals.reserve(finals.saturating_sub(held))?;

        self.clear();
        self.rng = rng;
        self.rings.rings = rings;
        self.rings.len = (0..self.num_envs())
            .map(|env| self.rings.drawable(env) as usize)
            .sum();
        let (obs_bytes, action_bytes) = (
            self.rings.records.obs_bytes,
            self.rings.records.action_bytes,
        );
        let (mut row, mut finals) = (0, 0);
        for env in 0..self.num_envs() {
            let (start, len) = (env as u32 * self.rings.size, self.rings.rings[env].len);
            if let (Some(tree), Some(leaves)) = (&mut self.priorities, &state.priorities) {
                tree.set_range(start..start + len, leaves[row..].iter().copied());
            }
            for slot in start..start + len {
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
                    .records
                    .write(slot, obs, action, state.rewards[row], link);
                row += 1;
            }
        }
        Ok(())
    }

    /// How many final observations the memory holds. O(len).
    fn held_finals(&self) -> usize {
        self.filled_slots()
            .filter(|&slot| self.rings.records.reward_and_link(slot).1 != 0)
            .count()
    }

    fn filled_slots(&self) -> impl Iterator<Item = u32> + use<'_> {
        let slots = |(start, ring): (u32, &Ring)| start..start + ring.len;
        self.rings.filled().flat_map(slots)
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
                return Err(contradiction(message));
            }
            Ok(Ring {
                head: head as u32,
                len: len as u32,
                count: count as u64,
                open: state.open[env],
            })
        };
        let mut rings = with_room(num_envs, "the table of environments")?;
        for env in 0..num_envs {
            rings.push(ring(env)?);
        }
        Ok(rings)
    }

    fn check_rows(&self, state: &State<'_>, rings: &[Ring]) -> Result<(), Error> {
        let rows: usize = rings.iter().map(|ring| ring.len as usize).sum();
        let (obs_bytes, action_bytes) = (
            self.rings.records.obs_bytes,
            self.rings.records.action_bytes,
        );
        check_length("obs", state.obs.len(), rows * obs_bytes)?;
        check_length("actions", state.actions.len(), rows * action_bytes)?;
        check_length("rewards", state.rewards.len(), rows)?;
        check_length("terminated", state.terminated.len(), rows)?;
        check_length("last", state.last.len(), rows)?;
        let finals = state.last.iter().filter(|&&last| last).count();
        check_length("finals", state.finals.len(), finals * obs_bytes)?;
        if let Some(row) = (0..rows).find(|&row| state.terminated[row] && !state.last[row]) {
            return Err(contradiction(format!(
                "row {row} is terminated but not last"
            )));
        }
        let mut start = 0;
        for (env, ring) in rings.iter().enumerate().filter(|(_, ring)| ring.len > 0) {
            let newest = start + (if ring.head == 0 { ring.len } else { ring.head } - 1) as usize;
            if !state.last[newest] {
                return Err(contradiction(format!(
                    "the newest row of environment {env} is not last"
                )));
            }
            if ring.open && state.terminated[newest] {
                return Err(contradiction(format!(
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
                    Some(leaf) => Err(contradiction(format!(
                        "priorities holds {leaf}, which cannot be a priority"
                    ))),
                    None => self.check_kept(leaves, rings),
                }
            }
            (None, Some(_)) => Err(contradiction("it has priorities, but this memory has none")),
            (Some(_), None) => Err(contradiction(
                "it has no priorities, but this memory has them",
            )),
        }
    }
}

impl ReplayMemory {
    /// Check that what is kept for its frames only cannot be drawn.
    fn check_kept(&self, leaves: &[f64], rings: &[Ring]) -> Result<(), Error> {
        let mut start = 0;
        for (env, ring) in rings.iter().enumerate() {
            let kept = |position: &u32| ring.age(*position) >= self.rings.drawable;
            if let Some(position) = (0..ring.len)
                .filter(kept)
                .find(|&position| leaves[start + position as usize] != 0.0)
            {
                return Err(contradiction(format!(
                    "environment {env} has a priority in slot {position}, which is kept for its frame only"
                )));
            }
            start += ring.len as usize;
        }
        Ok(())
    }
}

fn check_length(name: &str, found: usize, expected: usize) -> Result<(), Error> {
    if found == expected {
        return Ok(());
    }
    Err(contradiction(format!(
        "{name} has length {found}, expected {expected}"
    )))
}

fn contradiction(problem: impl Into<String>) -> Error {
    Error::State {
        problem: problem.into(),
    }
}
