//! Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1), as in DeepSeek-V3's `inference/model.py`.
//!
//! Keys and values come from one latent c (rank r) per token, plus one rotated key shared by all heads. The cache keeps
//! only [norm(c) | rope(k_pe)]: r + p numbers. Two forms give the same result:
//! - expanded (training, prefill): k and v are multiplied out of the latents, ordinary causal attention follows;
//! - absorbed (decoding over a cache): W_UK moves into the query, q' = q_nope W_UK, scores are q' . c + q_pe . k_pe,
//!   the heads' sums of latents go through W_UV. Nothing is expanded per cached token.

use crate::config::Config;
use candle_core::Tensor;
use retort_kernels::{self as kernels, RopeLayout, Value, Weight};
use retort_model::Error;
use retort_model::batch::CacheView;
use retort_model::layers::{Linear, RmsNorm, normal};
use retort_model::params::Params;
use std::sync::Arc;

/// What the attention of every layer needs to know about a batch.
pub(crate) struct Context<'a> {
    pub offsets: &'a Arc<[usize]>,
    /// cos and sin [n, p/2] of the rows' positions.
    pub cos: Tensor,
    pub sin: Tensor,
    pub cache: Option<CacheView<'a>>,
}

/// The query's projection, direct or through a low rank.
enum Query {
    Full(Linear),
    LowRank { a: Linear, norm: RmsNorm, b: Linear },
}

impl Query {
    /// What the layer's input goes through.
    fn first(&self) -> &Linear {
        match self {
            Self::Full(q_proj) => q_proj,
            Self::LowRank { a, .. } => a,
        }
    }
}

pub(crate) struct Attention {
    query: Query,
    kv_a_proj_with_mqa: Linear,
    /// The query's first projection and `kv_a_proj_with_mqa` in one, where that can be.
    both: Option<Linear>,
    kv_a_layernorm: RmsNorm,
    /// [h (nope + cv), r]: for each head the rows of W_UK, then those of W_UV.
    kv_b_proj: Weight,
    /// The same for the absorbed form; made on the spot where the weights may change.
    absorbed: Option<Absorbed>,
    o_proj: Linear,
    h: usize,
    nope: usize,
    p: usize,
    cv: usize,
    r: usize,
    scale: f64,
    layout: RopeLayout,
}

/// `kv_b_proj` taken apart: W_UK [h, r, nope], transposed, and W_UV [h, cv, r].
struct Absorbed {
    w_uk_hrc: Weight,
    w_uv_hcr: Weight,
}

impl Absorbed {
    fn new(kv_b_proj: &Weight, h: usize, nope: usize) -> candle_core::Result<Self> {
        let numbers = kv_b_proj.to_value()?.into_tensor().detach();
        let (rows, r) = numbers.dims2()?;
        let per_head = numbers.reshape((h, rows / h, r))?;
        Ok(Self {
            w_uk_hrc: kv_b_proj.kept_alike(&per_head.narrow(1, 0, nope)?.transpose(1, 2)?)?,
            w_uv_hcr: kv_b_proj.kept_alike(&per_head.narrow(1, nope, rows / h - nope)?)?,
        })
    }
}

impl Attention {
    pub(crate) fn new(config: &Config, stdev_out: f64, params: Params) -> Result<Self, Error> {
        let (d, h, r) = (config.hidden_size, config.num_attention_heads, config.kv_lora_rank);
        let (nope, p, cv) = (config.qk_nope_head_dim, config.qk_rope_head_dim, config.v_head_dim);
        let stdev = config.initializer_range;
        let kv_b_proj = params.weight("kv_b_proj.weight", (h * (nope + cv), r), normal(stdev))?;
        let query = match config.q_lora_rank {
            None => Query::Full(Linear::new(d, h * (nope + p), stdev, params.pp("q_proj"))?),
            Some(rank) => Query::LowRank {
                a: Linear::new(d, rank, stdev, params.pp("q_a_proj"))?,
                norm: RmsNorm::new(rank, config.latent_eps(), params.pp("q_a_layernorm"))?,
                b: Linear::new(rank, h * (nope + p), stdev, params.pp("q_b_proj"))?,
            },
        };
        let kv_a_proj_with_mqa = Linear::new(d, r + p, stdev, params.pp("kv_a_proj_with_mqa"))?;
        Ok(Self {
            both: query.first().beside(&kv_a_proj_with_mqa),
            query,
            kv_a_proj_with_mqa,
            kv_a_layernorm: RmsNorm::new(r, config.latent_eps(), params.pp("kv_a_layernorm"))?,
            absorbed: (!kv_b_proj.is_tracked()).then(|| Absorbed::new(&kv_b_proj, h, nope)).transpose()?,
            kv_b_proj,
            o_proj: Linear::new(h * cv, d, stdev_out, params.pp("o_proj"))?,
            h,
            nope,
            p,
            cv,
            r,
            scale: config.softmax_scale(),
            layout: config.rope_layout(),
        })
    }

