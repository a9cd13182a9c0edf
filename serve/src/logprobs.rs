//! Log-probabilities of tokens that were given or drawn, by reading them once more (teacher forcing).
//!
//! They are raw: temperature 1, the whole vocabulary. One request is read at a time; it takes a pass of the model, and
//! the completions that run beside it should not wait for many of them at once.

use crate::AnyEngine;
use crate::ask::{Kind, Refusal};
use retort_model::score::{Chunk, Given, Rows, Score, Want};
use retort_model::tokenizer::Tokenizer;
use serde_json::{Map, Value, json};

/// What is asked about one completion: its tokens, and how many of them only lead up to it.
pub(crate) struct Text<'a> {
    pub prompt: &'a [u32],
    pub completion: &'a [u32],
    /// Whether the prompt's own tokens are asked about too.
    pub echo: bool,
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

/// Reads `texts` with the `top` likeliest tokens at every place.
pub(crate) fn score(engine: &AnyEngine, texts: &[Text<'_>], top: usize) -> Result<Vec<Scored>, Refusal> {
    let split = |text: &Text<'_>| if text.echo { 1 } else { text.prompt.len() };
    let whole: Vec<Vec<u32>> = texts.iter().map(|text| [text.prompt, text.completion].concat()).collect();
    let given: Vec<Given<'_>> = (texts.iter().zip(&whole))
        .map(|(text, whole)| Given { prompt: &whole[..split(text)], text: &whole[split(text)..] })
        .collect();
    let mut scored: Vec<Scored> = (texts.iter().zip(&whole))
        .map(|(text, whole)| match text.echo {
            true => Scored { tokens: whole.clone(), told: vec![None] },
            false => Scored { tokens: text.completion.to_vec(), told: vec![] },
        })
        .collect();
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
    /// As the two routes of the protocol write it; tokens are named by their text, or with `as_ids` by their ids.
    pub(crate) fn json(&self, kind: Kind, tokenizer: &Tokenizer, as_ids: bool) -> Value {
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
                let mut offset = 0;
                let mut offsets = Vec::new();
                let tokens: Vec<String> = self.tokens.iter().map(|id| text(*id)).collect();
                for token in &tokens {
                    offsets.push(offset);
                    offset += token.chars().count();
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
