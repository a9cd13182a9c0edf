//! What words mean where they stand: functions, constants, letters, units, numbers that are spelled out.

use super::super::limits::Halt;
use super::super::spelled;
use super::super::tokens::{Kind, Token};
use super::super::tree::{Function, Node};
use super::super::units::{self, Unit};
use super::Parser;
use super::names::{changes_number, ends_term, function, greek};
use num_traits::One;

/// Letters side by side that may still be a product; more are a word.
const LONGEST_PRODUCT: usize = 4;

impl Parser {
    /// The word as it is from the letter on that was read last.
    fn rest_of_word(&self) -> Option<(&str, bool, bool)> {
        let Token { kind: Kind::Word(word), spaced, prose } = self.peek()? else { return None };
        Some((word.get(self.letter..)?, *spaced && self.letter == 0, *prose))
    }

    /// A factor that is a word and has a meaning only behind other factors: a unit, a multiplier, what is counted.
    pub(super) fn word_factor(&mut self, factors: &[Node]) -> Result<Option<Node>, Halt> {
        if let Some(unit) = self.micro(factors) {
            return Ok(Some(unit));
        }
        let Some((word, spaced, prose)) = self.rest_of_word() else { return Ok(None) };
        if self.letter > 0 || ends_term(word) {
            return Ok(None);
        }
        let lower = word.to_ascii_lowercase();
        let counted = factors.iter().all(|factor| !factor.any(|node| matches!(node, Node::Symbol(_))));
        let measured = factors.iter().any(|factor| factor.any(|node| matches!(node, Node::Unit(_))));
        let last = !matches!(self.ahead(1), Some(Kind::Sign('(' | '_' | '[')));
        if let Some(scale) = spelled::multiplier(&lower) {
            self.advance();
            return Ok(Some(Node::Number(scale)));
        }
        // `2 fifths`; quarters may be coins.
        if let ([Node::Number(count)], Some((divisor, several))) = (factors, spelled::part(&lower))
            && count.is_integer()
            && (several || count.is_one())
            && !lower.starts_with("quarter")
        {
            self.advance();
            return Ok(Some(Node::Quotient(Box::new(Node::integer(1)), Box::new(Node::integer(divisor)))));
        }
        if counted && ["square", "cubic", "sq", "cu"].contains(&lower.as_str()) {
            let power = if lower.starts_with('s') { 2 } else { 3 };
            if let Some(Kind::Word(next)) = self.ahead(1)
                && let Some(unit) = units::by_name(next, true)
            {
                self.at += 2;
                return Ok(Some(Node::Power(Box::new(Node::Unit(unit)), Box::new(Node::integer(power)))));
            }
        }
        // `5 m` has a unit, `5m` may have a variable.
        let over = match self.ahead(1) {
            Some(Kind::Sign('/')) => true,
            Some(Kind::Word(per)) => per == "per",
            _ => false,
        };
        let divided = over && matches!(self.ahead(2), Some(Kind::Word(below)) if units::by_name(below, true).is_some());
        let letters = prose || spaced && (self.ahead(1).is_none() || measured || divided);
        if counted
            && last
            && let Some((unit, length)) = self.unit(word, letters || measured || spaced && word.len() == 2)
        {
            self.at += length - 1;
            self.advance();
            let scale = if unit == Unit::Degree { self.temperature() } else { None };
            return Ok(Some(Node::Unit(scale.unwrap_or(unit))));
        }
        let next_prose =
            self.tokens.get(self.at + 1).is_some_and(|next| next.prose && matches!(next.kind, Kind::Word(_)));
        let noun = prose && (word.len() > 1 || next_prose)
            || spaced && measured && word == "of"
            || spaced && (word.len() > 3 || word.len() == 3 && word.contains(['a', 'e', 'i', 'o', 'u']));
        if counted && noun && last && function(word).is_none() && word != "pi" && !greek(word) && word != "sqrt" {
            return self.noun().map(Some);
        }
        Ok(None)
    }

