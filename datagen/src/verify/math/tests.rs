//! What equals what: cases by hand for every rule class, generated near misses and respellings, golds of MATH, bounds.

mod bounds;
mod classes;
mod generator;
mod golds;
mod unequal;

use super::{Equality, compare};

/// Grades in both orders; the verdict may not depend on which side is the gold.
fn grade(gold: &str, answer: &str) -> Equality {
    let (there, back) = (compare(gold, answer), compare(answer, gold));
    assert_eq!(there.verdict, back.verdict, "{gold} and {answer}: {} / {}", there.reason, back.reason);
    assert!(!there.reason.is_empty());
    there.verdict
}

#[test]
fn words_that_change_a_number_count_nothing() {
    for (gold, answer) in [
        ("5", "5 dozen"),
        ("12", "12 quarters"),
        ("5", "5 below zero"),
        ("20", "20 twelve"),
        ("5", "5 wrong"),
        ("12", "12 tens"),
        ("12", "12 fives"),
        ("12", "12 sixes"),
        ("12", "12 dimes"),
        ("12", "12 pennies"),
        ("12", "12 doubled"),
        ("12", "12 twice"),
        ("12", "12 hundreds"),
        ("12", "12 thousands"),
        ("12", "12 pairs"),
        ("12", "12 per dozen"),
    ] {
        assert_eq!(grade(gold, answer), Equality::Undecided, "{gold} and {answer}");
    }
    assert_eq!(grade("5", "5 apples"), Equality::Equal);
}

#[test]
fn an_expression_in_a_set_is_not_the_set() {
    for other in ["-x", "2x", "x^2"] {
        let answer = format!("{other} \\in [-2,7]");
        assert_eq!(grade("x \\in [-2,7]", &answer), Equality::Undecided, "{answer}");
        assert_eq!(grade(&answer, &answer), Equality::Equal, "{answer}");
    }
    assert_eq!(grade("x \\in [-2,7]", "[-2,7]"), Equality::Equal);
}

#[test]
fn a_choice_and_more_is_another_choice() {
    for (gold, answer) in [
        ("B", "(B) is not correct"),
        ("A", "(A) and (C)"),
        ("A", "(A) not (B)"),
        ("A", "\\textbf{(A)} and \\textbf{(C)}"),
        ("A", "\\textbf{(A)}\\text{ and }\\textbf{(C)}"),
    ] {
        assert_ne!(grade(gold, answer), Equality::Equal, "{gold} and {answer}");
    }
    assert_eq!(grade("C", "(C) 17"), Equality::Equal);
}
