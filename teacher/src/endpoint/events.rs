//! Server-sent events from bytes that come in any pieces (WHATWG HTML, section 9.2.6).
//!
//! Only `data` matters here. Lines end with CR, LF or both; a comment keeps a connection alive and says nothing.

use super::failure::Failure;

/// Takes bytes, gives the data of every event that is complete.
#[derive(Debug)]
pub(super) struct Events {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    after_cr: bool,
    first: bool,
    /// The most bytes that a line or an event may have.
    limit: usize,
}

impl Events {
    pub(super) fn new(limit: usize) -> Self {
        Self { line: vec![], data: vec![], has_data: false, after_cr: false, first: true, limit }
    }

    /// Calls `event` with the data of each event that ends within `bytes`.
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        mut event: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        for &byte in bytes {
            let ends = match byte {
                b'\n' if std::mem::take(&mut self.after_cr) => false,
                b'\n' => true,
                b'\r' => {
                    self.after_cr = true;
                    true
                }
                _ => {
                    self.after_cr = false;
                    self.line.push(byte);
                    if self.line.len() > self.limit {
                        return Err(Failure::garbage(format!("a line of more than {} bytes", self.limit)));
                    }
                    false
                }
            };
            if ends {
                self.end_line(&mut event)?;
            }
        }
        Ok(())
    }

    fn end_line(&mut self, event: &mut impl FnMut(&[u8]) -> Result<(), Failure>) -> Result<(), Failure> {
        let mut line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.first) && line.starts_with(&[0xEF, 0xBB, 0xBF]) {
            line.drain(..3);
        }
        if line.is_empty() {
            if std::mem::take(&mut self.has_data) {
                let data = std::mem::take(&mut self.data);
                event(&data)?;
            }
        } else if let Some(value) = line.strip_prefix(b"data") {
            // `data` with no colon is an empty line of data; `database: x` is another field.
            let value = match value {
                [] => Some(value),
                [b':', b' ', rest @ ..] | [b':', rest @ ..] => Some(rest),
                _ => None,
            };
            if let Some(value) = value {
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
                if self.data.len() > self.limit {
                    return Err(Failure::garbage(format!("an event of more than {} bytes", self.limit)));
                }
            }
        }
        line.clear();
        self.line = line;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(pieces: &[&[u8]]) -> Result<Vec<String>, Failure> {
        let (mut events, mut found) = (Events::new(40), vec![]);
        for piece in pieces {
            events.push(piece, |data| {
                found.push(String::from_utf8_lossy(data).into_owned());
                Ok(())
            })?;
        }
        Ok(found)
    }

    #[test]
    fn any_cut_gives_the_same_events() {
        let text = "\u{feff}: hello\n\ndata: {\"a\": \"漢\"}\r\n\r\ndata:one\rdata: two\r\revent: x\nid: 3\ndatabase: no\ndata\n\ndata: [DONE]\n\ndata: cut";
        let expected = ["{\"a\": \"漢\"}", "one\ntwo", "", "[DONE]"];
        let bytes = text.as_bytes();
        assert_eq!(events(&[bytes]).expect("events"), expected);
        for cut in 0..bytes.len() {
            assert_eq!(events(&[&bytes[..cut], &bytes[cut..]]).expect("events"), expected, "cut at {cut}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(events(&single).expect("events"), expected);
    }

    #[test]
    fn lines_and_events_have_an_end() {
        assert!(events(&[&[b'a'; 41]]).is_err());
        assert!(events(&[b"data: 0123456789\ndata: 0123456789\ndata: 0123456789\ndata: 0123456789\n"]).is_err());
    }
}
