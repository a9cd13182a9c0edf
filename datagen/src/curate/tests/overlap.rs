//! Normalisation, exact and near-duplicates, contamination.

use super::*;
use words::{same_text, words};

#[test]
fn words_are_what_they_are_said_to_be() {
    let same = [
        ("Find 1,000.5 APPLES, x^2−1!", "find   1000.5 apples x ^ 2 - 1"),
        ("a well-known (short) proof", "A well known, short proof."),
        ("$\\frac{1}{2}$ × 3", "frac 1 2 * 3"),
        ("素数を求めよ", "素 数 を 求 め よ"),
        ("ÉTÉ", "été"),
    ];
    for (a, b) in same {
        assert_eq!(words(a), words(b), "{a}");
    }
    for (a, b) in [("2-3", "2 3"), ("2+3", "2*3"), ("1.5", "15"), ("f(1,5)", "f(15)"), ("ab c", "a bc")] {
        assert_ne!(words(a), words(b), "{a}");
    }
    assert!(words(" ,.?! ").is_empty());
    assert_eq!(same_text(["What is\n  2+2?"]), same_text([" what IS 2+2? "]));
    assert_ne!(same_text(["(2+3)*4"]), same_text(["2+3*4"]));
    assert_ne!(same_text(["a", "b c"]), same_text(["a b", "c"]));
}

#[test]
fn exact_duplicates_give_way_to_the_first_and_other_questions_do_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let (one, same, other) = (problem("What is 3 + 4?"), problem("what  is 3 + 4?\n"), problem("What is 3 - 4?"));
    let rows = [
        trace(&one, 0, "so 7"),
        trace(&one, 1, "So  7"),
        trace(&one, 2, "thus 7"),
        trace(&same, 0, "it is 7"),
        wrong(trace(&other, 0, "so 7")),
        trace(&other, 1, "so 7"),
    ];
    let dir = dataset(&folder, "a", &rows, 2);
    let (summary, found) = selected(&folder, std::slice::from_ref(&dir), &Recipe::default());
    let expected = [
        (1, format!("duplicate trace: of sample 0 of `{}`", one.uuid)),
        (3, format!("duplicate problem: of `{}`", one.uuid)),
        (4, "another number: 8".to_owned()),
    ];
    let expected: Vec<(usize, &str)> = expected.iter().map(|(place, reason)| (*place, reason.as_str())).collect();
    assert_eq!(dropped(&found), expected);
    assert_eq!(summary.steps, [("duplicate problem", 1), ("duplicate trace", 1)]);
    assert_eq!((summary.candidates, summary.tally.kept, summary.inputs), (5, 3, vec![(dir.clone(), 6, 5)]));
    // The dataset twice: every row of the second is there already, and only kept ones count as taken out.
    let (summary, found) = selected(&folder, &[dir.clone(), dir], &bare());
    assert_eq!(summary.steps, [("repeated row", 5)]);
    assert!(found[6..].iter().all(|row| row.drop_reason.starts_with("repeated row: ")));
    assert_eq!(found[..6], rows);
}

#[test]
fn near_duplicates_are_those_of_comparing_all_pairs() {
    let folder = tempfile::tempdir().unwrap();
    let mut dice = Dice(0);
    let mut texts: Vec<String> = Vec::new();
    for _ in 0..120 {
        let base = dice.words(60, 3000);
        texts.push(base.join(" "));
        // Copies from nearly the same to quite different.
        for changes in [1, 2, 4, 8] {
            let mut copy = base.clone();
            for _ in 0..changes {
                let place = dice.below(copy.len());
                copy[place] = format!("w{}", dice.below(3000));
            }
            texts.push(copy.join(" "));
        }
    }
    let near = Near { threshold: 0.7, ..Near::default() };
    let sets: Vec<HashSet<String>> = texts.iter().map(|text| oracle_shingles(text, near.words)).collect();
    let mut stayed: Vec<usize> = Vec::new();
    let mut expected = Vec::new();
    for (place, set) in sets.iter().enumerate() {
        match stayed.iter().find(|&&other| oracle_jaccard(set, &sets[other]) >= near.threshold) {
            Some(&other) => expected.push((place, other)),
            None => stayed.push(place),
        }
    }
    assert!(expected.len() > 100 && stayed.len() > 200, "{} of {}", expected.len(), texts.len());

    // Texts without words and with few of them are compared without harm.
    texts.extend(["?!".into(), "...".into(), "w1 w2".into(), "w1 w3".into()]);
    let problems: Vec<Problem> = texts.iter().map(|text| problem(text)).collect();
    let rows: Vec<Sample> = problems.iter().map(|problem| trace(problem, 0, "x")).collect();
    let dir = dataset(&folder, "a", &rows, 100);
    let near_duplicates = NearDuplicates { problems: Some(near), traces: None };
    let (_, found) = selected(&folder, &[dir], &Recipe { near_duplicates, ..bare() });
    let by_uuid = |uuid: &str| problems.iter().position(|problem| problem.uuid == uuid).unwrap();
    let mut recalled = 0;
    for (place, reason) in dropped(&found) {
        let (cause, detail) = reason.split_once(": ").unwrap();
        assert_eq!(cause, "near-duplicate problem");
        let (similarity, uuid) = detail.split_once(" of ").unwrap();
        let other = by_uuid(uuid.trim_matches('`'));
        let exact = oracle_jaccard(&sets[place], &sets[other]);
        assert!(other < place && found[other].kept && exact >= near.threshold, "{reason}");
        assert_eq!(similarity, format!("{exact:.2}"));
        recalled += usize::from(expected.contains(&(place, other)));
    }
    // 1 - (1 - 0.7^5)^20 = 97.5% at the threshold itself.
    assert!(recalled as f64 >= 0.98 * expected.len() as f64, "{recalled} of {}", expected.len());
}

