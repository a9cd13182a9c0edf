//! Elementwise building blocks that the compiler vectorises for the instruction set found at run time.

use crate::instructions::arch;

/// Runs `f` compiled for the best instruction set of this machine. `f` must be `#[inline(always)]` all the way down.
pub(crate) fn dispatch<R>(f: impl FnOnce() -> R) -> R {
    struct Op<F>(F);
    impl<R, F: FnOnce() -> R> pulp::NullaryFnOnce for Op<F> {
        type Output = R;
        #[inline(always)]
        fn call(self) -> R {
            (self.0)()
        }
    }
    arch().dispatch(Op(f))
}

/// exp(x) to about 2 ulp, branch-free so that it vectorises (Cephes `expf`: exp(x) = 2^n exp(r), |r| <= ln(2)/2).
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding and subtracting it rounds to the nearest integer
    let inside = x.clamp(-87.0, 88.0);
    let shifted = inside * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = inside - n * LN2_HIGH - n * LN2_LOW;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 5e-1;
    let p = p * r * r + r + 1.0;
    // The low bits of `shifted` are n, within [-126, 127] after the clamp. No cast, no checked sum: either would keep the
    // compiler from vectorising.
    let biased = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127);
    let scale = f32::from_bits(biased.wrapping_shl(23));
    // Below the smallest normal number the true value is as good as zero; a select, so the loop stays branch-free.
    if x < -87.0 { 0.0 } else { p * scale }
}

/// ln(x) for normal numbers above 0, to about 2 ulp, branch-free like [`exp`] (Cephes `logf`: x = 2^n m, m around 1).
#[inline(always)]
pub(crate) fn ln(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let bits = x.to_bits();
    // x = 2^e f with f in [0.5, 1); below sqrt(1/2) twice f and one less.
    let f = f32::from_bits((bits & 0x007F_FFFF) | 0x3F00_0000);
    // The exponent as a float without a cast: its bits under those of 2^23.
    let e = f32::from_bits(bits.wrapping_shr(23) | 0x4B00_0000) - 8_388_608.0 - 126.0;
    let small = f < std::f32::consts::FRAC_1_SQRT_2;
    let e = if small { e - 1.0 } else { e };
    let m = if small { f + f - 1.0 } else { f - 1.0 };
    let z = m * m;
    let p = 7.037_683_6e-2;
    let p = p * m - 1.151_461e-1;
    let p = p * m + 1.167_699_87e-1;
    let p = p * m - 1.242_014_1e-1;
    let p = p * m + 1.424_932_3e-1;
    let p = p * m - 1.666_805_8e-1;
    let p = p * m + 2.000_071_5e-1;
    let p = p * m - 2.499_999_4e-1;
    let p = p * m + 3.333_333e-1;
    let y = p * m * z + e * LN2_LOW - 0.5 * z;
    // Infinity and what is no number stay so.
    if x < f32::INFINITY { m + y + e * LN2_HIGH } else { x }
}

/// Sum in sixteen lanes, in an order that does not depend on the instruction set.
#[inline(always)]
pub(crate) fn sum(values: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0f32; 16];
    let (chunks, tail) = values.as_chunks::<16>();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += f(x);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(tail) {
        *lane += f(x);
    }
    fold(lanes)
}

/// Dot product, summed like [`sum`].
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; 16];
    let (a_chunks, a_tail) = a.as_chunks::<16>();
    let (b_chunks, b_tail) = b.as_chunks::<16>();
    for (x, y) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..16 {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    for ((lane, x), y) in lanes.iter_mut().zip(a_tail).zip(b_tail) {
        *lane += x * y;
    }
    fold(lanes)
}

#[inline(always)]
fn fold(lanes: [f32; 16]) -> f32 {
    let mut total = 0.0;
    for lane in 0..8 {
        total += lanes[lane] + lanes[lane + 8];
    }
    total
}

/// The largest value, -inf for none.
#[inline(always)]
pub(crate) fn max(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 16];
    let (chunks, tail) = values.as_chunks::<16>();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = if x > *lane { x } else { *lane };
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(tail) {
        *lane = if x > *lane { x } else { *lane };
    }
    lanes.into_iter().fold(f32::NEG_INFINITY, f32::max)
}

#[cfg(test)]
mod tests {
    #[test]
    fn exp_is_close_to_the_exact_one() {
        for step in -8600..8700 {
            let x = step as f32 / 100.0;
            let exact = f64::from(x).exp();
            let error = (f64::from(super::exp(x)) - exact).abs() / exact;
            assert!(error < 4e-7, "exp({x}): relative error {error}");
        }
        assert_eq!(super::exp(-1000.0), 0.0);
    }

    #[test]
    fn ln_is_close_to_the_exact_one() {
        for step in -8700..8800 {
            let x = (step as f32 / 100.0).exp().max(f32::MIN_POSITIVE);
            for x in [x, 1.0 + step as f32 * 1e-5] {
                let exact = f64::from(x).ln();
                let error = (f64::from(super::ln(x)) - exact).abs();
                assert!(error <= 3e-7 * exact.abs().max(1e-3), "ln({x}): {} against {exact}", super::ln(x));
            }
        }
        assert!(super::ln(f32::NAN).is_nan() && super::ln(f32::INFINITY) == f32::INFINITY);
    }

    #[test]
    fn reductions_match_the_plain_ones() {
        let a: Vec<f32> = (0..77).map(|i| (i as f32 * 0.37).sin()).collect();
        let b: Vec<f32> = (0..77).map(|i| (i as f32 * 0.11).cos()).collect();
        let exact: f64 = a.iter().zip(&b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum();
        assert!((f64::from(super::dispatch(|| super::dot(&a, &b))) - exact).abs() < 1e-5);
        let exact: f64 = a.iter().map(|&x| f64::from(x)).sum();
        assert!((f64::from(super::dispatch(|| super::sum(&a, |x| x))) - exact).abs() < 1e-5);
        assert_eq!(super::max(&a), a.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    }
}
