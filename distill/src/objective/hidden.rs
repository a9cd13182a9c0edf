//! Hidden-state matching: the squared distance (1 / d') |W h - h'|^2 of the student's final hidden state h [d] from the
//! teacher's h' [d'] (TinyBERT, arXiv 1909.10351, equation 8).
//!
//! W [d', d] is learnt along with the student and thrown away with the optimiser; where the widths are equal there is
//! none, and the student's states must come to lie where the teacher's do.

use candle_core::{Result, Tensor, Var};
use retort_kernels::{Value, linear, squared_error};
use retort_model::Error;
use retort_model::batch::Batch;
use retort_model::decoder::{Decoder, TrainOutput, Trainable};
use retort_model::operations::Operations;
use retort_model::params::{Fresh, Init, Source};

/// A student with the projection of its hidden states to a teacher's width as one more parameter.
pub struct Projected<'a> {
    student: &'a dyn Trainable,
    parameters: Vec<(String, Var)>,
    projection: Option<Var>,
}

/// The projection's name among the parameters of a run.
const NAME: &str = "objective.projection.weight";

impl<'a> Projected<'a> {
    /// `width` is the teacher's d'; the projection starts from `seed`.
    pub fn new(student: &'a dyn Trainable, width: Option<usize>, seed: u64) -> std::result::Result<Self, Error> {
        let d = student.decoder().head().columns();
        let mut parameters = student.parameters().to_vec();
        let mut projection = None;
        if let Some(width) = width.filter(|&width| width != d) {
            let (shape, init) = ((width, d).into(), Init::Normal { stdev: (d as f64).powf(-0.5) });
            let start = Fresh { seed }.tensor(NAME, &shape, init, student.decoder().device())?;
            let var = Var::from_tensor(&start)?;
            parameters.push((NAME.into(), var.clone()));
            projection = Some(var);
        }
        Ok(Self { student, parameters, projection })
    }

    /// The projection, to be given to the objective.
    pub fn projection(&self) -> Option<&Var> {
        self.projection.as_ref()
    }
}

impl Trainable for Projected<'_> {
    fn decoder(&self) -> &dyn Decoder {
        self.student.decoder()
    }

    fn parameters(&self) -> &[(String, Var)] {
        &self.parameters
    }

    fn buffers(&self) -> Vec<(String, Var)> {
        self.student.buffers()
    }

    fn settings(&self) -> serde_json::Value {
        self.student.settings()
    }

    fn forward_train(&self, batch: &Batch) -> Result<TrainOutput> {
        self.student.forward_train(batch)
    }

    /// The projection goes over all rows.
    fn training_operations(&self) -> Operations {
        let projection = self.projection.as_ref().map_or(0, |var| var.elem_count());
        let student = self.student.training_operations();
        Operations { token: student.token + 6.0 * projection as f64, ..student }
    }

    fn after_step(&self, progress: f64) -> Result<Vec<(String, f64)>> {
        self.student.after_step(progress)
    }

    /// The student's own weights: the projection is no part of it.
    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        self.student.state()
    }
}

/// The weighted sum of the distances of all rows.
pub(super) fn distance(
    hidden_nd: &Value,
    projection: Option<&Var>,
    teacher_nd: &Tensor,
    weights: &[f32],
) -> Result<Value> {
    let projected = match projection {
        Some(var) => linear(hidden_nd, &Value::new(var.as_tensor())?)?,
        None => hidden_nd.clone(),
    };
    squared_error(&projected, teacher_nd, weights)
}
