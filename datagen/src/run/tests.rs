//! Runs with a generator that answers by rule: nothing is asked twice, and an interruption changes no byte.

mod quota;
mod regrade;

use super::*;
use crate::sample::Verdict;
use crate::store::TraceReader;
use retort_model::chat::Thought;
use retort_model::generate::{Completion, FinishReason, Jobs, Request};
use retort_model::observe::Silent;
use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use tempfile::tempdir;

/// Adds the two numbers of the question; is off by one where its noise says so. Answers three requests at a time, the
/// last one first.
#[derive(Default)]
struct Adder {
    answered: Cell<u64>,
    /// Stops with an error after this many answers.
    breaks_after: Option<u64>,
    /// Forgets this many requests.
    forgets: u64,
    /// Panics after this many answers.
    panics_after: Option<u64>,
    /// Answers so many requests at a time, in place of three.
    at_once: Option<usize>,
    /// Whether its answers are paid for.
    paid: bool,
}

impl Adder {
    fn answer(request: &Request) -> Completion {
        let numbers: Vec<i64> =
            request.messages[0].content.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
        let u = request.noise.uniform(0);
        let answer = numbers[0] + numbers[1] + i64::from(u > 0.7);
        let response = format!("\\boxed{{{answer}}}");
        let thought = Thought { reasoning: format!("noise {u}"), response, unterminated: false };
        Completion {
            prompt_token_ids: vec![1, 2],
            token_ids: vec![answer as u32; 5],
            prompt_tokens: 2,
            completion_tokens: 5,
            ..Completion::of(thought, FinishReason::Stop)
        }
    }
}

impl Generate for Adder {
    fn name(&self) -> &str {
        "adder"
    }
    fn fingerprint(&self) -> &str {
        "0123"
    }
    fn is_reproducible(&self) -> bool {
        !self.paid
    }
    fn generate(&self, jobs: &mut dyn Jobs) -> Result<(), GenerateError> {
        let mut forgets = self.forgets;
        loop {
            let mut batch: Vec<Request> = (0..self.at_once.unwrap_or(3)).map_while(|_| jobs.next()).collect();
            if batch.is_empty() {
                return Ok(());
            }
            while let Some(request) = batch.pop() {
                if jobs.cancelled() {
                    return Ok(());
                }
                if !jobs.is_wanted(request.id) {
                    jobs.abandoned(request.id);
                    continue;
                }
                if Some(self.answered.get()) == self.breaks_after {
                    return Err(GenerateError::EmptyPrompt { model: "double".into() });
                }
                assert_ne!(Some(self.answered.get()), self.panics_after, "a worker's panic");
                if forgets > 0 {
                    forgets -= 1;
                    continue;
                }
                self.answered.set(self.answered.get() + 1);
                jobs.done(request.id, Self::answer(&request)).map_err(GenerateError::Job)?;
            }
        }
    }
}

/// Cancels once this many samples were reported since it was made.
struct StopAfter<'a> {
    adder: &'a Adder,
    answers: u64,
}

impl Observer for StopAfter<'_> {
    fn cancelled(&self) -> bool {
        self.adder.answered.get() >= self.answers
    }
}

#[derive(Default)]
struct Notes(RefCell<Vec<String>>);

impl Observer for Notes {
    fn advanced(&self, done: u64, note: &str) {
        self.0.borrow_mut().push(format!("{done} {note}"));
    }
    fn remark(&self, line: &str) {
        self.0.borrow_mut().push(line.into());
    }
}

fn problems() -> Vec<Problem> {
    let problem = |a: u64| Problem::new(format!("{a} plus {}?", 2 * a), (3 * a).to_string(), "gym", "sums", "1");
    (1..=5).map(problem).collect()
}

fn plan() -> Plan {
    Plan { n: 3, seed: 11, rows_per_shard: 4, grace: Duration::ZERO, ..Plan::default() }
}

fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        paths.map(|path| (PathBuf::from(path.file_name().unwrap()), std::fs::read(path).unwrap())).collect();
    files.retain(|(name, _)| name != Path::new(".lock"));
    files.sort();
    files
}

