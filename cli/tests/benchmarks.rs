//! `retort evals run` with definitions: asked, scored, written for others, judged anew, compared.

use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};

fn evals(here: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_retort"));
    // Nothing listens on the discard port of a machine that runs tests.
    command.env("HF_ENDPOINT", "http://127.0.0.1:9").env("HF_HOME", here);
    command.arg("evals").args(arguments).current_dir(here).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn succeeds(here: &Path, arguments: &[&str]) -> String {
    let output = evals(here, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

fn fails(here: &Path, arguments: &[&str]) -> String {
    let output = evals(here, arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stdout));
    text(&output.stderr)
}

fn rows(path: &Path, rows: &[Value]) {
    std::fs::write(path, rows.iter().map(|row| format!("{row}\n")).collect::<String>()).expect("written");
}

fn document(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("read")).expect("JSON")
}

/// Files of a folder whose names begin and end so.
fn found(folder: &Path, begin: &str, end: &str) -> Vec<std::path::PathBuf> {
    let paths = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let named = |path: &std::path::PathBuf| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        name.starts_with(begin) && name.ends_with(end)
    };
    paths.filter(named).collect()
}

#[test]
fn a_definition_is_followed_and_its_run_judged_anew() {
    let here = tempfile::tempdir().expect("folder");
    let here = here.path();
    let sums: Vec<Value> = (0..9)
        .map(|at| json!({"question": format!("Find {at}+{}.", at + 3), "answer": format!("#### {}", 2 * at + 3)}))
        .collect();
    std::fs::create_dir(here.join("data")).expect("created");
    rows(&here.join("data/train.jsonl"), &sums);
    rows(&here.join("data/test.jsonl"), &sums[..4]);

    let listed = succeeds(here, &["benchmarks"]);
    assert!(listed.lines().any(|line| line.starts_with("mmlu-harness ")), "{listed}");
    let mine =
        succeeds(here, &["benchmarks", "gsm8k"]).replace("samples = 4", "samples = 2").replace("\"gsm8k\"", "\"sums\"");
    std::fs::write(here.join("sums.toml"), mine).expect("written");
    let run = |benchmark: &'static str, out: &'static str| {
        let set = "sampling.max_tokens=48";
        [
            "run",
            "--model",
            "embedded",
            "--benchmark",
            benchmark,
            "--data",
            "data",
            "--set",
            set,
            "--harness-out",
            "h",
            "--out",
            out,
        ]
    };
    let table = succeeds(here, &run("sums.toml", "sums"));
    assert!(table.contains("4 problems, 8 samples"), "{table}");
    let score = document(&here.join("sums/score.json"));
    let id = &score["run"]["benchmark"];
    let hash = blake3_of(&here.join("data/test.jsonl"));
    assert_eq!((&id["name"], &id["version"], &id["data"]), (&json!("sums"), &json!(1), &json!(hash)));
    assert_eq!(id["definition"], blake3_of(&here.join("sums.toml")));
    assert_eq!(id["definition"], blake3_of(&here.join("sums/benchmark.toml")));

    let table = succeeds(here, &run("gsm8k-harness", "harness"));
    assert!(
        table.contains("exact_match (strict-match)") && table.contains("exact_match (flexible-extract)"),
        "{table}"
    );
    let results = found(&here.join("h/embedded teacher"), "results_", ".json");
    let tasks: Vec<Value> = results.iter().map(|path| document(path)["results"].clone()).collect();
    assert_eq!(tasks.len(), 2);
    let harness = tasks.iter().find_map(|tasks| tasks.get("gsm8k-harness")).expect("the task");
    assert!(harness["exact_match,strict-match"].is_number(), "{harness}");
    assert_eq!(found(&here.join("h/embedded teacher"), "samples_gsm8k-harness_", ".jsonl").len(), 1);

    let before = std::fs::read(here.join("sums/score.json")).expect("read");
    let told = succeeds(here, &["regrade", "sums", "--out", "again"]);
    assert!(told.contains("0 of 8 verdicts changed"), "{told}");
    assert_eq!(document(&here.join("again/score.json"))["pass_at_1"], score["pass_at_1"]);
    assert_eq!(std::fs::read(here.join("sums/score.json")).expect("read"), before);

    // What a definition says is not said by a recipe, too; another name is none.
    let error = fails(here, &[&run("gsm8k-harness", "x")[..], &["--set", "prompt.system=Be brief."]].concat());
    assert!(error.contains("prompts as they are"), "{error}");
    let error = fails(here, &["run", "--model", "embedded", "--benchmark", "gsm9k", "--out", "x"]);
    assert!(error.contains("`gsm8k`"), "{error}");
    let error = fails(here, &["run", "--model", "embedded", "--benchmark", "gsm8k", "--out", "x"]);
    assert!(error.contains("--data") && error.contains("127.0.0.1:9"), "{error}");
    std::fs::write(here.join("bad.toml"), "name = 'bad'\nversoin = 1\n").expect("written");
    let error = fails(here, &["run", "--model", "embedded", "--benchmark", "bad.toml", "--out", "x"]);
    assert!(error.contains("bad.toml") && error.contains("versoin"), "{error}");
}

#[test]
fn options_are_weighed_and_two_models_compared() {
    let here = tempfile::tempdir().expect("folder");
    let here = here.path();
    let questions: Vec<Value> = (0..70)
        .map(|at| {
            let texts = [format!("{}", 2 * at), format!("it is {}", 2 * at + 1), "none of these".into()];
            json!({"id": at.to_string(), "question": format!("What is {at} plus {at}?"), "answerKey": "A",
                   "choices": {"text": texts, "label": ["A", "B", "C"]}})
        })
        .collect();
    rows(&here.join("test.jsonl"), &questions);
    let run = |model: &'static str, out: &'static str| {
        ["run", "--model", model, "--benchmark", "arc-easy", "--data", "test.jsonl", "--out", out]
    };
    let table = succeeds(here, &run("embedded", "teacher"));
    assert!(table.contains("acc ") && table.contains("acc_norm "), "{table}");
    let answers = std::fs::read(here.join("teacher/likelihoods.jsonl")).expect("read");
    // Cut off in the middle, it goes on and ends with the same bytes.
    std::fs::write(here.join("teacher/likelihoods.jsonl"), &answers[..answers.len() - 900]).expect("written");
    assert_eq!(succeeds(here, &run("embedded", "teacher")), table);
    assert_eq!(std::fs::read(here.join("teacher/likelihoods.jsonl")).expect("read"), answers);

    succeeds(here, &run("embedded-student", "student"));
    let compare = |student: &'static str| ["compare", "--teacher", "teacher", "--student", student, "--out", "report"];
    succeeds(here, &compare("student"));
    let report = document(&here.join("report/report.json"));
    let facts = report["reproducibility"]["facts"].as_array().expect("facts").clone();
    assert!(facts.iter().any(|fact| fact["value"] == "arc-easy, version 1"), "{facts:?}");
    rows(&here.join("test.jsonl"), &questions[..69]);
    succeeds(here, &run("embedded-student", "other"));
    let error = fails(here, &compare("other"));
    assert!(error.contains("`benchmark`"), "{error}");
}

fn blake3_of(path: &Path) -> String {
    blake3::hash(&std::fs::read(path).expect("read")).to_hex().to_string()
}
