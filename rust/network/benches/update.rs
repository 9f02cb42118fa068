//! Microseconds of one gradient update, beside the matrix products that it cannot do without.
//!
//! Medians and least over rounds of 32 updates, both taking turns, and the ratio of the least:
//! `cargo bench -p acro-network`.
#![allow(missing_docs, clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use acro_network::{Adam, Batch, Learner, Loss, Moments, Options, Progress, Rule, Shape, State};
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

const OBSERVATION_SIZE: usize = 6;
const NUM_ACTIONS: usize = 3;
const ROUND: usize = 32;
const REPEATS: usize = 60;

fn main() {
    println!(
        "{:32} {:>8} {:>8} {:>8} {:>8} {:>6}",
        "us; double DQN, clip, Adam", "update", "least", "products", "least", "ratio"
    );
    for (width, batch_size, outputs) in [
        (128, 128, 1),
        (256, 128, 1),
        (128, 32, 1),
        (64, 128, 1),
        (256, 128, 25),
    ] {
        let (update, products) = measure(width, batch_size, outputs);
        let name = format!("{width}-{width}, batch {batch_size}, {outputs} outputs");
        println!(
            "{name:32} {:8.1} {:8.1} {:8.1} {:8.1} {:6.2}",
            update.0,
            update.1,
            products.0,
            products.1,
            update.1 / products.1
        );
    }
}

/// Times of updates and of bare products, in microseconds.
fn measure(width: usize, batch_size: usize, outputs: usize) -> ((f64, f64), (f64, f64)) {
    let options = Options {
        outputs,
        ..Options::default()
    };
    let Ok(shape) = Shape::with_options(OBSERVATION_SIZE, &[width, width], NUM_ACTIONS, options)
    else {
        unreachable!("the sizes are good");
    };
    let mut numbers = Numbers(1);
    let mut parameters = numbers.many(shape.num_parameters(), 0.1);
    let mut target = parameters.clone();
    let (mut exp_avg, mut exp_avg_sq) = (vec![0.0; parameters.len()], vec![0.0; parameters.len()]);
    let rows = ROUND * batch_size;
    let (obs, next_obs) = (
        numbers.many(rows * OBSERVATION_SIZE, 1.0),
        numbers.many(rows * OBSERVATION_SIZE, 1.0),
    );
    let actions: Vec<i64> = (0..rows).map(|row| (row % NUM_ACTIONS) as i64).collect();
    let (rewards, discounts) = (vec![-1.0; rows], vec![0.97; rows]);
    let batch = Batch {
        count: ROUND,
        size: batch_size,
        obs: &obs,
        actions: &actions,
        rewards: &rewards,
        next_obs: &next_obs,
        discounts: &discounts,
        weights: None,
    };
    let rule = Rule {
        loss: if outputs == 1 {
            Loss::Huber
        } else {
            Loss::Quantile
        },
        is_double: true,
        max_grad_norm: Some(10.0),
        adam: Adam {
            learning_rate: 1e-6,
            ..Adam::default()
        },
        target_update_every: 100,
        tau: 1.0,
        average_updates: 1,
    };
    let mut learner = Learner::new(shape);
    let mut td_errors = vec![0.0; rows];
    let mut bare = BareProducts::new(width, batch_size, NUM_ACTIONS * outputs);
    let (mut updates, mut products) = (Vec::new(), Vec::new());
    for repeat in 0..REPEATS as u64 {
        let start = Instant::now();
        let mut state = State {
            parameters: &mut parameters,
            moments: Moments {
                exp_avg: &mut exp_avg,
                exp_avg_sq: &mut exp_avg_sq,
            },
            target: &mut target,
            average: None,
        };
        let done = repeat * ROUND as u64;
        let before = Progress {
            updates: done,
            adam_steps: done,
        };
        let outcome = learner.round(&mut state, &batch, &rule, before, &mut td_errors);
        updates.push(start.elapsed().as_secs_f64() * 1e6 / ROUND as f64);
        assert!(outcome.is_ok(), "{outcome:?}");
        let start = Instant::now();
        for _ in 0..ROUND {
            bare.multiply();
        }
        products.push(start.elapsed().as_secs_f64() * 1e6 / ROUND as f64);
    }
    (summary(updates), summary(products))
}

/// The median, and the least, which other work on the machine disturbs least.
fn summary(mut numbers: Vec<f64>) -> (f64, f64) {
    numbers.sort_by(f64::total_cmp);
    (numbers[numbers.len() / 2], numbers[0])
}

/// An update's products: forward of both observations, the target network's forward, backward.
struct BareProducts {
    shapes: Vec<(usize, usize, usize)>,
    left: Vec<f32>,
    right: Vec<f32>,
    out: Vec<f32>,
}

impl BareProducts {
    fn new(width: usize, batch_size: usize, last: usize) -> Self {
        let mut shapes = Vec::new();
        for rows in [2 * batch_size, batch_size] {
            shapes.extend([
                (rows, OBSERVATION_SIZE, width),
                (rows, width, width),
                (rows, width, last),
            ]);
        }
        shapes.extend([(last, batch_size, width), (batch_size, last, width)]);
        shapes.extend([
            (width, batch_size, width),
            (batch_size, width, width),
            (width, batch_size, OBSERVATION_SIZE),
        ]);
        let most =
            |of: fn(&(usize, usize, usize)) -> usize| shapes.iter().map(of).max().unwrap_or(0);
        let mut numbers = Numbers(2);
        let left = numbers.many(most(|&(m, k, _)| m * k), 1.0);
        let right = numbers.many(most(|&(_, k, n)| k * n), 1.0);
        let out = vec![0.0; most(|&(m, _, n)| m * n)];
        Self {
            shapes,
            left,
            right,
            out,
        }
    }

    fn multiply(&mut self) {
        for &(m, k, n) in &self.shapes {
            let left = MatRef::from_row_major_slice(&self.left[..m * k], m, k);
            let right = MatRef::from_row_major_slice(&self.right[..k * n], k, n);
            let out = MatMut::from_row_major_slice_mut(&mut self.out[..m * n], m, n);
            matmul(out, Accum::Replace, left, right, 1.0, Par::Seq);
        }
        black_box(&mut self.out);
    }
}

/// Numbers from a linear congruential generator.
struct Numbers(u64);

impl Numbers {
    fn many(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|_| scale * self.next()).collect()
    }

    fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}
