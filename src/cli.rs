//! The command line.
//!
//! What is wrong with the words on it, or with the file, ends with 64 (sysexits.h, EX_USAGE); what
//! is right and cannot be done here ends with 1.

mod answers;
mod api;
mod command;
mod consumer;
mod import;
mod key;
mod pool;
mod proxy;
mod token;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use transom_net::Background;
use transom_settings::Diagnostics;

use self::command::{Asking, Command, Explain, Line};
use crate::admin::client;
use crate::build::{Snapshot, build};
use crate::config::{Level, hardening, schema};
use crate::door::Listening;
use crate::explain::{self, Connecting, Question};
use crate::load::{Loaded, Seen, Source, load};
use crate::log;
use crate::materials::Materials;
use crate::run::{BAD_CONFIG, CANNOT_START, admin_socket, default_admin_socket, run};

/// The program: does what the command line says.
pub fn main() -> ExitCode {
    let line = match Line::try_parse() {
        Ok(line) => line,
        Err(error) => {
            let asked_for = !error.use_stderr();
            let _ = error.print();
            return if asked_for { ExitCode::SUCCESS } else { ExitCode::from(BAD_CONFIG) };
        }
    };
    match line.command {
        Command::Run { config } => run(Source::File(config), |_| {}),
        Command::Check { file, config, strict } => check(file.or(config).as_deref(), strict),
        Command::Proxy(proxy) => match proxy.source() {
            Ok(source) => run(source, move |_| told(proxy.announcement())),
            Err(what) => refused(what),
        },
        Command::Explain(question) => explained(&question),
        Command::Schema => shown(format!("{:#}\n", schema())),
        Command::Reload(asking) => ask(&asking, "/reload"),
        Command::Stop(asking) => ask(&asking, "/stop"),
        Command::Pool(pool) => pool.run(),
        Command::Api(api) => api.run(),
        Command::Consumer(consumer) => consumer.run(),
        Command::Key(key) => key.run(),
        Command::Token(token) => token.run(),
        Command::Import(import) => import.run(),
        Command::Demo => crate::demo::demo(),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Line::command(), "transom", &mut script);
            shown(String::from_utf8_lossy(&script))
        }
    }
}

/// Writes what was asked for. A reader that has seen enough is no failure, a disk that is full is one:
/// what is lost may be a key that is told once.
fn shown(text: impl Display) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            cannot(format!("what was asked for cannot be written: {error}"))
        }
        _ => ExitCode::SUCCESS,
    }
}

fn told(text: impl Display) {
    let _ = write!(std::io::stderr().lock(), "{text}");
}

/// What is wrong with the words of the command line.
fn refused(what: impl Display) -> ExitCode {
    told(format!("error: {what}\n"));
    ExitCode::from(BAD_CONFIG)
}

fn cannot(what: impl Display) -> ExitCode {
    told(format!("error: {what}\n"));
    ExitCode::from(CANNOT_START)
}

/// How long names and sources are waited for.
const LOOK_UP: Duration = Duration::from_secs(5);

/// Everything up to where `run` would open sockets. Errors are printed.
fn prepared(file: Option<&Path>, strict: bool) -> Result<(Loaded, Snapshot), ExitCode> {
    let bad = |findings: String| {
        told(findings);
        ExitCode::from(BAD_CONFIG)
    };
    // what sources say is told as findings
    log::set_level(Level::Error);
    let mut loaded = load(file, strict).map_err(|findings| bad(findings.render()))?;
    let together = |loaded: &Loaded, found: Diagnostics| {
        let mut all = loaded.findings.clone();
        all.extend(found);
        all
    };
    let materials = Materials::load(&loaded.config, &loaded.base, &mut Seen::default())
        .map_err(|found| bad(together(&loaded, found).render()))?;
    let snapshot = build(&loaded.config, &materials, None, &|_, _| Vec::new())
        .map_err(|found| bad(together(&loaded, found).render()))?;
    loaded.findings.extend(snapshot.warnings.clone());
    if let Err(error) = look_up(&snapshot) {
        return Err(cannot(format!("the system gives no threads: {error}")));
    }
    for trouble in snapshot.troubles() {
        loaded.findings.push(trouble);
    }
    Ok((loaded, snapshot))
}

/// Asks for the endpoints of the pools, once.
fn look_up(snapshot: &Snapshot) -> std::io::Result<()> {
    let background = Background::start(0)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(snapshot.settle(&background, LOOK_UP));
    Ok(())
}

fn check(file: Option<&Path>, strict: bool) -> ExitCode {
    let (loaded, snapshot) = match prepared(file, strict) {
        Ok(prepared) => prepared,
        Err(code) => return code,
    };
    told(loaded.findings.render());
    let routes: usize = snapshot.listeners.iter().map(|one| one.site.routes.len()).sum();
    let file = loaded.files.first().map(|file| file.display().to_string()).unwrap_or_default();
    shown(format!(
        "{file} can run: {}, {}, {}{}\n{}{}\n",
        counted(snapshot.listeners.len(), "listener"),
        counted(routes, "route"),
        counted(snapshot.pools.len(), "pool"),
        match snapshot.apis.len() {
            0 => String::new(),
            count => format!(", {}", counted(count, "API")),
        },
        compositions(&snapshot) + &bounds(&snapshot),
        hardening(&loaded.config),
    ))
}

