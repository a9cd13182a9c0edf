//! Columns that only some datasets have: what was captured of the teacher's distribution, which tokens were forced, and
//! what rollouts earned.
//!
//! Which ones a dataset has follows from how its run asks, so all shards of a dataset have the same columns.

use super::{downcast, item, rollout};
use crate::sample::Sample;
use crate::store::{Origin, Parent, RunHeader};
use arrow::array::{Array, ArrayRef, Float32Array, ListArray, RecordBatch, UInt32Array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;
use retort_model::capture::{Capture, Targets};
use std::sync::Arc;

/// How these columns are to be read; it stands in every shard that has them.
const CONVENTIONS: [(&str, &str); 4] = [
    (
        "retort.teacher",
        "raw: temperature 1, before bias, penalty and filters; row i is about token_ids[i]; natural logarithms, \
         normalised over the whole vocabulary: logit = logprob + teacher_logsumexp; token_logprobs are of token_ids",
    ),
    (
        "retort.teacher_counts",
        "tokens drawn with replacement from the teacher's distribution at temperature 1; the number of draws is in \
         retort.run under capture.draws; count / draws is an unbiased estimate of the probability",
    ),
    ("retort.forced", "places in token_ids of tokens that were forced, not drawn: to be masked in a loss"),
    rollout::CONVENTION,
];

/// The optional columns of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Optional {
    capture: Option<Capture>,
    forced: bool,
    rollouts: bool,
}

impl Optional {
    const NONE: Self = Self { capture: None, forced: false, rollouts: false };

    /// What the rows of a dataset have beside the columns of every dataset: that of its run, or of its parents' runs,
    /// which must agree.
    pub(in crate::store) fn of(origin: &Origin) -> Result<Self, ArrowError> {
        match origin {
            Origin::Run { header, .. } => Ok(Self::of_run(header)),
            Origin::Derived(derived) => {
                let mut optionals = derived.parents.iter().map(Self::of_parent);
                let first = optionals.next().unwrap_or(Ok(Self::NONE))?;
                let differ = || ArrowError::SchemaError("its parents captured different things".into());
                optionals.try_for_each(|optional| if optional? == first { Ok(()) } else { Err(differ()) })?;
                Ok(first)
            }
        }
    }

    fn of_run(run: &RunHeader) -> Self {
        Self { capture: run.capture, forced: run.sampling.thinking_budget.is_some(), rollouts: run.reward.is_some() }
    }

    fn of_parent(parent: &Parent) -> Result<Self, ArrowError> {
        match (&parent.run, &parent.derived) {
            (Some(run), _) => Ok(Self::of_run(run)),
            (None, Some(derived)) => Self::of(&Origin::Derived(derived.as_ref().clone())),
            // A file holds text alone.
            (None, None) => Ok(Self::NONE),
        }
    }

