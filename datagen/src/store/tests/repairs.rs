//! Damage is found, all of it, and taken out; what older versions wrote can be read and continued.

use super::super::example::{header, open, problems, samples};
use super::super::folder::Folder;
use super::super::{Origin, TraceReader, TraceStore, repair, verify};
use super::simulated::SimulatedDisk;
use super::{contents, finished};
use crate::Error;
use crate::problem::Problem;
use retort_model::observe::Silent;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tempfile::tempdir;

/// Opens the example run on a simulated disk.
fn simulated(disk: &SimulatedDisk) -> Result<TraceStore, Error> {
    let problems = problems();
    let problems: Vec<_> = problems.iter().collect();
    TraceStore::open_in(Folder::on(Arc::new(disk.clone()), Path::new("/d")), None, &header(), None, &problems, 4)
}

#[test]
fn every_flipped_bit_and_every_truncation_of_a_sealed_file_is_refused_by_name() {
    let disk = SimulatedDisk::default();
    let mut store = simulated(&disk).unwrap();
    for sample in samples() {
        store.append(sample).unwrap();
    }
    store.seal().unwrap();
    drop(store);
    let read = || TraceReader::open_in(Folder::on(Arc::new(disk.clone()), Path::new("/d"))).and_then(|r| r.read_all());
    let mut flips = 0;
    for (path, bytes) in disk.contents() {
        let name = path.file_name().unwrap().to_str().unwrap();
        if name == "README.md" || name.starts_with('.') {
            continue;
        }
        let refused = |damaged: &[u8], what: &str| {
            disk.poke(&path, damaged);
            let error = read().expect_err(&format!("{what} of {name}")).to_string();
            assert!(error.contains(name), "{error}");
        };
        let mut flipped = bytes.clone();
        for bit in 0..8 * bytes.len() {
            flipped[bit / 8] ^= 1 << (bit % 8);
            refused(&flipped, &format!("bit {bit}"));
            flipped[bit / 8] ^= 1 << (bit % 8);
            flips += 1;
        }
        for length in 0..bytes.len() {
            refused(&bytes[..length], &format!("the first {length} bytes"));
        }
        disk.poke(&path, &bytes);
    }
    assert!(flips > 100_000, "{flips}");
    assert_eq!(read().unwrap(), samples());
}

