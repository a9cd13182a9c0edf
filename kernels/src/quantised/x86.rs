//! The inner loops of integer products in AVX2 and AVX-512 VNNI.
//!
//! One vector holds four columns of 8 or 16 rows; the matching four codes of x are repeated over it. AVX2's
//! `vpmaddubsw` adds two products of an unsigned and a signed byte in 16 bits, which 4-bit codes cannot overrun: eight
//! such sums are at most 8 * 2 * 15 * 127 = 30,480. Codes of 8 bits are multiplied as two halves of 4.

use super::codes::{LINES, MIDDLES_LINE, Panel, SCALES_LINE};
use super::{Bits, GROUP, GROUPS, TILE};
use crate::instructions::{Instructions, may_use};
use std::arch::x86_64::*;
use std::hint::black_box;
use std::sync::LazyLock;

const SCALES: usize = Bits::SCALES;

/// Bytes of four columns of a tile.
const LINE: usize = TILE * GROUP;

pub(super) fn has_avx2() -> bool {
    let here = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
    here && may_use(Instructions::Avx2)
}

pub(super) fn has_avx512_vnni() -> bool {
    static FOUND: LazyLock<bool> = LazyLock::new(|| {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vnni")
    });
    *FOUND && may_use(Instructions::Avx512)
}

/// The products of a tile with a panel of M rows of x.
pub(super) fn avx2_rows<const M: usize>(tile: &[u8], bits: Bits, panel: Panel<'_, M>) -> [[f32; TILE]; M] {
    assert!(has_avx2(), "chosen where it is there");
    #[expect(unsafe_code, reason = "the instructions were found on this machine")]
    // SAFETY: checked above.
    unsafe {
        match bits {
            Bits::Four => avx2_q4(tile, panel),
            Bits::Eight => avx2_q8(tile, panel),
        }
    }
}

/// The products of a tile with a panel of M rows of x.
pub(super) fn avx512_rows<const M: usize>(tile: &[u8], bits: Bits, panel: Panel<'_, M>) -> [[f32; TILE]; M] {
    assert!(has_avx512_vnni(), "chosen where it is there");
    #[expect(unsafe_code, reason = "the instructions were found on this machine")]
    // SAFETY: checked above.
    unsafe {
        match bits {
            Bits::Four => avx512::<M, true>(tile, panel),
            Bits::Eight => avx512::<M, false>(tile, panel),
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn avx2_q4<const M: usize>(tile: &[u8], panel: Panel<'_, M>) -> [[f32; TILE]; M] {
    const BYTES: usize = Bits::Four.block_bytes();
    let nibble = _mm256_set1_epi8(15);
    // Unknown to the compiler, which would unroll the loop, reorder it and run out of registers.
    let pairs = black_box(GROUPS / 2);
    let mut sums = [[_mm256_setzero_ps(); 2]; M];
    for (block, x) in tile.as_chunks::<BYTES>().0.iter().zip(panel) {
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
                let (x_low, x_high) = (_mm256_set1_epi32(x[g][m]), _mm256_set1_epi32(x[g + GROUPS / 2][m]));
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
                sums[m][half] = avx2_block(sums[m][half], dot, scales[half], x, m);
            }
        }
    }
    avx2_out(&sums)
}

#[target_feature(enable = "avx2,fma,f16c")]
fn avx2_q8<const M: usize>(tile: &[u8], panel: Panel<'_, M>) -> [[f32; TILE]; M] {
    const BYTES: usize = Bits::Eight.block_bytes();
    let nibble = _mm256_set1_epi8(15);
    let mut sums = [[_mm256_setzero_ps(); 2]; M];
    for (block, x) in tile.as_chunks::<BYTES>().0.iter().zip(panel) {
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
                    let x = _mm256_set1_epi32(x[g][m]);
                    lows[m] = _mm256_add_epi16(lows[m], _mm256_maddubs_epi16(low, x));
                    highs[m] = _mm256_add_epi16(highs[m], _mm256_maddubs_epi16(high, x));
                }
            }
            for m in 0..M {
                let low = _mm256_madd_epi16(lows[m], _mm256_set1_epi16(1));
                let high = _mm256_madd_epi16(highs[m], _mm256_set1_epi16(16));
                let dot = _mm256_add_epi32(low, high);
                sums[m][half] = avx2_block(sums[m][half], dot, scales[half], x, m);
            }
        }
    }
    avx2_out(&sums)
}

/// Adds what a block gives for eight rows of W and row `m` of x.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn avx2_block<const M: usize>(sum: __m256, dot: __m256i, scales: __m256, x: &[[i32; M]; LINES], m: usize) -> __m256 {
    let dot = _mm256_add_epi32(dot, _mm256_set1_epi32(x[MIDDLES_LINE][m]));
    let scales = _mm256_mul_ps(scales, _mm256_castsi256_ps(_mm256_set1_epi32(x[SCALES_LINE][m])));
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

/// `FOUR`: codes of 4 bits, else of 8. One function, because the sums of a block are only inlined where they stand.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn avx512<const M: usize, const FOUR: bool>(tile: &[u8], panel: Panel<'_, M>) -> [[f32; TILE]; M] {
    let nibble = _mm512_set1_epi8(15);
    let mut sums = [_mm512_setzero_ps(); M];
    for (block, x) in tile.chunks_exact(if FOUR { Bits::Four } else { Bits::Eight }.block_bytes()).zip(panel) {
        fetch_ahead(block);
        let mut dots = [_mm512_setzero_si512(); M];
        for m in 0..M {
            dots[m] = _mm512_set1_epi32(x[MIDDLES_LINE][m]);
        }
        if FOUR {
            for g in 0..GROUPS / 2 {
                let bytes = load512(block, SCALES + g * LINE);
                let low = _mm512_and_si512(bytes, nibble);
                let high = _mm512_and_si512(_mm512_srli_epi16(bytes, 4), nibble);
                for m in 0..M {
                    dots[m] = _mm512_dpbusd_epi32(dots[m], low, _mm512_set1_epi32(x[g][m]));
                }
                for m in 0..M {
                    dots[m] = _mm512_dpbusd_epi32(dots[m], high, _mm512_set1_epi32(x[g + GROUPS / 2][m]));
                }
            }
        } else {
            for (g, x) in x[..GROUPS].iter().enumerate() {
                let bytes = load512(block, SCALES + g * LINE);
                for m in 0..M {
                    dots[m] = _mm512_dpbusd_epi32(dots[m], bytes, _mm512_set1_epi32(x[m]));
                }
            }
        }
        let scales: &[u8] = &block[..SCALES];
        #[expect(unsafe_code, reason = "a vector comes from memory")]
        // SAFETY: the slice holds 32 bytes.
        let scales = _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(scales.as_ptr().cast()) });
        for m in 0..M {
            let scales = _mm512_mul_ps(scales, _mm512_castsi512_ps(_mm512_set1_epi32(x[SCALES_LINE][m])));
            sums[m] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[m]), scales, sums[m]);
        }
    }
    avx512_out(&sums)
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
