//! Matrices in blocks of 32 small integers with one scale: 8.5 bits a weight (Q8) or 4.5 (Q4).
//!
//! A weight is `scale (code - middle)`; codes have 8 or 4 bits, middle is 128 or 8, the scale is an f16 shared by 32
//! columns of a row. Rows lie in tiles of 16, so that one vector of a product holds the same columns of many rows. A tile
//! is, for every block of columns:
//!
//! - 16 scales, one for each row;
//! - the codes of columns 4 g to 4 g + 3 of all 16 rows, for g from 0 to 7. In Q4 the groups g and g + 4 share their
//!   bytes: the low halves are g's, the high halves those of g + 4.
//!
//! Rows and columns that fill up the last tile and block have scale 0 and code `middle`. Products are in `product`.

mod codes;
mod gated;
mod kernel;
mod parts;
mod product;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use gated::{Block, gated};
pub(crate) use product::{Rows, Share, products, repeated};

use half::f16;
use rayon::prelude::*;
use std::ops::Range;

/// Columns that share a scale.
pub const BLOCK: usize = 32;
/// Rows that lie together.
pub(crate) const TILE: usize = 16;

/// Columns of a block that lie together.
const GROUP: usize = 4;
const GROUPS: usize = BLOCK / GROUP;

/// How many bits a code has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bits {
    Four,
    Eight,
}

impl Bits {
    /// Bytes of the scales in front of a block's codes.
    pub const SCALES: usize = 2 * TILE;

    /// 4 or 8.
    pub const fn count(self) -> usize {
        match self {
            Self::Four => 4,
            Self::Eight => 8,
        }
    }

    /// The code that stands for 0.
    const fn middle(self) -> i32 {
        match self {
            Self::Four => 8,
            Self::Eight => 128,
        }
    }

    /// Bytes of a block of 16 rows.
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::Four => Self::SCALES + TILE * BLOCK / 2,
            Self::Eight => Self::SCALES + TILE * BLOCK,
        }
    }

    /// Bytes of a whole matrix [o, i]; `None` where no machine could hold it.
    pub fn bytes(self, (o, i): (usize, usize)) -> Option<usize> {
        o.div_ceil(TILE).checked_mul(i.div_ceil(BLOCK))?.checked_mul(self.block_bytes())
    }

    /// The shape [tiles, blocks, bytes] under which a matrix [o, i] is stored as bytes; `None` for one that does not fill
    /// its tiles and blocks, whose size the bytes would not tell.
    pub fn stored_shape(self, (o, i): (usize, usize)) -> Option<[usize; 3]> {
        let whole = o.is_multiple_of(TILE) && i.is_multiple_of(BLOCK) && o > 0 && i > 0;
        whole.then(|| [o / TILE, i / BLOCK, self.block_bytes()])
    }

    /// The bits and (o, i) of what is stored under such a shape.
    pub fn from_stored_shape(shape: &[usize]) -> Option<(Self, (usize, usize))> {
        let &[tiles, blocks, bytes] = shape else { return None };
        let bits = [Self::Four, Self::Eight].into_iter().find(|bits| bits.block_bytes() == bytes)?;
        Some((bits, (tiles.checked_mul(TILE)?, blocks.checked_mul(BLOCK)?)))
    }

    /// Where in a block's codes an element lies, and the shift of its bits there.
    fn place(self, row: usize, col: usize) -> (usize, u32) {
        let (group, within) = (col / GROUP, col % GROUP);
        let (group, shift) = match self {
            Self::Eight => (group, 0),
            Self::Four => (group % (GROUPS / 2), if group < GROUPS / 2 { 0 } else { 4 }),
        };
        (Self::SCALES + (group * TILE + row) * GROUP + within, shift)
    }

    fn code(self, block: &[u8], row: usize, col: usize) -> i32 {
        let (at, shift) = self.place(row, col);
        let byte = i32::from(block[at]);
        match self {
            Self::Eight => byte,
            Self::Four => (byte >> shift) & 15,
        }
    }
}

/// The instructions of integer products.
pub(crate) fn instructions() -> &'static str {
    kernel::Kernel::of_this_machine().name()
}

