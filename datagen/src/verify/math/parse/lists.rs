//! Items side by side: several answers, conditions that hold together, statements joined by `and` and `or`.

use super::super::limits::{Halt, Rational};
use super::super::tokens::Kind;
use super::super::tree::Node;
use super::Parser;
use num_traits::{One, Signed};

/// How two items of a list are joined.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Joint {
    Reading,
    And,
    Or,
    /// By `\land` or `\lor`.
    Conjunction,
    Disjunction,
}

impl Joint {
    fn is_and(self) -> bool {
        matches!(self, Self::And | Self::Conjunction)
    }

    fn is_or(self) -> bool {
        matches!(self, Self::Or | Self::Disjunction)
    }

    fn is_logical(self) -> bool {
        matches!(self, Self::Conjunction | Self::Disjunction)
    }
}

impl Parser {
    /// `a, b`, `a and b`, `a; b or c`.
    pub(super) fn list(&mut self) -> Result<Node, Halt> {
        let (mut items, joints) = self.items()?;
        if items.len() == 1 {
            return items.pop().ok_or(Halt::Unreadable("nothing"));
        }
        if is_compound(&items, &joints) {
            return Ok(Node::Sum(items));
        }
        // Relations hold together or one of them does where an inequality is among them; anything else that is joined is
        // several answers.
        let conditions =
            items.iter().any(Node::is_inequality) && items.iter().all(|item| matches!(item, Node::Relation(..)));
        if conditions && !joints.iter().any(|joint| joint.is_or()) {
            let said = joints.iter().any(|joint| joint.is_and());
            return Ok(if said { Node::Both(items) } else { Node::Conditions(items) });
        }
        // Letters may be statements; equations in several letters hold together, or one of them does.
        let statements = !items.iter().any(|item| matches!(item, Node::Relation(..)))
            && joints.iter().any(|joint| joint.is_logical());
        let one_of = !conditions && joints.iter().any(|joint| joint.is_or()) && !of_one_name(&items);
        Ok(if statements || one_of { statement(items, &joints) } else { Node::List(items) })
    }

    pub(super) fn items(&mut self) -> Result<(Vec<Node>, Vec<Joint>), Halt> {
        let mut items = vec![self.relation()?];
        let mut joints = Vec::new();
        while let Some(joint) = self.joint() {
            // `1, 2, and 3`
            let joint = self.joint().unwrap_or(joint);
            if self.peek().is_none() {
                break;
            }
            joints.push(joint);
            items.push(self.relation()?);
        }
        Ok((items, joints))
    }

    fn joint(&mut self) -> Option<Joint> {
        let joint = match self.kind()? {
            Kind::Sign(',' | ';') => Joint::Reading,
            Kind::Sign('&') => Joint::And,
            Kind::Word(word) if self.letter == 0 => match word.to_ascii_lowercase().as_str() {
                "and" => Joint::And,
                "or" => Joint::Or,
                _ => return None,
            },
            Kind::Command(name) => match name.as_str() {
                "land" | "wedge" => Joint::Conjunction,
                "lor" | "vee" => Joint::Disjunction,
                _ => return None,
            },
            _ => return None,
        };
        self.advance();
        Some(joint)
    }
}

/// Whether measures that `and` joins are one: `5 feet and 6 inches`. Each is less than one unit of the one before.
fn is_compound(items: &[Node], joints: &[Joint]) -> bool {
    let measure = |node: &Node| match node {
        Node::Product(factors) => match factors.as_slice() {
            [Node::Number(count), Node::Unit(unit)] => Some((count.clone(), unit.clone())),
            _ => None,
        },
        _ => None,
    };
    let follows = |pair: &[Node]| {
        let [(_, larger), (count, smaller)] = [measure(&pair[0])?, measure(&pair[1])?];
        Some(!count.is_negative() && count * smaller.in_units_of(&larger)? < Rational::one())
    };
    joints.last() == Some(&Joint::And) && items.windows(2).all(|pair| follows(pair).unwrap_or_default())
}

/// Whether letters, or the left sides of equations, name no two different things.
fn of_one_name(items: &[Node]) -> bool {
    let mut names = items.iter().filter_map(|item| match item {
        Node::Relation(name, _) if matches!(**name, Node::Symbol(_)) => Some(&**name),
        Node::Symbol(_) => Some(item),
        _ => None,
    });
    let first = names.next();
    names.all(|name| Some(name) == first)
}

/// Statements joined by `and`, which binds, and `or`; what each joins has no order.
fn statement(items: Vec<Node>, joints: &[Joint]) -> Node {
    let mut alternatives = vec![Vec::new()];
    let joints = std::iter::once(Joint::And).chain(joints.iter().copied());
    for (item, joint) in items.into_iter().zip(joints) {
        match alternatives.last_mut() {
            Some(together) if !joint.is_or() => together.push(item),
            _ => alternatives.push(vec![item]),
        }
    }
    let joined = |name: &str, mut parts: Vec<Node>| match (parts.len(), parts.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            parts.extend(last);
            parts.sort_by_cached_key(|part| format!("{part:?}"));
            Node::Opaque(name.to_owned(), parts)
        }
    };
    joined("or", alternatives.into_iter().map(|parts| joined("and", parts)).collect())
}
