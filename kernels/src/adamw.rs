//! AdamW in one pass over each parameter (arXiv 1711.05101), moments kept outside the autograd graph.
//!
//! m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;
//! w = w - lr (m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps) + decay w), as `torch.optim.AdamW` computes it.

use crate::moments::{Block, Codes, CodesElsewhere, MOMENT_BLOCK, Moments};
use crate::{cpu, cuda, simd};
use candle_core::{CpuStorage, DType, Device, InplaceOp2, Layout, Result, Tensor, Var, bail};
use rayon::prelude::*;
use std::sync::Mutex;

/// Settings of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    pub learning_rate: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub weight_decay: f64,
    /// Counted from 1.
    pub step: u64,
    /// Multiplies every gradient first: clipping and averaging in the same pass.
    pub gradient_scale: f64,
}

/// Moves `parameter` by its gradient and updates its `moments`, all of the same length.
pub fn adamw_step(parameter: &Var, gradient: &Tensor, moments: &mut Moments, settings: AdamW) -> Result<()> {
    let n = parameter.elem_count();
    if gradient.elem_count() != n || moments.len() != n || settings.step == 0 {
        bail!("adamw: {n} weights, {} gradients, moments of {}", gradient.elem_count(), moments.len());
    }
    if [parameter.dtype(), gradient.dtype()] != [DType::F32; 2] {
        bail!("adamw: weights and gradients must be f32, got {:?} and {:?}", parameter.dtype(), gradient.dtype());
    }
    let gradient = gradient.contiguous()?;
    match moments {
        Moments::Elsewhere { m, v } => step_elsewhere(parameter, &gradient, (m, v), &Rule::new(settings)),
        Moments::CodedElsewhere { m, root } => step_coded_elsewhere(parameter, &gradient, (m, root), settings),
        moments => parameter.inplace_op2(&gradient, &Step { moments: Mutex::new(moments), settings }),
    }
}

/// The same on another device.
fn step_elsewhere(parameter: &Var, g: &Tensor, (m, v): (&mut Tensor, &mut Tensor), rule: &Rule) -> Result<()> {
    if cuda::adamw(parameter, g, m, v, rule)? {
        return Ok(());
    }
    let of = f64::from;
    let (b1, b2) = (of(rule.betas.0), of(rule.betas.1));
    let g = (g * of(rule.scale))?.reshape(parameter.shape())?;
    *m = ((&*m * b1)? + (&g * (1.0 - b1))?)?;
    *v = ((&*v * b2)? + (g.sqr()? * (1.0 - b2))?)?;
    let by_root = (&*m / ((v.sqrt()? * of(rule.root))? + of(rule.eps))?)?;
    parameter.set(&((parameter.as_tensor().detach() * of(rule.decay))? - (by_root * of(rule.rate))?)?)
}

/// A step with codes on another device; without a pass for it there, the CPU takes it.
fn step_coded_elsewhere(
    parameter: &Var,
    g: &Tensor,
    (m, root): (&mut CodesElsewhere, &mut CodesElsewhere),
    settings: AdamW,
) -> Result<()> {
    if cuda::adamw_coded(parameter, g, (m, root), &Rule::new(settings))? {
        return Ok(());
    }
    let (there, here) = (parameter.device(), &Device::Cpu);
    let moved = Var::from_tensor(&parameter.as_tensor().detach().to_device(here)?)?;
    let mut moments = Moments::Coded { m: m.here()?, root: root.here()? };
    adamw_step(&moved, &g.to_device(here)?, &mut moments, settings)?;
    if let Moments::Coded { m: new_m, root: new_root } = moments {
        (*m, *root) = (new_m.on(there)?, new_root.on(there)?);
    }
    parameter.set(&moved.to_device(there)?)
}

/// Sum of squares of all numbers of `tensors` in f64, in a fixed order.
pub fn sum_of_squares(tensors: &[Tensor]) -> Result<f64> {
    if cpu::fast(&tensors.iter().collect::<Vec<_>>()) {
        return tensors.iter().map(of_one).sum();
    }
    // One look at what another device has found.
    let sums: Vec<Tensor> = tensors.iter().map(|x| x.sqr()?.sum_all()).collect::<Result<_>>()?;
    Ok(Tensor::stack(&sums, 0)?.to_dtype(DType::F64)?.to_vec1::<f64>()?.iter().sum())
}

fn of_one(tensor: &Tensor) -> Result<f64> {
    let parts: Vec<f64> = cpu::data(&tensor.contiguous()?)?
        .par_chunks(1 << 14)
        .map(|chunk| {
            f64::from(simd::dispatch(
                #[inline(always)]
                || simd::sum(chunk, |x| x * x),
            ))
        })
        .collect();
    Ok(parts.iter().sum())
}

