//! The house rules that a machine can keep: what each file says of itself, who depends on whom, who owns which crate.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const CRATES: [&str; 9] = ["kernels", "model", "teacher", "student", "datagen", "evals", "distill", "serve", "cli"];

/// The arrows of the house: a crate may depend on those named, and on no other of ours.
const MAY_USE: [(&str, &[&str]); 9] = [
    ("kernels", &[]),
    ("model", &["kernels"]),
    ("teacher", &["kernels", "model"]),
    ("student", &["kernels", "model"]),
    ("datagen", &["model"]),
    ("evals", &["model", "datagen"]),
    ("distill", &["kernels", "model", "datagen", "evals"]),
    ("serve", &["model"]),
    ("cli", &["kernels", "model", "teacher", "student", "datagen", "evals", "distill", "serve"]),
];

/// The one place that may name an outside crate.
const OWNERS: [(&str, &[&str]); 22] = [
    ("gemm", &["kernels/src/matmul.rs"]),
    ("safetensors", &["model/src/checkpoint/"]),
    ("memmap2", &["model/src/checkpoint/"]),
    ("tokenizers", &["model/src/tokenizer.rs"]),
    ("minijinja", &["model/src/chat/"]),
    ("fancy_regex", &["model/src/tokenizer/"]),
    ("ureq", &["model/src/hub/"]),
    ("hyper", &["teacher/src/endpoint/", "serve/src/"]),
    ("hyper_util", &["teacher/src/endpoint/", "serve/src/"]),
    ("tokio", &["teacher/src/endpoint/", "serve/src/"]),
    ("tokio_rustls", &["teacher/src/endpoint/"]),
    ("arrow", &["datagen/src/store/", "datagen/src/sources/", "datagen/src/exchange/"]),
    ("parquet", &["datagen/src/sources/", "datagen/src/exchange/"]),
    ("csv", &["datagen/src/sources/"]),
    ("flate2", &["datagen/src/sources/"]),
    ("zstd", &["datagen/src/sources/"]),
    ("polars", &["datagen/src/stats.rs", "datagen/src/columns.rs"]),
    ("num_bigint", &["datagen/src/verify/"]),
    ("num_rational", &["datagen/src/verify/"]),
    ("num_integer", &["datagen/src/verify/"]),
    ("clap", &["cli/src/"]),
    ("indicatif", &["cli/src/"]),
];

/// Lines a file may have.
const LONGEST: usize = 400;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_path_buf()
}

/// Every Rust file of the workspace by its path from the root.
fn files() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut folders: Vec<PathBuf> = CRATES.iter().map(|name| root().join(name)).collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).expect("inside").to_string_lossy().replace('\\', "/");
                files.insert(name, std::fs::read_to_string(&path).expect("text"));
            }
        }
    }
    files
}

#[test]
fn every_file_says_what_it_is_for_and_stays_short() {
    for (name, text) in files() {
        assert!(text.starts_with("//!"), "`{name}` does not begin with `//!`");
        let lines = text.lines().count();
        assert!(lines <= LONGEST, "`{name}` has {lines} lines");
        let stem = Path::new(&name).file_stem().expect("a name").to_string_lossy().into_owned();
        assert!(!["utils", "util", "common", "helpers", "misc"].contains(&stem.as_str()), "`{name}` says nothing");
    }
}

/// The dependencies of a crate of ours, without those of its tests.
fn dependencies(name: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join(name).join("Cargo.toml")).expect("manifest");
    let manifest: toml::Table = text.parse().expect("TOML");
    manifest["dependencies"].as_table().expect("a table").keys().cloned().collect()
}

#[test]
fn arrows_point_down() {
    for (name, allowed) in MAY_USE {
        for dependency in dependencies(name) {
            if let Some(other) = dependency.strip_prefix("retort-") {
                assert!(allowed.contains(&other), "`{name}` may not depend on `{other}`");
            }
        }
    }
}

#[test]
fn outside_crates_have_one_owner() {
    for (name, text) in files() {
        for (krate, owners) in OWNERS {
            let names_it = text.lines().map(str::trim_start).any(|line| {
                line.starts_with(&format!("use {krate}::"))
                    || (!line.starts_with("//") && line.contains(&format!(" {krate}::")))
            });
            let owned = owners.iter().any(|owner| name.starts_with(owner));
            assert!(!names_it || owned, "`{name}` names `{krate}`, which belongs to {owners:?}");
        }
    }
}

#[test]
fn the_readme_draws_the_tree_as_it_is() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("README.md");
    for name in CRATES {
        assert!(readme.contains(&format!("\n    {name}/")), "README.md does not show `{name}/` in its tree");
    }
    for line in readme.lines().filter(|line| line.starts_with("    ")) {
        let Some(path) = line.split_whitespace().next().filter(|word| word.contains('/')) else { continue };
        if CRATES.iter().any(|name| path.starts_with(&format!("{name}/"))) {
            assert!(root().join(path.trim_end_matches(':')).exists(), "README.md names `{path}`, which is not there");
        }
    }
}
