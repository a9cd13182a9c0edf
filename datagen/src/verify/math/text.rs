//! Answers in words, and letters that name a choice.

use super::compare::Outcome;
use super::numeral::Reading;
use super::tree::Node;
use super::{read, tokens};

/// What prose about numbers comes to.
pub(super) const OF_NUMBERS: Outcome = Outcome::Undecided("words that speak of numbers");

/// Compares choices and prose; `None` where neither side is either.
pub(super) fn compare(gold: &str, answer: &str) -> Option<Outcome> {
    if !gold.contains(char::is_alphabetic) && !answer.contains(char::is_alphabetic) {
        return None;
    }
    // Few questions have more options than ten, and variables have names like `x`.
    let choice = |text| choice(text).filter(|choice| choice.letter <= 'J');
    if let (Some(left), Some(right)) = (choice(gold), choice(answer))
        && (left.certain || right.certain)
    {
        let same = left.letter == right.letter;
        return Some(if same { Outcome::Equal("the same choice") } else { Outcome::NotEqual("another choice") });
    }
    let (prose_gold, prose_answer) = (is_prose(gold), is_prose(answer));
    if !prose_gold && !prose_answer {
        return None;
    }
    let empty = |text: &str| matches!(read(text, Reading::Usual), Ok((Node::Empty, _)));
    match (words(gold), words(answer)) {
        (Some(left), Some(right)) => {
            let (left, right) = (without_article(&left), without_article(&right));
            if left == right || says_none(left) && says_none(right) {
                return Some(Outcome::Equal("the same text"));
            }
            if let (Some(left), Some(right)) = (truth(left), truth(right)) {
                return Some(if left == right {
                    Outcome::Equal("the same answer")
                } else {
                    Outcome::NotEqual("the opposite")
                });
            }
            if abbreviates(left, right) || abbreviates(right, left) {
                return Some(Outcome::Equal("an abbreviation"));
            }
            // `xy` may be a product.
            let product = |text: &str| !text.contains(' ') && !text.is_empty();
            if same_letters(left, right) && product(left) && product(right) {
                return Some(Outcome::Undecided("the same letters in another order"));
            }
            if contains_words(left, right) {
                return Some(Outcome::Undecided("more words on one side"));
            }
            let numbers = speaks_of_numbers(left) || speaks_of_numbers(right);
            Some(if numbers { OF_NUMBERS } else { Outcome::NotEqual("another text") })
        }
        (Some(prose), None) | (None, Some(prose)) => {
            let other = if words(gold).is_some() { answer } else { gold };
            if says_none(&prose) {
                let same = Outcome::Equal("the same text");
                return Some(if empty(other) { same } else { OF_NUMBERS });
            }
            if truth(&prose).is_some() && matches!(other.trim(), "0" | "1") {
                return Some(Outcome::Undecided("a number for yes or no"));
            }
            // One run of letters may be a product that the other side spells with signs.
            let short = !prose.contains(' ') && prose.len() <= 4;
            if short || speaks_of_numbers(&prose) {
                return if short { None } else { Some(OF_NUMBERS) };
            }
            let shared = |word: &str| word.len() > 2 && other.to_lowercase().contains(word);
            if prose.split(' ').any(shared) {
                return Some(Outcome::Undecided("words with more than words"));
            }
            match read(other, Reading::Usual) {
                Ok(_) => Some(Outcome::NotEqual("words with a formula")),
                Err(_) => Some(Outcome::Undecided("words with something unreadable")),
            }
        }
        (None, None) => None,
    }
}

/// The letter of an option by which an answer is given, in upper case.
pub(super) fn option(text: &str) -> Option<char> {
    choice(text).map(|choice| choice.letter)
}

/// A letter that names one of several choices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Choice {
    /// In upper case.
    letter: char,
    /// Written so that it cannot be a variable: `(C)`, `\text{C}`.
    certain: bool,
}

/// Commands whose braces hold text or change a face.
const WRAPPERS: [&str; 10] =
    ["\\text", "\\textbf", "\\textit", "\\textrm", "\\mathrm", "\\mathbf", "\\mbox", "\\mathsf", "\\texttt", "\\boxed"];

