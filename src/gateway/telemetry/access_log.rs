//! Access log: one line for each request.
//!
//! A worker formats its line into a buffer of its shard and continues. A thread of the log writes
//! full buffers, and all buffers once in a `flush` interval. If the disk is too slow, lines are
//! dropped and counted: a slow disk must not slow down clients.

mod entry;
mod format;
mod output;
mod sampling;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

pub use entry::Entry;
pub use format::Format;
use output::{Output, count_lines};
use sampling::Sampler;

use crate::config::model::{self, Part, Template, Variable};
use crate::gateway::shard::{SHARDS, shard};
use crate::proto::headers::Headers;

/// Size in bytes at which a buffer is sent to the writer.
const BUFFER: usize = 64 << 10;

/// Maximum number of full buffers that wait for the writer: 64 MiB.
const QUEUE: usize = 1024;

/// Interval at which `flush` retries while the queue is full.
const LOOK: Duration = Duration::from_millis(5);

/// Access log with its writer thread.
pub struct AccessLog {
    config: model::AccessLog,
    format: Format,
    /// Condition of a line: a value that is neither empty nor `0`.
    condition: Option<Template<Variable>>,
    /// Sampler; `None` if every request is logged.
    sampler: Option<Sampler>,
    /// Handle of the writer; `None` if nothing is logged.
    writer: Option<Writer>,
    /// Lines dropped by this log and by the logs that it replaced.
    dropped: Arc<AtomicU64>,
}

/// Handle of the writer thread. After it is dropped, the thread writes the remaining lines and
/// ends; the drop does not wait for it, because the target may be blocked. [`Pending::flush`] does.
struct Writer {
    buffers: Arc<Buffers>,
    full: SyncSender<Message>,
}

struct Buffers {
    shards: [Mutex<Vec<u8>>; SHARDS],
    /// Lines that left the shards and are not written yet.
    waiting: AtomicU64,
    /// Lines dropped since the last report in the error log.
    unreported: AtomicU64,
    /// Same as [`AccessLog::dropped`].
    dropped: Arc<AtomicU64>,
    /// `true` once the writer thread has written its last line.
    ended: Mutex<bool>,
    /// Notified when `ended` changes.
    end: Condvar,
}

/// Handle of an access log that does not keep it open, but still finds the lines that its thread
/// has to write after the log was replaced.
#[derive(Clone)]
pub struct Pending {
    log: Weak<AccessLog>,
    buffers: Option<Arc<Buffers>>,
}

enum Message {
    Lines(Vec<u8>),
    Reopen,
    /// Requests that all lines logged so far are written, and a message when they are.
    Flush(SyncSender<()>),
}

