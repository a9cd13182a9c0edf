//! The gym against readers that see only its text.

mod readers;
mod stories;

use super::*;
use readers::{holds, statements, tokens, value};
use std::collections::{HashMap, HashSet};

fn cells() -> impl Iterator<Item = (Family, Level)> {
    Family::ALL.into_iter().flat_map(|family| Level::ALL.into_iter().map(move |level| (family, level)))
}

/// What the text asks, without the wording: read from the prompt by the test's own readers.
fn asked(family: Family, prompt: &str) -> String {
    match family {
        Family::Arithmetic => {
            let text = readers::arithmetic(prompt);
            let sign = text.chars().find(|c| "+-*".contains(*c)).unwrap();
            let mut operands = readers::numbers(text);
            if sign != '-' {
                operands.sort_unstable();
            }
            format!("{sign}{operands:?}")
        }
        Family::Equations => {
            let mut sides = readers::equation(prompt);
            sides.sort_unstable();
            format!("{sides:?}")
        }
        Family::Countdown => format!("{:?}", readers::countdown(prompt)),
        Family::Modular => format!("{:?}", readers::modular(prompt)),
        // Two stories may be one computation, so a key from the text would be too fine.
        Family::WordProblems => String::new(),
    }
}

#[test]
fn every_statement_holds_and_every_solution_ends_in_the_gold_answer() {
    for (family, level) in cells() {
        for index in 0..400 {
            let exercise = exercise(family, level, Split::Train, 7, index);
            for style in [Style::Terse, Style::Narrated, Style::Checked] {
                let text = exercise.worked(style);
                let lines: Vec<&str> = text.lines().collect();
                for line in &lines {
                    assert!(holds(line), "{family:?} {style:?} `{line}` in\n{text}");
                }
                let computed = lines.iter().filter(|line| !statements(line).is_empty()).count();
                // The checked style gives the answer twice.
                let answers = 1 + usize::from(style == Style::Checked);
                assert_eq!(computed, lines.len() - answers, "{text}");
                let last = lines[lines.len() - 1].rsplit(['=', ' ']).next().unwrap();
                assert_eq!(last, exercise.problem.answer, "{text}");
            }
            assert_eq!(exercise.response(), format!("\\boxed{{{}}}", exercise.problem.answer));
        }
    }
}

#[test]
fn a_slip_is_one_wrong_result_corrected_in_the_next_line() {
    for (family, level) in cells() {
        let mut places = HashSet::new();
        for index in 0..400 {
            let exercise = exercise(family, level, Split::Train, 8, index);
            let text = exercise.worked(Style::Slip);
            let lines: Vec<&str> = text.lines().collect();
            let wrong: Vec<usize> = (0..lines.len()).filter(|&at| !holds(lines[at])).collect();
            assert_eq!(wrong.len(), 1, "{text}");
            let at = wrong[0];
            places.insert(at);
            let correction = lines[at + 1].strip_prefix("Wait, ").unwrap();
            let (left, _) = lines[at].split_once('=').unwrap();
            assert!(correction.starts_with(&format!("{left}=")), "{text}");
            // Without the slip it is the terse solution.
            let mut mended: Vec<&str> = lines.clone();
            mended[at + 1] = correction;
            mended.remove(at);
            assert_eq!(mended.join("\n"), exercise.worked(Style::Terse));
        }
        assert!(places.len() > usize::from((family, level) != (Family::Equations, Level::One)), "{family:?} {level:?}");
    }
}

#[test]
fn a_careless_solution_has_one_wrong_step_and_ends_in_a_wrong_answer() {
    for (family, level) in cells() {
        for index in 0..400 {
            let exercise = exercise(family, level, Split::Train, 8, index);
            let (text, answer) = exercise.careless();
            let terse = exercise.worked(Style::Terse);
            let lines: Vec<(&str, &str)> = text.lines().zip(terse.lines()).collect();
            assert_eq!(lines.len(), terse.lines().count(), "{text}");
            let (steps, last) = lines.split_at(lines.len() - 1);
            assert_eq!(steps.iter().filter(|(told, meant)| told != meant && !holds(told)).count(), 1, "{text}");
            assert!(text.ends_with(&answer) && last[0].1.len() == last[0].0.len(), "{text}");
            assert_ne!(value(&answer), value(&exercise.problem.answer), "{text}");
        }
    }
}

