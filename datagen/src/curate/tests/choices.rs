//! Verdicts, windows, the traces of a problem, mixes.

use super::*;
use std::num::NonZeroU32;

#[test]
fn verdicts_and_windows_decide_over_what_runs_rejected_and_over_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (problem("one"), problem("two"));
    let surplus = "not picked: 1 of this problem, in their order";
    let rows = [
        trace(&one, 0, "a b c"),
        wrong(trace(&one, 1, "a b")),
        Sample { drop_reason: surplus.into(), ..wrong(trace(&two, 0, "a b")) },
        wrong(trace(&two, 1, "a b c d e")),
    ];
    let dir = dataset(&folder, "a", &rows, 9);
    let recipe =
        Recipe { verdicts: Some(vec![Verdict::Wrong]), completion_tokens: Some(Window { min: 1, max: 4 }), ..bare() };
    let (summary, found) = selected(&folder, &[dir], &recipe);
    let reasons: Vec<&str> = found.iter().map(|row| row.drop_reason.as_str()).collect();
    let long = "length outside its window: 5 completion tokens";
    assert_eq!(reasons, ["verdict not chosen: right", "", surplus, long]);
    assert_eq!((summary.candidates, summary.tally.kept), (3, 1));
}

#[test]
fn the_shortest_and_the_first_are_those_of_sorting_and_ties_go_to_the_earlier_sample() {
    let folder = tempfile::tempdir().unwrap();
    let mut dice = Dice(3);
    let problems: Vec<Problem> = (0..30).map(|at| problem(&format!("number {at}"))).collect();
    let mut rows = Vec::new();
    for problem in &problems {
        for sample in 0..1 + dice.below(9) as u32 {
            let length = 1 + dice.below(4);
            rows.push(trace(problem, sample, &dice.words(length, 1000).join(" ")));
        }
    }
    let dir = dataset(&folder, "a", &rows, 16);
    for by in [Choice::Shortest, Choice::First] {
        let per_problem = Some(PerProblem { at_most: NonZeroU32::new(3).unwrap(), by, words: 5 });
        let (_, found) = selected(&folder, std::slice::from_ref(&dir), &Recipe { per_problem, ..bare() });
        for problem in &problems {
            let mut expected: Vec<(u32, u32)> = rows
                .iter()
                .filter(|row| row.uuid == problem.uuid)
                .map(|row| (if by == Choice::Shortest { row.completion_tokens } else { 0 }, row.sample))
                .collect();
            expected.sort();
            let mut expected: Vec<u32> = expected.into_iter().take(3).map(|(_, sample)| sample).collect();
            expected.sort();
            let kept = found.iter().filter(|row| row.uuid == problem.uuid && row.kept).map(|row| row.sample);
            assert_eq!(kept.collect::<Vec<_>>(), expected);
        }
    }
}

#[test]
fn the_diverse_ones_are_those_of_the_greedy_search_over_strings() {
    let folder = tempfile::tempdir().unwrap();
    let mut dice = Dice(5);
    let question = problem("w1 w2 w3");
    let base = dice.words(40, 60);
    let texts: Vec<String> = (0..12)
        .map(|_| {
            let mut words = base.clone();
            for _ in 0..dice.below(12) {
                let place = dice.below(words.len());
                words[place] = format!("w{}", dice.below(60));
            }
            words.join(" ")
        })
        .collect();
    let rows: Vec<Sample> = (0..).zip(&texts).map(|(sample, text)| trace(&question, sample, text)).collect();
    let per_problem = Some(PerProblem { at_most: NonZeroU32::new(4).unwrap(), by: Choice::Diverse, words: 2 });
    let dir = dataset(&folder, "a", &rows, 5);
    let (_, found) = selected(&folder, &[dir], &Recipe { per_problem, ..bare() });
    let sets: Vec<_> = texts.iter().map(|text| oracle_shingles(&format!("w1 w2 w3 {text}"), 2)).collect();
    let mut chosen = vec![0];
    while chosen.len() < 4 {
        let distance = |at: usize| {
            chosen.iter().map(|&other: &usize| 1.0 - oracle_jaccard(&sets[at], &sets[other])).fold(2.0, f64::min)
        };
        let mut best = usize::MAX;
        for at in (0..sets.len()).filter(|at| !chosen.contains(at)) {
            if best == usize::MAX || distance(at) > distance(best) {
                best = at;
            }
        }
        chosen.push(best);
    }
    chosen.sort();
    assert_eq!((0..12).filter(|&at| found[at].kept).collect::<Vec<_>>(), chosen);
    assert!(found.iter().any(|row| row.drop_reason == "not picked: 4 of this problem, the most different"));
}

