//! One step of the acrobot's motion, for a block of acrobots at a time.
//!
//! Gymnasium 1.x, `envs/classic_control/acrobot.py` with `book_or_nips = "book"`: the equations of
//! Sutton and Barto, *Reinforcement Learning: An Introduction*, integrated by one Runge-Kutta step.

use std::f64::consts::{PI, TAU};

use crate::trigonometry::sin_cos;

/// Seconds between two actions.
pub const TIME_STEP: f64 = 0.2;
/// Length of either link, in metres.
pub const LINK_LENGTH: f64 = 1.0;
/// Mass of either link, in kilograms.
pub const LINK_MASS: f64 = 1.0;
/// Distance of either link's centre of mass from its joint, in metres.
pub const LINK_COM_POSITION: f64 = 0.5;
/// Moment of inertia of either link about its centre of mass, in kg m^2.
pub const LINK_MOMENT: f64 = 1.0;
/// Acceleration of gravity, in m/s^2.
pub const GRAVITY: f64 = 9.8;
/// Bound of the first joint's speed, in rad/s.
pub const MAX_VELOCITY_1: f64 = 4.0 * PI;
/// Bound of the second joint's speed, in rad/s.
pub const MAX_VELOCITY_2: f64 = 9.0 * PI;
/// Torque on the joint between the links, in N m, by action.
pub const TORQUES: [f64; NUM_ACTIONS] = [-1.0, 0.0, 1.0];
/// How many actions there are.
pub const NUM_ACTIONS: usize = 3;
/// Numbers in an observation: cos and sin of `theta1`, of `theta2`, and both velocities.
pub const OBSERVATION_SIZE: usize = 6;
/// Acrobots in a block: enough independent arithmetic to keep two-lane vector units busy.
///
/// Measured a step of one environment, in ns, for 2, 4, 8 and 16: 70, 66, 64 and 63 among 1,024, and
/// 145, 144, 139 and 196 among 8, the binding's overhead included.
pub const LANES: usize = 8;

/// Where one acrobot is and how fast it moves.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct State {
    /// Angle of the first link from hanging down, in rad.
    pub theta1: f64,
    /// Angle of the second link from the first, in rad.
    pub theta2: f64,
    /// Rate of `theta1`, in rad/s.
    pub velocity1: f64,
    /// Rate of `theta2`, in rad/s.
    pub velocity2: f64,
}

impl State {
    /// Whether the motion is defined from here: finite, at most a turn and the bounds of speed.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.theta1.abs() <= TAU
            && self.theta2.abs() <= TAU
            && self.velocity1.abs() <= MAX_VELOCITY_1
            && self.velocity2.abs() <= MAX_VELOCITY_2
    }

    /// The observation: cos and sin of `theta1`, of `theta2`, and both velocities.
    #[must_use]
    pub fn observation(&self) -> [f32; OBSERVATION_SIZE] {
        let mut block = Block::default();
        block.set_state(0, *self);
        block.observation(0)
    }

    #[inline(always)]
    fn moved(self, derivative: Self, seconds: f64) -> Self {
        Self {
            theta1: self.theta1 + seconds * derivative.theta1,
            theta2: self.theta2 + seconds * derivative.theta2,
            velocity1: self.velocity1 + seconds * derivative.velocity1,
            velocity2: self.velocity2 + seconds * derivative.velocity2,
        }
    }

    #[inline(always)]
    fn trigonometry(&self) -> Trigonometry {
        let (sin1, cos1) = sin_cos(self.theta1);
        let (sin2, cos2) = sin_cos(self.theta2);
        Trigonometry {
            sin1,
            cos1,
            sin2,
            cos2,
        }
    }
}

#[derive(Clone, Copy)]
struct Trigonometry {
    sin1: f64,
    cos1: f64,
    sin2: f64,
    cos2: f64,
}

/// `LANES` acrobots in columns, with the sines and cosines of their angles.
///
/// The sines and cosines are used three times: in the observation, in the test for the goal, and in the next
/// step's first derivative.
#[derive(Clone, Debug)]
pub struct Block {
    theta1: [f64; LANES],
    theta2: [f64; LANES],
    velocity1: [f64; LANES],
    velocity2: [f64; LANES],
    sin1: [f64; LANES],
    cos1: [f64; LANES],
    sin2: [f64; LANES],
    cos2: [f64; LANES],
}

impl Default for Block {
    /// Every acrobot hangs still.
    fn default() -> Self {
        let zero = [0.0; LANES];
        let one = [1.0; LANES];
        Self {
            theta1: zero,
            theta2: zero,
            velocity1: zero,
            velocity2: zero,
            sin1: zero,
            cos1: one,
            sin2: zero,
            cos2: one,
        }
    }
}

impl Block {
    /// The state of the acrobot in `lane`.
    #[must_use]
    pub fn state(&self, lane: usize) -> State {
        State {
            theta1: self.theta1[lane],
            theta2: self.theta2[lane],
            velocity1: self.velocity1[lane],
            velocity2: self.velocity2[lane],
        }
    }

    /// Set the state of the acrobot in `lane`.
    pub fn set_state(&mut self, lane: usize, state: State) {
        self.theta1[lane] = state.theta1;
        self.theta2[lane] = state.theta2;
        self.velocity1[lane] = state.velocity1;
        self.velocity2[lane] = state.velocity2;
        self.set_trigonometry(lane, state.trigonometry());
    }

