//! Reads files whole, each time or when their content has changed.

use std::collections::BTreeMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::OFlags;

use super::{Event, FileError};
use tidegate_ingest::frame::Loss;

/// The files of a bus that are read whole.
pub(super) struct WholeFiles {
    bytes_max: usize,
    only_changes: bool,
    /// The digest of each file's last content, if only changes count.
    digests: BTreeMap<PathBuf, u64>,
}

impl WholeFiles {
    pub(super) fn new(bytes_max: usize, only_changes: bool) -> Self {
        Self { bytes_max, only_changes, digests: BTreeMap::new() }
    }

    /// Reads all files once.
    pub(super) fn round(&mut self, paths: &[PathBuf], events: &mut Vec<Event>) {
        self.digests.retain(|path, _| paths.contains(path));
        for path in paths {
            let content = match read(path, self.bytes_max) {
                Ok(content) => content,
                Err(error) => {
                    events.push(Event::Failed(path.clone(), error.into()));
                    continue;
                }
            };
            let is_known = self.only_changes && self.is_known(path, &content);
            if content.len() > self.bytes_max {
                let error = FileError::TooLarge { bytes_max: self.bytes_max };
                events.push(Event::Failed(path.clone(), error));
                if !is_known {
                    events.push(Event::Lost(path.clone(), Loss::TooLong));
                }
                continue;
            }
            if is_known {
                continue;
            }
            events.push(Event::Succeeded(path.clone()));
            events.push(Event::Message(path.clone(), content));
        }
    }

    fn is_known(&mut self, path: &Path, content: &Bytes) -> bool {
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        let digest = hasher.finish();
        self.digests.insert(path.to_owned(), digest) == Some(digest)
    }
}

/// Opens a regular file. Never blocks on others, such as a pipe of the same name.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("is not a regular file"))
    }
}

/// Reads the content, and at most one byte above the bound.
fn read(path: &Path, bytes_max: usize) -> io::Result<Bytes> {
    let mut content = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    open(path)?.take(limit).read_to_end(&mut content)?;
    Ok(content.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The events of one round as text.
    fn round(files: &mut WholeFiles, path: &Path) -> Vec<String> {
        let mut events = Vec::new();
        files.round(&[path.to_owned()], &mut events);
        let show = |event| match event {
            Event::Message(of, content) => {
                assert_eq!(of, path);
                format!("message {}", content.escape_ascii())
            }
            Event::Failed(of, error) => {
                assert_eq!(of, path);
                format!("failed: {error}")
            }
            Event::Lost(of, loss) => {
                assert_eq!(of, path);
                format!("lost {loss:?}")
            }
            Event::Succeeded(of) => {
                assert_eq!(of, path);
                "succeeded".to_owned()
            }
            event @ (Event::Line(..) | Event::Checkpoint(..)) => panic!("{event:?}"),
        };
        events.into_iter().map(show).collect()
    }

    #[test]
    fn reads_a_file_each_time_or_on_change() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("temperature");
        let (mut always, mut changes) = (WholeFiles::new(64, false), WholeFiles::new(64, true));
        std::fs::write(&path, "21312\n").unwrap();
        for _ in 0..2 {
            assert_eq!(round(&mut always, &path), ["succeeded", "message 21312\\n"]);
        }
        assert_eq!(round(&mut changes, &path), ["succeeded", "message 21312\\n"]);
        assert_eq!(round(&mut changes, &path), [""; 0]);
        std::fs::write(&path, "21375\n").unwrap();
        assert_eq!(round(&mut changes, &path), ["succeeded", "message 21375\\n"]);
    }

    #[test]
    fn reports_large_and_irregular_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("large");
        std::fs::write(&path, "x".repeat(65)).unwrap();
        let mut files = WholeFiles::new(64, false);
        let expected = ["failed: it has more than 64 bytes; see size_max", "lost TooLong"];
        assert_eq!(round(&mut files, &path), expected);
        let pipe = directory.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        for path in [pipe, directory.path().to_owned(), "/dev/zero".into()] {
            assert_eq!(round(&mut files, &path), ["failed: is not a regular file"]);
        }
    }
}
