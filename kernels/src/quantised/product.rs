//! Products with packed matrices in integers: rows of x become 8-bit codes too, block by block.
//!
//! With x = s_x a and w = s_w (c - middle) in a block, its part of the dot product is s_x s_w (sum(a c) - middle sum(a));
//! the sums are exact integers, the blocks are added in f32 in the order of the columns. A number of y depends on its row
//! of x and its row of W alone, and has the same bits on every instruction set.

#[cfg(target_arch = "x86_64")]
use super::x86;
use super::{BLOCK, Bits, GROUP, GROUPS, TILE, scale};
use crate::simd;
use rayon::prelude::*;

/// Rows of x in 8-bit codes.
pub(super) struct Codes {
    blocks: usize,
    /// Four codes each, as the products read them.
    groups: Vec<[i32; GROUPS]>,
    scales: Vec<f32>,
    /// Sum of the codes of each block, times the middle of the matrix's codes.
    middles: Vec<i32>,
}

/// One row of them.
#[derive(Clone, Copy)]
pub(super) struct CodesRow<'a> {
    pub groups: &'a [[i32; GROUPS]],
    pub scales: &'a [f32],
    pub middles: &'a [i32],
}

impl Codes {
    /// The codes of rows of `i` numbers that lie end to end.
    fn new(x: &[f32], i: usize, bits: Bits) -> Self {
        let blocks = i.div_ceil(BLOCK);
        let count = x.len() / i * blocks;
        let mut codes =
            Self { blocks, groups: vec![[0; GROUPS]; count], scales: vec![0.0; count], middles: vec![0; count] };
        let groups = codes.groups.par_chunks_mut(blocks).zip(codes.scales.par_chunks_mut(blocks));
        let rows = groups.zip(codes.middles.par_chunks_mut(blocks)).zip(x.par_chunks(i)).with_min_len(8);
        rows.for_each(|(((groups, scales), middles), x)| {
            simd::dispatch(
                #[inline(always)]
                || {
                    let (whole, rest) = x.as_chunks::<BLOCK>();
                    for (at, x) in whole.iter().enumerate() {
                        (groups[at], scales[at], middles[at]) = encode(x, bits);
                    }
                    if let (false, Some(at)) = (rest.is_empty(), blocks.checked_sub(1)) {
                        let mut x = [0f32; BLOCK];
                        x[..rest.len()].copy_from_slice(rest);
                        (groups[at], scales[at], middles[at]) = encode(&x, bits);
                    }
                },
            );
        });
        codes
    }

    fn row(&self, row: usize) -> CodesRow<'_> {
        let span = row * self.blocks..(row + 1) * self.blocks;
        CodesRow {
            groups: &self.groups[span.clone()],
            scales: &self.scales[span.clone()],
            middles: &self.middles[span],
        }
    }
}

#[inline(always)]
fn encode(x: &[f32; BLOCK], bits: Bits) -> ([i32; GROUPS], f32, i32) {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
    const EXPONENT: u32 = 0x7f80_0000;
    let largest = simd::max(&x.map(f32::abs));
    let finite = x.iter().fold(true, |finite, x| finite & (x.to_bits() & EXPONENT != EXPONENT));
    let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
    let mut codes = [0i8; BLOCK];
    for (code, x) in codes.iter_mut().zip(x) {
        *code = (x * inverse + ROUND).to_bits() as u8 as i8;
    }
    let sum: i32 = codes.iter().map(|code| i32::from(*code)).fold(0, i32::wrapping_add);
    let mut groups = [0i32; GROUPS];
    for (group, codes) in groups.iter_mut().zip(codes.as_chunks::<GROUP>().0) {
        *group = i32::from_le_bytes(codes.map(|code| code as u8));
    }
    // What is not finite has no codes; its scale carries that on.
    (groups, if finite { largest / 127.0 } else { f32::NAN }, sum.wrapping_mul(bits.middle()))
}

/// Rows `first`, `first + step`, ..., `count` of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows {
    pub first: usize,
    pub step: usize,
    pub count: usize,
}

/// A packed matrix [o, i], the rows of x that it multiplies, and the column of y where its first row's product goes.
pub(crate) struct Piece<'a> {
    pub packed: &'a [u8],
    pub o: usize,
    pub rows: Rows,
    pub column: usize,
}

/// Tiles that a thread takes at once.
const TILES: usize = 8;

