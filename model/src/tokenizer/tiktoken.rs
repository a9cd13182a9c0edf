//! Byte-level BPE by ranks, as `tiktoken` does it: the vocabulary of Moonlight and Kimi-K2.
//!
//! `tiktoken.model` holds one token to a line, its bytes in base64 and its rank. Text is cut into pieces by Kimi's
//! pattern; within a piece the two neighbours whose joined bytes have the lowest rank are joined, the leftmost first,
//! until no neighbours join to a token. It is not a list of merges, so it is not run through the `tokenizers` crate:
//! a token that two pairs can make would depend on which of them the list names first.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fancy_regex::Regex;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

/// `pat_str` of Kimi's and Moonlight's tokenization code.
const PATTERN: &str = concat!(
    r"[\p{Han}]+",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*",
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+",
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*",
    r"|\s*[\r\n]+",
    r"|\s+(?!\S)",
    r"|\s+",
);

/// Ids behind the ranks that the tokenization code reserves; those without a name are called after their number.
const RESERVED: u32 = 256;

/// Like the published code, text is cut before anything else so that no run of spaces or of other signs is longer.
const LONGEST_RUN: usize = 25_000;
const LONGEST_TEXT: usize = 400_000;

pub(super) struct Tiktoken {
    ranks: HashMap<Vec<u8>, u32>,
    /// Bytes by id, ordinary tokens first, then special ones.
    tokens: BTreeMap<u32, Vec<u8>>,
    special: HashMap<String, u32>,
    pieces: Regex,
    /// Any special token, the longer before the shorter.
    specials: Regex,
}

impl Tiktoken {
    /// Reads the text of a `tiktoken.model`; `added` are the special tokens of `tokenizer_config.json`. The error is a
    /// clause about the file.
    pub(super) fn parse(text: &str, added: &BTreeMap<u32, &str>) -> Result<Self, String> {
        let mut ranks = HashMap::new();
        let mut tokens = BTreeMap::new();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let fault = |what: &str| format!("has {what} in line {}", index + 1);
            let (token, rank) = line.split_once(' ').ok_or_else(|| fault("no rank"))?;
            let token = STANDARD.decode(token).map_err(|_| fault("a token that is not base64"))?;
            let rank: u32 = rank.trim().parse().map_err(|_| fault("a rank that is no number"))?;
            if token.is_empty() || ranks.insert(token.clone(), rank).is_some() {
                return Err(fault("an empty or repeated token"));
            }
            if tokens.insert(rank, token).is_some() {
                return Err(fault("a rank that another token has"));
            }
        }
        let base = tokens.len() as u32;
        if tokens.keys().next_back().is_some_and(|&last| last >= base) {
            return Err(format!("leaves out some of the ranks below its {base} tokens"));
        }
        if let Some(byte) = (0..=u8::MAX).find(|&byte| !ranks.contains_key(&[byte][..])) {
            return Err(format!("has no token for the single byte {byte:#04x}"));
        }
        let mut special = HashMap::new();
        let reserved = (base..base + RESERVED).filter(|id| !added.contains_key(id));
        let reserved = reserved.map(|id| (id, format!("<|reserved_token_{id}|>")));
        for (id, name) in added.iter().map(|(&id, &name)| (id, name.to_string())).chain(reserved) {
            if id < base || name.is_empty() || special.insert(name.clone(), id).is_some() {
                return Err(format!("does not go with special token {id}, `{name}`, of `tokenizer_config.json`"));
            }
            tokens.insert(id, name.into_bytes());
        }
        let mut names: Vec<&String> = special.keys().collect();
        names.sort_by_key(|name| (Reverse(name.len()), *name));
        let any: Vec<_> = names.into_iter().map(|name| fancy_regex::escape(name)).collect();
        let compiled = |pattern: &str| Regex::new(pattern).map_err(|error| format!("cannot be used: {error}"));
        Ok(Self { specials: compiled(&any.join("|"))?, pieces: compiled(PATTERN)?, ranks, tokens, special })
    }

    /// Ids of `text`; special tokens written in it are recognised.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>, String> {
        let mut ids = Vec::new();
        for slice in slices(text) {
            let mut at = 0;
            for found in self.specials.find_iter(slice) {
                let found = found.map_err(|error| error.to_string())?;
                self.encode_ordinary(&slice[at..found.start()], &mut ids)?;
                ids.extend(self.special.get(found.as_str()));
                at = found.end();
            }
            self.encode_ordinary(&slice[at..], &mut ids)?;
        }
        Ok(ids)
    }

    fn encode_ordinary(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), String> {
        for piece in self.pieces.find_iter(text) {
            let piece = piece.map_err(|error| error.to_string())?.as_str().as_bytes();
            match self.ranks.get(piece) {
                Some(&id) => ids.push(id),
                None => self.join(piece, ids),
            }
        }
        Ok(())
    }

    /// Joins the bytes of a piece. The neighbours that can be joined wait in a heap by rank and place, so that a long
    /// piece takes n log n steps.
    fn join(&self, piece: &[u8], ids: &mut Vec<u32>) {
        // The part that begins at byte i ends at ends[i]; the part before it begins at before[i].
        let mut ends: Vec<usize> = (1..=piece.len()).collect();
        let mut before: Vec<Option<usize>> = (0..piece.len()).map(|i| i.checked_sub(1)).collect();
        let pair = |begin: usize, ends: &[usize]| {
            let middle = ends[begin];
            let end = *ends.get(middle)?;
            let rank = *self.ranks.get(&piece[begin..end])?;
            Some(Reverse((rank, begin, middle, end)))
        };
        let mut waiting: BinaryHeap<_> = (0..piece.len()).filter_map(|begin| pair(begin, &ends)).collect();
        while let Some(Reverse((_, begin, middle, end))) = waiting.pop() {
            // Parts that were joined to others since have other borders, or none.
            if ends[begin] != middle || ends[middle] != end {
                continue;
            }
            ends[begin] = end;
            ends[middle] = 0;
            if let Some(next) = before.get_mut(end) {
                *next = Some(begin);
            }
            waiting.extend(pair(begin, &ends));
            waiting.extend(before[begin].and_then(|previous| pair(previous, &ends)));
        }
        let mut at = 0;
        while at < piece.len() {
            ids.extend(self.ranks.get(&piece[at..ends[at]]));
            at = ends[at];
        }
    }

    /// Text of ids; what makes no character, an id that nothing has among it, becomes U+FFFD.
    pub(super) fn decode(&self, ids: &[u32]) -> String {
        let unknown = || "\u{FFFD}".as_bytes();
        let bytes = ids.iter().flat_map(|id| self.tokens.get(id).map_or_else(unknown, Vec::as_slice));
        String::from_utf8_lossy(&bytes.copied().collect::<Vec<u8>>()).into_owned()
    }

    pub(super) fn id(&self, token: &str) -> Option<u32> {
        self.special.get(token).or_else(|| self.ranks.get(token.as_bytes())).copied()
    }

    pub(super) fn vocab_size(&self) -> usize {
        self.tokens.len()
    }
}

