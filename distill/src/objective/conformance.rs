//! What every objective must hold, as a table: one row per objective, one harness for all.
//!
//! The student and the teacher are bigram models, whose logits are one product, so that the oracle computes everything
//! again in f64 from the formula alone: the packing, the normalisation and the gradient of every parameter (by central
//! differences) are held against it, not only the loss of a row.

use super::*;
use crate::data::{Captured, Example};
use crate::gradients::pass;
use candle_core::{Device, Tensor};
use retort_kernels::losses::SparseRows;
use retort_kernels::{Weight, gather_rows};
use retort_model::batch::Batch;
use retort_model::cache::{Cache, CacheSpec};
use retort_model::decoder::{Decoder, TrainOutput};
use retort_model::params::{Fresh, Init, Source};
use retort_model::score::Scorer;
use retort_model::workers::Workers;
use std::sync::Arc;

type Outcome<T = ()> = std::result::Result<T, Error>;

/// Vocabulary, the student's width, the teacher's.
const V: usize = 13;
const D: usize = 5;
const D_TEACHER: usize = 4;

/// The next token from the last one: h = embedding of the token, logits = h head^T.
struct Bigram {
    parameters: Vec<(String, Var)>,
    head: Weight,
}

impl Bigram {
    fn new(d: usize, seed: u64) -> Outcome<Self> {
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

/// One predicted token, as an oracle sees it.
struct Place {
    /// The student's logits, and those before anything was shifted to find a difference.
    z: Vec<f64>,
    unshifted: Vec<f64>,
    teacher_z: Vec<f64>,
    /// W h and h'.
    projected: Vec<f64>,
    teacher_h: Vec<f64>,
    next: usize,
    /// Outcome, log-probability, count.
    captured: Vec<(usize, f64, f64)>,
}

fn softmax(z: &[f64], temperature: f64) -> Vec<f64> {
    let e: Vec<f64> = z.iter().map(|z| (z / temperature).exp()).collect();
    let total: f64 = e.iter().sum();
    e.into_iter().map(|e| e / total).collect()
}

fn kl(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| if *a > 0.0 { a * (a / b).ln() } else { 0.0 }).sum()
}

fn mix(share: f64, a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| share * a + (1.0 - share) * b).collect()
}

/// The outcomes in `ids`, and all others as one.
fn lumped(p: &[f64], ids: &[usize]) -> Vec<f64> {
    let mut lumped: Vec<f64> = ids.iter().map(|&id| p[id]).collect();
    lumped.push(p.iter().enumerate().filter(|(id, _)| !ids.contains(id)).map(|(_, p)| p).sum());
    lumped
}

fn top(q: &[f64], k: usize) -> Vec<usize> {
    let mut ids: Vec<usize> = (0..q.len()).collect();
    ids.sort_by(|&a, &b| q[b].total_cmp(&q[a]));
    ids.truncate(k);
    ids
}

type Oracle = Box<dyn Fn(&Place) -> f64>;

/// A divergence D(p, q) of a place at a temperature.
fn dense(t: f64, d: fn(&[f64], &[f64]) -> f64) -> Oracle {
    Box::new(move |place| t * t * d(&softmax(&place.z, t), &softmax(&place.teacher_z, t)))
}

fn top_k(k: usize, d: fn(&[f64], &[f64]) -> f64) -> Oracle {
    Box::new(move |place| {
        let (p, q) = (softmax(&place.z, 1.0), softmax(&place.teacher_z, 1.0));
        let ids = top(&q, k);
        d(&lumped(&p, &ids), &lumped(&q, &ids))
    })
}

/// Where a row of the table has its targets from.
#[derive(Clone, Copy, PartialEq)]
enum Origin {
    Tokens,
    Online,
    /// The likeliest so many, with the traces.
    Likeliest(usize),
    Draws,
}

