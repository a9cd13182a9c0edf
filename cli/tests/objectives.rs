//! `retort distill run` with objectives beyond cross-entropy: what runs, what is refused, what a dry run tells.

use std::path::Path;
use std::process::{Command, Output};

fn distill(here: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_retort"));
    command.args(["distill", "run", "--student", "embedded", "--traces", "traces", "--no-eval"]);
    command.args(more).current_dir(here).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Twenty traces of the embedded teacher.
fn traces(here: &Path, more: &[&str]) {
    let arguments = ["datagen", "run", "--teacher", "embedded", "--problems", "gym:modular", "--limit", "20"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_retort"));
    let made = command
        .args(arguments)
        .args(["--out", "traces"])
        .args(more)
        .current_dir(here)
        .output()
        .expect("the program starts");
    assert!(made.status.success(), "{}", text(&made.stderr));
}

fn recipe(name: &str) -> String {
    format!("{}/../distill/recipes/{name}.toml", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_live_teacher_is_asked_and_the_student_writes() {
    let here = tempfile::tempdir().expect("folder");
    traces(here.path(), &[]);
    let kl = recipe("kl");
    let run = ["--teacher", "embedded", "--recipe", &kl, "--set", "epochs=1", "--set", "average=0.9", "--out", "kl"];
    let done = distill(here.path(), &run);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let metrics = std::fs::read_to_string(here.path().join("kl/metrics.jsonl")).expect("metrics");
    let last: serde_json::Value = serde_json::from_str(metrics.lines().last().expect("a line")).expect("JSON");
    let terms = ["cross_entropy", "forward_kl"].map(|term| last["terms"][term].as_f64().expect("a number"));
    assert!((terms[0] + terms[1] - last["loss"].as_f64().expect("a number")).abs() < 1e-9, "{last}");
    assert!(here.path().join("kl/tensorboard").is_dir() && here.path().join("kl/best/model.safetensors").is_file());

    let on_policy = recipe("on-policy");
    let settings = ["--set", "epochs=0.5", "--set", "per_step=4", "--set", "on_policy.sampling.max_tokens=40"];
    let run = [&["--teacher", "embedded", "--recipe", &on_policy, "--out", "own"][..], &settings].concat();
    let done = distill(here.path(), &run);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(here.path().join("own/model.safetensors").is_file());
}

#[test]
fn what_a_dataset_captured_is_learnt_without_its_teacher() {
    let here = tempfile::tempdir().expect("folder");
    for (capture, loss) in [
        ("capture.top_k=8", "{ loss = \"forward_kl\", weight = 1, rows = { top_k = 8 } }"),
        ("capture.draws=20", "{ loss = \"sampled\", weight = 1 }"),
    ] {
        let folder = here.path().join(loss.replace(|c: char| !c.is_alphanumeric(), ""));
        std::fs::create_dir(&folder).expect("created");
        traces(&folder, &["--set", capture]);
        let terms = format!("objective.terms=[{loss}]");
        let done = distill(&folder, &["--set", &terms, "--set", "epochs=1", "--out", "x"]);
        assert!(done.status.success(), "{loss}: {}", text(&done.stderr));
        assert!(folder.join("x/model.safetensors").is_file());
        let more = format!(
            "objective.terms=[{}]",
            loss.replace("sampled\"", "forward_kl\", rows = \"full\"").replace("= 8", "= 9")
        );
        let refused = distill(&folder, &["--set", &more, "--out", "y"]);
        assert!(text(&refused.stderr).contains("and the traces captured"), "{more}: {}", text(&refused.stderr));
    }
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_written() {
    let here = tempfile::tempdir().expect("folder");
    traces(here.path(), &[]);
    let on_policy = recipe("on-policy");
    let (kl, terms) =
        (recipe("kl"), "objective.terms=[{ loss = \"jensen_shannon\", weight = 1, beta = 2, rows = \"full\" }]");
    for (arguments, says) in [
        (vec!["--recipe", &kl], "needs a teacher"),
        (vec!["--recipe", &on_policy], "no teacher is there to judge it"),
        (vec!["--teacher", "embedded"], "no term"),
        (vec!["--teacher", "embedded", "--set", terms], "`beta` 2"),
        (vec!["--set", "objective.terms=[{ loss = \"kl\", weight = 1 }]"], "unknown variant `kl`"),
        (vec!["--set", "objective.terms=[{ loss = \"cross_entropy\", weight = 1, beta = 2 }]"], "unknown field `beta`"),
        (vec!["--set", "optimiser.groups=[{ pattern = \"nowhere\" }]"], "nowhere"),
    ] {
        let refused = distill(here.path(), &[&arguments[..], &["--out", "x"]].concat());
        let message = text(&refused.stderr);
        assert!(refused.status.code() == Some(2) && message.contains(says), "{arguments:?}: {message}");
    }
    assert!(!here.path().join("x/model.safetensors").exists());
}

#[test]
fn a_dry_run_shows_an_example_and_what_a_run_would_take() {
    let here = tempfile::tempdir().expect("folder");
    traces(here.path(), &[]);
    let told = distill(here.path(), &["--dry-run", "--out", "x"]);
    let out = text(&told.stdout);
    assert!(told.status.success(), "{}", text(&told.stderr));
    for part in ["to learn from", "steps of 16 traces", "<think>", "tokens/s: about", "MiB of memory"] {
        assert!(out.contains(part), "`{part}` is not in\n{out}");
    }
    assert!(!here.path().join("x").exists());
}
