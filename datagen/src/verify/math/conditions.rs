//! Several conditions, in any order: letter by letter where each constrains one, else as they are written.

use super::algebra::Algebra;
use super::compare::{Compared, Outcome, same_set};
use super::limits::Halt;
use super::regions;
use super::tree::Node;

/// `None` where one side is not a number of conditions.
pub(super) fn compare(
    algebra: &Algebra,
    gold: &Node,
    answer: &Node,
    again: &dyn Fn(&Node, &Node) -> Compared,
) -> Result<Option<Outcome>, Halt> {
    let (Some((left, together)), Some((right, also))) = (conditions(gold), conditions(answer)) else {
        return Ok(None);
    };
    if together
        && also
        && let Some(outcome) = regions::by_letters(algebra, left, right)?
    {
        return Ok(Some(outcome));
    }
    let same = together == also && same_set(left, right, again)?.is_equal();
    Ok(Some(if same {
        Outcome::Equal("the same conditions")
    } else {
        Outcome::Undecided("conditions of another form")
    }))
}

/// The conditions, and whether they hold together or one of them does.
fn conditions(node: &Node) -> Option<(&[Node], bool)> {
    match node {
        Node::Both(items) | Node::Conditions(items) => Some((items, true)),
        Node::List(items) if items.iter().all(Node::is_inequality) => Some((items, false)),
        _ => None,
    }
}
