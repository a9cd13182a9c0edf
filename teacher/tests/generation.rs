//! Generation with the embedded teacher: a completion is a function of its request, whatever runs beside it and however.

mod embedded_engine;

use candle_core::Device;
use embedded_engine::engine;
use retort_kernels::{PAGE, Value, Weight};
use retort_model::batch::Batch;
use retort_model::cache::{Cache, CacheSpec, Precision};
use retort_model::decoder::Decoder;
use retort_model::engine::{CacheSettings, DraftCount, Engine};
use retort_model::generate::{Completion, Generate, GenerateError, JobError, Jobs, Message, Request};
use retort_model::operations::Operations;
use retort_model::sampling::{NoiseKey, Sampling};
use retort_model::workers::Workers;
use retort_teacher::DeepSeek;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

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

/// The embedded teacher, counting the rows that it computes.
struct Counting(DeepSeek, AtomicUsize);

impl Decoder for Counting {
    fn hidden(&self, batch: &Batch, cache: Option<&Cache>) -> candle_core::Result<Value> {
        self.1.fetch_add(batch.len(), Ordering::Relaxed);
        self.0.hidden(batch, cache)
    }
    fn head(&self) -> &Weight {
        self.0.head()
    }
    fn cache_spec(&self) -> CacheSpec {
        self.0.cache_spec()
    }
    fn context_length(&self) -> usize {
        self.0.context_length()
    }
    fn device(&self) -> &Device {
        self.0.device()
    }
    fn operations(&self) -> Operations {
        self.0.operations()
    }
}

/// Four samples of each of six problems.
struct Samples {
    left: Vec<u64>,
    temperature: f64,
    done: BTreeMap<u64, Completion>,
}

impl Jobs for Samples {
    fn next(&mut self) -> Option<Request> {
        let id = self.left.pop()?;
        let prompt = format!("Find {}+{}.", 1200 + 31 * (id / 4), 5600 + id / 4);
        Some(Request {
            id,
            noise: NoiseKey::new(3, &prompt, (id % 4) as u32),
            capture: None,
            messages: vec![Message::user(prompt)],
            sampling: Sampling {
                temperature: self.temperature,
                max_tokens: 4 + id as usize % 5,
                ..Sampling::default()
            },
        })
    }

    fn done(&mut self, id: u64, completion: Completion) -> Result<(), JobError> {
        self.done.insert(id, completion);
        Ok(())
    }
}

#[test]
fn samples_of_a_problem_share_its_prompt() {
    let run = |slots, order: Vec<u64>| {
        let Engine { decoder, tokenizer, template, name, fingerprint, eos, .. } = engine(slots, false);
        let engine = Engine {
            decoder: Counting(decoder, AtomicUsize::new(0)),
            tokenizer,
            template,
            name,
            fingerprint,
            eos,
            slots,
            context: 1024,
            cache: CacheSettings::default(),
            // Too many parameters for workers: all sequences are in one lane.
            workers: Workers::for_model(usize::MAX).expect("none"),
            draft: false,
            draft_count: Default::default(),
        };
        let mut jobs = Samples { left: order, temperature: 1.0, done: BTreeMap::new() };
        engine.generate(&mut jobs).expect("generation");
        (jobs.done, engine.decoder.1.into_inner())
    };
    let decoded = |done: &BTreeMap<u64, Completion>| done.values().map(|c| c.completion_tokens - 1).sum::<usize>();
    let prompts = |done: &BTreeMap<u64, Completion>, each: usize| -> usize {
        done.values().step_by(each).map(|completion| completion.prompt_tokens).sum()
    };
    // Sorted by sample, no two neighbours have a prompt in common.
    let (apart, rows) = run(1, (0..24).rev().map(|at| at % 6 * 4 + at / 6).collect());
    assert_eq!((apart.len(), rows), (24, decoded(&apart) + prompts(&apart, 1)));
    for slots in [1, 3, 24] {
        let (shared, rows) = run(slots, (0..24).rev().collect());
        let tokens = |done: &BTreeMap<u64, Completion>| done.values().map(|c| c.token_ids.clone()).collect::<Vec<_>>();
        assert_eq!(tokens(&shared), tokens(&apart), "{slots} slots");
        assert_eq!(rows, decoded(&shared) + prompts(&shared, 4), "{slots} slots: each prompt is computed once");
    }
}

