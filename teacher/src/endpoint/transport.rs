//! Connections to one endpoint, and one attempt over them under its four deadlines.
//!
//! There is no client above hyper's connections: nothing follows a redirect, nothing repeats a request by itself, and
//! the key goes to the one address that it was given for.

use super::address::Address;
use super::answer::{Answer, Expected, Reply};
use super::events::Events;
use super::failure::{Class, Failure, shown};
use super::key::ApiKey;
use super::prompt::Prepared;
use super::settings::Deadlines;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

type Sender = SendRequest<Full<Bytes>>;

/// The way to one endpoint.
pub(super) struct Transport {
    address: Address,
    tls: Option<TlsConnector>,
    key: Option<ApiKey>,
    deadlines: Deadlines,
    /// Connections that wait for a request.
    idle: Mutex<Vec<Sender>>,
}

/// No error's body and no list of models is longer.
const SMALL_BODY: usize = 1 << 20;

/// How long the end of a body may come after the end of an answer.
const LINGER: Duration = Duration::from_millis(200);

/// No headers are longer.
const HEADER_BYTES: usize = 64 << 10;

impl Transport {
    pub(super) fn new(address: Address, key: Option<ApiKey>, deadlines: Deadlines) -> Result<Self, super::Error> {
        let tls = if address.tls { Some(tls_connector().map_err(super::Error::Runtime)?) } else { None };
        Ok(Self { address, tls, key, deadlines, idle: Mutex::default() })
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Where the key stands that is sent, in words.
    pub(super) fn key_place(&self) -> Option<String> {
        self.key.as_ref().map(|key| key.place().into())
    }

    /// The list of models.
    pub(super) async fn models(&self) -> Result<Vec<u8>, Failure> {
        self.list().await.map_err(|failure| failure.shown(self.key.as_ref()))
    }

    async fn list(&self) -> Result<Vec<u8>, Failure> {
        let begin = Instant::now();
        let deadline = begin + self.deadlines.first_byte.min(Duration::from_secs(60));
        let (answer, _) = self.send(Method::GET, "/models", Bytes::new(), deadline).await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = small_body(answer.into_body(), deadline).await?;
        if status == 200 {
            return Ok(body);
        }
        Err(Failure::of_status(status, &headers, &body, SystemTime::now()))
    }

    /// One attempt at a completion. Nothing that comes of it holds the key, wherever the server put it.
    pub(super) async fn complete(
        &self,
        route: &str,
        prepared: &Prepared,
        expected: Expected<'_>,
    ) -> Result<Reply, Failure> {
        let reply = self.attempt(route, prepared, expected).await.and_then(|reply| match &self.key {
            Some(key) => reply.without(key),
            None => Ok(reply),
        });
        reply.map_err(|failure| failure.shown(self.key.as_ref()))
    }

    /// What a server sent, as people may see it.
    pub(super) fn shown(&self, text: &str) -> String {
        let text = self.key.as_ref().map_or(text.into(), |key| key.redact(text));
        shown(&text)
    }

    async fn attempt(&self, route: &str, prepared: &Prepared, expected: Expected<'_>) -> Result<Reply, Failure> {
        let begin = Instant::now();
        let total = begin + self.deadlines.total;
        let first = (begin + self.deadlines.first_byte).min(total);
        let body = Bytes::from(prepared.body.clone());
        let (answer, sender) = self.send(Method::POST, route, body, first).await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        if status != 200 {
            // What a proxy says in place of an answer may break off; its status says enough.
            let body = small_body(answer.into_body(), first.min(Instant::now() + self.deadlines.idle)).await;
            return Err(Failure::of_status(status, &headers, &body.unwrap_or_default(), SystemTime::now()));
        }
        let streamed = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        let mut reading =
            Reading { answer: Answer::default(), events: Events::new(SMALL_BODY), whole: vec![], streamed };
        let (mut body, mut left, mut deadline) = (answer.into_body(), prepared.limit, first);
        loop {
            let frame = match timeout_at(deadline, body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(None) => break,
                Ok(Some(Err(error))) => {
                    return Err(Failure::new(Class::Broken, format!("the answer broke off: {error}")));
                }
                Err(_) => return Err(self.late(&reading.answer, deadline == total)),
            };
            let Ok(bytes) = frame.into_data() else { continue };
            left = left.checked_sub(bytes.len()).ok_or_else(|| {
                Failure::garbage(format!(
                    "more than {} bytes for {} tokens",
                    prepared.limit, prepared.estimate.completion_tokens
                ))
            })?;
            let before = reading.answer.pieces;
            reading.take(&bytes, expected)?;
            if reading.answer.is_done() {
                break;
            }
            // Heartbeats do not count: only a piece of the answer buys more time.
            if reading.answer.pieces > before {
                deadline = (Instant::now() + self.deadlines.idle).min(total);
            }
        }
        let reply = reading.end(expected)?;
        // The end of the body comes with its last event; a server that holds it back loses the connection.
        if matches!(timeout_at(Instant::now() + LINGER, body.frame()).await, Ok(None)) {
            self.keep(sender);
        }
        Ok(reply)
    }

    fn late(&self, answer: &Answer, total: bool) -> Failure {
        let (what, limit) = match (total, answer.pieces) {
            (true, _) => ("the whole answer", self.deadlines.total),
            (false, 0) => ("a first token", self.deadlines.first_byte),
            (false, _) => ("another token", self.deadlines.idle),
        };
        let class = if answer.pieces == 0 { Class::Away } else { Class::Broken };
        Failure::new(class, format!("no sign of {what} after {limit:?}"))
    }

    /// Sends a request over a connection that is there, or over a new one.
    async fn send(
        &self,
        method: Method,
        route: &str,
        body: Bytes,
        deadline: Instant,
    ) -> Result<(Response<Incoming>, Sender), Failure> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let (mut sender, fresh) = match idle {
                Some(sender) if sender.is_closed() => continue,
                Some(sender) => (sender, false),
                None => (self.connect().await?, true),
            };
            // A connection may still be busy with the end of the answer before, or be closed by now.
            match timeout_at(deadline, sender.ready()).await {
                Ok(Ok(())) => {}
                _ if !fresh => continue,
                Ok(Err(error)) => return Err(Failure::new(Class::NotSent, causes(&error))),
                Err(late) => return Err(Failure::new(Class::NotSent, late.to_string())),
            }
            let request = self.request(method.clone(), route, body.clone())?;
            match timeout_at(deadline, sender.try_send_request(request)).await {
                Ok(Ok(answer)) => return Ok((answer, sender)),
                Err(_) => {
                    return Err(Failure::new(Class::Away, format!("no answer after {:?}", self.deadlines.first_byte)));
                }
                Ok(Err(mut error)) => {
                    let unsent = error.take_message().is_some();
                    // The server may close a connection that waits at any time; that says nothing about it.
                    if unsent && !fresh {
                        continue;
                    }
                    let class = if unsent { Class::NotSent } else { Class::Away };
                    return Err(Failure::new(class, causes(error.error())));
                }
            }
        }
    }

    fn request(&self, method: Method, route: &str, body: Bytes) -> Result<Request<Full<Bytes>>, Failure> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{route}", self.address.path))
            .header(HOST, self.address.authority())
            .header(USER_AGENT, concat!("retort/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "text/event-stream, application/json")
            // Nothing here unpacks anything, so nothing can be sent that unpacks to more than it seems.
            .header(ACCEPT_ENCODING, "identity")
            .header(CONTENT_TYPE, "application/json");
        let request = match &self.key {
            Some(key) => request.header(AUTHORIZATION, key.header().unwrap_or(HeaderValue::from_static(""))),
            None => request,
        };
        request.body(Full::new(body)).map_err(|error| Failure::new(Class::Unusable, error.to_string()))
    }

    async fn connect(&self) -> Result<Sender, Failure> {
        let deadline = Instant::now() + self.deadlines.connect;
        let late = |_| Failure::new(Class::NotSent, format!("no connection after {:?}", self.deadlines.connect));
        let unsent = |error: std::io::Error| {
            let named = error.kind() == ErrorKind::InvalidData && self.tls.is_some();
            // A certificate that does not fit will not fit tomorrow.
            Failure::new(if named { Class::Unusable } else { Class::NotSent }, error.to_string())
        };
        let connect = TcpStream::connect((self.address.host.as_str(), self.address.port));
        let stream = timeout_at(deadline, connect).await.map_err(late)?.map_err(unsent)?;
        // A token is a packet of its own.
        let _ = stream.set_nodelay(true);
        match &self.tls {
            None => handshake(stream).await,
            Some(tls) => {
                let name = ServerName::try_from(self.address.host.clone())
                    .map_err(|error| Failure::new(Class::Unusable, error.to_string()))?;
                let stream = timeout_at(deadline, tls.connect(name, stream)).await.map_err(late)?.map_err(unsent)?;
                handshake(stream).await
            }
        }
    }

    /// Keeps a connection for the next request.
    fn keep(&self, sender: Sender) {
        if !sender.is_closed() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        }
    }
}

