//! Every definition over rows made up for it, with the columns that its data is published with; prompts against texts
//! written by hand.

use super::*;
use crate::definition::shipped;
use retort_datagen::sources::Selection;
use serde_json::json;
use std::path::Path;

/// The folder of a dataset with these files.
fn folder(files: &[(&str, &[Value])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, rows) in files {
        let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        std::fs::write(path, text).expect("written");
    }
    folder
}

fn read(name: &str, path: &Path) -> Result<Items, Error> {
    let definition = shipped(name).expect("shipped")?;
    Items::read(&definition, &Origin { path: path.into(), selection: Selection::default() }, None)
}

/// What a definition makes of one row.
fn one(name: &str, row: Value) -> Result<Item, Error> {
    let folder = folder(&[("rows.jsonl", &[row])]);
    Ok(read(name, &folder.path().join("rows.jsonl"))?.items.remove(0))
}

#[test]
fn open_questions_are_put_as_they_stand() -> Result<(), Error> {
    let rows = [
        ("gsm8k", json!({"question": "How many?", "answer": "2 + 1 = <<2+1=3>>3\n#### 1,003"}), "How many?", "1,003"),
        (
            "math-500",
            json!({"problem": "Find $x$.", "solution": "\\boxed{2}", "answer": "2", "subject": "Algebra", "level": 3,
                   "unique_id": "test/algebra/1.json"}),
            "Find $x$.",
            "2",
        ),
        ("aime-24", json!({"ID": "2024-I-1", "Problem": "Find n.", "Solution": "s", "Answer": 33}), "Find n.", "33"),
        ("aime-25", json!({"problem": "Find m.", "answer": "70", "id": "0"}), "Find m.", "70"),
        (
            "svamp",
            json!({"ID": "chal-1", "Body": "He has 3 pens. ", "Question": "How many pens?", "Equation": "( 3.0 )",
                   "Answer": "3.0", "Type": "Addition", "question_concat": "x"}),
            "He has 3 pens. How many pens?",
            "3.0",
        ),
    ];
    for (name, row, question, gold) in rows {
        let item = one(name, row.clone())?;
        assert_eq!((item.problem.problem.as_str(), item.problem.answer.as_str()), (question, gold), "{name}");
        assert_eq!((Value::Object(item.row), item.choices), (row, None));
    }
    Ok(())
}

#[test]
fn labels_are_taken_along() -> Result<(), Error> {
    let row =
        json!({"problem": "p", "solution": "s", "answer": "2", "subject": "Algebra", "level": 3, "unique_id": "u"});
    let Problem { source, domain, difficulty, .. } = one("math-500", row)?.problem;
    assert_eq!((source.as_str(), domain.as_str(), difficulty.as_str()), ("math-500#u", "Algebra", "3"));
    Ok(())
}

fn gsm8k(number: usize) -> Value {
    json!({"question": format!("What is {number}?"), "answer": format!("It is itself.\n#### {number}")})
}

#[test]
fn examples_are_those_that_the_harness_draws() -> Result<(), Error> {
    let train: Vec<Value> = (0..30).map(gsm8k).collect();
    let folder = folder(&[("train.jsonl", &train), ("test.jsonl", &[gsm8k(100), gsm8k(200)])]);
    let items = read("gsm8k-harness", folder.path())?;
    // CPython 3.11: `r = random.Random(1234); r.sample(range(30), 5); r.sample(range(30), 5)`.
    let drawn = [DRAWN_FIRST, DRAWN_SECOND];
    for ((item, drawn), own) in items.items.iter().zip(drawn).zip([100, 200]) {
        let shots: String = drawn
            .iter()
            .map(|number| format!("Question: What is {number}?\nAnswer: It is itself.\n#### {number}\n\n"))
            .collect();
        assert_eq!(item.problem.problem, format!("{shots}Question: What is {own}?\nAnswer:"));
        assert_eq!(item.problem.answer, format!("It is itself.\n#### {own}"));
    }
    let alone = read("gsm8k-harness", &folder.path().join("test.jsonl"));
    assert!(matches!(alone, Err(Error::NoExamples { split, .. }) if split == "train"));
    Ok(())
}

const DRAWN_FIRST: [usize; 5] = [24, 14, 3, 0, 2];
const DRAWN_SECOND: [usize; 5] = [29, 25, 18, 1, 21];

