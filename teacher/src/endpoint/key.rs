//! A secret that goes into one header and nowhere else, whatever a server does with it.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use hyper::header::HeaderValue;

/// What stands where the key stood.
const REDACTED: &str = "[key]";

/// A shorter key is a placeholder for servers that want none, such as `EMPTY`: a word, which is looked for as it is.
const SECRET: usize = 8;

/// An API key. It has no `Debug` and no `Display`, so no message and no log can hold it by accident.
#[derive(Clone)]
pub struct ApiKey {
    key: String,
    /// What every base64 of a text with the key in it holds: one for each place in a group of three bytes and alphabet.
    encoded: Vec<String>,
    place: String,
}

impl ApiKey {
    /// Takes a key as it stands in a file or a variable; `None` where there is nothing, or what no header can carry.
    /// `place` says in words where it stands.
    pub fn new(text: &str, place: &str) -> Option<Self> {
        let key = text.trim();
        let carried = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
        let encoded = if key.len() < SECRET { Vec::new() } else { encoded(key) };
        carried.then(|| Self { key: key.into(), encoded, place: place.into() })
    }

    /// Where it stands, in words.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// `Bearer ...`, marked so that nothing prints it.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.key)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// `text` without the key, should a server have sent it back: in whatever case, with characters escaped as in JSON or
    /// in addresses, or in base64, alone or behind something else, of which the whole word goes.
    pub(super) fn redact(&self, text: &str) -> String {
        let (bytes, mut kept, mut at) = (text.as_bytes(), String::with_capacity(text.len()), 0);
        // The first byte that is not in `kept` yet; the key is ASCII, so nothing is cut within a character.
        let mut copied = 0;
        while at < bytes.len() {
            if let Some(length) = self.spelled(&bytes[at..]) {
                kept.push_str(&text[copied..at]);
                kept.push_str(REDACTED);
                at += length;
                copied = at;
            } else if self.encoded.iter().any(|part| bytes[at..].starts_with(part.as_bytes())) {
                let before = bytes[copied..at].iter().rev().take_while(in_base64).count();
                kept.push_str(&text[copied..at - before]);
                kept.push_str(REDACTED);
                at += bytes[at..].iter().take_while(in_base64).count();
                copied = at;
            } else {
                at += 1;
            }
        }
        kept + &text[copied..]
    }

    /// The length of the key where `text` begins with it, however its characters are written.
    fn spelled(&self, text: &[u8]) -> Option<usize> {
        let any_case = self.key.len() >= SECRET;
        let (&first, others) = self.key.as_bytes().split_first()?;
        let mut ends: Vec<usize> = lengths(text, first, any_case).collect();
        for &byte in others {
            if ends.is_empty() {
                return None;
            }
            ends = ends
                .iter()
                .flat_map(|&at| lengths(&text[at..], byte, any_case).map(move |length| at + length))
                .collect();
            ends.dedup();
        }
        ends.into_iter().max()
    }
}

/// In how many bytes `text` may begin with `byte`: as it is, as `\/`, `\u002f` or `%2F`.
fn lengths(text: &[u8], byte: u8, any_case: bool) -> impl Iterator<Item = usize> {
    let is = |found: u8| found == byte || any_case && found.eq_ignore_ascii_case(&byte);
    let hexadecimal = |digits: &[u8]| {
        let digits =
            std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).is_some_and(is)
    };
    let length = match text {
        [b'%', first, second, ..] if hexadecimal(&[*first, *second]) => Some(3),
        [b'\\', b'u' | b'U', b'0', b'0', first, second, ..] if hexadecimal(&[*first, *second]) => Some(6),
        [b'\\', found, ..] if is(*found) => Some(2),
        _ => None,
    };
    let plain = text.first().copied().filter(|&found| is(found)).map(|_| 1);
    plain.into_iter().chain(length)
}

/// The characters of base64 that `key` alone decides, wherever in the encoded text it stands.
fn encoded(key: &str) -> Vec<String> {
    let mut parts = Vec::new();
    for before in 0..3 {
        let bytes = [&[0; 2][..before], key.as_bytes()].concat();
        // A character holds six bits.
        let decided = (8 * before).div_ceil(6)..8 * bytes.len() / 6;
        parts.extend([&STANDARD, &URL_SAFE].map(|engine| engine.encode(&bytes)[decided.clone()].to_owned()));
    }
    parts.sort();
    parts.dedup();
    parts
}

fn in_base64(byte: &&u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/-_=".contains(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key with every kind of character that encodings change.
    const KEY: &str = "sk+Canary/7f~3\"a\\91?>%";

    fn key(text: &str) -> ApiKey {
        ApiKey::new(text, "the test").expect("a key")
    }

    #[test]
    fn no_usual_way_of_writing_a_key_survives() {
        let percent = |all: bool| -> String {
            let byte = |byte: u8| match byte.is_ascii_alphanumeric() && !all {
                true => char::from(byte).to_string(),
                false => format!("%{byte:02X}"),
            };
            KEY.bytes().map(byte).collect()
        };
        let plain = [
            KEY.to_string(),
            KEY.to_uppercase(),
            KEY.to_lowercase(),
            percent(false),
            percent(true).to_lowercase(),
            serde_json::Value::from(KEY).to_string().trim_matches('"').to_string(),
            KEY.bytes().map(|byte| format!("\\u{byte:04x}")).collect(),
        ];
        for text in plain {
            assert_eq!(key(KEY).redact(&format!("漢{text}漢, {text}{text}.")), "漢[key]漢, [key][key].", "{text}");
        }
        for before in ["", "Bearer ", "x:", "a longer text of nineteen "] {
            for engine in [&STANDARD, &URL_SAFE] {
                for after in ["", "\n", "--", "{}}"] {
                    let text = engine.encode(format!("{before}{KEY}{after}"));
                    assert_eq!(key(KEY).redact(&format!("漢 {text}, {text}")), "漢 [key], [key]", "{before}{after}");
                    let bare = text.trim_end_matches('=');
                    assert_eq!(key(KEY).redact(bare), "[key]", "{before}{after}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_key_stays_and_so_do_words_that_stand_in_for_one() {
        let text = "sk+Canar sk+Canary/7f~3 %73 c2srQ2FuYXJ5 \\u0073 %";
        assert_eq!(key(KEY).redact(text), text);
        assert_eq!(key("EMPTY").redact("an empty set, RU1QVFk="), "an empty set, RU1QVFk=");
        assert_eq!(key("EMPTY").redact("Bearer EMPTY"), "Bearer [key]");
        assert!(ApiKey::new(" \n", "").is_none() && ApiKey::new("a b", "").is_none());
    }
}
