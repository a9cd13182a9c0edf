//! Rows of the formats that other programs write, as chats with their answers.

use super::Format;
use super::think::Think;
use crate::Error;
use crate::sources::Row;
use retort_model::chat::Thought;
use retort_model::generate::{FinishReason, Message, Role};
use serde_json::Value;

/// A chat up to the answer, and what was answered, once or several times.
#[derive(Debug)]
pub(super) struct Chat {
    pub asked: Vec<Message>,
    pub answers: Vec<Answer>,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub thought: Thought,
    pub finish_reason: FinishReason,
}

/// What a row holds.
pub(super) enum Content {
    Chat(Chat),
    /// It is well formed and no trace; why.
    Other(&'static str),
}

/// Fields in which a message keeps its thinking.
const REASONING: [&str; 3] = ["reasoning_content", "reasoning", "think_content"];

pub(super) fn content(row: &Row, format: Format) -> Result<Content, Error> {
    match format {
        Format::Parquet | Format::Jsonl => whole(row),
        Format::Messages | Format::AxolotlKd => chat(row, turns(row, "messages", ("role", "content"))?),
        Format::Sharegpt => {
            let mut turns = turns(row, "conversations", ("from", "value"))?;
            if let Some(system) = row.get("system").and_then(Value::as_str).filter(|system| !system.is_empty()) {
                turns.insert(0, Turn::plain(Some(Role::System), system));
            }
            if let Some((last, apart)) = turns.last_mut().zip(apart(&row.object)) {
                last.apart = Some(apart);
            }
            chat(row, turns)
        }
        Format::PromptCompletion => {
            let side = |column, role| match row.get(column) {
                Some(Value::String(text)) => Ok(vec![Turn::plain(Some(role), text)]),
                _ => turns(row, column, ("role", "content")),
            };
            chat(row, [side("prompt", Role::User)?, side("completion", Role::Assistant)?].concat())
        }
        Format::Openr1 => generations(row),
    }
}

/// A row of the columns that a dataset of ours has.
fn whole(row: &Row) -> Result<Content, Error> {
    let mut turns = turns(row, "messages", ("role", "content"))?;
    let (reasoning, response) = (row.text("reasoning")?, row.text("response")?);
    let Some(last) = turns.pop() else { return Ok(Content::Other("no messages")) };
    let thought = Thought {
        reasoning: reasoning.into(),
        response: response.into(),
        unterminated: Think::read(&last.text, None).unterminated,
    };
    let Some(asked) = asked(turns) else { return Ok(Content::Other("several turns")) };
    Ok(Content::Chat(Chat {
        asked,
        answers: vec![Answer { thought, finish_reason: finish(row, row.get("finish_reason"))? }],
    }))
}

fn chat(row: &Row, mut turns: Vec<Turn>) -> Result<Content, Error> {
    let Some(last) = turns.pop() else { return Ok(Content::Other("no messages")) };
    if last.role != Some(Role::Assistant) {
        return Ok(Content::Other("the last message is not the assistant's"));
    }
    let Some(asked) = asked(turns) else { return Ok(Content::Other("several turns")) };
    let thought = Think::read(&last.text, last.apart.as_deref());
    let told = row.get("finish_reason");
    Ok(Content::Chat(Chat { asked, answers: vec![Answer { thought, finish_reason: finish(row, told)? }] }))
}

/// One message of the user, and perhaps one of the system before it.
fn asked(turns: Vec<Turn>) -> Option<Vec<Message>> {
    let messages: Option<Vec<Message>> =
        turns.into_iter().map(|turn| Some(Message { role: turn.role?, content: turn.text })).collect();
    messages.filter(|messages| {
        let roles: Vec<Role> = messages.iter().map(|message| message.role).collect();
        roles == [Role::User] || roles == [Role::System, Role::User]
    })
}

/// A row of OpenR1-Math.
fn generations(row: &Row) -> Result<Content, Error> {
    let Some(Value::Array(generations)) = row.get("generations") else {
        return Err(row.wrong_type("generations", "a list of strings", row.get("generations")));
    };
    let complete = |at: usize| row.get("is_reasoning_complete").and_then(|list| list.get(at)).and_then(Value::as_bool);
    let reasons = row.get("finish_reasons");
    let mut answers = Vec::with_capacity(generations.len());
    for (at, generation) in generations.iter().enumerate() {
        let Value::String(text) = generation else {
            return Err(row.wrong_type("generations", "a list of strings", Some(generation)));
        };
        let thought = Think::read(text, None);
        // Where the list of reasons is missing, thinking that never ended says that the text was cut off.
        let told = finish(row, reasons.and_then(|list| list.get(at)))?;
        let cut = complete(at) == Some(false) && reasons.is_none();
        answers.push(Answer { thought, finish_reason: if cut { FinishReason::Length } else { told } });
    }
    if answers.is_empty() {
        return Ok(Content::Other("no generations"));
    }
    // What was asked stands in `messages`; without it, the problem alone is known.
    let turns = match row.get("messages") {
        Some(_) => turns(row, "messages", ("role", "content"))?,
        None => Vec::new(),
    };
    let before = turns.into_iter().take_while(|turn| turn.role != Some(Role::Assistant)).collect();
    let asked = asked(before).map_or_else(|| row.text("problem").map(|problem| vec![Message::user(problem)]), Ok)?;
    Ok(Content::Chat(Chat { asked, answers }))
}

/// Why a text ended; one that does not tell counts as ended by its writer.
fn finish(row: &Row, told: Option<&Value>) -> Result<FinishReason, Error> {
    match told.filter(|told| !told.is_null()) {
        None => Ok(FinishReason::Stop),
        Some(told) => FinishReason::parse(told.as_str().unwrap_or_default()).ok_or_else(|| {
            row.wrong_type("finish_reason", "`stop`, `length` or another reason that is known", Some(told))
        }),
    }
}

#[derive(Debug, Clone)]
struct Turn {
    /// `None` for one that is neither the system's, the user's nor the assistant's.
    role: Option<Role>,
    text: String,
    /// Thinking beside the text.
    apart: Option<String>,
}

impl Turn {
    fn plain(role: Option<Role>, text: &str) -> Self {
        Self { role, text: text.into(), apart: None }
    }
}

fn turns(row: &Row, column: &str, (role, text): (&str, &str)) -> Result<Vec<Turn>, Error> {
    let remedy = "choose the `--format` that the rows have";
    let value = row.get(column).ok_or_else(|| row.missing(format!("`{column}`"), remedy))?;
    let turn = |item: &Value| -> Option<Turn> {
        let item = item.as_object()?;
        let role = match item.get(role)?.as_str()? {
            "system" => Some(Role::System),
            "user" | "human" => Some(Role::User),
            "assistant" | "gpt" | "model" => Some(Role::Assistant),
            _ => None,
        };
        Some(Turn { role, text: item.get(text)?.as_str()?.into(), apart: apart(item) })
    };
    let turns = value.as_array().and_then(|items| items.iter().map(turn).collect());
    turns.ok_or_else(|| row.wrong_type(column, "a list of messages", Some(value)))
}

fn apart(object: &serde_json::Map<String, Value>) -> Option<String> {
    let texts = REASONING.iter().filter_map(|field| object.get(*field)?.as_str());
    texts.filter(|text| !text.is_empty()).map(str::to_owned).next()
}
