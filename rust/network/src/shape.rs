//! The sizes of a network, and the positions of its parameters.

use std::ops::Range;

use crate::Error;

/// The sizes of a multilayer perceptron from observations to action values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    observation_size: usize,
    num_actions: usize,
    outputs: usize,
    is_dueling: bool,
    layers: Vec<Layer>,
}

/// A linear layer, and the positions of its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layer {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// (outputs, inputs), row-major.
    pub(crate) weight: Range<usize>,
    /// (outputs,)
    pub(crate) bias: Range<usize>,
    pub(crate) norm: Option<Norm>,
}

/// The positions of a layer normalisation's parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Norm {
    pub(crate) weight: Range<usize>,
    pub(crate) bias: Range<usize>,
}

impl Shape {
    /// A network with one value per action, without dueling heads or layer normalisation.
    ///
    /// # Errors
    /// A size is 0, or the number of parameters overflows.
    pub fn new(
        observation_size: usize,
        hidden: &[usize],
        num_actions: usize,
    ) -> Result<Self, Error> {
        Self::with_options(observation_size, hidden, num_actions, Options::default())
    }

    /// A network with `options`.
    ///
    /// # Errors
    /// Those of [`Shape::new`], or `options.outputs` is 0.
    pub fn with_options(
        observation_size: usize,
        hidden: &[usize],
        num_actions: usize,
        options: Options,
    ) -> Result<Self, Error> {
        let Options {
            outputs,
            is_dueling,
            has_layer_norm,
        } = options;
        let sizes = [
            ("observation_size", observation_size),
            ("num_actions", num_actions),
            ("outputs", outputs),
            (
                "a hidden layer's width",
                hidden.iter().copied().min().unwrap_or(1),
            ),
        ];
        if let Some(&(name, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Err(Error::Zero { name });
        }
        let values = num_actions
            .checked_add(usize::from(is_dueling))
            .and_then(|actions| actions.checked_mul(outputs))
            .ok_or(Error::TooLarge)?;
        let widths: Vec<usize> = [&[observation_size], hidden, &[values]].concat();
        let mut end = 0;
        let mut layers = Vec::with_capacity(hidden.len() + 1);
        for (number, pair) in widths.windows(2).enumerate() {
            let (inputs, outputs) = (pair[0], pair[1]);
            let weight = take(
                &mut end,
                inputs.checked_mul(outputs).ok_or(Error::TooLarge)?,
            )?;
            let bias = take(&mut end, outputs)?;
            let norm = if has_layer_norm && number < hidden.len() {
                Some(Norm {
                    weight: take(&mut end, outputs)?,
                    bias: take(&mut end, outputs)?,
                })
            } else {
                None
            };
            layers.push(Layer {
                inputs,
                outputs,
                weight,
                bias,
                norm,
            });
        }
        Ok(Self {
            observation_size,
            num_actions,
            outputs,
            is_dueling,
            layers,
        })
    }

    /// Numbers in one observation.
    pub fn observation_size(&self) -> usize {
        self.observation_size
    }

    /// Actions are the integers from 0 to `num_actions - 1`.
    pub fn num_actions(&self) -> usize {
        self.num_actions
    }

    /// Numbers per action.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Numbers in the predictions for one observation: `num_actions * outputs`.
    pub fn prediction_size(&self) -> usize {
        self.num_actions * self.outputs
    }

    /// Number of parameters of all layers.
    pub fn num_parameters(&self) -> usize {
        self.last_layer().bias.end
    }

    pub(crate) fn is_dueling(&self) -> bool {
        self.is_dueling
    }

    pub(crate) fn layers(&self) -> &[Layer] {
        &self.layers
    }

    pub(crate) fn hidden_layers(&self) -> &[Layer] {
        &self.layers[..self.layers.len() - 1]
    }

    pub(crate) fn last_layer(&self) -> &Layer {
        &self.layers[self.layers.len() - 1]
    }
}

/// Options of a network besides its sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Numbers per action: 1 for its value, or the number of quantiles.
    pub outputs: usize,
    /// A state value and advantages with a mean of 0 (Wang et al. 2016); the last layer has the value first.
    pub is_dueling: bool,
    /// Layer normalisation between each hidden layer and its ReLU (Ba et al. 2016), with a learned scale and shift.
    pub has_layer_norm: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            outputs: 1,
            is_dueling: false,
            has_layer_norm: false,
        }
    }
}

fn take(end: &mut usize, length: usize) -> Result<Range<usize>, Error> {
    let start = *end;
    // A slice has at most isize::MAX bytes.
    let limit = isize::MAX as usize / size_of::<f32>();
    *end = start
        .checked_add(length)
        .filter(|&end| end <= limit)
        .ok_or(Error::TooLarge)?;
    Ok(start..*end)
}