#[test]
fn every_sample_is_stored_with_its_verdict_and_nothing_is_asked_twice() {
    let (dir, adder) = (tempdir().unwrap(), Adder::default());
    let summary = run(&adder, &problems(), &plan(), dir.path(), &Silent).unwrap();
    assert_eq!((summary.planned, summary.resumed, summary.generated), (15, 0, 15));
    assert!(summary.is_complete() && !summary.interrupted);
    let samples = TraceReader::open(dir.path()).unwrap().read_all().unwrap();
    assert_eq!(samples.len(), 15);
    for (at, sample) in samples.iter().enumerate() {
        assert_eq!((sample.uuid.as_str(), sample.sample), (problems()[at / 3].uuid.as_str(), at as u32 % 3));
        // The rule of the generator, applied a second time.
        let noise = retort_model::sampling::NoiseKey::new(11, &sample.uuid, sample.sample).uniform(0);
        assert_eq!(sample.verdict, if noise > 0.7 { Verdict::Wrong } else { Verdict::Right });
        assert_eq!(sample.kept, sample.verdict == Verdict::Right);
        assert_eq!(sample.drop_reason.is_empty(), sample.kept);
        assert_eq!(sample.messages[0], ("user".into(), sample.problem.clone()));
        assert_eq!(sample.messages[1].1, format!("<think>{}</think>{}", sample.reasoning, sample.response));
        assert_eq!((sample.generator.as_str(), sample.seed), ("adder@0123", 11));
    }
    let right = samples.iter().filter(|sample| sample.kept).count() as u64;
    assert!(right > 0 && right < 15, "the rule must give both");
    assert_eq!(summary.tally.count(Verdict::Right), right);

    let before = files(dir.path());
    let summary = run(&adder, &problems(), &plan(), dir.path(), &Silent).unwrap();
    assert_eq!((summary.resumed, summary.generated, adder.answered.get()), (15, 0, 15));
    assert_eq!(files(dir.path()), before);
    let error = run(&adder, &problems(), &Plan { n: 4, ..plan() }, dir.path(), &Silent).unwrap_err();
    assert!(error.to_string().contains("`n` is `3` there and `4` here"), "{error}");
}

#[test]
fn a_run_interrupted_anywhere_ends_with_the_bytes_of_an_uninterrupted_one() {
    let whole = tempdir().unwrap();
    run(&Adder::default(), &problems(), &plan(), whole.path(), &Silent).unwrap();
    let expected = files(whole.path());
    for stop in 0..15 {
        let (dir, adder) = (tempdir().unwrap(), Adder::default());
        let observer = StopAfter { adder: &adder, answers: stop };
        let summary = run(&adder, &problems(), &plan(), dir.path(), &observer).unwrap();
        assert!(summary.interrupted && !summary.is_complete());
        let sealed = TraceReader::open(dir.path()).unwrap().manifest().sealed_rows();
        assert_eq!((summary.generated, sealed), (stop, stop), "every row is in a shard");
        assert!(!dir.path().join("journal.bin").exists());
        let summary = run(&adder, &problems(), &plan(), dir.path(), &Silent).unwrap();
        assert_eq!((summary.resumed, summary.generated, adder.answered.get()), (stop, 15 - stop, 15));
        assert_eq!(files(dir.path()), expected, "stopped after {stop}");
    }
}

#[test]
fn what_was_finished_before_a_failure_is_kept() {
    let (dir, whole) = (tempdir().unwrap(), tempdir().unwrap());
    let broken = Adder { breaks_after: Some(7), ..Adder::default() };
    let error = run(&broken, &problems(), &plan(), dir.path(), &Silent).unwrap_err();
    assert!(matches!(error, Error::Generation { .. }), "{error}");
    let forgetful = Adder { forgets: 2, ..Adder::default() };
    let error = run(&forgetful, &problems(), &plan(), dir.path(), &Silent).unwrap_err();
    assert!(matches!(error, Error::Unanswered { missing: 2, .. }), "{error}");
    let adder = Adder::default();
    let summary = run(&adder, &problems(), &plan(), dir.path(), &Silent).unwrap();
    assert_eq!((summary.resumed, summary.generated), (13, 2));
    run(&adder, &problems(), &plan(), whole.path(), &Silent).unwrap();
    assert_eq!(files(dir.path()), files(whole.path()));
}

#[test]
fn a_panic_ends_the_run_and_loses_nothing() {
    let dir = tempdir().unwrap();
    let panics = Adder { panics_after: Some(6), ..Adder::default() };
    let error = run(&panics, &problems(), &plan(), dir.path(), &Silent).unwrap_err();
    assert!(error.to_string().contains("a worker's panic") && error.hint().is_some(), "{error}");
    let summary = run(&Adder::default(), &problems(), &plan(), dir.path(), &Silent).unwrap();
    assert_eq!((summary.resumed, summary.generated), (6, 9));
}

