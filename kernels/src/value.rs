//! Tensors that remember how they were made: reverse-mode differentiation over the operations of this crate.
//!
//! candle can differentiate too, but its backward pass fills a tensor of zeros for every edge of the graph and adds to
//! it, keeps all activations until the end, computes gradients of frozen weights, and lets some operations drop the
//! gradient without a word (candle-core 0.11.1, `backprop.rs`). A [`Value`] comes only from an operation that says how
//! its gradient flows; one gradient is passed on as it is, several are added in one pass, and what a node kept is freed
//! as soon as it is done.

use crate::gradients::{Gradients, sum};
use candle_core::{Result, Shape, Tensor, TensorId, Var, bail};
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A contiguous tensor and, where a parameter went into it, the operation it came from.
#[derive(Clone)]
pub struct Value {
    tensor: Tensor,
    origin: Option<Arc<Origin>>,
    again: Option<Again>,
}

/// Computes a tensor again from what is kept anyway.
type Again = Arc<dyn Fn() -> Result<Tensor> + Send + Sync>;

/// An input that an operation will need on its way back: the tensor itself, or how to come by it again.
pub(crate) enum Kept {
    Tensor(Tensor),
    Again(Again),
}

impl Kept {
    pub(crate) fn tensor(&self) -> Result<Tensor> {
        match self {
            Self::Tensor(tensor) => Ok(tensor.clone()),
            Self::Again(again) => again(),
        }
    }
}

/// A node of the graph. Its depth is greater than that of all its inputs.
struct Origin {
    depth: usize,
    kind: Kind,
}

enum Kind {
    Parameter(TensorId),
    /// Rows of a parameter [n, d]: their gradient is kept as rows, for most of the others are 0.
    Lookup {
        id: TensorId,
        n: usize,
        rows: Arc<[u32]>,
    },
    Operation {
        inputs: Vec<Option<Arc<Origin>>>,
        backward: Backward,
    },
}

/// From the gradient of an operation's output to those of its inputs.
type Backward = Box<dyn Fn(&Tensor) -> Result<Passed> + Send + Sync>;

/// What an operation passes on: to its inputs, and to parameters inside it.
struct Passed {
    inputs: Vec<Option<Tensor>>,
    parameters: Gradients,
}

impl Value {
    /// A leaf: a parameter if `tensor` is a candle variable, a constant otherwise.
    pub fn new(tensor: &Tensor) -> Result<Self> {
        if tensor.is_variable() {
            let origin = Origin { depth: 0, kind: Kind::Parameter(tensor.id()) };
            return Ok(Self { tensor: tensor.clone(), origin: Some(Arc::new(origin)), again: None });
        }
        if tensor.track_op() {
            bail!("a tensor that candle derived from a variable would lose its gradient here");
        }
        Self::constant(tensor)
    }

    /// A leaf that no gradient is wanted for.
    pub fn constant(tensor: &Tensor) -> Result<Self> {
        Ok(Self { tensor: tensor.detach().contiguous()?, origin: None, again: None })
    }

    pub fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    /// The numbers for candle's own operations, which would remember all that is done with a variable.
    pub(crate) fn bare(&self) -> Tensor {
        self.tensor.detach()
    }

    pub fn into_tensor(self) -> Tensor {
        self.tensor
    }

    pub fn dims(&self) -> &[usize] {
        self.tensor.dims()
    }

    /// The same numbers in another shape.
    pub fn reshape(&self, shape: impl Into<Shape>) -> Result<Self> {
        let (before, after) = (self.tensor.shape().clone(), shape.into());
        let reshaped = self.tensor.reshape(after.clone())?;
        let y = Self::record(reshaped, [self], move |dy, _| Ok([Some(dy.reshape(&before)?)]))?;
        Ok(match self.again.clone() {
            Some(again) => y.forgettable(move || again()?.reshape(after.clone())),
            None => y,
        })
    }

    /// Lets whoever needs this value on the way back compute it again instead of keeping it. For passes over numbers that
    /// are kept anyway, which cost far less than what is done with their outcome.
    pub(crate) fn forgettable(self, again: impl Fn() -> Result<Tensor> + Send + Sync + 'static) -> Self {
        let again = self.is_tracked().then(|| Arc::new(again) as Again);
        Self { again, ..self }
    }

    /// This value for the way back.
    pub(crate) fn kept(&self) -> Kept {
        match &self.again {
            Some(again) => Kept::Again(again.clone()),
            None => Kept::Tensor(self.bare()),
        }
    }

    /// Whether a gradient flows through this value.
    pub fn is_tracked(&self) -> bool {
        self.origin.is_some()
    }

    /// The number in a scalar.
    pub fn to_scalar(&self) -> Result<f64> {
        self.tensor.to_dtype(candle_core::DType::F64)?.to_scalar()
    }

