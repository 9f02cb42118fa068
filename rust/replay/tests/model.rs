//! The memory against plain lists, over random sequences of calls.

mod common;

use acro_replay::{Draw, Steps};
use common::{Model, ONE, Row, gather, memory, push, sample, state};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Call {
    Push(Row),
    Extend(Vec<Row>),
    Sample {
        batch: usize,
        n_step: usize,
        replace: bool,
    },
    Update(Vec<(i64, u8)>),
    Restore,
    Clear,
}

/// Observations of few values, so that sequences often go on by chance and often break.
fn row() -> impl Strategy<Value = Row> {
    let ends =
        prop_oneof![6 => Just((false, false)), 1 => Just((true, false)), 1 => Just((false, true))];
    let fields = (0..3_usize, 0..2_u8, any::<u8>(), -2..3_i8, 0..2_u8, ends);
    fields.prop_map(
        |(env, obs, action, reward, next_obs, (terminated, truncated))| Row {
            env,
            obs,
            action,
            reward: f32::from(reward),
            next_obs,
            terminated,
            truncated,
        },
    )
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        8 => row().prop_map(Call::Push),
        3 => prop::collection::vec(row(), 0..12).prop_map(Call::Extend),
        4 => (1..6_usize, 1..6_usize, any::<bool>())
            .prop_map(|(batch, n_step, replace)| Call::Sample { batch, n_step, replace }),
        3 => prop::collection::vec((-2..60_i64, 0..4_u8), 0..6).prop_map(Call::Update),
        1 => Just(Call::Restore),
        1 => Just(Call::Clear),
    ]
}

fn check(
    size: usize,
    num_envs: usize,
    alpha: Option<f64>,
    calls: Vec<Call>,
) -> Result<(), TestCaseError> {
    let mut memory = memory(size * num_envs, num_envs, alpha);
    let mut model = Model::new(size, num_envs);
    for call in calls {
        match call {
            Call::Push(row) => {
                let row = Row {
                    env: row.env % num_envs,
                    ..row
                };
                push(&mut memory, row);
                model.push(row);
            }
            Call::Extend(rows) => {
                let column = |field: fn(&Row) -> u8| rows.iter().map(field).collect::<Vec<u8>>();
                let flag = |field: fn(&Row) -> bool| rows.iter().map(field).collect::<Vec<bool>>();
                let envs: Vec<i64> = rows.iter().map(|row| (row.env % num_envs) as i64).collect();
                let steps = Steps {
                    envs: Some(&envs),
                    obs: &column(|row| row.obs),
                    actions: &column(|row| row.action),
                    rewards: &rows.iter().map(|row| row.reward).collect::<Vec<f32>>(),
                    next_obs: &column(|row| row.next_obs),
                    terminated: &flag(|row| row.terminated),
                    truncated: &flag(|row| row.truncated),
                };
                prop_assert_eq!(memory.extend(&steps), Ok(()));
                rows.iter().for_each(|row| {
                    model.push(Row {
                        env: row.env % num_envs,
                        ..*row
                    })
                });
            }
            Call::Sample {
                batch,
                n_step,
                replace,
            } => {
                let before = state(&memory);
                let drawn = sample(
                    &mut memory,
                    Draw {
                        batch_size: batch,
                        n_step,
                        replace,
                        ..ONE
                    },
                );
                let priorities = model
                    .envs
                    .iter()
                    .flatten()
                    .filter(|row| row.2 > 0.0)
                    .count();
                let enough = if alpha.is_some() {
                    priorities
                } else {
                    model.len()
                };
                if enough == 0 || (!replace && batch > enough) {
                    prop_assert!(drawn.is_err());
                    prop_assert_eq!(state(&memory), before);
                    continue;
                }
                let (drawn, _) = drawn.expect("there are enough");
                for row in &drawn {
                    prop_assert_eq!(Some(*row), model.drawn(row.index, n_step, ONE.gamma));
                    let (env, place) = model.find(row.index).expect("found above");
                    prop_assert!(alpha.is_none() || model.envs[env][place].2 > 0.0);
                }
                let mut ids: Vec<i64> = drawn.iter().map(|row| row.index).collect();
                ids.sort_unstable();
                ids.dedup();
                prop_assert!(replace || ids.len() == batch);
            }
            Call::Update(pairs) => {
                let ids: Vec<i64> = pairs.iter().map(|pair| pair.0).collect();
                let priorities: Vec<f64> = pairs.iter().map(|pair| f64::from(pair.1)).collect();
                let updated = memory.update_priorities(&ids, &priorities);
                if alpha.is_none() {
                    prop_assert!(updated.is_err());
                    continue;
                }
                let found = pairs
                    .iter()
                    .filter(|&&(id, priority)| model.update(id, f64::from(priority)));
                prop_assert_eq!(updated, Ok(found.count()));
            }
            Call::Restore => {
                let saved = state(&memory);
                let mut other = common::memory(size * num_envs, num_envs, alpha);
                prop_assert_eq!(other.restore(&saved), Ok(()));
                prop_assert_eq!(state(&other), saved);
                memory = other;
            }
            Call::Clear => {
                memory.clear();
                model.clear();
            }
        }
        prop_assert_eq!(memory.len(), model.len());
        // Every transition is there, whole, for every horizon.
        let ids: Vec<i64> = model.envs.iter().flatten().map(|row| row.0).collect();
        for n_step in [1, 2, 4] {
            let expected: Option<Vec<_>> =
                ids.iter().map(|&id| model.drawn(id, n_step, 0.5)).collect();
            prop_assert_eq!(gather(&mut memory, &ids, n_step, 0.5).ok(), expected);
        }
        if alpha == Some(1.0) {
            let mut found = state(&memory).priorities.unwrap_or_default().into_owned();
            let mut expected: Vec<f64> = model.envs.iter().flatten().map(|row| row.2).collect();
            found.sort_by(f64::total_cmp);
            expected.sort_by(f64::total_cmp);
            prop_assert_eq!(found, expected);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn uniform_memory_agrees_with_plain_lists(
        size in 1..6_usize, num_envs in 1..4_usize, calls in prop::collection::vec(call(), 0..50)
    ) {
        check(size, num_envs, None, calls)?;
    }

    #[test]
    fn prioritized_memory_agrees_with_plain_lists(
        size in 1..30_usize, num_envs in 1..4_usize, calls in prop::collection::vec(call(), 0..50)
    ) {
        check(size, num_envs, Some(1.0), calls)?;
    }
}
