//! From tokens to what a client reads: whole characters, up to a stop string, thinking apart from the answer.
//!
//! Streamed or whole, a completion goes through here, so both say the same. Text is held back as long as it may turn out
//! to be the beginning of a stop string or a tag, or white space at an end.

use retort_model::Error;
use retort_model::chat::THINK;
use retort_model::text_stream::TextStream;
use retort_model::tokenizer::Tokenizer;

/// What a piece of a completion adds.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Delta {
    pub reasoning: String,
    pub content: String,
}

impl Delta {
    pub(crate) fn is_empty(&self) -> bool {
        self.reasoning.is_empty() && self.content.is_empty()
    }
}

/// Writes one completion.
pub(crate) struct Writer<'a> {
    stream: TextStream<'a>,
    tokens: Vec<u32>,
    stops: Stops,
    thinking: Option<Thinking>,
}

impl<'a> Writer<'a> {
    /// `chat`: whether thinking is told apart, and whether the prompt has opened it.
    pub(crate) fn new(tokenizer: &'a Tokenizer, stops: Vec<String>, chat: Option<bool>) -> Self {
        let thinking = chat.map(Thinking::new);
        Self { stream: TextStream::new(tokenizer), tokens: vec![], stops: Stops::new(stops), thinking }
    }

    /// All tokens written so far.
    pub(crate) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Whether a stop string ended it.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stops.stopped
    }

    /// What these further tokens add.
    pub(crate) fn push(&mut self, tokens: &[u32]) -> Result<Delta, Error> {
        self.tokens.extend_from_slice(tokens);
        let text = self.stream.advance(&self.tokens)?;
        Ok(self.text(&text, false))
    }

    /// What these last tokens and the text held back add. `ended`: the last token is no text but the end of the turn.
    pub(crate) fn finish(&mut self, tokens: &[u32], ended: bool) -> Result<Delta, Error> {
        self.tokens.extend_from_slice(tokens);
        let text = self.stream.rest(&self.tokens[..self.tokens.len().saturating_sub(usize::from(ended))])?;
        Ok(self.text(&text, true))
    }

    fn text(&mut self, text: &str, last: bool) -> Delta {
        let text = self.stops.push(text, last);
        let last = last || self.stops.stopped;
        match &mut self.thinking {
            Some(thinking) => thinking.push(&text, last),
            None => Delta { content: text, ..Delta::default() },
        }
    }
}

/// Cuts a text before the first stop string.
struct Stops {
    strings: Vec<String>,
    held: String,
    stopped: bool,
}

impl Stops {
    fn new(strings: Vec<String>) -> Self {
        Self { strings, held: String::new(), stopped: false }
    }

    fn push(&mut self, text: &str, last: bool) -> String {
        if self.stopped {
            return String::new();
        }
        self.held.push_str(text);
        if let Some(at) = self.strings.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            self.stopped = true;
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let keep = if last { 0 } else { self.strings.iter().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0) };
        let rest = self.held.split_off(self.held.len() - keep);
        std::mem::replace(&mut self.held, rest)
    }
}

/// How many bytes at the end of `text` may be the beginning of `word`.
fn overlap(text: &str, word: &str) -> usize {
    let longest = word.len().saturating_sub(1).min(text.len());
    (1..=longest).rev().find(|&length| text.as_bytes().ends_with(&word.as_bytes()[..length])).unwrap_or(0)
}

/// Tells thinking from answer as `split_thinking` does, piece by piece.
///
/// A closing tag without an opener cannot be foreseen: what came before it was told as the answer.
struct Thinking {
    state: State,
    held: String,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// Nothing but white space so far.
    Begin,
    /// In the thinking block; whether anything was told of it.
    Inside(bool),
    /// Behind it, or there is none.
    Answer(bool),
}

impl Thinking {
    fn new(prefilled: bool) -> Self {
        Self { state: if prefilled { State::Inside(false) } else { State::Begin }, held: String::new() }
    }

