//! How long the statistics of a comparison take: the paired bootstrap over questions, and the sign-flip test. Each runs
//! several times and its quickest counts, so that other work on the machine is left out.

use crate::args::BenchStatistics;
use crate::output::say;
use anyhow::Result;
use retort_evals::statistics::{Bootstrap, sign_flip_p};
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

const TURNS: usize = 7;

pub(super) fn run(args: &BenchStatistics) -> Result<ExitCode> {
    let questions = args.questions.get();
    // Right and wrong answers of two models, of which every fifth differs.
    let right = |turn: usize| f64::from(!turn.is_multiple_of(3));
    let scores = |question: usize| [right(question), right(question + question / 5)];
    let rows: Vec<[f64; 2]> = (0..questions).map(scores).collect();
    let differences: Vec<f64> = rows.iter().map(|[one, other]| one - other).collect();
    let draws = Bootstrap { replicates: args.replicates, seed: 0 };
    let bootstrap = quickest(|| draws.means(black_box(&rows)));
    let sign_flip = quickest(|| sign_flip_p(black_box(&differences), &draws));
    say!(
        "{}",
        serde_json::json!({
            "bench": "statistics", "questions": questions, "replicates": args.replicates,
            "threads": std::thread::available_parallelism().map_or(1, usize::from),
            "bootstrap_milliseconds": bootstrap, "sign_flip_milliseconds": sign_flip,
        })
    );
    Ok(ExitCode::SUCCESS)
}

fn quickest<T>(work: impl Fn() -> T) -> f64 {
    let turn = || {
        let begin = Instant::now();
        black_box(work());
        begin.elapsed().as_secs_f64() * 1e3
    };
    (0..TURNS).map(|_| turn()).fold(f64::INFINITY, f64::min)
}