/// Limits of which more may pass than they say, and how much at most: those that several processes share,
/// and those that a kill makes forget.
fn bounds(snapshot: &Snapshot) -> String {
    let mut told = BTreeSet::new();
    for route in snapshot.listeners.iter().flat_map(|listener| &listener.site.routes) {
        let limits = route.chain.iter().filter(|p| matches!(p.kind(), "rate-limit" | "quota"));
        let bounded =
            limits.map(|policy| policy.describe()).filter(|text| text.contains(" at most"));
        told.extend(bounded.map(|text| format!("{}: {text}\n", route.name)));
    }
    told.into_iter().collect()
}

/// What each composed answer costs in the worst case, a line for each.
fn compositions(snapshot: &Snapshot) -> String {
    let of = |listener: &Listening| {
        let routes = listener.site.routes.iter().filter(|route| route.action.kind() == "compose");
        routes
            .map(|route| format!("{}: {}\n", route.name, route.action.describe()))
            .collect::<String>()
    };
    snapshot.listeners.iter().map(of).collect()
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn explained(asked: &Explain) -> ExitCode {
    let (method, url) = match (&*asked.method, &asked.url) {
        ("fault", None) => {
            return shown(explain::faults());
        }
        ("fault", Some(name)) => return shown_or_refused(explain::fault(name)),
        ("policy", None) => {
            return shown(explain::policies());
        }
        ("policy", Some(name)) => return shown_or_refused(explain::policy(name)),
        ("tcp", Some(listener)) => return explained_tcp(asked, listener),
        (method, Some(url)) => (method, url),
        (word, None) => {
            return refused(format!(
                "`explain {word}` needs a method and a URL, such as `transom explain GET http://shop.example/`"
            ));
        }
    };
    let from = match explain::from(&asked.from) {
        Ok(from) => from,
        Err(what) => return refused(format!("--from: {what}")),
    };
    let question = Question { from, headers: asked.headers.clone(), ..Question::new(method, url) };
    let (loaded, snapshot) = match prepared(asked.config.as_deref(), false) {
        Ok(prepared) => prepared,
        Err(code) => return code,
    };
    match explain::explain(&snapshot, &loaded.findings, &question) {
        Ok(explanation) => shown(explanation.text),
        Err(what) => refused(what),
    }
}

fn shown_or_refused(told: Result<String, String>) -> ExitCode {
    match told {
        Ok(text) => shown(text),
        Err(what) => refused(what),
    }
}

fn explained_tcp(asked: &Explain, listener: &str) -> ExitCode {
    let from = match explain::from(&asked.from) {
        Ok(from) => from,
        Err(what) => return refused(format!("--from: {what}")),
    };
    let question = Connecting {
        from,
        sni: asked.sni.clone(),
        alpn: asked.alpn.clone(),
        ..Connecting::new(listener)
    };
    let (_, snapshot) = match prepared(asked.config.as_deref(), false) {
        Ok(prepared) => prepared,
        Err(code) => return code,
    };
    match explain::explain_tcp(&snapshot, &question) {
        Ok((_, text)) => shown(text),
        Err(what) => refused(what),
    }
}

/// Asks the running program, and shows what it answers.
fn ask(asking: &Asking, path: &str) -> ExitCode {
    match ask_for(asking, "POST", path, "") {
        Ok((status, text)) if (200..300).contains(&status) => shown(text),
        // the file is wrong, and what ran goes on
        Ok((422, text)) => {
            told(text);
            ExitCode::from(BAD_CONFIG)
        }
        // the file is right, and cannot be run here
        Ok((503, text)) => cannot(text.trim_end()),
        Ok((status, text)) => cannot(format!("Transom answers {status}: {}", text.trim_end())),
        Err(code) => code,
    }
}

/// What the running program answers, with its status. Where there is none, why is printed.
fn ask_for(
    asking: &Asking,
    method: &str,
    path: &str,
    body: &str,
) -> Result<(u16, String), ExitCode> {
    // the file may be what is wrong, and its last good version what runs
    let (socket, findings) = match (&asking.socket, load(asking.config.as_deref(), false)) {
        (Some(socket), _) => (socket.clone(), None),
        (None, Ok(loaded)) => (admin_socket(&loaded.config), None),
        (None, Err(findings)) => (default_admin_socket(), asking.config.as_ref().map(|_| findings)),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| cannot(format!("the system gives no event queue: {error}")))?;
    runtime.block_on(client::call_with(&socket, method, path, body)).map_err(|error| {
        if let Some(findings) = findings {
            told(findings.render());
            told("  note: so the admin socket is not known from it; name it with `--socket`\n");
        }
        cannot(match &error {
            client::Error::NotRunning(_) | client::Error::NotAllowed(_) => error.to_string(),
            other => log::with_causes(other),
        })
    })
}
