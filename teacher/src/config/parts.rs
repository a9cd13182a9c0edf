//! The tensors of a model under their published names: what `config.json` asks of a checkpoint.

use super::{Config, TopkMethod};
use retort_model::cache::CacheSpec;
use retort_model::inventory::{Part, is_table};
use retort_model::operations::{self, Operations};

impl Config {
    /// Every tensor of the model, layer by layer.
    pub fn parts(&self) -> impl Iterator<Item = Part> + '_ {
        let (d, v) = (self.hidden_size, self.vocab_size);
        let embedding = Part::one("model.embed_tokens.weight", &[v, d]);
        let outside = match self.tie_word_embeddings {
            true => vec![embedding],
            false => vec![Part { used: 0, ..embedding }, Part::one("lm_head.weight", &[v, d])],
        };
        let layers = (0..self.num_hidden_layers).flat_map(|layer| self.layer(layer));
        let norm = Part::one("model.norm.weight", &[d]);
        outside.into_iter().chain(layers).chain([norm]).chain(self.ahead())
    }

    /// Whether a tensor that the model does not ask for may stand in its checkpoint: tables that follow from the config,
    /// copies of shared tensors, and a multi-token-prediction module that the config does not ask for.
    ///
    /// `has` tells which tensors are there: a layer behind the last one is a module only where it has a module's `eh_proj`.
    pub fn is_spare(&self, name: &str, has: impl Fn(&str) -> bool) -> bool {
        let layer = name.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.'));
        if let Some((index, inner)) = layer
            && index.parse().is_ok_and(|index: usize| index >= self.num_hidden_layers)
        {
            let copies = ["embed_tokens.weight", "shared_head.head.weight"];
            return match self.mtp_layers() {
                0 => has(&format!("model.layers.{index}.eh_proj.weight")),
                _ => copies.contains(&inner),
            };
        }
        is_table(name) || (self.tie_word_embeddings && name == "lm_head.weight")
    }

    fn layer(&self, index: usize) -> Vec<Part> {
        let (d, h, r) = (self.hidden_size, self.num_attention_heads, self.kv_lora_rank);
        let mut parts = Vec::new();
        let mut add =
            |name: &str, shape: &[usize]| parts.push(Part::one(format!("model.layers.{index}.{name}"), shape));
        add("input_layernorm.weight", &[d]);
        match self.q_lora_rank {
            None => add("self_attn.q_proj.weight", &[h * self.qk_head_dim(), d]),
            Some(rank) => {
                add("self_attn.q_a_proj.weight", &[rank, d]);
                add("self_attn.q_a_layernorm.weight", &[rank]);
                add("self_attn.q_b_proj.weight", &[h * self.qk_head_dim(), rank]);
            }
        }
        add("self_attn.kv_a_proj_with_mqa.weight", &[r + self.qk_rope_head_dim, d]);
        add("self_attn.kv_a_layernorm.weight", &[r]);
        add("self_attn.kv_b_proj.weight", &[h * (self.qk_nope_head_dim + self.v_head_dim), r]);
        add("self_attn.o_proj.weight", &[d, h * self.v_head_dim]);
        add("post_attention_layernorm.weight", &[d]);
        let mut mlp = |inside: &str, f: usize, copies: usize, used: usize| {
            for (projection, shape) in [("gate_proj", [f, d]), ("up_proj", [f, d]), ("down_proj", [d, f])] {
                let name = format!("model.layers.{index}.mlp.{inside}{projection}.weight");
                parts.push(Part { copies, used, ..Part::one(name, &shape) });
            }
        };
        if !self.is_moe(index) {
            mlp("", self.intermediate_size, 1, 1);
            return parts;
        }
        let (e, f) = (self.n_routed_experts, self.moe_intermediate_size);
        mlp("experts.*.", f, e, self.num_experts_per_tok);
        if self.shared_experts() > 0 {
            mlp("shared_experts.", self.shared_experts() * f, 1, 1);
        }
        parts.push(Part::one(format!("model.layers.{index}.mlp.gate.weight"), &[e, d]));
        if self.selection() == TopkMethod::NoauxTc {
            parts.push(Part::one(format!("model.layers.{index}.mlp.gate.e_score_correction_bias"), &[e]));
        }
        parts
    }

    /// The multi-token-prediction modules: decoder layers after the last, each with norms and a projection before it.
    fn ahead(&self) -> impl Iterator<Item = Part> + '_ {
        let d = self.hidden_size;
        let first = self.num_hidden_layers;
        (first..first + self.mtp_layers()).flat_map(move |layer| {
            let around =
                [("enorm", vec![d]), ("hnorm", vec![d]), ("eh_proj", vec![d, 2 * d]), ("shared_head.norm", vec![d])];
            let around = around.map(|(name, shape)| Part::one(format!("model.layers.{layer}.{name}.weight"), &shape));
            around.into_iter().chain(self.layer(layer)).map(|part| Part { ahead: true, ..part })
        })
    }

    /// What the cache keeps of a token in each layer: one latent and the rotated key that all heads share.
    pub fn cache_spec(&self) -> CacheSpec {
        let latent = self.kv_lora_rank + self.qk_rope_head_dim;
        CacheSpec { layers: self.num_hidden_layers, tensors: vec![(1, latent)] }
    }

    /// What the products of the way forward take, keys and values multiplied out of the latents.
    pub fn operations(&self) -> Operations {
        let attended = self.num_hidden_layers * self.attended();
        Operations::forward(self.parts(), (self.vocab_size, self.hidden_size), attended)
    }

    /// The same with the prediction modules behind, each a layer with logits of its own.
    pub(crate) fn operations_with_ahead(&self) -> Operations {
        let (main, modules) = (self.operations(), self.mtp_layers());
        Operations {
            token: main.token + operations::products(self.ahead()),
            row: main.row * (1 + modules) as f64,
            pair: main.pair + 2.0 * (modules * self.attended()) as f64,
        }
    }

    /// Numbers that the attention of a layer multiplies for each pair of tokens.
    fn attended(&self) -> usize {
        self.num_attention_heads * (self.qk_head_dim() + self.v_head_dim)
    }

    /// What it would keep without latents: every head's key and value.
    pub fn expanded_cache_spec(&self) -> CacheSpec {
        let h = self.num_attention_heads;
        CacheSpec { layers: self.num_hidden_layers, tensors: vec![(h, self.qk_head_dim()), (h, self.v_head_dim)] }
    }
}
