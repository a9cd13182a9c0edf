//! The published forward pass once more, in plain f64 tensor operations, one sequence at a time and without a cache;
//! and the mistakes that runtimes of this family have made, each of which it can make on purpose.

mod mistake;
mod router;

pub(crate) use mistake::Mistake;

use candle_core::{D, DType, Device, IndexOp, Result, Tensor};
use mistake::Mistake::*;
use retort_model::layers::rope::{Rope, Yarn};
use retort_teacher::Config;
use std::collections::HashMap;

/// The tensors of a checkpoint under their published names, in f64.
pub(crate) struct Plain<'a> {
    pub(crate) config: &'a Config,
    pub(crate) tensors: HashMap<String, Tensor>,
}

impl<'a> Plain<'a> {
    pub(crate) fn new(config: &'a Config, tensors: impl IntoIterator<Item = (String, Tensor)>) -> Result<Self> {
        let widen = |(name, tensor): (String, Tensor)| Ok((name, tensor.to_dtype(DType::F64)?));
        Ok(Self { config, tensors: tensors.into_iter().map(widen).collect::<Result<_>>()? })
    }

    /// Logits [t, v] of one sequence, right or with a mistake.
    pub(crate) fn logits(&self, tokens_t: &[u32], mistake: Option<Mistake>) -> Result<Tensor> {
        let pass = Pass { plain: self, mistake };
        pass.head(&pass.norm(&pass.layers(tokens_t)?, "model.norm", self.config.rms_norm_eps)?)
    }

    /// Logits [t - 1, v] of the multi-token-prediction module: row i predicts token i + 2.
    pub(crate) fn ahead_logits(&self, tokens_t: &[u32], mistake: Option<Mistake>) -> Result<Tensor> {
        let pass = Pass { plain: self, mistake };
        pass.ahead(tokens_t)
    }
}

struct Pass<'a> {
    plain: &'a Plain<'a>,
    mistake: Option<Mistake>,
}

