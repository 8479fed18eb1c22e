//! Settings of servers on demand.

use std::path::PathBuf;

use transom_settings::{Duration, Map, Name, Percent, Spanned, settings};

use super::RegistryServer;

settings! {
    /// Servers on demand: as many as requests need, from none on.
    pub struct Scale flatten(driver: Driver) {
        /// The fewest servers. With 0 requests are held while the first one starts.
        pub min: u32 = 0,
        /// The most servers.
        pub max: Spanned<u32>,
        /// Requests at once that one server is meant to have.
        pub target: Spanned<u32> = 10.into(),
        /// How busy one server is meant to be, by what it reports of itself with its responses, beside
        /// `target`: whichever asks for more servers counts. Servers say it with
        /// `endpoint-load-metrics` (ORCA), or as `algorithm: reported-load` of the pool says.
        pub target_load: Option<Spanned<Percent>> = None,
        /// For how long fewer servers must have been enough before one goes.
        pub cool_down: Duration = Duration::minutes(1),
        /// How requests are held while there is no server.
        pub hold: Hold = Hold::default(),
        /// How long a server may take to accept connections.
        pub start_timeout: Duration = Duration::seconds(30),
        /// How long the requests of a server may take to end before it is stopped.
        pub drain_timeout: Duration = Duration::seconds(30),
        /// How long a server may take to end before it is killed.
        pub stop_timeout: Duration = Duration::seconds(10),
    }

    /// How requests are held while there is no server.
    pub struct Hold {
        /// How many, at most.
        pub requests: u32 = 1000,
        /// For how long.
        pub timeout: Duration = Duration::seconds(30),
    }

    /// Who starts and stops servers.
    pub choice Driver {
        /// Processes of this machine: `command: [./server, --port, "{port}"]`.
        "command" => Command(CommandDriver),
        /// Containers: `docker: { image: orders, port: 8080 }`.
        "docker" => Docker(DockerDriver),
        /// Somebody else, who is told how many there shall be: `webhook: http://10.0.0.3:9000/scale`.
        "webhook" => Webhook(Spanned<RegistryServer>),
    }

    /// Processes of this machine, each on a free port of 127.0.0.1.
    pub struct CommandDriver short(run) {
        /// The program and its arguments. `{port}` is the port to listen on, and so is the
        /// environment variable `PORT`.
        pub run: Spanned<Vec<String>>,
        /// Environment variables besides those of Transom.
        pub environment: Map<Name, String> = Map::new(),
        /// The directory to run in. By default that of the file.
        pub directory: Option<PathBuf> = None,
    }

    /// Containers of Docker, or of Podman, which are removed when they are stopped.
    pub struct DockerDriver {
        /// The image, which must be there.
        pub image: Spanned<String>,
        /// The port inside.
        pub port: Spanned<u16>,
        /// Instead of the image's own command.
        pub command: Vec<String> = Vec::new(),
        /// Environment variables.
        pub environment: Map<Name, String> = Map::new(),
        /// The network to join.
        pub network: Option<String> = None,
        /// Where Docker answers: `unix:/path`, or an address.
        pub server: Spanned<RegistryServer> = RegistryServer::docker().into(),
    }
}
