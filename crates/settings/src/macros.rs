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
                $crate::json::json!({
                    "description": $crate::schema_doc(concat!($($doc, "\n"),*)),
                    "enum": Self::WORDS,
                })
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
                $crate::only_key(node, at, "exactly one kind")
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
                #[allow(unused_mut)]
                let mut known: ::std::vec::Vec<::std::string::String> =
                    vec![$( $crate::key(stringify!($field)) ),*];
                $( known.extend(<$Flat as $crate::Choice>::keys().iter().map(|key| key.to_string())); )?
                let short: ::std::option::Option<&'static str> =
                    $crate::settings!(@short $($short)?);
                #[allow(unused_mut, unused_variables)]
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
                        object.property(
                            &$crate::key(stringify!($field)),
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
                #[allow(unused_mut)]
                let mut object = $crate::json::Map::new();
                $(
                    let value = $crate::Setting::to_json(&self.$field);
                    if !value.is_null() {
                        object.insert($crate::key(stringify!($field)), value);
                    }
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
        Some($fields.optional($name, || $default, $at))
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

/// A doc comment as a schema shows it.
#[doc(hidden)]
pub fn schema_doc(doc: &str) -> String {
    crate::schema::description(doc)
}