/// An answer while it is read.
struct Reading {
    answer: Answer,
    events: Events,
    /// The body where it is not a stream.
    whole: Vec<u8>,
    streamed: bool,
}

impl Reading {
    fn take(&mut self, bytes: &[u8], expected: Expected<'_>) -> Result<(), Failure> {
        if self.streamed {
            let answer = &mut self.answer;
            return self.events.push(bytes, |data| answer.event(data, expected.profile));
        }
        self.whole.extend_from_slice(bytes);
        Ok(())
    }

    fn end(mut self, expected: Expected<'_>) -> Result<Reply, Failure> {
        if !self.streamed {
            self.answer.body(&self.whole, expected.profile)?;
        }
        self.answer.finish(expected)
    }
}

async fn handshake<S>(stream: S) -> Result<Sender, Failure>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEADER_BYTES);
    let (sender, connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(|error| Failure::new(Class::NotSent, causes(&error)))?;
    // It ends with the sender; what goes wrong on it reaches the request that it goes wrong for.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(sender)
}

async fn small_body(mut body: Incoming, deadline: Instant) -> Result<Vec<u8>, Failure> {
    let broken = |reason: String| Failure::new(Class::Away, format!("the answer broke off: {reason}"));
    let mut bytes = Vec::new();
    while let Some(frame) = timeout_at(deadline, body.frame()).await.map_err(|late| broken(late.to_string()))? {
        if let Ok(data) = frame.map_err(|error| broken(causes(&error)))?.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > SMALL_BODY {
            return Err(Failure::garbage(format!("more than {SMALL_BODY} bytes")));
        }
    }
    Ok(bytes)
}

/// An error with what is behind it.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

fn tls_connector() -> std::io::Result<TlsConnector> {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(std::io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