/// y [n, width] from rows of `i` numbers; what no piece writes stays 0.
pub(crate) fn products(x: &[f32], i: usize, width: usize, bits: Bits, pieces: &[Piece]) -> Vec<f32> {
    let n = x.len().checked_div(i).unwrap_or(0);
    if n == 0 {
        return vec![];
    }
    let codes = Codes::new(x, i, bits);
    let tile_bytes = codes.blocks * bits.block_bytes();
    let kernel = Kernel::of_this_machine();
    let spans = pieces.iter().flat_map(|piece| {
        let tiles = piece.o.div_ceil(TILE);
        (0..tiles).step_by(TILES).map(move |first| (piece, first..tiles.min(first + TILES)))
    });
    let spans: Vec<_> = spans.filter(|(piece, _)| piece.rows.count > 0).collect();
    let parts: Vec<Vec<[f32; TILE]>> = spans
        .par_iter()
        .map(|(piece, tiles)| {
            let mut part = Vec::with_capacity(tiles.len() * piece.rows.count);
            for tile in tiles.clone() {
                kernel.tile(&piece.packed[tile * tile_bytes..][..tile_bytes], bits, &codes, piece.rows, &mut part);
            }
            part
        })
        .collect();
    let mut y = vec![0f32; n * width];
    for ((piece, tiles), part) in spans.iter().zip(&parts) {
        for (tile, part) in tiles.clone().zip(part.chunks(piece.rows.count)) {
            let wanted = TILE.min(piece.o - tile * TILE);
            for (at, values) in part.iter().enumerate() {
                let row = piece.rows.first + at * piece.rows.step;
                y[row * width + piece.column + tile * TILE..][..wanted].copy_from_slice(&values[..wanted]);
            }
        }
    }
    y
}

/// One tile times `n` rows, again and again: nothing but the inner loops.
pub(crate) fn repeated(tile: &[u8], i: usize, n: usize, bits: Bits, times: usize) -> f32 {
    let codes = Codes::new(&vec![1.0; n * i], i, bits);
    let (kernel, mut out) = (Kernel::of_this_machine(), Vec::with_capacity(n));
    for _ in 0..times {
        out.clear();
        kernel.tile(tile, bits, &codes, Rows { first: 0, step: 1, count: n }, &mut out);
    }
    out.iter().map(|products| products[0]).sum()
}

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

    /// Appends the 16 products of one tile with each row.
    fn tile(self, tile: &[u8], bits: Bits, codes: &Codes, rows: Rows, out: &mut Vec<[f32; TILE]>) {
        let row = |at: usize| codes.row(rows.first + at * rows.step);
        let most = match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => 8,
            _ => 3,
        };
        let mut at = 0;
        while at < rows.count {
            let count = (rows.count - at).min(most);
            match count {
                1 => out.extend(self.rows(tile, bits, [row(at)])),
                2 => out.extend(self.rows(tile, bits, [row(at), row(at + 1)])),
                8.. => out.extend(self.rows::<8>(tile, bits, std::array::from_fn(|m| row(at + m)))),
                _ => out.extend(self.rows(tile, bits, [row(at), row(at + 1), row(at + 2)])),
            }
            at += match count {
                1 | 2 => count,
                8.. => 8,
                _ => 3,
            };
        }
    }

    fn rows<const M: usize>(self, tile: &[u8], bits: Bits, xs: [CodesRow; M]) -> [[f32; TILE]; M] {
        match self {
            Self::Portable => xs.map(|x| portable(tile, bits, x)),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => x86::avx2_rows(tile, bits, xs),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => x86::avx512_rows(tile, bits, xs),
        }
    }
}

