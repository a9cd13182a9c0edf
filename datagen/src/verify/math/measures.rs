//! Two expressions against each other, and what their units make of it: dimensions, scales, what is counted.

use super::algebra::Algebra;
use super::compare::Outcome::{Equal, NotEqual, Undecided};
use super::compare::{ANOTHER_UNIT, Compared};
use super::limits::Halt;
use super::lower::Units;
use super::tree::Node;
use super::units::{self, Unit};
use super::zero::Zero;

/// Two expressions. The sign for percent may be left out as a unit may: `60` beside `60%`.
pub(super) fn expressions(algebra: &Algebra, gold: &Node, answer: &Node) -> Compared {
    let outcome = values(algebra, gold, answer)?;
    if !matches!(outcome, NotEqual(_)) {
        return Ok(outcome);
    }
    let said = |node: &Node| matches!(node, Node::Percent(_) | Node::Unit(_) | Node::Symbol(_) | Node::Opaque(..));
    for (one, other) in [(gold, answer), (answer, gold)] {
        if let Some(points) = percent_points(one)
            && !other.any(said)
            && values(algebra, &points, other)?.is_equal()
        {
            return Ok(Equal("the same percent points"));
        }
    }
    Ok(outcome)
}

/// What stands before a sign for percent.
fn percent_points(node: &Node) -> Option<Node> {
    match node {
        Node::Percent(points) => Some((**points).clone()),
        Node::Negative(inner) => Some(Node::Negative(percent_points(inner)?.into())),
        _ => None,
    }
}

/// The units of a measure in several units, the first one first: `5 feet 6 inches`.
fn compound(node: &Node) -> Option<Vec<&Unit>> {
    let Node::Sum(terms) = node else { return None };
    let unit = |term| unit_of(term).filter(|unit| !matches!(unit, Unit::Noun(_)));
    let units: Vec<&Unit> = terms.iter().map(unit).collect::<Option<_>>()?;
    units.iter().any(|unit| *unit != units[0]).then_some(units)
}

/// Whether the terms of a sum are measures in several units.
pub(super) fn is_compound(node: &Node) -> bool {
    compound(node).is_some()
}

/// A measure in several units beside a figure without any: it counts the first of them.
fn beside_compound(algebra: &Algebra, measure: &Node, units: &[&Unit], figure: &Node) -> Compared {
    let mut outcome = NotEqual("another value");
    for (at, &unit) in units.iter().enumerate() {
        let figure = Node::Product(vec![figure.clone(), Node::Unit(unit.clone())]);
        let difference =
            algebra.subtract(&algebra.lower(measure, Units::Measures)?, &algebra.lower(&figure, Units::Measures)?)?;
        match algebra.zero(&difference)? {
            Zero::Yes if at == 0 => return Ok(Equal("the same value")),
            Zero::Yes => outcome = Undecided("a figure beside several units"),
            Zero::No => {}
            Zero::Unknown(reason) => outcome = Undecided(reason),
        }
    }
    Ok(outcome)
}

/// Two expressions, with units where both have some.
fn values(algebra: &Algebra, gold: &Node, answer: &Node) -> Compared {
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
    let (measured, figure) = if in_gold { (gold, answer) } else { (answer, gold) };
    if in_gold != in_answer
        && let Some(units) = compound(measured)
    {
        return beside_compound(algebra, measured, &units, figure);
    }
    let pair = unit_of(gold).zip(unit_of(answer));
    // `25 degrees` are degrees of whatever scale the other side names.
    let degrees = |(one, other): (&Unit, &Unit)| {
        angle(one) && units::is_temperature(other) || units::is_temperature(one) && angle(other)
    };
    let both = in_gold && in_answer && !pair.is_some_and(degrees);
    // What is counted need not be said twice, but two different nouns are for a person to compare.
    let noun = |unit: &Unit| matches!(unit, Unit::Noun(name) if !name.is_empty());
    let (names_gold, names_answer) = (has(gold, noun), has(answer, noun));
    let nouns = names_gold && names_answer;
    // A word that is no unit here may be one elsewhere.
    let unknown = in_gold != in_answer && names_gold != names_answer && in_gold != names_gold;
    let units = match (nouns, both) {
        (true, _) => Units::Keep,
        (false, true) => Units::Measures,
        (false, false) => Units::Drop,
    };
    let mut found = difference(units)?;
    if found != Zero::Yes && !both && (has(gold, angle) || has(answer, angle)) {
        // 90 degrees may be given as pi/2.
        found = match difference(Units::Keep)? {
            Zero::Yes => Zero::Yes,
            _ => found,
        };
    }
    Ok(match found {
        Zero::Yes if unknown => Undecided("a unit and something that is counted"),
        Zero::Yes => Equal("the same value"),
        Zero::No if nouns && difference(Units::Drop)? == Zero::Yes => Undecided("other things are counted"),
        Zero::No if both && difference(Units::Drop)? == Zero::Yes => NotEqual(ANOTHER_UNIT),
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

/// Letters that name units, behind a number, are these where the other side has units: `5m` beside `500 cm`.
fn with_unit_letters(node: &Node, other: &Node) -> Node {
    let has_units = |node: &Node| node.any(|node| matches!(node, Node::Unit(unit) if !matches!(unit, Unit::Noun(_))));
    if !has_units(other) || has_units(node) {
        return node.clone();
    }
    units_of_letters(node).filter(|_| begins_with_number(node)).unwrap_or_else(|| node.clone())
}

fn begins_with_number(node: &Node) -> bool {
    match node {
        Node::Number(_) | Node::Pi | Node::Root(..) => true,
        Node::Negative(inner) => begins_with_number(inner),
        Node::Product(factors) => factors.first().is_some_and(begins_with_number),
        Node::Quotient(above, _) | Node::Power(above, _) => begins_with_number(above),
        _ => false,
    }
}

/// A product with every letter read as a unit; `None` where one of them is none.
fn units_of_letters(node: &Node) -> Option<Node> {
    Some(match node {
        Node::Symbol(letter) => Node::Unit(units::by_name(letter, true)?),
        Node::Product(factors) => Node::Product(factors.iter().map(units_of_letters).collect::<Option<_>>()?),
        Node::Quotient(above, below) => {
            Node::Quotient(Box::new(units_of_letters(above)?), Box::new(units_of_letters(below)?))
        }
        Node::Power(base, exponent) => Node::Power(Box::new(units_of_letters(base)?), exponent.clone()),
        Node::Negative(inner) => Node::Negative(Box::new(units_of_letters(inner)?)),
        node if node.any(|node| matches!(node, Node::Symbol(_))) => return None,
        node => node.clone(),
    })
}