    /// The unit that the word here begins, and how many tokens name it: `kilowatt-hours`, `fluid ounces`.
    fn unit(&self, word: &str, letters: bool) -> Option<(Unit, usize)> {
        let behind = if self.ahead(1) == Some(&Kind::Sign('-')) { 2 } else { 1 };
        let second = self.tokens.get(self.at + behind).filter(|next| next.spaced != (behind == 2));
        if let Some(Token { kind: Kind::Word(second), .. }) = second
            && word.len() > 1
            && let Some(unit) = units::by_name(&format!("{word} {second}"), letters)
        {
            return Some((unit, behind + 1));
        }
        units::by_name(word, letters).map(|unit| (unit, 1))
    }

    /// `\mu\text{m}` behind a number.
    fn micro(&mut self, factors: &[Node]) -> Option<Node> {
        let (Some("mu"), Some(Kind::Word(word)), [Node::Number(_)]) = (self.command(), self.ahead(1), factors) else {
            return None;
        };
        let prose = self.tokens.get(self.at + 1).is_some_and(|next| next.prose);
        let unit = units::by_name(&format!("µ{word}"), true).filter(|_| prose)?;
        self.at += 2;
        Some(Node::Unit(unit))
    }

    /// All words from here on name what is counted.
    fn noun(&mut self) -> Result<Node, Halt> {
        let mut words = Vec::new();
        while let Some(Kind::Word(word)) = self.kind()
            && !ends_term(word)
        {
            words.push(word.to_lowercase());
            self.advance();
        }
        if words.iter().any(|word| changes_number(word)) {
            return Err(Halt::Unreadable("words that change the number"));
        }
        Ok(Node::Unit(Unit::Noun(words.join(" "))))
    }

    /// One letter of a word, as a name or a constant.
    pub(super) fn letter(&mut self) -> Result<Node, Halt> {
        let Some((rest, _, prose)) = self.rest_of_word() else { return Err(Halt::Unreadable("a letter is missing")) };
        let Some(letter) = rest.chars().next() else { return Err(Halt::Unreadable("a letter is missing")) };
        let length = letter.len_utf8();
        if rest.len() == length {
            self.advance();
        } else {
            self.letter += length;
        }
        Ok(match letter {
            'i' if !prose => Node::Imaginary,
            'e' => Node::Euler,
            'µ' => Node::Symbol("mu".to_owned()),
            _ => Node::Symbol(letter.to_string()),
        })
    }

    /// A factor that begins with a word.
    pub(super) fn word(&mut self) -> Result<Node, Halt> {
        let Some((word, _, prose)) = self.rest_of_word() else { return Err(Halt::Unreadable("a word is missing")) };
        let whole = self.letter == 0;
        let word = word.to_owned();
        let opens = matches!(self.ahead(1), Some(Kind::Sign('(')));
        if whole
            && matches!(self.ahead(1), Some(Kind::Number(_)))
            && let Some(currency) = units::by_code(&word)
        {
            return self.deeper(|parser| parser.amount(currency));
        }
        if whole && word == "US" && self.ahead(1) == Some(&Kind::Sign('$')) {
            self.advance();
            return self.primary();
        }
        if let Some(function) = function(&word).filter(|_| word.len() > 2 || whole) {
            self.advance();
            return self.deeper(|parser| parser.apply(function, &word));
        }
        match word.as_str() {
            "pi" | "Pi" => {
                self.advance();
                return Ok(Node::Pi);
            }
            "sqrt" | "cbrt" => {
                self.advance();
                return self.deeper(|parser| parser.after_command(&word));
            }
            "infinity" | "inf" | "oo" | "Infinity" => {
                self.advance();
                return Ok(Node::Infinity);
            }
            "f" | "g" if opens => {
                self.advance();
                let argument = self.primary()?;
                return Ok(Node::Opaque(word, vec![argument]));
            }
            _ if greek(&word) => {
                self.advance();
                return Ok(Node::Symbol(word));
            }
            _ => {}
        }
        // `sinx`
        for name in ["arcsin", "arccos", "arctan", "sin", "cos", "tan", "cot", "ln", "log"] {
            if let (Some(rest), Some(function)) = (word.strip_prefix(name), function(name))
                && !prose
                && rest.len() == 1
            {
                self.letter += name.len();
                return self.deeper(|parser| parser.apply(function, name));
            }
        }
        if whole && let Some(number) = self.spelled() {
            return Ok(number);
        }
        // A name of several letters on the left of `=`, or in words.
        let named = matches!(self.ahead(1), Some(Kind::Sign('=')));
        if whole && word.len() > 1 && (prose || named && word.len() > 2) {
            self.advance();
            return Ok(Node::Symbol(word.to_lowercase()));
        }
        if whole && word.len() > LONGEST_PRODUCT {
            return Err(Halt::Unreadable("a word"));
        }
        self.letter()
    }

