//! The embedded teacher as an engine of small models: a lane for each worker.

use candle_core::Device;
use retort_model::checkpoint::Checkpoint;
use retort_model::engine::{CacheSettings, Engine};
use retort_model::params::frozen;
use retort_model::workers::Workers;
use retort_teacher::weights::Published;
use retort_teacher::{Config, DeepSeek, embedded};
use std::path::Path;

pub(crate) fn engine(slots: usize, draft: bool) -> Engine<DeepSeek> {
    let files = embedded::files();
    let config = Config::parse(&files.config, Path::new("config.json")).expect("config");
    let source = Published(Checkpoint::embedded(embedded::WEIGHTS, "teacher").expect("weights"));
    let decoder = frozen(Box::new(source), &Device::Cpu, |params| DeepSeek::new(config, params)).expect("model");
    let (tokenizer, template) = (files.tokenizer().expect("tokenizer"), files.template().expect("template"));
    let eos = files.eos(&tokenizer, &template).expect("eos");
    Engine {
        decoder,
        tokenizer,
        template,
        name: "teacher".into(),
        fingerprint: String::new(),
        eos,
        slots,
        context: 1024,
        cache: CacheSettings::default(),
        workers: Workers::for_model(1).expect("workers"),
        draft,
        draft_count: Default::default(),
    }
}
