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
        /// Where lines go: `stdout`, `stderr`, `syslog` or `file: PATH`.
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
                _ => at.mismatch("`stdout`, `stderr`, `syslog` or `file: PATH`", node),
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
