//! Worked solutions: the same steps told tersely, with words, with a check at the end, or with a slip; and careless ones,
//! whose slip nobody notices.
//!
//! The reader is a very small transformer that sees one token per digit, so a step is one line, and a line is one
//! thing that fits in a forward pass: copy two numbers, look up or carry once, write the result. No spaces are spent
//! where a digit follows, because a space before a digit is a token of its own.

use super::draw::Draw;

/// How a worked solution is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Style {
    /// The computations alone.
    Terse,
    /// Each computation with a word on what it is for.
    Narrated,
    /// Terse, and the result is checked before it is given.
    Checked,
    /// Terse, with one wrong result that is noticed and corrected at once.
    Slip,
}

impl Style {
    pub const ALL: [Self; 4] = [Self::Terse, Self::Narrated, Self::Checked, Self::Slip];

    /// The mix for pretraining: 65% terse, 15% narrated, 10% checked, 10% slip; `percentile` is uniform in `0..100`.
    pub fn at_percentile(percentile: u64) -> Self {
        match percentile {
            0..65 => Self::Terse,
            65..80 => Self::Narrated,
            80..90 => Self::Checked,
            _ => Self::Slip,
        }
    }
}

/// One line of a solution.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// What the step is for, in the narrated style; empty for none.
    pub say: String,
    /// The computation as it should stand.
    pub line: String,
    /// The same line cut after its first result, with that result wrong.
    pub wrong: String,
    /// What follows from the result, in the narrated style; empty for none.
    pub note: String,
}

impl Step {
    /// The step `left=value`; a slip would be off by one or by ten.
    pub(super) fn compute(draw: &mut Draw, say: &str, left: &str, value: i64) -> Self {
        Self::columns(draw, say, left, value, 1)
    }

    /// The same with the result padded to `width` digits, so that columns of numbers line up.
    pub(super) fn columns(draw: &mut Draw, say: &str, left: &str, value: i64, width: usize) -> Self {
        let off = *draw.pick(if value.abs() > 10 { &[1, -1, 10, -10][..] } else { &[1, -1, 2][..] });
        // A slip does not change the sign: a natural number stays one.
        let wrong = if value >= 0 { (value + off).abs() } else { -(value + off).abs() };
        let wrong = if wrong == value { value + 2 } else { wrong };
        Self {
            say: say.into(),
            line: format!("{left}={value:0width$}"),
            wrong: format!("{left}={wrong:0width$}"),
            note: String::new(),
        }
    }

    /// Adds what follows the first result on the same line.
    pub(super) fn then(mut self, rest: &str) -> Self {
        self.line.push_str(rest);
        self
    }

    /// Adds what the narrated style says after the result.
    pub(super) fn noting(mut self, note: String) -> Self {
        self.note = note;
        self
    }
}

/// The steps from a problem to its answer.
#[derive(Debug, Clone)]
pub(super) struct Solution {
    pub steps: Vec<Step>,
    /// Statements that confirm the answer.
    pub check: Vec<String>,
    /// The last line, which ends in the gold answer.
    pub last: String,
}

impl Solution {
    /// The text of the solution; `noise` says which step slips.
    pub(super) fn tell(&self, style: Style, noise: u64) -> String {
        let slips_at = noise % (self.steps.len() as u64).max(1);
        let mut lines = Vec::new();
        for (at, step) in self.steps.iter().enumerate() {
            if style == Style::Slip && at as u64 == slips_at {
                lines.push(step.wrong.clone());
                lines.push(format!("Wait, {}", step.line));
            } else {
                lines.push(step.tell(style));
            }
        }
        match style {
            Style::Narrated => lines.push(format!("So {}", self.last)),
            Style::Checked => lines.push(format!("{}\nCheck: {}\n{}", self.last, self.check.join(","), self.last)),
            Style::Terse | Style::Slip => lines.push(self.last.clone()),
        }
        lines.join("\n")
    }

    /// The terse solution with a step wrong, unnoticed, and the wrong answer that stands at its end.
    pub(super) fn tell_carelessly(&self, answer: &str, noise: u64) -> (String, String) {
        let slips_at = noise % (self.steps.len() as u64).max(1);
        let steps = self.steps.iter().enumerate();
        let told = steps.map(|(at, step)| if at as u64 == slips_at { step.wrong.as_str() } else { step.line.as_str() });
        let wrong = off_by_one(answer);
        let last = format!("{}{wrong}", self.last.strip_suffix(answer).unwrap_or_default());
        (told.chain([last.as_str()]).collect::<Vec<_>>().join("\n"), wrong)
    }
}

/// The text with its last digit one higher, or 0 for 9.
fn off_by_one(answer: &str) -> String {
    let Some((at, digit)) = answer.char_indices().rev().find_map(|(at, c)| Some((at, c.to_digit(10)?))) else {
        return answer.into();
    };
    format!("{}{}{}", &answer[..at], (digit + 1) % 10, &answer[at + 1..])
}

impl Step {
    fn tell(&self, style: Style) -> String {
        match (style == Style::Narrated, self.say.is_empty(), self.note.is_empty()) {
            (false, ..) | (true, true, true) => self.line.clone(),
            (true, true, false) => format!("{}, {}", self.line, self.note),
            (true, false, true) => format!("{}: {}", self.say, self.line),
            (true, false, false) => format!("{}: {}, {}", self.say, self.line, self.note),
        }
    }
}
