//! One tile of a packed matrix times one panel of rows, on whatever instructions the machine has.

use super::codes::{Codes, MIDDLES_LINE, Panel, SCALES_LINE, Span};
#[cfg(target_arch = "x86_64")]
use super::x86;
use super::{Bits, GROUPS, TILE, scale};

/// The most rows of a panel.
const MOST: usize = 8;

/// Where the products of a tile with the rows of a panel go.
pub(super) type Products = [[f32; TILE]; MOST];

/// The instructions that the inner loops use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kernel {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
}

impl Kernel {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => "avx512-vnni",
        }
    }

    pub(super) fn of_this_machine() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if x86::has_avx512_vnni() {
                return Self::Avx512Vnni;
            }
            if x86::has_avx2() {
                return Self::Avx2;
            }
        }
        Self::Portable
    }

    /// Rows of x whose sums its registers hold.
    pub(super) fn most_rows(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => 8,
            _ => 4,
        }
    }

    /// The 16 products of one tile with each row of a panel, into the first places of `out`.
    pub(super) fn tile(self, tile: &[u8], bits: Bits, codes: &Codes, panel: Span, out: &mut Products) {
        match panel.count {
            0 => {}
            1 => self.rows::<1>(tile, bits, codes, panel, out),
            2 => self.rows::<2>(tile, bits, codes, panel, out),
            3 => self.rows::<3>(tile, bits, codes, panel, out),
            4 => self.rows::<4>(tile, bits, codes, panel, out),
            5 => self.rows::<5>(tile, bits, codes, panel, out),
            6 => self.rows::<6>(tile, bits, codes, panel, out),
            7 => self.rows::<7>(tile, bits, codes, panel, out),
            _ => self.rows::<8>(tile, bits, codes, panel, out),
        }
    }

    fn rows<const M: usize>(self, tile: &[u8], bits: Bits, codes: &Codes, span: Span, out: &mut Products) {
        let panel = codes.panel::<M>(span);
        let products = match self {
            Self::Portable => portable(tile, bits, panel),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => x86::avx2_rows(tile, bits, panel),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => x86::avx512_rows(tile, bits, panel),
        };
        out[..M].copy_from_slice(&products);
    }
}

/// The products of a panel in plain numbers.
fn portable<const M: usize>(tile: &[u8], bits: Bits, panel: Panel<'_, M>) -> [[f32; TILE]; M] {
    let mut sums = [[0f32; TILE]; M];
    for (block, lines) in tile.chunks_exact(bits.block_bytes()).zip(panel) {
        for (m, sums) in sums.iter_mut().enumerate() {
            let mut dots = [lines[MIDDLES_LINE][m]; TILE];
            let codes = lines[..GROUPS].iter().flat_map(|line| line[m].to_le_bytes());
            for (col, x) in codes.enumerate() {
                for (row, dot) in dots.iter_mut().enumerate() {
                    *dot = dot.wrapping_add(bits.code(block, row, col) * i32::from(x as i8));
                }
            }
            let scale_x = f32::from_bits(lines[SCALES_LINE][m] as u32);
            for (row, (sum, dot)) in sums.iter_mut().zip(dots).enumerate() {
                *sum = (dot as f32).mul_add(scale(block, row) * scale_x, *sum);
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::super::{BLOCK, quantise};
    use super::*;

    fn wave(count: usize, step: f32) -> Vec<f32> {
        (0..count).map(|at| (at as f32 * step).sin() * (1.0 + (at % 5) as f32)).collect()
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let (n, i, o) = (13, 300, 50);
        let mut kernels = vec![Kernel::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            kernels.extend(x86::has_avx2().then_some(Kernel::Avx2));
            kernels.extend(x86::has_avx512_vnni().then_some(Kernel::Avx512Vnni));
        }
        // The extremes of the codes too: a sum of products must not run over.
        let mut x = wave(n * i, 0.7);
        x[..i].fill(9.0);
        x[i..2 * i].fill(-9.0);
        let mut w = wave(o * i, 0.3);
        w[..i].fill(7.0);
        w[i..2 * i].fill(-7.0);
        for bits in [Bits::Four, Bits::Eight] {
            let packed = quantise(&w, (o, i), bits);
            for tile in packed.chunks(i.div_ceil(BLOCK) * bits.block_bytes()) {
                let results = kernels.iter().map(|kernel| {
                    let codes = Codes::new(&x, i, bits, kernel.most_rows(), std::iter::once(0..n as u32));
                    let (mut all, mut out) = (Vec::new(), Products::default());
                    for &panel in codes.panels(0) {
                        kernel.tile(tile, bits, &codes, panel, &mut out);
                        all.extend(out[..panel.count].iter().flatten().map(|x| x.to_bits()));
                    }
                    all
                });
                let results: Vec<_> = results.collect();
                assert!(results.iter().all(|result| *result == results[0]), "{bits:?}: {kernels:?} differ");
            }
        }
    }
}
