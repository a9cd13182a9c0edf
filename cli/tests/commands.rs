//! The built program as a user meets it: help, errors that help, and a small pipeline from end to end.

use std::path::Path;
use std::process::{Command, Output};

fn retort(arguments: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_retort"));
    command.args(arguments).current_dir(folder).env_remove("RUST_BACKTRACE").output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs and expects success; gives back standard output.
fn succeeds(arguments: &[&str], folder: &Path) -> String {
    let output = retort(arguments, folder);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Runs and expects exit code 2; gives back standard error.
fn fails(arguments: &[&str], folder: &Path) -> String {
    let output = retort(arguments, folder);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stdout));
    text(&output.stderr)
}

#[test]
fn every_command_has_help_with_an_example() {
    let here = tempfile::tempdir().expect("folder");
    for command in [
        "quickstart",
        "teacher train",
        "student train",
        "model inspect",
        "model logits",
        "model generate",
        "datagen run",
        "datagen stats",
        "datagen show",
        "datagen verify",
        "distill run",
        "evals run",
        "evals compare",
    ] {
        let mut arguments: Vec<&str> = command.split(' ').collect();
        arguments.push("--help");
        let help = succeeds(&arguments, here.path());
        assert!(help.contains("Example"), "`{command} --help` shows no example");
    }
}

#[test]
fn errors_name_the_place_and_the_remedy() {
    let here = tempfile::tempdir().expect("folder");
    std::fs::write(
        here.path().join("bad.jsonl"),
        "{\"question\": \"1+1?\", \"answer\": \"#### 2\"}\n{\"question\": 3\n",
    )
    .expect("writable");
    let run = |problems: &str| {
        fails(&["datagen", "run", "--teacher", "embedded", "--problems", problems, "--out", "x"], here.path())
    };
    let message = run("bad.jsonl");
    assert!(message.contains("bad.jsonl") && message.contains('2') && message.contains("hint:"), "{message}");
    assert!(run("missing.jsonl").contains("missing.jsonl"));
    assert!(run("gym:chess").contains("chess"));
    let message = fails(&["model", "inspect", "nowhere"], here.path());
    assert!(message.contains("nowhere"), "{message}");
    assert!(!here.path().join("x").join("manifest.json").exists(), "a refused run leaves no dataset");
}

#[test]
fn logits_are_refused_outside_the_vocabulary_and_written_inside() {
    let here = tempfile::tempdir().expect("folder");
    let run = |tokens: &str| {
        retort(&["model", "logits", "embedded", "--tokens", tokens, "--out", "l.safetensors"], here.path())
    };
    assert!(!run("999999").status.success());
    assert!(run("1,2,3").status.success());
    let read = candle_core::safetensors::load(here.path().join("l.safetensors"), &candle_core::Device::Cpu);
    let logits = read.expect("a safetensors file").remove("logits").expect("the key `logits`");
    assert_eq!(logits.dim(0).expect("a matrix"), 3);
}

#[test]
fn the_pipeline_runs_from_end_to_end_and_continues() {
    let here = tempfile::tempdir().expect("folder");
    let small = [
        "quickstart",
        "--out",
        "demo",
        "--set",
        "traces.limit=60",
        "--set",
        "control.learning_rates=[1e-3]",
        "--set",
        "student.epochs=1",
        "--set",
        "student.validation_share=0.2",
        "--set",
        "student.benchmark.limit=30",
    ];
    let table = succeeds(&small, here.path());
    assert!(table.contains("teacher") && table.contains("student"), "{table}");
    let report = |folder: &str| -> serde_json::Value {
        let json = std::fs::read_to_string(here.path().join(folder).join("report.json")).expect("report.json");
        serde_json::from_str(&json).expect("JSON")
    };
    let first = report("demo");
    for role in ["teacher", "base", "control", "student"] {
        assert_eq!(first[role]["problems"], 30, "{role}");
    }
    assert!(here.path().join("demo/report.html").is_file());
    assert!(here.path().join("demo/student/tokenizer.json").is_file());

    // Again over the same folder: nothing is repeated, the scores stay.
    succeeds(&small, here.path());
    assert_eq!(first["student"]["pass_at_1"], report("demo")["student"]["pass_at_1"]);
    let stats = succeeds(&["datagen", "stats", "demo/traces", "--json"], here.path());
    let stats: serde_json::Value = serde_json::from_str(&stats).expect("JSON");
    assert_eq!(stats["samples"], 60);
}
