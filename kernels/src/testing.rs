//! One check for every operation: forward against the reference, gradients against the reference's and against central
//! finite differences of the reference in f64.

use candle_core::{DType, Device, Result, Tensor, Var};

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

/// Inputs of an operation under test.
pub(crate) struct Case {
    inputs: Vec<Tensor>,
    tolerance: f64,
}

impl Case {
    pub(crate) fn new(inputs: Vec<Tensor>) -> Self {
        Self { inputs, tolerance: 2e-5 }
    }

    /// Checks `fast` on f32 against `reference` on f64: values, gradients, and finite differences.
    pub(crate) fn agrees(
        &self,
        fast: impl Fn(&[Tensor]) -> Result<Tensor>,
        reference: impl Fn(&[Tensor]) -> Result<Tensor>,
    ) -> Result<()> {
        let vars: Vec<Var> = self.inputs.iter().map(Var::from_tensor).collect::<Result<_>>()?;
        let tracked: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
        let vars64: Vec<Var> =
            self.inputs.iter().map(|t| Var::from_tensor(&t.to_dtype(DType::F64)?)).collect::<Result<_>>()?;
        let tracked64: Vec<Tensor> = vars64.iter().map(|v| v.as_tensor().clone()).collect();

        let (y, y64) = (fast(&tracked)?, reference(&tracked64)?);
        assert_eq!(y.dims(), y64.dims(), "output shape");
        close("output", &y, &y64, self.tolerance)?;
        let untracked = fast(&self.inputs)?;
        close("untracked output", &untracked, &y64, self.tolerance)?;

        // A random direction turns the output into a scalar that reaches every element.
        let direction = random(y.dims(), 99);
        let loss = |y: &Tensor| y.mul(&direction.to_dtype(y.dtype())?)?.sum_all();
        let grads = loss(&y)?.backward()?;
        let grads64 = loss(&y64)?.backward()?;
        for (index, (var, var64)) in vars.iter().zip(&vars64).enumerate() {
            let grad = grads.get(var).unwrap_or_else(|| panic!("input {index} got no gradient"));
            let grad64 = grads64.get(var64).expect("the reference is differentiable");
            close(&format!("gradient of input {index}"), grad, grad64, self.tolerance)?;
            self.finite_differences(index, grad, &reference, &loss)?;
        }
        Ok(())
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
