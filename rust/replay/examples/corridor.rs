//! An agent walks a corridor of ten places; the memory keeps its steps and gives them back in minibatches.
//!
//! `cargo run --example corridor`

use std::error::Error;
use std::io::Write;

use acro_replay::{Config, Draw, ReplayMemory, Rng, Step, bytes, numbers};

fn main() -> Result<(), Box<dyn Error>> {
    // An observation is one f32, an action one i64; 1,000 transitions are kept.
    let mut memory = ReplayMemory::new(Config {
        alpha: Some(0.6),
        ..Config::new(1_000, 4, 8)
    })?;
    let mut rng = Rng::with_seed(7);
    let mut place = 0_u8;
    for step in 1..=5_000 {
        let action = rng.below(2) as i64;
        let next = if action == 1 {
            place + 1
        } else {
            place.saturating_sub(1)
        };
        let (terminated, truncated) = (next == 9, step % 200 == 0);
        memory.push(
            0,
            &Step {
                obs: bytes(&[f32::from(place)]),
                action: bytes(&[action]),
                reward: if terminated { 1.0 } else { 0.0 },
                next_obs: bytes(&[f32::from(next)]),
                terminated,
                truncated,
            },
        )?;
        place = if terminated || truncated { 0 } else { next };
    }

    // Two minibatches of 32, each transition looking three steps ahead.
    let batch = memory.sample(Draw {
        minibatches: 2,
        n_step: 3,
        ..Draw::new(32)
    })?;
    let obs = numbers::<f32>(&batch.obs);
    let actions = numbers::<i64>(&batch.actions);
    let mut out = std::io::stdout();
    writeln!(
        out,
        "at {} it went {}, for {} in all",
        obs[0], actions[0], batch.rewards[0]
    )?;

    // What surprised is drawn more often from now on.
    let surprise: Vec<f64> = batch
        .rewards
        .iter()
        .map(|&reward| f64::from(reward) + 0.1)
        .collect();
    memory.update_priorities(&batch.indices, &surprise)?;

    // A copy goes on exactly as the memory it was taken of.
    let mut copy = ReplayMemory::new(Config {
        alpha: Some(0.6),
        ..Config::new(1_000, 4, 8)
    })?;
    copy.restore(&memory.state()?)?;
    assert_eq!(copy.sample(Draw::new(8))?, memory.sample(Draw::new(8))?);
    writeln!(
        out,
        "{} transitions in {} bytes",
        memory.len(),
        memory.nbytes()
    )?;
    Ok(())
}

#[test]
fn example_runs() -> Result<(), Box<dyn Error>> {
    main()
}
