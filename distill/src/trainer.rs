//! The training loop: one function from a model and a stream of examples to trained weights.
//!
//! A step: its examples, cut into micro-batches; loss and gradients of each, summed; a check that everything is finite,
//! before anything moves; clipping; AdamW; the model's own hook. Metrics go to `metrics.jsonl`, one line per report.
//!
//! Weights, gradients and moments are f32: the master that AdamW moves. With products in bf16 the working weights are the
//! pieces that `kernels/src/matmul/bf16.rs` rounds and packs for each product, at most 7 MiB for each thread, and never a
//! copy of the model. One that is kept would add 2 bytes to the 16 of every weight, and halve a reading that a product does
//! once for up to 4,096 rows. SmolLM2-135M takes 2.55 GB with products in f32 and 2.61 GB in bf16; the copy would be 0.27.

use crate::Error;
use crate::average::Average;
use crate::data::{Served, Stream};
use crate::flops::{Flops, Written};
use crate::gradients::{Budget, Pass, pass};
use crate::identity::Identity;
use crate::metrics::{Metrics, MetricsFile, Window, described};
use crate::objective::Objective;
pub use crate::optimiser::{Group, MomentFormat, OptimiserSettings};
use crate::optimiser::{Optimiser, global_norm};
use crate::schedule::Schedule;
use crate::state;
use crate::validation::Looks;
pub use crate::validation::{Best, Validation};
use candle_core::Var;
use retort_kernels::MatmulPrecision;
use retort_model::decoder::Trainable;
use retort_model::observe::Observer;
use retort_model::workers::Workers;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};

/// Settings of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainSettings {
    pub steps: u64,
    /// The most tokens that go through the model at once; larger steps accumulate gradients.
    pub micro_batch_tokens: usize,
    pub schedule: Schedule,
    #[serde(default)]
    pub optimiser: OptimiserSettings,
    /// What numbers are rounded to before they are multiplied; the master weights, sums and everything else are f32.
    #[serde(default)]
    pub precision: Precision,
    /// Steps between checkpoints; 0 for none.
    #[serde(default)]
    pub checkpoint_every: u64,
    /// Steps between lines of `metrics.jsonl`.
    #[serde(default = "ten")]
    pub report_every: u64,
    /// Decay of a running mean of the weights, with which the run ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average: Option<f64>,
    /// A loss so many times the mean of the last 50 steps stops the run before its step; `inf` lets everything pass.
    #[serde(default = "ten_times")]
    pub divergence: f64,
}

/// What the products of training are computed in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// bf16 where this machine multiplies it, else f32
    #[default]
    Auto,
    F32,
    Bf16,
}

impl Precision {
    /// What products are asked for; where this machine has no bf16 they are f32 by themselves.
    fn of_products(self) -> MatmulPrecision {
        match self {
            Self::F32 => MatmulPrecision::F32,
            Self::Auto | Self::Bf16 => MatmulPrecision::Bf16,
        }
    }
}

fn ten_times() -> f64 {
    10.0
}

fn ten() -> u64 {
    10
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    pub steps: u64,
    /// Tokens that went through the model in this call.
    pub tokens: u64,
    /// What the whole run has computed, earlier calls of it among that.
    pub flops: Flops,
    pub seconds: f64,
    pub phases: Phases,
    /// The objective's mean over the last report.
    pub loss: f64,
    /// The best look at the validation examples, where there are any.
    pub validation: Option<Best>,
    /// Whether the observer asked to stop before the last step.
    pub interrupted: bool,
}

/// Where the time of a run went, in seconds; what is left of the whole is reading examples, looks and checkpoints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Phases {
    pub forward: f64,
    pub backward: f64,
    /// The gradients' norm and the weights' move.
    pub optimiser: f64,
}

impl Phases {
    fn add(&mut self, pass: &Pass, optimiser: Duration) {
        self.forward += pass.forward.as_secs_f64();
        self.backward += pass.backward.as_secs_f64();
        self.optimiser += optimiser.as_secs_f64();
    }
}

/// What to do where there is no room for moments.
const ADAPTER: &str = "an adapter (`[lora]`) has few of them; or end other programs on that GPU";

