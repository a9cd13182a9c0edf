//! What a large FP8 model takes of memory, the program around it and mapped files included: little more than its file, or no
//! more than it is given.
#![cfg(target_os = "linux")]

use retort_model::checkpoint::{NumberFormat, Outgoing, write_outgoing};
use retort_teacher::{Config, embedded};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Experts of each layer: together with the rest three times [`LIMIT`].
const EXPERTS: usize = 200;
const LIMIT: (&str, u64) = ("245M", 245 << 20);

/// Writes a model of the embedded teacher's kind into `folder`, most of it experts; gives back the bytes of its weights.
fn large_model(folder: &Path) -> u64 {
    let files = embedded::files();
    let mut json: serde_json::Value = serde_json::from_str(&files.config).expect("JSON");
    for (key, value) in [
        ("hidden_size", 512),
        ("moe_intermediate_size", 512),
        ("n_routed_experts", EXPERTS),
        ("num_nextn_predict_layers", 0),
    ] {
        json[key] = value.into();
    }
    let config = Config::parse(&json.to_string(), &folder.join("config.json")).expect("config");
    files.write_small(folder).expect("written");
    std::fs::write(folder.join("config.json"), json.to_string()).expect("written");
    let tensors: Vec<Outgoing> = config
        .parts()
        .flat_map(|part| part.names().map(|name| (name, part.shape.clone())).collect::<Vec<_>>())
        .map(|(name, shape)| {
            let (count, matrix) = (shape.iter().product::<usize>(), shape.len() > 1);
            let values = move || {
                let wave = |at: usize| ((at * 7919) % 1009) as f32 / 1009.0 - 0.5;
                Ok((0..count).map(|at| if matrix { 0.1 * wave(at) } else { 1.0 }).collect())
            };
            Outgoing { name, shape, values: Box::new(values) }
        })
        .collect();
    let weights = folder.join("model.safetensors");
    write_outgoing(&weights, &tensors, |name| NumberFormat::Fp8.stored(name)).expect("written");
    std::fs::metadata(weights).expect("there").len()
}

/// Runs the program to its end; gives back what it printed and the most memory that it had resident.
fn run(arguments: &[&str]) -> (String, u64) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_retort"));
    let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().expect("the program starts");
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().expect("a child").is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) << 10);
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().expect("it ended");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    (String::from_utf8(output.stdout).expect("text"), peak)
}

#[test]
fn a_large_model_takes_its_file_or_what_it_is_given() {
    let folder = tempfile::tempdir().expect("folder");
    let file = large_model(folder.path());
    assert!(file > 3 * LIMIT.1, "{file} bytes are too few");
    let model = folder.path().to_str().expect("plain");
    let generate = ["model", "generate", model, "--prompt", "Find 2+2.", "--greedy", "--max-tokens", "8"];
    let (whole, peak) = run(&generate);
    assert!(peak > file / 2 && peak * 5 <= file * 6, "{peak} bytes for a file of {file}");
    let (within, peak) = run(&[&generate[..], &["--memory", LIMIT.0]].concat());
    assert!(peak > LIMIT.1 / 4 && peak <= LIMIT.1, "{peak} bytes of {}", LIMIT.1);
    assert_eq!(within, whole);
    // Eight sequences ask for most experts of every layer, far more than there is room for.
    let (_, peak) = run(&["bench", "experts", "--model", model, "--memory", LIMIT.0, "--batch", "8", "--new", "3"]);
    assert!(peak <= LIMIT.1, "{peak} bytes of {} with eight sequences", LIMIT.1);
}
