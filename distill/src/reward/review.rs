//! What came of a run by reward, from the dataset that it leaves: the first quarter of its batches against the last, and
//! whether anything looks as if the reward had been learnt instead of the task.

use crate::Error;
use retort_datagen::rollout::Rollout;
use retort_datagen::store::TraceReader;
use std::collections::BTreeMap;
use std::path::Path;

/// Means over some completions.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Means {
    pub completions: u64,
    pub reward: f64,
    /// Share that is right.
    pub right: f64,
    pub well_formed: f64,
    /// Share that is right by the run's rule and not when read strictly.
    pub leniently_only: f64,
    /// Share that is well formed and not right.
    pub well_formed_only: f64,
    pub tokens: f64,
}

/// A run's first and last rollouts.
#[derive(Debug, Clone, PartialEq)]
pub struct Review {
    pub batches: u64,
    pub first: Means,
    pub last: Means,
    /// The answer that is given most at the end, and its share then and at the beginning; `None` where none is given.
    pub commonest: Option<Commonest>,
}

/// An answer with its share of the completions.
#[derive(Debug, Clone, PartialEq)]
pub struct Commonest {
    pub answer: String,
    pub first: f64,
    pub last: f64,
}

/// Shares that differ by less are taken for the same.
const NOTICED: f64 = 0.02;

/// The same of the share of one answer: which problems came makes some difference by itself.
const FAVOURED: f64 = 0.1;

/// How often each answer was given.
type Answers = BTreeMap<String, u64>;

impl Means {
    fn add(&mut self, rollout: &Rollout, tokens: u32) {
        let Rollout { reward, accuracy, format, .. } = *rollout;
        let one = |holds: bool| if holds { 1.0 } else { 0.0 };
        self.completions += 1;
        self.reward += f64::from(reward);
        self.right += f64::from(accuracy);
        self.well_formed += f64::from(format);
        self.leniently_only += one(rollout.is_right_leniently_only());
        self.well_formed_only += one(rollout.is_well_formed_only());
        self.tokens += f64::from(tokens);
    }

    /// Sums of several batches as means.
    fn of<'a>(sums: impl Iterator<Item = &'a Self>) -> Self {
        let mut all = Self::default();
        for sum in sums {
            all.completions += sum.completions;
            let mut sum = *sum;
            all.numbers().into_iter().zip(sum.numbers()).for_each(|(all, sum)| *all += *sum);
        }
        let count = all.completions.max(1) as f64;
        all.numbers().into_iter().for_each(|number| *number /= count);
        all
    }

    fn numbers(&mut self) -> [&mut f64; 6] {
        let Self { reward, right, well_formed, leniently_only, well_formed_only, tokens, .. } = self;
        [reward, right, well_formed, leniently_only, well_formed_only, tokens]
    }
}

impl Commonest {
    fn of(first: &Answers, last: &Answers) -> Option<Self> {
        let share = |of: &Answers, answer: &str| {
            of.get(answer).copied().unwrap_or(0) as f64 / of.values().sum::<u64>().max(1) as f64
        };
        let answer = last.iter().filter(|(answer, _)| !answer.is_empty()).max_by_key(|(_, n)| **n)?.0.clone();
        Some(Self { first: share(first, &answer), last: share(last, &answer), answer })
    }
}

impl Review {
    /// Of the rollouts in `dir`.
    pub fn read(dir: &Path) -> Result<Self, Error> {
        let mut batches: BTreeMap<u64, (Means, Answers)> = BTreeMap::new();
        for sample in TraceReader::open(dir)?.samples() {
            let sample = sample?;
            if let Some(rollout) = &sample.rollout {
                let (means, answers) = batches.entry(rollout.step).or_default();
                means.add(rollout, sample.completion_tokens);
                *answers.entry(rollout.extracted.clone()).or_default() += 1;
            }
        }
        let batches: Vec<(Means, Answers)> = batches.into_values().collect();
        let quarter = batches.len().div_ceil(4);
        let (first, last) = (&batches[..quarter], &batches[batches.len() - quarter..]);
        let means = |part: &[(Means, Answers)]| Means::of(part.iter().map(|(means, _)| means));
        let answers = |part: &[(Means, Answers)]| {
            let mut all = Answers::new();
            let each = part.iter().flat_map(|(_, answers)| answers);
            each.for_each(|(answer, count)| *all.entry(answer.clone()).or_default() += count);
            all
        };
        let commonest = Commonest::of(&answers(first), &answers(last));
        Ok(Self { batches: batches.len() as u64, first: means(first), last: means(last), commonest })
    }

