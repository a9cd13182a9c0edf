//! Nothing panics, nothing runs on, and the same pair gets the same grade: bombs by hand, thousands of mutated answers.

use super::super::algebra::Algebra;
use super::super::limits::MAX_STEPS;
use super::super::{compare, decide};
use super::{Equality, grade};

/// Steps that a comparison took.
fn steps(gold: &str, answer: &str) -> u64 {
    let algebra = Algebra::new(MAX_STEPS);
    let _ = decide(&algebra, gold, answer);
    algebra.budget.spent(MAX_STEPS)
}

#[test]
fn bombs_are_refused_before_they_are_computed() {
    let nines = "9".repeat(3000);
    let tower = "2^".repeat(300) + "2";
    let deep = format!("{}1{}", "(".repeat(500), ")".repeat(500));
    let braces = format!("{}1{}", "{".repeat(2000), "}".repeat(2000));
    let fractions = "\\frac{1}{".repeat(200) + "2" + &"}".repeat(200);
    let wide = format!("(a+b+c+d+e+f+g+h)^{{{}}}", 99);
    let bombs = [
        "9^{9^{9^9}}",
        "100000000!",
        "((10^9)!)!",
        "2^{2^{2^{2^{2^2}}}}",
        "10^{10^{10}}",
        "\\binom{1000000000}{500000000}",
        "\\sqrt{2}^{999999999}",
        "(1+x)^{100000}",
        "\\sin^{9999} x",
        "e^{e^{e^{e^{e}}}}",
        "1.1^{99999999}",
        &nines,
        &tower,
        &deep,
        &braces,
        &fractions,
        &wide,
    ];
    for bomb in bombs {
        let shown = &bomb[..bomb.len().min(40)];
        assert_eq!(grade(bomb, "7"), Equality::Undecided, "{shown}: {}", compare(bomb, "7").reason);
        let steps = steps(bomb, "7");
        assert!(steps < MAX_STEPS / 2, "{shown}: {steps} steps");
    }
    // The cheapest ones end at once.
    for bomb in ["9^{9^{9^9}}", "100000000!", &tower] {
        assert!(steps(bomb, "7") < 2_000, "{bomb}: {}", steps(bomb, "7"));
    }
}

#[test]
fn long_texts_are_refused_by_their_length() {
    let long = "1+".repeat(4000) + "1";
    assert_eq!(grade(&long, "7"), Equality::Undecided);
    assert_eq!(grade(&long, &long), Equality::Equal);
    assert_eq!(steps(&long, "7"), 0);
}

#[test]
fn every_thread_sees_the_same() {
    let pairs =
        [("\\cos 15^\\circ", "\\frac{\\sqrt6+\\sqrt2}{4}"), ("\\pi^2", "9.87"), ("x^2=4", "2"), ("\\ln 8", "3\\ln 2")];
    let grades = move || pairs.map(|(gold, answer)| (compare(gold, answer), steps(gold, answer)));
    let here = grades();
    let there: Vec<_> = (0..4).map(|_| std::thread::spawn(grades)).collect();
    for thread in there {
        assert_eq!(thread.join().unwrap(), here);
    }
}

/// What the fuzz target asks of any text.
fn fuzzed(text: &str) {
    let (gold, answer) = text.split_once('\n').unwrap_or((text, ""));
    assert_eq!(compare(gold, answer).verdict, compare(answer, gold).verdict, "{text}");
    let _ = crate::verify::extract_answer(text);
}

#[test]
fn the_corpus_of_the_fuzz_target_and_its_crossings_pass_it() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/grade");
    let files = std::fs::read_dir(folder).expect("the corpus").map(|entry| entry.expect("an entry").path());
    let texts: Vec<String> = files.map(|path| std::fs::read_to_string(path).expect("text")).collect();
    assert!(texts.len() >= 12);
    for one in &texts {
        fuzzed(one);
        for other in &texts {
            // A part of one before a part of the other, at every eighth place of both.
            for eighth in 0..8 {
                let head: String = one.chars().take(one.chars().count() * eighth / 8).collect();
                let tail: String = other.chars().skip(other.chars().count() * eighth / 8).collect();
                fuzzed(&format!("{head}{tail}"));
            }
        }
    }
}

#[test]
fn mutated_answers_neither_panic_nor_run_on() {
    const PARTS: [&str; 60] = [
        "^",
        "_",
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        "\\frac",
        "\\sqrt",
        "!",
        "\\pm",
        ",",
        "1",
        "99999999999999999999",
        "x",
        "\\pi",
        "e",
        "i",
        "\\sin",
        "\\log",
        "^{",
        "|",
        "=",
        "<",
        "\\cup",
        "\\text{",
        "\\begin{pmatrix}",
        "\\end{pmatrix}",
        "&",
        "\\\\",
        "%",
        "$",
        "0",
        ".",
        "\\circ",
        " cm",
        "/",
        "-",
        "\\infty",
        "π",
        "²",
        "\\ln",
        "\\arctan",
        "^{1/3}",
        "0.0001",
        "\\binom",
        "\\{",
        "\\}",
        "\\sum_",
        "\\lfloor",
        "\\rfloor",
        "\u{0}",
        "é",
        " months",
        "°C",
        "£",
        ":00",
        " PM",
        " pounds",
    ];
    let golds: Vec<String> = include_str!("golds/math.jsonl")
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["answer"].as_str().unwrap().to_owned())
        .collect();
    let mut state: u64 = 7;
    let mut next = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut mutated = move || {
        let mut text: Vec<char> = golds[next(golds.len())].chars().collect();
        for _ in 0..next(6) {
            let at = next(text.len() + 1);
            let part = PARTS[next(PARTS.len())];
            match next(4) {
                0 => drop(text.splice(at..at, part.chars())),
                1 => drop(text.splice(at..(at + 1).min(text.len()), [])),
                2 => drop(text.splice(at..at, golds[next(golds.len())].chars())),
                _ => drop(text.splice(at..at, part.repeat(1 + next(30)).chars())),
            }
        }
        text.into_iter().collect::<String>()
    };
    for _ in 0..6000 {
        let (gold, answer) = (mutated(), mutated());
        assert!(steps(&gold, &answer) <= MAX_STEPS);
        // A text equals itself, whatever it says, unless it says nothing.
        if !gold.trim().is_empty() {
            assert_eq!(compare(&gold, &gold).verdict, Equality::Equal, "{gold}");
        }
    }
}
