//! What is exported and imported again is what it was.

use super::*;
use crate::Error;
use crate::problem::Problem;
use crate::sample::{Made, Sample, Verdict};
use crate::sources::{Columns, Selection, Table};
use crate::store::{Derived, DerivedWriter, TraceReader, example};
use crate::verify;
use retort_model::capture::{Capture, Targets};
use retort_model::generate::{Completion, FinishReason, Message};
use retort_model::observe::Silent;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tempfile::{TempDir, tempdir};

/// A dataset of every outcome, two samples for each problem.
fn dataset(dir: &Path) -> PathBuf {
    let place = dir.join("traces");
    let derived = Derived { verb: "test".into(), settings: json!({}), parents: vec![] };
    // Shards of three rows, so that a problem's samples lie in two of them.
    let mut writer = DerivedWriter::create(&place, derived, 3).unwrap();
    let problem = |n: i32| Problem::new(format!("{n} + 1?"), (n + 1).to_string(), "sums.jsonl", "sums", "2");
    let texts = [
        ("so 2", "It is \\boxed{2}.", FinishReason::Stop, false),
        ("", "It is \\boxed{9}.", FinishReason::Stop, false),
        ("more or less", "I do not know", FinishReason::Stop, false),
        ("first\n\nthen \u{1f600}", "\\boxed{3}", FinishReason::Stop, false),
        ("on and on", "", FinishReason::Length, true),
        ("short", "It is", FinishReason::Length, false),
    ];
    for (at, (reasoning, response, finish_reason, unterminated)) in texts.into_iter().enumerate() {
        let completion = Completion {
            reasoning: reasoning.into(),
            response: response.into(),
            unterminated,
            finish_reason,
            prompt_token_ids: vec![1, 2],
            token_ids: vec![3, 4, 5],
            forced: vec![],
            targets: None,
            prompt_tokens: 2,
            completion_tokens: 3,
        };
        let problem = problem(1 + at as i32 / 2);
        let judgement = verify::classify(&problem, &completion, verify::by_domain());
        let kept = judgement.verdict == Verdict::Right;
        let made = Made { run_id: "r".into(), sample: at as u32 % 2, generator: "g@f".into(), seed: 7 };
        let asked = [Message::system("Be brief."), Message::user(format!("{}\nBox it.", problem.problem))];
        writer.push(Sample::new(made, &problem, &asked, completion, judgement, kept)).unwrap();
    }
    writer.finish().unwrap();
    place
}

fn exported(from: &Path, format: Format, think: Option<Think>, all: bool, out: &Path) -> Result<Exported, Error> {
    export(&TraceReader::open(from).unwrap(), Export { format, think, all }, out)
}

fn imported(file: &Path, format: Format, keep_unverified: bool, out: &Path) -> Result<(Imported, Vec<Sample>), Error> {
    let table = Table::open(file, &Selection::default())?;
    let how = Import { format, columns: Columns::default(), keep_unverified, tokens: None, limit: None };
    let done = import(table, &how, out, &Silent)?;
    Ok((done, TraceReader::open(out)?.read_all()?))
}

