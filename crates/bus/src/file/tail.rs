//! Logs: each line that is added to a file, also when the file is moved away or cut to nothing, and while nobody looks.
//!
//! What a file holds when it is first seen is old; only what comes after counts. A file that appears later is read from its
//! beginning. A line is passed on when its end is there, with the place behind it, from which a restart reads on. A line that a
//! rotation cut short is counted as incomplete.
//!
//! A log that is cut to nothing may be as long as before when it is looked at again, so its beginning is compared, too. Where its
//! program does not append but writes on at its old place, there is a hole before what it writes, which is skipped.

mod absent;
mod resume;

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::Find;
use super::whole::open;
use crate::checkpoints::TailCheckpoint;
use absent::{Absent, Place};
use tidegate_ingest::frame::{Frame, Framer, Framing};

/// Read of one file in one round, in bytes: a log that is written faster is read over several rounds.
const ROUND_BYTES_MAX: u64 = 64 * 1024;

/// How much of its beginning tells a file from others, in bytes.
const HEAD_BYTES: usize = 256;

/// Follows logs.
pub(super) struct Tails {
    line_bytes_max: usize,
    logs: BTreeMap<PathBuf, Tail>,
    /// Where earlier runs came to; taken in the first round, after which files that appear are new.
    marks: Option<BTreeMap<PathBuf, TailCheckpoint>>,
    absent: Absent,
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
    pub(super) fn new(line_bytes_max: usize, marks: BTreeMap<PathBuf, TailCheckpoint>) -> Self {
        Self {
            line_bytes_max,
            logs: BTreeMap::new(),
            marks: Some(marks),
            absent: Absent::default(),
        }
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
                let mark = tail.mark(tail.offset);
                tail.cut(&path, finds);
                self.logs.remove(&path);
                self.miss(path, Place::Here(mark), finds);
            }
        }
        let forgotten = self.absent.forget();
        finds.extend(forgotten.into_iter().map(|path| Find::Place(path, None)));
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
        mut marks: BTreeMap<PathBuf, TailCheckpoint>,
        finds: &mut Vec<Find>,
    ) {
        for path in paths {
            let mark = marks.remove(path);
            let opened = match mark {
                Some(mark) => resume::open_at(path, mark, self.line_bytes_max),
                None => Tail::open(path, self.line_bytes_max)
                    .and_then(|mut tail| tail.skip_to_end().map(|()| tail)),
            };
            // What cannot be opened is told by the round.
            if let Ok(tail) = opened {
                finds.push(Find::Place(path.clone(), Some(tail.mark(tail.offset))));
                self.logs.insert(path.clone(), tail);
            } else {
                self.miss(path.clone(), mark.map_or(Place::End, Place::Before), finds);
            }
        }
        for (path, mark) in marks {
            match resume::find_moved(&path, mark, self.line_bytes_max) {
                Some(tail) => drop(self.logs.insert(path, tail)),
                None => self.miss(path, Place::Before(mark), finds),
            }
        }
    }

    /// A log is not there.
    fn miss(&mut self, path: PathBuf, place: Place, finds: &mut Vec<Find>) {
        if let Some(forgotten) = self.absent.remember(path, place) {
            finds.push(Find::Place(forgotten, None));
        }
    }

    fn follow(&mut self, path: &Path, finds: &mut Vec<Find>) -> std::io::Result<()> {
        let Some(tail) = self.logs.get_mut(path) else {
            let mut tail = self.absent.open(path, self.line_bytes_max)?;
            finds.push(Find::Place(path.to_owned(), Some(tail.mark(tail.offset))));
            tail.read(path, finds)?;
            self.logs.insert(path.to_owned(), tail);
            return Ok(());
        };
        // Before the old one is read: what comes after that may stand in it, too.
        let is_another = identity(&std::fs::metadata(path)?) != tail.identity;
        if tail.was_cut() {
            tail.seek(0)?;
            tail.cut(path, finds);
        }
        match tail.read(path, finds) {
            // Of a disk that was pulled, or removed on its server: it will never be read again.
            Err(error) if !is_another => return Err(error),
            Ok(false) => return Ok(()),
            Ok(true) | Err(_) => {}
        }
        if is_another {
            let next = Tail::open(path, self.line_bytes_max)?;
            tail.cut(path, finds);
            *tail = next;
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
    fn mark(&self, offset: u64) -> TailCheckpoint {
        let length = usize::try_from(offset).unwrap_or(HEAD_BYTES);
        let head = crc32fast::hash(self.head.get(..length).unwrap_or(&self.head));
        TailCheckpoint { inode: self.identity.1, offset, head }
    }

    /// Whether it was cut to nothing since it was read, even if it is as long as before.
    fn was_cut(&self) -> bool {
        let mut head = vec![0; self.head.len()];
        let is_short = self.file.metadata().is_ok_and(|file| file.len() < self.offset);
        // What cannot be read is told when it is read on.
        is_short || self.file.read_exact_at(&mut head, 0).is_ok_and(|()| head != self.head)
    }

    /// Goes on behind a hole. `true` if there is one.
    fn skip_hole(&mut self, path: &Path, finds: &mut Vec<Find>) -> std::io::Result<bool> {
        // At the end there is no data, and some file systems know no holes.
        let data = rustix::fs::seek(&self.file, rustix::fs::SeekFrom::Data(self.offset));
        let data = data.unwrap_or(self.offset).max(self.offset);
        let is_hole = data > self.offset;
        if is_hole {
            self.cut(path, finds);
        }
        self.file.seek(SeekFrom::Start(data))?;
        if is_hole {
            self.seek(data)?;
        }
        Ok(is_hole)
    }

    /// Reads on. `true` if that was all that there is.
    fn read(&mut self, path: &Path, finds: &mut Vec<Find>) -> std::io::Result<bool> {
        let is_behind_hole = self.skip_hole(path, finds)?;
        let mut added = Vec::new();
        (&self.file).take(ROUND_BYTES_MAX).read_to_end(&mut added)?;
        let is_at_end = (added.len() as u64) < ROUND_BYTES_MAX;
        if is_behind_hole {
            // Data begins with a block, of which the first bytes may belong to the hole.
            let rest = added.iter().take_while(|byte| **byte == 0).count();
            added.drain(..rest);
            self.offset += rest as u64;
        }
        let room = HEAD_BYTES.saturating_sub(self.head.len());
        self.head.extend(added.iter().take(room));
        // Line by line, to know the place behind each.
        for line in added.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            self.offset += line.len() as u64;
            self.framer.handle_bytes(line, self.opened);
            let frames: Vec<_> = self.framer.drain_frames().collect();
            finds.extend(frames.into_iter().map(|frame| match frame {
                Frame::Whole(line) => Find::Line(path.into(), line, self.mark(self.offset)),
                Frame::Lost(loss) => Find::Lost(path.into(), loss),
            }));
        }
        Ok(is_at_end)
    }

    /// Gives up a line whose end will not come.
    fn cut(&mut self, path: &Path, finds: &mut Vec<Find>) {
        self.framer.handle_disconnected();
        finds.extend(self.framer.drain_frames().filter_map(|frame| match frame {
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
        mark: Option<TailCheckpoint>,
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
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_that_is_away_for_a_while_is_read_on_where_it_was_left() {
        let mut bench = Bench::new("old\n");
        let elsewhere = bench.directory.path().join("unmounted");
        bench.lines();
        bench.append("a\n");
        assert_eq!(bench.lines(), ["a"]);
        for is_restarted in [false, true] {
            // A move out of the directory and back, as a disk that is pulled and comes back.
            std::fs::create_dir(&elsewhere).unwrap();
            std::fs::rename(bench.path(), elsewhere.join("log")).unwrap();
            if is_restarted {
                bench.restart();
            }
            assert_eq!(bench.lines(), [""; 0]);
            assert!(bench.mark.is_some(), "it is remembered");
            std::fs::rename(elsewhere.join("log"), bench.path()).unwrap();
            std::fs::remove_dir(&elsewhere).unwrap();
            bench.append("b\n");
            assert_eq!(bench.lines(), ["b"], "{is_restarted}");
        }
        std::fs::remove_file(bench.path()).unwrap();
        bench.lines();
        tokio::time::advance(absent::FORGET_AFTER).await;
        bench.lines();
        assert_eq!(bench.mark, None, "it is forgotten");
    }

    #[test]
    fn what_could_not_be_opened_at_the_start_is_old() {
        let mut bench = Bench::new("");
        std::fs::remove_file(bench.path()).unwrap();
        std::fs::create_dir(bench.path()).unwrap();
        assert_eq!(bench.lines(), [""; 0]);
        std::fs::remove_dir(bench.path()).unwrap();
        bench.append("old\n");
        assert_eq!(bench.lines(), [""; 0]);
        bench.append("a\n");
        assert_eq!(bench.lines(), ["a"]);
    }

    #[test]
    fn a_log_that_was_cut_and_has_grown_past_its_old_length_is_read_from_its_beginning() {
        let mut bench = Bench::new("old\n");
        bench.lines();
        bench.append("a\npart");
        assert_eq!(bench.lines(), ["a"]);
        std::fs::write(bench.path(), "b\nc\nd\ne\nf\ng\n").unwrap();
        assert_eq!(bench.lines(), ["Incomplete", "b", "c", "d", "e", "f", "g"]);
    }

    #[test]
    fn a_hole_that_a_writer_leaves_in_a_log_that_was_cut_is_skipped() {
        let mut bench = Bench::new("");
        bench.lines();
        let mut writer = File::options().write(true).open(bench.path()).unwrap();
        writer.write_all("0123456789\n".repeat(9_000).as_bytes()).unwrap();
        let mut lines = 0;
        while lines < 9_000 {
            lines += bench.lines().len();
        }
        for is_seen in [true, false] {
            File::options().write(true).open(bench.path()).unwrap().set_len(0).unwrap();
            if is_seen {
                assert_eq!(bench.lines(), [""; 0]);
            }
            writer.write_all(b"a\nb\n").unwrap();
            assert_eq!(bench.lines(), ["a", "b"], "{is_seen}");
        }
    }

    #[test]
    fn a_log_that_can_be_read_no_more_gives_way_to_the_next() {
        let mut bench = Bench::new("old\n");
        bench.lines();
        let path = bench.path();
        // A file that nobody may read, as one of a disk that was pulled.
        bench.tails.logs.get_mut(&path).unwrap().file =
            File::options().write(true).open(&path).unwrap();
        assert_eq!(bench.lines(), [""; 0]);
        std::fs::rename(&path, bench.directory.path().join("log.1")).unwrap();
        bench.append("a\n");
        assert_eq!(bench.lines(), ["a"]);
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
