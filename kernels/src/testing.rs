//! One check for every operation: forward against the reference, gradients against the reference's and against central
//! finite differences of the reference in f64.

use crate::gradients::Gradients;
use crate::instructions::Instructions;
use crate::value::Value;
use candle_core::{DType, Device, Result, Tensor, Var};
use std::sync::OnceLock;

/// Deterministic values in (-1, 1), different for each seed.
pub(crate) fn random(dims: &[usize], seed: u64) -> Tensor {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(0x1234_5678_9ABC_DEF1);
    let values: Vec<f32> = (0..dims.iter().product())
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / (1u64 << 23) as f32) - 1.0
        })
        .collect();
    Tensor::from_vec(values, dims, &Device::Cpu).expect("the shape holds the values")
}

/// The same as a constant.
pub(crate) fn constant(dims: &[usize], seed: u64) -> Value {
    Value::constant(&random(dims, seed)).expect("contiguous")
}

/// Inputs of an operation under test.
pub(crate) struct Case {
    inputs: Vec<Tensor>,
    tolerance: f64,
}

impl Case {
    pub(crate) fn new(inputs: Vec<Tensor>) -> Self {
        Self { inputs, tolerance: 2e-5 }
    }

    /// Checks `op` against `reference` on f64: values, gradients, and finite differences; the fast form on f32, the
    /// lifted one on f64.
    pub(crate) fn agrees(
        &self,
        op: impl Fn(&[Value]) -> Result<Value>,
        reference: impl Fn(&[Tensor]) -> Result<Tensor>,
    ) -> Result<()> {
        let vars64 = self.variables(DType::F64)?;
        let tracked64: Vec<Tensor> = vars64.iter().map(|v| v.as_tensor().clone()).collect();
        let y64 = reference(&tracked64)?;
        // A random direction turns the output into a scalar that reaches every element.
        let direction = random(y64.dims(), 99);
        let loss = |y: &Tensor| y.mul(&direction.to_dtype(y.dtype())?)?.sum_all();
        let grads64 = loss(&y64)?.backward()?;

        let constants: Vec<Value> = self.inputs.iter().map(Value::constant).collect::<Result<_>>()?;
        let untracked = op(&constants)?;
        assert!(!untracked.is_tracked());
        close("untracked output", untracked.tensor(), &y64, self.tolerance)?;
        for (dtype, tolerance) in [(DType::F32, self.tolerance), (DType::F64, 1e-10)] {
            let vars = self.variables(dtype)?;
            let (y, grads) = self.differentiate(&vars, &op, &direction.to_dtype(dtype)?)?;
            assert_eq!(y.dims(), y64.dims(), "output shape");
            close(&format!("{dtype:?} output"), &y, &y64, tolerance)?;
            for (index, (var, var64)) in vars.iter().zip(&vars64).enumerate() {
                let grad = grads.get(var).unwrap_or_else(|| panic!("input {index} got no gradient"));
                let grad64 = grads64.get(var64).expect("the reference is differentiable");
                close(&format!("{dtype:?} gradient of input {index}"), grad, grad64, tolerance)?;
                if dtype == DType::F32 {
                    self.finite_differences(index, grad, &reference, &loss)?;
                }
            }
        }
        Ok(())
    }

    fn variables(&self, dtype: DType) -> Result<Vec<Var>> {
        self.inputs.iter().map(|input| Var::from_tensor(&input.to_dtype(dtype)?)).collect()
    }

    fn differentiate(
        &self,
        vars: &[Var],
        op: &impl Fn(&[Value]) -> Result<Value>,
        direction: &Tensor,
    ) -> Result<(Tensor, Gradients)> {
        let leaves: Vec<Value> = vars.iter().map(|var| Value::new(var)).collect::<Result<_>>()?;
        let y = op(&leaves)?;
        Ok((y.tensor().clone(), y.backward_from(direction.clone())?))
    }

    fn finite_differences(
        &self,
        index: usize,
        grad: &Tensor,
        reference: &impl Fn(&[Tensor]) -> Result<Tensor>,
        loss: &impl Fn(&Tensor) -> Result<Tensor>,
    ) -> Result<()> {
        let inputs: Vec<Tensor> = self.inputs.iter().map(|t| t.to_dtype(DType::F64)).collect::<Result<_>>()?;
        let grad: Vec<f32> = grad.flatten_all()?.to_vec1()?;
        let values: Vec<f64> = inputs[index].flatten_all()?.to_vec1()?;
        let step = (values.len() / 12).max(1);
        for position in (0..values.len()).step_by(step) {
            let shifted = |by: f64| -> Result<f64> {
                let mut moved = values.clone();
                moved[position] += by;
                let mut inputs = inputs.clone();
                inputs[index] = Tensor::from_vec(moved, inputs[index].shape(), &Device::Cpu)?;
                loss(&reference(&inputs)?)?.to_scalar::<f64>()
            };
            let expected = (shifted(1e-5)? - shifted(-1e-5)?) / 2e-5;
            let found = f64::from(grad[position]);
            assert!(
                (found - expected).abs() <= 1e-4 * (1.0 + expected.abs()),
                "input {index}, element {position}: gradient {found}, finite difference {expected}"
            );
        }
        Ok(())
    }
}

/// Asserts that two tensors agree to `tolerance`, relative for values above 1.
pub(crate) fn close(what: &str, found: &Tensor, expected: &Tensor, tolerance: f64) -> Result<()> {
    let found: Vec<f64> = found.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
    let expected: Vec<f64> = expected.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
    assert_eq!(found.len(), expected.len(), "{what}: number of elements");
    for (index, (f, e)) in found.iter().zip(&expected).enumerate() {
        assert!((f - e).abs() <= tolerance * (1.0 + e.abs()), "{what}, element {index}: found {f}, expected {e}");
    }
    Ok(())
}

/// The variable that tells the tests' program to use fewer instructions: `avx2` or `portable`.
pub(crate) const MOST_INSTRUCTIONS: &str = "RETORT_TEST_INSTRUCTIONS";

/// What it says.
pub(crate) fn most_instructions() -> Option<Instructions> {
    static MOST: OnceLock<Option<Instructions>> = OnceLock::new();
    *MOST.get_or_init(|| match std::env::var(MOST_INSTRUCTIONS).ok()?.as_str() {
        "avx2" => Some(Instructions::Avx2),
        _ => Some(Instructions::Portable),
    })
}
