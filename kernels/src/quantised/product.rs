//! Products with packed matrices in integers: rows of x become 8-bit codes too, block by block.
//!
//! With x = s_x a and w = s_w (c - middle) in a block, its part of the dot product is s_x s_w (sum(a c) - middle sum(a));
//! the sums are exact integers, the blocks are added in f32 in the order of the columns. A number of y depends on its row
//! of x and its row of W alone, and has the same bits on every instruction set.

use super::codes::{Codes, Span};
use super::kernel::{Kernel, Products};
use super::parts::Unwritten;
use super::{Bits, TILE};
use rayon::prelude::*;

/// Rows `first`, `first + step`, ..., `count` of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows {
    pub first: usize,
    pub step: usize,
    pub count: usize,
}

impl Rows {
    pub(crate) fn list(&self) -> impl Iterator<Item = u32> + use<> {
        let Self { first, step, count } = *self;
        (0..count).map(move |at| (first + at * step) as u32)
    }
}

/// Rows of x and the packed matrices [o, i] that they are multiplied with, whose results lie side by side in a row of y.
pub(crate) struct Share<'a> {
    pub rows: Rows,
    /// The bytes of a matrix and its o.
    pub matrices: Vec<(&'a [u8], usize)>,
}

/// Tiles and panels that a thread takes at once: what they hold stays in its second-level cache.
const TILES: usize = 8;
const PANELS: usize = 16;

/// One thread's piece of work: some tiles of a matrix times some panels.
struct Piece<'a> {
    packed: &'a [u8],
    /// Columns of y from the first tile on.
    columns: usize,
    /// Where in a row of y the first tile's products go.
    column: usize,
    panels: &'a [Span],
}

/// y [n, width] from rows of `i` numbers, no row being in two shares; the rows of y that no share has are 0.
pub(crate) fn products(x: &[f32], i: usize, width: usize, bits: Bits, shares: &[Share]) -> Vec<f32> {
    let n = x.len().checked_div(i).unwrap_or(0);
    if n == 0 {
        return vec![];
    }
    let kernel = Kernel::of_this_machine();
    let codes = Codes::new(x, i, bits, kernel.most_rows(), shares.iter().map(|share| share.rows.list()));
    let tile_bytes = codes.blocks * bits.block_bytes();
    let mut out = Unwritten::new(n, width);
    let mut pieces = Vec::new();
    for (group, share) in shares.iter().enumerate() {
        let side_by_side: usize = share.matrices.iter().map(|(_, o)| o).sum();
        assert!(share.rows.count == 0 || side_by_side == width, "products: {side_by_side} columns of {width}");
        out.claim(share.rows.list());
        let mut column = 0;
        for &(packed, o) in &share.matrices {
            for first in (0..o.div_ceil(TILE)).step_by(TILES) {
                let columns = (o - first * TILE).min(TILES * TILE);
                let packed = &packed[first * tile_bytes..][..columns.div_ceil(TILE) * tile_bytes];
                let column = column + first * TILE;
                let panels = codes.panels(group).chunks(PANELS);
                pieces.extend(panels.map(|panels| Piece { packed, columns, column, panels }));
            }
            column += o;
        }
    }
    pieces.par_iter().for_each(|piece| {
        let mut values = Products::default();
        for (at, tile) in piece.packed.chunks_exact(tile_bytes).enumerate() {
            let columns = TILE.min(piece.columns - at * TILE);
            for &panel in piece.panels {
                kernel.tile(tile, bits, &codes, panel, &mut values);
                for (&row, values) in codes.rows(panel).iter().zip(&values) {
                    #[expect(unsafe_code, reason = "threads write different parts of one matrix")]
                    // SAFETY: a row is in one panel of one share, a column in one tile of one matrix, and each tile meets
                    // each panel of its share in one piece.
                    unsafe {
                        out.write(row as usize, piece.column + at * TILE, &values[..columns]);
                    }
                }
            }
        }
    });
    #[expect(unsafe_code, reason = "the memory was written part by part")]
    // SAFETY: the tiles of a share's matrices cover all columns, its panels all rows.
    unsafe {
        out.written()
    }
}

/// One tile times `n` rows, again and again: nothing but the inner loops.
pub(crate) fn repeated(tile: &[u8], i: usize, n: usize, bits: Bits, times: usize) -> f32 {
    let kernel = Kernel::of_this_machine();
    let codes = Codes::new(&vec![1.0; n * i], i, bits, kernel.most_rows(), std::iter::once(0..n as u32));
    let (mut out, mut sum) = (Products::default(), 0.0);
    for _ in 0..times {
        for &panel in codes.panels(0) {
            kernel.tile(tile, bits, &codes, panel, &mut out);
            sum += out[0][0];
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::super::{BLOCK, decode, quantise};
    use super::*;

    fn wave(count: usize, step: f32) -> Vec<f32> {
        (0..count).map(|at| (at as f32 * step).sin() * (1.0 + (at % 5) as f32)).collect()
    }

    fn one(packed: &[u8], o: usize, n: usize) -> Share<'_> {
        Share { rows: Rows { first: 0, step: 1, count: n }, matrices: vec![(packed, o)] }
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
    fn shares_write_where_they_should() {
        let (i, bits) = (40, Bits::Eight);
        let (x, a, b) =
            (wave(6 * i, 0.7), quantise(&wave(3 * i, 0.3), (3, i), bits), quantise(&wave(2 * i, 0.9), (2, i), bits));
        let (of_a, of_b) = (products(&x, i, 3, bits, &[one(&a, 3, 6)]), products(&x, i, 2, bits, &[one(&b, 2, 6)]));
        // Every third row has no share.
        let share = |first, matrices| Share { rows: Rows { first, step: 3, count: 2 }, matrices };
        let y = products(&x, i, 5, bits, &[share(0, vec![(&a, 3), (&b, 2)]), share(2, vec![(&b, 2), (&a, 3)])]);
        for row in 0..6 {
            let (of_a, of_b) = (&of_a[row * 3..][..3], &of_b[row * 2..][..2]);
            let expected = match row % 3 {
                0 => [of_a, of_b].concat(),
                1 => vec![0.0; 5],
                _ => [of_b, of_a].concat(),
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
