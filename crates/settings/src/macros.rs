//! One description of a settings type, from which everything else about it follows.

/// Describes settings once and makes their type, decoding, defaults and JSON Schema.
///
/// Three shapes, each documented by its doc comments:
///
/// ```
/// use transom_settings::{settings, Duration, OneOrMany};
///
/// settings! {
///     /// How a pool chooses.
///     pub enum Algorithm {
///         /// One after the other.
///         RoundRobin = "round-robin",
///     }
///
///     /// A struct. A field without a default is required; if every field has one, the struct
///     /// implements `Default`. The key of `max_idle` is `max-idle`.
///     pub struct KeepAlive {
///         /// How long an unused connection is kept.
///         pub idle: Duration = Duration::seconds(30),
///         /// Connections kept.
///         pub max_idle: u32 = 64,
///     }
///
///     /// `short(to)`: where a bare value is written instead of a map, it is the field `to`.
///     pub struct Forward short(to) {
///         /// Where to.
///         pub to: String,
///         /// How connections are kept.
///         pub keep_alive: KeepAlive = KeepAlive::default(),
///     }
///
///     /// A choice: exactly one key, which names the kind.
///     pub choice Action {
///         /// Sends the request on.
///         "forward" => Forward(Forward),
///         /// Answers with this text.
///         "respond" => Respond(String),
///     }
///
///     /// `flatten(action: Action)`: the keys of the choice stand among the struct's own.
///     pub struct Route flatten(action: Action) {
///         /// Hosts this applies to.
///         pub host: Option<OneOrMany<String>> = None,
///     }
/// }
/// ```
#[macro_export]
macro_rules! settings {
    () => {};

    // an enum of words
    (
        $(#[doc = $doc:literal])*
        pub enum $Name:ident {
            $( $(#[doc = $vdoc:literal])* $Variant:ident = $word:literal ),+ $(,)?
        }
        $($rest:tt)*
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $Name { $( $(#[doc = $vdoc])* $Variant, )+ }

        impl $Name {
            /// Every word that may be written.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The word as it is written.
            pub fn word(self) -> &'static str {
                match self { $( Self::$Variant => $word, )+ }
            }
        }

        impl ::std::fmt::Display for $Name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.word())
            }
        }

        impl $crate::FromText for $Name {
            const WHAT: &'static str = concat!("one of", $( " `", $word, "`", )+);
            fn from_text(text: &str) -> ::std::result::Result<Self, $crate::Refusal> {
                match text {
                    $( $word => Ok(Self::$Variant), )+
                    _ => Err($crate::unknown_word(text, Self::WORDS)),
                }
            }
            fn schema() -> $crate::json::Value {
                $crate::words_schema(concat!($($doc, "\n"),*), Self::WORDS)
            }
            fn to_json(&self) -> $crate::json::Value {
                self.word().into()
            }
        }

        $crate::settings! { $($rest)* }
    };

    // exactly one key that names a kind
    (
        $(#[doc = $doc:literal])*
        pub choice $Name:ident {
            $( $(#[doc = $vdoc:literal])* $word:literal => $Variant:ident($T:ty) ),+ $(,)?
        }
        $($rest:tt)*
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $Name { $( $(#[doc = $vdoc])* $Variant($T), )+ }

        impl $crate::Choice for $Name {
            fn keys() -> ::std::vec::Vec<&'static str> {
                vec![$($word),+]
            }
            fn decode_kind(
                key: &str,
                node: &$crate::Node,
                at: &mut $crate::Context<'_>,
            ) -> ::std::option::Option<Self> {
                match key {
                    $( $word => <$T as $crate::Setting>::decode(node, at).map(Self::$Variant), )+
                    _ => None,
                }
            }
            fn kinds(
                definitions: &mut $crate::Definitions,
            ) -> ::std::vec::Vec<(&'static str, ::std::string::String, $crate::json::Value)> {
                vec![$( (
                    $word,
                    concat!($($vdoc, "\n"),*).to_owned(),
                    <$T as $crate::Setting>::schema(definitions),
                ) ),+]
            }
            fn kind_to_json(&self) -> (&'static str, $crate::json::Value) {
                match self {
                    $( Self::$Variant(kind) => ($word, $crate::Setting::to_json(kind)), )+
                }
            }
        }

        impl $crate::Setting for $Name {
            fn decode(
                node: &$crate::Node,
                at: &mut $crate::Context<'_>,
            ) -> ::std::option::Option<Self> {
                $crate::only_key(node, at, &stringify!($Name).to_lowercase())
            }
            fn schema(definitions: &mut $crate::Definitions) -> $crate::json::Value {
                definitions.define(stringify!($Name), |definitions| {
                    let mut object = $crate::Object::new(concat!($($doc, "\n"),*));
                    object.flat::<$Name>(definitions);
                    object.finish(None)
                })
            }
            fn to_json(&self) -> $crate::json::Value {
                let (key, value) = $crate::Choice::kind_to_json(self);
                $crate::json::json!({ key: value })
            }
        }

        $crate::settings! { $($rest)* }
    };

    // a map of known keys
    (
        $(#[doc = $doc:literal])*
        pub struct $Name:ident
        $(short($short:ident))?
        $(flatten($flat:ident : $Flat:ty))?
        {
            $(
                $(#[doc = $fdoc:literal])*
                pub $field:ident : $T:ty $(= $default:expr)?
            ),* $(,)?
        }
        $($rest:tt)*
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $Name {
            $( $(#[doc = $fdoc])* pub $field: $T, )*
            $( #[doc = "The one kind that is given."] pub $flat: $Flat, )?
        }

        impl $crate::Setting for $Name {
            fn decode(
                node: &$crate::Node,
                at: &mut $crate::Context<'_>,
            ) -> ::std::option::Option<Self> {
                #[allow(unused_mut)] // Where there is no `flatten`.
                let mut known = $crate::keys(&[$( stringify!($field) ),*]);
                $( known.extend(<$Flat as $crate::Choice>::keys().iter().map(|key| key.to_string())); )?
                let short: ::std::option::Option<&'static str> =
                    $crate::settings!(@short $($short)?);
                #[allow(unused_mut, unused_variables)] // Where there are no fields.
                let mut fields = $crate::Fields::open(node, at, &known, short)?;
                $(
                    let $field: ::std::option::Option<$T> = $crate::settings!(
                        @field fields, at, stringify!($field), concat!($($fdoc, "\n"),*)
                        $(, $default)?
                    );
                )*
                $( let $flat: ::std::option::Option<$Flat> = fields.choice(at); )?
                Some($Name { $( $field: $field?, )* $( $flat: $flat?, )? })
            }

            fn schema(definitions: &mut $crate::Definitions) -> $crate::json::Value {
                definitions.define(stringify!($Name), |definitions| {
                    let mut object = $crate::Object::new(concat!($($doc, "\n"),*));
                    $(
                        let schema = <$T as $crate::Setting>::schema(definitions);
                        object.field(
                            stringify!($field),
                            concat!($($fdoc, "\n"),*),
                            schema,
                            $crate::settings!(@json $T $(, $default)?),
                        );
                    )*
                    $( object.flat::<$Flat>(definitions); )?
                    object.finish($crate::settings!(@short $($short)?))
                })
            }

            fn to_json(&self) -> $crate::json::Value {
                #[allow(unused_mut)] // As above.
                let mut object = $crate::json::Map::new();
                $(
                    let value = $crate::Setting::to_json(&self.$field);
                    $crate::put(&mut object, stringify!($field), value);
                )*
                $(
                    let (key, value) = $crate::Choice::kind_to_json(&self.$flat);
                    object.insert(key.to_owned(), value);
                )?
                $crate::json::Value::Object(object)
            }
        }

        $crate::settings! {
            @default $Name [$($flat)?] $( $field : $T $(= $default)? ),*
        }
        $crate::settings! { $($rest)* }
    };

    // Default, if no key is required
    (@default $Name:ident [] $( $field:ident : $T:ty = $default:expr ),*) => {
        impl ::std::default::Default for $Name {
            fn default() -> Self {
                $Name { $( $field: $default, )* }
            }
        }
    };
    (@default $($ignored:tt)*) => {};

    (@short) => { None };
    (@short $short:ident) => { Some(stringify!($short)) };

    (@field $fields:ident, $at:ident, $name:expr, $doc:expr) => {
        $fields.required($name, $doc, $at)
    };
    (@field $fields:ident, $at:ident, $name:expr, $doc:expr, $default:expr) => {
        match $fields.given($name, $at) {
            None => Some($default),
            given => given,
        }
    };

    (@json $T:ty) => { None };
    (@json $T:ty, $default:expr) => {{
        let default: $T = $default;
        Some($crate::Setting::to_json(&default))
    }};
}

use crate::decode::Refusal;
use crate::diagnostic::{list, quote};
use crate::suggest::closest;

/// Refuses a word that is not among those known.
#[doc(hidden)]
pub fn unknown_word(text: &str, known: &[&str]) -> Refusal {
    let what = format!("expected {}, found {}", list(known.iter().copied(), "or"), quote(text));
    match closest(text, known.iter().copied()) {
        Some(meant) => Refusal::new(what).hint(format!("did you mean {}?", quote(meant))),
        None => Refusal::new(what),
    }
}

/// The schema of an enum. YAML reads a word such as `1.2` or `308` as a number, so it may be both.
#[doc(hidden)]
pub fn words_schema(doc: &str, words: &[&str]) -> serde_json::Value {
    let numbers = words.iter().filter_map(|word| word.parse::<serde_json::Number>().ok());
    let all: Vec<serde_json::Value> =
        words.iter().map(|&word| word.into()).chain(numbers.map(Into::into)).collect();
    serde_json::json!({ "description": crate::schema::description(doc), "enum": all })
}

#[cfg(test)]
#[allow(unreachable_pub, reason = "the macro makes public types, a test module has no public")]
mod tests {
    use crate::{
        ByteSize, Definitions, Diagnostics, Duration, Limit, Map, Name, OneOrMany, Secret, Setting,
        Spanned, Switch, assemble,
    };

    settings! {
        /// How a pool chooses.
        pub enum Algorithm {
            /// One after the other.
            RoundRobin = "round-robin",
            /// Any.
            Random = "random",
        }

        /// How connections are kept.
        pub struct Keep {
            /// How long unused. After that they are closed.
            pub idle: Limit<Duration> = Limit::At(Duration::seconds(30)),
            /// How many.
            pub max_idle: u32 = 64,
        }

        /// Sends the request on.
        pub struct Forward short(to) {
            /// Where to.
            pub to: Spanned<String>,
            /// How connections are kept.
            pub keep: Switch<Keep> = Switch::Off,
        }

        /// What a route does.
        pub choice Action {
            /// Sends on.
            "forward" => Forward(Forward),
            /// Answers.
            "respond" => Respond(String),
        }

        /// A route.
        pub struct Route flatten(action: Action) {
            /// Hosts.
            pub host: Option<OneOrMany<String>> = None,
            /// How to choose.
            pub r#match: Algorithm = Algorithm::RoundRobin,
        }

        /// All of it.
        pub struct Root {
            /// Routes by name.
            pub routes: Map<Name, Route>,
            /// The password.
            pub token: Option<Secret> = None,
            /// The largest body.
            pub body: ByteSize = ByteSize::mib(10),
        }
    }

    struct Nothing;

    impl crate::Outside for Nothing {
        fn read(&self, _: &str) -> Result<String, String> {
            Ok("hunter2".into())
        }
        fn matching(&self, _: &str) -> Result<Vec<String>, String> {
            Ok(Vec::new())
        }
        fn identity(&self, path: Option<&str>) -> String {
            path.unwrap_or_default().to_owned()
        }
        fn variable(&self, _: &str) -> Option<String> {
            None
        }
    }

    fn read(text: &str) -> (Option<Root>, Diagnostics) {
        let mut findings = Diagnostics::new();
        let node = assemble("f", text, &Nothing, &mut findings);
        let root =
            node.and_then(|node| Root::decode(&node, &mut crate::Context::new(&mut findings)));
        (root, findings)
    }

    fn check(text: &str, expected: &[&str]) {
        let (_, findings) = read(text);
        let shown: Vec<_> = findings
            .findings()
            .iter()
            .map(|f| {
                let hint = f.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
                format!("{}:{} {}: {}{hint}", f.place.line, f.place.column, f.path, f.what)
            })
            .collect();
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn short_and_long_forms_mean_the_same() {
        let (short, findings) = read("routes: {a: {forward: x}}");
        assert!(findings.is_empty(), "{}", findings.render());
        let (long, _) = read("routes:\n  a:\n    forward:\n      to: x\n      keep: off\n");
        assert_eq!(short, long);
        let route = short.unwrap().routes.get("a").unwrap().clone();
        assert_eq!(route.r#match, Algorithm::RoundRobin);
        let Action::Forward(forward) = route.action else { panic!() };
        assert_eq!((forward.to.span.line, forward.to.span.column), (1, 23));
    }

    #[test]
    fn every_mistake_is_found_at_its_place() {
        check(
            "routes: {a: {foward: x}}",
            &["1:14 routes.a.foward: there is no key `foward` here (did you mean `forward`?)"],
        );
        check(
            "routes: {a: {host: [], respond: x, forward: y}}",
            &[
                "1:14 routes.a.host: the list is empty (give at least one)",
                "1:36 routes.a.forward: `respond` and `forward` exclude each other (keep exactly one of `forward` and `respond`)",
            ],
        );
        check(
            "routes:\n  a: {host: x}\nbody: lots\n",
            &[
                "2:3 routes.a: exactly one of `forward` and `respond` is needed",
                "3:7 body: `lots` is not a size: it does not begin with a number (write a whole number with a unit such as `B`, `kB`, `KiB`, `MiB` or `GiB`)",
            ],
        );
        check(
            "body: 1MiB",
            &["1:1 : the key `routes` is missing (add `routes:` - Routes by name)"],
        );
        check("routes: [1]", &["1:1 routes: expected a map from a name, found a list"]);
        check(
            "routes: {a: {match: randm, forward: {to: x, keep: {idle: none, max-idle: 1.5}}}}",
            &[
                "1:21 routes.a.match: expected `round-robin` or `random`, found `randm` (did you mean `random`?)",
                "1:58 routes.a.forward.keep.idle: expected a duration such as `5s`, found `none` (write `off` or `unlimited` for no limit)",
                "1:74 routes.a.forward.keep.max-idle: expected a whole number, found `1.5`",
            ],
        );
        check(
            "routes: {a: {forward: {keep: on}}}",
            &["1:14 routes.a.forward: the key `to` is missing (add `to:` - Where to)"],
        );
        check(
            "routes: {a/b: {forward: x}, c: 7}",
            &[
                "1:10 routes.a/b: `a/b` is not a name: `/` cannot stand in it (names are letters, digits, `-`, `_` and `.`, at most 64)",
                "1:32 routes.c: expected a map with keys such as `host`, `match`, `forward` or `respond`, found `7`",
            ],
        );
    }

    #[test]
    fn what_came_from_a_file_is_never_shown() {
        let (root, findings) = read("routes: {}\ntoken: ${file:x}\nbody: ${file:x}\n");
        let shown = format!("{root:?} {} {}", root.as_ref().unwrap().to_json(), findings.render());
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(root.unwrap().token.unwrap().expose(), "hunter2");
        check(
            "routes: {}\ntoken: [x]\nbody: ${file:x}",
            &[
                "2:1 token: expected a secret text, found a list",
                "3:7 body: expected a size such as `64KiB`, which `${file:x}` does not hold",
            ],
        );
    }

    #[test]
    fn a_value_that_cannot_be_had_is_found_once() {
        check(
            "routes: {}\nbody: ${NONE}",
            &[
                "2:7 body: the environment variable `NONE` is not set (set it or give a default: `${NONE:-default}`)",
            ],
        );
    }

    #[test]
    fn what_is_printed_reads_back() {
        let text = "routes: {a: {host: [x, y], forward: {to: z, keep: {idle: off}}}}\nbody: 1k\n";
        let (root, _) = read(text);
        let (again, findings) = read(&root.as_ref().unwrap().to_json().to_string());
        assert!(findings.is_empty(), "{}", findings.render());
        assert_eq!(root, again);
    }

    #[test]
    fn the_schema_knows_keys_defaults_and_docs() {
        let mut definitions = Definitions::new();
        let root = Root::schema(&mut definitions);
        let schema = definitions.document("id", "title", root);
        assert_eq!(schema["$ref"], "#/$defs/Root");
        let keep = &schema["$defs"]["Keep"];
        assert_eq!(keep["additionalProperties"], false);
        assert_eq!(keep["properties"]["idle"]["default"], "30s");
        assert_eq!(keep["properties"]["max-idle"]["default"], 64);
        let doc = "How long unused. After that they are closed.";
        assert_eq!(keep["properties"]["idle"]["description"], doc);
        assert_eq!(schema["$defs"]["Root"]["required"][0], "routes");
        assert_eq!(schema["$defs"]["Route"]["oneOf"][1]["required"][0], "respond");
        assert_eq!(schema["$defs"]["Forward"]["anyOf"][1]["type"], "object");
        assert_eq!(schema["$defs"]["Route"]["properties"]["match"]["enum"][1], "random",);
    }
}
