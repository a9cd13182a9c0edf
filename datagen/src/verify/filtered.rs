//! lm-evaluation-harness's way with answers: its `regex` filter finds them (`lm_eval/filters/extraction.py`), its metric
//! `exact_match` compares them (`lm_eval/api/metrics.py`).

use super::{Judgement, RuleError, Verifier, quote};
use crate::problem::Problem;
use crate::sample::Verdict;
use regex::Regex;
use retort_model::generate::Completion;
use serde::{Deserialize, Serialize};

/// A filter and a comparison as a setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filtered {
    /// Found everywhere in the response. Where the pattern has groups, the first that is not empty is meant.
    pub pattern: String,
    /// Which find counts: 0 is the first, -1 the last.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub select: i64,
    /// What is taken out of find and gold before they are compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
    /// Whether capitals and small letters are the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignore_case: bool,
    /// Whether ASCII's punctuation marks are taken out, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignore_punctuation: bool,
}

fn is_zero(value: &i64) -> bool {
    *value == 0
}

impl Filtered {
    /// The setting with its patterns compiled.
    pub fn compile(&self) -> Result<ExactMatch, RuleError> {
        let compile = |pattern: &str| pattern.parse().map_err(|error| RuleError::BadPattern(Box::new(error)));
        let ignore = self.ignore.iter().map(|pattern| compile(pattern)).collect::<Result<_, _>>()?;
        Ok(ExactMatch { pattern: compile(&self.pattern)?, ignore, setting: self.clone() })
    }
}

/// Finds answers and compares them with golds.
pub struct ExactMatch {
    pattern: Regex,
    ignore: Vec<Regex>,
    setting: Filtered,
}

impl ExactMatch {
    /// The answer in a response, without space around it.
    pub fn find<'a>(&self, response: &'a str) -> Option<&'a str> {
        let finds: Vec<_> = self.pattern.captures_iter(response).collect();
        let place = match usize::try_from(self.setting.select) {
            Ok(place) => place,
            Err(_) => finds.len().checked_sub(usize::try_from(self.setting.select.unsigned_abs()).ok()?)?,
        };
        let find = finds.get(place)?;
        let mut groups = find.iter().skip(usize::from(find.len() > 1)).flatten().map(|group| group.as_str());
        match find.len() {
            1 | 2 => groups.next().or(Some("")),
            _ => groups.find(|group| !group.is_empty()),
        }
        .map(str::trim)
    }

    /// Whether an answer is the gold.
    pub fn is_same(&self, gold: &str, answer: &str) -> bool {
        self.reduced(gold) == self.reduced(answer)
    }

    fn reduced(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for ignored in &self.ignore {
            text = ignored.replace_all(&text, "").into_owned();
        }
        if self.setting.ignore_case {
            text = text.to_lowercase();
        }
        if self.setting.ignore_punctuation {
            text.retain(|sign| !sign.is_ascii_punctuation());
        }
        text
    }
}

impl Verifier for ExactMatch {
    fn verify(&self, problem: &Problem, turn: &Completion) -> Judgement {
        match self.find(&turn.response) {
            None => Judgement::new(Verdict::NoAnswer, "the pattern is not found"),
            Some(answer) if self.is_same(&problem.answer, answer) => Judgement::new(Verdict::Right, "equal"),
            Some(answer) => Judgement::new(Verdict::Wrong, format!("not the gold: {}", quote(answer))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(pattern: &str, select: i64) -> ExactMatch {
        let ignore = [",", r"\$", "(?s).*#### ", r"\.$"].map(String::from).to_vec();
        let setting =
            Filtered { pattern: pattern.into(), select, ignore, ignore_case: true, ignore_punctuation: false };
        setting.compile().expect("patterns")
    }

    #[test]
    fn finds_are_those_of_pythons_findall() {
        let strict = matcher(r"#### (\-?[0-9\.\,]+)", 0);
        assert_eq!(strict.find("so\n#### 1,200.\n#### 7"), Some("1,200."));
        assert_eq!(strict.find("the answer is 7"), None);
        let flexible = matcher(r"(-?[$0-9.,]{2,})|(-?[0-9]+)", -1);
        assert_eq!(flexible.find("first 12, then $1,800.50 and 7 eggs"), Some("7"));
        assert_eq!(flexible.find("it costs $18."), Some("$18."));
        assert_eq!(flexible.find("none"), None);
        assert_eq!(matcher("a(b*)", -2).find("ab abb a"), Some("bb"));
        assert_eq!(matcher("a(b*)", 0).find("a"), Some(""));
        assert_eq!(matcher("[ab]+ ", 1).find("ab ba a"), Some("ba"));
        assert_eq!(matcher("a", 3).find("aa"), None);
        assert_eq!(matcher("a", -3).find("aa"), None);
    }

    #[test]
    fn both_sides_lose_what_is_ignored() {
        let strict = matcher("x", 0);
        let gold = "He has <<3*4=12>>12 eggs.\n#### 1,200";
        for answer in ["1200", "1,200", "$1200.", "#### 1200"] {
            assert!(strict.is_same(gold, answer), "{answer}");
        }
        for answer in ["1200.0", "12", "", "[invalid]"] {
            assert!(!strict.is_same(gold, answer), "{answer}");
        }
        assert!(strict.is_same("ABC", "abc"));
        let marks =
            Filtered { pattern: "x".into(), select: 0, ignore: vec![], ignore_case: false, ignore_punctuation: true };
        let marks = marks.compile().expect("a pattern");
        assert!(marks.is_same("(A)", "A.") && !marks.is_same("(A)", "a"));
    }
}
