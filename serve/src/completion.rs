//! Completions of one request: queued, written as their tokens come, and told whole or in pieces.

use crate::ask::{Ask, Kind, Refusal};
use crate::logprobs::{self, Scored};
use crate::queue::Event;
use crate::reply::{self, Choice, Heading, Usage};
use crate::route::App;
use crate::writer::{Delta, Writer};
use hyper::body::Bytes;
use retort_model::generate::FinishReason;
use retort_model::sampling::NoiseKey;
use serde_json::Value;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::JoinSet;

/// A completion that was queued; `None` where nothing is to be generated.
pub(crate) struct Submitted {
    index: usize,
    events: Option<UnboundedReceiver<Event>>,
}

/// Queues all completions of a request, or none of them.
pub(crate) fn submit(app: &App, ask: &Ask, number: u64) -> Result<Vec<Submitted>, Refusal> {
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
                        .submit(prompt.tokens.clone(), sampling.clone(), noise, ask.logprobs.map(logprobs::capture))
                        .ok_or_else(|| Refusal::new(429, "too many requests are waiting"))?,
                ),
            };
            submitted.push(Submitted { index, events });
        }
    }
    Ok(submitted)
}

/// Who hears of a completion while it is written.
struct Listener {
    index: usize,
    heading: Arc<Heading>,
    sender: mpsc::Sender<Bytes>,
    /// Goes with the first piece.
    prompt: Option<Arc<[u32]>>,
    /// Whether tokens are told too.
    token_ids: bool,
}

impl Listener {
    /// Whether anybody listened. What is `told` of tokens goes with the text that they are.
    async fn tell(&mut self, delta: &Delta, tokens: &[u32], told: &mut Told<'_>) -> bool {
        // Held-back text says nothing yet, but its tokens belong to somebody who counts them.
        if delta.is_empty() && !self.token_ids && self.prompt.is_none() {
            return !self.sender.is_closed();
        }
        let piece = self.heading.piece(self.index, delta, None, tokens, self.prompt.take().as_deref());
        self.sender.send(event(&with_logprobs(piece, told.take()))).await.is_ok()
    }
}

/// What is known of a completion's tokens and was not told yet; nothing where nobody asked or nothing is new.
struct Told<'a> {
    app: &'a App,
    ask: &'a Ask,
    waiting: Option<Scored>,
    /// Characters of the tokens that were told.
    offset: usize,
}

impl Told<'_> {
    /// What waits, in the protocol's words.
    fn take(&mut self) -> Value {
        let Some(scored) = self.waiting.as_mut().filter(|scored| !scored.is_empty()) else { return Value::Null };
        let scored = std::mem::take(scored);
        scored.json(self.ask.kind, &self.app.engine.tokenizer, self.ask.tokens_as_ids, &mut self.offset)
    }
}

fn with_logprobs(mut piece: Value, logprobs: Value) -> Value {
    piece["choices"][0]["logprobs"] = logprobs;
    piece
}

/// How likely the tokens of the prompts at these places were, where both that and the prompts are to be told.
async fn echoed(app: &Arc<App>, ask: &Ask, places: &[usize]) -> Result<Vec<Option<Scored>>, Refusal> {
    let Some(top) = ask.logprobs.filter(|_| ask.echo) else { return Ok(vec![None; places.len()]) };
    let closes = || Refusal::new(503, "the endpoint closes");
    let _turn = app.scoring.acquire().await.map_err(|_| closes())?;
    let prompts: Vec<Arc<[u32]>> = places.iter().map(|&place| ask.prompts[place].tokens.clone()).collect();
    let app = app.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let prompts: Vec<&[u32]> = prompts.iter().map(|prompt| &**prompt).collect();
        logprobs::read(&app.engine, &prompts, top)
    });
    Ok(reading.await.map_err(|_| closes())??.into_iter().map(Some).collect())
}

