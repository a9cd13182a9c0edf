//! Fast primitives over candle tensors, forward and backward.
//!
//! Operations take and give a [`Value`]: a tensor that knows how its gradient flows. Each file holds one operation: its
//! formula, a fast CPU form in f32, and the same in candle's own ops, for whatever device and dtype the fast form is not
//! made for. A `reference` in plain candle ops serves as oracle in the tests and, where speed is no matter, runs there
//! itself, lifted by [`lift`]. On a GPU some passes over numbers have kernels of their own (`cuda`, with that feature).
//! [`portably`] asks for the forms of other devices on this one.
//!
//! candle's own fused forms (`rms_norm`, `softmax_last_dim`, `rope`) return `Ok` from `backward` and leave everything
//! upstream without a gradient, so the rest of the workspace may not call them (`.clippy.toml`).
//!
//! Shapes in names: b batch, t queries, s keys, d width, h heads, g kv heads, c head width, p rotary part, f ffn,
//! v vocab, e experts, n flattened tokens, r latent rank, k kept, o output width, i input width.

mod adamw;
mod attention;
#[cfg(target_arch = "x86_64")]
mod avx512_bf16;
mod cached_attention;
mod columns;
mod cpu;
#[cfg_attr(not(feature = "cuda"), path = "without_cuda.rs")]
mod cuda;
pub mod device;
mod experts;
mod gradients;
mod grouped_linear;
mod heads;
mod instructions;
mod linear;
mod linear_loss;
mod log_sum_exp;
pub mod losses;
mod low_rank;
mod matmul;
mod moments;
mod offload;
pub mod peaks;
mod per_head_linear;
mod portable;
mod quantised;
mod recent;
mod rms_norm;
mod rope;
mod rounding;
mod row_products;
mod rows;
mod scope;
mod simd;
mod softmax;
mod squared_error;
mod stored;
mod sums;
mod swiglu;
mod value;
mod weight;
mod written;

pub use adamw::{AdamW, adamw_step, sum_of_squares};
pub use attention::causal_attention;
pub use cached_attention::{CacheRow, CacheRows, PAGE, cached_attention, copy_page, write_cache};
pub use columns::{columns, join_columns};
pub use experts::{Routed, packed_experts};
pub use gradients::{Gradients, sum};
pub use grouped_linear::grouped_linear;
pub use heads::join_keys;
pub use instructions::{Instructions, instructions, limit_instructions};
pub use linear::linear;
pub use linear_loss::{LinearLoss, TeacherLogits, linear_loss};
pub use log_sum_exp::{exp_sum, log_sum_exp};
pub use low_rank::updated_linear;
pub use matmul::MatmulPrecision;
pub use moments::{Codes, CodesElsewhere, MOMENT_BLOCK, Moments};
pub use offload::Offload;
pub use per_head_linear::per_head_linear;
pub use portable::portably;
pub use quantised::{BLOCK as QUANTISED_BLOCK, Bits};
pub use recent::Recent;
pub use rms_norm::rms_norm;
pub use rope::{RopeLayout, rope};
pub use rows::{gather_rows, scatter_rows_weighted};
pub use softmax::softmax;
pub use squared_error::squared_error;
pub use stored::{FP8_BLOCK, Format, Pager, SharedBytes, StoredMatrix};
pub use sums::{add, add_bias, scale};
pub use swiglu::{swiglu, swiglu_halves};
pub use value::{Value, lift, recompute};
pub use weight::Weight;

#[cfg(test)]
mod testing;
