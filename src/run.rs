//! Starts everything, in order, and ends it in order.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::admin::{BindError, Control, TcpAdmin, UnixAdmin};
use crate::config::{self, Config};
use crate::load::Source;
use crate::log;
use crate::reload::{Running, StartError};
use crate::workers;

/// The configuration is wrong: sysexits.h, EX_USAGE.
pub const BAD_CONFIG: u8 = 64;
/// It is right, but cannot be run here.
pub const CANNOT_START: u8 = 1;

/// Runs until told to stop. `started` is called once everything is up.
pub fn run(source: Source, started: impl FnOnce(&Config) + Send + 'static) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("control")
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(e) => return cannot_start(&format!("the system gives no threads: {e}")),
    };
    match runtime.block_on(start(source, started)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(StartError::Config(findings)) => {
            eprint!("{findings}");
            ExitCode::from(BAD_CONFIG)
        }
        Err(StartError::System(what)) => cannot_start(&what),
    }
}

fn cannot_start(what: &str) -> ExitCode {
    eprintln!("error: {what}");
    ExitCode::from(CANNOT_START)
}

async fn start(source: Source, started: impl FnOnce(&Config) + Send) -> Result<(), StartError> {
    // Before anything is open: a signal from here on is answered in order.
    let mut signals =
        Signals::new().map_err(|e| StartError::System(format!("cannot catch signals: {e}")))?;
    let (running, admin) = Running::start(source, open_admin).await?;
    let config = running.config().await;
    admin.start(&running);
    let watch = crate::overload::watch(running.clone(), running.pressure.clone());
    running.supervisor.start("overload", watch);
    let watchdog = crate::watchdog::watch(running.clone(), running.pressure.clone());
    running.supervisor.start("watchdog", watchdog);
    running.supervisor.start("quotas", crate::supervise::keep_usage(running.clone()));
    running.supervisor.start("pools", crate::supervise::look_at_pools(running.clone()));
    if config.reload.watch {
        running.supervisor.start("watch", crate::supervise::watch(running.clone()));
    }
    started(&config);
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    loop {
        match signals.next(&running).await {
            Asked::Reload => {
                // `Type=notify-reload` takes the two only together (sd_notify(3)).
                if let Ok(now) = sd_notify::NotifyState::monotonic_usec_now() {
                    let _ = sd_notify::notify(&[sd_notify::NotifyState::Reloading, now]);
                }
                let _ = Control::reload(&*running).await;
                let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
            }
            Asked::Reopen => running.reopen_logs().await,
            Asked::Stop => break,
        }
    }
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    stop(running, &mut signals).await;
    Ok(())
}

/// Accepts nothing more, lets what is open finish within the grace, and ends the rest.
async fn stop(running: Arc<Running>, signals: &mut Signals) {
    running.draining.store(true, Ordering::Relaxed);
    let grace = running.config().await.grace.get();
    let doors = running.doors().await;
    let mut closing = running.workers.close_all().await;
    let mut accepting = true;
    let open = || workers::open_connections(doors.iter());
    if open() > 0 {
        log::info(&format!("draining {} connections, for {} s at most", open(), grace.as_secs()));
    }
    let until = Instant::now() + grace;
    while (accepting || open() > 0) && Instant::now() < until {
        tokio::select! {
            () = closing.done(), if accepting => accepting = false,
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
            asked = signals.next(&running) => {
                if matches!(asked, Asked::Stop) {
                    break;
                }
            }
        }
    }
    if open() > 0 {
        log::warn(&format!("{} connections were cut off", open()));
    }
    if tokio::time::timeout(END, running.end_scaling()).await.is_err() {
        log::warn("servers that were started on demand have not ended");
    }
    running.end().await;
}

/// How long servers that were started on demand may take to end, once nobody asks them any more.
const END: Duration = Duration::from_secs(40);

/// What a signal or the admin interface asks for.
enum Asked {
    Reload,
    Reopen,
    Stop,
}

struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
    reopen: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Signals {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            reopen: signal(SignalKind::user_defined1())?,
        })
    }

    async fn next(&mut self, running: &Running) -> Asked {
        tokio::select! {
            _ = self.hangup.recv() => Asked::Reload,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.reopen.recv() => Asked::Reopen,
            () = running.stop_asked.notified() => Asked::Stop,
        }
    }
}

/// The ways in for an operator.
struct Admin {
    unix: Option<UnixAdmin>,
    tcp: Option<TcpAdmin>,
}

impl Admin {
    fn start(self, running: &Arc<Running>) {
        if let Some(unix) = self.unix {
            running.supervisor.start("admin socket", unix.serve(running.clone()));
        }
        if let Some(tcp) = self.tcp {
            running.supervisor.start("admin address", tcp.serve(running.clone()));
        }
    }
}

fn open_admin(config: &Config) -> Result<Admin, StartError> {
    let failed = |e: BindError| {
        let hint = e.hint().map_or(String::new(), |hint| format!("\nhint: {hint}"));
        StartError::System(format!("no admin interface: {}{hint}", log::with_causes(&e)))
    };
    let unix = match UnixAdmin::bind(&admin_socket(config)) {
        Ok(unix) => Some(unix),
        // Somebody wrote this path down: it must work. The default one need not.
        Err(e) if config.admin.socket.is_some() => return Err(failed(e)),
        Err(e) => {
            log::warn(&format!(
                "no admin socket, so `transom reload` and `transom stop` do not work: {}",
                log::with_causes(&e)
            ));
            None
        }
    };
    let tcp = match (&config.admin.address, &config.admin.token) {
        (Some(address), Some(token)) => {
            let address = address.socket_address().ok_or_else(|| {
                StartError::System("the admin address needs an IP address and a port".into())
            })?;
            Some(TcpAdmin::bind(address, token.expose()).map_err(failed)?)
        }
        _ => None,
    };
    Ok(Admin { unix, tcp })
}

/// Where the admin socket of this configuration is.
pub fn admin_socket(config: &config::Config) -> PathBuf {
    match &config.admin.socket {
        Some(path) => path.value.clone(),
        None => default_admin_socket(),
    }
}

/// Below the runtime directory of the user; for root, and without one, below `/run` or `/tmp`.
pub fn default_admin_socket() -> PathBuf {
    let user = rustix::process::getuid();
    let directory = match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(directory) if !directory.is_empty() => PathBuf::from(directory).join("transom"),
        _ if user.is_root() => PathBuf::from("/run/transom"),
        _ => PathBuf::from(format!("/tmp/transom-{}", user.as_raw())),
    };
    directory.join("admin.sock")
}
