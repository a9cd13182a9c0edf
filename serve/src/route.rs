//! Which path does what, who may ask there, and what an answer looks like in HTTP.

use crate::AnyEngine;
use crate::access;
use crate::ask::{Ask, Kind, Refusal};
use crate::completion::{stream, submit, whole};
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::reply::{self, Heading, Usage};
use crate::settings::Settings;
use http_body_util::BodyExt;
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Method, Request, Response};
use serde_json::Value;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::sync::Semaphore;
use tokio::sync::mpsc;
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
        (&Method::GET, path)
            if path.strip_prefix("/v1/models/").is_some_and(|name| is_name(name, &app.settings.model)) =>
        {
            return Ok(document(200, &reply::model(&app.settings.model, app.engine.context)));
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

/// Whether a part of a path is this name; clients write what is not a letter or digit as `%2F`.
fn is_name(part: &str, name: &str) -> bool {
    let (mut bytes, mut rest) = (Vec::new(), part.as_bytes());
    while let [first, after @ ..] = rest {
        let code = (*first == b'%').then(|| u8::from_str_radix(std::str::from_utf8(after.get(..2)?).ok()?, 16).ok());
        let (byte, taken) = code.flatten().map_or((*first, 1), |byte| (byte, 3));
        bytes.push(byte);
        rest = &rest[taken..];
    }
    bytes == name.as_bytes()
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
