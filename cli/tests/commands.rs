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
        "student init",
        "model inspect",
        "model convert",
        "model merge",
        "model logits",
        "model generate",
        "datagen run",
        "datagen stats",
        "datagen show",
        "datagen verify",
        "datagen repair",
        "datagen merge",
        "datagen select",
        "datagen page",
        "datagen export",
        "datagen import",
        "datagen batch write",
        "datagen batch read",
        "distill run",
        "evals run",
        "evals benchmarks",
        "evals regrade",
        "evals compare",
        "evals grade",
        "serve",
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
fn answers_are_graded_line_by_line_up_to_a_bad_one() {
    let here = tempfile::tempdir().expect("folder");
    let pairs = [
        r#"{"gold": "\\frac{1}{2}", "answer": "0.5"}"#,
        r#"{"gold": "5 cm", "answer": "5 m"}"#,
        r#"{"gold": "9^{9^{9^9}}", "answer": "7"}"#,
    ];
    std::fs::write(here.path().join("pairs.jsonl"), pairs.join("\n") + "\n").expect("writable");
    let out = succeeds(&["evals", "grade", "pairs.jsonl"], here.path());
    let lines: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let verdicts: Vec<&str> = lines.iter().map(|line| line["verdict"].as_str().expect("a verdict")).collect();
    assert_eq!(verdicts, ["equal", "not_equal", "undecided"]);
    assert!(lines.iter().all(|line| line["reason"].as_str().is_some_and(|reason| !reason.is_empty())), "{out}");

    for bad in ["{\"gold\": \"5\"", "[5]", "{\"gold\": \"5\"}", "{\"gold\": \"5\", \"answer\": 5}"] {
        std::fs::write(here.path().join("bad.jsonl"), format!("{}\n{bad}\n", pairs[0])).expect("writable");
        let output = retort(&["evals", "grade", "bad.jsonl"], here.path());
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains("line 2 of `bad.jsonl`") && message.contains("hint:"), "{message}");
        assert_eq!(text(&output.stdout).lines().count(), 1, "what came before is graded");
    }
    assert!(fails(&["evals", "grade", "missing.jsonl"], here.path()).contains("missing.jsonl"));
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
    assert!(run("4").status.success(), "its own earlier output is no file of the model");
    // Inside the model's folder a bare name may be one of its files.
    let model = here.path().join("model");
    assert!(
        retort(&["model", "convert", "embedded-student", "--to", "bf16", "--out", "model"], here.path())
            .status
            .success()
    );
    let refused = retort(&["model", "logits", ".", "--tokens", "1", "--out", "model.safetensors"], &model);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is a file of the model"));
    assert!(retort(&["model", "logits", ".", "--tokens", "1", "--out", "new.safetensors"], &model).status.success());
}

/// The `config.json` of DeepSeek-V3, alone in a folder.
fn config_only(here: &Path) {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../teacher/tests/fixtures/published/v3.json");
    std::fs::copy(config, here.join("config.json")).expect("copied");
}

