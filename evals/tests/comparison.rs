//! Runs in, report out: figures against recomputation by other means, refusals, and what the page shows.

mod synthetic;

use retort_datagen::sample::{Sample, Verdict};
use retort_evals::learning::Learning;
use retort_evals::{Context, Error, Report, Role, Runs, Scored, Stems, compare, table};
use std::collections::BTreeMap;
use synthetic::{context, problems, run};

/// The full comparison of four runs with `n` samples of `each` x 18 problems.
fn report(each: usize, n: u32) -> (Report, [Vec<Sample>; 4]) {
    let problems = problems(each);
    let runs = Role::ALL.map(|role| run(role, &problems, n, 7));
    let [teacher, base, control, student] = &runs;
    let stems = Stems::default();
    let named = Runs { teacher, student, base: Some(base), control: Some(control), stems: &stems };
    (compare(&named, context(&problems, n)).expect("a comparison"), runs)
}

fn pair<'a>(teacher: &'a [Sample], student: &'a [Sample]) -> Runs<'a> {
    static NONE: Stems = Stems::none();
    Runs { teacher, student, base: None, control: None, stems: &NONE }
}

/// Pass@1 by the definition, without any code of the crate.
fn pass_at_1(samples: &[Sample]) -> f64 {
    let mut by_problem: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for sample in samples {
        let entry = by_problem.entry(&sample.uuid).or_default();
        entry.0 += f64::from(u8::from(sample.verdict == Verdict::Right));
        entry.1 += 1.0;
    }
    by_problem.values().map(|(right, all)| right / all).sum::<f64>() / by_problem.len() as f64
}

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-12, "found {found}, expected {expected}");
}

#[test]
fn every_figure_follows_from_the_samples() {
    let (report, [teacher, base, control, student]) = report(8, 4);
    let [t, b, c, s] = [&teacher, &base, &control, &student].map(|samples| pass_at_1(samples));
    for (role, expected) in [(Role::Teacher, t), (Role::Base, b), (Role::Control, c), (Role::Student, s)] {
        let scored = report.model(role).unwrap();
        close(scored.score.pass_at_1, expected);
        assert_eq!((scored.score.problems, scored.score.samples), (144, 576));
        assert!(scored.score.ci95.holds(expected));
        let outcomes: u64 = scored.outcomes.iter().map(|outcome| outcome.samples).sum();
        assert_eq!(outcomes, 576, "every sample has one outcome");
        // Families and levels partition the problems evenly, so their plain mean is the score again.
        let families: f64 = scored.families.iter().map(|family| family.score.pass_at_1).sum::<f64>() / 6.0;
        close(families, expected);
        let cells = scored.families.iter().flat_map(|family| &family.levels);
        close(cells.map(|level| level.score.pass_at_1).sum::<f64>() / 18.0, expected);
    }
    close(report.gap_recovered.value.unwrap(), (s - b) / (t - b));
    close(report.student_share_of_teacher.value.unwrap(), s / t);
    close(report.student_minus_control.as_ref().unwrap().value, s - c);
    close(report.student_minus_teacher.value, s - t);
    close(report.student_minus_base.as_ref().unwrap().value, s - b);
    close(report.teacher_minus_base.as_ref().unwrap().value, t - b);
    let table = &report.transitions;
    close((table.gained - table.lost) / 144.0, s - t);
    close(table.both + table.gained + table.lost + table.neither, 144.0);
    let mean = student.iter().map(|sample| f64::from(sample.completion_tokens)).sum::<f64>() / 576.0;
    close(report.student.completion_tokens.mean, mean);
}

