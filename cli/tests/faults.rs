//! The built program is killed, interrupted and run twice over one folder: whatever happens, the dataset ends with the
//! bytes of a run that was left alone.

#![expect(clippy::print_stdout, reason = "the seed and the counts of a test are for the person who runs it")]

use retort_datagen::store::TraceReader;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A run of half a minute at most, in shards of 16 rows.
fn run(out: &Path, problems: u32) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_retort"));
    command.args(["datagen", "run", "--teacher", "embedded", "--problems", "gym", "--set", "sampling.max_tokens=40"]);
    command.args(["--set", "rows_per_shard=16", "--limit", &problems.to_string(), "--out"]).arg(out);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "the signal is sent");
}

fn ended(child: Child) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = child.wait_with_output().expect("the program ends");
    (status.code(), String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr))
}

/// Waits until the run has begun to store samples.
fn under_way(out: &Path) {
    let begin = Instant::now();
    while !out.join("journal.bin").exists() {
        assert!(begin.elapsed() < Duration::from_secs(120), "no sample in two minutes");
        sleep(Duration::from_millis(5));
    }
}

/// Name and bytes of every file but the lock.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry"));
    let named = entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()));
    named.filter(|(name, _)| name != ".lock").map(|(name, path)| (name, std::fs::read(path).expect("read"))).collect()
}

/// The keys that a reader finds; none where the run had not begun.
fn keys(dir: &Path) -> Vec<(String, u32)> {
    if !dir.join("manifest.json").exists() {
        return Vec::new();
    }
    let samples = TraceReader::open(dir).expect("a dataset").read_all().expect("sound");
    samples.into_iter().map(|sample| (sample.uuid, sample.sample)).collect()
}

/// Length of the journal and number of files: what changes when samples are stored.
fn state(out: &Path) -> (u64, usize) {
    let journal = std::fs::metadata(out.join("journal.bin")).map_or(0, |about| about.len());
    (journal, std::fs::read_dir(out).map_or(0, Iterator::count))
}

/// Waits until the run has stored something, or has ended.
fn stores(child: &mut Child, out: &Path) {
    let before = state(out);
    while state(out) == before && child.try_wait().expect("a child").is_none() {
        sleep(Duration::from_millis(2));
    }
}

/// Kills runs `kills` times in all, and repeats them until they end: three of four a random time after the first sample
/// that they store, the others a random time after their start.
fn kill(kills: u32, mut seed: u64) {
    const PROBLEMS: u32 = 96;
    println!("seed {seed}");
    let folder = tempfile::tempdir().expect("folder");
    let whole = folder.path().join("whole");
    let (begin, child) = (Instant::now(), run(&whole, PROBLEMS));
    under_way(&whole);
    let starting = begin.elapsed();
    assert_eq!(ended(child).0, Some(0));
    // A machine that was held up once is not waited for every time.
    let at_most = |time: Duration| time.as_millis().clamp(1, 3000) as u64;
    let (starting, storing) = (at_most(starting), at_most(begin.elapsed() - starting));
    let expected = files(&whole);
    let (mut killed, mut datasets, mut alive) = (0, 0, 0);
    while killed < kills {
        datasets += 1;
        let out = folder.path().join(format!("killed-{datasets}"));
        let mut before = Vec::new();
        loop {
            let mut child = run(&out, PROBLEMS);
            // splitmix64
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut random = seed;
            random = (random ^ (random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            random = (random ^ (random >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            random ^= random >> 31;
            if killed < kills {
                let is_early = random.is_multiple_of(4);
                let within = if is_early { starting } else { storing };
                if !is_early {
                    stores(&mut child, &out);
                }
                sleep(Duration::from_millis((random >> 2) % within));
            }
            let over = killed >= kills || child.try_wait().expect("a child").is_some();
            if over {
                let (code, said) = ended(child);
                assert_eq!(code, Some(0), "{said}");
                break;
            }
            signal(&child, "-KILL");
            child.wait().expect("the program ends");
            killed += 1;
            let now = keys(&out);
            assert!(before.iter().all(|key| now.contains(key)), "dataset {datasets}: a sample is gone");
            alive += usize::from(now.len() > before.len());
            before = now;
        }
        assert!(files(&out) == expected, "dataset {datasets} ends with other bytes");
    }
    println!("{killed} kills over {datasets} datasets, {alive} of them after new samples were stored");
    assert!(alive > 0, "no kill hit a run at work");
}

#[test]
fn kills_at_random_times_lose_nothing_and_double_nothing() {
    kill(25, 1);
}

#[test]
#[ignore = "the longer tier: a quarter of an hour"]
fn three_hundred_kills_lose_nothing_and_double_nothing() {
    kill(300, std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(2));
}

#[test]
fn a_folder_has_one_writer_and_ctrl_c_leaves_it_ready_to_continue() {
    let folder = tempfile::tempdir().expect("folder");
    let out = folder.path().join("traces");
    let first = run(&out, 5_000);
    under_way(&out);
    let (code, said) = ended(run(&out, 5_000));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains(&format!("process {} on ", first.id())) && said.contains("hint:"), "{said}");

    // Once: what is in flight ends, what is stored is sealed.
    signal(&first, "-INT");
    let (code, said) = ended(first);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("interrupted"), "{said}");
    let stored = keys(&out).len();
    assert!(stored > 0);
    let sealed = TraceReader::open(&out).expect("a dataset").manifest().sealed_rows();
    assert!(sealed == stored as u64 && !out.join("journal.bin").exists(), "{sealed} of {stored} rows are in shards");
    let verified = Command::new(env!("CARGO_BIN_EXE_retort")).args(["datagen", "verify"]).arg(&out).output();
    assert!(verified.expect("the program starts").status.success());

    // Twice: at once.
    let again = run(&out, 5_000);
    sleep(Duration::from_millis(700));
    signal(&again, "-TERM");
    sleep(Duration::from_millis(50));
    signal(&again, "-TERM");
    let (code, said) = ended(again);
    // A process that had not come to its handler yet is just killed.
    assert!(matches!(code, Some(3) | None), "{said}");
    assert!(keys(&out).len() >= stored);
}

#[test]
fn a_folder_of_somebody_else_is_left_as_it_is() {
    let folder = tempfile::tempdir().expect("folder");
    std::fs::write(folder.path().join("thesis.tex"), "mine").expect("written");
    let (code, said) = ended(run(folder.path(), 4));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("thesis.tex") && said.contains("hint:"), "{said}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
}
