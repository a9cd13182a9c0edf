//! Problem files of every shape, and what is said about those that are none.

mod folders;
mod formats;

use super::*;
use crate::Error;
use crate::problem::Problem;
use std::path::{Path, PathBuf};

/// All problems of a source, or the first ones, without any setting.
fn read(path: &Path, limit: Option<usize>) -> Result<Vec<Problem>, Error> {
    super::read(path, &Reading::default(), limit)
}

fn file(dir: &tempfile::TempDir, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.path().join("problems.jsonl");
    std::fs::write(&path, bytes).unwrap();
    path
}

fn problem(question: &str, answer: &str, domain: &str, difficulty: &str) -> Problem {
    Problem::new(question.into(), answer.into(), "problems.jsonl", domain, difficulty)
}

#[test]
fn every_shape_gives_question_gold_and_labels() {
    let dir = tempfile::tempdir().unwrap();
    let lines = [
        "\u{feff}{\"question\": \"How many?\", \"answer\": \"2 + 1,000 = 1,002 #### no\\n#### 1,002\\n\"}",
        r#"{"problem": "Add.", "solution": "s", "answer": "\\frac{1}{2}", "subject": "Algebra", "level": 3, "unique_id": "a/1"}"#,
        "",
        r#####"{"problem": "Count the # in ####.", "answer": "#### 4", "level": "Level 5"}"#####,
        r#"{"prompt": "Say 7.", "answer": " 7 ", "subject": null}"#,
        r#"{"question": "Plain?", "answer": "yes"}"#,
        r#"{"problem": "Square.", "solution": "Since \\boxed{1}, \\boxed{x^{2}}.", "type": "Algebra", "level": "Level 2"}"#,
        r#"{"prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "Chat?"}], "reward_model": {"ground_truth": 34}}"#,
        r#"{"problem": "Half?", "answer": 0.5, "domain": ["Algebra", "Fractions"], "difficulty": 2.5}"#,
    ];
    let path = file(&dir, lines.join("\r\n"));
    let expected = [
        problem("How many?", "1,002", "", ""),
        problem("Add.", "\\frac{1}{2}", "Algebra", "3"),
        // The mark belongs to GSM8K's shape, not to a `problem`.
        problem("Count the # in ####.", "#### 4", "", "Level 5"),
        problem("Say 7.", "7", "", ""),
        problem("Plain?", "yes", "", ""),
        problem("Square.", "x^{2}", "Algebra", "Level 2"),
        problem("Chat?", "34", "", ""),
        problem("Half?", "0.5", "Algebra; Fractions", "2.5"),
    ];
    assert_eq!(read(&path, None).unwrap(), expected);
    assert_eq!(read(&path, Some(2)).unwrap(), expected[..2]);
    assert_eq!(read(&path, Some(99)).unwrap().len(), 8);
}

#[test]
fn a_bad_line_is_named_with_its_number_and_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let good = r#"{"problem": "p", "answer": "1"}"#;
    let cases: [(&[u8], &str); 13] = [
        (b"{\"problem\": \"p\", \"answ", "not valid JSON"),
        (b"{\"problem\": \"p\"} {\"answer\": \"1\"}", "not valid JSON"),
        (b"[1, 2]", "holds a list where a JSON object"),
        (b"{\"problem\": \"p\", \"gold\": \"1\"}", "no column `answer`; it has `problem`, `gold`"),
        (
            b"{\"text\": \"p\", \"answer\": \"1\"}",
            "no column `problem`, `question` or `prompt`; it has `text`, `answer`",
        ),
        (b"{}", "it has none"),
        (b"{\"problem\": \"p\", \"answer\": [1]}", "holds a list in the column `answer` where a string or a number"),
        (b"{\"problem\": [\"p\"], \"answer\": \"1\"}", "holds a list in the column `problem`"),
        (b"{\"problem\": \"p\", \"answer\": null}", "holds null in the column `answer`"),
        (b"{\"problem\": \"p\", \"answer\": \"1\", \"level\": true}", "a boolean in the column `level`"),
        (b"{\"problem\": \" \", \"answer\": \"1\"}", "empty question in the column `problem`"),
        (b"{\"question\": \"p\", \"answer\": \"so #### \"}", "empty gold answer in the column `answer`"),
        (b"{\"problem\": \"\xff\", \"answer\": \"1\"}", "not valid UTF-8"),
    ];
    for (line, expected) in cases {
        let path = file(&dir, [good.as_bytes(), b"\n\n", line, b"\n", good.as_bytes()].concat());
        let error = read(&path, None).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(expected), "{message}");
        assert!(message.contains("line 3") && message.contains("problems.jsonl"), "{message}");
        assert!(error.hint().is_some(), "{message}");
        // Lines behind the limit are not read.
        assert_eq!(read(&path, Some(1)).unwrap().len(), 1);
    }
}

