//! Pass rates with and without a quota, against all outcomes there are and by simulation.

use super::pass_rate::estimate;
use super::*;
use std::num::NonZeroU32;

#[test]
fn over_all_orders_of_outcomes_the_estimate_is_the_rate_itself() {
    for (n, quota) in [(1, 2), (5, 2), (9, 3), (10, 4), (7, 9)] {
        let quota = NonZeroU32::new(quota);
        for p in [0.05, 0.4, 0.93] {
            let mut expectation = 0.0;
            for outcomes in 0u32..1 << n {
                let right = |at: u32| outcomes >> at & 1 == 1;
                let weight: f64 = (0..n).map(|at| if right(at) { p } else { 1.0 - p }).product();
                expectation += weight * estimate((0..n).map(right), quota).unwrap();
            }
            assert!((expectation - p).abs() < 1e-12, "n {n}, quota {quota:?}, p {p}: {expectation}");
        }
    }
}

#[test]
fn simulated_runs_with_a_quota_have_the_true_rate_on_average_and_the_plain_ratio_does_not() {
    let (p, quota, runs) = (0.3, 3, 40_000);
    let mut dice = Dice(1);
    let mut sums = [0.0; 4];
    for _ in 0..runs {
        let (mut outcomes, mut right) = (Vec::new(), 0);
        while right < quota {
            outcomes.push(dice.below(1000) < 300);
            right += u32::from(outcomes.last() == Some(&true));
        }
        let plain = f64::from(quota) / outcomes.len() as f64;
        let rate = estimate(outcomes, NonZeroU32::new(quota)).unwrap();
        for (sum, value) in sums.iter_mut().zip([rate, rate * rate, plain, plain * plain]) {
            *sum += value / f64::from(runs);
        }
    }
    let error = |mean: f64, square: f64| ((square - mean * mean) / f64::from(runs)).sqrt();
    let [rate, rate_square, plain, plain_square] = sums;
    assert!((rate - p).abs() < 4.0 * error(rate, rate_square), "{rate} +- {}", error(rate, rate_square));
    assert!(plain - p > 20.0 * error(plain, plain_square), "{plain} +- {}", error(plain, plain_square));
}

#[test]
fn the_window_counts_every_sample_of_a_run_and_refuses_a_quota_of_one() {
    let folder = tempfile::tempdir().unwrap();
    let (easy, fair, hard) = (problem("easy"), problem("fair"), problem("hard"));
    let mut rows = Vec::new();
    for (problem, right) in [(&easy, 4), (&fair, 2), (&hard, 1)] {
        for sample in 0..4 {
            let row = trace(problem, sample, &format!("answer {sample}"));
            rows.push(if sample < right { row } else { wrong(row) });
        }
    }
    // Another run finds the easy one hard: that is no statement about this run.
    rows.extend((0..4).map(|sample| {
        let row = trace(&easy, sample, &format!("other {sample}"));
        let row = if sample == 0 { row } else { wrong(row) };
        Sample { run_id: "another".into(), ..row }
    }));
    let dir = dataset(&folder, "a", &rows, 5);
    let window = |min, max, quota| {
        let pass_rate = Some(PassRate { min, max, quota: NonZeroU32::new(quota) });
        Recipe { pass_rate, ..bare() }
    };
    let (summary, found) = selected(&folder, &[dir.clone(), dir.clone()], &window(0.3, 0.9, 0));
    let kept: Vec<usize> = (0..16).filter(|&place| found[place].kept).collect();
    assert_eq!(kept, [4, 5]);
    assert_eq!(
        (found[0].drop_reason.as_str(), found[8].drop_reason.as_str()),
        ("pass rate outside its window: 1.000", "pass rate outside its window: 0.250")
    );
    assert_eq!(found[15].drop_reason, "another number: 8");
    assert_eq!(summary.steps, [("repeated row", 8), ("pass rate outside its window", 6)]);
    // With a quota of two the fair one's rate is 1 / 1 and the hard one's, whose samples ran out, 1 / 4.
    let (_, found) = selected(&folder, std::slice::from_ref(&dir), &window(0.2, 0.3, 2));
    assert_eq!((0..12).filter(|&place| found[place].kept).collect::<Vec<_>>(), [8]);
    let error = select(&[dir], &window(0.1, 0.9, 1), &folder.path().join("refused"), &Silent).unwrap_err();
    assert!(error.to_string().contains("no rate without bias"), "{error}");
}
