//! The program as a server on this machine, and a client that is no more than a socket.

mod served;

pub(crate) use served::{KEY, Served};

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

impl Served {
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
