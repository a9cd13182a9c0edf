//! A secret that goes into one header and nowhere else, whatever a server does with it.

use hyper::header::HeaderValue;
use serde_json::Value;

/// What stands where the key stood.
const REDACTED: &str = "[key]";

/// An API key. It has no `Debug` and no `Display`, so no message and no log can hold it by accident.
#[derive(Clone)]
pub struct ApiKey(String);

impl ApiKey {
    /// Takes a key as it stands in a file or a variable; `None` where there is nothing, or what no header can carry.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let carried = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        carried.then(|| Self(text.into()))
    }

    /// `Bearer ...`, marked so that nothing prints it.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.0)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// `text` without the key, should a server have sent it back, as it is or in JSON.
    pub(super) fn redact(&self, text: &str) -> String {
        let quoted = Value::from(self.0.as_str()).to_string();
        text.replace(quoted.trim_matches('"'), REDACTED).replace(&self.0, REDACTED)
    }
}
