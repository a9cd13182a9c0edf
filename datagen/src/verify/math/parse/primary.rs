//! The innermost level: numbers, brackets, commands with arguments, and what is written behind them.

use super::super::limits::{Halt, Rational};
use super::super::numeral;
use super::super::spelled;
use super::super::tokens::{Kind, Token};
use super::super::tree::{Function, Node};
use super::super::units::{self, Unit};
use super::names::{function, greek, named_set};
use super::{Parser, call, geometry};
use num_traits::{One, Signed, ToPrimitive, Zero};

const DEGREE: [&str; 2] = ["circ", "degree"];

/// Whether a command can begin a factor.
pub(super) fn starts(name: &str) -> bool {
    const OTHERS: [&str; 28] = [
        "frac",
        "dfrac",
        "tfrac",
        "cfrac",
        "sqrt",
        "cbrt",
        "binom",
        "dbinom",
        "tbinom",
        "pi",
        "infty",
        "emptyset",
        "varnothing",
        "lfloor",
        "lceil",
        "lvert",
        "langle",
        "sum",
        "prod",
        "int",
        "lim",
        "ldots",
        "cdots",
        "dots",
        "displaylimits",
        "pmod",
        "bmod",
        "mod",
    ];
    OTHERS.contains(&name)
        || geometry::is_figure(name)
        || function(name).is_some()
        || greek(name)
        || named_set(name).is_some()
}

impl Parser {
    /// A primary with its marks: powers, `!`, `%`, degrees, currencies.
    pub(super) fn factor(&mut self) -> Result<Node, Halt> {
        let node = self.primary()?;
        self.marked(node)
    }

    /// A node with what is written behind it.
    pub(super) fn marked(&mut self, mut node: Node) -> Result<Node, Halt> {
        loop {
            self.count()?;
            node = if self.is_sign('^') {
                self.advance();
                self.power(node)?
            } else if self.take_command(&DEGREE) {
                self.degree(node)
            } else if self.is_sign('_') {
                self.advance();
                self.subscript(node)?
            } else if self.is_sign('!') && self.ahead(1) != Some(&Kind::Sign('=')) {
                self.factorial(node)?
            } else if self.is_sign('%') || self.is_word("percent") {
                self.advance();
                Node::Percent(Box::new(node))
            } else if let Some(exponent) = self.spelled_power() {
                self.advance();
                Node::Power(Box::new(node), Box::new(Node::integer(exponent)))
            } else if let Some(Kind::Sign('\'')) = self.kind() {
                self.advance();
                match node {
                    Node::Symbol(name) => Node::Symbol(name + "'"),
                    _ => return Err(Halt::Unreadable("a prime")),
                }
            } else if let Some(unit) = self.currency() {
                self.advance();
                Node::Product(vec![node, Node::Unit(unit)])
            } else {
                return Ok(node);
            };
            // Every mark behind a factor makes the tree one level deeper.
            self.nodes += super::MAX_NODES / super::MAX_DEPTH;
        }
    }

    /// `5!` and `5!!`, which is no factorial of a factorial.
    fn factorial(&mut self, node: Node) -> Result<Node, Halt> {
        let mut marks = 0;
        while self.is_sign('!') && self.ahead(1) != Some(&Kind::Sign('=')) {
            self.advance();
            marks += 1;
        }
        match marks {
            1 => Ok(call(Function::Factorial, node)),
            2 => Ok(call(Function::DoubleFactorial, node)),
            _ => Err(Halt::Unreadable("a factorial of many steps")),
        }
    }

    /// `5 squared`, `metres cubed`.
    fn spelled_power(&self) -> Option<i64> {
        match self.kind() {
            Some(Kind::Word(word)) if self.letter == 0 && word == "squared" => Some(2),
            Some(Kind::Word(word)) if self.letter == 0 && word == "cubed" => Some(3),
            _ => None,
        }
    }

    fn currency(&self) -> Option<Unit> {
        match self.kind() {
            Some(&Kind::Sign(sign)) => units::by_currency(sign),
            _ => None,
        }
    }

