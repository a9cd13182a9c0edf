//! Characters to tokens, for LaTeX and plain text alike. What only lays out (`\left`, `\,`, `$`) is gone afterwards.

use super::limits::{Halt, MAX_BYTES, MAX_DEPTH, Rational};
use super::numeral::{self, Reading};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Number(Rational),
    /// Letters side by side: a name, a product of letters, or prose.
    Word(String),
    /// `\name`, without what only lays out. Greek letters and other signs outside ASCII too, by their LaTeX names.
    Command(String),
    /// One character; set braces are `⦃` and `⦄`, a line break of a matrix is `\n`.
    Sign(char),
    Begin(String),
    End(String),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// White space stood before it.
    pub(super) spaced: bool,
    /// It stood inside `\text{...}` or the like.
    pub(super) prose: bool,
}

#[derive(Debug, Default)]
pub(super) struct Tokens {
    pub(super) list: Vec<Token>,
    /// A comma between digits could be read another way.
    pub(super) ambiguous: bool,
    /// `10,00`: an amount with cents, or a separator in the wrong place.
    pub(super) doubtful: bool,
}

/// Commands that change the look and not the meaning. `\left.` has a point that goes too.
const LAYOUT: [&str; 31] = [
    "left",
    "right",
    "big",
    "Big",
    "bigg",
    "Bigg",
    "bigl",
    "bigr",
    "Bigl",
    "Bigr",
    "biggl",
    "biggr",
    "Biggl",
    "Biggr",
    "displaystyle",
    "textstyle",
    "scriptstyle",
    "limits",
    "nolimits",
    "quad",
    "qquad",
    "thinspace",
    "enspace",
    "space",
    "rm",
    "bf",
    "it",
    "boldsymbol",
    "middle",
    "mathstrut",
    "strut",
];
/// Commands whose braces hold prose.
const PROSE: [&str; 11] =
    ["text", "textbf", "textit", "textrm", "textsf", "texttt", "mbox", "hbox", "textnormal", "emph", "textup"];
/// Commands whose braces hold names in another face; a single letter stays a variable.
const FACES: [&str; 8] = ["mathrm", "mathbf", "mathit", "mathsf", "mathtt", "mathnormal", "operatorname", "bm"];

pub(super) fn tokenize(text: &str, comma: Reading) -> Result<Tokens, Halt> {
    if text.len() > MAX_BYTES {
        return Err(Halt::TooLong);
    }
    let mut lexer = Lexer { rest: text, comma, out: Tokens::default(), depth: 0, braces: Vec::new(), spaced: false };
    // One dollar sign is money, several enclose mathematics.
    let dollars = text.bytes().filter(|&b| b == b'$').count() - text.matches("\\$").count();
    lexer.run(false, dollars == 1, 0)?;
    Ok(lexer.out)
}

struct Lexer<'a> {
    rest: &'a str,
    comma: Reading,
    out: Tokens,
    /// Open brackets.
    depth: usize,
    /// For each open brace whether it stands alone, as that of a plain set does, and not for an argument.
    braces: Vec<bool>,
    spaced: bool,
}

impl<'a> Lexer<'a> {
    fn push(&mut self, kind: Kind, prose: bool) {
        self.out.list.push(Token { kind, spaced: std::mem::take(&mut self.spaced), prose });
    }

    fn sign(&mut self, sign: char, prose: bool) {
        match sign {
            '(' | '[' | '⦃' => self.depth += 1,
            ')' | ']' | '⦄' => self.depth = self.depth.saturating_sub(1),
            '{' => {
                let argument = |last: &Token| {
                    matches!(last.kind, Kind::Command(_) | Kind::Number(_) | Kind::Sign('^' | '_' | '}' | ']'))
                };
                let alone = !self.out.list.last().is_some_and(argument);
                self.braces.push(alone);
                self.depth += usize::from(alone);
            }
            '}' => self.depth = self.depth.saturating_sub(usize::from(self.braces.pop().unwrap_or_default())),
            _ => {}
        }
        self.push(Kind::Sign(sign), prose);
    }

