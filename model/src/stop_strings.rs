//! Texts that end a completion, looked for in text that comes in pieces.
//!
//! What could be the beginning of such a text is held back until it is clear whether it is one, so a stop string is never
//! told, not even in part, wherever tokens begin and end.

/// Watches text for the first of some stop strings.
#[derive(Debug, Clone, Default)]
pub struct StopStrings {
    held: String,
    found: bool,
}

impl StopStrings {
    /// What may be told once `piece` has come; nothing any more after a stop string.
    pub fn advance(&mut self, stops: &[String], piece: &str) -> String {
        if self.found {
            return String::new();
        }
        self.held.push_str(piece);
        let safe = match find(stops, &self.held) {
            Some(at) => {
                self.found = true;
                at
            }
            None => self.held.len() - open_end(stops, &self.held),
        };
        let rest = self.held.split_off(safe);
        let told = std::mem::replace(&mut self.held, rest);
        if self.found {
            self.held.clear();
        }
        told
    }

    /// Whether a stop string has come.
    pub fn found(&self) -> bool {
        self.found
    }

    /// What is held back, to be told where no more text comes.
    pub fn held(&self) -> &str {
        &self.held
    }
}

/// `text` up to the first of `stops`.
pub fn before_stop<'a>(stops: &[String], text: &'a str) -> &'a str {
    &text[..find(stops, text).unwrap_or(text.len())]
}

/// Where the first stop string in `text` begins.
fn find(stops: &[String], text: &str) -> Option<usize> {
    stops.iter().filter_map(|stop| text.find(stop.as_str())).min()
}

/// The length of the longest end of `text` with which a stop string begins.
fn open_end(stops: &[String], text: &str) -> usize {
    let open = |stop: &String| {
        let beginnings = stop.char_indices().map(|(end, _)| &stop[..end]).rev();
        beginnings.filter(|beginning| text.ends_with(beginning)).map(str::len).next()
    };
    stops.iter().filter_map(open).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stops(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.into()).collect()
    }

    /// What is told of `text` when it comes in pieces of `size` characters, and what stays held.
    fn told(stops: &[String], text: &str, size: usize) -> (String, bool, String) {
        let mut watch = StopStrings::default();
        let chars: Vec<char> = text.chars().collect();
        let pieces = chars.chunks(size).map(|piece| watch.advance(stops, &piece.iter().collect::<String>()));
        let told = pieces.collect();
        (told, watch.found(), watch.held().into())
    }

    #[test]
    fn no_part_of_a_stop_string_is_told_however_the_text_is_cut() {
        let stops = stops(&["\n\nQ:", "STOP", "é!"]);
        for size in 1..12 {
            assert_eq!(told(&stops, "so 4\n\nQ: next STOP", size), ("so 4".into(), true, String::new()));
            assert_eq!(told(&stops, "caf\u{e9}\u{e9}!", size), ("caf\u{e9}".into(), true, String::new()));
            // Never completed: held while it may be one, told when it is not.
            assert_eq!(told(&stops, "STO, STOQ \n\n\nQ", size), ("STO, STOQ \n".into(), false, "\n\nQ".into()));
            assert_eq!(told(&[], "STOP", size), ("STOP".into(), false, String::new()));
        }
    }

    #[test]
    fn the_first_to_begin_wins_within_a_piece() {
        assert_eq!(before_stop(&stops(&["cd", "bcde"]), "abcdef"), "a");
        assert_eq!(before_stop(&stops(&["x"]), "abc"), "abc");
    }
}
