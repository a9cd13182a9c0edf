//! Cases made by hand: what is found in a response, and what equals what.

mod rules;

use super::*;
use retort_model::chat::Thought;
use retort_model::generate::FinishReason;

#[test]
fn the_answer_is_what_the_response_ends_on() {
    let cases = [
        ("First \\boxed{1}, then \\boxed{2}.", Some("2")),
        ("\\boxed{\\frac{1}{2}}", Some("\\frac{1}{2}")),
        ("\\boxed{\\{1, 2\\}}", Some("\\{1, 2\\}")),
        ("\\boxed{\\left\\{ x \\right.}", Some("\\left\\{ x \\right.")),
        ("\\boxed {5} apples", Some("5")),
        ("so \\boxed 5.", Some("5")),
        ("so $\\boxed5$", Some("5")),
        ("\\fbox{7}", Some("7")),
        ("\\boxed{\\fbox{7}}", Some("7")),
        // An unclosed or empty box is no answer; the last good one is.
        ("\\boxed{3} \\boxed{4", Some("3")),
        ("\\boxed{3} \\boxed{}", Some("3")),
        ("\\boxed{", None),
        ("\\boxedtimes{3}", None),
        ("a step\n#### 42", Some("42")),
        ("#### 42\nThe answer is 5. \\boxed{6}", Some("6")),
        ("The answer is 12.", Some("12")),
        ("The answer is 12.5. I am sure of it.", Some("12.5")),
        ("the answer is: $5.50", Some("$5.50")),
        ("**Answer:** 3/4", Some("3/4")),
        ("**Answer**: 3/4", Some("3/4")),
        ("Answer: \n 9", Some("9")),
        ("The answer is 5. No, the answer is 6.", Some("6")),
        (" 1,234 ", Some("1,234")),
        ("-\\frac{1}{2}", Some("-\\frac{1}{2}")),
        ("I counted 12 apples", None),
        // The last resort: the number of the last line.
        ("So we add them up.\nx = 12.", Some("12")),
        ("We add them up:\n\n**12**", Some("12")),
        ("5 + 7\n= 12", Some("12")),
        ("It follows.\n$AB = 3 + 4 = 7$", Some("7")),
        ("First\n- 12", None),
        ("It follows.\n2x = 12", None),
        ("It follows that x > 12", None),
        ("x = 12\nand that is all", None),
        ("The answer is 12. The answer is not 13.", Some("12")),
        ("The answer is 12. The answer isn't 13.", Some("12")),
        ("The answer is 0.333...", Some("0.333...")),
        ("answer =7", Some("7")),
        ("The answer is", None),
        ("So the answer would be $x=2$.", Some("$x=2$")),
        ("Answer = 7", Some("7")),
        ("The answer is 4. That answer surprised me.", Some("4")),
        // What is thought is not answered.
        ("<think>\\boxed{1}</think>The answer is 2.", Some("2")),
        ("so \\boxed{1}</think>\\boxed{2}", Some("2")),
        ("\\boxed{1}</think>I do not know", None),
        ("<think> it is \\boxed{1}", None),
        ("", None),
    ];
    for (response, expected) in cases {
        assert_eq!(extract_answer(response), expected, "{response}");
    }
    // Many boxes that never close must not take quadratic time in their number times the length.
    assert_eq!(extract_answer(&"\\boxed{".repeat(20_000)), None);
    let long = format!("{}\\boxed{{7}}{}", "\\frac{1}{2} so ".repeat(4_000), " \\boxed{".repeat(5_000));
    assert_eq!(extract_answer(&long), Some("7"));
}

