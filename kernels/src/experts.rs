//! Gated feed-forward blocks whose weights are packed in integers: experts, and blocks that every row goes through.
//!
//! y = sum over the experts e of a row of weight_e down_e(silu(gate_e x) * up_e x), and one block more for all rows. One
//! operation, because for a few rows the passes between its products cost as much as the products, see `quantised`.

use crate::quantised::{self, Bits, Block, TILE};
use crate::{Format, StoredMatrix, Value, Weight, cpu};
use candle_core::{Result, bail};

/// Experts and the rows that go to them, sorted by expert.
#[derive(Clone, Copy)]
pub struct Routed<'a> {
    /// The row of x of each pair of row and expert.
    pub rows: &'a [u32],
    /// Pairs of expert e are `offsets[e]..offsets[e + 1]`.
    pub offsets: &'a [usize],
    /// What the result of each pair is multiplied with.
    pub weights: &'a Value,
    /// [e, 2 f, d]: for each expert the rows of its gate, then those of `up`.
    pub gate_up: &'a Weight,
    /// [e, d, f]
    pub down: &'a Weight,
}

/// Weights of one block.
struct Packed<'a> {
    bits: Bits,
    gate_up: &'a [StoredMatrix],
    down: &'a StoredMatrix,
    f: usize,
}

impl<'a> Packed<'a> {
    /// `None` for what is not packed, not in whole tiles, or read from disk.
    fn new(gate_up: &'a [StoredMatrix], down: &'a StoredMatrix) -> Option<Self> {
        let &Format::Quantised(bits) = down.format() else { return None };
        let (d, f) = down.dims();
        let rows = match gate_up {
            [_] => 2 * f,
            [_, _] => f,
            _ => return None,
        };
        if down.is_paged() || gate_up.iter().any(StoredMatrix::is_paged) {
            return None;
        }
        let fits = |part: &StoredMatrix| *part.format() == Format::Quantised(bits) && part.dims() == (rows, d);
        (gate_up.iter().all(fits) && f.is_multiple_of(TILE)).then_some(Self { bits, gate_up, down, f })
    }

    fn block<'b>(&'b self, rows: &'b [u32], weights: &'b [f32]) -> Block<'b> {
        let (gate, up) = match self.gate_up {
            [gate, up] => (gate.bytes(), up.bytes()),
            parts => parts.first().map_or((&[][..], &[][..]), |both| both.bytes().split_at(both.bytes().len() / 2)),
        };
        Block { rows, weights, gate, up, down: self.down.bytes(), f: self.f }
    }
}

