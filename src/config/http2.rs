//! Settings of HTTP/2 toward clients.

use transom_settings::{ByteSize, Duration, Limit, Spanned, settings};

settings! {
    /// HTTP/2 toward clients.
    pub struct Http2 {
        /// Whether a client without TLS may begin with it (gRPC without TLS does). An `Upgrade` to
        /// it is never taken.
        pub prior_knowledge: bool = true,
        /// Requests that one connection has open at once.
        pub streams: Spanned<u32> = 100.into(),
        /// Of the body of one request, so much may be on its way to Transom. More makes large uploads
        /// over long lines faster, and costs memory.
        pub stream_window: Spanned<ByteSize> = ByteSize::kib(64).into(),
        /// Of the bodies of all requests of a connection, so much may be on its way.
        pub connection_window: Spanned<ByteSize> = ByteSize::mib(1).into(),
        /// Streams of a connection that may be reset within ten seconds, by the client before it has
        /// a response, or by Transom for what the client did wrong. More ends the connection.
        pub resets: Spanned<u32> = 100.into(),
        /// PING and SETTINGS frames a second; ten times as many at once. More ends the connection.
        pub control_frames: Spanned<u32> = 10.into(),
        /// How often a connection with open requests is asked whether it is still there. One that
        /// does not say so within ten seconds is closed.
        pub ping: Spanned<Limit<Duration>> = Limit::Unlimited.into(),
    }
}
