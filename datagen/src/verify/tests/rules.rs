//! Every rule that a recipe can name, on turns made by hand.

use super::super::*;
use crate::sample::Verdict::{self, NoAnswer, Right, Undecided, Wrong};
use retort_model::chat::Thought;
use retort_model::generate::FinishReason;
use serde_json::json;

fn turn(reasoning: &str, response: &str) -> Completion {
    let thought = Thought { reasoning: reasoning.into(), response: response.into(), unterminated: false };
    let completion_tokens = response.split_whitespace().count();
    Completion { completion_tokens, ..Completion::of(thought, FinishReason::Stop) }
}

fn verdict(rule: &Rule, question: &str, gold: &str, turn: &Completion) -> Verdict {
    let problem = Problem::new(question.into(), gold.into(), "file", "", "");
    let judgement = rule.verifier().expect("a rule").verify(&problem, turn);
    assert!(!judgement.reason.is_empty());
    judgement.verdict
}

/// What a recipe writes.
fn rule(json: serde_json::Value) -> Rule {
    serde_json::from_value(json).expect("a rule")
}

#[test]
fn answers_by_rule() {
    let cases = [
        (json!("exact"), "a  b", r"\boxed{a b}", Right),
        (json!("exact"), "0.5", r"\boxed{1/2}", Wrong),
        (json!("math"), "0.5", r"\boxed{1/2}", Right),
        (json!("expression"), "1 + 2", r"\boxed{3}", Wrong),
        (json!({ "numeric": 0.01 }), "1,000", r"\boxed{$1005}", Right),
        (json!({ "numeric": 0.01 }), "1000", r"\boxed{1011}", Wrong),
        (json!({ "numeric": 0.0 }), "50%", r"\boxed{50\%}", Right),
        (json!({ "numeric": 0.0 }), "many", r"\boxed{3}", Undecided),
        (json!({ "numeric": 0.0 }), "3", r"\boxed{three}", Wrong),
        (json!("choice"), "C", r"\boxed{C}", Right),
        (json!("choice"), "(C)", "The answer is C. Paris", Right),
        (json!("choice"), "C. Paris", r"so \boxed{\text{(C)}}", Right),
        (json!("choice"), "C", "The answer is (D).", Wrong),
        (json!("choice"), "C", "I think it follows.\n**C**", Right),
        (json!("choice"), "B", r"\boxed{\textbf{(B)}\ 17}", Right),
        (json!("choice"), "B", r"\boxed{\textbf{(C)}\ 17}", Wrong),
        (json!("choice"), "B", r"Answer: \textbf{B}", Right),
        (json!("choice"), "B", "Answer: b", Right),
        (json!("choice"), "B", "Answer: c", Wrong),
        (json!("choice"), "C", "**C** because", Right),
        (json!("choice"), "C", "C, because", Right),
        (json!("choice"), "C", "Cats are best", NoAnswer),
        (json!("choice"), "A", "A cat", NoAnswer),
        (json!("choice"), "12", r"\boxed{C}", Undecided),
        (json!({ "regex": r"(\d+) apples" }), "7", "3 apples, no, 7 apples", Right),
        (json!({ "regex": r"(\d+) apples" }), "7", "7 apples, no, 3 apples", Wrong),
        (json!({ "regex": r"(\d+) apples" }), "7", "7 pears", NoAnswer),
        (json!({ "regex": "^ok$" }), "whatever", "ok", Right),
    ];
    for (written, gold, response, expected) in cases {
        assert_eq!(verdict(&rule(written.clone()), "q", gold, &turn("", response)), expected, "{written}: {response}");
    }
}

