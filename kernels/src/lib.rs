//! Fast primitives as candle operations, forward and backward.
//!
//! Every operation here passes its gradient on. candle's own fused forms (`rms_norm`, `softmax_last_dim`, `rope`) do not:
//! they return `Ok` from `backward` and leave everything upstream without a gradient, so the rest of the workspace
//! may not call them (`.clippy.toml`).
//!
//! Each file holds one operation: its formula, a fast CPU form in f32, and `reference`, the same in plain candle ops.
//! The reference serves as oracle in the tests and runs wherever the fast form does not (another device or dtype).
//!
//! Shapes in names: b batch, t queries, s keys, d width, h heads, g kv heads, c head width, p rotary part, f ffn,
//! v vocab, e experts, n flattened tokens, r latent rank, k kept, o output width, i input width.

mod adamw;
mod attention;
mod cached_attention;
mod cpu;
mod grouped_linear;
mod heads;
mod linear;
mod linear_cross_entropy;
mod matmul;
mod rms_norm;
mod rope;
mod rows;
mod simd;
mod softmax;
mod swiglu;

pub use adamw::{AdamW, adamw_step, sum_of_squares};
pub use attention::causal_attention;
pub use cached_attention::{CacheRow, cached_attention, write_cache};
pub use grouped_linear::grouped_linear;
pub use heads::{join_keys, last_columns};
pub use linear::linear;
pub use linear_cross_entropy::linear_cross_entropy;
pub use rms_norm::rms_norm;
pub use rope::{RopeLayout, rope};
pub use rows::{gather_rows, scatter_rows_weighted};
pub use softmax::softmax;
pub use swiglu::{swiglu, swiglu_halves};

#[cfg(test)]
mod testing;