/// Writes one completion, telling each piece as it comes; `None` where nobody listens any more.
async fn write(
    app: &App,
    ask: &Ask,
    submitted: Submitted,
    echoed: Option<Scored>,
    mut listener: Option<Listener>,
) -> Result<Option<Choice>, Refusal> {
    let Submitted { index, events } = submitted;
    let waiting = ask.logprobs.map(|_| echoed.unwrap_or_default());
    let mut told = Told { app, ask, waiting, offset: 0 };
    let prompt = &ask.prompts[index / ask.n];
    let failed = |error: &dyn std::fmt::Display| Refusal::new(500, format!("the model failed: {error}"));
    let chat = (ask.kind == Kind::Chat).then_some(prompt.thinks);
    let mut writer = Writer::new(&app.engine.tokenizer, ask.stop.clone(), chat);
    let mut text = Delta::default();
    if ask.echo {
        text.content = app.engine.tokenizer.decode(&prompt.tokens).map_err(|error| failed(&error))?;
        if let Some(listener) = &mut listener
            && !listener.tell(&text, &[], &mut told).await
        {
            return Ok(None);
        }
    }
    let Some(mut events) = events else {
        let (prompt, tokens) = (prompt.tokens.clone(), vec![]);
        return Ok(Some(Choice { index, text, finish_reason: "length", tokens, prompt, logprobs: told.take() }));
    };
    let finish_reason = loop {
        let before = writer.tokens().len();
        let (delta, captured, finish) = match events.recv().await {
            Some(Event::Tokens(tokens, captured)) => (writer.push(&tokens), captured, None),
            Some(Event::Done(completion)) => {
                let ended = completion.finish_reason == FinishReason::Stop;
                let rest = completion.token_ids.get(before..).unwrap_or_default();
                let captured = completion.targets.as_ref().map(|targets| targets.since(before)).unwrap_or_default();
                (writer.finish(rest, ended), captured, Some(if ended { "stop" } else { "length" }))
            }
            Some(Event::Failed(reason)) => return Err(failed(&reason)),
            None => return Err(failed(&"it stopped")),
        };
        let delta = delta.map_err(|error| failed(&error))?;
        text.reasoning += &delta.reasoning;
        text.content += &delta.content;
        if let Some(waiting) = &mut told.waiting {
            waiting.extend(&writer.tokens()[before..], &captured);
        }
        let finish = if writer.is_stopped() { Some("stop") } else { finish };
        if let Some(listener) = &mut listener
            && !listener.tell(&delta, &writer.tokens()[before..], &mut told).await
        {
            return Ok(None);
        }
        if let Some(finish) = finish {
            // Dropping `events` gives the slot back where a stop string came before the model's own end.
            break finish;
        }
    };
    let (prompt, tokens) = (prompt.tokens.clone(), writer.tokens().to_vec());
    Ok(Some(Choice { index, text, finish_reason, tokens, prompt, logprobs: told.take() }))
}

pub(crate) async fn whole(app: &Arc<App>, ask: &Ask, submitted: Vec<Submitted>) -> Result<Vec<Choice>, Refusal> {
    let places: Vec<usize> = (0..ask.prompts.len()).collect();
    let echoed = echoed(app, ask, &places).await?;
    let mut choices = Vec::new();
    for submitted in submitted {
        let echoed = echoed[submitted.index / ask.n].clone();
        choices.extend(write(app, ask, submitted, echoed, None).await?);
    }
    Ok(choices)
}

/// Writes all completions of a request side by side as events.
pub(crate) async fn stream(
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
        writing.spawn(stream_choice(app, ask, heading, submitted, sender));
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
    app: Arc<App>,
    ask: Arc<Ask>,
    heading: Arc<Heading>,
    submitted: Submitted,
    sender: mpsc::Sender<Bytes>,
) -> Result<Option<usize>, Refusal> {
    let index = submitted.index;
    let prompt = Some(ask.prompts[index / ask.n].tokens.clone());
    let listener =
        Listener { index, heading: heading.clone(), sender: sender.clone(), prompt, token_ids: ask.token_ids };
    let echoed = echoed(&app, &ask, &[index / ask.n]).await?.pop().flatten();
    let Some(choice) = write(&app, &ask, submitted, echoed, Some(listener)).await? else { return Ok(None) };
    let end = heading.piece(index, &Delta::default(), Some(choice.finish_reason), &[], None);
    // Tokens that are no text, such as the end of a turn, come with the end.
    let sent = sender.send(event(&with_logprobs(end, choice.logprobs))).await;
    Ok(sent.is_ok().then_some(choice.tokens.len()))
}

fn event(value: &Value) -> Bytes {
    format!("data: {value}\n\n").into()
}
