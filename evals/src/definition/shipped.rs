//! The definitions that come with the program.

use super::Definition;
use crate::Error;

/// The files of `evals/benchmarks/`, by the names that they have there.
pub const SHIPPED: [(&str, &str); 11] = [
    ("gsm8k", include_str!("../../benchmarks/gsm8k.toml")),
    ("gsm8k-harness", include_str!("../../benchmarks/gsm8k-harness.toml")),
    ("math-500", include_str!("../../benchmarks/math-500.toml")),
    ("aime-24", include_str!("../../benchmarks/aime-24.toml")),
    ("aime-25", include_str!("../../benchmarks/aime-25.toml")),
    ("gpqa-diamond", include_str!("../../benchmarks/gpqa-diamond.toml")),
    ("svamp", include_str!("../../benchmarks/svamp.toml")),
    ("mmlu-harness", include_str!("../../benchmarks/mmlu-harness.toml")),
    ("arc-easy", include_str!("../../benchmarks/arc-easy.toml")),
    ("arc-challenge", include_str!("../../benchmarks/arc-challenge.toml")),
    ("hellaswag", include_str!("../../benchmarks/hellaswag.toml")),
];

/// The definition called `name`, if one is.
pub fn shipped(name: &str) -> Option<Result<Definition, Error>> {
    let (name, text) = SHIPPED.iter().find(|(shipped, _)| *shipped == name)?;
    Some(Definition::parse(text, name))
}
