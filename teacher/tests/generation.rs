//! Generation with the embedded teacher: a completion is a function of its request, whatever runs beside it and however.

use candle_core::Device;
use retort_model::checkpoint::Checkpoint;
use retort_model::engine::{DraftCount, Engine};
use retort_model::generate::{Completion, Generate, JobError, Jobs, Message, Request};
use retort_model::params::frozen;
use retort_model::sampling::{NoiseKey, Sampling};
use retort_model::workers::Workers;
use retort_teacher::weights::Published;
use retort_teacher::{Config, DeepSeek, embedded};
use std::collections::BTreeMap;
use std::path::Path;

fn engine(slots: usize, draft: bool) -> Engine<DeepSeek> {
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
        workers: Workers::for_model(1).expect("workers"),
        draft,
        draft_count: Default::default(),
    }
}

/// Sums of every length, in an order of their own; even requests are greedy, odd ones sampled.
struct Sums {
    left: Vec<u64>,
    done: BTreeMap<u64, Vec<u32>>,
}

impl Sums {
    fn new(count: u64, reversed: bool) -> Self {
        let left: Vec<u64> = if reversed { (0..count).collect() } else { (0..count).rev().collect() };
        Self { left, done: BTreeMap::new() }
    }
}

impl Jobs for Sums {
    fn next(&mut self) -> Option<Request> {
        let id = self.left.pop()?;
        let prompt = format!("Find {}+{}.", 17 + 31 * id, 5 * id * id);
        let temperature = if id % 2 == 0 { 0.0 } else { 0.8 };
        Some(Request {
            id,
            noise: NoiseKey::new(3, &prompt, 0),
            capture: None,
            messages: vec![Message::user(prompt)],
            sampling: Sampling { temperature, max_tokens: 12 + id as usize % 9, ..Sampling::default() },
        })
    }

    fn done(&mut self, id: u64, completion: Completion) -> Result<(), JobError> {
        self.done.insert(id, completion.token_ids);
        Ok(())
    }
}

fn tokens(slots: usize, count: u64, reversed: bool, threads: usize) -> BTreeMap<u64, Vec<u32>> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
    let mut jobs = Sums::new(count, reversed);
    pool.install(|| engine(slots, false)).generate(&mut jobs).expect("generation");
    jobs.done
}

#[test]
fn tokens_do_not_depend_on_batch_order_or_threads() {
    let alone = tokens(1, 100, false, 1);
    assert_eq!(alone.len(), 100);
    for (slots, reversed) in [(7, false), (64, true)] {
        for threads in [1, 2] {
            let found = tokens(slots, 100, reversed, threads);
            assert_eq!(found, alone, "{slots} slots, {threads} threads");
        }
    }
}

#[test]
fn drafts_change_the_time_and_not_the_tokens() {
    let expected = tokens(1, 40, false, 1);
    for slots in [1, 5] {
        let engine = engine(slots, true);
        let mut jobs = Sums::new(40, false);
        engine.generate(&mut jobs).expect("generation");
        assert_eq!(jobs.done, expected, "{slots} slots");
        let DraftCount { drafted, accepted } = *engine.draft_count.lock().expect("count");
        println!("{accepted} of {drafted} drafts kept");
        // A module that guessed at random would be right once in a thousand times.
        assert!(accepted * 2 > drafted, "{accepted} of {drafted} drafts kept");
    }
}