    fn power(&mut self, base: Node) -> Result<Node, Halt> {
        if self.take_command(&DEGREE) {
            return Ok(self.degree(base));
        }
        if self.is_sign('{') && matches!(self.ahead(1), Some(Kind::Command(name)) if DEGREE.contains(&name.as_str())) {
            self.at += 2;
            let degree = self.degree(base);
            return if self.take_sign('}') { Ok(degree) } else { Err(Halt::Unreadable("a degree")) };
        }
        // `12^{\text{th}}`: the ending of an ordinal says nothing.
        let braced = usize::from(self.is_sign('{'));
        if let Some(Kind::Word(word)) = self.ahead(braced)
            && ["st", "nd", "rd", "th"].contains(&word.as_str())
            && matches!(base, Node::Number(_))
        {
            self.at += 1 + 2 * braced;
            return Ok(base);
        }
        let exponent = self.deeper(|parser| match parser.kind() {
            Some(Kind::Sign('{')) => parser.primary(),
            Some(Kind::Word(_)) => parser.letter(),
            Some(Kind::Command(name)) if name == "prime" => Err(Halt::Unreadable("a prime")),
            Some(Kind::Sign('-' | '+')) => parser.signed_factor(),
            // `2^3^2` is 2^9.
            _ => {
                let inner = parser.primary()?;
                if parser.take_sign('^') { parser.power(inner) } else { Ok(inner) }
            }
        })?;
        Ok(Node::Power(Box::new(base), Box::new(exponent)))
    }

    /// `90^\circ`, and the scale that may follow.
    fn degree(&mut self, node: Node) -> Node {
        let scale = self.temperature().unwrap_or(Unit::Degree);
        Node::Product(vec![node, Node::Unit(scale)])
    }

    /// The scale that follows the word or sign for degrees.
    pub(super) fn temperature(&mut self) -> Option<Unit> {
        let Some(Kind::Word(word)) = self.kind() else { return None };
        let scale = match word.as_str() {
            "C" => "celsius",
            "F" => "fahrenheit",
            scale if scale.eq_ignore_ascii_case("celsius") || scale.eq_ignore_ascii_case("fahrenheit") => scale,
            _ => return None,
        };
        let scale = units::by_name(scale, false);
        self.advance();
        scale
    }

    /// `x_1` is a name, `52_8` a number in base 8.
    fn subscript(&mut self, node: Node) -> Result<Node, Halt> {
        let mark = self.deeper(|parser| match parser.kind() {
            Some(Kind::Word(word)) if !parser.tokens[parser.at].prose && spelled::spelled(word).is_none() => {
                parser.letter()
            }
            _ => parser.primary(),
        })?;
        Self::subscripted(node, mark)
    }

    fn subscripted(node: Node, mark: Node) -> Result<Node, Halt> {
        match (node, mark) {
            (Node::Number(digits), Node::Number(base)) => {
                let base = base.to_integer().to_u32().unwrap_or(0);
                let whole = digits.is_integer() && !digits.is_negative();
                let value = if whole { numeral::in_base(&digits.to_integer().to_string(), base)? } else { None };
                value.map(Node::Number).ok_or(Halt::Unreadable("digits of another base"))
            }
            (Node::Symbol(name), mark) => {
                let mark = match mark {
                    Node::Number(number) => number.to_string(),
                    Node::Symbol(mark) => mark,
                    Node::Imaginary => "i".into(),
                    Node::Euler => "e".into(),
                    _ => return Err(Halt::Unreadable("a subscript")),
                };
                Ok(Node::Symbol(format!("{name}_{mark}")))
            }
            // The mark belongs to the letter under the arrow or hat.
            (Node::Opaque(figure, mut letter), mark) if letter.len() == 1 && geometry::is_figure(&figure) => {
                let letter = letter.pop().ok_or(Halt::Unreadable("a subscript"))?;
                Ok(Node::Opaque(figure, vec![Self::subscripted(letter, mark)?]))
            }
            _ => Err(Halt::Unreadable("a subscript")),
        }
    }

    pub(super) fn primary(&mut self) -> Result<Node, Halt> {
        let Some(Token { kind, .. }) = self.peek() else { return Err(Halt::Unreadable("the end comes too early")) };
        match kind {
            Kind::Number(value) => {
                let value = value.clone();
                self.advance();
                Ok(self.mixed(value))
            }
            Kind::Word(_) => self.word(),
            Kind::Command(name) => {
                let name = name.clone();
                self.advance();
                self.deeper(|parser| parser.after_command(&name))
            }
            Kind::Begin(_) => self.deeper(Self::matrix),
            Kind::End(_) => Err(Halt::Unreadable("an end without a begin")),
            &Kind::Sign(sign) => self.deeper(|parser| parser.bracket(sign)),
        }
    }

    fn bracket(&mut self, sign: char) -> Result<Node, Halt> {
        if let Some(unit) = units::by_currency(sign) {
            return self.amount(unit);
        }
        self.advance();
        match sign {
            '|' => {
                self.bars += 1;
                let inner = self.sum();
                self.bars -= 1;
                let inner = inner?;
                if self.take_sign('|') { Ok(call(Function::Abs, inner)) } else { Err(Halt::Unreadable("a bar")) }
            }
            '(' | '[' | '{' | '⦃' => {
                // Bars inside a bracket are pairs of their own.
                let bars = std::mem::take(&mut self.bars);
                let builder = std::mem::replace(&mut self.builder, sign == '⦃');
                let node = self.inside(sign);
                self.bars = bars;
                self.builder = builder;
                node
            }
            _ => Err(Halt::Unreadable("an unexpected sign")),
        }
    }

