//! The learning rule once more, in float64, one transition and one number at a time.

use acro_network::{Adam, Loss, Options, Rule};

/// The sizes of a network.
#[derive(Clone, Debug)]
pub(crate) struct Sizes {
    pub(crate) observation_size: usize,
    pub(crate) hidden: Vec<usize>,
    pub(crate) num_actions: usize,
    pub(crate) options: Options,
}

/// One linear layer and what is after it.
struct Linear {
    weight: Vec<Vec<f64>>,
    bias: Vec<f64>,
    norm: Option<(Vec<f64>, Vec<f64>)>,
}

/// What one layer saw.
struct Seen {
    inputs: Vec<f64>,
    normalised: Vec<f64>,
    scale: f64,
    outputs: Vec<f64>,
}

impl Sizes {
    fn layers(&self, parameters: &[f64]) -> Vec<Linear> {
        let last = (self.num_actions + usize::from(self.options.is_dueling)) * self.options.outputs;
        let widths = [&[self.observation_size], &self.hidden[..], &[last]].concat();
        let mut rest = parameters.iter().copied();
        let mut take = |count: usize| -> Vec<f64> { rest.by_ref().take(count).collect() };
        let mut layers = Vec::new();
        for (number, pair) in widths.windows(2).enumerate() {
            let weight = (0..pair[1]).map(|_| take(pair[0])).collect();
            let bias = take(pair[1]);
            let is_normalised = self.options.has_layer_norm && number < self.hidden.len();
            let norm = is_normalised.then(|| (take(pair[1]), take(pair[1])));
            layers.push(Linear { weight, bias, norm });
        }
        layers
    }

    /// `predictions[action][number]`, and what each layer saw.
    fn look(&self, layers: &[Linear], obs: &[f64]) -> (Vec<Vec<f64>>, Vec<Seen>) {
        let mut seen: Vec<Seen> = Vec::new();
        let mut inputs = obs.to_vec();
        for (number, layer) in layers.iter().enumerate() {
            let linear: Vec<f64> = layer
                .weight
                .iter()
                .zip(&layer.bias)
                .map(|(row, bias)| dot(row, &inputs) + bias)
                .collect();
            let (mut normalised, mut scale, mut outputs) = (linear.clone(), 1.0, linear);
            if let Some((weight, bias)) = &layer.norm {
                let n = outputs.len() as f64;
                let mean = outputs.iter().sum::<f64>() / n;
                let variance = outputs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
                scale = 1.0 / (variance + 1e-5).sqrt();
                normalised = outputs.iter().map(|x| (x - mean) * scale).collect();
                outputs = (0..outputs.len())
                    .map(|i| normalised[i] * weight[i] + bias[i])
                    .collect();
            }
            if number + 1 < layers.len() {
                outputs.iter_mut().for_each(|x| *x = x.max(0.0));
            }
            let next = outputs.clone();
            seen.push(Seen {
                inputs,
                normalised,
                scale,
                outputs,
            });
            inputs = next;
        }
        let groups: Vec<&[f64]> = inputs.chunks(self.options.outputs).collect();
        let predictions = if self.options.is_dueling {
            let advantages = &groups[1..];
            let number = |action: usize, place: usize| {
                let mean = advantages.iter().map(|group| group[place]).sum::<f64>()
                    / self.num_actions as f64;
                groups[0][place] + advantages[action][place] - mean
            };
            let numbers = |action| {
                (0..self.options.outputs)
                    .map(|place| number(action, place))
                    .collect()
            };
            (0..self.num_actions).map(numbers).collect()
        } else {
            groups.iter().map(|group| group.to_vec()).collect()
        };
        (predictions, seen)
    }

    pub(crate) fn predictions(&self, parameters: &[f64], obs: &[f64]) -> Vec<Vec<f64>> {
        self.look(&self.layers(parameters), obs).0
    }

