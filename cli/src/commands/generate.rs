//! `retort model generate`: one prompt, its completion printed as the model writes it.

use super::INTERRUPTED;
use crate::args::Generate as Arguments;
use crate::memory;
use crate::open::{Embedded, ModelFiles};
use crate::output::{self, say};
use crate::placement::Streamed;
use anyhow::{Result, bail};
use retort_model::capture::Targets;
use retort_model::chat::{ChatTemplate, THINK, opens_thinking};
use retort_model::engine::DraftCount;
use retort_model::generate::{Completion, FinishReason, Generate, JobError, Jobs, Message, Request};
use retort_model::sampling::{AtBudget, NoiseKey, Sampling};
use retort_model::text_stream::TextStream;
use retort_model::tokenizer::Tokenizer;
use std::process::ExitCode;
use std::sync::PoisonError;
use std::time::Instant;

pub fn run(args: &Arguments) -> Result<ExitCode> {
    let temperature = if args.greedy { 0.0 } else { args.temperature };
    let sampling = Sampling {
        temperature,
        top_p: args.top_p,
        max_tokens: args.max_tokens,
        top_k: args.top_k,
        min_p: args.min_p,
        repetition_penalty: args.repetition_penalty,
        stop: args.stop.clone(),
        thinking_budget: args.thinking_budget,
        at_budget: if args.end_at_budget { AtBudget::End } else { AtBudget::Close },
        loop_repeats: args.loop_repeats,
        logit_bias: args.logit_bias.iter().copied().collect(),
    };
    if let Some((setting, found, expected)) = sampling.fault() {
        bail!("`{setting}` is {found}; it takes {expected}");
    }
    let open = if args.show_prompt { ModelFiles::look } else { ModelFiles::open };
    let device = args.place.on.open()?;
    let model = open(&args.model, Embedded::Teacher)?.within(args.place.memory).on(&device);
    if !args.show_prompt {
        // A folder without weights says so first, whatever else it lacks.
        model.checkpoint()?;
    }
    let template = if args.raw { model.files.raw_template(false)? } else { model.files.template()? };
    let messages = vec![Message::user(args.prompt.as_str())];
    let prompt = template.prompt(&messages)?;
    if args.show_prompt {
        return show(&model.files.tokenizer()?, &prompt);
    }
    complete(
        args,
        &model,
        template,
        Request { id: 0, messages, sampling, noise: NoiseKey::new(args.seed, &args.prompt, 0), capture: None },
        opens_thinking(&prompt),
    )
}

/// The prompt as the model gets it: one token to a line, its id and its text.
fn show(tokenizer: &Tokenizer, prompt: &str) -> Result<ExitCode> {
    for id in tokenizer.encode(prompt)? {
        say!("{id:>7}  {:?}", tokenizer.decode(&[id])?);
    }
    Ok(ExitCode::SUCCESS)
}

fn complete(
    args: &Arguments,
    model: &ModelFiles,
    template: ChatTemplate,
    request: Request,
    thinking: bool,
) -> Result<ExitCode> {
    let (mut engine, streamed) = model.engine_and_stream(template)?;
    engine.slots = 1;
    engine.draft = !args.no_draft;
    // The prompt holds the tag that opens the thinking; what is read should hold it too.
    let opener = if thinking && !args.raw { format!("{}\n", THINK.0) } else { String::new() };
    let stop = request.sampling.stop.clone();
    let stream = TextStream::stopping(&engine.tokenizer, &stop);
    let mut printing = Printing { request: Some(request), stream, opener, completion: None };
    let begin = Instant::now();
    engine.generate(&mut printing)?;
    let seconds = begin.elapsed().as_secs_f64();
    let Some(completion) = printing.completion else { return Ok(ExitCode::from(INTERRUPTED)) };
    if completion.finish_reason == FinishReason::PromptTooLong {
        let (prompt, context) = (completion.prompt_tokens, engine.context);
        bail!("the prompt has {prompt} tokens and the model's context holds {context}");
    }
    say!("");
    let rate = completion.completion_tokens as f64 / seconds.max(1e-9);
    let DraftCount { drafted, accepted } = *engine.draft_count.lock().unwrap_or_else(PoisonError::into_inner);
    let drafts = if drafted == 0 { String::new() } else { format!(", {accepted} of {drafted} drafts kept") };
    let ended = match completion.finish_reason {
        FinishReason::Stop => String::new(),
        other => format!(", ended by {}", other.as_str().replace('_', " ")),
    };
    eprintln!("{} tokens in {seconds:.2} s, {rate:.1} tokens/s{drafts}{ended}", completion.completion_tokens);
    if let Some(streamed) = streamed {
        let bytes = memory::mib(streamed.bytes() as usize);
        match (streamed, memory::peak_resident()) {
            (Streamed::ToGpu(_), _) => eprintln!("{bytes} of weights moved to the GPU"),
            (Streamed::FromDisk(_), None) => eprintln!("{bytes} of experts read"),
            (Streamed::FromDisk(_), Some(peak)) => {
                eprintln!("{bytes} of experts read, at most {} of memory in use", memory::mib(peak));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One request, whose completion is printed token by token.
struct Printing<'a> {
    request: Option<Request>,
    stream: TextStream<'a>,
    /// Printed before the first token.
    opener: String,
    completion: Option<Completion>,
}

impl Printing<'_> {
    fn print(&mut self, piece: &str) -> Result<(), JobError> {
        Ok(output::part(&(std::mem::take(&mut self.opener) + piece))?)
    }
}

impl Jobs for Printing<'_> {
    fn next(&mut self) -> Option<Request> {
        self.request.take()
    }

    fn cancelled(&self) -> bool {
        crate::progress::cancelled()
    }

    fn advanced(&mut self, _: u64, tokens: &[u32], _: &Targets) -> Result<(), JobError> {
        let piece = self.stream.advance(tokens)?;
        self.print(&piece)
    }

    fn done(&mut self, _: u64, completion: Completion) -> Result<(), JobError> {
        if completion.finish_reason != FinishReason::PromptTooLong {
            let ended = usize::from(completion.finish_reason == FinishReason::Stop);
            let tokens = &completion.token_ids[..completion.token_ids.len().saturating_sub(ended)];
            let piece = self.stream.rest(tokens)?;
            self.print(&piece)?;
        }
        self.completion = Some(completion);
        Ok(())
    }
}
