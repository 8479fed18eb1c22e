//! `transom demo`: www.myshop.com in one process.
//!
//! The services are real HTTP servers on a thread of their own ([`shop`]); Transom stands in front
//! of them with examples/shop/transom.yaml, of which it runs a copy beside the pages, so that it
//! can be edited, explained and reloaded like any other file.

mod instance;
mod inventory;
mod live;
mod login;
mod prompt;
mod shop;

use std::io::{self, IsTerminal, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tokio::sync::oneshot;

use self::shop::{Places, Shop};
use crate::load::Source;
use crate::run::{CANNOT_START, run};

/// The first lesson, and what it serves.
const FILE: &str = include_str!("../examples/shop/transom.yaml");
const PROTO: &[u8] = include_bytes!("../examples/shop/inventory.proto");
const PUBLIC: [(&str, &[u8]); 6] = [
    ("index.html", include_bytes!("../examples/shop/public/index.html")),
    ("static/shop.css", include_bytes!("../examples/shop/public/static/shop.css")),
    ("static/shop.js", include_bytes!("../examples/shop/public/static/shop.js")),
    ("static/lamp.svg", include_bytes!("../examples/shop/public/static/lamp.svg")),
    ("static/chair.svg", include_bytes!("../examples/shop/public/static/chair.svg")),
    ("static/teapot.svg", include_bytes!("../examples/shop/public/static/teapot.svg")),
];

/// Where the shop is to be found, unless somebody else is there.
const PORT: u16 = 8080;
const TLS_PORT: u16 = 8443;
const ON_DEMAND_PORT: u16 = 8090;

/// Runs the shop until Ctrl-C.
pub fn demo() -> ExitCode {
    match open() {
        Ok((place, ports, order, up)) => {
            let source = Source::File(Some(place.file()));
            let told = introduction(&place, ports, order);
            let ended = run(source, move |_| {
                // where nobody reads it, the shop is open nevertheless
                let _ = io::stdout().lock().write_all(told.as_bytes());
                let _ = up.send(());
            });
            if io::stdout().is_terminal() {
                println!();
            }
            ended
        }
        Err(e) => {
            eprintln!("error: the demo cannot be set up: {e}");
            ExitCode::from(CANNOT_START)
        }
    }
}

/// The ports of the gateway.
#[derive(Clone, Copy)]
struct Ports {
    plain: u16,
    tls: u16,
    /// Behind which nothing runs until somebody asks.
    on_demand: u16,
}

/// Opens the services and writes what is run. To be told when the gateway is up.
fn open() -> io::Result<(Place, Ports, SocketAddr, oneshot::Sender<()>)> {
    let place = Place::new()?;
    let ports = Ports {
        plain: free_port(PORT)?,
        tls: free_port(TLS_PORT)?,
        on_demand: free_port(ON_DEMAND_PORT)?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (shop, places) = runtime.block_on(Shop::open())?;
    let order = places.orders[0];
    for (path, content) in PUBLIC {
        place.write(&Path::new("public").join(path), content)?;
    }
    place.write(Path::new("inventory.proto"), PROTO)?;
    place.write(Path::new("transom.yaml"), configuration(ports, &places, &place).as_bytes())?;
    place.write(Path::new("on-demand.yaml"), on_demand(ports)?.as_bytes())?;
    place.write(Path::new("report.yaml"), report(&place).as_bytes())?;
    prompt::listen(shop.orders.clone())?;
    let (up, is_up) = oneshot::channel();
    let admin = place.admin();
    let thread = std::thread::Builder::new().name("shop".into());
    thread.spawn(move || {
        let told = async {
            if is_up.await.is_ok() {
                live::tell(&admin).await;
            }
        };
        runtime.block_on(async { tokio::join!(shop.serve(), told) })
    })?;
    Ok((place, ports, order, up))
}

/// This port, or any free one where it is taken.
fn free_port(wanted: u16) -> io::Result<u16> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, wanted))
        .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    Ok(bound.local_addr()?.port())
}

