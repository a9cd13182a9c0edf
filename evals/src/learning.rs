//! What training runs told on their way, for curves: each reads the `metrics.jsonl` of a folder that `distill run` or a
//! pretraining wrote.

use crate::Error;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::Path;

/// A training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Learning {
    /// Its folder, as it was named.
    pub name: String,
    pub steps: u64,
    /// At most [`MOST_POINTS`], in the order of their steps.
    pub points: Vec<LearningPoint>,
}

/// Means over a few steps in a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct LearningPoint {
    /// The mean of those steps, counted from 1.
    pub step: f64,
    pub loss: f64,
    /// What learning from reward tells of rollouts; `None` of other runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollouts: Option<RolloutMeans>,
}

/// Of the completions that a model learnt from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct RolloutMeans {
    pub pass_at_1: f64,
    /// Share of turns that are written as they should be.
    pub well_formed: f64,
    pub completion_tokens: f64,
}

/// As many as a plot can show, and few enough for the noise of a step to be averaged out.
pub const MOST_POINTS: usize = 40;

/// What a line of the file is read for.
#[derive(Deserialize)]
struct Line {
    step: u64,
    loss: f64,
    #[serde(default)]
    terms: Terms,
}

#[derive(Default, Deserialize)]
struct Terms {
    pass_at_1: Option<f64>,
    well_formed: Option<f64>,
    completion_tokens: Option<f64>,
}

impl Line {
    fn rollouts(&self) -> Option<RolloutMeans> {
        let Terms { pass_at_1, well_formed, completion_tokens } = self.terms;
        Some(RolloutMeans { pass_at_1: pass_at_1?, well_formed: well_formed?, completion_tokens: completion_tokens? })
    }
}

impl Learning {
    /// The run in `folder`; a run that is under way is read as far as it is.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let path = folder.join("metrics.jsonl");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Err(Error::NoMetrics { folder: folder.into() });
            }
            Err(source) => return Err(Error::Io { action: "read", path, source }),
        };
        let damaged = |at: usize, reason: String| Error::DamagedMetrics { path: path.clone(), line: at + 1, reason };
        let mut lines: Vec<Line> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line: Line = match serde_json::from_str(line) {
                Ok(line) => line,
                // A run under way is about to write the rest of its last line.
                Err(error) if error.is_eof() && !text.ends_with('\n') => break,
                Err(error) => return Err(damaged(at, error.to_string())),
            };
            if lines.last().is_some_and(|before| before.step >= line.step) {
                return Err(damaged(at, format!("step {} does not come after the one before it", line.step)));
            }
            lines.push(line);
        }
        let Some(steps) = lines.last().map(|line| line.step) else {
            return Err(Error::NoMetrics { folder: folder.into() });
        };
        let points = lines.chunks(lines.len().div_ceil(MOST_POINTS)).map(mean).collect();
        Ok(Self { name: folder.display().to_string(), steps, points })
    }

    /// Whether it learnt from reward.
    pub fn is_by_reward(&self) -> bool {
        self.points.iter().any(|point| point.rollouts.is_some())
    }
}

/// At least one line.
fn mean(lines: &[Line]) -> LearningPoint {
    let over = |values: &mut dyn Iterator<Item = f64>, count: usize| values.sum::<f64>() / count as f64;
    let told: Vec<RolloutMeans> = lines.iter().filter_map(Line::rollouts).collect();
    let of = |part: fn(&RolloutMeans) -> f64| over(&mut told.iter().map(part), told.len());
    LearningPoint {
        step: over(&mut lines.iter().map(|line| line.step as f64), lines.len()),
        loss: over(&mut lines.iter().map(|line| line.loss), lines.len()),
        rollouts: (!told.is_empty()).then(|| RolloutMeans {
            pass_at_1: of(|rollouts| rollouts.pass_at_1),
            well_formed: of(|rollouts| rollouts.well_formed),
            completion_tokens: of(|rollouts| rollouts.completion_tokens),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Learning, Error> {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::write(folder.path().join("metrics.jsonl"), text).expect("written");
        Learning::read(folder.path())
    }

    #[test]
    fn points_are_means_of_steps_in_a_row() -> Result<(), Error> {
        let line = |step: u64| {
            let pass = step as f64 / 100.0;
            format!(
                r#"{{"step":{step},"loss":{step},"flops":{{}},"terms":{{"pass_at_1":{pass},"well_formed":1,"completion_tokens":7}}}}"#
            )
        };
        let run = read(&(1..=90).map(|step| line(step) + "\n").collect::<String>())?;
        assert_eq!((run.steps, run.points.len(), run.is_by_reward()), (90, 30, true));
        let second = RolloutMeans { pass_at_1: 0.05, well_formed: 1.0, completion_tokens: 7.0 };
        assert_eq!((run.points[1].step, run.points[1].loss), (5.0, 5.0));
        let found = run.points[1].rollouts.expect("rollouts");
        assert!((found.pass_at_1 - second.pass_at_1).abs() < 1e-12, "{found:?}");
        assert_eq!(RolloutMeans { pass_at_1: 0.05, ..found }, second);
        assert_eq!(read("{\"step\":1,\"loss\":2}\n{\"step\":2,\"lo")?.steps, 1);
        let plain = read("{\"step\":10,\"loss\":2.5}\n{\"step\":20,\"loss\":1.5,\"terms\":{\"balance\":1}}\n")?;
        assert_eq!((plain.points.len(), plain.points[1].loss, plain.is_by_reward()), (2, 1.5, false));
        Ok(())
    }

    #[test]
    fn what_is_no_training_run_is_refused_with_the_place() {
        let good = "{\"step\":1,\"loss\":2}\n";
        for (text, expected) in [
            (String::new(), "no training run"),
            (format!("{good}{{\"step\":2\n"), "line 2"),
            (format!("{good}{{\"loss\":2}}"), "missing field `step`"),
            (format!("{good}{good}"), "step 1 does not come after"),
        ] {
            let error = read(&text).expect_err("damaged");
            assert!(error.to_string().contains(expected) && error.hint().is_some(), "{error}");
        }
        let nowhere = Learning::read(Path::new("/nowhere")).expect_err("nothing there").to_string();
        assert!(nowhere.contains("/nowhere"), "{nowhere}");
    }
}
