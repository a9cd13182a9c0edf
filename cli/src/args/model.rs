//! The command line of `retort model`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub enum Model {
    /// Architecture, parameters (total and active), memory per token of context
    ///
    /// A folder that holds only `config.json` is enough; where there are weights, they must agree with it.
    #[command(after_help = "Example:\n  retort model inspect runs/teacher --json")]
    Inspect {
        /// Model folder, `hub:org/name[@revision]`, or `embedded`
        model: String,
        /// One JSON document instead of text
        #[arg(long)]
        json: bool,
    },
    /// The same model in another number format
    #[command(after_help = "Example:\n  retort model convert runs/teacher --to fp8 --out runs/teacher-fp8")]
    Convert {
        /// Model folder, `hub:org/name` or `embedded`
        model: String,
        /// The format of projections and experts
        #[arg(long, value_enum)]
        to: crate::commands::To,
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// An adapter (LoRA, in PEFT's layout) added into its base model, as one model
    #[command(after_help = "Example:\n  retort model merge runs/adapter --out runs/student")]
    Merge {
        /// Folder with `adapter_config.json` and `adapter_model.safetensors`
        adapter: PathBuf,
        /// The base model, where it is not the one that the adapter names
        #[arg(long, value_name = "MODEL")]
        base: Option<String>,
        /// The format of the weights; without it, that of the base
        #[arg(long, value_enum)]
        to: Option<crate::commands::To>,
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Logits [t, v] in f32 for given token ids, as a safetensors file with the key `logits`
    #[command(after_help = "Example:\n  retort model logits runs/student --tokens 1,2,3 --out logits.safetensors")]
    Logits {
        /// Model folder, `hub:org/name[@revision]`, or `embedded`
        model: String,
        /// Token ids, separated by commas
        #[arg(long, value_delimiter = ',', required = true)]
        tokens: Vec<u32>,
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        #[command(flatten)]
        on: crate::device::On,
    },
    /// Complete one prompt, printed as the model writes it
    #[command(after_help = "Example:\n  retort model generate embedded --prompt 'Find 3802+9562.' --greedy")]
    Generate(Generate),
}

#[derive(Debug, Args)]
pub struct Generate {
    #[command(flatten)]
    pub place: crate::device::Place,
    /// Model folder, `hub:org/name[@revision]`, or `embedded`
    pub model: String,
    #[arg(long)]
    pub prompt: String,
    /// Give the prompt to the model as it is, without the chat template and without a BOS token
    #[arg(long)]
    pub raw: bool,
    /// Print the prompt's token ids and their text, one token to a line, and stop
    #[arg(long)]
    pub show_prompt: bool,
    /// Always take the likeliest token
    #[arg(long, conflicts_with_all = ["temperature", "top_p"])]
    pub greedy: bool,
    #[arg(long, allow_negative_numbers = true, default_value_t = 0.6)]
    pub temperature: f64,
    #[arg(long, allow_negative_numbers = true, default_value_t = 0.95)]
    pub top_p: f64,
    #[arg(long, default_value_t = 512)]
    pub max_tokens: usize,
    /// Draw from this many of the likeliest tokens
    #[arg(long, value_name = "K")]
    pub top_k: Option<usize>,
    /// Draw from tokens at least this likely, relative to the likeliest
    #[arg(long, allow_negative_numbers = true, value_name = "P", default_value_t = 0.0)]
    pub min_p: f64,
    /// Above 1: make tokens less likely that the prompt or the completion already holds
    #[arg(long, allow_negative_numbers = true, value_name = "R", default_value_t = 1.0)]
    pub repetition_penalty: f64,
    /// Add to the logit of a token, from -100 (never) to 100; may be given several times
    #[arg(long, value_name = "ID=BIAS", value_parser = bias, allow_hyphen_values = true)]
    pub logit_bias: Vec<(u32, f64)>,
    /// End before this text; may be given several times
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub stop: Vec<String>,
    /// Close the thinking block after this many tokens
    #[arg(long, value_name = "TOKENS")]
    pub thinking_budget: Option<usize>,
    /// At the end of the thinking budget, end the completion in place of closing the thinking block
    #[arg(long, requires = "thinking_budget")]
    pub end_at_budget: bool,
    /// End a completion that wrote the same 8 to 1024 tokens this many times, back to back
    #[arg(long, value_name = "N")]
    pub loop_repeats: Option<usize>,
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Do not let the model's multi-token-prediction module guess ahead; the tokens are the same, the time is not
    #[arg(long)]
    pub no_draft: bool,
}

/// `ID=BIAS`
fn bias(text: &str) -> Result<(u32, f64), String> {
    let parsed = text.split_once('=').and_then(|(id, bias)| Some((id.parse().ok()?, bias.parse().ok()?)));
    parsed.ok_or_else(|| "write it as ID=BIAS, such as 11=-100".into())
}