/// Packs the numbers of a matrix [o, i], row after row. Numbers that are not finite, or larger than an f16 scale can
/// tell (5e5 in Q4, 8e6 in Q8), give scales that are no numbers.
pub(crate) fn quantise(numbers: &[f32], (o, i): (usize, usize), bits: Bits) -> Vec<u8> {
    assert_eq!(numbers.len(), o * i, "quantise: {o} x {i}");
    let blocks = i.div_ceil(BLOCK);
    let mut out = vec![0u8; o.div_ceil(TILE) * blocks * bits.block_bytes()];
    if out.is_empty() {
        return out;
    }
    let tiles = out.par_chunks_mut(blocks * bits.block_bytes()).zip(numbers.par_chunks(TILE * i));
    tiles.for_each(|(tile, rows)| {
        for (b, block) in tile.chunks_mut(bits.block_bytes()).enumerate() {
            for row in 0..TILE {
                let numbers = rows.get(row * i + b * BLOCK..rows.len().min((row * i) + i.min((b + 1) * BLOCK)));
                quantise_block(block, row, numbers.unwrap_or_default(), bits);
            }
        }
    });
    out
}

fn quantise_block(block: &mut [u8], row: usize, numbers: &[f32], bits: Bits) {
    let (scale, codes) = codes(numbers, bits);
    block[2 * row..][..2].copy_from_slice(&scale.to_le_bytes());
    for (col, code) in codes.into_iter().enumerate() {
        let (at, shift) = bits.place(row, col);
        block[at] |= code << shift;
    }
}

/// The scale of up to 32 numbers and their codes.
fn codes(numbers: &[f32], bits: Bits) -> (f16, [u8; BLOCK]) {
    let largest = numbers.iter().copied().fold(0f32, |best, x| if x.abs() > best.abs() { x } else { best });
    let first = match bits {
        // There is one more code below the middle than above: the largest number gets the last one below, whatever its
        // sign.
        Bits::Four => f16::from_f32(largest / -8.0),
        Bits::Eight => f16::from_f32(largest / -127.0),
    };
    if !first.is_finite() || numbers.iter().any(|x| !x.is_finite()) {
        return (f16::NAN, [bits.middle() as u8; BLOCK]);
    }
    let rounded = rounded(numbers, first, bits);
    // The scale with the least squared error for these codes.
    let (mut above, mut below) = (0f64, 0f64);
    for (x, code) in numbers.iter().zip(&rounded) {
        let code = f64::from(i32::from(*code) - bits.middle());
        above += f64::from(*x) * code;
        below += code * code;
    }
    let scale = if below > 0.0 { f16::from_f64(above / below) } else { f16::ZERO };
    (scale, rounded)
}

fn rounded(numbers: &[f32], scale: f16, bits: Bits) -> [u8; BLOCK] {
    let scale = scale.to_f32();
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let middle = bits.middle();
    let mut codes = [middle as u8; BLOCK];
    for (code, x) in codes.iter_mut().zip(numbers) {
        *code = ((x * inverse).round_ties_even() as i32 + middle).clamp(0, 2 * middle - 1) as u8;
    }
    codes
}

/// The numbers of `rows` and `cols` of a packed matrix of width `i`, row after row.
pub(crate) fn decode(packed: &[u8], i: usize, bits: Bits, rows: Range<usize>, cols: Range<usize>, out: &mut [f32]) {
    let blocks = i.div_ceil(BLOCK);
    for (row, out) in rows.zip(out.chunks_mut(cols.len().max(1))) {
        let tile = &packed[row / TILE * blocks * bits.block_bytes()..];
        let mut col = cols.start;
        while col < cols.end {
            let block = &tile[col / BLOCK * bits.block_bytes()..][..bits.block_bytes()];
            let end = cols.end.min((col / BLOCK + 1) * BLOCK);
            let scale = scale(block, row % TILE);
            for col in col..end {
                let code = bits.code(block, row % TILE, col % BLOCK) - bits.middle();
                out[col - cols.start] = code as f32 * scale;
            }
            col = end;
        }
    }
}

fn scale(block: &[u8], row: usize) -> f32 {
    f16::from_le_bytes([block[2 * row], block[2 * row + 1]]).to_f32()
}

