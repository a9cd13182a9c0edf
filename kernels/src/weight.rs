//! The weights of a projection: numbers that can be trained, or matrices in the form they are stored in.

mod elsewhere;

use crate::matmul::{Mat, MatmulPrecision, product};
use crate::quantised::{self, Bits, Rows, Share};
use crate::row_products::row_products;
use crate::stored::Format;
use crate::value::Value;
use crate::{StoredMatrix, cpu, gather_rows, grouped_linear, linear, per_head_linear};
use candle_core::{DType, Device, Result, Shape, Tensor, bail};
use std::sync::Arc;

/// What rows are multiplied with.
#[derive(Clone)]
pub enum Weight {
    /// [o, i], or [e, o, i] with one matrix for each expert.
    Plain(Value),
    /// Matrices of equal width, one below the other; never trained themselves.
    Stored(Arc<[StoredMatrix]>),
}

impl Weight {
    /// y = x W^T, [.., i] to [.., o].
    pub fn linear(&self, x: &Value) -> Result<Value> {
        match self {
            Self::Plain(w_oi) => linear(x, w_oi),
            Self::Stored(parts) if !cpu::fast(&[x.tensor()]) => elsewhere::linear(x, parts),
            Self::Stored(parts) if x.is_tracked() => through_stored(x, parts),
            Self::Stored(parts) => {
                let (n, _) = cpu::rows(x.tensor())?;
                let mut dims = x.dims().to_vec();
                let shares = [(Rows { first: 0, step: 1, count: n }, &parts[..])];
                *dims.last_mut().expect("has rows") = self.rows();
                stored_products(x, &shares)?.reshape(dims)
            }
        }
    }

    /// y_j = W_{e(j)} x_j for rows sorted by expert, see [`grouped_linear`]; each expert has an equal share of the parts.
    pub fn grouped_linear(&self, x: &Value, offsets: &Arc<[usize]>) -> Result<Value> {
        let parts = match self {
            Self::Plain(w_eoi) => return grouped_linear(x, w_eoi, offsets),
            Self::Stored(parts) => parts,
        };
        let experts = offsets.len().saturating_sub(1);
        if !offsets.is_sorted() || offsets.last() != x.dims().first() {
            bail!("grouped_linear: {:?}, {} stored matrices, offsets {offsets:?}", x.dims(), parts.len());
        }
        if !cpu::fast(&[x.tensor()]) {
            return elsewhere::grouped_linear(x, parts, offsets);
        }
        let spans = offsets.windows(2).map(|span| Rows { first: span[0], step: 1, count: span[1] - span[0] });
        stored_products(x, &spans.zip(shares(parts, experts)?).collect::<Vec<_>>())
    }

    /// y [n, h, o] for `x` [n, h, i], see [`per_head_linear`]; each head has an equal share of the parts.
    pub fn per_head_linear(&self, x_nhi: &Tensor) -> Result<Tensor> {
        let parts = match self {
            Self::Plain(w_hoi) => return per_head_linear(x_nhi, w_hoi.tensor()),
            Self::Stored(parts) => parts,
        };
        let (n, h, i) = x_nhi.dims3()?;
        if !cpu::fast(&[x_nhi]) {
            return elsewhere::per_head_linear(x_nhi, parts);
        }
        let heads = (0..h).map(|head| Rows { first: head, step: h, count: n });
        let rows = Value::constant(&x_nhi.contiguous()?.reshape((n * h, i))?)?;
        let y = stored_products(&rows, &heads.zip(shares(parts, h)?).collect::<Vec<_>>())?;
        y.into_tensor().reshape((n, h, self.rows() / h.max(1)))
    }

    /// Matrices [e, o, i] of these numbers, kept the way this weight is where that loses next to nothing: bf16 and f16
    /// for numbers that are bf16 or f16, 8-bit blocks beside any blocks, else f32.
    pub fn kept_alike(&self, numbers_eoi: &Tensor) -> Result<Weight> {
        let format = match self {
            Self::Plain(_) => None,
            Self::Stored(parts) => parts.first().map(StoredMatrix::format),
        };
        let (e, o, i) = numbers_eoi.dims3()?;
        if let Self::Stored(parts) = self
            && let Some(guest) = parts.iter().find(|part| part.is_guest())
        {
            // They are made of what comes to a device, and stay there.
            let there = numbers_eoi.contiguous()?.to_dtype(DType::BF16)?.to_device(guest.destination())?;
            return Ok(Self::Plain(Value::constant(&there)?));
        }
        let numbers: Vec<f32> = match format {
            None | Some(Format::Fp8 { .. }) => return Ok(Self::Plain(Value::constant(&numbers_eoi.contiguous()?)?)),
            Some(_) => numbers_eoi.flatten_all()?.to_vec1()?,
        };
        let keep = |numbers: &[f32]| match format {
            Some(Format::Quantised(_)) => StoredMatrix::quantised(numbers, (o, i), Bits::Eight),
            Some(Format::F16) => StoredMatrix::rounded(numbers, (o, i), Format::F16),
            _ => StoredMatrix::rounded(numbers, (o, i), Format::Bf16),
        };
        let matrices = (0..e).map(|e| keep(&numbers[e * o * i..][..o * i]));
        Ok(Self::Stored(matrices.collect::<Result<Vec<_>>>()?.into()))
    }

