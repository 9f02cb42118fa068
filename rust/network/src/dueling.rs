//! State value and advantages (Wang et al. 2016): the last layer's outputs, and the answers made of them.
//!
//! A row of outputs holds `n` numbers of the value, then `n` of each action's advantage; one of answers, `n` of each
//! action: value + advantage - mean advantage.

use crate::vectorised::vectorised;

vectorised! {
    /// Make answers (rows, actions * n) of outputs (rows, (actions + 1) * n).
    pub(crate) fn answers_of(outputs: &[f32], n: usize, actions: usize, answers: &mut [f32]) {
        let share = 1.0 / actions as f32;
        let rows = outputs.chunks_exact((actions + 1) * n).zip(answers.chunks_exact_mut(actions * n));
        for (outputs, answers) in rows {
            let (value, advantages) = outputs.split_at(n);
            // The first action's answer comes last: until then its place holds what all of them share.
            let (base, answers) = answers.split_at_mut(n);
            base.copy_from_slice(value);
            for advantages in advantages.chunks_exact(n) {
                for (base, advantage) in base.iter_mut().zip(advantages) {
                    *base -= share * advantage;
                }
            }
            let (first, advantages) = advantages.split_at(n);
            for (answers, advantages) in answers.chunks_exact_mut(n).zip(advantages.chunks_exact(n)) {
                for ((answer, &base), advantage) in answers.iter_mut().zip(&*base).zip(advantages) {
                    *answer = base + advantage;
                }
            }
            for (base, advantage) in base.iter_mut().zip(first) {
                *base += advantage;
            }
        }
    }

    /// Make the gradient by the outputs of that by the answers.
    pub(crate) fn gradient_of(by_answers: &[f32], n: usize, actions: usize, by_outputs: &mut [f32]) {
        let share = 1.0 / actions as f32;
        let rows = by_answers.chunks_exact(actions * n).zip(by_outputs.chunks_exact_mut((actions + 1) * n));
        for (by_answers, by_outputs) in rows {
            let (by_value, by_advantages) = by_outputs.split_at_mut(n);
            by_value.fill(0.0);
            for by_answers in by_answers.chunks_exact(n) {
                for (by_value, by_answer) in by_value.iter_mut().zip(by_answers) {
                    *by_value += by_answer;
                }
            }
            for (by_advantages, by_answers) in by_advantages.chunks_exact_mut(n).zip(by_answers.chunks_exact(n)) {
                for ((by_advantage, by_answer), by_value) in by_advantages.iter_mut().zip(by_answers).zip(&*by_value) {
                    *by_advantage = by_answer - share * by_value;
                }
            }
        }
    }
}