#[test]
fn near_duplicate_traces_are_compared_with_their_questions() {
    let folder = tempfile::tempdir().unwrap();
    let long = Dice(9).words(80, 500).join(" ");
    let (one, other) = (problem("First question"), problem(&Dice(4000).words(60, 500).join(" ")));
    let rows = [
        trace(&one, 0, &long),
        trace(&one, 1, &format!("{long} indeed")),
        trace(&other, 0, &long),
        trace(&one, 2, "something else entirely, in a few words"),
    ];
    let near_duplicates = NearDuplicates { problems: None, traces: Some(Near::default()) };
    let (_, found) = selected(&folder, &[dataset(&folder, "a", &rows, 3)], &Recipe { near_duplicates, ..bare() });
    assert_eq!(dropped(&found).iter().map(|(place, _)| *place).collect::<Vec<_>>(), [1]);
    assert!(found[1].drop_reason.starts_with("near-duplicate trace: 0.9"), "{}", found[1].drop_reason);
}

#[test]
fn contamination_is_found_where_windows_of_words_are_compared_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut dice = Dice(77);
    let questions: Vec<Vec<String>> = (0..40).map(|at| dice.words(if at % 3 == 0 { 6 } else { 30 }, 400)).collect();
    let benchmark = folder.path().join("test.jsonl");
    let line = |words: &Vec<String>| serde_json::json!({ "question": words.join(" "), "answer": "#### 1" }).to_string();
    std::fs::write(&benchmark, questions.iter().map(line).collect::<Vec<_>>().join("\n")).unwrap();
    let n = 13;
    let mut problems = Vec::new();
    for at in 0..300 {
        let mut words = dice.words(25, 400);
        let question = &questions[dice.below(questions.len())];
        match at % 4 {
            // A window that is long enough, one that is not, a whole question, nothing.
            0 | 1 => {
                let length = (if at % 4 == 0 { n } else { n - 1 }).min(question.len());
                let from = dice.below(question.len() - length + 1);
                let place = dice.below(words.len());
                words.splice(place..place, question[from..from + length].iter().cloned());
            }
            2 => words = question.clone(),
            _ => {}
        }
        problems.push(words);
    }
    let oracle = |words: &[String]| {
        let whole = questions.iter().position(|question| question == words);
        let shares = |question: &Vec<String>| question.windows(n).any(|run| words.windows(n).any(|own| own == run));
        whole.map(|at| (at, "word for word")).or_else(|| {
            // The question of the first shared window of the problem.
            let run = words
                .windows(n)
                .find(|run| questions.iter().any(|question| question.windows(n).any(|own| own == *run)))?;
            assert!(questions.iter().any(shares));
            let at = questions.iter().position(|question| question.windows(n).any(|own| own == run))?;
            Some((at, "13 words in a row"))
        })
    };
    // The same words in other clothes.
    let dressed = |words: &[String]| words.join(" ").to_uppercase().replace("W1 ", "w1, ") + "?";
    // Some problems are there more than once.
    let asked = (0..).zip(&problems);
    let rows: Vec<Sample> = asked.map(|(sample, words)| trace(&problem(&dressed(words)), sample, "x")).collect();
    let recipe = Recipe { decontaminate: vec![benchmark.clone()], ..bare() };
    let (summary, found) = selected(&folder, &[dataset(&folder, "a", &rows, 64)], &recipe);
    let mut contaminated = 0;
    for (row, words) in found.iter().zip(&problems) {
        let expected = oracle(words)
            .map(|(at, how)| format!("contaminated: question {} of `{}`, {how}", at + 1, benchmark.display()));
        assert_eq!(row.drop_reason, expected.clone().unwrap_or_default(), "{words:?}");
        contaminated += u64::from(expected.is_some());
    }
    assert!((100..220).contains(&contaminated), "{contaminated}");
    assert_eq!(summary.steps, [("contaminated", contaminated)]);
    let manifest = format!("{:?}", summary.manifest.origin);
    assert!(manifest.contains(&blake3::hash(&std::fs::read(&benchmark).unwrap()).to_hex().to_string()), "{manifest}");
}
