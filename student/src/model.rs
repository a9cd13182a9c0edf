//! Dense decoders: pre-norm blocks of grouped-query attention and SwiGLU, rotary positions in the half-split layout.
//!
//! Qwen3 (arXiv 2505.09388) normalises every query and key head before it is rotated.

use crate::config::Config;
use crate::lora::LoraConfig;
use candle_core::{Device, Tensor};
use retort_kernels::{self as kernels, RopeLayout, Value, Weight};
use retort_model::Error;
use retort_model::batch::{Batch, CacheView};
use retort_model::cache::{Cache, CacheSpec};
use retort_model::decoder::Decoder;
use retort_model::layers::rope::Rope;
use retort_model::layers::{Linear, LowRank, Mlp, RmsNorm, normal};
use retort_model::operations::Operations;
use retort_model::params::Params;
use std::sync::Arc;

/// What the layers are built from.
struct Plan<'a> {
    config: &'a Config,
    /// Where projections get an update to train beside them.
    lora: Option<&'a LoraConfig>,
}

impl Plan<'_> {
    fn linear(&self, i: usize, o: usize, stdev: f64, bias: bool, params: Params) -> Result<Linear, Error> {
        let update = match self.lora.filter(|lora| lora.adapts(params.prefix())) {
            Some(lora) => Some(LowRank::new(i, o, lora.r, lora.scale(), &params.free())?),
            None => None,
        };
        let linear = if bias { Linear::with_bias } else { Linear::new }(i, o, stdev, params)?;
        Ok(match update {
            Some(update) => linear.updated(update),
            None => linear,
        })
    }

    /// Projections back into the residual stream start smaller the more layers add to it (GPT-2).
    fn stdev_out(&self) -> f64 {
        self.config.initializer_range / ((2 * self.config.num_hidden_layers) as f64).sqrt()
    }
}

struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    /// Norms over query and key heads.
    qk_norm: Option<(RmsNorm, RmsNorm)>,
    h: usize,
    g: usize,
    c: usize,
}

/// cos and sin of the rows' positions, and the cache where there is one.
struct Context<'a> {
    batch: &'a Batch,
    cos: Tensor,
    sin: Tensor,
    cache: Option<CacheView<'a>>,
}

impl Attention {
    fn new(plan: &Plan, params: Params) -> Result<Self, Error> {
        let config = plan.config;
        let (d, h, g, c) = (config.hidden_size, config.num_attention_heads, config.kv_heads(), config.head_dim());
        let projection =
            |o: usize, name: &str| plan.linear(d, o, config.initializer_range, config.qkv_bias(), params.pp(name));
        let norm = |name: &str| RmsNorm::new(c, config.rms_norm_eps, params.pp(name));
        Ok(Self {
            q_proj: projection(h * c, "q_proj")?,
            k_proj: projection(g * c, "k_proj")?,
            v_proj: projection(g * c, "v_proj")?,
            o_proj: plan.linear(h * c, d, plan.stdev_out(), config.attention_bias, params.pp("o_proj"))?,
            qk_norm: if config.qk_norm() { Some((norm("q_norm")?, norm("k_norm")?)) } else { None },
            h,
            g,
            c,
        })
    }

    fn forward(&self, x_nd: &Value, layer: usize, context: &Context) -> candle_core::Result<Value> {
        let n = context.batch.len();
        let rotate = |x: Value| kernels::rope(&x, &context.cos, &context.sin, RopeLayout::HalfSplit);
        let mut q_nhc = self.q_proj.forward(x_nd)?.reshape((n, self.h, self.c))?;
        let mut k_ngc = self.k_proj.forward(x_nd)?.reshape((n, self.g, self.c))?;
        if let Some((q_norm, k_norm)) = &self.qk_norm {
            (q_nhc, k_ngc) = (q_norm.forward(&q_nhc)?, k_norm.forward(&k_ngc)?);
        }
        let (q_nhc, k_ngc) = (rotate(q_nhc)?, rotate(k_ngc)?);
        let v_ngc = self.v_proj.forward(x_nd)?.reshape((n, self.g, self.c))?;
        let scale = (self.c as f64).powf(-0.5);
        let offsets = &context.batch.offsets;
        let heads = match &context.cache {
            None => kernels::causal_attention(&q_nhc, &k_ngc, &v_ngc, offsets, scale)?,
            Some(view) => {
                let keys = view.store(layer, 0, k_ngc.tensor())?;
                let values = view.store(layer, 1, v_ngc.tensor())?;
                if view.is_fresh() {
                    kernels::causal_attention(&q_nhc, &k_ngc, &v_ngc, offsets, scale)?
                } else {
                    Value::constant(&kernels::cached_attention(
                        q_nhc.tensor(),
                        keys,
                        values,
                        self.c,
                        view.rows(),
                        scale,
                    )?)?
                }
            }
        };
        self.o_proj.forward(&heads.reshape((n, self.h * self.c))?)
    }
}

struct Layer {
    input_layernorm: RmsNorm,
    self_attn: Attention,
    post_attention_layernorm: RmsNorm,
    mlp: Mlp,
}

