//! Regions of the real line: intervals, their unions, and the inequalities that describe them.
//!
//! A region is a sorted list of points and, for each point and each gap between them, whether it belongs. Two regions
//! are cut at the same points and then compared piece by piece, so the spelling does not matter.

use super::algebra::{Algebra, Kind, Quotient};
use super::compare::Outcome;
use super::limits::Halt;
use super::lower::Units;
use super::relations::by_names;
use super::tree::{Function, Node, Order, SetOperation};
use num_traits::One;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Points of one region; a quadratic number of comparisons follows from them.
const MAX_POINTS: usize = 64;

#[derive(Debug, Clone)]
struct Region {
    points: Vec<Quotient>,
    /// Gap, point, gap, point, ..., gap.
    pieces: Vec<bool>,
    /// The variable that is constrained, where one is named.
    name: Option<String>,
    /// Written as an inequality or with set operations, so that it can be nothing but a region.
    certain: bool,
}

/// `None` where one of the two is no region, or neither is certain to be one.
pub(super) fn compare(algebra: &Algebra, gold: &Node, answer: &Node) -> Result<Option<Outcome>, Halt> {
    let (Some(left), Some(right)) = (Region::read(algebra, gold)?, Region::read(algebra, answer)?) else {
        return Ok(None);
    };
    if !left.certain && !right.certain {
        return Ok(None);
    }
    if left.name.is_some() && right.name.is_some() && left.name != right.name {
        return Ok(Some(Outcome::NotEqual("another variable")));
    }
    let same = left.merged(&right, algebra, |a, b| a == b)?.is_all();
    Ok(Some(if same { Outcome::Equal("the same region") } else { Outcome::NotEqual("another region") }))
}

/// Conditions that hold together, each on one letter, as a region for every letter. `None` where one of them is
/// anything else, or none can hold.
pub(super) fn by_letters(algebra: &Algebra, gold: &[Node], answer: &[Node]) -> Result<Option<Outcome>, Halt> {
    let (Some(left), Some(right)) = (letters(algebra, gold)?, letters(algebra, answer)?) else { return Ok(None) };
    if !left.keys().eq(right.keys()) {
        return Ok(Some(Outcome::NotEqual("other variables")));
    }
    for (left, right) in left.values().zip(right.values()) {
        if !left.merged(right, algebra, |a, b| a == b)?.is_all() {
            return Ok(Some(Outcome::NotEqual("another region")));
        }
    }
    Ok(Some(Outcome::Equal("the same conditions")))
}

/// The letters that are constrained, and where each of them may be.
fn letters(algebra: &Algebra, conditions: &[Node]) -> Result<Option<BTreeMap<String, Region>>, Halt> {
    let mut regions: BTreeMap<String, Region> = BTreeMap::new();
    for condition in conditions {
        let Some(region) = Region::read(algebra, condition)? else { return Ok(None) };
        let Some(name) = region.name.clone() else { return Ok(None) };
        let region = match regions.get(&name) {
            Some(known) => known.merged(&region, algebra, |a, b| a && b)?,
            None => region,
        };
        regions.insert(name, region);
    }
    let possible = !regions.values().any(Region::is_empty);
    regions.retain(|_, region| !region.is_all());
    Ok(possible.then_some(regions))
}

impl Region {
    fn is_empty(&self) -> bool {
        !self.pieces.contains(&true)
    }

    fn is_all(&self) -> bool {
        !self.pieces.contains(&false)
    }

    fn all() -> Self {
        Self { points: vec![], pieces: vec![true], name: None, certain: true }
    }

    /// The numbers on one side of a point.
    fn half(point: Quotient, order: Order) -> Self {
        let pieces = match order {
            Order::Less => [true, false, false],
            Order::LessOrEqual => [true, true, false],
            Order::Greater => [false, false, true],
            Order::GreaterOrEqual => [false, true, true],
            Order::NotEqual => [true, false, true],
            _ => [false, true, false],
        };
        Self { points: vec![point], pieces: pieces.to_vec(), name: None, certain: true }
    }

