//! A server's answer, put together from its pieces, and the rules by which it becomes a completion or does not.
//!
//! Status 200 is no success and the end of a stream is no completion: servers end aborted requests with both. A sample
//! needs a reason to end that the profile knows, the `[DONE]` of a stream, and usage where the server gives any.

use super::failure::{Class, Failure, shown};
use super::key::ApiKey;
use super::logprobs::Told;
use super::profile::{Finish, Profile};
use super::prompt::Form;
use retort_model::attempts::Usage;
use retort_model::chat::{Thought, split_thinking};
use retort_model::generate::{Completion, FinishReason};
use serde_json::Value;

/// What has come of an answer so far.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// The model that the server says it is.
    model: Option<String>,
    fingerprint: Option<String>,
    content: String,
    reasoning: String,
    finish: Option<String>,
    usage: Option<Usage>,
    /// What was stated in place of a usage and can be none.
    implausible: Option<String>,
    token_ids: Vec<u32>,
    prompt_token_ids: Vec<u32>,
    told: Told,
    done: bool,
    /// Pieces that held more than a heartbeat.
    pub pieces: u64,
}

/// A complete answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub completion: Completion,
    pub usage: Option<Usage>,
    /// What was stated in place of a usage and can be none, in words.
    pub implausible: Option<String>,
    /// The server's configuration, where it tells.
    pub fingerprint: Option<String>,
}

impl Reply {
    /// The reply without the key, which some servers repeat. Token ids would tell it to whoever has the tokenizer.
    pub(super) fn without(mut self, key: &ApiKey) -> Result<Self, Failure> {
        let told = |text: &mut String| {
            let before = std::mem::take(text);
            *text = key.redact(&before);
            *text != before
        };
        let Completion { reasoning, response, token_ids, targets, .. } = &mut self.completion;
        if told(reasoning) | told(response) {
            token_ids.clear();
            if targets.is_some() {
                return Err(Failure::garbage(
                    "it repeats the key, and the log-probabilities of its tokens would tell it",
                ));
            }
        }
        for text in self.fingerprint.iter_mut().chain(&mut self.implausible) {
            told(text);
        }
        Ok(self)
    }
}

/// What an answer is held against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    pub profile: &'a Profile,
    pub model: &'a str,
    pub answers_as: &'a [String],
    pub form: Form,
    /// The prompt where it was rendered here.
    pub prompt: &'a [u32],
    /// Whether log-probabilities were asked for.
    pub captured: bool,
    /// The most tokens that were asked for.
    pub most: u64,
}

impl Answer {
    /// One event of a stream.
    pub(super) fn event(&mut self, data: &[u8], profile: &Profile) -> Result<(), Failure> {
        if data.trim_ascii() == b"[DONE]" {
            self.done = true;
            return Ok(());
        }
        self.piece(data, "delta", profile)
    }

    /// Whether the stream said that it is over.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// The body of an answer that is not a stream. Blank lines before it keep the connection alive.
    pub(super) fn body(&mut self, body: &[u8], profile: &Profile) -> Result<(), Failure> {
        self.done = true;
        self.piece(body, "message", profile)
    }

