//! Tests of rotation, truncation, restarts and holes.

use std::io::Write as _;

use super::*;

/// A directory with a log, and its reader.
struct Bench {
    directory: tempfile::TempDir,
    tails: Tails,
    /// The checkpoint that the outbox would have.
    checkpoint: Option<TailCheckpoint>,
}

impl Bench {
    fn new(old: &str) -> Self {
        let bench = Self {
            directory: tempfile::tempdir().unwrap(),
            tails: Tails::new(16, BTreeMap::new()),
            checkpoint: None,
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

    /// Returns the lines of one round, and the kinds of losses.
    fn lines(&mut self) -> Vec<String> {
        let mut events = Vec::new();
        let paths = Some(self.path()).filter(|path| path.exists());
        self.tails.round(paths.as_slice(), &mut events);
        let mut line = |event| match event {
            Event::Line(_, line, checkpoint) => {
                self.checkpoint = Some(checkpoint);
                Some(String::from_utf8(line.to_vec()).unwrap())
            }
            Event::Checkpoint(_, checkpoint) => {
                self.checkpoint = checkpoint;
                None
            }
            Event::Lost(_, loss) => Some(format!("{loss:?}")),
            Event::Message(..) | Event::Failed(..) | Event::Succeeded(_) => None,
        };
        events.into_iter().filter_map(&mut line).collect()
    }
}

impl Bench {
    /// Restarts from the checkpoint of the outbox.
    fn restart(&mut self) {
        let checkpoints = self.checkpoint.map(|checkpoint| (self.path(), checkpoint));
        self.tails = Tails::new(16, checkpoints.into_iter().collect());
    }
}

#[test]
fn restart_continues_behind_the_last_line() {
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
fn log_rotated_during_a_restart_is_finished_first() {
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
fn log_replaced_during_a_restart_is_read_from_its_beginning() {
    let mut bench = Bench::new("old, and longer\n");
    bench.lines();
    std::fs::write(bench.path(), "a\n").unwrap();
    bench.restart();
    assert_eq!(bench.lines(), ["a"]);
    // As long as before, but another file.
    std::fs::write(bench.path(), "b\nc\n").unwrap();
    bench.restart();
    assert_eq!(bench.lines(), ["b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn log_that_returns_is_continued() {
    let mut bench = Bench::new("old\n");
    let elsewhere = bench.directory.path().join("unmounted");
    bench.lines();
    bench.append("a\n");
    assert_eq!(bench.lines(), ["a"]);
    for is_restarted in [false, true] {
        // Moves the log out of the directory and back, like a disk that is removed and mounted
        // again.
        std::fs::create_dir(&elsewhere).unwrap();
        std::fs::rename(bench.path(), elsewhere.join("log")).unwrap();
        if is_restarted {
            bench.restart();
        }
        assert_eq!(bench.lines(), [""; 0]);
        assert!(bench.checkpoint.is_some(), "remembered");
        std::fs::rename(elsewhere.join("log"), bench.path()).unwrap();
        std::fs::remove_dir(&elsewhere).unwrap();
        bench.append("b\n");
        assert_eq!(bench.lines(), ["b"], "{is_restarted}");
    }
    std::fs::remove_file(bench.path()).unwrap();
    bench.lines();
    tokio::time::advance(absent::FORGET_AFTER).await;
    bench.lines();
    assert_eq!(bench.checkpoint, None, "forgotten");
}

#[test]
fn log_unreadable_at_the_start_is_old() {
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
fn detects_truncation_of_a_log_that_grew_past_its_length() {
    let mut bench = Bench::new("old\n");
    bench.lines();
    bench.append("a\npart");
    assert_eq!(bench.lines(), ["a"]);
    std::fs::write(bench.path(), "b\nc\nd\ne\nf\ng\n").unwrap();
    assert_eq!(bench.lines(), ["Incomplete", "b", "c", "d", "e", "f", "g"]);
}

#[test]
fn skips_the_hole_in_a_truncated_log() {
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
fn unreadable_log_is_replaced_by_the_next() {
    let mut bench = Bench::new("old\n");
    bench.lines();
    let path = bench.path();
    // An unreadable file, like one of a removed disk.
    bench.tails.logs.get_mut(&path).unwrap().file =
        File::options().write(true).open(&path).unwrap();
    assert_eq!(bench.lines(), [""; 0]);
    std::fs::rename(&path, bench.directory.path().join("log.1")).unwrap();
    bench.append("a\n");
    assert_eq!(bench.lines(), ["a"]);
}

#[test]
fn reads_only_added_and_complete_lines() {
    let mut bench = Bench::new("old\n");
    assert_eq!(bench.lines(), [""; 0]);
    bench.append("a\nb\nc");
    assert_eq!(bench.lines(), ["a", "b"]);
    bench.append("d\n");
    assert_eq!(bench.lines(), ["cd"]);
}

#[test]
fn rotated_log_is_finished_before_the_new_one() {
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
fn truncated_log_is_read_from_its_beginning() {
    let mut bench = Bench::new("old, and longer\n");
    assert_eq!(bench.lines(), [""; 0]);
    std::fs::write(bench.path(), "a\n").unwrap();
    assert_eq!(bench.lines(), ["a"]);
    bench.append("b\n");
    assert_eq!(bench.lines(), ["b"]);
}

#[test]
fn rejects_long_and_partial_lines() {
    let mut bench = Bench::new("");
    bench.lines();
    bench.append("0123456789abcdefg\nok\npart");
    assert_eq!(bench.lines(), ["TooLong", "ok"]);
    std::fs::remove_file(bench.path()).unwrap();
    assert_eq!(bench.lines(), ["Incomplete"]);
    bench.append("new\n");
    assert_eq!(bench.lines(), ["new"]);
}
