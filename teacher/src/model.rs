//! The DeepSeek-V3 model: embedding, decoder layers, final norm, head, and the multi-token-prediction module.

use crate::attention::{Attention, Context};
use crate::config::Config;
use crate::moe::Moe;
use crate::router::Routing;
use candle_core::{Device, Tensor};
use retort_kernels::{self as kernels, Value, Weight};
use retort_model::Error;
use retort_model::batch::{Batch, CacheView};
use retort_model::cache::{Cache, CacheSpec};
use retort_model::decoder::Decoder;
use retort_model::layers::rope::Rope;
use retort_model::layers::{Linear, Mlp, RmsNorm, normal};
use retort_model::operations::Operations;
use retort_model::params::Params;

enum FeedForward {
    Dense(Mlp),
    Moe(Moe),
}

/// Attention and feed-forward, each with a norm before and a residual around it.
pub(crate) struct Layer {
    input_layernorm: RmsNorm,
    self_attn: Attention,
    post_attention_layernorm: RmsNorm,
    mlp: FeedForward,
}

impl Layer {
    fn new(config: &Config, moe: bool, params: Params) -> Result<Self, Error> {
        let (d, eps) = (config.hidden_size, config.rms_norm_eps);
        // Projections back into the residual stream start smaller the more layers add to it (GPT-2).
        let stdev_out = config.initializer_range / ((2 * config.num_hidden_layers) as f64).sqrt();
        let mlp = params.pp("mlp");
        Ok(Self {
            input_layernorm: RmsNorm::new(d, eps, params.pp("input_layernorm"))?,
            self_attn: Attention::new(config, stdev_out, params.pp("self_attn"))?,
            post_attention_layernorm: RmsNorm::new(d, eps, params.pp("post_attention_layernorm"))?,
            mlp: if moe {
                FeedForward::Moe(Moe::new(config, stdev_out, mlp)?)
            } else {
                FeedForward::Dense(Mlp::new(d, config.intermediate_size, config.initializer_range, stdev_out, mlp)?)
            },
        })
    }

    fn forward(&self, x_nd: &Value, layer: usize, context: &Context) -> candle_core::Result<(Value, Option<Routing>)> {
        let x_nd = kernels::add(x_nd, &self.self_attn.forward(&self.input_layernorm.forward(x_nd)?, layer, context)?)?;
        let inner = self.post_attention_layernorm.forward(&x_nd)?;
        let (y, routing) = match &self.mlp {
            FeedForward::Dense(mlp) => (mlp.forward(&inner)?, None),
            FeedForward::Moe(moe) => {
                let (y, routing) = moe.forward(&inner)?;
                (y, Some(routing))
            }
        };
        Ok((kernels::add(&x_nd, &y)?, routing))
    }
}

/// The multi-token-prediction module: from the hidden state at i and the token at i + 1 to the token at i + 2.
///
/// h' = eh_proj([enorm(embed(t_{i+1})) ; hnorm(h_i)]): the embedding first, as published weights have it (the paper's
/// equation 21 has the opposite order). h is the main model's hidden state after its final norm, as in transformers.
pub(crate) struct Mtp {
    enorm: RmsNorm,
    hnorm: RmsNorm,
    eh_proj: Linear,
    layer: Layer,
    norm: RmsNorm,
}

impl Mtp {
    fn new(config: &Config, params: Params) -> Result<Self, Error> {
        let (d, eps) = (config.hidden_size, config.rms_norm_eps);
        Ok(Self {
            enorm: RmsNorm::new(d, eps, params.pp("enorm"))?,
            hnorm: RmsNorm::new(d, eps, params.pp("hnorm"))?,
            eh_proj: Linear::new(2 * d, d, config.initializer_range, params.pp("eh_proj"))?,
            layer: Layer::new(config, config.is_moe(config.num_hidden_layers), params.clone())?,
            norm: RmsNorm::new(d, eps, params.pp("shared_head").pp("norm"))?,
        })
    }
}

/// Hidden states of one pass and where its rows were routed.
pub(crate) struct Pass {
    pub hidden_nd: Value,
    /// By the index of the expert layer.
    pub routings: Vec<(usize, Routing)>,
}

/// A DeepSeek-V3-style model. Holds weights only.
pub struct DeepSeek {
    config: Config,
    embed_tokens: Weight,
    layers: Vec<Layer>,
    norm: RmsNorm,
    lm_head: Weight,
    mtp: Option<Mtp>,
    rope: Rope,
    device: Device,
}