    /// [n, d] to [n, d]; `layer` picks the cache's tensor.
    pub(crate) fn forward(&self, x_nd: &Value, layer: usize, context: &Context) -> candle_core::Result<Value> {
        let n = x_nd.dims()[0];
        let rotate = |x: &Value| kernels::rope(x, &context.cos, &context.sin, self.layout);

        let (q, kv) = match &self.both {
            None => (self.query.first().forward(x_nd)?, self.kv_a_proj_with_mqa.forward(x_nd)?),
            Some(both) => {
                let (both, width) = (both.forward(x_nd)?, self.query.first().width());
                (kernels::columns(&both, 0..width)?, kernels::columns(&both, width..width + self.r + self.p)?)
            }
        };
        let q = match &self.query {
            Query::Full(_) => q,
            Query::LowRank { norm, b, .. } => b.forward(&norm.forward(&q)?)?,
        };
        let q_nhc = rotate(&q.reshape((n, self.h, self.nope + self.p))?)?;

        let latent_nr = self.kv_a_layernorm.forward(&kernels::columns(&kv, 0..self.r)?)?;
        let k_pe = rotate(&kernels::columns(&kv, self.r..self.r + self.p)?.reshape((n, 1, self.p))?)?;

        let heads_nhv = match &context.cache {
            None => self.expanded(&q_nhc, &latent_nr, &k_pe, context)?,
            Some(view) => {
                let kept = Tensor::cat(&[&latent_nr.tensor().unsqueeze(1)?, k_pe.tensor()], 2)?;
                let cache = view.store(layer, 0, &kept)?;
                if view.is_fresh() {
                    self.expanded(&q_nhc, &latent_nr, &k_pe, context)?
                } else {
                    Value::constant(&self.absorbed(q_nhc.tensor(), cache, view)?)?
                }
            }
        };
        self.o_proj.forward(&heads_nhv.reshape((n, self.h * self.cv))?)
    }

    /// Keys and values multiplied out of the batch's own latents.
    fn expanded(
        &self,
        q_nhc: &Value,
        latent_nr: &Value,
        k_pe: &Value,
        context: &Context,
    ) -> candle_core::Result<Value> {
        let n = latent_nr.dims()[0];
        let kv = self.kv_b_proj.linear(latent_nr)?.reshape((n, self.h, self.nope + self.cv))?;
        let k_nhc = kernels::join_keys(&kv, k_pe, self.nope)?;
        let v_nhv = kernels::columns(&kv, self.nope..self.nope + self.cv)?;
        kernels::causal_attention(q_nhc, &k_nhc, &v_nhv, context.offsets, self.scale)
    }

    /// Attention over cached latents.
    fn absorbed(&self, q_nhc: &Tensor, cache: &Tensor, view: &CacheView) -> candle_core::Result<Tensor> {
        let made_now;
        let absorbed = match &self.absorbed {
            Some(absorbed) => absorbed,
            None => {
                made_now = Absorbed::new(&self.kv_b_proj, self.h, self.nope)?;
                &made_now
            }
        };
        let (q_nope, q_pe) = (q_nhc.narrow(2, 0, self.nope)?, q_nhc.narrow(2, self.nope, self.p)?);
        let q_latent = absorbed.w_uk_hrc.per_head_linear(&q_nope)?;
        let q_nhr = Tensor::cat(&[&q_latent, &q_pe], 2)?;
        let sums_nhr = kernels::cached_attention(&q_nhr, cache, cache, self.r, view.rows(), self.scale)?;
        absorbed.w_uv_hcr.per_head_linear(&sums_nhr)
    }
}
