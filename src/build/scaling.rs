//! Pools whose servers are started on demand.

use std::sync::Arc;

use transom_balance::discovery::Roster;
use transom_balance::scale::command::Command;
use transom_balance::scale::decide::Rules;
use transom_balance::scale::docker::Docker;
use transom_balance::scale::webhook::Webhook;
use transom_balance::scale::{Driver, Hold, Scaler, Times};
use transom_settings::{Map, Name, Spanned};

use super::{Build, sources};
use crate::config;

impl Build<'_> {
    /// The scaler of a pool. One whose servers would be the same goes on, and so do they.
    pub(super) fn scaler(
        &mut self,
        pool: &Spanned<Name>,
        written: Option<&config::Scale>,
        earlier: Option<&Roster>,
    ) -> Option<Arc<Scaler>> {
        let written = written?;
        let before = self.previous.and_then(|previous| previous.config.pools.get(&***pool));
        let before = before.and_then(|before| before.scale.as_ref());
        if let (Some(before), Some(scaler)) = (before, earlier.and_then(|e| e.scaler.clone()))
            && before.driver == written.driver
        {
            return Some(scaler);
        }
        let driver = self.driver(pool, &written.driver)?;
        let (rules, hold, times) = plan(written);
        let resolver = self.names.resolver().clone();
        Some(Scaler::new(&***pool, driver, rules, hold, times, resolver, sources::tell()))
    }

    fn driver(&mut self, pool: &Spanned<Name>, written: &config::Driver) -> Option<Driver> {
        let path = format!("pools.{pool}.scale");
        Some(match written {
            config::Driver::Command(command) => {
                let (program, arguments) = command.run.split_first()?;
                let directory = command.directory.clone().unwrap_or_default();
                let directory = self.materials.resolve(&directory);
                // a path is one from the directory of the file, a bare name is looked for
                let program = match program.contains('/') {
                    true => absolute(self.materials.resolve(program.as_ref())),
                    false => program.into(),
                };
                Driver::Own(Box::new(Command {
                    program,
                    arguments: arguments.to_vec(),
                    environment: pairs(&command.environment),
                    directory: if directory.as_os_str().is_empty() {
                        ".".into()
                    } else {
                        directory
                    },
                }))
            }
            config::Driver::Docker(docker) => {
                let server = self.registry(&docker.server, None, Vec::new(), &path)?;
                Driver::Own(Box::new(Docker {
                    server,
                    pool: pool.to_string(),
                    image: docker.image.value.clone(),
                    command: docker.command.clone(),
                    environment: pairs(&docker.environment),
                    port: docker.port.value,
                    network: docker.network.clone(),
                }))
            }
            config::Driver::Webhook(url) => {
                let mut server = self.registry(url, None, Vec::new(), &path)?;
                let path = std::mem::take(&mut server.prefix);
                let path = if path.is_empty() { "/".to_owned() } else { path };
                Driver::Asked(Webhook { server, path })
            }
        })
    }
}

/// What a scaler keeps to.
pub(super) fn plan(written: &config::Scale) -> (Rules, Hold, Times) {
    let rules = Rules {
        min: written.min as usize,
        max: written.max.value as usize,
        target: f64::from(written.target.value),
        target_load: written.target_load.as_ref().map(|load| load.ratio()),
        cool_down: written.cool_down.get(),
    };
    let hold = Hold { most: written.hold.requests as usize, timeout: written.hold.timeout.get() };
    let times = Times {
        start: written.start_timeout.get(),
        drain: written.drain_timeout.get(),
        stop: written.stop_timeout.get(),
    };
    (rules, hold, times)
}

/// A program is found from the directory it runs in, which is another one.
fn absolute(path: std::path::PathBuf) -> std::path::PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

fn pairs(map: &Map<Name, String>) -> Vec<(String, String)> {
    map.iter().map(|(name, value)| (name.to_string(), value.clone())).collect()
}
