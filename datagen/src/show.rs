//! A trace as a person reads it.

use crate::sample::Sample;
use std::fmt::Write;

/// The whole story of one sample: question, thinking, answer, verdict. Plain text; control characters that a model may
/// have written are shown, not sent to the terminal.
pub fn show(sample: &Sample) -> String {
    let Sample { uuid, sample: number, source, domain, difficulty, generator, seed, .. } = sample;
    let mut text = String::new();
    let mut place = source.clone();
    for part in [domain, difficulty] {
        if !part.is_empty() {
            place = format!("{place} / {part}");
        }
    }
    let kept = match sample.kept {
        true => "kept".to_owned(),
        false => format!("dropped ({})", sample.drop_reason),
    };
    let verdict = format!("{}: {}", sample.verdict.as_str(), sample.verdict_reason);
    let tokens = format!(
        "{} of prompt, {} of completion, ended by {}",
        sample.prompt_tokens, sample.completion_tokens, sample.finish_reason
    );
    let facts = [
        ("problem", format!("{uuid}, sample {number}")),
        ("from", place),
        ("by", format!("{generator}, seed {seed}")),
        ("gold", sample.answer.clone()),
        ("verdict", verdict),
        ("training", kept),
        ("tokens", tokens),
    ];
    for (name, value) in facts {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<9} {}", visible(&value));
    }
    let question = match sample.messages.first() {
        Some((_, prompt)) => prompt,
        None => &sample.problem,
    };
    for (title, body) in [("question", question), ("thinking", &sample.reasoning), ("response", &sample.response)] {
        if !body.trim().is_empty() {
            let _ = writeln!(text, "\n-- {title} {}\n{}", "-".repeat(60 - title.len()), visible(body.trim()));
        }
    }
    text
}

/// Escapes control characters but line breaks and tabs.
fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() && !matches!(character, '\n' | '\t') {
            visible.extend(character.escape_default());
        } else {
            visible.push(character);
        }
    }
    visible
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::example;

    #[test]
    fn a_trace_reads_from_question_to_verdict_and_hides_nothing() {
        let mut sample = example::samples().remove(0);
        sample.response = "so \u{1b}[31m\\boxed{4}".into();
        let shown = show(&sample);
        let order = ["What is 2 + 2?", "thinking", "two and two", "response", "\\boxed{4}"];
        let places: Vec<usize> = order.iter().map(|part| shown.find(part).unwrap()).collect();
        assert!(places.is_sorted(), "{shown}");
        assert!(shown.contains("right: ") && shown.contains("\\u{1b}[31m") && !shown.contains('\u{1b}'), "{shown}");
    }
}
