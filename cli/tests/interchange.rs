//! Data in and out of the built program: problems from a dataset's folder, traces in other programs' shapes and back, and
//! requests that are answered by file.

use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};

fn retort(arguments: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_retort"));
    command.args(arguments).current_dir(folder).env_remove("RUST_BACKTRACE").output().expect("the program starts")
}

/// Runs and expects this exit code; gives back standard output, or standard error where it is 2.
fn ends(code: i32, arguments: &[&str], folder: &Path) -> String {
    let Output { status, stdout, stderr } = retort(arguments, folder);
    let [out, err] = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert_eq!(status.code(), Some(code), "{arguments:?}: {out}{err}");
    if code == 2 { err } else { out }
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("a file");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

const QUICK: [&str; 4] = ["--set", "sampling.max_tokens=48", "--set", "n=2"];

/// A folder with two splits in CSV, and a run over one of them.
fn traces(here: &Path) {
    std::fs::create_dir(here.join("sums")).expect("writable");
    std::fs::write(here.join("sums/train.csv"), "q,gold\nFind 12+30.,42\nFind 7+8.,15\n").expect("writable");
    std::fs::write(here.join("sums/test.csv"), "q,gold\nFind 1+1.,2\n").expect("writable");
    let run = ["datagen", "run", "--teacher", "embedded", "--problems", "sums", "--split", "train", "--out", "traces"];
    let columns = ["--set", "problems.question=q", "--set", "problems.answer=gold", "--set", "capture.top_k=4"];
    let plain = ["--set", "prompt_suffix="];
    ends(0, &[&run[..], &QUICK, &columns, &plain].concat(), here);
}

#[test]
fn a_datasets_folder_is_asked_as_the_recipe_says() {
    let here = tempfile::tempdir().expect("folder");
    traces(here.path());
    let run = ["datagen", "run", "--teacher", "embedded", "--problems", "sums", "--out", "traces"];
    let error = ends(2, &[&run[..], &QUICK].concat(), here.path());
    assert!(error.contains("several splits: `test`, `train`") && error.contains("--split"), "{error}");
    let error = ends(2, &[&run[..], &QUICK, &["--split", "train"]].concat(), here.path());
    assert!(error.contains("it has `q`, `gold`") && error.contains("problems.question"), "{error}");
    // Other prompts are another run.
    let columns = ["--split", "train", "--set", "problems.question=q", "--set", "problems.answer=gold"];
    let put = ["--set", "capture.top_k=4", "--set", "prompt_suffix=", "--set", "prompt.template=Reckon. {{ q }}"];
    let error = ends(2, &[&run[..], &QUICK, &columns, &put].concat(), here.path());
    assert!(error.contains("another run") && error.contains("Reckon."), "{error}");
    let preset = ["--set", "prompt.preset=r1", "--set", "prompt.system=x"];
    let error = ends(2, &[&run[..], &QUICK, &columns, &preset].concat(), here.path());
    assert!(error.contains("prompt.preset"), "{error}");
    let asked = ["datagen", "run", "--teacher", "embedded", "--problems", "sums", "--out", "asked"];
    let preset = ["--set", "prompt.preset=r1"];
    ends(0, &[&asked[..], &QUICK, &columns, &preset].concat(), here.path());
    ends(0, &["datagen", "export", "asked", "--format", "jsonl", "--all", "--out", "asked.jsonl"], here.path());
    let rows = lines(&here.path().join("asked.jsonl"));
    let question = rows[0]["messages"][0]["content"].as_str().expect("text");
    assert!(question.ends_with("within \\boxed{}."), "{question}");
    assert!(
        rows.iter().all(|row| row["messages"][1]["content"].as_str().is_some_and(|text| text.starts_with("<think>")))
    );
}

#[test]
fn traces_go_out_and_come_back() {
    let here = tempfile::tempdir().expect("folder");
    traces(here.path());
    let formats = ["jsonl", "parquet", "messages", "sharegpt", "prompt-completion", "openr1", "axolotl-kd"];
    for format in formats {
        let file = format!("{format}.{}", if format == "parquet" { "parquet" } else { "jsonl" });
        let export = ["datagen", "export", "traces", "--format", format, "--all", "--out", &file];
        assert!(ends(0, &export, here.path()).contains("4 samples"));
        assert!(ends(2, &export, here.path()).contains("is there already"));
        let out = format!("back-{format}");
        let import = ["datagen", "import", &file, "--format", format, "--out", &out];
        assert!(ends(0, &import, here.path()).contains("4 samples"));
        assert!(ends(0, &["datagen", "verify", &out], here.path()).contains("every checksum right"));
        let again = format!("again-{format}.jsonl");
        ends(0, &["datagen", "export", &out, "--format", "jsonl", "--all", "--out", &again], here.path());
        let told = |file: &str| -> Vec<Value> {
            let names = ["problem", "answer", "reasoning", "response", "verdict", "verdict_reason", "kept"];
            let row = |row: &Value| names.iter().map(|name| row[*name].clone()).collect();
            lines(&here.path().join(file)).iter().map(row).collect()
        };
        assert_eq!(told("jsonl.jsonl"), told(&again), "{format}");
    }
    let tokens =
        ["datagen", "import", "messages.jsonl", "--format", "messages", "--tokenizer", "embedded", "--out", "tokens"];
    ends(0, &tokens, here.path());
    ends(0, &["datagen", "export", "tokens", "--format", "jsonl", "--all", "--out", "tokens.jsonl"], here.path());
    let (ours, told) = (lines(&here.path().join("jsonl.jsonl")), lines(&here.path().join("tokens.jsonl")));
    for (ours, told) in ours.iter().zip(&told) {
        assert_eq!(ours["prompt_token_ids"], told["prompt_token_ids"]);
        assert!(!told["token_ids"].as_array().expect("a list").is_empty());
    }
    let dry = ["distill", "run", "--student", "embedded", "--traces", "tokens", "--out", "student", "--dry-run"];
    ends(0, &dry, here.path());
}

#[test]
fn requests_are_answered_by_file() {
    let here = tempfile::tempdir().expect("folder");
    let run = ["--problems", "gym:arithmetic@1", "--limit", "3", "-n", "2", "--teacher-model", "wise"];
    let write = [&["datagen", "batch", "write", "--out", "requests.jsonl"][..], &run].concat();
    assert!(ends(0, &write, here.path()).contains("6 requests"));
    assert!(ends(2, &write, here.path()).contains("is there already"));
    let requests = lines(&here.path().join("requests.jsonl"));
    assert_eq!((&requests[0]["method"], &requests[0]["url"]), (&json!("POST"), &json!("/v1/chat/completions")));
    let fields: Vec<&String> = requests[0]["body"].as_object().expect("a body").keys().collect();
    assert_eq!(fields, ["model", "messages", "temperature", "top_p", "max_tokens", "seed"]);
    let name = |at: usize| requests[at]["custom_id"].as_str().expect("a name").to_owned();
    assert!(name(0).ends_with(":0") && name(1).ends_with(":1"));

    let answer = |name: &str, text: &str| {
        let choice = json!({"index": 0, "message": {"role": "assistant", "reasoning_content": "so", "content": text}, "finish_reason": "stop"});
        let usage = json!({"prompt_tokens": 9, "completion_tokens": 5});
        let body =
            json!({"id": "c", "object": "chat.completion", "model": "wise", "choices": [choice], "usage": usage});
        json!({"id": "r", "custom_id": name, "response": {"status_code": 200, "request_id": "q", "body": body}, "error": null})
    };
    let gone = json!({"id": "r", "custom_id": name(3), "response": {"status_code": 429, "body": {"error": {"message": "later"}}}, "error": null});
    let other = answer("somebody:0", "\\boxed{1}");
    let mut wiser = answer(&name(4), "\\boxed{1}");
    wiser["response"]["body"]["model"] = json!("wiser");
    let (right, twice) = (answer(&name(0), "\\boxed{0}"), answer(&name(1), "\\boxed{1}"));
    let write_lines = |file: &str, rows: &[Value]| {
        let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
        std::fs::write(here.path().join(file), text).expect("writable");
    };
    write_lines("results.jsonl", &[right, twice.clone(), twice, gone, wiser, other]);
    let read = |file: &str, code: i32| {
        ends(code, &[&["datagen", "batch", "read", file, "--out", "traces"][..], &run].concat(), here.path())
    };
    let said = read("results.jsonl", 3);
    for expected in [
        "1 results belong to no request of this run: `somebody:0`",
        "1 results repeat a request",
        "1 results make no sample: status 429",
        "`wiser` answered where `wise` was asked: give that name as `--teacher-model`, or allow it with `--set endpoint.",
        "2 of 6 samples",
        "2 requests failed and 2 have no result",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    // The rest continues the dataset, whose earlier rows stay.
    write_lines("more.jsonl", &(0..6).map(|at| answer(&name(at), "\\boxed{7}")).collect::<Vec<_>>());
    assert!(read("more.jsonl", 0).contains("6 of 6 samples"));
    ends(0, &["datagen", "export", "traces", "--format", "jsonl", "--all", "--out", "traces.jsonl"], here.path());
    let rows = lines(&here.path().join("traces.jsonl"));
    let responses: Vec<&Value> = rows.iter().map(|row| &row["response"]).collect();
    assert_eq!(responses[..3], ["\\boxed{0}", "\\boxed{1}", "\\boxed{7}"]);
    assert_eq!((&rows[0]["reasoning"], &rows[0]["completion_tokens"]), (&json!("so"), &json!(5)));
    write_lines("broken.jsonl", &[json!({"response": {}})]);
    assert!(read("broken.jsonl", 2).contains("line 1 of `broken.jsonl`"));
}