    /// The gradient of `sum(grads * predictions[action])`, in the parameters' order.
    fn gradient(&self, parameters: &[f64], obs: &[f64], action: usize, grads: &[f64]) -> Vec<f64> {
        let layers = self.layers(parameters);
        let (_, seen) = self.look(&layers, obs);
        let n = self.options.outputs;
        let groups = self.num_actions + usize::from(self.options.is_dueling);
        let mut above: Vec<f64> = (0..groups * n)
            .map(|place| {
                let grad = grads[place % n];
                match (self.options.is_dueling, place / n) {
                    (true, 0) => grad,
                    (true, group) => {
                        grad * (f64::from(group - 1 == action) - 1.0 / self.num_actions as f64)
                    }
                    (false, group) => grad * f64::from(group == action),
                }
            })
            .collect();
        let mut parts = Vec::new();
        for (number, (layer, seen)) in layers.iter().zip(&seen).enumerate().rev() {
            if number + 1 < layers.len() {
                for (grad, output) in above.iter_mut().zip(&seen.outputs) {
                    *grad *= f64::from(*output > 0.0);
                }
            }
            if let Some((weight, _)) = &layer.norm {
                let n = above.len() as f64;
                parts.push(above.clone());
                parts.push(
                    above
                        .iter()
                        .zip(&seen.normalised)
                        .map(|(grad, x)| grad * x)
                        .collect(),
                );
                let scaled: Vec<f64> = above
                    .iter()
                    .zip(weight)
                    .map(|(grad, weight)| grad * weight)
                    .collect();
                let mean = scaled.iter().sum::<f64>() / n;
                let along = dot(&scaled, &seen.normalised) / n;
                above = scaled
                    .iter()
                    .zip(&seen.normalised)
                    .map(|(s, x)| seen.scale * (s - mean - x * along))
                    .collect();
            }
            parts.push(above.clone());
            parts.push(
                above
                    .iter()
                    .flat_map(|grad| seen.inputs.iter().map(move |input| grad * input))
                    .collect(),
            );
            above = (0..seen.inputs.len())
                .map(|i| {
                    (0..above.len())
                        .map(|o| above[o] * layer.weight[o][i])
                        .sum()
                })
                .collect();
        }
        parts.reverse();
        parts.concat()
    }
}

/// One transition.
#[derive(Clone, Debug)]
pub(crate) struct Transition {
    pub(crate) obs: Vec<f64>,
    pub(crate) action: usize,
    pub(crate) reward: f64,
    pub(crate) next_obs: Vec<f64>,
    pub(crate) discount: f64,
    pub(crate) weight: f64,
}

/// All that a round changes.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) sizes: Sizes,
    pub(crate) parameters: Vec<f64>,
    pub(crate) exp_avg: Vec<f64>,
    pub(crate) exp_avg_sq: Vec<f64>,
    pub(crate) target: Vec<f64>,
    pub(crate) average: Vec<f64>,
    pub(crate) updates: u64,
}

impl Model {
    fn td_target(&self, rule: &Rule, transition: &Transition) -> Vec<f64> {
        let next = self.sizes.predictions(&self.target, &transition.next_obs);
        let chooser = if rule.is_double {
            &self.parameters
        } else {
            &self.target
        };
        let chooser: Vec<f64> = self
            .sizes
            .predictions(chooser, &transition.next_obs)
            .iter()
            .map(|row| mean(row))
            .collect();
        let best = (0..chooser.len()).fold(0, |best, action| {
            if chooser[action] > chooser[best] {
                action
            } else {
                best
            }
        });
        next[best]
            .iter()
            .map(|next| transition.reward + transition.discount * next)
            .collect()
    }

    /// The loss of a minibatch whose targets are known.
    pub(crate) fn loss(
        &self,
        rule: &Rule,
        parameters: &[f64],
        minibatch: &[Transition],
        targets: &[Vec<f64>],
    ) -> f64 {
        let losses = minibatch.iter().zip(targets).map(|(transition, target)| {
            let taken = &self.sizes.predictions(parameters, &transition.obs)[transition.action];
            transition.weight * loss_and_grads(rule.loss, taken, target).0
        });
        losses.sum::<f64>() / minibatch.len() as f64
    }

