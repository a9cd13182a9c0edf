//! Answers on disk: `likelihoods.jsonl`, whose first line says what they are answers to and every other line is one.
//!
//! Lines are added and synchronised a batch at a time, so a run that is killed loses one batch at most: what a line in
//! part is worth nothing, and is cut off by the next run.

use super::Answer;
use crate::Error;
use crate::definition::ChoiceMetric;
use retort_datagen::store::BenchmarkId;
use retort_model::durable::{Disk, DiskFile, Native};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The file's name in a run's folder.
pub const FILE: &str = "likelihoods.jsonl";

const FORMAT: &str = "retort likelihoods v1";

/// What a run's answers are answers to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// Name and fingerprint of the model.
    pub generator: String,
    pub benchmark: BenchmarkId,
    /// What decides which questions count as right.
    pub metric: ChoiceMetric,
    /// Number and fingerprint of the questions.
    pub questions: retort_datagen::store::ProblemSet,
}

#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    #[serde(flatten)]
    identity: Identity,
}

/// The answers of a run while it goes on.
pub(super) struct Store {
    path: PathBuf,
    file: Box<dyn DiskFile>,
    answers: Vec<Answer>,
}

impl Store {
    /// Opens the answers in `dir`, which are continued, or begins them.
    pub(super) fn open(dir: &Path, identity: &Identity) -> Result<Self, Error> {
        let path = dir.join(FILE);
        let failed = |action| {
            let path = path.clone();
            move |source| Error::Io { action, path, source }
        };
        if !path.is_file() {
            Native.create_folder(dir).map_err(failed("created"))?;
            let header = Header { format: FORMAT.into(), identity: identity.clone() };
            let line = serde_json::to_string(&header).map_err(Error::Unserialisable)?;
            retort_model::durable::replace(&path, format!("{line}\n").as_bytes()).map_err(failed("written"))?;
        }
        let text = Native.read(&path).map_err(failed("read"))?;
        let (there, answers, whole) = parse(&text, &path)?;
        if there != *identity {
            let shown = |identity: &Identity| serde_json::to_string(identity).unwrap_or_default();
            return Err(Error::OtherLikelihoods { path, there: shown(&there), here: shown(identity) });
        }
        let mut file = Native.open(&path).map_err(failed("opened"))?;
        if whole < text.len() {
            file.cut(whole as u64).map_err(failed("written"))?;
        }
        Ok(Self { path, file, answers })
    }

    pub(super) fn answers(&self) -> &[Answer] {
        &self.answers
    }

    pub(super) fn into_answers(self) -> Vec<Answer> {
        self.answers
    }

    /// Makes answers durable.
    pub(super) fn append(&mut self, answers: Vec<Answer>) -> Result<(), Error> {
        let mut lines = Vec::new();
        for answer in &answers {
            serde_json::to_writer(&mut lines, answer).map_err(Error::Unserialisable)?;
            lines.push(b'\n');
        }
        let written = self.file.append(&lines).and_then(|()| self.file.sync());
        written.map_err(|source| Error::Io { action: "written", path: self.path.clone(), source })?;
        self.answers.extend(answers);
        Ok(())
    }
}

/// The answers in the folder of a run, and what they are answers to.
pub fn read(dir: &Path) -> Result<(Identity, Vec<Answer>), Error> {
    let path = dir.join(FILE);
    let text = Native.read(&path).map_err(|source| Error::Io { action: "read", path: path.clone(), source })?;
    parse(&text, &path).map(|(identity, answers, _)| (identity, answers))
}

/// What the file says, and how many of its bytes are whole lines.
fn parse(text: &[u8], path: &Path) -> Result<(Identity, Vec<Answer>, usize), Error> {
    let damaged = |line: usize, reason: String| Error::DamagedLikelihoods { path: path.into(), line, reason };
    let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let mut lines = text[..whole].split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).zip(1..);
    let (first, _) = lines.next().ok_or_else(|| damaged(1, "it is empty".into()))?;
    let header: Header = serde_json::from_slice(first).map_err(|error| damaged(1, error.to_string()))?;
    if header.format != FORMAT {
        return Err(Error::OtherFormat { path: path.into(), expected: FORMAT, found: header.format });
    }
    let mut answers: Vec<Answer> = Vec::new();
    for (line, number) in lines {
        let answer: Answer = serde_json::from_slice(line).map_err(|error| damaged(number, error.to_string()))?;
        let choices = answer.choices.len();
        if answer.place != answers.len() || answer.log_likelihoods.len() != choices || answer.gold >= choices {
            return Err(damaged(number, format!("it is no answer to question {}", answers.len())));
        }
        answers.push(answer);
    }
    Ok((header.identity, answers, whole))
}