#[test]
fn a_config_alone_tells_sizes_and_the_saving() {
    let here = tempfile::tempdir().expect("folder");
    config_only(here.path());
    let json = succeeds(&["model", "inspect", ".", "--json"], here.path());
    let facts: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(facts["parameters"], 671_026_419_200_u64);
    assert_eq!(facts["active_parameters"], 36_625_618_432_u64);
    assert_eq!(facts["kv_bytes_per_token_bf16"], 70_272);
    assert_eq!(facts["kv_bytes_per_token_bf16_expanded"], 4_997_120);
    assert_eq!(facts["bytes"], serde_json::Value::Null);
    let text = succeeds(&["model", "inspect", "."], here.path());
    for part in ["671.03 billion", "36.63 billion", "68.6 KiB", "4880 KiB", "71.1 times"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let message = fails(&["model", "logits", ".", "--tokens", "1", "--out", "l.safetensors"], here.path());
    assert!(message.contains("model.safetensors") && message.contains("hint:"), "{message}");
    let message = fails(&["model", "generate", ".", "--prompt", "x", "--raw"], here.path());
    assert!(message.contains("model.safetensors") && message.contains("hint:"), "{message}");
    let message = fails(&["model", "generate", ".", "--prompt", "x", "--raw", "--show-prompt"], here.path());
    assert!(message.contains("tokenizer.json") && message.contains("hint:"), "{message}");
    std::fs::write(here.path().join("pytorch_model.bin"), "").expect("written");
    let message = fails(&["model", "inspect", "."], here.path());
    assert!(message.contains("pytorch_model.bin") && message.contains("runs code"), "{message}");
}

#[test]
fn weights_are_held_against_the_config_and_need_no_tokenizer() {
    let here = tempfile::tempdir().expect("folder");
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../student/tests/fixtures/qwen2");
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(fixture.join(file), here.path().join(file)).expect("copied");
    }
    succeeds(&["model", "logits", ".", "--tokens", "1,2", "--out", "l.safetensors"], here.path());
    let facts = succeeds(&["model", "inspect", ".", "--json"], here.path());
    let facts: serde_json::Value = serde_json::from_str(&facts).expect("JSON");
    assert_eq!(facts["dtypes"]["F32"], facts["parameters"]);
    let config = std::fs::read_to_string(here.path().join("config.json")).expect("text");
    let mut config: serde_json::Value = serde_json::from_str(&config).expect("JSON");
    config["num_hidden_layers"] = 1.into();
    config["layer_types"] = serde_json::Value::Null;
    std::fs::write(here.path().join("config.json"), config.to_string()).expect("written");
    let message = fails(&["model", "inspect", "."], here.path());
    assert!(message.contains("model.layers.1.") && message.contains("hint:"), "{message}");
}

#[test]
fn a_format_that_cannot_hold_the_weights_leaves_no_model() {
    let here = tempfile::tempdir().expect("folder");
    succeeds(&["model", "convert", "embedded-student", "--to", "f32", "--out", "whole"], here.path());
    let file = here.path().join("whole/model.safetensors");
    let mut bytes = std::fs::read(&file).expect("weights");
    let header = u64::from_le_bytes(bytes[..8].try_into().expect("a length")) as usize;
    let entries: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).expect("a header");
    let start = &entries["model.layers.0.mlp.up_proj.weight"]["data_offsets"][0];
    let element = 8 + header + start.as_u64().expect("an offset") as usize + 4 * 100;
    bytes[element..element + 4].copy_from_slice(&3.4e38f32.to_le_bytes());
    std::fs::write(&file, bytes).expect("written");
    for format in ["q4", "q8", "bf16", "f16"] {
        let message = fails(&["model", "convert", "whole", "--to", format, "--out", "packed"], here.path());
        assert!(message.contains("up_proj.weight` holds 3.4e38 at element 100"), "{format}: {message}");
        assert_eq!(std::fs::read_dir(here.path().join("packed")).expect("folder").count(), 0, "{format}");
    }
    let config = here.path().join("whole/config.json");
    let text = std::fs::read_to_string(&config).expect("config");
    std::fs::write(&config, text.replacen('{', "{\"quantization_config\": {\"quant_method\": \"awq\"},", 1))
        .expect("written");
    let message = fails(&["model", "inspect", "whole"], here.path());
    assert!(message.contains("quantization_config.quant_method") && message.contains("awq"), "{message}");
}

#[test]
fn a_prompt_is_shown_and_completed_as_it_is_or_as_a_chat() {
    let here = tempfile::tempdir().expect("folder");
    let generate = |more: &[&str]| {
        let arguments = [&["model", "generate", "embedded", "--prompt", "2+3?", "--max-tokens", "6"], more].concat();
        succeeds(&arguments, here.path())
    };
    let raw = generate(&["--raw", "--show-prompt"]);
    let pieces = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split_once('"').expect("a piece").1.trim_end_matches('"').into()).collect()
    };
    assert_eq!(pieces(&raw).concat(), "2+3?");
    let chat = pieces(&generate(&["--show-prompt"]));
    assert_eq!(chat.iter().filter(|piece| *piece == "<｜begin▁of▁sentence｜>").count(), 1, "{chat:?}");
    assert!(chat.concat().contains("2+3?") && chat.len() > raw.lines().count());
    // Greedy text is the same every time, and the thinking that the prompt opened is printed with its tag.
    let text = generate(&["--greedy"]);
    assert!(text.starts_with("<think>\n") && text.ends_with('\n'), "{text}");
    assert_eq!(text, generate(&["--greedy"]));
}

