//! Figures named by their points: segments, lines, vectors, angles, triangles, arcs.
//!
//! Points are not multiplied. A segment, a line and an arc read the same from either end, an angle keeps its vertex in the
//! middle, a triangle may begin anywhere, and a vector turned about is its negative.

use super::super::limits::Halt;
use super::super::tokens::Kind;
use super::super::tree::Node;
use super::Parser;

pub(super) fn is_vector(name: &str) -> bool {
    matches!(name, "vec" | "overrightarrow")
}

pub(in super::super) fn is_figure(name: &str) -> bool {
    const OTHERS: [&str; 10] = [
        "overline",
        "bar",
        "hat",
        "widehat",
        "overarc",
        "angle",
        "measuredangle",
        "triangle",
        "overleftrightarrow",
        "overleftarrow",
    ];
    is_vector(name) || OTHERS.contains(&name)
}

impl Parser {
    /// What a mark over names, or before them, stands for.
    pub(super) fn figure(&mut self, name: &str) -> Result<Node, Halt> {
        let points = self.points();
        if points.len() < 2 {
            let inner = if points.is_empty() { self.primary()? } else { Node::Symbol(points.concat()) };
            return Ok(match name {
                // The zero vector is written as the number, too.
                "vec" | "hat" if matches!(inner, Node::Number(_)) => inner,
                name => {
                    let name = if is_vector(name) { "vec" } else { name };
                    Node::Opaque(name.to_owned(), vec![inner])
                }
            });
        }
        let mut turned: Vec<String> = points.iter().rev().cloned().collect();
        // Small letters are no points: digits of a number, or a product.
        if points.iter().any(|point| point.starts_with(|letter: char| letter.is_ascii_lowercase())) {
            turned.clone_from(&points);
        }
        let (name, points, negative) = match name {
            "vec" | "overrightarrow" | "overleftarrow" if points.len() == 2 => {
                let negative = (turned < points) != (name == "overleftarrow");
                ("vector", points.min(turned), negative)
            }
            "vec" | "overrightarrow" | "overleftarrow" => (name, points, false),
            "triangle" => {
                turned.sort_unstable();
                (name, turned, false)
            }
            "measuredangle" => ("angle", points.min(turned), false),
            name => (name, points.min(turned), false),
        };
        let figure = Node::Opaque(name.to_owned(), points.into_iter().map(Node::Symbol).collect());
        Ok(if negative { Node::Negative(Box::new(figure)) } else { figure })
    }

    /// The letters that stand here, in braces or not, with primes and numbers: small ones in braces only. Takes nothing
    /// where anything else is among them.
    fn points(&mut self) -> Vec<String> {
        let start = self.at;
        let braced = self.take_sign('{');
        let mut points: Vec<String> = Vec::new();
        loop {
            match self.kind() {
                Some(Kind::Word(word))
                    if word
                        .chars()
                        .all(|letter| letter.is_ascii_uppercase() || braced && letter.is_ascii_lowercase()) =>
                {
                    points.extend(word.chars().map(String::from));
                }
                Some(Kind::Sign('\'')) if !points.is_empty() => {
                    points.last_mut().into_iter().for_each(|point| point.push('\''));
                }
                Some(Kind::Sign('_')) if !points.is_empty() => {
                    let Some(Kind::Number(number)) = self.ahead(1) else { break };
                    let mark = format!("_{number}");
                    points.last_mut().into_iter().for_each(|point| point.push_str(&mark));
                    self.advance();
                }
                _ => break,
            }
            self.advance();
            if !braced && matches!(self.kind(), Some(Kind::Word(_))) {
                break;
            }
        }
        if self.letter > 0 || points.is_empty() || braced && !self.take_sign('}') {
            (self.at, self.letter) = (start, 0);
            return Vec::new();
        }
        points
    }
}