#[test]
fn gold_answers_follow_from_the_text() {
    for (family, level) in cells() {
        for index in 0..600 {
            let exercise = exercise(family, level, Split::Train, 9, index);
            let (prompt, answer) = (exercise.problem.problem.as_str(), exercise.problem.answer.as_str());
            match family {
                Family::Arithmetic => assert_eq!(value(readers::arithmetic(prompt)), value(answer), "{prompt}"),
                Family::Equations => {
                    let [(a, b), (c, d)] = readers::equation(prompt);
                    let x = value(answer).unwrap();
                    assert_ne!(a, c, "{prompt}");
                    assert_eq!(a * x + b, c * x + d, "{prompt} {x}");
                }
                Family::Modular => {
                    let (modulus, start, chain) = readers::modular(prompt);
                    let unreduced = chain.iter().fold(start, |value, (sign, operand)| match sign {
                        '+' => value + operand,
                        '-' => value - operand,
                        _ => value * operand,
                    });
                    assert_eq!(unreduced.rem_euclid(modulus).to_string(), answer, "{prompt}");
                }
                Family::Countdown => {
                    let (given, target) = readers::countdown(prompt);
                    let mut used = readers::numbers(answer);
                    used.sort_unstable();
                    assert_eq!((used, value(answer)), (given, Some(target)), "{prompt} {answer}");
                    assert_eq!(answer.contains('*'), prompt.contains('*'), "{prompt} {answer}");
                    assert!(!answer.contains('/'));
                }
                Family::WordProblems => {
                    let tree = exercise.instance.strip_prefix("word_problems:").unwrap();
                    assert_eq!(value(tree), value(answer), "{prompt}");
                    let told: HashSet<i128> = readers::numbers(prompt).into_iter().collect();
                    assert_eq!(told, readers::numbers(tree).into_iter().collect(), "{prompt} {tree}");
                    assert!(!prompt.contains(['{', '}']), "{prompt}");
                }
            }
        }
    }
}

#[test]
fn levels_are_what_they_were_committed_to_be() {
    let at = |family, level, index| exercise(family, level, Split::Train, 10, index);
    let (mut signs, mut negative) = (HashSet::new(), 0);
    for index in 0..500 {
        for (level, digits) in [(Level::One, 2), (Level::Two, 3), (Level::Three, 4)] {
            let exercise = at(Family::Arithmetic, level, index);
            let expression = readers::arithmetic(&exercise.problem.problem);
            let sign = expression.chars().find(|c| "+-*".contains(*c)).unwrap();
            signs.insert((level, sign));
            let lengths: Vec<usize> = expression.split(sign).map(str::len).collect();
            match (sign, level) {
                ('*', Level::Two) => assert_eq!(lengths, [2, 1]),
                ('*', _) => assert_eq!((level, &lengths[..]), (Level::Three, &[2, 2][..])),
                _ => assert_eq!(lengths, [digits, digits]),
            }
        }
        let equation = at(Family::Equations, Level::Three, index);
        let [(a, _), (c, _)] = readers::equation(&equation.problem.problem);
        assert!(a != 0 && c != 0);
        negative += usize::from(equation.problem.answer.starts_with('-'));
        for (at_level, level) in Level::ALL.into_iter().enumerate() {
            let chain = readers::modular(&at(Family::Modular, level, index).problem.problem).2;
            assert_eq!(chain.len(), at_level + 2);
            let numbers = readers::countdown(&at(Family::Countdown, level, index).problem.problem).0.len();
            assert_eq!(numbers, if level == Level::Three { 4 } else { 3 });
            let steps = at(Family::WordProblems, level, index).solution.steps.len();
            assert!([1..=2, 2..=3, 4..=4][at_level].contains(&steps));
        }
    }
    assert_eq!(signs.len(), 2 + 3 + 3);
    assert!((100..250).contains(&negative), "{negative}");
}

#[test]
fn training_and_held_out_share_no_instance_whatever_the_wording() {
    for family in Family::ALL {
        let mut instance_of: HashMap<String, String> = HashMap::new();
        let mut sides: [HashSet<String>; 2] = Default::default();
        let mut prompts = HashSet::new();
        for level in Level::ALL {
            for (side, split) in [Split::Train, Split::HeldOut].into_iter().enumerate() {
                for (seed, index) in (0..3).flat_map(|seed| (0..600).map(move |index| (seed, index))) {
                    let exercise = exercise(family, level, split, seed, index);
                    let mut key = asked(family, &exercise.problem.problem);
                    if key.is_empty() {
                        key.clone_from(&exercise.instance);
                    }
                    // One question, one instance; and one instance, one question.
                    let known = instance_of.entry(key.clone()).or_insert_with(|| exercise.instance.clone());
                    assert_eq!(*known, exercise.instance, "{key}");
                    assert_eq!(Split::of(&exercise.instance), split);
                    sides[side].insert(key);
                    prompts.insert(exercise.problem.problem);
                }
            }
        }
        let instances: HashSet<&String> = instance_of.values().collect();
        assert_eq!(instances.len(), instance_of.len(), "{family:?}");
        assert!(sides[0].is_disjoint(&sides[1]), "{family:?}");
        assert!(prompts.len() > instances.len(), "{family:?}: no instance was seen in two wordings");
    }
}