    /// What stands behind the sign or the code of a currency.
    pub(super) fn amount(&mut self, currency: Unit) -> Result<Node, Halt> {
        self.advance();
        let amount = self.signed_factor()?;
        Ok(Node::Product(vec![amount, Node::Unit(currency)]))
    }

    fn inside(&mut self, open: char) -> Result<Node, Halt> {
        let closes = |sign: char| match open {
            '(' | '[' => sign == ')' || sign == ']',
            '{' => sign == '}',
            _ => sign == '⦄',
        };
        if let Some(&Kind::Sign(sign)) = self.kind()
            && closes(sign)
        {
            self.advance();
            return if sign == '⦄' { Ok(Node::Empty) } else { Err(Halt::Unreadable("empty brackets")) };
        }
        let (mut items, _) = self.items()?;
        if open == '⦃' && items.len() == 1 && (self.is_sign('|') || self.is_sign(':') || self.command() == Some("mid"))
        {
            self.advance();
            self.builder = false;
            let condition = self.list()?;
            return match (items.pop(), self.take_sign('⦄')) {
                (Some(item), true) => Ok(Node::SetBuilder(Box::new(item), Box::new(condition))),
                _ => Err(Halt::Unreadable("a set")),
            };
        }
        let close = match self.kind() {
            Some(&Kind::Sign(sign)) if closes(sign) => sign,
            _ => return Err(Halt::Unreadable("a bracket that does not close")),
        };
        self.advance();
        let single = items.len() == 1;
        Ok(match (open, close) {
            ('(', ')') | ('[', ']') | ('{', '}') if single => items.pop().ok_or(Halt::Unreadable("nothing"))?,
            ('{', _) | ('⦃', _) => Node::Set(items),
            _ => Node::Group(open, items, close),
        })
    }

    /// `1\frac{4}{5}` and `1 4/5`: a whole number with a proper fraction behind it is a sum.
    fn mixed(&mut self, whole: Rational) -> Node {
        let fraction = if whole.is_integer() && !whole.is_zero() { self.proper_fraction() } else { None };
        match fraction {
            Some((part, end)) => {
                self.at = end;
                Node::Number(whole + part)
            }
            None => Node::Number(whole),
        }
    }

    /// The value of the fraction of two literals that follows, and where it ends.
    fn proper_fraction(&self) -> Option<(Rational, usize)> {
        let number = |at: usize| match &self.tokens.get(at)?.kind {
            Kind::Number(value) if value.is_integer() => Some(value.clone()),
            _ => None,
        };
        let braced = |at: usize| {
            let sign = |at: usize, sign: char| self.tokens.get(at).is_some_and(|token| token.kind == Kind::Sign(sign));
            (sign(at, '{') && sign(at + 2, '}')).then(|| number(at + 1)).flatten().map(|value| (value, at + 3))
        };
        let (above, below, end) = match self.kind()? {
            Kind::Command(name) if ["frac", "dfrac", "tfrac"].contains(&name.as_str()) => {
                if let Some((above, next)) = braced(self.at + 1) {
                    let (below, end) = braced(next).or_else(|| Some((number(next)?, next + 1)))?;
                    (above, below, end)
                } else {
                    // `\frac12` is one token of two digits.
                    let both = number(self.at + 1)?.to_integer().to_u32()?;
                    let whole = |value: u32| Rational::from_integer(value.into());
                    match braced(self.at + 2) {
                        Some((below, end)) if both < 10 => (whole(both), below, end),
                        None if (10..100).contains(&both) => (whole(both / 10), whole(both % 10), self.at + 2),
                        _ => return None,
                    }
                }
            }
            Kind::Number(_) if self.peek()?.spaced && self.ahead(1) == Some(&Kind::Sign('/')) => {
                (number(self.at)?, number(self.at + 2)?, self.at + 3)
            }
            _ => return None,
        };
        (above.is_positive() && above < below).then(|| (above / below, end))
    }

    /// An argument of a command: braces, or one digit, letter or command.
    pub(super) fn argument(&mut self) -> Result<Node, Halt> {
        match self.kind() {
            Some(Kind::Number(value)) if value.is_integer() => {
                let digits = value.to_integer().to_string();
                let (first, rest) = digits.split_at(1);
                let first = numeral::in_base(first, 10)?.unwrap_or_else(Rational::one);
                match numeral::in_base(rest, 10)? {
                    Some(rest) => self.tokens[self.at].kind = Kind::Number(rest),
                    None => self.advance(),
                }
                Ok(Node::Number(first))
            }
            Some(Kind::Word(_)) => self.letter(),
            _ => self.primary(),
        }
    }
}