impl AccessLog {
    /// Opens the target and starts the writer. The count of dropped lines continues that of the log
    /// `before`, because a counter must not go back at a reload.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open(config: &model::AccessLog, before: Option<&AccessLog>) -> io::Result<Self> {
        let dropped = before.map_or_else(Arc::default, |before| Arc::clone(&before.dropped));
        let of_condition = config.condition.iter().flat_map(Template::variables);
        let of_condition: Vec<_> = of_condition.collect();
        let mut log = AccessLog {
            config: config.clone(),
            format: Format::with(&config.format, &of_condition),
            condition: config.condition.clone(),
            sampler: config.sampling.map(Sampler::new),
            writer: None,
            dropped: Arc::clone(&dropped),
        };
        let Some(output) = Output::open(&config.target)? else {
            return Ok(log);
        };
        let (full, queue) = sync_channel(QUEUE);
        let buffers = Arc::new(Buffers {
            shards: std::array::from_fn(|_| Mutex::default()),
            waiting: AtomicU64::new(0),
            unreported: AtomicU64::new(0),
            dropped,
            ended: Mutex::new(false),
            end: Condvar::new(),
        });
        let (for_thread, flush) = (Arc::clone(&buffers), config.flush);
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || {
                write_all(&for_thread, &queue, output, flush);
                *lock(&for_thread.ended) = true;
                for_thread.end.notify_all();
            })?;
        log.writer = Some(Writer { buffers, full });
        Ok(log)
    }

    /// Returns a handle that outlives the log.
    #[must_use]
    pub fn pending(self: &Arc<Self>) -> Pending {
        Pending {
            log: Arc::downgrade(self),
            buffers: self.writer.as_ref().map(|it| Arc::clone(&it.buffers)),
        }
    }

    /// Returns `true` if the log was made from the same configuration.
    #[must_use]
    pub fn is_for(&self, config: &model::AccessLog) -> bool {
        self.config == *config
    }

    /// Returns `true` if anything is logged; otherwise values for it need not be collected.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.writer.is_some()
    }

    /// Format of a line.
    #[must_use]
    pub fn format(&self) -> &Format {
        &self.format
    }

    /// Logs a request, unless sampling skips it.
    pub fn log<H: Headers>(&self, entry: &Entry<H>) {
        let Some(writer) = &self.writer else { return };
        let share = self.sampler.map_or(Some(1.0), |sampler| {
            sampler.choose(entry.status, entry.request_time, entry.id())
        });
        let Some(share) = share.filter(|share| self.meets(entry, *share)) else {
            return;
        };
        let mut buffer = lock(&writer.buffers.shards[shard()]);
        self.format.write(entry, share, &mut buffer);
        if buffer.len() < BUFFER {
            return;
        }
        let lines = std::mem::take(&mut *buffer);
        drop(buffer);
        let count = count_lines(&lines);
        let buffers = &writer.buffers;
        buffers.waiting.fetch_add(count, Ordering::Relaxed);
        if writer.full.try_send(Message::Lines(lines)).is_err() {
            buffers.waiting.fetch_sub(count, Ordering::Relaxed);
            buffers.note_dropped(count);
        }
    }

    fn meets<H: Headers>(&self, entry: &Entry<H>, share: f64) -> bool {
        let Some(condition) = &self.condition else {
            return true;
        };
        let mut value = Vec::new();
        for part in condition.parts() {
            match part {
                Part::Text(text) => value.extend_from_slice(text.as_bytes()),
                Part::Variable(variable) => entry.append(variable, share, &mut value),
            }
        }
        !matches!(&value[..], b"" | b"0")
    }

    /// Number of lines that were lost because the target was too slow or failed, since the start of
    /// the process.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Writes the lines logged so far to the old file or socket and opens it again by its name.
    /// Used after log rotation.
    pub fn reopen(&self) {
        if let Some(writer) = &self.writer
            && writer.full.try_send(Message::Reopen).is_err()
        {
            log::error!("access log: too far behind to open its file again");
        }
    }

    /// Waits until all lines logged so far are written, or until `deadline`. Returns the number of
    /// lines that are not written; they are lost if the process ends now.
    #[must_use]
    pub fn flush(&self, deadline: Instant) -> u64 {
        let Some(Writer { buffers, full }) = &self.writer else {
            return 0;
        };
        let (done, wait) = sync_channel(1);
        let mut message = Message::Flush(done);
        while let Err(TrySendError::Full(back)) = full.try_send(message) {
            if Instant::now() > deadline {
                return buffers.unwritten();
            }
            message = back;
            std::thread::sleep(LOOK);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        match wait.recv_timeout(left) {
            Ok(()) => 0,
            Err(_) => buffers.unwritten(),
        }
    }
}

impl Pending {
    /// Returns the log, unless its last user has ended.
    #[must_use]
    pub fn log(&self) -> Option<Arc<AccessLog>> {
        self.log.upgrade()
    }

    /// Returns `true` if this is a handle of `log`.
    #[must_use]
    pub fn is_of(&self, log: &Arc<AccessLog>) -> bool {
        self.log.ptr_eq(&Arc::downgrade(log))
    }

    /// Returns `true` if the log has no user any more and all its lines are written.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let written = |buffers: &Arc<Buffers>| *lock(&buffers.ended);
        self.log.strong_count() == 0 && self.buffers.as_ref().is_none_or(written)
    }

    /// Same as [`AccessLog::flush`], also for a log that is closed.
    #[must_use]
    pub fn flush(&self, deadline: Instant) -> u64 {
        if let Some(log) = self.log() {
            return log.flush(deadline);
        }
        let Some(buffers) = &self.buffers else {
            return 0;
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let ended = buffers
            .end
            .wait_timeout_while(lock(&buffers.ended), left, |ended| !*ended);
        let (ended, _) = ended.unwrap_or_else(PoisonError::into_inner);
        if *ended { 0 } else { buffers.unwritten() }
    }
}

impl Buffers {
    fn note_dropped(&self, lines: u64) {
        self.unreported.fetch_add(lines, Ordering::Relaxed);
        self.dropped.fetch_add(lines, Ordering::Relaxed);
    }

