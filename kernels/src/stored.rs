//! Matrices that stay in the bytes they are stored in: bf16, f16, FP8 blocks, quantised blocks. No f32 copy is kept.
//!
//! bf16, f16 and FP8 are multiplied a panel at a time: decoded into scratch memory, used for all rows of x, forgotten. FP8
//! is DeepSeek's layout (`inference/kernel.py`): e4m3 numbers, one f32 scale for each 128 x 128 block, the weight is their
//! product. Quantised blocks have integer products of their own, see `quantised`.

use crate::offload::Guest;
use crate::quantised::{self, Bits};
use crate::row_products::Panels;
use crate::{cpu, cuda, simd};
use candle_core::{DType, Device, Result, Tensor, bail};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// Rows and columns of an FP8 block.
pub const FP8_BLOCK: usize = 128;

/// Bytes that something else keeps: a mapped file, a part of the program.
pub type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// Told before stored bytes are read, so that what is in memory can be kept below a limit.
pub trait Pager: Send + Sync {
    /// The bytes of `range` are about to be read. An error, where they are not fit to be, ends the product.
    fn before_reading(&self, range: &Range<usize>) -> Result<()>;
}

/// How numbers are stored.
#[derive(Debug, Clone, PartialEq)]
pub enum Format {
    Bf16,
    F16,
    /// e4m3; the scales of the blocks, row-major [ceil(o/128), ceil(i/128)].
    Fp8 {
        scale_inv: Arc<[f32]>,
    },
    /// Blocks of 32 codes with a scale, in tiles of 16 rows.
    Quantised(Bits),
}

impl Format {
    /// Bytes of a matrix; `None` where no machine could hold it.
    pub fn bytes(&self, (o, i): (usize, usize)) -> Option<usize> {
        match self {
            Self::Bf16 | Self::F16 => o.checked_mul(i)?.checked_mul(2),
            Self::Fp8 { .. } => o.checked_mul(i),
            Self::Quantised(bits) => bits.bytes((o, i)),
        }
    }
}

/// A matrix [o, i], row-major, in stored form.
#[derive(Clone)]
pub struct StoredMatrix {
    file: SharedBytes,
    range: Range<usize>,
    format: Format,
    o: usize,
    i: usize,
    pager: Option<Arc<dyn Pager>>,
    guest: Option<Guest>,
}

impl StoredMatrix {
    /// The matrix that lies in `range` of `file`.
    pub fn new(file: SharedBytes, range: Range<usize>, format: Format, (o, i): (usize, usize)) -> Result<Self> {
        let inside = range.start <= range.end && range.end <= (*file).as_ref().len();
        if !inside || format.bytes((o, i)) != Some(range.len()) {
            bail!("a stored matrix of {o} x {i} does not lie at {range:?}");
        }
        if let Format::Fp8 { scale_inv } = &format
            && scale_inv.len() != o.div_ceil(FP8_BLOCK) * i.div_ceil(FP8_BLOCK)
        {
            bail!("{} scales do not fit a matrix of {o} x {i}", scale_inv.len());
        }
        Ok(Self { file, range, format, o, i, pager: None, guest: None })
    }

    /// The numbers of a matrix, row after row, in quantised blocks.
    pub fn quantised(numbers: &[f32], (o, i): (usize, usize), bits: Bits) -> Result<Self> {
        if o.checked_mul(i) != Some(numbers.len()) {
            bail!("{} numbers are no matrix of {o} x {i}", numbers.len());
        }
        let packed = quantised::quantise(numbers, (o, i), bits);
        let range = 0..packed.len();
        Self::new(Arc::new(packed), range, Format::Quantised(bits), (o, i))
    }

    /// The numbers of a matrix, row after row, rounded to bf16 or f16; other formats have scales and are refused.
    pub fn rounded(numbers: &[f32], dims: (usize, usize), format: Format) -> Result<Self> {
        let bytes: Vec<u8> = match format {
            Format::F16 => numbers.iter().flat_map(|x| half::f16::from_f32(*x).to_le_bytes()).collect(),
            Format::Bf16 => numbers.iter().flat_map(|x| half::bf16::from_f32(*x).to_le_bytes()).collect(),
            Format::Fp8 { .. } | Format::Quantised(_) => bail!("numbers are rounded to bf16 or f16"),
        };
        Self::new(Arc::new(bytes), 0..2 * numbers.len(), format, dims)
    }

    /// The same, `pager` being told before each product.
    pub fn with_pager(self, pager: Arc<dyn Pager>) -> Self {
        Self { pager: Some(pager), ..self }
    }

    /// The same, which comes to a device to be multiplied there.
    pub(crate) fn with_guest(self, guest: Guest) -> Self {
        Self { guest: Some(guest), ..self }
    }

