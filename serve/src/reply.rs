//! The protocol's documents.

use crate::ask::{Ask, Kind, Refusal};
use crate::writer::Delta;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// What all documents of one request have in common.
pub(crate) struct Heading {
    kind: Kind,
    id: String,
    created: u64,
    model: String,
    fingerprint: String,
    token_ids: bool,
}

/// A finished completion.
pub(crate) struct Choice {
    pub index: usize,
    pub text: Delta,
    pub finish_reason: &'static str,
    pub tokens: Vec<u32>,
    pub prompt: std::sync::Arc<[u32]>,
    /// Null where nobody asked.
    pub logprobs: Value,
}

/// Tokens of a request, each prompt counted once.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Usage {
    pub prompt: usize,
    pub completion: usize,
}

impl Usage {
    pub(crate) fn json(self) -> Value {
        let Self { prompt, completion } = self;
        json!({ "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion })
    }
}

impl Heading {
    pub(crate) fn new(ask: &Ask, number: u64, model: &str, fingerprint: &str) -> Self {
        let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let prefix = if ask.kind == Kind::Chat { "chatcmpl" } else { "cmpl" };
        Self {
            kind: ask.kind,
            id: format!("{prefix}-{created:x}-{number}"),
            created,
            model: model.into(),
            fingerprint: fingerprint.into(),
            token_ids: ask.token_ids,
        }
    }

    fn document(&self, object: &str, choices: Vec<Value>, usage: Value) -> Value {
        json!({
            "id": self.id,
            "object": object,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
            "choices": choices,
            "usage": usage,
        })
    }

    /// The whole answer.
    pub(crate) fn whole(&self, choices: Vec<Choice>, usage: Usage) -> Value {
        let object = if self.kind == Kind::Chat { "chat.completion" } else { "text_completion" };
        let choices = choices.into_iter().map(|choice| {
            let Choice { index, text: Delta { reasoning, content }, finish_reason, tokens, prompt, logprobs } = choice;
            let mut value = match self.kind {
                Kind::Chat => {
                    let reasoning = if reasoning.is_empty() { Value::Null } else { reasoning.into() };
                    let message = json!({ "role": "assistant", "content": content, "reasoning_content": reasoning });
                    json!({ "index": index, "message": message, "logprobs": logprobs, "finish_reason": finish_reason })
                }
                Kind::Text => {
                    json!({ "index": index, "text": content, "logprobs": logprobs, "finish_reason": finish_reason })
                }
            };
            if self.token_ids {
                value["token_ids"] = json!(tokens);
                value["prompt_token_ids"] = json!(*prompt);
            }
            value
        });
        self.document(object, choices.collect(), usage.json())
    }

    /// A piece of an answer. `prompt` goes with the first piece of a choice.
    pub(crate) fn piece(
        &self,
        index: usize,
        text: &Delta,
        finish_reason: Option<&str>,
        tokens: &[u32],
        prompt: Option<&[u32]>,
    ) -> Value {
        let mut value = match self.kind {
            Kind::Chat => {
                let mut delta = serde_json::Map::new();
                if prompt.is_some() {
                    delta.insert("role".into(), "assistant".into());
                }
                for (name, text) in [("reasoning_content", &text.reasoning), ("content", &text.content)] {
                    if !text.is_empty() || (prompt.is_some() && name == "content") {
                        delta.insert(name.into(), text.as_str().into());
                    }
                }
                json!({ "index": index, "delta": delta, "logprobs": null, "finish_reason": finish_reason })
            }
            Kind::Text => {
                json!({ "index": index, "text": text.content, "logprobs": null, "finish_reason": finish_reason })
            }
        };
        if self.token_ids {
            value["token_ids"] = json!(tokens);
            if let Some(prompt) = prompt {
                value["prompt_token_ids"] = json!(prompt);
            }
        }
        self.document(self.piece_object(), vec![value], Value::Null)
    }

    /// The usage behind the last piece.
    pub(crate) fn usage(&self, usage: Usage) -> Value {
        self.document(self.piece_object(), vec![], usage.json())
    }

    fn piece_object(&self) -> &'static str {
        if self.kind == Kind::Chat { "chat.completion.chunk" } else { "text_completion" }
    }
}

/// An error as clients of the protocol read it.
pub(crate) fn error(refusal: &Refusal) -> Value {
    let kind = match refusal.status {
        401 | 403 => "authentication_error",
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    };
    json!({ "error": { "message": refusal.message, "type": kind, "param": null, "code": refusal.status } })
}

/// The one model that is served.
pub(crate) fn model(name: &str, context: usize) -> Value {
    json!({ "id": name, "object": "model", "created": 0, "owned_by": "retort", "max_model_len": context })
}

/// The list of it.
pub(crate) fn models(name: &str, context: usize) -> Value {
    json!({ "object": "list", "data": [model(name, context)] })
}