    fn unwritten(&self) -> u64 {
        let shards = self.shards.iter().map(|shard| count_lines(&lock(shard)));
        shards.sum::<u64>() + self.waiting.load(Ordering::Relaxed)
    }
}

/// Locks a buffer or flag. A panic while a line is written can only truncate that line.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write_all(buffers: &Buffers, queue: &Receiver<Message>, mut output: Output, flush: Duration) {
    let mut last_flush = Instant::now();
    loop {
        let wait = flush.saturating_sub(last_flush.elapsed());
        let (mut end, mut reopen, mut flushed) = (false, false, None);
        match queue.recv_timeout(wait) {
            Ok(Message::Lines(lines)) => write(buffers, &mut output, &lines),
            Ok(Message::Reopen) => reopen = true,
            Ok(Message::Flush(done)) => flushed = Some(done),
            Err(RecvTimeoutError::Disconnected) => end = true,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if end || reopen || flushed.is_some() || last_flush.elapsed() >= flush {
            for shard in &buffers.shards {
                let lines = {
                    let mut shard = lock(shard);
                    buffers
                        .waiting
                        .fetch_add(count_lines(&shard), Ordering::Relaxed);
                    std::mem::take(&mut *shard)
                };
                if !lines.is_empty() {
                    write(buffers, &mut output, &lines);
                }
            }
            let dropped = buffers.unreported.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                log::error!("access log: {dropped} lines dropped, the target cannot follow");
            }
            last_flush = Instant::now();
        }
        if reopen {
            output.reopen();
        }
        if let Some(flushed) = flushed {
            // The caller of `flush` may have given up after its deadline.
            let _ = flushed.send(());
        }
        if end {
            return;
        }
    }
}

fn write(buffers: &Buffers, output: &mut Output, lines: &[u8]) {
    let result = output.write(lines);
    let count = count_lines(lines);
    buffers.waiting.fetch_sub(count, Ordering::Relaxed);
    if let Err(lost) = result {
        log::error!("access log: {}", lost.error);
        buffers.note_dropped(lost.lines);
    }
}

#[cfg(test)]
mod tests {
    use super::entry::tests::with_entry;
    use super::format::tests::format;
    use super::*;
    use crate::config::model::{LogTarget, Sampling};

    fn config(target: LogTarget) -> model::AccessLog {
        model::AccessLog {
            target,
            format: format("$remote_addr $status"),
            sampling: None,
            flush: Duration::from_secs(3600),
            condition: None,
            also: Vec::new(),
        }
    }

    fn open(target: LogTarget) -> AccessLog {
        AccessLog::open(&config(target), None).unwrap()
    }

    fn flush(log: &AccessLog) {
        assert_eq!(log.flush(Instant::now() + Duration::from_secs(60)), 0);
    }

    fn lines(path: &std::path::Path) -> usize {
        std::fs::read_to_string(path).unwrap().lines().count()
    }

    /// Makes a FIFO in `folder` whose reader, the returned file, has read nothing yet.
    fn pipe_without_reads(folder: &std::path::Path) -> (std::path::PathBuf, std::fs::File) {
        let path = folder.join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        let mut options = std::fs::OpenOptions::new();
        let reader = options.read(true).write(true).open(&path).unwrap();
        (path, reader)
    }

