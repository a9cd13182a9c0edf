//! Samples as rows of the formats that other programs read.

use super::think::Think;
use crate::sample::{Sample, Verdict};
use retort_model::chat::{THINK, Thought};
use serde_json::{Map, Value, json};

/// The thinking and answer of a sample.
pub(super) fn thought(sample: &Sample) -> Thought {
    let written = sample.messages.last().map_or("", |(_, text)| text.as_str());
    let unterminated = written.starts_with(THINK.0) && !written.contains(THINK.1);
    Thought { reasoning: sample.reasoning.clone(), response: sample.response.clone(), unterminated }
}

/// What a row tells beside its chat; the names are those of the shards, `num_tokens` that of Mixture-of-Thoughts.
fn facts(sample: &Sample) -> Map<String, Value> {
    let facts = [
        ("uuid", json!(sample.uuid)),
        ("problem", json!(sample.problem)),
        ("answer", json!(sample.answer)),
        ("source", json!(sample.source)),
        ("domain", json!(sample.domain)),
        ("difficulty", json!(sample.difficulty)),
        ("finish_reason", json!(sample.finish_reason)),
        ("verdict", json!(sample.verdict.as_str())),
        ("generator", json!(sample.generator)),
        ("num_tokens", json!(sample.completion_tokens)),
    ];
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn row(first: impl IntoIterator<Item = (&'static str, Value)>, sample: &Sample) -> Value {
    let first = first.into_iter().map(|(name, value)| (name.to_owned(), value));
    Value::Object(first.chain(facts(sample)).collect())
}

/// Everything before the answer, as messages.
fn asked(sample: &Sample) -> Vec<Value> {
    let before = sample.messages.len().saturating_sub(1);
    sample.messages[..before].iter().map(|(role, content)| json!({ "role": role, "content": content })).collect()
}

fn answered(sample: &Sample, think: Think) -> Value {
    let (content, apart) = think.write(&thought(sample));
    match apart {
        None => json!({ "role": "assistant", "content": content }),
        Some(reasoning) => json!({ "role": "assistant", "reasoning_content": reasoning, "content": content }),
    }
}

fn chat(sample: &Sample, think: Think) -> Value {
    asked(sample).into_iter().chain([answered(sample, think)]).collect()
}

pub(super) fn messages(sample: &Sample, think: Think) -> Value {
    row([("messages", chat(sample, think))], sample)
}

pub(super) fn prompt_completion(sample: &Sample, think: Think) -> Value {
    row([("prompt", json!(asked(sample))), ("completion", json!([answered(sample, think)]))], sample)
}

pub(super) fn sharegpt(sample: &Sample, think: Think) -> Value {
    let (text, apart) = think.write(&thought(sample));
    let before = sample.messages.len().saturating_sub(1);
    let asked = sample.messages[..before].iter().map(|(role, content)| {
        let from = if role == "user" { "human" } else { role };
        json!({ "from": from, "value": content })
    });
    let conversations = asked.chain([json!({ "from": "gpt", "value": text })]).collect();
    let apart = apart.map(|reasoning| ("reasoning_content", json!(reasoning)));
    row([("conversations", conversations)].into_iter().chain(apart), sample)
}

/// A row of axolotl's KD plugin: for every token of the completion, its end included, the likeliest tokens. Nothing may
/// follow that end in the template that axolotl renders, since it aligns the two lists at their ends. `None` where no
/// top-k log-probabilities were captured.
pub(super) fn axolotl_kd(sample: &Sample, think: Think) -> Option<Value> {
    let targets = sample.targets.as_ref().filter(|targets| targets.counts.is_empty() && !targets.ids.is_empty())?;
    let mut at = 0;
    let tokens = targets.widths.iter().map(|&width| {
        let from = at;
        at += width as usize;
        let entries = targets.ids[from..at].iter().zip(&targets.logprobs[from..at]);
        entries.map(|(id, logprob)| json!({ "token": format!("token_id:{id}"), "logprob": logprob })).collect()
    });
    let logprobs: Vec<Value> = tokens.collect();
    Some(row([("messages", chat(sample, think)), ("logprobs", json!(logprobs))], sample))
}

/// A row of OpenR1-Math: all samples of a problem. What it has and a dataset does not know is null.
pub(super) fn openr1(samples: &[Sample], think: Think) -> Value {
    let each = |value: &dyn Fn(&Sample) -> Value| -> Value { samples.iter().map(value).collect() };
    let right = samples.iter().filter(|sample| sample.verdict == Verdict::Right).count();
    let verified = |sample: &Sample| match sample.verdict {
        Verdict::Undecided => Value::Null,
        verdict => json!(verdict == Verdict::Right),
    };
    // The chat of a row is that of its first right generation.
    let best = samples.iter().find(|sample| sample.verdict == Verdict::Right).or(samples.first());
    let first = samples.first();
    let fact = |get: fn(&Sample) -> &String| first.map(|sample| get(sample).as_str()).unwrap_or_default();
    json!({
        "problem": fact(|sample| &sample.problem),
        "solution": null,
        "answer": fact(|sample| &sample.answer),
        "problem_type": fact(|sample| &sample.domain),
        "question_type": null,
        "source": fact(|sample| &sample.source),
        "uuid": fact(|sample| &sample.uuid),
        "is_reasoning_complete": each(&|sample| json!(!thought(sample).unterminated)),
        "generations": each(&|sample| json!(think.write(&thought(sample)).0)),
        "correctness_math_verify": each(&verified),
        "correctness_llama": null,
        "finish_reasons": each(&|sample| json!(sample.finish_reason)),
        "correctness_count": right,
        "messages": best.map(|sample| chat(sample, think)),
    })
}
