//! Gated feed-forward blocks with packed matrices, side by side: y = sum of w down(silu(gate x) * up x).
//!
//! Experts and what all rows go through are such blocks. Between the products a block's rows stay as they are needed:
//! nothing is gathered, joined or added in a pass of its own. A row of y sums over the blocks in their order.

use super::codes::{Codes, Span};
use super::kernel::{Kernel, Products};
use super::parts::{Parts, Unwritten};
use super::{Bits, TILE};
use crate::swiglu;
use rayon::prelude::*;

/// A block and what goes through it.
pub(crate) struct Block<'a> {
    /// Rows of x, each once.
    pub rows: &'a [u32],
    /// What each row's result is multiplied with.
    pub weights: &'a [f32],
    /// [f, d], packed
    pub gate: &'a [u8],
    pub up: &'a [u8],
    /// [d, f], packed
    pub down: &'a [u8],
    /// A multiple of [`TILE`].
    pub f: usize,
}

/// Tiles that a thread takes at once, of each matrix.
const TILES: usize = 8;
/// Panels that a thread takes at once.
const PANELS: usize = 16;

/// y [n, d] from `x` [n, d].
pub(crate) fn gated(x: &[f32], d: usize, bits: Bits, blocks: &[Block]) -> Vec<f32> {
    let kernel = Kernel::of_this_machine();
    let mut y = vec![0f32; x.len()];
    // Blocks of one width share their memory.
    let alike: Vec<(&[Block], Codes)> = blocks
        .chunk_by(|a, b| a.f == b.f)
        .map(|blocks| {
            (blocks, Codes::new(&inner(x, d, bits, blocks), blocks[0].f, bits, kernel.most_rows(), places(blocks)))
        })
        .collect();
    let parts = Parts::of(&mut y, d.max(1));
    let tiles: Vec<usize> = (0..d.div_ceil(TILE)).step_by(TILES).collect();
    tiles.into_par_iter().for_each(|first| {
        let tiles = first..d.div_ceil(TILE).min(first + TILES);
        let mut products = Products::default();
        for (blocks, codes) in &alike {
            let tile_bytes = codes.blocks * bits.block_bytes();
            let mut before = 0;
            for (group, block) in blocks.iter().enumerate() {
                // Rows some panels at a time: those of a long prompt would come from memory anew for each tile.
                let pieces = codes.panels(group).chunks(PANELS);
                for (panels, tile) in pieces.flat_map(|panels| tiles.clone().map(move |tile| (panels, tile))) {
                    let packed = &block.down[tile * tile_bytes..][..tile_bytes];
                    let columns = TILE.min(d - tile * TILE);
                    for &panel in panels {
                        kernel.tile(packed, bits, codes, panel, &mut products);
                        for (&place, values) in codes.rows(panel).iter().zip(&products) {
                            let at = place as usize - before;
                            #[expect(unsafe_code, reason = "threads write different parts of one matrix")]
                            // SAFETY: `y` is not touched until all threads are done, and no other has these tiles, so
                            // these columns.
                            unsafe {
                                parts.add(block.rows[at] as usize, tile * TILE, block.weights[at], &values[..columns]);
                            }
                        }
                    }
                }
                before += block.rows.len();
            }
        }
    });
    y
}

/// For each block the places of its rows where the rows of all lie end to end.
fn places(blocks: &[Block]) -> impl Iterator<Item = std::ops::Range<u32>> {
    blocks.iter().scan(0, |end, block| {
        let start = *end;
        *end += block.rows.len() as u32;
        Some(start..*end)
    })
}

/// silu(gate x) * up x for the rows of every block, end to end; all blocks have one f.
fn inner(x: &[f32], d: usize, bits: Bits, blocks: &[Block]) -> Vec<f32> {
    let (kernel, f) = (Kernel::of_this_machine(), blocks.first().map_or(0, |block| block.f));
    let codes = Codes::new(x, d, bits, kernel.most_rows(), blocks.iter().map(|block| block.rows.iter().copied()));
    let tile_bytes = codes.blocks * bits.block_bytes();
    let mut out = Unwritten::new(blocks.iter().map(|block| block.rows.len()).sum(), f);
    let mut pieces: Vec<(&Block, usize, usize, &[Span])> = Vec::new();
    for ((group, block), places) in blocks.iter().enumerate().zip(places(blocks)) {
        out.claim(places.clone());
        for tile in (0..f / TILE).step_by(TILES) {
            let mut place = places.start as usize;
            for panels in codes.panels(group).chunks(PANELS) {
                pieces.push((block, tile, place, panels));
                place += panels.iter().map(|panel| panel.count).sum::<usize>();
            }
        }
    }
    pieces.par_iter().for_each(|&(block, first, place, panels)| {
        let (mut gate, mut up, mut product) = (Products::default(), Products::default(), Products::default());
        for tile in first..(f / TILE).min(first + TILES) {
            let packed = tile * tile_bytes..(tile + 1) * tile_bytes;
            let mut place = place;
            for &panel in panels {
                kernel.tile(&block.gate[packed.clone()], bits, &codes, panel, &mut gate);
                kernel.tile(&block.up[packed.clone()], bits, &codes, panel, &mut up);
                let count = panel.count * TILE;
                swiglu::forward(
                    &mut product.as_flattened_mut()[..count],
                    &gate.as_flattened()[..count],
                    &up.as_flattened()[..count],
                );
                for values in &product[..panel.count] {
                    #[expect(unsafe_code, reason = "threads write different parts of one matrix")]
                    // SAFETY: a row is in one panel of one block, and each tile meets each panel in one piece.
                    unsafe {
                        out.write(place, tile * TILE, values);
                    }
                    place += 1;
                }
            }
        }
    });
    #[expect(unsafe_code, reason = "the memory was written part by part")]
    // SAFETY: the tiles cover all columns, the panels of a block all its rows.
    unsafe {
        out.written()
    }
}
