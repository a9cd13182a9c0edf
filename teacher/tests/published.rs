//! The published models by their `config.json` alone: parameters, memory per token; and checkpoints held against configs.

use retort_model::Error;
use retort_model::cache::CacheSpec;
use retort_model::checkpoint::Checkpoint;
use retort_model::inventory::Totals;
use retort_teacher::Config;
use std::path::{Path, PathBuf};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn published(name: &str) -> Config {
    Config::open(&fixtures().join("published").join(format!("{name}.json"))).expect("a config that is supported")
}

/// Total and active parameters in billions, as rounded by whoever published them; KiB of cache per token in bf16,
/// latent and expanded.
const PUBLISHED: [(&str, f64, f64, f64, f64); 5] = [
    ("v2-lite", 15.71, 2.451, 30.4, 270.0),
    ("v2", 235.7, 20.85, 67.5, 4800.0),
    ("v3", 671.03, 36.63, 68.6, 4880.0),
    ("moonlight", 15.96, 2.579, 30.4, 270.0),
    ("k2", 1026.0, 31.69, 68.6, 2440.0),
];

/// Whether `found` rounds to `rounded`, whose last digit decides.
fn rounds_to(found: f64, rounded: f64) -> bool {
    let digits = rounded.to_string().split_once('.').map_or(0, |(_, digits)| digits.len());
    (found - rounded).abs() <= 0.500_001 * 10f64.powi(-(digits as i32))
}

#[test]
fn sizes_follow_from_the_config_alone() {
    for (name, total, active, latent, expanded) in PUBLISHED {
        let config = published(name);
        let totals = Totals::of(config.parts());
        let billions = |count: u64| count as f64 / 1e9;
        assert!(rounds_to(billions(totals.total), total), "{name}: {totals:?}");
        assert!(rounds_to(billions(totals.active), active), "{name}: {totals:?}");
        let kibibytes = |spec: CacheSpec| 2.0 * spec.elements_per_token() as f64 / 1024.0;
        assert!(rounds_to(kibibytes(config.cache_spec()), latent), "{name}");
        assert_eq!(kibibytes(config.expanded_cache_spec()), expanded, "{name}");
    }
    // V3's published checkpoint has 684.5 billion numbers: embedding and head stand in it a second time.
    let v3 = published("v3");
    let (totals, shared) = (Totals::of(v3.parts()), 2 * v3.vocab_size * v3.hidden_size);
    assert!(rounds_to((totals.total + totals.ahead + shared as u64) as f64 / 1e9, 684.5), "{totals:?}");
}

/// What V3's `inference/model.py` computes for each published shape: the pairs between which YaRN's ramp runs, and the
/// softmax scale (V3: 192^-1/2 times 1.3688879 squared).
#[test]
fn softmax_scales_and_correction_ranges_are_the_published_ones() {
    for (name, range, scale) in [
        ("v2-lite", Some((10, 23)), 0.114_721_4),
        ("v3", Some((10, 23)), 0.135_233_8),
        ("k2", Some((19, 20)), 0.130_860_8),
        ("moonlight", None, 0.072_168_8),
    ] {
        let config = published(name);
        let found = config.yarn().map(|yarn| yarn.correction_range(config.qk_rope_head_dim, config.theta()));
        assert_eq!(found, range, "{name}");
        assert!((config.softmax_scale() - scale).abs() < 5e-8, "{name}: {}", config.softmax_scale());
    }
    // Kimi-K2.5 stretches by 64 instead of 32.
    let mut k2 = published("k2");
    k2.rope_scaling.as_mut().expect("YaRN").factor = Some(64.0);
    assert!((k2.softmax_scale() - 0.144_679_7).abs() < 1e-7, "{}", k2.softmax_scale());
}

/// A copy of a fixture's checkpoint folder, to be damaged.
fn copy(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("folder");
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(fixtures().join(name).join(file), folder.path().join(file)).expect("copied");
    }
    folder
}

fn check(folder: &Path, change: impl Fn(&mut Config)) -> Result<(), Error> {
    let mut config = Config::open(&folder.join("config.json"))?;
    change(&mut config);
    let checkpoint = Checkpoint::open(folder)?;
    checkpoint.check(config.parts(), |name| config.is_spare(name, |name| checkpoint.has(name)))
}

