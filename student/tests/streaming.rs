//! The generation loop tells its caller every token of a completion that goes on, in order.

use candle_core::Device;
use retort_model::capture::Targets;
use retort_model::checkpoint::Checkpoint;
use retort_model::engine::{CacheSettings, Engine};
use retort_model::generate::{Completion, Generate, JobError, Jobs, Message, Request};
use retort_model::params::frozen;
use retort_model::sampling::{NoiseKey, Sampling};
use retort_model::workers::Workers;
use retort_student::{Config, Dense, embedded};
use std::path::Path;

#[derive(Default)]
struct Listener {
    waiting: Vec<Request>,
    /// What was told of each request so far.
    told: [Vec<u32>; 2],
    done: [Vec<u32>; 2],
}

impl Jobs for Listener {
    fn next(&mut self) -> Option<Request> {
        self.waiting.pop()
    }
    fn advanced(&mut self, id: u64, tokens: &[u32], _: &Targets) -> Result<(), JobError> {
        let told = &mut self.told[id as usize];
        assert!(tokens.len() > told.len() && tokens.starts_with(told), "{told:?} became {tokens:?}");
        *told = tokens.to_vec();
        Ok(())
    }
    fn done(&mut self, id: u64, completion: Completion) -> Result<(), JobError> {
        self.done[id as usize] = completion.token_ids;
        Ok(())
    }
}

#[test]
fn every_step_is_told_until_the_completion_is_done() {
    let files = embedded::files();
    let config = Config::parse(&files.config, Path::new("config.json")).expect("a config");
    let weights = Checkpoint::embedded(embedded::WEIGHTS, "embedded").expect("weights");
    let (tokenizer, template) = (files.tokenizer().expect("a tokenizer"), files.template().expect("a template"));
    let engine = Engine {
        decoder: frozen(Box::new(weights), &Device::Cpu, |params| Dense::new(config, params)).expect("a model"),
        tokenizer,
        template,
        name: "embedded".into(),
        fingerprint: String::new(),
        // No token ends a turn, so both completions run to their lengths.
        eos: vec![],
        slots: 2,
        context: 1024,
        cache: CacheSettings::default(),
        draft: false,
        draft_count: Default::default(),
        workers: Workers::for_model(usize::MAX).expect("no threads"),
    };
    let request = |id: u64, max_tokens: usize| Request {
        id,
        messages: vec![Message::user("2+3?")],
        sampling: Sampling { max_tokens, ..Sampling::default() },
        noise: NoiseKey::new(id, "2+3?", 0),
        capture: None,
    };
    let mut listener = Listener { waiting: vec![request(0, 5), request(1, 9)], ..Listener::default() };
    engine.generate(&mut listener).expect("generated");
    for (told, (done, length)) in listener.told.iter().zip(listener.done.iter().zip([5, 9])) {
        assert_eq!(done.len(), length);
        assert_eq!(told, &done[..length - 1], "all but the last step, which `done` tells");
    }
}
