//! Rows of other programs as a dataset: judged by the same verifiers, whatever their writer thought of them.

use super::Format;
use super::foreign::{self, Answer, Chat, Content};
use crate::problem::Problem;
use crate::sample::{Made, Sample, Verdict};
use crate::sources::{Columns, Row, Table, gold_of, hash, labels};
use crate::store::{DEFAULT_ROWS_PER_SHARD, Derived, DerivedWriter, Parent};
use crate::tally::Tally;
use crate::{Error, verify};
use retort_model::chat::{ChatTemplate, THINK, join_thinking, opens_thinking};
use retort_model::generate::{Completion, FinishReason, Message};
use retort_model::observe::Observer;
use retort_model::tokenizer::Tokenizer;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// A model's tokenizer and template, to tell the tokens of foreign texts.
pub struct Tokens {
    /// What the dataset's manifest calls them.
    pub name: String,
    pub tokenizer: Tokenizer,
    pub template: ChatTemplate,
    /// The token that ends a turn.
    pub eos: u32,
}

/// How rows are read.
pub struct Import<'a> {
    pub format: Format,
    pub columns: Columns,
    /// Whether rows without a gold answer, which nobody can verify, may be trained on.
    pub keep_unverified: bool,
    /// Without them, rows have no token ids, and a student's own tokenizer is asked when it is trained.
    pub tokens: Option<&'a Tokens>,
    /// Rows at most.
    pub limit: Option<usize>,
}

/// What came of a file.
#[derive(Debug, Default)]
pub struct Imported {
    /// Rows that were read.
    pub rows: u64,
    pub tally: Tally,
    /// Rows that are well formed and no traces, by why.
    pub left_out: BTreeMap<&'static str, u64>,
    /// Samples without a gold answer.
    pub unverified: u64,
    /// Columns of log-probabilities that were there and stay behind.
    pub left_behind: bool,
}

/// Makes the dataset at `out`, which must be new or empty, from the rows of `table`.
pub fn import(mut table: Table, import: &Import, out: &Path, observer: &dyn Observer) -> Result<Imported, Error> {
    let parents = table.files().iter().map(|file| parent(file)).collect::<Result<_, _>>()?;
    let settings = json!({
        "format": import.format,
        "problems": import.columns,
        "keep_unverified": import.keep_unverified,
        "tokenizer": import.tokens.map(|tokens| &tokens.name),
        "verifier": verify::VERSION,
    });
    let derived = Derived { verb: "import".into(), settings, parents };
    let mut writer = DerivedWriter::create(out, derived, DEFAULT_ROWS_PER_SHARD)?;
    let mut imported = Imported::default();
    let mut numbers: HashMap<String, u32> = HashMap::new();
    while import.limit.is_none_or(|limit| imported.rows < limit as u64)
        && let Some(row) = table.next_row()?
    {
        if observer.cancelled() {
            return Err(Error::Interrupted);
        }
        imported.rows += 1;
        imported.left_behind |= row.get("logprobs").or(row.get("token_logprobs")).is_some();
        let chat = match foreign::content(&row, import.format)? {
            Content::Chat(chat) => chat,
            Content::Other(why) => {
                *imported.left_out.entry(why).or_default() += 1;
                continue;
            }
        };
        let problem = problem(&row, &import.columns, &chat)?;
        imported.unverified += if problem.answer.is_empty() { chat.answers.len() as u64 } else { 0 };
        for answer in &chat.answers {
            let number = numbers.entry(problem.uuid.clone()).or_default();
            let sample = Source { row: &row, problem: &problem, asked: &chat.asked, import };
            writer.push(sample.sample(answer, *number, writer.run_id())?)?;
            *number += 1;
        }
    }
    if numbers.is_empty() {
        let path = table.files().first().cloned().unwrap_or_default();
        let reasons: Vec<String> = imported.left_out.iter().map(|(why, rows)| format!("{rows} rows: {why}")).collect();
        let reasons = if reasons.is_empty() { "it has no rows".into() } else { reasons.join(", ") };
        return Err(Error::NoTraces { path, reasons });
    }
    imported.tally = writer.finish()?.1;
    Ok(imported)
}

/// A file by its content.
fn parent(path: &Path) -> Result<Parent, Error> {
    Ok(Parent { path: path.display().to_string(), run_id: None, blake3: hash(path)?, run: None, derived: None })
}

