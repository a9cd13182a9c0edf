//! Which path does what, and how a completion is written into an answer.

use crate::AnyEngine;
use crate::access;
use crate::ask::{Ask, Kind, Refusal};
use crate::logprobs::{Text, score};
use crate::metrics::Metrics;
use crate::queue::{Event, Queue};
use crate::reply::{self, Choice, Heading, Usage};
use crate::settings::Settings;
use crate::writer::{Delta, Writer};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Method, Request, Response};
use retort_model::generate::FinishReason;
use retort_model::sampling::NoiseKey;
use serde_json::Value;
use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Everything that requests share.
pub(crate) struct App {
    pub engine: AnyEngine,
    pub settings: Settings,
    pub queue: Queue,
    pub metrics: Arc<Metrics>,
    pub counter: AtomicU64,
    /// Whoever reads tokens once more to tell their log-probabilities holds it.
    pub scoring: Semaphore,
}

/// The body of an answer: all of it, or pieces as they come.
pub(crate) enum Body {
    Whole(Option<Bytes>),
    Pieces(mpsc::Receiver<Bytes>),
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take()),
            Self::Pieces(pieces) => pieces.poll_recv(cx),
        };
        next.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// Pieces that may wait for a slow client, before its completion waits for it too.
const PIECES: usize = 64;