impl Layer {
    fn new(plan: &Plan, params: Params) -> Result<Self, Error> {
        let Config { hidden_size: d, intermediate_size: f, rms_norm_eps: eps, mlp_bias, .. } = *plan.config;
        let mlp = params.pp("mlp");
        let projection = |i: usize, o: usize, stdev: f64, name: &str| plan.linear(i, o, stdev, mlp_bias, mlp.pp(name));
        let stdev = plan.config.initializer_range;
        Ok(Self {
            input_layernorm: RmsNorm::new(d, eps, params.pp("input_layernorm"))?,
            self_attn: Attention::new(plan, params.pp("self_attn"))?,
            post_attention_layernorm: RmsNorm::new(d, eps, params.pp("post_attention_layernorm"))?,
            mlp: Mlp::of(
                projection(d, f, stdev, "gate_proj")?,
                projection(d, f, stdev, "up_proj")?,
                projection(f, d, plan.stdev_out(), "down_proj")?,
            ),
        })
    }

    fn forward(&self, x_nd: &Value, layer: usize, context: &Context) -> candle_core::Result<Value> {
        let x_nd = kernels::add(x_nd, &self.self_attn.forward(&self.input_layernorm.forward(x_nd)?, layer, context)?)?;
        let inner = self.post_attention_layernorm.forward(&x_nd)?;
        kernels::add(&x_nd, &self.mlp.forward(&inner)?)
    }
}

/// A Llama-, Qwen2- or Qwen3-style decoder. Holds weights only.
pub struct Dense {
    config: Config,
    embed_tokens: Weight,
    layers: Arc<[Layer]>,
    /// Whether the way back computes each layer again instead of having kept what was inside it.
    recomputes: bool,
    norm: RmsNorm,
    lm_head: Weight,
    rope: Rope,
    device: Device,
}

impl Dense {
    /// Builds the model from tensors under their published names.
    pub fn new(config: Config, params: &Params) -> Result<Self, Error> {
        Self::build(config, None, params)
    }

    /// The same with fixed weights, and low-rank updates to train beside them.
    pub fn with_lora(config: Config, lora: &LoraConfig, params: &Params) -> Result<Self, Error> {
        Self::build(config, Some(lora), &params.fixed())
    }

    fn build(config: Config, lora: Option<&LoraConfig>, params: &Params) -> Result<Self, Error> {
        let (d, v, stdev) = (config.hidden_size, config.vocab_size, config.initializer_range);
        let model = params.pp("model");
        let embed_tokens = model.weight("embed_tokens.weight", (v, d), normal(stdev))?;
        let layers = (0..config.num_hidden_layers)
            .map(|layer| Layer::new(&Plan { config: &config, lora }, model.pp("layers").pp(layer)))
            .collect::<Result<_, Error>>()?;
        let lm_head = if config.tie_word_embeddings {
            embed_tokens.clone()
        } else {
            params.weight("lm_head.weight", (v, d), normal(stdev))?
        };
        Ok(Self {
            embed_tokens,
            layers,
            recomputes: false,
            norm: RmsNorm::new(d, config.rms_norm_eps, model.pp("norm"))?,
            lm_head,
            rope: config.rope(),
            device: params.device().clone(),
            config,
        })
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The same, trained in the memory of one layer and the time of four thirds.
    pub(crate) fn recomputing(self) -> Self {
        Self { recomputes: true, ..self }
    }

    /// All layers, each to be run again on the way back.
    fn forgetful_layers(&self, mut x_nd: Value, batch: &Batch, cos: Tensor, sin: Tensor) -> candle_core::Result<Value> {
        let (layers, batch) = (&self.layers, Arc::new(batch.clone()));
        for index in 0..layers.len() {
            let (layers, batch, cos, sin) = (layers.clone(), batch.clone(), cos.clone(), sin.clone());
            x_nd = kernels::recompute([&x_nd], move |[x_nd]| {
                let context = Context { batch: &batch, cos: cos.clone(), sin: sin.clone(), cache: None };
                layers[index].forward(x_nd, index, &context)
            })?;
        }
        Ok(x_nd)
    }
}

impl Decoder for Dense {
    fn hidden(&self, batch: &Batch, cache: Option<&Cache>) -> candle_core::Result<Value> {
        let (cos, sin) = self.rope.tables(&batch.positions, &self.device)?;
        if self.recomputes && cache.is_none() {
            let x_nd = self.forgetful_layers(self.embed_tokens.gather_rows(&batch.tokens)?, batch, cos, sin)?;
            return self.norm.forward(&x_nd);
        }
        let context = Context { batch, cos, sin, cache: cache.map(|cache| CacheView::new(cache, batch)).transpose()? };
        let mut x_nd = self.embed_tokens.gather_rows(&batch.tokens)?;
        for (index, layer) in self.layers.iter().enumerate() {
            x_nd = layer.forward(&x_nd, index, &context)?;
        }
        self.norm.forward(&x_nd)
    }

    fn head(&self) -> &Weight {
        &self.lm_head
    }

    fn cache_spec(&self) -> CacheSpec {
        self.config.cache_spec()
    }

    fn context_length(&self) -> usize {
        self.config.max_position_embeddings
    }

    fn device(&self) -> &Device {
        &self.device
    }

    fn operations(&self) -> Operations {
        self.config.operations()
    }
}
