//! What equals what: cases by hand for every rule class, generated near misses and respellings, golds of MATH, bounds.

mod bounds;
mod classes;
mod generator;
mod golds;

use super::{Equality, compare};

/// Grades in both orders; the verdict may not depend on which side is the gold.
fn grade(gold: &str, answer: &str) -> Equality {
    let (there, back) = (compare(gold, answer), compare(answer, gold));
    assert_eq!(there.verdict, back.verdict, "{gold} and {answer}: {} / {}", there.reason, back.reason);
    assert!(!there.reason.is_empty());
    there.verdict
}