/// Trains `model` in place. Continues from the newest checkpoint in `out` when there is one of the same run.
pub fn train(
    model: &dyn Trainable,
    stream: &dyn Stream,
    objective: &Objective,
    settings: &TrainSettings,
    validation: Option<Validation>,
    out: &Path,
    observer: &dyn Observer,
) -> Result<Outcome, Error> {
    check(settings, validation)?;
    std::fs::create_dir_all(out).map_err(|source| Error::Io { action: "created", path: out.into(), source })?;
    let precision = settings.precision.of_products();
    let run = Identity::new(model, stream, objective, settings)?;
    let device = model.decoder().device();
    let of_moments = |error: Error| error.of_memory(device, || "AdamW's moments of the weights".into(), ADAPTER);
    let mut optimiser = Optimiser::new(model.parameters(), &settings.optimiser).map_err(of_moments)?;
    let mut average = settings.average.map(|decay| Average::new(model, decay)).transpose()?;
    let resumed = state::resume(out, model, &mut optimiser, average.as_mut(), &run)?;
    let (first, flops) = resumed.unwrap_or_default();
    let forward = model.decoder().operations();
    let workers = Workers::beside(device, model.parameters().iter().map(|(_, var)| var.elem_count()).sum())?;
    let mut metrics = MetricsFile::open(out, first)?;
    observer.started("train", Some(settings.steps), "steps");
    if first > 0 {
        observer.remark(&format!("continuing after step {first}"));
    }

    let begin = Instant::now();
    let mut outcome = Outcome {
        steps: first,
        tokens: 0,
        flops,
        seconds: 0.0,
        phases: Phases::default(),
        loss: f64::NAN,
        validation: None,
        interrupted: false,
    };
    let mut looks = Looks::new(validation);
    let best_folder = (settings.checkpoint_every > 0).then_some(out);
    let (mut window, mut guard) = (Window::default(), Guard::new(settings.divergence));
    // The last look at the validation examples that no line tells of yet.
    let mut looked = None;
    for step in first..settings.steps {
        if observer.cancelled() && stream.begins(step) {
            outcome.interrupted = true;
            break;
        }
        let served = match stream.serve(step) {
            Err(error) if error.is_interruption() => {
                outcome.interrupted = true;
                break;
            }
            served => served?,
        };
        let Served { examples, written } = served;
        let begun = Instant::now();
        let rate = settings.schedule.rate(step, settings.steps);
        let (mut done, mut norm, mut remarks) = (Pass::default(), 0.0, Vec::new());
        if !examples.is_empty() {
            let budget = Budget { tokens: settings.micro_batch_tokens, precision };
            done = match pass(model, objective, &workers, &examples, budget, step) {
                Err(error) if error.is_interruption() => {
                    outcome.interrupted = true;
                    break;
                }
                Err(error) if error.is_out_of_memory() => {
                    // The weights are those after the last step, and a run with smaller batches may go on from them.
                    if step > first && settings.checkpoint_every > 0 {
                        state::save(out, model, &optimiser, average.as_ref(), (outcome.steps, outcome.flops), &run)?;
                    }
                    return Err(error);
                }
                done => done?,
            };
            let moving = Instant::now();
            norm = global_norm(&done.gradients)?;
            guard.admit(step, done.loss, norm)?;
            let moved = optimiser.step(model.parameters(), &done.gradients, norm, rate, step + 1);
            moved.map_err(|error| of_moments(error.into()))?;
            outcome.phases.add(&done, moving.elapsed());
            remarks = model.after_step(step as f64 / settings.steps as f64)?;
            if let Some(average) = &mut average {
                average.add(model, step + 1)?;
            }
        }
        remarks.extend(stream.told(begun.elapsed()));

        outcome.steps = step + 1;
        outcome.tokens += done.tokens;
        outcome.flops += done.flops;
        outcome.flops.completions += Written::flops(&written, &forward);
        window.add(&done, remarks);
        let last = outcome.steps == settings.steps;
        let mut look = || looks.look(model, objective, settings.micro_batch_tokens, (step + 1, last), best_folder);
        let look = match &average {
            Some(average) => average.with(model, look)?,
            None => look()?,
        };
        looked = look.or(looked);
        if last || outcome.steps.is_multiple_of(settings.report_every) {
            outcome.loss = window.mean_loss();
            let line = Metrics {
                step: outcome.steps,
                loss: outcome.loss,
                learning_rate: rate,
                gradient_norm: norm,
                tokens: outcome.tokens,
                flops: outcome.flops,
                tokens_per_second: outcome.tokens as f64 / begin.elapsed().as_secs_f64(),
                validation_loss: looked.take(),
                terms: &window.terms(),
            };
            metrics.write(&line)?;
            observer.advanced(outcome.steps, &format!("loss {:.4}, {:.0} tokens/s", line.loss, line.tokens_per_second));
            if last && !line.terms.is_empty() {
                observer.remark(&described(line.terms));
            }
            window = Window::default();
        }
        if looks.is_over() {
            break;
        }
        let due = last || outcome.steps.is_multiple_of(settings.checkpoint_every) && stream.begins(outcome.steps);
        if settings.checkpoint_every > 0 && due {
            state::save(out, model, &optimiser, average.as_ref(), (outcome.steps, outcome.flops), &run)?;
        }
    }
    let can_go_on = outcome.steps > first && stream.begins(outcome.steps);
    if outcome.interrupted && can_go_on && settings.checkpoint_every > 0 {
        state::save(out, model, &optimiser, average.as_ref(), (outcome.steps, outcome.flops), &run)?;
    }
    outcome.validation = looks.best;
    if !outcome.interrupted
        && let Some(average) = &average
    {
        average.apply(model)?;
    }
    looks.restore(model)?;
    outcome.seconds = begin.elapsed().as_secs_f64();
    let loss = if outcome.loss.is_nan() { String::new() } else { format!(", loss {:.4}", outcome.loss) };
    observer.finished(&format!("{} steps{loss}, {}", outcome.steps, outcome.flops));
    Ok(outcome)
}

