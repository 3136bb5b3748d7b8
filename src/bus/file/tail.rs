//! Logs: each line that is added to a file, also when the file is moved away or cut to nothing.
//!
//! What a file holds when it is first seen is old; only what comes after counts. A file that appears later is read from its
//! beginning. A line is passed on when its end is there, and a line that a rotation cut short is counted as incomplete.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::Find;
use super::whole::open;
use crate::logic::frame::{Frame, Framer, Framing};

/// Read of one file in one round, in bytes: a log that is written faster is read over several rounds.
const ROUND_BYTES_MAX: u64 = 64 * 1024;

/// Follows logs.
pub(super) struct Tails {
    line_bytes_max: usize,
    logs: BTreeMap<PathBuf, Tail>,
    /// Whether files that appear are new: not so in the first round.
    has_begun: bool,
}

/// One log that is open.
struct Tail {
    file: File,
    identity: (u64, u64),
    offset: u64,
    framer: Framer,
    /// All that the framer knows of time: a program may take as long as it likes for a line.
    opened: Instant,
}

impl Tails {
    pub(super) fn new(line_bytes_max: usize) -> Self {
        Self { line_bytes_max, logs: BTreeMap::new(), has_begun: false }
    }

    /// Reads what was added to each log.
    pub(super) fn round(&mut self, paths: &[PathBuf], finds: &mut Vec<Find>) {
        let vanished: Vec<_> =
            self.logs.keys().filter(|path| !paths.contains(path)).cloned().collect();
        for path in vanished {
            // Between its removal and its return a log may have got its last lines.
            if let Some(mut tail) = self.logs.remove(&path) {
                tail.read(&path, finds).unwrap_or_default();
                tail.cut(&path, finds);
            }
        }
        for path in paths {
            match self.follow(path, finds) {
                Ok(()) => finds.push(Find::Well(path.clone())),
                Err(error) => finds.push(Find::Trouble(path.clone(), error.to_string())),
            }
        }
        self.has_begun = true;
    }

    fn follow(&mut self, path: &Path, finds: &mut Vec<Find>) -> std::io::Result<()> {
        let Some(tail) = self.logs.get_mut(path) else {
            let mut tail = Tail::open(path, self.line_bytes_max)?;
            if !self.has_begun {
                tail.offset = tail.file.seek(SeekFrom::End(0))?;
            }
            tail.read(path, finds)?;
            self.logs.insert(path.to_owned(), tail);
            return Ok(());
        };
        let is_at_end = tail.read(path, finds)?;
        let metadata = std::fs::metadata(path)?;
        if is_at_end && identity(&metadata) != tail.identity {
            let next = Tail::open(path, self.line_bytes_max)?;
            tail.cut(path, finds);
            *tail = next;
            tail.read(path, finds)?;
        } else if metadata.len() < tail.offset && identity(&metadata) == tail.identity {
            tail.offset = tail.file.seek(SeekFrom::Start(0))?;
            tail.cut(path, finds);
            tail.read(path, finds)?;
        }
        Ok(())
    }
}

impl Tail {
    fn open(path: &Path, line_bytes_max: usize) -> std::io::Result<Self> {
        let file = open(path)?;
        let identity = identity(&file.metadata()?);
        let framer = Framer::new(Framing::lines(line_bytes_max));
        let opened = tokio::time::Instant::now().into_std();
        Ok(Self { file, identity, offset: 0, framer, opened })
    }

    /// Reads on. `true` if that was all that there is.
    fn read(&mut self, path: &Path, finds: &mut Vec<Find>) -> std::io::Result<bool> {
        let mut added = Vec::new();
        (&self.file).take(ROUND_BYTES_MAX).read_to_end(&mut added)?;
        let length = added.len() as u64;
        self.offset += length;
        let mut frames = Vec::new();
        self.framer.push(&added, self.opened, &mut frames);
        finds.extend(frames.into_iter().map(|frame| find(path, frame)));
        Ok(length < ROUND_BYTES_MAX)
    }

    /// Gives up a line whose end will not come.
    fn cut(&mut self, path: &Path, finds: &mut Vec<Find>) {
        let mut frames = Vec::new();
        self.framer.reset(&mut frames);
        finds.extend(frames.into_iter().map(|frame| find(path, frame)));
    }
}

fn find(path: &Path, frame: Frame) -> Find {
    match frame {
        Frame::Whole(line) => Find::Message(path.into(), line),
        Frame::Lost(loss) => Find::Lost(path.into(), loss),
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// A directory with a log, and what follows it.
    struct Bench {
        directory: tempfile::TempDir,
        tails: Tails,
    }

    impl Bench {
        fn new(old: &str) -> Self {
            let bench = Self { directory: tempfile::tempdir().unwrap(), tails: Tails::new(16) };
            bench.append(old);
            bench
        }

        fn path(&self) -> PathBuf {
            self.directory.path().join("log")
        }

        fn append(&self, text: &str) {
            let mut file = File::options().create(true).append(true).open(self.path()).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }

        /// The lines of one round; what was lost by its kind.
        fn lines(&mut self) -> Vec<String> {
            let mut finds = Vec::new();
            let paths = Some(self.path()).filter(|path| path.exists());
            self.tails.round(paths.as_slice(), &mut finds);
            let line = |find| match find {
                Find::Message(_, line) => Some(String::from_utf8(line.to_vec()).unwrap()),
                Find::Lost(_, loss) => Some(format!("{loss:?}")),
                Find::Trouble(..) | Find::Well(_) => None,
            };
            finds.into_iter().filter_map(line).collect()
        }
    }

    #[test]
    fn only_what_is_added_counts_and_only_whole_lines() {
        let mut bench = Bench::new("old\n");
        assert_eq!(bench.lines(), [""; 0]);
        bench.append("a\nb\nc");
        assert_eq!(bench.lines(), ["a", "b"]);
        bench.append("d\n");
        assert_eq!(bench.lines(), ["cd"]);
    }

    #[test]
    fn a_log_that_is_moved_away_is_read_to_its_end_and_then_the_new_one() {
        let mut bench = Bench::new("");
        assert_eq!(bench.lines(), [""; 0]);
        bench.append("a\nb\n");
        std::fs::rename(bench.path(), bench.directory.path().join("log.1")).unwrap();
        assert_eq!(bench.lines(), ["a", "b"]);
        bench.append("c\n");
        assert_eq!(bench.lines(), ["c"]);
        bench.append("d\n");
        std::fs::rename(bench.path(), bench.directory.path().join("log.1")).unwrap();
        bench.append("e\n");
        assert_eq!(bench.lines(), ["d", "e"]);
    }

    #[test]
    fn a_log_that_is_cut_to_nothing_is_read_from_its_beginning() {
        let mut bench = Bench::new("old, and longer\n");
        assert_eq!(bench.lines(), [""; 0]);
        std::fs::write(bench.path(), "a\n").unwrap();
        assert_eq!(bench.lines(), ["a"]);
        bench.append("b\n");
        assert_eq!(bench.lines(), ["b"]);
    }

    #[test]
    fn a_line_over_the_bound_is_rejected_and_a_partial_line_is_not_joined_with_the_next_log() {
        let mut bench = Bench::new("");
        bench.lines();
        bench.append("0123456789abcdefg\nok\npart");
        assert_eq!(bench.lines(), ["TooLong", "ok"]);
        std::fs::remove_file(bench.path()).unwrap();
        assert_eq!(bench.lines(), ["Incomplete"]);
        bench.append("new\n");
        assert_eq!(bench.lines(), ["new"]);
    }
}
