//! Every operation of the disk fails once, the power goes off anywhere, the disk is full at any byte: nothing that was
//! acknowledged is lost, nothing is twice there, and the run that goes on ends with the bytes of one that met no fault.

use super::super::example::{header, sample};
use super::super::folder::Folder;
use super::super::repair::repair_in;
use super::super::{ProblemSet, RunHeader, TraceReader, TraceStore};
use super::simulated::{Fault, SimulatedDisk};
use crate::Error;
use crate::problem::Problem;
use crate::sample::Sample;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Samples that share a shard: the last one gets fewer.
const ROWS_PER_SHARD: u32 = 5;

/// A run of nine problems, two samples each.
struct Run {
    header: RunHeader,
    problems: Vec<Problem>,
    samples: Vec<Sample>,
}

impl Run {
    fn new() -> Self {
        let problem = |i: u32| Problem::new(format!("What is {i} + {i}?"), (2 * i).to_string(), "gym", "sums", "1");
        let problems: Vec<Problem> = (0..9).map(problem).collect();
        let header = RunHeader { problem_set: ProblemSet::of(&problems), ..header() };
        let both = |problem| [sample(&header, problem, 0), sample(&header, problem, 1)];
        let samples = problems.iter().flat_map(both).collect();
        Self { header, problems, samples }
    }

    fn folder(disk: &SimulatedDisk) -> Folder {
        Folder::on(Arc::new(disk.clone()), Path::new("/data"))
    }

    fn open(&self, disk: &SimulatedDisk) -> Result<TraceStore, Error> {
        let problems: Vec<&Problem> = self.problems.iter().collect();
        TraceStore::open_in(Self::folder(disk), None, &self.header, None, &problems, ROWS_PER_SHARD)
    }

    /// Does what is left of the run, in an order of its own, as far as the disk lets it. `acknowledged` learns of every
    /// sample when it is acknowledged.
    fn drive(&self, disk: &SimulatedDisk, seed: u64, acknowledged: &mut Vec<usize>) -> Result<(), Error> {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let mut store = self.open(disk)?;
        let (mut stored, mut left): (Vec<usize>, Vec<usize>) = (0..self.samples.len())
            .partition(|&place| !store.needs(&self.samples[place].uuid, self.samples[place].sample));
        let mut tell = |store: &TraceStore, stored: &[usize]| {
            acknowledged.extend(&stored[..store.acknowledged() as usize]);
        };
        tell(&store, &stored);
        while !left.is_empty() {
            let place = left.swap_remove(rng.next_u32() as usize % left.len());
            let appended = store.append(self.samples[place].clone());
            // The sample may be stored although sealing its shard failed.
            if !store.needs(&self.samples[place].uuid, self.samples[place].sample) {
                stored.push(place);
            }
            tell(&store, &stored);
            let done = appended.and_then(|_| match rng.next_u32() % 12 {
                0..3 => store.acknowledge(),
                // A run that stops, which this process goes on with, or another one.
                3 => store.seal_all(),
                4 => store.seal_all().and_then(|()| self.open(disk).map(|opened| store = opened)),
                _ => Ok(()),
            });
            if let Err(error) = done {
                // As a run does: the first failure ends it, after a last attempt to keep what there is.
                if store.seal_all().is_ok() {
                    tell(&store, &stored);
                }
                return Err(error);
            }
            tell(&store, &stored);
        }
        store.seal_all()?;
        tell(&store, &stored);
        Ok(())
    }

    /// What is on the disk must hold every acknowledged sample, and no other rows than those of the run.
    fn expect_kept(&self, disk: &SimulatedDisk, acknowledged: &[usize], when: &str) {
        let rows = match TraceReader::open_in(Self::folder(disk)) {
            Ok(reader) => reader.read_all().unwrap_or_else(|error| panic!("{when}: {error}")),
            Err(Error::NoDataset { .. } | Error::CopyAlone { .. }) => Vec::new(),
            Err(error) => panic!("{when}: {error}"),
        };
        assert!(rows.windows(2).all(|two| two[0].uuid != two[1].uuid || two[0].sample < two[1].sample), "{when}");
        assert!(rows.iter().all(|row| self.samples.contains(row)), "{when}: a foreign row");
        for &place in acknowledged {
            assert!(rows.contains(&self.samples[place]), "{when}: acknowledged sample {place} is lost");
        }
    }

    fn expected(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let disk = SimulatedDisk::default();
        self.drive(&disk, 0, &mut Vec::new()).expect("no fault");
        disk.contents()
    }

    /// Finishes the run on a sound disk.
    fn expect_finished(&self, disk: &SimulatedDisk, expected: &BTreeMap<PathBuf, Vec<u8>>, when: &str) {
        let disk = disk.with(None);
        self.drive(&disk, 1, &mut Vec::new()).unwrap_or_else(|error| panic!("{when}: {error}"));
        assert!(disk.contents() == *expected, "{when}: other bytes at the end");
    }
}