    fn read(algebra: &Algebra, node: &Node) -> Result<Option<Self>, Halt> {
        algebra.budget.charge(1)?;
        let all = |items: &[Node]| -> Result<Option<Vec<Self>>, Halt> {
            items.iter().map(|item| Self::read(algebra, item)).collect()
        };
        match node {
            Node::NamedSet('R') => Ok(Some(Self::all())),
            Node::Empty => Ok(Some(Self { pieces: vec![false], ..Self::all() })),
            Node::Group(open, items, close) => Self::interval(algebra, *open, items, *close),
            Node::Set(items) => {
                let mut region = Self { pieces: vec![false], certain: false, ..Self::all() };
                for item in items {
                    let Some(point) = Self::read(algebra, item)? else { return Ok(None) };
                    region = region.merged(&point, algebra, |a, b| a || b)?;
                }
                Ok(Some(region))
            }
            Node::Operation(operation, left, right) => {
                let (Some(left), Some(right)) = (Self::read(algebra, left)?, Self::read(algebra, right)?) else {
                    return Ok(None);
                };
                let with: fn(bool, bool) -> bool = match operation {
                    SetOperation::Union => |a, b| a || b,
                    SetOperation::Intersection => |a, b| a && b,
                    SetOperation::Difference => |a, b| a && !b,
                };
                Ok(Some(Self { certain: true, ..left.merged(&right, algebra, with)? }))
            }
            Node::SetBuilder(item, condition) => match (&**item, Self::read(algebra, condition)?) {
                (Node::Symbol(_), Some(region)) => Ok(Some(Self { name: None, ..region })),
                _ => Ok(None),
            },
            Node::Relation(first, rest) => Self::chain(algebra, first, rest),
            Node::Both(items) => Self::folded(algebra, all(items)?, |a, b| a && b),
            Node::Conditions(items) => {
                let parts = all(items)?;
                // Nobody writes down what cannot be: `x < 1, x > 5` are two cases.
                match Self::folded(algebra, parts.clone(), |a, b| a && b)? {
                    Some(together) if together.is_empty() => Self::folded(algebra, parts, |a, b| a || b),
                    together => Ok(together),
                }
            }
            Node::List(items) if items.iter().all(|item| matches!(item, Node::Relation(..))) => {
                Self::folded(algebra, all(items)?, |a, b| a || b)
            }
            node => {
                let point = constant(algebra, node)?.map(|point| Self::half(point, Order::Equal));
                Ok(point.map(|point| Self { certain: false, ..point }))
            }
        }
    }

    fn folded(algebra: &Algebra, parts: Option<Vec<Self>>, with: fn(bool, bool) -> bool) -> Result<Option<Self>, Halt> {
        let Some(parts) = parts else { return Ok(None) };
        let mut parts = parts.into_iter();
        let Some(mut region) = parts.next() else { return Ok(None) };
        for part in parts {
            if region.name != part.name {
                return Ok(None);
            }
            region = region.merged(&part, algebra, with)?;
        }
        Ok(Some(region))
    }

    fn interval(algebra: &Algebra, open: char, items: &[Node], close: char) -> Result<Option<Self>, Halt> {
        let [low, high] = items else { return Ok(None) };
        let endless = |node: &Node, below: bool| match node {
            Node::Infinity => !below,
            Node::Negative(inner) => below && **inner == Node::Infinity,
            _ => false,
        };
        let mut region = Self::all();
        let mut certain = false;
        for (node, below, closed) in [(low, true, open == '['), (high, false, close == ']')] {
            if endless(node, below) {
                certain = true;
                continue;
            }
            let Some(point) = constant(algebra, node)? else { return Ok(None) };
            let order = match (below, closed) {
                (true, true) => Order::GreaterOrEqual,
                (true, false) => Order::Greater,
                (false, true) => Order::LessOrEqual,
                (false, false) => Order::Less,
            };
            region = region.merged(&Self::half(point, order), algebra, |a, b| a && b)?;
        }
        region.certain = certain;
        Ok(Some(region))
    }

    /// `a < x <= b`, each step on its own.
    fn chain(algebra: &Algebra, first: &Node, rest: &[(Order, Node)]) -> Result<Option<Self>, Halt> {
        let mut region: Option<Self> = None;
        let mut left = first;
        for (order, right) in rest {
            if matches!(order, Order::Equal | Order::In | Order::Approximately) {
                return Ok(None);
            }
            // `x < \infty` says nothing.
            let endless = |node: &Node| node.any(|node| *node == Node::Infinity);
            if endless(left) || endless(right) {
                left = right;
                continue;
            }
            let Some(step) = Self::step(algebra, left, *order, right)? else { return Ok(None) };
            region = Some(match region {
                Some(region) if region.name != step.name => return Ok(None),
                Some(region) => region.merged(&step, algebra, |a, b| a && b)?,
                None => step,
            });
            left = right;
        }
        Ok(region)
    }

