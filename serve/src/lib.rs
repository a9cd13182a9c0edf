//! An OpenAI-compatible endpoint over any model: chat and text completions, streamed or whole, many at once.
//!
//! A request travels: `server.rs` takes the connection and its limits, `route.rs` checks the key and reads the body,
//! `ask.rs` turns it into token ids and settings or refuses it, `completion.rs` follows it from the queue to its last
//! token: `queue.rs` hands it to the engine's loop and brings back tokens as they come, `writer.rs` turns them into text,
//! `logprobs.rs` says how likely they were, and `reply.rs` makes the protocol's documents.

mod access;
mod ask;
mod completion;
mod error;
mod logprobs;
mod metrics;
mod queue;
mod reply;
mod route;
mod server;
mod settings;
mod writer;

pub use access::Key;
pub use error::Error;
pub use server::Server;
pub use settings::{Limits, Settings};

use retort_model::decoder::Decoder;
use retort_model::engine::Engine;

/// The model behind the endpoint.
pub type AnyEngine = Engine<Box<dyn Decoder>>;