    /// Both matrices as one, `below` under this one, where both are in the same stored form: one product then reads x once
    /// and hands out its work once.
    pub fn above(&self, below: &Self) -> Option<Self> {
        let (Self::Stored(above), Self::Stored(below)) = (self, below) else { return None };
        let parts: Vec<StoredMatrix> = above.iter().chain(below.iter()).cloned().collect();
        let alike = |a: &Format, b: &Format| match (a, b) {
            (Format::Quantised(a), Format::Quantised(b)) => a == b,
            (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
        };
        let first = parts.first()?;
        let fits = parts.iter().all(|part| alike(part.format(), first.format()) && part.dims().1 == first.dims().1);
        fits.then(|| Self::Stored(parts.into()))
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
        Value::constant(&cpu::shaped(out, (rows.len(), i))?.to_device(matrix.destination())?)
    }

    /// The whole weight in f32.
    pub fn to_value(&self) -> Result<Value> {
        match self {
            Self::Plain(value) => Ok(value.clone()),
            Self::Stored(parts) => Value::constant(&cpu::shaped(numbers(parts), dims_together(parts)?)?),
        }
    }

    /// The same weight in the memory of `device`, [o, i] or [e, o, i] as `shape` says; stored matrices that come there to be
    /// multiplied remain where they are.
    pub fn on(&self, device: &Device, shape: &Shape) -> Result<Self> {
        let parts = match self {
            Self::Plain(value) => return Ok(Self::Plain(Value::constant(&value.tensor().to_device(device)?)?)),
            Self::Stored(parts) if parts.iter().any(StoredMatrix::is_guest) => return Ok(self.clone()),
            Self::Stored(parts) => parts,
        };
        Ok(Self::Plain(Value::constant(&elsewhere::stack(parts, device)?.reshape(shape)?)?))
    }

    /// Rows of the matrix, o; of all matrices together where there is more than one.
    pub fn rows(&self) -> usize {
        match self {
            Self::Plain(value) => value.dims()[..value.dims().len() - 1].iter().product(),
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

    /// Whether a gradient can reach these numbers.
    pub fn is_tracked(&self) -> bool {
        matches!(self, Self::Plain(value) if value.is_tracked())
    }
}

fn single(parts: &[StoredMatrix]) -> Result<&StoredMatrix> {
    match parts {
        [one] => Ok(one),
        _ => bail!("one stored matrix is needed here, not {}", parts.len()),
    }
}

/// x W^T where a gradient flows back to x: dx = dy W, with W in f32 for these moments alone, and products as those of
/// weights that are trained.
fn through_stored(x: &Value, parts: &Arc<[StoredMatrix]>) -> Result<Value> {
    let (o, i) = dims_together(parts)?;
    let (n, dims) = (cpu::rows(x.tensor())?.0, x.dims().to_vec());
    let (parts, precision) = (parts.clone(), MatmulPrecision::current());
    if !cpu::fast(&[x.tensor()]) || dims.last() != Some(&i) {
        bail!("a stored weight [{o}, {i}] does not fit {:?} of {:?}", x.dims(), x.tensor().dtype());
    }
    let y =
        product(Mat::new(&cpu::data(x.tensor())?, n, i), Mat::new(&numbers(&parts), o, i).t(), precision.together());
    let wide: Vec<usize> = dims[..dims.len() - 1].iter().copied().chain([o]).collect();
    Value::record(cpu::shaped(y, wide)?, [x], move |dy, _| {
        let (dy, w) = (cpu::data(dy)?, numbers(&parts));
        let dx = product(Mat::new(&dy, n, o), Mat::new(&w, o, i), precision.together());
        Ok([Some(cpu::shaped(dx, dims.clone())?)])
    })
}

/// (o, i) of matrices below each other.
fn dims_together(parts: &[StoredMatrix]) -> Result<(usize, usize)> {
    let width = parts.first().map_or(0, |part| part.dims().1);
    if parts.iter().any(|part| part.dims().1 != width) {
        bail!("{} stored matrices of different widths are no one matrix", parts.len());
    }
    Ok((parts.iter().map(|part| part.dims().0).sum(), width))
}

/// The numbers of matrices below each other.
fn numbers(parts: &[StoredMatrix]) -> Vec<f32> {
    match parts {
        [one] => one.to_vec(),
        parts => parts.iter().map(StoredMatrix::to_vec).collect::<Vec<_>>().concat(),
    }
}

/// `parts` in `count` equal shares.
fn shares(parts: &[StoredMatrix], count: usize) -> Result<std::slice::Chunks<'_, StoredMatrix>> {
    if count == 0 || parts.is_empty() || !parts.len().is_multiple_of(count) {
        bail!("{} stored matrices are no {count} equal shares", parts.len());
    }
    Ok(parts.chunks(parts.len() / count))
}

/// For each share its rows of x times its matrices, whose results lie side by side: [n, i] to [n, o].
fn stored_products(x: &Value, shares: &[(Rows, &[StoredMatrix])]) -> Result<Value> {
    if x.is_tracked() {
        bail!("no gradient flows through stored weights");
    }
    let x = x.tensor();
    let (n, i) = cpu::rows(x)?;
    let width = |parts: &[StoredMatrix]| parts.iter().map(|part| part.dims().0).sum::<usize>();
    let o = shares.first().map_or(0, |(_, parts)| width(parts));
    let used = || shares.iter().filter(|(rows, _)| rows.count > 0);
    let fits = used().all(|(_, parts)| width(parts) == o && parts.iter().all(|part| part.dims().1 == i));
    if !fits || !cpu::fast(&[x]) {
        bail!("a stored weight does not fit {:?} of {:?}", x.shape(), x.dtype());
    }
    let x = cpu::data(x)?;
    let shares: Vec<_> = used().collect();
    if !shares.iter().flat_map(|(_, parts)| parts.iter()).any(StoredMatrix::is_paged) {
        return Value::constant(&cpu::shaped(products(&x, (n, i, o), &shares), (n, o))?);
    }
    // From disk: one share is there at a time, whatever the next ones need.
    let mut y = vec![0f32; n * o];
    for share in shares {
        share.1.iter().try_for_each(StoredMatrix::announce)?;
        let rows: Vec<f32> = share.0.list().flat_map(|row| &x[row as usize * i..][..i]).copied().collect();
        let alone = Rows { first: 0, step: 1, count: share.0.count };
        let found = products(&rows, (share.0.count, i, o), &[&(alone, share.1)]);
        for (row, found) in share.0.list().zip(found.chunks(o)) {
            y[row as usize * o..][..o].copy_from_slice(found);
        }
    }
    Value::constant(&cpu::shaped(y, (n, o))?)
}

/// y [n, o] for rows of `i` numbers; rows that no share has are 0.
fn products(x: &[f32], (n, i, o): (usize, usize, usize), shares: &[&(Rows, &[StoredMatrix])]) -> Vec<f32> {
    let quantised = |bits| {
        let mut parts = shares.iter().flat_map(|(_, parts)| parts.iter());
        parts.all(|part| *part.format() == Format::Quantised(bits))
    };
    let bits = [Bits::Four, Bits::Eight].into_iter().find(|bits| quantised(*bits));
    if let Some(bits) = bits.filter(|_| !shares.is_empty()) {
        let given = shares.iter().map(|(rows, parts)| {
            let matrices = parts.iter().map(|part| (part.bytes(), part.dims().0)).collect();
            Share { rows: *rows, matrices }
        });
        return quantised::products(x, i, o, bits, &given.collect::<Vec<_>>());
    }
    let mut y = vec![0f32; n * o];
    for (rows, parts) in shares {
        let mut column = 0;
        for part in parts.iter() {
            let found = row_products(&x[rows.first * i..], rows.step * i, rows.count, part);
            let width = part.dims().0;
            for (at, found) in found.chunks(width.max(1)).enumerate() {
                y[(rows.first + at * rows.step) * o + column..][..width].copy_from_slice(found);
            }
            column += width;
        }
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Format;
    use crate::portably;
    use crate::testing::{close, constant};

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
        let weight = Weight::Stored(parts[..2].into()).above(&Weight::Stored(parts[2..].into())).expect("all bf16");
        let x = constant(&[9, 40], 50);
        let below = Value::constant(&Tensor::cat(&numbers, 0)?)?;
        close("linear", weight.linear(&x)?.tensor(), linear(&x, &below)?.tensor(), 1e-5)?;
        // Three experts of two parts each; the second has no rows.
        let offsets: Arc<[usize]> = [0, 4, 4, 9].into();
        let experts = Weight::Plain(below.reshape((3, 10, 40))?);
        let expected = experts.grouped_linear(&x, &offsets)?;
        close("grouped", weight.grouped_linear(&x, &offsets)?.tensor(), expected.tensor(), 1e-5)?;
        // On another device, which does not multiply stored bytes but numbers of 16 bits.
        let (elsewhere, grouped) = portably(|| (weight.linear(&x), weight.grouped_linear(&x, &offsets)));
        close("linear elsewhere", elsewhere?.tensor(), linear(&x, &below)?.tensor(), 2e-2)?;
        close("grouped elsewhere", grouped?.tensor(), expected.tensor(), 2e-2)?;
        let moved = weight.on(&Device::Cpu, below.tensor().shape())?;
        close("moved", moved.linear(&x)?.tensor(), linear(&x, &below)?.tensor(), 2e-2)?;
        assert_eq!((weight.rows(), weight.grouped_linear(&x, &[0, 4, 9, 9, 9].into()).is_err()), (30, true));
        Ok(())
    }

    #[test]
    fn heads_and_kept_forms_multiply_like_their_numbers() -> Result<()> {
        let x = constant(&[3, 2, 40], 51).into_tensor();
        let numbers = constant(&[2, 16, 40], 52).into_tensor();
        let plain = Weight::Plain(Value::constant(&numbers)?);
        let expected = plain.per_head_linear(&x)?;
        let stored = |bits| -> Result<Weight> {
            let matrices = (0..2).map(|head| {
                StoredMatrix::quantised(&numbers.get(head)?.flatten_all()?.to_vec1::<f32>()?, (16, 40), bits)
            });
            Ok(Weight::Stored(matrices.collect::<Result<Vec<_>>>()?.into()))
        };
        close("8 bits", &stored(Bits::Eight)?.per_head_linear(&x)?, &expected, 0.05)?;
        close("elsewhere", &portably(|| stored(Bits::Eight)?.per_head_linear(&x))?, &expected, 0.05)?;
        let alike = stored(Bits::Four)?.kept_alike(&numbers)?;
        close("kept alike", &alike.per_head_linear(&x)?, &expected, 0.05)?;
        let (bf16, rounded) = bf16(5, 40, 3);
        let alike = Weight::Stored([bf16].into()).kept_alike(&rounded.unsqueeze(0)?)?;
        close("bf16", alike.to_value()?.tensor(), &rounded, 0.0)?;
        assert!(matches!(plain.kept_alike(&numbers)?, Weight::Plain(_)));
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
    fn gradients_flow_through_a_stored_matrix_as_through_its_numbers() -> Result<()> {
        let x = candle_core::Var::from_tensor(constant(&[4, 6], 1).tensor())?;
        let (stored, numbers) = bf16(3, 6, 2);
        let gradient = |weight: Weight| {
            let y = weight.linear(&Value::new(&x)?)?;
            linear(&y.reshape((1, 12))?, &constant(&[1, 12], 7))?.backward()
        };
        let plain = gradient(Weight::Plain(Value::constant(&numbers)?))?;
        let found = gradient(Weight::Stored([stored].into()))?;
        close("dx", found.get(&x).expect("a gradient"), plain.get(&x).expect("a gradient"), 1e-6)?;
        // Two matrices, one below the other.
        let ((above, a), (below, b)) = (bf16(2, 6, 8), bf16(1, 6, 9));
        let plain = gradient(Weight::Plain(Value::constant(&Tensor::cat(&[a, b], 0)?)?))?;
        let found = gradient(Weight::Stored([above, below].into()))?;
        close("dx of two", found.get(&x).expect("a gradient"), plain.get(&x).expect("a gradient"), 1e-6)
    }

    #[test]
    fn a_gradient_that_would_be_lost_is_refused() -> Result<()> {
        let x = candle_core::Var::from_tensor(constant(&[2, 6], 1).tensor())?;
        let several = Weight::Stored([bf16(3, 6, 2).0, bf16(3, 6, 3).0].into());
        assert!(several.grouped_linear(&Value::new(&x)?, &[0, 1, 2].into()).is_err());
        Ok(())
    }
}