    /// Every combination, for a reader that does not know the run.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let captures = [None, Some(Capture::Sampled), Some(Capture::TopK(1)), Some(Capture::Draws(1))];
        let flags = [(false, false), (false, true), (true, false), (true, true)];
        captures.into_iter().flat_map(move |capture| flags.map(|(forced, rollouts)| Self { capture, forced, rollouts }))
    }

    pub(super) fn conventions(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let drawn = matches!(self.capture, Some(Capture::Draws(_)));
        let stated = [self.capture.is_some(), drawn, self.forced, self.rollouts];
        CONVENTIONS.into_iter().zip(stated).filter_map(|(convention, stated)| stated.then_some(convention))
    }

    /// Named here, in [`Optional::columns`] and in [`read`], in the same order.
    pub(super) fn fields(self) -> Vec<Field> {
        let list = |name: &str, of: DataType| Field::new(name, DataType::List(item(of)), false);
        let nested = |name: &str, of: DataType| list(name, DataType::List(item(of)));
        let mut fields = Vec::new();
        if let Some(capture) = self.capture {
            fields.push(list("token_logprobs", DataType::Float32));
            fields.push(list("teacher_logsumexp", DataType::Float32));
            if capture != Capture::Sampled {
                fields.push(nested("teacher_ids", DataType::UInt32));
                fields.push(nested("teacher_logprobs", DataType::Float32));
            }
            if matches!(capture, Capture::Draws(_)) {
                fields.push(nested("teacher_counts", DataType::UInt32));
            }
        }
        if self.forced {
            fields.push(list("forced", DataType::UInt32));
        }
        if self.rollouts {
            fields.extend(rollout::fields());
        }
        fields
    }

    pub(super) fn columns(self, rows: &[&Sample]) -> Result<Vec<ArrayRef>, ArrowError> {
        let none = Targets::default();
        let targets: Vec<&Targets> = rows.iter().map(|row| row.targets.as_ref().unwrap_or(&none)).collect();
        let list = |of: DataType, lengths: Vec<usize>, values: ArrayRef| -> Result<ArrayRef, ArrowError> {
            Ok(Arc::new(ListArray::try_new(item(of), OffsetBuffer::from_lengths(lengths), values, None)?))
        };
        let floats = |get: fn(&Targets) -> &[f32]| -> ArrayRef {
            Arc::new(Float32Array::from_iter_values(targets.iter().flat_map(|targets| get(targets).iter().copied())))
        };
        let ids = |get: fn(&Targets) -> &[u32]| -> ArrayRef {
            Arc::new(UInt32Array::from_iter_values(targets.iter().flat_map(|targets| get(targets).iter().copied())))
        };
        let per_token = |get: fn(&Targets) -> &[f32]| {
            list(DataType::Float32, targets.iter().map(|targets| get(targets).len()).collect(), floats(get))
        };
        let nested = |of: DataType, values: ArrayRef| {
            let widths = targets.iter().flat_map(|targets| targets.widths.iter().map(|&width| width as usize));
            let inner = list(of.clone(), widths.collect(), values)?;
            list(DataType::List(item(of)), targets.iter().map(|targets| targets.widths.len()).collect(), inner)
        };
        let mut columns = Vec::new();
        if let Some(capture) = self.capture {
            columns.push(per_token(|targets| &targets.token_logprobs)?);
            columns.push(per_token(|targets| &targets.logsumexp)?);
            if capture != Capture::Sampled {
                columns.push(nested(DataType::UInt32, ids(|targets| &targets.ids))?);
                columns.push(nested(DataType::Float32, floats(|targets| &targets.logprobs))?);
            }
            if matches!(capture, Capture::Draws(_)) {
                columns.push(nested(DataType::UInt32, ids(|targets| &targets.counts))?);
            }
        }
        if self.forced {
            let values = UInt32Array::from_iter_values(rows.iter().flat_map(|row| row.forced.iter().copied()));
            columns.push(list(DataType::UInt32, rows.iter().map(|row| row.forced.len()).collect(), Arc::new(values))?);
        }
        if self.rollouts {
            columns.extend(rollout::columns(rows));
        }
        Ok(columns)
    }
}

/// What a row adds to its optional columns at most, in bytes.
pub(super) fn size(row: &Sample) -> usize {
    let targets = row.targets.as_ref().map_or(0, |targets| targets.token_logprobs.len() + targets.ids.len());
    4 * (targets + row.forced.len())
}

/// The captured part and the forced tokens of row `at`, as far as `batch` has the columns.
pub(super) fn read(batch: &RecordBatch, at: usize) -> Result<(Option<Targets>, Vec<u32>), ArrowError> {
    let list = |name: &str| -> Result<Option<ArrayRef>, ArrowError> {
        let Some(column) = batch.column_by_name(name) else { return Ok(None) };
        Ok(Some(downcast::<ListArray>(Some(column.as_ref()), name)?.value(at)))
    };
    let forced = list("forced")?.map_or(Ok(vec![]), |values| integers(&values, "forced"))?;
    let Some(logprobs) = list("token_logprobs")? else { return Ok((None, forced)) };
    let token_logprobs = numbers(&logprobs, "token_logprobs")?;
    let logsumexp = list("teacher_logsumexp")?.map_or(Ok(vec![]), |values| numbers(&values, "teacher_logsumexp"))?;
    let mut targets =
        Targets { widths: vec![0; token_logprobs.len()], token_logprobs, logsumexp, ..Targets::default() };
    if let Some(rows) = list("teacher_ids")? {
        let rows = downcast::<ListArray>(Some(rows.as_ref()), "teacher_ids")?;
        targets.widths = rows.offsets().lengths().map(|width| width as u32).collect();
        targets.ids = integers(&inner(rows), "teacher_ids")?;
    }
    if let Some(rows) = list("teacher_logprobs")? {
        let rows = downcast::<ListArray>(Some(rows.as_ref()), "teacher_logprobs")?;
        targets.logprobs = numbers(&inner(rows), "teacher_logprobs")?;
    }
    if let Some(rows) = list("teacher_counts")? {
        let rows = downcast::<ListArray>(Some(rows.as_ref()), "teacher_counts")?;
        targets.counts = integers(&inner(rows), "teacher_counts")?;
    }
    Ok((Some(targets), forced))
}

