//! The gym: five families of generated reasoning problems with gold answers and worked solutions.
//!
//! Three levels each, fixed before any model was trained on them:
//!
//! | family | 1 | 2 | 3 |
//! |---|---|---|---|
//! | arithmetic | 2-digit sums, differences | 3 digits; 2x1-digit products | 4 digits; 2x2-digit products |
//! | equations | `x+a=b`, `ax=b` | `ax+b=c` | `ax+b=cx+d`, also negative solutions |
//! | word_problems | 1-2 steps | 2-3 steps | 4 steps |
//! | countdown | 3 numbers, `+ -` | 3 numbers, `+ - *` | 4 numbers, `+ - *` |
//! | modular | 2 operations | 3 operations | 4 operations |
//!
//! An exercise is a function of (family, level, split, seed, index). Its *instance* names operands and structure
//! without the wording; a hash of the instance alone says whether it is held out, so no wording, seed or level can
//! carry a held-out instance into training.

mod arithmetic;
mod countdown;
mod draw;
mod equations;
mod modular;
mod selection;
mod solution;
mod stories;
mod word_problems;

#[cfg(test)]
mod tests;

pub use selection::{Error, Selection, exercises, parse_spec, problems};
pub use solution::Style;

use crate::problem::Problem;
use draw::Draw;
use solution::Solution;

/// A kind of problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    Arithmetic,
    Equations,
    WordProblems,
    Countdown,
    Modular,
}

impl Family {
    pub const ALL: [Self; 5] = [Self::Arithmetic, Self::Equations, Self::WordProblems, Self::Countdown, Self::Modular];

    /// The name as it stands in `Problem::domain` and in `gym:NAME`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Arithmetic => "arithmetic",
            Self::Equations => "equations",
            Self::WordProblems => "word_problems",
            Self::Countdown => "countdown",
            Self::Modular => "modular",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.as_str() == name)
    }
}

/// How hard a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    One,
    Two,
    Three,
}

impl Level {
    pub const ALL: [Self; 3] = [Self::One, Self::Two, Self::Three];

    /// The name as it stands in `Problem::difficulty`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::One => "1",
            Self::Two => "2",
            Self::Three => "3",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == name)
    }
}

/// Which side of the hold-out a problem is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    Train,
    HeldOut,
}

impl Split {
    /// The side on which `instance` lies, once and for all: one in sixteen is held out.
    pub fn of(instance: &str) -> Self {
        let hash = blake3::derive_key("retort gym hold-out v1", instance.as_bytes());
        if hash[0].is_multiple_of(16) { Self::HeldOut } else { Self::Train }
    }
}

/// What a family draws, before it is known on which side of the hold-out it falls.
struct Sketch {
    prompt: String,
    answer: String,
    instance: String,
    solution: Solution,
}

/// A problem with its worked solutions.
#[derive(Debug, Clone)]
pub struct Exercise {
    pub problem: Problem,
    pub family: Family,
    pub level: Level,
    /// Operands and structure without the wording, commutative operands sorted.
    pub instance: String,
    solution: Solution,
    noise: u64,
}

impl Exercise {
    /// The reasoning that belongs between `<think>` and `</think>`, ending in the gold answer.
    pub fn worked(&self, style: Style) -> String {
        self.solution.tell(style, self.noise / 100)
    }

    /// A terse solution in which a step went wrong without being noticed, and the wrong answer that it ends in.
    pub fn careless(&self) -> (String, String) {
        self.solution.tell_carelessly(&self.problem.answer, self.noise / 100)
    }

    /// The style this exercise takes in the pretraining mix (see [`Style::at_percentile`]).
    pub fn style(&self) -> Style {
        Style::at_percentile(self.noise % 100)
    }

    /// The text after `</think>`: the boxed gold answer.
    pub fn response(&self) -> String {
        boxed(&self.problem.answer)
    }
}

/// How an answer is given.
pub fn boxed(answer: &str) -> String {
    format!("\\boxed{{{answer}}}")
}

/// Exercise `index` of a cell: draws from the stream of (seed, cell, index) until the instance lies in `split`.
pub fn exercise(family: Family, level: Level, split: Split, seed: u64, index: u64) -> Exercise {
    let side = match split {
        Split::Train => "train",
        Split::HeldOut => "held out",
    };
    let mut draw = Draw::new(seed, &format!("{} {} {side}", family.as_str(), level.as_str()), index);
    // About 16 rounds for the held-out side; every cell has instances on both sides (tested).
    loop {
        let sketch = match family {
            Family::Arithmetic => arithmetic::draw(level, &mut draw),
            Family::Equations => equations::draw(level, &mut draw),
            Family::WordProblems => word_problems::draw(level, &mut draw),
            Family::Countdown => countdown::draw(level, &mut draw),
            Family::Modular => modular::draw(level, &mut draw),
        };
        if Split::of(&sketch.instance) == split {
            let Sketch { prompt, answer, instance, solution } = sketch;
            let problem = Problem::new(prompt, answer, "gym", family.as_str(), level.as_str());
            return Exercise { problem, family, level, instance, solution, noise: draw.bits() };
        }
    }
}
