//! A curation as a whole: the same bytes for any number of threads, there whole or not at all.

use super::*;
use retort_model::observe::Observer;
use std::fs;
use std::num::NonZeroU32;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;

/// A dataset in which every step finds something.
fn rich(folder: &TempDir, rows_per_shard: u32) -> [PathBuf; 2] {
    let mut dice = Dice(11);
    let mut rows = Vec::new();
    for at in 0..60 {
        let base = dice.words(30, 4000);
        for version in 0..2 {
            let mut words = base.clone();
            words[29] = format!("w{version}");
            let problem = problem(&words.join(if at % 7 == 0 { "  " } else { " " }));
            for sample in 0..4 {
                let length = 10 + dice.below(30);
                let row = trace(&problem, sample, &dice.words(length, 300).join(" "));
                rows.push(if dice.below(3) == 0 { wrong(row) } else { row });
            }
        }
    }
    let (first, second) = rows.split_at(rows.len() / 2 + 20);
    let overlapping = [&first[first.len() - 40..], second].concat();
    [dataset(folder, "a", first, rows_per_shard), dataset(folder, "b", &overlapping, rows_per_shard)]
}

fn full(folder: &TempDir) -> Recipe {
    let benchmark = folder.path().join("test.jsonl");
    let question = Dice(11).words(30, 4000).join(" ");
    fs::write(&benchmark, serde_json::json!({ "problem": question, "answer": "1" }).to_string()).unwrap();
    let near = Some(Near { threshold: 0.75, ..Near::default() });
    Recipe {
        completion_tokens: Some(Window { min: 0, max: 36 }),
        decontaminate: vec![benchmark],
        pass_rate: Some(PassRate { min: 0.3, max: 0.8, quota: None }),
        near_duplicates: NearDuplicates { problems: near, traces: near },
        per_problem: Some(PerProblem { at_most: NonZeroU32::new(2).unwrap(), by: Choice::Diverse, words: 2 }),
        mix: Some(Mix { weights: Some(vec![1.0, 1.0]), total: Some(20), counts: None, replacement: false }),
        rows_per_shard: NonZeroU32::new(50).unwrap(),
        ..Recipe::default()
    }
}

/// Name and bytes of every file of a dataset.
fn contents(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let mut files: Vec<(String, Vec<u8>)> =
        entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect();
    files.retain(|(name, _)| name != ".lock");
    files.sort();
    files
}

#[test]
fn any_number_of_threads_and_any_division_into_shards_gives_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    let (dirs, recipe) = (rich(&folder, 30), full(&folder));
    let (summary, rows) = selected(&folder, &dirs, &recipe);
    assert_eq!(summary.tally.kept, 20);
    let causes: HashSet<&str> = summary.steps.iter().map(|&(cause, _)| cause).collect();
    for cause in [
        "repeated row",
        "length outside its window",
        "contaminated",
        "pass rate outside its window",
        "near-duplicate problem",
        "not picked",
        "not drawn",
    ] {
        assert!(causes.contains(cause), "{causes:?}");
    }
    let taken: u64 = summary.steps.iter().map(|&(_, rows)| rows).sum();
    assert_eq!(summary.candidates - taken, summary.tally.kept);
    assert!(rows.iter().all(|row| row.kept == row.drop_reason.is_empty()));
    let expected = contents(&folder.path().join("selected"));
    for threads in [1, 3, 8] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let out = folder.path().join(format!("by {threads}"));
        pool.install(|| select(&dirs, &recipe, &out, &Silent).map(|_| ())).unwrap();
        assert!(contents(&out) == expected, "{threads} threads");
    }
    let other = tempfile::tempdir().unwrap();
    let dirs = rich(&other, 7);
    // Reasons name the folders.
    let here = |rows: Vec<Sample>, folder: &TempDir| -> Vec<Sample> {
        let place = folder.path().display().to_string();
        rows.into_iter().map(|row| Sample { drop_reason: row.drop_reason.replace(&place, "HERE"), ..row }).collect()
    };
    assert!(here(selected(&other, &dirs, &full(&other)).1, &other) == here(rows, &folder));
}

