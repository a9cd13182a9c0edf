//! Runs judged anew: the same samples with other verdicts, every change listed, the run itself untouched.

use super::*;
use crate::store::regrade;

#[test]
fn a_run_is_judged_anew_and_stays_as_it_is() {
    let (whole, again) = (tempdir().unwrap(), tempdir().unwrap());
    run(&Adder::default(), &problems(), &plan(), whole.path(), &Silent).unwrap();
    let before = files(whole.path());
    let reader = TraceReader::open(whole.path()).unwrap();
    // By the rule that it had, it is the same run to the byte.
    let same = regrade(&reader, None, &again.path().join("same")).unwrap();
    assert_eq!(same.changes, []);
    let sealed = |dir: &Path| -> Vec<_> {
        files(dir).into_iter().filter(|(name, _)| name.extension().is_some_and(|ending| ending == "arrow")).collect()
    };
    assert_eq!(sealed(&again.path().join("same")), sealed(whole.path()));
    // Within half of the gold, an answer that is off by one is right.
    let rows = reader.read_all().unwrap();
    let wrong: Vec<_> = rows.iter().filter(|row| row.verdict == Verdict::Wrong).collect();
    assert!(!wrong.is_empty(), "the rule must give some wrong ones");
    let lenient = again.path().join("lenient");
    let regraded = regrade(&reader, Some(Rule::Numeric(0.5)), &lenient).unwrap();
    let changed: Vec<_> = regraded.changes.iter().map(|change| (change.uuid.as_str(), change.sample)).collect();
    assert_eq!(changed, wrong.iter().map(|row| (row.uuid.as_str(), row.sample)).collect::<Vec<_>>());
    assert!(regraded.changes.iter().all(|change| (change.was, change.is) == (Verdict::Wrong, Verdict::Right)));
    let there = TraceReader::open(&lenient).unwrap();
    assert_eq!(there.read_all().unwrap(), regraded.samples);
    assert!(regraded.samples.iter().all(|sample| sample.kept && sample.run_id == there.manifest().run_id));
    assert_ne!(there.manifest().run_id, reader.manifest().run_id);
    assert_eq!(files(whole.path()), before);
}

#[test]
fn a_run_that_goes_on_is_not_judged_anew() {
    let dir = tempdir().unwrap();
    let adder = Adder::default();
    let stop = StopAfter { adder: &adder, answers: 4 };
    run(&adder, &problems(), &plan(), dir.path(), &stop).unwrap();
    let reader = TraceReader::open(dir.path()).unwrap();
    let refused = regrade(&reader, None, &dir.path().join("again")).unwrap_err();
    assert!(matches!(refused, Error::NotRegraded { .. }), "{refused}");
}

#[test]
fn a_sample_gives_back_its_completion() {
    let problem = &problems()[0];
    for (reasoning, response, unterminated, finish_reason) in [
        ("", "3", false, FinishReason::Stop),
        ("so", "3", false, FinishReason::Stop),
        ("so", "", false, FinishReason::StopString),
        ("so", "", true, FinishReason::Length),
        ("", "", true, FinishReason::Budget),
        ("", "", false, FinishReason::Refused),
    ] {
        let completion = Completion {
            reasoning: reasoning.into(),
            response: response.into(),
            unterminated,
            finish_reason,
            prompt_token_ids: vec![1],
            token_ids: vec![2, 3],
            forced: vec![],
            targets: None,
            prompt_tokens: 1,
            completion_tokens: 2,
        };
        let made = crate::sample::Made { run_id: "r".into(), sample: 0, generator: "g".into(), seed: 0 };
        let judgement = verify::classify(problem, &completion, &*Rule::Math.verifier().unwrap());
        let expected = format!("{completion:?}");
        let sample = crate::sample::Sample::new(made, problem, &[], completion, judgement, true);
        assert_eq!(format!("{:?}", sample.completion()), expected);
        assert_eq!(sample.as_problem(), *problem);
    }
}
