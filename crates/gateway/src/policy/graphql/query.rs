//! What a GraphQL document asks for: how deep, how much, of what.

use std::collections::{HashMap, HashSet};

use apollo_parser::Parser;
use apollo_parser::cst::{self, CstNode, Definition, Document, Selection, SelectionSet};
use transom_settings::json::Value as Json;

/// What one document may ask for at most.
#[derive(Clone, Debug)]
pub struct Most {
    pub depth: u32,
    pub complexity: u64,
    pub aliases: u64,
    pub tokens: usize,
    /// Arguments that say how many items a list has.
    pub sizes: Vec<String>,
    /// Items of a list whose size is not said.
    pub default_size: u64,
}

/// What a document asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// Fields inside of each other.
    pub depth: u32,
    /// Fields, each as often as the lists around it have items.
    pub complexity: u64,
    pub aliases: u64,
    /// It asks for the schema.
    pub introspects: bool,
    /// It is a mutation or a subscription.
    pub kind: Kind,
    /// The name of the operation.
    pub name: Option<String>,
    /// The fields at its root, each once.
    pub roots: Vec<String>,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    Query,
    Mutation,
    Subscription,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Query => "query",
            Kind::Mutation => "mutation",
            Kind::Subscription => "subscription",
        }
    }
}

/// Why a document is not passed on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the document is not GraphQL: {0}")]
    Syntax(String),
    #[error("it defines types, which only servers do")]
    Types,
    #[error("there is no operation in it")]
    Nothing,
    #[error("several operations, and `operationName` names none of them")]
    Which,
    #[error("fragment `{0}` uses itself")]
    Cycle(String),
    #[error("there is no fragment `{0}`")]
    NoFragment(String),
    #[error("selections stand more than {DEEPEST} deep inside of each other")]
    Nested,
    #[error("depth {0} is more than {1}")]
    Depth(u32, u32),
    #[error("complexity {0} is more than {1}")]
    Complexity(u64, u64),
    #[error("{0} aliases are more than {1}")]
    Aliases(u64, u64),
}

/// Selections may stand so deep inside of each other before their depth is even counted, through all
/// fragments: each takes some of the stack.
const DEEPEST: usize = 200;

/// What the operation of this name asks for, or the only one.
///
/// # Errors
/// Why it cannot be told, or is too much.
pub fn weigh(
    document: &str,
    operation: Option<&str>,
    variables: &Json,
    most: &Most,
) -> Result<Weight, Refused> {
    let parser = Parser::new(document).token_limit(most.tokens).recursion_limit(DEEPEST);
    let tree = parser.parse();
    if let Some(error) = tree.errors().next() {
        return Err(Refused::Syntax(error.message().to_owned()));
    }
    let document: Document = tree.document();
    let mut fragments = HashMap::new();
    let mut operations = Vec::new();
    for definition in document.definitions() {
        match definition {
            Definition::OperationDefinition(operation) => operations.push(operation),
            Definition::FragmentDefinition(fragment) => {
                let name = fragment.fragment_name().and_then(|name| name.name());
                let name = name.map(|name| name.text().to_string()).unwrap_or_default();
                fragments.insert(name, fragment);
            }
            _ => return Err(Refused::Types),
        }
    }
    let name_of =
        |operation: &cst::OperationDefinition| operation.name().map(|name| name.text().to_string());
    let chosen = match (operation, &operations[..]) {
        (_, []) => return Err(Refused::Nothing),
        (None, [only]) => only,
        (wanted, all) => {
            let named = |one: &&cst::OperationDefinition| name_of(one).as_deref() == wanted;
            all.iter().filter(|_| wanted.is_some()).find(named).ok_or(Refused::Which)?
        }
    };
    let kind = chosen.operation_type().map(|kind| kind.syntax().text().to_string());
    let mut weighing = Weighing {
        most,
        variables,
        defaults: defaults(chosen),
        fragments,
        known: HashMap::new(),
        inside: HashSet::new(),
        level: 0,
    };
    let sum = match chosen.selection_set() {
        Some(set) => weighing.set(&set)?,
        None => Sum::default(),
    };
    if sum.depth > most.depth {
        return Err(Refused::Depth(sum.depth, most.depth));
    }
    if sum.complexity > most.complexity {
        return Err(Refused::Complexity(sum.complexity, most.complexity));
    }
    if sum.aliases > most.aliases {
        return Err(Refused::Aliases(sum.aliases, most.aliases));
    }
    let mut roots = Vec::new();
    if let Some(set) = chosen.selection_set() {
        weighing.roots(&set, &mut HashSet::new(), &mut roots);
    }
    Ok(Weight {
        roots,
        depth: sum.depth,
        complexity: sum.complexity,
        aliases: sum.aliases,
        introspects: sum.introspects,
        kind: match kind.as_deref().map(str::trim) {
            Some("mutation") => Kind::Mutation,
            Some("subscription") => Kind::Subscription,
            _ => Kind::Query,
        },
        name: name_of(chosen),
    })
}

