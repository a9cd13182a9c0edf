//! Rows of x in 8-bit codes, laid out as the products read them.
//!
//! Rows that a kernel multiplies at once lie in one panel. A panel of M rows has for every block of 32 columns ten lines
//! of M words: eight with four codes each, one with the scales, and one with what the middle of the matrix's codes adds
//! to the sum of products, minus the middle times the sum of the codes.

use super::{BLOCK, Bits, GROUP, GROUPS};
use crate::simd;
use rayon::prelude::*;

/// The line of a panel's block that holds the scales, as the bits of f32.
pub(super) const SCALES_LINE: usize = GROUPS;
/// The line that holds what the middle adds.
pub(super) const MIDDLES_LINE: usize = GROUPS + 1;
/// Lines of a panel's block.
pub(super) const LINES: usize = GROUPS + 2;

/// A panel of M rows, block after block.
pub(super) type Panel<'a, const M: usize> = &'a [[[i32; M]; LINES]];

/// Rows of x in codes.
pub(super) struct Codes {
    /// Blocks of a row.
    pub blocks: usize,
    words: Vec<i32>,
    rows: Vec<u32>,
    /// Panels group after group; those of group g are `ends[g]..ends[g + 1]`.
    panels: Vec<Span>,
    ends: Vec<usize>,
}

/// Where a panel lies: the first of its rows in the list of all, and how many they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    first: usize,
    pub count: usize,
}

impl Codes {
    /// The codes of groups of rows of `i` numbers, each group in panels of at most `most` rows of its own.
    pub(super) fn new<R: IntoIterator<Item = u32>>(
        x: &[f32],
        i: usize,
        bits: Bits,
        most: usize,
        groups: impl IntoIterator<Item = R>,
    ) -> Self {
        let blocks = i.div_ceil(BLOCK);
        let (mut rows, mut panels, mut ends) = (Vec::new(), Vec::new(), vec![0]);
        for group in groups {
            let start = rows.len();
            rows.extend(group);
            let total = rows.len() - start;
            // Panels of about equal size: one of a single row would cost as much as one of several.
            let count = total.div_ceil(most);
            let cut = |at: usize| start + total * at / count;
            panels.extend((0..count).map(|at| Span { first: cut(at), count: cut(at + 1) - cut(at) }));
            ends.push(panels.len());
        }
        let mut words = vec![0; rows.len() * blocks * LINES];
        let mut parts = Vec::with_capacity(panels.len());
        let mut rest = words.as_mut_slice();
        for panel in &panels {
            let (part, after) = rest.split_at_mut(panel.count * blocks * LINES);
            parts.push((part, &rows[panel.first..][..panel.count]));
            rest = after;
        }
        parts.into_par_iter().with_min_len(4).for_each(|(words, rows)| {
            for (lane, &row) in rows.iter().enumerate() {
                encode_row(words, lane, rows.len(), &x[row as usize * i..][..i], bits);
            }
        });
        Self { blocks, words, rows, panels, ends }
    }

    /// The panels of one group.
    pub(super) fn panels(&self, group: usize) -> &[Span] {
        &self.panels[self.ends[group]..self.ends[group + 1]]
    }

    /// The rows of a panel.
    pub(super) fn rows(&self, span: Span) -> &[u32] {
        &self.rows[span.first..][..span.count]
    }

    /// The panel of M rows at `span`.
    pub(super) fn panel<const M: usize>(&self, span: Span) -> Panel<'_, M> {
        let words = &self.words[span.first * self.blocks * LINES..][..M * self.blocks * LINES];
        words.as_chunks::<M>().0.as_chunks::<LINES>().0
    }
}

/// The codes of one row into lane `lane` of a panel of `count` rows.
fn encode_row(words: &mut [i32], lane: usize, count: usize, x: &[f32], bits: Bits) {
    simd::dispatch(
        #[inline(always)]
        || {
            let (whole, rest) = x.as_chunks::<BLOCK>();
            let mut last = [0f32; BLOCK];
            last[..rest.len()].copy_from_slice(rest);
            let blocks = words.chunks_exact_mut(LINES * count);
            for (block, x) in blocks.zip(whole.iter().chain([&last])) {
                let lines = encode(x, bits);
                for (line, word) in lines.into_iter().enumerate() {
                    block[line * count + lane] = word;
                }
            }
        },
    );
}

#[inline(always)]
fn encode(x: &[f32; BLOCK], bits: Bits) -> [i32; LINES] {
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
    let mut lines = [0i32; LINES];
    for (line, codes) in lines.iter_mut().zip(codes.as_chunks::<GROUP>().0) {
        *line = i32::from_le_bytes(codes.map(|code| code as u8));
    }
    // What is not finite has no codes; its scale carries that on.
    let scale = if finite { largest / 127.0 } else { f32::NAN };
    lines[SCALES_LINE] = scale.to_bits() as i32;
    lines[MIDDLES_LINE] = sum.wrapping_mul(-bits.middle());
    lines
}
