//! The base student that travels inside the program; `embedded/README.md` is its card.

use retort_model::folder::{FolderFiles, Vocabulary};

/// Weights as a safetensors file.
pub const WEIGHTS: &[u8] = include_bytes!("../embedded/model.safetensors");

/// Everything beside the weights.
pub fn files() -> FolderFiles {
    FolderFiles {
        config: include_str!("../embedded/config.json").into(),
        vocabulary: Some(Vocabulary::Json(include_str!("../embedded/tokenizer.json").into())),
        tokenizer_config: include_str!("../embedded/tokenizer_config.json").into(),
        chat_template: None,
        generation_config: include_str!("../embedded/generation_config.json").into(),
        origin: "embedded base student".into(),
    }
}
