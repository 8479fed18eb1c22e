//! What a checked expression consists of.

use jiff::tz::TimeZone;
use regex::bytes::Regex;
use transom_proxy::fields::Known;

use super::functions::{Clock, Function};
use super::names::{Fact, Map};
use super::parse::Binary;
use super::types::Constant;

/// A name that something is looked up by.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) name: Box<str>,
    /// Of a header field that has a number.
    pub(super) known: Option<Known>,
}

impl Key {
    pub(super) fn of(map: Map, name: &str) -> Self {
        let known = (map == Map::Headers).then(|| Known::of(name.as_bytes())).flatten();
        Key { name: name.into(), known }
    }
}

/// Which of the items have to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Each {
    All,
    Some,
    One,
}

/// A part of a program.
#[derive(Debug)]
pub enum Code {
    #[allow(private_interfaces, reason = "only this folder looks inside")]
    Constant(Constant),
    Fact(Fact),
    Map(Map),
    #[allow(private_interfaces, reason = "as above")]
    Entry(Map, Key),
    EntryOf(Map, Box<Code>),
    Member(Box<Code>, Box<str>),
    Index(Box<Code>, Box<Code>),
    List(Box<[Code]>),
    /// An item that `all` or `exists` is at.
    Local(usize),
    Not(Box<Code>),
    Negative(Box<Code>),
    And(Box<Code>, Box<Code>),
    Or(Box<Code>, Box<Code>),
    If(Box<[Code; 3]>),
    #[allow(private_interfaces, reason = "as above")]
    Binary(Binary, Box<Code>, Box<Code>),
    Has(Box<Code>),
    #[allow(private_interfaces, reason = "as above")]
    Call(Function, Box<[Code]>),
    #[allow(private_interfaces, reason = "as above")]
    Clock(Clock, Box<Code>, TimeZone),
    Matches(Box<Code>, Regex),
    #[allow(private_interfaces, reason = "as above")]
    Each(Each, Box<Code>, Box<Code>),
}

/// A checked expression.
#[derive(Debug)]
pub struct Program {
    pub(super) code: Code,
}
