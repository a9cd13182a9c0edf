//! Statistics against counts made by hand.

use super::*;
use crate::store::example;

#[test]
fn counts_rates_and_quantiles_are_those_counted_by_hand_sealed_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = example::open(dir.path(), 4).unwrap();
    let reader = TraceReader::open(dir.path()).unwrap();
    assert_eq!(trace_stats(&reader).unwrap(), TraceStats { planned: 6, ..TraceStats::default() });
    // The first shard is sealed, one row stays in the journal.
    for sample in example::samples().into_iter().take(5) {
        store.append(sample).unwrap();
    }
    let reader = TraceReader::open(dir.path()).unwrap();
    assert_eq!(reader.manifest().sealed_rows(), 4);
    let stats = trace_stats(&reader).unwrap();
    let group = |difficulty: &str, samples, right| Group {
        domain: "sums".into(),
        difficulty: difficulty.into(),
        samples,
        right,
    };
    // Completion tokens are 1, 11 (gold 4), 2, 12 (gold 34), 1 (gold 4).
    assert_eq!(
        stats,
        TraceStats {
            samples: 5,
            planned: 6,
            kept: 3,
            verdicts: vec![(Verdict::Right, 3), (Verdict::NoAnswer, 2)],
            groups: vec![group("", 1, 1), group("1", 2, 1), group("2", 2, 1)],
            drop_causes: vec![("no answer found".into(), 2)],
            prompt_tokens: Quantiles { mean: 9.0, min: 9.0, p10: 9.0, p50: 9.0, p90: 9.0, p99: 9.0, max: 9.0 },
            completion_tokens: Quantiles { mean: 5.4, min: 1.0, p10: 1.0, p50: 2.0, p90: 12.0, p99: 12.0, max: 12.0 },
        }
    );
    assert_eq!(stats.groups[1].pass_rate(), 0.5);
}

#[test]
fn a_damaged_shard_is_named_and_not_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = example::open(dir.path(), 6).unwrap();
    for sample in example::samples() {
        store.append(sample).unwrap();
    }
    let shard = dir.path().join("data-00000.arrow");
    let mut bytes = std::fs::read(&shard).unwrap();
    bytes[100] ^= 4;
    std::fs::write(&shard, bytes).unwrap();
    let error = trace_stats(&TraceReader::open(dir.path()).unwrap()).unwrap_err().to_string();
    assert!(error.contains("data-00000.arrow"), "{error}");
}