    /// The outcome of an operation on `inputs`. `backward` gets the output's gradient and which inputs want theirs.
    pub(crate) fn record<const N: usize>(
        output: Tensor,
        inputs: [&Value; N],
        backward: impl Fn(&Tensor, [bool; N]) -> Result<[Option<Tensor>; N]> + Send + Sync + 'static,
    ) -> Result<Self> {
        let tensor = output.contiguous()?;
        let Some(deepest) = inputs.iter().filter_map(|input| input.origin.as_ref()).map(|origin| origin.depth).max()
        else {
            return Ok(Self { tensor, origin: None, again: None });
        };
        let wanted = inputs.map(Value::is_tracked);
        let kind = Kind::Operation {
            inputs: inputs.map(|input| input.origin.clone()).into(),
            backward: Box::new(move |gradient| {
                Ok(Passed { inputs: backward(gradient, wanted)?.into(), parameters: Gradients::default() })
            }),
        };
        Ok(Self { tensor, origin: Some(Arc::new(Origin { depth: deepest + 1, kind })), again: None })
    }

    /// Rows `rows` of `x` [n, d], where `x` is a parameter itself; `None` where it came of an operation.
    pub(crate) fn lookup(output: Tensor, x: &Value, rows: &[u32]) -> Option<Self> {
        let Kind::Parameter(id) = x.origin.as_ref()?.kind else { return None };
        let kind = Kind::Lookup { id, n: x.dims()[0], rows: rows.into() };
        Some(Self { tensor: output, origin: Some(Arc::new(Origin { depth: 0, kind })), again: None })
    }

    /// Gradients of a scalar with respect to every parameter that went into it.
    pub fn backward(self) -> Result<Gradients> {
        if self.tensor.elem_count() != 1 {
            bail!("backward starts at a scalar, not at {:?}", self.tensor.shape());
        }
        let one = self.tensor.ones_like()?;
        self.backward_from(one)
    }

    /// The same for any value, given its own gradient.
    pub(crate) fn backward_from(self, gradient: Tensor) -> Result<Gradients> {
        let mut gradients = Gradients::default();
        let mut lookups = Vec::new();
        let Some(root) = self.origin else { return Ok(gradients) };
        // The output itself is not needed on the way back.
        drop(self.tensor);
        let mut pending = HashMap::from([(Arc::as_ptr(&root), vec![gradient])]);
        for node in reachable(root) {
            let Some(parts) = pending.remove(&Arc::as_ptr(&node)) else { continue };
            let gradient = sum(parts)?;
            match &node.kind {
                Kind::Parameter(id) => gradients.add(*id, gradient)?,
                Kind::Lookup { id, n, rows } => lookups.push((*id, *n, rows.clone(), gradient)),
                Kind::Operation { inputs, backward } => {
                    let passed = backward(&gradient)?;
                    gradients.extend(passed.parameters)?;
                    for (input, gradient) in inputs.iter().zip(passed.inputs) {
                        if let (Some(input), Some(gradient)) = (input, gradient) {
                            pending.entry(Arc::as_ptr(input)).or_default().push(gradient);
                        }
                    }
                }
            }
        }
        // At the end, when what was kept for the way back is gone.
        for (id, n, rows, gradient) in lookups {
            gradients.add_rows(id, n, &rows, &gradient)?;
        }
        Ok(gradients)
    }
}

/// All nodes behind `root`, each after everything that was made from it; the order is the same in every run.
fn reachable(root: Arc<Origin>) -> impl Iterator<Item = Arc<Origin>> {
    let mut seen = HashSet::from([Arc::as_ptr(&root)]);
    let mut nodes = Vec::new();
    let mut open = vec![root];
    while let Some(node) = open.pop() {
        if let Kind::Operation { inputs, .. } = &node.kind {
            open.extend(inputs.iter().flatten().filter(|input| seen.insert(Arc::as_ptr(input))).cloned());
        }
        nodes.push(node);
    }
    nodes.sort_by_key(|node| Reverse(node.depth));
    nodes.into_iter()
}

/// `f` as one operation that keeps only its inputs: on the way back it runs once more, to know again what it forgot
/// (gradient checkpointing, arXiv 1604.06174). Same bits, a third more work, memory for one such piece instead of all.
///
/// `f` must give the same for the same inputs; parameters inside it get their gradients as ever.
pub fn recompute<const N: usize>(
    inputs: [&Value; N],
    f: impl Fn([&Value; N]) -> Result<Value> + Send + Sync + 'static,
) -> Result<Value> {
    let tensors = inputs.map(|input| input.tensor.clone());
    let plain = tensors.each_ref().map(|tensor| Value { tensor: tensor.clone(), origin: None, again: None });
    let output = f(plain.each_ref())?;
    if !output.is_tracked() && !inputs.iter().any(|input| input.is_tracked()) {
        return Ok(output);
    }
    let depth = inputs.iter().filter_map(|input| input.origin.as_ref()).map(|origin| origin.depth).max();
    let wanted = inputs.map(Value::is_tracked);
    let backward = move |gradient: &Tensor| {
        let mut leaves = Vec::with_capacity(N);
        for (tensor, wanted) in tensors.iter().zip(wanted) {
            // A tensor of its own, so that its gradient is not taken for another's.
            let tensor = tensor.reshape(tensor.shape())?;
            let kind = Kind::Parameter(tensor.id());
            leaves.push(Value { tensor, origin: wanted.then(|| Arc::new(Origin { depth: 0, kind })), again: None });
        }
        let mut found = f(std::array::from_fn(|at| &leaves[at]))?.backward_from(gradient.clone())?;
        let inputs = leaves.iter().map(|leaf| found.take_of(&leaf.tensor)).collect();
        Ok(Passed { inputs, parameters: found })
    };
    let inputs = inputs.map(|input| input.origin.clone()).into();
    let kind = Kind::Operation { inputs, backward: Box::new(backward) };
    let origin = Origin { depth: depth.unwrap_or(0) + 1, kind };
    Ok(Value { tensor: output.tensor, origin: Some(Arc::new(origin)), again: None })
}

