//! The inner loops of integer products in AVX2 and AVX-512 VNNI.
//!
//! One vector holds four columns of 8 or 16 rows; the matching four codes of x are repeated over it. AVX2's
//! `vpmaddubsw` adds two products of an unsigned and a signed byte in 16 bits, which 4-bit codes cannot overrun: eight
//! such sums are at most 8 * 2 * 15 * 127 = 30,480. Codes of 8 bits are multiplied as two halves of 4.

use super::product::CodesRow;
use super::{Bits, GROUP, GROUPS, TILE};
use std::arch::x86_64::*;
use std::hint::black_box;
use std::sync::LazyLock;

const SCALES: usize = Bits::SCALES;

/// Bytes of four columns of a tile.
const LINE: usize = TILE * GROUP;

pub(super) fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
}

pub(super) fn has_avx512_vnni() -> bool {
    static FOUND: LazyLock<bool> = LazyLock::new(|| {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vnni")
    });
    *FOUND
}

/// The products of a tile with M rows of x.
pub(super) fn avx2_rows<const M: usize>(tile: &[u8], bits: Bits, xs: [CodesRow; M]) -> [[f32; TILE]; M] {
    assert!(has_avx2(), "chosen where it is there");
    #[expect(unsafe_code, reason = "the instructions were found on this machine")]
    // SAFETY: checked above.
    unsafe {
        match bits {
            Bits::Four => avx2_q4(tile, xs),
            Bits::Eight => avx2_q8(tile, xs),
        }
    }
}

