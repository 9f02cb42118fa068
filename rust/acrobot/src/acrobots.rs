//! Many acrobots as a vector environment: episodes, time limit, automatic resets, random starts.

use crate::dynamics::{Block, LANES, NUM_ACTIONS, OBSERVATION_SIZE, State, TORQUES};
use crate::error::Error;
use crate::random::Pcg64;

/// Each of a start state's four numbers is drawn between -START and START, as in Gymnasium.
const START: f64 = 0.1;

/// When an environment whose episode ended begins the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Autoreset {
    /// In the step after: that step's action is ignored, its reward is 0.
    NextStep,
    /// In the step that ended it: the observation is the new episode's first.
    SameStep,
    /// When the caller resets it; stepping it before that is an error.
    Disabled,
}

/// Everything that one environment's future depends on, except its actions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EnvState {
    /// The acrobot's angles and velocities.
    pub state: State,
    /// Steps taken in this episode.
    pub elapsed: u32,
    /// Whether the episode has ended and the next one has not begun.
    pub ended: bool,
    /// The stream that its next starts are drawn from.
    pub rng: Pcg64,
}

/// The outcome of a step, with one entry for each environment.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// Observations after the step, and after the resets of [`Autoreset::SameStep`].
    pub observations: &'a [[f32; OBSERVATION_SIZE]],
    /// 0 in the step that reaches the goal, otherwise -1.
    pub rewards: &'a [f64],
    /// Whether the goal was reached.
    pub terminated: &'a [bool],
    /// Whether the time limit was reached; both may be set in the last step, as in Gymnasium.
    pub truncated: &'a [bool],
    /// The last observations of the episodes that [`Autoreset::SameStep`] replaced, in order.
    pub final_observations: &'a [[f32; OBSERVATION_SIZE]],
}

/// Any number of acrobots, each with its own episode and random stream.
#[derive(Clone, Debug)]
pub struct Acrobots {
    autoreset: Autoreset,
    max_episode_steps: u32,
    has_reset: bool,
    /// Lanes of the last block that no environment uses hang still.
    blocks: Vec<Block>,
    torques: Vec<[f64; LANES]>,
    elapsed: Vec<u32>,
    ended: Vec<bool>,
    rngs: Vec<Pcg64>,
    observations: Vec<[f32; OBSERVATION_SIZE]>,
    rewards: Vec<f64>,
    terminated: Vec<bool>,
    truncated: Vec<bool>,
    final_observations: Vec<[f32; OBSERVATION_SIZE]>,
}

impl Acrobots {
    /// One acrobot for each of `seeds`, whose episodes last at most `max_episode_steps`.
    ///
    /// # Errors
    /// [`Error::Empty`] if either is 0, [`Error::OutOfMemory`].
    pub fn new(
        seeds: &[u128],
        max_episode_steps: u32,
        autoreset: Autoreset,
    ) -> Result<Self, Error> {
        let num_envs = seeds.len();
        if num_envs == 0 {
            return Err(Error::Empty { what: "num_envs" });
        }
        if max_episode_steps == 0 {
            return Err(Error::Empty {
                what: "max_episode_steps",
            });
        }
        let num_blocks = num_envs.div_ceil(LANES);
        let mut rngs = with_room(num_envs)?;
        rngs.extend(seeds.iter().copied().map(Pcg64::with_seed));
        Ok(Self {
            autoreset,
            max_episode_steps,
            has_reset: false,
            blocks: filled(num_blocks, Block::default())?,
            torques: filled(num_blocks, [0.0; LANES])?,
            elapsed: filled(num_envs, 0)?,
            ended: filled(num_envs, false)?,
            rngs,
            observations: filled(num_envs, [0.0; OBSERVATION_SIZE])?,
            rewards: filled(num_envs, 0.0)?,
            terminated: filled(num_envs, false)?,
            truncated: filled(num_envs, false)?,
            final_observations: with_room(num_envs)?,
        })
    }

    /// How many environments there are.
    #[must_use]
    pub fn num_envs(&self) -> usize {
        self.rngs.len()
    }

    /// Whether there has been a reset, so that [`Acrobots::step`] may be called.
    #[must_use]
    pub fn has_reset(&self) -> bool {
        self.has_reset
    }

    /// The current observations, one for each environment.
    #[must_use]
    pub fn observations(&self) -> &[[f32; OBSERVATION_SIZE]] {
        &self.observations
    }

