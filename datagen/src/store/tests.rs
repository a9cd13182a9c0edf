//! What the dataset promises: nothing acknowledged is lost, nothing is twice there, no damaged byte is believed.

mod beside;
mod faults;
mod rebuilt;
mod repairs;
mod simulated;

use super::example::{header, open, problems, samples};
use super::*;
use crate::Error;
use crate::prompt::Prompt;
use crate::sample::Sample;
use std::fs;
use std::path::Path;
use tempfile::tempdir;

/// Name and bytes of every file of a finished dataset, the lock apart.
fn contents(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let named = entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.path()));
    let mut files: Vec<_> =
        named.filter(|(name, _)| name != ".lock").map(|(name, path)| (name, fs::read(path).unwrap())).collect();
    files.sort();
    files
}

/// The example run, written in order and without interruption.
fn finished(dir: &Path, rows_per_shard: u32) -> Vec<(String, Vec<u8>)> {
    let mut store = open(dir, rows_per_shard).unwrap();
    for sample in samples() {
        assert!(store.append(sample).unwrap());
    }
    store.seal().unwrap();
    contents(dir)
}

#[test]
fn samples_come_back_as_they_were_in_the_order_of_their_keys() {
    let (in_order, shuffled) = (tempdir().unwrap(), tempdir().unwrap());
    let expected = finished(in_order.path(), 4);
    let names: Vec<&str> = expected.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, [".manifest.json.copy", "README.md", "data-00000.arrow", "data-00001.arrow", "manifest.json"]);
    let reader = TraceReader::open(in_order.path()).unwrap();
    assert_eq!(reader.read_all().unwrap(), samples());
    assert!(reader.manifest().is_complete());
    assert_eq!(reader.manifest().shards.iter().map(|shard| shard.rows).collect::<Vec<_>>(), [4, 2]);

    let mut store = open(shuffled.path(), 4).unwrap();
    for place in [5, 1, 0, 4, 3] {
        assert!(store.append(samples()[place].clone()).unwrap());
    }
    // Shard 1 is full and sealed, shard 0 lacks a row; a reader sees both parts, in order.
    let reader = TraceReader::open(shuffled.path()).unwrap();
    assert_eq!(reader.manifest().sealed_rows(), 2);
    let places: Vec<_> = [0, 1, 3, 4, 5].iter().map(|&place| samples()[place].clone()).collect();
    assert_eq!(reader.read_all().unwrap(), places);
    assert!(!store.needs(&samples()[0].uuid, 0) && store.needs(&samples()[2].uuid, 0));
    assert!(!store.append(samples()[5].clone()).unwrap());
    assert!(store.append(samples()[2].clone()).unwrap());
    store.seal().unwrap();
    assert_eq!(contents(shuffled.path()), expected);
}

#[test]
fn a_run_that_stops_seals_every_row_and_ends_with_the_bytes_of_one_that_did_not() {
    let whole = tempdir().unwrap();
    let expected = finished(whole.path(), 4);
    for (stop, reopened) in (0..=6).flat_map(|stop| [(stop, false), (stop, true)]) {
        let dir = tempdir().unwrap();
        let mut store = open(dir.path(), 4).unwrap();
        for sample in samples().into_iter().rev().take(stop) {
            store.append(sample).unwrap();
        }
        store.seal_all().unwrap();
        store.seal_all().unwrap();
        assert!(!dir.path().join("journal.bin").exists(), "{stop}");
        let reader = TraceReader::open(dir.path()).unwrap();
        assert_eq!((reader.manifest().sealed_rows(), reader.manifest().is_complete()), (stop as u64, stop == 6));
        let verified = verify(dir.path()).unwrap();
        assert!(verified.samples == stop as u64 && verified.damage.is_empty(), "{stop}: {verified:?}");
        if reopened {
            drop(store);
            store = open(dir.path(), 4).unwrap();
            assert_eq!((store.resumed().samples, store.resumed().torn_bytes), (stop as u64, 0));
        }
        for (place, sample) in samples().into_iter().enumerate() {
            assert_eq!(store.append(sample).unwrap(), place < 6 - stop, "{stop}");
        }
        store.seal_all().unwrap();
        assert_eq!(contents(dir.path()), expected, "{stop}");
        // Whoever began to read before still reads what there was.
        assert_eq!(reader.read_all().unwrap(), samples()[6 - stop..], "{stop}");
    }
}

