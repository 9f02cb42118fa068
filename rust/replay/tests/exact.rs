//! What can be known exactly: small memories in all their courses, and streams of draws.

mod common;

use acro_replay::{Draw, Error, Rng};
use common::{Model, ONE, Row, gather, memory, push, sample};

#[test]
fn generator_gives_the_published_outputs() {
    // xoshiro256++'s reference implementation, from the state 1, 2, 3, 4.
    let mut rng = Rng::from_state([1, 2, 3, 4]).expect("not all zeros");
    let expected = [
        41_943_041,
        58_720_359,
        3_588_806_011_781_223,
        3_591_011_842_654_386,
        9_228_616_714_210_784_205,
        9_973_669_472_204_895_162,
        14_011_001_112_246_962_877,
        12_406_186_145_184_390_807,
        15_849_039_046_786_891_736,
        10_450_023_813_501_588_000,
    ];
    assert_eq!(std::array::from_fn(|_| rng.next_u64()), expected);
}

#[test]
fn seed_is_spread_by_splitmix64() {
    // SplitMix64's reference implementation, from 0.
    let expected = [
        0xe220_a839_7b1d_cdaf,
        0x6e78_9e6a_a1b9_65f4,
        0x06c4_5d18_8009_454f,
        0xf88b_b8a8_724c_81ec,
    ];
    assert_eq!(Rng::with_seed(0).state(), expected);
}

#[test]
fn bounded_draws_stay_below_the_bound_and_reach_all() {
    let mut rng = Rng::with_seed(1);
    for bound in [1, 2, 3, 7, u64::MAX] {
        assert!((0..1000).all(|_| rng.below(bound) < bound));
    }
    let mut seen = [false; 7];
    (0..200).for_each(|_| seen[rng.below(7) as usize] = true);
    assert_eq!(seen, [true; 7]);
}

#[test]
fn bounded_draw_rejects_what_would_favour_some_numbers() {
    // With bound 2^63 + 1 about half of all words must be drawn again; multiplying and shifting alone takes them.
    let (mut rng, mut plain) = (Rng::with_seed(2), Rng::with_seed(2));
    let bound = (1 << 63) + 1;
    (0..100).for_each(|_| _ = rng.below(bound));
    (0..100).for_each(|_| _ = plain.next_u64());
    assert_ne!(rng.state(), plain.state());
}

/// Every course of `steps` pushes of one environment, each going on, breaking off, terminated or truncated.
fn every_course(steps: u32, mut check: impl FnMut(&[Row])) {
    for code in 0..4_u32.pow(steps) {
        let mut obs = 0;
        let course: Vec<Row> = (0..steps)
            .map(|step| {
                let kind = code / 4_u32.pow(step) % 4;
                let next_obs = obs + 1;
                let row = Row {
                    env: 0,
                    obs,
                    action: step as u8,
                    reward: step as f32 + 1.0,
                    next_obs,
                    terminated: kind == 2,
                    truncated: kind == 3,
                };
                obs = if kind == 1 { next_obs + 10 } else { next_obs };
                row
            })
            .collect();
        check(&course);
    }
}

#[test]
fn every_course_of_six_steps_is_stored_right_in_every_small_memory() {
    for capacity in 1..=4 {
        every_course(6, |course| {
            let (mut memory, mut model) = (memory(capacity, 1, None), Model::new(capacity, 1));
            for &row in course {
                push(&mut memory, row);
                model.push(row);
            }
            let ids: Vec<i64> = model.envs[0].iter().map(|row| row.0).collect();
            for n_step in 1..=5 {
                let expected = ids
                    .iter()
                    .map(|&id| model.drawn(id, n_step, 0.5))
                    .collect::<Option<Vec<_>>>();
                assert_eq!(
                    gather(&mut memory, &ids, n_step, 0.5).ok(),
                    expected,
                    "{course:?}"
                );
            }
        });
    }
}

fn counting(
    capacity: usize,
    num_envs: usize,
    alpha: Option<f64>,
    steps: usize,
) -> acro_replay::ReplayMemory {
    let mut memory = memory(capacity, num_envs, alpha);
    for step in 0..steps {
        let obs = (step / num_envs) as u8;
        let (terminated, truncated) = (false, false);
        let row = Row {
            env: step % num_envs,
            obs,
            action: 0,
            reward: 0.0,
            next_obs: obs + 1,
            terminated,
            truncated,
        };
        push(&mut memory, row);
    }
    memory
}

fn stream(mut memory: acro_replay::ReplayMemory, replace: bool) -> Vec<i64> {
    let draw = Draw {
        minibatches: 2,
        batch_size: 6,
        replace,
        ..ONE
    };
    let (drawn, _) = sample(&mut memory, draw).expect("there are enough");
    drawn.iter().map(|row| row.index).collect()
}

#[test]
fn index_streams_are_pinned() {
    // A change here changes what every saved run does next: it needs a new format version.
    assert_eq!(
        stream(counting(10, 1, None, 25), true),
        [22, 16, 20, 20, 15, 17, 24, 20, 18, 18, 19, 18]
    );
    assert_eq!(
        stream(counting(12, 3, None, 8), true),
        [6, 4, 0, 0, 4, 7, 1, 0, 5, 2, 5, 5]
    );
    assert_eq!(
        stream(counting(30, 1, None, 40), false),
        [38, 18, 32, 31, 15, 21, 13, 32, 26, 25, 27, 17]
    );
    assert_eq!(
        stream(counting(7, 1, None, 7), false),
        [2, 4, 0, 3, 5, 6, 3, 1, 6, 2, 0, 4]
    );
    let mut prioritized = counting(20, 1, Some(0.6), 33);
    let ids: Vec<i64> = (13..33).collect();
    let priorities: Vec<f64> = (0..20).map(f64::from).collect();
    assert_eq!(prioritized.update_priorities(&ids, &priorities), Ok(20));
    assert_eq!(
        stream(prioritized, true),
        [21, 25, 26, 28, 32, 18, 21, 23, 28, 30, 32, 19]
    );
}