#[test]
fn single_samples_give_counts_and_mcnemar() {
    let (report, [teacher, _, _, student]) = report(8, 1);
    let right = |samples: &[Sample]| -> BTreeMap<String, bool> {
        samples.iter().map(|sample| (sample.uuid.clone(), sample.verdict == Verdict::Right)).collect()
    };
    let (teacher, student) = (right(&teacher), right(&student));
    let count = |t: bool, s: bool| teacher.iter().filter(|(uuid, right)| **right == t && student[*uuid] == s).count();
    let table = &report.transitions;
    assert_eq!(table.gained, count(false, true) as f64);
    assert_eq!(table.lost, count(true, false) as f64);
    assert_eq!(table.both, count(true, true) as f64);
    assert_eq!(table.neither, count(false, false) as f64);
    assert!(report.student_minus_teacher.mcnemar_p.unwrap() < 1.0);
    for example in &table.examples {
        let (t, s) = example.transition.rights();
        assert_eq!((example.teacher.verdict == Verdict::Right, example.student.verdict == Verdict::Right), (t, s));
        assert_eq!((teacher[&example.uuid], student[&example.uuid]), (t, s));
    }
    let several = report_of_several();
    assert_eq!(several.student_minus_teacher.mcnemar_p, None, "McNemar is for single samples");
}

fn report_of_several() -> Report {
    report(2, 3).0
}

#[test]
fn the_result_does_not_depend_on_the_order_of_samples_or_on_threads() {
    let problems = problems(3);
    let [teacher, base, control, student] = Role::ALL.map(|role| run(role, &problems, 2, 7));
    let on = |threads, reversed| {
        let mut student = student.clone();
        if reversed {
            student.reverse();
        }
        let runs = Runs { base: Some(&base), control: Some(&control), ..pair(&teacher, &student) };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| compare(&runs, context(&problems, 2)).unwrap().to_json().unwrap())
    };
    let first = on(1, false);
    assert_eq!(first, on(2, false));
    assert_eq!(first, on(2, true));
}

#[test]
fn the_json_has_the_agreed_keys_and_reads_back() {
    let (report, _) = report(4, 2);
    let json: serde_json::Value = serde_json::from_str(&report.to_json().unwrap()).unwrap();
    for role in ["teacher", "base", "control", "student"] {
        let model = &json[role];
        assert!(model["pass_at_1"].is_f64() && model["ci95"][0].is_f64() && model["ci95"][1].is_f64());
        assert!(model["problems"] == 72 && model["samples"] == 144, "{model}");
    }
    for key in ["gap_recovered", "student_minus_control", "student_minus_teacher", "student_share_of_teacher"] {
        let [value, lo, hi] = [&json[key]["value"], &json[key]["ci95"][0], &json[key]["ci95"][1]];
        assert!(lo.as_f64().unwrap() <= value.as_f64().unwrap() && value.as_f64().unwrap() <= hi.as_f64().unwrap());
    }
    assert_eq!(json["seconds"]["student training"], 148.2);
    let stages: Vec<&String> = json["seconds"].as_object().unwrap().keys().collect();
    assert_eq!(stages[0], "teacher traces", "stages keep their order");
    let folder = tempfile::tempdir().unwrap();
    report.write(folder.path()).unwrap();
    report.write(folder.path()).unwrap();
    let read = Report::read(&folder.path().join("report.json")).unwrap();
    assert_eq!(read.to_html(), report.to_html());
    close(read.gap_recovered.value.unwrap(), report.gap_recovered.value.unwrap());
    let other = std::fs::read_to_string(folder.path().join("report.json")).unwrap().replacen("report 2", "report 3", 1);
    let other_path = folder.path().join("other.json");
    std::fs::write(&other_path, other).unwrap();
    let refused = Report::read(&other_path).unwrap_err().to_string();
    assert!(refused.contains("`retort report 3`, expected `retort report 2`"), "{refused}");
    std::fs::remove_file(other_path).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary files stay behind");
}

