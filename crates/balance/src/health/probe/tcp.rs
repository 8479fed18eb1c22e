//! A connection, within TLS where the pool has it; and a text that must come, after another was
//! sent or by itself.

use transom_net::Stream;

use crate::health::talk::{more, send};

/// What of an answer is looked at, at most.
pub const MOST: usize = 4096;

/// See the module. Without anything to send or expect, a connection is enough.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TcpProbe {
    pub send: Vec<u8>,
    /// Bytes that the answer must hold.
    pub expect: Vec<u8>,
}

impl TcpProbe {
    pub(super) async fn ask(&self, stream: &mut Stream) -> Result<(), String> {
        if !self.send.is_empty() {
            send(stream, &self.send).await?;
        }
        if self.expect.is_empty() {
            return Ok(());
        }
        loop {
            let answer = stream.filled();
            if memchr::memmem::find(answer, &self.expect).is_some() {
                return Ok(());
            }
            if answer.len() >= MOST {
                return Err("its answer is another one".to_owned());
            }
            more(stream).await?;
        }
    }
}