#[test]
fn files_that_hold_no_problems_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for empty in ["", "\n\n  \n"] {
        let error = read(&file(&dir, empty), None).unwrap_err();
        assert!(matches!(error, Error::NoRows { .. }), "{error}");
    }
    let error = read(&dir.path().join("missing.jsonl"), None).unwrap_err();
    assert!(error.to_string().contains("missing.jsonl") && error.hint().is_some(), "{error}");
    let folder = dir.path().join("folder.jsonl");
    std::fs::create_dir(&folder).unwrap();
    assert!(matches!(read(&folder, None), Err(Error::DatasetFolder { .. })));
    let other = dir.path().join("problems.xyz");
    assert!(matches!(read(&other, None), Err(Error::Io { .. })), "a missing file is missing, whatever its name");
    std::fs::write(&other, "x").unwrap();
    let error = read(&other, None).unwrap_err();
    assert!(error.to_string().contains("`xyz`"), "{error}");
    let endless = file(&dir, vec![b'x'; (64 << 20) + 1]);
    assert!(matches!(read(&endless, None), Err(Error::RowTooLong { place: Place { number: 1, .. }, .. })));
}

#[test]
fn columns_are_mapped_by_name_and_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(
        &dir,
        r#"{"id": 7, "q": "1+1?", "reward_model": {"ground_truth": 2}, "tags": [{"name": "sums"}], "hard": 3}"#,
    );
    let mapped = |answer: &str| {
        let name = |text: &str| Some(text.to_owned());
        let columns = Columns {
            question: name("q"),
            answer: name(answer),
            domain: name("tags.0.name"),
            difficulty: name("hard"),
            id: name("id"),
        };
        super::read(&path, &Reading { columns, ..Reading::default() }, None)
    };
    let expected = Problem::new("1+1?".into(), "2".into(), "problems.jsonl#7", "sums", "3");
    assert_eq!(mapped("reward_model.ground_truth").unwrap(), [expected]);
    let error = mapped("reward_model.gold").unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("no column `reward_model.gold`; it has `id`, `q`, `reward_model.ground_truth`"),
        "{message}"
    );
    assert!(error.hint().is_some());
}

#[test]
fn a_template_puts_the_columns_of_a_row() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, r#"{"question": "Which?", "answer": "B", "options": ["one", "two"]}"#);
    let put =
        |template: &str| super::read(&path, &Reading { template: Some(template.into()), ..Reading::default() }, None);
    let problems = put("{{ question }}{% for o in options %}\n{{ 'AB'[loop.index0] }}. {{ o }}{% endfor %}").unwrap();
    assert_eq!(problems, [problem("Which?\nA. one\nB. two", "B", "", "")]);
    assert!(matches!(put("{{ choices }}"), Err(Error::NoPrompt { .. })));
    assert!(matches!(put("{% if %}"), Err(Error::PromptTemplate { .. })));
    let mut generated = [problem("1+1?", "2", "sums", "1")];
    let reading = Reading { template: Some("{{ domain }}: {{ problem }}".into()), ..Reading::default() };
    reading.put(&mut generated).unwrap();
    assert_eq!(generated, [problem("sums: 1+1?", "2", "sums", "1")]);
}