    fn push(&mut self, text: &str, last: bool) -> Delta {
        self.held.push_str(text);
        let mut delta = Delta::default();
        if self.state == State::Begin {
            let body = self.held.trim_start();
            if let Some(rest) = body.strip_prefix(THINK.0) {
                (self.state, self.held) = (State::Inside(false), rest.into());
            } else if last || !THINK.0.starts_with(body) {
                self.state = State::Answer(false);
            } else {
                return delta;
            }
        }
        if let State::Inside(begun) = self.state {
            match self.held.split_once(THINK.1) {
                Some((thinking, answer)) => {
                    let thinking = if begun { thinking } else { thinking.trim_start() };
                    delta.reasoning = thinking.trim_end().into();
                    (self.state, self.held) = (State::Answer(false), answer.into());
                }
                None => {
                    let keep = if last { 0 } else { overlap(&self.held, THINK.1) };
                    delta.reasoning = self.tell(begun, keep, last);
                    self.state = State::Inside(begun || !delta.reasoning.is_empty());
                    return delta;
                }
            }
        }
        if let State::Answer(begun) = self.state {
            delta.content = self.tell(begun, 0, last);
            self.state = State::Answer(begun || !delta.content.is_empty());
        }
        delta
    }

    /// What can be told of the held text: not its white space at either end, and not its last `keep` bytes.
    fn tell(&mut self, begun: bool, keep: usize, last: bool) -> String {
        let rest = self.held.split_off(self.held.len() - keep);
        let text = std::mem::take(&mut self.held);
        let text = if begun { text.as_str() } else { text.trim_start() };
        let told = text.trim_end();
        self.held = if last { String::new() } else { format!("{}{rest}", &text[told.len()..]) };
        told.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use retort_model::chat::split_thinking;

    /// Writes `text` in pieces of `size` characters.
    fn written(text: &str, stops: &[&str], chat: Option<bool>, size: usize) -> Delta {
        let mut stops = Stops::new(stops.iter().map(|stop| stop.to_string()).collect());
        let mut thinking = chat.map(Thinking::new);
        let mut whole = Delta::default();
        let characters: Vec<char> = text.chars().collect();
        let mut pieces: Vec<String> = characters.chunks(size).map(|piece| piece.iter().collect()).collect();
        pieces.push(String::new());
        for (at, piece) in pieces.iter().enumerate() {
            let last = at + 1 == pieces.len();
            let text = stops.push(piece, last);
            let delta = match &mut thinking {
                Some(thinking) => thinking.push(&text, last || stops.stopped),
                None => Delta { content: text, ..Delta::default() },
            };
            whole.reasoning += &delta.reasoning;
            whole.content += &delta.content;
            if stops.stopped {
                break;
            }
        }
        whole
    }

    #[test]
    fn pieces_of_any_size_say_what_the_whole_says() {
        let texts = [
            ("a + b\n</think>\n\n 7 \n", true),
            ("  <think>\na < b </thin </think>7", false),
            ("just 7 <think>", false),
            ("and so on ", true),
            ("<thinking> aloud", false),
            ("<th", false),
            ("", true),
            ("</think>", true),
        ];
        for (text, prefilled) in texts {
            let expected = split_thinking(text, prefilled);
            for size in 1..=text.len().max(1) {
                let found = written(text, &[], Some(prefilled), size);
                assert_eq!(
                    (&found.reasoning, &found.content),
                    (&expected.reasoning, &expected.response),
                    "{text} {size}"
                );
            }
        }
    }

    #[test]
    fn nothing_is_told_behind_the_first_stop_string() {
        for size in 1..20 {
            assert_eq!(written("one two three", &["three", "two t"], None, size).content, "one ");
            assert_eq!(written("aab", &["ab"], None, size).content, "a");
            assert_eq!(written("漢字!", &["字"], None, size).content, "漢");
            assert_eq!(written("no stop", &["stopp"], None, size).content, "no stop");
        }
    }
}
