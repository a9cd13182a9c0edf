//! The numbers of a cache as they are kept.

use crate::rounding::widen;
use candle_core::{CpuStorage, Layout, Result, Storage, bail};
use half::bf16;

#[derive(Clone, Copy)]
pub(super) enum Kept<'a> {
    F32(&'a [f32]),
    Bf16(&'a [bf16]),
}

impl<'a> Kept<'a> {
    pub(super) fn new(storage: &'a Storage, layout: &Layout) -> Result<Self> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("cached_attention: a cache is not contiguous")
        };
        match storage {
            Storage::Cpu(CpuStorage::F32(numbers)) => Ok(Self::F32(&numbers[start..end])),
            Storage::Cpu(CpuStorage::BF16(numbers)) => Ok(Self::Bf16(&numbers[start..end])),
            _ => bail!("cached_attention: a cache is neither f32 nor bf16"),
        }
    }

    /// Rows of `width` numbers: the one at `first`, then every `step`-th.
    pub(super) fn rows(self, first: usize, step: usize, width: usize) -> Rows<Self> {
        let numbers = match self {
            Self::F32(numbers) => Self::F32(&numbers[first * width..]),
            Self::Bf16(numbers) => Self::Bf16(&numbers[first * width..]),
        };
        Rows { numbers, stride: step * width, width }
    }
}

/// Rows of `width` numbers that begin `stride` apart.
#[derive(Clone, Copy)]
pub(super) struct Rows<T> {
    pub numbers: T,
    pub stride: usize,
    pub width: usize,
}

impl<'a> Rows<Kept<'a>> {
    /// The first `count` rows in f32, widened into `scratch` where they must be.
    pub(super) fn widened<'b>(self, count: usize, scratch: &'b mut Vec<f32>) -> Rows<&'b [f32]>
    where
        'a: 'b,
    {
        let Self { stride, width, .. } = self;
        match self.numbers {
            Kept::F32(numbers) => Rows { numbers, stride, width },
            Kept::Bf16(numbers) => {
                scratch.resize(count * width, 0.0);
                for (out, row) in scratch.chunks_mut(width).zip(numbers.chunks(stride)) {
                    widen(&row[..width], out);
                }
                Rows { numbers: scratch, stride: width, width }
            }
        }
    }

    /// As they are, if they are kept in bf16.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn rounded(self) -> Option<Rows<&'a [bf16]>> {
        match self.numbers {
            Kept::F32(_) => None,
            Kept::Bf16(numbers) => Some(Rows { numbers, stride: self.stride, width: self.width }),
        }
    }

    /// Whether these are the same numbers.
    pub(super) fn is(&self, other: &Self) -> bool {
        let place = |rows: &Self| match rows.numbers {
            Kept::F32(numbers) => numbers.as_ptr().addr(),
            Kept::Bf16(numbers) => numbers.as_ptr().addr(),
        };
        (place(self), self.stride, self.width) == (place(other), other.stride, other.width)
    }
}

#[cfg(target_arch = "x86_64")]
impl<'a> Rows<&'a [bf16]> {
    pub(super) fn row(self, at: usize) -> &'a [bf16] {
        &self.numbers[at * self.stride..][..self.width]
    }
}
