//! Rounds of updates, against the naive model and against numbers worked by hand.
#![allow(missing_docs, clippy::unwrap_used)]

mod naive;

use acro_network::{
    Adam, Batch, Error, Learner, Loss, Moments, Network, Options, Progress, Rule, Shape, State,
    Stats,
};
use naive::{Model, Sizes, Transition};
use proptest::prelude::*;

/// A network and what follows it, in the crate's float32.
#[derive(Clone, Debug, PartialEq)]
struct Numbers {
    parameters: Vec<f32>,
    exp_avg: Vec<f32>,
    exp_avg_sq: Vec<f32>,
    target: Vec<f32>,
    average: Vec<f32>,
}

impl Numbers {
    fn new(parameters: Vec<f32>, target: Vec<f32>) -> Self {
        let zeros = vec![0.0; parameters.len()];
        Self {
            average: parameters.clone(),
            parameters,
            exp_avg: zeros.clone(),
            exp_avg_sq: zeros,
            target,
        }
    }

    fn state(&mut self) -> State<'_> {
        State {
            parameters: &mut self.parameters,
            moments: Moments {
                exp_avg: &mut self.exp_avg,
                exp_avg_sq: &mut self.exp_avg_sq,
            },
            target: &mut self.target,
            average: Some(&mut self.average),
        }
    }
}

/// The columns of a round.
#[derive(Clone, Debug)]
struct Columns {
    count: usize,
    size: usize,
    obs: Vec<f32>,
    actions: Vec<i64>,
    rewards: Vec<f32>,
    next_obs: Vec<f32>,
    discounts: Vec<f32>,
    weights: Option<Vec<f32>>,
}

impl Columns {
    fn batch(&self) -> Batch<'_> {
        Batch {
            count: self.count,
            size: self.size,
            obs: &self.obs,
            actions: &self.actions,
            rewards: &self.rewards,
            next_obs: &self.next_obs,
            discounts: &self.discounts,
            weights: self.weights.as_deref(),
        }
    }

    fn minibatches(&self, observation_size: usize) -> Vec<Vec<Transition>> {
        let transition = |row: usize| Transition {
            obs: wide(&self.obs[row * observation_size..][..observation_size]),
            action: self.actions[row] as usize,
            reward: self.rewards[row].into(),
            next_obs: wide(&self.next_obs[row * observation_size..][..observation_size]),
            discount: self.discounts[row].into(),
            weight: self
                .weights
                .as_ref()
                .map_or(1.0, |weights| weights[row].into()),
        };
        (0..self.count)
            .map(|m| {
                (m * self.size..(m + 1) * self.size)
                    .map(transition)
                    .collect()
            })
            .collect()
    }
}

fn wide(numbers: &[f32]) -> Vec<f64> {
    numbers.iter().map(|&number| number.into()).collect()
}

fn shape_of(sizes: &Sizes) -> Shape {
    Shape::with_options(
        sizes.observation_size,
        &sizes.hidden,
        sizes.num_actions,
        sizes.options,
    )
    .unwrap()
}

fn rule() -> Rule {
    Rule {
        loss: Loss::Huber,
        is_double: true,
        max_grad_norm: None,
        adam: Adam::default(),
        target_update_every: 100,
        tau: 1.0,
        average_updates: 10,
    }
}

fn learn(
    learner: &mut Learner,
    numbers: &mut Numbers,
    columns: &Columns,
    rule: &Rule,
    before: u64,
) -> (Vec<f32>, Stats) {
    let mut td_errors = vec![0.0; columns.rewards.len()];
    let before = Progress {
        updates: before,
        adam_steps: before,
    };
    let stats = learner
        .round(
            &mut numbers.state(),
            &columns.batch(),
            rule,
            before,
            &mut td_errors,
        )
        .unwrap();
    (td_errors, stats)
}

prop_compose! {
    fn sizes()(
        observation_size in 1..9usize,
        hidden in prop::collection::vec(1..40usize, 0..3),
        num_actions in 1..5usize,
        outputs in prop_oneof![Just(1), 2..20usize],
        is_dueling: bool,
        has_layer_norm: bool,
    ) -> Sizes {
        Sizes { observation_size, hidden, num_actions, options: Options { outputs, is_dueling, has_layer_norm } }
    }
}

