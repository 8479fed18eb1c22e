//! Programs in jq's language.
//!
//! The interpreter has no brake of its own. What could run without end is refused when a program is read:
//! definitions that call themselves, and the words that repeat. What is left ends, but data may decide how
//! soon and with what: so a program is rewritten to count its steps, and has `bounds` for each run.

mod bounded;
mod bounds;
mod looping;
mod nesting;
mod rewriting;

use std::fmt::{self, Write};
use std::time::Duration;

use jaq_core::load::parse::Def;
use jaq_core::load::{self, Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Filter, Vars, unwrap_valr};
use jaq_json::Val;
use transom_settings::json::{Value as Json, from_str, from_value};

use self::bounds::{Bounds, Data, LATE, Running};
use self::rewriting::Rewriting;

/// A program that was read once.
pub struct JqProgram {
    filter: Filter<Data>,
    /// Places in it that can add a level to a value.
    levels: u64,
}

impl fmt::Debug for JqProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JqProgram")
    }
}

/// What is told of an exchange.
const FACTS: [&str; 2] = ["$request", "$identity"];
/// What the program is called among the definitions.
const PROGRAM: &str = "transom_program";

/// Filters of the language that are no ends of a way to values, but parts of it.
const ON_THE_WAY: [&str; 4] = ["first", "last", "limit", "skip"];

/// Why nothing came of a program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JqError {
    #[error("it gave nothing")]
    Nothing,
    #[error("it takes longer than it may")]
    Late,
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
        let natives = jaq_core::funs::<Data>().chain(jaq_std::funs()).chain(jaq_json::funs());
        let natives = natives.filter(|(name, ..)| !bounded::ANEW.contains(name));
        let natives: Vec<_> = natives.collect();
        let names = natives.iter().map(|(name, ..)| *name);
        let names: Vec<_> = names.filter(|name| !ON_THE_WAY.contains(name)).collect();
        let mut rewriting = Rewriting { natives: &names, builds: false, levels: 0 };
        let definitions = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
        let mut definitions: Vec<Def<&str>> = definitions.collect();
        definitions.iter_mut().for_each(|one| rewriting.definition(one));
        (rewriting.builds, rewriting.levels) = (true, 0);
        rewriting.term(&mut term);
        definitions.push(Def { name: PROGRAM, args: Vec::new(), body: term });
        let levels = rewriting.levels;
        let arena = Arena::default();
        let loader = Loader::new(definitions);
        let file = File { code: PROGRAM, path: () };
        let modules = loader.load(&arena, file).map_err(|_| "it cannot be read".to_owned())?;
        let filter = Compiler::default()
            .with_funs(natives.into_iter().chain(bounded::filters()))
            .with_global_vars(FACTS)
            .compile(modules)
            .map_err(|errors| {
                let first = errors.iter().flat_map(|(_, errors)| errors).next();
                first.map_or_else(String::new, |(name, what)| {
                    format!("there is no {} `{name}`", what.as_str())
                })
            })?;
        Ok(JqProgram { filter, levels })
    }

    /// The first value that it gives for this input within this time.
    ///
    /// # Errors
    /// When there is none, it takes too much, or the program itself says so.
    pub fn run(&self, input: Json, facts: &Json, patience: Duration) -> Result<Json, JqError> {
        let failed = |error: transom_settings::json::Error| JqError::Failed(error.to_string());
        let input: Val = from_value(input).map_err(failed)?;
        let fact = |name: &str| from_value(facts[&name[1..]].clone()).map_err(failed);
        let facts = FACTS.iter().map(|name| fact(name)).collect::<Result<Vec<Val>, _>>()?;
        let bounds = Bounds::new(&input, patience, self.levels).map_err(JqError::Failed)?;
        let running = Running { lut: &self.filter.lut, bounds: &bounds };
        let context = Ctx::<Data>::new(running, Vars::new(facts));
        let given = self.filter.id.run((context, input)).map(unwrap_valr).next();
        // though the program may not have minded
        match bounds.over() {
            Some(LATE) => return Err(JqError::Late),
            Some(why) => return Err(JqError::Failed(why.to_owned())),
            None => {}
        }
        match given {
            None => Err(JqError::Nothing),
            Some(Err(error)) => Err(JqError::Failed(told(error))),
            Some(Ok(value)) => {
                bounds.written(&value).map_err(JqError::Failed)?;
                json_of(&value)
            }
        }
    }
}

/// What the program says, of which there may be much.
fn told(error: jaq_core::Error<Val>) -> String {
    let mut out = Short(String::new());
    // it ends by this where there is more
    let _ = write!(out, "{error}");
    out.0
}

/// The beginning of a text.
struct Short(String);

