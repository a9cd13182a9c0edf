//! `retort model ...`: look into a model and run it.

use super::INTERRUPTED;
use crate::args::{Generate as Arguments, Model};
use crate::open::{Embedded, ModelFiles};
use crate::output::say;
use anyhow::{Result, bail};
use retort_model::batch::Batch;
use retort_model::checkpoint::{Stored, write_tensors};
use retort_model::generate::{Completion, FinishReason, Generate, JobError, Jobs, Message, Request};
use retort_model::sampling::{NoiseKey, Sampling};
use std::path::Path;
use std::process::ExitCode;

pub fn run(command: Model) -> Result<ExitCode> {
    match command {
        Model::Inspect { model, json } => inspect(&model, json),
        Model::Logits { model, tokens, out } => logits(&model, &tokens, &out),
        Model::Generate(args) => generate(&args),
    }
}

fn inspect(name: &str, json: bool) -> Result<ExitCode> {
    let files = ModelFiles::open(name, Embedded::Teacher)?;
    let decoder = files.decoder()?;
    let parameters = files.parameters()?;
    let kv = decoder.cache_spec().elements_per_token();
    let facts = serde_json::json!({
        "name": files.name,
        "model_type": files.model_type()?,
        "parameters": parameters.total,
        "active_parameters": parameters.active,
        "bytes": parameters.bytes,
        "dtypes": parameters.dtypes,
        "kv_bytes_per_token_bf16": kv * 2,
        "context_length": decoder.context_length(),
        "fingerprint": files.fingerprint()?,
    });
    if json {
        say!("{facts:#}");
    } else if let Some(facts) = facts.as_object() {
        for (name, value) in facts {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_string);
            say!("{:<26}{text}", name.replace('_', " "));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn logits(name: &str, tokens: &[u32], out: &Path) -> Result<ExitCode> {
    let decoder = ModelFiles::open(name, Embedded::Teacher)?.decoder()?;
    let (vocabulary, context) = (decoder.head().rows(), decoder.context_length());
    if let Some(bad) = tokens.iter().find(|&&token| token as usize >= vocabulary) {
        bail!("token {bad} is outside the vocabulary of {vocabulary}");
    }
    if tokens.len() > context {
        bail!("{} tokens are more than the model's context of {context}", tokens.len());
    }
    let logits = decoder.logits(&Batch::packed([tokens]), None)?;
    write_tensors(out, &[("logits".into(), logits)], |_| Stored::F32)?;
    Ok(ExitCode::SUCCESS)
}

/// One request, one completion.
struct Single {
    request: Option<Request>,
    completion: Option<Completion>,
}

impl Jobs for Single {
    fn next(&mut self) -> Option<Request> {
        self.request.take()
    }
    fn cancelled(&self) -> bool {
        crate::progress::cancelled()
    }
    fn done(&mut self, _: u64, completion: Completion) -> Result<(), JobError> {
        self.completion = Some(completion);
        Ok(())
    }
}

fn generate(args: &Arguments) -> Result<ExitCode> {
    let mut engine = ModelFiles::open(&args.model, Embedded::Teacher)?.engine()?;
    engine.slots = 1;
    let temperature = if args.greedy { 0.0 } else { args.temperature };
    let sampling = Sampling { temperature, top_p: args.top_p, max_tokens: args.max_tokens };
    if let Some((setting, found, expected)) = sampling.fault() {
        bail!("`{setting}` is {found}; it takes {expected}");
    }
    let request = Request {
        id: 0,
        messages: vec![Message::user(args.prompt.as_str())],
        sampling,
        noise: NoiseKey::new(args.seed, &args.prompt, 0),
    };
    let mut job = Single { request: Some(request), completion: None };
    engine.generate(&mut job)?;
    let Some(completion) = job.completion else { return Ok(ExitCode::from(INTERRUPTED)) };
    if completion.finish_reason == FinishReason::PromptTooLong {
        let (prompt, context) = (completion.prompt_tokens, engine.decoder.context_length());
        bail!("the prompt has {prompt} tokens and the model's context holds {context}");
    }
    if !completion.reasoning.is_empty() {
        say!("<think>\n{}\n{}", completion.reasoning, if completion.unterminated { "" } else { "</think>\n" });
    }
    say!("{}", completion.response);
    Ok(ExitCode::SUCCESS)
}