/// The variables that the operation has a value for by itself.
fn defaults(operation: &cst::OperationDefinition) -> HashMap<String, u64> {
    let definitions = operation.variable_definitions();
    let definitions = definitions.into_iter().flat_map(|all| all.variable_definitions());
    let default = |definition: cst::VariableDefinition| {
        let name = definition.variable()?.name()?.text().to_string();
        let value = definition.default_value()?.value()?;
        Some((name, written_size(&value.syntax().text().to_string())?))
    };
    definitions.filter_map(default).collect()
}

/// How many items a number asks for, in whichever form it is written: `1e3` is a thousand for servers, too. What is
/// less than nothing is no limit for some.
fn size(number: f64) -> u64 {
    if number < 0.0 { u64::MAX } else { number as u64 }
}

fn written_size(text: &str) -> Option<u64> {
    text.trim().parse().ok().map(size)
}

/// What a selection asks for.
#[derive(Clone, Copy, Default)]
struct Sum {
    depth: u32,
    complexity: u64,
    aliases: u64,
    introspects: bool,
}

impl Sum {
    fn and(self, other: Sum) -> Sum {
        Sum {
            depth: self.depth.max(other.depth),
            complexity: self.complexity.saturating_add(other.complexity),
            aliases: self.aliases.saturating_add(other.aliases),
            introspects: self.introspects || other.introspects,
        }
    }
}

struct Weighing<'a> {
    most: &'a Most,
    variables: &'a Json,
    defaults: HashMap<String, u64>,
    fragments: HashMap<String, cst::FragmentDefinition>,
    /// Fragments that were weighed already: each is, once, however often it is used.
    known: HashMap<String, Sum>,
    /// Fragments that are being weighed.
    inside: HashSet<String>,
    /// Selections that are being weighed, each inside of the one before.
    level: usize,
}

