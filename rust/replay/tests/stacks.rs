//! Stacks of frames against plain lists that forget nothing.

mod common;

use acro_replay::{Batch, Config, Draw, Error, Padding, ReplayMemory, Step};
use common::{ONE, Row, push, state};
use proptest::prelude::*;

/// The frames of a stack, the newest last.
type Stack = Vec<u8>;

/// Every transition of each environment since the last clear, with its id.
#[derive(Clone, Debug)]
struct Lists {
    size: usize,
    frame_stack: usize,
    padding: Padding,
    envs: Vec<Vec<(i64, Row)>>,
    counts: Vec<i64>,
}

impl Lists {
    fn push(&mut self, row: Row) {
        let id = self.counts[row.env] * self.envs.len() as i64 + row.env as i64;
        self.counts[row.env] += 1;
        self.envs[row.env].push((id, row));
    }

    /// The ids that can be drawn.
    fn ids(&self) -> Vec<i64> {
        let newest = |rows: &Vec<(i64, Row)>| {
            let from = rows.len().saturating_sub(self.size);
            rows[from..].iter().map(|row| row.0).collect::<Vec<i64>>()
        };
        self.envs.iter().flat_map(newest).collect()
    }

    /// What an environment's stack was once all frames up to `newest` of `rows` were shown, and `frame` after them.
    fn stack(&self, rows: &[(i64, Row)], frame: u8) -> Stack {
        let mut seen = vec![frame];
        for (_, row) in rows.iter().rev() {
            if row.terminated || row.truncated || row.next_obs != seen[0] {
                break;
            }
            seen.insert(0, row.obs);
        }
        let padding = match self.padding {
            Padding::First => seen[0],
            Padding::Zeros => 0,
        };
        let mut stack = vec![padding; self.frame_stack.saturating_sub(seen.len())];
        stack.extend(&seen[seen.len().saturating_sub(self.frame_stack)..]);
        stack
    }

    /// obs, next_obs and discount of a transition.
    fn drawn(&self, id: i64, n_step: usize) -> (Stack, Stack, f32) {
        let rows = &self.envs[id as usize % self.envs.len()];
        let first = rows
            .iter()
            .position(|row| row.0 == id)
            .expect("it was pushed");
        let (mut last, mut power) = (first, 0.5);
        while last + 1 < rows.len().min(first + n_step) {
            let (row, next) = (rows[last].1, rows[last + 1].1);
            if row.terminated || row.truncated || row.next_obs != next.obs {
                break;
            }
            last += 1;
            power *= 0.5;
        }
        let end = rows[last].1;
        let before_end: Vec<(i64, Row)> = rows[..=last]
            .iter()
            .enumerate()
            .map(|(place, &(id, row))| {
                // The last one leads to its next observation, whether or not the episode ended there.
                let ends = place < last;
                let (terminated, truncated) = (row.terminated && ends, row.truncated && ends);
                let row = Row {
                    terminated,
                    truncated,
                    ..row
                };
                (id, row)
            })
            .collect();
        (
            self.stack(&rows[..first], rows[first].1.obs),
            self.stack(&before_end, end.next_obs),
            if end.terminated { 0.0 } else { power },
        )
    }
}

fn rows_of(batch: &Batch, frame_stack: usize) -> Vec<(Stack, Stack, f32)> {
    let obs = batch.obs.chunks(frame_stack).map(<[u8]>::to_vec);
    let next_obs = batch.next_obs.chunks(frame_stack).map(<[u8]>::to_vec);
    obs.zip(next_obs)
        .zip(&batch.discounts)
        .map(|((obs, next_obs), &discount)| (obs, next_obs, discount))
        .collect()
}