/// What a step costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rehearsal {
    pub tokens: u64,
    pub flops: Flops,
    pub seconds: f64,
    /// Bytes of the moments, and of the mean of the weights, that a run holds beside what a pass takes.
    pub state_bytes: usize,
}

/// Goes through the first step without taking it.
pub fn rehearse(
    model: &dyn Trainable,
    stream: &dyn Stream,
    objective: &Objective,
    settings: &TrainSettings,
) -> Result<Rehearsal, Error> {
    check(settings, None)?;
    let parameters: usize = model.parameters().iter().map(|(_, var)| var.elem_count()).sum();
    let device = model.decoder().device();
    let workers = Workers::beside(device, parameters)?;
    let begin = Instant::now();
    let Served { examples, written } = stream.serve(0)?;
    let budget = Budget { tokens: settings.micro_batch_tokens, precision: settings.precision.of_products() };
    let nothing = examples.is_empty();
    let done = if nothing { Pass::default() } else { pass(model, objective, &workers, &examples, budget, 0)? };
    // A GPU answers before it has done what it was asked for.
    device.synchronize()?;
    let moments = |(_, var): &(_, Var)| settings.optimiser.moments.bytes(var.elem_count());
    let mean = if settings.average.is_some() { parameters * size_of::<f32>() } else { 0 };
    let state_bytes = model.parameters().iter().map(moments).sum::<usize>() + mean;
    let completions = Written::flops(&written, &model.decoder().operations());
    let flops = Flops { completions, ..done.flops };
    Ok(Rehearsal { tokens: done.tokens, flops, seconds: begin.elapsed().as_secs_f64(), state_bytes })
}

/// Stops a run before a step that would ruin the weights.
struct Guard {
    factor: f64,
    /// Losses of the last steps.
    losses: VecDeque<f64>,
}

/// Steps whose mean loss a new one is held against.
const MEMORY: usize = 50;

/// Losses below this are too close to 0 to say how many times larger another is.
const SMALL: f64 = 0.1;

impl Guard {
    fn new(factor: f64) -> Self {
        Self { factor, losses: VecDeque::new() }
    }

    /// Refuses a loss or gradient that is not finite, and a loss many times that of the steps before.
    fn admit(&mut self, step: u64, loss: f64, norm: f64) -> Result<(), Error> {
        for (what, value) in [("loss", loss), ("gradient norm", norm)] {
            if !value.is_finite() {
                return Err(Error::NotFinite { what, step, value });
            }
        }
        if self.losses.len() == MEMORY {
            let mean = self.losses.iter().sum::<f64>() / MEMORY as f64;
            if loss > self.factor * mean.max(SMALL) {
                return Err(Error::Diverged { step, loss, mean });
            }
            self.losses.pop_front();
        }
        self.losses.push_back(loss);
        Ok(())
    }
}

fn check(settings: &TrainSettings, validation: Option<Validation>) -> Result<(), Error> {
    let bad = |field, value: String, allowed| Err(Error::Setting { field, value, allowed });
    if settings.steps == 0 {
        return bad("steps", "0".into(), "at least 1");
    }
    if settings.report_every == 0 {
        return bad("report_every", "0".into(), "at least 1");
    }
    if let Some(Validation { every, patience, .. }) = validation {
        if every == 0 {
            return bad("validation.every", "0".into(), "at least 1");
        }
        if patience.is_some() && settings.checkpoint_every > 0 {
            // A resumed run would not know the weights of an earlier best look.
            return bad("checkpoint_every", settings.checkpoint_every.to_string(), "0 with early stopping");
        }
    }
    let s = &settings.optimiser;
    for Group { learning_rate, weight_decay, .. } in &s.groups {
        for (field, value) in [("learning_rate", *learning_rate), ("weight_decay", weight_decay.unwrap_or(0.0))] {
            if !(value.is_finite() && value >= 0.0) {
                return bad("optimiser.groups", format!("{field} {value}"), "0 or more");
            }
        }
    }
    let share = |x: f64| (0.0..1.0).contains(&x);
    let positive = |x: f64| x.is_finite() && x > 0.0;
    for (field, value, fine, allowed) in [
        ("schedule.learning_rate", settings.schedule.learning_rate, positive as fn(f64) -> bool, "a positive number"),
        ("average", settings.average.unwrap_or(0.0), share, "from 0 to below 1"),
        ("divergence", settings.divergence, |x| x > 1.0, "above 1"),
        ("schedule.final_share", settings.schedule.final_share, |x| (0.0..=1.0).contains(&x), "from 0 to 1"),
        ("optimiser.beta1", s.beta1, share, "from 0 to below 1"),
        ("optimiser.beta2", s.beta2, share, "from 0 to below 1"),
        ("optimiser.eps", s.eps, positive, "a positive number"),
        ("optimiser.weight_decay", s.weight_decay, |x| x.is_finite() && x >= 0.0, "0 or more"),
        ("optimiser.max_grad_norm", s.max_grad_norm, |x| x > 0.0, "above 0"),
    ] {
        if !fine(value) {
            return bad(field, value.to_string(), allowed);
        }
    }
    Ok(())
}