#[test]
fn the_gap_is_null_with_a_reason_where_it_is_undefined() {
    let problems = problems(2);
    let teacher = run(Role::Teacher, &problems, 1, 1);
    let student = run(Role::Student, &problems, 1, 1);
    let alone = compare(&pair(&teacher, &student), Context::default()).unwrap();
    let json: serde_json::Value = serde_json::from_str(&alone.to_json().unwrap()).unwrap();
    assert!(json["gap_recovered"]["value"].is_null() && json["student_minus_control"].is_null());
    assert!(json["gap_recovered"]["reason"].as_str().unwrap().contains("no run of the base"));
    // A base as good as the teacher leaves no gap.
    let runs = Runs { base: Some(&teacher), ..pair(&teacher, &student) };
    let none = compare(&runs, Context::default()).unwrap();
    assert!(none.gap_recovered.value.is_none() && none.gap_recovered.reason.as_ref().unwrap().contains("holds 0"));
    assert!(none.to_html().contains("undefined"));
    // A teacher that is never right has no share either, and nothing panics on the way.
    let hopeless: Vec<Sample> =
        teacher.iter().map(|sample| Sample { verdict: Verdict::Wrong, ..sample.clone() }).collect();
    let report = compare(&pair(&hopeless, &hopeless), Context::default()).unwrap();
    assert_eq!(report.student_share_of_teacher.value, None);
    assert!(report.to_html().contains("cannot be measured") && table::render(&report).contains("cannot be measured"));
}

#[test]
fn runs_that_cannot_be_compared_are_refused_naming_both_sides() {
    let problems = problems(2);
    let teacher = run(Role::Teacher, &problems, 2, 1);
    let student = run(Role::Student, &problems, 2, 1);
    let refused = |runs: &Runs<'_>| compare(runs, Context::default()).unwrap_err();

    let part = run(Role::Student, &problems[1..], 2, 1);
    let differs = refused(&pair(&teacher, &part));
    let said = differs.to_string();
    assert!(matches!(differs, Error::ProblemSetsDiffer { only_left: 1, only_right: 0, .. }), "{said}");
    assert!(said.contains("teacher has 36 problems") && said.contains("student has 35"), "{said}");
    assert!(said.contains(&problems[0].uuid) && differs.hint().is_some());
    let control = Runs { control: Some(&part), ..pair(&teacher, &student) };
    assert!(refused(&control).to_string().contains("control has 35"));

    assert!(refused(&pair(&[], &student)).to_string().contains("teacher run holds no samples"));
    let base = Runs { base: Some(&[]), ..pair(&teacher, &student) };
    assert!(refused(&base).to_string().contains("base run holds no samples"));

    let mut twice = student.clone();
    twice.push(twice[5].clone());
    assert!(matches!(refused(&pair(&teacher, &twice)), Error::DuplicateSample { sample: 1, .. }));
    let mut mixed = student.clone();
    mixed[3].generator = "another model".into();
    assert!(refused(&pair(&teacher, &mixed)).to_string().contains("another model"));
    let relabelled: Vec<Sample> =
        student.iter().map(|sample| Sample { difficulty: "9".into(), ..sample.clone() }).collect();
    assert!(matches!(refused(&pair(&teacher, &relabelled)), Error::LabelsDiffer { .. }));
    assert!(matches!(Scored::from_samples("lone", &[], &Stems::default()), Err(Error::EmptyRun { .. })));
}

#[test]
fn an_uneven_run_is_scored_by_problem_and_said_to_be_uneven() {
    let problems = problems(2);
    let teacher = run(Role::Teacher, &problems, 4, 1);
    let mut student = run(Role::Student, &problems, 4, 1);
    student.truncate(student.len() - 3);
    let report = compare(&pair(&teacher, &student), Context::default()).unwrap();
    assert_eq!(report.student.samples_per_problem, [1, 4]);
    close(report.student.score.pass_at_1, pass_at_1(&student));
    assert!(report.cautions.iter().any(|caution| caution.contains("student run is uneven: 1 to 4")));
}