/// The first block whose scale is infinite or no number, as (row, column) of the matrix.
pub(crate) fn first_not_finite(packed: &[u8], i: usize, bits: Bits) -> Option<(usize, usize)> {
    let blocks = i.div_ceil(BLOCK);
    packed.chunks(bits.block_bytes()).enumerate().find_map(|(at, block)| {
        let row = (0..TILE).find(|row| !scale(block, *row).is_finite())?;
        Some((at / blocks * TILE + row, at % blocks * BLOCK))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(count: usize) -> Vec<f32> {
        (0..count).map(|at| ((at * at) as f32 * 0.013).sin() * (1.0 + (at % 7) as f32)).collect()
    }

    #[test]
    fn numbers_come_back_to_half_a_step() {
        for (o, i) in [(1, 1), (16, 32), (17, 33), (40, 96), (5, 100)] {
            let numbers = wave(o * i);
            for bits in [Bits::Four, Bits::Eight] {
                let packed = quantise(&numbers, (o, i), bits);
                assert_eq!(Some(packed.len()), bits.bytes((o, i)));
                let mut back = vec![0f32; o * i];
                decode(&packed, i, bits, 0..o, 0..i, &mut back);
                for (row, (numbers, back)) in numbers.chunks(i).zip(back.chunks(i)).enumerate() {
                    for (block, (numbers, back)) in numbers.chunks(BLOCK).zip(back.chunks(BLOCK)).enumerate() {
                        let largest = numbers.iter().fold(0f32, |best, x| best.max(x.abs()));
                        // Half a step, once more where the far end has no code, and the rounding of the scale.
                        let step = largest / if bits == Bits::Four { 8.0 } else { 127.0 };
                        let error = numbers.iter().zip(back).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
                        assert!(error <= 1.1 * step, "{bits:?} {o}x{i}, row {row} block {block}: {error}, step {step}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_stored_shape_tells_the_matrix() {
        for bits in [Bits::Four, Bits::Eight] {
            let shape = bits.stored_shape((48, 96)).expect("whole tiles and blocks");
            assert_eq!(Some(shape.iter().product()), bits.bytes((48, 96)));
            assert_eq!(Bits::from_stored_shape(&shape), Some((bits, (48, 96))));
            assert_eq!((bits.stored_shape((47, 96)), bits.stored_shape((48, 95))), (None, None));
        }
        assert_eq!(Bits::from_stored_shape(&[1, 1, 289]), None);
        assert_eq!(Bits::from_stored_shape(&[usize::MAX, 1, 288]), None);
    }

    #[test]
    fn a_part_is_decoded_as_the_whole() {
        let (o, i) = (37, 100);
        for bits in [Bits::Four, Bits::Eight] {
            let packed = quantise(&wave(o * i), (o, i), bits);
            let (mut all, mut part) = (vec![0f32; o * i], vec![0f32; 5 * 61]);
            decode(&packed, i, bits, 0..o, 0..i, &mut all);
            decode(&packed, i, bits, 30..35, 20..81, &mut part);
            for (row, part) in part.chunks(61).enumerate() {
                assert_eq!(part, &all[(30 + row) * i + 20..][..61]);
            }
        }
    }

    #[test]
    fn integers_within_the_codes_are_exact() {
        let numbers: Vec<f32> = (0..64).map(|at| (at % 16) as f32 - 8.0).collect();
        let mut back = vec![0f32; 64];
        decode(&quantise(&numbers, (2, 32), Bits::Four), 32, Bits::Four, 0..2, 0..32, &mut back);
        assert_eq!(back, numbers);
    }

    #[test]
    fn what_no_scale_can_tell_is_found_where_it_is() {
        for (bits, most) in [(Bits::Four, 5.2e5), (Bits::Eight, 8.3e6)] {
            let mut numbers = wave(40 * 70);
            numbers[33 * 70 + 40] = most;
            let mut back = vec![0f32; 70];
            let packed = quantise(&numbers, (40, 70), bits);
            assert_eq!(first_not_finite(&packed, 70, bits), None);
            decode(&packed, 70, bits, 33..34, 0..70, &mut back);
            assert!((back[40] / most - 1.0).abs() < 1e-2, "{bits:?}: {}", back[40]);
            numbers[33 * 70 + 40] = -1.05 * most;
            assert_eq!(first_not_finite(&quantise(&numbers, (40, 70), bits), 70, bits), Some((33, 32)));
        }
    }

    #[test]
    fn what_is_not_finite_is_found_where_it_is() {
        let mut numbers = wave(40 * 70);
        numbers[33 * 70 + 64] = f32::INFINITY;
        for bits in [Bits::Four, Bits::Eight] {
            assert_eq!(first_not_finite(&quantise(&numbers, (40, 70), bits), 70, bits), Some((33, 64)));
            assert_eq!(first_not_finite(&quantise(&wave(40 * 70), (40, 70), bits), 70, bits), None);
        }
    }
}