#[test]
fn a_journal_cut_at_any_byte_loses_no_whole_record_and_the_run_ends_the_same() {
    let (whole, killed) = (tempdir().unwrap(), tempdir().unwrap());
    let expected = finished(whole.path(), 6);
    let journal = killed.path().join("journal.bin");
    let mut store = open(killed.path(), 6).unwrap();
    let mut ends = Vec::new();
    for sample in samples().into_iter().take(3) {
        store.append(sample).unwrap();
        ends.push(fs::metadata(&journal).unwrap().len());
    }
    drop(store);
    let bytes = fs::read(&journal).unwrap();
    for length in 0..=bytes.len() {
        fs::write(&journal, &bytes[..length]).unwrap();
        let survivors = ends.iter().filter(|&&end| end <= length as u64).count();
        assert_eq!(TraceReader::open(killed.path()).unwrap().read_all().unwrap(), samples()[..survivors]);
        let mut store = open(killed.path(), 6).unwrap();
        let good = if survivors > 0 { ends[survivors - 1] } else { 16.min(length) as u64 % 16 };
        assert_eq!(store.resumed().samples, survivors as u64, "cut at {length}");
        let torn = if length < 16 { length as u64 } else { length as u64 - good.max(16) };
        assert_eq!(store.resumed().torn_bytes, torn, "cut at {length}");
        // The next record must not be glued to the torn one.
        assert_eq!(store.append(samples()[0].clone()).unwrap(), survivors == 0);
        assert!(store.append(samples()[5].clone()).unwrap());
        drop(store);
        let store = open(killed.path(), 6).unwrap();
        assert_eq!(store.resumed().samples, survivors.max(1) as u64 + 1, "cut at {length}");
        assert_eq!(store.resumed().torn_bytes, 0);
    }
    for length in [0, 10, 16, ends[0] as usize - 1, ends[1] as usize, ends[2] as usize - 40] {
        let resumed = tempdir().unwrap();
        fs::copy(killed.path().join("manifest.json"), resumed.path().join("manifest.json")).unwrap();
        fs::write(resumed.path().join("journal.bin"), &bytes[..length]).unwrap();
        let mut store = open(resumed.path(), 6).unwrap();
        for sample in samples().into_iter().rev() {
            store.append(sample).unwrap();
        }
        store.seal().unwrap();
        assert_eq!(contents(resumed.path()), expected);
    }
}

#[test]
fn a_kill_between_sealing_and_clearing_the_journal_doubles_nothing() {
    let (whole, killed) = (tempdir().unwrap(), tempdir().unwrap());
    let expected = finished(whole.path(), 3);
    let mut store = open(killed.path(), 3).unwrap();
    store.append(samples()[0].clone()).unwrap();
    store.append(samples()[2].clone()).unwrap();
    store.append(samples()[5].clone()).unwrap();
    let journal = fs::read(killed.path().join("journal.bin")).unwrap();
    let manifest = fs::read(killed.path().join("manifest.json")).unwrap();
    store.append(samples()[1].clone()).unwrap();
    drop(store);
    // After the manifest was written: two of the journal's three rows are sealed as well.
    fs::write(killed.path().join("journal.bin"), &journal).unwrap();
    let keys: Vec<_> = TraceReader::open(killed.path()).unwrap().read_all().unwrap();
    assert_eq!(keys, [0, 1, 2, 5].map(|place| samples()[place].clone()));
    assert_eq!(open(killed.path(), 3).unwrap().resumed().samples, 4);
    // Before it was written: the shard's file is there and nobody speaks for it.
    fs::write(killed.path().join("manifest.json"), &manifest).unwrap();
    fs::write(killed.path().join("journal.bin"), &journal).unwrap();
    let mut store = open(killed.path(), 3).unwrap();
    assert_eq!((store.resumed().samples, store.resumed().sealed), (3, 0));
    for sample in samples() {
        store.append(sample).unwrap();
    }
    store.seal().unwrap();
    assert_eq!(contents(killed.path()), expected);
}

#[test]
fn damage_before_an_acknowledged_record_is_refused_and_not_cut_off() {
    let dir = tempdir().unwrap();
    let mut store = open(dir.path(), 6).unwrap();
    store.append(samples()[0].clone()).unwrap();
    store.seal().unwrap();
    let first = fs::metadata(dir.path().join("journal.bin")).unwrap().len() as usize;
    store.append(samples()[1].clone()).unwrap();
    drop(store);
    let journal = dir.path().join("journal.bin");
    let bytes = fs::read(&journal).unwrap();
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(&journal, &flipped).unwrap();
        match TraceReader::open(dir.path()) {
            Err(Error::JournalDamaged { offset, .. }) if at < first => assert_eq!(offset, if at < 16 { 0 } else { 16 }),
            Ok(reader) if at >= first => assert_eq!(reader.rows(), 1),
            other => panic!("byte {at}: {other:?}"),
        }
    }
    let mut damaged = bytes.clone();
    damaged[20] ^= 1;
    fs::write(&journal, damaged).unwrap();
    let before = contents(dir.path());
    assert!(open(dir.path(), 6).is_err());
    assert_eq!(contents(dir.path()), before, "a refused journal stays as it was");
}

