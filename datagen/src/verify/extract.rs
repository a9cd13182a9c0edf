//! Finds the answer in a response: boxed, else marked, else stated, else the whole response where it is a number.

use super::numeric;

/// Longer than any answer; it bounds the search for a closing brace.
const MAX_ANSWER: usize = 4096;

/// The answer that `response` gives, in this order of preference: the last `\boxed{...}` or `\fbox{...}` (or `\boxed 5`),
/// what follows the last `####`, what follows the last "answer is" or "answer:", the whole response if it is a number.
pub fn extract_answer(response: &str) -> Option<&str> {
    boxed(response)
        .or_else(|| response.rsplit_once("####").and_then(|(_, rest)| first_line(rest)))
        .or_else(|| stated(response))
        .or_else(|| Some(response.trim()).filter(|text| numeric::is_number(text)))
}

/// The content of the last box that is closed and not empty.
fn boxed(response: &str) -> Option<&str> {
    response.rmatch_indices('\\').find_map(|(at, _)| {
        let command = &response[at..];
        let rest = command.strip_prefix("\\boxed").or_else(|| command.strip_prefix("\\fbox"))?;
        let content = if rest.trim_start().starts_with('{') {
            braced(rest.trim_start())?.0.trim()
        } else if rest.starts_with(|next: char| next == ' ' || next.is_ascii_digit()) {
            let end = |next: char| next.is_whitespace() || next == '$';
            rest.trim_start_matches(' ').split(end).next()?.trim_end_matches(['.', ',', ';'])
        } else {
            return None;
        };
        (!content.is_empty()).then_some(content)
    })
}

/// Splits `{content}rest`, minding nested braces and escapes; `None` where the braces do not close.
pub(super) fn braced(text: &str) -> Option<(&str, &str)> {
    if !text.starts_with('{') {
        return None;
    }
    let mut depth = 0usize;
    let mut escaped = false;
    for (at, &byte) in text.as_bytes().iter().enumerate().take(MAX_ANSWER) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'{' => depth += 1,
            b'}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some((&text[1..at], &text[at + 1..]));
                }
            }
            _ => {}
        }
    }
    None
}

/// What follows the last "answer is" or "answer:", up to the end of the sentence.
fn stated(response: &str) -> Option<&str> {
    // ASCII lower case keeps every byte in its place.
    let lower = response.to_ascii_lowercase();
    let marks = ["answer is", "answer:", "answer**:"];
    let start = marks.into_iter().filter_map(|mark| Some(lower.rfind(mark)? + mark.len())).max()?;
    let line = first_line(response[start..].trim_start_matches([' ', ':', '*', '\n', '\r']))?;
    let sentence = line.find(". ").map_or(line, |end| &line[..end]);
    let sentence = sentence.trim_matches(['*', ' ']).trim_end_matches(['.', '!', '*']).trim();
    (!sentence.is_empty()).then_some(sentence)
}

fn first_line(text: &str) -> Option<&str> {
    text.trim_start().lines().next().map(str::trim).filter(|line| !line.is_empty())
}