    fn run(&mut self, prose: bool, money: bool, nesting: usize) -> Result<(), Halt> {
        if nesting > MAX_DEPTH {
            return Err(Halt::TooDeep);
        }
        while let Some(next) = self.rest.chars().next() {
            // `Rs.12`
            if next == '.' && matches!(self.out.list.last(), Some(Token { kind: Kind::Word(word), .. }) if word == "Rs")
            {
                self.rest = &self.rest[1..];
                continue;
            }
            if next.is_ascii_alphanumeric() || next == '.' || next == ',' {
                let bracketed = self.depth > 0;
                let starts =
                    next.is_ascii_digit() || next == '.' || next.is_ascii_uppercase() || next.is_ascii_hexdigit();
                if starts && let Some(found) = numeral::read(self.rest, bracketed, self.comma)? {
                    self.rest = &self.rest[found.length..];
                    self.out.ambiguous |= found.ambiguous;
                    self.out.doubtful |= found.doubtful;
                    self.push(Kind::Number(found.value), prose);
                    continue;
                }
            }
            if next == '\\' {
                self.command(prose, money, nesting)?;
                continue;
            }
            // Behind a number and before a letter it is a prefix: `5 μm`.
            let micro = next == 'μ'
                && self.rest[next.len_utf8()..].starts_with(|c: char| c.is_ascii_alphabetic())
                && matches!(self.out.list.last(), Some(Token { kind: Kind::Number(_), .. }));
            if next.is_ascii_alphabetic() || micro || next.is_alphabetic() && unicode_command(next).is_none() {
                let letter = |c: char| c.is_alphabetic() && unicode_command(c).is_none();
                let from = next.len_utf8();
                let end = self.rest[from..].find(|c: char| !letter(c)).map_or(self.rest.len(), |at| from + at);
                let word = self.rest[..end].replace('μ', "µ");
                self.rest = &self.rest[end..];
                self.push(Kind::Word(word), prose);
                continue;
            }
            self.rest = &self.rest[next.len_utf8()..];
            match next {
                '~' => self.spaced = true,
                _ if next.is_whitespace() => self.spaced = true,
                '$' if !money => {}
                '`' | '"' | '\u{200b}' | '\u{feff}' => {}
                // A full stop; three are an ellipsis, one inside is nothing we know.
                '.' if self.rest.starts_with("..") => {
                    self.rest = &self.rest[2..];
                    self.push(Kind::Command("ldots".into()), prose);
                }
                '.' if self.rest.trim_end_matches([' ', '$', '.', '}', '\\', ')', ']', '*']).is_empty() => {}
                // `p.m.`
                '.' if matches!(self.out.list.last(), Some(Token { kind: Kind::Word(_), .. })) => {}
                '*' if self.rest.starts_with("**") || self.rest.is_empty() => {}
                '*' if self.rest.starts_with('*') => {
                    self.rest = &self.rest[1..];
                    self.sign('^', prose);
                }
                '²' | '³' | '⁴' | '⁵' | '⁶' | '⁷' | '⁸' | '⁹' | '¹' | '⁰' => {
                    let value = "⁰¹²³⁴⁵⁶⁷⁸⁹".chars().position(|c| c == next).unwrap_or(0);
                    self.sign('^', prose);
                    self.push(Kind::Number(Rational::from_integer(value.into())), prose);
                }
                '\u{2212}' | '–' | '—' => self.sign('-', prose),
                '\u{2044}' => self.sign('/', prose),
                _ => match (unicode_command(next), numeral::vulgar_fraction(next)) {
                    (Some(name), _) => self.push(Kind::Command(name.into()), prose),
                    (None, Some(part)) => match self.out.list.last_mut().map(|last| &mut last.kind) {
                        // `2½`
                        Some(Kind::Number(whole)) if whole.is_integer() => *whole += part,
                        _ => self.push(Kind::Number(part), prose),
                    },
                    (None, None) => self.sign(next, prose),
                },
            }
        }
        Ok(())
    }

