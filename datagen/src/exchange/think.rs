//! The ways in which published datasets write thinking into a text, and how it is found in one.

use retort_model::chat::{THINK, Thought, join_thinking, split_thinking};

/// How thinking stands beside an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Think {
    /// `<think>` ... `</think>` before the answer: DeepSeek-R1, OpenR1, Qwen3.
    #[default]
    Tags,
    /// The answer alone.
    None,
    /// In a field of its own, `reasoning_content`, as servers send it.
    Separate,
    /// `<|begin_of_thought|>` ... `<|begin_of_solution|>` ...: OpenThoughts, Sky-T1.
    BeginOfThought,
    /// `<|im_start|>think` ... `<|im_start|>answer` ...: s1.
    ImStart,
    /// `<think>` ... `</think><answer>` ... `</answer>`: AM-DeepSeek-R1-Distilled.
    AnswerTags,
}

const THOUGHT: (&str, &str) = ("<|begin_of_thought|>", "<|end_of_thought|>");
const SOLUTION: (&str, &str) = ("<|begin_of_solution|>", "<|end_of_solution|>");
const IM_THINK: &str = "<|im_start|>think";
const IM_ANSWER: &str = "<|im_start|>answer";
const ANSWER: (&str, &str) = ("<answer>", "</answer>");

impl Think {
    pub const ALL: [Self; 6] =
        [Self::Tags, Self::None, Self::Separate, Self::BeginOfThought, Self::ImStart, Self::AnswerTags];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tags => "tags",
            Self::None => "none",
            Self::Separate => "separate",
            Self::BeginOfThought => "begin-of-thought",
            Self::ImStart => "im-start",
            Self::AnswerTags => "answer-tags",
        }
    }

    /// The text of an answer, and the thinking where it stands apart.
    pub(super) fn write(self, thought: &Thought) -> (String, Option<String>) {
        let Thought { reasoning, response, unterminated } = thought;
        let open = *unterminated;
        let text = match self {
            Self::None => response.clone(),
            Self::Separate => return (response.clone(), Some(reasoning.clone())),
            Self::Tags if open => format!("{}\n{reasoning}", THINK.0),
            Self::Tags => join_thinking(reasoning, response, false),
            Self::BeginOfThought if open => format!("{}\n\n{reasoning}", THOUGHT.0),
            Self::ImStart if open => format!("{IM_THINK}\n{reasoning}"),
            Self::AnswerTags if open => format!("{}{reasoning}", THINK.0),
            _ if reasoning.is_empty() => response.clone(),
            Self::BeginOfThought => format!(
                "{}\n\n{reasoning}\n\n{}\n\n{}\n\n{response}\n\n{}",
                THOUGHT.0, THOUGHT.1, SOLUTION.0, SOLUTION.1
            ),
            Self::ImStart => format!("{IM_THINK}\n{reasoning}\n{IM_ANSWER}\n{response}"),
            Self::AnswerTags => format!("{}{reasoning}{}{}{response}{}", THINK.0, THINK.1, ANSWER.0, ANSWER.1),
        };
        (text, None)
    }

    /// Thinking and answer out of a text that is written in any of these ways, and a field beside it.
    pub(super) fn read(text: &str, apart: Option<&str>) -> Thought {
        if let Some(reasoning) = apart.map(str::trim).filter(|reasoning| !reasoning.is_empty()) {
            let response = text.trim().to_owned();
            return Thought { unterminated: response.is_empty(), reasoning: reasoning.into(), response };
        }
        let start = text.trim_start();
        if let Some(body) = start.strip_prefix(THOUGHT.0) {
            return parted(body, THOUGHT.1, |rest| between(rest, SOLUTION));
        }
        if let Some(body) = start.strip_prefix(IM_THINK) {
            return parted(body, IM_ANSWER, str::trim);
        }
        let thought = split_thinking(text, false);
        match thought.reasoning.is_empty() {
            true => thought,
            false => Thought { response: between(&thought.response, ANSWER).into(), ..thought },
        }
    }
}

fn parted<'a>(body: &'a str, end: &str, answer: impl Fn(&'a str) -> &'a str) -> Thought {
    match body.split_once(end) {
        Some((reasoning, rest)) => {
            Thought { reasoning: reasoning.trim().into(), response: answer(rest).into(), unterminated: false }
        }
        None => Thought { reasoning: body.trim().into(), response: String::new(), unterminated: true },
    }
}

/// What stands between two marks, where the text begins with the first one.
fn between<'a>(text: &'a str, (open, close): (&str, &str)) -> &'a str {
    let text = text.trim();
    let Some(inner) = text.strip_prefix(open) else { return text };
    inner.strip_suffix(close).unwrap_or(inner).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thought(reasoning: &str, response: &str, unterminated: bool) -> Thought {
        Thought { reasoning: reasoning.into(), response: response.into(), unterminated }
    }

    #[test]
    fn every_style_is_read_as_it_was_written() {
        let cases = [thought("a + b\n= 7", "So 7.", false), thought("", "Just 7.", false), thought("a + b", "", true)];
        for style in Think::ALL.into_iter().filter(|style| *style != Think::None) {
            for case in &cases {
                let (text, apart) = style.write(case);
                assert_eq!(&Think::read(&text, apart.as_deref()), case, "{}: {text}", style.as_str());
            }
        }
        assert_eq!(Think::None.write(&cases[0]), ("So 7.".into(), None));
    }

    #[test]
    fn published_rows_are_taken_apart() {
        let openthoughts =
            "<|begin_of_thought|>\n\nWell.\n\n<|end_of_thought|>\n\n<|begin_of_solution|>\n\n7\n\n<|end_of_solution|>";
        let s1 = "<|im_start|>think\nWell.\n<|im_start|>answer\n7";
        for text in [openthoughts, s1, "<think>Well.</think><answer>7</answer>", "<think>\nWell.\n</think>\n\n7"] {
            assert_eq!(Think::read(text, None), thought("Well.", "7", false), "{text}");
        }
        // An answer about tags is no thinking.
        assert_eq!(Think::read("Write <answer>7</answer>", None), thought("", "Write <answer>7</answer>", false));
    }
}
