//! What a model is made of, told by its config alone: every tensor's name and shape, and the totals that follow.
//!
//! A checkpoint's header is held against this before any number is read (`Checkpoint::check`), and a folder without
//! weights still has its sizes.

/// Tensors of one kind: one, or one for each expert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The published name; `*` stands for the number of the expert.
    pub name: String,
    pub shape: Vec<usize>,
    /// How many there are.
    pub copies: usize,
    /// How many of them a token reads: none of the input embedding (it takes one row), all others once, experts as
    /// many as the router picks.
    pub used: usize,
    /// Belongs to the multi-token-prediction module, which published totals leave out.
    pub ahead: bool,
}

impl Part {
    /// A tensor that every token reads.
    pub fn one(name: impl Into<String>, shape: &[usize]) -> Self {
        Self { name: name.into(), shape: shape.into(), copies: 1, used: 1, ahead: false }
    }

    /// The tensors' names.
    pub fn names(&self) -> impl Iterator<Item = String> + '_ {
        (0..self.copies).map(|expert| self.name.replace('*', &expert.to_string()))
    }

    fn numbers(&self, copies: usize) -> u64 {
        self.shape.iter().fold(copies as u64, |product, &side| product.saturating_mul(side as u64))
    }
}

/// Parameters by what they are for. Sizes beyond what fits stay at the largest number.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// The model itself, experts in full.
    pub total: u64,
    /// What one token reads: everything but the input embedding and the experts it is not sent to.
    pub active: u64,
    /// The multi-token-prediction module, without the embedding and head that it shares.
    pub ahead: u64,
}

impl Totals {
    pub fn of(parts: impl Iterator<Item = Part>) -> Self {
        parts.fold(Self::default(), |sums, part| {
            let (all, used) = (part.numbers(part.copies), part.numbers(part.used));
            match part.ahead {
                true => Self { ahead: sums.ahead.saturating_add(all), ..sums },
                false => {
                    Self { total: sums.total.saturating_add(all), active: sums.active.saturating_add(used), ..sums }
                }
            }
        })
    }
}

/// Whether a tensor is a table that follows from the config, which early checkpoints hold and nobody reads.
pub fn is_table(name: &str) -> bool {
    name.ends_with(".rotary_emb.inv_freq")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn experts_count_in_full_and_read_in_part() {
        let parts = [
            Part { used: 0, ..Part::one("embed", &[10, 4]) },
            Part { copies: 6, used: 2, ..Part::one("experts.*.up", &[3, 4]) },
            Part { ahead: true, ..Part::one("ahead", &[7]) },
        ];
        assert_eq!(parts[1].names().last().as_deref(), Some("experts.5.up"));
        let totals = Totals::of(parts.into_iter());
        assert_eq!(totals, Totals { total: 40 + 72, active: 24, ahead: 7 });
    }

    #[test]
    fn absurd_sizes_do_not_overflow() {
        let part = Part { copies: usize::MAX, ..Part::one("x", &[usize::MAX, 2]) };
        assert_eq!(Totals::of([part.clone(), part].into_iter()).total, u64::MAX);
    }
}