/// The table.
fn table() -> Vec<(Term, Origin, Oracle)> {
    use {Origin::*, Rows::*};
    let forward: fn(&[f64], &[f64]) -> f64 = |p, q| kl(q, p);
    let reverse: fn(&[f64], &[f64]) -> f64 = |p, q| kl(p, q);
    let jensen_shannon: fn(&[f64], &[f64]) -> f64 = |p, q| {
        let m = mix(0.3, q, p);
        0.3 * kl(q, &m) + 0.7 * kl(p, &m)
    };
    let skewed: fn(&[f64], &[f64]) -> f64 = |p, q| kl(q, &mix(0.1, q, p));
    let skewed_reverse: fn(&[f64], &[f64]) -> f64 = |p, q| kl(p, &mix(0.1, p, q));
    let of = |weight: f64, temperature: f64, rows: Rows| (weight, temperature, rows);
    let forward_kl = |(weight, temperature, rows)| Term::ForwardKl { weight, temperature, rows };
    let reverse_kl = |(weight, temperature, rows)| Term::ReverseKl { weight, temperature, rows };
    let jsd = |(weight, temperature, rows)| Term::JensenShannon { weight, beta: 0.3, temperature, rows };
    let skew = |(weight, temperature, rows)| Term::SkewedKl { weight, alpha: 0.1, temperature, rows };
    let skew_reverse = |(weight, temperature, rows)| Term::SkewedReverseKl { weight, alpha: 0.1, temperature, rows };
    vec![
        (Term::CrossEntropy { weight: 1.0 }, Tokens, Box::new(|place| -softmax(&place.z, 1.0)[place.next].ln())),
        (forward_kl(of(1.0, 1.0, Full)), Online, dense(1.0, forward)),
        (forward_kl(of(0.5, 2.0, Full)), Online, dense(2.0, forward)),
        (reverse_kl(of(1.0, 1.0, Full)), Online, dense(1.0, reverse)),
        (reverse_kl(of(1.0, 0.7, Full)), Online, dense(0.7, reverse)),
        (jsd(of(1.0, 1.5, Full)), Online, dense(1.5, jensen_shannon)),
        (skew(of(1.0, 1.0, Full)), Online, dense(1.0, skewed)),
        (skew_reverse(of(2.0, 1.0, Full)), Online, dense(1.0, skewed_reverse)),
        (forward_kl(of(1.0, 1.0, TopK(4))), Online, top_k(4, forward)),
        (reverse_kl(of(1.0, 1.0, TopK(3))), Online, top_k(3, reverse)),
        (jsd(of(1.0, 1.0, TopK(1))), Online, top_k(1, jensen_shannon)),
        (skew_reverse(of(1.0, 1.0, TopK(5))), Online, top_k(5, skewed_reverse)),
        (forward_kl(of(1.0, 1.0, TopK(3))), Likeliest(5), top_k(3, forward)),
        (skew(of(1.0, 1.0, TopK(5))), Likeliest(5), top_k(5, skewed)),
        (
            Term::Sampled { weight: 1.0, draws: None },
            Draws,
            Box::new(|place| {
                let (p, draws) = (softmax(&place.z, 1.0), place.captured.iter().map(|entry| entry.2).sum::<f64>());
                place.captured.iter().map(|&(id, log_q, count)| count / draws * (log_q - p[id].ln())).sum()
            }),
        ),
        (
            Term::SampledReverseKl { weight: 1.0 },
            Online,
            Box::new(|place| {
                let log = |z: &[f64]| softmax(z, 1.0)[place.next].ln();
                // Its value is the excess; its gradient that of the excess, held fixed, times log p.
                let excess = log(&place.unshifted) - log(&place.teacher_z);
                excess + excess * (log(&place.z) - log(&place.unshifted))
            }),
        ),
        (
            Term::Hidden { weight: 1.0 },
            Online,
            Box::new(|place| {
                let squares = place.projected.iter().zip(&place.teacher_h).map(|(a, b)| (a - b).powi(2));
                squares.sum::<f64>() / D_TEACHER as f64
            }),
        ),
        (
            Term::Sorted { weight: 1.0, temperature: 1.3 },
            Online,
            Box::new(|place| {
                let ranked = |z: &[f64]| {
                    let p = softmax(z, 1.3);
                    top(&p, V).into_iter().map(|id| p[id]).collect::<Vec<f64>>()
                };
                let pairs = ranked(&place.z).into_iter().zip(ranked(&place.teacher_z));
                1.69 * pairs.map(|(p, q)| (p - q).abs()).sum::<f64>()
            }),
        ),
    ]
}

/// A student, a teacher and sequences of unequal length, one of which has nothing to predict.
struct Stage {
    student: Bigram,
    teacher: Bigram,
    workers: Workers,
    examples: Vec<Example>,
}

