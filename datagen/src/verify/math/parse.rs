//! Tokens to a tree: lists, relations, sets, sums, products. The innermost level is in `parse/primary.rs`, what words
//! mean in `parse/words.rs`.

mod commands;
mod geometry;
mod lists;
mod names;
mod primary;
mod words;

pub(super) use geometry::is_figure;
pub(super) use names::is_name;

use super::limits::{Halt, MAX_DEPTH, MAX_NODES};
use super::spelled;
use super::tokens::{Kind, Token};
use super::tree::{Function, Node, Order, SetOperation};
use super::units;

/// Reads a whole answer.
pub(super) fn parse(tokens: Vec<Token>) -> Result<Node, Halt> {
    let mut parser = Parser { tokens, at: 0, letter: 0, depth: 0, nodes: 0, bars: 0, builder: false };
    // `= 12` goes on from something that is not there.
    if parser.is_sign('=') || parser.command() == Some("approx") {
        parser.advance();
    }
    let node = parser.list()?;
    match parser.peek() {
        None => Ok(node),
        Some(_) => Err(Halt::Unreadable("something is left over")),
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    /// Letters of the current word that are read already.
    letter: usize,
    depth: usize,
    nodes: usize,
    /// Open `|`.
    bars: usize,
    /// Inside set braces, where `|` and `:` introduce a condition.
    builder: bool,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn kind(&self) -> Option<&Kind> {
        self.peek().map(|token| &token.kind)
    }

    fn ahead(&self, by: usize) -> Option<&Kind> {
        self.tokens.get(self.at + by).map(|token| &token.kind)
    }

    fn advance(&mut self) {
        self.at += 1;
        self.letter = 0;
    }

    fn is_sign(&self, sign: char) -> bool {
        self.kind() == Some(&Kind::Sign(sign))
    }

    fn take_sign(&mut self, sign: char) -> bool {
        let found = self.is_sign(sign);
        if found {
            self.advance();
        }
        found
    }

    fn command(&self) -> Option<&str> {
        match self.kind() {
            Some(Kind::Command(name)) => Some(name),
            _ => None,
        }
    }

    fn take_command(&mut self, names: &[&str]) -> bool {
        let found = self.command().is_some_and(|name| names.contains(&name));
        if found {
            self.advance();
        }
        found
    }

    /// Counts a node and a level around `read`.
    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Halt>) -> Result<T, Halt> {
        self.count()?;
        if self.depth >= MAX_DEPTH {
            return Err(Halt::TooDeep);
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn count(&mut self) -> Result<(), Halt> {
        self.nodes += 1;
        if self.nodes > MAX_NODES { Err(Halt::TooLarge) } else { Ok(()) }
    }

    /// `a = b`, `a < b <= c`, `x in S`.
    fn relation(&mut self) -> Result<Node, Halt> {
        self.deeper(|parser| {
            let first = parser.sets()?;
            let mut rest = Vec::new();
            while let Some(order) = parser.order() {
                rest.push((order, parser.sets()?));
            }
            Ok(related(first, rest))
        })
    }

    fn order(&mut self) -> Option<Order> {
        let order = match self.kind()? {
            Kind::Sign('=') => Order::Equal,
            Kind::Sign('<') => Order::Less,
            Kind::Sign('>') => Order::Greater,
            Kind::Sign('!') if self.ahead(1) == Some(&Kind::Sign('=')) => Order::NotEqual,
            Kind::Command(name) => match name.as_str() {
                "le" | "leq" | "leqslant" | "leqq" => Order::LessOrEqual,
                "ge" | "geq" | "geqslant" | "geqq" => Order::GreaterOrEqual,
                "lt" => Order::Less,
                "gt" => Order::Greater,
                "ne" | "neq" => Order::NotEqual,
                "in" => Order::In,
                "approx" | "simeq" | "sim" => Order::Approximately,
                _ => return None,
            },
            Kind::Word(word) if word == "in" && matches!(self.ahead(1), Some(Kind::Sign('(' | '['))) => Order::In,
            _ => return None,
        };
        self.advance();
        let equal = self.is_sign('=') && order != Order::In;
        if equal {
            self.advance();
        }
        Some(match order {
            Order::Less if equal => Order::LessOrEqual,
            Order::Greater if equal => Order::GreaterOrEqual,
            order => order,
        })
    }

    /// Unions, intersections and differences, from left to right.
    fn sets(&mut self) -> Result<Node, Halt> {
        let mut left = self.proportion()?;
        loop {
            let union = matches!(self.kind(), Some(Kind::Word(word)) if matches!(word.as_str(), "U" | "u" | "union"));
            let set = matches!(left, Node::Group(..) | Node::Operation(..) | Node::Set(_) | Node::NamedSet(_));
            let operation = match self.kind() {
                Some(Kind::Command(name)) => match name.as_str() {
                    "cup" | "bigcup" => SetOperation::Union,
                    "cap" => SetOperation::Intersection,
                    "setminus" | "backslash" | "smallsetminus" => SetOperation::Difference,
                    _ => return Ok(left),
                },
                Some(Kind::Word(_)) if union && set => SetOperation::Union,
                _ => return Ok(left),
            };
            self.count()?;
            self.advance();
            let right = self.proportion()?;
            left = Node::Operation(operation, Box::new(left), Box::new(right));
            // Every operation makes the tree one level deeper.
            self.nodes += MAX_NODES / MAX_DEPTH;
        }
    }

    fn proportion(&mut self) -> Result<Node, Halt> {
        let first = self.sum()?;
        if self.builder || !self.is_sign(':') {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.take_sign(':') {
            parts.push(self.sum()?);
        }
        Ok(Node::Proportion(parts))
    }

    fn sum(&mut self) -> Result<Node, Halt> {
        self.deeper(|parser| {
            let mut terms = Vec::new();
            loop {
                let mut negative = false;
                let mut signed = false;
                let mut either = None;
                loop {
                    if parser.is_sign('+') && matches!(parser.ahead(1), Some(Kind::Sign('-')))
                        || parser.is_sign('+')
                            && parser.ahead(1) == Some(&Kind::Sign('/'))
                            && parser.ahead(2) == Some(&Kind::Sign('-'))
                    {
                        // `+-` and `+/-` are the plain spellings of a plus-minus.
                        let plain = if parser.ahead(1) == Some(&Kind::Sign('/')) { 3 } else { 2 };
                        (0..plain).for_each(|_| parser.advance());
                        either = Some(true);
                    } else if parser.take_sign('-') || parser.take_negative() {
                        negative = !negative;
                    } else if parser.take_sign('+') {
                    } else if parser.take_command(&["pm"]) {
                        either = Some(true);
                    } else if parser.take_command(&["mp"]) {
                        either = Some(false);
                    } else {
                        break;
                    }
                    signed = true;
                }
                // `5 feet 3 inches` adds up without a sign.
                let compound = matches!(parser.kind(), Some(Kind::Number(_))) && terms.last().is_some_and(is_measure);
                if !terms.is_empty() && !signed && !compound {
                    break;
                }
                parser.count()?;
                let mut term = parser.term()?;
                if negative {
                    term = Node::Negative(Box::new(term));
                }
                terms.push(match either {
                    Some(plus) => Node::PlusMinus(plus, Box::new(term)),
                    None => term,
                });
            }
            Ok(match terms.len() {
                1 => terms.pop().ok_or(Halt::Unreadable("nothing"))?,
                _ => Node::Sum(terms),
            })
        })
    }

    /// Products and quotients, from left to right, written or silent.
    fn term(&mut self) -> Result<Node, Halt> {
        let mut factors = vec![self.factor()?];
        loop {
            let rate = self.rate(&factors);
            let divides = rate || self.is_sign('/') || matches!(self.command(), Some("div")) || self.parts();
            let times = self.is_sign('*')
                || matches!(self.command(), Some("times" | "cdot" | "ast" | "cdotp" | "bullet"))
                || self.is_word("times") && matches!(self.ahead(1), Some(Kind::Number(_)));
            if divides || times {
                let vectors = self.command() == Some("times")
                    && matches!(self.ahead(1), Some(Kind::Command(name)) if geometry::is_vector(name));
                self.advance();
                if self.is_word("of") {
                    self.advance();
                }
                if vectors {
                    // The product of vectors has an order.
                    let left = product(std::mem::take(&mut factors));
                    factors = vec![Node::Opaque("cross".to_owned(), vec![left, self.factor()?])];
                    continue;
                }
                let unit = if rate || factors.iter().any(is_measure) { self.word_factor(&factors)? } else { None };
                let factor = match unit {
                    Some(unit) => self.marked(unit)?,
                    None => self.signed_factor()?,
                };
                if divides {
                    let above = product(std::mem::take(&mut factors));
                    self.nodes += MAX_NODES / MAX_DEPTH / 4;
                    self.count()?;
                    factors = vec![Node::Quotient(Box::new(above), Box::new(factor))];
                } else {
                    factors.push(factor);
                }
            } else if let Some(word) = self.word_factor(&factors)? {
                let word = self.marked(word)?;
                factors.push(word);
            } else if self.starts_factor(&factors) {
                let factor = self.factor()?;
                factors.push(factor);
            } else {
                return Ok(product(factors));
            }
            self.count()?;
        }
    }

    /// Whether `per week`, `a day` or `/hour` follows, where no letter can be meant.
    fn rate(&self, factors: &[Node]) -> bool {
        if !self.is_sign('/') && !self.is_word("a") && !self.is_word("an") {
            return self.is_word("per");
        }
        let unit = matches!(self.ahead(1), Some(Kind::Word(word))
            if word.len() > 2 && names::function(word).is_none() && units::by_name(word, false).is_some());
        unit && !factors.iter().any(|factor| factor.any(|node| matches!(node, Node::Symbol(_))))
    }

    /// Whether `out of` and a number follow.
    fn parts(&self) -> bool {
        let of = self.is_word("out") && matches!(self.ahead(1), Some(Kind::Word(of)) if of == "of");
        of && match self.ahead(2) {
            Some(Kind::Number(_)) => true,
            Some(Kind::Word(word)) => spelled::spelled(&word.to_lowercase()).is_some(),
            _ => false,
        }
    }

    /// A factor after a sign of multiplication or in an exponent, which may have a sign of its own.
    fn signed_factor(&mut self) -> Result<Node, Halt> {
        let mut negative = false;
        while self.is_sign('-') || self.is_sign('+') {
            negative ^= self.is_sign('-');
            self.advance();
        }
        let factor = self.factor()?;
        Ok(if negative { Node::Negative(Box::new(factor)) } else { factor })
    }

    /// Whether a factor follows without a sign.
    fn starts_factor(&self, factors: &[Node]) -> bool {
        let after_number = matches!(factors.last(), Some(Node::Number(_)));
        match self.kind() {
            Some(Kind::Number(_)) => !after_number && !factors.last().is_some_and(is_measure),
            Some(Kind::Sign('(' | '{' | '[')) => !matches!(factors.last(), Some(Node::Group(..))),
            Some(Kind::Sign('|')) => self.bars == 0 && !self.builder,
            Some(Kind::Word(word)) => {
                !(names::ends_term(word) || matches!(factors.last(), Some(Node::Group(..))) && word == "U")
            }
            Some(Kind::Command(name)) => primary::starts(name),
            Some(Kind::Begin(_)) => true,
            _ => false,
        }
    }

    /// `minus five`, `negative five`.
    fn take_negative(&mut self) -> bool {
        let found = self.is_word("minus") || self.is_word("negative");
        if found {
            self.advance();
        }
        found
    }

    fn is_word(&self, wanted: &str) -> bool {
        matches!(self.kind(), Some(Kind::Word(word)) if self.letter == 0 && word == wanted)
    }
}

/// `\pi \approx 3.14` is what it is exactly; of a letter it says the value, as well as it is known.
fn related(first: Node, mut rest: Vec<(Order, Node)>) -> Node {
    let known = || !first.any(|node| matches!(node, Node::Symbol(_) | Node::Opaque(..)));
    while let [.., (order @ Order::Approximately, _)] = rest.as_mut_slice() {
        *order = Order::Equal;
        if rest.len() > 1 || known() {
            rest.pop();
        }
    }
    if rest.is_empty() { first } else { Node::Relation(Box::new(first), rest) }
}

fn product(mut factors: Vec<Node>) -> Node {
    if factors.len() == 1
        && let Some(only) = factors.pop()
    {
        return only;
    }
    Node::Product(factors)
}

/// Whether a term ends in a unit.
fn is_measure(term: &Node) -> bool {
    match term {
        Node::Unit(_) => true,
        Node::Product(factors) => matches!(factors.last(), Some(Node::Unit(_))),
        Node::Power(base, _) => is_measure(base),
        _ => false,
    }
}

fn call(function: Function, argument: Node) -> Node {
    Node::Call(function, vec![argument])
}
