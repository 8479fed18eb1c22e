use std::io::{self, IoSlice};
use std::task::{Context, Poll};
use tokio::net::TcpStream;
#[derive(Debug)]
pub struct Session;
impl Session {
    pub fn has_buffered_plaintext(&self) -> bool { false }
    pub fn poll_handshake(&mut self, _: &mut TcpStream, _: &mut Context<'_>) -> Poll<io::Result<()>> { Poll::Pending }
    pub fn poll_read(&mut self, _: &mut TcpStream, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> { Poll::Pending }
    pub fn poll_write(&mut self, _: &mut TcpStream, _: &mut Context<'_>, _: &[IoSlice<'_>]) -> Poll<io::Result<usize>> { Poll::Pending }
    pub fn poll_flush(&mut self, _: &mut TcpStream, _: &mut Context<'_>) -> Poll<io::Result<()>> { Poll::Pending }
    pub fn poll_shutdown(&mut self, _: &mut TcpStream, _: &mut Context<'_>) -> Poll<io::Result<()>> { Poll::Pending }
}
#[derive(Debug)]
pub struct ClientTls;
impl ClientTls { pub fn session(&self, _: &str) -> Result<Session, io::Error> { Err(io::Error::other("stub")) } }

#[derive(Debug)]
pub struct Facts { pub version: &'static str, pub cipher: &'static str, pub sni: Option<String>, pub client: Option<ClientCertificate> }
#[derive(Debug)]
pub struct ClientCertificate { pub subject: String, pub fingerprint: String }
