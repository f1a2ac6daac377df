//! One line a request.
//!
//! A worker formats its line into a buffer of its own and goes on; a thread of the log's own
//! writes full buffers, and every buffer once a `flush` interval. If the disk cannot follow, lines
//! are dropped and counted: a slow disk must not slow down clients.

mod entry;
mod format;
mod output;
mod sampling;
mod text;
mod times;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

pub use entry::Entry;
pub use format::Format;
use output::{Output, count_lines};
use sampling::Sampler;
pub(super) use text::{user, write_address};

use super::client_ip::HeaderLines;
use super::shard::{SHARDS, shard};
use crate::config::model;

/// A buffer that holds this much is handed to the writer.
const BUFFER: usize = 64 << 10;

/// How many full buffers may wait for the writer: 64 MiB.
const QUEUE: usize = 1024;

/// The access log.
pub struct AccessLog {
    config: model::AccessLog,
    format: Format,
    /// `None` if every request has a line.
    sampler: Option<Sampler>,
    /// `None` if nothing is logged.
    buffers: Option<Arc<Buffers>>,
    writer: Mutex<Option<Writer>>,
}

struct Buffers {
    shards: [Mutex<Vec<u8>>; SHARDS],
    full: SyncSender<Message>,
    /// Since the last time that it was told.
    dropped: AtomicU64,
    /// Before that.
    told: AtomicU64,
}

enum Message {
    Lines(Vec<u8>),
    Reopen,
    End,
}

struct Writer {
    thread: JoinHandle<()>,
}

impl AccessLog {
    /// Opens the target and starts the writer.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open(config: &model::AccessLog) -> io::Result<Self> {
        let mut log = AccessLog {
            config: config.clone(),
            format: Format::new(&config.format),
            sampler: config.sampling.map(Sampler::new),
            buffers: None,
            writer: Mutex::new(None),
        };
        let Some(output) = Output::open(&config.target)? else {
            return Ok(log);
        };
        let (full, queue) = sync_channel(QUEUE);
        let buffers = Arc::new(Buffers {
            shards: std::array::from_fn(|_| Mutex::default()),
            full,
            dropped: AtomicU64::new(0),
            told: AtomicU64::new(0),
        });
        let (for_thread, flush) = (Arc::clone(&buffers), config.flush);
        let thread = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_all(&for_thread, &queue, output, flush))?;
        log.buffers = Some(buffers);
        log.writer = Mutex::new(Some(Writer { thread }));
        Ok(log)
    }

    /// Whether this is the log of such a configuration.
    #[must_use]
    pub fn is_for(&self, config: &model::AccessLog) -> bool {
        self.config == *config
    }

    /// Whether anything is logged, so that nobody collects what nobody reads.
    pub fn is_on(&self) -> bool {
        self.buffers.is_some()
    }

    /// What a line looks like.
    #[must_use]
    pub fn format(&self) -> &Format {
        &self.format
    }

    /// Logs a request, if it is one that has a line.
    pub fn log<H: HeaderLines>(&self, entry: &Entry<H>) {
        let Some(buffers) = &self.buffers else { return };
        let share = self.sampler.map_or(Some(1.0), |sampler| {
            sampler.choose(entry.status, entry.request_time, entry.id())
        });
        let Some(share) = share else { return };
        let mut buffer = lock(&buffers.shards[shard()]);
        self.format.write(entry, share, &mut buffer);
        if buffer.len() < BUFFER {
            return;
        }
        let lines = std::mem::take(&mut *buffer);
        drop(buffer);
        if let Err(lost) = buffers.full.try_send(Message::Lines(lines)) {
            let (std::sync::mpsc::TrySendError::Full(message)
            | std::sync::mpsc::TrySendError::Disconnected(message)) = lost;
            if let Message::Lines(lines) = message {
                buffers
                    .dropped
                    .fetch_add(count_lines(&lines), Ordering::Relaxed);
            }
        }
    }

    /// How many lines were lost, because the target could not follow or failed.
    pub fn dropped(&self) -> u64 {
        let sum =
            |b: &Arc<Buffers>| b.dropped.load(Ordering::Relaxed) + b.told.load(Ordering::Relaxed);
        self.buffers.as_ref().map_or(0, sum)
    }

    /// Opens the file, or the socket, again by its name, after writing what was logged so far to the
    /// one before: for whoever moves log files away.
    pub fn reopen(&self) {
        if let Some(buffers) = &self.buffers
            && buffers.full.try_send(Message::Reopen).is_err()
        {
            log::error!("access log: too far behind to open its file again");
        }
    }

    /// Writes everything that was logged so far and ends the writer.
    pub fn close(&self) {
        let writer = lock(&self.writer).take();
        if let (Some(writer), Some(buffers)) = (writer, &self.buffers) {
            // The writer is there until it reads this, so sending waits but does not fail.
            let _ = buffers.full.send(Message::End);
            let _ = writer.thread.join();
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.close();
    }
}

/// A worker that panicked while it wrote a line leaves a line cut short, no more.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write_all(buffers: &Buffers, queue: &Receiver<Message>, mut output: Output, flush: Duration) {
    let mut last_flush = std::time::Instant::now();
    loop {
        let wait = flush.saturating_sub(last_flush.elapsed());
        let (mut end, mut reopen) = (false, false);
        match queue.recv_timeout(wait) {
            Ok(Message::Lines(lines)) => write(buffers, &mut output, &lines),
            Ok(Message::Reopen) => reopen = true,
            Ok(Message::End) | Err(RecvTimeoutError::Disconnected) => end = true,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if end || reopen || last_flush.elapsed() >= flush {
            for shard in &buffers.shards {
                let lines = std::mem::take(&mut *lock(shard));
                if !lines.is_empty() {
                    write(buffers, &mut output, &lines);
                }
            }
            let dropped = buffers.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                buffers.told.fetch_add(dropped, Ordering::Relaxed);
                log::error!("access log: {dropped} lines dropped, the target cannot follow");
            }
            last_flush = std::time::Instant::now();
        }
        if reopen {
            output.reopen();
        }
        if end {
            return;
        }
    }
}

fn write(buffers: &Buffers, output: &mut Output, lines: &[u8]) {
    if let Err(lost) = output.write(lines) {
        log::error!("access log: {}", lost.error);
        buffers.dropped.fetch_add(lost.lines, Ordering::Relaxed);
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
        }
    }

    fn open(target: LogTarget) -> AccessLog {
        AccessLog::open(&config(target)).unwrap()
    }

    fn lines(path: &std::path::Path) -> usize {
        std::fs::read_to_string(path).unwrap().lines().count()
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
        log.close();
        assert_eq!(lines(&file), 8001);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("before\n") && text.ends_with("\n1.0.0.7 200\n"));
    }

    #[test]
    fn a_file_that_was_moved_away_is_followed_by_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let (file, moved) = (folder.path().join("log"), folder.path().join("log.1"));
        let log = open(LogTarget::File(file.clone()));
        with_entry(|entry| log.log(&entry));
        std::fs::rename(&file, &moved).unwrap();
        log.reopen();
        // The writer takes one message after the other, and this waits for the last.
        log.close();
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
        let log = AccessLog::open(&config).unwrap();
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
        log.close();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "404 1\n200 1\n");
        assert_eq!(log.dropped(), 0);
    }

    #[test]
    fn a_log_may_be_off() {
        let log = open(LogTarget::Off);
        with_entry(|entry| log.log(&entry));
        log.close();
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_an_error() {
        let target = LogTarget::File("/nonexistent/access.log".into());
        assert!(AccessLog::open(&config(target)).is_err());
    }
}
