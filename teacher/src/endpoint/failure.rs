//! What went wrong with one attempt, and what follows from it: who waits, who is charged, who gives up.

use super::key::ApiKey;
use hyper::HeaderMap;
use retort_model::attempts::Charge;
use serde_json::Value;
use std::time::{Duration, SystemTime};

/// What a failure says about the request and about the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// No byte of the request was sent.
    NotSent,
    /// The server is too busy and says so.
    Throttled,
    /// Something between here and the model is down or slow; work may have been done.
    Away,
    /// The answer broke off, or the server failed with it; work was done.
    Broken,
    /// An answer that cannot be read or makes no sample.
    Garbage,
    /// This request will never be taken.
    Rejected,
    /// The key is missing or wrong.
    Access,
    /// The account has no money or no allowance left.
    Quota,
    /// It redirects.
    Redirect,
    /// Another model answered.
    OtherModel,
    /// There is no such route or model.
    Unusable,
}

impl Class {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::NotSent => "not_sent",
            Self::Throttled => "throttled",
            Self::Away => "away",
            Self::Broken => "broken",
            Self::Garbage => "garbage",
            Self::Rejected => "rejected",
            Self::Access => "access",
            Self::Quota => "quota",
            Self::Redirect => "redirect",
            Self::OtherModel => "other_model",
            Self::Unusable => "unusable",
        }
    }

    /// Whether the whole endpoint has to be given time, rather than this one request.
    pub(super) fn is_endpoints(self) -> bool {
        matches!(self, Self::NotSent | Self::Throttled | Self::Away)
    }

    /// What an attempt that ended so is charged: nothing only where no work can have been done.
    pub(super) fn charge(self) -> Charge {
        match self {
            Self::Away | Self::Broken | Self::Garbage | Self::OtherModel => Charge::Unknown,
            _ => Charge::Nothing,
        }
    }
}

/// One attempt's failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub class: Class,
    /// As it came, until it is [shown](Self::shown).
    pub detail: String,
    /// How long the server asks to be left alone.
    pub retry_after: Option<Duration>,
}

/// No message is longer.
const DETAIL: usize = 300;

impl Failure {
    pub(super) fn new(class: Class, detail: impl Into<String>) -> Self {
        Self { class, detail: detail.into(), retry_after: None }
    }

    /// The failure as people may see it: without the key, which some servers repeat, and in one short line.
    pub(super) fn shown(self, key: Option<&ApiKey>) -> Self {
        // Shortened first, it could end in a part of the key.
        let detail = key.map_or(self.detail.clone(), |key| key.redact(&self.detail));
        Self { detail: shown(&detail), ..self }
    }

    pub(super) fn garbage(detail: impl Into<String>) -> Self {
        Self::new(Class::Garbage, detail)
    }

    /// What an answer with a status other than 200 means.
    pub(super) fn of_status(status: u16, headers: &HeaderMap, body: &[u8], now: SystemTime) -> Self {
        let (message, code) = message(body);
        let spent = ["insufficient_quota", "insufficient balance", "billing", "limit: 0"];
        let spent = spent.iter().any(|sign| code.contains(sign) || message.to_lowercase().contains(sign));
        let class = match status {
            402 => Class::Quota,
            429 | 403 if spent => Class::Quota,
            401 | 403 => Class::Access,
            425 | 429 | 503 | 529 => Class::Throttled,
            408 | 409 | 502 | 504 | 520..=528 => Class::Away,
            500.. => Class::Broken,
            300..=399 => Class::Redirect,
            404 | 405 => Class::Unusable,
            400..=499 => Class::Rejected,
            _ => Class::Garbage,
        };
        let place = headers.get("location").filter(|_| class == Class::Redirect);
        let place =
            place.map_or(String::new(), |place| format!(" to {}", origin(&String::from_utf8_lossy(place.as_bytes()))));
        let detail = format!("status {status}{place}{}{message}", if message.is_empty() { "" } else { ": " });
        Self { retry_after: retry_after(headers, now), ..Self::new(class, detail) }
    }

    /// What an `error` inside an answer with status 200 means.
    pub(super) fn of_error(error: &Value) -> Self {
        let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
        let status = ["code", "status"].iter().find_map(|key| number(&error[*key]));
        let body = serde_json::json!({ "error": error }).to_string();
        let status = status.and_then(|status| u16::try_from(status).ok()).filter(|status| *status >= 400);
        let failure =
            Self::of_status(status.unwrap_or(500), &HeaderMap::new(), body.as_bytes(), SystemTime::UNIX_EPOCH);
        // It came after the work began, whatever its number.
        let class = if failure.class.charge() == Charge::Nothing && failure.class.is_endpoints() {
            Class::Away
        } else {
            failure.class
        };
        Self { class, ..failure }
    }
}

