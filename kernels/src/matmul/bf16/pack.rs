//! Packing of operands into lines.

use super::super::Mat;
use super::LANES;
use crate::avx512_bf16::is_here;
use half::bf16;
use std::arch::x86_64::*;

/// Packs up to 16 rows of `part` into a line; rows and numbers that are not there are 0.
pub(crate) fn pack_line(part: Mat<'_>, out: &mut [u32]) {
    let Mat { data, rows, cols, row_stride, col_stride } = part;
    let extent = (rows - 1) * row_stride + (cols - 1) * col_stride + 1;
    assert!(is_here() && rows <= LANES && extent <= data.len() && out.len() == cols.div_ceil(2) * LANES, "a line");
    #[expect(unsafe_code, reason = "the instructions were found on this machine")]
    // SAFETY: checked above.
    unsafe {
        match (row_stride, col_stride) {
            (_, 1) => transpose(data, rows, cols, row_stride, out),
            (1, _) => interleave(data, rows, cols, col_stride, out),
            _ => gather(part, out),
        }
    }
}

/// Packs up to 16 rows of `depth` numbers that are rounded already and begin `stride` apart.
pub(crate) fn pack_rows(data: &[bf16], rows: usize, depth: usize, stride: usize, out: &mut [u32]) {
    let extent = (rows - 1) * stride + depth;
    assert!(is_here() && rows <= LANES && extent <= data.len() && out.len() == depth.div_ceil(2) * LANES, "rows");
    #[expect(unsafe_code, reason = "the instructions were found on this machine")]
    // SAFETY: checked above.
    unsafe {
        transpose_rounded(data, rows, depth, stride, out);
    }
}

/// Packs up to 32 columns of `depth` rows that are rounded already and begin `stride` apart: one line, or two.
pub(crate) fn pack_columns(data: &[bf16], columns: usize, depth: usize, stride: usize, out: &mut [u32]) {
    let (extent, line) = ((depth - 1) * stride + columns, depth.div_ceil(2) * LANES);
    let fits = columns <= 2 * LANES && extent <= data.len() && out.len() == columns.div_ceil(LANES) * line;
    assert!(is_here() && fits, "columns");
    #[expect(unsafe_code, reason = "the instructions were found on this machine")]
    // SAFETY: checked above.
    unsafe {
        interleave_rounded(data, columns, depth, stride, out);
    }
}

/// Two rows of numbers side by side along the inner dimension, lane by lane.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn pairs(first: __m512, second: __m512) -> __m512i {
    #[expect(unsafe_code, reason = "the same bits under another name")]
    // SAFETY: both types are 32 bytes of plain numbers.
    let bits = |x: __m512| unsafe { std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(x)) };
    let upper = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(bits(second)));
    _mm512_or_si512(_mm512_cvtepu16_epi32(bits(first)), upper)
}

/// Lanes that lie side by side.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn interleave(data: &[f32], lanes: usize, depth: usize, stride: usize, out: &mut [u32]) {
    let mask = lower(lanes);
    for (pair, out) in out.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        #[expect(unsafe_code, reason = "vectors come from memory and go there")]
        // SAFETY: the numbers of a row lie within `data`, as `pack_line` checked; a line has 16 lanes.
        unsafe {
            let load = |at: usize| match at < depth {
                true => _mm512_maskz_loadu_ps(mask, data.as_ptr().add(at * stride)),
                false => _mm512_setzero_ps(),
            };
            _mm512_storeu_si512(out.as_mut_ptr().cast(), pairs(load(2 * pair), load(2 * pair + 1)));
        }
    }
}

/// Lanes whose numbers lie side by side: 16 lanes of 16 pairs at a time are transposed.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn transpose(data: &[f32], lanes: usize, depth: usize, stride: usize, out: &mut [u32]) {
    for (step, out) in out.chunks_mut(LANES * LANES).enumerate() {
        let at = step * 2 * LANES;
        let masks = [lower(depth - at), lower((depth - at).saturating_sub(LANES))];
        let mut rows = [_mm512_setzero_si512(); LANES];
        for (lane, row) in rows.iter_mut().enumerate().take(lanes) {
            #[expect(unsafe_code, reason = "vectors come from memory")]
            // SAFETY: the masks keep to numbers of the row, which lie within `data`, as `pack_line` checked; addresses that
            // nothing is read from are made without a claim.
            unsafe {
                let start = data.as_ptr().wrapping_add(lane * stride + at);
                let first = _mm512_maskz_loadu_ps(masks[0], start);
                let second = _mm512_maskz_loadu_ps(masks[1], start.wrapping_add(LANES));
                *row = std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(second, first));
            }
        }
        write_transposed(rows, out);
    }
}

/// As `transpose`.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn transpose_rounded(data: &[bf16], lanes: usize, depth: usize, stride: usize, out: &mut [u32]) {
    for (step, out) in out.chunks_mut(LANES * LANES).enumerate() {
        let at = step * 2 * LANES;
        let mask = words(depth - at);
        let mut rows = [_mm512_setzero_si512(); LANES];
        for (lane, row) in rows.iter_mut().enumerate().take(lanes) {
            #[expect(unsafe_code, reason = "vectors come from memory")]
            // SAFETY: the mask keeps to numbers of the row, which lie within `data`, as `pack_rows` checked.
            unsafe {
                *row = _mm512_maskz_loadu_epi16(mask, data.as_ptr().add(lane * stride + at).cast());
            }
        }
        write_transposed(rows, out);
    }
}

