//! The words of the command line, and the help that teaches them.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use super::proxy::Proxy;

/// Reverse proxy, load balancer and API gateway in one program.
#[derive(Debug, Parser)]
#[command(
    name = "transom",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "\
Begin here:
  transom demo                                        a whole shop to try things out on
  transom proxy --listen :8080 --to 127.0.0.1:3000    a reverse proxy without a file
  transom check && transom run                        with ./transom.yaml

Every command tells more with --help.
Exit status: 0 done, 1 it cannot be done here, 64 the file or the command line is wrong."
)]
pub(super) struct Line {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve what a file says, until told to stop.
    #[command(after_help = "\
Examples:
  transom run                        ./transom.yaml, or /etc/transom/transom.yaml
  transom run -c shop.yaml

SIGHUP or `transom reload` reads the file again: connections and the members' state live on, and a
file with an error changes nothing. SIGTERM or `transom stop` finishes what is open within `grace`;
a second one ends at once. SIGUSR1 opens log files again.")]
    Run {
        /// The file. [default: ./transom.yaml, then /etc/transom/transom.yaml]
        #[arg(short, long, value_name = "FILE")]
        config: Option<PathBuf>,
    },

    /// Find every mistake in a file without running it.
    #[command(after_help = "\
Examples:
  transom check                      what `transom run` would run
  transom check shop.yaml            or -c shop.yaml
  transom check --strict shop.yaml   a relaxed safe default is a mistake too

Each finding has its place, what was found and what to do. The last line counts the safe defaults
that still hold and names those that were relaxed. Certificates and all other files are read, names
are looked up, nothing is opened. Exit status 64 if there is a mistake.")]
    Check {
        /// The file. [default: ./transom.yaml, then /etc/transom/transom.yaml]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// The same, said as `transom run` says it.
        #[arg(short, long, value_name = "FILE", conflicts_with = "file")]
        config: Option<PathBuf>,
        /// Refuse safe defaults that were relaxed, such as `body: unlimited`.
        #[arg(long)]
        strict: bool,
    },

    /// Run a reverse proxy without a file.
    #[command(after_help = "\
Examples:
  transom proxy --listen :8080 --to 127.0.0.1:3000
  transom proxy --listen :8443 --tls --to 127.0.0.1:3000      a certificate is made for it
  transom proxy --listen 127.0.0.1:8080 --to https://shop.example
  transom proxy --listen unix:/tmp/web.sock --to unix:/run/app.sock

For more than one place to send to, write a file: `transom run --help`.")]
    Proxy(Proxy),

    /// Tell what would become of a request, what a fault means, or what a policy does.
    #[command(after_help = "\
Examples:
  transom explain GET https://shop.example/api/orders/7
  transom explain POST http://shop.example/upload -H 'Content-Length: 2000000'
  transom explain GET http://shop.example/ -H 'x-tenant: a' --from 10.0.0.9
  transom explain tcp passthrough --sni shop.example --alpn h2
  transom explain fault no-endpoint
  transom explain policy             every kind of policy in a line
  transom explain policy security-headers

Tells the listener, each route in the order it is tried with the first condition that failed, the
policies in running order, and where the request goes; for a request that is refused, why. Nothing
is sent, and nothing need be running.")]
    Explain(Explain),

    /// Print the JSON Schema of the file, for editors.
    #[command(after_help = "\
Example:
  transom schema > transom.schema.json

In the first line of the file, for editors with a YAML language server:
  # yaml-language-server: $schema=transom.schema.json")]
    Schema,

    /// Have the running program read its file again.
    #[command(after_help = "\
Examples:
  transom reload                     the socket is the default one, or the one ./transom.yaml names
  transom reload -c shop.yaml        the socket is the one that shop.yaml names
  transom reload --socket /run/transom/admin.sock

If the file has an error, it is printed, the exit status is 64, and what runs goes on as it was.")]
    Reload(Asking),

    /// Have the running program finish what is open, and end.
    #[command(after_help = "\
Examples:
  transom stop
  transom stop --socket /run/transom/admin.sock")]
    Stop(Asking),