    #[test]
    fn every_line_of_every_thread_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("access.log");
        std::fs::write(&file, "before\n").unwrap();
        let log = open(LogTarget::File(file.clone()));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    with_entry(|entry| (0..2000).for_each(|_| log.log(&entry)));
                });
            }
        });
        flush(&log);
        assert_eq!(lines(&file), 8001);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("before\n") && text.ends_with("\n1.0.0.7 200\n"));
    }

    #[test]
    fn lines_are_written_at_the_interval_of_their_log() {
        let folder = tempfile::tempdir().unwrap();
        let (rare, often) = (folder.path().join("rare"), folder.path().join("often"));
        let kept = open(LogTarget::File(rare.clone()));
        let config = model::AccessLog {
            flush: Duration::from_millis(10),
            ..config(LogTarget::File(often.clone()))
        };
        let log = AccessLog::open(&config, None).unwrap();
        with_entry(|entry| {
            kept.log(&entry);
            log.log(&entry);
        });
        while lines(&often) < 1 {
            std::thread::yield_now();
        }
        assert_eq!(lines(&rare), 0);
    }

    #[test]
    fn a_file_that_was_moved_away_is_followed_by_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let (file, moved) = (folder.path().join("log"), folder.path().join("log.1"));
        let log = open(LogTarget::File(file.clone()));
        with_entry(|entry| log.log(&entry));
        std::fs::rename(&file, &moved).unwrap();
        log.reopen();
        // The writer processes messages in order, and this waits for the last one.
        flush(&log);
        assert_eq!((lines(&moved), lines(&file)), (1, 0));
    }

    #[test]
    fn a_sample_has_all_failures_and_some_of_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("log");
        let config = model::AccessLog {
            sampling: Some(Sampling {
                share: 0.0,
                slow: Duration::from_secs(2),
            }),
            format: format("$status $sample_rate"),
            ..config(LogTarget::File(file.clone()))
        };
        let log = AccessLog::open(&config, None).unwrap();
        with_entry(|entry| {
            log.log(&entry);
            log.log(&Entry {
                status: 404,
                ..entry
            });
            let request_time = Duration::from_secs(2);
            log.log(&Entry {
                request_time,
                ..entry
            });
        });
        flush(&log);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "404 1\n200 1\n");
        assert_eq!(log.dropped(), 0);
    }

    #[test]
    fn a_log_may_be_off() {
        let log = open(LogTarget::Off);
        with_entry(|entry| log.log(&entry));
        flush(&log);
    }

    #[test]
    fn a_closed_log_is_written_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("log");
        let log = Arc::new(open(LogTarget::File(file.clone())));
        let pending = log.pending();
        assert!(pending.is_of(&log) && !pending.is_over());
        with_entry(|entry| log.log(&entry));
        drop(log);
        assert!(pending.log().is_none());
        assert_eq!(pending.flush(Instant::now() + Duration::from_secs(60)), 0);
        assert!(pending.is_over());
        assert_eq!(lines(&file), 1);
    }

    #[test]
    fn a_closed_log_with_a_stuck_target_is_waited_for_until_the_deadline() {
        let folder = tempfile::tempdir().unwrap();
        let (path, _reader) = pipe_without_reads(folder.path());
        let log = Arc::new(open(LogTarget::File(path)));
        let pending = log.pending();
        let logged = (2 * BUFFER / "1.0.0.7 200\n".len()) as u64;
        with_entry(|entry| (0..logged).for_each(|_| log.log(&entry)));
        drop(log);
        assert_eq!(pending.flush(Instant::now()), logged);
        assert!(!pending.is_over());
    }

    #[test]
    fn a_log_that_is_off_has_nothing_pending() {
        let log = Arc::new(open(LogTarget::Off));
        let pending = log.pending();
        drop(log);
        assert!(pending.is_over());
        assert_eq!(pending.flush(Instant::now()), 0);
    }

    #[test]
    fn a_target_that_takes_nothing_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let (path, mut reader) = pipe_without_reads(folder.path());
        let log = open(LogTarget::File(path));
        let logged = (2 * BUFFER / "1.0.0.7 200\n".len()) as u64 + 7;
        with_entry(|entry| (0..logged).for_each(|_| log.log(&entry)));
        assert_eq!(log.flush(Instant::now()), logged);
        // Lines that would have been lost at exit are written once the FIFO is read.
        let flushing = std::thread::spawn(move || {
            flush(&log);
            assert_eq!(log.dropped(), 0);
        });
        let mut read = 0;
        let mut buffer = [0; 4096];
        while read < logged * "1.0.0.7 200\n".len() as u64 {
            read += std::io::Read::read(&mut reader, &mut buffer).unwrap() as u64;
        }
        flushing.join().unwrap();
    }

    #[test]
    fn the_count_of_dropped_lines_outlives_a_change_of_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let open = |target, before| AccessLog::open(&config(target), before).unwrap();
        let first = open(LogTarget::File(folder.path().join("log")), None);
        let drop_lines = |log: &AccessLog, lines| {
            let writer = log.writer.as_ref().unwrap();
            writer.buffers.note_dropped(lines);
        };
        drop_lines(&first, 3);
        let off = open(LogTarget::Off, Some(&first));
        let last = open(LogTarget::File(folder.path().join("log.2")), Some(&off));
        drop_lines(&last, 2);
        assert_eq!([&first, &off, &last].map(AccessLog::dropped), [5, 5, 5]);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_an_error() {
        let target = LogTarget::File("/nonexistent/access.log".into());
        assert!(AccessLog::open(&config(target), None).is_err());
    }
}
