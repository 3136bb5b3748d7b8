//! Files that are read whole.

use std::collections::BTreeMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::OFlags;

use super::Find;
use tidegate_ingest::frame::Loss;

/// Reads files whole.
pub(super) struct Whole {
    bytes_max: usize,
    only_changes: bool,
    /// What each file held the last time, where only changes count.
    digests: BTreeMap<PathBuf, u64>,
}

impl Whole {
    pub(super) fn new(bytes_max: usize, only_changes: bool) -> Self {
        Self { bytes_max, only_changes, digests: BTreeMap::new() }
    }

    /// Reads all files once.
    pub(super) fn round(&mut self, paths: &[PathBuf], finds: &mut Vec<Find>) {
        self.digests.retain(|path, _| paths.contains(path));
        for path in paths {
            let content = match read(path, self.bytes_max) {
                Ok(content) => content,
                Err(trouble) => {
                    finds.push(Find::Trouble(path.clone(), trouble));
                    continue;
                }
            };
            let is_known = self.only_changes && self.is_known(path, &content);
            if content.len() > self.bytes_max {
                let trouble = format!("it has more than {} bytes; see size_max", self.bytes_max);
                finds.push(Find::Trouble(path.clone(), trouble));
                if !is_known {
                    finds.push(Find::Lost(path.clone(), Loss::TooLong));
                }
                continue;
            }
            if is_known {
                continue;
            }
            finds.push(Find::Well(path.clone()));
            finds.push(Find::Message(path.clone(), content));
        }
    }

    fn is_known(&mut self, path: &Path, content: &Bytes) -> bool {
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        let digest = hasher.finish();
        self.digests.insert(path.to_owned(), digest) == Some(digest)
    }
}

/// Opens a regular file. What else may stand under its name, such as a pipe, must not hold us up.
pub(super) fn open(path: &Path) -> std::io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(std::io::Error::other("is not a regular file"))
    }
}

/// The content, with at most one byte more than the bound.
fn read(path: &Path, bytes_max: usize) -> Result<Bytes, String> {
    let file = open(path).map_err(|error| error.to_string())?;
    let mut content = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut content).map_err(|error| error.to_string())?;
    Ok(content.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(path: &Path, content: &'static [u8]) -> [Find; 2] {
        [Find::Well(path.into()), Find::Message(path.into(), Bytes::from_static(content))]
    }

    fn round(whole: &mut Whole, path: &Path) -> Vec<Find> {
        let mut finds = Vec::new();
        whole.round(&[path.to_owned()], &mut finds);
        finds
    }

    #[test]
    fn a_file_is_read_each_time_or_only_when_it_changed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("temperature");
        let (mut always, mut changes) = (Whole::new(64, false), Whole::new(64, true));
        std::fs::write(&path, "21312\n").unwrap();
        for _ in 0..2 {
            assert_eq!(round(&mut always, &path), message(&path, b"21312\n"));
        }
        assert_eq!(round(&mut changes, &path), message(&path, b"21312\n"));
        assert_eq!(round(&mut changes, &path), []);
        std::fs::write(&path, "21375\n").unwrap();
        assert_eq!(round(&mut changes, &path), message(&path, b"21375\n"));
    }

    #[test]
    fn what_is_too_large_or_no_file_is_told_and_read_no_further() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("large");
        std::fs::write(&path, "x".repeat(65)).unwrap();
        let mut whole = Whole::new(64, false);
        let trouble = "it has more than 64 bytes; see size_max".to_owned();
        let expected =
            [Find::Trouble(path.clone(), trouble), Find::Lost(path.clone(), Loss::TooLong)];
        assert_eq!(round(&mut whole, &path), expected);
        let pipe = directory.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        for path in [pipe, directory.path().to_owned(), "/dev/zero".into()] {
            let trouble = "is not a regular file".to_owned();
            assert_eq!(round(&mut whole, &path), [Find::Trouble(path, trouble)]);
        }
    }
}
