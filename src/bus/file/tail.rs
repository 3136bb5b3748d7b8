//! Logs: each line that is added to a file, also when the file is moved away or cut to nothing, and while nobody looks.
//!
//! What a file holds when it is first seen is old; only what comes after counts. A file that appears later is read from its
//! beginning. A line is passed on when its end is there, with the place behind it, from which a restart reads on. A line that a
//! rotation cut short is counted as incomplete.

mod resume;

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::Find;
use super::whole::open;
use crate::bus::marks::Mark;
use crate::logic::frame::{Frame, Framer, Framing};

/// Read of one file in one round, in bytes: a log that is written faster is read over several rounds.
const ROUND_BYTES_MAX: u64 = 64 * 1024;

/// How much of its beginning tells a file from others, in bytes.
const HEAD_BYTES: usize = 256;

/// Follows logs.
pub(super) struct Tails {
    line_bytes_max: usize,
    logs: BTreeMap<PathBuf, Tail>,
    /// Where earlier runs came to; taken in the first round, after which files that appear are new.
    marks: Option<BTreeMap<PathBuf, Mark>>,
}

/// One log that is open.
struct Tail {
    file: File,
    identity: (u64, u64),
    offset: u64,
    /// How the file begins.
    head: Vec<u8>,
    framer: Framer,
    /// All that the framer knows of time: a program may take as long as it likes for a line.
    opened: Instant,
}

impl Tails {
    /// Follows logs from these places.
    pub(super) fn new(line_bytes_max: usize, marks: BTreeMap<PathBuf, Mark>) -> Self {
        Self { line_bytes_max, logs: BTreeMap::new(), marks: Some(marks) }
    }

    /// Reads what was added to each log.
    pub(super) fn round(&mut self, paths: &[PathBuf], finds: &mut Vec<Find>) {
        if let Some(marks) = self.marks.take() {
            self.begin(paths, marks, finds);
        }
        let vanished: Vec<_> =
            self.logs.keys().filter(|path| !paths.contains(path)).cloned().collect();
        for path in vanished {
            // Between its removal and its return a log may have got its last lines.
            let Some(tail) = self.logs.get_mut(&path) else { continue };
            if tail.read(&path, finds).unwrap_or(true) {
                tail.cut(&path, finds);
                self.logs.remove(&path);
                finds.push(Find::Place(path, None));
            }
        }
        for path in paths {
            match self.follow(path, finds) {
                Ok(()) => finds.push(Find::Well(path.clone())),
                Err(error) => finds.push(Find::Trouble(path.clone(), error.to_string())),
            }
        }
    }

    /// Opens what there is at the start: where an earlier run came to, and otherwise at its end.
    fn begin(
        &mut self,
        paths: &[PathBuf],
        mut marks: BTreeMap<PathBuf, Mark>,
        finds: &mut Vec<Find>,
    ) {
        for path in paths {
            let opened = match marks.remove(path) {
                Some(mark) => resume::open_at(path, mark, self.line_bytes_max),
                None => Tail::open(path, self.line_bytes_max)
                    .and_then(|mut tail| tail.skip_to_end().map(|()| tail)),
            };
            // What cannot be opened is told by the round, and is new when it can.
            if let Ok(tail) = opened {
                finds.push(Find::Place(path.clone(), Some(tail.mark(tail.offset))));
                self.logs.insert(path.clone(), tail);
            }
        }
        for (path, mark) in marks {
            match resume::find_moved(&path, mark, self.line_bytes_max) {
                Some(tail) => drop(self.logs.insert(path, tail)),
                None => finds.push(Find::Place(path, None)),
            }
        }
    }

