//! The two products of attention over a page kept in bf16, in the bf16 instructions of AVX-512.
//!
//! Queries and probabilities are rounded to bf16 as the page is; products are exact and sums are f32.

use super::PAGE;
use crate::avx512_bf16::{dot, is_here};
use half::bf16;
use std::arch::x86_64::*;

/// Numbers of a vector.
const LANES: usize = 32;
/// Keys that are asked for before they are needed.
const AHEAD: usize = 6;
/// Queries whose sums stay in registers.
const M: usize = 8;

/// Whether this machine multiplies rows of `c` and `v_width` numbers: they must be whole vectors.
pub(super) fn multiplies(c: usize, v_width: usize) -> bool {
    is_here() && c.is_multiple_of(LANES) && v_width.is_multiple_of(LANES)
}

/// p [m, count] = q [m, c] keys [count, c]^T, rows of keys lying `stride` apart.
pub(super) fn scores(p: &mut [f32], q: &[bf16], keys: &[bf16], stride: usize, c: usize, count: usize) {
    assert!(is_here() && c.is_multiple_of(LANES) && keys.len() >= (count - 1) * stride + c, "scores of {c} numbers");
    for (q, p) in q.chunks(M * c).zip(p.chunks_mut(M * count)) {
        for entry in 0..count {
            let key = &keys[entry * stride..][..c];
            let mut sums = [0f32; M];
            #[expect(unsafe_code, reason = "the instructions were found on this machine")]
            // SAFETY: checked above.
            unsafe {
                dots(q, key, &mut sums);
            }
            p.chunks_mut(count).zip(sums).for_each(|(p, sum)| p[entry] = sum);
        }
    }
}

/// The dot products of up to M rows of q with one key.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn dots(q: &[bf16], key: &[bf16], out: &mut [f32; M]) {
    let c = key.len();
    // A page comes from memory here, once, in order.
    for line in (0..c).step_by(LANES) {
        _mm_prefetch::<_MM_HINT_T0>(key.as_ptr().wrapping_add(AHEAD * c + line).cast());
    }
    if q.len() == M * c {
        let mut sums = [_mm512_setzero_ps(); M];
        for at in (0..c).step_by(LANES) {
            let key = load(&key[at..]);
            for m in 0..M {
                sums[m] = dot(sums[m], load(&q[m * c + at..]), key);
            }
        }
        *out = fold(sums);
    } else {
        let mut sums = [_mm512_setzero_ps(); M];
        for (q, sum) in q.chunks(c).zip(&mut sums) {
            for at in (0..c).step_by(LANES) {
                *sum = dot(*sum, load(&q[at..]), load(&key[at..]));
            }
        }
        *out = fold(sums);
    }
}

/// The sum of the numbers of each vector.
#[inline]
#[target_feature(enable = "avx512f")]
fn fold(sums: [__m512; M]) -> [f32; M] {
    let mut halves = [_mm256_setzero_ps(); M];
    for m in 0..M {
        let upper = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(sums[m])));
        halves[m] = _mm256_add_ps(_mm512_castps512_ps256(sums[m]), upper);
    }
    let [a, b, c, d, e, f, g, h] = halves;
    let four = |a, b, c, d| {
        let sums = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
        _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps::<1>(sums))
    };
    let mut out = [0f32; M];
    #[expect(unsafe_code, reason = "vectors go to memory")]
    // SAFETY: eight numbers, four at a time.
    unsafe {
        _mm_storeu_ps(out.as_mut_ptr(), four(a, b, c, d));
        _mm_storeu_ps(out.as_mut_ptr().add(4), four(e, f, g, h));
    }
    out
}

/// y [m, width] = p [m, PAGE] values [PAGE, width], rows of values lying `stride` apart; those from `count` on are taken
/// as 0 and so must be `p`.
pub(super) fn weighted(y: &mut [f32], p: &[bf16], values: &[bf16], stride: usize, width: usize, count: usize) {
    assert!(
        is_here() && width.is_multiple_of(LANES) && values.len() >= (count - 1) * stride + width,
        "weighted values"
    );
    for (p, y) in p.chunks(M * PAGE).zip(y.chunks_mut(M * width)) {
        #[expect(unsafe_code, reason = "the instructions were found on this machine")]
        // SAFETY: checked above.
        unsafe {
            match p.len() / PAGE {
                8 => sums::<8>(y, p, values, stride, width, count),
                7 => sums::<7>(y, p, values, stride, width, count),
                6 => sums::<6>(y, p, values, stride, width, count),
                5 => sums::<5>(y, p, values, stride, width, count),
                4 => sums::<4>(y, p, values, stride, width, count),
                3 => sums::<3>(y, p, values, stride, width, count),
                2 => sums::<2>(y, p, values, stride, width, count),
                _ => sums::<1>(y, p, values, stride, width, count),
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn sums<const R: usize>(y: &mut [f32], p: &[bf16], values: &[bf16], stride: usize, width: usize, count: usize) {
    // Two entries side by side for each column, as the instruction takes them; unpacking leaves the columns in fours.
    let order = |half: i32| {
        let from = |at: i32| (at / 8) * 4 + at % 4 + if at % 8 < 4 { 0 } else { 16 } + half * 8;
        let places: [i32; 16] = std::array::from_fn(|at| from(at as i32));
        #[expect(unsafe_code, reason = "a vector comes from memory")]
        // SAFETY: sixteen numbers.
        unsafe {
            _mm512_loadu_si512(places.as_ptr().cast())
        }
    };
    let (first, second) = (order(0), order(1));
    let rows: [&[bf16]; R] = std::array::from_fn(|r| &p[r * PAGE..][..PAGE]);
    for column in (0..width).step_by(LANES) {
        let mut low = [_mm512_setzero_ps(); R];
        let mut high = [_mm512_setzero_ps(); R];
        for entry in (0..count).step_by(2) {
            let a = load(&values[entry * stride + column..]);
            let b =
                if entry + 1 < count { load(&values[(entry + 1) * stride + column..]) } else { _mm512_setzero_si512() };
            let (low_pairs, high_pairs) = (_mm512_unpacklo_epi16(a, b), _mm512_unpackhi_epi16(a, b));
            for r in 0..R {
                let pair = u32::from(rows[r][entry].to_bits()) | u32::from(rows[r][entry + 1].to_bits()) << 16;
                let pair = _mm512_set1_epi32(pair as i32);
                low[r] = dot(low[r], low_pairs, pair);
                high[r] = dot(high[r], high_pairs, pair);
            }
        }
        for r in 0..R {
            let y = &mut y[r * width + column..][..LANES];
            for (half, order) in [first, second].into_iter().enumerate() {
                let sums = _mm512_permutex2var_ps(low[r], order, high[r]);
                #[expect(unsafe_code, reason = "a vector goes to memory")]
                // SAFETY: 32 numbers, 16 at a time.
                unsafe {
                    _mm512_storeu_ps(y.as_mut_ptr().add(16 * half), sums);
                }
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(numbers: &[bf16]) -> __m512i {
    let numbers: &[bf16] = &numbers[..LANES];
    #[expect(unsafe_code, reason = "a vector comes from memory")]
    // SAFETY: the slice holds 32 numbers of two bytes.
    unsafe {
        _mm512_loadu_si512(numbers.as_ptr().cast())
    }
}