/// Any expression of candle's differentiable operations as one operation: candle's own backward pass runs inside it.
///
/// For small tensors, and for devices and dtypes without a kernel. `f` may only use operations that candle
/// differentiates (see `.clippy.toml`).
pub fn lift<const N: usize>(inputs: [&Value; N], f: impl FnOnce([&Tensor; N]) -> Result<Tensor>) -> Result<Value> {
    if !inputs.iter().any(|input| input.is_tracked()) {
        return Value::record(f(inputs.map(Value::tensor))?, inputs, |_, _| Ok([const { None }; N]));
    }
    let mut vars = Vec::with_capacity(N);
    for input in inputs {
        vars.push(Var::from_tensor(&input.tensor)?);
    }
    let vars: [Var; N] = vars.try_into().map_err(|_| candle_core::Error::msg("one variable for each input"))?;
    let output = f(std::array::from_fn(|index| vars[index].as_tensor()))?;
    Value::record(output.detach(), inputs, move |gradient, wanted| {
        let mut store = output.mul(gradient)?.sum_all()?.backward()?;
        // candle's gradients may remember what they were made from.
        let mut gradient = |index: usize| store.remove(&vars[index]).filter(|_| wanted[index]).map(|g| g.detach());
        Ok(std::array::from_fn(&mut gradient))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{add, linear};
    use candle_core::Device;

    #[test]
    fn a_value_used_twice_gets_both_gradients() -> Result<()> {
        let x = Var::new(&[[2f32, 3.0]], &Device::Cpu)?;
        let (value, w) = (Value::new(&x)?, Value::constant(&Tensor::new(&[[5f32, 7.0]], &Device::Cpu)?)?);
        // x w^T + x x^T, the last x from a leaf of its own
        let loss = add(&linear(&value, &w)?, &linear(&value, &Value::new(&x)?)?)?;
        let gradients = loss.backward()?;
        assert_eq!(gradients.get(&x).expect("a gradient").to_vec2::<f32>()?, [[9.0, 13.0]]);
        Ok(())
    }

    #[test]
    fn constants_and_their_products_keep_no_graph() -> Result<()> {
        let x = Value::constant(&Tensor::new(&[[1f32]], &Device::Cpu)?)?;
        assert!(!add(&x, &x)?.is_tracked());
        Ok(())
    }

    #[test]
    fn a_tensor_with_candle_history_is_refused() -> Result<()> {
        let x = Var::new(&[1f32], &Device::Cpu)?;
        assert!(Value::new(&(x.as_tensor() * 2.0)?).is_err());
        Ok(())
    }

    #[test]
    fn lifted_expressions_pass_gradients_on() -> Result<()> {
        let x = Var::new(&[[3f32]], &Device::Cpu)?;
        let squared = lift([&Value::new(&x)?], |[x]| x.sqr())?;
        let gradients = linear(&squared, &squared)?.backward()?; // x^4
        assert_eq!(gradients.get(&x).expect("a gradient").to_vec2::<f32>()?, [[108.0]]);
        Ok(())
    }

    #[test]
    fn what_is_computed_again_has_the_same_gradients() -> Result<()> {
        let (x, w) = (Var::new(&[[2f32, 3.0]], &Device::Cpu)?, Var::new(&[[5f32, 7.0], [1.0, -2.0]], &Device::Cpu)?);
        let run = |again: bool| -> Result<Gradients> {
            let (value, inside) = (Value::new(&x)?, w.as_tensor().clone());
            let layer = move |[x]: [&Value; 1]| add(x, &linear(x, &Value::new(&inside)?)?);
            let mut y = value.clone();
            for _ in 0..3 {
                y = if again { recompute([&y], layer.clone())? } else { layer([&y])? };
            }
            // The parameter of the pieces also stands outside them.
            let y = linear(&y, &Value::new(&w)?)?;
            linear(&y, &value)?.backward()
        };
        let (plain, again) = (run(false)?, run(true)?);
        for var in [&x, &w] {
            let gradients = [&plain, &again].map(|found| found.get(var).expect("a gradient").to_vec2::<f32>());
            let [plain, again] = gradients;
            assert_eq!(plain?, again?);
        }
        let constant = Value::constant(x.as_tensor())?;
        assert!(!recompute([&constant], |[x]| add(x, x))?.is_tracked());
        Ok(())
    }
}
