//! Who may ask: whoever has the key, or, without one, programs on this machine that are not a foreign web page.

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HOST, ORIGIN};
use std::net::IpAddr;

/// An API key, kept as its hash. Two hashes are compared in constant time, so that an answer's delay tells nothing.
pub struct Key(blake3::Hash);

impl Key {
    /// Takes a key as it stands in a file or a variable; `None` where there is nothing.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(blake3::hash(text.as_bytes())))
    }

    fn is(&self, shown: &str) -> bool {
        // `blake3::Hash` compares in constant time.
        self.0 == blake3::hash(shown.as_bytes())
    }
}

/// Whether a request with these headers may be answered; if not, the status and why.
pub(crate) fn check(key: Option<&Key>, headers: &HeaderMap) -> Result<(), (u16, &'static str)> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match key {
        Some(key) => {
            let shown = text(AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer ")).map(str::trim);
            if shown.is_some_and(|shown| key.is(shown)) {
                Ok(())
            } else {
                Err((401, "the API key is missing or wrong"))
            }
        }
        // A web page may send requests here under its own name, or under a name that it made to point here.
        None if !text(HOST).is_none_or(|host| is_here(host_name(host))) => {
            Err((403, "without an API key, only requests to this machine by its own name are answered"))
        }
        None if text(ORIGIN)
            .is_some_and(|origin| !is_here(host_name(origin.split("://").last().unwrap_or_default()))) =>
        {
            Err((403, "without an API key, web pages from elsewhere are not answered"))
        }
        None => Ok(()),
    }
}

/// A host without its port and brackets.
fn host_name(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    }
}

fn is_here(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn status(key: Option<&str>, headers: &[(hyper::header::HeaderName, &'static str)]) -> u16 {
        let key = key.and_then(Key::new);
        let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
        check(key.as_ref(), &headers).map_or_else(|(status, _)| status, |()| 200)
    }

    #[test]
    fn the_key_opens_and_nothing_else_does() {
        for (shown, expected) in
            [("Bearer secret", 200), ("Bearer secre", 401), ("Bearer secret2", 401), ("secret", 401)]
        {
            assert_eq!(status(Some("secret\n"), &[(AUTHORIZATION, shown)]), expected, "{shown}");
        }
        assert_eq!(status(Some("secret"), &[]), 401);
        assert!(Key::new(" \n").is_none());
    }

    #[test]
    fn without_a_key_foreign_pages_and_names_are_turned_away() {
        for (name, value, expected) in [
            (HOST, "127.0.0.1:8080", 200),
            (HOST, "localhost", 200),
            (HOST, "[::1]:8080", 200),
            (HOST, "evil.example:8080", 403),
            (ORIGIN, "http://localhost:3000", 200),
            (ORIGIN, "https://evil.example", 403),
            (ORIGIN, "null", 403),
        ] {
            assert_eq!(status(None, &[(name, value)]), expected, "{value}");
        }
        assert_eq!(status(Some("k"), &[(HOST, "example.com"), (AUTHORIZATION, "Bearer k")]), 200);
    }
}