#[test]
fn answers_are_compared_exactly() {
    use Verdict::{Right, Undecided, Wrong};
    let cases = [
        ("18", "18", Right),
        ("18", "18.", Right),
        ("18", "18.00", Right),
        ("18", "+18", Right),
        ("18", "$18$", Right),
        ("18", "\\$18", Right),
        ("18", "$18.00", Right),
        ("18", "\\(18\\)", Right),
        ("18", "\\text{18}", Right),
        ("18", "{18}", Right),
        ("18", "x = 18", Right),
        ("18", "17", Wrong),
        ("18", "-18", Wrong),
        ("18", "18.0000000000000000001", Wrong),
        ("-5", "\u{2212}5", Right),
        ("-5", "-$5", Right),
        ("-5", "$-5", Right),
        ("-5", "5", Wrong),
        ("1234567", "1,234,567", Right),
        ("1,000", "1000", Right),
        ("1000", "1{,}000", Right),
        ("1000", "1\\,000", Right),
        ("1000", "1,\\!000", Right),
        // Not groups of three: a pair, or a decimal comma; 12 in neither reading.
        ("12", "1,2", Wrong),
        ("1234", "12,34", Wrong),
        ("34", "3 4", Undecided),
        ("1/2", "0.5", Right),
        ("0.5", "\\frac{1}{2}", Right),
        ("0.5", "\\dfrac{2}{4}", Right),
        ("0.5", "\\frac12", Right),
        ("-0.5", "-\\frac{1}{2}", Right),
        ("-0.5", "\\frac{-1}{2}", Right),
        ("-1/2", "1/-2", Right),
        (".5", "1 / 2", Right),
        ("0.3333", "1/3", Wrong),
        ("0.1", "0.10000", Right),
        ("5", "5/0", Undecided),
        ("50%", "50\\%", Right),
        ("50%", "40%", Wrong),
        ("50%", "50", Right),
        ("50%", "51", Wrong),
        ("5", "5 million", Wrong),
        ("5", "3 or 5", Wrong),
        ("3.5", "3\\frac{1}{2}", Right),
        ("123456789012345678901234567890123456789012345", "123456789012345678901234567890123456789012345", Right),
        ("123456789012345678901234567890123456789012345", "123456789012345678901234567890123456789012346", Wrong),
        ("Tom", "\\text{Tom}", Right),
        ("Tom", "Anna", Wrong),
        ("x", "X", Undecided),
        ("\\left( 3, \\frac{\\pi}{2} \\right)", "(3,\\dfrac{\\pi}{2})", Right),
        ("p - q", "p-q", Right),
        ("p - q", "-q + p", Right),
        ("7", "seven", Right),
        ("y = 2x", "y=2x", Right),
        (".", "$", Undecided),
    ];
    for (gold, answer, expected) in cases {
        let judge = |gold: &str, answer: &str| {
            let problem = Problem::new("q".into(), gold.into(), "gym", "sums", "1");
            answers::ByDomain.verify_answer(&problem, answer)
        };
        let judgement = judge(gold, answer);
        assert_eq!(judgement.verdict, expected, "{gold} and {answer}: {}", judgement.reason);
        assert!(!cause(&judgement.reason).is_empty());
        // Which side is the gold does not matter to equality.
        assert_eq!(judge(answer, gold).verdict, expected, "{answer} and {gold}");
    }
}