#[test]
fn any_operation_may_fail_once_or_for_ever() {
    let (run, fresh) = (Run::new(), SimulatedDisk::default());
    let expected = run.expected();
    for for_ever in [false, true] {
        for operation in 0.. {
            let when = format!("operation {operation}, for ever: {for_ever}");
            let disk = fresh.with(Some(Fault::Fails { operation, for_ever }));
            let mut acknowledged = Vec::new();
            let driven = run.drive(&disk, 5, &mut acknowledged);
            if !disk.struck() {
                assert!(driven.is_ok() && operation > 50, "the loop ends where no fault strikes");
                break;
            }
            run.expect_kept(&disk, &acknowledged, &when);
            run.expect_finished(&disk, &expected, &when);
            let dark = disk.after_power_cut(operation);
            run.expect_kept(&dark, &acknowledged, &when);
            run.expect_finished(&dark, &expected, &when);
        }
    }
}

/// Cuts the power at `points` places, in the run and in every second one of its recoveries too.
fn power_cuts(points: u64) {
    let (run, fresh) = (Run::new(), SimulatedDisk::default());
    let expected = run.expected();
    for seed in 0..points {
        let when = format!("seed {seed}");
        let whole = fresh.with(None);
        run.drive(&whole, seed, &mut Vec::new()).expect("no fault");
        let operation = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) % whole.operations();
        let mut disk = fresh.with(Some(Fault::PowerCut { operation }));
        let mut acknowledged = Vec::new();
        let driven = run.drive(&disk, seed, &mut acknowledged);
        assert_eq!(driven.is_err(), disk.struck(), "{when}");
        disk = disk.after_power_cut(seed);
        run.expect_kept(&disk, &acknowledged, &when);
        if seed % 2 == 0 {
            disk = disk.with(Some(Fault::PowerCut { operation: seed / 2 % 16 }));
            let _ = run.drive(&disk, seed + 1, &mut acknowledged);
            disk = disk.after_power_cut(seed + 1);
            run.expect_kept(&disk, &acknowledged, &when);
        }
        run.expect_finished(&disk, &expected, &when);
    }
}

#[test]
fn the_power_may_go_off_at_a_thousand_points() {
    power_cuts(1_000);
}

#[test]
#[ignore = "the longer tier: minutes"]
fn the_power_may_go_off_at_twenty_thousand_points() {
    power_cuts(20_000);
}

#[test]
fn the_disk_may_be_full_at_any_point() {
    let (run, fresh) = (Run::new(), SimulatedDisk::default());
    let expected = run.expected();
    for bytes in (0..).step_by(97) {
        let disk = fresh.with(Some(Fault::Full { bytes }));
        let mut acknowledged = Vec::new();
        let driven = run.drive(&disk, 3, &mut acknowledged);
        if !disk.struck() {
            assert!(driven.is_ok() && bytes > 10_000);
            break;
        }
        // Either the run could not go on and says why, or it had room in the end.
        if let Err(error) = driven {
            assert!(error.hint().is_some_and(|hint| hint.contains("space")), "{bytes} bytes: {error}");
        }
        run.expect_kept(&disk, &acknowledged, &format!("{bytes} bytes"));
        run.expect_finished(&disk, &expected, &format!("{bytes} bytes"));
    }
}

#[test]
fn a_repair_may_be_cut_off_anywhere_and_repeated() {
    repair_cut_off(None);
    repair_cut_off(Some((".manifest.json.copy", 150)));
}

fn repair_cut_off(also: Option<(&str, usize)>) {
    let run = Run::new();
    let (whole, damaged) = (SimulatedDisk::default(), SimulatedDisk::default());
    run.drive(&whole, 0, &mut Vec::new()).expect("no fault");
    let mut store = run.open(&damaged).expect("no fault");
    for sample in &run.samples[..13] {
        store.append(sample.clone()).expect("no fault");
        store.acknowledge().expect("no fault");
    }
    drop(store);
    for (file, at) in [("data-00001.arrow", 700), ("journal.bin", 200), ("manifest.json", 100)].into_iter().chain(also)
    {
        let path = Path::new("/data").join(file);
        let mut bytes = damaged.contents()[&path].clone();
        bytes[at] ^= 4;
        damaged.poke(&path, &bytes);
    }
    assert!(run.open(&damaged).is_err());
    for operation in 0.. {
        let when = format!("operation {operation}");
        let disk = damaged.with(Some(Fault::PowerCut { operation }));
        let cut_off = repair_in(&Run::folder(&disk));
        let disk = disk.after_power_cut(operation).with(None);
        let repaired = repair_in(&Run::folder(&disk)).unwrap_or_else(|error| panic!("{when}: {error}"));
        // Shard 0 and the journal's samples but the first, which the flipped bit hit.
        assert_eq!(repaired.samples, 5 + 2, "{when}");
        run.expect_kept(&disk, &[0, 1, 2, 3, 4, 11, 12], &when);
        let ends = run.drive(&disk, 1, &mut Vec::new());
        ends.unwrap_or_else(|error| panic!("{when}: {error}"));
        let mut contents = disk.contents();
        contents.retain(|path, _| !path.starts_with("/data/quarantine"));
        assert!(contents == whole.contents(), "{when}");
        if cut_off.is_ok() {
            assert!(operation > 10);
            break;
        }
    }
}
