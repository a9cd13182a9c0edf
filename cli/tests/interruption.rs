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
