//! The weights of a projection: numbers that can be trained, or matrices in the form they are stored in.

use crate::row_products::row_products;
use crate::value::Value;
use crate::{StoredMatrix, cpu, gather_rows, grouped_linear, linear};
use candle_core::{Result, Tensor, bail};
use std::sync::Arc;

/// What rows are multiplied with.
#[derive(Clone)]
pub enum Weight {
    /// [o, i], or [e, o, i] with one matrix for each expert.
    Plain(Value),
    /// Matrices of equal width, one below the other; never trained.
    Stored(Arc<[StoredMatrix]>),
}

impl Weight {
    /// y = x W^T, [n, i] to [n, o].
    pub fn linear(&self, x: &Value) -> Result<Value> {
        match self {
            Self::Plain(w_oi) => linear(x, w_oi),
            Self::Stored(_) if x.is_tracked() => bail!("no gradient flows through stored weights"),
            Self::Stored(parts) => Value::constant(&stored_linear(x.tensor(), parts)?),
        }
    }

    /// y_j = W_{e(j)} x_j for rows sorted by expert, see [`grouped_linear`]; each expert has an equal share of the parts.
    pub fn grouped_linear(&self, x: &Value, offsets: &Arc<[usize]>) -> Result<Value> {
        let parts = match self {
            Self::Plain(w_eoi) => return grouped_linear(x, w_eoi, offsets),
            Self::Stored(parts) => parts,
        };
        if x.is_tracked() {
            bail!("no gradient flows through stored weights");
        }
        let experts = offsets.len().saturating_sub(1);
        if experts == 0 || !parts.len().is_multiple_of(experts) || offsets.last() != x.dims().first() {
            bail!("grouped_linear: {:?}, {} stored matrices, offsets {offsets:?}", x.dims(), parts.len());
        }
        let mut outputs = Vec::new();
        for (span, parts) in offsets.windows(2).zip(parts.chunks(parts.len() / experts)) {
            if span[1] > span[0] {
                let rows = x.tensor().narrow(0, span[0], span[1] - span[0])?;
                outputs.push(stored_linear(&rows, parts)?);
            }
        }
        match outputs.as_slice() {
            [] => bail!("grouped_linear: no rows"),
            outputs => Value::constant(&Tensor::cat(outputs, 0)?),
        }
    }

    /// Rows of the matrix, [k, i].
    pub fn gather_rows(&self, rows: &[u32]) -> Result<Value> {
        let matrix = match self {
            Self::Plain(w_oi) => return gather_rows(w_oi, rows),
            Self::Stored(parts) => single(parts)?,
        };
        let (o, i) = matrix.dims();
        let mut out = vec![0f32; rows.len() * i];
        for (out, &row) in out.chunks_mut(i).zip(rows) {
            let row = row as usize;
            if row >= o {
                bail!("gather_rows: row {row} of {o}");
            }
            matrix.decode(row..row + 1, 0..i, out);
        }
        Value::constant(&cpu::shaped(out, (rows.len(), i))?)
    }

    /// The whole weight in f32.
    pub fn to_value(&self) -> Result<Value> {
        let matrix = match self {
            Self::Plain(value) => return Ok(value.clone()),
            Self::Stored(parts) => single(parts)?,
        };
        Value::constant(&cpu::shaped(matrix.to_vec(), matrix.dims())?)
    }

    /// Rows of the matrix, o.
    pub fn rows(&self) -> usize {
        match self {
            Self::Plain(value) => value.dims()[0],
            Self::Stored(parts) => parts.iter().map(|part| part.dims().0).sum(),
        }
    }

    /// Columns of the matrix, i.
    pub fn columns(&self) -> usize {
        match self {
            Self::Plain(value) => value.dims().last().copied().unwrap_or(0),
            Self::Stored(parts) => parts.first().map_or(0, |part| part.dims().1),
        }
    }
}

fn single(parts: &[StoredMatrix]) -> Result<&StoredMatrix> {
    match parts {
        [one] => Ok(one),
        _ => bail!("one stored matrix is needed here, not {}", parts.len()),
    }
}

