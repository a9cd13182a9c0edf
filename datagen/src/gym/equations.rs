//! Linear equations with integer solutions: gather the unknowns, gather the numbers, divide.

use super::draw::Draw;
use super::solution::{Solution, Step};
use super::{Level, Sketch};

const LETTERS: [char; 3] = ['x', 'n', 'y'];

/// Draws a problem: level 1 is `x+a=b`, `x-a=b` or `ax=b`, level 2 `ax+b=c`, level 3 `ax+b=cx+d`.
pub(super) fn draw(level: Level, draw: &mut Draw) -> Sketch {
    match level {
        Level::One if draw.chance(70) => shifted(draw),
        Level::One => scaled(draw),
        Level::Two => one_side(draw),
        Level::Three => both_sides(draw),
    }
}

/// `x+a=b`, `a+x=b` or `x-a=b`.
fn shifted(draw: &mut Draw) -> Sketch {
    let letter = *draw.pick(&LETTERS);
    let (a, other) = (draw.between(2, 50), draw.between(1, 49));
    if draw.chance(60) {
        let (x, b) = (other, a + other);
        let equation = if draw.chance(30) { format!("{a}+{letter}={b}") } else { format!("{letter}+{a}={b}") };
        let steps = vec![Step::compute(draw, &format!("Subtract {a}"), &format!("{b}-{a}"), x)];
        finish(letter, equation, format!("x+{a}={b}"), x, steps, vec![format!("{x}+{a}={b}")], draw)
    } else {
        let (b, x) = (other, a + other);
        let steps = vec![Step::compute(draw, &format!("Add {a}"), &format!("{b}+{a}"), x)];
        let equation = format!("{letter}-{a}={b}");
        finish(letter, equation, format!("x-{a}={b}"), x, steps, vec![format!("{x}-{a}={b}")], draw)
    }
}

/// `ax=b`.
fn scaled(draw: &mut Draw) -> Sketch {
    let letter = *draw.pick(&LETTERS);
    let (a, x) = (draw.between(2, 9), draw.between(2, 12));
    let b = a * x;
    let steps = vec![Step::compute(draw, &format!("Divide by {a}"), &format!("{b}/{a}"), x)];
    let equation = format!("{a}{letter}={b}");
    finish(letter, equation, format!("{a}x={b}"), x, steps, vec![format!("{a}*{x}={b}")], draw)
}

/// `ax+b=c`, with `b` of either sign.
fn one_side(draw: &mut Draw) -> Sketch {
    let letter = *draw.pick(&LETTERS);
    let (a, x, b, c) = loop {
        let (a, x, b) = (draw.between(2, 9), draw.between(1, 12), signed(30, draw));
        let c = a * x + b;
        if (1..=99).contains(&c) {
            break (a, x, b, c);
        }
    };
    let side = side(a, b, letter);
    let equation = if draw.chance(25) { format!("{c}={side}") } else { format!("{side}={c}") };
    let steps = vec![
        Step::compute(draw, "Numbers", &less(c, b), c - b),
        Step::compute(draw, &format!("Divide by {a}"), &format!("{}/{a}", c - b), x),
    ];
    let instance = format!("{}={c}", self::side(a, b, 'x'));
    finish(letter, equation, instance, x, steps, substituted(a, x, b), draw)
}

/// `ax+b=cx+d`; the solution is negative in one case of three.
fn both_sides(draw: &mut Draw) -> Sketch {
    let letter = *draw.pick(&LETTERS);
    let (a, b, c, d, x) = loop {
        let (a, c, b) = (draw.between(2, 9), draw.between(2, 9), signed(30, draw));
        let size = draw.between(1, 12);
        let x = if draw.chance(33) { -size } else { size };
        let d = (a - c) * x + b;
        if a != c && d != 0 && d.abs() <= 60 {
            break (a, b, c, d, x);
        }
    };
    let (left, right) = (side(a, b, letter), side(c, d, letter));
    let steps = vec![
        Step::compute(draw, &format!("{letter} terms"), &format!("{a}-{c}"), a - c),
        Step::compute(draw, "Numbers", &less(d, b), d - b),
        Step::compute(draw, &format!("Divide by {}", a - c), &format!("{}/{}", d - b, a - c), x),
    ];
    let mut check = substituted(a, x, b);
    check.extend(substituted(c, x, d));
    // Both ways round are one instance.
    let (low, high) = if (a, b) < (c, d) { ((a, b), (c, d)) } else { ((c, d), (a, b)) };
    let instance = format!("{}={}", side(low.0, low.1, 'x'), side(high.0, high.1, 'x'));
    finish(letter, format!("{left}={right}"), instance, x, steps, check, draw)
}

/// A number in `1..=size` with either sign.
fn signed(size: i64, draw: &mut Draw) -> i64 {
    let number = draw.between(1, size);
    if draw.chance(50) { number } else { -number }
}

/// `ax+b` as it is written.
fn side(a: i64, b: i64, letter: char) -> String {
    format!("{a}{letter}{b:+}")
}

/// `from-b` as it is written: taking away a negative number adds.
fn less(from: i64, b: i64) -> String {
    if b < 0 { format!("{from}+{}", -b) } else { format!("{from}-{b}") }
}

/// The value of `ax+b`, one operation at a time.
fn substituted(a: i64, x: i64, b: i64) -> Vec<String> {
    vec![format!("{a}*{x}={}", a * x), format!("{}{b:+}={}", a * x, a * x + b)]
}

fn finish(
    letter: char,
    equation: String,
    instance: String,
    x: i64,
    steps: Vec<Step>,
    check: Vec<String>,
    draw: &mut Draw,
) -> Sketch {
    let prompt = match draw.below(3) {
        0 => format!("Solve {equation}."),
        1 => format!("Find {letter} if {equation}."),
        _ => format!("What is {letter} when {equation}?"),
    };
    let solution = Solution { steps, check, last: format!("{letter}={x}") };
    Sketch { prompt, answer: x.to_string(), instance: format!("equations:{instance}"), solution }
}