/// The lesson with its variables filled in, and what the demo needs besides.
fn configuration(ports: Ports, places: &Places, place: &Place) -> String {
    let mut text = FILE
        .replace("${PORT:-8080}", &ports.plain.to_string())
        .replace("${TLS_PORT:-8443}", &ports.tls.to_string())
        .replace("${USERS:-127.0.0.1:9001}", &places.users.to_string())
        .replace("${CART:-127.0.0.1:9002}", &places.cart.to_string())
        .replace("${INVENTORY:-127.0.0.1:9003}", &places.inventory.to_string());
    for (at, address) in places.orders.iter().enumerate() {
        let variable = format!("${{ORDERS_{n}:-127.0.0.1:901{n}}}", n = at + 1);
        text = text.replace(&variable, &address.to_string());
    }
    let quoted = |path: PathBuf| {
        serde_json::Value::from(path.display().to_string().replace("${", "$${")).to_string()
    };
    text + &format!(
        "\n# What only the demo has: it reloads by itself, ends at once and keeps to itself.\n\
         include: on-demand.yaml\n\
         reload: {{ watch: true }}\n\
         grace: 1s\n\
         admin: {{ socket: {} }}\n\
         log: {{ level: warn, access: {{ format: text, to: {{ file: {} }} }} }}\n",
        quoted(place.admin()),
        quoted(place.log()),
    )
}

/// A pool without servers: this program, with another file, is one when somebody asks.
fn on_demand(ports: Ports) -> io::Result<String> {
    let program = std::env::current_exe()?;
    let quoted = serde_json::Value::from(program.display().to_string().replace("${", "$${"));
    let port = ports.on_demand;
    Ok(format!(
        "# Nothing runs behind this until somebody asks.\n\
         listeners:\n  \
           reports: {{ address: \"127.0.0.1:{port}\", routes: [{{ forward: reports }}] }}\n\
         pools:\n  \
           reports:\n    \
             scale:\n      \
               command: [{quoted}, run, -c, report.yaml]\n      \
               max: 3\n      \
               target: 4\n      \
               cool-down: 10s\n"
    ))
}

/// What the servers run that are started on demand.
fn report(place: &Place) -> String {
    let socket = place.0.join("report-${PORT}.sock");
    format!(
        "listeners: {{ web: {{ address: \"127.0.0.1:${{PORT}}\", routes: [{{ respond: \"42 lamps were sold, says the server on port ${{PORT}}\\n\" }}] }} }}\n\
         workers: 1\n\
         grace: 1s\n\
         log: {{ level: error, access: off }}\n\
         admin: {{ socket: \"{}\" }}\n",
        socket.display()
    )
}

/// A directory of its own for the file, the pages, the log and the admin socket. Goes in the end.
struct Place(PathBuf);