    fn command(&mut self, prose: bool, money: bool, nesting: usize) -> Result<(), Halt> {
        let after = &self.rest[1..];
        let length = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        if length == 0 {
            let Some(sign) = after.chars().next() else {
                self.rest = "";
                return Ok(());
            };
            self.rest = &after[sign.len_utf8()..];
            match sign {
                '{' => self.sign('⦃', prose),
                '}' => self.sign('⦄', prose),
                '\\' => self.sign('\n', prose),
                '|' => self.sign('‖', prose),
                '$' | '%' | '&' | '#' | '_' => self.sign(sign, prose),
                // `\,` `\;` `\:` `\!` `\ `, and `\(` `\)` `\[` `\]`, which enclose mathematics.
                '!' => {}
                _ => self.spaced = true,
            }
            return Ok(());
        }
        let name = &after[..length];
        self.rest = &after[length..];
        let is = |list: &[&str]| list.contains(&name);
        if is(&PROSE) || is(&FACES) {
            let face = is(&FACES);
            return self.inside(|inner| !face || inner.trim().chars().count() > 1, money, nesting);
        }
        match name {
            "boxed" | "fbox" | "underline" => self.inside(|_| false, money, nesting)?,
            "textcolor" => {
                self.braces();
                self.inside(|_| false, money, nesting)?;
            }
            "pounds" | "textsterling" => self.sign('£', prose),
            "euro" | "texteuro" => self.sign('€', prose),
            "begin" | "end" => {
                let inner = self.braces().unwrap_or_default().trim().trim_end_matches('*').to_owned();
                if inner == "array" && name == "begin" {
                    self.braces();
                }
                self.push(if name == "begin" { Kind::Begin(inner) } else { Kind::End(inner) }, prose);
            }
            "mathbb" | "mathds" | "Bbb" => {
                let letter = self.braces().map(str::trim).and_then(|inner| inner.chars().next());
                let letter = letter.or_else(|| self.rest.trim_start().chars().next().filter(char::is_ascii_alphabetic));
                self.rest = self.rest.strip_prefix(|c: char| Some(c) == letter).unwrap_or(self.rest);
                self.push(Kind::Command(format!("mathbb{}", letter.unwrap_or(' '))), prose);
            }
            "hspace" | "vspace" | "phantom" | "color" | "tag" | "label" => {
                self.braces();
            }
            "lbrace" => self.sign('⦃', prose),
            "rbrace" => self.sign('⦄', prose),
            "lbrack" => self.sign('[', prose),
            "rbrack" => self.sign(']', prose),
            "lparen" => self.sign('(', prose),
            "rparen" => self.sign(')', prose),
            "left" | "right" => self.rest = self.rest.strip_prefix('.').unwrap_or(self.rest),
            _ if is(&LAYOUT) => self.spaced = true,
            "newline" | "cr" => self.sign('\n', prose),
            _ => self.push(Kind::Command(name.to_owned()), prose),
        }
        Ok(())
    }

    /// Takes `{content}`, or gives nothing and moves nowhere.
    fn braces(&mut self) -> Option<&'a str> {
        let (content, rest) = braced(self.rest.trim_start())?;
        self.rest = rest;
        Some(content)
    }

    /// Reads the braces after a command as part of the text.
    fn inside(&mut self, prose: impl Fn(&str) -> bool, money: bool, nesting: usize) -> Result<(), Halt> {
        let Some(content) = self.braces() else { return Ok(()) };
        let after = std::mem::replace(&mut self.rest, content);
        let prose = prose(content);
        self.run(prose, money, nesting + 1)?;
        self.rest = after;
        Ok(())
    }
}

/// Splits `{content}rest`, minding nested braces and escapes.
pub(super) fn braced(text: &str) -> Option<(&str, &str)> {
    if !text.starts_with('{') {
        return None;
    }
    let mut depth = 0usize;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return Some((&text[1..at], &text[at + 1..]));
                }
            }
            _ => {}
        }
    }
    None
}

/// The LaTeX name of a sign outside ASCII.
fn unicode_command(sign: char) -> Option<&'static str> {
    Some(match sign {
        'π' | '𝜋' => "pi",
        'θ' => "theta",
        'α' => "alpha",
        'β' => "beta",
        'γ' => "gamma",
        'δ' => "delta",
        'λ' => "lambda",
        'μ' => "mu",
        'φ' => "phi",
        'ω' => "omega",
        'σ' => "sigma",
        '√' => "sqrt",
        '∞' => "infty",
        '×' | '·' | '⋅' | '∙' | '✕' => "times",
        '÷' => "div",
        '±' => "pm",
        '∓' => "mp",
        '≤' | '⩽' => "le",
        '≥' | '⩾' => "ge",
        '≠' => "ne",
        '≈' => "approx",
        '∪' => "cup",
        '∩' => "cap",
        '∈' => "in",
        '∅' => "emptyset",
        'ℝ' => "mathbbR",
        'ℤ' => "mathbbZ",
        'ℕ' => "mathbbN",
        'ℚ' => "mathbbQ",
        '°' | '˚' | 'º' => "degree",
        '⌊' => "lfloor",
        '⌋' => "rfloor",
        '⌈' => "lceil",
        '⌉' => "rceil",
        '⟨' => "langle",
        '⟩' => "rangle",
        '∖' => "setminus",
        '∧' => "land",
        '∨' => "lor",
        '∠' => "angle",
        '△' => "triangle",
        '…' => "ldots",
        _ => return None,
    })
}