#[test]
fn a_name_on_the_hub_is_taken_from_the_cache_or_says_what_to_do() {
    let here = tempfile::tempdir().expect("folder");
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let model = here.path().join("hub/models--org--v3");
    std::fs::create_dir_all(model.join("snapshots").join(commit)).expect("created");
    std::fs::create_dir_all(model.join("refs")).expect("created");
    std::fs::write(model.join("refs/main"), commit).expect("written");
    config_only(&model.join("snapshots").join(commit));
    let run = |name: &str, variables: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_retort"));
        // Nothing listens on the discard port of a machine that runs tests.
        command.env("HF_ENDPOINT", "http://127.0.0.1:9").env("HF_HOME", here.path()).env("HF_TOKEN", "hf_secret");
        command.envs(variables.iter().copied()).env_remove("HF_HUB_CACHE");
        let output = command.args(["model", "inspect", name]).output().expect("the program starts");
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, out, err) = run("hub:org/v3", &[("HF_HUB_OFFLINE", "1")]);
    assert!(code == Some(0) && out.contains("671.03 billion"), "{out}{err}");
    let (code, _, err) = run("hub:org/other", &[]);
    assert!(code == Some(2) && err.contains("127.0.0.1:9") && err.contains("hint:"), "{err}");
    assert!(!err.contains("hf_secret"), "{err}");
    let (code, _, err) = run("hub:../x", &[]);
    assert!(code == Some(2) && err.contains("hub:org/name"), "{err}");
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

#[test]
fn traces_are_curated_and_seen() {
    let here = tempfile::tempdir().expect("folder");
    let here = here.path();
    let json =
        |arguments: &[&str]| -> serde_json::Value { serde_json::from_str(&succeeds(arguments, here)).expect("JSON") };
    let traces = ["datagen", "run", "--teacher", "embedded", "--problems", "gym:countdown@2", "--limit", "6"];
    succeeds(&[&traces[..], &["-n", "3", "--out", "traces"]].concat(), here);
    let one = ["datagen", "select", "traces", "--out", "curated", "--set", "per_problem.at_most=1", "--json"];
    let told = json(&one);
    let stats = json(&["datagen", "stats", "curated", "--json"]);
    assert_eq!((&stats["samples"], &stats["kept"]), (&18.into(), &told["kept"]));
    assert_eq!(stats["kept"], stats["kept_problems"]);
    assert!(here.join("curated/recipe.toml").is_file());
    assert!(fails(&one, here).contains("hint: name an empty or new folder"));
    let unknown = [&one[..3], &["--out", "other", "--set", "per_problems.at_most=1"]].concat();
    assert!(fails(&unknown, here).contains("per_problems"));

    let bars = succeeds(&["datagen", "stats", "curated"], here);
    assert!(bars.lines().all(|line| line.chars().count() <= 80) && bars.contains('█'), "{bars}");
    let dropped = succeeds(&["datagen", "show", "curated", "--dropped", "--limit", "99", "--json"], here);
    assert_eq!(dropped.lines().count() as u64, 18 - told["kept"].as_u64().expect("a count"));
    let none = ["datagen", "show", "curated", "--kept", "--reason", "not picked"];
    assert!(succeeds(&none, here).contains("no such trace among 18"));

    succeeds(&["datagen", "page", "curated", "--out", "page.html"], here);
    let page = std::fs::read_to_string(here.join("page.html")).expect("a page");
    assert!(page.contains("not picked") && page.contains("traces are kept"));
    // What was curated is what a student learns from.
    let train = ["distill", "run", "--student", "embedded", "--traces", "curated", "--out", "student", "--dry-run"];
    succeeds(&train, here);
}

