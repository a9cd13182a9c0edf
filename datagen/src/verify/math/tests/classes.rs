//! Every rule class by hand: pairs that are equal, pairs that are not, and those that nobody can tell.

mod collections;
mod expressions;
mod figures;
mod measures;
mod numbers;

use super::{Equality, compare, grade};

/// A class, its equal pairs, its unequal pairs.
type Class = (&'static str, Pairs, Pairs);
type Pairs = &'static [(&'static str, &'static str)];

#[test]
fn every_class_has_cases_of_both_verdicts() {
    let mut count = 0;
    let mut missed = Vec::new();
    for (class, equal, other) in
        [numbers::CLASSES, measures::CLASSES, expressions::CLASSES, collections::CLASSES, figures::CLASSES].concat()
    {
        assert!(!equal.is_empty() && !other.is_empty(), "{class}");
        for (pairs, expected) in [(equal, Equality::Equal), (other, Equality::NotEqual)] {
            for (gold, answer) in pairs {
                let reason = compare(gold, answer).reason;
                if grade(gold, answer) != expected {
                    missed.push(format!("{class}: {gold} and {answer}, not {expected:?}: {reason}"));
                }
                count += 1;
            }
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
    assert!(count >= 300, "{count}");
}

#[test]
fn what_is_not_proven_stays_undecided() {
    let cases = [
        // A sum is not worked out, and a value that agrees is no proof.
        ("\\sum_{k=1}^{n} k", "\\frac{n(n+1)}{2}"),
        ("\\int_0^1 x\\,dx", "\\frac12"),
        // Too large to compute, and no rule that would tell.
        ("9^{9^{9^9}}", "9^{9^{9^8}}"),
        ("100000000!", "5"),
        // No value.
        ("5", "5/0"),
        ("0^0", "1"),
        // Notation that is open.
        ("x", "X"),
        ("xy", "yx"),
        ("(1,2)", "2, 1"),
        ("3 apples", "3 oranges"),
        ("34", "3 4"),
        ("x^2=4", "2, -2"),
        // As many as the month has, the same on another scale, and half a day that is unsaid.
        ("2 months", "60 days"),
        ("25°C", "77°F"),
        ("15:00", "3:00"),
        ("3:2", "3:02"),
        ("no", "0"),
        // Words that speak of numbers.
        ("2", "there are two of them"),
        ("0", "none"),
        ("Evelyn", "Evelyn is the fastest"),
        ("north", "30^\\circ north"),
        // A radical of a complex number has no one value here.
        ("\\sqrt{3+4i}", "2+i"),
        // Cents, or a separator in the wrong place; other digits than those that are there; a time or a proportion.
        ("10,00", "10"),
        ("25,00", "25.00"),
        ("3.14...", "3.14"),
        ("e", "2.718281828..."),
        ("0.33...", "1/3"),
        ("12...", "12"),
        ("1:30", "1/30"),
        // In cents, and not in dollars.
        ("525", "5 dollars and 25 cents"),
        // Two answers, or one.
        ("2 hours, 30 minutes", "150 minutes"),
        ("2 feet and 30 inches", "54 inches"),
        ("3!!!", "720"),
        ("\\vec{a}", "a"),
        ("\\hat{a}", "a"),
        ("x \\ge 1", "x \\ge 1, y \\le 2"),
        // Not mathematics.
        ("5", "let me think \\unknown{5}"),
        ("5", ""),
        ("", ""),
        ("5", "\\frac{5"),
        ("5", "import sympy; print(5)"),
    ];
    let decided = cases.iter().filter(|(gold, answer)| grade(gold, answer) != Equality::Undecided);
    let decided: Vec<String> =
        decided.map(|(gold, answer)| format!("{gold} and {answer}: {}", compare(gold, answer).reason)).collect();
    assert!(decided.is_empty(), "{decided:#?}");
}

#[test]
fn reasons_begin_with_a_cause() {
    let cause = |gold, answer| {
        let reason = compare(gold, answer).reason;
        reason.split_once(": ").map_or(reason.clone(), |(cause, _)| cause.to_owned())
    };
    assert_eq!(cause("5", "6"), "another value");
    assert_eq!(cause("5 cm", "5 m"), "another unit");
    assert_eq!(cause("(1,2)", "[1,2]"), "other brackets");
    assert_eq!(cause("(A)", "(B)"), "another choice");
    assert_eq!(cause("east", "west"), "another text");
    assert_eq!(cause("5", "5.0"), "the same value");
    assert_eq!(cause("5", "\\frac{5"), "unreadable, a bracket that does not close");
    assert_eq!(cause("100000000!", "5"), "too large to compute");
}
