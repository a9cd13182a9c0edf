//! The program as a server on this machine, and a client that is no more than a socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub(crate) const KEY: &str = "sk-canary-5b2e77";

/// `retort serve` with the embedded teacher, ended with the test.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    child: Child,
}

impl Served {
    pub(crate) fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_retort"))
            .args(["serve", "--model", "embedded", "--addr", "127.0.0.1:0"])
            .env("RETORT_API_KEY", KEY)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        BufReader::new(child.stderr.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let address = line.split("http://").nth(1).and_then(|rest| rest.trim().strip_suffix("/v1")?.parse().ok());
        Self { address: address.unwrap_or_else(|| panic!("no address: {line}")), child }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Sends a request and leaves the connection to the caller.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket");
        let length = body.len();
        // A server that has read enough may hang up first.
        let _ = write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}",
            self.address
        );
        stream
    }

    /// Status and body of the answer to a request with the key.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        self.ask_with(method, path, &format!("Authorization: Bearer {KEY}\r\n"), body)
    }

    pub(crate) fn ask_with(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
        let mut text = String::new();
        let _ = self.send(method, path, headers, body).read_to_string(&mut text);
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
        let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
        (status, if chunked { unchunk(body) } else { body.into() })
    }

    /// The answer to a request that is taken.
    pub(crate) fn json(&self, path: &str, body: &serde_json::Value) -> serde_json::Value {
        let (status, text) = self.ask("POST", path, &body.to_string());
        assert_eq!(status, 200, "{body}: {text}");
        serde_json::from_str(&text).expect("JSON")
    }

    /// The events of a request that is streamed, without the last.
    pub(crate) fn events(&self, path: &str, body: &serde_json::Value) -> Vec<serde_json::Value> {
        let (status, text) = self.ask("POST", path, &body.to_string());
        assert_eq!(status, 200, "{body}: {text}");
        let mut data: Vec<&str> = text.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect();
        assert_eq!(data.pop(), Some("[DONE]"));
        data.into_iter().map(|event| serde_json::from_str(event).expect("JSON")).collect()
    }

    /// A number of the endpoint's own count.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let (status, text) = self.ask("GET", "/metrics", "");
        assert_eq!(status, 200);
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no `{name}` in {text}"))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn unchunk(mut body: &str) -> String {
    let mut text = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap_or(0);
        let Some((chunk, rest)) = rest.split_at_checked(length).filter(|_| length > 0) else { break };
        text += chunk;
        body = rest.strip_prefix("\r\n").unwrap_or_default();
    }
    text
}
