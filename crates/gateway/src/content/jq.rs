//! Programs in jq's language.
//!
//! The interpreter has no brake of its own, so what could run without end is refused when a program is
//! read: definitions that call themselves, and the words that repeat. What is left ends; how soon is
//! bounded by whoever waits for it, off the worker.

mod looping;
mod nesting;

use jaq_core::data::JustLut;
use jaq_core::load::{self, Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Cv, Exn, Filter, RunPtr, ValXs, Vars, native, unwrap_valr};
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
/// Numbers that `range` counts at most.
const LONGEST_RANGE: usize = 100_000;

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
        if let Some(term) = load::parse(source, |parser| parser.term()) {
            looping::check(&term)?;
        }
        let definitions = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
        let natives = jaq_core::funs::<Data>().chain(jaq_std::funs()).chain(jaq_json::funs());
        let natives = natives.filter(|(name, ..)| *name != "range");
        let range: native::Filter<RunPtr<Data>> = ("range", native::v(3), |cv| range(cv));
        let range = native::run::<Data>(range);
        let arena = Arena::default();
        let loader = Loader::new(definitions);
        let modules = loader.load(&arena, File { code: source, path: () }).map_err(|errors| {
            errors.first().map_or_else(String::new, |(_, error)| not_read(source, error))
        })?;
        let filter = Compiler::default()
            .with_funs(natives.chain([range]))
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

/// `range` that comes to an end.
fn range(mut cv: Cv<'_, Data>) -> ValXs<'_, Val> {
    let (by, to, from) = (cv.0.pop_var(), cv.0.pop_var(), cv.0.pop_var());
    let zero = Val::from(0isize);
    let (mut next, mut left) = (from, LONGEST_RANGE);
    Box::new(std::iter::from_fn(move || {
        let more = match by.cmp(&zero) {
            std::cmp::Ordering::Greater => next < to,
            std::cmp::Ordering::Less => next > to,
            std::cmp::Ordering::Equal => next != to,
        };
        left = left.checked_sub(1).filter(|_| more)?;
        if left == 0 {
            let why = format!("range counts more than {LONGEST_RANGE}");
            return Some(Err(Exn::from(jaq_core::Error::new(Val::from(why)))));
        }
        match next.clone() + by.clone() {
            Ok(sum) => Some(Ok(std::mem::replace(&mut next, sum))),
            Err(error) => {
                left = 0;
                Some(Err(Exn::from(error)))
            }
        }
    }))
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
        ] {
            assert!(JqProgram::new(source).is_err(), "{source}");
        }
        let where_ = JqProgram::new(".\n| [").unwrap_err();
        assert!(where_.contains("line 2"), "{where_}");
    }
}
