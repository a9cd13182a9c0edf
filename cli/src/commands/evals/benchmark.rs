//! `retort evals run --benchmark NAME`: what a definition says, asked of a model; and the definitions themselves.

use super::super::INTERRUPTED;
use super::super::datagen::AskingRecipe;
use super::print;
use crate::args::EvalsRun;
use crate::output::say;
use crate::progress::Progress;
use crate::{hub, open};
use anyhow::{Context, Result, bail};
use retort_datagen::run::Plan;
use retort_datagen::sources::{Columns, Table};
use retort_datagen::store::{BenchmarkId, ProblemSet};
use retort_evals::definition::{Definition, Generation, LogLikelihood, PromptKind, SHIPPED, shipped};
use retort_evals::harness::{Finished, Outcome};
use retort_evals::items::{Items, Origin};
use retort_evals::likelihood::{self, Asked, BATCH, Identity};
use retort_evals::{EvalRun, Scored, metrics};
use retort_model::checkpoint::write_bytes;
use retort_model::generate::FinishReason;
use retort_model::hub::HubName;
use retort_model::observe::Observer;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A run's copy of the definition that it follows.
pub(super) const DEFINITION: &str = "benchmark.toml";

/// The definition that `name` means; none where it means problems.
pub(super) fn find(name: &str) -> Result<Option<Definition>> {
    if let Some(definition) = shipped(name) {
        return Ok(Some(definition?));
    }
    if name.ends_with(".toml") {
        return read(Path::new(name)).map(Some);
    }
    if open::is_gym(name) || Path::new(name).exists() {
        return Ok(None);
    }
    let known: Vec<String> = SHIPPED.iter().map(|(name, _)| format!("`{name}`")).collect();
    bail!("`{name}` is no file or folder, and no benchmark; there are {}", known.join(", "))
}

/// The definition in a file.
pub(super) fn read(path: &Path) -> Result<Definition> {
    let text = std::fs::read_to_string(path).with_context(|| format!("`{}` could not be read", path.display()))?;
    Ok(Definition::parse(&text, &path.display().to_string())?)
}

