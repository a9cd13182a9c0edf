//! Memory and time of head and loss for a large vocabulary, forward and backward, one line of JSON per loss.
//!
//!     cargo run --release -p retort-kernels --example loss_memory [-- TOKENS VOCABULARY WIDTH]
//!
//! `beyond_mib` is the most that was held at once beyond the weights, the hidden states and all gradients.
#![expect(clippy::print_stdout, reason = "a measurement is printed")]

use candle_core::{Device, Result, Tensor, Var};
use peak_alloc::PeakAlloc;
use retort_kernels::losses::{CrossEntropy, Dense, ForwardKl, JensenShannon, RowLoss, Sampled, SparseRows, TopK};
use retort_kernels::{TeacherLogits, Value, linear, linear_loss};
use std::time::Instant;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Entries of each sparse row.
const K: usize = 64;

/// A teacher with a head of its own that makes 64 MiB of logits at a time.
struct Teacher {
    hidden: Tensor,
    head: Value,
}

impl TeacherLogits for Teacher {
    fn each(&self, take: &mut dyn FnMut(&[usize], &Tensor) -> Result<()>) -> Result<()> {
        let rows: Vec<usize> = (0..self.hidden.dim(0)?).collect();
        rows.chunks(((1 << 24) / self.head.dims()[0]).max(1)).try_for_each(|rows| {
            let hidden = Value::constant(&self.hidden.narrow(0, rows[0], rows.len())?)?;
            take(rows, linear(&hidden, &self.head)?.tensor())
        })
    }
}

fn main() -> Result<()> {
    let asked: Vec<usize> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let [n, v, d] = [(0, 2048), (1, 151_936), (2, 896)].map(|(at, default)| asked.get(at).copied().unwrap_or(default));
    let random = |rows: usize, stdev: f32| Tensor::randn(0f32, stdev, (rows, d), &Device::Cpu);
    let (hidden, head) = (Var::from_tensor(&random(n, 1.0)?)?, Var::from_tensor(&random(v, 0.05)?)?);
    let teacher = Teacher { hidden: random(n, 1.0)?, head: Value::constant(&random(v, 0.05)?)? };
    let targets: Vec<u32> = (0..n).map(|row| (row * 7919 % v) as u32).collect();
    let weights = vec![1.0 / n as f32; n];
    let mut rows = SparseRows::default();
    for row in 0..n {
        let ids: Vec<u32> = (0..K).map(|k| ((row * 31 + k * (v / K)) % v) as u32).collect();
        let log_probs: Vec<f32> = (0..K).map(|k| -(k as f32) * 0.1 - 3.0).collect();
        rows.push(&ids, &log_probs);
    }
    let counts = vec![1; rows.ids.len()];
    let (temperature, rows, weights) = (1.0, &rows, &weights[..]);
    let losses: [(&str, &dyn RowLoss); 5] = [
        ("cross_entropy", &CrossEntropy { targets: &targets, weights }),
        ("forward_kl top_k 64", &TopK { kind: ForwardKl, rows, temperature, weights }),
        ("sampled 64", &Sampled { rows, counts: &counts, temperature, weights }),
        ("forward_kl full", &Dense { kind: ForwardKl, temperature, weights }),
        ("jensen_shannon full", &Dense { kind: JensenShannon { beta: 0.5 }, temperature, weights }),
    ];
    for (name, loss) in losses {
        MEMORY.reset_peak_usage();
        let (before, begin) = (MEMORY.current_usage(), Instant::now());
        let (hidden, head) = (Value::new(hidden.as_tensor())?, Value::new(head.as_tensor())?);
        let total = linear_loss(&hidden, &head, Some(&teacher), &[loss])?.total;
        let value = total.to_scalar()?;
        let gradients = total.backward()?;
        let seconds = begin.elapsed().as_secs_f64();
        let beyond = MEMORY.peak_usage().saturating_sub(before + 4 * d * (n + v)) as f64 / f64::from(1 << 20);
        drop(gradients);
        println!(
            "{{\"loss\":\"{name}\",\"tokens\":{n},\"vocabulary\":{v},\"width\":{d},\"value\":{value:.4},\
             \"beyond_mib\":{beyond:.1},\"seconds\":{seconds:.2}}}"
        );
    }
    Ok(())
}
