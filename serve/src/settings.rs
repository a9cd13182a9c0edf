//! How an endpoint is run, and how much of it one request may have.

use crate::access::Key;
use std::net::SocketAddr;
use std::time::Duration;

/// Settings of an endpoint.
pub struct Settings {
    pub address: SocketAddr,
    /// What requests must show; without it, only this machine may ask.
    pub key: Option<Key>,
    /// The model's name in the protocol.
    pub model: String,
    pub limits: Limits,
}

/// What one client, one request and all of them together may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub connections: usize,
    /// Requests that wait for a slot; one more is told to come again.
    pub queued: usize,
    pub header_bytes: usize,
    pub body_bytes: usize,
    /// Completions of one request.
    pub completions: usize,
    /// Likeliest tokens told beside each.
    pub logprobs: usize,
    pub stop_strings: usize,
    pub stop_bytes: usize,
    /// Until a request's headers are there, and until its body is.
    pub reading: Duration,
    /// For a whole request.
    pub answering: Duration,
    /// For what is in flight when the endpoint closes.
    pub closing: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            queued: 4096,
            header_bytes: 64 << 10,
            body_bytes: 2 << 20,
            completions: 128,
            logprobs: 20,
            stop_strings: 16,
            stop_bytes: 256,
            reading: Duration::from_secs(20),
            answering: Duration::from_secs(3600),
            closing: Duration::from_secs(20),
        }
    }
}