/// y [n, d] from `x` [n, d]; `always` are (gate and up, down) of the block for all rows. `None` where the weights are not
/// all packed alike, come from disk, where they cannot all be there at once, or a gradient is wanted.
pub fn packed_experts(x: &Value, routed: Option<Routed>, always: Option<(&Weight, &Weight)>) -> Result<Option<Value>> {
    let x_t = x.tensor();
    let (n, d) = cpu::rows(x_t)?;
    if x.is_tracked() || routed.is_some_and(|routed| routed.weights.is_tracked()) || !cpu::fast(&[x_t]) {
        return Ok(None);
    }
    let all: Vec<u32> = (0..n as u32).collect();
    let ones = vec![1f32; n];
    let pair_weights = routed.map(|routed| cpu::data(routed.weights.tensor())).transpose()?;
    let mut packed = Vec::new();
    if let (Some(routed), Some(weights)) = (routed, &pair_weights) {
        let (Weight::Stored(gate_up), Weight::Stored(down)) = (routed.gate_up, routed.down) else { return Ok(None) };
        let experts = routed.offsets.len().saturating_sub(1);
        let ends = (routed.rows.len(), routed.offsets.last() == Some(&weights.len()));
        if experts == 0 || down.len() != experts || !gate_up.len().is_multiple_of(experts) {
            bail!("{} and {} matrices are not those of {experts} experts", gate_up.len(), down.len());
        }
        if !routed.offsets.is_sorted()
            || ends != (weights.len(), true)
            || routed.rows.iter().any(|&row| row as usize >= n)
        {
            bail!("packed_experts: {} rows, {n} of x, offsets {:?}", routed.rows.len(), routed.offsets);
        }
        let parts = gate_up.chunks(gate_up.len() / experts).zip(down.iter()).zip(routed.offsets.windows(2));
        for ((gate_up, down), span) in parts.filter(|(_, span)| span[0] < span[1]) {
            let Some(weights_of) = Packed::new(gate_up, down) else { return Ok(None) };
            packed.push((weights_of, &routed.rows[span[0]..span[1]], &weights[span[0]..span[1]]));
        }
    }
    if let Some((gate_up, down)) = always {
        let (Weight::Stored(gate_up), Weight::Stored(down)) = (gate_up, down) else { return Ok(None) };
        let [down] = &**down else { return Ok(None) };
        let Some(weights_of) = Packed::new(gate_up, down) else { return Ok(None) };
        packed.push((weights_of, &all, &ones));
    }
    let Some(bits) = packed.first().map(|(first, ..)| first.bits) else { return Ok(None) };
    if packed.iter().any(|(weights, ..)| weights.bits != bits || weights.down.dims().0 != d) {
        return Ok(None);
    }
    let blocks: Vec<Block> = packed.iter().map(|(weights, rows, factors)| weights.block(rows, factors)).collect();
    let y = quantised::gated(&cpu::data(x_t)?, d, bits, &blocks);
    Value::constant(&cpu::shaped(y, x.dims())?).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, constant, random};
    use crate::{add, scatter_rows_weighted, swiglu_halves};
    use std::sync::Arc;

    fn matrices(count: u64, (o, i): (usize, usize), bits: Bits, seed: u64) -> Result<Weight> {
        let matrix = |at| {
            let numbers = random(&[o * i], seed + at).to_vec1::<f32>()?;
            StoredMatrix::quantised(&numbers, (o, i), bits)
        };
        Ok(Weight::Stored((0..count).map(matrix).collect::<Result<Vec<_>>>()?.into()))
    }

    #[test]
    fn agrees_with_the_steps_one_by_one() -> Result<()> {
        let (n, d, f) = (11, 40, 32);
        let x = constant(&[n, d], 1);
        // Three experts, the second without rows, and a block for all of another width.
        let rows: Vec<u32> = (0..11).chain([2, 3, 9]).collect();
        let offsets: Arc<[usize]> = [0, 11, 11, 14].into();
        let weights = constant(&[14], 2);
        for bits in [Bits::Four, Bits::Eight] {
            let shared = (matrices(2, (48, d), bits, 30)?, matrices(1, (d, 48), bits, 40)?);
            for parts in [1, 2] {
                let gate_up = matrices(3 * parts, (2 * f / parts as usize, d), bits, 10)?;
                let down = matrices(3, (d, f), bits, 20)?;
                let routed =
                    Routed { rows: &rows, offsets: &offsets, weights: &weights, gate_up: &gate_up, down: &down };
                let found = packed_experts(&x, Some(routed), Some((&shared.0, &shared.1)))?.expect("packed");
                let inner = swiglu_halves(&gate_up.grouped_linear(&crate::gather_rows(&x, &rows)?, &offsets)?)?;
                let out = down.grouped_linear(&inner, &offsets)?;
                let expected = scatter_rows_weighted(&out, &weights, &rows, n)?;
                let always = shared.1.linear(&swiglu_halves(&shared.0.linear(&x)?)?)?;
                close("experts", found.tensor(), add(&expected, &always)?.tensor(), 0.0)?;
                let alone = packed_experts(&x, None, Some((&shared.0, &shared.1)))?.expect("packed");
                close("for all rows", alone.tensor(), always.tensor(), 0.0)?;
            }
        }
        Ok(())
    }

    #[test]
    fn other_weights_are_left_to_others() -> Result<()> {
        let x = constant(&[2, 32], 1);
        let down = matrices(1, (32, 24), Bits::Four, 3)?;
        let plain = Weight::Plain(constant(&[48, 32], 2));
        assert!(packed_experts(&x, None, Some((&plain, &down)))?.is_none());
        // 24 rows are no whole tiles.
        assert!(packed_experts(&x, None, Some((&matrices(2, (24, 32), Bits::Four, 2)?, &down)))?.is_none());
        Ok(())
    }
}
