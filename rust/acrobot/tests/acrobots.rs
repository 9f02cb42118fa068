//! Episodes, automatic resets, errors and restored states.

use acro_acrobot::{Acrobots, Autoreset, Error, step_each};

fn started(autoreset: Autoreset, max_episode_steps: u32) -> Acrobots {
    let mut acrobots = Acrobots::new(&[1, 2], max_episode_steps, autoreset).expect("two acrobots");
    acrobots.reset(&[None; 2], None, None).expect("first reset");
    acrobots
}

#[test]
fn same_step_returns_the_next_start_and_the_final_observation() {
    let mut acrobots = started(Autoreset::SameStep, 2);
    acrobots.step(&[0, 2]).expect("step 1");
    let unreset = {
        let mut twin = started(Autoreset::Disabled, 2);
        twin.step(&[0, 2]).expect("step 1");
        twin.step(&[0, 2]).expect("step 2").observations.to_vec()
    };
    let outcome = acrobots.step(&[0, 2]).expect("step 2");
    assert_eq!(outcome.truncated, [true, true]);
    assert_eq!(outcome.final_observations, unreset);
    assert_ne!(outcome.observations, unreset);
    assert_eq!(acrobots.env_state(0).elapsed, 0);
}

#[test]
fn next_step_returns_the_final_observation_then_ignores_an_action() {
    let mut acrobots = started(Autoreset::NextStep, 1);
    assert!(acrobots.step(&[1, 1]).expect("step 1").truncated[0]);
    let twin = acrobots.clone();
    let outcome = acrobots.step(&[0, 2]).expect("the reset");
    assert_eq!(
        (outcome.rewards, outcome.truncated),
        (&[0.0; 2][..], &[false; 2][..])
    );
    let mut other = twin;
    let other = other.step(&[2, 0]).expect("the reset");
    assert_eq!(outcome.observations, other.observations);
}

#[test]
fn disabled_waits_for_a_reset() {
    let mut acrobots = started(Autoreset::Disabled, 1);
    acrobots.step(&[1, 1]).expect("step 1");
    assert_eq!(acrobots.step(&[1, 1]).err(), Some(Error::Ended { env: 0 }));
    acrobots
        .reset(&[None; 2], Some(&[true, false]), None)
        .expect("masked reset");
    assert_eq!(acrobots.step(&[1, 1]).err(), Some(Error::Ended { env: 1 }));
    acrobots
        .reset(&[None; 2], Some(&[false, true]), None)
        .expect("masked reset");
    assert!(acrobots.step(&[1, 1]).is_ok());
}

#[test]
fn a_restored_copy_continues_identically() {
    let mut original = started(Autoreset::SameStep, 7);
    for _ in 0..10 {
        original.step(&[0, 2]).expect("step");
    }
    let saved = [original.env_state(0), original.env_state(1)];
    let mut copy = Acrobots::new(&[8, 9], 7, Autoreset::SameStep).expect("two acrobots");
    copy.restore(&saved, true).expect("a valid state");
    for _ in 0..20 {
        let observations = copy.step(&[2, 1]).expect("step").observations.to_vec();
        assert_eq!(
            original.step(&[2, 1]).expect("step").observations,
            observations
        );
    }
}

#[test]
fn an_error_says_what_was_asked_what_was_found_and_what_to_do() {
    let mut acrobots = started(Autoreset::Disabled, 1);
    let message = |error: Option<Error>| error.map(|error| error.to_string()).unwrap_or_default();
    assert_eq!(
        message(acrobots.step(&[0, 3]).err()),
        "action 3 of environment 1 does not exist; the actions are 0, 1 and 2"
    );
    assert_eq!(
        message(acrobots.step(&[0]).err()),
        "actions has length 1, expected 2, one for each environment"
    );
    acrobots.step(&[0, 0]).expect("step 1");
    assert_eq!(
        message(acrobots.step(&[0, 0]).err()),
        "the episode of environment 0 has ended and autoreset is disabled; reset it first"
    );
    assert_eq!(
        message(Acrobots::new(&[], 500, Autoreset::SameStep).err()),
        "num_envs must be at least 1, got 0"
    );
}

#[test]
fn single_steps_are_the_steps_of_the_environments() {
    let mut acrobots = Acrobots::new(&[0; 11], 500, Autoreset::Disabled).expect("eleven acrobots");
    let seeds: Vec<_> = (0..11).map(Some).collect();
    acrobots.reset(&seeds, None, None).expect("first reset");
    let mut states: Vec<_> = (0..11).map(|env| acrobots.state(env)).collect();
    let actions: Vec<_> = (0..11).map(|env| env % 3).collect();
    acrobots.step(&actions).expect("step");
    step_each(&mut states, &actions).expect("step");
    assert_eq!(
        states,
        (0..11).map(|env| acrobots.state(env)).collect::<Vec<_>>()
    );
}
