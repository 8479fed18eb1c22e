//! The program itself, run with a configuration of a test.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::message::{Reader, Response};
use crate::{PATIENCE, until};

/// A running Transom; killed when dropped.
pub struct Transom {
    child: Child,
    folder: tempfile::TempDir,
    variables: Vec<(String, PathBuf)>,
    ports: BTreeMap<String, Port>,
}

/// A loopback port that nobody else gets as long as this lives.
pub struct Port {
    pub address: SocketAddr,
    _reservation: Socket,
}

impl Transom {
    /// Runs `binary` with `config`, and waits until it is ready.
    ///
    /// In `config`, `@NAME` in capital letters becomes an address on a free port, `@folder` a
    /// folder of the test's own. The access log goes to `access.log` there, and the admin socket is
    /// `admin.sock`. Unless it says something of `overload`, no request is shed because the machine is busy.
    ///
    /// # Panics
    /// When it does not start; with what it said.
    #[track_caller]
    pub fn run(binary: &str, config: &str) -> Self {
        Self::run_with(binary, config, |_| ())
    }

    /// As [`Transom::run`]; `prepare` may put files into the folder first.
    #[track_caller]
    pub fn run_with(binary: &str, config: &str, prepare: impl FnOnce(&Path)) -> Self {
        Self::run_among(binary, config, &[], prepare)
    }