    /// Whether it comes to a device for each product, and does not stay there.
    pub fn is_guest(&self) -> bool {
        self.guest.is_some()
    }

    /// Where it comes to, or the CPU.
    pub(crate) fn destination(&self) -> &Device {
        self.guest.as_ref().map_or(&Device::Cpu, Guest::device)
    }

    /// The matrix on `device` for one product.
    pub(crate) fn visit(&self, device: &Device) -> Result<Tensor> {
        match &self.guest {
            Some(guest) => guest.visit(self),
            None => self.on(device),
        }
    }

    /// Bytes that it takes on a device.
    pub(crate) fn bytes_on_device(&self) -> usize {
        2 * self.o * self.i
    }

    /// The matrix [o, i] in the memory of `device`, in numbers of 16 bits: f16 stays f16, all others are bf16, which holds
    /// e4m3 times a scale and quantised blocks to 2^-9.
    pub(crate) fn on(&self, device: &Device) -> Result<Tensor> {
        self.announce()?;
        let dims = [self.o, self.i];
        match &self.format {
            Format::Bf16 => Tensor::from_raw_buffer(self.bytes(), DType::BF16, &dims, device),
            Format::F16 => Tensor::from_raw_buffer(self.bytes(), DType::F16, &dims, device),
            format => match cuda::widened(self.bytes(), format, (self.o, self.i), device)? {
                Some(there) => Ok(there),
                None => cpu::shaped(self.to_vec(), &dims[..])?.to_dtype(DType::BF16)?.to_device(device),
            },
        }
    }

    /// (o, i)
    pub fn dims(&self) -> (usize, usize) {
        (self.o, self.i)
    }

    /// How the numbers are stored.
    pub fn format(&self) -> &Format {
        &self.format
    }

    /// Whether something is told before the numbers are read.
    pub(crate) fn is_paged(&self) -> bool {
        self.pager.is_some()
    }

    /// Must be called before a product, which reads the matrix once.
    pub(crate) fn announce(&self) -> Result<()> {
        self.pager.as_ref().map_or(Ok(()), |pager| pager.before_reading(&self.range))
    }

    /// The stored numbers.
    pub fn bytes(&self) -> &[u8] {
        &(*self.file).as_ref()[self.range.clone()]
    }

    /// All numbers in f32, row after row.
    pub fn to_vec(&self) -> Vec<f32> {
        let mut out = vec![0f32; self.o * self.i];
        // Whole tiles of quantised rows.
        let rows = 4 * quantised::TILE;
        out.par_chunks_mut((rows * self.i).max(1)).enumerate().for_each(|(at, out)| {
            self.decode(at * rows..self.o.min((at + 1) * rows), 0..self.i, out);
        });
        out
    }

    /// The first number that is infinite or none at all; of quantised blocks, which have no such codes, the first number
    /// under a scale that is. The scales of FP8 are not looked at.
    pub fn first_not_finite(&self) -> Option<usize> {
        let exponent = match self.format {
            Format::Fp8 { .. } => return self.bytes().iter().position(|byte| byte & 0x7f == 0x7f),
            Format::Quantised(bits) => {
                let (row, col) = quantised::first_not_finite(self.bytes(), self.i, bits)?;
                return Some(row * self.i + col);
            }
            Format::Bf16 => 0x7f80,
            Format::F16 => 0x7c00,
        };
        let mut pairs = self.bytes().as_chunks::<2>().0.iter();
        pairs.position(|pair| u16::from_le_bytes(*pair) & exponent == exponent)
    }

    /// The numbers of `rows` and `cols` into `out`, row after row.
    pub(crate) fn decode(&self, rows: Range<usize>, cols: Range<usize>, out: &mut [f32]) {
        let bytes = self.bytes();
        let (width, start) = (cols.len().max(1), cols.start);
        let lines = rows.clone().zip(out.chunks_mut(width));
        match &self.format {
            Format::Bf16 => lines.for_each(|(row, out)| {
                let line = &bytes[2 * (row * self.i + start)..][..2 * out.len()];
                decode_bf16(line, out);
            }),
            Format::F16 => lines.for_each(|(row, out)| {
                let line = &bytes[2 * (row * self.i + start)..][..2 * out.len()];
                for (out, pair) in out.iter_mut().zip(line.as_chunks::<2>().0) {
                    *out = half::f16::from_le_bytes(*pair).to_f32();
                }
            }),
            Format::Fp8 { scale_inv } => lines.for_each(|(row, out)| {
                let line = &bytes[row * self.i + start..][..out.len()];
                let scales = &scale_inv[row / FP8_BLOCK * self.i.div_ceil(FP8_BLOCK)..];
                decode_fp8(line, scales, start, out);
            }),
            Format::Quantised(bits) => quantised::decode(bytes, self.i, *bits, rows, cols, out),
        }
    }
}

