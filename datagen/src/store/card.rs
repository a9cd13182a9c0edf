//! The dataset card, `README.md`: what the folder holds and how to read it, for people and for dataset hubs.

use super::header::RunHeader;
use super::manifest::{Derived, Manifest, Origin, Slice};
use crate::sample::Verdict;
use crate::tally::Tally;

/// The card of a dataset whose samples add up to `tally`.
pub(super) fn render(manifest: &Manifest, tally: &Tally) -> String {
    let (summary, facts) = match &manifest.origin {
        Origin::Run { header, slice } => of_run(manifest, header, *slice, tally),
        Origin::Derived(derived) => of_derived(derived, tally),
    };
    let verdicts: String = Verdict::ALL
        .into_iter()
        .filter(|&verdict| tally.count(verdict) > 0)
        .map(|verdict| format!("| {} | {} |\n", verdict.as_str(), tally.count(verdict)))
        .collect();
    format!(
        "---
configs:
- config_name: default
  data_files: \"data-*.arrow\"
tags:
- reasoning-traces
---
# Reasoning traces

{summary}
Each row is one problem, what the model wrote for it and what the verifier said of it; the rows that are not kept say why.

| verdict | samples |
|---|---|
{verdicts}
{facts}
- Completion tokens: {tokens}
- Dataset `{run_id}`

Read it with `pyarrow.ipc.open_file`, `polars.read_ipc`, or `datasets.load_dataset(\"arrow\", data_files=\"data-*.arrow\")`.
`manifest.json` names every shard with its rows, bytes and blake3.
",
        tokens = tally.completion_tokens,
        run_id = manifest.run_id,
    )
}

/// A sentence that sums a run up, and its settings as list entries.
fn of_run(manifest: &Manifest, run: &RunHeader, slice: Option<Slice>, tally: &Tally) -> (String, String) {
    let (samples, kept, expected) = (tally.samples(), tally.kept, manifest.samples());
    let problems = manifest.problems().unwrap_or_default();
    let part = slice.map_or(String::new(), |slice| format!(" (part {slice} of a run)"));
    let summary = format!(
        "{samples} samples of {expected}: {} for each of {problems} problems{part}, {kept} of them kept for training.",
        run.n
    );
    let suffix = match run.prompt_suffix.as_str() {
        "" => "nothing".to_owned(),
        suffix => format!("`{suffix}`"),
    };
    let prompt = run.prompt.as_ref().map_or(String::new(), |prompt| {
        let system = prompt.system.as_ref().map(|system| format!("\n- The system says: {}", code(system)));
        let template = prompt.template.as_ref().map(|template| format!("\n- Problems are put by: {}", code(template)));
        let think = prompt.think.then(|| "\n- Answers begin inside a thinking block".to_owned());
        [system, template, think].into_iter().flatten().collect()
    });
    let facts = format!(
        "- Written by `{}`, fingerprint `{}`
- Temperature {}, top-p {}, at most {} tokens, seed {}
- Appended to every problem: {suffix}{prompt}
- Problem set `{}`",
        run.generator.name,
        run.generator.fingerprint,
        run.sampling.temperature,
        run.sampling.top_p,
        run.sampling.max_tokens,
        run.seed,
        run.problem_set.fingerprint,
    );
    (summary, facts)
}

/// A setting on one line.
fn code(text: &str) -> String {
    format!("`{}`", text.escape_debug())
}

/// The same for a dataset that was made from others.
fn of_derived(derived: &Derived, tally: &Tally) -> (String, String) {
    let summary = format!("{} samples, {} of them kept for training.", tally.samples(), tally.kept);
    let parents = derived.parents.iter().map(|parent| {
        let name = parent.run_id.as_deref().unwrap_or("a file");
        format!("\n- From `{}` ({name}, blake3 `{}`)", parent.path, parent.blake3)
    });
    let facts = format!("- Made by `{}` with `{}`{}", derived.verb, derived.settings, parents.collect::<String>());
    (summary, facts)
}