prop_compose! {
    fn rules(outputs: usize)(
        squared: bool,
        quantile: bool,
        is_double: bool,
        max_grad_norm in prop_oneof![Just(None), (0.01..2.0f32).prop_map(Some)],
        target_update_every in 1..5u64,
        tau in prop_oneof![Just(1.0f32), 0.01..1.0f32],
        average_updates in 1..20u64,
    ) -> Rule {
        let loss = match (outputs, quantile, squared) {
            (1, false, true) => Loss::Squared,
            (1, false, false) => Loss::Huber,
            _ => Loss::Quantile,
        };
        // A large epsilon: where a gradient is all rounding, a step of Adam would be too.
        let adam = Adam { learning_rate: 1e-2, epsilon: 1e-2, ..Adam::default() };
        Rule { loss, is_double, max_grad_norm, adam, target_update_every, tau, average_updates }
    }
}

fn numbers_of(count: usize, scale: f32) -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(-scale..scale, count)
}

fn columns_of(
    count: usize,
    size: usize,
    observation_size: usize,
    num_actions: usize,
) -> impl Strategy<Value = Columns> {
    let rows = count * size;
    let columns = (
        numbers_of(rows * observation_size, 2.0),
        prop::collection::vec(0..num_actions as i64, rows),
        numbers_of(rows, 3.0),
        numbers_of(rows * observation_size, 2.0),
        prop::collection::vec(0.0..1.0f32, rows),
        prop::option::of(prop::collection::vec(0.0..1.0f32, rows)),
    );
    columns.prop_map(
        move |(obs, actions, rewards, next_obs, discounts, weights)| Columns {
            count,
            size,
            obs,
            actions,
            rewards,
            next_obs,
            discounts,
            weights,
        },
    )
}

prop_compose! {
    fn cases()(sizes in sizes(), count in 1..5usize, size in 1..20usize)(
        rule in rules(sizes.options.outputs),
        columns in columns_of(count, size, sizes.observation_size, sizes.num_actions),
        parameters in numbers_of(shape_of(&sizes).num_parameters(), 0.7),
        target in numbers_of(shape_of(&sizes).num_parameters(), 0.7),
        before in 0..7u64,
        sizes in Just(sizes),
    ) -> (Sizes, Rule, Columns, Numbers, u64) {
        (sizes, rule, columns, Numbers::new(parameters, target), before)
    }
}

/// Whether every difference is one of rounding.
fn is_close(found: &[f32], expected: &[f64], tolerance: f64) -> bool {
    found.iter().zip(expected).all(|(&found, expected)| {
        (f64::from(found) - expected).abs() <= tolerance * expected.abs().max(1.0)
    })
}

