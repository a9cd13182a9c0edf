//! The tensors of a dense decoder under their published names: what `config.json` asks of a checkpoint.

use super::Config;
use retort_model::cache::CacheSpec;
use retort_model::inventory::{Part, is_table};
use retort_model::operations::Operations;

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
        outside.into_iter().chain(layers).chain([Part::one("model.norm.weight", &[d])])
    }

    /// Whether a tensor that the model does not ask for may stand in its checkpoint: tables that follow from the config,
    /// and a copy of the embedding where the head is tied to it.
    pub fn is_spare(&self, name: &str) -> bool {
        is_table(name) || (self.tie_word_embeddings && name == "lm_head.weight")
    }

    fn layer(&self, index: usize) -> Vec<Part> {
        let (d, f, c) = (self.hidden_size, self.intermediate_size, self.head_dim());
        let (q, kv) = (self.num_attention_heads * c, self.kv_heads() * c);
        let mut parts = Vec::new();
        let mut add =
            |name: &str, shape: &[usize]| parts.push(Part::one(format!("model.layers.{index}.{name}"), shape));
        add("input_layernorm.weight", &[d]);
        for (name, o) in [("q_proj", q), ("k_proj", kv), ("v_proj", kv)] {
            add(&format!("self_attn.{name}.weight"), &[o, d]);
            if self.qkv_bias() {
                add(&format!("self_attn.{name}.bias"), &[o]);
            }
        }
        add("self_attn.o_proj.weight", &[d, q]);
        if self.attention_bias {
            add("self_attn.o_proj.bias", &[d]);
        }
        if self.qk_norm() {
            add("self_attn.q_norm.weight", &[c]);
            add("self_attn.k_norm.weight", &[c]);
        }
        add("post_attention_layernorm.weight", &[d]);
        for (name, o, i) in [("gate_proj", f, d), ("up_proj", f, d), ("down_proj", d, f)] {
            add(&format!("mlp.{name}.weight"), &[o, i]);
            if self.mlp_bias {
                add(&format!("mlp.{name}.bias"), &[o]);
            }
        }
        parts
    }

    /// What the cache keeps of a token in each layer: keys and values of the key/value heads.
    pub fn cache_spec(&self) -> CacheSpec {
        let head = (self.kv_heads(), self.head_dim());
        CacheSpec { layers: self.num_hidden_layers, tensors: vec![head, head] }
    }

    /// What the products of the way forward take.
    pub fn operations(&self) -> Operations {
        // Keys and values are as wide as a head.
        let attended = self.num_hidden_layers * self.num_attention_heads * 2 * self.head_dim();
        Operations::forward(self.parts(), (self.vocab_size, self.hidden_size), attended)
    }
}
