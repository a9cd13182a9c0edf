//! The dataset card, `README.md`: what the folder holds and how to read it, for people and for dataset hubs.

use super::manifest::Manifest;
use crate::sample::Verdict;
use crate::tally::Tally;

/// The card of a dataset whose samples add up to `tally`.
pub(super) fn render(manifest: &Manifest, tally: &Tally) -> String {
    let Manifest { run_id, run, .. } = manifest;
    let verdicts: String = Verdict::ALL
        .into_iter()
        .filter(|&verdict| tally.count(verdict) > 0)
        .map(|verdict| format!("| {} | {} |\n", verdict.as_str(), tally.count(verdict)))
        .collect();
    let suffix = match run.prompt_suffix.as_str() {
        "" => "nothing".to_owned(),
        suffix => format!("`{suffix}`"),
    };
    format!(
        "---
configs:
- config_name: default
  data_files: \"data-*.arrow\"
tags:
- reasoning-traces
---
# Reasoning traces

{samples} samples of {expected}: {n} for each of {problems} problems, {kept} of them kept for training.
Each row is one problem, what the model wrote for it and what the verifier said of it; the rows that are not kept say why.

| verdict | samples |
|---|---|
{verdicts}
- Written by `{generator}`, fingerprint `{fingerprint}`
- Temperature {temperature}, top-p {top_p}, at most {max_tokens} tokens, seed {seed}
- Appended to every problem: {suffix}
- Completion tokens: {tokens}
- Run `{run_id}`, problem set `{problem_set}`

Read it with `pyarrow.ipc.open_file`, `polars.read_ipc`, or `datasets.load_dataset(\"arrow\", data_files=\"data-*.arrow\")`.
`manifest.json` names every shard with its rows, bytes and blake3.
",
        samples = tally.samples(),
        expected = manifest.samples(),
        n = run.n,
        problems = run.problem_set.problems,
        kept = tally.kept,
        generator = run.generator.name,
        fingerprint = run.generator.fingerprint,
        temperature = run.sampling.temperature,
        top_p = run.sampling.top_p,
        max_tokens = run.sampling.max_tokens,
        seed = run.seed,
        tokens = tally.completion_tokens,
        problem_set = run.problem_set.fingerprint,
    )
}
