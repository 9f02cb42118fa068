//! The motion of a block of acrobots.

use std::f64::consts::{PI, TAU};

use acro_acrobot::{Block, LANES, MAX_VELOCITY_1, MAX_VELOCITY_2, State};

fn state(theta1: f64, theta2: f64, velocity1: f64, velocity2: f64) -> State {
    State {
        theta1,
        theta2,
        velocity1,
        velocity2,
    }
}

fn stepped(start: State, torque: f64) -> State {
    let mut block = Block::default();
    block.set_state(3, start);
    let mut torques = [0.0; LANES];
    torques[3] = torque;
    block.step(&torques);
    block.state(3)
}

// gymnasium.make("Acrobot-v1").unwrapped, with `state` set, after `step(action)`.
#[test]
fn a_step_is_the_one_gymnasium_takes() {
    let known = [
        (
            state(0.1, -0.2, 0.3, -0.4),
            1.0,
            state(
                0.1282116312891261,
                -0.211840321026976,
                -0.023484731535001357,
                0.28679521459777013,
            ),
        ),
        (
            state(3.0, -3.0, 4.0, 9.0),
            -1.0,
            state(
                -2.918435327600227,
                -0.889765938400382,
                -0.7396631523130344,
                12.66767367248315,
            ),
        ),
    ];
    for (start, torque, expected) in known {
        let end = stepped(start, torque);
        let apart = [
            end.theta1 - expected.theta1,
            end.theta2 - expected.theta2,
            end.velocity1 - expected.velocity1,
            end.velocity2 - expected.velocity2,
        ];
        assert!(apart.iter().all(|x| x.abs() < 1e-13), "{apart:?}");
    }
}

#[test]
fn velocities_are_bounded_and_angles_wrapped() {
    let end = stepped(state(-1.5, 2.5, -12.0, 28.0), 0.0);
    assert_eq!(end.velocity1, -MAX_VELOCITY_1);
    assert_eq!(end.velocity2, MAX_VELOCITY_2);
    assert!(end.theta1.abs() <= PI && end.theta2.abs() <= PI);
}

#[test]
fn hanging_still_without_torque_is_rest() {
    assert_eq!(stepped(State::default(), 0.0), State::default());
}

#[test]
fn a_lane_does_not_depend_on_its_neighbours() {
    let mut block = Block::default();
    for lane in 0..LANES {
        let x = lane as f64;
        block.set_state(lane, state(0.3 * x, 1.0 - 0.2 * x, x - 4.0, 2.0 * x));
    }
    let starts: Vec<_> = (0..LANES).map(|lane| block.state(lane)).collect();
    block.step(&[1.0; LANES]);
    for (lane, &start) in starts.iter().enumerate() {
        assert_eq!(block.state(lane), stepped(start, 1.0), "lane {lane}");
    }
}

#[test]
fn the_goal_is_a_link_s_length_above_the_joint() {
    let is_at_goal = |theta1: f64, theta2: f64| {
        let mut block = Block::default();
        block.set_state(0, state(theta1, theta2, 0.0, 0.0));
        block.is_at_goal(0)
    };
    assert!(is_at_goal(PI, 0.0));
    assert!(!is_at_goal(0.0, 0.0));
    // The first link level, the second upright: exactly at the height, not above it.
    assert!(!is_at_goal(PI / 2.0 - 1e-9, PI / 2.0));
    assert!(is_at_goal(PI / 2.0 + 1e-9, PI / 2.0));
}

#[test]
fn an_observation_is_cosines_sines_and_velocities() {
    let seen = state(0.5, -1.0, 2.0, -3.0).observation();
    let expected = [
        0.5_f64.cos() as f32,
        0.5_f64.sin() as f32,
        1.0_f64.cos() as f32,
        -(1.0_f64.sin() as f32),
        2.0,
        -3.0,
    ];
    assert_eq!(seen, expected);
}

#[test]
fn states_out_of_bounds_are_not_valid() {
    assert!(state(TAU, -TAU, MAX_VELOCITY_1, -MAX_VELOCITY_2).is_valid());
    assert!(!state(6.3, 0.0, 0.0, 0.0).is_valid());
    assert!(!state(0.0, 0.0, 12.6, 0.0).is_valid());
    assert!(!state(0.0, 0.0, 0.0, f64::NAN).is_valid());
}
