//! What a client asks: the body of a request, checked, as token ids and settings.
//!
//! A setting that would change the answer and is not supported is refused, never ignored.

use crate::AnyEngine;
use crate::settings::Limits;
use retort_model::chat::opens_thinking;
use retort_model::generate::{Message, Role};
use retort_model::sampling::Sampling;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Which of the two routes was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Chat,
    Text,
}

/// Why a request is not answered.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub status: u16,
    pub message: String,
}

impl Refusal {
    pub(crate) fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

fn refuse<T>(message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(400, message))
}

/// A prompt as the model gets it.
#[derive(Debug, Clone)]
pub(crate) struct Prompt {
    pub tokens: Arc<[u32]>,
    /// Whether it ends in an opened thinking block.
    pub thinks: bool,
}

/// A checked request.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub kind: Kind,
    pub prompts: Vec<Prompt>,
    /// Completions of each prompt.
    pub n: usize,
    /// Of each prompt; their `max_tokens` differ where the context ends.
    pub sampling: Vec<Sampling>,
    pub seed: Option<u64>,
    pub stop: Vec<String>,
    pub stream: bool,
    pub usage_in_stream: bool,
    /// Whether the text begins with the prompt.
    pub echo: bool,
    /// How many of the likeliest tokens are told with every token's log-probability.
    pub logprobs: Option<usize>,
    pub token_ids: bool,
    /// Whether log-probabilities name tokens as `token_id:7`, which tells apart what looks alike as text.
    pub tokens_as_ids: bool,
}

#[derive(Deserialize)]
#[serde(expecting = "an object with the fields of a request")]
struct Body {
    model: Option<String>,
    messages: Option<Vec<Said>>,
    prompt: Option<Prompts>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    /// -1 and 0 keep all.
    top_k: Option<i64>,
    min_p: Option<f64>,
    repetition_penalty: Option<f64>,
    logit_bias: Option<BTreeMap<String, f64>>,
    n: Option<usize>,
    seed: Option<i64>,
    stop: Option<OneOrMany>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    echo: Option<bool>,
    logprobs: Option<Logprobs>,
    top_logprobs: Option<usize>,
    return_token_ids: Option<bool>,
    return_tokens_as_token_ids: Option<bool>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object like {\"include_usage\": true} as `stream_options`")]
struct StreamOptions {
    include_usage: Option<bool>,
}

/// Chats say whether, completions say how many.
#[derive(Deserialize)]
#[serde(untagged, expecting = "`logprobs` takes true or false in a chat, and a whole number in a completion")]
enum Logprobs {
    Wanted(bool),
    Top(usize),
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "`stop` takes a string or a list of strings")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "`prompt` takes a string, a list of strings, a list of token ids or a list of such lists"
)]
enum Prompts {
    Text(String),
    Texts(Vec<String>),
    Tokens(Vec<u32>),
    ManyTokens(Vec<Vec<u32>>),
}

#[derive(Deserialize)]
#[serde(expecting = "an object with `role` and `content` as a message")]
struct Said {
    role: String,
    content: Content,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "the `content` of a message is a string or a list of parts")]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
#[serde(expecting = "an object with `type` and `text` as a part of a message")]
struct Part {
    r#type: String,
    text: Option<String>,
}

/// Fields that change no answer.
const HARMLESS: [&str; 7] =
    ["user", "metadata", "store", "service_tier", "prompt_cache_key", "safety_identifier", "separate_reasoning"];

/// Fields that are not supported, with the value at which they do nothing; so do null, `false`, `""`, `[]` and `{}`.
const NEUTRAL: [(&str, f64); 3] = [("frequency_penalty", 0.0), ("presence_penalty", 0.0), ("best_of", 1.0)];

