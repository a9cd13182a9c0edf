//! Results of passes over numbers: computed side by side in pieces that stay in the first cache, and written to memory once,
//! which is neither filled with zeros nor with a copy of the input first.

use rayon::prelude::*;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Numbers per unit of parallel work.
const SPAN: usize = 1 << 14;

/// Numbers of a piece: few enough that several pieces stay in the first cache.
pub(crate) const PIECE: usize = 1024;

/// `N` results of `n` numbers each, in whole rows of `row` numbers. `write` fills the pieces that stand for the numbers of
/// a range; what it leaves is undefined, though not unsafe.
pub(crate) fn written<const N: usize>(
    n: usize,
    row: usize,
    write: impl Fn(Range<usize>, [&mut [f32]; N]) + Sync,
) -> [Vec<f32>; N] {
    let row = row.max(1);
    let piece = (PIECE / row).max(1) * row;
    let span = (SPAN / piece).max(1) * piece;
    let mut results: [Vec<f32>; N] = std::array::from_fn(|_| Vec::with_capacity(n));
    let mut spans: Vec<[&mut [MaybeUninit<f32>]; N]> = Vec::new();
    let mut rests = results.each_mut().map(|result| &mut result.spare_capacity_mut()[..n]);
    while !rests[0].is_empty() {
        let end = span.min(rests[0].len());
        spans.push(rests.each_mut().map(|rest| rest.split_off_mut(..end).unwrap_or_default()));
    }
    spans.into_par_iter().enumerate().for_each(|(at, mut outs)| {
        let mut rooms: [Vec<f32>; N] = std::array::from_fn(|_| vec![0f32; piece]);
        let (before, len) = (at * span, outs[0].len());
        for start in (0..len).step_by(piece) {
            let end = len.min(start + piece);
            write(before + start..before + end, rooms.each_mut().map(|room| &mut room[..end - start]));
            for (out, room) in outs.iter_mut().zip(&rooms) {
                out[start..end].write_copy_of_slice(&room[..end - start]);
            }
        }
    });
    #[expect(unsafe_code, reason = "memory that the loop above has written")]
    // SAFETY: the spans are all of the first n places of each result, and every piece of a span was copied into.
    results.iter_mut().for_each(|result| unsafe { result.set_len(n) });
    results
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_written_once_in_whole_rows() {
        for (n, row) in [(0, 1), (1, 1), (5000, 1), (40_000, 100), (3 * 1500, 1500), (50_001, 3)] {
            let [a, b] = written(n, row, |range, [a, b]| {
                assert!(range.start % row == 0 && range.len() % row == 0 && a.len() == range.len());
                for (at, (a, b)) in range.zip(a.iter_mut().zip(b)) {
                    (*a, *b) = (at as f32, -(at as f32));
                }
            });
            assert!(a.len() == n && a.iter().enumerate().all(|(at, x)| *x == at as f32));
            assert!(b.len() == n && b.iter().enumerate().all(|(at, x)| *x == -(at as f32)));
        }
    }
}
