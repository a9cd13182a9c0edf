//! What words and commands mean: functions, constants, names, units, numbers that are spelled out.

use super::super::limits::Halt;
use super::super::numeral;
use super::super::tokens::{Kind, Token};
use super::super::tree::{Function, Node};
use super::super::units::{self, Unit};
use super::{Parser, call};
use num_traits::Zero;

/// Letters side by side that may still be a product; more are a word.
const LONGEST_PRODUCT: usize = 4;

pub(super) fn function(name: &str) -> Option<Function> {
    Some(match name {
        "sin" => Function::Sin,
        "cos" => Function::Cos,
        "tan" | "tg" => Function::Tan,
        "cot" => Function::Cot,
        "sec" => Function::Sec,
        "csc" => Function::Csc,
        "arcsin" | "asin" => Function::Arcsin,
        "arccos" | "acos" => Function::Arccos,
        "arctan" | "atan" => Function::Arctan,
        "sinh" => Function::Sinh,
        "cosh" => Function::Cosh,
        "tanh" => Function::Tanh,
        "exp" => Function::Exp,
        "ln" => Function::Ln,
        "log" | "lg" => Function::Log,
        "abs" => Function::Abs,
        "floor" => Function::Floor,
        "ceil" => Function::Ceil,
        "gcd" => Function::Gcd,
        "lcm" => Function::Lcm,
        "min" => Function::Min,
        "max" => Function::Max,
        _ => return None,
    })
}

pub(super) fn greek(name: &str) -> bool {
    const NAMES: [&str; 34] = [
        "alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta", "theta", "vartheta", "iota", "kappa",
        "lambda", "mu", "nu", "xi", "rho", "sigma", "tau", "upsilon", "phi", "varphi", "chi", "psi", "omega", "Gamma",
        "Delta", "Theta", "Lambda", "Xi", "Sigma", "Phi", "Psi", "Omega",
    ];
    NAMES.contains(&name) || name == "ell"
}

pub(super) fn named_set(name: &str) -> Option<char> {
    name.strip_prefix("mathbb").and_then(|letter| letter.chars().next())
}

/// Words that join what stands around them and are no factor.
pub(super) fn ends_term(word: &str) -> bool {
    matches!(word.to_ascii_lowercase().as_str(), "and" | "or" | "union" | "per")
}

impl Parser {
    /// The word as it is from the letter on that was read last.
    fn rest_of_word(&self) -> Option<(&str, bool, bool)> {
        let Token { kind: Kind::Word(word), spaced, prose } = self.peek()? else { return None };
        Some((word.get(self.letter..)?, *spaced && self.letter == 0, *prose))
    }

