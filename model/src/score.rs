//! Teacher forcing: what a model says about text that is given, without drawing any of it.
//!
//! A caller hands over sequences of token ids and says what it wants to know of every token; the answer comes in chunks
//! of rows, so that nobody holds more than a chunk. All log-probabilities are raw: temperature 1, before any sampling
//! setting. Like generation, a row depends on the weights and its own sequence alone.
//!
//! ```text
//! model.score(&[Given { prompt: &[1, 5], text: &[8, 9] }], Want::TopK(20), &mut |chunk| { ... })
//! ```
//! gives two rows: what the model expects after `1 5`, where 8 came, and after `1 5 8`, where 9 came.

mod branches;
mod prefill;

pub use prefill::Scorer;

use crate::Error;
use crate::generate::JobError;
use crate::operations::Operations;
use candle_core::Tensor;
use std::fmt;

/// One sequence: row i of its answer is about `text[i]`, after `prompt` and `text[..i]`.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// Read first and not asked about; at least one token. To have a whole document scored, give its first token here.
    pub prompt: &'a [u32],
    pub text: &'a [u32],
}

/// Texts that may follow one prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Branches<'a> {
    /// At least one token.
    pub prompt: &'a [u32],
    pub texts: &'a [&'a [u32]],
}

impl<'a> Branches<'a> {
    /// Each of them as a sequence of its own.
    pub fn sequences(&self) -> impl Iterator<Item = Given<'a>> + use<'a> {
        let Self { prompt, texts } = *self;
        texts.iter().map(move |text| Given { prompt, text })
    }
}

/// What is wanted of every row, cheapest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// The log-probability of the token that came.
    Sampled,
    /// That, and the k likeliest tokens with the exact logsumexp.
    TopK(usize),
    /// The logits of the whole vocabulary.
    Full,
    /// The final hidden state, whose product with the output head is the logits.
    Hidden,
}

/// What an implementation can give. A caller that needs more says so before any work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    pub sampled: bool,
    /// The most tokens per row; 0 for none.
    pub top_k: usize,
    pub full: bool,
    /// The width of its hidden states.
    pub hidden: Option<usize>,
}

impl Offer {
    /// Whether `want` is among it.
    pub fn covers(&self, want: Want) -> bool {
        match want {
            Want::Sampled => self.sampled,
            Want::TopK(k) => k <= self.top_k,
            Want::Full => self.full,
            Want::Hidden => self.hidden.is_some(),
        }
    }
}

impl fmt::Display for Want {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sampled => write!(f, "the log-probability of every token"),
            Self::TopK(k) => write!(f, "the {k} likeliest tokens"),
            Self::Full => write!(f, "its whole distribution"),
            Self::Hidden => write!(f, "its hidden states"),
        }
    }
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let likeliest = Want::TopK(self.top_k);
        let all = [(self.sampled, Want::Sampled), (self.top_k > 0, likeliest), (self.full, Want::Full)];
        let given = all.into_iter().chain([(self.hidden.is_some(), Want::Hidden)]).filter(|(given, _)| *given);
        let given: Vec<String> = given.map(|(_, want)| want.to_string()).collect();
        write!(f, "{}", if given.is_empty() { "nothing".into() } else { given.join(", ") })
    }
}

/// Rows `first..first + n` of sequence `sequence`.
#[derive(Debug)]
pub struct Chunk {
    pub sequence: usize,
    pub first: usize,
    pub rows: Rows,
}

/// The rows of a chunk, n of them, in the kind that was asked for.
#[derive(Debug)]
pub enum Rows {
    /// Log-probabilities [n] of the tokens that came.
    Sampled(Vec<f32>),
    TopK(TopK),
    /// f32 logits [n, v] on the model's device.
    Full(Tensor),
    /// f32 states [n, d] on the model's device.
    Hidden(Tensor),
}