#[test]
fn the_page_escapes_what_models_and_files_say_and_needs_nothing_else() {
    let problems = problems(2);
    let hostile = "</pre></style><script>alert(1)</script><img src=x onerror=\"alert(2)\">";
    let poison = |role| -> Vec<Sample> {
        let mut samples = run(role, &problems, 1, 1);
        for sample in &mut samples {
            for text in [
                &mut sample.problem,
                &mut sample.answer,
                &mut sample.reasoning,
                &mut sample.response,
                &mut sample.verdict_reason,
                &mut sample.domain,
                &mut sample.difficulty,
                &mut sample.generator,
                &mut sample.run_id,
            ] {
                *text = hostile.into();
            }
        }
        samples
    };
    let (teacher, student) = (poison(Role::Teacher), poison(Role::Student));
    let mut context = context(&problems, 1);
    context.commands.push(hostile.into());
    context.seconds.push((hostile.into(), 1.0));
    context.facts[0].name = hostile.into();
    context.facts[0].value = hostile.into();
    if let Some(card) = &mut context.benchmark {
        card.name = hostile.into();
    }
    let page = compare(&pair(&teacher, &student), context).unwrap().to_html();
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "the text is there, escaped");
    for forbidden in ["<script", "<img", "onerror=\"", "http://", "https://", "url(", "@import", "<link", " src="] {
        let found = page.match_indices(forbidden).next();
        // ` src=` appears inside escaped text only, where no tag is open.
        let harmless =
            forbidden == " src=" && page.match_indices(forbidden).all(|(at, _)| page[..at].ends_with("&lt;img"));
        assert!(found.is_none() || harmless, "`{forbidden}` at {found:?}");
    }
    assert_eq!(page.matches("</style>").count(), 1);
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn the_table_fits_a_terminal_and_says_the_same() {
    let (report, _) = report(8, 4);
    let text = table::render(&report);
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{} characters: {line}", line.chars().count());
    }
    let score = format!("{:.1}%", 100.0 * report.student.score.pass_at_1);
    let gap = format!("{:.1}%", 100.0 * report.gap_recovered.value.unwrap());
    assert!(text.contains(&score) && text.contains(&gap) && text.contains("word problems"), "{text}");
    assert!(report.to_html().contains(&score) && report.to_html().contains(&gap));
    let long = "an exceedingly long family name that does not fit\u{1b}[31m";
    let rename = |samples: &[Sample]| -> Vec<Sample> {
        samples.iter().map(|sample| Sample { domain: long.into(), ..sample.clone() }).collect()
    };
    let problems = problems(1);
    let (teacher, student) = (run(Role::Teacher, &problems, 1, 1), run(Role::Student, &problems, 1, 1));
    let report = compare(&pair(&rename(&teacher), &rename(&student)), Context::default()).unwrap();
    let text = table::render(&report);
    assert!(text.lines().all(|line| line.chars().count() <= 80) && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn learning_curves_are_drawn_of_what_the_runs_told() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, lines: &str| {
        std::fs::create_dir(folder.path().join(name)).unwrap();
        std::fs::write(folder.path().join(name).join("metrics.jsonl"), lines).unwrap();
        Learning::read(&folder.path().join(name)).unwrap()
    };
    let terms = r#""terms":{"pass_at_1":0.25,"well_formed":0.5,"completion_tokens":37.5}"#;
    let rewarded: String = (1..=3).map(|step| format!("{{\"step\":{step},\"loss\":0,{terms}}}\n")).collect();
    let plain = "{\"step\":10,\"loss\":2.5}\n{\"step\":20,\"loss\":1.25}\n";
    let (mut report, _) = report(1, 1);
    assert!(!report.to_html().contains("Learning curves"));
    report.learning = vec![run("first-seed", &rewarded), run("plain", plain)];
    let page = report.to_html();
    for part in ["Learning curves", "first-seed", "Pass@1 of rollouts", "25.0% at step 2", "38 tokens at step 3"] {
        assert!(page.contains(part), "`{part}` is not on the page");
    }
    for part in ["50.0% at step 1", "1.2500 at step 20", "class=\"run-1\""] {
        assert!(page.contains(part), "`{part}` is not on the page");
    }
    let json: serde_json::Value = serde_json::from_str(&report.to_json().unwrap()).unwrap();
    assert_eq!(json["learning"][1]["points"][1]["loss"], 1.25);
    assert_eq!(json["learning"][0]["points"][0]["rollouts"]["well_formed"], 0.5);
}
