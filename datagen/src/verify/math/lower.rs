//! From the tree of one expression to its exact value.

use super::algebra::{Algebra, Kind, Quotient};
use super::limits::{Halt, MAX_DEPTH, Rational};
use super::tree::{Function, Node};
use super::units::Unit;

/// What becomes of units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Units {
    /// They count: 500 cm is 5 m, 180 degrees are pi, 3 apples are not 3 pears.
    Keep,
    /// They count, but not what is counted: 5 cm of rope are 5 cm.
    Measures,
    /// They are taken off: 5 cm is 5, 90 degrees are 90.
    Drop,
}

/// Trees may nest a little deeper than brackets do: `1/2/3` is two levels.
const MAX_NESTING: usize = 8 * MAX_DEPTH;

impl Algebra {
    pub(super) fn lower(&self, node: &Node, units: Units) -> Result<Quotient, Halt> {
        self.lower_at(node, units, 0)
    }

    fn lower_at(&self, node: &Node, units: Units, depth: usize) -> Result<Quotient, Halt> {
        if depth > MAX_NESTING {
            return Err(Halt::TooDeep);
        }
        self.budget.charge(1)?;
        let lower = |node: &Node| self.lower_at(node, units, depth + 1);
        // Angles inside functions are what they are: cos 15 degrees.
        let argument = |node: &Node| self.lower_at(node, Units::Keep, depth + 1);
        match node {
            Node::Number(value) => Ok(Quotient::rational(self.budget.number(value.clone())?)),
            Node::Symbol(name) => self.atom(Kind::Symbol(name.clone())),
            Node::Pi => self.atom(Kind::Pi),
            Node::Euler => self.atom(Kind::Euler),
            Node::Imaginary => self.atom(Kind::Imaginary),
            Node::Infinity => self.atom(Kind::Infinity),
            Node::Unit(_) if units == Units::Drop => Ok(Quotient::integer(1)),
            Node::Unit(Unit::Noun(_)) if units == Units::Measures => Ok(Quotient::integer(1)),
            Node::Unit(unit) => self.unit(unit),
            Node::Sum(terms) => {
                let mut sum = Quotient::integer(0);
                for term in terms {
                    sum = self.add(&sum, &lower(term)?)?;
                }
                Ok(sum)
            }
            Node::Product(factors) => {
                let mut product = Quotient::integer(1);
                for factor in factors {
                    product = self.multiply(&product, &lower(factor)?)?;
                }
                Ok(product)
            }
            Node::Negative(inner) => Ok(lower(inner)?.negated()),
            Node::Quotient(above, below) => self.divide(&lower(above)?, &lower(below)?),
            Node::Percent(points) => self.divide(&lower(points)?, &Quotient::integer(100)),
            Node::Power(base, exponent) => self.raise(&lower(base)?, &argument(exponent)?),
            Node::Root(degree, radicand) => {
                let (degree, radicand) = (lower(degree)?, lower(radicand)?);
                let degree = degree.as_integer().filter(|&degree| degree > 0).ok_or(Halt::NoValue)?;
                self.power(&radicand, &Rational::new(1.into(), degree.into()))
            }
            Node::Call(Function::Abs, arguments) => {
                self.call(Function::Abs, arguments.iter().map(lower).collect::<Result<_, _>>()?)
            }
            Node::Call(function, arguments) => {
                self.call(*function, arguments.iter().map(argument).collect::<Result<_, _>>()?)
            }
            Node::Opaque(name, parts) => {
                let mut lowered = Vec::new();
                for part in parts {
                    match part {
                        // The bound `k = 1` of a sum.
                        Node::Relation(first, rest) => {
                            lowered.push(lower(first)?);
                            for (_, side) in rest {
                                lowered.push(lower(side)?);
                            }
                        }
                        part => lowered.push(lower(part)?),
                    }
                }
                self.atom(Kind::Opaque(name.clone(), lowered))
            }
            Node::Proportion(parts) => match parts.as_slice() {
                [above, below] => self.divide(&lower(above)?, &lower(below)?),
                _ => Err(Halt::Unreadable("a proportion inside an expression")),
            },
            Node::PlusMinus(..)
            | Node::Group(..)
            | Node::Set(_)
            | Node::SetBuilder(..)
            | Node::Empty
            | Node::NamedSet(_)
            | Node::Operation(..)
            | Node::Matrix(_)
            | Node::Relation(..)
            | Node::List(_)
            | Node::Both(_)
            | Node::Conditions(_) => Err(Halt::Unreadable("no single expression")),
        }
    }

