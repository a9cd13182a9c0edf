//! Products of numbers rounded to bf16, summed in f32, in the bf16 instructions of AVX-512.
//!
//! Both operands are packed into lines of 16 lanes, rows of the left one and columns of the right one; a lane holds two
//! neighbours along the inner dimension, as the instruction takes them. Blocks are those of Goto and van de Geijn (ACM
//! TOMS 34(3), 2008): a piece of the right operand stays in the first two caches while rows of the left one pass. A
//! number's sum is taken in one order, whatever the blocks, the rows beside it and the threads.

mod pack;
mod tile;

use super::{Mat, Threads};
pub(crate) use pack::{pack_columns, pack_line, pack_rows};
use rayon::prelude::*;
use std::cell::RefCell;
use std::ops::Range;
pub(crate) use tile::Tile;

/// Lanes of a line.
pub(crate) const LANES: usize = 16;
/// Rows of a tile: half a line of the left operand.
pub(crate) const ROWS: usize = 8;
/// Lines of the right operand in a tile.
pub(crate) const LINES: usize = 3;
/// Numbers of the inner dimension that a tile's sums go over at a time.
const DEPTH: usize = 512;
/// Rows and columns that are packed at a time, as many numbers deep as DEPTH; of fewer rows and columns more of the inner
/// dimension, so that small results of long sums are not taken up again and again.
const HEIGHT: usize = 4096;
const WIDTH: usize = 64 * LINES * LANES;
/// Rows and columns that one thread works on at a time.
const TASK: (usize, usize) = (128, 8 * LINES * LANES);

thread_local! {
    /// Packed operands, kept from one product to the next.
    static ROOM: RefCell<[Vec<u32>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// Memory that threads write different tiles of.
struct Out(*mut f32);

#[expect(unsafe_code, reason = "threads write different tiles of one matrix")]
// SAFETY: the pointer is used for the tiles of one thread at a time.
unsafe impl Sync for Out {}

/// The product into m rows of n numbers that begin `row_stride` apart.
///
/// # Safety
/// As of `matmul::multiply`, whose checks have been made.
#[expect(unsafe_code, reason = "the product goes to memory that may be unwritten")]
pub(super) unsafe fn multiply(
    out: *mut f32,
    row_stride: usize,
    a: Mat<'_>,
    b: Mat<'_>,
    accumulate: bool,
    threads: Threads,
) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    let [mut left, mut right] = ROOM.take();
    let columns = b.t();
    for depth in pieces(0..k, reach(m, n)) {
        for width in pieces(0..n, WIDTH) {
            pack(columns, width.clone(), depth.clone(), &mut right, threads);
            for height in pieces(0..m, HEIGHT) {
                pack(a, height.clone(), depth.clone(), &mut left, threads);
                // SAFETY: inside the caller's matrix.
                let out = unsafe { out.add(height.start * row_stride + width.start) };
                let block = Block {
                    out: Out(out),
                    row_stride,
                    left: &left,
                    right: &right,
                    depth: depth.len(),
                    accumulate: accumulate || depth.start > 0,
                };
                let tasks: Vec<_> = pieces(0..height.len(), TASK.0)
                    .flat_map(|rows| pieces(0..width.len(), TASK.1).map(move |columns| (rows.clone(), columns)))
                    .collect();
                // SAFETY: tasks share no tile, and each lies within the block.
                let task = |(rows, columns)| unsafe { block.task(rows, columns) };
                match threads {
                    Threads::One => tasks.into_iter().for_each(task),
                    Threads::All => tasks.into_par_iter().for_each(task),
                }
            }
        }
    }
    ROOM.set([left, right]);
}

/// Numbers of the inner dimension that are packed at a time for m rows and n columns.
fn reach(m: usize, n: usize) -> usize {
    let share = |lanes: usize, most: usize| most / lanes.min(most);
    DEPTH * share(m, HEIGHT).min(share(n, WIDTH))
}

/// `range` in pieces of `size`.
fn pieces(range: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(size).map(move |start| start..end.min(start + size))
}

/// Packs `depth` of the rows `lanes` of `side`, line after line.
fn pack(side: Mat<'_>, lanes: Range<usize>, depth: Range<usize>, out: &mut Vec<u32>, threads: Threads) {
    let size = depth.len().div_ceil(2) * LANES;
    let needed = lanes.len().div_ceil(LANES) * size;
    if out.len() < needed {
        *out = vec![0; needed];
    }
    let line = |(at, out): (usize, &mut [u32])| {
        let first = lanes.start + at * LANES;
        let part = Mat { rows: LANES.min(lanes.end - first), cols: depth.len(), ..side };
        let from = first * side.row_stride + depth.start * side.col_stride;
        pack_line(Mat { data: &side.data[from..], ..part }, out);
    };
    match threads {
        Threads::One => out[..needed].chunks_mut(size).enumerate().for_each(line),
        Threads::All => out[..needed].par_chunks_mut(size).enumerate().with_min_len(4).for_each(line),
    }
}

/// Packed operands and where their product goes.
struct Block<'a> {
    out: Out,
    row_stride: usize,
    left: &'a [u32],
    right: &'a [u32],
    /// Numbers of the inner dimension that are packed.
    depth: usize,
    accumulate: bool,
}