struct Step<'a> {
    moments: Mutex<&'a mut Moments>,
    settings: AdamW,
}

/// Weights that one thread moves at a time: whole blocks of moments.
const SPAN: usize = 64 * MOMENT_BLOCK;

impl InplaceOp2 for Step<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(&self, w: &mut CpuStorage, lw: &Layout, g: &CpuStorage, lg: &Layout) -> Result<()> {
        let (w, g) = (cpu::slice_mut(w, lw)?, cpu::slice(g, lg)?);
        let mut moments = self.moments.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let rule = Rule::new(self.settings);
        let weights = w.par_chunks_mut(SPAN).zip(g.par_chunks(SPAN));
        match &mut **moments {
            Moments::Exact { m, v } => {
                let moments = m.par_chunks_mut(SPAN).zip(v.par_chunks_mut(SPAN));
                weights.zip(moments).for_each(|((w, g), (m, v))| {
                    simd::dispatch(
                        #[inline(always)]
                        || {
                            for (((w, g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
                                (*w, *m, *v) = rule.moved(*w, *g, *m, *v);
                            }
                        },
                    );
                });
            }
            Moments::Elsewhere { .. } | Moments::CodedElsewhere { .. } => {
                bail!("adamw: weights on the CPU, moments elsewhere")
            }
            Moments::Coded { m, root } => {
                let moments = spans(m).zip(spans(root));
                weights.zip(moments).enumerate().for_each(|(at, ((w, g), (m, root)))| {
                    simd::dispatch(
                        #[inline(always)]
                        || rule.move_coded(at * SPAN, (w, g), m, root),
                    );
                });
            }
        }
        Ok(())
    }
}

/// Codes and scales of a span.
type Coded<'a> = (&'a mut [u8], &'a mut [f32]);

fn spans(codes: &mut Codes) -> impl IndexedParallelIterator<Item = Coded<'_>> {
    codes.codes.par_chunks_mut(SPAN).zip(codes.scales.par_chunks_mut(SPAN / MOMENT_BLOCK))
}

fn blocks_of<'a>((codes, scales): Coded<'a>) -> impl Iterator<Item = Block<'a>> {
    codes.chunks_mut(MOMENT_BLOCK).zip(scales).map(|(codes, scale)| Block { codes, scale })
}

/// One step's numbers.
pub(crate) struct Rule {
    pub betas: (f32, f32),
    pub rate: f32,
    /// What is left of a weight.
    pub decay: f32,
    /// 1 / sqrt(1 - b2^t)
    pub root: f32,
    pub eps: f32,
    pub scale: f32,
    pub step: u32,
}

impl Rule {
    fn new(s: AdamW) -> Self {
        let correction = |beta: f64| 1.0 - beta.powf(s.step as f64);
        Self {
            betas: (s.beta1 as f32, s.beta2 as f32),
            rate: (s.learning_rate / correction(s.beta1)) as f32,
            decay: (1.0 - s.learning_rate * s.weight_decay) as f32,
            root: (1.0 / correction(s.beta2).sqrt()) as f32,
            eps: s.eps as f32,
            scale: s.gradient_scale as f32,
            step: s.step as u32,
        }
    }

    /// The weight, its first and its second moment after the step.
    #[inline(always)]
    fn moved(&self, w: f32, g: f32, m: f32, v: f32) -> (f32, f32, f32) {
        let (g, (b1, b2)) = (g * self.scale, self.betas);
        let m = b1 * m + (1.0 - b1) * g;
        let v = b2 * v + (1.0 - b2) * g * g;
        (w * self.decay - self.rate * m / (v.sqrt() * self.root + self.eps), m, v)
    }

