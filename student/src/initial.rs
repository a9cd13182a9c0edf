//! First weights of a student: a teacher's where names and shapes agree, fresh ones elsewhere.
//!
//! Embedding, head and norms fit any teacher of the student's width and vocabulary; whole layers fit a dense teacher of
//! the student's shape, of which the student may take some (as DistilBERT did, arXiv 1910.01108).

use crate::Config;
use candle_core::{Device, Shape, Tensor};
use retort_model::Error;
use retort_model::checkpoint::Checkpoint;
use retort_model::params::{Fresh, Init, Source};

/// A teacher's weights where they fit.
pub struct FromTeacher {
    teacher: Checkpoint,
    /// The teacher's layer behind each of the student's.
    layers: Vec<usize>,
    fresh: Fresh,
}

const LAYERS: &str = "model.layers.";

impl FromTeacher {
    pub fn new(teacher: Checkpoint, layers: Vec<usize>, seed: u64) -> Self {
        Self { teacher, layers, fresh: Fresh { seed } }
    }

    /// Of `teacher` layers, as many as the student has, evenly spaced, first and last among them.
    pub fn spread(student: usize, teacher: usize) -> Vec<usize> {
        let last = teacher.saturating_sub(1);
        match student {
            1 => vec![last],
            _ => (0..student).map(|layer| (layer * last + (student - 1) / 2) / (student - 1).max(1)).collect(),
        }
    }

    /// How many of the tensors of `student` the teacher has.
    pub fn fitting(&self, student: &Config) -> usize {
        student.parts().filter(|part| self.fit(&part.name, &part.shape).is_some()).count()
    }

    /// The tensor's name in the teacher, where it has the shape that is wanted.
    fn fit(&self, name: &str, dims: &[usize]) -> Option<String> {
        let inner = name.strip_prefix(LAYERS).and_then(|rest| rest.split_once('.'));
        let name = match inner {
            Some((layer, inner)) => format!("{LAYERS}{}.{inner}", self.layers.get(layer.parse::<usize>().ok()?)?),
            None => name.into(),
        };
        (self.teacher.shape(&name)? == dims).then_some(name)
    }
}

impl Source for FromTeacher {
    fn tensor(&self, name: &str, shape: &Shape, init: Init, device: &Device) -> Result<Tensor, Error> {
        match self.fit(name, shape.dims()) {
            Some(name) => self.teacher.read(&name, device),
            None => self.fresh.tensor(name, shape, init, device),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_spread_from_first_to_last() {
        assert_eq!(FromTeacher::spread(3, 3), [0, 1, 2]);
        assert_eq!(FromTeacher::spread(3, 9), [0, 4, 8]);
        assert_eq!(FromTeacher::spread(6, 12), [0, 2, 4, 7, 9, 11]);
        assert_eq!(FromTeacher::spread(1, 4), [3]);
    }
}