impl Pass<'_> {
    fn makes(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    fn config(&self) -> &Config {
        self.plain.config
    }

    fn tensor(&self, name: &str) -> &Tensor {
        self.plain.tensors.get(name).unwrap_or_else(|| panic!("the checkpoint lacks {name}"))
    }

    fn linear(&self, x_ni: &Tensor, name: &str) -> Result<Tensor> {
        x_ni.matmul(&self.tensor(&format!("{name}.weight")).t()?)
    }

    fn norm(&self, x: &Tensor, name: &str, eps: f64) -> Result<Tensor> {
        let mean = x.sqr()?.mean_keepdim(D::Minus1)?;
        x.broadcast_div(&(mean + eps)?.sqrt()?)?.broadcast_mul(self.tensor(&format!("{name}.weight")))
    }

    fn embedded(&self, tokens_t: &[u32]) -> Result<Tensor> {
        self.tensor("model.embed_tokens.weight").index_select(&Tensor::new(tokens_t, &Device::Cpu)?, 0)
    }

    fn head(&self, x_nd: &Tensor) -> Result<Tensor> {
        let tied = self.config().tie_word_embeddings;
        self.linear(x_nd, if tied { "model.embed_tokens" } else { "lm_head" })
    }

    /// Embedding and decoder layers, before the final norm.
    fn layers(&self, tokens_t: &[u32]) -> Result<Tensor> {
        (0..self.config().num_hidden_layers).try_fold(self.embedded(tokens_t)?, |x_td, layer| self.layer(&x_td, layer))
    }

    fn layer(&self, x_td: &Tensor, layer: usize) -> Result<Tensor> {
        let (name, eps) = (format!("model.layers.{layer}"), self.config().rms_norm_eps);
        let inner = self.norm(x_td, &format!("{name}.input_layernorm"), eps)?;
        let x_td = (x_td + self.attention(&inner, &format!("{name}.self_attn"))?)?;
        let inner = self.norm(&x_td, &format!("{name}.post_attention_layernorm"), eps)?;
        let mlp = format!("{name}.mlp");
        &x_td + if self.config().is_moe(layer) { self.moe(&inner, &mlp)? } else { self.mlp(&inner, &mlp)? }
    }

    fn attention(&self, x_td: &Tensor, name: &str) -> Result<Tensor> {
        let config = self.config();
        let (t, h, r) = (x_td.dim(0)?, config.num_attention_heads, config.kv_lora_rank);
        let (nope, p, cv) = (config.qk_nope_head_dim, config.qk_rope_head_dim, config.v_head_dim);
        let eps = if self.makes(LatentNormsByConfigEps) { config.rms_norm_eps } else { config.latent_eps() };
        let part = |part: &str| format!("{name}.{part}");

        let q = match config.q_lora_rank {
            None => self.linear(x_td, &part("q_proj"))?,
            Some(_) => {
                let low = self.norm(&self.linear(x_td, &part("q_a_proj"))?, &part("q_a_layernorm"), eps)?;
                self.linear(&low, &part("q_b_proj"))?
            }
        };
        let q_thc = q.reshape((t, h, nope + p))?;
        let (q_nope, q_pe) = match self.makes(RotatedPartFirst) {
            false => (q_thc.i((.., .., ..nope))?, q_thc.i((.., .., nope..))?),
            true => (q_thc.i((.., .., p..))?, q_thc.i((.., .., ..p))?),
        };
        let kv = self.linear(x_td, &part("kv_a_proj_with_mqa"))?;
        let latent_tr = self.norm(&kv.i((.., ..r))?, &part("kv_a_layernorm"), eps)?;
        let k_pe = kv.i((.., r..))?.reshape((t, 1, p))?;

        let kv = self.linear(&latent_tr, &part("kv_b_proj"))?;
        let (k_nope, v_thc) = match self.makes(KeysAndValuesInHalves) {
            false => {
                let kv_thc = kv.reshape((t, h, nope + cv))?;
                (kv_thc.i((.., .., ..nope))?, kv_thc.i((.., .., nope..))?)
            }
            true => (kv.i((.., ..h * nope))?.reshape((t, h, nope))?, kv.i((.., h * nope..))?.reshape((t, h, cv))?),
        };
        let k_pe = self.rotated(&k_pe)?.broadcast_as((t, h, p))?;
        let by_head = |x: Tensor| x.transpose(0, 1)?.contiguous();
        let q_htc = by_head(Tensor::cat(&[q_nope, self.rotated(&q_pe)?], 2)?)?;
        let k_htc = by_head(Tensor::cat(&[k_nope, k_pe], 2)?)?;
        let future: Vec<f64> = (0..t * t).map(|at| if at % t > at / t { f64::NEG_INFINITY } else { 0.0 }).collect();
        let scores = (q_htc.matmul(&k_htc.t()?)? * self.softmax_scale())?;
        let scores = scores.broadcast_add(&Tensor::from_vec(future, (t, t), &Device::Cpu)?)?;
        let sums_htc = candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&by_head(v_thc)?)?;
        self.linear(&by_head(sums_htc)?.reshape((t, h * cv))?, &part("o_proj"))
    }

    fn softmax_scale(&self) -> f64 {
        let scale = self.config().softmax_scale();
        match self.config().yarn() {
            Some(yarn) if self.makes(SoftmaxScaleWithoutYarn) => scale / yarn.softmax_factor(),
            Some(yarn) if self.makes(SoftmaxScaleByMscale) => {
                scale / yarn.softmax_factor() * squared(&yarn, yarn.mscale)
            }
            _ => scale,
        }
    }

    /// Rotates [t, h, p] by the positions 0..t.
    fn rotated(&self, x_thp: &Tensor) -> Result<Tensor> {
        let (config, (t, h, p)) = (self.config(), x_thp.dims3()?);
        let positions: Vec<u32> = (0..t as u32).collect();
        let (cos, sin) = Rope::new(p, config.theta(), config.yarn().as_ref()).tables(&positions, &Device::Cpu)?;
        let table = |table: Tensor| {
            let table = if self.makes(TablesInBf16) { table.to_dtype(DType::BF16)? } else { table };
            let table = table.to_dtype(DType::F64)?;
            let again = match config.yarn() {
                Some(yarn) if self.makes(TablesTimesMscale) => squared(&yarn, Some(1.0)).sqrt(),
                _ => 1.0,
            };
            (table * again)?.reshape((t, 1, p / 2))
        };
        let (cos, sin) = (table(cos)?, table(sin)?);
        let halves = self.makes(RotatedInHalves);
        let (a, b) = match halves {
            true => (x_thp.i((.., .., ..p / 2))?, x_thp.i((.., .., p / 2..))?),
            false => {
                let pairs = x_thp.reshape((t, h, p / 2, 2))?;
                (pairs.i((.., .., .., 0))?, pairs.i((.., .., .., 1))?)
            }
        };
        let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
        let second = (a.broadcast_mul(&sin)? + b.broadcast_mul(&cos)?)?;
        // Any order of the rotated numbers will do that queries and keys share.
        Tensor::cat(&[first, second], 2)
    }

    fn mlp(&self, x_nd: &Tensor, name: &str) -> Result<Tensor> {
        let part = |part: &str| self.linear(x_nd, &format!("{name}.{part}"));
        self.linear(&(part("gate_proj")?.silu()? * part("up_proj")?)?, &format!("{name}.down_proj"))
    }

    fn moe(&self, x_nd: &Tensor, name: &str) -> Result<Tensor> {
        let weights_ne = self.expert_weights(x_nd, &format!("{name}.gate"))?;
        let routed = (0..self.config().n_routed_experts).try_fold(x_nd.zeros_like()?, |sum, expert| {
            let out = self.mlp(x_nd, &format!("{name}.experts.{expert}"))?;
            sum + out.broadcast_mul(&weights_ne.i((.., expert..expert + 1))?)?
        })?;
        if self.config().shared_experts() == 0 {
            return Ok(routed);
        }
        let shared = self.mlp(x_nd, &format!("{name}.shared_experts"))?;
        let scale = if self.makes(SharedExpertsScaled) { self.config().routed_scaling_factor } else { 1.0 };
        routed + (shared * scale)?
    }

    fn ahead(&self, tokens_t: &[u32]) -> Result<Tensor> {
        let (config, t) = (self.config(), tokens_t.len());
        let (name, eps) = (format!("model.layers.{}", config.num_hidden_layers), config.rms_norm_eps);
        let hidden = self.layers(tokens_t)?;
        let hidden = if self.makes(AheadBeforeFinalNorm) { hidden } else { self.norm(&hidden, "model.norm", eps)? };
        let ahead = if self.makes(AheadOfItsOwnToken) { &tokens_t[..t - 1] } else { &tokens_t[1..] };
        let mut embedded = self.embedded(ahead)?;
        if self.makes(AheadWithoutFirstEmbedding) {
            embedded = Tensor::cat(&[embedded.i(..1)?.zeros_like()?, embedded.i(1..)?], 0)?;
        }
        let embedded = self.norm(&embedded, &format!("{name}.enorm"), eps)?;
        let hidden = self.norm(&hidden.i(..t - 1)?, &format!("{name}.hnorm"), eps)?;
        let both = if self.makes(AheadHiddenFirst) { [hidden, embedded] } else { [embedded, hidden] };
        let x_td = self.linear(&Tensor::cat(&both, 1)?, &format!("{name}.eh_proj"))?;
        let x_td = self.layer(&x_td, config.num_hidden_layers)?;
        self.head(&self.norm(&x_td, &format!("{name}.shared_head.norm"), eps)?)
    }
}

/// YaRN's attention factor for `mscale`, squared.
fn squared(yarn: &Yarn, mscale: Option<f64>) -> f64 {
    Yarn { mscale_all_dim: mscale, ..yarn.clone() }.softmax_factor()
}