/// The problem of a row: in its column, or what the user says. Without a gold answer it has an empty one.
fn problem(row: &Row, columns: &Columns, chat: &Chat) -> Result<Problem, Error> {
    let column = columns.question.as_deref().unwrap_or("problem");
    let question = match row.get(column) {
        Some(_) => row.text(column)?.to_owned(),
        None if columns.question.is_some() => {
            return Err(row.missing(format!("`{column}`"), "correct `problems.question`"));
        }
        None => chat.asked.last().map(|message| message.content.clone()).unwrap_or_default(),
    };
    let gold = match gold_of(row, columns, column) {
        // An empty answer says that there is none.
        Err(Error::EmptyText { .. }) if columns.answer.is_none() => None,
        gold => gold?,
    };
    let (file, domain, difficulty) = labels(row, columns)?;
    let source = row.get("source").and_then(Value::as_str).filter(|source| !source.is_empty());
    Ok(Problem::new(question, gold.unwrap_or_default(), source.unwrap_or(&file), &domain, &difficulty))
}

/// Where a sample comes from.
struct Source<'a> {
    row: &'a Row,
    problem: &'a Problem,
    asked: &'a [Message],
    import: &'a Import<'a>,
}

impl Source<'_> {
    fn sample(&self, answer: &Answer, number: u32, run_id: &str) -> Result<Sample, Error> {
        let Self { row, problem, asked, import } = self;
        // Only rows of our own columns speak of runs and token ids.
        let own = matches!(import.format, Format::Parquet | Format::Jsonl);
        let told = |column: &str| row.get(column).and_then(Value::as_str).filter(|text| !text.is_empty());
        let count = |column: &str| row.get(column).and_then(Value::as_u64).filter(|_| own);
        let narrow = |count: u64| u32::try_from(count).ok();
        let made = Made {
            run_id: told("run_id").filter(|_| own).unwrap_or(run_id).into(),
            sample: count("sample").and_then(narrow).unwrap_or(number),
            generator: told("generator").unwrap_or("unknown").into(),
            seed: count("seed").unwrap_or_default(),
        };
        let mut completion = match import.tokens {
            Some(tokens) => tokens.completion(asked, answer)?,
            None => Completion::of(answer.thought.clone(), answer.finish_reason),
        };
        if own && import.tokens.is_none() {
            completion.prompt_token_ids = ids(row, "prompt_token_ids");
            completion.token_ids = ids(row, "token_ids");
        }
        if import.tokens.is_none() {
            let counted = count("completion_tokens").or(row.get("num_tokens").and_then(Value::as_u64));
            completion.prompt_tokens = count("prompt_tokens").and_then(narrow).unwrap_or_default() as usize;
            completion.completion_tokens = counted.and_then(narrow).unwrap_or_default() as usize;
        }
        let judgement = verify::classify(problem, &completion, verify::by_domain());
        let unverified = problem.answer.is_empty() && judgement.verdict == Verdict::Undecided;
        let kept = judgement.verdict == Verdict::Right || (unverified && import.keep_unverified);
        Ok(Sample::new(made, problem, asked, completion, judgement, kept))
    }
}

/// Token ids of our own columns.
fn ids(row: &Row, column: &str) -> Vec<u32> {
    let ids = row.get(column).and_then(Value::as_array).into_iter().flatten();
    ids.filter_map(|id| u32::try_from(id.as_u64()?).ok()).collect()
}

impl Tokens {
    /// The text with the tokens that this model would have written it in.
    fn completion(&self, asked: &[Message], answer: &Answer) -> Result<Completion, Error> {
        let failed = |source| Error::Tokens { name: self.name.clone(), source };
        let Answer { thought, finish_reason } = answer;
        let prompt = self.template.prompt(asked).map_err(failed)?;
        let prefilled = opens_thinking(&prompt);
        let turn = match (thought.unterminated, prefilled) {
            (true, true) => thought.reasoning.clone(),
            (true, false) => format!("{}\n{}", THINK.0, thought.reasoning),
            (false, _) => join_thinking(&thought.reasoning, &thought.response, prefilled),
        };
        let prompt_token_ids = self.tokenizer.encode(&prompt).map_err(failed)?;
        let mut token_ids = self.tokenizer.encode(&turn).map_err(failed)?;
        token_ids.extend((*finish_reason == FinishReason::Stop).then_some(self.eos));
        let (prompt_tokens, completion_tokens) = (prompt_token_ids.len(), token_ids.len());
        let text = Completion::of(answer.thought.clone(), answer.finish_reason);
        Ok(Completion { prompt_token_ids, token_ids, prompt_tokens, completion_tokens, ..text })
    }
}
