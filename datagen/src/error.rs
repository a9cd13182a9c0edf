//! Why problems could not be read, or traces not be made, stored or read back, and what to do about it.

use crate::sources::Place;
use retort_model::generate::GenerateError;
use std::path::PathBuf;

/// What to do where the disk is full.
pub(crate) const NO_SPACE: &str = "free some space and run the command again; everything stored so far is kept";

/// A cause that belongs to a library of this crate's innards.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("`{path}` could not be {action}")]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },

    // Sources of rows.
    #[error("`{path}` has the ending `{found}`, and rows are read from {expected}")]
    UnknownFormat { path: PathBuf, expected: &'static str, found: String },
    #[error("{place} is not valid UTF-8")]
    NotUtf8 { place: Place },
    #[error("{place} is longer than {limit} bytes")]
    RowTooLong { place: Place, limit: usize },
    #[error("{place} is not valid JSON at column {column}: {reason}")]
    MalformedLine { place: Place, column: usize, reason: String },
    #[error("{place} cannot be read: {reason}")]
    MalformedRow { place: Place, reason: String },
    #[error("{place} holds {found} where a JSON object is expected")]
    NotAnObject { place: Place, found: &'static str, shape: &'static str },
    #[error("{place} has no column {expected}; it has {found}")]
    MissingColumn { place: Place, expected: String, found: String, remedy: String },
    #[error("{place} holds {found} in the column `{column}` where {expected} is expected")]
    WrongType { place: Place, column: String, expected: &'static str, found: &'static str },
    #[error("{place} has an empty {part} in the column `{column}`")]
    EmptyText { place: Place, column: String, part: &'static str },
    #[error("{place} gives no question by the prompt's template: {reason}")]
    NoPrompt { place: Place, reason: String },
    #[error("`prompt.template` is not a template: {reason}")]
    PromptTemplate { reason: String },
    #[error("`{path}` holds no rows")]
    NoRows { path: PathBuf },
    #[error("`{path}` is not a {format} file that can be read: {reason}")]
    MalformedFile { path: PathBuf, format: &'static str, reason: String },
    #[error("the folder `{path}` is not a dataset that can be read: {reason}")]
    DatasetFolder { path: PathBuf, reason: String, remedy: &'static str },
    #[error("`{path}` has several {what}s: {choices}")]
    Ambiguous { path: PathBuf, what: &'static str, choices: String },
    #[error("`{path}` has no {what} `{asked}`; it has {choices}")]
    NoChoice { path: PathBuf, what: &'static str, asked: String, choices: String },

    // Exchange with other programs.
    #[error("`{path}` is there already")]
    OutputTaken { path: PathBuf },
    #[error("`{path}` holds no log-probabilities of likeliest tokens")]
    NoTopK { path: PathBuf },
    #[error("`{path}` holds no row that could become a trace: {reasons}")]
    NoTraces { path: PathBuf, reasons: String },

    #[error("the tokenizer or template of `{name}` failed")]
    Tokens {
        name: String,
        #[source]
        source: retort_model::Error,
    },

    // Runs.
    #[error("`{setting}` is `{found}` and must be {expected}")]
    Setting { setting: &'static str, found: String, expected: &'static str },
    #[error("`{generator}` stopped early")]
    Generation {
        generator: String,
        #[source]
        source: GenerateError,
    },
    #[error("`{generator}` panicked: {message}")]
    Panicked { generator: String, message: String },
    #[error("`{generator}` returned with {missing} of the requests it took unanswered")]
    Unanswered { generator: String, missing: u64 },
    #[error("`{generator}` answered request {id}, which is not open")]
    UnknownRequest { generator: String, id: u64 },

    #[error(transparent)]
    Spend(#[from] crate::spend::Error),
    #[error("`verify` names no verifier")]
    Rule(#[from] crate::verify::RuleError),

    #[error("interrupted before the dataset was whole, and nothing of it is left")]
    Interrupted,

    // The trace store.
    #[error("`{path}` is being written by {owner}")]
    Locked { path: PathBuf, owner: String },
    #[error("there is no dataset at `{path}`: the folder {found}")]
    NoDataset { path: PathBuf, found: &'static str },
    #[error("`{path}` has no `manifest.json` any more, only the copy of it")]
    CopyAlone { path: PathBuf },
    #[error("neither the manifest of `{path}` nor its copy nor any shard can be read, and it has no journal")]
    NothingLeft { path: PathBuf },
    #[error("`{path}` holds `{found}` but no `manifest.json`, so it is not a trace dataset")]
    NotADataset { path: PathBuf, found: String },
    #[error("`{path}` was made from other datasets and is not a run")]
    NoRun { path: PathBuf },
    #[error("`{path}` cannot be the place of a new dataset: it holds `{found}`")]
    FolderTaken { path: PathBuf, found: String },
    #[error("`{path}` cannot be merged: {why}")]
    NotASlice { path: PathBuf, why: String },
    #[error("`{path}` cannot be graded again: {why}")]
    NotRegraded { path: PathBuf, why: String },
    #[error("slices {missing} of {of} are missing")]
    SlicesMissing { missing: String, of: u32 },
    #[error("`{path}` is damaged: {part} should be {expected} and is {found}")]
    Damaged { path: PathBuf, part: &'static str, expected: String, found: String },
    #[error("`{path}` is not a manifest of this format")]
    MalformedManifest {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("`{path}` has format version {found} and this program reads up to {expected}")]
    NewerFormat { path: PathBuf, expected: u32, found: u32 },
    #[error("`{path}` holds the traces of another run: {differences}")]
    OtherRun { path: PathBuf, differences: String },
    #[error("`{path}` is damaged at byte {offset}, before records that were acknowledged")]
    JournalDamaged { path: PathBuf, offset: u64 },
    #[error("`{path}` holds a record at byte {offset} that this version cannot read")]
    JournalRecord {
        path: PathBuf,
        offset: u64,
        #[source]
        source: serde_json::Error,
    },
    #[error("sample {sample} of problem `{uuid}` does not belong to run `{run_id}` in `{path}`")]
    ForeignSample { path: PathBuf, uuid: String, sample: u32, run_id: String },
    #[error("sample {sample} of problem `{uuid}` takes {found} bytes and a record holds at most {limit}")]
    SampleTooLong { uuid: String, sample: u32, found: usize, limit: usize },
    #[error("`{path}` has {held} rows to draw from and the mix asks for {wanted}")]
    TooFewRows { path: PathBuf, wanted: u64, held: u64 },
    #[error("`{path}` could not be {action}")]
    Shard {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: Cause,
    },
    #[error("the statistics of `{path}` could not be computed")]
    Statistics {
        path: PathBuf,
        #[source]
        source: Cause,
    },
}

impl Error {
    /// What to do about it, where something can be done.
    pub fn hint(&self) -> Option<String> {
        use Error::*;
        Some(match self {
            Io { source, .. } => match source.kind() {
                std::io::ErrorKind::NotFound => "check the path".into(),
                std::io::ErrorKind::PermissionDenied => "check the permissions of the file and its folder".into(),
                std::io::ErrorKind::StorageFull => NO_SPACE.into(),
                _ => return None,
            },
            UnknownFormat { .. } => "rename the file, or convert it to one JSON object per line".into(),
            NotUtf8 { .. } => "convert the file to UTF-8, for example with `iconv`".into(),
            RowTooLong { .. } => "a row this long is no problem; put one JSON object on each line".into(),
            MalformedLine { place, .. } => {
                format!("correct line {}; every line must be one complete JSON object", place.number)
            }
            MalformedRow { .. } | MalformedFile { .. } => {
                "the file is damaged, incomplete or of another kind: copy or export it again".into()
            }
            NotAnObject { shape, .. } => format!("write each line as `{shape}`"),
            MissingColumn { remedy, .. } => remedy.clone(),
            WrongType { expected, column, .. } => format!("write `{column}` as {expected}"),
            EmptyText { column, .. } => format!("fill in `{column}`, or take the row out"),
            NoPrompt { .. } | PromptTemplate { .. } => "correct `prompt.template` in the recipe".into(),
            NoRows { .. } => "it must hold at least one row".into(),
            DatasetFolder { remedy, .. } => (*remedy).into(),
            Ambiguous { what, .. } => format!("choose one with `--{what} NAME`"),
            NoChoice { what, .. } => format!("give one of these names with `--{what}`"),
            OutputTaken { .. } => "give another name, or remove the file first: nothing is overwritten".into(),
            NoTopK { .. } => "capture them while the traces are made: `--set capture.top_k=32`".into(),
            NoTraces { .. } => "choose the `--format` that the rows have".into(),
            Setting { setting, .. } => format!("change `{setting}`"),
            // Whoever is asked elsewhere knows better.
            Generation { source: GenerateError::Remote(_), .. } => return None,
            Generation { .. } | Panicked { .. } => {
                "what was finished is stored; the same command continues from there".into()
            }
            Unanswered { .. } => "what was finished is stored; the same command asks for the rest again".into(),
            UnknownRequest { .. } => return None,
            Spend(error) => return error.hint(),
            Rule(_) => "see `verify` in the README for what it may be".into(),
            Interrupted => "the same command begins anew".into(),
            Locked { .. } => "wait for it to end, or write to another folder".into(),
            NotRegraded { .. } => "finish the run first".into(),
            NotADataset { .. } | FolderTaken { .. } => "name an empty or new folder".into(),
            NoRun { .. } => "name the folder of a run, or a new one".into(),
            NotASlice { .. } | SlicesMissing { .. } => {
                "give every folder that `datagen run --shard i/N` wrote for one run, each finished".into()
            }
            CopyAlone { .. } => "`retort datagen repair` on the folder puts the copy in its place".into(),
            NoDataset { .. } => "name a folder that `datagen run` or `evals run` wrote".into(),
            Damaged { .. } | MalformedManifest { .. } => {
                "restore the file from a copy, or let `retort datagen repair` set it aside; nothing of it was believed"
                    .into()
            }
            NothingLeft { .. } => "restore the folder from a copy; as it is, no row of it can be told".into(),
            NewerFormat { .. } => "read it with a newer version of this program".into(),
            OtherRun { .. } => "repeat the settings of the first run to continue it, or write to another folder".into(),
            JournalDamaged { .. } | JournalRecord { .. } => {
                "`retort datagen repair` on the folder keeps every sound record and sets the journal aside; the sealed \
                 shards are not affected, and the run asks for what is missing again"
                    .into()
            }
            ForeignSample { .. } => "write to another folder".into(),
            SampleTooLong { .. } => "lower `max_tokens`".into(),
            TooFewRows { .. } => "ask for fewer, or let rows be drawn again with `mix.replacement = true`".into(),
            Tokens { source, .. } => return source.hint(),
            Shard { .. } | Statistics { .. } => return None,
        })
    }
}
