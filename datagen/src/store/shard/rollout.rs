//! The columns of a dataset of rollouts: what each row earned while a model was trained on it.

use super::downcast;
use crate::rollout::Rollout;
use crate::sample::Sample;
use arrow::array::{ArrayRef, BooleanArray, Float32Array, RecordBatch, StringArray, UInt32Array, UInt64Array};
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;
use std::sync::Arc;

/// How these columns are to be read; it stands in every shard that has them.
pub(super) const CONVENTION: (&str, &str) = (
    "retort.rollout",
    "step: optimiser steps behind the weights that wrote the row; group: counted within the step; reward: the sum of \
     accuracy, format and length by the weights that stand in retort.run under reward; advantage: the reward against its \
     group's; extracted: the answer found; strict: right when read strictly",
);

/// A number of a row.
type Number = fn(&Rollout) -> f32;

/// The numbers of a row, by column.
const NUMBERS: [(&str, Number); 5] = [
    ("reward", |rollout| rollout.reward),
    ("advantage", |rollout| rollout.advantage),
    ("reward_accuracy", |rollout| rollout.accuracy),
    ("reward_format", |rollout| rollout.format),
    ("reward_length", |rollout| rollout.length),
];

/// Named here, in [`columns`] and in [`read`], in the same order.
pub(super) fn fields() -> Vec<Field> {
    let field = |name: &str, of: DataType| Field::new(name, of, false);
    let mut fields = vec![field("step", DataType::UInt64), field("group", DataType::UInt32)];
    fields.extend(NUMBERS.map(|(name, _)| field(name, DataType::Float32)));
    fields.extend([field("extracted", DataType::Utf8), field("strict", DataType::Boolean)]);
    fields
}

pub(super) fn columns(rows: &[&Sample]) -> Vec<ArrayRef> {
    let none = Rollout::default();
    let rollouts: Vec<&Rollout> = rows.iter().map(|row| row.rollout.as_ref().unwrap_or(&none)).collect();
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(UInt64Array::from_iter_values(rollouts.iter().map(|rollout| rollout.step))),
        Arc::new(UInt32Array::from_iter_values(rollouts.iter().map(|rollout| rollout.group))),
    ];
    for (_, number) in NUMBERS {
        columns.push(Arc::new(Float32Array::from_iter_values(rollouts.iter().map(|rollout| number(rollout)))));
    }
    columns.push(Arc::new(StringArray::from_iter_values(rollouts.iter().map(|rollout| &rollout.extracted))));
    columns.push(Arc::new(BooleanArray::from_iter(rollouts.iter().map(|rollout| Some(rollout.strict)))));
    columns
}

/// What row `at` earned, if `batch` has the columns.
pub(super) fn read(batch: &RecordBatch, at: usize) -> Result<Option<Rollout>, ArrowError> {
    if batch.column_by_name("strict").is_none() {
        return Ok(None);
    }
    let column = |name: &str| batch.column_by_name(name).map(|column| column.as_ref());
    let number = |name: &str| Ok::<_, ArrowError>(downcast::<Float32Array>(column(name), name)?.value(at));
    Ok(Some(Rollout {
        step: downcast::<UInt64Array>(column("step"), "step")?.value(at),
        group: downcast::<UInt32Array>(column("group"), "group")?.value(at),
        reward: number("reward")?,
        advantage: number("advantage")?,
        accuracy: number("reward_accuracy")?,
        format: number("reward_format")?,
        length: number("reward_length")?,
        extracted: downcast::<StringArray>(column("extracted"), "extracted")?.value(at).to_owned(),
        strict: downcast::<BooleanArray>(column("strict"), "strict")?.value(at),
    }))
}
