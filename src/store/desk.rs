//! Keys that consumers make themselves, at a portal.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use transom_gateway::portal::{Answer, KeyDesk, NewOwnKey, OwnKey, Refused as NotDone};

use super::{KeyRow, MadeKey, NewKey, Refused, Store, Writer, now};

/// Valid keys that one consumer may have by its own doing.
const MOST: usize = 20;
/// Keys that one consumer may ever have made: those that ended stay in the store, which must not grow with
/// whoever makes and revokes them all day.
const EVER: usize = 500;

/// The store, once it is open.
pub type Opened = Arc<OnceLock<Store>>;

/// See [`KeyDesk`].
pub struct Desk(pub Opened);

impl Desk {
    async fn ask<T: Send + 'static>(
        &self,
        what: impl FnOnce(&mut Writer) -> Result<T, Refused> + Send + 'static,
    ) -> Result<T, NotDone> {
        let Some(store) = self.0.get() else {
            return Err(NotDone::Failed(
                "there is no store yet; `data` makes one at the start".into(),
            ));
        };
        store.ask(what).await.map_err(|refused| match refused {
            Refused::Missing(_) => NotDone::Missing,
            Refused::Conflict(why) => NotDone::Conflict(why),
            other => NotDone::Failed(other.to_string()),
        })
    }
}

impl KeyDesk for Desk {
    fn list(&self, consumer: &str) -> Answer<'_, Vec<OwnKey>> {
        let consumer = consumer.to_owned();
        Box::pin(async move {
            let rows = self.ask(move |writer| writer.keys(Some(&consumer), "", u32::MAX)).await?;
            Ok(rows.into_iter().map(shown).collect())
        })
    }

    fn create(&self, consumer: &str, new: NewOwnKey) -> Answer<'_, OwnKey> {
        let consumer = consumer.to_owned();
        Box::pin(async move {
            let made = self.ask(move |writer| {
                let held = writer.room_of(&consumer)?;
                let valid = held.iter().filter(|row| row.standing(now()) == "valid").count();
                if valid >= MOST {
                    let why = format!("you have {MOST} valid keys; revoke one first");
                    return Err(Refused::Conflict(why));
                }
                let NewOwnKey { note, expires } = new;
                writer.create_key(NewKey { consumer, note, expires, scopes: None })
            });
            Ok(shown_once(made.await?))
        })
    }

    fn rotate(
        &self,
        consumer: &str,
        id: &str,
        grace: Duration,
        until: Option<i64>,
    ) -> Answer<'_, OwnKey> {
        let (consumer, id) = (consumer.to_owned(), id.to_owned());
        Box::pin(async move {
            let made = self.ask(move |writer| {
                writer.is_of(&id, &consumer)?;
                writer.room_of(&consumer)?;
                writer.rotate_key(&id, grace, until)
            });
            Ok(shown_once(made.await?))
        })
    }

    fn revoke(&self, consumer: &str, id: &str) -> Answer<'_, OwnKey> {
        let (consumer, id) = (consumer.to_owned(), id.to_owned());
        Box::pin(async move {
            let row = self.ask(move |writer| {
                writer.is_of(&id, &consumer)?;
                writer.revoke_key(&id)
            });
            Ok(shown(row.await?))
        })
    }
}

impl Writer {
    /// The keys of a consumer that has room for one more.
    fn room_of(&self, consumer: &str) -> Result<Vec<KeyRow>, Refused> {
        let held = self.keys(Some(consumer), "", u32::MAX)?;
        match held.len() < EVER {
            true => Ok(held),
            false => {
                let why = format!("you have made {EVER} keys; ask the operator");
                Err(Refused::Conflict(why))
            }
        }
    }

    /// Whether the key is this consumer's; that of another is as if it were not there.
    fn is_of(&self, id: &str, consumer: &str) -> Result<(), Refused> {
        match self.known(id) {
            Ok((row, _)) if row.consumer == consumer => Ok(()),
            Ok(_) => Err(Refused::Missing("it is somebody else's".to_owned())),
            Err(refused) => Err(refused),
        }
    }
}

fn shown(row: KeyRow) -> OwnKey {
    let standing = row.standing(now());
    let KeyRow { id, note, created, expires, .. } = row;
    OwnKey { id, standing, note, created, expires, key: None }
}

fn shown_once(made: MadeKey) -> OwnKey {
    OwnKey { key: Some(made.key), ..shown(made.row) }
}