    /// The targets, the gradient and the temporal-difference errors of a minibatch.
    pub(crate) fn differentiate(
        &self,
        rule: &Rule,
        minibatch: &[Transition],
    ) -> (Vec<Vec<f64>>, Vec<f64>, Vec<f64>) {
        let targets: Vec<_> = minibatch
            .iter()
            .map(|transition| self.td_target(rule, transition))
            .collect();
        let mut gradient = vec![0.0; self.parameters.len()];
        let mut td_errors = Vec::new();
        for (transition, target) in minibatch.iter().zip(&targets) {
            let taken =
                &self.sizes.predictions(&self.parameters, &transition.obs)[transition.action];
            let share = transition.weight / minibatch.len() as f64;
            let grads: Vec<f64> = loss_and_grads(rule.loss, taken, target)
                .1
                .iter()
                .map(|grad| share * grad)
                .collect();
            let own =
                self.sizes
                    .gradient(&self.parameters, &transition.obs, transition.action, &grads);
            gradient
                .iter_mut()
                .zip(own)
                .for_each(|(sum, own)| *sum += own);
            td_errors.push(mean(target) - mean(taken));
        }
        (targets, gradient, td_errors)
    }

    /// One round; the temporal-difference errors.
    pub(crate) fn round(&mut self, rule: &Rule, minibatches: &[Vec<Transition>]) -> Vec<f64> {
        let mut all_td_errors = Vec::new();
        for minibatch in minibatches {
            let (_, mut gradient, td_errors) = self.differentiate(rule, minibatch);
            all_td_errors.extend(td_errors);
            let norm = dot(&gradient, &gradient).sqrt();
            if let Some(limit) = rule
                .max_grad_norm
                .map(f64::from)
                .filter(|&limit| norm > limit)
            {
                gradient.iter_mut().for_each(|grad| *grad *= limit / norm);
            }
            self.updates += 1;
            self.step(&rule.adam, &gradient);
            if self.updates.is_multiple_of(rule.target_update_every) {
                mix(&mut self.target, &self.parameters, rule.tau.into());
            }
        }
        let kept = 1.0 - 1.0 / rule.average_updates as f64;
        mix(
            &mut self.average,
            &self.parameters,
            1.0 - kept.powi(minibatches.len() as i32),
        );
        all_td_errors
    }

    fn step(&mut self, adam: &Adam, gradient: &[f64]) {
        let step = self.updates as i32;
        for (i, grad) in gradient.iter().enumerate() {
            self.exp_avg[i] = adam.beta1 * self.exp_avg[i] + (1.0 - adam.beta1) * grad;
            self.exp_avg_sq[i] = adam.beta2 * self.exp_avg_sq[i] + (1.0 - adam.beta2) * grad * grad;
            let mean = self.exp_avg[i] / (1.0 - adam.beta1.powi(step));
            let square = self.exp_avg_sq[i] / (1.0 - adam.beta2.powi(step));
            self.parameters[i] -= adam.learning_rate * mean / (square.sqrt() + adam.epsilon);
        }
    }
}

fn loss_and_grads(loss: Loss, taken: &[f64], target: &[f64]) -> (f64, Vec<f64>) {
    let huber = |error: f64| {
        if error.abs() < 1.0 {
            0.5 * error * error
        } else {
            error.abs() - 0.5
        }
    };
    match loss {
        Loss::Squared => (
            (taken[0] - target[0]).powi(2),
            vec![2.0 * (taken[0] - target[0])],
        ),
        Loss::Huber => (
            huber(taken[0] - target[0]),
            vec![(taken[0] - target[0]).clamp(-1.0, 1.0)],
        ),
        _ => {
            let n = taken.len() as f64;
            let (mut total, mut grads) = (0.0, vec![0.0; taken.len()]);
            for (i, own) in taken.iter().enumerate() {
                let midpoint = (i as f64 + 0.5) / n;
                for target in target {
                    let weight = (midpoint - f64::from(target < own)).abs();
                    total += weight * huber(target - own) / n;
                    grads[i] += weight * (own - target).clamp(-1.0, 1.0) / n;
                }
            }
            (total, grads)
        }
    }
}

fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter()
        .zip(right)
        .map(|(left, right)| left * right)
        .sum()
}

fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len() as f64
}

fn mix(followers: &mut [f64], leaders: &[f64], share: f64) {
    followers
        .iter_mut()
        .zip(leaders)
        .for_each(|(follower, leader)| *follower += share * (leader - *follower));
}