#[test]
fn checkpoints_hold_exactly_what_their_config_asks_for() {
    for name in ["v2-lite", "v2", "v3", "v3-yarn", "v3-mtp", "moonlight", "k2"] {
        check(copy(name).path(), |_| {}).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn what_does_not_belong_together_is_refused_by_name() {
    let fault =
        |name: &str, change: fn(&mut Config)| check(copy(name).path(), change).expect_err("refused").to_string();
    let missing = fault("v3", |config| config.num_hidden_layers += 1);
    assert!(missing.contains("missing") && missing.contains("model.layers."), "{missing}");
    let extra = fault("v3", |config| config.n_shared_experts = None);
    assert!(extra.contains("shared_experts") && extra.contains("none of the model's"), "{extra}");
    let bias = fault("v3", |config| {
        config.topk_method = Some(retort_teacher::config::TopkMethod::Greedy);
    });
    assert!(bias.contains("e_score_correction_bias"), "{bias}");
    let layers = fault("v3", |config| config.num_hidden_layers -= 1);
    assert!(layers.contains("none of the model's") && layers.contains("model.layers."), "{layers}");
    let shape = fault("v3", |config| config.vocab_size += 1);
    assert!(shape.contains("embed_tokens") && shape.contains("shape"), "{shape}");
    // A module for multi-token prediction that nobody asked for is harmless.
    check(copy("v3-mtp").path(), |config| config.num_nextn_predict_layers = None).expect("accepted");
}

/// Each is one change of the published config of V3 that would give another model, or that contradicts the rest.
#[test]
fn what_is_not_followed_is_refused_by_name() {
    let path = fixtures().join("published/v3.json");
    let json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).expect("text")).expect("JSON");
    let cases = [
        ("/rope_parameters", serde_json::json!({ "rope_type": "default", "rope_theta": 1e4 }), "rope_scaling"),
        ("/rope_scaling", serde_json::json!({ "factor": 40.0 }), "rope_scaling.factor"),
        ("/rope_scaling", serde_json::json!({ "type": "default", "mscale": 1.0 }), "rope_scaling.mscale"),
        ("/num_mtp_layers", 2.into(), "num_mtp_layers"),
        ("/num_mtp_layers", 0.into(), "num_mtp_layers"),
        ("/rope_scaling/attention_factor", serde_json::json!(2.0), "rope_scaling.attention_factor"),
        ("/rope_scaling/truncate", false.into(), "rope_scaling.truncate"),
        ("/rope_scaling/partial_rotary_factor", 0.5.into(), "rope_scaling.partial_rotary_factor"),
        ("/rope_scaling/zzz", 1.into(), "`rope_scaling.zzz`"),
        ("/rope_scaling/factor", "40".into(), "rope_scaling.factor"),
        ("/rope_scaling/rope_theta", 7.0.into(), "rope_scaling.rope_theta"),
        ("/rope_scaling/rope_type", "linear".into(), "rope_scaling.type"),
        ("/rope_scaling/type", "linear".into(), "rope_scaling.type"),
        ("/rope_parameters", serde_json::json!({ "rope_type": "default", "rope_theta": 5e5 }), "rope_theta"),
        ("/architectures", serde_json::json!(["LlamaForCausalLM"]), "architectures"),
        ("/dtype", "float32".into(), "torch_dtype"),
        ("/torch_dtype", "float64".into(), "torch_dtype"),
        ("/quantization_config/activation_scheme", "static".into(), "quantization_config.activation_scheme"),
        ("/quantization_config/quant_method", "awq".into(), "quantization_config.quant_method"),
        ("/topk_group", 0.into(), "topk_group"),
        ("/topk_group", 9.into(), "topk_group"),
        ("/scoring_func", "tanh".into(), "scoring_func"),
        ("/hidden_act", "gelu".into(), "hidden_act"),
        ("/zzz", 1.into(), "`zzz`"),
    ];
    for (place, value, named) in cases {
        let mut json = json.clone();
        let (parent, key) = place.rsplit_once('/').expect("a pointer");
        json.pointer_mut(parent).expect("an object")[key] = value;
        let error = Config::parse(&json.to_string(), &path).expect_err(place).to_string();
        assert!(error.contains(named), "{place}: {error}");
    }
}

#[test]
fn no_number_in_a_config_breaks_the_arithmetic() {
    let path = fixtures().join("published/v3.json");
    let json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).expect("text")).expect("JSON");
    let fields: Vec<&String> = json.as_object().expect("an object").keys().collect();
    for field in fields {
        for extreme in [0, 1, 1 << 30, u64::from(u32::MAX), u64::MAX] {
            let mut json = json.clone();
            json[field] = extreme.into();
            if let Ok(config) = Config::parse(&json.to_string(), &path) {
                Totals::of(config.parts());
                config.expanded_cache_spec().elements_per_token();
                assert!(
                    Checkpoint::open(&fixtures().join("v3")).expect("weights").check(config.parts(), |_| true).is_err()
                );
            }
        }
    }
}
