//! Settings of what is written.

use std::path::PathBuf;

use transom_settings::{
    Context, Definitions, Fields, Node, Setting, Spanned, Switch, Value,
    json::{Value as Json, json},
    settings,
};

settings! {
    /// What is written about requests and about the program itself.
    pub struct Log {
        /// The least important messages about the program that are written.
        pub level: Level = Level::Info,
        /// One line for each exchange.
        pub access: Switch<AccessLog> = Switch::On(AccessLog::default()),
    }

    /// How important a message is.
    pub enum Level {
        /// What stops something from working.
        Error = "error",
        /// What will, or may.
        Warn = "warn",
        /// What an operator wants to have seen.
        Info = "info",
        /// What helps to find a fault.
        Debug = "debug",
    }

    /// One line for each exchange.
    pub struct AccessLog {
        /// The form of a line.
        pub format: AccessFormat = AccessFormat::Json,
        /// Where lines go: `stdout`, `stderr`, `syslog`, a path that begins with `/` or `.`, or `file: PATH`.
        pub to: LogOutput = LogOutput::Stdout,
        /// Lines that wait to be written. Further ones are dropped and counted, so that a slow
        /// disk slows no request.
        pub queue: u32 = 65_536,
    }

    /// The form of a line.
    pub enum AccessFormat {
        /// One JSON object.
        Json = "json",
        /// One line of text for people.
        Text = "text",
    }
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogOutput {
    Stdout,
    Stderr,
    Syslog,
    /// A file that is opened again on SIGUSR1.
    File(Spanned<PathBuf>),
}

const WORDS: [&str; 3] = ["stdout", "stderr", "syslog"];

impl Setting for LogOutput {
    fn decode(node: &Node, at: &mut Context<'_>) -> Option<Self> {
        match &node.value {
            Value::Scalar(scalar) => match scalar.text.as_str() {
                "stdout" => Some(LogOutput::Stdout),
                "stderr" => Some(LogOutput::Stderr),
                "syslog" => Some(LogOutput::Syslog),
                path if path.starts_with(['/', '.']) => {
                    Spanned::decode(node, at).map(LogOutput::File)
                }
                _ => at.mismatch("`stdout`, `stderr`, `syslog` or the path of a file", node),
            },
            _ => {
                let mut fields = Fields::open(node, at, &["file".to_owned()], None)?;
                fields.required("file", "The file to append to.", at).map(LogOutput::File)
            }
        }
    }

    fn schema(_: &mut Definitions) -> Json {
        json!({ "anyOf": [
            { "enum": WORDS },
            { "type": "string", "pattern": "^[/.]" },
            {
                "type": "object",
                "properties": { "file": { "type": "string" } },
                "required": ["file"],
                "additionalProperties": false,
            },
        ] })
    }

    fn to_json(&self) -> Json {
        match self {
            LogOutput::Stdout => "stdout".into(),
            LogOutput::Stderr => "stderr".into(),
            LogOutput::Syslog => "syslog".into(),
            LogOutput::File(path) => json!({ "file": path.to_json() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use transom_settings::{Diagnostics, parse};

    use super::*;

    #[test]
    fn lines_go_to_a_word_or_to_a_file() {
        for (text, expected) in [
            ("stdout", Some(json!("stdout"))),
            ("syslog", Some(json!("syslog"))),
            ("/var/log/shop.log", Some(json!({ "file": "/var/log/shop.log" }))),
            ("./shop.log", Some(json!({ "file": "./shop.log" }))),
            ("{ file: shop.log }", Some(json!({ "file": "shop.log" }))),
            ("sdtout", None),
            ("", None),
        ] {
            let mut findings = Diagnostics::new();
            let file = findings.add_file("a.yaml", text);
            let node = parse(file, text, &mut findings);
            let read = node.and_then(|n| LogOutput::decode(&n, &mut Context::new(&mut findings)));
            assert_eq!(read.map(|read| read.to_json()), expected, "{text}");
        }
    }
}
