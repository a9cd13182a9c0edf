//! The two products of attention over a page kept in bf16, in the bf16 instructions of AVX-512.
//!
//! Queries and probabilities are rounded to bf16 as the page is; products are exact and sums are f32.

use super::PAGE;
use half::bf16;
use std::arch::x86_64::*;
use std::sync::LazyLock;

/// Numbers of a vector.
const LANES: usize = 32;
/// Keys that are asked for before they are needed.
const AHEAD: usize = 20;
/// Queries whose sums stay in registers.
const M: usize = 8;

/// Whether this machine has the instructions.
pub(super) fn is_here() -> bool {
    static FOUND: LazyLock<bool> = LazyLock::new(|| {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512bf16")
    });
    *FOUND
}

/// Whether this machine multiplies rows of `c` and `v_width` numbers: they must be whole vectors.
pub(super) fn multiplies(c: usize, v_width: usize) -> bool {
    is_here() && c.is_multiple_of(LANES) && v_width.is_multiple_of(LANES)
}

/// p [m, count] = q [m, c] keys [count, c]^T, rows of keys lying `stride` apart.
pub(super) fn scores(p: &mut [f32], q: &[bf16], keys: &[bf16], stride: usize, c: usize, count: usize) {
    assert!(is_here() && c.is_multiple_of(LANES) && keys.len() >= (count - 1) * stride + c, "scores of {c} numbers");
    for (q, p) in q.chunks(M * c).zip(p.chunks_mut(M * count)) {
        #[expect(unsafe_code, reason = "the instructions were found on this machine")]
        // SAFETY: checked above.
        unsafe {
            match q.len() / c {
                8 => dots::<8>(p, q, keys, stride, c, count),
                7 => dots::<7>(p, q, keys, stride, c, count),
                6 => dots::<6>(p, q, keys, stride, c, count),
                5 => dots::<5>(p, q, keys, stride, c, count),
                4 => dots::<4>(p, q, keys, stride, c, count),
                3 => dots::<3>(p, q, keys, stride, c, count),
                2 => dots::<2>(p, q, keys, stride, c, count),
                _ => dots::<1>(p, q, keys, stride, c, count),
            }
        }
    }
}

/// The dot products of R rows of q with each key, two keys at a time.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn dots<const R: usize>(p: &mut [f32], q: &[bf16], keys: &[bf16], stride: usize, c: usize, count: usize) {
    let q = &q[..R * c];
    for entry in (0..count).step_by(2) {
        let other = (entry + 1).min(count - 1);
        let pair = [entry, other].map(|entry| &keys[entry * stride..][..c]);
        let mut sums = [[_mm512_setzero_ps(); M]; 2];
        for at in (0..c).step_by(LANES) {
            #[expect(unsafe_code, reason = "checks would cost as much as the products")]
            // SAFETY: c is a multiple of LANES, q holds R rows of c numbers, and each key c numbers.
            let (keys, q): ([_; 2], [_; R]) =
                unsafe { (pair.map(|key| load_at(key, at)), std::array::from_fn(|r| load_at(q, r * c + at))) };
            for key in pair {
                // A page comes from memory here, once, in order.
                _mm_prefetch::<_MM_HINT_T0>(key.as_ptr().wrapping_add(AHEAD * stride + at).cast());
            }
            for r in 0..R {
                sums[0][r] = dot(sums[0][r], q[r], keys[0]);
                sums[1][r] = dot(sums[1][r], q[r], keys[1]);
            }
        }
        let [first, second] = fold(sums);
        for r in 0..R {
            p[r * count + entry] = first[r];
            p[r * count + other] = if other == entry { first[r] } else { second[r] };
        }
    }
}

/// The sum of the numbers of each vector, by halving sixteen of them at once four times.
#[inline]
#[target_feature(enable = "avx512f")]
fn fold(sums: [[__m512; M]; 2]) -> [[f32; M]; 2] {
    let [[a, b, c, d, e, f, g, h], [i, j, k, l, m, n, o, p]] = sums;
    let halves = |a, b| _mm512_add_ps(_mm512_shuffle_f32x4::<0x44>(a, b), _mm512_shuffle_f32x4::<0xee>(a, b));
    let quarters = |a, b| _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
    let pairs = |a, b| _mm512_add_ps(_mm512_shuffle_ps::<0x44>(a, b), _mm512_shuffle_ps::<0xee>(a, b));
    let ones = |a, b| _mm512_add_ps(_mm512_shuffle_ps::<0x88>(a, b), _mm512_shuffle_ps::<0xdd>(a, b));
    let four = |a, b, c, d| quarters(halves(a, b), halves(c, d));
    // Lane 4 y + x is the sum of the y-th vector of the x-th four.
    let all = ones(pairs(four(a, b, c, d), four(e, f, g, h)), pairs(four(i, j, k, l), four(m, n, o, p)));
    let mut lanes = [0f32; 2 * M];
    #[expect(unsafe_code, reason = "a vector goes to memory")]
    // SAFETY: sixteen numbers.
    unsafe {
        _mm512_storeu_ps(lanes.as_mut_ptr(), all);
    }
    std::array::from_fn(|key| std::array::from_fn(|at| lanes[4 * (at % 4) + 2 * key + at / 4]))
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
    let p = &p[..R * PAGE];
    for column in (0..width).step_by(LANES) {
        let mut low = [_mm512_setzero_ps(); R];
        let mut high = [_mm512_setzero_ps(); R];
        for entry in (0..count).step_by(2) {
            let a = load(&values[entry * stride + column..]);
            let b =
                if entry + 1 < count { load(&values[(entry + 1) * stride + column..]) } else { _mm512_setzero_si512() };
            let (low_pairs, high_pairs) = (_mm512_unpacklo_epi16(a, b), _mm512_unpackhi_epi16(a, b));
            for r in 0..R {
                #[expect(unsafe_code, reason = "two numbers are read as one")]
                // SAFETY: PAGE is even, and so the second number too is of row r.
                let pair = unsafe { p.as_ptr().add(r * PAGE + entry).cast::<i32>().read_unaligned() };
                let pair = _mm512_set1_epi32(pair);
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
#[target_feature(enable = "avx512f,avx512bf16")]
fn dot(sum: __m512, a: __m512i, b: __m512i) -> __m512 {
    #[expect(unsafe_code, reason = "the same bits under another name")]
    // SAFETY: both types are 64 bytes of plain numbers.
    let (a, b) = unsafe { (std::mem::transmute::<__m512i, __m512bh>(a), std::mem::transmute::<__m512i, __m512bh>(b)) };
    _mm512_dpbf16_ps(sum, a, b)
}

/// The vector that begins at `numbers[at]`.
///
/// # Safety
/// `numbers` holds all of it.
#[inline]
#[target_feature(enable = "avx512f")]
#[expect(unsafe_code, reason = "a vector comes from memory")]
unsafe fn load_at(numbers: &[bf16], at: usize) -> __m512i {
    debug_assert!(at + LANES <= numbers.len());
    // SAFETY: the caller's.
    unsafe { _mm512_loadu_si512(numbers.as_ptr().add(at).cast()) }
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