fn check_all(memory: &mut ReplayMemory, lists: &Lists) -> Result<(), TestCaseError> {
    let ids = lists.ids();
    prop_assert_eq!(memory.len(), ids.len());
    for n_step in [1, 2, 4] {
        let batch = memory.gather(&ids, n_step, 0.5).expect("they are there");
        let expected: Vec<_> = ids.iter().map(|&id| lists.drawn(id, n_step)).collect();
        prop_assert_eq!(rows_of(&batch, lists.frame_stack), expected);
    }
    for frame in 0..2 {
        let frames = vec![frame; lists.envs.len()];
        let mut latest = vec![255; lists.envs.len() * lists.frame_stack];
        memory.latest_into(&frames, &mut latest).expect("one each");
        let expected: Vec<Stack> = lists
            .envs
            .iter()
            .map(|rows| lists.stack(rows, frame))
            .collect();
        prop_assert_eq!(latest, expected.concat());
    }
    // What was kept for its frames alone can be asked for no more.
    for rows in &lists.envs {
        for &(id, _) in &rows[..rows.len().saturating_sub(lists.size)] {
            prop_assert_eq!(
                memory.gather(&[id], 1, 0.5).err(),
                Some(Error::Stale { index: id })
            );
        }
    }
    Ok(())
}

#[derive(Clone, Debug)]
enum Call {
    Push(Row),
    Sample(usize, bool),
    Update(i64, u8),
    Restore,
    Clear,
}

fn call() -> impl Strategy<Value = Call> {
    let ends =
        prop_oneof![8 => Just((false, false)), 1 => Just((true, false)), 1 => Just((false, true))];
    let row = (0..3_usize, 0..2_u8, 0..2_u8, ends).prop_map(
        |(env, obs, next_obs, (terminated, truncated))| Row {
            env,
            obs,
            action: 0,
            reward: 0.0,
            next_obs,
            terminated,
            truncated,
        },
    );
    prop_oneof![
        12 => row.prop_map(Call::Push),
        3 => (1..9_usize, any::<bool>()).prop_map(|(batch, replace)| Call::Sample(batch, replace)),
        2 => (0..60_i64, 0..4_u8).prop_map(|(id, priority)| Call::Update(id, priority)),
        1 => Just(Call::Restore),
        1 => Just(Call::Clear),
    ]
}

fn memory_of(config: Config) -> ReplayMemory {
    ReplayMemory::new(config).expect("a small memory can be had")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn stacks_agree_with_plain_lists(
        size in 1..7_usize,
        num_envs in 1..4_usize,
        frame_stack in 1..6_usize,
        is_zero in any::<bool>(),
        is_prioritized in any::<bool>(),
        calls in prop::collection::vec(call(), 0..60),
    ) {
        let padding = if is_zero { Padding::Zeros } else { Padding::First };
        let alpha = is_prioritized.then_some(1.0);
        let config = Config {
            num_envs, alpha, frame_stack, padding, ..Config::new(size * num_envs, 1, 1)
        };
        let mut memory = memory_of(config);
        let mut lists = Lists {
            size, frame_stack, padding, envs: vec![Vec::new(); num_envs], counts: vec![0; num_envs],
        };
        for call in calls {
            match call {
                Call::Push(row) => {
                    // 7 stands for 0: zeros must be told from padding.
                    let seen = |obs| if obs == 0 { 7 } else { obs };
                    let row = Row {
                        env: row.env % num_envs, obs: seen(row.obs), next_obs: seen(row.next_obs), ..row
                    };
                    push(&mut memory, row);
                    lists.push(row);
                }
                Call::Sample(batch_size, replace) => {
                    let draw = Draw { batch_size, replace, gamma: 0.5, ..ONE };
                    if let Ok(batch) = memory.sample(draw) {
                        let expected: Vec<_> =
                            batch.indices.iter().map(|&id| lists.drawn(id, 1)).collect();
                        prop_assert_eq!(rows_of(&batch, frame_stack), expected);
                        let ids = lists.ids();
                        prop_assert!(batch.indices.iter().all(|id| ids.contains(id)));
                    } else {
                        prop_assert!(is_prioritized || memory.is_empty() || batch_size > memory.len());
                    }
                }
                Call::Update(id, priority) => {
                    let found = usize::from(lists.ids().contains(&id));
                    let updated = memory.update_priorities(&[id], &[f64::from(priority)]);
                    prop_assert!(!is_prioritized || updated == Ok(found));
                }
                Call::Restore => {
                    let saved = state(&memory);
                    memory = memory_of(config);
                    prop_assert_eq!(memory.restore(&saved), Ok(()));
                    prop_assert_eq!(state(&memory), saved);
                }
                Call::Clear => {
                    memory.clear();
                    lists.envs.iter_mut().for_each(Vec::clear);
                }
            }
            check_all(&mut memory, &lists)?;
        }
    }
}

