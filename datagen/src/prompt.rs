//! How problems are put to a model: made by a template from their rows, with a system message, thinking or not.

use crate::problem::Problem;
use retort_model::generate::Message;
use serde::{Deserialize, Serialize};

/// The settings of prompts beside the suffix. What differs from doing nothing stands in a run's header.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Prompt {
    /// A Jinja template over the columns of a row (for the gym: the fields of a problem) that makes the question: what the
    /// model reads, what a dataset calls the problem, and what a student is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// What the system says before the user does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Whether the answer begins inside a thinking block, where the model's own template does not see to that.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub think: bool,
}

impl Prompt {
    /// These settings where they do something.
    pub fn if_any(&self) -> Option<Self> {
        (*self != Self::default()).then(|| self.clone())
    }

    /// The chat that asks for `problem`; `suffix` follows it on a line of its own where there is one.
    pub fn messages(&self, problem: &Problem, suffix: &str) -> Vec<Message> {
        let question = &problem.problem;
        let user = if suffix.is_empty() { question.clone() } else { format!("{question}\n{suffix}") };
        let system = self.system.as_deref().map(Message::system);
        let opening = self.think.then(Message::opened_thinking);
        system.into_iter().chain([Message::user(user)]).chain(opening).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chat_holds_what_is_set_and_nothing_else() {
        let problem = Problem::new("1+1?".into(), "2".into(), "gym", "", "");
        assert_eq!(Prompt::default().messages(&problem, ""), [Message::user("1+1?")]);
        let prompt = Prompt { system: Some("Be brief.".into()), think: true, template: None };
        let expected = [Message::system("Be brief."), Message::user("1+1?\nBox it."), Message::opened_thinking()];
        assert_eq!(prompt.messages(&problem, "Box it."), expected);
        assert_eq!(Prompt::default().if_any(), None);
    }
}