/// The products of a tile with M rows of x.
pub(super) fn avx512_rows<const M: usize>(tile: &[u8], bits: Bits, xs: [CodesRow; M]) -> [[f32; TILE]; M] {
    assert!(has_avx512_vnni(), "chosen where it is there");
    #[expect(unsafe_code, reason = "the instructions were found on this machine")]
    // SAFETY: checked above.
    unsafe {
        match bits {
            Bits::Four => avx512_q4(tile, xs),
            Bits::Eight => avx512_q8(tile, xs),
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn avx2_q4<const M: usize>(tile: &[u8], xs: [CodesRow; M]) -> [[f32; TILE]; M] {
    const BYTES: usize = Bits::Four.block_bytes();
    let nibble = _mm256_set1_epi8(15);
    // Unknown to the compiler, which would unroll the loop, reorder it and run out of registers.
    let pairs = black_box(GROUPS / 2);
    let mut sums = [[_mm256_setzero_ps(); 2]; M];
    for (at, block) in tile.as_chunks::<BYTES>().0.iter().enumerate() {
        fetch_ahead(block);
        let mut dots = [[_mm256_setzero_si256(); 2]; M];
        for g in 0..pairs {
            let bytes = [load256(block, SCALES + g * LINE), load256(block, SCALES + g * LINE + 32)];
            let low = [_mm256_and_si256(bytes[0], nibble), _mm256_and_si256(bytes[1], nibble)];
            let high = [
                _mm256_and_si256(_mm256_srli_epi16(bytes[0], 4), nibble),
                _mm256_and_si256(_mm256_srli_epi16(bytes[1], 4), nibble),
            ];
            for m in 0..M {
                let groups = &xs[m].groups[at];
                let (x_low, x_high) = (_mm256_set1_epi32(groups[g]), _mm256_set1_epi32(groups[g + GROUPS / 2]));
                for half in 0..2 {
                    let low = _mm256_maddubs_epi16(low[half], x_low);
                    let high = _mm256_maddubs_epi16(high[half], x_high);
                    dots[m][half] = _mm256_add_epi16(dots[m][half], _mm256_add_epi16(low, high));
                }
            }
        }
        let scales = avx2_scales(block);
        for m in 0..M {
            for half in 0..2 {
                let dot = _mm256_madd_epi16(dots[m][half], _mm256_set1_epi16(1));
                sums[m][half] = avx2_block(sums[m][half], dot, scales[half], &xs[m], at);
            }
        }
    }
    avx2_out(&sums)
}

#[target_feature(enable = "avx2,fma,f16c")]
fn avx2_q8<const M: usize>(tile: &[u8], xs: [CodesRow; M]) -> [[f32; TILE]; M] {
    const BYTES: usize = Bits::Eight.block_bytes();
    let nibble = _mm256_set1_epi8(15);
    let mut sums = [[_mm256_setzero_ps(); 2]; M];
    for (at, block) in tile.as_chunks::<BYTES>().0.iter().enumerate() {
        fetch_ahead(block);
        let scales = avx2_scales(block);
        for half in 0..2 {
            let mut lows = [_mm256_setzero_si256(); M];
            let mut highs = [_mm256_setzero_si256(); M];
            for g in 0..GROUPS {
                let bytes = load256(block, SCALES + g * LINE + half * 32);
                let low = _mm256_and_si256(bytes, nibble);
                let high = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), nibble);
                for m in 0..M {
                    let x = _mm256_set1_epi32(xs[m].groups[at][g]);
                    lows[m] = _mm256_add_epi16(lows[m], _mm256_maddubs_epi16(low, x));
                    highs[m] = _mm256_add_epi16(highs[m], _mm256_maddubs_epi16(high, x));
                }
            }
            for m in 0..M {
                let low = _mm256_madd_epi16(lows[m], _mm256_set1_epi16(1));
                let high = _mm256_madd_epi16(highs[m], _mm256_set1_epi16(16));
                let dot = _mm256_add_epi32(low, high);
                sums[m][half] = avx2_block(sums[m][half], dot, scales[half], &xs[m], at);
            }
        }
    }
    avx2_out(&sums)
}

/// Adds what block `at` gives for eight rows.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn avx2_block(sum: __m256, dot: __m256i, scales: __m256, x: &CodesRow, at: usize) -> __m256 {
    let dot = _mm256_sub_epi32(dot, _mm256_set1_epi32(x.middles[at]));
    let scales = _mm256_mul_ps(scales, _mm256_set1_ps(x.scales[at]));
    _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), scales, sum)
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn avx2_scales(block: &[u8]) -> [__m256; 2] {
    let both = load256(block, 0);
    [_mm256_cvtph_ps(_mm256_castsi256_si128(both)), _mm256_cvtph_ps(_mm256_extracti128_si256(both, 1))]
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn avx2_out<const M: usize>(sums: &[[__m256; 2]; M]) -> [[f32; TILE]; M] {
    let mut out = [[0f32; TILE]; M];
    for (out, sums) in out.iter_mut().zip(sums) {
        for (half, sum) in sums.iter().enumerate() {
            #[expect(unsafe_code, reason = "a vector goes to memory")]
            // SAFETY: eight numbers from 0 or 8 lie within the sixteen.
            unsafe {
                _mm256_storeu_ps(out.as_mut_ptr().add(8 * half), *sum);
            }
        }
    }
    out
}

#[inline]
#[target_feature(enable = "avx2")]
fn load256(bytes: &[u8], at: usize) -> __m256i {
    let bytes: &[u8] = &bytes[at..at + 32];
    #[expect(unsafe_code, reason = "a vector comes from memory")]
    // SAFETY: the slice holds 32 bytes.
    unsafe {
        _mm256_loadu_si256(bytes.as_ptr().cast())
    }
}

/// Asks for the bytes a few blocks further on. They are read once, in order; without this the few rows of a decoding step
/// would wait for memory.
#[inline]
#[target_feature(enable = "sse")]
fn fetch_ahead(block: &[u8]) {
    const AHEAD: usize = 2048;
    for line in (0..block.len()).step_by(64) {
        // No address is wrong here: a prefetch changes nothing but the caches.
        _mm_prefetch::<_MM_HINT_T0>(block.as_ptr().wrapping_add(AHEAD + line).cast());
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn avx512_q4<const M: usize>(tile: &[u8], xs: [CodesRow; M]) -> [[f32; TILE]; M] {
    const BYTES: usize = Bits::Four.block_bytes();
    let nibble = _mm512_set1_epi8(15);
    let mut sums = [_mm512_setzero_ps(); M];
    for (at, block) in tile.as_chunks::<BYTES>().0.iter().enumerate() {
        fetch_ahead(block);
        let mut dots = [_mm512_setzero_si512(); M];
        for g in 0..GROUPS / 2 {
            let bytes = load512(block, SCALES + g * LINE);
            let low = _mm512_and_si512(bytes, nibble);
            let high = _mm512_and_si512(_mm512_srli_epi16(bytes, 4), nibble);
            for m in 0..M {
                let groups = &xs[m].groups[at];
                dots[m] = _mm512_dpbusd_epi32(dots[m], low, _mm512_set1_epi32(groups[g]));
                dots[m] = _mm512_dpbusd_epi32(dots[m], high, _mm512_set1_epi32(groups[g + GROUPS / 2]));
            }
        }
        avx512_block(&mut sums, &dots, block, &xs, at);
    }
    avx512_out(&sums)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn avx512_q8<const M: usize>(tile: &[u8], xs: [CodesRow; M]) -> [[f32; TILE]; M] {
    const BYTES: usize = Bits::Eight.block_bytes();
    let mut sums = [_mm512_setzero_ps(); M];
    for (at, block) in tile.as_chunks::<BYTES>().0.iter().enumerate() {
        fetch_ahead(block);
        let mut dots = [_mm512_setzero_si512(); M];
        for g in 0..GROUPS {
            let bytes = load512(block, SCALES + g * LINE);
            for m in 0..M {
                dots[m] = _mm512_dpbusd_epi32(dots[m], bytes, _mm512_set1_epi32(xs[m].groups[at][g]));
            }
        }
        avx512_block(&mut sums, &dots, block, &xs, at);
    }
    avx512_out(&sums)
}

/// Adds what block `at` gives for sixteen rows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn avx512_block<const M: usize>(
    sums: &mut [__m512; M],
    dots: &[__m512i; M],
    block: &[u8],
    xs: &[CodesRow; M],
    at: usize,
) {
    let scales: &[u8] = &block[..SCALES];
    #[expect(unsafe_code, reason = "a vector comes from memory")]
    // SAFETY: the slice holds 32 bytes.
    let scales = _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(scales.as_ptr().cast()) });
    for m in 0..M {
        let dot = _mm512_sub_epi32(dots[m], _mm512_set1_epi32(xs[m].middles[at]));
        let scales = _mm512_mul_ps(scales, _mm512_set1_ps(xs[m].scales[at]));
        sums[m] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), scales, sums[m]);
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn avx512_out<const M: usize>(sums: &[__m512; M]) -> [[f32; TILE]; M] {
    let mut out = [[0f32; TILE]; M];
    for (out, sum) in out.iter_mut().zip(sums) {
        #[expect(unsafe_code, reason = "a vector goes to memory")]
        // SAFETY: the row holds sixteen numbers.
        unsafe {
            _mm512_storeu_ps(out.as_mut_ptr(), *sum);
        }
    }
    out
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load512(bytes: &[u8], at: usize) -> __m512i {
    let bytes: &[u8] = &bytes[at..at + LINE];
    #[expect(unsafe_code, reason = "a vector comes from memory")]
    // SAFETY: the slice holds 64 bytes.
    unsafe {
        _mm512_loadu_si512(bytes.as_ptr().cast())
    }
}
