//! Commands with arguments, and environments.

use super::super::limits::Halt;
use super::super::tokens::Kind;
use super::super::tree::{Function, Node};
use super::names::{function, greek, named_set};
use super::{Parser, call, geometry};
use num_traits::Zero;

impl Parser {
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
            name if geometry::is_figure(name) => self.figure(name)?,
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