#[test]
fn an_expression_needs_the_golds_numbers_and_value() {
    use Verdict::{Right, Undecided, Wrong};
    let gold = "(25 - 4) * 3 + 7";
    let cases = [
        ("(25-4)*3+7", Right),
        ("7 + 3 \\times (25 - 4)", Right),
        ("3 × (25 − 4) + 7 = 70", Right),
        ("$7 + 3 \\cdot \\left(25 - 4\\right)$.", Right),
        ("7 - 3 * (4 - 25)", Right),
        ("(25-4)*3+7 = 71", Wrong),
        ("70", Wrong),
        ("25 * 3 - 4 - 1", Wrong),
        ("25 + 4 + 3 + 7", Wrong),
        ("(25-4)*3+7+7-7", Wrong),
        ("(254)*3+7", Wrong),
        ("(25-4)*3+", Wrong),
        ("((25-4)*3+7", Wrong),
        ("25 4 3 7", Wrong),
        ("seventy", Undecided),
        ("\\frac{6}{2}+1", Undecided),
        ("-(4-25)*3+7", Undecided),
        ("3(25-4)+7", Undecided),
        ("", Wrong),
        ("(25-4)/(3-3)+7", Wrong),
        (&"(".repeat(100), Undecided),
        ("99999999999999999999999999999999999999999 + 1", Wrong),
        ("170141183460469231731687303715884105727 * 2", Wrong),
    ];
    for (answer, expected) in cases {
        let judgement = expression::compare(gold, answer);
        assert_eq!(judgement.verdict, expected, "{answer}: {}", judgement.reason);
    }
    // Exact, not floating: 1/3 * 3 is 1, and (1/3 + 1/3 + 1/3) - 1 is 0.
    assert_eq!(expression::compare("1 / 3 * 3", "3 / 3 * 1").verdict, Right);
    assert_eq!(expression::compare("8 / (3 - 8 / 3)", "24").verdict, Wrong);
    assert_eq!(expression::compare("8 / (3 - 8 / 3)", "8 / (3 - 8 / 3) = 24").verdict, Right);
    assert_eq!(expression::compare("what", "1 + 1").verdict, Undecided);
    // Same numbers and value, by an operation that the gold does not use.
    assert_eq!(expression::compare("(2+2)+3", "2*2+3").verdict, Wrong);
    assert_eq!(expression::compare("(1+5)/2*4", "4*(5+1)/2").verdict, Right);
}

#[test]
fn how_a_completion_ended_comes_before_its_answer() {
    let problem = |domain| Problem::new("q".into(), "1 + 2".into(), "gym", domain, "1");
    let completion = |finish_reason, unterminated, response: &str, token_ids: Vec<u32>| {
        let thought = Thought { reasoning: "so \\boxed{1 + 2}".into(), response: response.into(), unterminated };
        Completion { completion_tokens: token_ids.len(), token_ids, ..Completion::of(thought, finish_reason) }
    };
    use FinishReason::{Budget, Length, Loop, Stop, StopString};
    let cases = [
        (completion(Stop, false, "\\boxed{2 + 1}", vec![]), Verdict::Right),
        (completion(Stop, false, "\\boxed{3}", vec![]), Verdict::Wrong),
        (completion(Stop, false, "I do not know", vec![]), Verdict::NoAnswer),
        // An answer inside the thinking is none.
        (completion(Stop, true, "", vec![]), Verdict::Unterminated),
        (completion(Length, true, "", vec![1, 2, 3]), Verdict::Unterminated),
        (completion(Length, false, "\\boxed{2 + 1}", vec![1, 2, 3]), Verdict::Truncated),
        (completion(Length, true, "", vec![5; 64]), Verdict::Loop),
        (completion(Stop, false, "\\boxed{2 + 1}", vec![5; 64]), Verdict::Right),
        (completion(StopString, false, "\\boxed{2 + 1}", vec![1]), Verdict::Right),
        (completion(StopString, true, "", vec![1]), Verdict::Unterminated),
        (completion(Budget, true, "", vec![1]), Verdict::Unterminated),
        (completion(Stop, false, "\\boxed{2 + 1}</think>\\boxed{2 + 1}", vec![1]), Verdict::NoAnswer),
        (completion(Loop, false, "\\boxed{2 + 1}", vec![5; 64]), Verdict::Loop),
    ];
    for (completion, expected) in cases {
        let judgement = classify(&problem("countdown"), &completion, &answers::ByDomain);
        assert_eq!(judgement.verdict, expected, "{completion:?}");
        assert!(!judgement.reason.is_empty());
    }
    // Only countdown holds an expression against the numbers it may use; elsewhere its value counts.
    let value = completion(Stop, false, "\\boxed{3}", vec![]);
    assert_eq!(classify(&problem("sums"), &value, &answers::ByDomain).verdict, Verdict::Right);
}