    /// One inequality that is linear in one name or in one absolute value of such.
    fn step(algebra: &Algebra, left: &Node, order: Order, right: &Node) -> Result<Option<Self>, Halt> {
        let lower = |node: &Node| algebra.lower(node, Units::Drop);
        let difference = algebra.subtract(&lower(left)?, &lower(right)?)?;
        Self::linear(algebra, &difference, order)
    }

    fn linear(algebra: &Algebra, difference: &Quotient, order: Order) -> Result<Option<Self>, Halt> {
        if !algebra.is_constant(&difference.below) {
            return Ok(None);
        }
        let mut groups = by_names(algebra, &difference.above);
        let constant = groups.remove(&super::polynomial::Monomial::default()).unwrap_or_default();
        let Some((names, slope)) = groups.pop_first() else { return Ok(None) };
        let [(generator, exponent)] = names.0.as_slice() else { return Ok(None) };
        if !groups.is_empty() || !exponent.is_one() {
            return Ok(None);
        }
        let Some(sign) = algebra.sign_of(&slope)?.filter(|sign| *sign != Ordering::Equal) else { return Ok(None) };
        let order = if sign == Ordering::Less { flipped(order) } else { order };
        let order = match algebra.sign_of(&difference.below)? {
            Some(Ordering::Greater) => order,
            Some(Ordering::Less) => flipped(order),
            _ => return Ok(None),
        };
        let root = algebra.divide(&Quotient::whole(constant.negated()), &Quotient::whole(slope))?;
        match algebra.kind(*generator) {
            Kind::Symbol(name) => Ok(Some(Self { name: Some(name), ..Self::half(root, order) })),
            Kind::Call(Function::Abs, arguments) => {
                let [inner] = arguments.as_slice() else { return Ok(None) };
                let upper = Self::linear(algebra, &algebra.subtract(inner, &root)?, order)?;
                let lower = Self::linear(algebra, &algebra.add(inner, &root)?, flipped(order))?;
                let (Some(upper), Some(lower)) = (upper, lower) else { return Ok(None) };
                // |x| < c is -c < x < c; |x| > c is x > c or x < -c, and everything where c is negative.
                let inside = matches!(order, Order::Less | Order::LessOrEqual);
                let Some(size) = algebra.compare(&root, &Quotient::integer(0))? else { return Ok(None) };
                if size == Ordering::Less && !inside {
                    return Ok(Some(Self { name: upper.name, ..Self::all() }));
                }
                let both = matches!(order, Order::NotEqual) || inside;
                upper.merged(&lower, algebra, if both { |a, b| a && b } else { |a, b| a || b }).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Cuts both regions at the points of either and joins their pieces.
    fn merged(&self, other: &Self, algebra: &Algebra, with: fn(bool, bool) -> bool) -> Result<Self, Halt> {
        let mut points = Vec::new();
        let mut pieces = Vec::new();
        let (mut left, mut right) = (0, 0);
        loop {
            // The gap before the next point of either.
            pieces.push(with(self.pieces[2 * left], other.pieces[2 * right]));
            let order = match (self.points.get(left), other.points.get(right)) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => algebra.compare(a, b)?.ok_or(Halt::Unreadable("ends that cannot be ordered"))?,
            };
            let here = |region: &Self, at: usize, reached: bool| region.pieces[2 * at + usize::from(reached)];
            let (on_left, on_right) = (order != Ordering::Greater, order != Ordering::Less);
            pieces.push(with(here(self, left, on_left), here(other, right, on_right)));
            let from = if on_left { &self.points[left] } else { &other.points[right] };
            points.push(from.clone());
            left += usize::from(on_left);
            right += usize::from(on_right);
            if points.len() > MAX_POINTS {
                return Err(Halt::TooLarge);
            }
        }
        let name = self.name.clone().or_else(|| other.name.clone());
        Ok(Self { points, pieces, name, certain: self.certain || other.certain })
    }
}

fn flipped(order: Order) -> Order {
    match order {
        Order::Less => Order::Greater,
        Order::Greater => Order::Less,
        Order::LessOrEqual => Order::GreaterOrEqual,
        Order::GreaterOrEqual => Order::LessOrEqual,
        order => order,
    }
}

/// The value of a node that is a real constant.
fn constant(algebra: &Algebra, node: &Node) -> Result<Option<Quotient>, Halt> {
    if !super::compare::is_expression(node) || node.is_double() {
        return Ok(None);
    }
    let value = algebra.lower(node, Units::Drop)?;
    let real = !value.generators().into_iter().any(|g| algebra.is(g, |kind| *kind == Kind::Imaginary));
    let constant = real && algebra.is_constant(&value.above) && algebra.is_constant(&value.below);
    Ok(constant.then_some(value))
}
