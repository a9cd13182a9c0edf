//! What a user may set about an endpoint: the section `[endpoint]` of a recipe.

use super::Error;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::time::Duration;

/// Which of the two routes is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    /// Messages in; the server renders them.
    Chat,
    /// A prompt rendered here in: no doubt about template and thinking tags.
    Completions,
}

/// Settings of an endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The server's dialect, by name or file; without it, the one that its list of models points to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Without it, completions where the prompts can be rendered here and the server takes token ids, else chat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<Api>,
    /// Whether answers come token by token; a long one outlives the patience of proxies only so.
    pub stream: bool,
    /// Names under which the model may answer besides the one that is asked for.
    pub answers_as: Vec<String>,
    /// The most requests at once; how many there are follows from what the server takes.
    pub max_in_flight: usize,
    /// Until a connection stands, TLS included.
    pub connect_seconds: f64,
    /// From there to the first token: a busy server queues.
    pub first_byte_seconds: f64,
    /// Between two tokens.
    pub idle_seconds: f64,
    /// For the whole request.
    pub total_seconds: f64,
    /// The longest wait of a request that failed, before it is sent again.
    pub max_wait_seconds: f64,
    /// The longest time for which a busy or absent server is left alone.
    pub max_pause_seconds: f64,
    /// How often a request is sent whose answers make no sample.
    pub attempts: u32,
    /// The share of attempts, 0 to 1, that may come to nothing; the run stops where it is more. Below 1, the server must
    /// have answered once before it is believed that it refuses a request for good.
    pub max_failures: f64,
    /// Further fields of every request, as the server names them.
    pub extra: Map<String, Value>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            profile: None,
            api: None,
            stream: true,
            answers_as: Vec::new(),
            max_in_flight: 256,
            connect_seconds: 10.0,
            first_byte_seconds: 900.0,
            idle_seconds: 120.0,
            total_seconds: 7200.0,
            max_wait_seconds: 60.0,
            max_pause_seconds: 300.0,
            attempts: 5,
            max_failures: 0.5,
            extra: Map::new(),
        }
    }
}

/// Fields that `extra` may not set: the prompt, what decides the cost, and what a run records about its samples.
const OWN: [&str; 13] = [
    "model",
    "messages",
    "prompt",
    "stream",
    "stream_options",
    "n",
    "best_of",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "seed",
    "echo",
];

impl Settings {
    pub(super) fn check(&self) -> Result<(), Error> {
        let seconds = [
            ("connect_seconds", self.connect_seconds),
            ("first_byte_seconds", self.first_byte_seconds),
            ("idle_seconds", self.idle_seconds),
            ("total_seconds", self.total_seconds),
            ("max_wait_seconds", self.max_wait_seconds),
            ("max_pause_seconds", self.max_pause_seconds),
        ];
        for (setting, value) in seconds {
            // A week is longer than any of them is meant to be.
            if !(value > 0.0 && value <= 604_800.0) {
                let expected = "a number of seconds above 0 and up to a week";
                return Err(Error::Setting { setting, found: value.to_string(), expected });
            }
        }
        if let Some(field) = self.extra.keys().find(|field| OWN.contains(&field.as_str())) {
            let (found, expected) = (format!("a table with `{field}`"), "fields that are not set in another way");
            return Err(Error::Setting { setting: "extra", found, expected });
        }
        if !(0.0..=1.0).contains(&self.max_failures) {
            let found = self.max_failures.to_string();
            return Err(Error::Setting { setting: "max_failures", found, expected: "a share from 0 to 1" });
        }
        for (setting, value) in [("max_in_flight", self.max_in_flight), ("attempts", self.attempts as usize)] {
            if value == 0 {
                return Err(Error::Setting { setting, found: "0".into(), expected: "at least 1" });
            }
        }
        Ok(())
    }
}

/// How long each part of a request may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadlines {
    pub connect: Duration,
    pub first_byte: Duration,
    pub idle: Duration,
    pub total: Duration,
}

impl Deadlines {
    pub(super) fn of(settings: &Settings) -> Self {
        Self {
            connect: Duration::from_secs_f64(settings.connect_seconds),
            first_byte: Duration::from_secs_f64(settings.first_byte_seconds),
            idle: Duration::from_secs_f64(settings.idle_seconds),
            total: Duration::from_secs_f64(settings.total_seconds),
        }
    }
}
