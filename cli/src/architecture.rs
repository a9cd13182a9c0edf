//! The families of models that a `config.json` can name: one place that tells them apart, by `model_type`.

use anyhow::{Context, Result, bail};
use candle_core::Device;
use retort_model::Error;
use retort_model::cache::CacheSpec;
use retort_model::checkpoint::{Checkpoint, DeviceBytes, NumberFormat};
use retort_model::decoder::Decoder;
use retort_model::inventory::{Part, Totals};
use retort_model::params::{Packed, Source, frozen};
use retort_student::Dense;
use retort_student::lora::{Adapter, Merged};
use retort_teacher::DeepSeek;
use retort_teacher::weights::Published;
use std::path::Path;

/// Models with more parameters are computed from the bytes of their files; smaller ones are faster in f32, and cost little.
const WIDENED_PARAMETERS: u64 = 100_000_000;

/// A checked config of one of the families.
pub enum Architecture {
    DeepSeek(Box<retort_teacher::Config>),
    Dense(Box<retort_student::Config>),
}

impl Architecture {
    /// Reads a config that came from `path`.
    pub fn parse(json: &str, path: &Path) -> Result<Self> {
        let shown = path.display();
        let config: serde_json::Value =
            serde_json::from_str(json).with_context(|| format!("`{shown}` is not the JSON expected here"))?;
        match config.get("model_type").and_then(serde_json::Value::as_str) {
            Some("deepseek_v2" | "deepseek_v3" | "kimi_k2") => {
                Ok(Self::DeepSeek(Box::new(retort_teacher::Config::parse(json, path)?)))
            }
            Some("llama" | "qwen2" | "qwen3") => Ok(Self::Dense(Box::new(retort_student::Config::parse(json, path)?))),
            Some(other) => bail!("models of type `{other}` are not supported (`{shown}`)"),
            None => bail!("`{shown}` has no `model_type`"),
        }
    }

    pub fn model_type(&self) -> &str {
        match self {
            Self::DeepSeek(config) => &config.model_type,
            Self::Dense(config) => &config.model_type,
        }
    }

    pub fn context_length(&self) -> usize {
        match self {
            Self::DeepSeek(config) => config.max_position_embeddings,
            Self::Dense(config) => config.max_position_embeddings,
        }
    }

    pub fn vocab_size(&self) -> usize {
        match self {
            Self::DeepSeek(config) => config.vocab_size,
            Self::Dense(config) => config.vocab_size,
        }
    }

    pub fn layers(&self) -> usize {
        match self {
            Self::DeepSeek(config) => config.num_hidden_layers,
            Self::Dense(config) => config.num_hidden_layers,
        }
    }

    /// Whether it is computed from the bytes of its files.
    fn is_large(&self) -> bool {
        self.totals().total > WIDENED_PARAMETERS
    }

    /// The adapter in `folder`, held against the config.
    pub fn adapter(&self, folder: &Path) -> Result<Adapter> {
        match self {
            Self::Dense(config) => Ok(Adapter::open(folder, config)?),
            Self::DeepSeek(_) => {
                bail!("`{}` is an adapter of a teacher; adapters are read for students", folder.display())
            }
        }
    }

    /// The weights as a model of this size computes with them.
    pub fn in_working_form(&self, checkpoint: Checkpoint) -> Checkpoint {
        if self.is_large() || checkpoint.is_quantised() { checkpoint.in_stored_form() } else { checkpoint }
    }

    /// What it is made of.
    fn parts(&self) -> Vec<Part> {
        match self {
            Self::DeepSeek(config) => config.parts().collect(),
            Self::Dense(config) => config.parts().collect(),
        }
    }

    /// Parameters by the config alone.
    pub fn totals(&self) -> Totals {
        Totals::of(self.parts().into_iter())
    }

