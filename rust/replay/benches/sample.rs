//! How far a sample is from its floor: the bare gather of the same Acrobot rows.

use acro_replay::{Columns, Config, Draw, ReplayMemory, Rng, Step};
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

const BATCH: usize = 256;
const OBS_BYTES: usize = 24;

/// Columns of a batch, to be written again and again.
struct Out {
    obs: Vec<u8>,
    actions: Vec<u8>,
    rewards: Vec<f32>,
    next_obs: Vec<u8>,
    discounts: Vec<f32>,
    terminated: Vec<bool>,
    indices: Vec<i64>,
}

impl Out {
    fn new() -> Self {
        Self {
            obs: vec![0; BATCH * OBS_BYTES],
            actions: vec![0; BATCH * 8],
            rewards: vec![0.0; BATCH],
            next_obs: vec![0; BATCH * OBS_BYTES],
            discounts: vec![0.0; BATCH],
            terminated: vec![false; BATCH],
            indices: vec![0; BATCH],
        }
    }

    fn columns(&mut self) -> Columns<'_> {
        Columns {
            obs: &mut self.obs,
            actions: &mut self.actions,
            rewards: &mut self.rewards,
            next_obs: &mut self.next_obs,
            discounts: &mut self.discounts,
            terminated: &mut self.terminated,
            indices: &mut self.indices,
        }
    }
}

/// What any memory must do at least: rows picked out of plain columns by indices that are already drawn.
fn floor(c: &mut Criterion, capacity: usize) {
    let obs = vec![[0.5_f32; 6]; capacity];
    let next_obs = vec![[1.5_f32; 6]; capacity];
    let actions = vec![1_i64; capacity];
    let rewards = vec![-1.0_f32; capacity];
    let terminated = vec![false; capacity];
    let mut out_obs = vec![[0.0_f32; 6]; BATCH];
    let mut out_next_obs = vec![[0.0_f32; 6]; BATCH];
    let mut out_actions = vec![0_i64; BATCH];
    let mut out_rewards = vec![0.0_f32; BATCH];
    let mut out_terminated = vec![false; BATCH];
    let mut rng = Rng::with_seed(1);
    let batches: Vec<Vec<usize>> = (0..512)
        .map(|_| {
            (0..BATCH)
                .map(|_| rng.below(capacity as u64) as usize)
                .collect()
        })
        .collect();
    let mut batches = batches.iter().cycle();
    c.bench_function(&format!("floor_{capacity}"), |b| {
        b.iter(|| {
            let Some(indices) = batches.next() else {
                return;
            };
            for (i, &index) in indices.iter().enumerate() {
                out_obs[i] = obs[index];
                out_next_obs[i] = next_obs[index];
                out_actions[i] = actions[index];
                out_rewards[i] = rewards[index];
                out_terminated[i] = terminated[index];
            }
            black_box((
                &mut out_obs,
                &mut out_next_obs,
                &mut out_actions,
                &mut out_rewards,
            ));
            black_box(&mut out_terminated);
        });
    });
}

fn acrobot_memory(capacity: usize, num_envs: usize) -> ReplayMemory {
    let config = Config {
        num_envs,
        ..Config::new(capacity, OBS_BYTES, 8)
    };
    let mut memory = ReplayMemory::new(config).expect("a small memory can be had");
    let (obs, action) = ([3_u8; OBS_BYTES], [1_u8; 8]);
    for step in 0..capacity {
        let terminated = step % 200 == 199;
        let step_of_it = Step {
            obs: &obs,
            action: &action,
            reward: -1.0,
            next_obs: &obs,
            terminated,
            truncated: false,
        };
        memory
            .push((step % num_envs) as i64, &step_of_it)
            .expect("the step fits");
    }
    memory
}

fn sample(c: &mut Criterion, capacity: usize, num_envs: usize, n_step: usize) {
    let mut memory = acrobot_memory(capacity, num_envs);
    let mut out = Out::new();
    let draw = Draw {
        minibatches: 1,
        batch_size: BATCH,
        n_step,
        gamma: 0.99,
        replace: true,
        beta: 0.4,
    };
    c.bench_function(
        &format!("sample_{capacity}_envs_{num_envs}_steps_{n_step}"),
        |b| {
            b.iter(|| memory.sample_into(draw, black_box(out.columns()), None));
        },
    );
}

fn benches(c: &mut Criterion) {
    for capacity in [100_000, 1_000_000] {
        floor(c, capacity);
        sample(c, capacity, 1, 1);
        sample(c, capacity, 8, 1);
        sample(c, capacity, 1, 5);
    }
}

criterion_group!(sampling, benches);
criterion_main!(sampling);
