//! Traces out of a dataset and into one, in the shapes that other programs read and write.
//!
//! | format | rows | read by |
//! |---|---|---|
//! | `parquet`, `jsonl` | one per sample, every column of the shards | anything |
//! | `messages` | one per sample: `messages` with role and content | TRL, axolotl, Mixture-of-Thoughts |
//! | `sharegpt` | one per sample: `conversations` with from and value | LLaMA-Factory, OpenThoughts |
//! | `prompt-completion` | one per sample: `prompt` and `completion`, both as messages | TRL |
//! | `openr1` | one per problem: `generations` and what was found of each | OpenR1-Math |
//! | `axolotl-kd` | one per sample: `messages` and `logprobs` of its tokens | axolotl's KD plugin |

mod export;
mod foreign;
mod import;
mod shapes;
mod think;

#[cfg(test)]
mod tests;

pub use export::{Export, Exported, export};
pub use import::{Import, Imported, Tokens, import};
pub use think::Think;

use serde::{Deserialize, Serialize};

/// A shape of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    Parquet,
    Jsonl,
    Messages,
    Sharegpt,
    PromptCompletion,
    Openr1,
    AxolotlKd,
}

impl Format {
    pub const ALL: [Self; 7] = [
        Self::Parquet,
        Self::Jsonl,
        Self::Messages,
        Self::Sharegpt,
        Self::PromptCompletion,
        Self::Openr1,
        Self::AxolotlKd,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Jsonl => "jsonl",
            Self::Messages => "messages",
            Self::Sharegpt => "sharegpt",
            Self::PromptCompletion => "prompt-completion",
            Self::Openr1 => "openr1",
            Self::AxolotlKd => "axolotl-kd",
        }
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
