//! Somebody else starts and stops servers: told how many there shall be, and why.

use transom_settings::json::json;

use crate::discovery::Reach;
use crate::discovery::call::{Request, Server};

/// Where that is told, by POST.
pub struct Webhook {
    pub server: Server,
    pub path: String,
}

impl Webhook {
    /// Tells it; anything but 2xx is told again later.
    ///
    /// # Errors
    /// Why it is not known to have been heard.
    pub async fn tell(
        &self,
        reach: &Reach,
        pool: &str,
        wanted: usize,
        servers: usize,
        reason: &str,
    ) -> Result<(), String> {
        let body = json!({ "pool": pool, "wanted": wanted, "servers": servers, "reason": reason });
        let answer = self.server.call(reach, Request::post(&self.path, &body)).await?;
        answer.ok(&self.server.address).await.map(drop)
    }
}
