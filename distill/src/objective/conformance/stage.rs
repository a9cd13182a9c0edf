//! What the objectives are tried on: bigram models, a few sequences, and the whole computation again in f64.

use super::table::{Oracle, Origin, Place, softmax, top};
use crate::Error;
use crate::data::{Captured, Earned, Example};
use crate::gradients::{Budget, pass};
use crate::objective::{CapturedForm, Objective, ObjectiveSettings, Projected, Teacher, Term};
use candle_core::{Device, Tensor, Var};
use retort_kernels::losses::SparseRows;
use retort_kernels::{MatmulPrecision, Value, Weight, gather_rows};
use retort_model::batch::Batch;
use retort_model::cache::{Cache, CacheSpec};
use retort_model::decoder::{Decoder, TrainOutput, Trainable};
use retort_model::operations::Operations;
use retort_model::params::{Fresh, Init, Source};
use retort_model::score::Scorer;
use retort_model::workers::Workers;
use std::sync::Arc;

pub(super) type Outcome<T = ()> = std::result::Result<T, Error>;

/// Vocabulary, the student's width, the teacher's.
pub(super) const V: usize = 13;
pub(super) const D: usize = 5;
pub(super) const D_TEACHER: usize = 4;

/// The next token from the last one: h = embedding of the token, logits = h head^T.
pub(super) struct Bigram {
    pub parameters: Vec<(String, Var)>,
    pub head: Weight,
}

impl Bigram {
    pub(super) fn new(d: usize, seed: u64) -> Outcome<Self> {
        let start = |name: &str| -> Outcome<Var> {
            let tensor = Fresh { seed }.tensor(name, &(V, d).into(), Init::Normal { stdev: 1.2 }, &Device::Cpu)?;
            Ok(Var::from_tensor(&tensor)?)
        };
        let (embedding, head) = (start("embedding")?, start("head")?);
        let weight = Weight::Plain(Value::new(head.as_tensor())?);
        Ok(Self { parameters: vec![("embedding".into(), embedding), ("head".into(), head)], head: weight })
    }
}

impl Decoder for Bigram {
    fn hidden(&self, batch: &Batch, _: Option<&Cache>) -> candle_core::Result<Value> {
        gather_rows(&Value::new(self.parameters[0].1.as_tensor())?, &batch.tokens)
    }
    fn head(&self) -> &Weight {
        &self.head
    }
    fn cache_spec(&self) -> CacheSpec {
        CacheSpec { layers: 0, tensors: vec![] }
    }
    fn context_length(&self) -> usize {
        64
    }
    fn device(&self) -> &Device {
        &Device::Cpu
    }
    fn operations(&self) -> Operations {
        Operations { row: (2 * V * self.head.columns()) as f64, ..Operations::default() }
    }
}

impl Trainable for Bigram {
    fn decoder(&self) -> &dyn Decoder {
        self
    }
    fn parameters(&self) -> &[(String, Var)] {
        &self.parameters
    }
    fn settings(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
    fn forward_train(&self, batch: &Batch) -> candle_core::Result<TrainOutput> {
        let hidden_nd = self.hidden(batch, None)?;
        Ok(TrainOutput { hidden_nd, head_vd: self.head.to_value()?, ahead: vec![], regularisers: vec![] })
    }
    fn state(&self) -> candle_core::Result<Vec<(String, Tensor)>> {
        Ok(vec![])
    }
}

/// A student, a teacher and sequences of unequal length, one of which has nothing to predict.
pub(super) struct Stage {
    pub student: Bigram,
    pub teacher: Bigram,
    pub workers: Workers,
    pub examples: Vec<Example>,
}

impl Stage {
    pub(super) fn new(from: Origin) -> Outcome<Self> {
        let (student, teacher) = (Bigram::new(D, 1)?, Bigram::new(D_TEACHER, 2)?);
        let mut stage = Self { student, teacher, workers: Workers::for_model(1)?, examples: vec![] };
        for (number, (length, loss_from)) in [(7, 2), (3, 1), (9, 6), (4, 4), (2, 1), (5, 3)].into_iter().enumerate() {
            let tokens: Vec<u32> = (0..length).map(|at| (at * at * 3 + at + number * 5) as u32 % V as u32).collect();
            let mut example = Example::new(tokens, loss_from);
            example.captured = stage.captured(&example, from)?.map(Arc::new);
            example.earned = stage.earned(&example, from, number)?.map(Arc::new);
            stage.examples.push(example);
        }
        Ok(stage)
    }

