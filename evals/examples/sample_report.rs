//! Writes a report over made-up runs, to look at the page without running a model:
//! `cargo run --release -p retort-evals --example sample_report -- FOLDER`.

#![expect(clippy::print_stdout, reason = "an example talks to the person who runs it")]

#[path = "../tests/synthetic/mod.rs"]
mod synthetic;

use retort_evals::{Role, Runs, Stems, compare, table};
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("name a folder to write to")?);
    let problems = synthetic::problems(20);
    let [teacher, base, control, student] = Role::ALL.map(|role| synthetic::run(role, &problems, 4, 7));
    let stems = Stems::default();
    let runs = Runs { teacher: &teacher, student: &student, base: Some(&base), control: Some(&control), stems: &stems };
    let report = compare(&runs, synthetic::context(&problems, 4))?;
    report.write(&folder)?;
    print!("{}", table::render(&report));
    Ok(())
}
