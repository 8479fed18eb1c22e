//! What is known of the services: from the file, or from the server itself.

use std::sync::Arc;
use std::time::Duration;

use prost_reflect::DescriptorPool;
use transom_settings::Setting;

use super::GrpcJson;
use super::reflection::{Asking, Learned};
use super::rules::Table;
use crate::call::Caller;
use crate::grpc::proto::compiled;
use crate::making::Making;

/// How long an answer of reflection may take, and be.
const REFLECTION: (Duration, usize) = (Duration::from_secs(10), 16 << 20);

/// See the module.
pub(super) enum Services {
    Known(Arc<Table>),
    Learned(Arc<Learned>),
}

impl Services {
    pub(super) fn table(&self) -> Result<Arc<Table>, String> {
        match self {
            Services::Known(table) => Ok(table.clone()),
            Services::Learned(learned) => learned.table.load_full().ok_or_else(|| learned.why()),
        }
    }
}

impl GrpcJson {
    pub(super) fn services(&self, making: &mut Making<'_>) -> Option<Services> {
        let names: Vec<String> = self.services.iter().map(|name| name.value.clone()).collect();
        if let Some(target) = &self.reflection {
            let destination = making.destination(target, "reflection")?;
            let from = format!("{} {}", target.to_json(), names.join(" "));
            let learned =
                making.keep(|known: &Learned| known.from == from, || Learned::from(from.clone()));
            making.task(
                "reflection",
                Arc::new(Asking {
                    caller: Caller::new(destination, REFLECTION.0, REFLECTION.1),
                    learned: learned.clone(),
                    services: names,
                    every: self.refresh.get(),
                }),
            );
            return Some(Services::Learned(learned));
        }
        let (pool, place, key) = match &self.descriptors {
            Some(file) => {
                let bytes = making.file(file)?;
                match DescriptorPool::decode(bytes) {
                    Ok(pool) => (pool, file.span, "descriptors"),
                    Err(error) => {
                        let what = format!("it is no whole set of descriptors: {error}");
                        let hint = "make it with `protoc --include_imports --descriptor_set_out`";
                        making.error(file.span, "descriptors", what, hint);
                        return None;
                    }
                }
            }
            None => {
                let place = self.proto.first().map_or(making.place, |file| file.span);
                (self.compiled(making)?, place, "proto")
            }
        };
        let (table, wrong) = Table::of(pool, &names);
        for what in &wrong {
            let place = self.services.first().map_or(place, |name| name.span);
            making.error(place, key, what.clone(), "correct it in the `.proto` file, or here");
        }
        if table.size().0 == 0 {
            making.error(place, key, "it has no services", "name the files with `service` in them");
            return None;
        }
        wrong.is_empty().then(|| Services::Known(Arc::new(table)))
    }

    fn compiled(&self, making: &mut Making<'_>) -> Option<DescriptorPool> {
        let mut texts = Vec::new();
        for file in &self.proto {
            let bytes = making.file(file)?;
            texts.push((file.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()));
        }
        match compiled(&texts) {
            Ok(pool) => Some(pool),
            Err((file, what)) => {
                let at = file.as_ref().and_then(|name| {
                    self.proto.iter().find(|file| file.ends_with(name)).map(|file| file.span)
                });
                let what = match file {
                    Some(file) => format!("{file}: {what}"),
                    None => what,
                };
                let place = at.unwrap_or(making.place);
                making.error(place, "proto", what, "add what it imports, or correct the file");
                None
            }
        }
    }
}
