//! How long the grader takes over pairs of answers, on one thread: each pair is compared several times and its quickest
//! counts, so that other work on the machine is left out.

use crate::args::BenchGrade;
use crate::output::say;
use anyhow::{Result, bail};
use retort_datagen::verify::math::compare;
use retort_datagen::verify::read_pairs;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

/// Comparisons of each pair.
const TURNS: usize = 7;

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
    let at = |share: f64| microseconds[((microseconds.len() - 1) as f64 * share) as usize];
    say!(
        "{}",
        serde_json::json!({
            "bench": "grade", "pairs": pairs.len(), "median_microseconds": at(0.5), "p95_microseconds": at(0.95),
            "p99_microseconds": at(0.99), "longest_microseconds": longest,
        })
    );
    Ok(ExitCode::SUCCESS)
}
