//! The files against what lm-evaluation-harness writes: their keys, and hashes that Python gives.

use super::*;
use crate::Stems;
use crate::definition::{Definition, shipped};
use crate::items::{Choices, Item};
use crate::likelihood::Answer;
use retort_datagen::problem::Problem;
use serde_json::json;

fn item(prompt: &str, gold: &str, row: Value, choices: Option<Choices>) -> Item {
    let row = row.as_object().expect("a row").clone();
    let problem = Problem::new(prompt.into(), gold.into(), "gsm8k-harness", "", "");
    Item { problem, row, choices, stem: String::new() }
}

fn sample(item: &Item, response: &str) -> Sample {
    let document = json!({
        "run_id": "r", "uuid": item.problem.uuid, "sample": 0, "problem": item.problem.problem,
        "answer": item.problem.answer, "source": "", "domain": "", "difficulty": "", "messages": [], "reasoning": "",
        "response": response, "finish_reason": "stop", "verdict": "right", "verdict_reason": "", "kept": true,
        "drop_reason": "", "prompt_tokens": 1, "completion_tokens": 1, "generator": "m@1", "seed": 0,
        "prompt_token_ids": [], "token_ids": [],
    });
    serde_json::from_value(document).expect("a sample")
}

/// Both files as JSON.
fn written(definition: &Definition, items: Vec<Item>, outcome: Outcome<'_>) -> Result<(Value, Vec<Value>), Error> {
    let folder = tempfile::tempdir().expect("a folder");
    let items = Items { items, available: 1319, repeated: vec![], data: "d".into() };
    let finished = Finished {
        definition,
        items: &items,
        outcome,
        model: ("org/tiny", "1"),
        limit: Some(2),
        seed: 7,
        seconds: 1.5,
        ended: 1_785_000_000.25,
    };
    let [results, samples] = finished.write(folder.path())?;
    let names = [&results, &samples].map(|path| path.strip_prefix(folder.path()).expect("inside").to_owned());
    let name = &definition.name;
    let expected = [
        "org__tiny/results_2026-07-25T17-20-00.250000.json".to_owned(),
        format!("org__tiny/samples_{name}_2026-07-25T17-20-00.250000.jsonl"),
    ];
    assert_eq!(names.map(|name| name.to_string_lossy().into_owned()), expected);
    let text = |path| std::fs::read_to_string(path).expect("read");
    let parse = |text: &str| serde_json::from_str(text).expect("JSON");
    Ok((parse(&text(results)), text(samples).lines().map(parse).collect()))
}

#[test]
fn each_filter_has_its_lines_and_its_score() -> Result<(), Error> {
    let definition = shipped("gsm8k-harness").expect("shipped")?;
    let row = json!({"question": "Wie viele Äpfel?", "answer": "2 + 1\n#### 3"});
    let first = item("Question: Wie viele Äpfel?\nAnswer:", "2 + 1\n#### 3", row.clone(), None);
    let second = item("Question: q\nAnswer:", "#### 1,200", json!({"question": "q", "answer": "#### 1,200"}), None);
    let samples = [sample(&first, "It is\n#### 3"), sample(&second, "That makes $1200.")];
    let scored = Scored::from_samples("m", &samples, &Stems::default())?;
    let sampling = Sampling { temperature: 0.0, ..Sampling::default() };
    let outcome = Outcome::Written { samples: &samples, scored: &scored, sampling: &sampling, repeats: 1 };
    let (results, lines) = written(&definition, vec![first, second], outcome)?;
    let result = &results["results"]["gsm8k-harness"];
    assert_eq!(result["exact_match,strict-match"], 0.5);
    assert_eq!(result["exact_match_stderr,strict-match"], 0.5);
    assert_eq!(result["exact_match,flexible-extract"], 1.0);
    assert_eq!(result["exact_match_stderr,flexible-extract"], 0.0);
    assert_eq!(result["alias"], "gsm8k-harness");
    assert_eq!(results["n-shot"]["gsm8k-harness"], 5);
    assert_eq!(results["versions"]["gsm8k-harness"], 3);
    assert_eq!(results["n-samples"]["gsm8k-harness"], json!({"original": 1319, "effective": 2}));
    assert_eq!(results["higher_is_better"]["gsm8k-harness"], json!({"exact_match": true}));
    assert_eq!(results["config"]["gen_kwargs"]["do_sample"], false);
    assert_eq!(results["total_evaluation_time_seconds"], "1.5");
    assert_eq!(
        (lines.len(), &lines[0]["filter"], &lines[2]["filter"]),
        (4, &json!("strict-match"), &json!("flexible-extract"))
    );
    let line = &lines[0];
    assert_eq!((&line["doc_id"], &line["doc"], &line["target"]), (&json!(0), &row, &json!("2 + 1\n#### 3")));
    assert_eq!(line["arguments"]["gen_args_0"]["arg_0"], "Question: Wie viele Äpfel?\nAnswer:");
    assert_eq!(line["resps"], json!([["It is\n#### 3"]]));
    assert_eq!((&line["filtered_resps"], &line["exact_match"]), (&json!(["3"]), &json!(1.0)));
    assert_eq!((&lines[1]["filtered_resps"], &lines[1]["exact_match"]), (&json!(["[invalid]"]), &json!(0.0)));
    assert_eq!(lines[3]["filtered_resps"], json!(["$1200."]));
    // hashlib.sha256 of json.dumps(doc, indent=2, ensure_ascii=False), of the prompt and of the target.
    assert_eq!(line["doc_hash"], "71829b93cb00a172fbe4dff21db90b6df32d53a6f6e8a82466014375b2b15543");
    assert_eq!(line["prompt_hash"], "1f7603f8cfe0ecdcf447938f5307cf0ea34bae3e3967ec07b313aeefcf587c3c");
    assert_eq!(line["target_hash"], "0776b4fcdf1e606b13a8c1d479d0bbd128132546073eca0dc64746a1d8e39053");
    Ok(())
}

