//! Notes: small durable tables for other parts of the daemon, such as the history of commands.

use super::{Error, Outbox};

/// One change of a table: a key with its new value, or with none to remove it.
pub type Change = (Vec<u8>, Option<Vec<u8>>);

/// A key and its value.
pub type Note = (Vec<u8>, Vec<u8>);

/// The longest value, in bytes.
const VALUE_BYTES_MAX: usize = 64 * 1024;

/// The most bytes of keys and values in one table.
const NOTES_BYTES_MAX: u64 = 16 << 20;

impl Outbox {
    /// Changes a table, all of it or nothing; it is on the disk when this returns.
    ///
    /// # Errors
    /// [`Error::NoteTooLarge`] or [`Error::NotesFull`], and nothing is changed; or the store failed.
    pub fn note(&self, table: &'static str, changes: &[Change]) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut turn = self.turn()?;
        let tree = self.store.notes(table)?;
        let mut bytes = match turn.notes_bytes.get(table) {
            Some(bytes) => *bytes,
            None => total(&tree)?,
        };
        let mut batch = sled::Batch::default();
        for (key, value) in changes {
            if let Some(old) = tree.get(key)? {
                bytes = bytes.saturating_sub((key.len() + old.len()) as u64);
            }
            match value {
                Some(value) if value.len() > VALUE_BYTES_MAX => {
                    return Err(Error::NoteTooLarge { table, bytes_max: VALUE_BYTES_MAX });
                }
                Some(value) => {
                    bytes += (key.len() + value.len()) as u64;
                    batch.insert(key.as_slice(), value.as_slice());
                }
                None => batch.remove(key.as_slice()),
            }
        }
        if bytes > NOTES_BYTES_MAX {
            return Err(Error::NotesFull { table, bytes_max: NOTES_BYTES_MAX });
        }
        let written = tree.apply_batch(batch).map_err(Error::from);
        written.and_then(|()| self.store.sync()).inspect_err(|_| turn.is_broken = true)?;
        turn.notes_bytes.insert(table, bytes);
        Ok(())
    }

    /// All of a table, in the order of its keys.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn notes(&self, table: &'static str) -> Result<Vec<Note>, Error> {
        let entries = self.store.notes(table)?;
        entries
            .iter()
            .map(|entry| {
                entry.map(|(key, value)| (key.to_vec(), value.to_vec())).map_err(Error::from)
            })
            .collect()
    }
}

fn total(tree: &sled::Tree) -> Result<u64, Error> {
    tree.iter()
        .map(|entry| {
            entry.map(|(key, value)| (key.len() + value.len()) as u64).map_err(Error::from)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::*;

    fn open(path: &std::path::Path) -> Outbox {
        Outbox::open(path, Options { bytes_max: 1 << 20, cache_bytes: 1 << 20 }).unwrap()
    }

    #[test]
    fn notes_are_there_after_a_restart_in_the_order_of_their_keys() {
        let directory = tempfile::TempDir::new().unwrap();
        let outbox = open(directory.path());
        let note = |key: &str, value: &str| (key.into(), Some(value.into()));
        outbox.note("a", &[note("2", "two"), note("1", "one"), note("3", "three")]).unwrap();
        outbox.note("a", &[("3".into(), None), note("1", "uno")]).unwrap();
        outbox.note("b", &[note("9", "nine")]).unwrap();
        drop(outbox);
        let read = open(directory.path()).notes("a").unwrap();
        assert_eq!(read, [(b"1".to_vec(), b"uno".to_vec()), (b"2".to_vec(), b"two".to_vec())]);
    }

    #[test]
    fn a_table_is_bounded_and_says_so() {
        let directory = tempfile::TempDir::new().unwrap();
        let outbox = open(directory.path());
        let large = vec![0; VALUE_BYTES_MAX];
        for key in 0..NOTES_BYTES_MAX / (VALUE_BYTES_MAX as u64 + 8) {
            outbox.note("a", &[(key.to_be_bytes().to_vec(), Some(large.clone()))]).unwrap();
        }
        let over = outbox.note("a", &[(b"x".to_vec(), Some(large.clone()))]);
        assert!(matches!(over, Err(Error::NotesFull { .. })));
        let too_large = outbox.note("b", &[(b"x".to_vec(), Some([large, vec![0]].concat()))]);
        assert!(matches!(too_large, Err(Error::NoteTooLarge { .. })));
        assert!(outbox.note("a", &[(0_u64.to_be_bytes().to_vec(), Some(Vec::new()))]).is_ok());
    }
}
