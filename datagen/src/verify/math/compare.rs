//! Two trees against each other, by what they are: expressions, collections, regions of the real line, equations.

use super::algebra::Algebra;
use super::labels::{are_names, point, same_function, value_of};
use super::limits::{Halt, MAX_BRANCHES};
use super::lower::Units;
use super::measures::{expressions, is_compound};
use super::tree::{Node, Order, SetOperation};
use super::zero::Zero;

/// What came of a comparison and why; an error is a reason to leave it undecided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Equal(&'static str),
    NotEqual(&'static str),
    Undecided(&'static str),
}

/// Why two measures differ whose figures agree.
pub(super) const ANOTHER_UNIT: &str = "another unit";

pub(super) type Compared = Result<Outcome, Halt>;

use Outcome::{Equal, NotEqual, Undecided};

impl Outcome {
    pub(super) fn is_equal(self) -> bool {
        matches!(self, Equal(_))
    }
}

/// Compares an answer with the gold; both are read.
pub(super) fn compare(algebra: &Algebra, gold: &Node, answer: &Node) -> Compared {
    compare_at(algebra, gold, answer, 0)
}

fn compare_at(algebra: &Algebra, gold: &Node, answer: &Node, depth: usize) -> Compared {
    if depth > super::limits::MAX_DEPTH {
        return Err(Halt::TooDeep);
    }
    algebra.budget.charge(4)?;
    let (gold, answer) = (settled(algebra, gold)?, settled(algebra, answer)?);
    let (gold, answer) = (&gold, &answer);
    let again = |gold: &Node, answer: &Node| compare_at(algebra, gold, answer, depth + 1);
    match (membership(gold), membership(answer)) {
        (None, None) => {}
        (Some((one, gold)), Some((other, answer))) if one == other => return again(gold, answer),
        _ => return Ok(Undecided("an expression in a set")),
    }
    if let (Some((names, value)), Some((others, other))) = (point(gold), point(answer)) {
        let assigned = |names: &[Node], values: &[Node]| {
            let pairs = names.iter().zip(values);
            Node::List(
                pairs
                    .map(|(name, value)| Node::Relation(name.clone().into(), vec![(Order::Equal, value.clone())]))
                    .collect(),
            )
        };
        return if names == others {
            in_order(value, other, &again)
        } else {
            again(&assigned(names, value), &assigned(others, other))
        };
    }
    // `(x, y) = (1, 2)` says the values one by one.
    for (one, other) in [(gold, answer), (answer, gold)] {
        if let (Some((names, values)), Node::List(items)) = (point(one), other)
            && items.iter().all(|item| value_of(item).is_some() && point(item).is_none())
        {
            let named =
                |name: &Node| items.iter().find(|item| matches!(item, Node::Relation(left, _) if **left == *name));
            let found: Option<Vec<Node>> = names.iter().map(|name| value_of(named(name)?).cloned()).collect();
            return match found {
                Some(found) if items.len() == names.len() => in_order(values, &found, &again),
                _ => Ok(Undecided("other names")),
            };
        }
    }
    // `x = 5` answers a question whose gold is `5`.
    match (value_of(gold), value_of(answer)) {
        (Some(value), None) if !is_equation(answer) && !matches!(answer, Node::List(_)) => return again(value, answer),
        (None, Some(value)) if !is_equation(gold) && !matches!(gold, Node::List(_)) => return again(gold, value),
        _ => {}
    }
    if let Some((value, other)) = same_function(gold, answer) {
        return again(value, other);
    }
    if is_single(gold) && is_single(answer) {
        return match (gold, answer) {
            (Node::Proportion(left), Node::Proportion(right)) => proportional(algebra, left, right),
            _ => expressions(algebra, gold, answer),
        };
    }
    if is_equation(gold) && is_equation(answer) && !gold.is_double() && !answer.is_double() {
        return super::relations::equations(algebra, gold, answer);
    }
    if let (Some(left), Some(right)) = (alternatives(gold), alternatives(answer)) {
        return match same_set(&left, &right, &again)? {
            NotEqual(_) if mixed(&left, &right, &again)? || mixed(&right, &left, &again)? => {
                Ok(Undecided("a mixed number or two answers"))
            }
            outcome => Ok(outcome),
        };
    }
    match (gold, answer) {
        (Node::Group(open, left, close), Node::Group(other_open, right, other_close)) => {
            if (open, close) != (other_open, other_close) {
                return Ok(NotEqual("other brackets"));
            }
            in_order(left, right, &again)
        }
        // A row or column of numbers is a vector however it is bracketed.
        (Node::Matrix(rows), Node::Group('(', items, ')') | Node::Group('[', items, ']'))
        | (Node::Group('(', items, ')') | Node::Group('[', items, ']'), Node::Matrix(rows))
            if rows.len() == 1 || rows.iter().all(|row| row.len() == 1) =>
        {
            let flat: Vec<Node> = rows.iter().flatten().cloned().collect();
            in_order(&flat, items, &again)
        }
        (Node::List(items), Node::Group(open, tuple, close)) | (Node::Group(open, tuple, close), Node::List(items)) => {
            loose_tuple(items, (*open, tuple, *close), &again)
        }
        (Node::Set(_), Node::Group(..)) | (Node::Group(..), Node::Set(_)) => Ok(NotEqual("other brackets")),
        _ => {
            if let Some(outcome) = super::matrices::compare(algebra, gold, answer, &again)? {
                return Ok(outcome);
            }
            if let Some(outcome) = super::regions::compare(algebra, gold, answer)? {
                return Ok(outcome);
            }
            if let Some(outcome) = super::conditions::compare(algebra, gold, answer, &again)? {
                return Ok(outcome);
            }
            match (gold, answer) {
                (Node::Relation(..), Node::Relation(..)) => super::relations::inequalities(algebra, gold, answer),
                // A condition and its solutions are another matter than two numbers.
                (Node::Relation(..) | Node::SetBuilder(..) | Node::Both(_) | Node::Conditions(_), _)
                | (_, Node::Relation(..) | Node::SetBuilder(..) | Node::Both(_) | Node::Conditions(_)) => {
                    let names = |node: &Node| names(node).len();
                    let (few, many) = (names(gold).min(names(answer)), names(gold).max(names(answer)));
                    Ok(if few == 0 && many > 1 { NotEqual("another form") } else { Undecided("not comparable") })
                }
                _ => set_expressions(gold, answer, &again),
            }
        }
    }
}

/// Sets that are no regions with known ends: equal where they read the same, and never a single expression.
fn set_expressions(gold: &Node, answer: &Node, again: &dyn Fn(&Node, &Node) -> Compared) -> Compared {
    let open = |node: &Node| matches!(node, Node::Operation(..) | Node::NamedSet(_));
    match (gold, answer) {
        (Node::NamedSet(one), Node::NamedSet(other)) if one == other => Ok(Equal("the same set")),
        (Node::NamedSet(_), Node::NamedSet(_)) => Ok(NotEqual("another set")),
        (Node::Operation(one, a, b), Node::Operation(other, c, d)) if one == other => {
            let both = |c: &Node, d: &Node| Ok(again(a, c)?.is_equal() && again(b, d)?.is_equal());
            let commutes = *one != SetOperation::Difference;
            let same = both(c, d)? || commutes && both(d, c)?;
            Ok(if same { Equal("the same set") } else { Undecided("sets of another form") })
        }
        _ if (open(gold) || open(answer)) && !is_expression(gold) && !is_expression(answer) => {
            Ok(Undecided("sets of another form"))
        }
        _ => Ok(NotEqual("another form")),
    }
}

/// What is in a set, and the set.
fn membership(node: &Node) -> Option<(&Node, &Node)> {
    let Node::Relation(member, rest) = node else { return None };
    let [(Order::In, set)] = rest.as_slice() else { return None };
    Some((member, set))
}

/// Membership of a letter becomes its set, a chain its value.
fn settled(algebra: &Algebra, node: &Node) -> Result<Node, Halt> {
    let Node::Relation(first, rest) = node else { return Ok(node.clone()) };
    if let [(Order::In, set)] = rest.as_slice() {
        // Of anything but letters by themselves it says more than the set does.
        let letter =
            matches!(**first, Node::Symbol(_)) || matches!(&**first, Node::Group(_, names, _) if are_names(names));
        return Ok(if letter { set.clone() } else { node.clone() });
    }
    let equal = rest.iter().all(|(order, _)| *order == Order::Equal);
    let [(_, value), others @ ..] = rest.as_slice() else { return Ok(node.clone()) };
    let known = |node: &Node| !node.any(|node| matches!(node, Node::Symbol(_) | Node::Opaque(..)));
    let constant = known(first) && rest.iter().all(|(_, side)| known(side));
    if !equal || others.is_empty() && !constant {
        return Ok(node.clone());
    }
    // `1/2 = 0.5` and `x = 1/2 = 0.5` say one thing where all their sides agree.
    let mut sides = others.iter().map(|(_, side)| side).collect::<Vec<_>>();
    if constant {
        sides.insert(0, first);
    }
    for side in sides {
        if is_expression(side) && is_expression(value) && !expressions(algebra, side, value)?.is_equal() {
            return Err(Halt::Unreadable("a chain of different values"));
        }
    }
    if constant { Ok(value.clone()) } else { Ok(Node::Relation(first.clone(), vec![(Order::Equal, value.clone())])) }
}

pub(super) fn is_equation(node: &Node) -> bool {
    matches!(node, Node::Relation(_, rest) if rest.iter().all(|(order, _)| *order == Order::Equal))
}

/// One expression with one value.
fn is_single(node: &Node) -> bool {
    is_expression(node) && !node.is_double()
}

fn names(node: &Node) -> std::collections::BTreeSet<&str> {
    let mut names = std::collections::BTreeSet::new();
    node.walk(&mut |node| {
        if let Node::Symbol(name) = node {
            names.insert(name.as_str());
        }
    });
    names
}

/// Whether items may be parts of one number: `2 and 3/4`, `2 hours, 30 minutes`.
fn mixed(items: &[Node], other: &[Node], again: &dyn Fn(&Node, &Node) -> Compared) -> Result<bool, Halt> {
    let number = match items {
        [Node::Number(whole), Node::Quotient(a, b)] => {
            whole.is_integer() && matches!((&**a, &**b), (Node::Number(a), Node::Number(b)) if a < b)
        }
        _ => false,
    };
    let sum = Node::Sum(items.to_vec());
    let [other] = other else { return Ok(false) };
    Ok((number || is_compound(&sum)) && again(&sum, other)?.is_equal())
}

pub(super) fn is_expression(node: &Node) -> bool {
    !matches!(
        node,
        Node::Group(..)
            | Node::Set(_)
            | Node::SetBuilder(..)
            | Node::Empty
            | Node::NamedSet(_)
            | Node::Operation(..)
            | Node::Matrix(_)
            | Node::Relation(..)
            | Node::List(_)
            | Node::Both(_)
            | Node::Conditions(_)
    )
}

/// The answers that a node stands for, where it can be seen as a set of them.
fn alternatives(node: &Node) -> Option<Vec<Node>> {
    let items = match node {
        Node::List(items) | Node::Set(items) => items.as_slice(),
        Node::Empty => &[],
        node if is_expression(node) || node.is_double() || value_of(node).is_some() => std::slice::from_ref(node),
        _ => return None,
    };
    // Inequalities joined by `or` are a region.
    if items.iter().any(|item| matches!(item, Node::Relation(..)) && !is_equation(item)) {
        return None;
    }
    let mut all = Vec::new();
    for item in items {
        if item.is_double() && all.len() < MAX_BRANCHES * 8 {
            all.extend([item.branch(true), item.branch(false)]);
        } else {
            all.push(item.clone());
        }
    }
    Some(all)
}

/// Both are lists of answers, in any order.
pub(super) fn same_set(left: &[Node], right: &[Node], again: &dyn Fn(&Node, &Node) -> Compared) -> Compared {
    let mut table = Vec::with_capacity(left.len());
    for a in left {
        let row: Result<Vec<Outcome>, Halt> = right.iter().map(|b| again(a, b)).collect();
        table.push(row?);
    }
    let column = |at: usize| table.iter().map(move |row| row[at]).collect::<Vec<_>>();
    let lines = table.iter().cloned().chain((0..right.len()).map(column));
    let mut unsure = None;
    for line in lines {
        if line.iter().any(|outcome| outcome.is_equal()) {
            continue;
        }
        match line.iter().find(|outcome| matches!(outcome, Undecided(_))) {
            Some(undecided) => unsure = Some(*undecided),
            None => return Ok(NotEqual("other elements")),
        }
    }
    Ok(unsure.unwrap_or(Equal("the same elements")))
}

fn in_order(left: &[Node], right: &[Node], again: &dyn Fn(&Node, &Node) -> Compared) -> Compared {
    if left.len() != right.len() {
        return Ok(NotEqual("another number of elements"));
    }
    let mut unsure = None;
    for (a, b) in left.iter().zip(right) {
        match again(a, b)? {
            Equal(_) => {}
            NotEqual(_) => return Ok(NotEqual("another element")),
            undecided => unsure = Some(undecided),
        }
    }
    Ok(unsure.unwrap_or(Equal("the same elements")))
}

/// A list without brackets against a tuple: equal in the same order, unclear in another.
fn loose_tuple(items: &[Node], tuple: (char, &[Node], char), again: &dyn Fn(&Node, &Node) -> Compared) -> Compared {
    let (open, elements, close) = tuple;
    // `x = 1, y = 2` is the point (1, 2).
    let mut assigned: Vec<(&str, &Node)> = Vec::new();
    for item in items {
        if let (Node::Relation(name, _), Some(value)) = (item, value_of(item))
            && let Node::Symbol(name) = &**name
        {
            assigned.push((name, value));
        }
    }
    assigned.sort_by_key(|(name, _)| *name);
    let distinct = assigned.windows(2).all(|pair| pair[0].0 != pair[1].0);
    if assigned.len() == items.len() && distinct {
        let values: Vec<Node> = assigned.into_iter().map(|(_, value)| value.clone()).collect();
        return in_order(&values, elements, again);
    }
    match in_order(items, elements, again)? {
        Equal(reason) if (open, close) == ('(', ')') => Ok(Equal(reason)),
        Equal(_) => Ok(Undecided("brackets on one side only")),
        NotEqual(_) if same_set(items, elements, again)?.is_equal() => Ok(Undecided("order in a list and a tuple")),
        other => Ok(other),
    }
}

fn proportional(algebra: &Algebra, left: &[Node], right: &[Node]) -> Compared {
    if left.len() != right.len() {
        return Ok(NotEqual("another number of parts"));
    }
    let lower =
        |parts: &[Node]| parts.iter().map(|part| algebra.lower(part, Units::Drop)).collect::<Result<Vec<_>, _>>();
    let (left, right) = (lower(left)?, lower(right)?);
    for at in 1..left.len() {
        let (a, b) = (algebra.multiply(&left[0], &right[at])?, algebra.multiply(&left[at], &right[0])?);
        match algebra.zero(&algebra.subtract(&a, &b)?)? {
            Zero::Yes => {}
            Zero::No => return Ok(NotEqual("another proportion")),
            Zero::Unknown(reason) => return Ok(Undecided(reason)),
        }
    }
    Ok(Equal("the same proportion"))
}
