//! Log-probabilities of tokens: of those that are drawn as the engine captures them, of those that were given by reading
//! them (teacher forcing).
//!
//! They are raw: temperature 1, the whole vocabulary. The prompts of one request are read at a time; it takes a pass of the
//! model, and the completions that run beside it should not wait for many of them at once.

use crate::AnyEngine;
use crate::ask::{Kind, Refusal};
use retort_model::capture::{Capture, Targets};
use retort_model::score::{Chunk, Given, Rows, Score, Want};
use retort_model::tokenizer::Tokenizer;
use serde_json::{Map, Value, json};

/// What the engine is to capture for `top` alternatives to each token.
pub(crate) fn capture(top: usize) -> Capture {
    if top == 0 { Capture::Sampled } else { Capture::TopK(top) }
}

/// What the model makes of one token; `None` for the first of all, which follows from nothing.
type Told = Option<Likely>;

#[derive(Debug, Clone)]
pub(crate) struct Likely {
    logprob: f32,
    /// The likeliest tokens at its place, the likeliest first.
    top: Vec<(u32, f32)>,
}

/// One text's tokens with what the model makes of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scored {
    tokens: Vec<u32>,
    told: Vec<Told>,
}

/// Reads `prompts`, with the `top` likeliest tokens at every place.
pub(crate) fn read(engine: &AnyEngine, prompts: &[&[u32]], top: usize) -> Result<Vec<Scored>, Refusal> {
    let given: Vec<Given<'_>> =
        prompts.iter().map(|prompt| Given { prompt: &prompt[..1], text: &prompt[1..] }).collect();
    let mut scored: Vec<Scored> =
        prompts.iter().map(|prompt| Scored { tokens: prompt.to_vec(), told: vec![None] }).collect();
    let want = if top == 0 { Want::Sampled } else { Want::TopK(top) };
    let taken = engine.scorer().score(&given, want, &mut |Chunk { sequence, rows, .. }| {
        scored[sequence].told.extend(likely(rows).into_iter().map(Some));
        Ok(())
    });
    taken.map_err(|error| Refusal::new(500, format!("the model failed: {error}")))?;
    Ok(scored)
}

fn likely(rows: Rows) -> Vec<Likely> {
    match rows {
        Rows::Sampled(logprobs) => logprobs.into_iter().map(|logprob| Likely { logprob, top: vec![] }).collect(),
        Rows::TopK(rows) => {
            let top = rows.ids.chunks(rows.k).zip(rows.logprobs.chunks(rows.k));
            let row = |(logprob, (ids, logprobs)): (f32, (&[u32], &[f32]))| Likely {
                logprob,
                top: ids.iter().copied().zip(logprobs.iter().copied()).collect(),
            };
            rows.sampled.into_iter().zip(top).map(row).collect()
        }
        // Neither was asked for.
        Rows::Full(_) | Rows::Hidden(_) => vec![],
    }
}

/// JSON has no infinity; servers of this protocol write this instead.
const LEAST: f32 = -9999.0;

fn number(logprob: f32) -> Value {
    json!(logprob.max(LEAST))
}

impl Scored {
    pub(crate) fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Adds drawn tokens with what was captured of them.
    pub(crate) fn extend(&mut self, tokens: &[u32], captured: &Targets) {
        let mut top = captured.ids.iter().copied().zip(captured.logprobs.iter().copied());
        self.tokens.extend_from_slice(tokens);
        self.told.extend(
            captured
                .token_logprobs
                .iter()
                .zip(&captured.widths)
                .map(|(&logprob, &width)| Some(Likely { logprob, top: top.by_ref().take(width as usize).collect() })),
        );
    }

    /// As the two routes of the protocol write it; tokens are named by their text, or with `as_ids` by their ids. `offset`
    /// characters stand before them, and afterwards they are counted too.
    pub(crate) fn json(&self, kind: Kind, tokenizer: &Tokenizer, as_ids: bool, offset: &mut usize) -> Value {
        let text = |id: u32| match as_ids {
            true => format!("token_id:{id}"),
            false => tokenizer.decode(&[id]).unwrap_or_default(),
        };
        match kind {
            Kind::Chat => {
                let entry = |id: u32, logprob: f32| {
                    let token = text(id);
                    json!({ "token": token, "logprob": number(logprob), "bytes": token.as_bytes() })
                };
                let content = self.tokens.iter().zip(&self.told).map(|(id, told)| {
                    let told = told.as_ref();
                    let mut value = entry(*id, told.map_or(LEAST, |told| told.logprob));
                    let top = told.into_iter().flat_map(|told| &told.top);
                    value["top_logprobs"] = top.map(|(id, logprob)| entry(*id, *logprob)).collect();
                    value
                });
                json!({ "content": content.collect::<Vec<_>>() })
            }
            Kind::Text => {
                let mut offsets = Vec::new();
                let tokens: Vec<String> = self.tokens.iter().map(|id| text(*id)).collect();
                for token in &tokens {
                    offsets.push(*offset);
                    *offset += token.chars().count();
                }
                let top = |(id, told): (&u32, &Told)| -> Value {
                    let Some(told) = told else { return Value::Null };
                    // The token that came is always among them.
                    let mut top = Map::new();
                    top.insert(text(*id), number(told.logprob));
                    for (id, logprob) in told.top.iter().rev() {
                        top.insert(text(*id), number(*logprob));
                    }
                    Value::Object(top)
                };
                let logprobs = self.told.iter().map(|told| told.as_ref().map(|told| number(told.logprob)));
                json!({
                    "tokens": tokens,
                    "token_logprobs": logprobs.collect::<Vec<_>>(),
                    "top_logprobs": self.tokens.iter().zip(&self.told).map(top).collect::<Vec<_>>(),
                    "text_offset": offsets,
                })
            }
        }
    }
}
