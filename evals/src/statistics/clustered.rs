//! Questions that share a stem: closed forms, and golden values from an independent implementation.

use super::*;

const FLIPS: Bootstrap = Bootstrap { replicates: 20_000, seed: 0 };

fn close(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "found {found}, expected {expected}");
}

fn close_intervals(found: Interval, expected: Interval) {
    close(found.lo, expected.lo, 1e-12);
    close(found.hi, expected.hi, 1e-12);
}

/// `count` clusters of `size` rows each, and which are whose.
fn repeated<T: Copy>(rows: &[T], size: usize) -> (Vec<T>, Clusters) {
    let names: Vec<String> = (0..rows.len()).map(|row| row.to_string()).collect();
    let of = (0..rows.len() * size).map(|place| Some(names[place % rows.len()].as_str()));
    (rows.iter().copied().cycle().take(rows.len() * size).collect(), Clusters::named(of))
}

#[test]
fn repeating_every_question_changes_nothing() {
    for (count, samples) in [(120u32, 4), (120, 1), (12, 4)] {
        let once: Vec<Question> = (0..count).map(|i| Question { right: (i * 7 % 5) * samples / 4, samples }).collect();
        let (all, clusters) = repeated(&once, 5);
        let (one, many) = (mean_score(&once, &Clusters::alone(once.len())), mean_score(&all, &clusters));
        let (one, many) = (one.unwrap(), many.unwrap());
        assert_eq!((many.method, clusters.if_any()), (one.method, Some(count as usize)));
        close(many.standard_error.unwrap(), one.standard_error.unwrap(), 1e-15);
        close_intervals(many.ci95, one.ci95);
        // Taken for questions of their own, they would claim to be surer than they are.
        let naive = mean_score(&all, &Clusters::alone(all.len())).unwrap();
        assert!(naive.ci95.hi - naive.ci95.lo < 0.6 * (one.ci95.hi - one.ci95.lo));

        let pairs: Vec<(f64, f64)> =
            (0..count).map(|i| (f64::from(i * 3 % 4) / 3.0, f64::from(i * 7 % 10) / 9.0)).collect();
        let (all, clusters) = repeated(&pairs, 3);
        let once = paired_difference(&pairs, &Clusters::alone(pairs.len()), &FLIPS).unwrap();
        let many = paired_difference(&all, &clusters, &FLIPS).unwrap();
        assert_eq!((many.interval, many.clusters), (once.interval, Some(count as usize)));
        close(many.standard_error.unwrap(), once.standard_error.unwrap(), 1e-15);
        close_intervals(many.ci95, once.ci95);
        close(many.sign_flip_p, once.sign_flip_p, 1e-12);
        let denominator = Interval { lo: 0.3, hi: 0.6 };
        let share = |pairs: &[(f64, f64)], clusters| share_of(pairs, clusters, ("it", denominator), &FLIPS);
        let (once, many) = (share(&pairs, &Clusters::alone(pairs.len())), share(&all, &clusters));
        close_intervals(many.ci95.unwrap(), once.ci95.unwrap());
    }
}

#[test]
fn clusters_of_unequal_sizes_agree_with_statsmodels() {
    // statsmodels 0.15 for i < 100: x = (7 * i % 10) / 9 + isqrt(i) % 3 / 2, g = isqrt(i),
    // OLS(x, ones(100)).fit(cov_type="cluster", cov_kwds={"groups": g}).bse
    let pairs: Vec<(f64, f64)> =
        (0..100u32).map(|i| (f64::from(i * 7 % 10) / 9.0, f64::from(i.isqrt() % 3) / -2.0)).collect();
    let names: Vec<String> = (0..100u32).map(|i| i.isqrt().to_string()).collect();
    let clusters = Clusters::named(names.iter().map(|name| Some(name.as_str())));
    let difference = paired_difference(&pairs, &clusters, &FLIPS).unwrap();
    assert_eq!(difference.clusters, Some(10));
    close(difference.standard_error.unwrap(), 0.16640520334701145, 1e-14);
}

#[test]
fn questions_without_a_stem_are_clusters_of_one() {
    let clusters = Clusters::named([None, Some("a"), None, Some("b"), Some("a")]);
    assert_eq!((clusters.count(), clusters.if_any()), (4, Some(4)));
    assert_eq!(clusters.sums(&[[1.0], [2.0], [4.0], [8.0], [16.0]]), [[1.0], [18.0], [4.0], [8.0]]);
    assert_eq!(Clusters::named([None, Some("a"), Some("b")]), Clusters::alone(3));
    // One cluster tells nothing of others.
    let one = mean_score(&[Question { right: 1, samples: 2 }; 4], &Clusters::named([Some("a"); 4])).unwrap();
    assert_eq!((one.standard_error, one.method), (None, Method::Wilson));
    close_intervals(one.ci95, wilson(0.5, 1.0));
}