    /// A factor that is a word and has a meaning only behind other factors: a unit, a multiplier, what is counted.
    pub(super) fn word_factor(&mut self, factors: &[Node]) -> Result<Option<Node>, Halt> {
        let Some((word, spaced, prose)) = self.rest_of_word() else { return Ok(None) };
        if self.letter > 0 || ends_term(word) {
            return Ok(None);
        }
        let lower = word.to_ascii_lowercase();
        let counted = factors.iter().all(|factor| !factor.any(|node| matches!(node, Node::Symbol(_))));
        let measured = factors.iter().any(|factor| factor.any(|node| matches!(node, Node::Unit(_))));
        let last = !matches!(self.ahead(1), Some(Kind::Sign('(' | '_' | '[')));
        if let Some(scale) = numeral::multiplier(&lower) {
            self.advance();
            return Ok(Some(Node::Number(scale)));
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
        let divided = self.ahead(1) == Some(&Kind::Sign('/'))
            && matches!(self.ahead(2), Some(Kind::Word(below)) if units::by_name(below, true).is_some());
        let letters = prose || spaced && (self.ahead(1).is_none() || measured || divided);
        if counted && last && let Some(unit) = units::by_name(word, letters || measured) {
            self.advance();
            return Ok(Some(Node::Unit(unit)));
        }
        let next_prose = self.tokens.get(self.at + 1).is_some_and(|next| next.prose && matches!(next.kind, Kind::Word(_)));
        let noun = prose && (word.len() > 1 || next_prose)
            || spaced && (word.len() > 3 || word.len() == 3 && word.contains(['a', 'e', 'i', 'o', 'u']));
        if counted && noun && last && function(word).is_none() && word != "pi" && !greek(word) && word != "sqrt" {
            return Ok(Some(self.noun()));
        }
        Ok(None)
    }

    /// All words from here on name what is counted.
    fn noun(&mut self) -> Node {
        let mut words = Vec::new();
        while let Some(Kind::Word(word)) = self.kind()
            && !ends_term(word)
        {
            words.push(word.to_lowercase());
            self.advance();
        }
        Node::Unit(Unit::Noun(words.join(" ")))
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
            _ => Node::Symbol(letter.to_string()),
        })
    }

    /// A factor that begins with a word.
    pub(super) fn word(&mut self) -> Result<Node, Halt> {
        let Some((word, _, prose)) = self.rest_of_word() else { return Err(Halt::Unreadable("a word is missing")) };
        let whole = self.letter == 0;
        let word = word.to_owned();
        let opens = matches!(self.ahead(1), Some(Kind::Sign('(')));
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
        if let Some(value) = numeral::spelled(&word.to_ascii_lowercase()).filter(|_| whole) {
            self.advance();
            return Ok(Node::integer(value + self.spelled_unit(value)));
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

    /// The `-one` of `twenty-one`.
    fn spelled_unit(&mut self, tens: i64) -> i64 {
        let unit = match (self.kind(), self.ahead(1), self.tokens.get(self.at + 1)) {
            (Some(Kind::Sign('-')), Some(Kind::Word(word)), Some(token)) if tens >= 20 && !token.spaced => {
                numeral::spelled(&word.to_ascii_lowercase()).filter(|unit| (1..10).contains(unit))
            }
            _ => None,
        };
        if unit.is_some() {
            self.at += 2;
        }
        unit.unwrap_or(0)
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

    fn argument_or_number(&mut self) -> Result<Node, Halt> {
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
            && !self.command().is_some_and(|name| function(name).is_some())
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

    /// What a command stands for, with its arguments.
    pub(super) fn after_command(&mut self, name: &str) -> Result<Node, Halt> {
        if let Some(function) = function(name) {
            return self.apply(function, name);
        }
        if let Some(letter) = named_set(name) {
            return Ok(Node::NamedSet(letter));
        }
        Ok(match name {
            "frac" | "dfrac" | "tfrac" | "cfrac" => {
                let above = self.argument()?;
                Node::Quotient(Box::new(above), Box::new(self.argument()?))
            }
            "binom" | "dbinom" | "tbinom" => {
                let above = self.argument()?;
                Node::Call(Function::Binomial, vec![above, self.argument()?])
            }
            "sqrt" => {
                let degree = if self.is_sign('[') { self.primary()? } else { Node::integer(2) };
                Node::Root(Box::new(degree), Box::new(self.argument_or_number()?))
            }
            "cbrt" => Node::Root(Box::new(Node::integer(3)), Box::new(self.argument_or_number()?)),
            "pi" => Node::Pi,
            "infty" => Node::Infinity,
            "emptyset" | "varnothing" => Node::Empty,
            "lfloor" => self.enclosed("rfloor", Function::Floor)?,
            "lceil" => self.enclosed("rceil", Function::Ceil)?,
            "lvert" | "vert" => self.enclosed("rvert", Function::Abs)?,
            "langle" => {
                let (items, _) = self.items()?;
                if !self.take_command(&["rangle"]) {
                    return Err(Halt::Unreadable("an angle bracket"));
                }
                Node::Group('(', items, ')')
            }
            "sum" | "prod" | "int" | "lim" => self.opaque(name)?,
            "overline" | "bar" | "angle" | "triangle" | "overrightarrow" => {
                Node::Opaque(name.to_owned(), vec![self.primary()?])
            }
            "pmod" | "bmod" | "mod" => Node::Opaque("mod".to_owned(), vec![self.factor()?]),
            "ldots" | "cdots" | "dots" => Node::Opaque("dots".to_owned(), vec![]),
            _ if greek(name) => Node::Symbol(name.to_owned()),
            _ => return Err(Halt::Unreadable("an unknown command")),
        })
    }

    fn enclosed(&mut self, close: &str, function: Function) -> Result<Node, Halt> {
        let inner = self.sum()?;
        let closed = self.take_command(&[close, "vert"]);
        if closed { Ok(call(function, inner)) } else { Err(Halt::Unreadable("a bracket that does not close")) }
    }

    /// A sum, product, integral or limit with its bounds and its body, uncomputed.
    fn opaque(&mut self, name: &str) -> Result<Node, Halt> {
        let mut parts = Vec::new();
        while self.is_sign('_') || self.is_sign('^') {
            let upper = self.is_sign('^');
            self.advance();
            let bound = if self.is_sign('{') { self.primary()? } else { self.argument()? };
            // `\sum_a^b` and `\sum^b_a` are one.
            parts.insert(if upper { parts.len() } else { 0 }, bound);
        }
        parts.push(self.term()?);
        Ok(Node::Opaque(name.to_owned(), parts))
    }

    /// `\begin{pmatrix} ... \end{pmatrix}` and its kin.
    pub(super) fn matrix(&mut self) -> Result<Node, Halt> {
        const KINDS: [&str; 6] = ["pmatrix", "bmatrix", "Bmatrix", "matrix", "smallmatrix", "array"];
        let Some(Kind::Begin(name)) = self.kind() else { return Err(Halt::Unreadable("a matrix")) };
        if !KINDS.contains(&name.as_str()) {
            return Err(Halt::Unreadable("an environment"));
        }
        let name = name.clone();
        self.advance();
        let mut rows: Vec<Vec<Node>> = vec![Vec::new()];
        loop {
            if matches!(self.kind(), Some(Kind::End(end)) if *end == name) {
                self.advance();
                break;
            }
            if self.take_sign('\n') {
                rows.push(Vec::new());
                continue;
            }
            self.count()?;
            let cell = self.relation()?;
            if let Some(row) = rows.last_mut() {
                row.push(cell);
            }
            let ends = self.is_sign('\n') || matches!(self.kind(), Some(Kind::End(_)));
            if !ends && !self.take_sign('&') {
                return Err(Halt::Unreadable("a matrix"));
            }
        }
        rows.retain(|row| !row.is_empty());
        let width = rows.first().map_or(0, Vec::len);
        if width.is_zero() || rows.iter().any(|row| row.len() != width) {
            return Err(Halt::Unreadable("a matrix with uneven rows"));
        }
        Ok(Node::Matrix(rows))
    }
}

/// Whether a word of several letters has a meaning in mathematics.
pub(in super::super) fn is_name(word: &str) -> bool {
    function(word).is_some() || greek(word) || matches!(word, "sqrt" | "cbrt" | "union")
}
