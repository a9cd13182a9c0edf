//! Products on a device that does not multiply stored bytes: each matrix comes there for its product.

use super::shares;
use crate::{StoredMatrix, Value, join_columns};
use candle_core::{D, Device, Result, Tensor, bail};

/// x W^T
pub(super) fn linear(x: &Value, parts: &[StoredMatrix]) -> Result<Value> {
    let product = |part: &StoredMatrix| crate::linear(x, &Value::constant(&part.visit(x.tensor().device())?)?);
    let [first, others @ ..] = parts else { bail!("a stored weight without matrices") };
    if x.is_tracked() {
        return others.iter().try_fold(product(first)?, |left, part| join_columns(&left, &product(part)?));
    }
    let products = parts.iter().map(|part| Ok(product(part)?.into_tensor())).collect::<Result<Vec<_>>>()?;
    Value::constant(&Tensor::cat(&products, D::Minus1)?)
}

/// The same for rows sorted by expert; experts without rows stay where they are.
pub(super) fn grouped_linear(x: &Value, parts: &[StoredMatrix], offsets: &[usize]) -> Result<Value> {
    if x.is_tracked() {
        bail!("no gradient flows through stored weights");
    }
    let spans = offsets.windows(2).zip(shares(parts, offsets.len().saturating_sub(1))?);
    let product = |(span, share): (&[usize], &[StoredMatrix])| {
        let rows = x.tensor().narrow(0, span[0], span[1] - span[0])?;
        Ok(linear(&Value::constant(&rows)?, share)?.into_tensor())
    };
    let products = spans.filter(|(span, _)| span[0] < span[1]).map(product).collect::<Result<Vec<_>>>()?;
    if products.is_empty() {
        let o = parts.iter().map(|part| part.dims().0).sum::<usize>() / (offsets.len() - 1).max(1);
        return Value::constant(&Tensor::zeros((0, o), x.tensor().dtype(), x.tensor().device())?);
    }
    Value::constant(&Tensor::cat(&products, 0)?)
}

/// The same with an equal share of the matrices for each head.
pub(super) fn per_head_linear(x_nhi: &Tensor, parts: &[StoredMatrix]) -> Result<Tensor> {
    let (_, h, i) = x_nhi.dims3()?;
    let parts = parts.iter().map(|part| part.visit(x_nhi.device())).collect::<Result<Vec<_>>>()?;
    let all = Tensor::cat(&parts, 0)?;
    let rows = all.dim(0)? / h.max(1);
    crate::per_head_linear(x_nhi, &all.reshape((h, rows, i))?)
}

/// All matrices below each other, to stay on `device`. A stack of experts is a large part of its memory: there is no
/// second copy of it on the way.
pub(super) fn stack(parts: &[StoredMatrix], device: &Device) -> Result<Tensor> {
    let [first, others @ ..] = parts else { bail!("a stored weight without matrices") };
    let first = first.on(device)?;
    if others.is_empty() {
        return Ok(first);
    }
    let rows = parts.iter().map(|part| part.dims().0).sum::<usize>();
    let all = Tensor::zeros((rows, first.dim(1)?), first.dtype(), device)?;
    let mut row = first.dim(0)?;
    all.slice_set(&first, 0, 0)?;
    for part in others {
        let part = part.on(device)?.to_dtype(all.dtype())?;
        all.slice_set(&part, 0, row)?;
        row += part.dim(0)?;
    }
    Ok(all)
}
