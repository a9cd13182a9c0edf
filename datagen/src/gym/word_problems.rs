//! Stories with numbers: templates whose slots are drawn until every intermediate value is a small fact away.
//!
//! Products and quotients stay in the table of 12x9 and all values below 200, so a step of a solution is a look-up or a
//! sum of two 2-digit numbers; what is to be learned is which step comes next.

use super::draw::Draw;
use super::solution::{Solution, Step};
use super::stories::{LEVEL_ONE, LEVEL_THREE, LEVEL_TWO, Operation, Story};
use super::{Level, Sketch};

const NAMES: [&str; 10] = ["Ava", "Ben", "Cara", "Dan", "Eva", "Finn", "Gia", "Hugo", "Iris", "Jack"];
const ITEMS: [&str; 10] =
    ["apples", "pens", "stamps", "shells", "cards", "coins", "books", "beads", "eggs", "stickers"];

/// Draws a story of 1 or 2, of 2 or 3, or of 4 steps.
pub(super) fn draw(level: Level, draw: &mut Draw) -> Sketch {
    let stories = match level {
        Level::One => LEVEL_ONE,
        Level::Two => LEVEL_TWO,
        Level::Three => LEVEL_THREE,
    };
    let story = draw.pick(stories);
    // Every story fits within a few hundred draws (tested).
    let (numbers, values) = loop {
        let numbers: Vec<i64> = story.slots.iter().map(|&(low, high)| draw.between(low, high)).collect();
        if let Some(values) = evaluate(story.steps, &numbers) {
            break (numbers, values);
        }
    };
    let mut steps = Vec::new();
    let mut check = Vec::new();
    for (operation, &value) in story.steps.iter().zip(&values) {
        let (left, right) = (term(operation.left, &numbers, &values), term(operation.right, &numbers, &values));
        steps.push(Step::compute(draw, operation.say, &format!("{left}{}{right}", operation.sign), value));
        check.push(match operation.sign {
            '+' => format!("{value}-{right}={left}"),
            '-' => format!("{value}+{right}={left}"),
            '*' => format!("{value}/{right}={left}"),
            _ => format!("{value}*{right}={left}"),
        });
    }
    let answer = values.last().copied().unwrap_or_default().to_string();
    Sketch {
        prompt: fill(draw, story, &numbers),
        instance: format!("word_problems:{}", canonical(story.steps, story.steps.len() - 1, &numbers)),
        solution: Solution { steps, check, last: answer.clone() },
        answer,
    }
}

/// The number that `name` stands for: `a`, `b`, ... are slots, `1`, `2`, ... are results of steps.
fn term(name: char, numbers: &[i64], values: &[i64]) -> i64 {
    match name.to_digit(10) {
        Some(step) => values[step as usize - 1],
        None => numbers[slot(name)],
    }
}

fn slot(name: char) -> usize {
    (name as usize) - ('a' as usize)
}

/// The value of every step; `None` where one is not a small fact.
pub(super) fn evaluate(steps: &[Operation], numbers: &[i64]) -> Option<Vec<i64>> {
    let mut values = Vec::new();
    for step in steps {
        let (left, right) = (term(step.left, numbers, &values), term(step.right, numbers, &values));
        let in_table = |x: i64, y: i64| (2..=12).contains(&x.max(y)) && (2..=9).contains(&x.min(y));
        let value = match step.sign {
            '+' => left + right,
            '-' => left - right,
            '*' if in_table(left, right) => left * right,
            '/' if left % right == 0 && in_table(left / right, right) => left / right,
            _ => return None,
        };
        values.push((1..200).contains(&value).then_some(value)?);
    }
    Some(values)
}

/// The computation of step `at` as a tree of numbers, the operands of `+` and `*` sorted: the story without its words.
fn canonical(steps: &[Operation], at: usize, numbers: &[i64]) -> String {
    let side = |name: char| match name.to_digit(10) {
        Some(step) => format!("({})", canonical(steps, step as usize - 1, numbers)),
        None => numbers[slot(name)].to_string(),
    };
    let Operation { left, sign, right, .. } = steps[at];
    let (mut left, mut right) = (side(left), side(right));
    if matches!(sign, '+' | '*') && right < left {
        std::mem::swap(&mut left, &mut right);
    }
    format!("{left}{sign}{right}")
}

/// One of the story's wordings with `{n}`, `{m}`, `{o}` as names, `{i}` as the item and `{a}`, `{b}`, ... as numbers.
fn fill(draw: &mut Draw, story: &Story, numbers: &[i64]) -> String {
    let mut names = NAMES;
    draw.shuffle(&mut names);
    let item: &str = draw.pick::<&str>(&ITEMS);
    let mut text = draw.pick(story.wordings).replace("{i}", item);
    for (mark, name) in ["{n}", "{m}", "{o}"].into_iter().zip(names) {
        text = text.replace(mark, name);
    }
    for (at, number) in numbers.iter().enumerate() {
        let mark = char::from(b'a' + at as u8);
        text = text.replace(&format!("{{{mark}}}"), &number.to_string());
    }
    text
}
