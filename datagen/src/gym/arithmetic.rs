//! Sums, differences and products, worked column by column from the units.
//!
//! Every line of a column has the same width (results and borrow-extended top digits are padded to two digits), so the
//! digits that a line needs always stand at the same distance from it; the carry is the tens digit of the line before.

use super::draw::Draw;
use super::solution::{Solution, Step};
use super::{Level, Sketch};

const COLUMNS: [&str; 4] = ["Units", "Tens", "Hundreds", "Thousands"];

/// Draws a problem: level 1 has 2 digits, level 2 has 3 digits or 2x1, level 3 has 4 digits or 2x2.
pub(super) fn draw(level: Level, draw: &mut Draw) -> Sketch {
    let die = draw.below(100);
    match level {
        Level::One if die < 50 => sum(2, draw),
        Level::One => difference(2, draw),
        Level::Two if die < 33 => sum(3, draw),
        Level::Two if die < 66 => difference(3, draw),
        Level::Two => product(1, draw),
        Level::Three if die < 35 => sum(4, draw),
        Level::Three if die < 60 => difference(4, draw),
        Level::Three => product(2, draw),
    }
}

/// A number with exactly `digits` digits.
fn number(digits: usize, draw: &mut Draw) -> i64 {
    let low = 10i64.pow(digits as u32 - 1);
    draw.between(low, 10 * low - 1)
}

/// The digit of `number` in `column`, counted from the units.
fn digit(number: i64, column: usize) -> i64 {
    number / 10i64.pow(column as u32) % 10
}

fn sum(digits: usize, draw: &mut Draw) -> Sketch {
    let (a, b) = (number(digits, draw), number(digits, draw));
    let (mut steps, mut check) = (Vec::new(), Vec::new());
    let mut carry = 0;
    for (column, name) in COLUMNS.iter().enumerate().take(digits) {
        let (top, bottom) = (digit(a, column), digit(b, column));
        let total = top + bottom + carry;
        let (left, back) = match column {
            0 => (format!("{top}+{bottom}"), format!("{total:02}-{bottom}={top}")),
            _ => (format!("{top}+{bottom}+{carry}"), format!("{total:02}-{bottom}-{carry}={top}")),
        };
        carry = total / 10;
        steps.push(Step::columns(draw, name, &left, total, 2).noting(format!("write {} carry {carry}", total % 10)));
        check.push(back);
    }
    finish(a, '+', b, a + b, Solution { steps, check, last: String::new() }, draw)
}

fn difference(digits: usize, draw: &mut Draw) -> Sketch {
    // Every column writes a digit of the answer: no leading zeros to strip.
    let (a, b) = loop {
        let (a, b) = (number(digits, draw), number(digits, draw));
        if a - b >= 10i64.pow(digits as u32 - 1) {
            break (a, b);
        }
    };
    let (mut steps, mut check) = (Vec::new(), Vec::new());
    let mut borrow = 0;
    for (column, name) in COLUMNS.iter().enumerate().take(digits) {
        let (top, bottom) = (digit(a, column), digit(b, column));
        let lacks = top < bottom + borrow;
        let lifted = if lacks { top + 10 } else { top };
        let rest = lifted - bottom - borrow;
        let (left, back) = match column {
            0 => (format!("{lifted:02}-{bottom}"), format!("{rest}+{bottom}={lifted:02}")),
            _ => (format!("{lifted:02}-{bottom}-{borrow}"), format!("{rest}+{bottom}+{borrow}={lifted:02}")),
        };
        borrow = i64::from(lacks);
        steps.push(Step::compute(draw, name, &left, rest).noting(format!("borrow {borrow}")));
        check.push(back);
    }
    finish(a, '-', b, a - b, Solution { steps, check, last: String::new() }, draw)
}

/// A 2-digit number times one of `digits` (1 or 2) digits, gathered by columns: first the products of digits, then for
/// each column their sum and the carry.
fn product(digits: usize, draw: &mut Draw) -> Sketch {
    let a = number(2, draw);
    let b = if digits == 1 { draw.between(2, 9) } else { number(2, draw) };
    let (tens, units) = (digit(a, 1), digit(a, 0));
    let (mut steps, mut check) = (Vec::new(), Vec::new());
    let mut fact = |x: i64, y: i64, steps: &mut Vec<Step>, draw: &mut Draw| {
        steps.push(Step::columns(draw, "", &format!("{x}*{y}"), x * y, 2));
        check.push(format!("{y}*{x}={:02}", x * y));
        x * y
    };
    let plus = |say: &str, x: i64, y: String, sum: i64, steps: &mut Vec<Step>, draw: &mut Draw| {
        steps.push(Step::columns(draw, say, &format!("{x:02}+{y}"), sum, 2));
        sum
    };
    let first = fact(units, digit(b, 0), &mut steps, draw);
    let cross = fact(tens, digit(b, 0), &mut steps, draw);
    let carry = first / 10;
    if digits == 1 {
        plus("Tens", cross, carry.to_string(), cross + carry, &mut steps, draw);
    } else {
        let other = fact(units, digit(b, 1), &mut steps, draw);
        let last = fact(tens, digit(b, 1), &mut steps, draw);
        let middle = plus("Tens", cross, format!("{other:02}"), cross + other, &mut steps, draw);
        let middle = plus("Carry", middle, carry.to_string(), middle + carry, &mut steps, draw);
        plus("Hundreds", last, (middle / 10).to_string(), last + middle / 10, &mut steps, draw);
    }
    finish(a, '*', b, a * b, Solution { steps, check, last: String::new() }, draw)
}

fn finish(a: i64, sign: char, b: i64, answer: i64, mut solution: Solution, draw: &mut Draw) -> Sketch {
    // The expression ends the prompt but for one mark, so its digits stand at a fixed distance from the solution.
    let prompt = match draw.below(4) {
        0 => format!("What is {a}{sign}{b}?"),
        1 => format!("Compute {a}{sign}{b}."),
        2 => format!("Work out {a}{sign}{b}."),
        _ => format!("Find {a}{sign}{b}."),
    };
    let (low, high) = if sign == '-' { (a, b) } else { (a.min(b), a.max(b)) };
    solution.last = answer.to_string();
    Sketch { prompt, answer: answer.to_string(), instance: format!("arithmetic:{low}{sign}{high}"), solution }
}