    /// The state of the acrobot in `env`.
    ///
    /// # Panics
    /// If there is no such environment.
    #[must_use]
    pub fn state(&self, env: usize) -> State {
        self.blocks[env / LANES].state(env % LANES)
    }

    /// Begin an episode in the environments that `mask` marks, or in all; returns all observations.
    ///
    /// `seeds` start their random streams anew where they are given. Each of the four numbers of a
    /// start is drawn between the two `bounds` (by default -0.1 and 0.1) and rounded to `f32`, as
    /// Gymnasium does. O(num_envs).
    ///
    /// # Errors
    /// [`Error::WrongLength`], or [`Error::PartialFirstReset`] if `mask` leaves an environment out of
    /// the first reset; nothing has changed then.
    pub fn reset(
        &mut self,
        seeds: &[Option<u128>],
        mask: Option<&[bool]>,
        bounds: Option<(f64, f64)>,
    ) -> Result<&[[f32; OBSERVATION_SIZE]], Error> {
        self.check_length("seeds", seeds.len())?;
        if let Some(mask) = mask {
            self.check_length("mask", mask.len())?;
        }
        let is_chosen = |env: usize| mask.is_none_or(|mask| mask[env]);
        if let Some(env) = (0..self.num_envs()).find(|&env| !is_chosen(env))
            && !self.has_reset
        {
            return Err(Error::PartialFirstReset { env });
        }
        for (env, seed) in seeds.iter().enumerate() {
            if is_chosen(env) {
                if let Some(seed) = *seed {
                    self.rngs[env] = Pcg64::with_seed(seed);
                }
                self.begin(env, bounds.unwrap_or((-START, START)));
            }
        }
        self.has_reset = true;
        Ok(&self.observations)
    }

    /// Take one action in every environment. O(num_envs), no allocation.
    ///
    /// # Errors
    /// [`Error::NotReset`], [`Error::WrongLength`], [`Error::UnknownAction`] or [`Error::Ended`];
    /// nothing has changed then.
    pub fn step(&mut self, actions: &[i64]) -> Result<Outcome<'_>, Error> {
        self.check_step(actions)?;
        for (env, &action) in actions.iter().enumerate() {
            self.torques[env / LANES][env % LANES] = TORQUES[action as usize];
        }
        // An environment that waits for its reset moves too; its next start overwrites the state.
        for (block, torques) in self.blocks.iter_mut().zip(&self.torques) {
            block.step(torques);
        }
        self.final_observations.clear();
        for env in 0..self.num_envs() {
            self.settle(env);
        }
        Ok(Outcome {
            observations: &self.observations,
            rewards: &self.rewards,
            terminated: &self.terminated,
            truncated: &self.truncated,
            final_observations: &self.final_observations,
        })
    }

    /// Everything that is needed to continue `env`, for [`Acrobots::restore`].
    ///
    /// # Panics
    /// If there is no such environment.
    #[must_use]
    pub fn env_state(&self, env: usize) -> EnvState {
        EnvState {
            state: self.state(env),
            elapsed: self.elapsed[env],
            ended: self.ended[env],
            rng: self.rngs[env],
        }
    }

    /// Continue from the states that [`Acrobots::env_state`] returned, one for each environment.
    ///
    /// # Errors
    /// [`Error::WrongLength`], [`Error::InvalidState`] or [`Error::TooLong`]; nothing has changed then.
    pub fn restore(&mut self, envs: &[EnvState], has_reset: bool) -> Result<(), Error> {
        self.check_length("state", envs.len())?;
        for (env, saved) in envs.iter().enumerate() {
            if !saved.state.is_valid() {
                let state = saved.state;
                return Err(Error::InvalidState { env, state });
            }
            if saved.elapsed > self.max_episode_steps {
                return Err(Error::TooLong {
                    env,
                    elapsed: saved.elapsed,
                    limit: self.max_episode_steps,
                });
            }
        }
        for (env, saved) in envs.iter().enumerate() {
            self.elapsed[env] = saved.elapsed;
            self.ended[env] = saved.ended;
            self.rngs[env] = saved.rng;
            self.place(env, saved.state);
        }
        self.has_reset = has_reset;
        Ok(())
    }

    fn check_length(&self, what: &'static str, found: usize) -> Result<(), Error> {
        let expected = self.num_envs();
        if found == expected {
            return Ok(());
        }
        Err(Error::WrongLength {
            what,
            found,
            expected,
        })
    }

    fn check_step(&self, actions: &[i64]) -> Result<(), Error> {
        if !self.has_reset {
            return Err(Error::NotReset);
        }
        self.check_length("actions", actions.len())?;
        check_actions(actions)?;
        match self.ended.iter().position(|&ended| ended) {
            Some(env) if self.autoreset == Autoreset::Disabled => Err(Error::Ended { env }),
            _ => Ok(()),
        }
    }

    /// Finish the step of `env`: count it, write its outcome, and begin the next episode if one is due.
    fn settle(&mut self, env: usize) {
        if self.ended[env] {
            self.begin(env, (-START, START));
            self.rewards[env] = 0.0;
            self.terminated[env] = false;
            self.truncated[env] = false;
            return;
        }
        let (block, lane) = (&self.blocks[env / LANES], env % LANES);
        let terminated = block.is_at_goal(lane);
        self.elapsed[env] += 1;
        let truncated = self.elapsed[env] >= self.max_episode_steps;
        self.observations[env] = block.observation(lane);
        self.rewards[env] = if terminated { 0.0 } else { -1.0 };
        self.terminated[env] = terminated;
        self.truncated[env] = truncated;
        self.ended[env] = terminated || truncated;
        if self.ended[env] && self.autoreset == Autoreset::SameStep {
            self.final_observations.push(self.observations[env]);
            self.begin(env, (-START, START));
        }
    }

    fn begin(&mut self, env: usize, (low, high): (f64, f64)) {
        let rng = &mut self.rngs[env];
        // Gymnasium keeps a start as float32 and every later state as float64.
        let mut draw = || f64::from(rng.uniform(low, high) as f32);
        let state = State {
            theta1: draw(),
            theta2: draw(),
            velocity1: draw(),
            velocity2: draw(),
        };
        self.elapsed[env] = 0;
        self.ended[env] = false;
        self.place(env, state);
    }

    fn place(&mut self, env: usize, state: State) {
        let (block, lane) = (&mut self.blocks[env / LANES], env % LANES);
        block.set_state(lane, state);
        self.observations[env] = block.observation(lane);
    }
}

