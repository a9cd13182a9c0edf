//! Moments of an optimiser: in f32, or in 8 bits each, block by block (arXiv 2110.02861).
//!
//! A code is a small float relative to the largest number of its block. First moments have a sign, 5 bits of exponent and 2
//! of mantissa; second moments are kept as their root, which has half the range, in 5 and 3. Numbers are rounded up or
//! down by chance, so that what is added in small parts is not lost to rounding; chance is a function of the step and the
//! place, so that a run repeated is the same run. A second moment is never rounded to 0: a step divides by it. Range is
//! worth more than digits here: a weight whose gradients are below the smallest code would hardly move.

use crate::{cpu, simd};
use candle_core::{DType, Device, Result, Tensor, Var};

/// Numbers that share a scale.
pub const MOMENT_BLOCK: usize = 256;

/// First and second moments of a tensor's weights.
#[derive(Debug)]
pub enum Moments {
    Exact {
        m: Vec<f32>,
        v: Vec<f32>,
    },
    /// The same on another device than the CPU, in the parameter's shape; changed in place, and so shared with nobody.
    Elsewhere {
        m: Tensor,
        v: Tensor,
    },
    /// The first, and the second's roots.
    Coded {
        m: Codes,
        root: Codes,
    },
    /// The same on another device, changed in place.
    CodedElsewhere {
        m: CodesElsewhere,
        root: CodesElsewhere,
    },
}

/// Codes of numbers.
#[derive(Debug)]
pub struct Codes<C = Vec<u8>, S = Vec<f32>> {
    pub codes: C,
    /// The largest magnitude of each block.
    pub scales: S,
}

impl Codes {
    fn zeros(n: usize) -> Self {
        Self { codes: vec![0; n], scales: vec![0.0; n.div_ceil(MOMENT_BLOCK)] }
    }

    pub fn on(&self, device: &Device) -> Result<CodesElsewhere> {
        let (codes, scales) = (Tensor::new(&self.codes[..], device)?, Tensor::new(&self.scales[..], device)?);
        Ok(Codes { codes, scales })
    }
}

/// The same on another device, as tensors of u8 and f32.
pub type CodesElsewhere = Codes<Tensor, Tensor>;

impl CodesElsewhere {
    fn zeros_on(n: usize, device: &Device) -> Result<Self> {
        let scales = Tensor::zeros(n.div_ceil(MOMENT_BLOCK), DType::F32, device)?;
        Ok(Self { codes: Tensor::zeros(n, DType::U8, device)?, scales })
    }

    pub(crate) fn here(&self) -> Result<Codes> {
        Ok(Codes { codes: self.codes.to_vec1()?, scales: self.scales.to_vec1()? })
    }
}

impl Moments {
    /// Moments of `n` weights before the first step.
    pub fn exact(n: usize) -> Self {
        Self::Exact { m: vec![0.0; n], v: vec![0.0; n] }
    }

    /// Moments in f32 before the first step, where the parameter is.
    pub fn beside(parameter: &Var) -> Result<Self> {
        if cpu::is_here(parameter.device()) {
            return Ok(Self::exact(parameter.elem_count()));
        }
        let zeros = || Tensor::zeros(parameter.shape(), DType::F32, parameter.device());
        Ok(Self::Elsewhere { m: zeros()?, v: zeros()? })
    }

    /// Those of `n` weights in 8 bits.
    pub fn coded(n: usize) -> Self {
        Self::Coded { m: Codes::zeros(n), root: Codes::zeros(n) }
    }

    /// The same where the parameter is.
    pub fn coded_beside(parameter: &Var) -> Result<Self> {
        let (n, device) = (parameter.elem_count(), parameter.device());
        if cpu::is_here(device) {
            return Ok(Self::coded(n));
        }
        Ok(Self::CodedElsewhere { m: Codes::zeros_on(n, device)?, root: Codes::zeros_on(n, device)? })
    }

