//! `retort model generate`: one prompt, its completion printed as the model writes it.

use super::INTERRUPTED;
use crate::args::Generate as Arguments;
use crate::open::{Embedded, ModelFiles};
use crate::output::{self, say};
use anyhow::{Result, bail};
use retort_model::chat::{ChatTemplate, THINK, opens_thinking};
use retort_model::generate::{Completion, FinishReason, Generate, JobError, Jobs, Message, Request};
use retort_model::sampling::{NoiseKey, Sampling};
use retort_model::text_stream::TextStream;
use retort_model::tokenizer::Tokenizer;
use std::process::ExitCode;

pub fn run(args: &Arguments) -> Result<ExitCode> {
    let temperature = if args.greedy { 0.0 } else { args.temperature };
    let sampling = Sampling { temperature, top_p: args.top_p, max_tokens: args.max_tokens };
    if let Some((setting, found, expected)) = sampling.fault() {
        bail!("`{setting}` is {found}; it takes {expected}");
    }
    let model = ModelFiles::open(&args.model, Embedded::Teacher)?;
    let template = if args.raw { model.files.raw_template()? } else { model.files.template()? };
    let messages = vec![Message::user(args.prompt.as_str())];
    let prompt = template.prompt(&messages)?;
    if args.show_prompt {
        return show(&model.files.tokenizer()?, &prompt);
    }
    complete(
        args,
        &model,
        template,
        Request { id: 0, messages, sampling, noise: NoiseKey::new(args.seed, &args.prompt, 0) },
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
    let mut engine = model.engine(template)?;
    engine.slots = 1;
    // The prompt holds the tag that opens the thinking; what is read should hold it too.
    let opener = if thinking && !args.raw { format!("{}\n", THINK.0) } else { String::new() };
    let stream = TextStream::new(&engine.tokenizer);
    let mut printing = Printing { request: Some(request), stream, opener, completion: None };
    engine.generate(&mut printing)?;
    let Some(completion) = printing.completion else { return Ok(ExitCode::from(INTERRUPTED)) };
    if completion.finish_reason == FinishReason::PromptTooLong {
        let (prompt, context) = (completion.prompt_tokens, engine.decoder.context_length());
        bail!("the prompt has {prompt} tokens and the model's context holds {context}");
    }
    say!("");
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

    fn advanced(&mut self, _: u64, tokens: &[u32]) -> Result<(), JobError> {
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