    /// As [`Transom::run_with`], with these variables beside those of the test.
    #[track_caller]
    pub fn run_among(
        binary: &str,
        config: &str,
        variables: &[(&str, &Path)],
        prepare: impl FnOnce(&Path),
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        prepare(folder.path());
        let mut ports = BTreeMap::new();
        let config = completed(config, folder.path(), &mut ports);
        let file = folder.path().join("transom.yaml");
        fs::write(&file, &config).expect("a file in our own folder");
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.to_path_buf()))
            .collect();
        let child = spawn(binary, folder.path(), &variables);
        let mut transom = Transom { child, folder, variables, ports };
        transom.wait_until_it_is_ready(&config);
        transom
    }

    #[track_caller]
    fn wait_until_it_is_ready(&mut self, config: &str) {
        let start = Instant::now();
        while !self.is_ready() {
            let exit = self.child.try_wait().expect("our own child");
            if exit.is_some() || start.elapsed() > PATIENCE {
                panic!("it did not start ({exit:?}):\n{}\n{config}", self.said());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What `/readyz` of the admin socket says.
    pub fn is_ready(&self) -> bool {
        self.ask_admin("GET", "/readyz").is_ok_and(|response| response.status == 200)
    }

    /// What the admin socket answers.
    #[track_caller]
    pub fn admin(&self, method: &str, path: &str) -> Response {
        self.ask_admin(method, path).unwrap_or_else(|e| panic!("no answer to {method} {path}: {e}"))
    }

    fn ask_admin(&self, method: &str, path: &str) -> std::io::Result<Response> {
        let mut admin = UnixStream::connect(self.folder.path().join("admin.sock"))?;
        admin.set_read_timeout(Some(PATIENCE))?;
        write!(admin, "{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
        Reader::new(admin).response(method)
    }

    /// The sum of all samples of a metric. `family` may go on with labels: `name{result="failure"`.
    #[track_caller]
    pub fn metric(&self, family: &str) -> f64 {
        let text = self.admin("GET", "/metrics").text();
        sum(&text, family).unwrap_or_else(|| panic!("there is no {family}:\n{text}"))
    }

    /// Waits until a metric has this value: what is counted at the end of an exchange or a connection is
    /// counted a moment after its last byte.
    #[track_caller]
    pub fn metric_becomes(&self, family: &str, value: f64) {
        let start = Instant::now();
        loop {
            let text = self.admin("GET", "/metrics").text();
            let now = sum(&text, family);
            if now == Some(value) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{family} is {now:?}, and not {value}:\n{text}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Puts another configuration into its file; what `@NAME` has become stays so.
    pub fn write(&mut self, config: &str) {
        let config = completed(config, self.folder.path(), &mut self.ports);
        let (file, new) = (self.folder.path().join("transom.yaml"), self.folder.path().join("new"));
        fs::write(&new, config).expect("a file in our own folder");
        fs::rename(new, file).expect("a file in our own folder");
    }

    /// The address that `@NAME` became.
    #[track_caller]
    pub fn address(&self, name: &str) -> SocketAddr {
        self.ports.get(name).unwrap_or_else(|| panic!("there is no @{name}")).address
    }

    /// The address that `@WEB` became.
    #[track_caller]
    pub fn web(&self) -> SocketAddr {
        self.address("WEB")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it said to its standard error and output.
    pub fn said(&self) -> String {
        ["stderr", "stdout"].map(|name| self.read(name)).concat()
    }

    /// The lines of the access log.
    ///
    /// # Panics
    /// When one of them is not a JSON object without control characters.
    #[track_caller]
    pub fn lines(&self) -> Vec<Value> {
        let text = self.read("access.log");
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let line = |line: &str| match serde_json::from_str(line) {
            Ok(value @ Value::Object(_)) if !line.contains(|c: char| c.is_control()) => value,
            other => panic!("not a line of JSON: {line:?}: {other:?}"),
        };
        whole.lines().map(line).collect()
    }

    /// Waits until the access log has `count` lines.
    #[track_caller]
    pub fn lines_when(&self, count: usize) -> Vec<Value> {
        let start = Instant::now();
        loop {
            let lines = self.lines();
            if lines.len() >= count {
                return lines;
            }
            assert!(start.elapsed() < PATIENCE, "{} lines of {count}: {lines:#?}", lines.len());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.folder.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Open file descriptors.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(self.proc("fd")).map(Iterator::count).unwrap_or_default()
    }

    /// Open sockets: what the system says about those of TCP, the inode of the others.
    pub fn sockets(&self) -> Vec<String> {
        let tables = ["net/tcp", "net/tcp6"].map(|name| fs::read_to_string(self.proc(name)));
        let tables: Vec<_> = tables.into_iter().flatten().collect();
        let links = fs::read_dir(self.proc("fd")).into_iter().flatten().flatten();
        links
            .filter_map(|entry| {
                let target = fs::read_link(entry.path()).ok()?;
                let target = target.to_string_lossy();
                let inode = target.strip_prefix("socket:[")?.strip_suffix(']')?;
                let line = tables
                    .iter()
                    .flat_map(|table| table.lines())
                    .find(|line| line.split_whitespace().nth(9) == Some(inode));
                Some(line.unwrap_or(inode).trim().to_owned())
            })
            .collect()
    }

    /// Connections to this address that are open on both sides, with nothing to read: what the other side
    /// has said or ended before is known here once there are none.
    pub fn quiet_connections_to(&self, address: SocketAddr) -> usize {
        let SocketAddr::V4(address) = address else { return 0 };
        let ip = u32::from_ne_bytes(address.ip().octets());
        let there = format!("{ip:08X}:{:04X}", address.port());
        let is_quiet = |line: &&String| {
            let mut fields = line.split_whitespace().skip(2);
            let nothing = |queues: &str| queues.ends_with(":00000000");
            fields.next() == Some(&there)
                && fields.next() == Some("01")
                && fields.next().is_some_and(nothing)
        };
        self.sockets().iter().filter(is_quiet).count()
    }

    /// Resident memory in KiB that is its own: what is mapped of files grows with the code that has
    /// run.
    pub fn memory(&self) -> usize {
        let status = fs::read_to_string(self.proc("status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or_default()
    }

    fn proc(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.pid()))
    }

    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid() as i32) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Runs it once more with the same file, after it has ended, and waits until it is ready.
    #[track_caller]
    pub fn run_again(&mut self, binary: &str) {
        self.child = spawn(binary, self.folder.path(), &self.variables);
        self.wait_until_it_is_ready("the same file");
    }

    /// Processor time that it has taken so far.
    pub fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(self.proc("stat")).unwrap_or_default();
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let fields = after_name.split_whitespace().skip(11).take(2);
        let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        let mut exit = None;
        until("the program ends", || {
            exit = self.child.try_wait().expect("our own child");
            exit.is_some()
        });
        exit.expect("it has just ended")
    }
}

fn spawn(binary: &str, folder: &Path, variables: &[(String, PathBuf)]) -> Child {
    let output = |name: &str| {
        Stdio::from(fs::File::create(folder.join(name)).expect("a file in our folder"))
    };
    Command::new(binary)
        .arg("run")
        .arg("-c")
        .arg(folder.join("transom.yaml"))
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(output("stdout"))
        .stderr(output("stderr"))
        .spawn()
        .expect("the program can be run")
}

impl Drop for Transom {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("the program said:\n{}", self.said());
            let log = self.read("access.log");
            let last: Vec<_> = log.lines().rev().take(20).collect();
            eprintln!("the last of its access log, latest first:\n{}", last.join("\n"));
        }
    }
}

impl Port {
    pub fn reserve() -> std::io::Result<Self> {
        loop {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            // Bound but not listening: the program may bind beside it, the kernel gives the port to
            // nobody else, and at no other address of this machine.
            socket.set_reuse_address(true)?;
            socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into())?;
            let bound = socket.local_addr()?.as_socket().ok_or(ErrorKind::AddrNotAvailable)?;
            // Nor does anybody use it for UDP.
            if UdpSocket::bind(bound).is_ok() {
                let address = SocketAddr::from((Ipv4Addr::LOCALHOST, bound.port()));
                return Ok(Port { address, _reservation: socket });
            }
        }
    }

    /// Listens on a port that stays this program's to its end: once the listener is gone nobody listens
    /// there, and not somebody else.
    pub(crate) fn listen() -> TcpListener {
        static OURS: Mutex<Vec<Port>> = Mutex::new(Vec::new());
        let port = Port::reserve().expect("a free port");
        let listener = TcpListener::bind(port.address).expect("a port of our own");
        OURS.lock().expect("nobody panics with it in hand").push(port);
        listener
    }
}

/// The sum of all samples of a metric, in what `/metrics` has said.
fn sum(text: &str, family: &str) -> Option<f64> {
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(family)?;
        let value = rest.rsplit(' ').next()?;
        // Another family, whose name goes on.
        if rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
            return None;
        }
        value.parse::<f64>().ok()
    });
    values.reduce(|a, b| a + b)
}

/// `config` with its places filled in.
fn completed(config: &str, folder: &Path, ports: &mut BTreeMap<String, Port>) -> String {
    let folder = folder.display().to_string();
    let mut out = String::new();
    let mut parts = config.split('@');
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        if let Some(rest) = part.strip_prefix("folder") {
            out.push_str(&folder);
            out.push_str(rest);
            continue;
        }
        let end = part.find(|c: char| !c.is_ascii_uppercase()).unwrap_or(part.len());
        let (name, rest) = part.split_at(end);
        if name.is_empty() {
            out.push('@');
        } else {
            let port = ports
                .entry(name.to_owned())
                .or_insert_with(|| Port::reserve().expect("a free port"));
            out.push_str(&port.address.to_string());
        }
        out.push_str(rest);
    }
    if !config.contains("overload:") {
        // That the machine is busy is no reason to shed: it is not what is tried.
        out.push_str("\noverload: { lag: 1h }");
    }
    if !config.contains("\nadmin:") {
        out.push_str(&format!("\nadmin: {{ socket: {folder}/admin.sock }}"));
    }
    out.push_str(&format!("\nlog: {{ access: {{ to: {{ file: {folder}/access.log }} }} }}\n"));
    out
}
