//! Chats to prompt text (`template.rs`), and completions to reasoning and response.
//!
//! Prompts are rendered by the model's own Jinja `chat_template`. Training targets are not: published templates cut
//! everything before `</think>` from assistant turns, so a target is the rendered prompt plus the text as it stands.

mod python;
mod template;
mod tokenizer_config;

pub use template::{ChatTemplate, QuestionTemplate};
pub use tokenizer_config::TokenizerConfig;

/// Tags around a model's thinking.
pub const THINK: (&str, &str) = ("<think>", "</think>");

/// A completion taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