impl Panels for StoredMatrix {
    fn dims(&self) -> (usize, usize) {
        (self.o, self.i)
    }

    fn panel<'a>(&'a self, rows: Range<usize>, cols: Range<usize>, scratch: &'a mut Vec<f32>) -> (&'a [f32], usize) {
        let width = cols.len();
        scratch.resize(rows.len() * width, 0.0);
        self.decode(rows, cols, scratch);
        (scratch, width)
    }
}

fn decode_bf16(line: &[u8], out: &mut [f32]) {
    simd::dispatch(
        #[inline(always)]
        || {
            for (out, pair) in out.iter_mut().zip(line.as_chunks::<2>().0) {
                *out = f32::from_bits(u32::from(u16::from_le_bytes(*pair)).wrapping_shl(16));
            }
        },
    );
}

/// A line that begins at column `start` of its row; `scales` are those of the row's blocks.
fn decode_fp8(line: &[u8], scales: &[f32], start: usize, out: &mut [f32]) {
    let mut at = 0;
    while at < out.len() {
        let block = (start + at) / FP8_BLOCK;
        let end = out.len().min((block + 1) * FP8_BLOCK - start);
        let scale = scales[block];
        simd::dispatch(
            #[inline(always)]
            || {
                for (out, byte) in out[at..end].iter_mut().zip(&line[at..end]) {
                    *out = e4m3(*byte) * scale;
                }
            },
        );
        at = end;
    }
}

/// An e4m3 number: its exponent and fraction are moved to where f32 has them, and a power of two makes up for the
/// different bias; subnormal numbers come out right by themselves. The two NaNs stay NaN.
#[inline(always)]
fn e4m3(byte: u8) -> f32 {
    const REBIAS: f32 = f32::from_bits((127 + 120) << 23); // 2^(127 - 7)
    let bits = u32::from(byte);
    let magnitude = bits & 0x7f;
    let value = f32::from_bits((bits & 0x80).wrapping_shl(24) | magnitude.wrapping_shl(20)) * REBIAS;
    if magnitude == 0x7f { f32::NAN } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_e4m3_number_is_decoded() {
        for byte in 0..=u8::MAX {
            let (found, exact) = (e4m3(byte), float8::F8E4M3::from_bits(byte).to_f32());
            assert!(found == exact || (found.is_nan() && exact.is_nan()), "{byte:#x}: {found}, not {exact}");
        }
    }

    #[test]
    fn panels_hold_what_was_stored() -> Result<()> {
        let (o, i) = (130, 300);
        let bytes: Vec<u8> = (0..o * i).map(|at| (at * 37 % 255) as u8 & !1).collect();
        let scale_inv: Arc<[f32]> = (0..6).map(|at| 0.5 + at as f32).collect();
        let format = Format::Fp8 { scale_inv: scale_inv.clone() };
        let matrix = StoredMatrix::new(Arc::new(bytes.clone()), 0..o * i, format, (o, i))?;
        let (rows, cols, mut scratch) = (120..130, 100..270, Vec::new());
        let (panel, stride) = matrix.panel(rows.clone(), cols.clone(), &mut scratch);
        for row in rows {
            for col in cols.clone() {
                let scale = scale_inv[row / 128 * 3 + col / 128];
                let exact = float8::F8E4M3::from_bits(bytes[row * i + col]).to_f32() * scale;
                assert_eq!(panel[(row - 120) * stride + col - 100], exact, "{row} {col}");
            }
        }
        for (format, encode) in [
            (Format::Bf16, (|x| half::bf16::from_f32(x).to_le_bytes()) as fn(f32) -> [u8; 2]),
            (Format::F16, |x| half::f16::from_f32(x).to_le_bytes()),
        ] {
            let bytes: Vec<u8> = (0..12).flat_map(|at| encode(at as f32 / 4.0 - 1.0)).collect();
            let matrix = StoredMatrix::new(Arc::new(bytes), 0..24, format, (3, 4))?;
            let mut scratch = Vec::new();
            assert_eq!(matrix.panel(1..3, 1..3, &mut scratch).0, [0.25, 0.5, 1.25, 1.5]);
        }
        Ok(())
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        let bytes: SharedBytes = Arc::new(vec![0u8; 8]);
        let new = |range, format, dims| StoredMatrix::new(bytes.clone(), range, format, dims);
        assert!(new(0..8, Format::Bf16, (2, 2)).is_ok());
        assert!(new(2..10, Format::Bf16, (2, 2)).is_err());
        assert!(new(0..8, Format::Bf16, (2, 3)).is_err());
        assert!(new(0..8, Format::Bf16, (usize::MAX, 2)).is_err());
        assert!(new(0..8, Format::Fp8 { scale_inv: Arc::new([1.0; 2]) }, (2, 4)).is_err());
    }
}
