//! Readers for the tests that share nothing with the generators: they see the text alone.

/// Evaluates whole numbers, `+ - * /` (exact), signs and parentheses; `None` where that is not what it is.
pub(super) fn value(text: &str) -> Option<i128> {
    let chars: Vec<char> = text.chars().collect();
    let mut at = 0;
    let value = sum(&chars, &mut at)?;
    (at == chars.len()).then_some(value)
}

fn sum(chars: &[char], at: &mut usize) -> Option<i128> {
    let mut value = product(chars, at)?;
    while let Some(&sign @ ('+' | '-')) = chars.get(*at) {
        *at += 1;
        let next = product(chars, at)?;
        value = if sign == '+' { value + next } else { value - next };
    }
    Some(value)
}

fn product(chars: &[char], at: &mut usize) -> Option<i128> {
    let mut value = atom(chars, at)?;
    while let Some(&sign @ ('*' | '/')) = chars.get(*at) {
        *at += 1;
        let next = atom(chars, at)?;
        if sign == '/' && (next == 0 || value % next != 0) {
            return None;
        }
        value = if sign == '*' { value * next } else { value / next };
    }
    Some(value)
}

fn atom(chars: &[char], at: &mut usize) -> Option<i128> {
    match chars.get(*at)? {
        '-' => {
            *at += 1;
            Some(-atom(chars, at)?)
        }
        '(' => {
            *at += 1;
            let value = sum(chars, at)?;
            (chars.get(*at) == Some(&')')).then(|| *at += 1)?;
            Some(value)
        }
        _ => {
            let start = *at;
            while chars.get(*at).is_some_and(char::is_ascii_digit) {
                *at += 1;
            }
            chars[start..*at].iter().collect::<String>().parse().ok()
        }
    }
}

/// The statements `left=right` of a line of a solution, words and lists left out.
pub(super) fn statements(line: &str) -> Vec<(String, String)> {
    let line = line.strip_prefix("Wait, ").unwrap_or(line);
    let line = line.split_once(": ").map_or(line, |(_, rest)| rest);
    line.split([',', ':', ' '])
        .filter_map(|piece| piece.split_once('='))
        .filter(|(left, _)| !left.contains(char::is_alphabetic))
        .map(|(left, right)| (left.to_string(), right.to_string()))
        .collect()
}

/// Whether every statement of the line holds.
pub(super) fn holds(line: &str) -> bool {
    statements(line).iter().all(|(left, right)| value(left).is_some() && value(left) == value(right))
}

/// The whole numbers of a text, in order.
pub(super) fn numbers(text: &str) -> Vec<i128> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|piece| piece.parse().ok()).collect()
}

/// The word of `prompt` that holds `mark`, without the full stop or question mark.
fn word(prompt: &str, mark: impl Fn(&str) -> bool) -> &str {
    prompt.split(' ').find(|word| mark(word)).unwrap().trim_end_matches(['.', '?'])
}

/// The expression that an arithmetic problem asks for.
pub(super) fn arithmetic(prompt: &str) -> &str {
    word(prompt, |word| word.contains(|c: char| c.is_ascii_digit()))
}

/// The two sides of an equation, each as (coefficient, constant).
pub(super) fn equation(prompt: &str) -> [(i128, i128); 2] {
    let text = word(prompt, |word| word.contains('='));
    let (left, right) = text.split_once('=').unwrap();
    [left, right].map(|side| {
        let (mut coefficient, mut constant) = (0, 0);
        let spaced = side.replace('+', " +").replace('-', " -");
        for term in spaced.split_whitespace() {
            match term.strip_suffix(|c: char| c.is_alphabetic()) {
                Some("" | "+") => coefficient += 1,
                Some("-") => coefficient -= 1,
                Some(number) => coefficient += number.parse::<i128>().unwrap(),
                None => constant += term.parse::<i128>().unwrap(),
            }
        }
        (coefficient, constant)
    })
}

/// A modular chain: modulus, start, operations.
pub(super) fn modular(prompt: &str) -> (i128, i128, Vec<(char, i128)>) {
    let all = numbers(prompt);
    let (modulus, mut rest) = match prompt.strip_prefix("Modulo") {
        Some(_) => (all[0], all[1..].to_vec()),
        None => (all[all.len() - 1], all[..all.len() - 1].to_vec()),
    };
    let start = rest.remove(0);
    let plain = prompt.replace("multiply by ", "*").replace("add ", "+").replace("subtract ", "-");
    let signs: Vec<char> = plain.chars().filter(|c| "+-*".contains(*c)).collect();
    assert_eq!(signs.len(), rest.len(), "{prompt}");
    (modulus, start, signs.into_iter().zip(rest).collect())
}

/// A countdown problem: its numbers, sorted, and its target.
pub(super) fn countdown(prompt: &str) -> (Vec<i128>, i128) {
    let list = word(prompt, |word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains(','));
    let mut given = numbers(list);
    given.sort_unstable();
    (given, numbers(&prompt.replace(list, ""))[0])
}

/// Tokens of a tokenizer with one token per digit, symbol and word, spaces belonging to words.
pub(super) fn tokens(text: &str) -> usize {
    let mut count = 0;
    let mut in_word = false;
    for c in text.chars() {
        if c.is_alphabetic() {
            count += usize::from(!in_word);
        } else {
            count += usize::from(c != ' ');
        }
        in_word = c.is_alphabetic();
    }
    count
}