    /// Weights that these belong to.
    pub fn len(&self) -> usize {
        match self {
            Self::Exact { m, .. } => m.len(),
            Self::Elsewhere { m, .. } => m.elem_count(),
            Self::Coded { m, .. } => m.codes.len(),
            Self::CodedElsewhere { m, .. } => m.codes.elem_count(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that exact moments of `n` weights take.
    pub fn exact_bytes(n: usize) -> usize {
        2 * n * size_of::<f32>()
    }

    /// The same in 8 bits.
    pub fn coded_bytes(n: usize) -> usize {
        2 * (n + n.div_ceil(MOMENT_BLOCK) * size_of::<f32>())
    }
}

/// A small float of `M` bits of mantissa whose largest code stands for 1 and whose smallest above 0 for about 2^-32.
#[derive(Clone, Copy)]
struct Small<const M: u32, const LARGEST: u32>;

/// Of a first moment's magnitude, beside its sign.
const FIRST: Small<2, 127> = Small;
/// Of a second moment's root.
const ROOT: Small<3, 255> = Small;

impl<const M: u32, const LARGEST: u32> Small<M, LARGEST> {
    /// The leading bits of the f32 that code 0 would be.
    const BASE: u32 = (127 << M) - LARGEST;

    #[inline(always)]
    fn decode(self, code: u32) -> f32 {
        let number = f32::from_bits(code.wrapping_add(Self::BASE).wrapping_shl(23 - M));
        if code == 0 { 0.0 } else { number }
    }

    /// The code of a number from 0 to 1: the one below or above it, by the bits of `chance`.
    #[inline(always)]
    fn encode(self, number: f32, chance: u32) -> u32 {
        let bits = number.to_bits().wrapping_add(chance & ((1 << (23 - M)) - 1));
        bits.wrapping_shr(23 - M).saturating_sub(Self::BASE)
    }
}

/// Bits that depend on a place and a step alone (the finaliser of a hash by C. Wellons, "lowbias32").
#[inline(always)]
fn chance(at: u32, step: u32) -> u32 {
    let mut x = at.wrapping_mul(0x9E37_79B9) ^ step.wrapping_mul(0x85EB_CA6B);
    x ^= x.wrapping_shr(16);
    x = x.wrapping_mul(0x7FEB_352D);
    x ^= x.wrapping_shr(15);
    x = x.wrapping_mul(0x846C_A68B);
    x ^ x.wrapping_shr(16)
}

/// Codes of one block, and its scale.
pub(crate) struct Block<'a> {
    pub codes: &'a mut [u8],
    pub scale: &'a mut f32,
}

impl Block<'_> {
    /// First moments.
    #[inline(always)]
    pub(crate) fn read_first(&self, out: &mut [f32; MOMENT_BLOCK]) {
        for (out, &code) in out.iter_mut().zip(&*self.codes) {
            let code = u32::from(code);
            let magnitude = FIRST.decode(code & 127) * *self.scale;
            *out = f32::from_bits(magnitude.to_bits() | (code & 128).wrapping_shl(24));
        }
    }

    /// Roots of second moments.
    #[inline(always)]
    pub(crate) fn read_roots(&self, out: &mut [f32; MOMENT_BLOCK]) {
        for (out, &code) in out.iter_mut().zip(&*self.codes) {
            *out = ROOT.decode(u32::from(code)) * *self.scale;
        }
    }

    /// Rounds by what chance gives for the places from `first` on.
    #[inline(always)]
    pub(crate) fn write_first(&mut self, numbers: &[f32; MOMENT_BLOCK], first: u32, step: u32) {
        let inverse = self.rescale(numbers);
        for (at, (code, x)) in self.codes.iter_mut().zip(numbers).enumerate() {
            let chance = chance(first.wrapping_add(at as u32), step);
            let magnitude = FIRST.encode((x.abs() * inverse).min(1.0), chance);
            *code = (magnitude | x.to_bits().wrapping_shr(31).wrapping_shl(7)) as u8;
        }
    }

    /// The same for roots, none of which becomes 0.
    #[inline(always)]
    pub(crate) fn write_roots(&mut self, numbers: &[f32; MOMENT_BLOCK], first: u32, step: u32) {
        let inverse = self.rescale(numbers);
        for (at, (code, &x)) in self.codes.iter_mut().zip(numbers).enumerate() {
            // Other bits than those of the first moment.
            let chance = chance(first.wrapping_add(at as u32), !step);
            let found = ROOT.encode((x * inverse).min(1.0), chance);
            *code = if x > 0.0 { found.max(1) } else { 0 } as u8;
        }
    }

    /// Sets the scale to the largest magnitude; what numbers are multiplied with to lie between 0 and 1.
    #[inline(always)]
    fn rescale(&mut self, numbers: &[f32; MOMENT_BLOCK]) -> f32 {
        let largest = simd::max(&numbers.map(f32::abs));
        *self.scale = largest;
        // Where the inverse is beyond f32, all of the block is as good as 0.
        let inverse = 1.0 / largest;
        if inverse.is_finite() { inverse } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_small_floats() {
        assert_eq!((FIRST.decode(127), ROOT.decode(255), FIRST.decode(0), ROOT.decode(0)), (1.0, 1.0, 0.0, 0.0));
        for code in 1..=127 {
            assert_eq!(FIRST.encode(FIRST.decode(code), u32::MAX), code);
        }
        for code in 1..=255 {
            assert_eq!(ROOT.encode(ROOT.decode(code), u32::MAX), code);
        }
        // A quarter and an eighth apart at the most, down to 2^-31.
        for step in 0..1000 {
            let x = 2f32.powf(-31.0 * step as f32 / 1000.0);
            for at in 0..4 {
                let (first, root) = (FIRST.encode(x, chance(at, step)), ROOT.encode(x, chance(at, step)));
                assert!((FIRST.decode(first) / x - 1.0).abs() < 0.25 && (ROOT.decode(root) / x - 1.0).abs() < 0.125);
            }
        }
    }

    /// As `passes.cu` has them.
    #[test]
    fn chance_is_the_same_on_a_gpu() {
        assert_eq!([chance(0, 1), chance(255, 7), chance(1 << 20, !7)], [0x1efe_e872, 0x0483_0cc2, 0x8e62_1553]);
    }

    #[test]
    fn rounding_by_chance_keeps_the_mean() {
        for x in [0.013f32, 0.2, 0.77, 1.8e-5, 2e-6, 3e-9] {
            let mean = |decoded: &dyn Fn(u32) -> f32| (0..90_000).map(|at| f64::from(decoded(at))).sum::<f64>() / 9e4;
            let first = mean(&|at| FIRST.decode(FIRST.encode(x, chance(at, 7))));
            let root = mean(&|at| ROOT.decode(ROOT.encode(x, chance(at, 7))));
            for found in [first, root] {
                assert!((found / f64::from(x) - 1.0).abs() < 2e-3, "{found} for {x}");
            }
        }
    }

    #[test]
    fn a_block_keeps_signs_and_never_divides_by_nothing() {
        let (mut codes, mut scale) = (vec![0; 5], 0.0);
        let mut numbers = [0f32; MOMENT_BLOCK];
        numbers[..5].copy_from_slice(&[-3.0, 1e-9, 0.0, 2.0, -1e-30]);
        let mut block = Block { codes: &mut codes, scale: &mut scale };
        block.write_first(&numbers, 0, 1);
        let mut read = [0f32; MOMENT_BLOCK];
        block.read_first(&mut read);
        assert!(read[0] == -3.0 && (read[3] - 2.0).abs() < 0.5 && read[1].abs() < 1e-4 && read[2] == 0.0, "{read:?}");
        block.write_roots(&numbers.map(f32::abs), 0, 1);
        block.read_roots(&mut read);
        assert!(read[0] == 3.0 && read[1] > 0.0 && read[2] == 0.0 && read[4] > 0.0, "{read:?}");
    }
}
