//! Products of queries with the keys of a page along wide rows, in the bf16 instructions of AVX-512: both are read as they
//! lie, nothing is packed, and sums are folded once at the end of a row.

use super::PAGE;
use super::kept::Rows;
use crate::avx512_bf16::{dot, is_here};
use half::bf16;
use std::arch::x86_64::*;

/// Numbers of a vector.
const NUMBERS: usize = 32;

/// Queries and keys whose products are summed side by side.
const SIDE: usize = 4;

/// Whether rows of `c` numbers are wide enough to pay for folding, and whole vectors.
pub(super) fn pays(c: usize) -> bool {
    c >= 256 && c.is_multiple_of(NUMBERS)
}

/// scores [m, PAGE] of queries `q` [m, c] with the first `count` keys; what lies behind these is left undefined. Lines of
/// `next`, which will be looked at later, are asked for on the way.
pub(super) fn scores(
    q: &[bf16],
    keys: Rows<&[bf16]>,
    count: usize,
    next: Option<Rows<&[bf16]>>,
    scores: &mut Vec<f32>,
) {
    let c = keys.width;
    let m = q.len() / c;
    assert!(is_here() && pays(c) && (1..=PAGE).contains(&count) && q.len() == m * c, "{m} queries of {c} numbers");
    scores.resize(m * PAGE, 0.0);
    for first in (0..count).step_by(SIDE) {
        // Beyond the last one, the last one again.
        let rows: [&[bf16]; SIDE] = std::array::from_fn(|at| keys.row((first + at).min(count - 1)));
        for head in (0..m).step_by(SIDE) {
            let queries: [&[bf16]; SIDE] = std::array::from_fn(|at| &q[(head + at).min(m - 1) * c..][..c]);
            // Sixteen queries ask for all that stands where these keys do.
            let group = head / SIDE;
            let ahead = next.filter(|_| group < SIDE).map(|next| next.row(first + group));
            #[expect(unsafe_code, reason = "the instructions were found on this machine")]
            // SAFETY: checked above.
            let found = unsafe { tile(queries, rows, ahead) };
            for (at, found) in found.as_chunks::<SIDE>().0.iter().enumerate().take(m - head) {
                scores[(head + at) * PAGE + first..][..SIDE].copy_from_slice(found);
            }
        }
    }
}

/// The products of each query with each key, [query, key]; `ahead` is asked for from memory.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn tile(queries: [&[bf16]; SIDE], keys: [&[bf16]; SIDE], ahead: Option<&[bf16]>) -> [f32; SIDE * SIDE] {
    let mut sums = [[_mm512_setzero_ps(); SIDE]; SIDE];
    let queries = queries.map(|row| row.as_chunks::<NUMBERS>().0);
    let keys = keys.map(|row| row.as_chunks::<NUMBERS>().0);
    let ahead = ahead.map_or(std::ptr::null(), |row| row.as_ptr());
    let steps = keys[0].len();
    assert!(queries.iter().chain(&keys).all(|row| row.len() == steps), "rows of one width");
    for step in 0..steps {
        _mm_prefetch::<_MM_HINT_T1>(ahead.wrapping_add(step * NUMBERS).cast());
        let q = queries.map(|row| load(&row[step]));
        let k = keys.map(|row| load(&row[step]));
        for (sums, q) in sums.iter_mut().zip(q) {
            for (sum, k) in sums.iter_mut().zip(k) {
                *sum = dot(*sum, q, k);
            }
        }
    }
    let mut out = [0f32; SIDE * SIDE];
    #[expect(unsafe_code, reason = "a vector goes to memory")]
    // SAFETY: sixteen numbers.
    unsafe {
        _mm512_storeu_ps(out.as_mut_ptr(), fold(sums));
    }
    out
}

/// The sum of each of sixteen vectors, in their order.
#[inline]
#[target_feature(enable = "avx512f")]
fn fold(sums: [[__m512; SIDE]; SIDE]) -> __m512 {
    // In each quarter of a vector the sums of four: first of every second number, then of all.
    let quarters = sums.map(|[a, b, c, d]| {
        let pair = |x, y| _mm512_add_ps(_mm512_unpacklo_ps(x, y), _mm512_unpackhi_ps(x, y));
        let (ab, cd) = (_mm512_castps_pd(pair(a, b)), _mm512_castps_pd(pair(c, d)));
        let (low, high) = (_mm512_unpacklo_pd(ab, cd), _mm512_unpackhi_pd(ab, cd));
        _mm512_add_ps(_mm512_castpd_ps(low), _mm512_castpd_ps(high))
    });
    // The quarters of two vectors together, then of four.
    let [a, b, c, d] = quarters;
    let halves =
        |x, y| _mm512_add_ps(_mm512_shuffle_f32x4::<0b01_00_01_00>(x, y), _mm512_shuffle_f32x4::<0b11_10_11_10>(x, y));
    let (ab, cd) = (halves(a, b), halves(c, d));
    _mm512_add_ps(_mm512_shuffle_f32x4::<0b10_00_10_00>(ab, cd), _mm512_shuffle_f32x4::<0b11_01_11_01>(ab, cd))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(numbers: &[bf16; NUMBERS]) -> __m512i {
    #[expect(unsafe_code, reason = "a vector comes from memory")]
    // SAFETY: 32 numbers of two bytes.
    unsafe {
        _mm512_loadu_si512(numbers.as_ptr().cast())
    }
}