#[test]
fn memory_makes_sequences_wait_and_never_fail() {
    let run = |slots, draft, pages: usize, temperature| {
        let mut engine = engine(slots, draft);
        engine.workers = Workers::for_model(usize::MAX).expect("none");
        let tokens = engine.decoder.cache_spec().elements_per_token()
            + engine.decoder.draft_cache_spec().filter(|_| draft).map_or(0, |spec| spec.elements_per_token());
        engine.cache = CacheSettings { precision: Precision::F32, bytes: pages * PAGE * 4 * tokens };
        let mut jobs = Samples { left: (0..24).rev().collect(), temperature, done: BTreeMap::new() };
        let outcome = engine.generate(&mut jobs);
        (outcome, jobs.done.into_values().map(|completion| completion.token_ids).collect::<Vec<_>>())
    };
    for (draft, temperature) in [(false, 1.0), (true, 0.0)] {
        let (_, roomy) = run(24, draft, 1000, temperature);
        assert_eq!(roomy.len(), 24);
        // Each needs one page; then three of them fit at once, then one.
        for pages in [3, 1] {
            let (outcome, tight) = run(24, draft, pages, temperature);
            outcome.expect("generated");
            assert_eq!(tight, roomy, "{pages} pages");
        }
        let (refused, none) = run(24, draft, 0, temperature);
        assert!(matches!(refused, Err(GenerateError::Memory { budget: 0, .. })), "{refused:?}");
        assert!(none.is_empty());
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

/// The embedded teacher with a module that guesses what it thinks least likely.
struct Misguessing(DeepSeek);

impl Decoder for Misguessing {
    fn hidden(&self, batch: &Batch, cache: Option<&Cache>) -> candle_core::Result<Value> {
        self.0.hidden(batch, cache)
    }
    fn head(&self) -> &Weight {
        self.0.head()
    }
    fn cache_spec(&self) -> CacheSpec {
        self.0.cache_spec()
    }
    fn draft_cache_spec(&self) -> Option<CacheSpec> {
        self.0.draft_cache_spec()
    }
    fn draft(&self, batch: &Batch, hidden: &Value, next: &[u32], cache: &Cache) -> candle_core::Result<Option<Value>> {
        let ahead = self.0.draft(batch, hidden, next, cache)?;
        ahead.map(|ahead| Value::constant(&ahead.tensor().neg()?)).transpose()
    }
    fn context_length(&self) -> usize {
        self.0.context_length()
    }
    fn device(&self) -> &Device {
        self.0.device()
    }
    fn operations(&self) -> Operations {
        self.0.operations()
    }
}

#[test]
fn drafts_that_are_never_kept_are_given_up() {
    let Engine { decoder, tokenizer, template, name, fingerprint, eos, context, cache, .. } = engine(5, true);
    let engine = Engine {
        decoder: Misguessing(decoder),
        tokenizer,
        template,
        name,
        fingerprint,
        eos,
        slots: 5,
        context,
        cache,
        workers: Workers::for_model(usize::MAX).expect("none"),
        draft: true,
        draft_count: Default::default(),
    };
    let mut jobs = Sums::new(40, false);
    engine.generate(&mut jobs).expect("generation");
    assert_eq!(jobs.done, tokens(1, 40, false, 1));
    let DraftCount { drafted, accepted } = *engine.draft_count.lock().expect("count");
    // A trial has 64 steps of at most five sequences, one in eight of them without guesses.
    assert!(accepted * 10 < drafted && (1..=280).contains(&drafted), "{accepted} of {drafted} drafts kept");
}