    pub(super) fn captured(&self, example: &Example, from: Origin) -> Outcome<Option<Captured>> {
        let mut captured = Captured { rows: SparseRows::default(), counts: None };
        for at in example.loss_from..example.tokens.len() {
            let z = Numbers::of(&self.teacher)?.logits(example.tokens[at - 1] as usize);
            let q = softmax(&z, 1.0);
            let ids = match from {
                Origin::Likeliest(k) => top(&q, k),
                Origin::Draws => vec![at % V, (at * 5 + 1) % V, 12],
                _ => return Ok(None),
            };
            let mut ids: Vec<u32> = ids.into_iter().map(|id| id as u32).collect();
            ids.sort_unstable();
            ids.dedup();
            let log_probs: Vec<f32> = ids.iter().map(|&id| q[id as usize].ln() as f32).collect();
            captured.rows.push(&ids, &log_probs);
            if from == Origin::Draws {
                captured.counts.get_or_insert_default().extend(ids.iter().map(|id| 1 + id % 3));
            }
        }
        Ok(Some(captured))
    }

    /// Advantages of either sign, shares of their own, and ratios within and beyond usual bounds.
    fn earned(&self, example: &Example, from: Origin, number: usize) -> Outcome<Option<Earned>> {
        let Origin::Earned { is_stale } = from else { return Ok(None) };
        let student = Numbers::of(&self.student)?;
        let old = |at: usize| {
            let now = softmax(&student.logits(example.tokens[at - 1] as usize), 1.0)[example.tokens[at] as usize].ln();
            (now + 0.35 * (at as f64 * 1.7 + number as f64).sin()) as f32
        };
        let advantage = [1.2, -0.8, 0.5, 1.0, -1.5, 2.0][number];
        let log_probs = (example.loss_from..example.tokens.len()).map(old).collect();
        Ok(Some(Earned { advantage, share: 0.05 + 0.02 * number as f32, log_probs, is_stale }))
    }

    pub(super) fn scorer(&self) -> Scorer<'_> {
        Scorer { decoder: &self.teacher, workers: &self.workers, model: "teacher".into() }
    }

    pub(super) fn teacher<'a>(&self, from: Origin, scorer: &'a Scorer<'_>) -> Teacher<'a> {
        match from {
            Origin::Tokens | Origin::Earned { .. } => Teacher::None,
            Origin::Online => Teacher::Online(scorer),
            Origin::Likeliest(_) | Origin::Draws => {
                let some: Vec<Example> = self.examples.iter().filter(|e| e.targets() > 0).cloned().collect();
                CapturedForm::of(&some).map_or(Teacher::None, Teacher::Captured)
            }
        }
    }

    /// The objective's value and the gradients of all parameters, the projection's last.
    pub(super) fn run(
        &self,
        terms: Vec<Term>,
        from: Origin,
        examples: &[Example],
        budget: usize,
        step: u64,
    ) -> Outcome<Found> {
        let width = terms.iter().any(|term| matches!(term, Term::Hidden { .. })).then_some(D_TEACHER);
        let model = Projected::new(&self.student, width, 3)?;
        let scorer = self.scorer();
        let source = self.teacher(from, &scorer);
        let objective = Objective::new(ObjectiveSettings { terms }, source, model.projection().cloned())?;
        let budget = Budget { tokens: budget, precision: MatmulPrecision::F32 };
        let pass = pass(&model, &objective, &self.workers, examples, budget, step)?;
        let gradients = pass.gradients.iter().map(|g| g.flatten_all()?.to_vec1::<f32>());
        let gradients = gradients.collect::<candle_core::Result<Vec<_>>>()?.concat();
        Ok(Found { value: pass.loss, gradients: gradients.into_iter().map(f64::from).collect() })
    }
}

