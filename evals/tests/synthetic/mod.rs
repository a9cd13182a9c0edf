//! Four made-up runs over the same problems, with known strengths: what the tests check and the example shows.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use retort_datagen::problem::Problem;
use retort_datagen::sample::{Sample, Verdict};
use retort_evals::benchmark::Benchmark;
use retort_evals::report::Fact;
use retort_evals::statistics::Bootstrap;
use retort_evals::{Context, Role};
use retort_model::sampling::Sampling;

pub(crate) const FAMILIES: [&str; 6] =
    ["arithmetic", "countdown", "linear equations", "modular chains", "sequences", "word problems"];

/// Problems of six families at three levels, `each` of every kind.
pub(crate) fn problems(each: usize) -> Vec<Problem> {
    let mut problems = Vec::new();
    for family in FAMILIES {
        for level in 1..=3 {
            for number in 0..each {
                let (a, b) = (17 * level + 3 * number, 10usize.pow(level as u32) + 7 * number + 1);
                let question = match family {
                    "word problems" if number == 0 => format!(
                        "A shop sells <script>alert({a})</script> & \"{b}\" pens at $2 each. How much does it take in for {b} pens?"
                    ),
                    "word problems" => format!(
                        "Mia picks {a} apples a day for {b} days and gives {level} of them to each of her {number} neighbours. How many \
                         apples does she keep?"
                    ),
                    _ => format!("[{family}, level {level}] Work out {a} + {b} * {number}."),
                };
                let answer = (a + b * number).to_string();
                problems.push(Problem::new(question, answer, "synthetic", family, &level.to_string()));
            }
        }
    }
    problems
}

/// The chance that a model of this role answers a problem right, before the problem's own difficulty.
fn skill(role: Role, family: usize, level: i32) -> f64 {
    let ceiling = [0.97, 0.80, 0.95, 0.90, 0.93, 0.86][family] - 0.09 * f64::from(level - 1);
    match role {
        Role::Teacher => ceiling,
        Role::Base => 0.30 * ceiling - 0.08 * f64::from(level - 1),
        Role::Control => 0.52 * ceiling - 0.10 * f64::from(level - 1),
        Role::Student => [0.99, 0.62, 0.95, 0.88, 1.04, 0.80][family] * ceiling - 0.04 * f64::from(level - 1),
    }
    .clamp(0.02, 0.98)
}

/// `n` samples of every problem by the model in this role; a function of role, problem and `seed`.
pub(crate) fn run(role: Role, problems: &[Problem], n: u32, seed: u64) -> Vec<Sample> {
    let mut samples = Vec::new();
    for (place, problem) in problems.iter().enumerate() {
        // One draw that all roles share makes a problem hard or easy for every model, as in life.
        let ease = uniform(&mut ChaCha8Rng::seed_from_u64(place as u64)) - 0.5;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream((place * Role::ALL.len() + role as usize) as u64);
        let family =
            FAMILIES.iter().position(|family| *family == problem.domain).expect("a family of the synthetic runs");
        let level: i32 = problem.difficulty.parse().expect("a number");
        let chance = (skill(role, family, level) + 0.5 * ease).clamp(0.01, 0.99);
        samples.extend((0..n).map(|number| sample(role, problem, number, chance, level, seed, &mut rng)));
    }
    samples
}

fn sample(
    role: Role,
    problem: &Problem,
    number: u32,
    chance: f64,
    level: i32,
    seed: u64,
    rng: &mut ChaCha8Rng,
) -> Sample {
    let verdict = if uniform(rng) < chance {
        Verdict::Right
    } else {
        match (uniform(rng) * 100.0) as u32 {
            0..58 => Verdict::Wrong,
            58..74 => Verdict::Unterminated,
            74..86 => Verdict::Truncated,
            86..94 => Verdict::Loop,
            94..99 => Verdict::NoAnswer,
            _ => Verdict::Undecided,
        }
    };
    let thinks = matches!(role, Role::Teacher | Role::Student);
    let given = if verdict == Verdict::Right { problem.answer.clone() } else { format!("{}1", problem.answer) };
    let reasoning = if thinks {
        format!(
            "Let me work through this step by step.\nThe question asks for one number, so I take the parts in order.\nFirst the product, \
             then the sum: that gives {given}.\nWait, let me check this again. Putting it back in, I get {given}. Good."
        )
    } else {
        String::new()
    };
    let response = match verdict {
        Verdict::Right | Verdict::Wrong | Verdict::Undecided => format!("The answer is \\boxed{{{given}}}."),
        Verdict::Loop => "So the sum is the sum is the sum is the sum is the sum is".into(),
        _ => String::new(),
    };
    let reason = match verdict {
        Verdict::Right => format!("{given} equals {}", problem.answer),
        Verdict::Wrong => format!("{given} differs from {}", problem.answer),
        _ => String::new(),
    };
    let mean = if thinks { 90.0 + 60.0 * f64::from(level) } else { 9.0 };
    let completion_tokens = (mean * (0.6 + 0.9 * uniform(rng) * uniform(rng))) as u32 + 4;
    Sample {
        run_id: format!("{role}-run"),
        uuid: problem.uuid.clone(),
        sample: number,
        problem: problem.problem.clone(),
        answer: problem.answer.clone(),
        source: problem.source.clone(),
        domain: problem.domain.clone(),
        difficulty: problem.difficulty.clone(),
        messages: Vec::new(),
        reasoning,
        response,
        finish_reason: "stop".into(),
        verdict,
        verdict_reason: reason,
        kept: verdict == Verdict::Right,
        drop_reason: String::new(),
        prompt_tokens: 30,
        completion_tokens,
        generator: match role {
            Role::Teacher => "embedded teacher (MoE 6.1M/1.4M active) 3fa9c1d2".into(),
            Role::Base => "embedded base student (dense 2.3M) 88d10b7e".into(),
            Role::Control => "control (answers only) 19ce5a40".into(),
            Role::Student => "student (dense 2.3M, distilled) c07e66f1".into(),
        },
        seed,
        prompt_token_ids: vec![0, 128, 7, 99, 12, 4],
        token_ids: Vec::new(),
        forced: Vec::new(),
        targets: None,
        rollout: None,
    }
}

fn uniform(rng: &mut ChaCha8Rng) -> f64 {
    f64::from(rng.next_u32() >> 8) / f64::from(1u32 << 24)
}

/// A benchmark, stage timings, commands and facts as a pipeline would state them.
pub(crate) fn context(problems: &[Problem], n: u32) -> Context {
    let benchmark =
        Benchmark::new("gym:held-out", problems.to_vec(), n, Sampling::default()).expect("a valid benchmark");
    Context {
        benchmark: Some(benchmark.card()),
        seconds: [
            ("teacher traces", 81.4),
            ("base scores", 12.9),
            ("student training", 148.2),
            ("control training", 96.0),
            ("scores", 41.7),
        ]
        .map(|(stage, seconds)| (stage.into(), seconds))
        .into(),
        commands: vec!["retort quickstart --out demo --seed 7".into()],
        facts: vec![
            Fact {
                name: "Teacher weights".into(),
                value: "blake3 3fa9c1d2e5b04d53a11b7cc02f6d90f7e1c5a7714aa8d2039d5b7fe1a6f20c44".into(),
            },
            Fact { name: "Chat template".into(), value: "blake3 77b2fa0c".into() },
        ],
        bootstrap: Bootstrap::default(),
    }
}
