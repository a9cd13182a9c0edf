//! A hub on this machine: one thread, one request per connection, misbehaving as a test asks.

use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// How the server answers one request instead of as it should.
#[derive(Clone)]
pub(crate) enum Answer {
    Status(u16),
    /// Promises everything and closes after so many bytes.
    CutAfter(usize),
    IgnoreRange,
    /// The right length, one byte wrong.
    Damaged,
    Redirect(String),
    Body(String),
}

#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) path: String,
    headers: BTreeMap<String, String>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&String> {
        self.headers.get(name)
    }
}

#[derive(Default)]
struct State {
    commit: String,
    files: BTreeMap<String, (Vec<u8>, bool)>,
    answers: BTreeMap<String, VecDeque<Answer>>,
    requests: Vec<Request>,
    stopped: bool,
}

pub(crate) struct Server {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(commit: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(State { commit: commit.into(), ..State::default() }));
        let shared = state.clone();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut state = shared.lock().expect("no panic");
                if state.stopped {
                    break;
                }
                // A client that hangs up early is part of the game.
                let _ = stream.and_then(|stream| state.serve(stream));
            }
        });
        Self { address, state, thread: Some(thread) }
    }

    /// Moves the branch to another commit.
    pub(crate) fn commit(&self, commit: &str) {
        self.state.lock().expect("no panic").commit = commit.into();
    }

    pub(crate) fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds a file; `lfs` ones are listed with their hash.
    pub(crate) fn file(&self, name: &str, bytes: &[u8], lfs: bool) {
        self.state.lock().expect("no panic").files.insert(name.into(), (bytes.into(), lfs));
    }

    /// How the next requests for `name`, a file or `list`, are answered.
    pub(crate) fn answer(&self, name: &str, answers: impl IntoIterator<Item = Answer>) {
        self.state.lock().expect("no panic").answers.insert(name.into(), answers.into_iter().collect());
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state.lock().expect("no panic").requests.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.lock().expect("no panic").stopped = true;
        // Wakes the thread, which then sees that it should end.
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl State {
    fn serve(&mut self, mut stream: TcpStream) -> std::io::Result<()> {
        let request = read_request(&stream)?;
        self.requests.push(request.clone());
        let path = request.path.split('?').next().unwrap_or_default();
        let file = || path.split_once("/resolve/").and_then(|(_, rest)| rest.split_once('/'));
        let name = if path.starts_with("/api/") { "list" } else { file().map_or("", |(_, name)| name) };
        let answer = self.answers.get_mut(name).and_then(VecDeque::pop_front);
        let body =
            if name == "list" { self.list() } else { self.files.get(name).map_or(vec![], |file| file.0.clone()) };
        let from = request.header("range").and_then(|range| range["bytes=".len()..].trim_end_matches('-').parse().ok());
        match answer {
            Some(Answer::Status(status)) => respond(&mut stream, &format!("{status} Odd"), "", b"", 0),
            Some(Answer::Redirect(to)) => respond(&mut stream, "302 Found", &format!("Location: {to}\r\n"), b"", 0),
            Some(Answer::Body(body)) => respond(&mut stream, "200 OK", "", body.as_bytes(), body.len()),
            Some(Answer::IgnoreRange) => respond(&mut stream, "200 OK", "", &body, body.len()),
            Some(Answer::Damaged) => {
                let mut body = body;
                body[0] ^= 1;
                respond(&mut stream, "200 OK", "", &body, body.len())
            }
            other => {
                let begin: usize = from.unwrap_or(0).min(body.len());
                let cut = if let Some(Answer::CutAfter(count)) = other { count } else { usize::MAX };
                let rest = &body[begin..];
                let range = format!("Content-Range: bytes {begin}-{}/{}\r\n", body.len() - 1, body.len());
                let (status, range) =
                    if from.is_some() { ("206 Partial Content", range) } else { ("200 OK", "".into()) };
                respond(&mut stream, status, &range, &rest[..rest.len().min(cut)], rest.len())
            }
        }
    }

    fn list(&self) -> Vec<u8> {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let files: Vec<serde_json::Value> = self
            .files
            .iter()
            .map(|(name, (bytes, lfs))| {
                let hash = hex(&Sha256::digest(bytes));
                // Of a large file git knows a pointer alone, here any other bytes.
                let kept = if *lfs { hash.as_bytes() } else { bytes };
                let blob = Sha1::new_with_prefix(format!("blob {}\0", kept.len())).chain_update(kept).finalize();
                let mut file = serde_json::json!({"rfilename": name, "size": bytes.len(), "blobId": hex(&blob)});
                if *lfs {
                    file["lfs"] = serde_json::json!({"sha256": hash, "size": bytes.len(), "pointerSize": 130});
                }
                file
            })
            .collect();
        serde_json::json!({"sha": self.commit, "siblings": files}).to_string().into_bytes()
    }
}

fn read_request(stream: &TcpStream) -> std::io::Result<Request> {
    let mut lines = BufReader::new(stream.take(1 << 16)).lines();
    let first = lines.next().unwrap_or(Ok(String::new()))?;
    let path = first.split(' ').nth(1).unwrap_or_default().to_string();
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_string());
    }
    Ok(Request { path, headers })
}

fn respond(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8], promised: usize) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {promised}\r\n{headers}\r\n")?;
    stream.write_all(body)?;
    stream.flush()
}
