//! Holm's correction for several tests at once.
//!
//! Of m p-values in ascending order, the i-th (from 0) becomes max over j <= i of min(1, (m - j) p_j): refusing those that
//! stay below a level errs at all with at most that probability. Source: S. Holm, Scand. J. Stat. 6 (1979).

/// The corrected p-values, each in its old place.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let mut corrected = vec![0.0; p.len()];
    let mut largest = 0.0f64;
    for (rank, at) in order.into_iter().enumerate() {
        largest = largest.max((p[at] * (p.len() - rank) as f64).min(1.0));
        corrected[at] = largest;
    }
    corrected
}