#[test]
fn a_mix_has_its_shares_and_a_draw_does_not_depend_on_the_other_rows() {
    let folder = tempfile::tempdir().unwrap();
    let rows = |name: &str, count: usize| -> Vec<Sample> {
        (0..count).map(|at| trace(&problem(&format!("{name} {at}")), 0, "x")).collect()
    };
    let (many, few) = (rows("many", 200), rows("few", 50));
    let dirs = [dataset(&folder, "many", &many, 64), dataset(&folder, "few", &few, 64)];
    let kept = |recipe: &Recipe, dirs: &[PathBuf]| -> Vec<String> {
        selected(&folder, dirs, recipe).1.into_iter().filter(|row| row.kept).map(|row| row.problem).collect()
    };
    let mix = |mix: Mix| Recipe { mix: Some(mix), seed: 3, ..bare() };
    let none = Mix { weights: None, total: None, counts: None, replacement: false };
    let share = |kept: &[String]| {
        let many = kept.iter().filter(|problem| problem.starts_with("many")).count();
        (many, kept.len() - many)
    };
    let by_weight = kept(&mix(Mix { weights: Some(vec![3.0, 1.0]), ..none.clone() }), &dirs);
    assert_eq!(share(&by_weight), (150, 50));
    let by_total = kept(&mix(Mix { weights: Some(vec![1.0, 2.0]), total: Some(50), ..none.clone() }), &dirs);
    assert_eq!(share(&by_total), (17, 33));
    let by_count = kept(&mix(Mix { counts: Some(vec![20, 0]), ..none.clone() }), &dirs);
    assert_eq!(share(&by_count), (20, 0));
    // The same rows of the first, whatever there is beside it, and all of them among those of a larger draw.
    let alone = kept(&mix(Mix { counts: Some(vec![20]), ..none.clone() }), &dirs[..1]);
    assert_eq!(alone, by_count);
    assert!(by_count.iter().all(|problem| by_weight.contains(problem)));
    let other = kept(&Recipe { seed: 4, ..mix(Mix { counts: Some(vec![20]), ..none.clone() }) }, &dirs[..1]);
    assert_ne!(other, alone);

    let again = mix(Mix { counts: Some(vec![1000, 10]), replacement: true, ..none.clone() });
    let drawn = kept(&again, &dirs);
    assert_eq!(share(&drawn), (1000, 10));
    let different: HashSet<&String> = drawn.iter().filter(|problem| problem.starts_with("many")).collect();
    // Of 200 rows 1,000 draws leave out 200 * (199/200)^1000 = 1.3 on average.
    assert!((190..=200).contains(&different.len()), "{}", different.len());

    let refused = |recipe: Recipe| {
        let out = folder.path().join("refused");
        let error = select(&dirs, &recipe, &out, &Silent).unwrap_err();
        assert!(!out.exists());
        error.to_string()
    };
    assert!(refused(mix(Mix { counts: Some(vec![201, 1]), ..none.clone() })).contains("has 200 rows to draw from"));
    assert!(
        refused(mix(Mix { counts: Some(vec![1]), ..none.clone() })).contains("`mix.counts` is `[1] for 2 datasets`")
    );
    assert!(refused(mix(none)).contains("either `weights` or `counts`"));
}
