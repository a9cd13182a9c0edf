//! The manifest and its copy are lost: the shards make it anew, byte for byte, or the run does, out of the journal.

use super::super::example::{header, open, problems, samples};
use super::super::{Repaired, RunHeader, Slice, TraceReader, TraceStore, repair, verify};
use super::{contents, finished};
use crate::Error;
use crate::curate::{Recipe, select};
use retort_model::observe::Silent;
use std::fs;
use std::path::Path;
use tempfile::tempdir;

const BOTH: [&str; 2] = ["manifest.json", ".manifest.json.copy"];

fn flip(dir: &Path, name: &str, at: usize) {
    let mut bytes = fs::read(dir.join(name)).unwrap();
    let at = at % bytes.len();
    bytes[at] ^= 1;
    fs::write(dir.join(name), bytes).unwrap();
}

fn without_quarantine(dir: &Path) -> Vec<(String, Vec<u8>)> {
    fs::remove_dir_all(dir.join("quarantine")).unwrap();
    contents(dir)
}

#[test]
fn whatever_bit_of_both_is_flipped_the_shards_make_the_same_manifest() {
    let (run, parent) = (tempdir().unwrap(), tempdir().unwrap());
    let (run, derived) = (run.path(), parent.path().join("derived"));
    let mut store = open(run, 4).unwrap();
    samples().into_iter().take(5).for_each(|sample| assert!(store.append(sample).unwrap()));
    store.seal_all().unwrap();
    drop(store);
    select(&[run.into()], &Recipe::default(), &derived, &Silent).unwrap().unwrap();
    for dir in [run, &derived] {
        let expected = contents(dir);
        let length = fs::metadata(dir.join("manifest.json")).unwrap().len() as usize;
        for at in (0..length).step_by(29) {
            flip(dir, BOTH[0], at);
            flip(dir, BOTH[1], at + length / 2);
            assert!(verify(dir).is_err());
            let Repaired { quarantined, samples, remarks, is_orphaned } = repair(dir).unwrap();
            assert_eq!(quarantined.iter().map(|damage| damage.file.as_str()).collect::<Vec<_>>(), BOTH, "{at}");
            assert!(samples == 5 && !is_orphaned && remarks.is_empty(), "{at}: {remarks:?}");
            assert!(without_quarantine(dir) == expected, "{at}");
        }
    }
}

#[test]
fn where_nothing_is_left_of_both_shards_that_read_whole_are_taken_and_named() {
    let dir = tempdir().unwrap();
    let dir = dir.path();
    let problems = problems();
    let problems: Vec<_> = problems.iter().collect();
    // A part of a run, which no other program's reader would tell.
    let slice = Some(Slice { index: 0, of: 2 });
    let part = |dir: &Path| {
        let mut store = TraceStore::open(dir, &header(), slice, &problems, 3).unwrap();
        for place in [0, 1, 4, 5] {
            store.append(samples()[place].clone()).unwrap();
        }
        store.seal_all().unwrap();
    };
    part(dir);
    let expected = contents(dir);
    for name in BOTH {
        fs::write(dir.join(name), "").unwrap();
    }
    let repaired = repair(dir).unwrap();
    assert_eq!((repaired.samples, repaired.remarks.len()), (4, 2));
    assert!(repaired.remarks[0].contains("data-00000.arrow"), "{:?}", repaired.remarks);
    assert!(without_quarantine(dir) == expected);
    // A damaged shard is not taken: both manifests, damaged elsewhere, name another checksum.
    flip(dir, "data-00001.arrow", 900);
    BOTH.into_iter().for_each(|name| flip(dir, name, 40));
    let repaired = repair(dir).unwrap();
    assert_eq!((repaired.samples, repaired.quarantined.len()), (3, 3));
    BOTH.into_iter().for_each(|name| fs::remove_file(dir.join(name)).unwrap());
    let Repaired { quarantined, samples, .. } = repair(dir).unwrap();
    assert!(samples == 3 && quarantined[0].what.contains("it was missing; the shards make it anew"), "{quarantined:?}");
    part(dir);
    assert!(without_quarantine(dir) == expected);
}

#[test]
fn a_journal_alone_is_taken_over_by_its_run_and_by_no_other() {
    let (whole, dir) = (tempdir().unwrap(), tempdir().unwrap());
    let (expected, dir) = (finished(whole.path(), 4), dir.path());
    let mut store = open(dir, 4).unwrap();
    samples().into_iter().take(3).for_each(|sample| assert!(store.append(sample).unwrap()));
    store.acknowledge().unwrap();
    drop(store);
    BOTH.into_iter().for_each(|name| flip(dir, name, 40));
    flip(dir, "journal.bin", 500);
    for _ in 0..2 {
        let repaired = repair(dir).unwrap();
        assert!(repaired.is_orphaned && repaired.samples == 2, "{repaired:?}");
    }
    assert!(matches!(TraceReader::open(dir), Err(Error::NoDataset { .. })));
    let problems = problems();
    let problems: Vec<_> = problems.iter().collect();
    let other = RunHeader { seed: 8, ..header() };
    let refused = TraceStore::open(dir, &other, None, &problems, 4);
    assert!(matches!(refused, Err(Error::OtherRun { .. })), "{refused:?}");
    let mut store = open(dir, 4).unwrap();
    assert_eq!(store.resumed().samples, 2);
    for sample in samples() {
        store.append(sample).unwrap();
    }
    store.seal_all().unwrap();
    drop(store);
    assert!(without_quarantine(dir) == expected);
}

#[test]
fn where_nothing_can_be_read_a_repair_says_so() {
    let dir = tempdir().unwrap();
    finished(dir.path(), 6);
    for name in BOTH.into_iter().chain(["data-00000.arrow"]) {
        fs::write(dir.path().join(name), "").unwrap();
    }
    for missing in [false, true] {
        let error = repair(dir.path()).unwrap_err();
        assert!(matches!(error, Error::NothingLeft { .. }) && error.hint().is_some(), "{missing}: {error}");
        BOTH.into_iter().for_each(|name| _ = fs::remove_file(dir.path().join(name)));
    }
}