    /// A number in words that begins here: `twenty-one`, `two fifths`.
    fn spelled(&mut self) -> Option<Node> {
        let (mut words, mut ends) = (Vec::new(), Vec::new());
        let mut at = self.at;
        while let Some(Token { kind: Kind::Word(word), .. }) = self.tokens.get(at) {
            words.push(word.to_ascii_lowercase());
            at += 1;
            ends.push(at);
            let hyphen = self.tokens.get(at).is_some_and(|next| next.kind == Kind::Sign('-') && !next.spaced);
            if hyphen && self.tokens.get(at + 1).is_some_and(|next| !next.spaced) {
                at += 1;
            }
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (value, length) = spelled::number(&words)?;
        self.at = *ends.get(length.checked_sub(1)?)?;
        Some(Node::Number(value))
    }

    /// Applies a function to what follows its name: `\sin^2 x`, `\log_2 8`, `f(x)`.
    pub(super) fn apply(&mut self, function: Function, name: &str) -> Result<Node, Halt> {
        let mut base = None;
        let mut exponent = None;
        loop {
            if self.is_sign('_') && base.is_none() {
                self.advance();
                base = Some(self.argument_or_number()?);
            } else if self.is_sign('^') && exponent.is_none() {
                self.advance();
                exponent = Some(self.argument_or_number()?);
            } else {
                break;
            }
        }
        let mut arguments = match self.kind() {
            Some(Kind::Sign('(')) => match self.primary()? {
                Node::Group('(', items, ')') => items,
                single => vec![single],
            },
            _ => vec![self.bare_argument()?],
        };
        let inverse = exponent == Some(Node::Negative(Box::new(Node::integer(1))));
        let function = match function {
            Function::Sin if inverse => Function::Arcsin,
            Function::Cos if inverse => Function::Arccos,
            Function::Tan if inverse => Function::Arctan,
            function => function,
        };
        if function == Function::Log {
            let base = base.unwrap_or_else(|| Node::integer(if name == "lg" || name == "log" { 10 } else { 0 }));
            arguments.insert(0, base);
        }
        let several = matches!(function, Function::Gcd | Function::Lcm | Function::Min | Function::Max);
        if !several && arguments.len() != 1 + usize::from(function == Function::Log) {
            return Err(Halt::Unreadable("a function with other arguments"));
        }
        let applied = Node::Call(function, arguments);
        Ok(match exponent {
            Some(exponent) if !inverse => Node::Power(Box::new(applied), Box::new(exponent)),
            _ => applied,
        })
    }

    pub(super) fn argument_or_number(&mut self) -> Result<Node, Halt> {
        match self.kind() {
            Some(Kind::Word(_)) => self.letter(),
            Some(Kind::Sign('-')) => self.signed_factor(),
            _ => self.primary(),
        }
    }

    /// The argument of a function without brackets: factors side by side, up to a sign or another function.
    fn bare_argument(&mut self) -> Result<Node, Halt> {
        let mut factors = vec![self.signed_factor()?];
        while self.starts_factor(&factors)
            && self.command().is_none_or(|name| function(name).is_none())
            && !matches!(self.kind(), Some(Kind::Word(word)) if function(word).is_some() || word.len() > 2)
            && !self.is_sign('(')
        {
            factors.push(self.factor()?);
        }
        // `cos pi/4`
        if self.is_sign('/') && matches!(factors.last(), Some(Node::Pi)) {
            self.advance();
            let below = self.factor()?;
            let above = super::product(factors);
            return Ok(Node::Quotient(Box::new(above), Box::new(below)));
        }
        // `\sin 30 degrees`
        if let Some(unit) = self.word_factor(&factors)? {
            factors.push(unit);
        }
        Ok(super::product(factors))
    }
}
