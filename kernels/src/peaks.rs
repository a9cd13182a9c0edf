//! What this machine can do at most: the yardsticks that measured speeds are held against.

use crate::matmul::{Mat, MatmulPrecision, product};
use crate::quantised;
use crate::{Bits, simd};
use rayon::prelude::*;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Best rates found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peaks {
    /// Bytes read from memory in a second, all cores together.
    pub memory_bytes_per_second: f64,
    /// Products of 8-bit codes in a second, a multiplication and an addition counted as two, from the nearest cache.
    pub integer_operations_per_second: f64,
}

/// Measures for about `patience` each.
pub fn measure(patience: Duration) -> Peaks {
    Peaks { memory_bytes_per_second: memory(patience), integer_operations_per_second: integers(patience) }
}

/// The best of as many repetitions as fit: work done in a second.
fn best(patience: Duration, mut work: impl FnMut() -> f64) -> f64 {
    let begin = Instant::now();
    let mut best = 0f64;
    while begin.elapsed() < patience {
        let begin = Instant::now();
        let done = work();
        best = best.max(done / begin.elapsed().as_secs_f64().max(1e-9));
    }
    best
}

/// Operations in a second of a product [m, k] [k, n] of matrices in memory, a multiplication and an addition counted as
/// two, all cores together: as a layer's way forward takes its weight [n, k], and the gradients of its input and of its
/// weight are computed.
pub fn products((m, k, n): (usize, usize, usize), precision: MatmulPrecision, patience: Duration) -> [f64; 3] {
    let numbers =
        |count: usize| -> Vec<f32> { (0..count).map(|at| ((at * 7919) % 1009) as f32 / 1009.0 - 0.5).collect() };
    let (x, w, dy) = (numbers(m * k), numbers(n * k), numbers(m * n));
    let (x, w, dy) = (Mat::new(&x, m, k), Mat::new(&w, n, k), Mat::new(&dy, m, n));
    [(x, w.t()), (dy, w), (dy.t(), x)].map(|(a, b)| {
        best(patience, || {
            black_box(product(a, b, precision.together()));
            2.0 * (m * k * n) as f64
        })
    })
}

fn memory(patience: Duration) -> f64 {
    // Far more than any cache holds.
    let numbers: Vec<f32> = (0..128usize << 20).into_par_iter().map(|at| at as f32).collect();
    best(patience, || {
        let sums = numbers.par_chunks(1 << 16).map(|part| {
            simd::dispatch(
                #[inline(always)]
                || simd::sum(part, |x| x),
            )
        });
        black_box(sums.sum::<f32>());
        size_of_val(numbers.as_slice()) as f64
    })
}

fn integers(patience: Duration) -> f64 {
    // A tile of 16 KiB and as many rows as the kernel takes at once, for each thread alone.
    let (i, n, repeats) = (1024, 24, 200);
    let packed = quantised::quantise(&vec![0.5; 16 * i], (16, i), Bits::Four);
    let threads = rayon::current_num_threads();
    best(patience, || {
        (0..threads).into_par_iter().for_each(|_| {
            black_box(quantised::repeated(&packed, i, n, Bits::Four, repeats));
        });
        2.0 * (threads * repeats * 16 * i * n) as f64
    })
}
