//! How many floating-point operations a model's matrix products need: a count from shapes, not from a clock.
//!
//! Counted are the products with the weights that a token reads (of experts only those it is sent to), the head only where
//! logits are asked for, and attention's two products over the tokens that each one looks at. Not counted are norms,
//! rotations, softmax and the like, and what an implementation computes twice, or in another form, to save memory.

use crate::inventory::Part;

/// Floating-point operations; a multiplication with its addition is two.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Operations {
    /// For each token that goes through the layers.
    pub token: f64,
    /// For each row of logits.
    pub row: f64,
    /// For each pair of a token and one that it looks at, itself among them.
    pub pair: f64,
}

impl Operations {
    /// The way forward of a model of these parts, multi-token prediction left out, whose head is [v, d] = `head` and whose
    /// attention multiplies `attended` numbers for each pair, all layers, heads, keys and values together.
    pub fn forward(parts: impl Iterator<Item = Part>, head: (usize, usize), attended: usize) -> Self {
        let row = 2.0 * head.0 as f64 * head.1 as f64;
        // The head, or the embedding tied to it, is the one matrix among the parts that not every token needs.
        Self { token: products(parts.filter(|part| !part.ahead)) - row, row, pair: 2.0 * attended as f64 }
    }

    /// One sequence of so many tokens, with logits at `rows` of them.
    pub fn sequence(&self, tokens: usize, rows: usize) -> f64 {
        let n = tokens as f64;
        self.token * n + self.row * rows as f64 + self.pair * n * (n + 1.0) / 2.0
    }

    /// A completion of `written` tokens, drawn one after the other behind a prompt; the last is not read any more.
    pub fn completion(&self, prompt: usize, written: usize) -> f64 {
        if written == 0 { 0.0 } else { self.sequence(prompt + written - 1, written) }
    }

    /// Forward and back where everything is trained: the gradients of both factors of each product.
    pub fn trained(&self) -> Self {
        Self { token: 3.0 * self.token, row: 3.0 * self.row, pair: 3.0 * self.pair }
    }

    /// Forward and back where the weights stay as they are: attention has no weights.
    pub fn passed_through(&self) -> Self {
        Self { token: 2.0 * self.token, row: 2.0 * self.row, pair: 3.0 * self.pair }
    }
}

/// Operations of one token's products with the matrices among `parts`.
pub fn products(parts: impl Iterator<Item = Part>) -> f64 {
    let matrices = parts.filter(|part| part.shape.len() > 1);
    matrices.map(|part| part.shape.iter().fold(2.0 * part.used as f64, |product, &side| product * side as f64)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_counted() {
        let parts = [
            Part { used: 0, ..Part::one("embed", &[10, 4]) },
            Part::one("head", &[10, 4]),
            Part { copies: 6, used: 2, ..Part::one("experts.*.up", &[3, 4]) },
            Part::one("norm", &[4]),
            Part { ahead: true, ..Part::one("ahead", &[7, 7]) },
        ];
        let forward = Operations::forward(parts.into_iter(), (10, 4), 5);
        assert_eq!(forward, Operations { token: 48.0, row: 80.0, pair: 10.0 });
        // Three tokens look at 1 + 2 + 3.
        assert_eq!(forward.sequence(3, 1), 3.0 * 48.0 + 80.0 + 60.0);
        assert_eq!(forward.completion(2, 2), forward.sequence(3, 2));
        assert_eq!(forward.completion(2, 0), 0.0);
        assert_eq!(forward.trained().sequence(3, 1), 3.0 * forward.sequence(3, 1));
    }
}