    fn raise(&self, base: &Quotient, exponent: &Quotient) -> Result<Quotient, Halt> {
        if let Some(exponent) = exponent.as_rational() {
            return self.power(base, &exponent);
        }
        if base.is_zero() {
            return Err(Halt::NoValue);
        }
        // a^b = e^(b ln a)
        self.exp(&self.multiply(exponent, &self.ln(base)?)?)
    }

    fn unit(&self, unit: &Unit) -> Result<Quotient, Halt> {
        match unit {
            Unit::Of { scale, bases } => {
                let mut value = Quotient::rational(scale.value());
                for &(base, exponent) in *bases {
                    let base = self.atom(Kind::Unit(base))?;
                    let power = self.power(&base, &Rational::from_integer(exponent.into()))?;
                    value = self.multiply(&value, &power)?;
                }
                Ok(value)
            }
            Unit::Degree => {
                self.multiply(&self.atom(Kind::Pi)?, &Quotient::rational(Rational::new(1.into(), 180.into())))
            }
            Unit::Radian => Ok(Quotient::integer(1)),
            Unit::Noun(name) if name.is_empty() => Ok(Quotient::integer(1)),
            Unit::Noun(name) => self.atom(Kind::Noun(name.clone())),
        }
    }
}

impl Node {
    /// Whether a plus-minus stands in it outside a list, set or matrix of its own.
    pub(super) fn is_double(&self) -> bool {
        match self {
            Node::PlusMinus(..) => true,
            Node::Sum(items) | Node::Product(items) | Node::Call(_, items) | Node::Group(_, items, _) => {
                items.iter().any(Node::is_double)
            }
            Node::Negative(inner) | Node::Percent(inner) => inner.is_double(),
            Node::Quotient(a, b) | Node::Power(a, b) | Node::Root(a, b) => a.is_double() || b.is_double(),
            Node::Relation(first, rest) => first.is_double() || rest.iter().any(|(_, side)| side.is_double()),
            _ => false,
        }
    }

    /// The expression with its upper signs or its lower ones.
    pub(super) fn branch(&self, upper: bool) -> Node {
        let all = |items: &[Node]| items.iter().map(|item| item.branch(upper)).collect();
        let one = |node: &Node| Box::new(node.branch(upper));
        match self {
            Node::PlusMinus(plus, inner) if *plus == upper => inner.branch(upper),
            Node::PlusMinus(_, inner) => Node::Negative(one(inner)),
            Node::Sum(items) => Node::Sum(all(items)),
            Node::Product(items) => Node::Product(all(items)),
            Node::Group(open, items, close) => Node::Group(*open, all(items), *close),
            Node::Call(function, items) => Node::Call(*function, all(items)),
            Node::Negative(inner) => Node::Negative(one(inner)),
            Node::Percent(points) => Node::Percent(one(points)),
            Node::Quotient(a, b) => Node::Quotient(one(a), one(b)),
            Node::Power(a, b) => Node::Power(one(a), one(b)),
            Node::Root(a, b) => Node::Root(one(a), one(b)),
            Node::Relation(first, rest) => {
                Node::Relation(one(first), rest.iter().map(|(order, side)| (*order, side.branch(upper))).collect())
            }
            other => other.clone(),
        }
    }
}
