//! Answers made by rule: a gold, the same answer spelled otherwise, and an answer that misses it narrowly.
//!
//! Seeded and deterministic. Every family makes its three texts from one draw of numbers, so what is equal and what is
//! not follows from how they are made and not from the code under test.

mod collections;
mod expressions;
mod numbers;

use super::{Equality, compare, grade};
use std::collections::BTreeMap;

/// A gold, an equal answer, a wrong one.
type Triple = (String, String, String);
type Family = (&'static str, fn(&mut Draw) -> Triple);

/// Triples of one family.
const OF_EACH: usize = 100;

/// splitmix64; the same numbers everywhere.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Uniform in `low..=high`.
    fn int(&mut self, low: i64, high: i64) -> i64 {
        let width = u64::try_from(high - low + 1).unwrap();
        low + i64::try_from(self.next() % width).unwrap()
    }

    fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        let last = i64::try_from(items.len()).unwrap() - 1;
        items[usize::try_from(self.int(0, last)).unwrap()].clone()
    }

    /// The text in one of the wrappings that change nothing.
    fn wrapped(&mut self, text: String) -> String {
        match self.int(0, 6) {
            0 => format!("${text}$"),
            1 => format!(" {text}"),
            2 => format!("\\({text}\\)"),
            3 => format!("{text}."),
            4 => format!("\\boxed{{{text}}}"),
            _ => text,
        }
    }
}

fn families() -> Vec<Family> {
    [numbers::FAMILIES, expressions::FAMILIES, collections::FAMILIES].concat()
}

fn triples() -> Vec<(&'static str, Triple)> {
    let mut all = Vec::new();
    for (name, family) in families() {
        let mut draw = Draw(name.bytes().fold(17, |seed: u64, byte| seed.wrapping_mul(31) ^ u64::from(byte)));
        for _ in 0..OF_EACH {
            let (gold, equal, wrong) = family(&mut draw);
            let equal = draw.wrapped(equal);
            all.push((name, (gold, equal, draw.wrapped(wrong))));
        }
    }
    all
}

#[test]
fn no_near_miss_is_accepted() {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut accepted = Vec::new();
    let mut undecided = Vec::new();
    for (name, (gold, _, wrong)) in triples() {
        match grade(&gold, &wrong) {
            Equality::Equal => accepted.push(format!("{name}: {wrong} for {gold}")),
            Equality::NotEqual => {}
            Equality::Undecided => {
                undecided.push(format!("{name}: {gold} and {wrong}: {}", compare(&gold, &wrong).reason))
            }
        }
        *counts.entry(name).or_default() += 1;
    }
    let total: usize = counts.values().sum();
    assert!(accepted.is_empty(), "{accepted:#?}");
    assert!(total >= 2000, "{total}");
    assert!(undecided.len() * 100 <= total, "{} of {total}: {undecided:#?}", undecided.len());
    println!("{total} near misses in {} families, {} undecided: {undecided:#?}", counts.len(), undecided.len());
}

#[test]
fn respellings_are_equal() {
    let mut total = 0;
    let mut undecided = Vec::new();
    let mut wrong = Vec::new();
    for (name, (gold, equal, _)) in triples() {
        total += 1;
        let told = || format!("{name}: {gold} and {equal}: {}", compare(&gold, &equal).reason);
        match grade(&gold, &equal) {
            Equality::Equal => {}
            Equality::NotEqual => wrong.push(told()),
            Equality::Undecided => undecided.push(told()),
        }
    }
    assert!(wrong.is_empty(), "{} not equal: {wrong:#?}", wrong.len());
    assert!(total >= 2000 && undecided.len() * 100 <= total, "{} of {total}: {undecided:#?}", undecided.len());
    println!("{total} respellings, {} undecided: {undecided:#?}", undecided.len());
}
