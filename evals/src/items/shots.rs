//! Examples before a question: the first rows of a split, or others for each question, as lm-evaluation-harness draws them
//! (`lm_eval/api/samplers.py`).

use super::Maker;
use crate::Error;
use crate::definition::{Order, Shots};
use crate::python_random::PythonRandom;
use retort_datagen::sources::{Row, Table};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The examples of a split.
pub(super) struct Examples<'a> {
    shots: &'a Shots,
    /// By the value in the column in which they must agree with the question.
    groups: BTreeMap<String, Group>,
    /// Whether the questions are of the same split, so that an example may be the question itself.
    own_split: bool,
}

#[derive(Default)]
struct Group {
    /// Rows, and each as the text of an example.
    examples: Vec<(Map<String, Value>, String)>,
    random: Option<PythonRandom>,
}

impl<'a> Examples<'a> {
    pub(super) fn read(shots: &'a Shots, maker: &Maker, table: &mut Table, own_split: bool) -> Result<Self, Error> {
        let mut groups: BTreeMap<String, Group> = BTreeMap::new();
        // The first examples of a split without groups are all that is needed of it.
        let enough = match (shots.order, &shots.same) {
            (Order::First, None) => shots.count + usize::from(own_split),
            _ => usize::MAX,
        };
        let mut taken = 0;
        while taken < enough
            && let Some(row) = table.next_row()?
        {
            let question = maker.question(&row)?;
            let text = format!("{}{}{}", question.text, maker.definition.question.delimiter, question.answer);
            let group = groups
                .entry(group_of(shots, &row))
                .or_insert_with(|| Group { random: shots.seed.map(PythonRandom::new), ..Group::default() });
            group.examples.push((row.object, text));
            taken += 1;
        }
        Ok(Self { shots, groups, own_split })
    }

    /// What comes before the question of `row`; it ends where the question begins.
    pub(super) fn before(&mut self, row: &Row) -> Result<String, Error> {
        let Shots { count, same, separator, split, .. } = self.shots;
        let name = group_of(self.shots, row);
        let group = self.groups.get_mut(&name);
        let available = group.as_ref().map_or(0, |group| group.examples.len());
        let wanted = count + usize::from(self.own_split);
        let Some(group) = group.filter(|_| available >= wanted) else {
            let of = same.as_ref().map(|column| format!(" with the same `{column}`")).unwrap_or_default();
            let reason = format!("{wanted} examples{of} are needed, and the split `{split}` has {available}");
            return Err(Error::BadRow { place: row.place.to_string(), reason });
        };
        let places = match &mut group.random {
            Some(random) => random.sample(available, wanted),
            None => (0..wanted).collect(),
        };
        let others = places.iter().map(|&place| &group.examples[place]).filter(|(other, _)| *other != row.object);
        Ok(others.take(*count).map(|(_, text)| format!("{text}{separator}")).collect())
    }
}

fn group_of(shots: &Shots, row: &Row) -> String {
    shots.same.as_ref().and_then(|column| row.get(column)).map(Value::to_string).unwrap_or_default()
}