    fn follow(&mut self, path: &Path, finds: &mut Vec<Find>) -> std::io::Result<()> {
        let Some(tail) = self.logs.get_mut(path) else {
            let mut tail = Tail::open(path, self.line_bytes_max)?;
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
            tail.seek(0)?;
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
        Ok(Self { file, identity, offset: 0, head: Vec::new(), framer, opened })
    }

    /// Goes on behind so many bytes.
    fn seek(&mut self, offset: u64) -> std::io::Result<()> {
        self.offset = self.file.seek(SeekFrom::Start(offset))?;
        self.head = vec![0; HEAD_BYTES.min(usize::try_from(offset).unwrap_or(HEAD_BYTES))];
        self.file.read_exact_at(&mut self.head, 0)
    }

    fn skip_to_end(&mut self) -> std::io::Result<()> {
        let length = self.file.metadata()?.len();
        self.seek(length)
    }

    /// The place behind so many bytes.
    fn mark(&self, offset: u64) -> Mark {
        let length = usize::try_from(offset).unwrap_or(HEAD_BYTES);
        let head = crc32fast::hash(self.head.get(..length).unwrap_or(&self.head));
        Mark { inode: self.identity.1, offset, head }
    }

    /// Reads on. `true` if that was all that there is.
    fn read(&mut self, path: &Path, finds: &mut Vec<Find>) -> std::io::Result<bool> {
        let mut added = Vec::new();
        (&self.file).take(ROUND_BYTES_MAX).read_to_end(&mut added)?;
        let room = HEAD_BYTES.saturating_sub(self.head.len());
        self.head.extend(added.iter().take(room));
        // Line by line, to know the place behind each.
        for line in added.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            self.offset += line.len() as u64;
            let mut frames = Vec::new();
            self.framer.push(line, self.opened, &mut frames);
            finds.extend(frames.into_iter().map(|frame| match frame {
                Frame::Whole(line) => Find::Line(path.into(), line, self.mark(self.offset)),
                Frame::Lost(loss) => Find::Lost(path.into(), loss),
            }));
        }
        Ok((added.len() as u64) < ROUND_BYTES_MAX)
    }

    /// Gives up a line whose end will not come.
    fn cut(&mut self, path: &Path, finds: &mut Vec<Find>) {
        let mut frames = Vec::new();
        self.framer.reset(&mut frames);
        finds.extend(frames.into_iter().filter_map(|frame| match frame {
            Frame::Lost(loss) => Some(Find::Lost(path.into(), loss)),
            Frame::Whole(_) => None,
        }));
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
        /// What the outbox would know.
        mark: Option<Mark>,
    }

    impl Bench {
        fn new(old: &str) -> Self {
            let bench = Self {
                directory: tempfile::tempdir().unwrap(),
                tails: Tails::new(16, BTreeMap::new()),
                mark: None,
            };
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
            let mut line = |find| match find {
                Find::Line(_, line, mark) => {
                    self.mark = Some(mark);
                    Some(String::from_utf8(line.to_vec()).unwrap())
                }
                Find::Place(_, mark) => {
                    self.mark = mark;
                    None
                }
                Find::Lost(_, loss) => Some(format!("{loss:?}")),
                Find::Message(..) | Find::Trouble(..) | Find::Well(_) => None,
            };
            finds.into_iter().filter_map(&mut line).collect()
        }
    }

    impl Bench {
        /// Ends, and begins again with what the outbox knows.
        fn restart(&mut self) {
            let marks = self.mark.map(|mark| (self.path(), mark));
            self.tails = Tails::new(16, marks.into_iter().collect());
        }
    }

    #[test]
    fn after_a_restart_a_log_is_read_on_behind_the_last_line() {
        let mut bench = Bench::new("old\n");
        bench.lines();
        bench.restart();
        bench.append("a\nb");
        assert_eq!(bench.lines(), ["a"]);
        bench.restart();
        bench.append("c\r\nd\n");
        assert_eq!(bench.lines(), ["bc", "d"]);
        bench.restart();
        assert_eq!(bench.lines(), [""; 0]);
    }

    #[test]
    fn a_log_that_was_moved_away_meanwhile_is_read_to_its_end_first() {
        for is_created in [true, false] {
            let mut bench = Bench::new("old\n");
            bench.lines();
            bench.append("a\nb\n");
            std::fs::rename(bench.path(), bench.directory.path().join("log.1")).unwrap();
            if is_created {
                bench.append("c\n");
            }
            bench.restart();
            let mut lines = bench.lines();
            if !is_created {
                bench.append("c\n");
                lines.extend(bench.lines());
            }
            assert_eq!(lines, ["a", "b", "c"], "{is_created}");
        }
    }

    #[test]
    fn a_log_that_was_cut_or_made_anew_meanwhile_is_read_from_its_beginning() {
        let mut bench = Bench::new("old, and longer\n");
        bench.lines();
        std::fs::write(bench.path(), "a\n").unwrap();
        bench.restart();
        assert_eq!(bench.lines(), ["a"]);
        // As long as before, but another.
        std::fs::write(bench.path(), "b\nc\n").unwrap();
        bench.restart();
        assert_eq!(bench.lines(), ["b", "c"]);
        std::fs::remove_file(bench.path()).unwrap();
        bench.restart();
        assert_eq!(bench.lines(), [""; 0]);
        assert_eq!(bench.mark, None, "it is forgotten");
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