fn mmlu(subject: &str, number: usize, answer: usize) -> Value {
    json!({"question": format!(" Is it {number}?"), "subject": subject, "choices": ["no", "yes", "maybe", "both"],
           "answer": answer})
}

/// As on the hub, where a card says which files are of which split: a `dev` without one is taken for a `validation`.
fn mmlu_folder(dev: &[Value], test: Value) -> tempfile::TempDir {
    let folder = folder(&[("all/dev-0.jsonl", dev), ("all/test-0.jsonl", &[test])]);
    let split = |name: &str| format!("  - split: {name}\n    path: all/{name}-*\n");
    let card = format!("---\nconfigs:\n- config_name: all\n  data_files:\n{}{}---\n", split("test"), split("dev"));
    std::fs::write(folder.path().join("README.md"), card).expect("written");
    folder
}

#[test]
fn mmlu_is_asked_after_the_first_examples_of_its_subject() -> Result<(), Error> {
    let dev: Vec<Value> =
        (0..12).map(|number| mmlu(if number % 2 == 0 { "high_school_physics" } else { "law" }, number, 1)).collect();
    let folder = mmlu_folder(&dev, mmlu("high_school_physics", 77, 2));
    let item = read("mmlu-harness", folder.path())?.items.remove(0);
    let options = "A. no\nB. yes\nC. maybe\nD. both\nAnswer:";
    let shots: String = [0, 2, 4, 6, 8].iter().map(|number| format!("Is it {number}?\n{options} B\n\n")).collect();
    let preface = "The following are multiple choice questions (with answers) about high school physics.\n\n";
    assert_eq!(item.problem.problem, format!("{preface}{shots}Is it 77?\n{options}"));
    let choices = item.choices.expect("choices");
    assert_eq!((choices.texts.as_slice(), choices.gold), (["A", "B", "C", "D"].map(String::from).as_slice(), 2));
    assert_eq!((item.problem.answer.as_str(), item.problem.domain.as_str()), ("C", "high_school_physics"));
    // A subject with too few examples is an error, not a shorter prompt.
    let few = mmlu_folder(&dev[..3], mmlu("law", 1, 0));
    let error = read("mmlu-harness", few.path()).expect_err("too few").to_string();
    assert!(error.contains("5 examples with the same `subject` are needed, and the split `dev` has 1"), "{error}");
    Ok(())
}

#[test]
fn arc_is_scored_by_the_texts_whatever_its_labels_are() -> Result<(), Error> {
    for (labels, key) in [(json!(["A", "B", "C"]), "C"), (json!(["1", "2", "3"]), "3")] {
        let row = json!({"id": "M1", "question": "Which is wet?", "answerKey": key,
                         "choices": {"text": ["sand", "stone", "water"], "label": labels}});
        for name in ["arc-easy", "arc-challenge"] {
            let item = one(name, row.clone())?;
            assert_eq!(item.problem.problem, "Question: Which is wet?\nAnswer:");
            let choices = item.choices.expect("choices");
            assert_eq!((choices.gold(), choices.gold, choices.texts.len()), ("water", 2, 3));
        }
    }
    let row =
        json!({"id": "M1", "question": "q", "answerKey": "E", "choices": {"text": ["a", "b"], "label": ["A", "B"]}});
    let error = one("arc-easy", row).expect_err("no such label").to_string();
    assert!(error.contains("`E` is none of its 2 options") && error.contains("line 1"), "{error}");
    Ok(())
}

#[test]
fn hellaswag_is_cleaned_as_the_harness_does_it() -> Result<(), Error> {
    let row = json!({
        "ind": 4, "activity_label": "Baking  bread", "ctx_a": "[header] How to bake [title] Mix it.  Then", "ctx_b": "the DOUGH",
        "ctx": "unused", "endings": [" rises [substeps] slowly. ", "sings", "a [title] b", "[x] is  [y] it"],
        "source_id": "wikihow~1", "split": "val", "split_type": "indomain", "label": "3",
    });
    let item = one("hellaswag", row)?;
    // By hand: "Baking  bread: [header] How to bake [title] Mix it.  Then The dough", its marks taken out.
    assert_eq!(item.problem.problem, "Baking bread: How to bake. Mix it. Then The dough");
    let choices = item.choices.expect("choices");
    assert_eq!(choices.texts, ["rises slowly.", "sings", "a. b", " is  it"]);
    assert_eq!(choices.gold, 3);
    Ok(())
}