/// All of them, or the text of one.
pub(super) fn show(name: Option<&str>) -> Result<ExitCode> {
    match name {
        Some(name) => match find(name)? {
            Some(definition) => say!("{}", definition.text.trim_end()),
            None => bail!("`{name}` is data, and has no definition"),
        },
        None => {
            for (name, text) in SHIPPED {
                say!("{name:<15} {}", Definition::parse(text, name)?.about);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks a model what a definition says, and scores what it answers.
pub(super) fn run(args: &EvalsRun, definition: &Definition) -> Result<ExitCode> {
    let progress = Progress::new();
    let origin = Origin { path: data(args, definition, &progress)?, selection: args.asking.part.selection() };
    let limit = args.asking.limit.map(NonZeroUsize::get);
    let items = Items::read(definition, &origin, limit)?;
    // What is generated is worked through once, and the run says so.
    if let (None, Some(repeats)) = (&definition.generation, items.repeats()) {
        progress.remark(&repeats);
    }
    let id = BenchmarkId {
        name: definition.name.clone(),
        version: definition.version,
        definition: definition.blake3(),
        data: items.data.clone(),
        bos: args.bos,
    };
    let benchmark = Benchmark { args, definition, items, id, progress, limit, began: Instant::now() };
    match (&definition.generation, &definition.log_likelihood) {
        (Some(generation), _) => benchmark.generate(generation),
        (None, Some(scored)) => benchmark.choose(scored),
        (None, None) => bail!("`{}` neither generates nor scores", definition.name),
    }
}

/// Where the rows are: what the user names, or what the hub has.
fn data(args: &EvalsRun, definition: &Definition, progress: &Progress) -> Result<PathBuf> {
    if let Some(path) = &args.data {
        return Ok(path.clone());
    }
    let Some(published) = &definition.data else {
        bail!("`{}` does not say where its data is: name it by `--data`", definition.name);
    };
    let config = args.asking.part.config.as_ref().or(published.config.as_ref()).map(|config| format!("{config}/"));
    let wanted = |all: &[&str], file: &str| {
        // A config may be a folder; where none is, the card says which files it has.
        let folder = config.as_deref().filter(|folder| all.iter().any(|file| file.starts_with(folder)));
        Table::reads(Path::new(file)) && folder.is_none_or(|folder| file.starts_with(folder))
    };
    let fetched = HubName::dataset(&published.hub)
        .map_err(retort_model::Error::from)
        .and_then(|name| hub::from_environment().dataset(&name, &wanted, progress));
    fetched.with_context(|| format!("the data of `{}` could not be fetched (`--data` names a copy)", definition.name))
}

/// A benchmark with everything that a run of it needs.
struct Benchmark<'a> {
    args: &'a EvalsRun,
    definition: &'a Definition,
    items: Items,
    id: BenchmarkId,
    progress: Progress,
    limit: Option<usize>,
    began: Instant,
}

impl Benchmark<'_> {
    fn generate(&self, generation: &Generation) -> Result<ExitCode> {
        let Self { args, definition, items, progress, .. } = self;
        let raw = generation.prompt == PromptKind::Raw;
        let base = AskingRecipe {
            n: generation.samples_for(items.items.len()),
            sampling: generation.sampling.clone(),
            verify: generation.rule(),
            prompt_suffix: Some(generation.suffix.clone()),
            ..AskingRecipe::default()
        };
        let recipe = base.changed(&args.asking)?;
        if recipe.quota.is_some() {
            bail!("`quota` is for traces: a score needs every sample");
        }
        if recipe.prompt.template.is_some() || recipe.problems != Columns::default() {
            bail!("`{}` says itself how its questions are put: copy its definition and change that", definition.name);
        }
        let plan = Plan {
            grace: Duration::from_secs(args.asking.grace),
            budget: args.endpoint.budget()?,
            benchmark: Some(self.id.clone()),
            ..recipe.plan(&definition.name)?
        };
        if raw && (plan.prompt.if_any().is_some() || !plan.prompt_suffix.is_empty()) {
            bail!("`{}` gives prompts as they are: `prompt.*` and `prompt_suffix` do nothing", definition.name);
        }
        if args.bos && !raw {
            bail!("`--bos` is for prompts that no chat template makes, and `{}` asks in one", definition.name);
        }
        let (settings, here) = (recipe.endpoint.as_ref(), args.asking.here());
        let model = match raw {
            true => args.endpoint.open_raw(&args.model, settings, here, args.bos, progress)?,
            false => args.endpoint.open(&args.model, settings, here, progress)?,
        };
        if let Some(context) = model.context().filter(|&context| context < plan.sampling.max_tokens) {
            let most = plan.sampling.max_tokens;
            progress.remark(&format!("the model's context is {context} tokens: answers end there, not at {most}"));
        }
        let interrupted = super::evaluate(&*model, &items.problems(), &plan, &args.out)?.interrupted;
        let stems = items.stems();
        stems.write(&args.out)?;
        if interrupted {
            return Ok(ExitCode::from(INTERRUPTED));
        }
        let samples = EvalRun::read(&args.out)?.samples;
        let too_long = FinishReason::PromptTooLong.as_str();
        match samples.iter().filter(|sample| sample.finish_reason == too_long).count() {
            0 => {}
            count => {
                let all = samples.len();
                progress.remark(&format!(
                    "{count} of {all} prompts alone fill the model's context, and count as unanswered"
                ));
            }
        }
        let metrics = metrics::by_filter(&generation.filters, &samples)?;
        let scored = Scored::from_samples(model.name(), &samples, &stems)?.of_benchmark(self.id.clone(), metrics);
        let outcome =
            Outcome::Written { samples: &samples, scored: &scored, sampling: &plan.sampling, repeats: plan.n };
        self.finish(outcome, (model.name(), model.fingerprint()), plan.seed, &scored)
    }

    fn choose(&self, scoring: &LogLikelihood) -> Result<ExitCode> {
        let Self { args, definition, items, id, progress, .. } = self;
        let asking = &args.asking;
        if asking.n.is_some() || asking.seed.is_some() || asking.recipe.is_some() || !asking.set.is_empty() {
            bail!("`{}` asks how likely given answers are: nothing is sampled, and no recipe is read", definition.name);
        }
        let scorer = args.endpoint.scoring(&args.model, asking.here(), progress)?;
        let (model, tokenizer) = (&*scorer.model, scorer.files.tokenizer()?);
        let bos = if args.bos { scorer.bos(&tokenizer)? } else { None };
        let identity = Identity {
            generator: model.model(),
            benchmark: id.clone(),
            metric: scoring.metrics.first().copied().unwrap_or(retort_evals::definition::ChoiceMetric::Acc),
            questions: ProblemSet::of(items.items.iter().map(|item| &item.problem)),
        };
        let asked = Asked { model, tokenizer: &tokenizer, bos, delimiter: &definition.question.delimiter };
        let answers = likelihood::run(&asked, &items.items, &identity, &args.out, BATCH, progress)?;
        let stems = items.stems();
        stems.write(&args.out)?;
        let Some(answers) = answers else { return Ok(ExitCode::from(INTERRUPTED)) };
        let scored = Scored::from_samples(&args.model, &likelihood::samples(&identity, &answers), &stems)?;
        let scored = scored.of_benchmark(id.clone(), metrics::by_choice(&scoring.metrics, &answers));
        let named = identity.generator.rsplit_once('@').unwrap_or((&identity.generator, ""));
        self.finish(Outcome::Chosen(&answers), named, 0, &scored)
    }

    fn finish(&self, outcome: Outcome<'_>, model: (&str, &str), seed: u64, scored: &Scored) -> Result<ExitCode> {
        let Self { args, definition, items, limit, began, .. } = self;
        write_bytes(&args.out.join(DEFINITION), definition.text.as_bytes())?;
        if let Some(dir) = &args.harness_out {
            let ended = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64());
            let seconds = began.elapsed().as_secs_f64();
            let finished = Finished { definition, items, outcome, model, limit: *limit, seed, seconds, ended };
            let [results, _] = finished.write(dir)?;
            self.progress.remark(&format!("the harness's files: {}", results.display()));
        }
        print(scored, &args.out, args.json)
    }
}