impl Stage {
    fn new(from: Origin) -> Outcome<Self> {
        let (student, teacher) = (Bigram::new(D, 1)?, Bigram::new(D_TEACHER, 2)?);
        let mut stage = Self { student, teacher, workers: Workers::for_model(1)?, examples: vec![] };
        for (number, (length, loss_from)) in [(7, 2), (3, 1), (9, 6), (4, 4), (2, 1), (5, 3)].into_iter().enumerate() {
            let tokens: Vec<u32> = (0..length).map(|at| (at * at * 3 + at + number * 5) as u32 % V as u32).collect();
            let mut example = Example::new(tokens, loss_from);
            example.captured = stage.captured(&example, from)?.map(Arc::new);
            stage.examples.push(example);
        }
        Ok(stage)
    }

    fn captured(&self, example: &Example, from: Origin) -> Outcome<Option<Captured>> {
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

    fn scorer(&self) -> Scorer<'_> {
        Scorer { decoder: &self.teacher, workers: &self.workers, model: "teacher".into() }
    }

    fn teacher<'a>(&self, from: Origin, scorer: &'a Scorer<'_>) -> Teacher<'a> {
        match from {
            Origin::Tokens => Teacher::None,
            Origin::Online => Teacher::Online(scorer),
            Origin::Likeliest(_) | Origin::Draws => {
                let some: Vec<Example> = self.examples.iter().filter(|e| e.targets() > 0).cloned().collect();
                CapturedForm::of(&some).map_or(Teacher::None, Teacher::Captured)
            }
        }
    }

    /// The objective's value and the gradients of all parameters, the projection's last.
    fn run(&self, terms: Vec<Term>, from: Origin, examples: &[Example], budget: usize, step: u64) -> Outcome<Found> {
        let width = terms.iter().any(|term| matches!(term, Term::Hidden { .. })).then_some(D_TEACHER);
        let model = Projected::new(&self.student, width, 3)?;
        let scorer = self.scorer();
        let source = self.teacher(from, &scorer);
        let objective = Objective::new(ObjectiveSettings { terms }, source, model.projection().cloned())?;
        let pass = pass(&model, &objective, &self.workers, examples, budget, step)?;
        let gradients = pass.gradients.iter().map(|g| g.flatten_all()?.to_vec1::<f32>());
        let gradients = gradients.collect::<candle_core::Result<Vec<_>>>()?.concat();
        Ok(Found { value: pass.loss, gradients: gradients.into_iter().map(f64::from).collect() })
    }
}

struct Found {
    value: f64,
    gradients: Vec<f64>,
}

/// A bigram model's numbers in f64.
#[derive(Clone)]
struct Numbers {
    embedding: Vec<f64>,
    head: Vec<f64>,
    d: usize,
}

impl Numbers {
    fn of(model: &Bigram) -> Outcome<Self> {
        let numbers = |at: usize| -> Outcome<Vec<f64>> {
            let values = model.parameters[at].1.flatten_all()?.to_vec1::<f32>()?;
            Ok(values.into_iter().map(f64::from).collect())
        };
        let embedding = numbers(0)?;
        Ok(Self { d: embedding.len() / V, embedding, head: numbers(1)? })
    }

    fn hidden(&self, token: usize) -> &[f64] {
        &self.embedding[token * self.d..][..self.d]
    }

    fn logits(&self, token: usize) -> Vec<f64> {
        times(&self.head, self.hidden(token))
    }
}

/// A matrix, row by row, times a vector.
fn times(matrix: &[f64], x: &[f64]) -> Vec<f64> {
    matrix.chunks(x.len()).map(|row| row.iter().zip(x).map(|(a, b)| a * b).sum()).collect()
}

/// The whole objective in f64, as a function of all parameters.
struct Exact<'a> {
    stage: &'a Stage,
    oracle: &'a Oracle,
    weight: f64,
    student: Numbers,
    teacher: Numbers,
    projection: Vec<f64>,
}

impl Exact<'_> {
    fn value(&self, shifted: Option<(usize, f64)>) -> f64 {
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
        let (mut sum, mut targets) = (0.0, 0);
        for example in &self.stage.examples {
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
                };
                sum += self.weight * (self.oracle)(&place);
                targets += 1;
            }
        }
        sum / f64::from(targets)
    }
}

fn close(what: &str, found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance * (1.0 + expected.abs()), "{what}: {found} against {expected}");
}