/// Move each acrobot by one step under its own action; returns which of them reached the goal.
///
/// This is the motion alone, without episodes, time limit or resets. O(states).
///
/// # Errors
/// [`Error::WrongLength`], [`Error::UnknownAction`], [`Error::InvalidState`] or [`Error::OutOfMemory`]; nothing has
/// changed then.
pub fn step_each(states: &mut [State], actions: &[i64]) -> Result<Vec<bool>, Error> {
    if states.len() != actions.len() {
        return Err(Error::WrongLength {
            what: "actions",
            found: actions.len(),
            expected: states.len(),
        });
    }
    check_actions(actions)?;
    if let Some(env) = states.iter().position(|state| !state.is_valid()) {
        let state = states[env];
        return Err(Error::InvalidState { env, state });
    }
    let mut terminated = with_room(states.len())?;
    for (states, actions) in states.chunks_mut(LANES).zip(actions.chunks(LANES)) {
        let mut block = Block::default();
        let mut torques = [0.0; LANES];
        for (lane, (state, &action)) in states.iter().zip(actions).enumerate() {
            block.set_state(lane, *state);
            torques[lane] = TORQUES[action as usize];
        }
        block.step(&torques);
        for (lane, state) in states.iter_mut().enumerate() {
            *state = block.state(lane);
            terminated.push(block.is_at_goal(lane));
        }
    }
    Ok(terminated)
}

/// `len` copies of `element`, or an error if there is no memory for them.
fn filled<T: Clone>(len: usize, element: T) -> Result<Vec<T>, Error> {
    let mut list = with_room(len)?;
    list.resize(len, element);
    Ok(list)
}

/// An empty list with room for `len` elements, or an error if there is no memory for them.
fn with_room<T>(len: usize) -> Result<Vec<T>, Error> {
    let mut list = Vec::new();
    let refused = |_| Error::OutOfMemory { num_envs: len };
    list.try_reserve_exact(len).map_err(refused)?;
    Ok(list)
}

fn check_actions(actions: &[i64]) -> Result<(), Error> {
    let known = 0..NUM_ACTIONS as i64;
    match actions.iter().position(|action| !known.contains(action)) {
        Some(env) => Err(Error::UnknownAction {
            env,
            action: actions[env],
        }),
        None => Ok(()),
    }
}
