//! How long the grader takes over pairs of answers, and over finding the answer in a long trace, on one thread: each is done several times and its quickest
//! counts, so that other work on the machine is left out.

use crate::args::BenchGrade;
use crate::output::say;
use anyhow::{Result, bail};
use retort_datagen::verify::math::compare;
use retort_datagen::verify::{extract_answer, read_pairs};
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

/// Comparisons of each pair.
const TURNS: usize = 7;

/// Bytes of a trace whose answer is looked for.
const TRACE: usize = 100_000;

/// A long trace with boxes that never close, and no answer before its end.
fn trace() -> String {
    let thought = "Let me check \\boxed{ that {again}: is x = 3, or was \\frac{1}{2} the answer to it? ";
    let thinking = thought.repeat(TRACE / thought.len());
    format!("{thinking} The answer is \\boxed{{42}}.")
}

pub(super) fn run(args: &BenchGrade) -> Result<ExitCode> {
    let pairs = read_pairs(&args.file)?.collect::<Result<Vec<_>, _>>()?;
    let time = |(gold, answer): &(String, String)| {
        let turn = || {
            let begin = Instant::now();
            black_box(compare(black_box(gold), black_box(answer)));
            begin.elapsed().as_secs_f64() * 1e6
        };
        (0..TURNS).map(|_| turn()).fold(f64::INFINITY, f64::min)
    };
    let mut microseconds: Vec<f64> = pairs.iter().map(time).collect();
    microseconds.sort_unstable_by(f64::total_cmp);
    let Some(longest) = microseconds.last() else { bail!("`{}` holds no pairs", args.file.display()) };
    let trace = trace();
    let extraction = |_| {
        let begin = Instant::now();
        black_box(extract_answer(black_box(&trace)));
        begin.elapsed().as_secs_f64() * 1e6
    };
    let extraction = (0..TURNS).map(extraction).fold(f64::INFINITY, f64::min);
    let at = |share: f64| microseconds[((microseconds.len() - 1) as f64 * share) as usize];
    say!(
        "{}",
        serde_json::json!({
            "bench": "grade", "pairs": pairs.len(), "median_microseconds": at(0.5), "p95_microseconds": at(0.95),
            "p99_microseconds": at(0.99), "longest_microseconds": longest,
            "trace_bytes": trace.len(), "extraction_microseconds": extraction,
        })
    );
    Ok(ExitCode::SUCCESS)
}