impl DeepSeek {
    /// Builds the model from tensors under their published names; experts come stacked, see `weights`.
    pub fn new(config: Config, params: &Params) -> Result<Self, Error> {
        let (d, v, stdev) = (config.hidden_size, config.vocab_size, config.initializer_range);
        let model = params.pp("model");
        let embed_tokens = model.weight("embed_tokens.weight", (v, d), normal(stdev))?;
        let layers = (0..config.num_hidden_layers)
            .map(|layer| Layer::new(&config, config.is_moe(layer), model.pp("layers").pp(layer)))
            .collect::<Result<_, Error>>()?;
        let lm_head = if config.tie_word_embeddings {
            embed_tokens.clone()
        } else {
            params.weight("lm_head.weight", (v, d), normal(stdev))?
        };
        let mtp = match config.mtp_layers() {
            0 => None,
            _ => Some(Mtp::new(&config, model.pp("layers").pp(config.num_hidden_layers))?),
        };
        Ok(Self {
            embed_tokens,
            layers,
            norm: RmsNorm::new(d, config.rms_norm_eps, model.pp("norm"))?,
            lm_head,
            mtp,
            rope: Rope::new(config.qk_rope_head_dim, config.theta(), config.yarn().as_ref()),
            device: params.device().clone(),
            config,
        })
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    fn context<'a>(&self, batch: &'a Batch, cache: Option<&'a Cache>) -> candle_core::Result<Context<'a>> {
        let (cos, sin) = self.rope.tables(&batch.positions, &self.device)?;
        Ok(Context {
            offsets: &batch.offsets,
            cos,
            sin,
            cache: cache.map(|cache| CacheView::new(cache, batch)).transpose()?,
        })
    }

    pub(crate) fn pass(&self, batch: &Batch, cache: Option<&Cache>) -> candle_core::Result<Pass> {
        let context = self.context(batch, cache)?;
        let mut x_nd = self.embed_tokens.gather_rows(&batch.tokens)?;
        let mut routings = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            let (y, routing) = layer.forward(&x_nd, index, &context)?;
            x_nd = y;
            routings.extend(routing.map(|routing| (index, routing)));
        }
        Ok(Pass { hidden_nd: self.norm.forward(&x_nd)?, routings })
    }

    /// Multi-token prediction over whole sequences; row i of the result predicts the token at i + 2.
    ///
    /// `hidden_nd` are the main model's final hidden states. The last row of a sequence has no following token; it gets
    /// a stand-in and predicts nothing.
    pub(crate) fn predict_ahead(&self, batch: &Batch, hidden_nd: &Value) -> candle_core::Result<Option<Pass>> {
        let following: Vec<u32> = batch.following(1).iter().map(|token| token.unwrap_or(0)).collect();
        self.ahead(batch, hidden_nd, &following, None)
    }

    /// The module's pass over rows whose following tokens are known; it has a cache of its own, with one layer.
    fn ahead(
        &self,
        batch: &Batch,
        hidden_nd: &Value,
        following: &[u32],
        cache: Option<&Cache>,
    ) -> candle_core::Result<Option<Pass>> {
        let Some(mtp) = &self.mtp else { return Ok(None) };
        let embedded = self.embed_tokens.gather_rows(following)?;
        let both = kernels::join_columns(&mtp.enorm.forward(&embedded)?, &mtp.hnorm.forward(hidden_nd)?)?;
        let context = self.context(batch, cache)?;
        let (y, routing) = mtp.layer.forward(&mtp.eh_proj.forward(&both)?, 0, &context)?;
        let routings = routing.into_iter().map(|routing| (self.layers.len(), routing)).collect();
        Ok(Some(Pass { hidden_nd: mtp.norm.forward(&y)?, routings }))
    }

    /// Hidden states as [`Decoder::hidden`] gives them, and how many experts of each expert layer this batch reached.
    pub fn hidden_and_experts(&self, batch: &Batch, cache: Option<&Cache>) -> candle_core::Result<(Value, Vec<usize>)> {
        let pass = self.pass(batch, cache)?;
        let reached = |routing: &Routing| routing.offsets.windows(2).filter(|span| span[0] < span[1]).count();
        Ok((pass.hidden_nd, pass.routings.iter().map(|(_, routing)| reached(routing)).collect()))
    }

    /// Logits [n, v] of the multi-token-prediction module, where the model has one.
    pub fn ahead_logits(&self, batch: &Batch) -> candle_core::Result<Option<Tensor>> {
        let main = self.pass(batch, None)?;
        let ahead = self.predict_ahead(batch, &main.hidden_nd)?;
        ahead.map(|ahead| Ok(self.lm_head.linear(&ahead.hidden_nd)?.into_tensor())).transpose()
    }
}

impl Decoder for DeepSeek {
    fn hidden(&self, batch: &Batch, cache: Option<&Cache>) -> candle_core::Result<Value> {
        Ok(self.pass(batch, cache)?.hidden_nd)
    }

    fn head(&self) -> &Weight {
        &self.lm_head
    }

    fn cache_spec(&self) -> CacheSpec {
        self.config.cache_spec()
    }

    fn draft_cache_spec(&self) -> Option<CacheSpec> {
        self.mtp.as_ref().map(|_| CacheSpec { layers: 1, ..self.config.cache_spec() })
    }

    fn draft(
        &self,
        batch: &Batch,
        hidden_nd: &Value,
        following: &[u32],
        cache: &Cache,
    ) -> candle_core::Result<Option<Value>> {
        Ok(self.ahead(batch, hidden_nd, following, Some(cache))?.map(|pass| pass.hidden_nd))
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
