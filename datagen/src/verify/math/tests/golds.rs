//! Golds of MATH (Hendrycks et al. 2021, MIT, see `golds/LICENSE`): each equals itself, the box that its solution ends
//! in, and a respelling by rule.
//!
//! The fixture holds 110 of the 500 of MATH-500; `RETORT_MATH500` names a file with all of them (`answer`, `solution`
//! and `unique_id` per line), which is then checked as well.

use super::{Equality, compare, grade};
use crate::verify::extract_answer;
use serde_json::Value;

fn check(lines: &str) -> usize {
    let mut failures = Vec::new();
    let mut count = 0;
    for line in lines.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| row[key].as_str().unwrap_or_default();
        let gold = text("answer");
        let solution = format!("{}{}", text("solution"), text("solution_end"));
        let boxed = extract_answer(&solution).unwrap_or_default();
        let respelled = respell(gold);
        assert_ne!(gold, respelled);
        for answer in [gold, boxed, &respelled] {
            if grade(gold, answer) != Equality::Equal {
                failures.push(format!("{}: {gold} and {answer}: {}", text("unique_id"), compare(gold, answer).reason));
            }
        }
        count += 1;
    }
    assert!(failures.is_empty(), "{failures:#?}");
    count
}

/// Another spelling of the same answer: plain signs for commands, `/` for fractions, other brackets for matrices, a
/// denominator or a group separator for integers, spaces and `\left` `\right` where they change nothing.
fn respell(gold: &str) -> String {
    if let Ok(integer) = gold.parse::<i64>() {
        return match integer.unsigned_abs() {
            1000.. => format!("${}{{,}}{:03}$", integer / 1000, integer.unsigned_abs() % 1000),
            size if size % 3 == 0 => format!("{integer}.0"),
            size if size % 3 == 1 => format!("\\frac{{{}}}{{2}}", 2 * integer),
            _ => format!("\\boxed{{{integer}}}."),
        };
    }
    let mut text = fractions_by_slash(gold);
    let plain = [
        ("\\left", ""),
        ("\\right", ""),
        ("\\pi", "π"),
        ("\\pm", "±"),
        ("\\infty", "∞"),
        ("\\cup", "∪"),
        ("^\\circ", "°"),
        ("pmatrix", "bmatrix"),
        ("\\mbox", "\\text"),
        ("\\!", ""),
        ("\\sqrt", "√"),
    ];
    for (command, sign) in plain {
        text = text.replace(command, sign);
    }
    let text = text.replace(['('], "\\left( ").replace(')', " \\right)");
    format!("$ {} $", text.replace(['+'], " + "))
}

/// `\frac{a}{b}` and `\frac ab` as `(a)/(b)`, but for mixed numbers, where the bar says that it is one.
fn fractions_by_slash(text: &str) -> String {
    let Some((before, rest)) = ["\\dfrac", "\\frac"].into_iter().find_map(|command| text.split_once(command)) else {
        return text.to_owned();
    };
    let (above, rest) = argument(rest);
    let (below, rest) = argument(rest);
    let (above, below) = (fractions_by_slash(above), fractions_by_slash(below));
    if before.trim_end().ends_with(|last: char| last.is_ascii_digit()) {
        return format!("{before}\\tfrac{{{above}}}{{{below}}}{rest}");
    }
    format!("{before}(({above})/({below})){}", fractions_by_slash(rest))
}

fn argument(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    match super::super::tokens::braced(text) {
        Some(found) => found,
        None => text.split_at(1),
    }
}

#[test]
fn golds_equal_their_solutions_boxes_and_respellings() {
    let count = check(include_str!("golds/math.jsonl"));
    assert!(count >= 100, "{count}");
    if let Ok(path) = std::env::var("RETORT_MATH500") {
        println!("{} golds of `{path}`", check(&std::fs::read_to_string(&path).unwrap()));
    }
}