/// Logits of a few tokens.
fn logits(model: &str, here: &Path) -> Vec<f32> {
    succeeds(&["model", "logits", model, "--tokens", "5,7,11,2,90", "--out", "logits.safetensors"], here);
    let loaded = candle_core::safetensors::load(here.join("logits.safetensors"), &candle_core::Device::Cpu);
    loaded.expect("logits")["logits"].flatten_all().and_then(|logits| logits.to_vec1()).expect("f32")
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn a_student_starts_from_a_teacher_and_learns_by_an_adapter() {
    let here = tempfile::tempdir().expect("folder");
    let here = here.path();
    let from = ["--from", "embedded-student", "--vocabulary", "embedded", "--out", "copy"];
    let told = succeeds(&[&["student", "init", "--preset", "3m"][..], &from].concat(), here);
    assert!(told.contains("56 of 56 tensors"), "{told}");
    let base = logits("embedded-student", here);
    assert_eq!(largest_difference(&logits("copy", here), &base), 0.0, "the same shape with the same weights");
    let unfit = ["student", "init", "--preset", "1m", "--from", "embedded-student", "--vocabulary", "embedded"];
    assert!(fails(&[&unfit[..], &["--out", "unfit"]].concat(), here).contains("nothing could be taken"));

    let traces = ["datagen", "run", "--teacher", "embedded", "--problems", "gym", "--limit", "12", "--out", "traces"];
    succeeds(&traces, here);
    let train = ["distill", "run", "--traces", "traces", "--no-eval", "--set", "learning_rate=1e-2"];
    let lora = ["--set", "lora.rank=4", "--set", "lora.alpha=8"];
    succeeds(&[&train[..], &lora, &["--student", "copy", "--out", "adapter"]].concat(), here);
    let adapted = logits("adapter", here);
    assert!(largest_difference(&adapted, &base) > 1e-3, "the adapter has learnt something");

    let told = succeeds(&["model", "merge", "adapter", "--out", "merged"], here);
    assert!(!told.contains("rounded"), "{told}");
    assert!(largest_difference(&logits("merged", here), &adapted) < 1e-5);
    succeeds(&["model", "merge", "adapter", "--base", "copy", "--to", "f16", "--out", "half"], here);
    assert!(largest_difference(&logits("half", here), &adapted) < 0.1);
    succeeds(&["model", "convert", "copy", "--to", "q8", "--out", "small"], here);
    let told = succeeds(&["model", "merge", "adapter", "--base", "small", "--out", "rounded"], here);
    assert!(told.contains("rounded after them: 42 in q8"), "{told}");

    let fresh = [&train[..], &["--student", "preset:1m", "--out", "fresh"]].concat();
    assert!(succeeds(&fresh, here).contains("parameters in `fresh/initial-1m-0`"));
    assert!(here.join("fresh/model.safetensors").is_file());
    // A second run finds the same student and the end of its training.
    assert!(succeeds(&fresh, here).contains("student written to `fresh`"));
    let unknown = fails(&[&train[..], &["--student", "preset:9t", "--out", "none"]].concat(), here);
    assert!(unknown.contains("presets are 1m"), "{unknown}");

    // An adapter is trained further as what it is.
    succeeds(&[&train[..], &["--student", "adapter", "--out", "further"]].concat(), here);
    assert!(here.join("further/adapter_model.safetensors").is_file());
    let both = fails(&[&train[..], &lora, &["--student", "adapter", "--out", "both"]].concat(), here);
    assert!(both.contains("leave `[lora]` out"), "{both}");
    assert!(fails(&["model", "merge", "copy", "--out", "again"], here).contains("no adapter"));
    assert!(fails(&["model", "merge", "adapter", "--out", "adapter"], here).contains("name another folder"));
}
