//! Asks the running program, for `transom reload`, `transom stop` and `transom pool`.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// A reload reads every file it names, and probes nothing.
const PATIENCE: Duration = Duration::from_secs(60);
/// As much again for so many bytes of a request: an import of a million keys is written before it is answered.
pub(super) const STEP: usize = 4 << 20;
/// Longest answer, bytes: metrics of many thousand routes.
const LONGEST: usize = 64 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "no Transom is running at `{0}`\nhint: `transom run` starts one; if it runs with another `admin.socket`, name its file with `-c`"
    )]
    NotRunning(PathBuf),
    #[error(
        "the admin socket `{0}` belongs to another user\nhint: ask as the user that Transom runs as, or as root"
    )]
    NotAllowed(PathBuf),
    #[error("the admin socket `{0}` cannot be used: {1}")]
    Socket(PathBuf, #[source] io::Error),
    #[error("Transom at `{0}` did not answer within {n} seconds, and may yet do it", n = .1.as_secs())]
    TooSlow(PathBuf, Duration),
    #[error("what listens at `{0}` does not answer as Transom does: {1}")]
    Answer(PathBuf, #[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The status and text of the answer to a request without a body. Needs a runtime.
///
/// # Errors
/// [`Error`]; an answer that says no is none.
pub async fn call(socket: &Path, method: &str, path: &str) -> Result<(u16, String), Error> {
    call_with(socket, method, path, "").await
}

/// As [`call`], with a body.
///
/// # Errors
/// [`Error`]; an answer that says no is none.
pub async fn call_with(
    socket: &Path,
    method: &str,
    path: &str,
    body: &str,
) -> Result<(u16, String), Error> {
    let stream = UnixStream::connect(socket).await.map_err(|e| unreachable(socket, e))?;
    let patience = PATIENCE * u32::try_from(1 + body.len() / STEP).unwrap_or(u32::MAX);
    match timeout(patience, exchange(stream, method, path, body)).await {
        Ok(answer) => answer.map_err(|e| Error::Answer(socket.to_owned(), e)),
        Err(_) => Err(Error::TooSlow(socket.to_owned(), patience)),
    }
}

fn unreachable(socket: &Path, error: io::Error) -> Error {
    let socket = socket.to_owned();
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory => {
            Error::NotRunning(socket)
        }
        ErrorKind::PermissionDenied => Error::NotAllowed(socket),
        _ => Error::Socket(socket, error),
    }
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

async fn exchange(
    stream: UnixStream,
    method: &str,
    path: &str,
    body: &str,
) -> Result<(u16, String), AnyError> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "transom")
        .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), LONGEST).collect().await?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    // The connection has to be driven while we wait, and ends with this future.
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        // Where the connection ends first, the rest of the answer is there or never comes.
        _ = &mut connection => answer.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_a_transom_the_sentence_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        let error = call(&path, "POST", "/reload").await.unwrap_err();
        assert!(error.to_string().starts_with("no Transom is running at `/"), "{error}");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let error = call(&path, "POST", "/reload").await.unwrap_err();
        assert!(matches!(error, Error::NotRunning(_)), "{error}");
        let long = directory.path().join("x".repeat(200));
        let error = call(&long, "POST", "/reload").await.unwrap_err();
        assert!(matches!(error, Error::Socket(..)), "{error}");
    }

    #[tokio::test]
    async fn something_else_that_listens_there_is_told_from_transom() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let other = async {
            let (stream, _) = listener.accept().await.unwrap();
            stream.readable().await.unwrap();
            stream.try_write(b"SSH-2.0-x\r\n").unwrap();
        };
        let (answer, ()) = tokio::join!(call(&path, "GET", "/healthz"), other);
        let error = answer.unwrap_err().to_string();
        assert!(error.contains("does not answer as Transom does"), "{error}");
    }
}