impl Ask {
    /// Reads a request for the model called `model`.
    pub(crate) fn read(
        kind: Kind,
        body: &[u8],
        engine: &AnyEngine,
        model: &str,
        limits: &Limits,
    ) -> Result<Self, Refusal> {
        let body: Body = match serde_json::from_slice(body) {
            Ok(body) => body,
            Err(error) => return refuse(format!("the body is not a request: {error}")),
        };
        if let Some(asked) = body.model.as_ref().filter(|asked| *asked != model) {
            return Err(Refusal::new(404, format!("there is no model `{}`; there is `{model}`", asked.escape_debug())));
        }
        supported(&body.others)?;
        let prompts = prompts(kind, body.messages, body.prompt, engine)?;
        let n = body.n.unwrap_or(1);
        if n == 0 || n.saturating_mul(prompts.len()) > limits.completions {
            return refuse(format!("`n` times the prompts must be from 1 to {}", limits.completions));
        }
        let echo = body.echo.unwrap_or(false);
        if echo && kind == Kind::Chat {
            return refuse("`echo` is for completions");
        }
        let most = body.max_completion_tokens.or(body.max_tokens);
        // The protocol's own default for completions.
        let most = most.or((kind == Kind::Text).then_some(16)).map(|most| usize::try_from(most).unwrap_or(usize::MAX));
        if most == Some(0) && !echo {
            return refuse("`max_tokens` must be at least 1");
        }
        let drawn = Sampling {
            temperature: body.temperature.unwrap_or(1.0),
            top_p: body.top_p.unwrap_or(1.0),
            top_k: body.top_k.filter(|k| *k > 0).and_then(|k| usize::try_from(k).ok()),
            min_p: body.min_p.unwrap_or(0.0),
            repetition_penalty: body.repetition_penalty.unwrap_or(1.0),
            logit_bias: biases(body.logit_bias, engine)?,
            ..Sampling::default()
        };
        let sampling = prompts.iter().map(|prompt| {
            let room = engine.context.saturating_sub(prompt.tokens.len());
            if room == 0 && !(most == Some(0) && prompt.tokens.len() == engine.context) {
                let (length, context) = (prompt.tokens.len(), engine.context);
                return refuse(format!("the prompt has {length} tokens and the context of the model holds {context}"));
            }
            let max_tokens = most.unwrap_or(room).min(room);
            let sampling = Sampling { max_tokens, ..drawn.clone() };
            match (Sampling { max_tokens: max_tokens.max(1), ..sampling.clone() }).fault() {
                Some((setting, found, expected)) => refuse(format!("`{setting}` is {found}; it takes {expected}")),
                None => Ok(sampling),
            }
        });
        let logprobs = match (kind, body.logprobs, body.top_logprobs) {
            (Kind::Chat, Some(Logprobs::Wanted(true)), top) => Some(top.unwrap_or(0)),
            (Kind::Text, Some(Logprobs::Top(top)), None) => Some(top),
            (_, None | Some(Logprobs::Wanted(false)), None) => None,
            _ => {
                return refuse("a chat takes `logprobs: true` and `top_logprobs`, a completion a number as `logprobs`");
            }
        };
        if logprobs.is_some_and(|top| top > limits.logprobs.min(engine.decoder.head().rows())) {
            return refuse(format!("at most {} log-probabilities are told with each token", limits.logprobs));
        }
        Ok(Self {
            kind,
            n,
            sampling: sampling.collect::<Result<_, _>>()?,
            seed: body.seed.map(i64::cast_unsigned),
            stop: stops(body.stop, limits)?,
            stream: body.stream.unwrap_or(false),
            usage_in_stream: body.stream_options.and_then(|options| options.include_usage).unwrap_or(false),
            echo,
            logprobs,
            token_ids: body.return_token_ids.unwrap_or(false),
            tokens_as_ids: body.return_tokens_as_token_ids.unwrap_or(false),
            prompts,
        })
    }
}

/// What is added to the logits of tokens, by the text of their ids.
fn biases(biases: Option<BTreeMap<String, f64>>, engine: &AnyEngine) -> Result<BTreeMap<u32, f64>, Refusal> {
    let size = engine.decoder.head().rows();
    let read = |(id, bias): (String, f64)| match id.parse::<u32>() {
        Ok(known) if (known as usize) < size => Ok((known, bias)),
        _ => refuse(format!("`logit_bias` names `{}`, which is no token id of the model", id.escape_debug())),
    };
    biases.into_iter().flatten().map(read).collect()
}

