//! `retort bench curate`: a synthetic dataset, written if it is not there yet, is curated with every step.

use crate::args::BenchCurate;
use crate::memory::peak_resident;
use crate::output::say;
use crate::progress::Progress;
use anyhow::{Context, Result, bail};
use retort_datagen::curate::{Choice, Near, NearDuplicates, PassRate, PerProblem, Recipe, Window, select};
use retort_datagen::problem::Problem;
use retort_datagen::sample::{Sample, Verdict};
use retort_datagen::store::{Derived, DerivedWriter};
use serde_json::json;
use std::num::NonZeroU32;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

/// Words of a question and of a trace.
const QUESTION: u32 = 40;
const TRACE: u32 = 150;

pub fn run(args: &BenchCurate) -> Result<ExitCode> {
    let name = |what: &str| args.dir.join(format!("{what}-{}", args.rows));
    let (raw, out, benchmark) = (name("raw"), name("curated"), args.dir.join("benchmark.jsonl"));
    std::fs::create_dir_all(&args.dir).with_context(|| format!("`{}` could not be created", args.dir.display()))?;
    if !raw.exists() {
        generate(&raw, args.rows)?;
    }
    let question = |at: u64| json!({ "question": text(at * 1000, QUESTION), "answer": "#### 1" }).to_string() + "\n";
    std::fs::write(&benchmark, (0..1000).map(question).collect::<String>())
        .with_context(|| format!("`{}` could not be written", benchmark.display()))?;
    let near = Some(Near::default());
    let recipe = Recipe {
        completion_tokens: Some(Window { min: 1, max: 100_000 }),
        decontaminate: vec![benchmark],
        pass_rate: Some(PassRate { min: 0.1, max: 0.9, quota: None }),
        near_duplicates: NearDuplicates { problems: near, traces: near },
        per_problem: NonZeroU32::new(2).map(|at_most| PerProblem { at_most, by: Choice::Diverse, words: 5 }),
        ..Recipe::default()
    };
    let begin = Instant::now();
    let Some(summary) = select(&[raw], &recipe, &out, &Progress::new())? else { bail!("interrupted") };
    let (seconds, rows) = (begin.elapsed().as_secs_f64(), summary.tally.samples());
    say!(
        "{}",
        json!({
            "rows": rows, "kept": summary.tally.kept, "steps": summary.steps, "seconds": seconds,
            "rows_per_second": rows as f64 / seconds, "peak_memory_bytes": peak_resident(),
        })
    );
    std::fs::remove_dir_all(&out).with_context(|| format!("`{}` could not be removed", out.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Any 64 bits that `seed` decides (SplitMix64).
fn bits(seed: u64) -> u64 {
    let x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Words out of 20,000 that `seed` decides.
fn text(seed: u64, words: u32) -> String {
    let word = |at| format!("{:x}", bits((seed << 20) + u64::from(at)) % 20_000);
    (0..words).map(word).collect::<Vec<_>>().join(" ")
}

/// Four traces per problem; every tenth problem is the one before with another last word, as is every tenth trace.
fn generate(raw: &Path, rows: u64) -> Result<()> {
    let derived = Derived { verb: "import".into(), settings: "synthetic".into(), parents: vec![] };
    let mut writer = DerivedWriter::create(raw, derived, 4096)?;
    for row in 0..rows {
        let at = row / 4;
        let question = format!("{} {at}", text((at - u64::from(at % 10 == 9)) * 1000, QUESTION));
        let response = format!("{} {row}", text((row - u64::from(row % 10 == 9)) + (1 << 40), TRACE));
        let Problem { uuid, problem, answer, source, domain, difficulty } =
            Problem::new(question, "7".into(), "synthetic", "words", "1");
        let right = bits(row) % 10 < 6;
        let reason = if right { "the same number" } else { "another number: 8" }.to_owned();
        writer.push(Sample {
            run_id: "synthetic".into(),
            uuid,
            // Below 4.
            sample: (row % 4) as u32,
            messages: vec![("user".into(), problem.clone()), ("assistant".into(), response.clone())],
            problem,
            answer,
            source,
            domain,
            difficulty,
            reasoning: String::new(),
            response,
            finish_reason: "stop".into(),
            verdict: if right { Verdict::Right } else { Verdict::Wrong },
            drop_reason: if right { String::new() } else { reason.clone() },
            verdict_reason: reason,
            kept: right,
            prompt_tokens: QUESTION,
            completion_tokens: TRACE,
            generator: "synthetic".into(),
            seed: 0,
            prompt_token_ids: vec![],
            token_ids: vec![],
            forced: vec![],
            targets: None,
            rollout: None,
        })?;
    }
    writer.finish()?;
    Ok(())
}