impl Block<'_> {
    /// The tiles of some rows and columns, which begin with whole lines.
    ///
    /// # Safety
    /// They must lie in the matrix, and no other thread may touch them.
    #[expect(unsafe_code, reason = "the product goes to memory that may be unwritten")]
    unsafe fn task(&self, rows: Range<usize>, columns: Range<usize>) {
        let line = self.depth.div_ceil(2) * LANES;
        for depth in pieces(0..self.depth, DEPTH) {
            let (from, pairs) = (depth.start / 2 * LANES, depth.len().div_ceil(2));
            for column in columns.clone().step_by(LINES * LANES) {
                let width = (LINES * LANES).min(columns.end - column);
                let right = &self.right[column / LANES * line + from..];
                for row in rows.clone().step_by(ROWS) {
                    let height = ROWS.min(rows.end - row);
                    let left = &self.left[row / LANES * line + from..];
                    let tile = Tile { left, half: row % LANES, right, line, pairs, height, width };
                    // SAFETY: the caller's promise.
                    unsafe {
                        let out = self.out.0.add(row * self.row_stride + column);
                        tile.multiply(out, self.row_stride, self.accumulate || depth.start > 0);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{How, Mat, MatMut, MatmulPrecision, Threads, matmul};
    use half::bf16;

    fn wave(count: usize, step: f32) -> Vec<f32> {
        (0..count).map(|at| (at as f32 * step).sin() * (1.0 + (at % 7) as f32)).collect()
    }

    /// Every layout, every kind of edge, more than one block of each dimension, against sums in f64.
    #[test]
    fn matches_exact_sums_of_rounded_numbers() {
        if !crate::avx512_bf16::is_here() {
            return;
        }
        let rounded = |x: f32| bf16::from_f32(x).to_f64();
        for (m, k, n) in
            [(1, 1, 1), (5, 7, 3), (8, 32, 16), (33, 65, 50), (17, 1030, 97), (130, 40, 3100), (4100, 9, 20)]
        {
            let (a, b) = (wave(m * k, 0.7), wave(k * n, 0.3));
            let at: Vec<f32> = (0..k * m).map(|i| a[(i % m) * k + i / m]).collect();
            let bt: Vec<f32> = (0..n * k).map(|i| b[(i % k) * n + i / k]).collect();
            let spread: Vec<f32> = a.iter().flat_map(|&x| [x, f32::NAN]).collect();
            let every_other = Mat { data: &spread, rows: m, cols: k, row_stride: 2 * k, col_stride: 2 };
            for (left, right) in [
                (Mat::new(&a, m, k), Mat::new(&b, k, n)),
                (Mat::new(&at, k, m).t(), Mat::new(&b, k, n)),
                (Mat::new(&a, m, k), Mat::new(&bt, n, k).t()),
                (Mat::new(&at, k, m).t(), Mat::new(&bt, n, k).t()),
                (every_other, Mat::new(&b, k, n)),
            ] {
                let mut found = Vec::new();
                for threads in [Threads::One, Threads::All] {
                    for accumulate in [false, true] {
                        let mut out = vec![0.5; m * (n + 3)];
                        let to = MatMut::strided(&mut out, m, n, n + 3);
                        matmul(to, left, right, accumulate, How { threads, precision: MatmulPrecision::Bf16 });
                        found.push((accumulate, out));
                    }
                }
                assert!(found[0] == found[2] && found[1] == found[3], "threads changed the sums");
                // All rows of small products, some of large ones.
                for row in (0..m).step_by(1 + m / 9) {
                    for col in (0..n).step_by(1 + n / 40) {
                        let products = (0..k).map(|x| (rounded(a[row * k + x]), rounded(b[x * n + col])));
                        let (sum, size) =
                            products.fold((0.0, 0.0), |(sum, size), (a, b)| (sum + a * b, size + (a * b).abs()));
                        for (accumulate, out) in &found {
                            let expected = sum + if *accumulate { 0.5 } else { 0.0 };
                            let difference = (f64::from(out[row * (n + 3) + col]) - expected).abs();
                            assert!(difference <= 1e-6 * (size + 1.0), "{m} x {k} x {n} at {row}, {col}: {difference}");
                        }
                    }
                    assert_eq!(found[0].1[row * (n + 3) + n], 0.5, "padding between rows stays untouched");
                }
            }
        }
    }
}
