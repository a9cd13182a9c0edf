//! What counts as the same text, and texts as sequences of words.
//!
//! Two normalisations. [`same_text`] is for exact duplicates and careful: case and whitespace do not count, all else
//! does, for `(2+3)*4` is not `2+3*4`. [`words`] is for overlap and generous: a word is a run of letters and digits in
//! lower case, a number with its decimal point and without its grouping commas, one ideograph, or one sign that carries
//! meaning (`+ - * / = < > ^ %` and their Unicode twins); all other signs only part words, as does a hyphen between letters.

/// The name of all texts that differ in case and whitespace alone: 128 bits of blake3.
pub(super) fn same_text<'a>(parts: impl IntoIterator<Item = &'a str>) -> u128 {
    let mut hasher = blake3::Hasher::new_derive_key("retort same text v1");
    let mut text = String::new();
    for part in parts {
        text.clear();
        for word in part.split_whitespace() {
            text.extend(word.chars().flat_map(char::to_lowercase));
            text.push(' ');
        }
        // No part can be continued by the next one.
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }
    let mut name = [0; 16];
    name.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    u128::from_le_bytes(name)
}

/// The words of a text, each as a hash of 64 bits.
pub(super) fn words(text: &str) -> Vec<u64> {
    let mut words = Vec::with_capacity(text.len() / 5);
    let mut open: Option<u64> = None;
    let mut before = ' ';
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        let after = rest.clone().next().unwrap_or(' ');
        let inside_number = before.is_ascii_digit() && after.is_ascii_digit();
        let sign = match character {
            '+' | '*' | '/' | '=' | '<' | '>' | '^' | '%' | '≤' | '≥' | '≠' | '±' | '√' => Some(character),
            '-' | '−' if !(before.is_alphabetic() && after.is_alphabetic()) => Some('-'),
            '×' | '·' => Some('*'),
            '÷' => Some('/'),
            _ => None,
        };
        if let Some(sign) = sign {
            words.extend(open.take().map(mix));
            words.push(mix(begin(sign)));
        } else if is_ideograph(character) {
            words.extend(open.take().map(mix));
            words.push(mix(begin(character)));
        } else if character.is_alphanumeric() || (character == '.' && inside_number) {
            if character.is_ascii() {
                let character = character.to_ascii_lowercase();
                open = Some(open.map_or_else(|| begin(character), |word| grow(word, character)));
            } else {
                for character in character.to_lowercase() {
                    open = Some(open.map_or_else(|| begin(character), |word| grow(word, character)));
                }
            }
        } else if !(character == ',' && inside_number && groups_digits(rest.as_str())) {
            words.extend(open.take().map(mix));
        }
        before = character;
    }
    words.extend(open.map(mix));
    words
}

/// Whether exactly three digits come next, as after the comma of `1,000`.
fn groups_digits(rest: &str) -> bool {
    rest.bytes().take_while(u8::is_ascii_digit).take(4).count() == 3
}

/// Written without spaces, so that every sign is a word.
fn is_ideograph(character: char) -> bool {
    matches!(character, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

fn begin(character: char) -> u64 {
    grow(0xcbf2_9ce4_8422_2325, character)
}

/// FNV-1a over code points.
fn grow(word: u64, character: char) -> u64 {
    (word ^ u64::from(u32::from(character))).wrapping_mul(0x0000_0100_0000_01b3)
}

/// The finaliser of SplitMix64 (Steele et al. 2014): every bit of the result depends on every bit of `x`.
pub(super) fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The hash of some words in a row.
pub(super) fn gram(words: &[u64]) -> u64 {
    words
        .iter()
        .fold(0x9e37_79b9_7f4a_7c15, |gram, word| mix(gram.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
