//! A context and what may follow it as token ids, as lm-evaluation-harness parts them (`TemplateLM._encode_pair` and
//! `HFLM._loglikelihood_tokens`).

use crate::Error;
use retort_model::tokenizer::Tokenizer;

/// The tokens of a context and of its continuation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    pub context: Vec<u32>,
    pub continuation: Vec<u32>,
}

/// Encodes a pair. White space at the end of the context belongs to the continuation, and the continuation's tokens are
/// what the tokens of both together have beyond as many as the context alone has: a token across the border is neither's.
pub fn encode_pair(tokenizer: &Tokenizer, bos: Option<u32>, context: &str, continuation: &str) -> Result<Pair, Error> {
    let encode =
        |text: &str| -> Result<Vec<u32>, Error> { Ok(bos.into_iter().chain(tokenizer.encode(text)?).collect()) };
    let stem = context.trim_end();
    let whole = encode(&format!("{context}{continuation}"))?;
    let context = encode(stem)?;
    let continuation = whole.get(context.len()..).unwrap_or_default().to_vec();
    Ok(Pair { context, continuation })
}

impl Pair {
    /// The pair within so many tokens, its context cut from the left; `None` where the continuation leaves it no token.
    pub(super) fn fitting(mut self, most: usize) -> Option<Self> {
        let room = most.checked_sub(self.continuation.len()).filter(|&room| room > 0)?;
        if self.context.len() > room {
            self.context.drain(..self.context.len() - room);
        }
        Some(self)
    }
}