#[test]
fn a_second_writer_is_refused_and_told_who_writes() {
    let dir = tempdir().unwrap();
    let first = open(dir.path(), 4).unwrap();
    let error = open(dir.path(), 4).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }));
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    fs::remove_file(dir.path().join(".lock")).unwrap();
    assert!(matches!(open(dir.path(), 4), Err(Error::Locked { .. })), "whoever deletes the lock does not have it");
    drop(first);
    open(dir.path(), 4).unwrap();
}

#[test]
fn another_run_is_refused_with_both_sides_named() {
    let dir = tempdir().unwrap();
    finished(dir.path(), 4);
    let problems = problems();
    let problems: Vec<_> = problems.iter().collect();
    let mut run = header();
    run.seed = 8;
    run.sampling.temperature = 0.7;
    run.generator.fingerprint = "beef".into();
    let message = TraceStore::open(dir.path(), &run, None, &problems, 4).unwrap_err().to_string();
    for part in [
        "`seed` is `7` there and `8` here",
        "`sampling.temperature` is `0.6` there and `0.7` here",
        "`generator.fingerprint` is `f00d` there and `beef` here",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let mut run = header();
    run.problem_set = ProblemSet::of(problems[..2].iter().copied());
    let message = TraceStore::open(dir.path(), &run, None, &problems[..2], 4).unwrap_err().to_string();
    assert!(message.contains("`problem_set.problems` is `3` there and `2` here"), "{message}");
    assert_ne!(run.run_id(), header().run_id());
    // The number of rows in a shard is no property of the run.
    assert_eq!(open(dir.path(), 1000).unwrap().resumed().sealed, 6);
}

#[test]
fn folders_of_others_and_of_newer_versions_are_left_alone() {
    let dir = tempdir().unwrap();
    fs::write(dir.path().join("README.md"), "mine").unwrap();
    let error = open(dir.path(), 4).unwrap_err();
    assert!(matches!(&error, Error::NotADataset { found, .. } if found == "README.md"), "{error}");
    assert_eq!(fs::read(dir.path().join("README.md")).unwrap(), b"mine");
    assert!(TraceReader::open(dir.path()).is_err());

    let dir = tempdir().unwrap();
    drop(open(dir.path(), 4).unwrap());
    let manifest = fs::read_to_string(dir.path().join("manifest.json")).unwrap();
    let (before_checksum, _) = manifest.rsplit_once(",\n  \"checksum\"").unwrap();
    let newer = before_checksum.replace("\"format_version\": 6", "\"format_version\": 7") + "\n}";
    fs::write(dir.path().join("manifest.json"), manifest::with_checksum(newer.into_bytes())).unwrap();
    let error = TraceReader::open(dir.path()).unwrap_err();
    assert!(matches!(error, Error::NewerFormat { found: 7, .. }), "{error}");
    assert!(error.hint().is_some());
    // What earlier versions wrote is read and continued.
    for version in [1, 2, 3, 4, 5] {
        let older = before_checksum.replace("\"format_version\": 6", &format!("\"format_version\": {version}")) + "\n}";
        fs::write(dir.path().join("manifest.json"), manifest::with_checksum(older.into_bytes())).unwrap();
        assert_eq!(open(dir.path(), 4).unwrap().manifest().run(), Some(&header()));
    }
}

#[test]
fn other_prompts_are_another_run() {
    let dir = tempdir().unwrap();
    drop(open(dir.path(), 4).unwrap());
    let prompt = Prompt { system: Some("Be brief.".into()), ..Prompt::default() };
    let run = RunHeader { prompt: Some(prompt), ..header() };
    let problems = problems();
    let problems: Vec<_> = problems.iter().collect();
    let error = TraceStore::open(dir.path(), &run, None, &problems, 4).unwrap_err().to_string();
    assert!(error.contains("`prompt` is `null` there") && error.contains("Be brief."), "{error}");
    assert_ne!(run.run_id(), header().run_id());
}

#[test]
fn a_sample_of_another_run_is_refused() {
    let dir = tempdir().unwrap();
    let mut store = open(dir.path(), 4).unwrap();
    let changes: [fn(&mut Sample); 3] = [
        |sample| sample.run_id = "another".into(),
        |sample| sample.uuid = "unknown".into(),
        |sample| sample.sample = 2,
    ];
    for change in changes {
        let mut sample = samples().remove(0);
        change(&mut sample);
        assert!(matches!(store.append(sample), Err(Error::ForeignSample { .. })));
    }
    assert_eq!(store.tally().samples(), 0);
}
