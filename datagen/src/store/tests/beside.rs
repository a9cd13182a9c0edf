//! What lies beside the shards: damage in the ledger of attempts and in a recipe is found, and repaired on the dear side.

use super::super::example::{header, open, problems, samples};
use super::super::{Damage, Repaired, Slice, TraceReader, TraceStore, merge, repair, verify};
use super::finished;
use crate::curate::{Recipe, Window, select};
use crate::sample::Sample;
use crate::spend::{self, Budget, Mark, Money, PriceTable, Spend};
use retort_model::attempts::{Admission, AttemptId, Attempts, Charge, Estimate, Settlement, Usage};
use retort_model::observe::Silent;
use std::fs;
use std::path::Path;
use tempfile::tempdir;

fn budget() -> Budget {
    let table = "currency = 'USD'\n[[price]]\nmodel = 'rule'\ninput = 1.0\noutput = 4.0\n";
    let prices: PriceTable = toml::from_str(table).unwrap();
    Budget { prices: Some(prices), max_cost: Money::of(1.0) }
}

fn admitted(spend: &mut Spend, request: u64) -> AttemptId {
    let estimate = Estimate { request, prompt_tokens: 1000, completion_tokens: 1000 };
    let Admission::Granted(attempt) = spend.admit(&estimate).unwrap() else { panic!("there is money") };
    spend.commit().unwrap();
    attempt
}

/// A run with six samples, all sealed, and a ledger of three attempts: answered, failed, and never settled.
fn paid(dir: &Path) {
    let mut store = open(dir, 4).unwrap();
    let mut spend = Spend::open(dir, None, &budget(), "rule").unwrap();
    let attempts = [0, 1, 2].map(|request| admitted(&mut spend, request));
    let usage = Usage { prompt_tokens: 900, cached_tokens: 0, completion_tokens: 500 };
    for (attempt, outcome, charge) in
        [(attempts[0], "answered", Charge::Used(usage)), (attempts[1], "refused", Charge::Nothing)]
    {
        spend.settle(attempt, &Settlement { outcome, charge, detail: String::new() }).unwrap();
    }
    for sample in samples() {
        store.append(sample).unwrap();
    }
    store.seal().unwrap();
    store.note_attempts(spend.close().unwrap()).unwrap();
}

fn spent(dir: &Path) -> Money {
    opened(dir).unwrap().spent().unwrap()
}

fn opened(dir: &Path) -> Result<Spend, spend::Error> {
    let mark = TraceReader::open(dir).unwrap().manifest().attempts.clone();
    Spend::open(dir, mark.as_ref(), &budget(), "rule")
}

fn names(damage: &[Damage]) -> Vec<&str> {
    damage.iter().map(|damage| damage.file.as_str()).collect()
}

#[test]
fn every_flipped_bit_and_every_truncation_of_a_ledger_is_found_and_never_repaired_to_less() {
    let dir = tempdir().unwrap();
    let dir = dir.path();
    paid(dir);
    assert!(verify(dir).unwrap().damage.is_empty());
    let (ledger, manifest) = (dir.join("attempts.jsonl"), dir.join("manifest.json"));
    let (whole, marked, truth) = (fs::read(&ledger).unwrap(), fs::read(&manifest).unwrap(), spent(dir));
    assert_eq!(truth, Money::of(0.0079).unwrap(), "0.0029 and a reserve of 0.005");
    let found = |damaged: &[u8], what: &str| {
        fs::write(&ledger, damaged).unwrap();
        assert_eq!(names(&verify(dir).unwrap().damage), ["attempts.jsonl"], "{what}");
        assert!(opened(dir).is_err(), "{what}");
        assert_eq!(fs::read(&ledger).unwrap(), damaged, "what is refused stays as it was");
    };
    let mut flipped = whole.clone();
    for bit in 0..8 * whole.len() {
        flipped[bit / 8] ^= 1 << (bit % 8);
        found(&flipped, &format!("bit {bit}"));
        if bit % 41 == 0 {
            let Repaired { quarantined, samples, .. } = repair(dir).unwrap();
            assert_eq!((names(&quarantined), samples), (vec!["attempts.jsonl"], 6), "bit {bit}");
            assert!(verify(dir).unwrap().damage.is_empty(), "bit {bit}");
            assert!(spent(dir) >= truth, "bit {bit}: {} of {truth}", spent(dir));
            fs::write(&manifest, &marked).unwrap();
            fs::remove_dir_all(dir.join("quarantine")).unwrap();
        }
        flipped[bit / 8] ^= 1 << (bit % 8);
    }
    for length in 0..whole.len() {
        found(&whole[..length], &format!("the first {length} bytes"));
    }
    fs::remove_file(&ledger).unwrap();
    assert_eq!(names(&verify(dir).unwrap().damage), ["attempts.jsonl"]);
}