pub(super) struct Found {
    pub value: f64,
    pub gradients: Vec<f64>,
}

/// A bigram model's numbers in f64.
#[derive(Clone)]
pub(super) struct Numbers {
    pub embedding: Vec<f64>,
    pub head: Vec<f64>,
    pub d: usize,
}

impl Numbers {
    pub(super) fn of(model: &Bigram) -> Outcome<Self> {
        let numbers = |at: usize| -> Outcome<Vec<f64>> {
            let values = model.parameters[at].1.flatten_all()?.to_vec1::<f32>()?;
            Ok(values.into_iter().map(f64::from).collect())
        };
        let embedding = numbers(0)?;
        Ok(Self { d: embedding.len() / V, embedding, head: numbers(1)? })
    }

    pub(super) fn hidden(&self, token: usize) -> &[f64] {
        &self.embedding[token * self.d..][..self.d]
    }

    pub(super) fn logits(&self, token: usize) -> Vec<f64> {
        times(&self.head, self.hidden(token))
    }
}

/// A matrix, row by row, times a vector.
pub(super) fn times(matrix: &[f64], x: &[f64]) -> Vec<f64> {
    matrix.chunks(x.len()).map(|row| row.iter().zip(x).map(|(a, b)| a * b).sum()).collect()
}

/// The whole objective in f64, as a function of all parameters.
pub(super) struct Exact<'a> {
    pub stage: &'a Stage,
    pub oracle: &'a Oracle,
    pub weight: f64,
    pub student: Numbers,
    pub teacher: Numbers,
    pub projection: Vec<f64>,
}

impl Exact<'_> {
    pub(super) fn value(&self, shifted: Option<(usize, f64)>) -> f64 {
        let (mut student, mut projection) = (self.student.clone(), self.projection.clone());
        if let Some((mut at, by)) = shifted {
            for numbers in [&mut student.embedding, &mut student.head, &mut projection] {
                if at < numbers.len() {
                    numbers[at] += by;
                    break;
                }
                at -= numbers.len();
            }
        }
        let targets: usize = self.stage.examples.iter().map(Example::targets).sum();
        let mut sum = 0.0;
        for example in &self.stage.examples {
            let earned = example.earned.as_deref();
            for at in example.loss_from..example.tokens.len() {
                let last = example.tokens[at - 1] as usize;
                let captured = example.captured.iter().flat_map(|captured| {
                    let row = at - example.loss_from;
                    let (ids, log_probs) = captured.rows.row(row);
                    let counts = captured.counts.iter().flatten().skip(captured.rows.offsets[row]).copied();
                    let counts = counts.chain(std::iter::repeat(0));
                    ids.iter()
                        .zip(log_probs)
                        .zip(counts)
                        .map(|((&id, &p), c)| (id as usize, f64::from(p), f64::from(c)))
                });
                let place = Place {
                    z: student.logits(last),
                    unshifted: self.student.logits(last),
                    teacher_z: self.teacher.logits(last),
                    projected: times(&projection, student.hidden(last)),
                    teacher_h: self.teacher.hidden(last).to_vec(),
                    next: example.tokens[at] as usize,
                    captured: captured.collect(),
                    earned: earned.map_or((0.0, 0.0), |earned| {
                        (earned.advantage.into(), earned.log_probs[at - example.loss_from].into())
                    }),
                };
                let share = earned.map_or(1.0 / targets as f64, |earned| earned.share.into());
                sum += share * self.weight * (self.oracle)(&place);
            }
        }
        sum
    }
}
