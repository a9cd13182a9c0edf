//! The inner loop of bf16 products: multiplying a tile.

use super::pack::lower;
use super::{LANES, LINES, ROWS};
use crate::avx512_bf16::{dot, is_here};
use std::arch::x86_64::*;

/// Some rows of half a line times the columns of up to three.
pub(crate) struct Tile<'a> {
    pub left: &'a [u32],
    /// The first row in its line.
    pub half: usize,
    pub right: &'a [u32],
    /// From one packed line to the next, of which `pairs` lanes are multiplied.
    pub line: usize,
    pub pairs: usize,
    /// Rows and columns that are there.
    pub height: usize,
    pub width: usize,
}

impl Tile<'_> {
    /// # Safety
    /// `out` must be valid for writes of the tile's rows, for reads too with `accumulate`.
    #[expect(unsafe_code, reason = "the product goes to memory that may be unwritten")]
    pub(crate) unsafe fn multiply(&self, out: *mut f32, row_stride: usize, accumulate: bool) {
        let lines = self.width.div_ceil(LANES);
        let (size, last) = (self.pairs * LANES, lines.saturating_sub(1) * self.line);
        assert!(self.left.len() >= size && self.right.len() >= last + size && self.half + ROWS <= LANES, "a tile");
        assert!(is_here() && (1..=LINES).contains(&lines) && self.height <= ROWS, "a tile");
        // SAFETY: the instructions are there and the operands as long as they are read; the rest is the caller's promise.
        unsafe {
            match lines {
                1 => self.lines::<1>(out, row_stride, accumulate),
                2 => self.lines::<2>(out, row_stride, accumulate),
                _ => self.lines::<3>(out, row_stride, accumulate),
            }
        }
    }

    #[expect(unsafe_code, reason = "vectors come from memory and go there")]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn lines<const N: usize>(&self, out: *mut f32, row_stride: usize, accumulate: bool) {
        let (left, right) = (self.left.as_ptr(), self.right.as_ptr());
        let mut sums = [[_mm512_setzero_ps(); N]; ROWS];
        for pair in 0..self.pairs {
            // SAFETY: operands of this length were checked for.
            unsafe {
                let columns: [__m512i; N] =
                    std::array::from_fn(|n| _mm512_loadu_si512(right.add(n * self.line + pair * LANES).cast()));
                for (row, sums) in sums.iter_mut().enumerate() {
                    let x = _mm512_set1_epi32(*left.add(pair * LANES + self.half + row) as i32);
                    for (sum, column) in sums.iter_mut().zip(columns) {
                        *sum = dot(*sum, x, column);
                    }
                }
            }
        }
        for (row, sums) in sums.iter().enumerate().take(self.height) {
            for (n, sum) in sums.iter().enumerate() {
                let mask = lower(self.width - n * LANES);
                // SAFETY: rows and columns that are there; the caller's promise.
                unsafe {
                    let to = out.add(row * row_stride + n * LANES);
                    let sum = match accumulate {
                        true => _mm512_add_ps(_mm512_maskz_loadu_ps(mask, to), *sum),
                        false => *sum,
                    };
                    _mm512_mask_storeu_ps(to, mask, sum);
                }
            }
        }
    }
}
