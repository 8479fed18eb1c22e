//! What operators change, and by which way they came: a line each in the program's own log, so that it is
//! known later why a key is gone.

use axum::extract::Request;
use axum::http::{Method, StatusCode};

use crate::log;

/// Longest path that is shown, in bytes.
const LONGEST: usize = 256;

/// One request that may change something. Its line is written when it has been answered, or given up.
pub(super) struct Trail {
    what: String,
    status: Option<StatusCode>,
}

impl Trail {
    /// Of a request that only looks there is none; nor of endpoints that register themselves, which they say
    /// anew every few seconds.
    pub(super) fn of(request: &Request, way: &str) -> Option<Self> {
        let path = request.uri().path();
        if matches!(*request.method(), Method::GET | Method::HEAD) || is_registration(path) {
            return None;
        }
        // a URI holds nothing but printable ASCII
        let path = path.get(..LONGEST).unwrap_or(path);
        Some(Trail { what: format!("{} {path} by the {way}", request.method()), status: None })
    }

    pub(super) fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        let what = &self.what;
        match self.status {
            Some(status) => log::info(&format!("admin: {what}: {}", status.as_u16())),
            None => log::info(&format!("admin: {what}: who asked has gone, and it goes on")),
        }
    }
}

fn is_registration(path: &str) -> bool {
    let pool = path.strip_prefix("/pools/").and_then(|rest| rest.split_once('/'));
    pool.is_some_and(|(_, rest)| rest.starts_with("registrations/"))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn gw_40_what_changes_something_leaves_a_trail() {
        let long = format!("/{}", "x".repeat(1000));
        for (method, path, expected) in [
            ("GET", "/keys", None),
            ("HEAD", "/keys", None),
            ("DELETE", "/keys/abc?x=1", Some("DELETE /keys/abc by the socket")),
            ("POST", "/reload", Some("POST /reload by the socket")),
            ("PUT", "/pools/shop/registrations/10.0.0.1:80", None),
            (
                "PUT",
                "/pools/shop/members/10.0.0.1:80",
                Some("PUT /pools/shop/members/10.0.0.1:80 by the socket"),
            ),
        ] {
            let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
            let mut trail = Trail::of(&request, "socket");
            if let Some(trail) = &mut trail {
                trail.answered(StatusCode::OK);
            }
            assert_eq!(trail.as_ref().map(|trail| &*trail.what), expected, "{method} {path}");
        }
        let request = Request::builder().method("PUT").uri(long).body(Body::empty()).unwrap();
        assert!(Trail::of(&request, "socket").unwrap().what.len() < 300);
    }
}