    /// What the weights take on a GPU: matrices in 16 bits, and in f32 what the file has so, what an adapter changes, vectors
    /// and routers. An embedding that is no head stays with the host where not all fits.
    pub fn device_bytes(&self, checkpoint: &Checkpoint, adapter: Option<&Adapter>) -> DeviceBytes {
        let mut bytes = DeviceBytes::default();
        for part in self.parts() {
            let name = part.names().next().unwrap_or_default();
            let numbers: usize = part.shape.iter().product();
            let adapted = adapter.is_some_and(|adapter| adapter.adapts(&name));
            let is_f32 = checkpoint.dtype(&name).as_deref() == Some("F32");
            if name.contains(".kv_b_proj.") {
                // Decoding has it a second time, taken apart.
                bytes.always += 2 * numbers;
            }
            if part.shape.len() < 2 || name.contains(".mlp.gate.") || is_f32 || adapted {
                bytes.always += 4 * numbers * part.copies;
            } else if part.copies > 1 {
                bytes.experts += 2 * numbers * part.copies;
                // Gate, up and down.
                bytes.one_expert = bytes.one_expert.max(3 * 2 * numbers);
            } else if part.used == 0 {
                bytes.tables += 2 * numbers;
            } else {
                bytes.matrices += 2 * numbers;
                // Beside the bytes that it comes in.
                bytes.largest = bytes.largest.max(3 * numbers);
            }
        }
        bytes
    }

    pub fn cache_spec(&self) -> CacheSpec {
        match self {
            Self::DeepSeek(config) => config.cache_spec(),
            Self::Dense(config) => config.cache_spec(),
        }
    }

    /// What a cache of keys and values would keep where the model's own keeps latents.
    pub fn expanded_cache_spec(&self) -> Option<CacheSpec> {
        match self {
            Self::DeepSeek(config) => Some(config.expanded_cache_spec()),
            Self::Dense(_) => None,
        }
    }

    /// Refuses a checkpoint whose names or shapes are not those of the config.
    pub fn check(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let tied = match self {
            Self::DeepSeek(config) => config.tie_word_embeddings,
            Self::Dense(config) => config.tie_word_embeddings,
        };
        if tied {
            checkpoint.check_tied("model.embed_tokens.weight", "lm_head.weight")?;
        }
        match self {
            Self::DeepSeek(config) => {
                checkpoint.check(config.parts(), |name| config.is_spare(name, |name| checkpoint.has(name)))
            }
            Self::Dense(config) => checkpoint.check(config.parts(), |name| config.is_spare(name)),
        }
    }

    /// The model ready to run, an adapter's updates added to its weights.
    pub fn decoder(
        &self,
        checkpoint: Checkpoint,
        adapter: Option<Adapter>,
        device: &Device,
    ) -> Result<Box<dyn Decoder>> {
        let checkpoint = self.in_working_form(checkpoint);
        let source: Box<dyn Source> = match self {
            Self::DeepSeek(_) => Box::new(Published(checkpoint)),
            Self::Dense(_) => Box::new(Merged::new(checkpoint, adapter)),
        };
        self.build(source, device)
    }

    /// The model as a checkpoint of this format holds it.
    pub fn packed(&self, checkpoint: Checkpoint, format: NumberFormat) -> Result<Box<dyn Decoder>> {
        let source: Box<dyn Source> = match self {
            Self::DeepSeek(_) => Box::new(Published(checkpoint)),
            Self::Dense(_) => Box::new(checkpoint),
        };
        self.build(Box::new(Packed { source, format }), &Device::Cpu)
    }

    fn build(&self, source: Box<dyn Source>, device: &Device) -> Result<Box<dyn Decoder>> {
        Ok(match self {
            Self::DeepSeek(config) => {
                Box::new(frozen(source, device, |params| DeepSeek::new(config.as_ref().clone(), params))?)
            }
            Self::Dense(config) => {
                Box::new(frozen(source, device, |params| Dense::new(config.as_ref().clone(), params))?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_weight_is_counted_where_it_lies_on_a_gpu() {
        let files = retort_teacher::embedded::files();
        let model = Architecture::parse(&files.config, Path::new("config.json")).expect("a config");
        let checkpoint = Checkpoint::embedded(retort_teacher::embedded::WEIGHTS, "embedded").expect("weights");
        let bytes = model.device_bytes(&checkpoint, None);
        let (layers, d, f, vocabulary) = (6, 192, 128, 1024);
        assert_eq!((bytes.one_expert, bytes.experts), (3 * 2 * d * f, layers * 16 * 3 * 2 * d * f));
        assert_eq!(bytes.tables, 2 * d * vocabulary);
        let absorbed = (layers + 1) * 2 * (6 * (32 + 32) * 64);
        let counted = bytes.always - absorbed + bytes.tables + bytes.matrices + bytes.experts;
        // Norms and routers, which are f32, make it little more than two bytes for each number.
        let totals = model.totals();
        let plain = 2 * (totals.total + totals.ahead) as usize;
        assert!((plain..plain + plain / 50).contains(&counted), "{bytes:?}, {plain}");
    }
}