/// An endless episode whose frames count up.
fn counting(capacity: usize, frame_stack: usize, alpha: Option<f64>, steps: u8) -> ReplayMemory {
    let mut memory = memory_of(Config {
        alpha,
        frame_stack,
        ..Config::new(capacity, 1, 1)
    });
    for step in 0..steps {
        let step = Step {
            obs: &[step],
            action: &[0],
            reward: 0.0,
            next_obs: &[step + 1],
            terminated: false,
            truncated: false,
        };
        memory.push(0, &step).expect("the row fits");
    }
    memory
}

#[test]
fn oldest_transition_keeps_the_frames_before_it() {
    for steps in 4..30 {
        let mut memory = counting(4, 3, None, steps);
        assert_eq!(memory.len(), 4);
        let oldest = i64::from(steps) - 4;
        let batch = memory.gather(&[oldest], 1, 0.9).expect("it is there");
        let expected = [2, 1, 0].map(|back| (steps - 4).saturating_sub(back));
        assert_eq!(batch.obs, expected, "after {steps} steps");
    }
}

#[test]
fn every_transition_that_counts_is_drawn_alike() {
    for alpha in [None, Some(0.6)] {
        let mut memory = counting(5, 4, alpha, 13);
        let batch = memory.sample(Draw::new(5000)).expect("there are some");
        for id in 8..13 {
            let drawn = batch.indices.iter().filter(|&&found| found == id).count();
            assert!((900..1100).contains(&drawn), "{id} was drawn {drawn} times");
        }
    }
}

#[test]
fn index_streams_of_stacked_memories_are_pinned() {
    // A change here changes what every saved run does next: it needs a new format version.
    let indices = |mut memory: ReplayMemory| memory.sample(Draw::new(8)).expect("some").indices;
    assert_eq!(
        indices(counting(10, 4, None, 25)),
        indices(counting(10, 2, None, 25))
    );
    assert_eq!(
        indices(counting(10, 4, None, 25)),
        [18, 18, 18, 15, 19, 15, 23, 23]
    );
}

#[test]
fn no_frames_are_an_error() {
    let config = Config {
        frame_stack: 0,
        ..Config::new(4, 1, 1)
    };
    let refused = ReplayMemory::new(config).map(|_| ());
    assert_eq!(refused, Err(Error::NoFrames));
    assert_eq!(
        Error::NoFrames.to_string(),
        "frame_stack must be at least 1, got 0"
    );
}

#[test]
fn stacks_that_cannot_be_numbered_are_an_error() {
    let config = Config {
        frame_stack: usize::MAX,
        ..Config::new(4, 1, 1)
    };
    let refused = ReplayMemory::new(config).map(|_| ());
    assert!(
        matches!(refused, Err(Error::Capacity { .. })),
        "{refused:?}"
    );
}

#[test]
fn frames_that_are_not_one_for_each_environment_are_an_error() {
    let memory = counting(4, 2, None, 3);
    let refused = memory.latest_into(&[1, 2], &mut [0; 2]);
    assert!(matches!(refused, Err(Error::Length { .. })), "{refused:?}");
}

#[test]
fn priority_of_a_frame_that_is_only_kept_is_a_contradiction() {
    let mut memory = counting(4, 3, Some(1.0), 9);
    let mut damaged = state(&memory);
    // Six slots, the next one written is 3: slots 3 and 4 are the oldest.
    assert_eq!(*damaged.heads, [3]);
    let leaves = damaged.priorities.as_mut().expect("it has some").to_mut();
    assert_eq!(leaves[3..5], [0.0, 0.0]);
    leaves[4] = 1.0;
    let refused = memory.restore(&damaged);
    assert!(matches!(refused, Err(Error::State { .. })), "{refused:?}");
}