#[test]
fn every_objective_agrees_with_its_oracle_and_its_differences() -> Outcome {
    for (term, from, oracle) in table() {
        let stage = Stage::new(from)?;
        let name = format!("{term:?}");
        // Several micro-batches of unequal size: the oracle divides by the targets of the whole step.
        let found = stage.run(vec![term], from, &stage.examples, 9, 0)?;
        let projection = Projected::new(&stage.student, Some(D_TEACHER), 3)?;
        let projection = projection.projection().expect("widths differ").flatten_all()?.to_vec1::<f32>()?;
        let exact = Exact {
            stage: &stage,
            oracle: &oracle,
            weight: term.weight(),
            student: Numbers::of(&stage.student)?,
            teacher: Numbers::of(&stage.teacher)?,
            projection: projection.into_iter().map(f64::from).collect(),
        };
        close(&name, found.value, exact.value(None), 2e-6);
        for (at, &gradient) in found.gradients.iter().enumerate() {
            let step = 1e-5;
            let difference = (exact.value(Some((at, step))) - exact.value(Some((at, -step)))) / (2.0 * step);
            close(&format!("{name}, parameter {at}"), gradient, difference, 3e-6);
        }
    }
    Ok(())
}

/// All terms of the table that a teacher can be asked for, at once.
fn mixture() -> Vec<Term> {
    let asked = table().into_iter().filter(|row| matches!(row.1, Origin::Online | Origin::Tokens)).map(|row| row.0);
    asked.chain([Term::Sampled { weight: 0.5, draws: Some(7) }]).collect()
}

#[test]
fn splits_order_and_filling_change_rounding_only() -> Outcome {
    let mut rows: Vec<(Vec<Term>, Origin)> = table().into_iter().map(|row| (vec![row.0], row.1)).collect();
    rows.push((mixture(), Origin::Online));
    for (terms, from) in rows {
        let stage = Stage::new(from)?;
        let one = stage.run(terms.clone(), from, &stage.examples, 1000, 4)?;
        let reversed: Vec<Example> = stage.examples.iter().rev().cloned().collect();
        // A sequence of which nothing is predicted.
        let filled = [vec![Example::new(vec![3; 6], 6)], stage.examples.clone()].concat();
        for (how, examples, budget) in [
            ("one by one", &stage.examples, 1),
            ("in pieces", &stage.examples, 8),
            ("reversed", &reversed, 1000),
            ("reversed in pieces", &reversed, 8),
            ("filled", &filled, 1000),
        ] {
            let other = stage.run(terms.clone(), from, examples, budget, 4)?;
            let what = format!("{terms:?} {how}");
            close(&what, other.value, one.value, 1e-6);
            one.gradients.iter().zip(&other.gradients).for_each(|(a, b)| close(&what, *b, *a, 1e-6));
        }
    }
    Ok(())
}

#[test]
fn the_number_of_threads_changes_no_bit() -> Outcome {
    let stage = Stage::new(Origin::Online)?;
    let run = |threads: usize| -> Outcome<Vec<u64>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        let found = pool.install(|| stage.run(mixture(), Origin::Online, &stage.examples, 8, 2))?;
        Ok(found.gradients.iter().chain([&found.value]).map(|x| x.to_bits()).collect())
    };
    let one = run(1)?;
    assert!(run(2)? == one && run(5)? == one);
    Ok(())
}

#[test]
fn top_k_rises_to_the_dense_divergence() -> Outcome {
    let stage = Stage::new(Origin::Online)?;
    for skewed in [false, true] {
        let value = |rows: Rows| {
            let (weight, temperature) = (1.0, 1.0);
            let term = match skewed {
                false => Term::ForwardKl { weight, temperature, rows },
                true => Term::SkewedReverseKl { weight, alpha: 0.1, temperature, rows },
            };
            Ok::<_, Error>(stage.run(vec![term], Origin::Online, &stage.examples, 1000, 0)?.value)
        };
        let all = value(Rows::Full)?;
        let by_k: Vec<f64> = (1..=V).map(|k| value(Rows::TopK(k))).collect::<Outcome<_>>()?;
        assert!(by_k.windows(2).all(|pair| pair[0] <= pair[1] + 1e-6), "{by_k:?}");
        assert!(by_k[0] < 0.9 * all, "one outcome already says {} of {all}", by_k[0]);
        close("all outcomes", by_k[V - 1], all, 1e-6);
    }
    Ok(())
}

