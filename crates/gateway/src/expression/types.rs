//! Of which types the parts of an expression are, and values that stand in it.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

/// What a part of an expression comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Only the request tells: a claim.
    Any,
    Null,
    Bool,
    Int,
    Double,
    Text,
    Address,
    Block,
    Time,
    Duration,
    /// What is looked up by name.
    Map,
    List(&'static Type),
}

impl Type {
    /// Whether a value of this type may stand where `wanted` is.
    pub(super) fn fits(self, wanted: Type) -> bool {
        match (self, wanted) {
            (Type::Any, _) | (_, Type::Any) => true,
            (Type::List(a), Type::List(b)) => a.fits(*b),
            (a, b) => a == b,
        }
    }

    pub(super) fn comparable(self, other: Type) -> bool {
        let number = |kind| matches!(kind, Type::Int | Type::Double);
        let address = |kind| matches!(kind, Type::Address | Type::Text);
        let same = self.fits(other) || number(self) && number(other);
        same || address(self) && address(other) || self == Type::Null || other == Type::Null
    }

    pub(super) fn ordered(self) -> bool {
        use Type::{Any, Double, Duration, Int, Text, Time};
        matches!(self, Any | Int | Double | Text | Time | Duration)
    }

    /// A list of these.
    pub(super) fn list(self) -> Type {
        Type::List(match self {
            Type::Bool => &Type::Bool,
            Type::Int => &Type::Int,
            Type::Double => &Type::Double,
            Type::Text => &Type::Text,
            Type::Address => &Type::Address,
            Type::Block => &Type::Block,
            _ => &Type::Any,
        })
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Type::Any => "anything",
            Type::Null => "null",
            Type::Bool => "true or false",
            Type::Int => "a whole number",
            Type::Double => "a number",
            Type::Text => "a text",
            Type::Address => "an address",
            Type::Block => "a block of addresses",
            Type::Time => "a time",
            Type::Duration => "a duration",
            Type::Map => "a map",
            Type::List(_) => "a list",
        })
    }
}

/// A value that stands in the expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Constant {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Box<str>),
    Address(IpAddr),
    Block(IpNet),
    Duration(i64),
}
