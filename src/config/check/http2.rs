//! Whether the settings of HTTP/2 leave a connection that can be used.

use transom_settings::ByteSize;

use super::Check;
use crate::config::Http2;

impl Check<'_> {
    /// RFC 9113 §6.5.2, §6.9.1: what a frame can say; and what makes a connection usable.
    pub(super) fn http2(&mut self, http2: &Http2, path: &str) {
        const LARGEST: ByteSize = ByteSize::mib(1024);
        if http2.streams.value == 0 {
            self.error(http2.streams.span, format!("{path}.streams"), "nobody may open a stream")
                .hint("write `http2: off` to leave HTTP/1.1 only")
                .done();
        }
        let windows = [
            ("stream-window", &http2.stream_window),
            ("connection-window", &http2.connection_window),
        ];
        for (key, window) in windows {
            if window.value > LARGEST || window.value < ByteSize::kib(1) {
                let what = format!("`{key}` of {window} is not between 1KiB and {LARGEST}");
                self.error(window.span, format!("{path}.{key}"), what)
                    .hint("64KiB for a stream and 1MiB for a connection suit most")
                    .done();
            }
        }
        let (stream, connection) = (&http2.stream_window, &http2.connection_window);
        if stream.value > connection.value {
            let what =
                format!("`stream-window` of {stream} is more than the connection's {connection}");
            self.error(stream.span, format!("{path}.stream-window"), what)
                .hint("raise `connection-window`, all streams share it")
                .done();
        }
    }
}