    /// What a person is told, line by line; what looks like a reward that was learnt instead of the task comes last.
    pub fn lines(&self) -> Vec<String> {
        let Self { batches, first, last, commonest } = self;
        let percent = |of: fn(&Means) -> f64| format!("{:.1}% -> {:.1}%", 100.0 * of(first), 100.0 * of(last));
        let mut lines = vec![format!(
            "{batches} batches, first quarter -> last: reward {:.3} -> {:.3}, right {}, well formed {}, {:.0} -> {:.0} tokens",
            first.reward,
            last.reward,
            percent(|means| means.right),
            percent(|means| means.well_formed),
            first.tokens,
            last.tokens,
        )];
        lines.push(format!(
            "right by the lenient reading alone {}, well formed and not right {}",
            percent(|means| means.leniently_only),
            percent(|means| means.well_formed_only),
        ));
        if last.leniently_only > first.leniently_only + NOTICED {
            lines.push("look: answers that are right only when read leniently have become more".into());
        }
        if last.well_formed > first.well_formed + NOTICED && last.right < first.right + NOTICED {
            lines.push("look: turns have become better formed and answers no better".into());
        }
        if let Some(Commonest { answer, first, last }) = commonest
            && *last > first + FAVOURED
        {
            let (first, last) = (100.0 * first, 100.0 * last);
            lines.push(format!("look: the answer `{answer}` has become {last:.1}% of all, from {first:.1}%"));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn means(rows: &[(f32, f32, bool)]) -> Means {
        let mut sum = Means::default();
        for &(accuracy, format, strict) in rows {
            sum.add(&Rollout { reward: accuracy + 0.5 * format, accuracy, format, strict, ..Rollout::default() }, 10);
        }
        Means::of([sum].iter())
    }

    #[test]
    fn a_reward_that_was_learnt_instead_of_the_task_is_named() {
        let first = means(&[(0.0, 0.0, false), (0.0, 0.0, false), (0.0, 1.0, false), (1.0, 0.0, true)]);
        assert_eq!((first.reward, first.right, first.well_formed_only, first.tokens), (0.375, 0.25, 0.25, 10.0));
        let answers =
            |pairs: &[(&str, u64)]| -> Answers { pairs.iter().map(|(answer, n)| ((*answer).into(), *n)).collect() };
        let looks_of = |last: Means, given: &[(&str, u64)]| {
            let commonest = Commonest::of(&answers(&[("4", 3), ("5", 6), ("", 1)]), &answers(given));
            let lines = Review { batches: 8, first, last, commonest }.lines();
            lines.into_iter().filter(|line| line.starts_with("look")).collect::<Vec<_>>().join("\n")
        };
        let looks = |last: Means| looks_of(last, &[("4", 3), ("5", 6), ("", 11)]);
        let honest = means(&[(1.0, 1.0, true), (1.0, 1.0, true), (0.0, 1.0, false), (1.0, 0.0, true)]);
        assert_eq!(looks(honest), "");
        let lenient = means(&[(1.0, 1.0, false), (1.0, 1.0, false), (0.0, 1.0, false), (1.0, 0.0, true)]);
        assert!(looks(lenient).contains("leniently"));
        let formal = means(&[(0.0, 1.0, false), (0.0, 1.0, false), (0.0, 1.0, false), (1.0, 1.0, true)]);
        assert!(looks(formal).contains("better formed"));
        assert_eq!(looks_of(honest, &[("4", 3), ("5", 2)]), "look: the answer `4` has become 60.0% of all, from 30.0%");
        assert_eq!(Commonest::of(&answers(&[("4", 3)]), &answers(&[("", 3)])), None);
    }
}