fn model_of(sizes: &Sizes, numbers: &Numbers, updates: u64) -> Model {
    Model {
        sizes: sizes.clone(),
        parameters: wide(&numbers.parameters),
        exp_avg: wide(&numbers.exp_avg),
        exp_avg_sq: wide(&numbers.exp_avg_sq),
        target: wide(&numbers.target),
        average: wide(&numbers.average),
        updates,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_round_is_the_naive_models((sizes, rule, columns, mut numbers, before) in cases()) {
        let mut model = model_of(&sizes, &numbers, before);
        let expected = model.round(&rule, &columns.minibatches(sizes.observation_size));
        let (td_errors, stats) = learn(&mut Learner::new(shape_of(&sizes)), &mut numbers, &columns, &rule, before);
        prop_assert!(is_close(&td_errors, &expected, 1e-3), "{td_errors:?} {expected:?}");
        prop_assert!(is_close(&numbers.parameters, &model.parameters, 1e-3));
        prop_assert!(is_close(&numbers.exp_avg, &model.exp_avg, 1e-3));
        prop_assert!(is_close(&numbers.exp_avg_sq, &model.exp_avg_sq, 1e-3));
        prop_assert!(is_close(&numbers.target, &model.target, 1e-3));
        prop_assert!(is_close(&numbers.average, &model.average, 1e-3));
        prop_assert!(stats.grad_norm.is_finite() && stats.loss >= 0.0 && stats.q_mean <= stats.q_max + 1e-5);
    }

    #[test]
    fn one_gradient_is_the_losses_derivative((sizes, rule, columns, mut numbers, _) in cases()) {
        let columns = Columns { count: 1, ..columns.clone() };
        let rows = columns.size;
        let columns = Columns {
            obs: columns.obs[..rows * sizes.observation_size].to_vec(),
            actions: columns.actions[..rows].to_vec(),
            rewards: columns.rewards[..rows].to_vec(),
            next_obs: columns.next_obs[..rows * sizes.observation_size].to_vec(),
            discounts: columns.discounts[..rows].to_vec(),
            weights: columns.weights.as_ref().map(|weights| weights[..rows].to_vec()),
            ..columns
        };
        // Without memory, the first moment is the gradient.
        let adam = Adam { beta1: 0.0, ..rule.adam };
        let rule = Rule { adam, max_grad_norm: None, ..rule };
        let model = model_of(&sizes, &numbers, 0);
        let minibatch = &columns.minibatches(sizes.observation_size)[0];
        let (targets, gradient, _) = model.differentiate(&rule, minibatch);
        let loss = model.loss(&rule, &model.parameters, minibatch, &targets);
        let (_, stats) = learn(&mut Learner::new(shape_of(&sizes)), &mut numbers, &columns, &rule, 0);
        prop_assert!(is_close(&numbers.exp_avg, &gradient, 1e-4), "{:?} {gradient:?}", numbers.exp_avg);
        prop_assert!(is_close(&[stats.loss], &[loss], 1e-4));
        let step = 1e-7;
        for place in [0, gradient.len() / 3, gradient.len() - 1] {
            let at = |by: f64| {
                let mut moved = model.parameters.clone();
                moved[place] += by;
                model.loss(&rule, &moved, minibatch, &targets)
            };
            let grads = [(at(step) - loss) / step, (loss - at(-step)) / step];
            // At a kink the two sides differ, and the gradient is between them.
            let (low, high) = (grads[0].min(grads[1]), grads[0].max(grads[1]));
            prop_assert!((low - 1e-4..=high + 1e-4).contains(&gradient[place]), "{grads:?} {}", gradient[place]);
        }
    }

    #[test]
    fn predictions_are_the_naive_models((sizes, _, columns, numbers, _) in cases()) {
        let mut network = Network::new(shape_of(&sizes));
        let found = network.forward(&numbers.parameters, &columns.obs).unwrap().to_vec();
        let rows = columns.obs.chunks(sizes.observation_size);
        let parameters = wide(&numbers.parameters);
        let expected: Vec<f64> = rows.flat_map(|obs| sizes.predictions(&parameters, &wide(obs)).concat()).collect();
        prop_assert_eq!(found.len(), expected.len());
        prop_assert!(is_close(&found, &expected, 1e-4));
    }

    #[test]
    fn a_round_of_many_is_as_rounds_of_one_each((sizes, rule, columns, numbers, before) in cases()) {
        let rule = Rule { average_updates: 1, ..rule };
        let (mut at_once, mut in_turn) = (numbers.clone(), numbers);
        let mut learner = Learner::new(shape_of(&sizes));
        let (td_errors, _) = learn(&mut learner, &mut at_once, &columns, &rule, before);
        let mut td_errors_in_turn = Vec::new();
        for number in 0..columns.count {
            let rows = number * columns.size..(number + 1) * columns.size;
            let wide = rows.start * sizes.observation_size..rows.end * sizes.observation_size;
            let one = Columns {
                count: 1,
                size: columns.size,
                obs: columns.obs[wide.clone()].to_vec(),
                actions: columns.actions[rows.clone()].to_vec(),
                rewards: columns.rewards[rows.clone()].to_vec(),
                next_obs: columns.next_obs[wide].to_vec(),
                discounts: columns.discounts[rows.clone()].to_vec(),
                weights: columns.weights.as_ref().map(|weights| weights[rows].to_vec()),
            };
            td_errors_in_turn.extend(learn(&mut learner, &mut in_turn, &one, &rule, before + number as u64).0);
        }
        let close = |left: &[f32], right: &[f32]| is_close(left, &wide(right), 1e-3);
        prop_assert!(close(&td_errors, &td_errors_in_turn));
        prop_assert!(close(&at_once.parameters, &in_turn.parameters));
        prop_assert!(close(&at_once.target, &in_turn.target));
        prop_assert!(close(&at_once.average, &in_turn.average));
    }

    #[test]
    fn the_same_round_gives_the_same_bits((sizes, rule, columns, numbers, before) in cases()) {
        let (mut first, mut second) = (numbers.clone(), numbers);
        let mut learner = Learner::new(shape_of(&sizes));
        let found = learn(&mut learner, &mut first, &columns, &rule, before);
        // With memory that an earlier round left, and with fresh memory.
        let again = learn(&mut Learner::new(shape_of(&sizes)), &mut second.clone(), &columns, &rule, before);
        let used = learn(&mut learner, &mut second, &columns, &rule, before);
        prop_assert_eq!(&found, &again);
        prop_assert_eq!(&found, &used);
        prop_assert_eq!(first, second);
    }
}

/// One observation number, no hidden layer, two actions: q = (w0 x + b0, w1 x + b1).
fn by_hand() -> (Learner, Numbers, Columns) {
    let learner = Learner::new(Shape::new(1, &[], 2).unwrap());
    let numbers = Numbers::new(vec![1.0, -1.0, 0.5, 0.0], vec![0.0, 2.0, 1.0, 3.0]);
    let columns = Columns {
        count: 1,
        size: 2,
        obs: vec![2.0, -1.0],
        actions: vec![0, 1],
        rewards: vec![1.0, -1.0],
        next_obs: vec![1.0, -2.0],
        discounts: vec![0.5, 0.0],
        weights: None,
    };
    (learner, numbers, columns)
}

#[test]
fn temporal_difference_errors_by_hand() {
    let (mut learner, mut numbers, columns) = by_hand();
    let (td_errors, stats) = learn(&mut learner, &mut numbers.clone(), &columns, &rule(), 0);
    // Taken: 1 * 2 + 0.5 = 2.5 and -1 * -1 + 0 = 1. Of next_obs 1 the online network likes action 0 (1.5 over -1),
    // which the target network values at 1: 1 + 0.5 * 1 = 1.5. The second transition terminated.
    assert_eq!(td_errors, [-1.0, -2.0]);
    // Huber: 0.5 and 1.5. The gradient is worked below.
    assert_eq!(
        stats,
        Stats {
            loss: 1.0,
            q_mean: 1.75,
            q_max: 2.5,
            grad_norm: 1.75f32.sqrt()
        }
    );
    // The target network's own choice is action 1, of 2 * 1 + 3 = 5.
    let (td_errors, _) = learn(
        &mut learner,
        &mut numbers,
        &columns,
        &Rule {
            is_double: false,
            ..rule()
        },
        0,
    );
    assert_eq!(td_errors, [1.0, -2.0]);
}

#[test]
fn the_gradient_and_adams_first_step_by_hand() {
    let (mut learner, mut numbers, columns) = by_hand();
    let adam = Adam {
        learning_rate: 0.25,
        beta1: 0.5,
        beta2: 0.75,
        epsilon: 0.0,
    };
    learn(
        &mut learner,
        &mut numbers,
        &columns,
        &Rule { adam, ..rule() },
        0,
    );
    // The gradients are both 1, with a weight of a half: w0 gets 2 / 2, w1 gets -1 / 2, the biases 1 / 2 each.
    assert_eq!(numbers.exp_avg, [0.5, -0.25, 0.25, 0.25]);
    assert_eq!(numbers.exp_avg_sq, [0.25, 0.0625, 0.0625, 0.0625]);
    // The first step is the learning rate against the gradient's sign.
    assert_eq!(numbers.parameters, [0.75, -0.75, 0.25, -0.25]);
}

#[test]
fn importance_weights_scale_the_losses() {
    let (mut learner, mut numbers, columns) = by_hand();
    let columns = Columns {
        weights: Some(vec![0.5, 0.0]),
        ..columns
    };
    let adam = Adam {
        beta1: 0.0,
        ..Adam::default()
    };
    let (td_errors, stats) = learn(
        &mut learner,
        &mut numbers,
        &columns,
        &Rule { adam, ..rule() },
        0,
    );
    assert_eq!(td_errors, [-1.0, -2.0]);
    assert_eq!(stats.loss, 0.125);
    assert_eq!(numbers.exp_avg, [0.5, 0.0, 0.25, 0.0]);
}

#[test]
fn the_gradient_is_scaled_down_to_its_largest_norm() {
    let (mut learner, mut numbers, columns) = by_hand();
    let rule = Rule {
        adam: Adam {
            beta1: 0.0,
            ..Adam::default()
        },
        max_grad_norm: Some(0.75),
        ..rule()
    };
    let (_, stats) = learn(&mut learner, &mut numbers, &columns, &rule, 0);
    assert_eq!(stats.grad_norm, 1.75f32.sqrt());
    let norm = numbers
        .exp_avg
        .iter()
        .map(|grad| grad * grad)
        .sum::<f32>()
        .sqrt();
    assert!((norm - 0.75).abs() < 1e-6);
}

#[test]
fn the_target_follows_when_its_update_comes() {
    let (mut learner, numbers, columns) = by_hand();
    let rule = Rule {
        target_update_every: 3,
        tau: 1.0,
        ..rule()
    };
    let (mut early, mut late) = (numbers.clone(), numbers.clone());
    learn(&mut learner, &mut early, &columns, &rule, 1);
    assert_eq!(early.target, numbers.target);
    learn(&mut learner, &mut late, &columns, &rule, 2);
    assert_eq!(late.target, late.parameters);
}

#[test]
fn not_a_number_spreads_and_infinity_is_an_error_of_one() {
    let (mut learner, numbers, columns) = by_hand();
    for reward in [f32::NAN, f32::INFINITY] {
        let (mut numbers, columns) = (
            numbers.clone(),
            Columns {
                rewards: vec![reward, 0.0],
                ..columns.clone()
            },
        );
        let (td_errors, stats) = learn(&mut learner, &mut numbers, &columns, &rule(), 0);
        assert_eq!(td_errors[0].is_nan(), reward.is_nan());
        assert!(!stats.loss.is_finite());
        // The Huber loss has a grad of 1 at infinity, so its gradient is finite.
        assert_eq!(numbers.parameters[0].is_nan(), reward.is_nan());
        assert!(numbers.parameters[1].is_finite());
    }
}

#[test]
fn a_round_of_no_minibatches_changes_nothing() {
    let (mut learner, numbers, _) = by_hand();
    let none = Columns {
        count: 0,
        size: 4,
        obs: vec![],
        actions: vec![],
        rewards: vec![],
        next_obs: vec![],
        discounts: vec![],
        weights: None,
    };
    let mut after = numbers.clone();
    assert_eq!(
        learn(&mut learner, &mut after, &none, &rule(), 0),
        (vec![], Stats::default())
    );
    assert_eq!(after, numbers);
}

#[test]
fn the_first_of_equal_actions_is_greedy_and_not_a_number_above_all() {
    let mut network = Network::new(Shape::new(1, &[], 3).unwrap());
    let mut act = |biases: [f32; 3]| {
        let mut action = [9];
        network
            .greedy_actions(&[&[0.0; 3], &biases[..]].concat(), &[1.0], &mut action)
            .unwrap();
        action[0]
    };
    assert_eq!(act([1.0, 2.0, 2.0]), 1);
    assert_eq!(act([f32::NEG_INFINITY; 3]), 0);
    assert_eq!(act([1.0, f32::NAN, f32::INFINITY]), 1);
}

#[test]
fn greedy_actions_have_the_largest_mean_over_quantiles() {
    let options = Options {
        outputs: 2,
        ..Options::default()
    };
    let mut network = Network::new(Shape::with_options(1, &[], 2, options).unwrap());
    let mut action = [9];
    network
        .greedy_actions(
            &[0.0, 0.0, 0.0, 0.0, 5.0, 0.0, 3.0, 2.5],
            &[1.0],
            &mut action,
        )
        .unwrap();
    assert_eq!(action, [1]);
}

#[test]
fn what_cannot_be_learned_is_refused_and_changes_nothing() {
    let (mut learner, mut numbers, columns) = by_hand();
    let before = numbers.clone();
    let mut refused = |columns: &Columns, rule: &Rule| {
        let mut td_errors = vec![0.0; 2];
        let error = learner.round(
            &mut numbers.state(),
            &columns.batch(),
            rule,
            Progress::default(),
            &mut td_errors,
        );
        assert_eq!(numbers, before);
        error.unwrap_err().to_string()
    };
    let columns_with = |change: fn(&mut Columns)| {
        let mut changed = columns.clone();
        change(&mut changed);
        changed
    };
    let rule = rule();
    let cases = [
        (
            refused(&columns_with(|c| c.actions[1] = 2), &rule),
            "actions must be from 0 to 1, got 2 at position 1",
        ),
        (
            refused(&columns_with(|c| c.actions[0] = -1), &rule),
            "actions must be from 0 to 1, got -1 at position 0",
        ),
        (
            refused(&columns_with(|c| c.obs.push(0.0)), &rule),
            "obs must have 2 numbers, got 3",
        ),
        (
            refused(&columns_with(|c| c.weights = Some(vec![])), &rule),
            "weights must have 2 numbers, got 0",
        ),
        (
            refused(&columns_with(|c| c.size = 0), &rule),
            "the minibatches' size must be at least 1, got 0",
        ),
        (
            refused(&columns, &Rule { tau: 2.0, ..rule }),
            "tau must be above 0 and at most 1, got 2",
        ),
        (
            refused(
                &columns,
                &Rule {
                    max_grad_norm: Some(0.0),
                    ..rule
                },
            ),
            "max_grad_norm must be above 0, got 0",
        ),
        (
            refused(
                &columns,
                &Rule {
                    target_update_every: 0,
                    ..rule
                },
            ),
            "target_update_every must be at least 1, got 0",
        ),
        (
            refused(
                &columns,
                &Rule {
                    average_updates: 0,
                    ..rule
                },
            ),
            "average_updates must be at least 1, got 0",
        ),
        (
            refused(
                &columns,
                &Rule {
                    adam: Adam {
                        beta1: 1.0,
                        ..rule.adam
                    },
                    ..rule
                },
            ),
            "beta1 must be at least 0 and below 1, got 1",
        ),
        (
            refused(
                &columns,
                &Rule {
                    adam: Adam {
                        learning_rate: f64::NAN,
                        ..rule.adam
                    },
                    ..rule
                },
            ),
            "learning_rate must be at least 0, got NaN",
        ),
    ];
    for (found, expected) in cases {
        assert_eq!(found, expected);
    }
}

#[test]
fn shapes_that_cannot_be_are_refused() {
    let zero = |name| Err(Error::Zero { name });
    assert_eq!(Shape::new(0, &[8], 2), zero("observation_size"));
    assert_eq!(Shape::new(4, &[8, 0], 2), zero("a hidden layer's width"));
    assert_eq!(Shape::new(4, &[8], 0), zero("num_actions"));
    assert_eq!(Shape::new(usize::MAX, &[8], 2), Err(Error::TooLarge));
    let options = Options {
        outputs: 3,
        ..Options::default()
    };
    let mut learner = Learner::new(Shape::with_options(1, &[], 2, options).unwrap());
    let mut numbers = Numbers::new(vec![0.0; 12], vec![0.0; 12]);
    let (_, _, columns) = by_hand();
    let error = learner.round(
        &mut numbers.state(),
        &columns.batch(),
        &rule(),
        Progress::default(),
        &mut [0.0; 2],
    );
    assert_eq!(error, Err(Error::NotOneOutput { outputs: 3 }));
}

#[test]
fn parameters_are_counted_in_every_layer() {
    assert_eq!(
        Shape::new(6, &[128, 128], 3).unwrap().num_parameters(),
        6 * 128 + 128 + 128 * 128 + 128 + 128 * 3 + 3
    );
    let options = Options {
        outputs: 5,
        is_dueling: true,
        has_layer_norm: true,
    };
    let shape = Shape::with_options(2, &[7], 3, options).unwrap();
    assert_eq!(
        (shape.num_parameters(), shape.prediction_size()),
        (2 * 7 + 7 + 14 + (7 + 1) * 20, 15)
    );
}