fn supported(others: &Map<String, Value>) -> Result<(), Refusal> {
    for (name, value) in others {
        let empty = match value {
            Value::Null | Value::Bool(false) => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty() || *value == json!({ "type": "text" }),
            _ => false,
        };
        let neutral = NEUTRAL.iter().any(|(known, neutral)| name == known && value.as_f64() == Some(*neutral));
        if !(empty || neutral || HARMLESS.contains(&name.as_str())) {
            return refuse(format!("`{}` is not supported", name.escape_debug()));
        }
    }
    Ok(())
}

fn stops(stop: Option<OneOrMany>, limits: &Limits) -> Result<Vec<String>, Refusal> {
    let stops = match stop {
        None => vec![],
        Some(OneOrMany::One(one)) => vec![one],
        Some(OneOrMany::Many(many)) => many,
    };
    if stops.len() > limits.stop_strings || stops.iter().any(|stop| stop.is_empty() || stop.len() > limits.stop_bytes) {
        let Limits { stop_strings, stop_bytes, .. } = limits;
        return refuse(format!("`stop` takes up to {stop_strings} texts of 1 to {stop_bytes} bytes"));
    }
    Ok(stops)
}

fn prompts(
    kind: Kind,
    messages: Option<Vec<Said>>,
    prompt: Option<Prompts>,
    engine: &AnyEngine,
) -> Result<Vec<Prompt>, Refusal> {
    let encode = |text: &str| match engine.tokenizer.encode(text) {
        Ok(tokens) => Ok(tokens),
        Err(error) => refuse(error.to_string()),
    };
    let plain = |tokens: Vec<u32>| Prompt { tokens: tokens.into(), thinks: false };
    let prompts = match (kind, messages, prompt) {
        (Kind::Chat, Some(messages), None) if !messages.is_empty() => {
            let messages = messages.into_iter().map(message).collect::<Result<Vec<_>, _>>()?;
            let text = engine.template.prompt(&messages).or_else(|error| refuse(error.to_string()))?;
            vec![Prompt { tokens: encode(&text)?.into(), thinks: opens_thinking(&text) }]
        }
        (Kind::Chat, ..) => return refuse("a chat needs `messages`, at least one, and no `prompt`"),
        (Kind::Text, None, Some(prompt)) => match prompt {
            Prompts::Text(text) => vec![plain(encode(&text)?)],
            Prompts::Texts(texts) => {
                texts.iter().map(|text| Ok(plain(encode(text)?))).collect::<Result<_, Refusal>>()?
            }
            Prompts::Tokens(tokens) => vec![plain(tokens)],
            Prompts::ManyTokens(many) => many.into_iter().map(plain).collect(),
        },
        (Kind::Text, ..) => return refuse("a completion needs a `prompt` and no `messages`"),
    };
    let size = engine.decoder.head().rows();
    if prompts.is_empty() || prompts.iter().any(|prompt| prompt.tokens.is_empty()) {
        return refuse("the prompt is empty");
    }
    if let Some(id) = prompts.iter().flat_map(|prompt| prompt.tokens.iter()).find(|id| **id as usize >= size) {
        return refuse(format!("the prompt holds the token id {id} and the model knows {size}"));
    }
    Ok(prompts)
}

fn message(said: Said) -> Result<Message, Refusal> {
    let role = match said.role.as_str() {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        other => return refuse(format!("the role `{}` is not supported", other.escape_debug())),
    };
    let content = match said.content {
        Content::Text(text) => text,
        Content::Parts(parts) => parts
            .into_iter()
            .map(|part| match part {
                Part { r#type, text: Some(text) } if r#type == "text" => Ok(text),
                Part { r#type, .. } => refuse(format!("content of type `{}` is not supported", r#type.escape_debug())),
            })
            .collect::<Result<_, _>>()?,
    };
    Ok(Message { role, content })
}