fn gpqa(question: &str) -> Value {
    json!({"Record ID": "rec1", "Question": question, "Correct Answer": "right\n", "Incorrect Answer 1": "w1",
           "Incorrect Answer 2": "w2", "Incorrect Answer 3": "w3", "High-level domain": "Physics"})
}

#[test]
fn the_order_of_options_is_drawn_from_the_seed_and_the_texts() -> Result<(), Error> {
    let item = one("gpqa-diamond", gpqa("Why?"))?;
    assert_eq!(item, one("gpqa-diamond", gpqa("Why?"))?);
    let Problem { problem, answer, domain, .. } = &item.problem;
    assert_eq!(domain, "Physics");
    let start = "Answer the following multiple choice question. The last line of your response should be of the following \
                 format: 'Answer: $LETTER' (without quotes) where LETTER is one of ABCD. Think step by step before \
                 answering.\n\nWhy?\n\nA) ";
    assert!(problem.starts_with(start), "{problem}");
    assert!(problem.contains(&format!("{answer}) right")), "{problem}");
    // Other texts, other orders: each place is right about as often as any.
    let definition = shipped("gpqa-diamond").expect("shipped")?;
    let rows: Vec<Value> = (0..400)
        .map(|number| {
            let mut row = gpqa("Why?");
            row["Incorrect Answer 1"] = json!(format!("w{number}"));
            row
        })
        .collect();
    let folder = folder(&[("rows.jsonl", &rows)]);
    let origin = Origin { path: folder.path().join("rows.jsonl"), selection: Selection::default() };
    let letters = |definition: &Definition| -> Result<Vec<String>, Error> {
        let items = Items::read(definition, &origin, None)?.items;
        Ok(items.into_iter().map(|item| item.problem.answer).collect())
    };
    let drawn = letters(&definition)?;
    for letter in ["A", "B", "C", "D"] {
        let count = drawn.iter().filter(|drawn| *drawn == letter).count();
        assert!((60..=140).contains(&count), "{letter}: {count} of 400");
    }
    let other = definition.text.replace("shuffle = 0", "shuffle = 1");
    assert_ne!(letters(&Definition::parse(&other, "other")?)?, drawn);
    let none = definition.text.replace("shuffle = 0\n", "");
    assert!(letters(&Definition::parse(&none, "none")?)?.iter().all(|letter| letter == "A"));
    Ok(())
}

#[test]
fn a_limit_leaves_the_rest_out_and_counts_it() -> Result<(), Error> {
    let rows: Vec<Value> = (0..7).map(gsm8k).collect();
    let folder = folder(&[("test.jsonl", &rows)]);
    let definition = shipped("gsm8k").expect("shipped")?;
    let origin = Origin { path: folder.path().into(), selection: Selection::default() };
    let items = Items::read(&definition, &origin, Some(2))?;
    assert_eq!((items.items.len(), items.available), (2, 7));
    let bytes = std::fs::read(folder.path().join("test.jsonl")).expect("read");
    assert_eq!(items.data, blake3::hash(&bytes).to_hex().to_string());
    let whole = Items::read(&definition, &origin, None)?;
    assert_eq!(whole.items[..2], items.items);
    Ok(())
}

#[test]
fn a_row_without_a_column_is_named() {
    let error = one("gsm8k", json!({"question": "q"})).expect_err("no answer").to_string();
    assert!(error.contains("line 1 of") && error.contains("rows.jsonl"), "{error}");
}

#[test]
fn rows_that_repeat_earlier_ones_are_named() -> Result<(), Error> {
    let row = |question: &str| json!({"problem": question, "answer": "70", "id": "0"});
    let folder = folder(&[("rows.jsonl", &[row("Find m."), row("Find n."), row("Find m."), row("Find m.")])]);
    let items = read("aime-25", &folder.path().join("rows.jsonl"))?;
    assert_eq!((items.items.len(), items.repeated.len()), (4, 2));
    let told = items.repeats().expect("repeats");
    assert!(told.starts_with("2 questions repeat earlier ones"), "{told}");
    assert!(
        items.repeated.iter().all(|repeated| repeated.earlier.ends_with('1') || repeated.earlier.contains("line 1")),
        "{told}"
    );
    let other = json!({"problem": "Find m.", "answer": "71", "id": "0"});
    let folder = self::folder(&[("rows.jsonl", &[row("Find m."), other])]);
    assert_eq!(read("aime-25", &folder.path().join("rows.jsonl"))?.repeats(), None);
    Ok(())
}
