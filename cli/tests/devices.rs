//! `--device`: what cannot be followed is refused with a way out, and nothing ignores it.

use std::process::Command;

/// Exit code and what was said, of a command in an empty folder.
fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_retort"));
    let output = command.current_dir(folder.path()).args(arguments).output().expect("the program starts");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

const LOGITS: [&str; 7] = ["model", "logits", "embedded", "--tokens", "1,2,3", "--out", "logits.safetensors"];

/// On a machine with a GPU and a program built for it there is nothing to refuse.
#[test]
fn a_gpu_that_is_not_there_is_an_error_with_a_way_out() {
    let (code, said) = run(&[&LOGITS[..], &["--device", "cuda"]].concat());
    if code == Some(0) && cfg!(feature = "cuda") {
        return;
    }
    assert_eq!(code, Some(2), "{said}");
    let (error, hint) = match cfg!(feature = "cuda") {
        true => ("no NVIDIA GPU can be used here", "--device cpu"),
        false => ("built without CUDA", "cargo build --release --features cuda"),
    };
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("error: ") && lines[0].contains(error), "{said}");
    assert!(said.contains("\nhint: ") && said.contains(hint), "{said}");
}

#[test]
fn the_processor_may_be_named_and_an_endpoint_computes_elsewhere() {
    assert_eq!(run(&[&LOGITS[..], &["--device", "cpu"]].concat()).0, Some(0));
    let endpoint = "http://127.0.0.1:9/v1";
    let asked = ["datagen", "run", "--teacher", endpoint, "--teacher-model", "m", "--problems", "gym", "--out", "o"];
    let (code, said) = run(&[&asked[..], &["--device", "cpu"]].concat());
    assert!(code == Some(2) && said.contains("`--device` is for a model that runs here"), "{said}");
    assert_eq!(run(&[&LOGITS[..], &["--device", "tpu"]].concat()).0, Some(2));
}