#[test]
fn commuted_operands_and_swapped_sides_are_one_instance() {
    let mut seen: HashMap<String, HashSet<String>> = HashMap::new();
    for index in 0..6000 {
        for family in [Family::Arithmetic, Family::Equations] {
            let exercise = exercise(family, Level::One, Split::Train, 11, index);
            let text = match family {
                Family::Arithmetic => readers::arithmetic(&exercise.problem.problem).to_string(),
                _ => exercise
                    .problem
                    .problem
                    .split(' ')
                    .find(|word| word.contains('='))
                    .unwrap()
                    .replace(['n', 'y'], "x"),
            };
            seen.entry(exercise.instance).or_default().insert(text.trim_end_matches(['.', '?']).to_string());
        }
    }
    let both = |mark: &str| seen.iter().any(|(instance, texts)| instance.contains(mark) && texts.len() > 1);
    assert!(both("arithmetic:") && both("equations:x+"));
    assert!(seen.iter().all(|(instance, texts)| texts.len() == 1 || instance.contains('+')));
}

#[test]
fn every_cell_has_enough_held_out_problems_and_prefixes_are_balanced() {
    let selection = Selection::default().with(Split::HeldOut, 3);
    let chosen = exercises(&selection, 100).unwrap();
    let instances: HashSet<&String> = chosen.iter().map(|exercise| &exercise.instance).collect();
    assert_eq!((chosen.len(), instances.len()), (1500, 1500));
    for round in chosen.chunks(15) {
        let cells: HashSet<_> = round.iter().map(|exercise| (exercise.family, exercise.level)).collect();
        assert_eq!(cells.len(), 15);
    }
    assert!(chosen[..5].iter().map(|exercise| exercise.family).collect::<HashSet<_>>().len() == 5);
    let domains: HashSet<String> =
        problems(&selection, 1).unwrap().into_iter().map(|p| p.domain + &p.difficulty).collect();
    assert_eq!(domains.len(), 15);
}

#[test]
fn an_exercise_is_a_function_of_its_name() {
    for (family, level) in cells() {
        for index in [0, 1, 1 << 40] {
            let name = |seed| exercise(family, level, Split::HeldOut, seed, index);
            assert_eq!(name(1).problem, name(1).problem);
            assert_eq!(name(1).worked(Style::Slip), name(1).worked(Style::Slip));
            assert_ne!((name(1).instance, name(1).problem.uuid), (name(2).instance, name(2).problem.uuid));
        }
    }
    // The hold-out is decided once: a change here would put held-out instances into training.
    let held_out: Vec<i32> = (0..60).filter(|n| Split::of(&format!("arithmetic:{n}+70")) == Split::HeldOut).collect();
    assert_eq!(held_out, [2, 7, 14, 16, 22]);
}

#[test]
fn styles_are_mixed_as_announced_and_solutions_stay_short() {
    // Mean tokens of the terse style, levels 1 to 3, and the most that any style may take.
    let budgets = [
        (Family::Arithmetic, [20, 30, 50], 110),
        (Family::Equations, [14, 21, 30], 100),
        (Family::WordProblems, [16, 26, 38], 100),
        (Family::Countdown, [50, 52, 100], 470),
        (Family::Modular, [27, 40, 52], 90),
    ];
    let mut drawn: HashMap<Style, usize> = HashMap::new();
    for (family, means, most) in budgets {
        for (level, mean) in Level::ALL.into_iter().zip(means) {
            let mut total = 0;
            for index in 0..500 {
                let exercise = exercise(family, level, Split::Train, 12, index);
                total += tokens(&exercise.worked(Style::Terse));
                for style in Style::ALL {
                    assert!(tokens(&exercise.worked(style)) <= most, "{}", exercise.worked(style));
                }
                *drawn.entry(exercise.style()).or_default() += 1;
            }
            assert!(total <= mean * 500, "{family:?} {level:?}: {}", total as f64 / 500.0);
        }
    }
    // 7500 draws; four standard deviations of a share of 10% are 1.4 points.
    for (style, percent) in [(Style::Terse, 65), (Style::Narrated, 15), (Style::Checked, 10), (Style::Slip, 10)] {
        assert!((drawn[&style] as f64 / 75.0 - percent as f64).abs() < 2.2, "{drawn:?}");
    }
}

#[test]
fn names_are_read_and_refused_with_a_remedy() {
    assert_eq!(parse_spec("gym"), Ok(Selection::default()));
    assert_eq!(parse_spec("gym:all"), Ok(Selection::default()));
    let some = parse_spec("gym:countdown,modular@2-3").unwrap();
    assert_eq!(
        (some.families, some.levels),
        (vec![Family::Countdown, Family::Modular], vec![Level::Two, Level::Three])
    );
    assert_eq!(parse_spec("gym@3,1").unwrap().levels, [Level::Three, Level::One]);
    for (spec, hint) in
        [("gsm8k", "gym:FAMILY"), ("gym:algebra", "word_problems"), ("gym@4", "@1-2"), ("gym@3-1", "@1-2")]
    {
        let error = parse_spec(spec).unwrap_err();
        assert!(error.hint().unwrap().contains(hint), "{error}");
    }
    let products = Selection { families: vec![Family::Equations], levels: vec![Level::One], ..Selection::default() };
    assert!(matches!(problems(&products.with(Split::HeldOut, 0), 2000), Err(Error::TooFew { found: 100.., .. })));
}
