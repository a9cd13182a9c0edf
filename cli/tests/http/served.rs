//! The program as a server on this machine.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

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
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