/// Each mean of `draws` must lie within five standard errors of `expected`, and more errors than chance gives must not
/// exceed two.
fn unbiased(what: &str, draws: &[Vec<f64>], expected: &[f64]) {
    let n = draws.len() as f64;
    let mut beyond_two = 0;
    for (at, &expected) in expected.iter().enumerate() {
        let mean = draws.iter().map(|draw| draw[at]).sum::<f64>() / n;
        let variance = draws.iter().map(|draw| (draw[at] - mean).powi(2)).sum::<f64>() / (n - 1.0);
        let error = (variance / n).sqrt();
        let off = (mean - expected).abs();
        assert!(off <= 5.0 * error + 1e-6, "{what}, number {at}: mean {mean} +- {error}, expected {expected}");
        beyond_two += usize::from(off > 2.0 * error + 1e-6);
    }
    // Expected 4.6 in a hundred; the numbers hang together, so there is room.
    assert!(beyond_two * 100 <= 15 * expected.len(), "{what}: {beyond_two} of {} off by two errors", expected.len());
}

#[test]
fn draws_from_the_teacher_are_unbiased() -> Outcome {
    let stage = Stage::new(Origin::Online)?;
    let terms = |term: Term| vec![term];
    let dense = Term::ForwardKl { weight: 1.0, temperature: 1.0, rows: Rows::Full };
    let dense = stage.run(terms(dense), Origin::Online, &stage.examples, 1000, 0)?;
    let sampled = Term::Sampled { weight: 1.0, draws: Some(4) };
    let mut draws = Vec::new();
    for step in 0..1500 {
        let found = stage.run(terms(sampled), Origin::Online, &stage.examples, 1000, step)?;
        draws.push([vec![found.value], found.gradients].concat());
    }
    unbiased("draws", &draws, &[vec![dense.value], dense.gradients.clone()].concat());
    // As many of the likeliest, made to sum to 1, are not: the check above would see it.
    let cut = Term::ForwardKl { weight: 1.0, temperature: 1.0, rows: Rows::TopK(4) };
    let cut = stage.run(terms(cut), Origin::Online, &stage.examples, 1000, 0)?;
    assert!((cut.value - dense.value).abs() > 1e-2, "{} against {}", cut.value, dense.value);
    Ok(())
}

#[test]
fn the_student_s_own_tokens_give_reverse_kl() -> Outcome {
    let stage = Stage::new(Origin::Online)?;
    let start = 4u32;
    let p = softmax(&Numbers::of(&stage.student)?.logits(start as usize), 1.0);
    let run =
        |term: Term, next: u32| stage.run(vec![term], Origin::Online, &[Example::new(vec![start, next], 1)], 1000, 0);
    let exact = run(Term::ReverseKl { weight: 1.0, temperature: 1.0, rows: Rows::Full }, 0)?;
    // The expectation over what the student may write, in full.
    let (mut value, mut gradients) = (0.0, vec![0.0; exact.gradients.len()]);
    for (next, p) in p.iter().enumerate() {
        let found = run(Term::SampledReverseKl { weight: 1.0 }, next as u32)?;
        value += p * found.value;
        gradients.iter_mut().zip(&found.gradients).for_each(|(sum, g)| *sum += p * g);
    }
    close("value", value, exact.value, 1e-6);
    gradients.iter().zip(&exact.gradients).for_each(|(found, exact)| close("gradient", *found, *exact, 2e-6));
    Ok(())
}

#[test]
fn what_a_teacher_cannot_give_is_refused() -> Outcome {
    let refused = |terms: Vec<Term>, teacher: Teacher| {
        Objective::new(ObjectiveSettings { terms }, teacher, None).map(|_| ()).expect_err("a refusal").to_string()
    };
    let of = |rows: Rows, temperature: f64| vec![Term::ForwardKl { weight: 1.0, temperature, rows }];
    let captured = Teacher::Captured(CapturedForm::TopK(5));
    for (terms, teacher, says) in [
        (of(Rows::Full, 1.0), Teacher::None, "needs a teacher"),
        (of(Rows::Full, 1.0), captured, "its whole distribution"),
        (of(Rows::TopK(6), 1.0), captured, "the 6 likeliest tokens, and the traces captured 5"),
        (of(Rows::TopK(5), 2.0), captured, "temperature 2 and not all rows"),
        (of(Rows::TopK(5), 1.0), Teacher::Captured(CapturedForm::Sampled), "captured draws"),
        (vec![Term::Sampled { weight: 1.0, draws: None }], captured, "draws"),
        (
            vec![Term::JensenShannon { weight: 1.0, beta: 1.0, temperature: 1.0, rows: Rows::Full }],
            captured,
            "`beta` 1",
        ),
        (vec![Term::CrossEntropy { weight: -1.0 }], captured, "`weight` -1"),
        (vec![], captured, "objective.terms"),
    ] {
        let message = refused(terms, teacher);
        assert!(message.contains(says), "`{message}` does not say `{says}`");
    }
    Ok(())
}
