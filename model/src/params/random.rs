//! Random weights made in place, in the form they are asked for: to measure the speed of a shape without a checkpoint.
//!
//! Every byte is drawn, so that no page is shared with another and none is cheap to read.

use super::{Fresh, Init, Source};
use crate::Error;
use crate::checkpoint::Stored;
use candle_core::{Device, Shape, Tensor};
use half::f16;
use rayon::prelude::*;
use retort_kernels::{Bits, FP8_BLOCK, Format, StoredMatrix};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A source of random weights.
pub struct Random {
    stored: Stored,
    /// Counts the matrices, so that no two are equal.
    made: AtomicU64,
}

/// About the deviation of every weight.
const SIZE: f32 = 0.02;

impl Random {
    pub fn new(stored: Stored) -> Self {
        Self { stored, made: AtomicU64::new(0) }
    }

    /// A matrix [o, i]; `None` for f32, which has no stored form.
    fn matrix(&self, (o, i): (usize, usize)) -> candle_core::Result<Option<StoredMatrix>> {
        let seed = self.made.fetch_add(1, Ordering::Relaxed);
        let format = match self.stored {
            Stored::F32 => return Ok(None),
            Stored::F16 => Format::F16,
            Stored::Bf16 => Format::Bf16,
            Stored::Fp8 => {
                let blocks = o.div_ceil(FP8_BLOCK) * i.div_ceil(FP8_BLOCK);
                Format::Fp8 { scale_inv: vec![SIZE; blocks].into() }
            }
            Stored::Quantised(bits) => Format::Quantised(bits),
        };
        let Some(size) = format.bytes((o, i)) else { candle_core::bail!("a matrix of {o} x {i} is too large") };
        let mut bytes = vec![0u8; size];
        fill(&mut bytes, seed);
        match self.stored {
            Stored::F32 => (),
            // A sign, an exponent of 2^-7 or 2^-6, any fraction.
            Stored::F16 => bytes.as_chunks_mut::<2>().0.par_iter_mut().for_each(|pair| {
                *pair = (u16::from_le_bytes(*pair) & 0x87ff | 0x2000).to_le_bytes();
            }),
            Stored::Bf16 => bytes.as_chunks_mut::<2>().0.par_iter_mut().for_each(|pair| {
                *pair = (u16::from_le_bytes(*pair) & 0x80ff | 0x3c00).to_le_bytes();
            }),
            // A sign, an exponent of 2^-1 or 2^0, any fraction.
            Stored::Fp8 => bytes.par_iter_mut().for_each(|byte| *byte = *byte & 0x8f | 0x30),
            Stored::Quantised(bits) => {
                // The lowest code has no counterpart; with it the mean would not be 0, and all states would look alike.
                bytes.par_iter_mut().for_each(|byte| *byte = balanced(*byte, bits));
                let deviation = if bits == Bits::Four { 4.6 } else { 74.0 };
                let scale = f16::from_f32(SIZE / deviation).to_le_bytes();
                bytes.par_chunks_mut(bits.block_bytes()).for_each(|block| {
                    block[..Bits::SCALES].as_chunks_mut::<2>().0.fill(scale);
                });
            }
        }
        StoredMatrix::new(Arc::new(bytes), 0..size, format, (o, i)).map(Some)
    }
}

impl Source for Random {
    fn tensor(&self, name: &str, shape: &Shape, init: Init, device: &Device) -> Result<Tensor, Error> {
        Fresh { seed: 0 }.tensor(name, shape, init, device)
    }

    fn stored(&self, _: &str, shape: &Shape) -> Result<Option<Vec<StoredMatrix>>, Error> {
        let (e, o, i) = match *shape.dims() {
            [o, i] => (1, o, i),
            [e, o, i] => (e, o, i),
            _ => return Ok(None),
        };
        let matrices: candle_core::Result<_> = (0..e).map(|_| self.matrix((o, i))).collect();
        Ok(matrices?)
    }
}

fn balanced(byte: u8, bits: Bits) -> u8 {
    match bits {
        Bits::Eight => byte.max(1),
        Bits::Four => {
            let low = if byte & 15 == 0 { 8 } else { byte & 15 };
            let high = if byte >> 4 == 0 { 0x80 } else { byte & 0xf0 };
            low | high
        }
    }
}

/// Fills `bytes` from a counter (splitmix64), in parallel.
fn fill(bytes: &mut [u8], seed: u64) {
    const SPAN: usize = 1 << 20;
    bytes.par_chunks_mut(SPAN).enumerate().for_each(|(span, bytes)| {
        let mut state = seed.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(span as u64).wrapping_shl(24);
        for word in bytes.chunks_mut(8) {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes()[..word.len()]);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_have_the_size_they_should_and_differ() -> Result<(), Error> {
        for stored in
            [Stored::Bf16, Stored::F16, Stored::Fp8, Stored::Quantised(Bits::Four), Stored::Quantised(Bits::Eight)]
        {
            let matrices = Random::new(stored).stored("w", &Shape::from((2, 48, 160)))?.expect("stored");
            let numbers: Vec<Vec<f32>> = matrices.iter().map(StoredMatrix::to_vec).collect();
            assert_ne!(numbers[0], numbers[1]);
            let mean_square = numbers[0].iter().map(|x| x * x).sum::<f32>() / numbers[0].len() as f32;
            assert!((0.3..3.0).contains(&(mean_square.sqrt() / SIZE)), "{stored:?}: {}", mean_square.sqrt());
            let mean = numbers[0].iter().sum::<f32>() / numbers[0].len() as f32;
            assert!(mean.abs() < 0.05 * SIZE, "{stored:?}: mean {mean}");
        }
        Ok(())
    }
}
