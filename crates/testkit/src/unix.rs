//! A scripted HTTP/1 server on a Unix socket, such as Docker's.

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use crate::message::{Reader, Received};

/// Answers one request on each connection; what it does with it is a closure, which may keep the
/// connection.
pub struct UnixServer {
    folder: tempfile::TempDir,
}

impl UnixServer {
    pub fn start(script: impl Fn(&Received, UnixStream) + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let listener = UnixListener::bind(folder.path().join("socket")).expect("a new socket");
        let script = Arc::new(script);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let script = script.clone();
                thread::spawn(move || {
                    if let Ok(Some(request)) = read(&stream) {
                        script(&request, stream);
                    }
                });
            }
        });
        UnixServer { folder }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("socket")
    }
}

fn read(stream: &UnixStream) -> io::Result<Option<Received>> {
    Reader::new(stream.try_clone()?).request(true)
}
