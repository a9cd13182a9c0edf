//! What is sent: the body of a request in the server's dialect, and the most that it can use.

use super::Error;
use super::profile::Profile;
use super::settings::{Api, Settings};
use retort_model::attempts::Estimate;
use retort_model::capture::Capture;
use retort_model::chat::{ChatTemplate, opens_thinking};
use retort_model::generate::{Message, Request};
use retort_model::sampling::Sampling;
use retort_model::tokenizer::Tokenizer;
use serde_json::{Map, Value, json};

/// Renders prompts as the teacher's own template has it, so that the server has nothing to guess.
pub struct Renderer {
    pub template: ChatTemplate,
    pub tokenizer: Tokenizer,
}

/// A request as it goes over the wire, as often as it takes.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub body: Vec<u8>,
    pub estimate: Estimate,
    pub form: Form,
    /// The prompt where it was rendered here.
    pub prompt: Vec<u32>,
    /// Whether log-probabilities are asked for.
    pub captured: bool,
    /// The most bytes that an answer may have.
    pub limit: usize,
    pub route: &'static str,
}

/// What the text of an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A turn of a chat, in which the prompt may have opened the thinking block.
    Turn { prefilled: bool },
    /// Whatever goes on from a raw prompt.
    Raw,
    /// The prompt, which is asked about, before whatever comes.
    Echo,
}

/// Where the server renders the prompt, its template adds no more than so many tokens to each message and to the whole.
const TEMPLATE_TOKENS: u64 = 256;

/// An answer has at most so many bytes for each token, with everything that streams wrap around one.
const TOKEN_BYTES: usize = 4096;

/// And so many for each token that is told of in its place.
const TOLD_BYTES: usize = 256;

pub(super) fn prepare(
    request: &Request,
    model: &str,
    api: Api,
    settings: &Settings,
    profile: &Profile,
    renderer: Option<&Renderer>,
) -> Result<Prepared, Error> {
    let Sampling { temperature, top_p, max_tokens, .. } = request.sampling;
    let mut body = Map::new();
    body.insert("model".into(), json!(model));
    let (mut prompt, mut prefilled, mut prompt_tokens) = (vec![], opened(request), most_prompt_tokens(request));
    match (api, renderer) {
        (Api::Completions, Some(renderer)) => {
            let text = renderer.template.prompt(&request.messages).map_err(Error::Render)?;
            prompt = renderer.tokenizer.encode(&text).map_err(Error::Render)?;
            prefilled = opens_thinking(&text);
            // One more for a server that puts a start token before everything.
            prompt_tokens = prompt.len() as u64 + 1;
            body.insert("prompt".into(), if profile.token_id_prompts { json!(prompt) } else { json!(text) });
        }
        (Api::Chat | Api::Completions, _) => {
            body.insert("messages".into(), json!(request.messages));
            if prefilled {
                body.extend(profile.continuing.clone());
            }
        }
    }
    body.insert("stream".into(), json!(settings.stream));
    if settings.stream {
        body.insert("stream_options".into(), json!({ "include_usage": true }));
    }
    body.insert("temperature".into(), json!(temperature));
    body.insert("top_p".into(), json!(top_p));
    body.insert(profile.max_tokens.clone(), json!(max_tokens));
    if !profile.seed.is_empty() {
        body.insert(profile.seed.clone(), json!(request.noise.seed()));
    }
    body.extend(beyond_common(&request.sampling));
    if let Some(capture) = request.capture {
        body.extend(logprobs(capture, api));
        body.extend(profile.with_logprobs.clone());
    }
    for (name, value) in profile.extra.iter().chain(&settings.extra) {
        body.insert(name.clone(), value.clone());
    }
    let told = if let Some(Capture::TopK(k)) = request.capture { k + 1 } else { 1 };
    Ok(Prepared {
        body: Value::Object(body).to_string().into_bytes(),
        estimate: Estimate { request: request.id, prompt_tokens, completion_tokens: max_tokens as u64 },
        form: if renderer.is_some_and(|renderer| renderer.template.is_raw()) {
            Form::Raw
        } else {
            Form::Turn { prefilled }
        },
        prompt,
        captured: request.capture.is_some(),
        limit: (1 << 20) + max_tokens.saturating_mul(TOKEN_BYTES + told.saturating_mul(TOLD_BYTES)),
        route: match api {
            Api::Chat => "/chat/completions",
            Api::Completions => "/completions",
        },
    })
}

