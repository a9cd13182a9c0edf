//! Equations and inequalities: equal where one is a multiple of the other.

use super::algebra::{Algebra, Kind, Quotient};
use super::compare::{Compared, Outcome};
use super::limits::Halt;
use super::lower::Units;
use super::polynomial::{Monomial, Polynomial};
use super::tree::{Node, Order};
use super::zero::Zero;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use Outcome::{Equal, NotEqual, Undecided};

/// `lhs - rhs` of a relation with two sides.
fn difference(algebra: &Algebra, node: &Node) -> Result<Option<(Quotient, Order)>, Halt> {
    let Node::Relation(left, rest) = node else { return Ok(None) };
    let [(order, right)] = rest.as_slice() else { return Ok(None) };
    let side = |node: &Node| algebra.lower(node, Units::Keep);
    Ok(Some((algebra.subtract(&side(left)?, &side(right)?)?, *order)))
}

pub(super) fn equations(algebra: &Algebra, gold: &Node, answer: &Node) -> Compared {
    let (Some((left, _)), Some((right, _))) = (difference(algebra, gold)?, difference(algebra, answer)?) else {
        return Ok(Undecided("a chain of equations"));
    };
    Ok(match ratio(algebra, &left.above, &right.above)? {
        Ratio::Of(_) => Equal("the same equation"),
        Ratio::None => NotEqual("another equation"),
        Ratio::Unknown(reason) => Undecided(reason),
    })
}

/// Inequalities that are no region of the real line: of several names, or of higher degree.
pub(super) fn inequalities(algebra: &Algebra, gold: &Node, answer: &Node) -> Compared {
    let (Some((left, order)), Some((right, other))) = (difference(algebra, gold)?, difference(algebra, answer)?) else {
        return Ok(Undecided("a chain of inequalities"));
    };
    if left.below != Polynomial::one() || right.below != Polynomial::one() {
        return Ok(Undecided("an inequality with a denominator"));
    }
    let sign = match ratio(algebra, &left.above, &right.above)? {
        Ratio::Of(sign) => sign,
        Ratio::None if is_comparison(order) && is_comparison(other) && polynomial(algebra, &left, &right) => {
            return Ok(NotEqual("another inequality"));
        }
        Ratio::None => return Ok(Undecided("inequalities of another form")),
        Ratio::Unknown(reason) => return Ok(Undecided(reason)),
    };
    let flipped = |order| match order {
        Order::Less => Order::Greater,
        Order::Greater => Order::Less,
        Order::LessOrEqual => Order::GreaterOrEqual,
        Order::GreaterOrEqual => Order::LessOrEqual,
        order => order,
    };
    Ok(match sign {
        Some(Ordering::Greater) if order == other => Equal("the same inequality"),
        Some(Ordering::Less) if order == flipped(other) => Equal("the same inequality"),
        Some(_) => NotEqual("another inequality"),
        None => Undecided("inequalities up to a factor of unknown sign"),
    })
}

fn is_comparison(order: Order) -> bool {
    !matches!(order, Order::In | Order::Approximately)
}

/// Polynomials of degree one in every name: where these are no multiples of each other they hold elsewhere.
fn polynomial(algebra: &Algebra, left: &Quotient, right: &Quotient) -> bool {
    let linear = |x: &Quotient| {
        x.above.0.keys().all(|monomial| {
            let names = monomial.split(|g| algebra.is(g, |kind| matches!(kind, Kind::Symbol(_)))).0;
            names.0.len() <= 1 && names.0.iter().all(|(_, exponent)| num_traits::One::is_one(exponent))
        })
    };
    linear(left) && linear(right)
}

/// How two polynomials compare as left = c right.
enum Ratio {
    /// With a constant that is not zero, of this sign.
    Of(Option<Ordering>),
    None,
    Unknown(&'static str),
}

fn ratio(algebra: &Algebra, left: &Polynomial, right: &Polynomial) -> Result<Ratio, Halt> {
    if left.is_zero() || right.is_zero() {
        return Ok(if left == right { Ratio::Of(Some(Ordering::Greater)) } else { Ratio::None });
    }
    let (left_groups, right_groups) = (by_names(algebra, left), by_names(algebra, right));
    let hidden = |x: &Polynomial| {
        x.generators().into_iter().any(|g| {
            algebra.is(g, |kind| {
                matches!(kind, Kind::Base(_) | Kind::Exp(_) | Kind::CosPi(_) | Kind::Call(..) | Kind::Opaque(..))
            })
        })
    };
    if !left_groups.keys().eq(right_groups.keys()) {
        let unsure = hidden(left) || hidden(right);
        return Ok(if unsure { Ratio::Unknown("equations of another form") } else { Ratio::None });
    }
    let Some((names, first)) = left_groups.iter().next_back() else { return Ok(Ratio::None) };
    let Some(other) = right_groups.get(names) else { return Ok(Ratio::None) };
    for (names, a) in &left_groups {
        let Some(b) = right_groups.get(names) else { return Ok(Ratio::None) };
        let cross = algebra.product(a, other)?.plus(&algebra.product(b, first)?.negated(), &algebra.budget)?;
        match algebra.zero(&Quotient::whole(cross))? {
            Zero::Yes => {}
            Zero::No => return Ok(Ratio::None),
            Zero::Unknown(reason) => return Ok(Ratio::Unknown(reason)),
        }
    }
    let sign = match (algebra.sign_of(first)?, algebra.sign_of(other)?) {
        (Some(a), Some(b)) if a != Ordering::Equal && b != Ordering::Equal => {
            Some(if a == b { Ordering::Greater } else { Ordering::Less })
        }
        _ => None,
    };
    Ok(Ratio::Of(sign))
}

/// The constant coefficients of everything that depends on names.
pub(super) fn by_names(algebra: &Algebra, x: &Polynomial) -> BTreeMap<Monomial, Polynomial> {
    let constant = |generator| !algebra.is_symbolic(generator);
    let mut groups: BTreeMap<Monomial, Polynomial> = BTreeMap::new();
    for (monomial, value) in &x.0 {
        let (rest, names) = monomial.split(constant);
        groups.entry(names).or_default().0.insert(rest, value.clone());
    }
    groups
}
