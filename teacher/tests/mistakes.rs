//! The fixtures can tell: each mistake that runtimes of this family have made moves the logits of a fixture by at least
//! a hundred times what `parity.rs` allows, so a model that made it would fail there.
//!
//! `plain` is a second, slow form of the model. Without a mistake it agrees with `transformers` on every fixture.

mod plain;

use candle_core::{DType, Device, Result, Tensor};
use plain::Mistake::{self, *};
use plain::Plain;
use retort_model::checkpoint::Checkpoint;
use retort_teacher::{Config, embedded};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// What `parity.rs` allows.
const TOLERANCE: f64 = 1e-4;

const YARN: &[&str] = &["v2-lite", "v2", "v3-yarn", "k2"];
const SCALED: &[&str] = &["v2", "v3", "v3-yarn", "v3-mtp", "moonlight", "k2"];
const BIASED: &[&str] = &["v3", "v3-yarn", "v3-mtp", "moonlight", "k2"];
const GROUPED: &[&str] = &["v2", "v3", "v3-yarn"];
const ALL: &[&str] = &["v2-lite", "v2", "v3", "v3-yarn", "v3-mtp", "moonlight", "k2"];

/// Each mistake and the fixtures that show it.
const MISTAKES: [(Mistake, &[&str]); 21] = [
    (SoftmaxScaleWithoutYarn, YARN),
    (SoftmaxScaleByMscale, &["v3-yarn"]),
    (TablesTimesMscale, YARN),
    (TablesInBf16, ALL),
    (RotatedPartFirst, ALL),
    (RotatedInHalves, ALL),
    (KeysAndValuesInHalves, ALL),
    (LatentNormsByConfigEps, &["moonlight"]),
    (OtherScoring, ALL),
    (BiasInWeights, BIASED),
    (BiasAddedAndTakenAway, &["moonlight"]),
    (BiasInBf16, &["moonlight"]),
    (BiasIgnored, BIASED),
    (GroupsIgnored, GROUPED),
    (GroupsByBestExpert, &["v3", "v3-yarn"]),
    (GroupsByTwoBestExperts, &["v2"]),
    (OutsideGroupsZero, &["v3"]),
    (ChosenByMask, GROUPED),
    (OtherNormalisation, ALL),
    (WeightsNotScaled, SCALED),
    (SharedExpertsScaled, SCALED),
];

/// Those in multi-token prediction.
const MISTAKES_AHEAD: [Mistake; 4] =
    [AheadHiddenFirst, AheadBeforeFinalNorm, AheadOfItsOwnToken, AheadWithoutFirstEmbedding];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn config(name: &str) -> Config {
    Config::open(&folder(name).join("config.json")).expect("config")
}

/// All tensors of a checkpoint in f32.
fn tensors(checkpoint: &Checkpoint) -> Vec<(String, Tensor)> {
    let read = |name: &str| (name.to_string(), checkpoint.read(name, &Device::Cpu).expect("a tensor"));
    checkpoint.names().map(read).collect()
}

fn largest_difference(a: &Tensor, b: &Tensor) -> Result<f64> {
    (a - b)?.abs()?.flatten_all()?.max(0)?.to_scalar()
}

/// A fixture in the plain form, with what `transformers` computed.
struct Fixture<'a> {
    plain: Plain<'a>,
    expected: HashMap<String, Tensor>,
}

impl<'a> Fixture<'a> {
    fn open(name: &str, config: &'a Config) -> Result<Self> {
        let tensors = tensors(&Checkpoint::open(&folder(name)).expect("weights"));
        let expected = candle_core::safetensors::load(folder(name).join("expected.safetensors"), &Device::Cpu)?;
        Ok(Self { plain: Plain::new(config, tensors)?, expected })
    }