#[test]
fn a_check_lists_all_damage_and_a_repair_leaves_what_the_run_needs_to_go_on() {
    let (whole, dir) = (tempdir().unwrap(), tempdir().unwrap());
    let expected = finished(whole.path(), 2);
    let mut store = open(dir.path(), 2).unwrap();
    for place in [0, 1, 2, 3, 4] {
        store.append(samples()[place].clone()).unwrap();
    }
    store.seal().unwrap();
    drop(store);
    assert!(verify(dir.path()).unwrap().damage.is_empty());
    let flip = |name: &str| {
        let mut bytes = fs::read(dir.path().join(name)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(dir.path().join(name), bytes).unwrap();
    };
    let names = |damage: &[super::super::Damage]| damage.iter().map(|d| d.file.clone()).collect::<Vec<_>>();
    for name in ["data-00001.arrow", "journal.bin", ".manifest.json.copy"] {
        flip(name);
    }
    fs::write(dir.path().join("data-00007.arrow"), "nobody's").unwrap();
    let found = verify(dir.path()).unwrap();
    assert_eq!(names(&found.damage), [".manifest.json.copy", "data-00001.arrow", "journal.bin"]);
    assert_eq!((found.samples, found.shards), (2, 1));
    let repaired = repair(dir.path()).unwrap();
    assert_eq!(names(&repaired.quarantined), ["data-00001.arrow", "data-00007.arrow", "journal.bin"]);
    assert_eq!(repaired.samples, 2);
    assert_eq!(fs::read_dir(dir.path().join("quarantine")).unwrap().count(), 3);
    assert!(verify(dir.path()).unwrap().damage.is_empty());
    assert!(repair(dir.path()).unwrap().quarantined.is_empty(), "a second repair finds nothing");
    // The manifest has a copy, and whoever has the copy alone is told of it.
    let copy = dir.path().join(".manifest.json.copy");
    fs::remove_file(&copy).unwrap();
    assert_eq!(names(&verify(dir.path()).unwrap().damage), [".manifest.json.copy"]);
    repair(dir.path()).unwrap();
    fs::rename(dir.path().join("manifest.json"), &copy).unwrap();
    for error in
        [verify(dir.path()).unwrap_err(), TraceReader::open(dir.path()).unwrap_err(), open(dir.path(), 2).unwrap_err()]
    {
        assert!(matches!(error, Error::CopyAlone { .. }) && error.hint().unwrap().contains("repair"), "{error}");
    }
    assert_eq!(names(&repair(dir.path()).unwrap().quarantined), ["manifest.json"]);
    flip("manifest.json");
    assert!(verify(dir.path()).is_err());
    assert_eq!(names(&repair(dir.path()).unwrap().quarantined), ["manifest.json"]);
    let mut store = open(dir.path(), 2).unwrap();
    assert_eq!(store.resumed().samples, 2);
    for sample in samples() {
        store.append(sample).unwrap();
    }
    store.seal().unwrap();
    drop(store);
    fs::remove_dir_all(dir.path().join("quarantine")).unwrap();
    assert_eq!(contents(dir.path()), expected);
    let none = tempdir().unwrap();
    assert!(matches!(repair(none.path()), Err(Error::NoDataset { .. })));
}

/// A dataset of format version 1 in a folder of its own.
fn of_version_1(name: &str) -> tempfile::TempDir {
    let dir = tempdir().unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-1").join(name);
    for entry in fs::read_dir(fixture).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    dir
}

#[test]
fn what_version_1_wrote_can_be_read_and_continued() {
    let sealed = of_version_1("sealed");
    let rows = TraceReader::open(sealed.path()).unwrap().read_all().unwrap();
    assert_eq!(
        rows.iter().map(|row| row.problem.as_str()).collect::<Vec<_>>()[..3],
        ["Find 3802+9562.", "Find 3802+9562.", "Find 12+30."]
    );
    assert_eq!(rows.len(), 6);

    let dir = of_version_1("journal");
    let before = TraceReader::open(dir.path()).unwrap();
    let Origin::Run { header, slice: None } = before.manifest().origin.clone() else { panic!("a run") };
    let problem = |i: u64| {
        let (question, gold) = (format!("Find {i}+{}.", 2 * i + 7), (3 * i + 7).to_string());
        Problem::new(question, gold, "many.jsonl", "", "")
    };
    let problems: Vec<Problem> = (0..2000).map(problem).collect();
    let problems: Vec<&Problem> = problems.iter().collect();
    let mut store = TraceStore::open(dir.path(), &header, None, &problems, 7).unwrap();
    assert!(store.resumed().samples > 10);
    assert_eq!(store.resumed().samples, before.rows());
    let mut sample = before.read_all().unwrap().remove(0);
    assert!(!store.append(sample.clone()).unwrap());
    let missing = problems.iter().find(|problem| store.needs(&problem.uuid, 0)).unwrap();
    sample.uuid.clone_from(&missing.uuid);
    assert!(store.append(sample).unwrap());
    drop(store);
    assert_eq!(TraceReader::open(dir.path()).unwrap().rows(), before.rows() + 1);
}

#[test]
fn slices_merge_into_the_dataset_of_an_undivided_run() {
    use super::super::{Slice, merge};
    let (whole, here) = (tempdir().unwrap(), tempdir().unwrap());
    let expected = finished(whole.path(), 4);
    let problems = problems();
    let problems: Vec<_> = problems.iter().collect();
    let part = |index: u32, count: usize| {
        let dir = here.path().join(format!("part-{index}"));
        let slice = Some(Slice { index, of: 2 });
        let mut store = TraceStore::open(&dir, &header(), slice, &problems, 4).unwrap();
        let mine = (0..3).filter(|place| place % 2 == index as usize).flat_map(|place| [2 * place, 2 * place + 1]);
        for place in mine.take(count) {
            store.append(samples()[place].clone()).unwrap();
        }
        store.seal().unwrap();
        dir
    };
    let (first, second) = (part(0, 3), part(1, 2));
    let out = here.path().join("merged");
    let said = |dirs: &[&std::path::PathBuf]| {
        let dirs: Vec<_> = dirs.iter().map(|dir| dir.to_path_buf()).collect();
        merge(&dirs, &out, &Silent).unwrap_err().to_string()
    };
    assert!(said(&[&first, &second]).contains("3 of its 4 samples"));
    assert!(said(&[&second]).contains("slices 0 of 2"));
    part(0, 4);
    assert!(said(&[&first, &second, &first]).contains("there twice"));
    assert!(said(&[&first, &whole.path().to_path_buf()]).contains("divided by 1"));
    assert!(!out.exists());
    let (manifest, tally) = merge(&[second.clone(), first.clone()], &out, &Silent).unwrap();
    assert_eq!((manifest.is_complete(), tally.samples()), (true, 6));
    assert_eq!(contents(&out), expected);
    assert!(matches!(merge(&[second, first], &out, &Silent), Err(Error::FolderTaken { .. })));
    assert!(!here.path().join(".merged.tmp").exists());
}
