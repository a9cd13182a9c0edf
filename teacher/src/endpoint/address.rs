//! Where an endpoint is: scheme, host, port and the path before `/chat/completions`.

use super::Error;

/// The address of an endpoint. It holds no credentials: an address with a user name or a query is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub tls: bool,
    pub host: String,
    pub port: u16,
    /// Such as `/v1`, without a slash at its end.
    pub path: String,
}

impl Address {
    /// Parses `http://host[:port][/path]` or `https://...`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let fault = |reason: &'static str| Error::Address { reason };
        let (tls, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(fault("it must begin with `http://` or `https://`")),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        // What stands before an `@` may be a password, so the address is not repeated.
        if authority.contains('@') || path.contains(['?', '#', '@']) {
            return Err(fault("it must hold no user, password, query or fragment"));
        }
        let (host, port) = split_port(authority, tls).ok_or(fault("its port is not a number from 1 to 65535"))?;
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
        if host.is_empty() || !host.bytes().all(known) {
            return Err(fault("its host is not a name or a number"));
        }
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(fault("its path holds a character that addresses do not have"));
        }
        let path = path.trim_end_matches('/');
        let path = if path.is_empty() { String::new() } else { format!("/{path}") };
        Ok(Self { tls, host, port, path })
    }

    /// What a `Host` header says.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

/// Host, without the brackets of an IPv6 address, and port.
fn split_port(authority: &str, tls: bool) -> Option<(String, u16)> {
    let usual = if tls { 443 } else { 80 };
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, rest.strip_prefix(':').or_else(|| rest.is_empty().then_some(""))?)
        }
        None => authority.split_once(':').unwrap_or((authority, "")),
    };
    let port = if port.is_empty() { usual } else { port.parse().ok().filter(|&port| port > 0)? };
    Some((host.into(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_apart_and_together() {
        let shown = |text: &str| Address::parse(text).map(|address| address.to_string()).ok();
        for (text, expected) in [
            ("http://localhost:8000/v1/", "http://localhost:8000/v1"),
            ("https://api.example.com/v1", "https://api.example.com/v1"),
            ("https://api.example.com:443", "https://api.example.com"),
            ("http://[::1]:8080/v1", "http://[::1]:8080/v1"),
            ("http://10.0.0.1", "http://10.0.0.1"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(expected), "{text}");
        }
        for text in
            ["ftp://a", "http://", "http://a:0", "http://a:99999", "http://a b/", "http://[::1", "http://a/?k=1"]
        {
            assert_eq!(shown(text), None, "{text}");
        }
    }

    #[test]
    fn a_password_is_refused_and_not_repeated() {
        let error = Address::parse("https://me:sk-secret@host/v1").expect_err("it holds a password");
        assert!(!format!("{error} {error:?}").contains("sk-secret"));
    }
}
