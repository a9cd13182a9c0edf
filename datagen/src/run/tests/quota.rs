//! Problems that have enough before their last sample: the dataset is the same whatever was in flight.

use super::*;
use crate::sample::Sample;

fn plan() -> Plan {
    Plan { n: 8, quota: Some(2), ..super::plan() }
}

/// How many samples of each problem are enough, by the rule of the generator.
fn enough(seed: u64) -> Vec<usize> {
    let wrong = |uuid: &str, sample| retort_model::sampling::NoiseKey::new(seed, uuid, sample).uniform(0) > 0.7;
    let enough = |problem: Problem| {
        let mut right = (0..8).filter(|&sample| !wrong(&problem.uuid, sample));
        right.nth(1).map_or(8, |second| second as usize + 1)
    };
    problems().into_iter().map(enough).collect()
}

fn rows(dir: &Path) -> Vec<Sample> {
    TraceReader::open(dir).unwrap().read_all().unwrap()
}

/// The samples that each problem has in a dataset.
fn samples_of(rows: &[Sample]) -> Vec<Vec<u32>> {
    let of = |uuid: &str| rows.iter().filter(|row| row.uuid == uuid).map(|row| row.sample).collect();
    problems().iter().map(|problem| of(&problem.uuid)).collect()
}

#[test]
fn a_problem_ends_with_its_quota_whatever_is_in_flight() {
    let whole = tempdir().unwrap();
    let adder = Adder { at_once: Some(1), ..Adder::default() };
    let summary = run(&adder, &problems(), &plan(), whole.path(), &Silent).unwrap();
    let expected: Vec<Vec<u32>> = enough(11).into_iter().map(|enough| (0..enough as u32).collect()).collect();
    assert!(expected.iter().any(|samples| samples.len() > 2), "the rule must give some wrong ones");
    assert_eq!(samples_of(&rows(whole.path())), expected);
    let needed = expected.iter().map(Vec::len).sum::<usize>() as u64;
    assert_eq!((summary.planned, summary.generated, summary.left_out), (needed, needed, 0));
    assert!(summary.is_complete());

    for at_once in [2, 3, 5, 8, 40] {
        let (dir, adder) = (tempdir().unwrap(), Adder { at_once: Some(at_once), ..Adder::default() });
        let summary = run(&adder, &problems(), &plan(), dir.path(), &Silent).unwrap();
        assert_eq!(files(dir.path()), files(whole.path()), "{at_once} at once");
        assert_eq!((summary.planned, summary.generated), (needed, needed));
        // However many could be in flight, hardly more is asked for than is needed.
        assert!(summary.left_out <= needed / 4, "{at_once} at once: {} left out", summary.left_out);
        // Nothing is left to ask for.
        let again = run(&adder, &problems(), &plan(), dir.path(), &Silent).unwrap();
        assert_eq!((again.resumed, again.generated, again.left_out), (needed, 0, 0));
    }
}

#[test]
fn an_interrupted_run_with_a_quota_ends_with_the_same_bytes() {
    let whole = tempdir().unwrap();
    run(&Adder::default(), &problems(), &plan(), whole.path(), &Silent).unwrap();
    for at_once in [3, 7] {
        for stop in 0..20 {
            let (dir, adder) = (tempdir().unwrap(), Adder { at_once: Some(at_once), ..Adder::default() });
            let observer = StopAfter { adder: &adder, answers: stop };
            run(&adder, &problems(), &plan(), dir.path(), &observer).unwrap();
            let summary = run(&adder, &problems(), &plan(), dir.path(), &Silent).unwrap();
            assert!(summary.is_complete());
            assert_eq!(files(dir.path()), files(whole.path()), "stopped after {stop}");
        }
    }
}

#[test]
fn slices_with_a_quota_are_put_together() {
    for paid in [false, true] {
        let whole = tempdir().unwrap();
        run(&Adder { paid, ..Adder::default() }, &problems(), &plan(), whole.path(), &Silent).unwrap();
        let parts = tempdir().unwrap();
        let dirs: Vec<_> = (0..2)
            .map(|index| {
                let dir = parts.path().join(index.to_string());
                let plan = Plan { slice: Some(Slice { index, of: 2 }), ..plan() };
                run(&Adder { paid, ..Adder::default() }, &problems(), &plan, &dir, &Silent).unwrap();
                dir
            })
            .collect();
        let merged = parts.path().join("merged");
        crate::store::merge(&dirs, &merged, &Silent).unwrap();
        if !paid {
            assert_eq!(files(&merged), files(whole.path()));
        }
        // Every row of the parts, each problem's in their order.
        assert_eq!(rows(&merged).len(), dirs.iter().map(|dir| rows(dir).len()).sum::<usize>());
        assert!(
            rows(&merged).is_sorted_by_key(|row| {
                (problems().iter().position(|problem| problem.uuid == row.uuid), row.sample)
            })
        );
    }
}

#[test]
fn what_was_paid_for_is_stored_and_not_kept() {
    // Of which a problem has a right sample past its quota.
    let plan = Plan { seed: 1, ..plan() };
    let (dir, adder) = (tempdir().unwrap(), Adder { at_once: Some(7), paid: true, ..Adder::default() });
    let observer = StopAfter { adder: &adder, answers: 9 };
    run(&adder, &problems(), &plan, dir.path(), &observer).unwrap();
    let summary = run(&adder, &problems(), &plan, dir.path(), &Silent).unwrap();
    let rows = rows(dir.path());
    // Each answer was paid once, and each is there.
    assert_eq!((rows.len() as u64, summary.left_out), (adder.answered.get(), 0));
    assert!(summary.is_complete());
    let past = |row: &Sample| {
        let problem = problems().iter().position(|problem| problem.uuid == row.uuid).unwrap();
        row.sample as usize >= enough(plan.seed)[problem]
    };
    assert!(rows.iter().any(|row| past(row) && row.verdict == Verdict::Right));
    for row in &rows {
        assert_eq!(row.kept, row.verdict == Verdict::Right && !past(row), "{} {}", row.sample, row.drop_reason);
        assert_eq!(past(row) && row.verdict == Verdict::Right, row.drop_reason.starts_with("over quota: "));
    }
    let kept = rows.iter().filter(|row| row.kept).count() as u64;
    assert_eq!(summary.tally.kept, kept);
}