    /// How far `logits`, computed for each sequence, is from what was recorded under `key`.
    fn distance(&self, key: &str, logits: impl Fn(&[u32]) -> Result<Tensor>) -> Result<f64> {
        let sequences: Vec<Vec<u32>> = self.expected["input_ids"].to_dtype(DType::U32)?.to_vec2()?;
        let found = sequences.iter().map(|tokens| logits(tokens)).collect::<Result<Vec<_>>>()?;
        largest_difference(&Tensor::stack(&found, 0)?, &self.expected[key].to_dtype(DType::F64)?)
    }
}

#[test]
fn the_plain_form_matches_transformers() -> Result<()> {
    for name in ALL {
        let config = config(name);
        let fixture = Fixture::open(name, &config)?;
        let distance = fixture.distance("logits", |tokens| fixture.plain.logits(tokens, None))?;
        assert!(distance <= TOLERANCE, "{name}: {distance}");
        if fixture.expected.contains_key("mtp_logits") {
            let ahead = fixture.distance("mtp_logits", |tokens| fixture.plain.ahead_logits(tokens, None))?;
            assert!(ahead <= TOLERANCE, "{name}, ahead: {ahead}");
        }
    }
    Ok(())
}

#[test]
fn every_mistake_moves_the_logits() -> Result<()> {
    let mut hidden = Vec::new();
    let mut judge = |name: &str, mistake: Mistake, distance: f64| {
        println!("{mistake:?} | {name} | {distance:.3}");
        if distance < 100.0 * TOLERANCE {
            hidden.push(format!("{mistake:?} moves {name} by {distance:e} only"));
        }
    };
    for name in ALL {
        let config = config(name);
        let fixture = Fixture::open(name, &config)?;
        for (mistake, _) in MISTAKES.iter().filter(|(_, shown_by)| shown_by.contains(name)) {
            judge(name, *mistake, fixture.distance("logits", |tokens| fixture.plain.logits(tokens, Some(*mistake)))?);
        }
    }
    let config = config("v3-mtp");
    let fixture = Fixture::open("v3-mtp", &config)?;
    for mistake in MISTAKES_AHEAD {
        let logits = |tokens: &[u32]| fixture.plain.ahead_logits(tokens, Some(mistake));
        judge("v3-mtp, ahead", mistake, fixture.distance("mtp_logits", logits)?);
    }
    assert!(hidden.is_empty(), "{hidden:#?}");
    Ok(())
}

/// FP8 scales of 192 rows or columns are 1.5 blocks: the half block's scale taken from the whole one before it, as an
/// index rounded down would have it, shows in the embedded teacher's logits.
#[test]
fn the_scale_of_a_partial_block_matters() -> Result<()> {
    let config = Config::parse(&embedded::files().config, Path::new("config.json")).expect("config");
    let right = tensors(&Checkpoint::embedded(embedded::WEIGHTS, "teacher").expect("weights"));
    let file = candle_core::safetensors::SliceSafetensors::new(embedded::WEIGHTS)?;
    let mut wrong = right.clone();
    for (name, weight_oi) in &mut wrong {
        let Ok(scales) = file.load(&format!("{name}_scale_inv"), &Device::Cpu) else { continue };
        let scales: Vec<Vec<f32>> = scales.to_vec2()?;
        let (o, i) = weight_oi.dims2()?;
        let factor = |at: usize| {
            let (row, col) = (at / i / 128, at % i / 128);
            let whole = |block: usize, size: usize| block.min((size / 128).max(1) - 1);
            scales[whole(row, o)][whole(col, i)] / scales[row][col]
        };
        let factors = Tensor::from_vec((0..o * i).map(factor).collect::<Vec<f32>>(), (o, i), &Device::Cpu)?;
        *weight_oi = (&*weight_oi * factors)?;
    }
    let text: Vec<u32> = (0..40).map(|at| (at * 37 + 11) % 1000).collect();
    let logits = |tensors: Vec<(String, Tensor)>| Plain::new(&config, tensors)?.logits(&text, None);
    let distance = largest_difference(&logits(wrong)?, &logits(right)?)?;
    println!("partial blocks | embedded teacher | {distance:.3}");
    assert!(distance >= 100.0 * TOLERANCE, "{distance}");
    Ok(())
}
