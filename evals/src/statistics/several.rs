//! Several tries, several tests, and how much a comparison can see: golden values and brute force.
//!
//! Golden values were computed with scipy 1.17 and statsmodels 0.14; the expression stands beside each.

use super::*;

fn close(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "found {found}, expected {expected}");
}

#[test]
fn pass_at_k_agrees_with_scipy() {
    // 1 - comb(n - c, k) / comb(n, k) and comb(c, k) / comb(n, k), exact
    let cases = [
        (64, 1, 1, 0.015625, 0.015625),
        (64, 1, 8, 0.125, 0.0),
        (64, 16, 4, 0.6937561380977563, 0.002864445619601622),
        (64, 32, 8, 0.9976236088972082, 0.002376391102791711),
        (64, 5, 64, 1.0, 0.0),
        (10, 3, 5, 0.9166666666666666, 0.0),
        (20, 0, 3, 0.0, 0.0),
        (7, 7, 2, 1.0, 1.0),
    ];
    for (n, c, k, any, all) in cases {
        close(pass_at_k(n, c, k).unwrap(), any, 1e-14);
        close(all_of_k(n, c, k).unwrap(), all, 1e-14);
    }
    // More tries than samples cannot be told, and must not be called 0.
    assert_eq!((pass_at_k(8, 2, 9), pass_at_k(8, 2, 0), all_of_k(8, 2, 9)), (None, None, None));
}

fn votes(classes: &[i32]) -> Vec<Option<Vote>> {
    let vote = |class: &i32| u32::try_from(*class).ok().map(|class| Vote { class, right: class == 0 });
    classes.iter().map(vote).collect()
}

#[test]
fn the_majority_is_expected_over_subsets() {
    let found = |classes: &[i32], k| consensus_at_k(&votes(classes), k, 0).unwrap();
    close(found(&[0, 0, 1], 3), 1.0, 0.0);
    close(found(&[0, 0, 1, 1], 4), 0.5, 0.0);
    // Without a vote there is no majority, and one vote is one.
    close(found(&[-1, -1, -1], 3), 0.0, 0.0);
    close(found(&[-1, 0, -1], 3), 1.0, 0.0);
    // Pairs of 0 0 1 1 2: one of ten is 0 0; six hold one 0 and one other, half right each.
    close(found(&[0, 0, 1, 1, 2], 2), (1.0 + 6.0 * 0.5) / 10.0, 1e-12);
    assert_eq!(consensus_at_k(&votes(&[0]), 2, 0), None);
    // One try is pass@1 whatever the classes.
    close(found(&[0, 1, 2, 0, -1], 1), 0.4, 1e-12);
}

#[test]
fn sampled_subsets_agree_with_all_of_them() {
    // C(24, 12) subsets are too many to look at; by symmetry between the two classes the answer is 1/2.
    let even: Vec<i32> = (0..24).map(|i| i % 2).collect();
    let found: Vec<f64> = (0..20).map(|seed| consensus_at_k(&votes(&even), 12, seed).unwrap()).collect();
    let mean = found.iter().sum::<f64>() / 20.0;
    // One estimate has a standard error below 0.5 / sqrt(400), their mean below a fourth of that.
    close(mean, 0.5, 4.0 * 0.025 / 20f64.sqrt());
    assert_eq!(found[3], consensus_at_k(&votes(&even), 12, 3).unwrap());
}

#[test]
fn sign_flips_agree_with_scipy() {
    let draws = Bootstrap { replicates: 100_000, seed: 5 };
    // scipy.stats.permutation_test((d,), mean, permutation_type="samples", n_resamples=inf).pvalue
    let few = [1.0, 1.0, 0.5, -0.25, 0.0, 1.0, -1.0, 0.75, 0.5, 0.0, 0.25];
    close(sign_flip_p(&few, &draws), 0.12890625, 1e-12);
    // 56 differences of size 1 that sum to 24: the two-sided binomial, 0.0018415547884925436
    let many: Vec<f64> = (0..120)
        .map(|i| {
            if i % 3 == 0 {
                1.0
            } else if i % 5 == 1 {
                -1.0
            } else {
                0.0
            }
        })
        .collect();
    let exact = 0.0018415547884925436f64;
    close(sign_flip_p(&many, &draws), exact, 4.0 * (exact / 100_000.0).sqrt());
    assert_eq!(sign_flip_p(&[0.0; 40], &draws), 1.0);
    assert_eq!(sign_flip_p(&[], &draws), 1.0);
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| sign_flip_p(&many, &draws))
    };
    assert_eq!(on(1), on(3));
    assert_ne!(sign_flip_p(&many, &Bootstrap { seed: 6, ..draws }), on(1));
}

#[test]
fn holm_agrees_with_statsmodels() {
    // multipletests([0.01, 0.04, 0.03, 0.005, 0.5], method="holm")[1]
    let found = holm(&[0.01, 0.04, 0.03, 0.005, 0.5]);
    for (found, expected) in found.iter().zip([0.04, 0.09, 0.09, 0.025, 0.5]) {
        close(*found, expected, 1e-12);
    }
    assert!(holm(&[]).is_empty());
    assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
}

#[test]
fn what_can_be_seen_is_seen_four_times_of_five() {
    // norm.ppf(0.975) + norm.ppf(0.8)
    close(detectable(0.01), 0.02801585, 1e-8);
    // Four times the questions for half the difference.
    assert_eq!(problems_needed(detectable(0.01), 0.01, 500), Some(500));
    assert_eq!(problems_needed(detectable(0.01) / 2.0, 0.01, 500), Some(2000));
    assert_eq!(problems_needed(0.0, 0.01, 500), None);
    // By simulation: differences of sd 1 and a mean of detectable(1 / sqrt(400)).
    let n = 400;
    let shift = detectable(1.0 / f64::from(n).sqrt());
    let mut state = 1u64;
    let mut uniform = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let runs = 2000;
    let found = (0..runs).filter(|_| {
        // Uniform numbers of sd 1.
        let mean = (0..n).map(|_| shift + (uniform() - 0.5) * 12f64.sqrt()).sum::<f64>() / f64::from(n);
        mean > Z95 / f64::from(n).sqrt()
    });
    close(found.count() as f64 / f64::from(runs), 0.8, 4.0 * (0.16 / f64::from(runs)).sqrt());
}
