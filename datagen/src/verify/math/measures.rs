//! Two expressions against each other, and what their units make of it: dimensions, scales, what is counted.

use super::algebra::Algebra;
use super::compare::Compared;
use super::compare::Outcome::{Equal, NotEqual, Undecided};
use super::limits::Halt;
use super::lower::Units;
use super::tree::Node;
use super::units::{self, Unit};
use super::zero::Zero;

/// Two expressions, with units where both have some.
pub(super) fn expressions(algebra: &Algebra, gold: &Node, answer: &Node) -> Compared {
    let (gold, answer) = (&with_unit_letters(gold, answer), &with_unit_letters(answer, gold));
    let (gold, answer) = (&beside(gold, answer), &beside(answer, gold));
    let has =
        |node: &Node, wanted: fn(&Unit) -> bool| node.any(|node| matches!(node, Node::Unit(unit) if wanted(unit)));
    let measures = |unit: &Unit| !matches!(unit, Unit::Noun(_));
    let angle = |unit: &Unit| matches!(unit, Unit::Degree);
    let difference = |units| -> Result<Zero, Halt> {
        let (gold, answer) = (algebra.lower(gold, units)?, algebra.lower(answer, units)?);
        algebra.zero(&algebra.subtract(&gold, &answer)?)
    };
    let (in_gold, in_answer) = (has(gold, measures), has(answer, measures));
    let pair = unit_of(gold).zip(unit_of(answer));
    // `25 degrees` are degrees of whatever scale the other side names.
    let degrees = |(one, other): (&Unit, &Unit)| {
        angle(one) && units::is_temperature(other) || units::is_temperature(one) && angle(other)
    };
    let both = in_gold && in_answer && !pair.is_some_and(degrees);
    // What is counted need not be said twice, but two different nouns are for a person to compare.
    let nouns = has(gold, |unit| matches!(unit, Unit::Noun(name) if !name.is_empty()))
        && has(answer, |unit| matches!(unit, Unit::Noun(name) if !name.is_empty()));
    let units = if both || nouns { Units::Keep } else { Units::Drop };
    let mut found = difference(units)?;
    if found != Zero::Yes && !both && (has(gold, angle) || has(answer, angle)) {
        // 90 degrees may be given as pi/2.
        found = match difference(Units::Keep)? {
            Zero::Yes => Zero::Yes,
            _ => found,
        };
    }
    Ok(match found {
        Zero::Yes => Equal("the same value"),
        Zero::No if nouns && difference(Units::Drop)? == Zero::Yes => Undecided("other things are counted"),
        Zero::No if both && difference(Units::Drop)? == Zero::Yes => NotEqual("another unit"),
        Zero::No
            if pair.is_some_and(|(one, other)| {
                one != other && units::is_temperature(one) && units::is_temperature(other)
            }) =>
        {
            Undecided("temperatures on two scales")
        }
        Zero::No if pair.is_some_and(|(one, other)| units::calendar_and_clock(one, other)) => {
            Undecided("months and days")
        }
        Zero::No => NotEqual("another value"),
        Zero::Unknown(reason) => Undecided(reason),
    })
}

/// The unit of a measure that has one.
fn unit_of(node: &Node) -> Option<&Unit> {
    let (mut found, mut count) = (None, 0);
    node.walk(&mut |node| {
        if let Node::Unit(unit) = node {
            (found, count) = (Some(unit), count + 1);
        }
    });
    found.filter(|_| count == 1)
}

/// A measure whose unit means something else beside that of the other side: `5 pounds` beside `£5`.
fn beside(node: &Node, other: &Node) -> Node {
    let Node::Product(factors) = node else { return node.clone() };
    let [before @ .., Node::Unit(unit)] = factors.as_slice() else { return node.clone() };
    match unit_of(other).and_then(|other| unit.beside(other)) {
        Some(unit) => Node::Product(before.iter().cloned().chain([Node::Unit(unit)]).collect()),
        None => node.clone(),
    }
}

/// A last letter that names a unit is one where the other side has units: `5m` beside `500 cm`.
fn with_unit_letters(node: &Node, other: &Node) -> Node {
    let has_units = |node: &Node| node.any(|node| matches!(node, Node::Unit(unit) if !matches!(unit, Unit::Noun(_))));
    let Node::Product(factors) = node else { return node.clone() };
    let [before @ .., last] = factors.as_slice() else { return node.clone() };
    let (letter, exponent) = match last {
        Node::Symbol(letter) => (letter, None),
        Node::Power(base, exponent) => match &**base {
            Node::Symbol(letter) => (letter, Some(exponent)),
            _ => return node.clone(),
        },
        _ => return node.clone(),
    };
    let numbers = before.iter().all(|factor| !factor.any(|node| matches!(node, Node::Symbol(_))));
    if !numbers || !has_units(other) || has_units(node) {
        return node.clone();
    }
    match super::units::by_name(letter, true) {
        Some(unit) => {
            let unit = Node::Unit(unit);
            let unit = match exponent {
                Some(exponent) => Node::Power(Box::new(unit), exponent.clone()),
                None => unit,
            };
            Node::Product(before.iter().cloned().chain([unit]).collect())
        }
        None => node.clone(),
    }
}
