//! Chats to prompt text, and completions to reasoning and response.
//!
//! Prompts are rendered by the model's own Jinja `chat_template`. Training targets are not: published templates cut
//! everything before `</think>` from assistant turns, so a target is the rendered prompt plus the text as it stands.

use crate::Error;
use crate::generate::Message;
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, context};
use serde::Deserialize;

/// Tags around a model's thinking.
pub const THINK: (&str, &str) = ("<think>", "</think>");

/// The parts of `tokenizer_config.json` that prompts depend on.
#[derive(Debug, Clone, Deserialize)]
pub struct TokenizerConfig {
    #[serde(default)]
    chat_template: Option<String>,
    #[serde(default)]
    bos_token: Option<TokenText>,
    #[serde(default)]
    eos_token: Option<TokenText>,
}

/// A token is written as a string or as an object with its `content`.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum TokenText {
    Plain(String),
    Object { content: String },
}

impl TokenText {
    fn text(&self) -> &str {
        match self {
            Self::Plain(text) | Self::Object { content: text } => text,
        }
    }
}

/// A compiled chat template.
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    bos: String,
    eos: Option<String>,
    model: String,
}

/// Templates are input from strangers: a few million steps render any honest one, and stop a hostile one.
const FUEL: u64 = 5_000_000;

impl ChatTemplate {
    /// Compiles the template of `config`; `model` names it in errors.
    pub fn new(config: &TokenizerConfig, model: &str) -> Result<Self, Error> {
        let failed = |reason: String| Error::Template { model: model.into(), reason };
        let source = config
            .chat_template
            .clone()
            .ok_or_else(|| failed("`tokenizer_config.json` has no `chat_template`".into()))?;
        let mut environment = Environment::new();
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(64);
        // As transformers sets up Jinja.
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|e| failed(e.to_string()))?);
        environment.add_function("raise_exception", |message: String| -> Result<String, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_template_owned("chat", source.clone()).map_err(|e| failed(e.to_string()))?;
        let text = |token: &Option<TokenText>| token.as_ref().map(|token| token.text().to_string());
        let (bos, eos) = (text(&config.bos_token).unwrap_or_default(), text(&config.eos_token));
        Ok(Self { environment, source, bos, eos, model: model.into() })
    }

    /// The prompt that asks for the assistant's next turn. It contains the BOS token; encode it without adding one.
    pub fn prompt(&self, messages: &[Message]) -> Result<String, Error> {
        self.environment
            .get_template("chat")
            .and_then(|template| {
                template.render(context! {
                    messages => minijinja::Value::from(minijinja::value::Serde(messages)),
                    add_generation_prompt => true,
                    bos_token => self.bos.as_str(),
                    eos_token => self.eos.as_deref(),
                })
            })
            .map_err(|e| Error::Template { model: self.model.clone(), reason: e.to_string() })
    }

    /// The token that ends a turn.
    pub fn eos(&self) -> Option<&str> {
        self.eos.as_deref()
    }

    /// The template's source, for fingerprints.
    pub fn source(&self) -> &str {
        &self.source
    }
}

/// A completion taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thought {
    pub reasoning: String,
    pub response: String,
    /// A thinking block was opened and never closed.
    pub unterminated: bool,
}

/// Splits a completion into thinking and answer. `prefilled`: the prompt already ended with the opening tag.
///
/// A closing tag without an opener counts as thinking from the start: servers that strip the prefilled opener send this.
pub fn split_thinking(text: &str, prefilled: bool) -> Thought {
    let body = text.trim_start().strip_prefix(THINK.0);
    let opened = prefilled || body.is_some();
    let body = body.unwrap_or(text);
    match body.split_once(THINK.1) {
        Some((reasoning, response)) => {
            Thought { reasoning: reasoning.trim().into(), response: response.trim().into(), unterminated: false }
        }
        None if opened => Thought { reasoning: body.trim().into(), response: String::new(), unterminated: true },
        None => Thought { reasoning: String::new(), response: text.trim().into(), unterminated: false },
    }
}

/// The assistant's turn as it is trained on: what comes after the prompt, without the end token.
///
/// Continues a `prefilled` opening tag, or opens one itself where there is reasoning to hold.
pub fn join_thinking(reasoning: &str, response: &str, prefilled: bool) -> String {
    match (prefilled, reasoning.is_empty()) {
        (true, _) => format!("{reasoning}\n{}\n\n{response}", THINK.1),
        (false, false) => format!("{}\n{reasoning}\n{}\n\n{response}", THINK.0, THINK.1),
        (false, true) => response.into(),
    }
}

/// Whether a prompt ends inside a thinking block that it opened itself.
pub fn opens_thinking(prompt: &str) -> bool {
    prompt.trim_end().ends_with(THINK.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(source: &str) -> Result<ChatTemplate, Error> {
        let config = serde_json::json!({"chat_template": source, "bos_token": {"content": "<s>"}, "eos_token": "</s>"});
        ChatTemplate::new(&serde_json::from_value(config).expect("valid"), "test")
    }

    #[test]
    fn renders_messages_with_one_bos() -> Result<(), Error> {
        let template = template(
            "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}] {{ m.content }}{% endfor %}\
             {% if add_generation_prompt %}[assistant]<think>\n{% endif %}",
        )?;
        let prompt = template.prompt(&[Message::user("2+2?")])?;
        assert_eq!(prompt, "<s>[user] 2+2?[assistant]<think>\n");
        assert!(opens_thinking(&prompt));
        assert_eq!(template.eos(), Some("</s>"));
        Ok(())
    }

    #[test]
    fn an_endless_template_is_stopped() -> Result<(), Error> {
        let template = template("{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}")?;
        assert!(template.prompt(&[]).is_err());
        Ok(())
    }

    #[test]
    fn thinking_is_split_in_every_shape_servers_send() {
        let thought = |reasoning: &str, response: &str, unterminated| Thought {
            reasoning: reasoning.into(),
            response: response.into(),
            unterminated,
        };
        assert_eq!(split_thinking("a+b\n</think>\n\n7", true), thought("a+b", "7", false));
        assert_eq!(split_thinking("<think>\na+b</think>7", false), thought("a+b", "7", false));
        assert_eq!(split_thinking("a+b</think>7", false), thought("a+b", "7", false));
        assert_eq!(split_thinking("just 7", false), thought("", "just 7", false));
        assert_eq!(split_thinking("and so on", true), thought("and so on", "", true));
        assert_eq!(split_thinking("<think>and", false), thought("and", "", true));
    }

    #[test]
    fn joined_turns_split_back() {
        for prefilled in [true, false] {
            let turn = join_thinking("a+b=7", "7", prefilled);
            let thought = split_thinking(&turn, prefilled);
            assert_eq!((thought.reasoning.as_str(), thought.response.as_str()), ("a+b=7", "7"));
        }
        assert_eq!(join_thinking("", "7", false), "7");
    }
}
