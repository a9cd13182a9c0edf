//! What a run says of itself: one line of `metrics.jsonl` per report, the same for TensorBoard, means in between.

use crate::Error;
use crate::flops::Flops;
use crate::gradients::Pass;
use crate::tensorboard::EventFile;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::Path;

/// One line of `metrics.jsonl`.
#[derive(Serialize)]
pub(crate) struct Metrics<'a> {
    pub step: u64,
    pub loss: f64,
    pub learning_rate: f64,
    pub gradient_norm: f64,
    pub tokens: u64,
    /// Of the run so far.
    pub flops: Flops,
    pub tokens_per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_loss: Option<f64>,
    pub terms: &'a serde_json::Map<String, serde_json::Value>,
}

/// Running means between two reports.
#[derive(Default)]
pub(crate) struct Window {
    steps: u64,
    loss: f64,
    terms: std::collections::BTreeMap<String, f64>,
}

impl Window {
    pub(crate) fn add(&mut self, pass: &Pass, remarks: Vec<(String, f64)>) {
        self.steps += 1;
        self.loss += pass.loss;
        let terms = pass.terms.iter().map(|&(name, value)| (name.to_string(), value));
        for (name, value) in terms.chain(remarks) {
            *self.terms.entry(name).or_default() += value;
        }
    }

    pub(crate) fn mean_loss(&self) -> f64 {
        self.loss / self.steps.max(1) as f64
    }

    pub(crate) fn terms(&self) -> serde_json::Map<String, serde_json::Value> {
        self.terms.iter().map(|(name, total)| (name.clone(), (total / self.steps.max(1) as f64).into())).collect()
    }
}

/// The terms of the last report for a person to read, such as the experts' loads.
pub(crate) fn described(terms: &serde_json::Map<String, serde_json::Value>) -> String {
    let value = |value: &serde_json::Value| format!("{:.4}", value.as_f64().unwrap_or(f64::NAN));
    let terms: Vec<String> = terms.iter().map(|(name, term)| format!("{name} {}", value(term))).collect();
    format!("in the last steps: {}", terms.join(", "))
}

/// The open files.
pub(crate) struct MetricsFile {
    file: std::fs::File,
    path: std::path::PathBuf,
    events: EventFile,
}

impl MetricsFile {
    /// Opens the file of a run that goes on after step `first`; what an earlier attempt wrote beyond it goes.
    pub(crate) fn open(out: &Path, first: u64) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Line {
            step: u64,
        }
        let path = out.join("metrics.jsonl");
        let failed = |action, source| Error::Io { action, path: path.clone(), source };
        let before =
            if path.is_file() { std::fs::read_to_string(&path).map_err(|e| failed("read", e))? } else { String::new() };
        let kept =
            before.lines().filter(|line| serde_json::from_str::<Line>(line).is_ok_and(|line| line.step <= first));
        let kept: String = kept.flat_map(|line| [line, "\n"]).collect();
        retort_model::checkpoint::write_bytes(&path, kept.as_bytes())?;
        let file = std::fs::OpenOptions::new().append(true).open(&path).map_err(|e| failed("opened", e))?;
        Ok(Self { file, path, events: EventFile::create(out, first)? })
    }

    pub(crate) fn write(&mut self, metrics: &Metrics) -> Result<(), Error> {
        let io = |source| Error::Io { action: "written", path: self.path.clone(), source };
        let line = serde_json::to_string(metrics).map_err(|e| io(e.into()))?;
        writeln!(self.file, "{line}").map_err(io)?;
        let mut scalars = vec![
            ("loss", metrics.loss),
            ("learning_rate", metrics.learning_rate),
            ("gradient_norm", metrics.gradient_norm),
            ("tokens_per_second", metrics.tokens_per_second),
            ("flops", metrics.flops.total()),
        ];
        scalars.extend(metrics.validation_loss.map(|loss| ("validation_loss", loss)));
        let terms: Vec<(String, f64)> = metrics
            .terms
            .iter()
            .filter_map(|(name, value)| Some((format!("terms/{}", name.replace(' ', "_")), value.as_f64()?)))
            .collect();
        scalars.extend(terms.iter().map(|(name, value)| (name.as_str(), *value)));
        self.events.scalars(metrics.step, &scalars)
    }
}
