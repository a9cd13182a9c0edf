//! Countdown: reach the target with every number once. The search goes backward from the target.
//!
//! Undoing the last operation leaves a smaller target and one number fewer, and the numbers still free stand in the
//! line where the next one needs them. With two numbers left, their product, sum and difference are computed one by
//! one until one is the target (`yes`) or none is (`no`): to compare two numbers that stand there is easier than to judge
//! three unwritten results at once. Dead ends mostly come late, after a first undoing that was right, so that what is
//! learned about first moves is mostly right.

use super::draw::Draw;
use super::solution::{Solution, Step};
use super::{Level, Sketch};

/// A target to be made from the numbers.
#[derive(Clone, PartialEq)]
struct Goal {
    target: i64,
    numbers: Vec<i64>,
}

/// The last operation of an expression, to be undone.
#[derive(Clone, PartialEq)]
struct Move {
    sign: char,
    operand: i64,
}

/// Draws 3 numbers to 20 with `+ -`, 3 numbers to 12 with `+ - *`, or 4 numbers to 10 with `+ - *` (a product at least).
pub(super) fn draw(level: Level, draw: &mut Draw) -> Sketch {
    let (count, size, most, products) = match level {
        Level::One => (3, 20, 60, false),
        Level::Two => (3, 12, 100, true),
        Level::Three => (4, 10, 60, true),
    };
    let (start, undone, steps, pair) = loop {
        let (first, moves, target) = caterpillar(count, size, most, products, draw);
        let mut numbers: Vec<i64> = std::iter::once(first).chain(moves.iter().map(|m| m.operand)).collect();
        draw.shuffle(&mut numbers);
        let start = Goal { target, numbers };
        let undone: Vec<Move> = moves[1..].iter().rev().cloned().collect();
        // The moves of a caterpillar can always be undone, so this does not go round again.
        if let Some((steps, pair)) = search(&start, &undone, products, draw) {
            break (start, undone, steps, pair);
        }
    };
    let target = start.target;
    let (answer, check) = expression(pair, &undone);

    let mut sorted = start.numbers.clone();
    sorted.sort_unstable();
    let list = joined(&start.numbers);
    let signs = if products { "+, - and *" } else { "+ and -" };
    let prompt = match draw.below(3) {
        0 => format!("Make {target} from {list} with {signs}."),
        1 => format!("Use {list} once each with {signs} to make {target}."),
        _ => format!("With {signs}, reach {target} using {list}."),
    };
    Sketch {
        prompt,
        instance: format!("countdown:{}={target}", joined(&sorted)),
        solution: Solution { steps, check, last: answer.clone() },
        answer,
    }
}

/// An expression `((a op b) op c) op d` whose values all lie in `1..=100`: its first number, its moves and its value.
fn caterpillar(count: usize, size: i64, most: i64, products: bool, draw: &mut Draw) -> (i64, Vec<Move>, i64) {
    loop {
        let first = draw.between(1, size);
        let mut value = first;
        let mut moves = Vec::new();
        while moves.len() + 1 < count && (1..=100).contains(&value) {
            let operand = draw.between(1, size);
            let sign = if products && draw.chance(40) { '*' } else { *draw.pick(&['+', '-']) };
            value = apply(value, sign, operand);
            moves.push(Move { sign, operand });
        }
        let multiplies = moves.iter().any(|m| m.sign == '*');
        let idle = moves.iter().any(|m| m.sign == '*' && m.operand == 1);
        if moves.len() + 1 == count && (1..=most).contains(&value) && multiplies == products && !idle {
            return (first, moves, value);
        }
    }
}

fn apply(value: i64, sign: char, operand: i64) -> i64 {
    match sign {
        '+' => value + operand,
        '-' => value - operand,
        _ => value * operand,
    }
}

/// What is left to make once `last` is undone; `None` where it cannot be undone within `1..=100`.
fn undo(goal: &Goal, last: &Move) -> Option<Goal> {
    let Move { sign, operand } = *last;
    let target = match sign {
        '+' => goal.target - operand,
        '-' => goal.target + operand,
        _ if operand > 1 && goal.target % operand == 0 => goal.target / operand,
        _ => return None,
    };
    let mut numbers = goal.numbers.clone();
    numbers.remove(numbers.iter().position(|&number| number == operand)?);
    (1..=100).contains(&target).then_some(Goal { target, numbers })
}

/// The expressions of the two last numbers in the order in which they are tried, up to the one that makes the target;
/// and whether there was one.
fn attempts(goal: &Goal, products: bool) -> (Vec<Pair>, bool) {
    let (a, b) = (goal.numbers[0], goal.numbers[1]);
    let mut pairs = vec![(a, '+', b), (a.max(b), '-', a.min(b))];
    if products {
        // The product first, so that an answer has the product that its problem was made with.
        pairs.insert(0, (a, '*', b));
    }
    let hit = pairs.iter().position(|&(left, sign, right)| apply(left, sign, right) == goal.target);
    pairs.truncate(hit.map_or(pairs.len(), |hit| hit + 1));
    (pairs, hit.is_some())
}