/// Cuts text where the published code does: after so many characters, and inside longer runs of one kind.
fn slices(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let (mut begin, mut length, mut run, mut spaces) = (0, 0, 0, false);
    for (at, letter) in text.char_indices() {
        // Python's `isspace` counts four control characters that Unicode does not.
        let space = letter.is_whitespace() || ('\x1c'..='\x1f').contains(&letter);
        if length == LONGEST_TEXT || (run == LONGEST_RUN && space == spaces) {
            out.push(&text[begin..at]);
            (begin, run) = (at, 0);
            length = if length == LONGEST_TEXT { 0 } else { length };
        }
        run = if space == spaces { run + 1 } else { 1 };
        (spaces, length) = (space, length + 1);
    }
    out.push(&text[begin..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All single bytes, and `aa`, `aaa`, in this order.
    fn vocabulary() -> String {
        let bytes = (0..=u8::MAX).map(|byte| vec![byte]);
        let tokens = bytes.chain([b"aa".to_vec(), b"aaa".to_vec()]);
        let line = |(rank, token): (usize, Vec<u8>)| format!("{} {rank}\n", STANDARD.encode(token));
        tokens.enumerate().map(line).collect()
    }

    #[test]
    fn the_leftmost_of_equals_is_joined_first() {
        let tiktoken = Tiktoken::parse(&vocabulary(), &BTreeMap::new()).expect("valid");
        // aa aa a -> (aa a) is rank 257, at the second place: aa aaa.
        assert_eq!(tiktoken.encode("aaaaa").expect("encoded"), [256, 257]);
        assert_eq!(tiktoken.encode("<|reserved_token_258|>").expect("encoded"), [258]);
        assert_eq!(tiktoken.decode(&[257, 99_999]), "aaa\u{FFFD}");
        assert_eq!((tiktoken.id("aa"), tiktoken.vocab_size()), (Some(256), 258 + 256));
    }

    #[test]
    fn a_long_piece_is_quick() {
        let tiktoken = Tiktoken::parse(&vocabulary(), &BTreeMap::new()).expect("valid");
        let begin = std::time::Instant::now();
        tiktoken.encode(&"a".repeat(300_000)).expect("encoded");
        tiktoken.encode(&" ".repeat(300_000)).expect("encoded");
        assert!(begin.elapsed() < std::time::Duration::from_secs(5), "{:?}", begin.elapsed());
    }

    #[test]
    fn damaged_files_are_refused_with_the_line() {
        let good = vocabulary();
        let fault = |text: &str| Tiktoken::parse(text, &BTreeMap::new()).map(drop).expect_err("refused");
        assert!(fault(&format!("{good}!!! 258\n")).contains("line 259"));
        assert!(fault(&format!("{good}YWFhYQ==\n")).contains("no rank"));
        assert!(fault(&format!("{good}YWFhYQ== 4294967296\n")).contains("no number"));
        assert!(fault(&format!("{good}YWFhYQ== 7\n")).contains("another token"));
        assert!(fault(&format!("{good}YWFhYQ== 4294967295\n")).contains("leaves out"));
        assert!(fault(&format!("{good}YWE= 258\n")).contains("repeated"));
        assert!(fault("").contains("single byte 0x00"));
        let clash = BTreeMap::from([(3, "[BOS]")]);
        assert!(Tiktoken::parse(&good, &clash).map(drop).expect_err("refused").contains("[BOS]"));
    }

    #[test]
    fn text_is_cut_where_the_published_code_cuts_it() {
        let lengths = |text: &str| slices(text).into_iter().map(str::len).collect::<Vec<_>>();
        assert_eq!(lengths(""), [0]);
        assert_eq!(lengths(&"a".repeat(60_000)), [25_000, 25_000, 10_000]);
        assert_eq!(lengths(&format!("{} {}", "a".repeat(25_000), "b".repeat(25_001))), [50_001, 1]);
        assert_eq!(lengths(&"a ".repeat(300_000)), [400_000, 200_000]);
    }
}