    /// The observation of the acrobot in `lane`.
    #[must_use]
    pub fn observation(&self, lane: usize) -> [f32; OBSERVATION_SIZE] {
        [
            self.cos1[lane] as f32,
            self.sin1[lane] as f32,
            self.cos2[lane] as f32,
            self.sin2[lane] as f32,
            self.velocity1[lane] as f32,
            self.velocity2[lane] as f32,
        ]
    }

    /// Whether the free end in `lane` is a link's length above the fixed joint.
    #[must_use]
    pub fn is_at_goal(&self, lane: usize) -> bool {
        let cos12 = self.cos1[lane] * self.cos2[lane] - self.sin1[lane] * self.sin2[lane];
        -self.cos1[lane] - cos12 > 1.0
    }

    /// Move every acrobot by [`TIME_STEP`] under its torque. O(LANES).
    ///
    /// Valid states stay valid: angles are wrapped to half a turn, velocities bounded.
    pub fn step(&mut self, torques: &[f64; LANES]) {
        for (lane, &torque) in torques.iter().enumerate() {
            let start = self.state(lane);
            let trigonometry = Trigonometry {
                sin1: self.sin1[lane],
                cos1: self.cos1[lane],
                sin2: self.sin2[lane],
                cos2: self.cos2[lane],
            };
            let end = integrate(start, trigonometry, torque);
            self.theta1[lane] = end.theta1;
            self.theta2[lane] = end.theta2;
            self.velocity1[lane] = end.velocity1.clamp(-MAX_VELOCITY_1, MAX_VELOCITY_1);
            self.velocity2[lane] = end.velocity2.clamp(-MAX_VELOCITY_2, MAX_VELOCITY_2);
        }
        for theta in self.theta1.iter_mut().chain(&mut self.theta2) {
            *theta = wrap(*theta);
        }
        for lane in 0..LANES {
            self.set_trigonometry(lane, self.state(lane).trigonometry());
        }
    }

    #[inline(always)]
    fn set_trigonometry(&mut self, lane: usize, trigonometry: Trigonometry) {
        self.sin1[lane] = trigonometry.sin1;
        self.cos1[lane] = trigonometry.cos1;
        self.sin2[lane] = trigonometry.sin2;
        self.cos2[lane] = trigonometry.cos2;
    }
}

/// One fourth-order Runge-Kutta step.
#[inline(always)]
fn integrate(start: State, trigonometry: Trigonometry, torque: f64) -> State {
    const HALF: f64 = TIME_STEP / 2.0;
    let k1 = derivative(start, trigonometry, torque);
    let second = start.moved(k1, HALF);
    let k2 = derivative(second, second.trigonometry(), torque);
    let third = start.moved(k2, HALF);
    let k3 = derivative(third, third.trigonometry(), torque);
    let fourth = start.moved(k3, TIME_STEP);
    let k4 = derivative(fourth, fourth.trigonometry(), torque);
    let sum = |a: f64, b: f64, c: f64, d: f64| a + 2.0 * b + 2.0 * c + d;
    let total = State {
        theta1: sum(k1.theta1, k2.theta1, k3.theta1, k4.theta1),
        theta2: sum(k1.theta2, k2.theta2, k3.theta2, k4.theta2),
        velocity1: sum(k1.velocity1, k2.velocity1, k3.velocity1, k4.velocity1),
        velocity2: sum(k1.velocity2, k2.velocity2, k3.velocity2, k4.velocity2),
    };
    start.moved(total, TIME_STEP / 6.0)
}

/// The state's derivative with respect to time.
///
/// Gymnasium's `_dsdt`, with `cos(x - pi/2)` written `sin(x)`, the sum's sine by the addition theorem
/// and one reciprocal of `d1` in place of four divisions; the results differ by rounding alone.
#[inline(always)]
fn derivative(state: State, trigonometry: Trigonometry, torque: f64) -> State {
    const COUPLING: f64 = LINK_MASS * LINK_LENGTH * LINK_COM_POSITION;
    const OWN: f64 = LINK_MASS * LINK_COM_POSITION * LINK_COM_POSITION;
    let Trigonometry {
        sin1,
        cos1,
        sin2,
        cos2,
    } = trigonometry;
    let sin12 = sin1 * cos2 + cos1 * sin2;
    let (velocity1, velocity2) = (state.velocity1, state.velocity2);
    let d1 = OWN
        + (LINK_MASS * LINK_LENGTH * LINK_LENGTH + OWN + 2.0 * COUPLING * cos2)
        + LINK_MOMENT
        + LINK_MOMENT;
    let d2 = OWN + COUPLING * cos2 + LINK_MOMENT;
    let phi2 = LINK_MASS * LINK_COM_POSITION * GRAVITY * sin12;
    let phi1 = -COUPLING * velocity2 * velocity2 * sin2
        - 2.0 * COUPLING * velocity2 * velocity1 * sin2
        + (LINK_MASS * LINK_COM_POSITION + LINK_MASS * LINK_LENGTH) * GRAVITY * sin1
        + phi2;
    let per_d1 = 1.0 / d1;
    let ratio = d2 * per_d1;
    let acceleration2 = (torque + ratio * phi1 - COUPLING * velocity1 * velocity1 * sin2 - phi2)
        / (OWN + LINK_MOMENT - d2 * ratio);
    State {
        theta1: velocity1,
        theta2: velocity2,
        velocity1: -(d2 * acceleration2 + phi1) * per_d1,
        velocity2: acceleration2,
    }
}

/// `angle` less whole turns, subtracted one at a time, so that it rounds as in Gymnasium.
#[inline(always)]
fn wrap(mut angle: f64) -> f64 {
    while angle > PI {
        angle -= TAU;
    }
    while angle < -PI {
        angle += TAU;
    }
    angle
}
