//! What an answer is named by: `x = 3`, `f(x) = x^2`, `AB = 5`, `P(A) = 1/3`, `(x, y) = (1, 2)`.

use super::parse::is_figure;
use super::tree::{Function, Node, Order};

/// The right side of `x = value` and `f(x) = value`.
pub(super) fn value_of(node: &Node) -> Option<&Node> {
    let Node::Relation(name, rest) = node else { return None };
    let [(Order::Equal, value)] = rest.as_slice() else { return None };
    let named = match &**name {
        // `{x, y} = {1, 2}` does not say which is which.
        Node::Set(names) => are_names(names) && matches!(value, Node::Set(_)),
        Node::Group(..) => point(node).is_some(),
        name => is_label(name, value),
    };
    named.then_some(value)
}

/// Whether `name` can be said to have a value, and `value` to be one.
pub(super) fn is_label(name: &Node, value: &Node) -> bool {
    let constant = || !value.any(|node| matches!(node, Node::Symbol(_)));
    match name {
        Node::Symbol(_) => !value.any(|node| node == name),
        Node::Opaque(function, _) if matches!(function.as_str(), "f" | "g") => true,
        Node::Opaque(figure, _) => (is_figure(figure) || figure == "vector") && !value.any(|node| node == name),
        Node::Euler => true,
        Node::Call(Function::Abs, inner) => inner.iter().all(is_segment) && constant(),
        // A probability, and the measure of an angle.
        Node::Product(factors) => {
            let of = |name: &str| matches!(factors.as_slice(), [Node::Symbol(first), _] if first == name);
            let angle = matches!(factors.last(), Some(Node::Opaque(figure, _)) if is_figure(figure));
            (is_segment(name) || of("P") || of("m") && angle) && constant()
        }
        _ => false,
    }
}

/// Points side by side: capital letters.
fn is_segment(node: &Node) -> bool {
    let point =
        |node: &Node| matches!(node, Node::Symbol(name) if name.starts_with(|first: char| first.is_ascii_uppercase()));
    matches!(node, Node::Product(points) if points.iter().all(point))
}

/// What the same function, or figure, is said to be on both sides.
pub(super) fn same_function<'a>(gold: &'a Node, answer: &'a Node) -> Option<(&'a Node, &'a Node)> {
    let (Node::Relation(left, _), Node::Relation(right, _)) = (gold, answer) else { return None };
    let function = matches!(**left, Node::Opaque(..)) && left == right;
    if function { value_of(gold).zip(value_of(answer)) } else { None }
}

/// The names and the values of `(x, y) = (1, 2)`.
pub(super) fn point(node: &Node) -> Option<(&[Node], &[Node])> {
    let Node::Relation(left, rest) = node else { return None };
    match (&**left, rest.as_slice()) {
        (Node::Group('(', names, ')'), [(Order::Equal, Node::Group('(', values, ')'))])
            if are_names(names) && names.len() == values.len() =>
        {
            Some((names, values))
        }
        _ => None,
    }
}

/// Letters, each one once.
pub(super) fn are_names(nodes: &[Node]) -> bool {
    let name = |(at, node): (usize, &Node)| matches!(node, Node::Symbol(_)) && !nodes[..at].contains(node);
    nodes.iter().enumerate().all(name)
}
