//! The training loop: one function from a model and a stream of examples to trained weights.
//!
//! A step: its examples, cut into micro-batches; loss and gradients of each, summed; a check that everything is finite,
//! before anything moves; clipping; AdamW; the model's own hook. Metrics go to `metrics.jsonl`, one line per report.

use crate::Error;
use crate::data::{Example, Stream, micro_batches};
use crate::gradients::{Pass, pass};
use crate::identity::Identity;
use crate::objective::loss;
pub use crate::optimiser::OptimiserSettings;
use crate::optimiser::{Optimiser, global_norm};
use crate::schedule::Schedule;
use crate::state;
use candle_core::Var;
use retort_model::decoder::Trainable;
use retort_model::observe::Observer;
use retort_model::workers::Workers;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::Path;
use std::time::Instant;

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
    /// Steps between checkpoints; 0 for none.
    #[serde(default)]
    pub checkpoint_every: u64,
    /// Steps between lines of `metrics.jsonl`.
    #[serde(default = "ten")]
    pub report_every: u64,
}

fn ten() -> u64 {
    10
}

/// Examples that are never trained on, scored now and then.
#[derive(Debug, Clone, Copy)]
pub struct Validation<'a> {
    pub examples: &'a [Example],
    /// Steps between two looks.
    pub every: u64,
    /// Early stopping: ends after this many looks without a lower loss, with the weights of the best look.
    pub patience: Option<u32>,
}

/// The lowest validation loss of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Best {
    pub step: u64,
    pub loss: f64,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    pub steps: u64,
    /// Tokens that went through the model in this call.
    pub tokens: u64,
    pub seconds: f64,
    /// Mean next-token loss of the last report.
    pub loss: f64,
    /// The best look at the validation examples, where there are any.
    pub validation: Option<Best>,
    /// Whether the observer asked to stop before the last step.
    pub interrupted: bool,
}

/// One line of `metrics.jsonl`.
#[derive(Serialize)]
struct Metrics<'a> {
    step: u64,
    loss: f64,
    learning_rate: f64,
    gradient_norm: f64,
    tokens: u64,
    tokens_per_second: f64,
    terms: &'a serde_json::Map<String, serde_json::Value>,
}

/// Trains `model` in place. Continues from the newest checkpoint in `out` when there is one of the same run.
pub fn train(
    model: &dyn Trainable,
    stream: &dyn Stream,
    settings: &TrainSettings,
    validation: Option<Validation>,
    out: &Path,
    observer: &dyn Observer,
) -> Result<Outcome, Error> {
    check(settings, validation)?;
    std::fs::create_dir_all(out).map_err(|source| Error::Io { action: "created", path: out.into(), source })?;
    let run = Identity::new(model, stream, settings)?;
    let mut optimiser = Optimiser::new(model.parameters(), settings.optimiser);
    let first = state::resume(out, model, &mut optimiser, &run)?.unwrap_or(0);
    let workers = Workers::for_model(model.parameters().iter().map(|(_, var)| var.elem_count()).sum())?;
    let mut metrics = MetricsFile::open(out, first)?;
    observer.started("train", Some(settings.steps), "steps");
    if first > 0 {
        observer.remark(&format!("continuing after step {first}"));
    }

    let begin = Instant::now();
    let mut outcome =
        Outcome { steps: first, tokens: 0, seconds: 0.0, loss: f64::NAN, validation: None, interrupted: false };
    let (mut best_weights, mut worse_looks) = (Vec::new(), 0);
    let mut window = Window::default();
    for step in first..settings.steps {
        if observer.cancelled() {
            outcome.interrupted = true;
            break;
        }
        let examples = stream.examples(step)?;
        let done = pass(model, &workers, &examples, settings.micro_batch_tokens, step)?;
        let norm = global_norm(&done.gradients)?;
        for (what, value) in [("loss", done.loss), ("gradient norm", norm)] {
            if !value.is_finite() {
                return Err(Error::NotFinite { what, step, value });
            }
        }
        let rate = settings.schedule.rate(step, settings.steps);
        optimiser.step(model.parameters(), &done.gradients, norm, rate, step + 1)?;
        let remarks = model.after_step(step as f64 / settings.steps as f64)?;

        outcome.steps = step + 1;
        outcome.tokens += done.tokens;
        window.add(&done, remarks);
        let last = outcome.steps == settings.steps;
        if last || outcome.steps.is_multiple_of(settings.report_every) {
            outcome.loss = window.mean_loss();
            let line = Metrics {
                step: outcome.steps,
                loss: outcome.loss,
                learning_rate: rate,
                gradient_norm: norm,
                tokens: outcome.tokens,
                tokens_per_second: outcome.tokens as f64 / begin.elapsed().as_secs_f64(),
                terms: &window.terms(),
            };
            metrics.write(&line)?;
            observer.advanced(outcome.steps, &format!("loss {:.4}, {:.0} tokens/s", line.loss, line.tokens_per_second));
            if last && !line.terms.is_empty() {
                observer.remark(&described(line.terms));
            }
            window = Window::default();
        }
        if let Some(validation) = validation.filter(|v| last || outcome.steps.is_multiple_of(v.every)) {
            let loss = mean_loss(model, validation.examples, settings.micro_batch_tokens)?;
            if outcome.validation.is_none_or(|best| loss < best.loss) {
                outcome.validation = Some(Best { step: outcome.steps, loss });
                worse_looks = 0;
                if validation.patience.is_some() {
                    best_weights = state(model).iter().map(|var| var.copy()).collect::<Result<_, _>>()?;
                }
            } else {
                worse_looks += 1;
            }
            if validation.patience.is_some_and(|patience| worse_looks >= patience) {
                break;
            }
        }
        if settings.checkpoint_every > 0 && (last || outcome.steps.is_multiple_of(settings.checkpoint_every)) {
            state::save(out, model, &optimiser, outcome.steps, &run)?;
        }
    }
    if outcome.interrupted && outcome.steps > first && settings.checkpoint_every > 0 {
        state::save(out, model, &optimiser, outcome.steps, &run)?;
    }
    for (var, best) in state(model).iter().zip(&best_weights) {
        var.set(best)?;
    }
    outcome.seconds = begin.elapsed().as_secs_f64();
    let loss = if outcome.loss.is_nan() { String::new() } else { format!(", loss {:.4}", outcome.loss) };
    observer.finished(&format!("{} steps{loss}", outcome.steps));
    Ok(outcome)
}

