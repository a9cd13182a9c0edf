//! The bf16 instructions of AVX-512: whether they are there, and the one that multiplies.

use crate::instructions::{Instructions, may_use};
use std::arch::x86_64::*;
use std::sync::LazyLock;

/// Whether this machine has the instructions.
pub(crate) fn is_here() -> bool {
    static FOUND: LazyLock<bool> = LazyLock::new(|| {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512bf16")
    });
    *FOUND && may_use(Instructions::Avx512)
}

/// sum + a * b, pair by pair of 32 numbers in bf16; products are exact, sums f32.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
pub(crate) fn dot(sum: __m512, a: __m512i, b: __m512i) -> __m512 {
    #[expect(unsafe_code, reason = "the same bits under another name")]
    // SAFETY: both types are 64 bytes of plain numbers.
    let (a, b) = unsafe { (std::mem::transmute::<__m512i, __m512bh>(a), std::mem::transmute::<__m512i, __m512bh>(b)) };
    _mm512_dpbf16_ps(sum, a, b)
}
