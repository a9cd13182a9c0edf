//! Chains of operations modulo a small number, reduced after every operation.
//!
//! One line per operation, so the number of lines written says which operation is next. Values stay below the modulus,
//! so every product is in the table up to 12x9, and taking off a multiple of the modulus is the only other fact.

use super::draw::Draw;
use super::solution::{Solution, Step};
use super::{Level, Sketch};

/// Draws a chain of 2, 3 or 4 operations modulo at most 9, 11 or 13.
pub(super) fn draw(level: Level, draw: &mut Draw) -> Sketch {
    let (count, low, high) = match level {
        Level::One => (2, 3, 9),
        Level::Two => (3, 3, 11),
        Level::Three => (4, 5, 13),
    };
    let modulus = draw.between(low, high);
    let start = draw.between(1, modulus - 1);
    let chain = chain(count, modulus, draw);
    let mut steps = Vec::new();
    let mut check = Vec::new();
    let mut value = start;
    for &(sign, operand) in &chain {
        let (say, raw) = match sign {
            '+' => ("Add", value + operand),
            '-' => ("Subtract", value - operand),
            _ => ("Multiply", value * operand),
        };
        let mut step = Step::compute(draw, say, &format!("{value}{sign}{operand}"), raw);
        let reduced = raw.rem_euclid(modulus);
        if reduced != raw {
            let (undo, multiple) = if raw < 0 { ('+', reduced - raw) } else { ('-', raw - reduced) };
            step = step.then(&format!(",{raw}{undo}{multiple}={reduced}"));
            let redo = if raw < 0 { '-' } else { '+' };
            check = vec![format!("{reduced}{redo}{multiple}={raw}")];
        } else {
            check = vec![match sign {
                '+' => format!("{raw}-{operand}={value}"),
                '-' => format!("{raw}+{operand}={value}"),
                _ => format!("{operand}*{value}={raw}"),
            }];
        }
        steps.push(step);
        value = reduced;
    }
    let operations: String = chain.iter().map(|(sign, operand)| format!("{sign}{operand}")).collect();
    Sketch {
        prompt: prompt(modulus, start, &chain, draw),
        answer: value.to_string(),
        instance: format!("modular:{modulus}:{start}{operations}"),
        solution: Solution { steps, check, last: value.to_string() },
    }
}

/// `count` operations, at least one of them a product; what is taken off is below the modulus.
fn chain(count: usize, modulus: i64, draw: &mut Draw) -> Vec<(char, i64)> {
    loop {
        let chain: Vec<(char, i64)> = (0..count)
            .map(|_| match draw.below(100) {
                0..45 => ('*', draw.between(2, 9)),
                45..75 => ('+', draw.between(1, 12)),
                _ => ('-', draw.between(1, (modulus - 1).min(9))),
            })
            .collect();
        if chain.iter().any(|&(sign, _)| sign == '*') {
            return chain;
        }
    }
}

fn prompt(modulus: i64, start: i64, chain: &[(char, i64)], draw: &mut Draw) -> String {
    let words: Vec<String> = chain
        .iter()
        .map(|&(sign, operand)| match sign {
            '+' => format!("add {operand}"),
            '-' => format!("subtract {operand}"),
            _ => format!("multiply by {operand}"),
        })
        .collect();
    match draw.below(4) {
        0 => format!("Start with {start}, {}. What is the remainder modulo {modulus}?", words.join(", ")),
        1 => format!("Take {start}, then {}. Give the result modulo {modulus}.", words.join(", then ")),
        2 => format!("Modulo {modulus}, start with {start}, {}.", words.join(", ")),
        _ => {
            let signs: Vec<String> = chain.iter().map(|(sign, operand)| format!("{sign}{operand}")).collect();
            format!("Start with {start}: {}. Give it modulo {modulus}.", signs.join(", "))
        }
    }
}