#[test]
fn where_a_ledger_is_gone_each_stored_sample_counts_as_the_dearest() {
    let dir = tempdir().unwrap();
    let dir = dir.path();
    paid(dir);
    let (ledger, marked) = (dir.join("attempts.jsonl"), fs::read(dir.join("manifest.json")).unwrap());
    let whole = fs::read(&ledger).unwrap();
    fs::remove_file(&ledger).unwrap();
    let repaired = repair(dir).unwrap();
    assert!(repaired.quarantined[0].what.contains("counts 6 attempts"), "{:?}", repaired.quarantined);
    // Repaired twice, or continued without prices, it says the same.
    assert!(repair(dir).unwrap().quarantined.is_empty());
    let prompt = |sample: &Sample| sample.messages[0].1.len().max(sample.prompt_tokens as usize) as u64;
    let prompt = samples().iter().map(prompt).max().unwrap();
    let each = prompt + 4 * header().sampling.max_tokens as u64;
    for _ in 0..2 {
        assert_eq!(spent(dir), Money(6 * each * 1_000_000));
    }
    let said = spend::spent(dir).unwrap().unwrap();
    assert_eq!((said.attempts, said.unknown_attempts, said.currency.as_str()), (6, 6, "USD"));

    // Of a ledger that is cut short the dearest attempt is known: it counts for the samples that have none.
    fs::write(dir.join("manifest.json"), &marked).unwrap();
    let lines: Vec<&[u8]> = whole.split_inclusive(|&byte| byte == b'\n').collect();
    fs::write(&ledger, lines[..2].concat()).unwrap();
    repair(dir).unwrap();
    assert_eq!(spent(dir), Money::of(6.0 * 0.005).unwrap());

    // Without a sample nothing is known, and no limit can be kept.
    let empty = tempdir().unwrap();
    let mut store = open(empty.path(), 4).unwrap();
    store.note_attempts(Some(Mark::of(&whole))).unwrap();
    drop(store);
    repair(empty.path()).unwrap();
    let refused = opened(empty.path());
    assert!(matches!(refused, Err(spend::Error::NothingKnown { .. })), "{refused:?}");
    let mark = TraceReader::open(empty.path()).unwrap().manifest().attempts.clone();
    assert!(Spend::open(empty.path(), mark.as_ref(), &Budget { max_cost: None, ..budget() }, "rule").is_ok());
}

#[test]
fn a_repaired_ledger_goes_on_and_can_be_repaired_again() {
    let dir = tempdir().unwrap();
    let dir = dir.path();
    paid(dir);
    let ledger = dir.join("attempts.jsonl");
    let flip = |at: usize| {
        let mut bytes = fs::read(&ledger).unwrap();
        bytes[at] ^= 1;
        fs::write(&ledger, bytes).unwrap();
    };
    flip(150);
    repair(dir).unwrap();
    let carried = spent(dir);
    let mut spend = opened(dir).unwrap();
    admitted(&mut spend, 3);
    drop(spend);
    let now = spent(dir);
    assert_eq!(now, Money(carried.0 + Money::of(0.005).unwrap().0));
    flip(fs::read(&ledger).unwrap().len() - 40);
    let repaired = repair(dir).unwrap();
    assert!(repaired.quarantined[0].what.contains("count as spent on 3 attempts"), "{:?}", repaired.quarantined);
    assert!(spent(dir) >= now);
    assert!(dir.join("quarantine/attempts.jsonl.2").is_file());
}