#[test]
fn json_has_a_shape() {
    let schema = json!({ "type": "object", "required": ["x"], "properties": { "x": { "type": "integer" } } });
    let written = Rule::JsonSchema(schema);
    let cases = [
        (r#"{"x": 3}"#, Right),
        ("Here:\n```json\n{\"x\": 3}\n```\nDone.", Right),
        ("```\n{}\n```\nor\n```\n{\"x\": 1}\n```", Right),
        (r#"{"x": "3"}"#, Wrong),
        ("{}", Wrong),
        ("x = 3", NoAnswer),
    ];
    for (response, expected) in cases {
        assert_eq!(verdict(&written, "q", "", &turn("", response)), expected, "{response}");
    }
    let cases = [
        (json!({ "enum": [1, "a", { "b": [2] }] }), json!({ "b": [2.0] }), true),
        (json!({ "const": 1 }), json!(2), false),
        (json!({ "type": ["integer", "null"] }), json!(3.0), true),
        (json!({ "type": "integer" }), json!(3.5), false),
        (json!({ "items": { "type": "string", "minLength": 2 }, "maxItems": 2 }), json!(["ab", "éa"]), true),
        (json!({ "items": { "type": "string", "minLength": 2 } }), json!(["ab", "é"]), false),
        (json!({ "maxItems": 1 }), json!([1, 2]), false),
        (json!({ "properties": { "x": {} }, "additionalProperties": false }), json!({ "x": 1 }), true),
        (json!({ "properties": { "x": {} }, "additionalProperties": false }), json!({ "y": 1 }), false),
        (json!({ "minimum": 1, "exclusiveMaximum": 2 }), json!(1), true),
        (json!({ "minimum": 1, "exclusiveMaximum": 2 }), json!(2), false),
        (json!({ "pattern": "^[0-9]+$" }), json!("12"), true),
        (json!({ "pattern": "^[0-9]+$" }), json!("1a"), false),
        (json!({ "anyOf": [{ "type": "null" }, { "minimum": 5 }] }), json!(7), true),
        (json!({ "anyOf": [{ "type": "null" }, { "type": "string" }] }), json!(7), false),
        (json!({ "oneOf": [{ "minimum": 5 }, { "maximum": 9 }] }), json!(7), false),
        (json!({ "oneOf": [{ "minimum": 5 }, { "maximum": 9 }] }), json!(10), true),
        (json!({ "allOf": [{ "minimum": 5 }, { "maximum": 9 }] }), json!(10), false),
        (json!({ "not": { "type": "array" } }), json!([]), false),
        // A bound of something else says nothing.
        (json!({ "minimum": 5, "minLength": 3, "required": ["x"] }), json!(true), true),
        (json!(false), json!(1), false),
        (json!(true), json!(1), true),
    ];
    for (schema, document, fits) in cases {
        let found = verdict(&Rule::JsonSchema(schema.clone()), "q", "", &turn("", &document.to_string()));
        assert_eq!(found == Right, fits, "{schema}: {document}");
    }
    let folder = tempfile::tempdir().expect("folder");
    std::fs::write(folder.path().join("shape.json"), r#"{"type": "array"}"#).expect("written");
    let from_file = rule(json!({ "all": [{ "json_schema_file": "shape.json" }] }));
    assert!(from_file.verifier().is_err(), "a file must be read first");
    let read = from_file.with_files(folder.path()).expect("read");
    assert_eq!(read, Rule::All(vec![Rule::JsonSchema(json!({ "type": "array" }))]));
    assert_eq!(verdict(&read, "q", "", &turn("", "[1]")), Right);
    let missing = rule(json!({ "json_schema_file": "none.json" })).with_files(folder.path()).expect_err("missing");
    assert!(missing.to_string().contains("none.json"));
}

#[test]
fn a_turn_has_a_form() {
    let form = |settings: serde_json::Value| rule(json!({ "format": settings }));
    let unclosed = Completion { unterminated: true, ..turn("so", "") };
    let thinking = form(json!({ "thinking": true }));
    let cases = [
        (turn("so", "7"), Right),
        (turn("", "7"), Wrong),
        (turn("so", " "), Wrong),
        (turn("so", "no</think>7"), Wrong),
        (turn("<think>so", "7"), Wrong),
        (unclosed, Wrong),
    ];
    for (turn, expected) in cases {
        assert_eq!(verdict(&thinking, "q", "7", &turn), expected, "{turn:?}");
    }

    let language = form(json!({ "foreign_words": 0.1 }));
    let english = "How many apples does Tom have?";
    let cases = [
        (english, "First add \\alpha_1 and β, then x.", "It is 7.", Right),
        (english, "First 我们 先 计算 the sum", "7", Wrong),
        ("汤姆有多少个苹果？", "我们 先 计算 $\\frac{1}{2} + x$", "7", Right),
        ("汤姆有多少个苹果？", "we compute the sum", "7", Wrong),
        ("1 + 1 = ?", "我们 compute", "2", Right),
    ];
    for (question, reasoning, response, expected) in cases {
        assert_eq!(verdict(&language, question, "7", &turn(reasoning, response)), expected, "{reasoning}");
    }

    let circle = "we add one and one and so on and on again ".repeat(3);
    assert_eq!(verdict(&form(json!({ "repeats": 3 })), "q", "", &turn(&circle, "")), Right);
    assert_eq!(verdict(&form(json!({ "repeats": 2 })), "q", "", &turn(&circle, "")), Wrong);
    let lengths = form(json!({ "min_tokens": 2, "max_tokens": 3 }));
    for (response, expected) in [("a", Wrong), ("a b", Right), ("a b c", Right), ("a b c d", Wrong)] {
        assert_eq!(verdict(&lengths, "q", "", &turn("", response)), expected);
    }
}

#[test]
fn rules_are_composed() {
    let both = rule(json!({ "all": ["math", { "format": { "thinking": true } }] }));
    assert_eq!(verdict(&both, "q", "7", &turn("so", r"\boxed{7}")), Right);
    assert_eq!(verdict(&both, "q", "7", &turn("", r"\boxed{7}")), Wrong);
    assert_eq!(verdict(&both, "q", "7", &turn("so", "I do not know")), NoAnswer);
    let either = rule(json!({ "any": ["exact", { "numeric": 0.0 }] }));
    assert_eq!(verdict(&either, "q", "7.0", &turn("", r"\boxed{7}")), Right);
    assert_eq!(verdict(&either, "q", "7.0", &turn("", r"\boxed{8}")), Wrong);
    // Nobody was certain, so nobody is.
    assert_eq!(verdict(&either, "q", "seven", &turn("", r"\boxed{8}")), Undecided);
}

#[test]
fn what_is_no_rule_says_why() {
    let cases = [
        (json!({ "regex": "(" }), "pattern"),
        (json!({ "numeric": -1.0 }), "`numeric`"),
        (json!({ "all": [] }), "no verifier"),
        (json!({ "json_schema": { "type": 3 } }), "`type`"),
        (json!({ "json_schema": { "$ref": "#/a" } }), "`$ref`"),
        (json!({ "json_schema": { "items": { "uniqueItems": true } } }), "`uniqueItems`"),
        (json!({ "format": { "foreign_words": 2.0 } }), "`foreign_words`"),
        (json!({ "format": { "min_tokens": 3, "max_tokens": 2 } }), "`min_tokens`"),
        (json!({ "format": { "repeats": 0 } }), "`repeats`"),
    ];
    for (written, named) in cases {
        let Err(error) = rule(written.clone()).verifier() else { panic!("{written}") };
        assert!(error.to_string().contains(named), "{error}");
    }
    assert!(serde_json::from_value::<Rule>(json!({ "format": { "thinkng": true } })).is_err());
    assert!(serde_json::from_value::<Rule>(json!("maths")).is_err());
}