/// The line that tries the two last numbers.
fn try_pair(goal: &Goal, products: bool, draw: &mut Draw) -> Step {
    let (pairs, found) = attempts(goal, products);
    let told: Vec<(String, i64)> =
        pairs.iter().map(|&(left, sign, right)| (format!("{left}{sign}{right}"), apply(left, sign, right))).collect();
    let rest: String = told[1..].iter().map(|(left, value)| format!(",{left}={value}")).collect();
    let verdict = if found { "yes" } else { "no" };
    Step::compute(draw, "Try", &told[0].0, told[0].1).then(&format!("{rest} {verdict}"))
}

/// The two last numbers as an expression: left operand, sign, right operand.
type Pair = (i64, char, i64);

/// The lines of a search that ends with the moves `undone`, after none or a few dead ends; and the pair it ends in.
fn search(start: &Goal, undone: &[Move], products: bool, draw: &mut Draw) -> Option<(Vec<Step>, Pair)> {
    let mut steps = Vec::new();
    let mut failures = 0;
    // With four numbers most last moves are dead ends, with three fewer.
    while failures < 8 && draw.chance(if undone.len() > 1 { 60 } else { 35 }) {
        failures += 1;
    }
    let mut goal = start.clone();
    let (last, earlier) = undone.split_last()?;
    for first in earlier {
        // Some of the dead ends follow a first move that is then given up.
        let mut barred = vec![first.clone()];
        while failures > 0 && draw.chance(40) {
            let Some((wrong, after)) = other_move(&goal, &barred, products, false, draw) else { break };
            let mut lines = dead_ends(&after, Vec::new(), failures.min(1 + draw.below(3)), products, draw);
            if !lines.is_empty() {
                failures -= lines.len() / 2;
                steps.push(line(&goal, &wrong, &after, draw));
                steps.append(&mut lines);
            }
            barred.push(wrong);
        }
        let after = undo(&goal, first)?;
        steps.push(line(&goal, first, &after, draw));
        goal = after;
    }
    steps.append(&mut dead_ends(&goal, vec![last.clone()], failures, products, draw));
    let after = undo(&goal, last)?;
    steps.push(line(&goal, last, &after, draw));
    steps.push(try_pair(&after, products, draw));
    let (pairs, found) = attempts(&after, products);
    found.then(|| (steps, pairs[pairs.len() - 1]))
}

/// Up to `wanted` moves that leave two numbers which cannot make what is left: for each, the move and the vain try.
fn dead_ends(goal: &Goal, mut barred: Vec<Move>, wanted: usize, products: bool, draw: &mut Draw) -> Vec<Step> {
    let mut lines = Vec::new();
    while lines.len() < 2 * wanted {
        let Some((wrong, after)) = other_move(goal, &barred, products, true, draw) else { break };
        lines.push(line(goal, &wrong, &after, draw));
        lines.push(try_pair(&after, products, draw));
        barred.push(wrong);
    }
    lines
}

/// A move that can be undone, is not barred, and (where asked for) leads to a dead end.
fn other_move(goal: &Goal, barred: &[Move], products: bool, dead: bool, draw: &mut Draw) -> Option<(Move, Goal)> {
    let signs: &[char] = if products { &['+', '-', '*'] } else { &['+', '-'] };
    let mut moves: Vec<(Move, Goal)> = Vec::new();
    for &operand in &goal.numbers {
        for &sign in signs {
            let candidate = Move { sign, operand };
            let Some(after) = undo(goal, &candidate) else { continue };
            let known = moves.iter().map(|(known, _)| known).chain(barred).any(|known| *known == candidate);
            if !known && (!dead || !attempts(&after, products).1) {
                moves.push((candidate, after));
            }
        }
    }
    (!moves.is_empty()).then(|| moves.swap_remove(draw.below(moves.len())))
}

/// The line that undoes `last`: the smaller target, and after a colon the numbers still free.
fn line(goal: &Goal, last: &Move, after: &Goal, draw: &mut Draw) -> Step {
    let inverse = match last.sign {
        '+' => '-',
        '-' => '+',
        _ => '/',
    };
    let left = format!("{}{inverse}{}", goal.target, last.operand);
    let say = format!("Undo {}{}", last.sign, last.operand);
    Step::compute(draw, &say, &left, after.target).then(&format!(":{}", joined(&after.numbers)))
}

/// The expression that the search found, and its evaluation from the inside.
fn expression((a, sign, b): Pair, undone: &[Move]) -> (String, Vec<String>) {
    let mut text = format!("{a}{sign}{b}");
    let mut value = apply(a, sign, b);
    let mut check = vec![format!("{text}={value}")];
    for last in undone.iter().rev() {
        let next = apply(value, last.sign, last.operand);
        text = format!("({text}){}{}", last.sign, last.operand);
        check.push(format!("{value}{}{}={next}", last.sign, last.operand));
        value = next;
    }
    (text, check)
}

fn joined(numbers: &[i64]) -> String {
    numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(",")
}