impl Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let left = 200_usize.saturating_sub(self.0.chars().count());
        self.0.extend(text.chars().take(left));
        if text.chars().nth(left).is_some() { Err(fmt::Error) } else { Ok(()) }
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
        program.run(input, &facts, Duration::from_secs(20)).map_err(|error| error.to_string())
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
    fn gw_22_data_decide_neither_how_deep_a_value_is_nor_how_large() {
        let many = json!({
            "list": vec![1; 5000],
            "path": vec!["a"; 5000],
            "text": "x".repeat(100_000),
        });
        for (source, expected) in [
            ("reduce .list[] as $x (null; [.])", "deeper"),
            ("reduce .list[] as $x (null; [[[[[[[[[[[[[[[[[[[[.]]]]]]]]]]]]]]]]]]]])", "deeper"),
            ("reduce .list[] as $x (null; { a: . }) | 1", "deeper"),
            ("reduce .list[] as $x (null; . as $y | {} | .a = $y) | 1", "deeper"),
            ("[foreach .list[] as $x (null; [.])] | length", "deeper"),
            ("def f: [.]; reduce .list[] as $x (null; f | f | f) | 1", "deeper"),
            ("reduce range(99000) as $x (null; [., 1, .]) | 1", "too large"),
            ("reduce range(40) as $x ([1]; [., .])", "too "),
            ("reduce range(40) as $x ([1]; [., .]) | tojson | length", "too "),
            ("reduce range(40) as $x ([1]; [., .]) | \"\\(.)\" | length", "too "),
            ("reduce range(40) as $x ([1]; [., .]) | error", "[[["),
            ("reduce range(60) as $x (.text; . + .) | length", "too many steps"),
            ("reduce range(60) as $x (.list; . + .) | length", "too many steps"),
            ("reduce range(60) as $x (.text; . += .) | length", "too many steps"),
            ("reduce range(60) as $x (3; . * .) | 1", "a number"),
            (".path as $p | setpath($p; 1)", "null"),
            (".path as $p | [null | path(getpath($p))] | 1", "a path"),
            (".path as $p | reduce $p[] as $x (null; .[$x]) |= 1", "path"),
            (".path as $p | null | [path(reduce $p[] as $x (.; .[$x]))] | 1", "a path"),
            ("[.list[] as $x | .list[] as $y | [$x, $y]] | length", "too many steps"),
            ("first(.list[] as $x | .list[] as $y | select($x != $y))", "too many steps"),
            ("[.list[] as $x | .list[] as $y | try error catch .] | length", "too many steps"),
            ("[.. as $x | .. as $y | 1] | length", "too many steps"),
            ("[range(99000) as $x | range(99000) as $y | 1] | length", "too many steps"),
            (".list as $l | [range(99000) as $x | $l + [1]] | length", "too many steps"),
            (".text as $t | [range(99000) as $x | $t + \"a\"] | length", "too many steps"),
            (".text as $t | [range(99000) as $x | \"\\($t)a\"] | length", "too "),
            (".text as $t | [range(99000) as $x | $t | explode] | length", "too many steps"),
            (".text as $t | [range(99000) as $x | $t | ascii_upcase] | length", "too many steps"),
            (".text as $t | [range(99000) as $x | $t / \"\"] | length", "too many steps"),
            (".text as $t | [range(99000) as $x | $t * 100] | length", "too many steps"),
            (".text as $t | [range(99000) | $t] | join(\"\") | length", "too "),
            (".list as $l | [range(99000) as $x | $l | sort] | length", "too many steps"),
        ] {
            let why = run(source, many.clone()).unwrap_err();
            assert!(why.contains(expected), "{source}: {why}");
        }
    }

    #[test]
    fn gw_22_a_program_ends_itself_when_its_time_is_over() {
        let program = JqProgram::new("[range(90000) as $x | .[] | select($x == .)]").unwrap();
        let many = json!(vec![0; 400_000]);
        let began = std::time::Instant::now();
        let ended = program.run(many, &json!({}), Duration::from_millis(100));
        assert_eq!(ended, Err(JqError::Late));
        assert!(began.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn gw_22_what_is_usual_stays_within_its_bounds() {
        let each = |n: usize| json!({ "id": n, "kind": format!("k{}", n % 7), "tags": ["a", "b"] });
        let many = json!({ "items": (0..3000).map(each).collect::<Vec<_>>() });
        for (source, expected) in [
            ("reduce .items[] as $i ({}; .[$i.kind] += 1) | length", json!(7)),
            ("reduce .items[] as $i ({}; .[$i.kind] += [$i.id]) | .k0 | length", json!(429)),
            ("reduce .items[] as $i ([]; . + [$i.id]) | length", json!(3000)),
            ("[.items[].kind] | unique | join(\",\") | length", json!(20)),
            (
                ".items | group_by(.kind) | map({ key: .[0].kind, value: length }) | length",
                json!(7),
            ),
            ("[.items[] | { (.kind): .id }] | add | length", json!(7)),
            (
                ".items |= map(del(.tags) | .id |= tostring) | .items[3]",
                json!({ "id": "3", "kind": "k3" }),
            ),
            ("[paths(type == \"number\")] | length", json!(3000)),
            ("[.items[] | .tags[]] | length", json!(6000)),
            (".items | map(tojson) | map(fromjson) | length", json!(3000)),
            ("walk(if type == \"number\" then . + 1 else . end) | .items[0].id", json!(1)),
            (".items | map(.kind) | join(\"-\") | split(\"-\") | length", json!(3000)),
            (
                ".items[0] | to_entries | from_entries | setpath([\"tags\", 0]; 1) | .tags",
                json!([1, "b"]),
            ),
            (".items[0] | getpath([\"tags\", 1])", json!("b")),
            (".items[0] | pick(.id)", json!({ "id": 0 })),
            (".items[0] | delpaths([[\"tags\"], [\"id\"]])", json!({ "kind": "k0" })),
            ("first(.items[] | select(.id == 5)) | .kind", json!("k5")),
            ("[limit(3; .items[])] | last | .id", json!(2)),
            ("[.items[0:2][] | .kind | ascii_upcase]", json!(["K0", "K1"])),
            ("(.items[] | select(.id < 2) | .kind) |= \"x\" | .items[1].kind", json!("x")),
        ] {
            assert_eq!(run(source, many.clone()), Ok(expected), "{source}");
        }
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