    /// Show pools of the running program, and change them without a reload.
    #[command(after_help = "\
Examples:
  transom pool list
  transom pool show orders
  transom pool add orders 10.0.0.3:8080 --weight 2
  transom pool drain orders 10.0.0.1:8080     before it is taken down
  transom pool ready orders 10.0.0.1:8080
  transom pool remove orders 10.0.0.3:8080

A change is kept over reloads until the file says otherwise of that endpoint: then the file wins. It
is forgotten when Transom ends. With --save it is written into the file as well.")]
    Pool(super::pool::Pool),

    /// Show the APIs of the running program, their versions and who calls them.
    #[command(after_help = "\
Examples:
  transom api list
  transom api show orders            who still calls the version that is deprecated?

Calls are counted since the program started, by consumer.")]
    Api(super::api::Api),

    /// Show who may ask, and change what of them is in the store.
    #[command(after_help = "\
Examples:
  transom consumer add ann --group staff --plan vip
  transom consumer list
  transom consumer import customers.jsonl

What stands in the file is changed there. The store is in the directory that `data:` names.")]
    Consumer(super::consumer::Consumer),

    /// Make, rotate and revoke keys of consumers.
    #[command(after_help = "\
Examples:
  transom key create ann --expires 90d
  transom key rotate abcdefgh --grace 24h
  transom key revoke abcdefgh

A key is printed when it is made, and never again: only its digest is kept. A change is on disk
before it is told, and holds from the next request on.")]
    Key(super::key::Key),

    /// Revoke tokens before they end by themselves.
    #[command(after_help = "\
Examples:
  transom token revoke 5f3c0a1e             the token with this id (`jti`)
  transom token revoke ada --claim sub      all tokens of somebody, for a day
  transom token list

It holds from the next request on, and longer than the process where the file has `data:`.")]
    Token(super::token::Token),

    /// Write a configuration for what others have written.
    #[command(after_help = "\
Examples:
  transom import openapi orders.json > transom.yaml
  transom import openapi orders.json --to 127.0.0.1:3000 --name orders

What is printed is a whole file. To add it to another, take out its listeners and `include` it.
What could not be carried over stands in comments at its end.")]
    Import(super::import::Import),

    /// Run a shop with all its services in one process, to try things out on.
    Demo,

    /// Print a script that completes this command line in a shell.
    #[command(after_help = "\
Examples:
  transom completions bash > /etc/bash_completion.d/transom
  transom completions zsh > \"${fpath[1]}/_transom\"
  transom completions fish > ~/.config/fish/completions/transom.fish")]
    Completions { shell: Shell },
}

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The method; or `fault` or `policy` to explain one, or `tcp` for a connection that is carried
    /// unread.
    #[arg(value_name = "METHOD")]
    pub(super) method: String,
    /// The whole URL; or the name of the listener, fault or policy. Without one, all faults or
    /// policies are listed.
    #[arg(value_name = "URL")]
    pub(super) url: Option<String>,
    /// The file. [default: ./transom.yaml, then /etc/transom/transom.yaml]
    #[arg(short, long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// A header field of the request; may be given several times.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub(super) headers: Vec<String>,
    /// With `tcp`: the name that the client asks for in TLS.
    #[arg(long, value_name = "NAME")]
    pub(super) sni: Option<String>,
    /// With `tcp`: a protocol that the client offers in TLS; may be given several times.
    #[arg(long, value_name = "PROTOCOL")]
    pub(super) alpn: Vec<String>,
    /// The address that connects.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub(super) from: String,
}

/// Which running program is meant.
#[derive(Debug, Args)]
pub(super) struct Asking {
    /// The file it runs, which may name the socket.
    #[arg(short, long, value_name = "FILE", conflicts_with = "socket")]
    pub(super) config: Option<PathBuf>,
    /// Its admin socket.
    #[arg(long, value_name = "PATH")]
    pub(super) socket: Option<PathBuf>,
}
