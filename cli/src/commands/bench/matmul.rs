//! `retort bench matmul`: the products that training is made of, in both precisions.

use crate::args::BenchMatmul;
use crate::output::say;
use anyhow::Result;
use retort_kernels::{MatmulPrecision, peaks};
use serde_json::json;
use std::process::ExitCode;
use std::time::Duration;

pub fn run(args: &BenchMatmul) -> Result<ExitCode> {
    for &(m, k, n) in &args.shapes {
        for precision in [MatmulPrecision::F32, MatmulPrecision::Bf16] {
            let [forward, input, weight] = peaks::products((m, k, n), precision, Duration::from_secs(1));
            say!(
                "{}",
                json!({
                    "m": m, "k": k, "n": n, "precision": precision.as_str(), "has_instructions": precision.is_here(),
                    "threads": rayon::current_num_threads(), "forward_flops": forward,
                    "input_gradient_flops": input, "weight_gradient_flops": weight,
                })
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}