/// The products of one row in plain numbers.
fn portable(tile: &[u8], bits: Bits, x: CodesRow) -> [f32; TILE] {
    let mut sums = [0f32; TILE];
    let blocks = tile.chunks_exact(bits.block_bytes()).zip(x.groups).zip(x.scales).zip(x.middles);
    for (((block, groups), scale_x), middle) in blocks {
        let mut dots = [0i32; TILE];
        for (col, x) in groups.iter().flat_map(|group| group.to_le_bytes()).enumerate() {
            for (row, dot) in dots.iter_mut().enumerate() {
                *dot = dot.wrapping_add(bits.code(block, row, col) * i32::from(x as i8));
            }
        }
        for (row, (sum, dot)) in sums.iter_mut().zip(dots).enumerate() {
            let dot = dot.wrapping_sub(*middle) as f32;
            *sum = dot.mul_add(scale(block, row) * scale_x, *sum);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::super::{decode, quantise};
    use super::*;

    fn wave(count: usize, step: f32) -> Vec<f32> {
        (0..count).map(|at| (at as f32 * step).sin() * (1.0 + (at % 5) as f32)).collect()
    }

    fn one(packed: &[u8], o: usize, n: usize) -> Piece<'_> {
        Piece { packed, o, rows: Rows { first: 0, step: 1, count: n }, column: 0 }
    }

    #[test]
    fn agrees_with_exact_sums_of_what_was_packed() {
        for (n, i, o) in [(1, 32, 16), (2, 33, 5), (3, 96, 40), (4, 7, 1), (11, 257, 70), (20, 64, 33)] {
            let (x, w) = (wave(n * i, 0.37), wave(o * i, 0.11));
            for bits in [Bits::Four, Bits::Eight] {
                let packed = quantise(&w, (o, i), bits);
                let mut decoded = vec![0f32; o * i];
                decode(&packed, i, bits, 0..o, 0..i, &mut decoded);
                let y = products(&x, i, o, bits, &[one(&packed, o, n)]);
                for (at, found) in y.iter().enumerate() {
                    let (row, col) = (at / o, at % o);
                    let (mut exact, mut room) = (0f64, 1e-6);
                    for (x, w) in x[row * i..][..i].chunks(BLOCK).zip(decoded[col * i..][..i].chunks(BLOCK)) {
                        let largest = x.iter().fold(0f32, |best, x| best.max(x.abs()));
                        for (x, w) in x.iter().zip(w) {
                            exact += f64::from(*x) * f64::from(*w);
                            // Half a step of x's codes.
                            room += f64::from(largest / 127.0 * 0.51 * w.abs());
                        }
                    }
                    assert!(
                        (f64::from(*found) - exact).abs() <= room,
                        "{bits:?} {n} {i} {o} at {at}: {found}, {exact}"
                    );
                }
            }
        }
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
            let codes = Codes::new(&x, i, bits);
            for tile in packed.chunks(codes.blocks * bits.block_bytes()) {
                let rows = Rows { first: 0, step: 1, count: n };
                let results = kernels.iter().map(|kernel| {
                    let mut out = Vec::new();
                    kernel.tile(tile, bits, &codes, rows, &mut out);
                    out.into_iter().flatten().map(f32::to_bits).collect::<Vec<_>>()
                });
                let results: Vec<_> = results.collect();
                assert!(results.iter().all(|result| *result == results[0]), "{bits:?}: {kernels:?} differ");
            }
        }
    }

    #[test]
    fn a_row_is_the_same_bits_whatever_lies_beside_it() {
        let (n, i, o) = (23, 160, 37);
        let (x, w) = (wave(n * i, 0.7), wave(o * i, 0.3));
        for bits in [Bits::Four, Bits::Eight] {
            let packed = quantise(&w, (o, i), bits);
            let together = products(&x, i, o, bits, &[one(&packed, o, n)]);
            for (first, count) in [(0, 1), (3, 2), (7, 3), (11, 9), (2, 20)] {
                let apart = products(&x[first * i..][..count * i], i, o, bits, &[one(&packed, o, count)]);
                assert!(apart.iter().zip(&together[first * o..]).all(|(a, b)| a.to_bits() == b.to_bits()));
            }
        }
    }

    #[test]
    fn pieces_write_where_they_should() {
        let (i, bits) = (40, Bits::Eight);
        let (x, a, b) =
            (wave(6 * i, 0.7), quantise(&wave(3 * i, 0.3), (3, i), bits), quantise(&wave(2 * i, 0.9), (2, i), bits));
        let (of_a, of_b) = (products(&x, i, 3, bits, &[one(&a, 3, 6)]), products(&x, i, 2, bits, &[one(&b, 2, 6)]));
        let pieces = [
            Piece { rows: Rows { first: 0, step: 2, count: 3 }, ..one(&a, 3, 6) },
            Piece { rows: Rows { first: 1, step: 2, count: 3 }, column: 3, ..one(&b, 2, 6) },
        ];
        let y = products(&x, i, 5, bits, &pieces);
        for row in 0..6 {
            let expected: Vec<f32> = match row % 2 {
                0 => of_a[row * 3..][..3].iter().copied().chain([0.0; 2]).collect(),
                _ => [0.0; 3].into_iter().chain(of_b[row * 2..][..2].iter().copied()).collect(),
            };
            assert_eq!(y[row * 5..][..5], expected);
        }
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        for bad in [f32::NAN, f32::INFINITY] {
            let mut x = wave(64, 0.7);
            x[40] = bad;
            let w = quantise(&wave(64, 0.3), (1, 64), Bits::Four);
            assert!(!products(&x, 64, 1, Bits::Four, &[one(&w, 1, 1)])[0].is_finite());
        }
        assert!(products(&[], 3, 2, Bits::Four, &[]).is_empty());
    }
}
