//! A chat turn as a training example: the question is given, the completion is predicted.

use crate::Error;
use crate::data::Example;
use retort_model::chat::{ChatTemplate, THINK, join_thinking, opens_thinking};
use retort_model::generate::Message;
use retort_model::tokenizer::Tokenizer;

/// Turns question, reasoning and response into a training example for one tokenizer and template.
pub struct Chat<'a> {
    pub tokenizer: &'a Tokenizer,
    pub template: &'a ChatTemplate,
    pub eos: u32,
}

impl Chat<'_> {
    /// The tokens that open a thinking block.
    pub fn opening(&self) -> Result<Vec<u32>, Error> {
        Ok(self.tokenizer.encode(&format!("{}\n", THINK.0))?)
    }

    /// Whether the prompt for `question` opens a thinking block.
    pub fn opens(&self, question: &str) -> Result<bool, Error> {
        Ok(opens_thinking(&self.template.prompt(&[Message::user(question)])?))
    }

    /// Prompt and completion are encoded apart, as they are when the model generates; the loss covers the completion.
    pub fn example(&self, question: &str, reasoning: &str, response: &str) -> Result<Example, Error> {
        let prompt = self.template.prompt(&[Message::user(question)])?;
        let mut tokens = self.tokenizer.encode(&prompt)?;
        let loss_from = tokens.len();
        tokens.extend(self.tokenizer.encode(&join_thinking(reasoning, response, opens_thinking(&prompt)))?);
        tokens.push(self.eos);
        Ok(Example::new(tokens, loss_from))
    }
}
