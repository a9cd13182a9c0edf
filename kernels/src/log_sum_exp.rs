//! The normaliser of a softmax: logsumexp(x) = max x + ln sum_k exp(x_k - max x).
//!
//! Exponentials are f32 numbers good to about 2 ulp; sums over [`BLOCK`] of them are added in f64, so the relative error
//! of the total stays near 1e-7 for any vocabulary. No gradient: for readers of finished logits.

use crate::simd;

/// Numbers that are summed in f32 before they are added to the total.
const BLOCK: usize = 1024;

/// The largest of `row`, and sum_k exp((x_k - max x) / temperature); the temperature is above 0.
pub fn exp_sum(row: &[f32], temperature: f64) -> (f32, f64) {
    // A temperature below the smallest number of this type leaves the largest alone, as it should.
    let temperature = (temperature as f32).max(f32::MIN_POSITIVE);
    simd::dispatch(
        #[inline(always)]
        || {
            let top = simd::max(row);
            let block = |block: &[f32]| f64::from(simd::sum(block, |x| simd::exp((x - top) / temperature)));
            (top, row.chunks(BLOCK).map(block).sum())
        },
    )
}

/// logsumexp of `row`; -inf for an empty one.
pub fn log_sum_exp(row: &[f32]) -> f64 {
    let (top, total) = exp_sum(row, 1.0);
    f64::from(top) + total.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_exact_sums_at_the_size_of_a_vocabulary() {
        let row: Vec<f32> = (0..130_001).map(|at| 9.0 * (at as f32 * 0.37).sin()).collect();
        for temperature in [1.0, 0.6, 2.5] {
            let (top, total) = exp_sum(&row, temperature);
            assert!(row.iter().all(|&x| x <= top) && row.contains(&top));
            let exact: f64 = row.iter().map(|&x| (f64::from(x - top) / temperature).exp()).sum();
            assert!((total / exact - 1.0).abs() < 4e-7, "{total} for {exact}");
        }
        let exact = row.iter().map(|&x| f64::from(x).exp()).sum::<f64>().ln();
        assert!((log_sum_exp(&row) - exact).abs() < 4e-7);
    }

    #[test]
    fn the_ends_of_the_range_are_safe() {
        assert_eq!(log_sum_exp(&[]), f64::NEG_INFINITY);
        assert_eq!(exp_sum(&[3.0, 2.999], 1e-300), (3.0, 1.0));
        assert!((log_sum_exp(&[1e4, 1e4, -1e4]) - (1e4 + 2f64.ln())).abs() < 1e-9);
    }
}
