//! The dataset card, `README.md`: what the folder holds and how to read it, for people and for dataset hubs.

use super::header::RunHeader;
use super::manifest::{Derived, Manifest, Origin, Parent, Slice};
use crate::sample::Verdict;
use crate::tally::Tally;
use crate::verify::Rule;

/// The card of a dataset whose samples add up to `tally`.
///
/// The metadata at its top is that of the Hugging Face hub: `datasets.load_dataset(FOLDER)` and the hub's viewer read
/// `configs`. The licence is the user's to state: that of traces depends on the problems and on the teacher.
pub(super) fn render(manifest: &Manifest, tally: &Tally) -> String {
    let (summary, facts) = match &manifest.origin {
        Origin::Run { header, slice } => (of_run(manifest, header, *slice, tally), run_facts(header, 0)),
        Origin::Derived(derived) => {
            let summary = format!("{} samples, {} of them kept for training.", tally.samples(), tally.kept);
            (summary, derived_facts(derived, 0))
        }
    };
    let share = |count: u64| 100.0 * count as f64 / tally.samples().max(1) as f64;
    let row = |name: &str, count: u64| format!("| {name} | {count} | {:.1}% |\n", share(count));
    let verdicts: String = Verdict::ALL
        .into_iter()
        .filter(|&verdict| tally.count(verdict) > 0)
        .map(|verdict| row(verdict.as_str(), tally.count(verdict)))
        .collect();
    let mut causes: Vec<(&String, &u64)> = tally.dropped.iter().collect();
    causes.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let causes: String = causes.into_iter().map(|(cause, &count)| row(cause, count)).collect();
    let causes = match causes.as_str() {
        "" => String::new(),
        causes => format!("\n| not kept because | samples | share |\n|---|---|---|\n{causes}"),
    };
    format!(
        "---
# State a licence before you publish this: it depends on the problems and on the teacher.
# license: ...
configs:
- config_name: default
  data_files:
  - split: train
    path: \"data-*.arrow\"
size_categories:
- {size}
task_categories:
- text-generation
tags:
- reasoning-traces
- synthetic
---
# Reasoning traces

{summary}
Each row is one problem, what the model wrote for it and what the verifier said of it; the rows that are not kept say why.

| verdict | samples | share |
|---|---|---|
{verdicts}{causes}
- Prompt tokens: {prompt_tokens}
- Completion tokens: {tokens}
- Dataset `{run_id}`

## Where it comes from

{facts}
## How to read it

```python
import datasets

traces = datasets.load_dataset(\"FOLDER\", split=\"train\")
kept = traces.filter(lambda row: row[\"kept\"])      # what training may use
kept[0][\"messages\"]                               # the chat, the thinking in its tags
```

The shards are Arrow IPC files: `pyarrow.ipc.open_file` and `polars.read_ipc` read them as they are. How each column is
meant stands in their schema's metadata. `manifest.json` names every shard with its rows, bytes and blake3.
",
        size = size(tally.samples()),
        prompt_tokens = tally.prompt_tokens,
        tokens = tally.completion_tokens,
        run_id = manifest.run_id,
    )
}

/// The hub's name for a number of rows.
fn size(rows: u64) -> &'static str {
    match rows {
        0..1_000 => "n<1K",
        1_000..10_000 => "1K<n<10K",
        10_000..100_000 => "10K<n<100K",
        100_000..1_000_000 => "100K<n<1M",
        1_000_000..10_000_000 => "1M<n<10M",
        10_000_000..100_000_000 => "10M<n<100M",
        _ => "100M<n<1B",
    }
}

/// A sentence that sums a run up.
fn of_run(manifest: &Manifest, run: &RunHeader, slice: Option<Slice>, tally: &Tally) -> String {
    let (samples, kept, expected) = (tally.samples(), tally.kept, manifest.samples());
    let problems = manifest.problems().unwrap_or_default();
    let part = slice.map_or(String::new(), |slice| format!(" (part {slice} of a run)"));
    format!(
        "{samples} samples of {expected}: {} for each of {problems} problems{part}, {kept} of them kept for training.",
        run.n
    )
}

/// The settings of a run as list entries, `depth` levels down.
fn run_facts(run: &RunHeader, depth: usize) -> String {
    let suffix = match run.prompt_suffix.as_str() {
        "" => "nothing".to_owned(),
        suffix => format!("`{suffix}`"),
    };
    let facts = [
        format!("Written by `{}`, fingerprint `{}`", run.generator.name, run.generator.fingerprint),
        format!(
            "Temperature {}, top-p {}, at most {} tokens, seed {}, {} samples per problem",
            run.sampling.temperature, run.sampling.top_p, run.sampling.max_tokens, run.seed, run.n
        ),
        format!("Appended to every problem: {suffix}"),
        format!("{} problems, fingerprint `{}`", run.problem_set.problems, run.problem_set.fingerprint),
        format!("Verifier: version {}", run.verifier),
    ];
    facts.into_iter().chain(prompt_facts(run)).map(|fact| entry(&fact, depth)).collect()
}

/// What is not usual about how problems are put, and what ends them or makes them right.
fn prompt_facts(run: &RunHeader) -> Vec<String> {
    let prompt = run.prompt.as_ref();
    let system = prompt.and_then(|prompt| prompt.system.as_ref());
    let template = prompt.and_then(|prompt| prompt.template.as_ref());
    let facts = [
        system.map(|system| format!("The system says: {}", code(system))),
        template.map(|template| format!("Problems are put by: {}", code(template))),
        prompt.filter(|prompt| prompt.think).map(|_| "Answers begin inside a thinking block".to_owned()),
        run.quota.map(|quota| format!("A problem ends with its sample that is right number {}", quota.verified)),
        (!run.verify.is_default()).then(|| format!("Right is: {}", code(&json(&run.verify)))),
    ];
    facts.into_iter().flatten().collect()
}

fn json(rule: &Rule) -> String {
    serde_json::to_string(rule).unwrap_or_default()
}

/// A setting on one line.
fn code(text: &str) -> String {
    format!("`{}`", text.escape_debug())
}

/// How a dataset was made from others, and how those came about, back to runs and files.
fn derived_facts(derived: &Derived, depth: usize) -> String {
    let made = entry(&format!("Made by `{}` with `{}`", derived.verb, derived.settings), depth);
    let parents = derived.parents.iter().map(|parent| parent_facts(parent, depth));
    made + &parents.collect::<String>()
}

fn parent_facts(parent: &Parent, depth: usize) -> String {
    let name = parent.run_id.as_ref().map_or_else(|| "a file".to_owned(), |run_id| format!("dataset `{run_id}`"));
    let mut facts = entry(&format!("From `{}`: {name}, blake3 `{}`", parent.path, parent.blake3), depth);
    facts += &parent.run.as_ref().map_or_else(String::new, |run| run_facts(run, depth + 1));
    facts += &parent.derived.as_ref().map_or_else(String::new, |derived| derived_facts(derived, depth + 1));
    facts
}

fn entry(text: &str, depth: usize) -> String {
    format!("{}- {text}\n", "  ".repeat(depth))
}