/// All values of a list of lists; a slice of one holds more than its own.
fn inner(rows: &ListArray) -> ArrayRef {
    let offsets = rows.value_offsets();
    let (first, last) = (offsets.first().map_or(0, |&at| at as usize), offsets.last().map_or(0, |&at| at as usize));
    rows.values().slice(first, last - first)
}

fn integers(values: &ArrayRef, name: &str) -> Result<Vec<u32>, ArrowError> {
    Ok(downcast::<UInt32Array>(Some(values.as_ref()), name)?.values().to_vec())
}

fn numbers(values: &ArrayRef, name: &str) -> Result<Vec<f32>, ArrowError> {
    Ok(downcast::<Float32Array>(Some(values.as_ref()), name)?.values().to_vec())
}

#[cfg(test)]
mod tests {
    use super::super::{decode, described, encode};
    use super::*;
    use crate::rollout::Rollout;
    use crate::store::example::{header, samples};
    use retort_model::sampling::Sampling;

    #[test]
    fn rows_of_every_kind_come_back() {
        let plain = samples();
        for capture in [None, Some(Capture::Sampled), Some(Capture::TopK(2)), Some(Capture::Draws(7))] {
            for (thinking_budget, rewarded) in [(None, false), (Some(9), false), (None, true), (Some(9), true)] {
                let sampling = Sampling { thinking_budget, ..header().sampling };
                let reward = rewarded.then(|| serde_json::json!({ "group_size": 2 }));
                let run = RunHeader { capture, sampling, reward, ..header() };
                let rows: Vec<Sample> = plain.iter().cloned().map(|row| filled(row, &run)).collect();
                let optional = Optional::of_run(&run);
                let schema = described([("retort.run", "{}".into())], optional);
                let bytes = encode(&rows.iter().collect::<Vec<_>>(), &schema, optional).expect("encoded");
                assert_eq!(decode(bytes).expect("decoded"), rows);
            }
        }
    }

    /// The row with numbers in all that `run` asks for.
    fn filled(row: Sample, run: &RunHeader) -> Sample {
        let n = row.token_ids.len() as u32;
        let widths: Vec<u32> = match run.capture {
            None | Some(Capture::Sampled) => vec![0; n as usize],
            Some(Capture::TopK(k)) => vec![k as u32; n as usize],
            Some(Capture::Draws(_)) => (0..n).map(|at| 1 + at % 3).collect(),
        };
        let all = widths.iter().sum::<u32>();
        let numbers = |count: u32, step: f32| (0..count).map(|at| -step * at as f32).collect::<Vec<f32>>();
        let drawn = matches!(run.capture, Some(Capture::Draws(_)));
        let targets = Targets {
            token_logprobs: numbers(n, 0.1),
            logsumexp: numbers(n, 0.7),
            ids: (0..all).map(|at| at * at).collect(),
            logprobs: numbers(all, 0.01),
            counts: if drawn { (1..=all).collect() } else { vec![] },
            widths,
        };
        let forced = if run.sampling.thinking_budget.is_some() { (n / 2..n).collect() } else { vec![] };
        let rollout = run.reward.as_ref().map(|_| Rollout {
            step: 1 << 40,
            group: 3,
            reward: 1.25,
            advantage: -0.3,
            accuracy: 1.0,
            format: 0.5,
            length: -0.125,
            extracted: row.answer.clone(),
            strict: row.sample == 0,
        });
        Sample { targets: run.capture.map(|_| targets), forced, rollout, ..row }
    }

    #[test]
    fn a_shard_says_how_its_own_columns_are_to_be_read() {
        let names = |optional: Optional| optional.conventions().map(|(name, _)| name).collect::<Vec<_>>();
        let drawn = Optional { capture: Some(Capture::Draws(7)), forced: true, rollouts: false };
        assert_eq!(names(drawn), ["retort.teacher", "retort.teacher_counts", "retort.forced"]);
        assert!(names(Optional::of_run(&header())).is_empty());
        let fields: Vec<String> = drawn.fields().iter().map(|field| field.name().clone()).collect();
        let teacher = ["token_logprobs", "teacher_logsumexp", "teacher_ids", "teacher_logprobs", "teacher_counts"];
        assert_eq!(fields, [&teacher[..], &["forced"]].concat());
    }
}
