//! Matrices: their sums and multiples are worked out entry by entry, then compared entry by entry.

use super::algebra::Algebra;
use super::compare::{Compared, Outcome};
use super::limits::Halt;
use super::tree::Node;

type Rows = Vec<Vec<Node>>;

/// `None` where neither side is a matrix.
pub(super) fn compare(
    algebra: &Algebra,
    gold: &Node,
    answer: &Node,
    again: &dyn Fn(&Node, &Node) -> Compared,
) -> Result<Option<Outcome>, Halt> {
    let (left, right) = match (rows(algebra, gold, 0)?, rows(algebra, answer, 0)?) {
        (None, None) => return Ok(None),
        (Some(left), None) => (Some(left), nested(answer)),
        (None, Some(right)) => (nested(gold), Some(right)),
        both => both,
    };
    let (left, right) = match (left, right) {
        (None, None) => return Ok(None),
        (Some(left), Some(right)) => (left, right),
        (Some(only), None) | (None, Some(only)) => {
            // A 1 by 1 matrix is not a number, but nobody means the difference.
            let single = only.len() == 1 && only.iter().all(|row| row.len() == 1);
            let reason = "a matrix on one side only";
            return Ok(Some(if single { Outcome::Undecided(reason) } else { Outcome::NotEqual(reason) }));
        }
    };
    if left.len() != right.len() || left.first().map(Vec::len) != right.first().map(Vec::len) {
        return Ok(Some(Outcome::NotEqual("another shape")));
    }
    let mut unsure = None;
    for (a, b) in left.iter().flatten().zip(right.iter().flatten()) {
        match again(a, b)? {
            Outcome::Equal(_) => {}
            Outcome::NotEqual(_) => return Ok(Some(Outcome::NotEqual("another entry"))),
            undecided => unsure = Some(undecided),
        }
    }
    Ok(Some(unsure.unwrap_or(Outcome::Equal("the same entries"))))
}

/// `[[1, 2], [3, 4]]` beside a matrix.
fn nested(node: &Node) -> Option<Rows> {
    let items = |node: &Node| match node {
        Node::Group('(', items, ')') | Node::Group('[', items, ']') | Node::Set(items) => Some(items.clone()),
        _ => None,
    };
    let rows: Rows = items(node)?.iter().map(items).collect::<Option<_>>()?;
    let width = rows.first().map(Vec::len);
    rows.iter().all(|row| Some(row.len()) == width).then_some(rows)
}

/// The entries of a matrix, of a multiple of one, or of a sum of them.
fn rows(algebra: &Algebra, node: &Node, depth: usize) -> Result<Option<Rows>, Halt> {
    if depth > super::limits::MAX_DEPTH {
        return Err(Halt::TooDeep);
    }
    algebra.budget.charge(1)?;
    let each = |rows: Rows, with: &dyn Fn(Node) -> Node| -> Rows {
        rows.into_iter().map(|row| row.into_iter().map(with).collect()).collect()
    };
    match node {
        Node::Matrix(rows) => Ok(Some(rows.clone())),
        Node::Negative(inner) => {
            Ok(rows(algebra, inner, depth + 1)?.map(|rows| each(rows, &|entry| Node::Negative(Box::new(entry)))))
        }
        Node::Quotient(above, below) => Ok(rows(algebra, above, depth + 1)?
            .map(|rows| each(rows, &|entry| Node::Quotient(Box::new(entry), below.clone())))),
        Node::Product(factors) => {
            let mut matrix = None;
            let mut scale = Vec::new();
            for factor in factors {
                match (rows(algebra, factor, depth + 1)?, &matrix) {
                    (Some(found), None) => matrix = Some(found),
                    (Some(_), Some(_)) => return Err(Halt::Unreadable("a product of matrices")),
                    (None, _) => scale.push(factor.clone()),
                }
            }
            let scaled = |entry: Node| Node::Product(scale.iter().cloned().chain([entry]).collect());
            Ok(matrix.map(|rows| each(rows, &scaled)))
        }
        Node::Sum(terms) => {
            let mut sum: Option<Rows> = None;
            for (at, term) in terms.iter().enumerate() {
                match (rows(algebra, term, depth + 1)?, sum.take()) {
                    (None, None) if at == 0 => return Ok(None),
                    (Some(found), None) => sum = Some(found),
                    (Some(found), Some(known)) if found.len() == known.len() => {
                        let add = |(a, b): (Node, Node)| Node::Sum(vec![a, b]);
                        let rows = known.into_iter().zip(found);
                        sum = Some(rows.map(|(a, b)| a.into_iter().zip(b).map(add).collect()).collect());
                    }
                    _ => return Err(Halt::Unreadable("a sum with a matrix")),
                }
            }
            Ok(sum)
        }
        _ => Ok(None),
    }
}