fn lines(file: &Path) -> Vec<Value> {
    std::fs::read_to_string(file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn file_name(format: Format) -> &'static str {
    if format == Format::Parquet { "out.parquet" } else { "out.jsonl" }
}

#[test]
fn every_format_brings_back_problems_texts_and_verdicts() {
    let all =
        [Format::Parquet, Format::Jsonl, Format::Messages, Format::Sharegpt, Format::PromptCompletion, Format::Openr1];
    for format in all {
        for think in Think::ALL.into_iter().map(Some).chain([None]) {
            let own = matches!(format, Format::Parquet | Format::Jsonl);
            let lossy = think == Some(Think::None) || (think == Some(Think::Separate) && format == Format::Openr1);
            if lossy || (own && think.is_some()) {
                continue;
            }
            let dir = tempdir().unwrap();
            let (from, file) = (dataset(dir.path()), dir.path().join(file_name(format)));
            exported(&from, format, think, true, &file).unwrap();
            let before = TraceReader::open(&from).unwrap().read_all().unwrap();
            let (done, after) = imported(&file, format, false, &dir.path().join("back")).unwrap();
            assert_eq!(done.tally.samples(), 6);
            for (before, after) in before.iter().zip(&after) {
                if own {
                    assert_eq!(before, after, "{format}");
                }
                // What a format has no place for may be missing; what it has, is as it was.
                let without = |sample: &Sample| Sample {
                    run_id: String::new(),
                    difficulty: String::new(),
                    generator: String::new(),
                    seed: 0,
                    prompt_tokens: 0,
                    completion_tokens: 0,
                    prompt_token_ids: vec![],
                    token_ids: vec![],
                    ..sample.clone()
                };
                assert_eq!(without(before), without(after), "{format} {think:?}");
            }
        }
    }
}

#[test]
fn only_kept_rows_are_exported_unless_all_are_asked_for() {
    let dir = tempdir().unwrap();
    let from = dataset(dir.path());
    let file = dir.path().join("kept.jsonl");
    let done = exported(&from, Format::Messages, None, false, &file).unwrap();
    assert_eq!(done, Exported { rows: 2, samples: 2, left_out: 4 });
    assert!(lines(&file).iter().all(|row| row["verdict"] == "right"));
    // Nothing is overwritten, and a refused export leaves nothing.
    let before = std::fs::read(&file).unwrap();
    assert!(matches!(exported(&from, Format::Jsonl, None, true, &file), Err(Error::OutputTaken { .. })));
    assert_eq!(std::fs::read(&file).unwrap(), before);
    let failed = dir.path().join("kd.jsonl");
    assert!(matches!(exported(&from, Format::AxolotlKd, None, true, &failed), Err(Error::NoTopK { .. })));
    assert!(matches!(exported(&from, Format::Parquet, Some(Think::None), true, &failed), Err(Error::Setting { .. })));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn rows_have_the_shape_that_their_readers_expect() {
    let dir = tempdir().unwrap();
    let from = dataset(dir.path());
    let write = |format, think| {
        let file = tempdir().unwrap().keep().join("out.jsonl");
        exported(&from, format, think, true, &file).unwrap();
        lines(&file)
    };
    let system = json!({"role": "system", "content": "Be brief."});
    let user = json!({"role": "user", "content": "1 + 1?\nBox it."});
    let text = "<think>\nso 2\n</think>\n\nIt is \\boxed{2}.";
    let assistant = json!({"role": "assistant", "content": text});
    assert_eq!(write(Format::Messages, None)[0]["messages"], json!([system, user, assistant]));
    let row = &write(Format::PromptCompletion, None)[0];
    assert_eq!((&row["prompt"], &row["completion"]), (&json!([system, user]), &json!([assistant])));
    let row = &write(Format::Sharegpt, None)[0];
    assert_eq!(row["conversations"][1], json!({"from": "human", "value": "1 + 1?\nBox it."}));
    assert_eq!(row["conversations"][2], json!({"from": "gpt", "value": text}));
    let row = &write(Format::Messages, Some(Think::Separate))[0]["messages"][2];
    assert_eq!(row, &json!({"role": "assistant", "reasoning_content": "so 2", "content": "It is \\boxed{2}."}));

    let rows = write(Format::Openr1, None);
    assert_eq!(rows.len(), 3);
    let columns: Vec<&String> = rows[0].as_object().unwrap().keys().collect();
    let published = [
        "problem",
        "solution",
        "answer",
        "problem_type",
        "question_type",
        "source",
        "uuid",
        "is_reasoning_complete",
        "generations",
        "correctness_math_verify",
        "correctness_llama",
        "finish_reasons",
        "correctness_count",
        "messages",
    ];
    assert_eq!(columns, published);
    assert_eq!(rows[1]["correctness_math_verify"], json!([false, true]));
    assert_eq!(rows[1]["messages"][2]["content"], rows[1]["generations"][1]);
    assert_eq!((&rows[2]["is_reasoning_complete"], &rows[2]["correctness_count"]), (&json!([false, true]), &json!(0)));
}

#[test]
fn captured_tokens_stand_beside_the_messages() {
    let dir: TempDir = tempdir().unwrap();
    let run = crate::store::RunHeader { capture: Some(Capture::TopK(2)), ..example::header() };
    let problems = example::problems();
    let problems: Vec<_> = problems.iter().collect();
    let mut store = crate::store::TraceStore::open(&dir.path().join("run"), &run, None, &problems, 4).unwrap();
    let mut sample = Sample { run_id: run.run_id(), token_ids: vec![7, 8], ..example::samples().remove(0) };
    sample.targets = Some(Targets {
        token_logprobs: vec![-0.5, -0.25],
        logsumexp: vec![1.0, 2.0],
        widths: vec![2, 2],
        ids: vec![7, 9, 8, 3],
        logprobs: vec![-0.5, -1.5, -0.25, -2.0],
        counts: vec![],
    });
    store.append(sample).unwrap();
    drop(store);
    let file = dir.path().join("kd.jsonl");
    exported(&dir.path().join("run"), Format::AxolotlKd, None, false, &file).unwrap();
    let expected = json!([
        [{"token": "token_id:7", "logprob": -0.5}, {"token": "token_id:9", "logprob": -1.5}],
        [{"token": "token_id:8", "logprob": -0.25}, {"token": "token_id:3", "logprob": -2.0}]
    ]);
    assert_eq!(lines(&file)[0]["logprobs"], expected);
    let (done, back) = imported(&file, Format::AxolotlKd, false, &dir.path().join("back")).unwrap();
    assert!(done.left_behind);
    assert_eq!((back[0].reasoning.as_str(), back[0].verdict), ("two and two", Verdict::Right));
    // The columns of shards, with their lists of lists, are columns of Parquet too.
    let parquet = dir.path().join("out.parquet");
    exported(&dir.path().join("run"), Format::Parquet, None, false, &parquet).unwrap();
    assert!(imported(&parquet, Format::Parquet, false, &dir.path().join("again")).unwrap().0.left_behind);
}

#[test]
fn foreign_rows_are_judged_or_said_to_be_unjudged() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("foreign.jsonl");
    let rows = [
        json!({"messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "<think>\ns\n</think>\n\n\\boxed{4}"}], "answer": 4}),
        json!({"messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "\\boxed{5}"}], "answer": "4"}),
        json!({"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Me."}]}),
        json!({"messages": [{"role": "user", "content": "Cut"}, {"role": "assistant", "content": "<think>\nand"}], "finish_reason": "length"}),
        json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}]}),
        json!({"messages": [{"role": "user", "content": "a"}]}),
    ];
    std::fs::write(&file, rows.map(|row| row.to_string() + "\n").concat()).unwrap();
    let (done, samples) = imported(&file, Format::Messages, false, &dir.path().join("strict")).unwrap();
    let verdicts: Vec<Verdict> = samples.iter().map(|sample| sample.verdict).collect();
    assert_eq!(verdicts, [Verdict::Right, Verdict::Wrong, Verdict::Undecided, Verdict::Unterminated]);
    assert_eq!((done.rows, done.unverified, done.tally.kept), (6, 2, 1));
    assert_eq!(
        done.left_out.into_iter().collect::<Vec<_>>(),
        [("several turns", 1), ("the last message is not the assistant's", 1)]
    );
    // The second sample of the same problem.
    assert_eq!((samples[1].sample, &samples[1].uuid), (1, &samples[0].uuid));
    assert_eq!(samples[2].drop_reason, "not verified: there is no gold answer");
    let (done, samples) = imported(&file, Format::Messages, true, &dir.path().join("trusting")).unwrap();
    assert_eq!((done.tally.kept, samples[2].kept, samples[3].kept), (2, true, false));
    assert!(matches!(imported(&file, Format::Sharegpt, true, &dir.path().join("x")), Err(Error::MissingColumn { .. })));
    assert!(!dir.path().join("x").exists());
    let none = dir.path().join("none.jsonl");
    std::fs::write(&none, "{\"messages\": []}\n").unwrap();
    let error = imported(&none, Format::Messages, true, &dir.path().join("y")).unwrap_err();
    assert!(error.to_string().contains("1 rows: no messages"), "{error}");
}