#[test]
fn a_choice_has_one_request_for_each_option() -> Result<(), Error> {
    let definition = shipped("arc-easy").expect("shipped")?;
    let texts = vec!["sand".to_owned(), "water".into()];
    let item = item("Question: q\nAnswer:", "B", json!({"id": "1"}), Some(Choices { texts: texts.clone(), gold: 1 }));
    let answer = Answer {
        place: 0,
        problem: item.problem.clone(),
        choices: texts,
        gold: 1,
        log_likelihoods: vec![-4.5, -5.0],
        greedy: vec![true, false],
        context_tokens: 3,
        choice_tokens: vec![1, 1],
    };
    let (results, lines) = written(&definition, vec![item], Outcome::Chosen(&[answer]))?;
    let result = &results["results"]["arc-easy"];
    assert_eq!((&result["acc,none"], &result["acc_norm,none"]), (&json!(0.0), &json!(1.0)));
    assert_eq!(result["acc_stderr,none"], "N/A");
    assert_eq!(results["configs"]["arc-easy"]["output_type"], "multiple_choice");
    let line = &lines[0];
    assert_eq!(line["arguments"]["gen_args_1"], json!({"arg_0": "Question: q\nAnswer:", "arg_1": " water"}));
    assert_eq!(line["resps"], json!([[["-4.5", "True"]], [["-5.0", "False"]]]));
    assert_eq!(line["filtered_resps"], json!([["-4.5", "True"], ["-5.0", "False"]]));
    assert_eq!((&line["target"], &line["metrics"]), (&json!("1"), &json!(["acc", "acc_norm"])));
    Ok(())
}

#[test]
fn several_tries_are_reported_as_such() -> Result<(), Error> {
    let definition = shipped("gsm8k").expect("shipped")?;
    let item = item("What is 1 + 2?", "3", json!({"question": "What is 1 + 2?"}), None);
    let wrong = Sample { sample: 1, verdict: retort_datagen::sample::Verdict::Wrong, ..sample(&item, "\\boxed{4}") };
    let samples = [sample(&item, "\\boxed{3}"), wrong];
    let scored = Scored::from_samples("m", &samples, &Stems::default())?;
    let sampling = Sampling::default();
    let outcome = Outcome::Written { samples: &samples, scored: &scored, sampling: &sampling, repeats: 2 };
    let (results, lines) = written(&definition, vec![item], outcome)?;
    let result = &results["results"]["gsm8k"];
    assert_eq!((&result["pass@1,none"], &result["pass@2,none"]), (&json!(0.5), &json!(1.0)));
    assert_eq!((&lines[0]["pass@1"], &lines[0]["filtered_resps"]), (&json!(0.5), &json!(["3", "4"])));
    let asked = lines[0]["arguments"]["gen_args_0"]["arg_0"].as_str().expect("a text");
    assert_eq!(asked, "What is 1 + 2?\nPlease reason step by step, and put your final answer within \\boxed{}.");
    Ok(())
}

#[test]
fn names_lead_nowhere() {
    assert_eq!(sanitised("org/name"), "org__name");
    assert_eq!(sanitised("http://h:80/v1"), "http__h__80__v1");
    assert_eq!(sanitised(".."), "model");
}