#[test]
fn a_selection_of_a_selection_knows_its_ancestors_and_keeps_their_reasons() {
    let folder = tempfile::tempdir().unwrap();
    let dirs = rich(&folder, 30);
    let (first, rows) = selected(&folder, &dirs, &full(&folder));
    let parent = folder.path().join("parent");
    fs::rename(folder.path().join("selected"), &parent).unwrap();
    let (second, again) = selected(&folder, std::slice::from_ref(&parent), &bare());
    // All but those that are the same row twice, which say so again.
    assert!(again == rows);
    assert_eq!(second.steps, []);
    let crate::store::Origin::Derived(derived) = &second.manifest.origin else { panic!("a run") };
    let grandparents = derived.parents[0].derived.as_ref().unwrap();
    assert_eq!(derived.parents[0].run_id.as_ref(), Some(&first.manifest.run_id));
    assert_eq!(grandparents.parents.len(), 2);
    assert_eq!(serde_json::from_value::<Recipe>(grandparents.settings["recipe"].clone()).unwrap(), full(&folder));
}

/// Asks to stop after some questions.
struct Impatient(AtomicU32);

impl Observer for Impatient {
    fn cancelled(&self) -> bool {
        self.0.fetch_update(SeqCst, SeqCst, |left| Some(left.saturating_sub(1))).is_ok_and(|left| left <= 1)
    }
}

#[test]
fn what_is_stopped_or_fails_on_the_way_leaves_nothing_that_looks_like_a_dataset() {
    let folder = tempfile::tempdir().unwrap();
    let (dirs, recipe) = (rich(&folder, 10), full(&folder));
    let (out, hidden) = (folder.path().join("out"), folder.path().join(".out.tmp"));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let mut stopped = 0;
    for patience in 1.. {
        // In the pool, for as many questions are asked as there are handfuls of parts.
        let ended =
            pool.install(|| select(&dirs, &recipe, &out, &Impatient(AtomicU32::new(patience))).unwrap().is_some());
        if ended {
            break;
        }
        assert!(!out.exists() && TraceReader::open(&out).is_err() && !hidden.exists());
        stopped += 1;
    }
    assert!(stopped > 10, "{stopped}");
    let whole = contents(&out);
    fs::remove_dir_all(&out).unwrap();

    // Damage in a shard that is read last, and one that is hit while writing.
    let shard = fs::read_dir(&dirs[1]).unwrap().map(|entry| entry.unwrap().path());
    let shard = shard.filter(|path| path.extension().is_some_and(|ending| ending == "arrow")).max().unwrap();
    let sound = fs::read(&shard).unwrap();
    let mut damaged = sound.clone();
    damaged[sound.len() / 2] ^= 1;
    fs::write(&shard, &damaged).unwrap();
    let error = select(&dirs, &recipe, &out, &Silent).unwrap_err().to_string();
    assert!(error.contains(&shard.display().to_string()) && !out.exists() && !hidden.exists(), "{error}");
    // The same command, once it can, is not bothered by what one that was killed left.
    fs::write(&shard, &sound).unwrap();
    fs::create_dir(&hidden).unwrap();
    fs::write(hidden.join("data-00007.arrow"), &damaged).unwrap();
    select(&dirs, &recipe, &out, &Silent).unwrap().unwrap();
    assert!(contents(&out) == whole);
    let error = select(&dirs, &recipe, &out, &Silent).unwrap_err();
    assert!(matches!(error, Error::FolderTaken { .. }), "{error}");
}

#[test]
fn every_shipped_recipe_is_one_and_unknown_keys_are_refused() {
    let text = include_str!("../../../recipes/curated.toml");
    let recipe: Recipe = toml::from_str(text).unwrap();
    assert_eq!(recipe.per_problem.map(|rule| rule.by), Some(Choice::Diverse));
    recipe.check(1).unwrap();
    // What is commented out is right too.
    let is_setting = |line: &&str| line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
    let uncommented = |line: &'static str| line.strip_prefix("# ").filter(is_setting).unwrap_or(line);
    let all: Recipe = toml::from_str(&text.lines().map(uncommented).collect::<Vec<_>>().join("\n")).unwrap();
    all.check(2).unwrap();
    assert!(all.pass_rate.is_some() && all.mix.is_some() && all.decontaminate.len() == 1);
    assert!(toml::from_str::<Recipe>("pass_rates = { min = 0.1 }").is_err());
    assert!(toml::from_str::<Recipe>("near_duplicates = { problems = { word = 3 } }").is_err());
    for refused in [
        "pass_rate = { min = 0.9, max = 0.1 }",
        "completion_tokens = { min = 9, max = 1 }",
        "decontaminate_words = 0",
        "near_duplicates = { traces = { bands = 0 } }",
        "near_duplicates = { traces = { threshold = 0.0 } }",
        "verdicts = []",
    ] {
        let recipe: Recipe = toml::from_str(refused).unwrap();
        assert!(recipe.check(1).is_err(), "{refused}");
    }
}