    fn piece(&mut self, data: &[u8], message: &str, profile: &Profile) -> Result<(), Failure> {
        let value: Value = serde_json::from_slice(data)
            .map_err(|error| Failure::garbage(format!("not JSON ({error}): {}", String::from_utf8_lossy(data))))?;
        self.pieces += 1;
        if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
            return Err(Failure::of_error(error));
        }
        let text = |key: &str| value[key].as_str().filter(|text| !text.is_empty()).map(String::from);
        self.model = text("model").or(self.model.take());
        self.fingerprint = text("system_fingerprint").or(self.fingerprint.take());
        match usage(&value["usage"], profile) {
            Some(Ok(usage)) => self.usage = Some(usage),
            Some(Err(stated)) => self.implausible = Some(stated),
            None => {}
        }
        self.ids(&value, profile);
        let choices = value["choices"].as_array().map_or(&[][..], Vec::as_slice);
        if choices.is_empty() && value["usage"].is_null() && value["object"].is_null() {
            return Err(Failure::garbage(format!("neither choices nor usage: {value}")));
        }
        for choice in choices {
            if choice["index"].as_u64().unwrap_or(0) != 0 {
                return Err(Failure::garbage("a second choice where one was asked for"));
            }
            self.choice(choice, message, profile)?;
        }
        Ok(())
    }

    fn choice(&mut self, choice: &Value, message: &str, profile: &Profile) -> Result<(), Failure> {
        let message = &choice[message];
        let content = message["content"].as_str().or(choice["text"].as_str()).unwrap_or_default();
        // Servers that rename the field send both for a while; the first that says something counts.
        let thinking = |field: &String| message[field.as_str()].as_str().filter(|text| !text.is_empty());
        let reasoning = profile.reasoning.iter().find_map(thinking).unwrap_or_default();
        if self.finish.is_some() && !(content.is_empty() && reasoning.is_empty()) {
            return Err(Failure::garbage("text after the answer had ended"));
        }
        self.content.push_str(content);
        self.reasoning.push_str(reasoning);
        self.ids(choice, profile);
        self.told.add(&choice["logprobs"], profile)?;
        if let Some(finish) = choice["finish_reason"].as_str() {
            if self.finish.as_deref().is_some_and(|before| before != finish) {
                return Err(Failure::garbage("two reasons to end"));
            }
            self.finish = Some(finish.into());
        }
        Ok(())
    }

    /// Token ids, which servers put beside the choices or into them.
    fn ids(&mut self, place: &Value, profile: &Profile) {
        let ids = |field: &Option<String>| -> Option<Vec<u32>> {
            let ids = place[field.as_ref()?].as_array()?;
            ids.iter().map(|id| id.as_u64()?.try_into().ok()).collect()
        };
        self.token_ids.extend(ids(&profile.token_ids).unwrap_or_default());
        if let Some(prompt) = ids(&profile.prompt_token_ids).filter(|ids| !ids.is_empty()) {
            self.prompt_token_ids = prompt;
        }
    }

    /// The completion, where everything that makes one is there.
    pub(super) fn finish(mut self, expected: Expected<'_>) -> Result<Reply, Failure> {
        let Expected { profile, model, answers_as, form, prompt, captured, most } = expected;
        // Servers count one or the other token more than they were asked for; no server twice as many.
        let believed = 2 * most + EMPTY_TOKENS as u64;
        if let Some(usage) = self.usage.take_if(|usage| usage.completion_tokens > believed) {
            let Usage { prompt_tokens, completion_tokens, .. } = usage;
            self.implausible = Some(format!(
                "{prompt_tokens} prompt and {completion_tokens} completion tokens where at most {most} were asked for"
            ));
        }
        if let Some(found) = self.model.as_ref().filter(|found| *found != model && !answers_as.contains(found)) {
            return Err(Failure::new(Class::OtherModel, found.clone()));
        }
        let Some(finish) = &self.finish else {
            return Err(Failure::new(Class::Broken, "the answer broke off: it has no finish_reason"));
        };
        if !self.done {
            return Err(Failure::new(Class::Broken, "the stream broke off before its `[DONE]`"));
        }
        if profile.usage && self.usage.is_none() && self.implausible.is_none() {
            return Err(Failure::new(Class::Broken, "the answer broke off: it has no usage"));
        }
        let finish_reason = match profile.finish.get(finish) {
            Some(Finish::Stop) => FinishReason::Stop,
            Some(Finish::Length) => FinishReason::Length,
            Some(Finish::Refused) => FinishReason::Refused,
            Some(Finish::Retry) => return Err(Failure::new(Class::Broken, format!("finish_reason `{finish}`"))),
            None => return Err(Failure::garbage(format!("the unknown finish_reason `{finish}`"))),
        };
        let thought = match form {
            Form::Turn { prefilled } => self.thought(finish_reason, prefilled),
            Form::Raw => Thought { response: self.content, ..Thought::default() },
            // What is said beyond the prompt was not asked for.
            Form::Echo => Thought::default(),
        };
        let targets = match form {
            Form::Echo => Some(self.told.echoed(prompt)?),
            Form::Turn { .. } | Form::Raw => self.told.targets(captured, &self.token_ids)?,
        };
        let usage = self.usage.unwrap_or_default();
        let written = if self.usage.is_some() { usage.completion_tokens as usize } else { self.token_ids.len() };
        if form != Form::Echo && thought.reasoning.is_empty() && thought.response.is_empty() && written > EMPTY_TOKENS {
            return Err(Failure::garbage(format!(
                "{written} tokens and no text: it stands in a field that the profile `{}` does not know",
                profile.name
            )));
        }
        let prompt_token_ids = if self.prompt_token_ids.is_empty() { prompt.to_vec() } else { self.prompt_token_ids };
        let prompt_tokens = if self.usage.is_some() { usage.prompt_tokens as usize } else { prompt_token_ids.len() };
        Ok(Reply {
            completion: Completion {
                reasoning: thought.reasoning,
                response: if finish_reason == FinishReason::Refused { finish.clone() } else { thought.response },
                unterminated: thought.unterminated,
                finish_reason,
                prompt_token_ids,
                token_ids: self.token_ids,
                forced: vec![],
                targets,
                prompt_tokens,
                completion_tokens: written,
            },
            implausible: self.implausible.filter(|_| self.usage.is_none()),
            usage: self.usage,
            fingerprint: self.fingerprint,
        })
    }

    /// Thinking and answer, wherever the server put them. A second block stays in the answer as the model wrote it: what
    /// that is worth is for a verifier to say.
    fn thought(&self, finish_reason: FinishReason, prefilled: bool) -> Thought {
        if self.reasoning.is_empty() {
            return split_thinking(&self.content, prefilled);
        }
        let (reasoning, mut content) = (self.reasoning.trim(), self.content.trim());
        // Some servers put the thinking into its field and leave it in the content too.
        let twice = split_thinking(content, false);
        if twice.reasoning == reasoning && !twice.unterminated {
            content = &content[content.len() - twice.response.len()..];
        }
        Thought {
            reasoning: reasoning.into(),
            response: content.into(),
            // A server that parts the two sends no answer where the thinking never ended.
            unterminated: content.is_empty() && finish_reason != FinishReason::Refused,
        }
    }
}

/// An answer without any text has at most so many tokens: those that end a turn or a block.
const EMPTY_TOKENS: usize = 8;

/// The usage that an answer states, or what it states in words where that can be none; `None` where it states nothing.
fn usage(value: &Value, profile: &Profile) -> Option<Result<Usage, String>> {
    let [prompt, completion] = ["prompt_tokens", "completion_tokens"].map(|name| &value[name]);
    if prompt.is_null() || completion.is_null() {
        return None;
    }
    let count = |tokens: &Value| tokens.as_u64().filter(|&tokens| tokens <= u64::from(u32::MAX));
    let usage = count(prompt).filter(|&tokens| tokens > 0).zip(count(completion));
    let cached = profile.cached_tokens.iter().find_map(|place| value.pointer(place)?.as_u64()).unwrap_or(0);
    Some(match usage {
        Some((prompt_tokens, completion_tokens)) => {
            Ok(Usage { prompt_tokens, cached_tokens: cached.min(prompt_tokens), completion_tokens })
        }
        None => Err(shown(&format!("{prompt} prompt and {completion} completion tokens"))),
    })
}
