//! Eight acrobots pump with a rule of thumb: torque against the swing of the first link.
//!
//! `cargo run --example swing`

use std::error::Error;
use std::io::Write;

use acro_acrobot::{Acrobots, Autoreset};

fn main() -> Result<(), Box<dyn Error>> {
    let seeds: Vec<u128> = (0..8).collect();
    let mut acrobots = Acrobots::new(&seeds, 500, Autoreset::NextStep)?;
    acrobots.reset(&[None; 8], None, None)?;
    let mut goals = 0;
    for _ in 0..500 {
        let swing = acrobots
            .observations()
            .iter()
            .map(|observation| observation[4]);
        let actions: Vec<i64> = swing.map(|speed| if speed > 0.0 { 0 } else { 2 }).collect();
        let outcome = acrobots.step(&actions)?;
        goals += outcome
            .terminated
            .iter()
            .filter(|&&terminated| terminated)
            .count();
    }
    writeln!(
        std::io::stdout(),
        "reached the goal {goals} times in 8 x 500 steps"
    )?;
    assert!(goals > 8);
    Ok(())
}

#[test]
fn example_runs() -> Result<(), Box<dyn Error>> {
    main()
}
