//! What changed between teacher and student, question by question: gained, lost, both, neither, with examples to read.

use crate::score::{Answered, Questions};
use retort_datagen::sample::{Sample, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Who got a question right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transition {
    /// The teacher and the student.
    Both,
    /// The student alone.
    Gained,
    /// The teacher alone.
    Lost,
    /// Neither of them.
    Neither,
}

impl Transition {
    /// What changed comes first: so do the examples.
    pub const ALL: [Self; 4] = [Self::Gained, Self::Lost, Self::Both, Self::Neither];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Gained => "gained",
            Self::Lost => "lost",
            Self::Neither => "neither",
        }
    }

    /// Whether the teacher and whether the student is right.
    pub fn rights(self) -> (bool, bool) {
        match self {
            Self::Both => (true, true),
            Self::Gained => (false, true),
            Self::Lost => (true, false),
            Self::Neither => (false, false),
        }
    }
}

/// The 2 x 2 table of teacher against student, in problems, with examples.
///
/// With one sample per problem these are counts. With more, each problem adds the product of its shares of right and wrong
/// samples: what one sample of each model would give on average. So gained - lost = problems x (student - teacher), always.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transitions {
    pub both: f64,
    pub gained: f64,
    pub lost: f64,
    pub neither: f64,
    pub examples: Vec<Example>,
}

/// One problem with an attempt of each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Example {
    pub transition: Transition,
    pub uuid: String,
    pub family: String,
    pub level: String,
    pub question: String,
    pub gold: String,
    pub teacher: Attempt,
    pub student: Attempt,
}

/// What a model wrote in one sample; long texts lose their middle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    pub sample: u32,
    pub verdict: Verdict,
    pub verdict_reason: String,
    pub reasoning: String,
    pub response: String,
    pub completion_tokens: u32,
}

/// The longest text that an example keeps, in characters: enough to read, small enough to mail.
const EXCERPT: usize = 6_000;

impl Transitions {
    /// Both runs hold the same problems.
    pub(crate) fn between(teacher: &Questions<'_>, student: &Questions<'_>, examples_each: usize) -> Self {
        let mut table = Self { both: 0.0, gained: 0.0, lost: 0.0, neither: 0.0, examples: Vec::new() };
        for transition in Transition::ALL {
            let mut weighted: Vec<(f64, &str, &Answered<'_>, &Answered<'_>)> = teacher
                .iter()
                .filter_map(|(uuid, teacher)| {
                    let student = student.get(uuid)?;
                    let (teacher_right, student_right) = transition.rights();
                    Some((share(teacher, teacher_right) * share(student, student_right), *uuid, teacher, student))
                })
                .filter(|row| row.0 > 0.0)
                .collect();
            let total = weighted.iter().map(|row| row.0).sum();
            match transition {
                Transition::Both => table.both = total,
                Transition::Gained => table.gained = total,
                Transition::Lost => table.lost = total,
                Transition::Neither => table.neither = total,
            }
            // The clearest cases first, one of each family before a second of any; the uuid is as good as a random order.
            weighted.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
            let mut families = BTreeSet::new();
            let (first, rest): (Vec<_>, Vec<_>) = weighted.into_iter().partition(|row| families.insert(row.2.family));
            table.examples.extend(
                first
                    .into_iter()
                    .chain(rest)
                    .filter_map(|(_, uuid, teacher, student)| Example::of(transition, uuid, teacher, student))
                    .take(examples_each),
            );
        }
        table
    }

    /// The entry of the table, in problems.
    pub fn problems(&self, transition: Transition) -> f64 {
        match transition {
            Transition::Both => self.both,
            Transition::Gained => self.gained,
            Transition::Lost => self.lost,
            Transition::Neither => self.neither,
        }
    }
}

impl Example {
    fn of(transition: Transition, uuid: &str, teacher: &Answered<'_>, student: &Answered<'_>) -> Option<Self> {
        let (teacher_right, student_right) = transition.rights();
        let (first, second) = (attempt(teacher, teacher_right)?, attempt(student, student_right)?);
        Some(Self {
            transition,
            uuid: uuid.into(),
            family: teacher.family.into(),
            level: teacher.level.into(),
            question: excerpt(&first.problem),
            gold: excerpt(&first.answer),
            teacher: Attempt::from(first),
            student: Attempt::from(second),
        })
    }
}

impl From<&Sample> for Attempt {
    fn from(sample: &Sample) -> Self {
        Self {
            sample: sample.sample,
            verdict: sample.verdict,
            verdict_reason: excerpt(&sample.verdict_reason),
            reasoning: excerpt(&sample.reasoning),
            response: excerpt(&sample.response),
            completion_tokens: sample.completion_tokens,
        }
    }
}

fn share(answered: &Answered<'_>, right: bool) -> f64 {
    let score = answered.question.score();
    if right { score } else { 1.0 - score }
}

fn attempt<'a>(answered: &Answered<'a>, right: bool) -> Option<&'a Sample> {
    answered.samples.iter().copied().find(|sample| (sample.verdict == Verdict::Right) == right)
}

/// `text`, or its two ends around a note on what was left out.
fn excerpt(text: &str) -> String {
    let length = text.chars().count();
    if length <= EXCERPT {
        return text.into();
    }
    let (head, tail) = (EXCERPT * 2 / 3, EXCERPT / 3);
    let start: String = text.chars().take(head).collect();
    let end: String = text.chars().skip(length - tail).collect();
    format!("{start}\n[… {} characters left out …]\n{end}", length - head - tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_keep_both_ends_and_say_what_is_missing() {
        let text = format!("{}{}", "é".repeat(5_000), "z".repeat(5_000));
        let cut = excerpt(&text);
        assert!(cut.starts_with("ééé") && cut.ends_with("zzz") && cut.contains("[… 4000 characters left out …]"));
        assert_eq!(excerpt("short"), "short");
    }
}
