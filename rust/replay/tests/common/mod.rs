//! The memory again, as plain lists: slow, obvious, and what the real one must agree with.
#![allow(
    dead_code,
    reason = "each test file is a program of its own and uses its part"
)]

use std::collections::VecDeque;

use acro_replay::{Columns, Config, Draw, Error, ReplayMemory, State, Step};

/// One transition with observations and actions of one byte.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) env: usize,
    pub(crate) obs: u8,
    pub(crate) action: u8,
    pub(crate) reward: f32,
    pub(crate) next_obs: u8,
    pub(crate) terminated: bool,
    pub(crate) truncated: bool,
}

/// One row of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Drawn {
    pub(crate) obs: u8,
    pub(crate) action: u8,
    pub(crate) reward: f32,
    pub(crate) next_obs: u8,
    pub(crate) discount: f32,
    pub(crate) terminated: bool,
    pub(crate) index: i64,
}

/// The newest transitions of each environment, with their priorities, oldest first.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) size: usize,
    pub(crate) envs: Vec<VecDeque<(i64, Row, f64)>>,
    pub(crate) counts: Vec<i64>,
}

impl Model {
    pub(crate) fn new(size: usize, num_envs: usize) -> Self {
        Self {
            size,
            envs: vec![VecDeque::new(); num_envs],
            counts: vec![0; num_envs],
        }
    }

    pub(crate) fn push(&mut self, row: Row) {
        let all = self.envs.iter().flatten();
        let largest = all.fold(0.0, |largest: f64, &(_, _, priority)| largest.max(priority));
        let priority = if largest > 0.0 { largest } else { 1.0 };
        let id = self.counts[row.env] * self.envs.len() as i64 + row.env as i64;
        self.counts[row.env] += 1;
        let ring = &mut self.envs[row.env];
        if ring.len() == self.size {
            ring.pop_front();
        }
        ring.push_back((id, row, priority));
    }

    pub(crate) fn clear(&mut self) {
        self.envs.iter_mut().for_each(VecDeque::clear);
    }

    pub(crate) fn len(&self) -> usize {
        self.envs.iter().map(VecDeque::len).sum()
    }

    pub(crate) fn find(&self, id: i64) -> Option<(usize, usize)> {
        let place = |(env, ring): (usize, &VecDeque<(i64, Row, f64)>)| {
            Some((env, ring.iter().position(|&(other, _, _)| other == id)?))
        };
        self.envs.iter().enumerate().find_map(place)
    }

    pub(crate) fn update(&mut self, id: i64, priority: f64) -> bool {
        let Some((env, place)) = self.find(id) else {
            return false;
        };
        self.envs[env][place].2 = priority;
        true
    }

    /// What drawing `id` must give.
    pub(crate) fn drawn(&self, id: i64, n_step: usize, gamma: f64) -> Option<Drawn> {
        let (env, first) = self.find(id)?;
        let ring = &self.envs[env];
        let (mut sum, mut power, mut last) = (0.0, 1.0, first);
        for step in first..ring.len().min(first + n_step) {
            if step > first {
                let (before, row) = (ring[step - 1].1, ring[step].1);
                if before.terminated || before.truncated || before.next_obs != row.obs {
                    break;
                }
            }
            sum += power * f64::from(ring[step].1.reward);
            power *= gamma;
            last = step;
        }
        let (row, end) = (ring[first].1, ring[last].1);
        Some(Drawn {
            obs: row.obs,
            action: row.action,
            reward: sum as f32,
            next_obs: end.next_obs,
            discount: if end.terminated { 0.0 } else { power as f32 },
            terminated: end.terminated,
            index: id,
        })
    }
}

pub(crate) fn memory(capacity: usize, num_envs: usize, alpha: Option<f64>) -> ReplayMemory {
    let config = Config {
        num_envs,
        seed: 5,
        alpha,
        ..Config::new(capacity, 1, 1)
    };
    ReplayMemory::new(config).expect("a small memory can be had")
}

pub(crate) fn push(memory: &mut ReplayMemory, row: Row) {
    let step = Step {
        obs: &[row.obs],
        action: &[row.action],
        reward: row.reward,
        next_obs: &[row.next_obs],
        terminated: row.terminated,
        truncated: row.truncated,
    };
    memory.push(row.env as i64, &step).expect("the row fits");
}

pub(crate) fn state(memory: &ReplayMemory) -> State<'static> {
    memory.state().expect("a small memory can be copied")
}

/// How a batch of a test is read back, whoever wrote it.
pub(crate) fn read(
    rows: usize,
    write: impl FnOnce(Columns<'_>, &mut [f32]) -> Result<(), Error>,
) -> Result<(Vec<Drawn>, Vec<f32>), Error> {
    let mut obs = vec![255_u8; rows];
    let mut actions = vec![255_u8; rows];
    let mut rewards = vec![f32::NAN; rows];
    let mut next_obs = vec![255_u8; rows];
    let mut discounts = vec![f32::NAN; rows];
    let mut terminated = vec![false; rows];
    let mut indices = vec![-1_i64; rows];
    let mut weights = vec![f32::NAN; rows];
    let columns = Columns {
        obs: &mut obs,
        actions: &mut actions,
        rewards: &mut rewards,
        next_obs: &mut next_obs,
        discounts: &mut discounts,
        terminated: &mut terminated,
        indices: &mut indices,
    };
    write(columns, &mut weights)?;
    let drawn = (0..rows).map(|i| Drawn {
        obs: obs[i],
        action: actions[i],
        reward: rewards[i],
        next_obs: next_obs[i],
        discount: discounts[i],
        terminated: terminated[i],
        index: indices[i],
    });
    Ok((drawn.collect(), weights))
}

pub(crate) fn sample(
    memory: &mut ReplayMemory,
    draw: Draw,
) -> Result<(Vec<Drawn>, Vec<f32>), Error> {
    read(draw.minibatches * draw.batch_size, |columns, weights| {
        memory.sample_into(draw, columns, Some(weights))
    })
}

pub(crate) fn gather(
    memory: &mut ReplayMemory,
    ids: &[i64],
    n_step: usize,
    gamma: f64,
) -> Result<Vec<Drawn>, Error> {
    let (drawn, _) = read(ids.len(), |columns, _| {
        memory.gather_into(ids, n_step, gamma, columns)
    })?;
    Ok(drawn)
}

pub(crate) const ONE: Draw = Draw {
    minibatches: 1,
    batch_size: 1,
    n_step: 1,
    gamma: 0.99,
    replace: true,
    beta: 0.4,
};
