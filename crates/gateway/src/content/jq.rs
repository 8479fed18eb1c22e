//! Programs in jq's language.
//!
//! The interpreter has no brake of its own, so what could run without end is refused when a program is
//! read: definitions that call themselves, and the words that repeat. What is left ends; how soon is
//! bounded by whoever waits for it, off the worker. What makes much of little has bounds of its own.

mod bounded;
mod looping;
mod nesting;

use jaq_core::data::JustLut;
use jaq_core::load::parse::Def;
use jaq_core::load::{self, Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Filter, RunPtr, Vars, native, unwrap_valr};
use jaq_json::Val;
use transom_settings::json::{Value as Json, from_str, from_value};

type Data = JustLut<Val>;

/// A program that was read once.
pub struct JqProgram {
    filter: Filter<Data>,
}

impl std::fmt::Debug for JqProgram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JqProgram")
    }
}

/// What is told of an exchange.
const FACTS: [&str; 2] = ["$request", "$identity"];
/// What the program is called among the definitions.
const PROGRAM: &str = "transom_program";

/// Why nothing came of a program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JqError {
    #[error("it gave nothing")]
    Nothing,
    #[error("{0}")]
    Failed(String),
}

impl JqProgram {
    /// # Errors
    /// What is wrong with it.
    pub fn new(source: &str) -> Result<Self, String> {
        nesting::check(source)?;
        let Some(mut term) = load::parse(source, |parser| parser.term()) else {
            return Err(why_not(source));
        };
        looping::check(&term)?;
        bounded::with_products(&mut term);
        let program = Def { name: PROGRAM, args: Vec::new(), body: term };
        let definitions = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
        let mut definitions: Vec<Def<&str>> = definitions.collect();
        definitions.push(program);
        let natives = jaq_core::funs::<Data>().chain(jaq_std::funs()).chain(jaq_json::funs());
        let natives = natives.filter(|(name, ..)| !["range", "fromjson"].contains(name));
        let own: [native::Filter<RunPtr<Data>>; 3] = [
            ("range", native::v(3), |cv| bounded::range(cv)),
            (bounded::TIMES, native::v(2), |cv| bounded::times(cv)),
            ("fromjson", native::v(0), |cv| bounded::from_json(cv)),
        ];
        let own = own.into_iter().map(native::run::<Data>);
        let arena = Arena::default();
        let loader = Loader::new(definitions);
        let file = File { code: PROGRAM, path: () };
        let modules = loader.load(&arena, file).map_err(|_| "it cannot be read".to_owned())?;
        let filter = Compiler::default()
            .with_funs(natives.chain(own))
            .with_global_vars(FACTS)
            .compile(modules)
            .map_err(|errors| {
                let first = errors.iter().flat_map(|(_, errors)| errors).next();
                first.map_or_else(String::new, |(name, what)| {
                    format!("there is no {} `{name}`", what.as_str())
                })
            })?;
        Ok(JqProgram { filter })
    }

    /// The first value that it gives for this input.
    ///
    /// # Errors
    /// When there is none, or the program itself says so.
    pub fn run(&self, input: Json, facts: &Json) -> Result<Json, JqError> {
        let failed = |error: transom_settings::json::Error| JqError::Failed(error.to_string());
        let input: Val = from_value(input).map_err(failed)?;
        let fact = |name: &str| from_value(facts[&name[1..]].clone()).map_err(failed);
        let facts = FACTS.iter().map(|name| fact(name)).collect::<Result<Vec<Val>, _>>()?;
        let context = Ctx::<Data>::new(&self.filter.lut, Vars::new(facts));
        match self.filter.id.run((context, input)).map(unwrap_valr).next() {
            None => Err(JqError::Nothing),
            Some(Err(error)) => Err(JqError::Failed(error.to_string().chars().take(200).collect())),
            Some(Ok(value)) => json_of(&value),
        }
    }
}

/// Why it cannot be read.
fn why_not(source: &str) -> String {
    let arena = Arena::default();
    let loaded = Loader::new([]).load(&arena, File { code: source, path: () });
    let told = loaded.err().and_then(|errors| Some(not_read(source, &errors.first()?.1)));
    told.unwrap_or_else(|| "it is no program without directives such as `include`".to_owned())
}

/// What could not be read, and where.
fn not_read(source: &str, error: &load::Error<&str>) -> String {
    let line = |part: &str| {
        let start = load::span(source, part).start.min(source.len());
        source[..start].matches('\n').count() + 1
    };
    match error {
        load::Error::Io(_) => "it asks for another file".to_owned(),
        load::Error::Lex(errors) => errors.first().map_or_else(String::new, |(expected, found)| {
            format!("expected {} in line {}", expected.as_str(), line(found))
        }),
        load::Error::Parse(errors) => {
            errors.first().map_or_else(String::new, |(expected, found)| {
                format!("expected {} in line {}", expected.as_str(), line(found))
            })
        }
    }
}

