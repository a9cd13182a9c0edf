//! Why an endpoint does not open.

use std::net::SocketAddr;

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("nothing can listen at {address}")]
    Bind {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("{address} can be reached from other machines, and there is no API key")]
    PublicWithoutKey { address: SocketAddr },
    #[error("the sockets could not be set up")]
    Runtime(#[source] std::io::Error),
}

impl Error {
    /// What to do about it, where something can be done.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Bind { .. } => Some("another program may be there: choose another port with `--addr`".into()),
            Self::PublicWithoutKey { .. } => {
                Some("set a key in `RETORT_API_KEY` or give its file with `--key-file`, or stay at 127.0.0.1".into())
            }
            Self::Runtime(_) => None,
        }
    }
}
