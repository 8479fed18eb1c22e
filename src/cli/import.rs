//! `transom import`: writes a configuration for what others have written.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{refused, shown, told};
use crate::import::openapi::{self, Wish};
use crate::load::{from_text, read_bytes};
use crate::run::BAD_CONFIG;

#[derive(Debug, Args)]
pub(super) struct Import {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// An OpenAPI document of version 3.0 or 3.1, in YAML or JSON.
    Openapi {
        /// The document.
        file: PathBuf,
        /// Where the API is: an address or the name of a pool. [default: the document's first server]
        #[arg(long, value_name = "ADDRESS")]
        to: Option<String>,
        /// What the API is called. [default: from its title]
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
    },
}

impl Import {
    pub(super) fn run(&self) -> ExitCode {
        let What::Openapi { file, to, name } = &self.what;
        let bytes = match read_bytes(file) {
            Ok(bytes) => bytes,
            Err(why) => return refused(format!("cannot read {}: {why}", file.display())),
        };
        let wish = Wish { to: to.clone(), name: name.clone() };
        let text = match openapi::import(file, &bytes, &wish) {
            Ok(text) => text,
            Err(why) => return refused(format!("{}: {why}", file.display())),
        };
        // what it says is checked before anybody has it; a pool is in another file
        match from_text(Path::new("imported.yaml"), &text, false, &|_| None) {
            Err(findings)
                if !findings.findings().iter().all(|one| one.what.contains("no pool")) =>
            {
                told(findings.render());
                ExitCode::from(BAD_CONFIG)
            }
            _ => shown(text),
        }
    }
}