/// The message and the code of an error, from JSON or from whatever else a proxy sends.
fn message(body: &[u8]) -> (String, String) {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return (String::from_utf8_lossy(body).trim().into(), String::new());
    };
    let error = if value["error"].is_null() { &value } else { &value["error"] };
    let text = |value: &Value| value.as_str().map(String::from);
    let message = text(error).or_else(|| ["message", "detail", "error"].iter().find_map(|key| text(&error[*key])));
    let code = ["code", "type"].iter().filter_map(|key| text(&error[*key])).collect::<Vec<_>>().join(" ");
    (message.unwrap_or_else(|| error.to_string()), code)
}

/// One line without control characters, shortened: what servers send is not to be trusted with a terminal.
pub(super) fn shown(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(4 * DETAIL).collect();
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(DETAIL) {
        Some((cut, _)) => format!("{}...", &line[..cut]),
        None => line,
    }
}

/// The part of an address that holds no secret.
fn origin(address: &str) -> &str {
    let end = address.find("://").map_or(0, |at| at + 3);
    let rest = &address[end..];
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    &address[..end + if host.contains('@') { 0 } else { host.len() }]
}

/// `retry-after-ms`, or `Retry-After` as seconds or a date. What makes no sense asks for nothing.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let seconds = |text: &str, scale: f64| {
        let seconds = text.parse::<f64>().ok()? * scale;
        (seconds.is_finite() && seconds >= 0.0).then(|| Duration::from_secs_f64(seconds.min(1e6)))
    };
    text("retry-after-ms").and_then(|text| seconds(text, 1e-3)).or_else(|| {
        let text = text("retry-after")?;
        seconds(text, 1.0).or_else(|| httpdate::parse_http_date(text).ok()?.duration_since(now).ok())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn class(status: u16, body: &str) -> Class {
        Failure::of_status(status, &HeaderMap::new(), body.as_bytes(), SystemTime::UNIX_EPOCH).class
    }

    #[test]
    fn statuses_fall_into_classes() {
        let quota = r#"{"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}"#;
        for (status, body, expected) in [
            (401, "", Class::Access),
            (402, r#"{"error": {"message": "Insufficient Balance"}}"#, Class::Quota),
            (429, quota, Class::Quota),
            (429, "slow down", Class::Throttled),
            (503, "<html>nginx</html>", Class::Throttled),
            (529, "", Class::Throttled),
            (504, "<html>", Class::Away),
            (500, "", Class::Broken),
            (400, r#"{"message": "context too long"}"#, Class::Rejected),
            (422, "", Class::Rejected),
            (404, "", Class::Unusable),
            (301, "", Class::Redirect),
            (204, "", Class::Garbage),
        ] {
            assert_eq!(class(status, body), expected, "{status} {body}");
        }
    }

    #[test]
    fn an_error_inside_an_answer_is_charged() {
        for error in [serde_json::json!({"message": "busy", "code": 429}), serde_json::json!("boom"), Value::from(7)] {
            assert_eq!(Failure::of_error(&error).class.charge(), Charge::Unknown, "{error}");
        }
    }

    #[test]
    fn waits_are_read_in_every_shape_and_nonsense_is_no_wait() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let wait = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_str(value).expect("a header"));
            retry_after(&headers, now)
        };
        assert_eq!(wait("retry-after", "2.5"), Some(Duration::from_millis(2500)));
        assert_eq!(wait("retry-after-ms", "250"), Some(Duration::from_millis(250)));
        assert_eq!(wait("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(wait("retry-after", "1000000000000"), Some(Duration::from_secs(1_000_000)));
        for nonsense in ["-3", "NaN", "inf", "soon", "", "Sun, 06 Nov 1994 08:00:00 GMT"] {
            assert_eq!(wait("retry-after", nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn messages_are_one_short_line_and_places_have_no_secrets() {
        let failure = Failure::new(Class::Broken, format!("a\x1b[31m\nb{}", "c".repeat(999))).shown(None);
        assert!(failure.detail.starts_with("a [31m b") && failure.detail.len() < 310);
        assert_eq!(origin("https://other.example/path?token=1"), "https://other.example");
        assert_eq!(origin("https://me:secret@other.example/"), "https://");
    }
}