    /// A span whose first weight is the tensor's `first`.
    #[inline(always)]
    fn move_coded(&self, first: usize, (w, g): (&mut [f32], &[f32]), m: Coded<'_>, root: Coded<'_>) {
        let weights = w.chunks_mut(MOMENT_BLOCK).zip(g.chunks(MOMENT_BLOCK));
        for (at, (((w, g), mut m), mut root)) in weights.zip(blocks_of(m)).zip(blocks_of(root)).enumerate() {
            let first = (first + at * MOMENT_BLOCK) as u32;
            let (mut ms, mut roots) = ([0f32; MOMENT_BLOCK], [0f32; MOMENT_BLOCK]);
            m.read_first(&mut ms);
            root.read_roots(&mut roots);
            for (((w, g), m), root) in w.iter_mut().zip(g).zip(&mut ms).zip(&mut roots) {
                let moved = self.moved(*w, *g, *m, *root * *root);
                (*w, *m, *root) = (moved.0, moved.1, moved.2.sqrt());
            }
            m.write_first(&ms, first, self.step);
            root.write_roots(&roots, first, self.step);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::everywhere;
    use crate::portably;
    use crate::testing::random;

    #[test]
    fn follows_the_formula_in_f64() -> Result<()> {
        everywhere(follow_the_formula)
    }

    /// Five steps of 37 weights.
    fn follow_the_formula(device: &Device) -> Result<()> {
        let mut settings = AdamW {
            learning_rate: 0.01,
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-8,
            weight_decay: 0.1,
            step: 1,
            gradient_scale: 0.5,
        };
        let weights = Var::from_tensor(&random(&[37], 1).to_device(device)?)?;
        let mut exact: Vec<f64> = weights.to_dtype(DType::F64)?.to_vec1()?;
        let mut moments = Moments::beside(&weights)?;
        let (mut m64, mut v64) = (vec![0f64; 37], vec![0f64; 37]);
        for step in 1..=5 {
            settings.step = step;
            let gradient = random(&[37], 10 + step);
            adamw_step(&weights, &gradient.to_device(device)?, &mut moments, settings)?;
            let g: Vec<f64> = gradient.to_dtype(DType::F64)?.to_vec1()?;
            for i in 0..37 {
                let g = g[i] * 0.5;
                m64[i] = 0.9 * m64[i] + 0.1 * g;
                v64[i] = 0.95 * v64[i] + 0.05 * g * g;
                let (mh, vh) = (m64[i] / (1.0 - 0.9f64.powi(step as i32)), v64[i] / (1.0 - 0.95f64.powi(step as i32)));
                exact[i] -= 0.01 * (mh / (vh.sqrt() + 1e-8) + 0.1 * exact[i]);
            }
        }
        for (found, expected) in weights.to_vec1::<f32>()?.iter().zip(&exact) {
            assert!((f64::from(*found) - expected).abs() < 2e-6, "{found} against {expected}");
        }
        Ok(())
    }

    #[test]
    fn sum_of_squares_by_hand() -> Result<()> {
        let tensors = [Tensor::new(&[3f32, -4.0], &Device::Cpu)?, Tensor::new(&[[2f32]], &Device::Cpu)?];
        assert_eq!((sum_of_squares(&tensors)?, portably(|| sum_of_squares(&tensors))?), (29.0, 29.0));
        Ok(())
    }

    /// Rounded moments lead where exact ones do: a noisy quadratic, several blocks of weights of very different size.
    #[test]
    fn coded_moments_lead_to_the_same_place() -> Result<()> {
        everywhere(lead_to_the_same_place)
    }

    fn lead_to_the_same_place(device: &Device) -> Result<()> {
        let n = 3 * MOMENT_BLOCK + 5;
        let size = |i: usize| 10f32.powi(-((i % 4) as i32));
        let target: Vec<f32> = random(&[n], 3).to_vec1::<f32>()?.iter().enumerate().map(|(i, x)| x * size(i)).collect();
        let run = |zeros: fn(&Var) -> Result<Moments>| -> Result<f64> {
            let weights = Var::zeros(n, DType::F32, device)?;
            let mut moments = zeros(&weights)?;
            for step in 1..=400 {
                let learning_rate = 0.02 * (1.0 - step as f64 / 401.0);
                let settings = AdamW {
                    learning_rate,
                    beta1: 0.9,
                    beta2: 0.95,
                    eps: 1e-12,
                    weight_decay: 0.0,
                    step,
                    gradient_scale: 1.0,
                };
                let noise = random(&[n], 100 + step).to_vec1::<f32>()?;
                let w = weights.to_vec1::<f32>()?;
                let gradient: Vec<f32> =
                    (0..n).map(|i| (w[i] - target[i] + 0.1 * noise[i] * size(i)) * size(i)).collect();
                adamw_step(&weights, &Tensor::new(gradient, device)?, &mut moments, settings)?;
            }
            let w = weights.to_vec1::<f32>()?;
            Ok((0..n).map(|i| f64::from((w[i] - target[i]) / size(i)).powi(2)).sum::<f64>() / n as f64)
        };
        let (exact, coded) = (run(Moments::beside)?, run(Moments::coded_beside)?);
        assert!(exact < 2e-3 && coded < 1.5 * exact, "mean square distance {exact} exact, {coded} coded");
        Ok(())
    }
}
