//! Any two texts as gold and answer: a grade, the same in both orders, and no panic.
//! `cd datagen && cargo +nightly fuzz run grade`; the two texts of an input are parted by a line break.
//!
//! `datagen/src/verify/math/tests/bounds.rs` does the same with seeded mutations, in every test run.

#![no_main]

use libfuzzer_sys::fuzz_target;
use retort_datagen::verify::{extract_answer, math};

fuzz_target!(|text: &str| {
    let (gold, answer) = text.split_once('\n').unwrap_or((text, ""));
    let (there, back) = (math::compare(gold, answer), math::compare(answer, gold));
    assert_eq!(there.verdict, back.verdict);
    let _ = extract_answer(text);
});
