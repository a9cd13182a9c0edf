//! A trace as a person reads it, and which ones a person wants to read.

use crate::rollout::Rollout;
use crate::sample::{Sample, Verdict};
use retort_model::generate::Role;
use std::fmt::Write;

/// What a trace must be to be shown; what is not set lets everything through.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    pub verdict: Option<Verdict>,
    pub domain: Option<String>,
    pub difficulty: Option<String>,
    /// The beginning of the problem's uuid.
    pub problem: Option<String>,
    pub sample: Option<u32>,
    pub kept: Option<bool>,
    /// A part of the reason of the verdict or of the drop, such as its cause.
    pub reason: Option<String>,
    /// A part of question, reasoning or response, in any case.
    pub text: Option<String>,
}

impl Filter {
    pub fn lets_through(&self, sample: &Sample) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        let begins =
            |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| found.starts_with(wanted));
        let said =
            |wanted: &String| [&sample.verdict_reason, &sample.drop_reason].iter().any(|text| text.contains(wanted));
        let written = |wanted: &String| {
            let wanted = wanted.to_lowercase();
            let texts = [&sample.problem, &sample.reasoning, &sample.response];
            texts.iter().any(|text| text.to_lowercase().contains(&wanted))
        };
        self.verdict.is_none_or(|verdict| verdict == sample.verdict)
            && is(&self.domain, &sample.domain)
            && is(&self.difficulty, &sample.difficulty)
            && begins(&self.problem, &sample.uuid)
            && self.sample.is_none_or(|number| number == sample.sample)
            && self.kept.is_none_or(|kept| kept == sample.kept)
            && self.reason.as_ref().is_none_or(said)
            && self.text.as_ref().is_none_or(written)
    }
}

/// The whole story of one sample: what the system says, question, thinking, answer, verdict. Plain text; control characters that a model may
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
    let earned = sample.rollout.as_ref().map(|rollout| ("reward", earned(rollout)));
    for (name, value) in facts.into_iter().chain(earned) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<9} {}", visible(&value));
    }
    for (title, body) in asked(sample).chain([("thinking", &*sample.reasoning), ("response", &sample.response)]) {
        if !body.trim().is_empty() {
            let _ = writeln!(text, "\n-- {title} {}\n{}", "-".repeat(60 - title.len()), visible(body.trim()));
        }
    }
    text
}

/// What a rollout earned, and for what.
fn earned(rollout: &Rollout) -> String {
    let Rollout { step, group, reward, advantage, accuracy, format, length, extracted, .. } = rollout;
    let strictly = if rollout.is_right_leniently_only() { "; not right when read strictly" } else { "" };
    format!(
        "{reward:.3} (accuracy {accuracy}, format {format}, length {length:.2}), advantage {advantage:+.3}, step {step}, \
         group {group}; found `{extracted}`{strictly}"
    )
}

/// What the model read, turn by turn: what a template made of a problem, with what was appended to it, is in the user's.
fn asked(sample: &Sample) -> impl Iterator<Item = (&'static str, &str)> {
    let turns = match sample.messages.split_last() {
        Some(((role, _), before)) if role == Role::Assistant.as_str() => before,
        _ => &sample.messages,
    };
    let alone = turns.is_empty().then_some(("question", &*sample.problem));
    let titled = turns.iter().map(|(role, said)| match role.as_str() {
        "user" => ("question", &**said),
        "system" => ("system", &**said),
        _ => ("earlier turn", &**said),
    });
    alone.into_iter().chain(titled)
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

    #[test]
    fn every_turn_is_shown_as_what_it_is() {
        let mut sample = example::samples().remove(0);
        let titles = |sample: &Sample| -> Vec<String> {
            let shown = show(sample);
            let titles = shown.lines().filter_map(|line| line.strip_prefix("-- "));
            titles.map(|title| title.trim_end_matches(['-', ' ']).to_owned()).collect()
        };
        assert_eq!(titles(&sample), ["question", "thinking", "response"]);
        let answer = sample.messages.pop().unwrap();
        let turn = |role: &str, said: &str| (role.to_owned(), said.to_owned());
        sample.messages =
            vec![turn("system", "Be brief."), turn("user", "Put: What is 2 + 2?\nBox it."), answer.clone()];
        assert_eq!(titles(&sample), ["system", "question", "thinking", "response"]);
        let shown = show(&sample);
        assert!(shown.find("Be brief.") < shown.find("Put: What is 2 + 2?\nBox it."), "{shown}");
        sample.messages = vec![turn("user", "Hi."), turn("assistant", "Hello."), turn("user", "2 + 2?"), answer];
        assert_eq!(titles(&sample), ["question", "earlier turn", "question", "thinking", "response"]);
        sample.messages.clear();
        assert!(show(&sample).contains(&sample.problem));
    }

    #[test]
    fn every_filter_lets_through_what_it_names_and_nothing_else() {
        let rows = example::samples();
        let none = Filter::default;
        let uuid = rows[2].uuid[..13].to_owned();
        let cases = [
            (none(), vec![0, 1, 2, 3, 4, 5]),
            (Filter { verdict: Some(Verdict::Right), ..none() }, vec![0, 2, 4]),
            (Filter { domain: Some("sums".into()), difficulty: Some("2".into()), ..none() }, vec![2, 3]),
            (Filter { domain: Some("sum".into()), ..none() }, vec![]),
            (Filter { difficulty: Some(String::new()), ..none() }, vec![4, 5]),
            (Filter { problem: Some(uuid), sample: Some(1), ..none() }, vec![3]),
            (Filter { kept: Some(false), ..none() }, vec![1, 3, 5]),
            (Filter { reason: Some("no answer".into()), ..none() }, vec![1, 3, 5]),
            (Filter { text: Some("WHAT IS 30".into()), ..none() }, vec![2, 3]),
            (Filter { text: Some("boxed{4}".into()), ..none() }, vec![0, 4]),
        ];
        for (filter, expected) in cases {
            let found: Vec<usize> = (0..6).filter(|&place| filter.lets_through(&rows[place])).collect();
            assert_eq!(found, expected, "{filter:?}");
        }
    }
}
