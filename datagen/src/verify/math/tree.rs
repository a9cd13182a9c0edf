//! What an answer says, as it was written: nothing is computed yet, only brackets, signs and words are understood.

use super::limits::Rational;
use super::units::Unit;

/// A function with a name, or with brackets of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Function {
    Sin,
    Cos,
    Tan,
    Cot,
    Sec,
    Csc,
    Arcsin,
    Arccos,
    Arctan,
    Sinh,
    Cosh,
    Tanh,
    Exp,
    Ln,
    /// Base and argument.
    Log,
    Abs,
    Floor,
    Ceil,
    Factorial,
    /// `n!!`: every other factor.
    DoubleFactorial,
    /// n over k.
    Binomial,
    /// Two arguments or more.
    Gcd,
    Lcm,
    Min,
    Max,
}

/// How two sides of a relation stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Approximately,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SetOperation {
    Union,
    Intersection,
    Difference,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Number(Rational),
    Symbol(String),
    Pi,
    Euler,
    Imaginary,
    Infinity,
    Unit(Unit),
    Sum(Vec<Node>),
    Product(Vec<Node>),
    Negative(Box<Node>),
    Quotient(Box<Node>, Box<Node>),
    /// Hundredths, written with a sign or a word for percent.
    Percent(Box<Node>),
    Power(Box<Node>, Box<Node>),
    /// Degree and radicand.
    Root(Box<Node>, Box<Node>),
    Call(Function, Vec<Node>),
    /// Known by name only: sums, integrals, limits, functions that the problem defined.
    Opaque(String, Vec<Node>),
    /// `\pm` (true) or `\mp` before a term.
    PlusMinus(bool, Box<Node>),
    /// `3:2`
    Proportion(Vec<Node>),
    /// Anything in round or square brackets that is not one expression: a tuple, or an interval.
    Group(char, Vec<Node>, char),
    Set(Vec<Node>),
    /// `{x : condition}`
    SetBuilder(Box<Node>, Box<Node>),
    Empty,
    /// All reals, or another set with a letter of its own.
    NamedSet(char),
    Operation(SetOperation, Box<Node>, Box<Node>),
    Matrix(Vec<Vec<Node>>),
    Relation(Box<Node>, Vec<(Order, Node)>),
    /// Several answers: `a, b`, `a and b`, `a or b`.
    List(Vec<Node>),
    /// Conditions that hold together: `x > 1 and x < 3`.
    Both(Vec<Node>),
    /// Conditions with commas between them: they hold together, or one of them does where they cannot.
    Conditions(Vec<Node>),
}

impl Node {
    pub(super) fn integer(value: i64) -> Self {
        Self::Number(Rational::from_integer(value.into()))
    }

    /// Whether it compares its sides by size, or tells them apart.
    pub(super) fn is_inequality(&self) -> bool {
        let apart = |order: &Order| !matches!(order, Order::Equal | Order::In | Order::Approximately);
        matches!(self, Self::Relation(_, rest) if rest.iter().any(|(order, _)| apart(order)))
    }

    /// Calls `visit` on this node and on every node inside it.
    pub(super) fn walk<'a>(&'a self, visit: &mut dyn FnMut(&'a Node)) {
        visit(self);
        match self {
            Self::Sum(items)
            | Self::Product(items)
            | Self::Call(_, items)
            | Self::Opaque(_, items)
            | Self::Proportion(items)
            | Self::Group(_, items, _)
            | Self::Set(items)
            | Self::List(items)
            | Self::Both(items)
            | Self::Conditions(items) => items.iter().for_each(|item| item.walk(visit)),
            Self::Negative(inner) | Self::Percent(inner) | Self::PlusMinus(_, inner) => inner.walk(visit),
            Self::Quotient(a, b)
            | Self::Power(a, b)
            | Self::Root(a, b)
            | Self::SetBuilder(a, b)
            | Self::Operation(_, a, b) => {
                a.walk(visit);
                b.walk(visit);
            }
            Self::Matrix(rows) => rows.iter().flatten().for_each(|item| item.walk(visit)),
            Self::Relation(first, rest) => {
                first.walk(visit);
                rest.iter().for_each(|(_, side)| side.walk(visit));
            }
            Self::Number(_)
            | Self::Symbol(_)
            | Self::Pi
            | Self::Euler
            | Self::Imaginary
            | Self::Infinity
            | Self::Unit(_)
            | Self::Empty
            | Self::NamedSet(_) => {}
        }
    }

    /// Whether this node or one inside it is `wanted`.
    pub(super) fn any(&self, wanted: impl Fn(&Node) -> bool) -> bool {
        let mut found = false;
        self.walk(&mut |node| found |= wanted(node));
        found
    }
}
