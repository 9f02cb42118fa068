//! States that were damaged: refused, or loaded exactly as they say, never a panic.

mod common;

use acro_replay::{Config, Draw, Error, ReplayMemory, Rng, State};
use common::{ONE, Row, memory, push, state};

/// One memory of each kind: priorities, and how many frames are stacked.
const KINDS: [(Option<f64>, usize); 3] = [(None, 1), (Some(0.6), 1), (None, 3)];

/// A memory in the middle of things: wrapped, uneven, with ends, breaks and what its kind has.
fn used((alpha, frame_stack): (Option<f64>, usize)) -> ReplayMemory {
    let config = Config {
        num_envs: 3,
        alpha,
        frame_stack,
        ..Config::new(24, 1, 1)
    };
    let mut memory = ReplayMemory::new(config).expect("a small memory can be had");
    for step in 0..40_u8 {
        push(
            &mut memory,
            Row {
                env: usize::from(step % 5) % 3,
                obs: step,
                action: step % 4,
                reward: f32::from(step),
                next_obs: step + 3,
                terminated: step % 11 == 10,
                truncated: step % 7 == 6,
            },
        );
    }
    memory
}

fn number(rng: &mut Rng) -> i64 {
    let few = [
        0,
        1,
        -1,
        7,
        8,
        9,
        24,
        1 << 31,
        i64::MAX,
        i64::MIN,
        i64::MAX / 3,
    ];
    match rng.below(3) {
        0 => few[rng.below(few.len() as u64) as usize],
        1 => rng.below(30) as i64,
        _ => rng.next_u64() as i64,
    }
}

/// Change an element, or the length, of a column.
fn damage<T: Clone>(column: &mut Vec<T>, rng: &mut Rng, element: impl FnOnce(&mut Rng) -> T) {
    let place = rng.below(column.len() as u64 + 1) as usize;
    match rng.below(4) {
        0 => column.truncate(place),
        1 => column.insert(place, element(rng)),
        _ if place < column.len() => column[place] = element(rng),
        _ => {}
    }
}

fn damage_state(state: &mut State<'_>, rng: &mut Rng) {
    let byte = |rng: &mut Rng| rng.next_u64() as u8;
    let flag = |rng: &mut Rng| rng.below(2) == 1;
    match rng.below(12) {
        0 => state.rng[rng.below(4) as usize] = number(rng) as u64,
        1 => damage(state.counts.to_mut(), rng, number),
        2 => damage(state.lens.to_mut(), rng, number),
        3 => damage(state.heads.to_mut(), rng, number),
        4 => damage(state.open.to_mut(), rng, flag),
        5 => damage(state.obs.to_mut(), rng, byte),
        6 => damage(state.actions.to_mut(), rng, byte),
        7 => damage(state.rewards.to_mut(), rng, |rng| {
            f32::from_bits(rng.next_u64() as u32)
        }),
        8 => damage(state.terminated.to_mut(), rng, flag),
        9 => damage(state.last.to_mut(), rng, flag),
        10 => damage(state.finals.to_mut(), rng, byte),
        _ => match &mut state.priorities {
            Some(leaves) => damage(leaves.to_mut(), rng, |rng| f64::from_bits(rng.next_u64())),
            None => state.priorities = Some(vec![1.0].into()),
        },
    }
}

/// As bits: NaN is a reward like any other.
fn same(one: &State<'_>, other: &State<'_>) -> bool {
    fn without_rewards<'a>(state: &State<'a>) -> State<'a> {
        let rewards = Vec::new().into();
        State {
            rewards,
            ..state.clone()
        }
    }
    let bits = |state: &State<'_>| {
        state
            .rewards
            .iter()
            .map(|reward| reward.to_bits())
            .collect::<Vec<_>>()
    };
    bits(one) == bits(other) && without_rewards(one) == without_rewards(other)
}

#[test]
fn damaged_state_is_refused_or_loaded_as_it_is() {
    let (mut rng, mut refused) = (Rng::with_seed(1), 0);
    let mut memories = KINDS.map(used);
    let befores = [0, 1, 2].map(|which: usize| state(&memories[which]));
    for round in 0..60_000 {
        let (memory, before) = (&mut memories[round % 3], &befores[round % 3]);
        memory.restore(before).expect("its own state");
        let mut damaged = state(memory);
        for _ in 0..=rng.below(3) {
            damage_state(&mut damaged, &mut rng);
        }
        match memory.restore(&damaged) {
            Ok(()) => assert!(same(&state(memory), &damaged), "{damaged:?}"),
            Err(Error::State { .. }) => {
                refused += 1;
                assert_eq!(&state(memory), before);
            }
            Err(other) => panic!("{other}: {damaged:?}"),
        }
        // Whatever was loaded can be used.
        let push_one = Row {
            env: 1,
            obs: 1,
            action: 1,
            reward: 0.0,
            next_obs: 2,
            terminated: false,
            truncated: true,
        };
        push(memory, push_one);
        let drawn = memory.sample(Draw {
            batch_size: 8,
            n_step: 3,
            ..ONE
        });
        assert!(
            matches!(drawn, Ok(_) | Err(Error::ZeroPriorities)),
            "{drawn:?}"
        );
    }
    assert!(refused > 10_000, "{refused}");
}

#[test]
fn large_tree_of_few_priorities_takes_few_bytes() {
    // 2.3 GB in all; only what is written is handed out by the system.
    let mut memory = memory(100_000_000, 1, Some(0.6));
    push(
        &mut memory,
        Row {
            env: 0,
            obs: 1,
            action: 1,
            reward: 0.0,
            next_obs: 2,
            terminated: false,
            truncated: false,
        },
    );
    let saved = state(&memory);
    memory.clear();
    memory.restore(&saved).expect("its own state");
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = peak.and_then(|peak| peak.split_whitespace().next()?.parse::<u64>().ok());
    assert!(kibibytes.unwrap_or(0) < 200_000, "{kibibytes:?}");
}
