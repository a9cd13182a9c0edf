//! A training run that is killed outright goes on from its last checkpoint, and ends with the bits of one that was not.

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

fn start(here: &Path, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_retort"));
    command.args(arguments).current_dir(here).stderr(std::process::Stdio::null()).spawn().expect("the program starts")
}

fn finish(here: &Path, arguments: &[&str]) {
    assert!(start(here, arguments).wait().expect("it ends").success(), "{arguments:?}");
}

#[test]
fn a_killed_run_goes_on_and_ends_with_the_same_bits() {
    let here = tempfile::tempdir().expect("folder");
    let here = here.path();
    let problems = ["--problems", "gym:modular", "--limit", "20", "--out", "traces"];
    finish(here, &[&["datagen", "run", "--teacher", "embedded"][..], &problems].concat());
    let settings = ["--set", "checkpoint_every=1", "--set", "epochs=8", "--set", "average=0.9", "--no-eval"];
    let run = |out| {
        [&["distill", "run", "--student", "embedded", "--traces", "traces", "--out", out][..], &settings].concat()
    };
    finish(here, &run("whole"));

    let mut killed = start(here, &run("parts"));
    let begin = Instant::now();
    while !here.join("parts/checkpoints/step-00000003/state.json").is_file() {
        assert!(begin.elapsed() < Duration::from_secs(120), "no third checkpoint");
        std::thread::sleep(Duration::from_millis(2));
    }
    killed.kill().expect("still running");
    killed.wait().expect("it ends");
    assert!(!here.join("parts/model.safetensors").exists(), "killed before the end");
    finish(here, &run("parts"));
    let weights = |out: &str| std::fs::read(here.join(out).join("model.safetensors")).expect("weights");
    assert!(weights("whole") == weights("parts"), "other bits");
}

#[test]
fn a_killed_run_by_reward_ends_with_the_same_bits_and_the_same_rollouts() {
    let here = tempfile::tempdir().expect("folder");
    let here = here.path();
    let recipe = format!("{}/../distill/recipes/reward.toml", env!("CARGO_MANIFEST_DIR"));
    let problems = ["distill", "run", "--student", "embedded", "--problems", "gym:modular@1", "--limit", "48"];
    let sets = ["per_step=16", "reward.group_size=4", "reward.iterations=2", "asking.sampling.max_tokens=24"];
    let settings: Vec<&str> = sets.iter().chain(&["checkpoint_every=1"]).flat_map(|set| ["--set", set]).collect();
    let run = |out| [&problems[..], &["--recipe", &recipe, "--no-eval", "--out", out], &settings].concat();
    finish(here, &run("whole"));

    let mut killed = start(here, &run("parts"));
    let begin = Instant::now();
    while !here.join("parts/checkpoints/step-00000004/state.json").is_file() {
        assert!(begin.elapsed() < Duration::from_secs(240), "no second checkpoint");
        std::thread::sleep(Duration::from_millis(2));
    }
    killed.kill().expect("still running");
    killed.wait().expect("it ends");
    assert!(!here.join("parts/model.safetensors").exists(), "killed before the end");
    assert!(!here.join("parts/checkpoints/step-00000003").exists(), "a batch of rollouts is learnt from to its end");
    finish(here, &run("parts"));
    let file = |name: &str, out: &str| std::fs::read(here.join(out).join(name)).expect("a file");
    assert!(file("model.safetensors", "whole") == file("model.safetensors", "parts"), "other weights");
    assert!(file("rollouts/data-00000.arrow", "whole") == file("rollouts/data-00000.arrow", "parts"), "other rollouts");
}