/// The text inside wrappers that cover all of it, and whether there was one that only prose has.
pub(super) fn unwrapped(text: &str) -> (&str, bool) {
    let mut text = text.trim();
    let mut prose = false;
    loop {
        let before = text.len();
        text = text.trim_matches(['$', ' ', '*', '"', '`', '\n']);
        // A full stop says nothing, an ellipsis does.
        if !text.ends_with("...") {
            text = text.trim_end_matches('.');
        }
        for (open, close) in [("\\(", "\\)"), ("\\[", "\\]")] {
            if let Some(inner) = text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close)) {
                text = inner;
            }
        }
        for wrapper in WRAPPERS {
            let inner = text.strip_prefix(wrapper).and_then(|rest| rest.trim_start().strip_prefix('{'));
            let covers = |inner: &&str| {
                tokens::braced(&text[text.len() - inner.len() - 2..]).is_some_and(|(_, rest)| rest.is_empty())
            };
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

/// `(C) 17` of `\textbf{(C)}\ 17`: a wrapper at the start and what follows it.
fn headed(text: &str) -> Option<String> {
    WRAPPERS.iter().find_map(|wrapper| {
        let (head, rest) = tokens::braced(text.strip_prefix(wrapper)?.trim_start())?;
        Some(format!("{} {}", head.trim(), rest.trim_start()))
    })
}

/// Reads `C`, `(C)`, `C.`, `\text{(C)}`, `(C) 5 apples`, `\textbf{(C)}\ 5`, `option C`.
fn choice(text: &str) -> Option<Choice> {
    let (text, prose) = unwrapped(text);
    let headed = headed(text);
    let (text, prose) = (headed.as_deref().unwrap_or(text), prose || headed.is_some());
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
    let fits = letter.is_ascii_alphabetic();
    let certain =
        prose || named.is_some() || closed && !(opened && rest.len() > 1 && !rest[1..].starts_with([' ', '\\']));
    (fits && ends && (opened == rest.starts_with([')', ']']) || !opened) && !otherwise(rest))
        .then_some(Choice { letter: letter.to_ascii_uppercase(), certain })
}

/// Whether what follows a letter and its mark chooses something else: `(A) and (C)`, `(B) is not correct`.
fn otherwise(rest: &str) -> bool {
    let behind = rest.get(1..).unwrap_or("").replace("\\text{", " ").replace("\\textbf{", " ");
    let second = |part: &[u8]| part[0] == b'(' && part[1].is_ascii_uppercase() && part[2] == b')';
    let mut words = behind.split_whitespace();
    behind.as_bytes().windows(3).any(second)
        || match words.next() {
            Some("and" | "or" | "not" | "isn't") => true,
            Some("is" | "and/or") => {
                words.next().is_some_and(|word| ["not", "wrong", "incorrect", "false"].contains(&word))
            }
            _ => false,
        }
}

/// Words in lower case with one space between them, where a text holds nothing else: letters, hyphens, apostrophes.
fn words(text: &str) -> Option<String> {
    let (text, _) = unwrapped(text);
    let mut plain = text.replace("\\ ", " ").replace(['~', '\u{2010}', '\u{2011}'], " ").replace('\u{2019}', "'");
    for wrapper in WRAPPERS {
        if plain.contains(wrapper) {
            plain = plain.replace(wrapper, " ").replace(['{', '}'], " ");
        }
    }
    // A hyphen joins letters; in front of a word it is a sign.
    let letter = |next: Option<char>| next.is_some_and(char::is_alphabetic);
    if plain
        .match_indices('-')
        .any(|(at, _)| !letter(plain[..at].chars().next_back()) || !letter(plain[at + 1..].chars().next()))
    {
        return None;
    }
    let plain = plain.replace(['-', ','], " ");
    let fits = plain.chars().all(|c| c.is_alphabetic() || c.is_whitespace() || matches!(c, '\'' | '.'));
    let words: Vec<String> = plain
        .split_whitespace()
        .map(|word| word.trim_matches(['.', '\'']).to_lowercase())
        .filter(|w| !w.is_empty())
        .collect();
    (fits && !words.is_empty()).then(|| words.join(" "))
}

/// Words without the articles in front.
fn without_article(words: &str) -> &str {
    ["the ", "an ", "a "].into_iter().find_map(|article| words.strip_prefix(article)).unwrap_or(words)
}

/// Whether one text says all the words of the other: `Evelyn` and `Evelyn is the fastest`.
fn contains_words(one: &str, other: &str) -> bool {
    let all = |short: &str, long: &str| short.split(' ').all(|word| long.split(' ').any(|known| known == word));
    all(one, other) || all(other, one)
}

/// Whether words can only be prose: one of them is longer than a product of names would be, or was marked as text.
fn is_prose(text: &str) -> bool {
    let marked = ["\\text", "\\mbox"].iter().any(|wrapper| text.contains(wrapper));
    words(text).is_some_and(|words| {
        let mathematical = |word: &str| {
            matches!(
                word,
                "pi" | "infinity" | "inf" | "oo" | "e" | "i" | "and" | "or" | "emptyset" | "squared" | "cubed"
            ) || super::parse::is_name(word)
                || word.chars().count() == 1
                || super::spelled::spelled(word).is_some()
                || super::spelled::multiplier(word).is_some()
        };
        let all: Vec<&str> = words.split(' ').collect();
        !all.iter().all(|word| mathematical(word))
            || marked && !all.iter().any(|word| word.len() == 1 || mathematical(word))
    })
}

/// What is said of a statement.
fn truth(words: &str) -> Option<bool> {
    match words {
        "yes" | "true" => Some(true),
        "no" | "false" => Some(false),
        _ => None,
    }
}

pub(super) const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// Whether `short` is how the name of a day or a month is shortened: `tue`, `tues`, `sept`.
pub(super) fn abbreviates(short: &str, name: &str) -> bool {
    const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let name_of_either = DAYS.contains(&name) || MONTHS.contains(&name);
    let usual = short.len() == 3 || matches!(short, "tues" | "weds" | "thur" | "thurs" | "sept");
    name_of_either && usual && (name.starts_with(short) || short == "weds" && name == "wednesday")
}

/// Whether prose says that there is no answer.
fn says_none(words: &str) -> bool {
    matches!(
        words,
        "none"
            | "no solution"
            | "no solutions"
            | "no real solution"
            | "no real solutions"
            | "empty set"
            | "the empty set"
            | "there are no solutions"
            | "no real roots"
            | "no roots"
    )
}

/// Whether two runs of letters are the same letters in another order: a product would be the same, a word would not.
fn same_letters(a: &str, b: &str) -> bool {
    let sorted = |text: &str| {
        let mut letters: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
        letters.sort_unstable();
        letters
    };
    a.len() <= 6 && sorted(a) == sorted(b)
}

/// Whether words speak of a number: such prose may well say what a figure says.
fn speaks_of_numbers(words: &str) -> bool {
    const COUNTS: [&str; 9] = ["no", "none", "all", "both", "infinite", "infinitely", "once", "twice", "dozen"];
    let number = |word: &str| super::spelled::spelled(word).is_some() || super::spelled::part(word).is_some();
    words != "no" && words.split(' ').any(|word| COUNTS.contains(&word) || number(word))
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