#[test]
fn importance_weights_are_those_of_the_paper() {
    let mut memory = counting(4, 1, Some(1.0), 4);
    memory
        .update_priorities(&[0, 1, 2, 3], &[1.0, 2.0, 4.0, 8.0])
        .expect("good priorities");
    let (drawn, weights) = sample(
        &mut memory,
        Draw {
            batch_size: 15,
            beta: 0.5,
            ..ONE
        },
    )
    .expect("there are some");
    // Stratified: each of the 15 parts of the sum holds one draw.
    let ids: Vec<i64> = drawn.iter().map(|row| row.index).collect();
    assert_eq!(ids, [0, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3]);
    for (row, weight) in drawn.iter().zip(weights) {
        let expected = (2.0_f64.powi(row.index as i32)).powf(-0.5) as f32;
        assert!((weight - expected).abs() < 1e-6, "{weight} {expected}");
    }
}

#[test]
fn zero_priorities_are_not_drawn_whatever_the_rounding() {
    let mut memory = counting(100, 1, Some(1.0), 100);
    let ids: Vec<i64> = (0..100).collect();
    let priorities: Vec<f64> = ids
        .iter()
        .map(|id| [0.0, 1e-300, 0.1, 1e15][(id % 4) as usize])
        .collect();
    memory
        .update_priorities(&ids, &priorities)
        .expect("good priorities");
    let (drawn, _) = sample(
        &mut memory,
        Draw {
            minibatches: 500,
            batch_size: 64,
            ..ONE
        },
    )
    .expect("there are some");
    assert!(drawn.iter().all(|row| row.index % 4 != 0));
}

#[test]
fn largest_priority_can_be_everyones() {
    let mut memory = counting(100, 1, Some(2.0), 100);
    let refused = memory.update_priorities(&[0], &[f64::MAX]);
    let Err(Error::Priority { largest, .. }) = refused else {
        panic!("{refused:?}")
    };
    memory
        .update_priorities(&(0..100).collect::<Vec<i64>>(), &[largest; 100])
        .expect("good priorities");
    assert!(
        sample(
            &mut memory,
            Draw {
                batch_size: 64,
                ..ONE
            }
        )
        .is_ok()
    );
}

#[test]
fn capacity_that_cannot_be_had_is_an_error() {
    let config = acro_replay::Config::new(1 << 30, 1 << 39, 8);
    let refused = acro_replay::ReplayMemory::new(config);
    assert!(
        matches!(refused, Err(Error::OutOfMemory { .. })),
        "{refused:?}"
    );
}

#[test]
fn capacity_whose_priorities_cannot_be_had_is_an_error() {
    let available = acro_replay::available_bytes().unwrap_or(1 << 40);
    let available = usize::try_from(available).expect("bytes that can be addressed");
    let capacity = (available / 50).min((1 << 31) - 2);
    // Rows that leave from 5 to 12 bytes a slot, where a tree needs about 18.
    let config = |alpha| acro_replay::Config {
        alpha,
        ..acro_replay::Config::new(capacity, available / capacity - 28, 8)
    };
    assert!(acro_replay::ReplayMemory::new(config(None)).is_ok());
    let refused = acro_replay::ReplayMemory::new(config(Some(0.6)));
    assert!(
        matches!(refused, Err(Error::OutOfMemory { .. })),
        "{refused:?}"
    );
}

#[test]
fn owned_batch_is_what_columns_get() {
    let (mut memory, mut other) = (
        counting(20, 2, Some(0.6), 33),
        counting(20, 2, Some(0.6), 33),
    );
    let draw = Draw {
        minibatches: 3,
        n_step: 2,
        ..Draw::new(7)
    };
    let batch = memory.sample(draw).expect("there are enough");
    let (drawn, weights) = sample(&mut other, draw).expect("there are enough");
    assert_eq!(batch.weights, Some(weights));
    for (row, drawn) in drawn.iter().enumerate() {
        assert_eq!(
            (batch.obs[row], batch.next_obs[row]),
            (drawn.obs, drawn.next_obs)
        );
        assert_eq!(
            (batch.rewards[row], batch.indices[row]),
            (drawn.reward, drawn.index)
        );
    }
    let again = memory
        .gather(&batch.indices, 2, 0.99)
        .expect("they are there");
    assert_eq!(
        (again.obs, again.discounts, again.weights),
        (batch.obs, batch.discounts, None)
    );
}

#[test]
fn numbers_are_read_wherever_they_begin() {
    let rows: Vec<u8> = (0..25).collect();
    for start in 0..8 {
        let expected: Vec<u64> = rows[start..start + 16]
            .chunks(8)
            .map(|eight| u64::from_ne_bytes(eight.try_into().expect("8 bytes")))
            .collect();
        assert_eq!(
            acro_replay::numbers::<u64>(&rows[start..start + 16]),
            expected
        );
    }
    assert_eq!(acro_replay::bytes(&[1_u8, 2]), [1, 2]);
}

#[test]
fn batch_that_cannot_be_had_is_an_error() {
    let mut memory = counting(10, 1, None, 10);
    for (minibatches, batch_size) in [(1, usize::MAX), (usize::MAX, 2), (1, 1 << 60)] {
        let refused = memory.sample(Draw {
            minibatches,
            ..Draw::new(batch_size)
        });
        assert!(
            matches!(refused, Err(Error::OutOfMemory { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(
        stream(memory, true),
        stream(counting(10, 1, None, 10), true)
    );
}
