//! Answers in words, and letters that name a choice.

use super::tokens;

/// A letter that names one of several choices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    /// In upper case.
    pub(super) letter: char,
    /// Written so that it cannot be a variable: `(C)`, `\text{C}`.
    pub(super) certain: bool,
}

/// Commands whose braces hold text or change a face.
const WRAPPERS: [&str; 10] = [
    "\\text", "\\textbf", "\\textit", "\\textrm", "\\mathrm", "\\mathbf", "\\mbox", "\\mathsf", "\\texttt", "\\boxed",
];

/// The text inside wrappers that cover all of it, and whether there was one that only prose has.
fn unwrapped(text: &str) -> (&str, bool) {
    let mut text = text.trim();
    let mut prose = false;
    loop {
        let before = text.len();
        text = text.trim_matches(['$', ' ', '*', '"', '`', '\n']).trim_end_matches('.');
        for (open, close) in [("\\(", "\\)"), ("\\[", "\\]")] {
            if let Some(inner) = text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close)) {
                text = inner;
            }
        }
        for wrapper in WRAPPERS {
            let inner = text.strip_prefix(wrapper).and_then(|rest| rest.trim_start().strip_prefix('{'));
            let covers = |inner: &&str| tokens::braced(&text[text.len() - inner.len() - 2..]).is_some_and(|(_, rest)| rest.is_empty());
            if let Some(inner) = inner.and_then(|rest| rest.strip_suffix('}')).filter(covers) {
                text = inner;
                prose |= wrapper.starts_with("\\t") || wrapper == "\\mbox" || wrapper.starts_with("\\math");
            }
        }
        if text.len() == before {
            return (text.trim(), prose);
        }
    }
}

/// Reads `C`, `(C)`, `C.`, `\text{(C)}`, `(C) 5 apples`, `option C`.
pub(super) fn choice(text: &str) -> Option<Choice> {
    let (text, prose) = unwrapped(text);
    let named = ["option ", "choice ", "answer "].into_iter().find_map(|word| {
        let start = text.get(..word.len())?;
        start.eq_ignore_ascii_case(word).then(|| &text[word.len()..])
    });
    let (inner, _) = unwrapped(named.unwrap_or(text));
    let bare = inner.trim_start_matches(['(', '[']);
    let opened = bare.len() < inner.len();
    let mut rest = bare.chars();
    let letter = rest.next()?;
    let rest = rest.as_str();
    let closed = rest.starts_with([')', ']', '.', ':']);
    let ends = rest.is_empty() || closed && (rest.len() == 1 || rest[1..].starts_with([' ', '\\', '$', '}', '.']));
    let fits = letter.is_ascii_alphabetic() && letter.to_ascii_uppercase() <= 'J';
    let certain = prose || named.is_some() || closed && !(opened && rest.len() > 1 && !rest[1..].starts_with([' ', '\\']));
    (fits && ends && (opened == rest.starts_with([')', ']']) || !opened))
        .then_some(Choice { letter: letter.to_ascii_uppercase(), certain })
}

/// Words in lower case with one space between them, where a text holds nothing else: letters, hyphens, apostrophes.
pub(super) fn words(text: &str) -> Option<String> {
    let (text, _) = unwrapped(text);
    let mut plain = text.replace("\\ ", " ").replace(['~', '\u{2010}', '\u{2011}'], " ").replace('\u{2019}', "'");
    for wrapper in WRAPPERS {
        if plain.contains(wrapper) {
            plain = plain.replace(wrapper, " ").replace(['{', '}'], " ");
        }
    }
    let plain = plain.replace(['-', ','], " ");
    let fits = plain.chars().all(|c| c.is_alphabetic() || c.is_whitespace() || matches!(c, '\'' | '.'));
    let words: Vec<String> =
        plain.split_whitespace().map(|word| word.trim_matches(['.', '\'']).to_lowercase()).filter(|w| !w.is_empty()).collect();
    (fits && !words.is_empty()).then(|| words.join(" "))
}

/// Whether words can only be prose: one of them is longer than a product of names would be, or was marked as text.
pub(super) fn is_prose(text: &str) -> bool {
    let marked = ["\\text", "\\mbox"].iter().any(|wrapper| text.contains(wrapper));
    words(text).is_some_and(|words| {
        let mathematical = |word: &str| {
            matches!(word, "pi" | "infinity" | "inf" | "oo" | "e" | "i" | "and" | "or" | "emptyset")
                || super::parse::is_name(word)
                || word.chars().count() == 1
                || super::numeral::spelled(word).is_some()
                || super::numeral::multiplier(word).is_some()
        };
        let all: Vec<&str> = words.split(' ').collect();
        !all.iter().all(|word| mathematical(word)) || marked && !all.iter().any(|word| word.len() == 1 || mathematical(word))
    })
}

/// Whether prose says that there is no answer.
pub(super) fn says_none(words: &str) -> bool {
    matches!(
        words,
        "none" | "no solution" | "no solutions" | "no real solution" | "no real solutions" | "empty set" | "the empty set"
            | "there are no solutions" | "no real roots" | "no roots"
    )
}

/// Whether two runs of letters are the same letters in another order: a product would be the same, a word would not.
pub(super) fn same_letters(a: &str, b: &str) -> bool {
    let sorted = |text: &str| {
        let mut letters: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
        letters.sort_unstable();
        letters
    };
    a.len() <= 6 && sorted(a) == sorted(b)
}

/// Whether words speak of a number: such prose may well say what a figure says.
pub(super) fn speaks_of_numbers(words: &str) -> bool {
    const COUNTS: [&str; 12] =
        ["no", "none", "all", "half", "both", "infinite", "infinitely", "once", "twice", "dozen", "third", "quarter"];
    words != "no" && words.split(' ').any(|word| COUNTS.contains(&word) || super::numeral::spelled(word).is_some())
}

/// Text without what differs between spellings of one notation: the last resort for what cannot be read.
pub(super) fn plain(text: &str) -> String {
    let (text, _) = unwrapped(text);
    let mut plain = text.to_owned();
    for (from, to) in [("\\dfrac", "\\frac"), ("\\tfrac", "\\frac")] {
        if plain.contains(from) {
            plain = plain.replace(from, to);
        }
    }
    for noise in ["\\left", "\\right", "\\,", "\\!", "\\;", "\\:", "\\ ", "\\$", "$"] {
        if plain.contains(noise) {
            plain = plain.replace(noise, "");
        }
    }
    // Space separates words and numbers; elsewhere it is layout.
    let mut spaced = String::with_capacity(plain.len());
    for part in plain.split_whitespace() {
        let joins = |side: Option<char>| side.is_some_and(char::is_alphanumeric);
        if joins(spaced.chars().last()) && joins(part.chars().next()) {
            spaced.push(' ');
        }
        spaced.push_str(part);
    }
    spaced
}
