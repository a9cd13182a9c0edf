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
            has_quota: false,
            kept: 3,
            problems: 3,
            kept_problems: 3,
            verdicts: vec![(Verdict::Right, 3), (Verdict::NoAnswer, 2)],
            groups: vec![group("", 1, 1), group("1", 2, 1), group("2", 2, 1)],
            drop_causes: vec![("no answer found".into(), 2)],
            // Two problems with one of two samples right, one with its only one.
            pass_rates: [0, 0, 0, 2, 0, 0, 1],
            prompt_tokens: Lengths {
                total: 45,
                quantiles: Quantiles { mean: 9.0, min: 9.0, p10: 9.0, p50: 9.0, p90: 9.0, p99: 9.0, max: 9.0 },
                histogram: Histogram { first: 9, width: 1, counts: vec![5] },
            },
            completion_tokens: Lengths {
                total: 27,
                quantiles: Quantiles { mean: 5.4, min: 1.0, p10: 1.0, p50: 2.0, p90: 12.0, p99: 12.0, max: 12.0 },
                histogram: Histogram { first: 1, width: 1, counts: vec![2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1] },
            },
            kept_tokens: 4,
            spent: None,
        }
    );
    assert_eq!(stats.groups[1].pass_rate(), 0.5);
}

#[test]
fn histograms_hold_every_value_in_few_classes_of_round_width() {
    for (values, classes) in [(vec![7], 1), ((0..1000).collect::<Vec<u32>>(), 10), (vec![0; 5], 1)] {
        let histogram = Histogram::of(&values);
        assert_eq!(histogram.counts.len(), classes, "{histogram:?}");
        assert_eq!(histogram.counts.iter().sum::<u64>(), values.len() as u64);
    }
    // An outlier is in the open class and widens nothing.
    let mut values: Vec<u32> = (100..300).collect();
    values.push(u32::MAX);
    let histogram = Histogram::of(&values);
    assert_eq!((histogram.first, histogram.width, histogram.counts.len()), (100, 20, 10));
    let classes: Vec<_> = histogram.classes().collect();
    assert_eq!((classes[0], classes[9]), ((100, Some(120), 20), (280, None, 21)));
    assert!(Histogram::of(&[0, u32::MAX]).counts.len() <= CLASSES_AND_TWO);
    assert_eq!(Histogram::of(&[]), Histogram::default());
}

const CLASSES_AND_TWO: usize = 14;

#[test]
fn classes_of_pass_rates_hold_their_upper_ends() {
    let rates = [0.0, 0.01, 0.2, 0.21, 0.4, 0.6, 0.61, 0.8, 0.99, 1.0];
    assert_eq!(rates.map(class), [0, 1, 1, 2, 2, 3, 4, 4, 5, 6]);
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
