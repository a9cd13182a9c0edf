//! A finished run as it lies on disk: answers that were written, in a trace dataset, or likelihoods of given ones.

use crate::likelihood;
use crate::{Error, Role, compare};
use retort_datagen::sample::Sample;
use retort_datagen::store::{BenchmarkId, RunHeader, TraceReader};
use std::path::Path;

/// The samples of a run and how they came to be.
#[derive(Debug, Clone, PartialEq)]
pub struct EvalRun {
    /// Not there where likelihoods were asked for.
    pub header: Option<RunHeader>,
    pub benchmark: Option<BenchmarkId>,
    pub samples: Vec<Sample>,
}

impl EvalRun {
    pub fn read(dir: &Path) -> Result<Self, Error> {
        if dir.join(likelihood::FILE).is_file() {
            let (identity, answers) = likelihood::read(dir)?;
            let samples = likelihood::samples(&identity, &answers);
            return Ok(Self { header: None, benchmark: Some(identity.benchmark), samples });
        }
        let reader = TraceReader::open(dir)?;
        let header = reader.run()?.clone();
        Ok(Self { benchmark: header.benchmark.clone(), header: Some(header), samples: reader.read_all()? })
    }
}

/// Refuses two runs that were asked in different ways: their difference would not be one of the models.
pub fn same_settings((left, a): (Role, &EvalRun), (right, b): (Role, &EvalRun)) -> Result<(), Error> {
    if let (Some(a), Some(b)) = (&a.header, &b.header) {
        compare::same_settings((left, a), (right, b))?;
    }
    if a.benchmark == b.benchmark {
        return Ok(());
    }
    let named = |run: &EvalRun| match &run.benchmark {
        None => "none".to_owned(),
        Some(BenchmarkId { name, version, definition, data, bos }) => {
            let begun = if *bos { ", behind BOS" } else { "" };
            format!("{name} version {version} ({definition:.12}, data {data:.12}{begun})")
        }
    };
    Err(Error::SettingsDiffer { left, right, setting: "benchmark", left_value: named(a), right_value: named(b) })
}