fn json_of(value: &Val) -> Result<Json, JqError> {
    from_str(&value.to_string()).map_err(|_| JqError::Failed("it gave no JSON".to_owned()))
}

#[cfg(test)]
mod tests {
    use transom_settings::json::json;

    use super::*;

    fn run(source: &str, input: Json) -> Result<Json, String> {
        let facts = json!({ "request": { "method": "GET" }, "identity": null });
        let program = JqProgram::new(source)?;
        program.run(input, &facts).map_err(|error| error.to_string())
    }

    #[test]
    fn gw_22_programs_shape_json() {
        let order = json!({ "items": [{ "n": "b", "p": 2.5 }, { "n": "a", "p": 1 }], "secret": 1 });
        for (source, expected) in [
            ("del(.secret) | .items |= map(.n)", json!({ "items": ["b", "a"] })),
            (
                "{ total: ([.items[].p] | add), by: $request.method }",
                json!({ "total": 3.5, "by": "GET" }),
            ),
            (
                ".items | sort_by(.n) | map({ key: .n, value: .p }) | from_entries",
                json!({ "a": 1, "b": 2.5 }),
            ),
            ("$identity", Json::Null),
            ("def double: . * 2; .items[1].p | double", json!(2)),
            ("[range(3)]", json!([0, 1, 2])),
            ("[.. | numbers]", json!([2.5, 1, 1])),
            (".items[] | .n", json!("b")),
        ] {
            assert_eq!(run(source, order.clone()), Ok(expected), "{source}");
        }
        assert_eq!(run("empty", json!(1)), Err("it gave nothing".to_owned()));
        assert!(run(".a.b", json!("x")).is_err());
        assert!(run("[range(1000000)]", json!(0)).unwrap_err().contains("range counts"));
    }

    #[test]
    fn gw_22_little_input_does_not_become_much() {
        let texts = json!({ "price": "x".repeat(1000), "count": 1_000_000_000_000_u64 });
        for source in [
            ".price * .count",
            ".count * .price",
            ".price *= .count",
            "def f(g): g * .count; f(.price)",
            "[.price | . * 1000000]",
            "\"\\(.price * 18446744073709551616)\"",
            "{ (.price * 1000000): 1 }",
            "reduce .count as $n (.price; . * $n)",
            "if .price * .count then 1 else 2 end",
        ] {
            let why = run(source, texts.clone()).unwrap_err();
            assert!(why.contains("a text of more than"), "{source}: {why}");
        }
        for (source, expected) in [
            (". * 3", json!(21)),
            ("[.] | .[0] *= 2", json!([14])),
            ("\"ab\" * .", json!("ab".repeat(7))),
            ("{ a: { b: 1 } } * { a: { c: 2 } }", json!({ "a": { "b": 1, "c": 2 } })),
            ("(1, 2) * 3", json!(3)),
            ("\"007\" | tonumber", json!(7)),
            ("\"[1,{\\\"a\\\":2}]\" | fromjson", json!([1, { "a": 2 }])),
        ] {
            assert_eq!(run(source, json!(7)), Ok(expected), "{source}");
        }
        for deep in ["[".repeat(100_000), r#"{"a":"#.repeat(100_000)] {
            let why = run("fromjson", json!(deep)).unwrap_err();
            assert!(why.contains("nested deeper"), "{why}");
        }
        assert!(run(". * {}", json!(1)).is_err());
    }

    #[test]
    fn gw_22_what_could_run_without_end_is_not_taken() {
        for source in [
            "def f: f; f",
            "def f(g): def h: f(g); h; f(.)",
            "[recurse(. + 1)]",
            "[repeat(1)]",
            "until(false; .)",
            "[while(true; .)]",
            ".[] |= (def f: [f]; f)",
            "if recurse(.) then 1 else 2 end",
            "\"\\(repeat(.))\"",
            "{ a: repeat(1) }",
            "input",
            "env.HOME",
            "$ENV.HOME",
            "halt",
            ".[",
            "nothing_like_this",
            "import \"a\" as a; .",
            "module {}; repeat(1)",
            "transom_program",
        ] {
            assert!(JqProgram::new(source).is_err(), "{source}");
        }
        let where_ = JqProgram::new(".\n| [").unwrap_err();
        assert!(where_.contains("line 2"), "{where_}");
    }
}