/// x W^T for matrices below each other.
fn stored_linear(x: &Tensor, parts: &[StoredMatrix]) -> Result<Tensor> {
    let (n, i) = x.dims2()?;
    if parts.iter().any(|part| part.dims().1 != i) || !cpu::fast(&[x]) {
        bail!("a stored weight does not fit {:?} of {:?}", x.shape(), x.dtype());
    }
    let data = cpu::data(x)?;
    let outputs: Vec<(usize, Vec<f32>)> = parts
        .iter()
        .inspect(|part| part.announce())
        .map(|part| (part.dims().0, row_products(&data, i, n, part)))
        .collect();
    let o: usize = outputs.iter().map(|(width, _)| width).sum();
    let y = match outputs.len() {
        1 => outputs.into_iter().flat_map(|(_, y)| y).collect(),
        _ => side_by_side(&outputs, n, o),
    };
    cpu::shaped(y, (n, o))
}

fn side_by_side(parts: &[(usize, Vec<f32>)], n: usize, o: usize) -> Vec<f32> {
    let mut y = Vec::with_capacity(n * o);
    for row in 0..n {
        for (width, part) in parts {
            y.extend_from_slice(&part[row * width..][..*width]);
        }
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Format;
    use crate::testing::{close, constant};
    use candle_core::Tensor;

    /// A bf16 matrix and the same numbers in f32.
    fn bf16(o: usize, i: usize, seed: u64) -> (StoredMatrix, Tensor) {
        let numbers = constant(&[o, i], seed).into_tensor().to_dtype(candle_core::DType::BF16).expect("cast");
        let bits: Vec<half::bf16> = numbers.flatten_all().and_then(|t| t.to_vec1()).expect("numbers");
        let bytes: Vec<u8> = bits.iter().flat_map(|x| x.to_le_bytes()).collect();
        let stored = StoredMatrix::new(Arc::new(bytes), 0..2 * o * i, Format::Bf16, (o, i)).expect("fits");
        (stored, numbers.to_dtype(candle_core::DType::F32).expect("cast"))
    }

    #[test]
    fn stored_matrices_multiply_like_their_numbers() -> Result<()> {
        let (parts, numbers): (Vec<_>, Vec<_>) = (0..6).map(|part| bf16(5, 40, part)).unzip();
        let weight = Weight::Stored(parts.into());
        let x = constant(&[9, 40], 50);
        let below = Value::constant(&Tensor::cat(&numbers, 0)?)?;
        close("linear", weight.linear(&x)?.tensor(), linear(&x, &below)?.tensor(), 1e-5)?;
        // Three experts of two parts each; the second has no rows.
        let offsets: Arc<[usize]> = [0, 4, 4, 9].into();
        let experts = Weight::Plain(below.reshape((3, 10, 40))?);
        let expected = experts.grouped_linear(&x, &offsets)?;
        close("grouped", weight.grouped_linear(&x, &offsets)?.tensor(), expected.tensor(), 1e-5)?;
        assert_eq!((weight.rows(), weight.grouped_linear(&x, &[0, 4, 9, 9, 9].into()).is_err()), (30, true));
        Ok(())
    }

    #[test]
    fn rows_of_a_table_are_decoded_one_by_one() -> Result<()> {
        let (stored, numbers) = bf16(7, 6, 3);
        let (weight, plain) = (Weight::Stored([stored].into()), Weight::Plain(Value::constant(&numbers)?));
        close("rows", weight.gather_rows(&[6, 0, 6])?.tensor(), plain.gather_rows(&[6, 0, 6])?.tensor(), 0.0)?;
        close("all", weight.to_value()?.tensor(), &numbers, 0.0)?;
        assert!(weight.gather_rows(&[7]).is_err());
        Ok(())
    }

    #[test]
    fn a_gradient_that_would_be_lost_is_refused() -> Result<()> {
        let x = candle_core::Var::from_tensor(constant(&[2, 6], 1).tensor())?;
        assert!(Weight::Stored([bf16(3, 6, 2).0].into()).linear(&Value::new(&x)?).is_err());
        Ok(())
    }
}
