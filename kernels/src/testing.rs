//! One check for every operation: forward against the reference, gradients against the reference's and against central
//! finite differences of the reference in f64; in its fast form on the CPU, in the form for other devices, and on a GPU
//! where there is one and this is built for it.

use crate::gradients::Gradients;
use crate::instructions::Instructions;
use crate::value::Value;
use crate::{MatmulPrecision, portably};
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

/// One way in which an operation is computed.
struct Run {
    name: &'static str,
    device: Device,
    /// In the form for other devices, on whatever device.
    portable: bool,
    dtype: DType,
    precision: MatmulPrecision,
    /// Largest difference from the reference in f64, relative to numbers above 1.
    tolerance: f64,
}

impl Run {
    /// Every way there is on this machine.
    fn all() -> Vec<Self> {
        let exact = |name, device, portable, dtype, tolerance| Self {
            name,
            device,
            portable,
            dtype,
            tolerance,
            precision: MatmulPrecision::F32,
        };
        let mut all = vec![
            exact("fast", Device::Cpu, false, DType::F32, 2e-5),
            exact("portable", Device::Cpu, true, DType::F32, 2e-5),
            exact("portable, f64", Device::Cpu, true, DType::F64, 1e-10),
        ];
        // Factors of products are rounded to 2^-9 of themselves.
        let rounded = |run| Self { precision: MatmulPrecision::Bf16, tolerance: 6e-2, ..run };
        all.push(rounded(exact("portable, bf16", Device::Cpu, true, DType::F32, 0.0)));
        if let Some(gpu) = gpu() {
            all.push(exact("GPU", gpu.clone(), false, DType::F32, 1e-4));
            all.push(rounded(exact("GPU, bf16", gpu, false, DType::F32, 0.0)));
        }
        all
    }

    fn of<R>(&self, work: impl FnOnce() -> R) -> R {
        self.precision.within(|| if self.portable { portably(work) } else { work() })
    }
}

/// The GPU of this machine, where there is one that can be used.
pub(crate) fn gpu() -> Option<Device> {
    crate::device::cuda().ok()
}

/// Inputs of an operation under test.
pub(crate) struct Case {
    inputs: Vec<Tensor>,
}

impl Case {
    pub(crate) fn new(inputs: Vec<Tensor>) -> Self {
        Self { inputs }
    }

    /// Checks `op` against `reference` on f64 in every way it can be computed: values, gradients, finite differences.
    pub(crate) fn agrees(
        &self,
        op: impl Fn(&[Value]) -> Result<Value>,
        reference: impl Fn(&[Tensor]) -> Result<Tensor>,
    ) -> Result<()> {
        let vars64 = self.variables(DType::F64, &Device::Cpu)?;
        let tracked64: Vec<Tensor> = vars64.iter().map(|v| v.as_tensor().clone()).collect();
        let y64 = reference(&tracked64)?;
        // A random direction turns the output into a scalar that reaches every element.
        let direction = random(y64.dims(), 99);
        let loss = |y: &Tensor| y.mul(&direction.to_dtype(y.dtype())?)?.sum_all();
        let grads64 = loss(&y64)?.backward()?;

        for run in Run::all() {
            let Run { name, device, dtype, tolerance, .. } = &run;
            let constant = |input: &Tensor| Value::constant(&input.to_dtype(*dtype)?.to_device(device)?);
            let constants: Vec<Value> = self.inputs.iter().map(constant).collect::<Result<_>>()?;
            let untracked = run.of(|| op(&constants))?;
            assert!(!untracked.is_tracked());
            close(&format!("{name}, untracked output"), untracked.tensor(), &y64, *tolerance)?;
            let vars = self.variables(*dtype, device)?;
            let direction = direction.to_dtype(*dtype)?.to_device(device)?;
            let (y, grads) = run.of(|| self.differentiate(&vars, &op, &direction))?;
            assert_eq!(y.dims(), y64.dims(), "output shape");
            assert!(!y.track_op(), "{name}: candle remembers how the output was made");
            close(&format!("{name}, output"), &y, &y64, *tolerance)?;
            for (index, (var, var64)) in vars.iter().zip(&vars64).enumerate() {
                let grad = grads.get(var).unwrap_or_else(|| panic!("{name}: input {index} got no gradient"));
                assert!(!grad.track_op(), "{name}: candle remembers how gradient {index} was made");
                let grad64 = grads64.get(var64).expect("the reference is differentiable");
                close(&format!("{name}, gradient of input {index}"), grad, grad64, *tolerance)?;
                if *name == "fast" {
                    self.finite_differences(index, grad, &reference, &loss)?;
                }
            }
        }
        Ok(())
    }

    fn variables(&self, dtype: DType, device: &Device) -> Result<Vec<Var>> {
        let var = |input: &Tensor| Var::from_tensor(&input.to_dtype(dtype)?.to_device(device)?);
        self.inputs.iter().map(var).collect()
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
    let numbers = |x: &Tensor| x.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
    let (found, expected) = (numbers(found)?, numbers(expected)?);
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
