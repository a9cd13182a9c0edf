//! The page holds what it is to hold and nothing that could be loaded or run.

use super::*;
use crate::sample::{Sample, Verdict};
use crate::store::{Derived, DerivedWriter, example};

/// The page of a dataset of these rows.
fn page(rows: &[Sample], examples: usize) -> String {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("traces");
    let derived = Derived { verb: "import".into(), settings: serde_json::json!({ "a": "<b>" }), parents: vec![] };
    let mut writer = DerivedWriter::create(&dir, derived, 4).unwrap();
    for row in rows {
        writer.push(row.clone()).unwrap();
    }
    writer.finish().unwrap();
    let reader = TraceReader::open(&dir).unwrap();
    let page = render(&reader, "my <traces>", examples).unwrap();
    assert_eq!(page, render(&reader, "my <traces>", examples).unwrap());
    page
}

#[test]
fn every_verdict_and_cause_has_its_traces_and_what_a_model_wrote_stays_text() {
    let mut rows = example::samples();
    rows[0].reasoning = "<script>alert(1)</script> & \u{1f600}".into();
    rows[2].drop_reason = "near-duplicate trace: 0.91 of sample 1".into();
    rows[2].kept = false;
    rows[4].verdict = Verdict::Undecided;
    rows[5].response = "x".repeat(20_000);
    let page = page(&rows, 6);
    let places: Vec<usize> =
        ["<h1>2 of 6 traces", "Why traces are not kept", "How hard", "Left out: near-duplicate trace"]
            .iter()
            .map(|part| page.find(part).unwrap_or_else(|| panic!("{part} is not there")))
            .collect();
    assert!(places.is_sorted());
    for verdict in [Verdict::Right, Verdict::NoAnswer, Verdict::Undecided] {
        assert!(page.contains(&format!("background: var(--{})", verdict.as_str())), "{verdict:?}");
    }
    assert!(
        page.contains("<pre class=\"thinking\" tabindex=\"0\">&lt;script&gt;alert(1)&lt;/script&gt; &amp; \u{1f600}")
    );
    assert!(page.contains("my &lt;traces&gt;") && page.contains("&lt;b&gt;") && page.contains("8,000 more characters"));
    for forbidden in ["<script", "http://", "https://", "src=", "@import", "url("] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert!(page.contains("Content-Security-Policy") && page.contains("prefers-color-scheme: dark"));
    assert_eq!(page.matches("<details>").count(), 6);
}

#[test]
fn an_empty_dataset_has_a_page_and_examples_are_as_many_as_asked_for() {
    let empty = page(&[], 6);
    assert!(empty.contains("<h1>0 of 0 traces") && !empty.contains("NaN"));
    assert_eq!(page(&example::samples(), 1).matches("<details>").count(), 2);
    assert_eq!(page(&example::samples(), 0).matches("<details>").count(), 0);
}
