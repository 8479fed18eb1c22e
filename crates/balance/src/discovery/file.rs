//! A file with a list of endpoints, read again when it has changed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::listed::read_list;
use super::{Following, News, Reach, Source};

/// Largest file, bytes.
const LARGEST: u64 = 16 << 20;

/// A file in YAML or JSON.
///
/// Its time, size and number are looked at, through links: a ConfigMap of Kubernetes, which is
/// swapped by a link, is seen as well as a file that is written in place.
pub struct File {
    pub path: PathBuf,
    /// How often it is looked at.
    pub every: Duration,
}

type Stamp = (SystemTime, u64, u64);

impl File {
    fn stamp(&self) -> Result<Stamp, String> {
        let told = |error| format!("`{}`: {error}", self.path.display());
        let found = fs::metadata(&self.path).map_err(told)?;
        if found.len() > LARGEST {
            return Err(format!("`{}` is larger than 16 MiB", self.path.display()));
        }
        Ok((found.modified().map_err(told)?, found.len(), found.ino()))
    }

    fn read(&self) -> Result<Vec<super::Listed>, String> {
        let name = self.path.display().to_string();
        let text = fs::read_to_string(&self.path).map_err(|e| format!("`{name}`: {e}"))?;
        read_list(&name, &text)
    }

    async fn watch(&self, news: &News) -> String {
        let mut seen = None;
        loop {
            let stamp = match self.stamp() {
                Ok(stamp) => stamp,
                Err(why) => return why,
            };
            if seen == Some(stamp) {
                tokio::time::sleep(self.every).await;
                continue;
            }
            match self.read() {
                // one that was written while it was read is read again
                Ok(list) if self.stamp() == Ok(stamp) => news.found(list),
                Ok(_) => continue,
                Err(why) => {
                    // it may be half written
                    tokio::time::sleep(self.every).await;
                    if self.stamp() != Ok(stamp) {
                        continue;
                    }
                    news.failed(why);
                }
            }
            seen = Some(stamp);
        }
    }
}

impl Source for File {
    fn follow<'a>(&'a mut self, _: &'a Reach, news: &'a News) -> Following<'a> {
        Box::pin(self.watch(news))
    }
}