/// Settings that a request names only where they are set; a server without one of them says so.
fn beyond_common(sampling: &Sampling) -> Map<String, Value> {
    let Sampling { top_k, min_p, repetition_penalty, stop, logit_bias, .. } = sampling;
    let settings = [
        ("top_k", top_k.map(|k| json!(k))),
        ("min_p", (*min_p != 0.0).then(|| json!(min_p))),
        ("repetition_penalty", (*repetition_penalty != 1.0).then(|| json!(repetition_penalty))),
        ("stop", (!stop.is_empty()).then(|| json!(stop))),
        ("logit_bias", (!logit_bias.is_empty()).then(|| json!(logit_bias))),
    ];
    settings.into_iter().filter_map(|(name, value)| Some((name.into(), value?))).collect()
}

/// How the protocol asks for log-probabilities.
fn logprobs(capture: Capture, api: Api) -> Map<String, Value> {
    let k = if let Capture::TopK(k) = capture { k } else { 0 };
    let fields = match api {
        Api::Chat if k > 0 => vec![("logprobs", json!(true)), ("top_logprobs", json!(k))],
        Api::Chat => vec![("logprobs", json!(true))],
        Api::Completions => vec![("logprobs", json!(k))],
    };
    fields.into_iter().map(|(name, value)| (name.into(), value)).collect()
}

/// The first setting of a request for which the protocol has no words, what was found, and what it takes.
pub(super) fn unsupported(
    request: &Request,
    api: Api,
    profile: &Profile,
) -> Option<(&'static str, String, &'static str)> {
    const LOCAL: &str = "none of it over this protocol: a local model can do that";
    const RENDERED: &str = "that only where `--teacher-tokenizer` renders the prompts";
    let Sampling { thinking_budget, loop_repeats, .. } = request.sampling;
    let budget = thinking_budget.map(|budget| ("thinking_budget", budget.to_string(), LOCAL));
    let repeats = || loop_repeats.map(|repeats| ("loop_repeats", repeats.to_string(), LOCAL));
    let told = |capture: &Capture| !matches!(capture, Capture::Draws(_)) && profile.token_id_prefix.is_some();
    let untold = || request.capture.filter(|capture| !told(capture));
    let capture = || {
        untold().map(|capture| match capture {
            Capture::TopK(k) => ("capture.top_k", k.to_string(), LOCAL),
            Capture::Draws(draws) => ("capture.draws", draws.to_string(), LOCAL),
            Capture::Sampled => ("capture", "sampled".into(), LOCAL),
        })
    };
    let unopened = api == Api::Chat && opened(request) && profile.continuing.is_empty();
    budget.or_else(repeats).or_else(capture).or_else(|| unopened.then(|| ("prompt.think", "true".into(), RENDERED)))
}

/// Whether the model's turn is to begin inside a thinking block.
pub(super) fn opened(request: &Request) -> bool {
    request.messages.last().is_some_and(Message::opens_thinking)
}

/// No tokenizer of these models makes more tokens than bytes.
fn most_prompt_tokens(request: &Request) -> u64 {
    let message = |content: &String| content.len() as u64 + TEMPLATE_TOKENS;
    request.messages.iter().map(|m| message(&m.content)).sum::<u64>() + TEMPLATE_TOKENS
}

#[cfg(test)]
mod tests {
    use super::*;
    use retort_model::sampling::NoiseKey;

    #[test]
    fn a_server_that_can_continue_an_answer_is_asked_to_and_another_is_not_asked() -> Result<(), Error> {
        let request = Request {
            id: 0,
            messages: vec![Message::user("q"), Message::opened_thinking()],
            sampling: Sampling::default(),
            noise: NoiseKey::new(0, "", 0),
            capture: None,
        };
        let vllm = Profile::find("vllm")?;
        assert_eq!(unsupported(&request, Api::Chat, &vllm), None);
        let prepared = prepare(&request, "m", Api::Chat, &Settings::default(), &vllm, None)?;
        let body: Value = serde_json::from_slice(&prepared.body).expect("JSON");
        assert_eq!(prepared.form, Form::Turn { prefilled: true });
        assert_eq!(
            (&body["continue_final_message"], &body["messages"][1]["content"]),
            (&json!(true), &json!("<think>\n"))
        );
        let openai = Profile::find("openai")?;
        assert_eq!(unsupported(&request, Api::Chat, &openai).map(|(setting, ..)| setting), Some("prompt.think"));
        assert_eq!(unsupported(&request, Api::Completions, &openai), None);
        Ok(())
    }

    #[test]
    fn only_settings_that_differ_from_doing_nothing_are_named() {
        assert!(beyond_common(&Sampling::default()).is_empty());
        let set =
            Sampling { top_k: Some(5), stop: vec!["x".into()], logit_bias: [(7, 1.0)].into(), ..Sampling::default() };
        let expected = json!({ "top_k": 5, "stop": ["x"], "logit_bias": { "7": 1.0 } });
        assert_eq!(Value::Object(beyond_common(&set)), expected);
    }
}