/// As `interleave`, two lines at a time.
#[target_feature(enable = "avx512f,avx512bw")]
fn interleave_rounded(data: &[bf16], lanes: usize, depth: usize, stride: usize, out: &mut [u32]) {
    // Lane by lane: this number of the first row, then that of the second.
    let order: [[u16; 2 * LANES]; 2] = std::array::from_fn(|line| {
        std::array::from_fn(|at| (line * LANES + at / 2 + if at % 2 == 1 { 2 * LANES } else { 0 }) as u16)
    });
    let mask = words(lanes);
    let (first, second) = out.split_at_mut(depth.div_ceil(2) * LANES);
    let (first, second) = (first.as_chunks_mut::<LANES>().0, second.as_chunks_mut::<LANES>().0);
    #[expect(unsafe_code, reason = "vectors come from memory and go there")]
    // SAFETY: the numbers of a row lie within `data`, as `pack_columns` checked; a line has 16 lanes.
    unsafe {
        let order = order.map(|order| _mm512_loadu_si512(order.as_ptr().cast()));
        let load = |at: usize| match at < depth {
            true => _mm512_maskz_loadu_epi16(mask, data.as_ptr().add(at * stride).cast()),
            false => _mm512_setzero_si512(),
        };
        for (pair, first) in first.iter_mut().enumerate() {
            let (a, b) = (load(2 * pair), load(2 * pair + 1));
            _mm512_storeu_si512(first.as_mut_ptr().cast(), _mm512_permutex2var_epi16(a, order[0], b));
            if let Some(second) = second.get_mut(pair) {
                _mm512_storeu_si512(second.as_mut_ptr().cast(), _mm512_permutex2var_epi16(a, order[1], b));
            }
        }
    }
}

/// As many of the columns of 16 rows as there is room for.
#[inline]
#[target_feature(enable = "avx512f")]
fn write_transposed(rows: [__m512i; LANES], out: &mut [u32]) {
    for (out, column) in out.as_chunks_mut::<LANES>().0.iter_mut().zip(transposed(rows)) {
        #[expect(unsafe_code, reason = "a vector goes to memory")]
        // SAFETY: a line has 16 lanes.
        unsafe {
            _mm512_storeu_si512(out.as_mut_ptr().cast(), column);
        }
    }
}

/// 16 x 16 numbers of 32 bits, rows for columns.
#[inline]
#[target_feature(enable = "avx512f")]
fn transposed(rows: [__m512i; LANES]) -> [__m512i; LANES] {
    let mut a = rows;
    let mut b = rows;
    for at in (0..LANES).step_by(2) {
        b[at] = _mm512_unpacklo_epi32(a[at], a[at + 1]);
        b[at + 1] = _mm512_unpackhi_epi32(a[at], a[at + 1]);
    }
    for at in (0..LANES).step_by(4) {
        for half in 0..2 {
            a[at + 2 * half] = _mm512_unpacklo_epi64(b[at + half], b[at + 2 + half]);
            a[at + 2 * half + 1] = _mm512_unpackhi_epi64(b[at + half], b[at + 2 + half]);
        }
    }
    // Now each quarter of a[4 i + j] holds column 4 quarter + j of the rows 4 i to 4 i + 3.
    let mut columns = rows;
    for j in 0..4 {
        let low = |x, y| _mm512_shuffle_i32x4::<0b10_00_10_00>(x, y);
        let high = |x, y| _mm512_shuffle_i32x4::<0b11_01_11_01>(x, y);
        let (even, odd) = (low(a[j], a[4 + j]), high(a[j], a[4 + j]));
        let (even_below, odd_below) = (low(a[8 + j], a[12 + j]), high(a[8 + j], a[12 + j]));
        columns[j] = low(even, even_below);
        columns[4 + j] = low(odd, odd_below);
        columns[8 + j] = high(even, even_below);
        columns[12 + j] = high(odd, odd_below);
    }
    columns
}

/// Lanes anywhere.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn gather(part: Mat<'_>, out: &mut [u32]) {
    for (pair, out) in out.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        for (lane, out) in out.iter_mut().enumerate() {
            let bits = |at: usize| match lane < part.rows && at < part.cols {
                true => bf16::from_f32(part.data[lane * part.row_stride + at * part.col_stride]).to_bits(),
                false => 0,
            };
            *out = u32::from(bits(2 * pair)) | u32::from(bits(2 * pair + 1)) << 16;
        }
    }
}

/// The first `count` lanes, all from 16 on.
pub(super) fn lower(count: usize) -> __mmask16 {
    ((1u32 << count.min(LANES)) - 1) as __mmask16
}

/// The first `count` numbers of a vector, all from 32 on.
fn words(count: usize) -> __mmask32 {
    ((1u64 << count.min(2 * LANES)) - 1) as __mmask32
}
