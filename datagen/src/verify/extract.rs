//! Finds the answer in a response: boxed, else marked, else stated, else the whole response where it is a number, else the
//! number of its last line.
//!
//! One pass from left to right, however many boxes a response opens and never closes.

use super::math;

/// Longer than any answer.
const MAX_ANSWER: usize = 4096;

/// The answer that `response` gives, in this order of preference: the last `\boxed{...}` or `\fbox{...}` (or `\boxed 5`),
/// what follows the last `####`, what follows the last "answer is" or "answer:", the whole response if it is a number, the number
/// that the last line states.
/// What stands in a thinking block does not count, and one that never ends leaves nothing.
pub fn extract_answer(response: &str) -> Option<&str> {
    let response = after_thinking(response)?;
    extract_boxed(response)
        .or_else(|| response.rsplit_once("####").and_then(|(_, rest)| first_line(rest)))
        .or_else(|| stated(response))
        .or_else(|| Some(response.trim()).filter(|text| math::is_number(text)))
        .or_else(|| last_line(response))
}

/// The number that the last line states: `x = 12`, `**12**`. A dash in front of it may be that of a list.
fn last_line(response: &str) -> Option<&str> {
    let line = response.trim_end().lines().next_back()?.trim();
    if line.len() > MAX_ANSWER || line.starts_with("- ") { None } else { math::stated_number(line) }
}

fn after_thinking(response: &str) -> Option<&str> {
    let answer = response.rsplit_once("</think>").map_or(response, |(_, answer)| answer);
    (!answer.contains("<think>")).then_some(answer)
}

/// The content of the last box that is closed and not empty; the last is the one that opens last.
pub fn extract_boxed(response: &str) -> Option<&str> {
    let bytes = response.as_bytes();
    let mut last: Option<(usize, &str)> = None;
    // For every open brace the box that it belongs to, if any, and where its content begins.
    let mut open: Vec<(Option<usize>, usize)> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => {
                let command = &response[at..];
                let Some(rest) = command.strip_prefix("\\boxed").or_else(|| command.strip_prefix("\\fbox")) else {
                    // What follows a backslash is escaped; it may be the first byte of several.
                    at += 1 + usize::from(bytes.get(at + 1).is_some_and(|next| b"{}".contains(next)));
                    continue;
                };
                let start = at;
                let inner = rest.trim_start();
                at = response.len() - inner.len();
                if inner.starts_with('{') {
                    at += 1;
                    open.push((Some(start), at));
                } else if let Some(content) = bare(rest) {
                    last = Some((start, content));
                }
            }
            b'{' => {
                at += 1;
                open.push((None, at));
            }
            b'}' => {
                if let Some((Some(start), from)) = open.pop() {
                    let content = response[from..at].trim();
                    let later = last.is_none_or(|(known, _)| known < start);
                    if later && !content.is_empty() && content.len() <= MAX_ANSWER {
                        last = Some((start, content));
                    }
                }
                at += 1;
            }
            _ => at += 1,
        }
    }
    last.map(|(_, content)| content)
}

/// The word after `\boxed` that has no braces: `\boxed 5`.
fn bare(rest: &str) -> Option<&str> {
    if !rest.starts_with(|next: char| next == ' ' || next.is_ascii_digit()) {
        return None;
    }
    let end = |next: char| next.is_whitespace() || next == '$';
    let word = rest.trim_start_matches(' ').split(end).next()?.trim_end_matches(['.', ',', ';']);
    (!word.is_empty() && word.len() <= MAX_ANSWER).then_some(word)
}

/// What follows the last "answer is" or "answer:", up to the end of the sentence.
fn stated(response: &str) -> Option<&str> {
    // ASCII lower case keeps every byte in its place.
    let lower = response.to_ascii_lowercase();
    let start = lower.rmatch_indices("answer").find_map(|(at, mark)| {
        let after = &lower[at + mark.len()..];
        let marks = [" is", ":", "**:", " would be", " should be", " =", "="];
        let (mark, rest) = marks.into_iter().find_map(|mark| Some((mark, after.strip_prefix(mark)?)))?;
        // `the answer isn't 13`, `the answer is not 13`
        let worded = mark.ends_with(|last: char| last.is_ascii_alphabetic());
        if worded && (rest.starts_with(|next: char| next.is_ascii_alphabetic()) || rest.starts_with(" not ")) {
            return None;
        }
        Some(lower.len() - rest.len())
    })?;
    let line = first_line(response[start..].trim_start_matches([' ', ':', '*', '\n', '\r']))?;
    let sentence = line.find(". ").map_or(line, |end| &line[..end]);
    let sentence = sentence.trim_matches(['*', ' ']);
    // An ellipsis belongs to the number.
    let ends: &[char] = if sentence.ends_with("...") { &['*'] } else { &['.', '!', '*'] };
    let sentence = sentence.trim_end_matches(ends).trim();
    (!sentence.is_empty()).then_some(sentence)
}

fn first_line(text: &str) -> Option<&str> {
    text.trim_start().lines().next().map(str::trim).filter(|line| !line.is_empty())
}