/// Answers one request; what goes wrong is an answer too.
pub(crate) async fn answer(app: Arc<App>, request: Request<Incoming>) -> Response<Body> {
    let response = match respond(&app, request).await {
        Ok(response) => response,
        Err(refusal) => {
            let mut response = document(refusal.status, &reply::error(&refusal));
            let (name, value) = match refusal.status {
                401 => (WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")),
                429 => (RETRY_AFTER, HeaderValue::from_static("1")),
                _ => (CACHE_CONTROL, HeaderValue::from_static("no-store")),
            };
            response.headers_mut().insert(name, value);
            response
        }
    };
    app.metrics.answered(response.status().as_u16());
    response
}

async fn respond(app: &Arc<App>, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let denied = |(status, reason): (u16, &str)| Refusal::new(status, reason);
    access::check(app.settings.key.as_ref(), request.headers()).map_err(denied)?;
    let path = request.uri().path().to_owned();
    let kind = match (request.method(), path.as_str()) {
        (&Method::GET, "/health") => return Ok(document(200, &serde_json::json!({ "status": "ok" }))),
        (&Method::GET, "/metrics") => {
            return Ok(response(200, "text/plain; version=0.0.4", app.metrics.render().into()));
        }
        (&Method::GET, "/v1/models") => {
            return Ok(document(200, &reply::models(&app.settings.model, app.engine.context)));
        }
        (&Method::POST, "/v1/chat/completions") => Kind::Chat,
        (&Method::POST, "/v1/completions") => Kind::Text,
        (_, "/health" | "/metrics" | "/v1/models" | "/v1/chat/completions" | "/v1/completions") => {
            return Err(Refusal::new(405, format!("{} is not for this path", request.method())));
        }
        _ => return Err(Refusal::new(404, "there is nothing at this path")),
    };
    let limits = &app.settings.limits;
    let Ok(body) = timeout(limits.reading, read_body(request.into_body(), limits.body_bytes)).await else {
        return Err(Refusal::new(408, format!("no body after {:?}", limits.reading)));
    };
    let body = body?;
    let ask = Ask::read(kind, &body, &app.engine, &app.settings.model, limits)?;
    let number = app.counter.fetch_add(1, Ordering::Relaxed);
    let heading = Heading::new(&ask, number, &app.settings.model, &app.engine.fingerprint);
    let submitted = submit(app, &ask, number)?;
    let prompt_tokens = ask.prompts.iter().map(|prompt| prompt.tokens.len()).sum();
    app.metrics.prompt_tokens.fetch_add(prompt_tokens as u64, Ordering::Relaxed);
    if ask.stream {
        let (sender, pieces) = mpsc::channel(PIECES);
        let streaming = stream(app.clone(), ask, heading, submitted, sender, prompt_tokens);
        tokio::spawn(timeout(limits.answering, streaming));
        let mut response = response(200, "text/event-stream", Bytes::new());
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        *response.body_mut() = Body::Pieces(pieces);
        return Ok(response);
    }
    let whole = whole(app, &ask, submitted);
    let Ok(choices) = timeout(limits.answering, whole).await else {
        return Err(Refusal::new(504, format!("no answer after {:?}", limits.answering)));
    };
    let choices = choices?;
    let usage = Usage { prompt: prompt_tokens, completion: choices.iter().map(|choice| choice.tokens.len()).sum() };
    Ok(document(200, &heading.whole(choices, usage)))
}

/// A body of up to `most` bytes. Somewhat more is read and dropped, so that whoever sends it gets to hear of it.
async fn read_body(mut body: Incoming, most: usize) -> Result<Vec<u8>, Refusal> {
    let (mut bytes, mut length) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Refusal::new(400, format!("the body broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length <= most {
            bytes.extend_from_slice(&data);
        } else if length > 4 * most {
            break;
        }
    }
    if length > most {
        return Err(Refusal::new(413, format!("the body is longer than {most} bytes")));
    }
    Ok(bytes)
}

/// A completion that was queued; `None` where nothing is to be generated.
struct Submitted {
    index: usize,
    events: Option<UnboundedReceiver<Event>>,
}

/// Queues all completions of a request, or none of them.
fn submit(app: &App, ask: &Ask, number: u64) -> Result<Vec<Submitted>, Refusal> {
    let seed = ask.seed.unwrap_or_else(|| RandomState::new().hash_one(number));
    let mut submitted = Vec::new();
    for (place, (prompt, sampling)) in ask.prompts.iter().zip(&ask.sampling).enumerate() {
        for sample in 0..ask.n {
            let index = place * ask.n + sample;
            let noise = NoiseKey::new(seed, "request", index as u32);
            let events = match sampling.max_tokens {
                0 => None,
                _ => Some(
                    app.queue
                        .submit(prompt.tokens.clone(), *sampling, noise)
                        .ok_or_else(|| Refusal::new(429, "too many requests are waiting"))?,
                ),
            };
            submitted.push(Submitted { index, events });
        }
    }
    Ok(submitted)
}

/// Writes one completion, telling each piece as it comes; `None` where nobody listens any more.
async fn write(
    app: &App,
    ask: &Ask,
    submitted: Submitted,
    mut tell: impl AsyncFnMut(&Delta, &[u32]) -> bool,
) -> Result<Option<Choice>, Refusal> {
    let Submitted { index, events } = submitted;
    let prompt = &ask.prompts[index / ask.n];
    let failed = |error: &dyn std::fmt::Display| Refusal::new(500, format!("the model failed: {error}"));
    let chat = (ask.kind == Kind::Chat).then_some(prompt.thinks);
    let mut writer = Writer::new(&app.engine.tokenizer, ask.stop.clone(), chat);
    let mut text = Delta::default();
    if ask.echo {
        text.content = app.engine.tokenizer.decode(&prompt.tokens).map_err(|error| failed(&error))?;
        if !tell(&text, &[]).await {
            return Ok(None);
        }
    }
    let Some(mut events) = events else {
        let (prompt, tokens) = (prompt.tokens.clone(), vec![]);
        return Ok(Some(Choice { index, text, finish_reason: "length", tokens, prompt, logprobs: Value::Null }));
    };
    let finish_reason = loop {
        let before = writer.tokens().len();
        let (delta, finish) = match events.recv().await {
            Some(Event::Tokens(tokens)) => (writer.push(&tokens), None),
            Some(Event::Done(completion)) => {
                let ended = completion.finish_reason == FinishReason::Stop;
                let rest = completion.token_ids.get(before..).unwrap_or_default();
                (writer.finish(rest, ended), Some(if ended { "stop" } else { "length" }))
            }
            Some(Event::Failed(reason)) => return Err(failed(&reason)),
            None => return Err(failed(&"it stopped")),
        };
        let delta = delta.map_err(|error| failed(&error))?;
        text.reasoning += &delta.reasoning;
        text.content += &delta.content;
        let finish = if writer.is_stopped() { Some("stop") } else { finish };
        if !tell(&delta, &writer.tokens()[before..]).await {
            return Ok(None);
        }
        if let Some(finish) = finish {
            // Dropping `events` gives the slot back where a stop string came before the model's own end.
            break finish;
        }
    };
    let (prompt, tokens) = (prompt.tokens.clone(), writer.tokens().to_vec());
    Ok(Some(Choice { index, text, finish_reason, tokens, prompt, logprobs: Value::Null }))
}

async fn whole(app: &Arc<App>, ask: &Ask, submitted: Vec<Submitted>) -> Result<Vec<Choice>, Refusal> {
    let mut choices = Vec::new();
    for submitted in submitted {
        choices.extend(write(app, ask, submitted, async |_, _| true).await?);
    }
    tell_logprobs(app, ask, choices).await
}

/// Adds to finished completions how likely their tokens were, where that was asked.
async fn tell_logprobs(app: &Arc<App>, ask: &Ask, mut choices: Vec<Choice>) -> Result<Vec<Choice>, Refusal> {
    let Some(top) = ask.logprobs else { return Ok(choices) };
    let closes = || Refusal::new(503, "the endpoint closes");
    let _turn = app.scoring.acquire().await.map_err(|_| closes())?;
    let (app, kind, echo) = (app.clone(), ask.kind, ask.echo);
    let scoring = tokio::task::spawn_blocking(move || {
        let text = |choice: &Choice| (choice.prompt.clone(), choice.tokens.clone());
        let texts: Vec<(Arc<[u32]>, Vec<u32>)> = choices.iter().map(text).collect();
        let texts: Vec<Text<'_>> =
            texts.iter().map(|(prompt, tokens)| Text { prompt, completion: tokens, echo }).collect();
        let scored = score(&app.engine, &texts, top)?;
        for (choice, scored) in choices.iter_mut().zip(scored) {
            choice.logprobs = scored.json(kind, &app.engine.tokenizer);
        }
        Ok(choices)
    });
    scoring.await.map_err(|_| closes())?
}

/// Writes all completions of a request side by side as events.
async fn stream(
    app: Arc<App>,
    ask: Ask,
    heading: Heading,
    submitted: Vec<Submitted>,
    sender: mpsc::Sender<Bytes>,
    prompt_tokens: usize,
) {
    let (ask, heading) = (Arc::new(ask), Arc::new(heading));
    let mut writing = JoinSet::new();
    for submitted in submitted {
        let (app, ask, heading, sender) = (app.clone(), ask.clone(), heading.clone(), sender.clone());
        writing.spawn(async move { stream_choice(&app, &ask, &heading, submitted, &sender).await });
    }
    let mut usage = Usage { prompt: prompt_tokens, completion: 0 };
    while let Some(written) = writing.join_next().await {
        match written {
            Ok(Ok(Some(tokens))) => usage.completion += tokens,
            // Nobody listens, or a task was lost; the others end with `writing`.
            Ok(Ok(None)) | Err(_) => return,
            Ok(Err(refusal)) => {
                let _ = sender.send(event(&reply::error(&refusal))).await;
                return;
            }
        }
    }
    if ask.usage_in_stream && sender.send(event(&heading.usage(usage))).await.is_err() {
        return;
    }
    let _ = sender.send(Bytes::from_static(b"data: [DONE]\n\n")).await;
}

/// Writes one completion as events; how many tokens it has.
async fn stream_choice(
    app: &Arc<App>,
    ask: &Ask,
    heading: &Heading,
    submitted: Submitted,
    sender: &mpsc::Sender<Bytes>,
) -> Result<Option<usize>, Refusal> {
    let index = submitted.index;
    let mut prompt = Some(ask.prompts[index / ask.n].tokens.clone());
    let choice = write(app, ask, submitted, async |delta: &Delta, tokens: &[u32]| {
        // Held-back text says nothing yet, but its tokens belong to somebody who counts them.
        if delta.is_empty() && !ask.token_ids && prompt.is_none() {
            return !sender.is_closed();
        }
        let piece = heading.piece(index, delta, None, tokens, prompt.take().as_deref());
        sender.send(event(&piece)).await.is_ok()
    });
    let Some(choice) = choice.await? else { return Ok(None) };
    let choices = tell_logprobs(app, ask, vec![choice]).await?;
    let tokens = choices.iter().map(|choice| choice.tokens.len()).sum();
    for choice in &choices {
        if sender.send(event(&heading.end(choice))).await.is_err() {
            return Ok(None);
        }
    }
    Ok(Some(tokens))
}

fn event(value: &Value) -> Bytes {
    format!("data: {value}\n\n").into()
}

fn document(status: u16, value: &Value) -> Response<Body> {
    response(status, "application/json", value.to_string().into())
}

fn response(status: u16, kind: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::Whole(Some(body)));
    // Every status here is a literal that the protocol knows.
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