/// The likeliest tokens of n rows. The logit of token j in row i is `logprobs[i * k + j] + logsumexp[i]`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TopK {
    /// Tokens per row, as asked for.
    pub k: usize,
    /// Log-probabilities [n] of the tokens that came, whether among the likeliest or not.
    pub sampled: Vec<f32>,
    /// Token ids [n, k], the likeliest first, equally likely ones by id.
    pub ids: Vec<u32>,
    /// Their log-probabilities [n, k], normalised over the whole vocabulary.
    pub logprobs: Vec<f32>,
    /// logsumexp [n] of the logits of the whole vocabulary.
    pub logsumexp: Vec<f32>,
}

/// Says what a model makes of given text.
pub trait Score {
    /// Name and fingerprint, as in a dataset's `generator` column.
    fn model(&self) -> String;
    fn offer(&self) -> Offer;
    /// Ids that tokens are taken from; `text` and `prompt` hold none beyond.
    fn vocabulary(&self) -> usize;
    /// The most tokens of `prompt` and `text` together.
    fn context(&self) -> usize;
    /// What its products take on the way forward; `None` of a model elsewhere.
    fn operations(&self) -> Option<Operations> {
        None
    }
    /// Hands every row to `take` exactly once, sequences in their order and rows in theirs. What is wrong with a
    /// sequence is found before the first chunk; an error of `take` stops the work and comes back.
    fn score(
        &self,
        sequences: &[Given<'_>],
        want: Want,
        take: &mut dyn FnMut(Chunk) -> Result<(), JobError>,
    ) -> Result<(), ScoreError>;

    /// The same of texts that share a prompt, which is read once where the implementation can. Sequences are numbered
    /// through all branches, and a row depends on its own prompt and text alone, however many texts are beside it.
    fn score_branches(
        &self,
        branches: &[Branches<'_>],
        want: Want,
        take: &mut dyn FnMut(Chunk) -> Result<(), JobError>,
    ) -> Result<(), ScoreError> {
        let sequences: Vec<Given<'_>> = branches.iter().flat_map(Branches::sequences).collect();
        self.score(&sequences, want, take)
    }
}

/// Refuses what `model` does not offer and sequences that it cannot read.
pub fn check(model: &dyn Score, sequences: &[Given<'_>], want: Want) -> Result<(), ScoreError> {
    let offer = model.offer();
    if !offer.covers(want) {
        return Err(ScoreError::NotOffered { model: model.model(), want, offer });
    }
    let (vocabulary, context) = (model.vocabulary(), model.context());
    for (sequence, given) in sequences.iter().enumerate() {
        let tokens = given.prompt.len() + given.text.len();
        if given.prompt.is_empty() {
            return Err(ScoreError::NoPrompt { sequence });
        }
        if tokens > context {
            return Err(ScoreError::TooLong { sequence, tokens, context });
        }
        let ids = given.prompt.iter().chain(given.text);
        if let Some(&token) = ids.into_iter().find(|&&id| id as usize >= vocabulary) {
            return Err(ScoreError::UnknownToken { sequence, token, vocabulary });
        }
    }
    Ok(())
}

/// Why text was not scored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScoreError {
    #[error("`{model}` cannot give {want} for given text; it gives {offer}")]
    NotOffered { model: String, want: Want, offer: Offer },
    #[error("sequence {sequence} has no token before its text, and a first token follows from nothing")]
    NoPrompt { sequence: usize },
    #[error("sequence {sequence} has {tokens} tokens and the model's context holds {context}")]
    TooLong { sequence: usize, tokens: usize, context: usize },
    #[error("sequence {sequence} holds token {token} and the model's vocabulary ends before {vocabulary}")]
    UnknownToken { sequence: usize, token: u32, vocabulary: usize },
    #[error("the model failed")]
    Model(#[from] Error),
    /// A model elsewhere, such as an endpoint's, did not answer; the source says why.
    #[error("it could not be asked")]
    Remote(#[source] JobError),
    #[error("the rows could not be used")]
    Taker(#[source] JobError),
}