#[test]
fn what_is_in_flight_may_end_within_the_grace() {
    let (dir, adder) = (tempdir().unwrap(), Adder::default());
    let observer = StopAfter { adder: &adder, answers: 4 };
    let plan = Plan { grace: Duration::from_secs(600), ..plan() };
    // Three at a time: the second batch was under way.
    let summary = run(&adder, &problems(), &plan, dir.path(), &observer).unwrap();
    assert_eq!((summary.generated, summary.interrupted), (6, true));
}

#[test]
fn slices_of_a_run_hold_its_samples_between_them() {
    let whole = tempdir().unwrap();
    run(&Adder::default(), &problems(), &plan(), whole.path(), &Silent).unwrap();
    let parts: Vec<_> = (0..3)
        .map(|index| {
            let dir = whole.path().with_extension(format!("part-{index}"));
            let plan = Plan { slice: Some(Slice { index, of: 3 }), ..plan() };
            let summary = run(&Adder::default(), &problems(), &plan, &dir, &Silent).unwrap();
            assert_eq!(summary.planned, if index == 2 { 3 } else { 6 });
            dir
        })
        .collect();
    let merged = whole.path().with_extension("merged");
    crate::store::merge(&parts, &merged, &Silent).unwrap();
    assert_eq!(files(&merged), files(whole.path()));
    for dir in parts.iter().chain([&merged]) {
        std::fs::remove_dir_all(dir).unwrap();
    }
    let plan = Plan { slice: Some(Slice { index: 3, of: 3 }), ..plan() };
    assert!(matches!(run(&Adder::default(), &problems(), &plan, &merged, &Silent), Err(Error::Setting { .. })));
    assert!(!merged.exists(), "a refused setting leaves no folder");
}

#[test]
fn an_answer_to_no_request_is_refused() {
    struct Confused;
    impl Generate for Confused {
        fn name(&self) -> &str {
            "confused"
        }
        fn fingerprint(&self) -> &str {
            "?"
        }
        fn generate(&self, jobs: &mut dyn Jobs) -> Result<(), GenerateError> {
            let request = jobs.next().unwrap();
            jobs.done(request.id, Adder::answer(&request)).map_err(GenerateError::Job)?;
            jobs.done(request.id, Adder::answer(&request)).map_err(GenerateError::Job)
        }
    }
    let dir = tempdir().unwrap();
    let error = run(&Confused, &problems(), &plan(), dir.path(), &Silent).unwrap_err();
    assert!(matches!(error, Error::UnknownRequest { id: 0, .. }), "{error}");
    assert_eq!(TraceReader::open(dir.path()).unwrap().rows(), 1);
}

#[test]
fn progress_repetitions_and_settings_are_spoken_about() {
    let (dir, notes) = (tempdir().unwrap(), Notes::default());
    let plan = Plan { keep: Keep::All, prompt_suffix: BOXED_SUFFIX.into(), ..plan() };
    let mut problems = problems();
    problems.push(problems[1].clone());
    let summary = run(&Adder::default(), &problems, &plan, dir.path(), &notes).unwrap();
    assert_eq!((summary.planned, summary.tally.kept), (15, 15));
    let notes = notes.0.into_inner();
    let repeated = format!("problem {} is problem 2 again", problems.len());
    assert!(notes[0].starts_with("1 problem repeats") && notes[0].ends_with(&repeated), "{notes:?}");
    let share = 100.0 * summary.tally.share_right().unwrap();
    assert_eq!(notes.last().unwrap(), &format!("15 {share:.1}% right, 75 tokens"));
    let sample = TraceReader::open(dir.path()).unwrap().read_all().unwrap().remove(0);
    assert_eq!(sample.messages[0].1, format!("1 plus 2?\n{BOXED_SUFFIX}"));

    let refused = [
        Plan { n: 0, ..plan.clone() },
        Plan { quota: Some(0), ..plan.clone() },
        Plan { quota: Some(plan.n + 1), ..plan.clone() },
        Plan { sampling: Sampling { temperature: f64::NAN, ..plan.sampling.clone() }, ..plan.clone() },
        Plan { sampling: Sampling { top_p: 0.0, ..plan.sampling.clone() }, ..plan.clone() },
        Plan { sampling: Sampling { max_tokens: 0, ..plan.sampling.clone() }, ..plan.clone() },
        Plan { capture: Some(Capture::TopK(0)), ..plan.clone() },
        Plan { rows_per_shard: 0, ..plan.clone() },
    ];
    for plan in refused {
        let dir = tempdir().unwrap();
        let error = run(&Adder::default(), &problems, &plan, dir.path(), &Silent).unwrap_err();
        assert!(matches!(error, Error::Setting { .. }), "{error}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