impl Place {
    fn new() -> io::Result<Self> {
        let parent = std::env::temp_dir();
        let mut attempts = 0;
        loop {
            // a directory that is there already may be somebody else's
            let path = parent.join(format!("transom-demo-{}-{attempts}", std::process::id()));
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Place(path)),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && attempts < 100 => {
                    attempts += 1
                }
                Err(e) => return Err(io::Error::new(e.kind(), format!("{}: {e}", path.display()))),
            }
        }
    }

    fn file(&self) -> PathBuf {
        self.0.join("transom.yaml")
    }

    fn log(&self) -> PathBuf {
        self.0.join("access.log")
    }

    fn admin(&self) -> PathBuf {
        self.0.join("admin.sock")
    }

    fn write(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let path = self.0.join(path);
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        std::fs::write(path, content)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // At worst it stays among the temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What is there, and what to try.
fn introduction(place: &Place, ports: Ports, order: SocketAddr) -> String {
    let Ports { plain, tls, on_demand } = ports;
    let (file, log, admin) = (place.file(), place.log(), place.admin());
    let (file, log, admin) = (file.display(), log.display(), admin.display());
    let program = program();
    format!(
        "\
www.myshop.com is open.

  http://localhost:{plain}     the shop, for a browser
  https://localhost:{tls}    the same over TLS, with a certificate that nobody vouches for

To paste into another terminal:

  # the home page: a file, no service is asked
  curl http://localhost:{plain}/
  # the user service, which knows nothing of /api
  curl http://localhost:{plain}/api/users
  curl http://localhost:{plain}/api/users/2
  # four instances of the order service answer in turn: 1, 2, 3, 4
  for i in 1 2 3 4; do curl http://localhost:{plain}/api/orders; echo; done
  # into the cart
  curl -d '{{\"product\":\"lamp\"}}' http://localhost:{plain}/api/cart
  # buying needs a token: 401. Who logs in gets one, which the user service has signed
  curl -i -X POST http://localhost:{plain}/api/checkout
  ADA=$(curl -s -d '{{\"name\":\"ada\"}}' http://localhost:{plain}/api/login)
  GRACE=$(curl -s -d '{{\"name\":\"grace\"}}' http://localhost:{plain}/api/login)
  EDSGER=$(curl -s -d '{{\"name\":\"edsger\"}}' http://localhost:{plain}/api/login)
  # 403: his token is right, and says nothing of buying
  curl -i -X POST -H \"Authorization: Bearer $EDSGER\" http://localhost:{plain}/api/checkout
  # one of the four takes the order. The same key again: the same answer, and one order
  curl -i -X POST -H \"Authorization: Bearer $ADA\" -H 'Idempotency-Key: 1' http://localhost:{plain}/api/checkout
  curl -i -X POST -H \"Authorization: Bearer $ADA\" -H 'Idempotency-Key: 1' http://localhost:{plain}/api/checkout
  # grace has 100 requests a minute: the 101st is a 429 with Retry-After. ada is a VIP and goes on
  for i in $(seq 101); do curl -s -o /dev/null -w '%{{http_code}}\\n' -X POST -H \"Authorization: Bearer $GRACE\" http://localhost:{plain}/api/checkout; done | uniq -c
  curl -i -X POST -H \"Authorization: Bearer $GRACE\" http://localhost:{plain}/api/checkout
  curl -i -X POST -H \"Authorization: Bearer $ADA\" http://localhost:{plain}/api/checkout
  # what the route asks, and of whom
  {program} explain POST http://localhost:{plain}/api/checkout -c {file}
  # a service that speaks gRPC: one call, a stream as a list, and an error
  curl http://localhost:{plain}/api/inventory/lamp
  curl http://localhost:{plain}/api/inventory
  curl -i http://localhost:{plain}/api/inventory/unicorn
  # the old address of the orders: still served, and says until when and what follows
  curl -i http://localhost:{plain}/api/v1/orders
  # a page out of three services in one answer, without what only they should know
  curl -i http://localhost:{plain}/api/page/2
  # 404: no such file, and no route that would know better
  curl -i http://localhost:{plain}/nowhere
  # 405: the route is there, the method is not; Allow says which are
  curl -i -X DELETE http://localhost:{plain}/api/users
  # a hundred bytes of a picture: 206
  curl -i -r 0-99 http://localhost:{plain}/static/lamp.svg
  # TLS, with the name that the certificate is for
  curl -k --resolve www.myshop.com:{tls}:127.0.0.1 https://www.myshop.com:{tls}/api/users
  # another host: a redirect
  curl -i -H 'Host: myshop.com' http://localhost:{plain}/cart?from=mail
  # what becomes of a request, and why, without sending it
  {program} explain GET http://localhost:{plain}/api/orders -c {file}
  # type here: kill 2, and Enter. No request fails; look how it goes and comes back
  {program} pool show orders --socket {admin}
  # take an instance out by hand, and in again; no reload
  {program} pool drain orders {order} --socket {admin}
  {program} pool ready orders {order} --socket {admin}
  # nothing runs behind this: the first request waits for a process, which goes after ten seconds
  time curl http://localhost:{on_demand}/
  {program} pool show reports --socket {admin}
  # the numbers that Prometheus would collect
  curl --unix-socket {admin} http://admin/metrics

The file that runs:    {file}
                       change it and save: it runs at once, or says what is wrong with it
A line each request:   {log}

"
    )
}

/// How this program is called from here.
fn program() -> String {
    let Ok(path) = std::env::current_exe() else { return "transom".into() };
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(&path).display().to_string()
}
