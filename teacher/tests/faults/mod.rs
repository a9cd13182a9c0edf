//! A server that sends exactly the bytes it is told to, as fast or slow as it is told to, and remembers what it was asked.

#![allow(dead_code, reason = "not every test needs everything")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// One thing that the server does with a connection.
#[derive(Clone)]
pub(crate) enum Step {
    Send(Vec<u8>),
    /// One byte at a time, with so much time between.
    Drip(Vec<u8>, Duration),
    /// Again and again, until the client has had enough.
    Forever(Vec<u8>, Duration),
    /// Keeps the connection open for the next request.
    KeepOpen,
    /// Says nothing more and stays.
    Hang,
}

/// What the server was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: serde_json::Value,
    /// How many requests for the same path came before.
    pub(crate) number: usize,
}

type Script = dyn Fn(&Asked) -> Vec<Step> + Send + Sync;

struct State {
    script: Box<Script>,
    asked: Mutex<Vec<Asked>>,
    stopped: AtomicBool,
}

pub(crate) struct Server {
    address: SocketAddr,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Answers each request as `script` says.
    pub(crate) fn start(script: impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let state =
            Arc::new(State { script: Box::new(script), asked: Mutex::default(), stopped: AtomicBool::new(false) });
        let shared = state.clone();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stopped.load(Ordering::SeqCst) {
                    break;
                }
                let (Ok(stream), shared) = (stream, shared.clone()) else { continue };
                // A client that hangs up is part of the game.
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        Self { address, state, thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// What was asked of `path`, such as `/v1/chat/completions`.
    pub(crate) fn asked(&self, path: &str) -> Vec<Asked> {
        let asked = self.state.asked.lock().expect("no panic");
        asked.iter().filter(|asked| asked.path == path).cloned().collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl State {
    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let _ = stream.set_nodelay(true);
        let mut reader = BufReader::new(stream.try_clone()?);
        while let Some(mut asked) = read_request(&mut reader)? {
            {
                let mut all = self.asked.lock().expect("no panic");
                asked.number = all.iter().filter(|before| before.path == asked.path).count();
                all.push(asked.clone());
            }
            let mut open = false;
            for step in (self.script)(&asked) {
                open = matches!(step, Step::KeepOpen);
                self.perform(&stream, step)?;
            }
            if !open {
                break;
            }
        }
        stream.shutdown(Shutdown::Both)
    }

    fn perform(&self, mut stream: &TcpStream, step: Step) -> std::io::Result<()> {
        match step {
            Step::Send(bytes) => stream.write_all(&bytes),
            Step::KeepOpen => Ok(()),
            Step::Drip(bytes, pause) => bytes.chunks(1).try_for_each(|byte| {
                std::thread::sleep(pause);
                stream.write_all(byte)
            }),
            Step::Forever(bytes, pause) => {
                while !self.stopped.load(Ordering::SeqCst) {
                    std::thread::sleep(pause);
                    stream.write_all(&bytes)?;
                }
                Ok(())
            }
            Step::Hang => {
                // Until the client goes.
                let _ = stream.set_read_timeout(Some(Duration::from_millis(20)));
                while !self.stopped.load(Ordering::SeqCst) {
                    match stream.read(&mut [0; 64]) {
                        Ok(0) => break,
                        Ok(_) => {}
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                        Err(_) => break,
                    }
                }
                Ok(())
            }
        }
    }
}

fn read_request(reader: &mut impl BufRead) -> std::io::Result<Option<Asked>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).unwrap_or_default().to_string();
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_string());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = serde_json::from_slice(&body).unwrap_or_default();
    Ok(Some(Asked { path, headers, body, number: 0 }))
}

/// An answer with a body of known length.
pub(crate) fn answer(status: &str, headers: &str, body: &str) -> Vec<Step> {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{headers}\r\n");
    vec![Step::Send((head + body).into_bytes()), Step::KeepOpen]
}

/// The head of an answer that ends with its connection.
pub(crate) const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";

/// A stream of events in HTTP's chunks: these say where the answer ends.
pub(crate) fn stream(events: &str) -> Vec<u8> {
    let mut bytes =
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
            .to_vec();
    for chunk in events.as_bytes().chunks(97) {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}