/// Everything that training changes in a model.
fn state(model: &dyn Trainable) -> Vec<Var> {
    let parameters = model.parameters().iter().map(|(_, var)| var.clone());
    parameters.chain(model.buffers().into_iter().map(|(_, var)| var)).collect()
}

/// Mean next-token loss over all targets of `examples`.
fn mean_loss(model: &dyn Trainable, examples: &[Example], budget: usize) -> Result<f64, Error> {
    let targets: usize = examples.iter().map(Example::targets).sum();
    let batches = micro_batches(examples, budget);
    let mut total = 0.0;
    for batch in &batches {
        total += loss(model, batch, targets.max(1), examples.len())?.next_token;
    }
    Ok(total)
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
    let share = |x: f64| (0.0..1.0).contains(&x);
    let positive = |x: f64| x.is_finite() && x > 0.0;
    for (field, value, fine, allowed) in [
        ("schedule.learning_rate", settings.schedule.learning_rate, positive as fn(f64) -> bool, "a positive number"),
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

/// Running means between two reports.
#[derive(Default)]
struct Window {
    steps: u64,
    loss: f64,
    terms: std::collections::BTreeMap<String, f64>,
}

impl Window {
    fn add(&mut self, pass: &Pass, remarks: Vec<(String, f64)>) {
        self.steps += 1;
        self.loss += pass.loss;
        let terms = pass.terms.iter().map(|&(name, value)| (name.to_string(), value));
        for (name, value) in terms.chain(remarks) {
            *self.terms.entry(name).or_default() += value;
        }
    }

    fn mean_loss(&self) -> f64 {
        self.loss / self.steps.max(1) as f64
    }

    fn terms(&self) -> serde_json::Map<String, serde_json::Value> {
        self.terms.iter().map(|(name, total)| (name.clone(), (total / self.steps.max(1) as f64).into())).collect()
    }
}

/// The terms of the last report for a person to read, such as the experts' loads.
fn described(terms: &serde_json::Map<String, serde_json::Value>) -> String {
    let value = |value: &serde_json::Value| format!("{:.4}", value.as_f64().unwrap_or(f64::NAN));
    let terms: Vec<String> = terms.iter().map(|(name, term)| format!("{name} {}", value(term))).collect();
    format!("in the last steps: {}", terms.join(", "))
}

struct MetricsFile {
    file: std::fs::File,
    path: std::path::PathBuf,
}

impl MetricsFile {
    /// Opens the file of a run that goes on after step `first`; what an earlier attempt wrote beyond it goes.
    fn open(out: &Path, first: u64) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Line {
            step: u64,
        }
        let path = out.join("metrics.jsonl");
        let failed = |action, source| Error::Io { action, path: path.clone(), source };
        let before =
            if path.is_file() { std::fs::read_to_string(&path).map_err(|e| failed("read", e))? } else { String::new() };
        let kept =
            before.lines().filter(|line| serde_json::from_str::<Line>(line).is_ok_and(|line| line.step <= first));
        let kept: String = kept.flat_map(|line| [line, "\n"]).collect();
        retort_model::checkpoint::write_bytes(&path, kept.as_bytes())?;
        let file = std::fs::OpenOptions::new().append(true).open(&path).map_err(|e| failed("opened", e))?;
        Ok(Self { file, path })
    }

    fn write(&mut self, metrics: &Metrics) -> Result<(), Error> {
        let io = |source| Error::Io { action: "written", path: self.path.clone(), source };
        let line = serde_json::to_string(metrics).map_err(|e| io(e.into()))?;
        writeln!(self.file, "{line}").map_err(io)
    }
}