#[test]
fn what_the_slices_of_a_run_cost_is_what_the_merged_run_cost() {
    let here = tempdir().unwrap();
    let problems = problems();
    let problems: Vec<_> = problems.iter().collect();
    let parts = [(0, vec![0, 1, 4, 5]), (1, vec![2, 3])].map(|(index, places)| {
        let dir = here.path().join(format!("part-{index}"));
        let mut store = TraceStore::open(&dir, &header(), Some(Slice { index, of: 2 }), &problems, 4).unwrap();
        let mut spend = Spend::open(&dir, None, &budget(), "rule").unwrap();
        for (position, place) in (0..).zip(places) {
            let attempt = admitted(&mut spend, position);
            let usage = Usage { prompt_tokens: 900, cached_tokens: 0, completion_tokens: 100 * place as u64 };
            // The outcome of one attempt is never known.
            if place != 4 {
                let charge = if place == 3 { Charge::Unknown } else { Charge::Used(usage) };
                spend.settle(attempt, &Settlement { outcome: "answered", charge, detail: String::new() }).unwrap();
            }
            store.append(samples()[place].clone()).unwrap();
        }
        store.seal_all().unwrap();
        store.note_attempts(spend.close().unwrap()).unwrap();
        dir
    });
    let (out, whole) = (here.path().join("whole"), here.path().join("undivided"));
    merge(&[parts[1].clone(), parts[0].clone()], &out, &Silent).unwrap();
    let [first, second] = parts.map(|dir| spend::spent(&dir).unwrap().unwrap());
    let both = spend::spent(&out).unwrap().unwrap();
    assert_eq!((both.total.0, both.unknown.0), (first.total.0 + second.total.0, first.unknown.0 + second.unknown.0));
    assert_eq!((both.attempts, both.unknown_attempts, both.unknown), (6, 2, Money::of(0.01).unwrap()));
    assert!(verify(&out).unwrap().damage.is_empty());
    let ledger = out.join("attempts.jsonl");
    let lines: Vec<serde_json::Value> =
        fs::read_to_string(&ledger).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let admitted = lines.iter().map(|line| &line["entry"]["admitted"]).filter(|entry| !entry.is_null());
    let named: Vec<_> =
        admitted.map(|entry| [&entry["attempt"], &entry["position"]].map(|n| n.as_u64().unwrap())).collect();
    assert_eq!(named, [[1, 0], [2, 1], [3, 4], [4, 5], [5, 2], [6, 3]], "each has its place in the whole run");
    // Beside its costs it is the dataset of a run that was not divided and cost nothing.
    let shards = |dir: &Path| [0, 1].map(|index| fs::read(dir.join(format!("data-0000{index}.arrow"))).unwrap());
    finished(&whole, 4);
    assert!(shards(&out) == shards(&whole));
    let mut bytes = fs::read(&ledger).unwrap();
    bytes[600] ^= 1;
    fs::write(&ledger, bytes).unwrap();
    repair(&out).unwrap();
    assert!(spend::spent(&out).unwrap().unwrap().total >= both.total);
}

#[test]
fn a_recipe_says_what_its_manifest_says_or_is_found_out() {
    let here = tempdir().unwrap();
    let (run, out) = (here.path().join("run"), here.path().join("out"));
    finished(&run, 4);
    let recipe = Recipe { completion_tokens: Some(Window { min: 0, max: 9 }), seed: 5, ..Recipe::default() };
    select(&[run], &recipe, &out, &Silent).unwrap().unwrap();
    let path = out.join("recipe.toml");
    let whole = fs::read_to_string(&path).unwrap();
    assert_eq!(toml::from_str::<Recipe>(&whole).unwrap(), recipe);
    assert!(verify(&out).unwrap().damage.is_empty());
    let expected: toml::Table = whole.parse().unwrap();
    let mut harmless = 0;
    let mut checked = |damaged: &[u8], what: &str| {
        fs::write(&path, damaged).unwrap();
        let reads = std::str::from_utf8(damaged).ok().and_then(|text| text.parse::<toml::Table>().ok());
        let is_damaged = reads.is_none_or(|table| table != expected);
        harmless += u32::from(!is_damaged);
        assert_eq!(names(&verify(&out).unwrap().damage), vec!["recipe.toml"; usize::from(is_damaged)], "{what}");
    };
    let mut flipped = whole.clone().into_bytes();
    for bit in 0..8 * flipped.len() {
        flipped[bit / 8] ^= 1 << (bit % 8);
        checked(&flipped, &format!("bit {bit}"));
        flipped[bit / 8] ^= 1 << (bit % 8);
    }
    for length in 0..whole.len() {
        checked(&whole.as_bytes()[..length], &format!("the first {length} bytes"));
    }
    assert!(harmless < 20, "{harmless}");
    fs::write(&path, "seed = 6").unwrap();
    assert_eq!(names(&repair(&out).unwrap().quarantined), ["recipe.toml"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), whole);
}
