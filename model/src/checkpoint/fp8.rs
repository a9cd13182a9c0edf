//! DeepSeek's FP8 weights: e4m3 numbers with one f32 scale for each 128 x 128 block.
//!
//! `X.weight` [o, i] holds e4m3, `X.weight_scale_inv` [ceil(o/128), ceil(i/128)] the scales; despite the name the weight
//! is e4m3 times scale (DeepSeek-V3 `inference/kernel.py`, `README_WEIGHTS.md`). Blocks at the edges may be partial.

use float8::F8E4M3;
use retort_kernels::FP8_BLOCK as BLOCK;

/// The largest finite e4m3 number.
const E4M3_MAX: f32 = 448.0;

/// A quantised matrix.
pub struct Fp8Block {
    /// e4m3 bytes, row-major [o, i].
    pub bytes: Vec<u8>,
    /// Scales, row-major [ceil(o/128), ceil(i/128)].
    pub scale_inv: Vec<f32>,
}

impl Fp8Block {
    /// Rounds `weight` [o, i] to nearest, each block scaled so that its largest number becomes 448.
    pub fn quantise(weight: &[f32], o: usize, i: usize) -> Self {
        let (block_rows, block_cols) = (o.div_ceil(BLOCK), i.div_ceil(BLOCK));
        let mut largest = vec![0f32; block_rows * block_cols];
        for (row, values) in weight.chunks(i).enumerate() {
            for (col, value) in values.iter().enumerate() {
                let block = &mut largest[row / BLOCK * block_cols + col / BLOCK];
                *block = block.max(value.abs());
            }
        }
        // Numbers so small that their scale would be 0 become 0 themselves.
        let scale = |max: f32| if max > 0.0 { (max / E4M3_MAX).max(f32::MIN_POSITIVE) } else { 1.0 };
        let scale_inv: Vec<f32> = largest.into_iter().map(scale).collect();
        let bytes = weight
            .iter()
            .enumerate()
            .map(|(at, value)| {
                let (row, col) = (at / i, at % i);
                F8E4M3::from_f32(value / scale_inv[row / BLOCK * block_cols + col / BLOCK]).to_bits()
            })
            .collect();
        Self { bytes, scale_inv }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use retort_kernels::{Format, StoredMatrix};
    use std::sync::Arc;

    fn back(packed: &Fp8Block, o: usize, i: usize) -> Vec<f32> {
        let format = Format::Fp8 { scale_inv: packed.scale_inv.as_slice().into() };
        StoredMatrix::new(Arc::new(packed.bytes.clone()), 0..o * i, format, (o, i)).expect("fits").to_vec()
    }

    #[test]
    fn the_smallest_numbers_stay_finite() {
        for tiny in [1e-44f32, -1e-40, f32::MIN_POSITIVE] {
            let back = back(&Fp8Block::quantise(&[tiny, 0.0], 1, 2), 1, 2);
            assert!(back.iter().all(|x| x.is_finite() && x.abs() <= 2.0 * tiny.abs()), "{tiny}: {back:?}");
        }
    }

    #[test]
    fn partial_blocks_come_back_within_half_a_step() {
        let (o, i) = (130, 200);
        let weight: Vec<f32> =
            (0..o * i).map(|at| ((at as f32) * 0.37).sin() * if at / i < 128 { 1.0 } else { 100.0 }).collect();
        let packed = Fp8Block::quantise(&weight, o, i);
        assert_eq!(packed.scale_inv.len(), 4);
        let back = back(&packed, o, i);
        for (at, (found, exact)) in back.iter().zip(&weight).enumerate() {
            let scale = packed.scale_inv[at / i / BLOCK * 2 + at % i / BLOCK];
            // e4m3 keeps three bits after the leading one; below 2^-6 its step is 2^-9.
            let allowed = (exact.abs() / 16.0).max(scale * 2f32.powi(-10)) * 1.001;
            assert!((found - exact).abs() <= allowed, "element {at}: {found} against {exact}");
        }
    }

    #[test]
    fn a_block_of_zeros_stays_zero() {
        let packed = Fp8Block::quantise(&[0.0; 4], 2, 2);
        assert_eq!(back(&packed, 2, 2), [0.0; 4]);
    }
}