impl Weighing<'_> {
    fn set(&mut self, set: &SelectionSet) -> Result<Sum, Refused> {
        self.level += 1;
        if self.level > DEEPEST {
            return Err(Refused::Nested);
        }
        let mut sum = Sum::default();
        for selection in set.selections() {
            let one = match selection {
                Selection::Field(field) => self.field(&field)?,
                Selection::InlineFragment(fragment) => match fragment.selection_set() {
                    Some(set) => self.set(&set)?,
                    None => Sum::default(),
                },
                Selection::FragmentSpread(spread) => {
                    let name = spread.fragment_name().and_then(|name| name.name());
                    let name = name.map(|name| name.text().to_string()).unwrap_or_default();
                    self.fragment(name)?
                }
            };
            sum = sum.and(one);
        }
        self.level -= 1;
        Ok(sum)
    }

    /// The fields of a selection by their own names; fragments are looked into once.
    fn roots(&self, set: &SelectionSet, seen: &mut HashSet<String>, all: &mut Vec<String>) {
        for selection in set.selections() {
            match selection {
                Selection::Field(field) => {
                    let name = field.name().map(|name| name.text().to_string());
                    all.extend(name.filter(|name| !all.contains(name)));
                }
                Selection::InlineFragment(fragment) => {
                    if let Some(set) = fragment.selection_set() {
                        self.roots(&set, seen, all);
                    }
                }
                Selection::FragmentSpread(spread) => {
                    let name = spread.fragment_name().and_then(|name| name.name());
                    let name = name.map(|name| name.text().to_string()).unwrap_or_default();
                    let fragment = self.fragments.get(&name).and_then(|one| one.selection_set());
                    if let Some(set) = fragment.filter(|_| seen.insert(name)) {
                        self.roots(&set, seen, all);
                    }
                }
            }
        }
    }

    fn field(&mut self, field: &cst::Field) -> Result<Sum, Refused> {
        let name = field.name().map(|name| name.text().to_string()).unwrap_or_default();
        let within = match field.selection_set() {
            Some(set) => self.set(&set)?,
            None => Sum::default(),
        };
        let items = if field.selection_set().is_some() { self.items(field) } else { 1 };
        Ok(Sum {
            depth: within.depth.saturating_add(1),
            complexity: within.complexity.saturating_mul(items).saturating_add(1),
            aliases: within.aliases.saturating_add(u64::from(field.alias().is_some())),
            introspects: within.introspects || matches!(&*name, "__schema" | "__type"),
        })
    }

    /// How many items it asks for.
    fn items(&self, field: &cst::Field) -> u64 {
        let arguments = field.arguments();
        let arguments = arguments.into_iter().flat_map(|all| all.arguments());
        let sizes = arguments.filter_map(|argument| {
            let name = argument.name()?.text().to_string();
            self.most.sizes.iter().find(|known| **known == name)?;
            let text = argument.value()?.syntax().text().to_string();
            match text.trim().strip_prefix('$') {
                None => written_size(&text),
                Some(variable) => {
                    let given = self.variables.get(variable).and_then(|given| match given {
                        Json::String(text) => written_size(text),
                        given => given.as_f64().map(size),
                    });
                    given.or_else(|| self.defaults.get(variable).copied())
                }
            }
        });
        sizes.max().unwrap_or(self.most.default_size).max(1)
    }

    fn fragment(&mut self, name: String) -> Result<Sum, Refused> {
        if let Some(sum) = self.known.get(&name) {
            return Ok(*sum);
        }
        if !self.inside.insert(name.clone()) {
            return Err(Refused::Cycle(name));
        }
        let fragment = self.fragments.get(&name).cloned();
        let fragment = fragment.ok_or_else(|| Refused::NoFragment(name.clone()))?;
        let sum = match fragment.selection_set() {
            Some(set) => self.set(&set)?,
            None => Sum::default(),
        };
        self.inside.remove(&name);
        self.known.insert(name, sum);
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use transom_settings::json::json;

    use super::*;

    fn most() -> Most {
        Most {
            depth: 5,
            complexity: 100,
            aliases: 3,
            tokens: 1000,
            sizes: vec!["first".to_owned(), "last".to_owned()],
            default_size: 1,
        }
    }

    #[test]
    fn gw_25_what_stands_at_the_root_is_known_by_its_own_name() {
        for (document, expected) in [
            ("{ a { x } b }", &["a", "b"][..]),
            ("mutation Harmless { x: pay y: pay }", &["pay"]),
            (
                "mutation { ...F ... on M { c } } fragment F on M { b ...G } fragment G on M { a }",
                &["b", "a", "c"],
            ),
        ] {
            let found = weigh(document, None, &json!({}), &most()).unwrap();
            assert_eq!(found.roots, expected, "{document}");
        }
    }

    #[test]
    fn gw_25_documents_are_weighed() {
        for (document, name, variables, expected) in [
            ("{ a }", None, json!({}), Ok((1, 1, 0))),
            ("{ a { b { c } } d }", None, json!({}), Ok((3, 4, 0))),
            ("query Q { x: a y: b }", Some("Q"), json!({}), Ok((1, 2, 2))),
            ("{ a(first: 10) { b c } }", None, json!({}), Ok((2, 21, 0))),
            ("query($n: Int) { a(first: $n) { b } }", None, json!({ "n": 20 }), Ok((2, 21, 0))),
            ("query($n: Int = 7) { a(first: $n) { b } }", None, json!({}), Ok((2, 8, 0))),
            ("{ ...F } fragment F on T { a { b } }", None, json!({}), Ok((2, 2, 0))),
            ("{ ... on T { a } ... @include(if: true) { b } }", None, json!({}), Ok((1, 2, 0))),
            (
                "{ a(first: 10) { b(last: 10) { c } } }",
                None,
                json!({}),
                Err("complexity 111 is more than 100"),
            ),
            ("{ a { b { c { d { e { f } } } } } }", None, json!({}), Err("depth 6 is more than 5")),
            ("{ a: x b: x c: x d: x }", None, json!({}), Err("4 aliases are more than 3")),
            (
                "{ ...F } fragment F on T { ...G } fragment G on T { ...F }",
                None,
                json!({}),
                Err("fragment `F` uses itself"),
            ),
            ("{ ...F }", None, json!({}), Err("there is no fragment `F`")),
            (
                "query A { a } query B { b }",
                None,
                json!({}),
                Err("several operations, and `operationName` names none of them"),
            ),
            ("query A { a } query B { b { c } }", Some("B"), json!({}), Ok((2, 2, 0))),
            (
                "query A { a }",
                Some("C"),
                json!({}),
                Err("several operations, and `operationName` names none of them"),
            ),
            ("fragment F on T { a }", None, json!({}), Err("there is no operation in it")),
            ("type T { a: Int }", None, json!({}), Err("it defines types, which only servers do")),
        ] {
            let found = weigh(document, name, &variables, &most());
            let found =
                found.map(|w| (w.depth, w.complexity, w.aliases)).map_err(|e| e.to_string());
            assert_eq!(found, expected.map_err(str::to_owned), "{document}");
        }
        assert!(matches!(weigh("{ a", None, &json!({}), &most()), Err(Refused::Syntax(_))));
        assert!(matches!(
            weigh(&"{a".repeat(5000), None, &json!({}), &most()),
            Err(Refused::Syntax(_))
        ));
        let long = format!("{{ {} }}", "a ".repeat(2000));
        assert!(matches!(weigh(&long, None, &json!({}), &most()), Err(Refused::Syntax(_))));
    }

    #[test]
    fn gw_25_a_size_is_known_in_whichever_form_it_is_written() {
        let all = u64::MAX;
        for (given, expected) in [
            (json!(10), 11),
            (json!(10.0), 11),
            (json!(1e1), 11),
            (json!("10"), 11),
            (json!(-1), all),
            (json!(1e300), all),
            (json!(0.5), 2),
            (json!(null), 8),
            (json!(true), 8),
            (json!([10]), 8),
        ] {
            let document = "query($n: Int = 7) { a(first: $n) { b } }";
            let most = Most { complexity: u64::MAX, ..most() };
            let found = weigh(document, None, &json!({ "n": given.clone() }), &most).unwrap();
            assert_eq!(found.complexity, expected, "{given}");
        }
        for (written, expected) in
            [("10", 11), ("1e1", 11), ("-1", all), ("\"10\"", 2), ("null", 2)]
        {
            let document = format!("{{ a(first: {written}) {{ b }} }}");
            let most = Most { complexity: u64::MAX, ..most() };
            let found = weigh(&document, None, &json!({}), &most).unwrap();
            assert_eq!(found.complexity, expected, "{written}");
        }
    }

    #[test]
    fn gw_25_fragments_that_double_are_weighed_once_and_counted_always() {
        let mut document = "{ ...F0 }".to_owned();
        for number in 0..60 {
            let next = number + 1;
            document += &format!(" fragment F{number} on T {{ ...F{next} ...F{next} }}");
        }
        document += " fragment F60 on T { a }";
        let found = weigh(&document, None, &json!({}), &Most { tokens: 10_000, ..most() });
        assert_eq!(found, Err(Refused::Complexity(1 << 60, 100)));
    }

    /// Fragments that lie in each other take no more of the stack than what is written out; a worker has
    /// 2 MiB, as a thread of a test has.
    #[test]
    fn gw_25_a_chain_of_deep_fragments_is_refused_before_it_takes_the_stack() {
        let chain = |deep: usize, fragments: usize| {
            let mut document = "{ ...F0 }".to_owned();
            for number in 0..fragments {
                let (open, close) = ("a {".repeat(deep), "}".repeat(deep));
                document +=
                    &format!(" fragment F{number} on T {{ {open} ...F{} {close} }}", number + 1);
            }
            document + &format!(" fragment F{fragments} on T {{ a }}")
        };
        let most = Most { depth: 100_000, complexity: 100_000, tokens: 1_000_000, ..most() };
        let weighed = |deep, fragments| weigh(&chain(deep, fragments), None, &json!({}), &most);
        assert_eq!(weighed(3, 30).unwrap().depth, 91);
        for (deep, fragments) in [(190, 2), (190, 400), (0, 5000)] {
            assert_eq!(weighed(deep, fragments), Err(Refused::Nested), "{deep} {fragments}");
        }
    }

    #[test]
    fn gw_25_what_an_operation_is_is_known() {
        for (document, introspects, kind) in [
            ("{ __schema { types { name } } }", true, Kind::Query),
            ("{ ...F } fragment F on Query { __type(name: \"A\") { name } }", true, Kind::Query),
            ("{ a { __typename } }", false, Kind::Query),
            ("mutation M { pay }", false, Kind::Mutation),
            ("subscription { news }", false, Kind::Subscription),
        ] {
            let found = weigh(document, None, &json!({}), &most()).unwrap();
            assert_eq!((found.introspects, found.kind), (introspects, kind), "{document}");
        }
    }
}
