//! One line a request.
//!
//! A worker formats its line into a buffer of its own and goes on; a thread of the log's own
//! writes full buffers, and every buffer once a `flush` interval. If the disk cannot follow, lines
//! are dropped and counted: a slow disk must not slow down clients.

mod line;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

pub use line::Entry;
pub(super) use line::user;

use super::shard::{SHARDS, shard};
use crate::config::model::{self, LogTarget};

/// A buffer that holds this much is handed to the writer.
const BUFFER: usize = 64 << 10;

/// How many full buffers may wait for the writer: 64 MiB.
const QUEUE: usize = 1024;

/// The access log.
pub struct AccessLog {
    config: model::AccessLog,
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

/// Where lines are written.
enum Output {
    Standard,
    File { path: PathBuf, file: File },
}

impl Output {
    fn file(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        Ok(Output::File { path, file })
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Output::Standard => {
                let mut out = io::stdout();
                out.write_all(lines)?;
                out.flush()
            }
            Output::File { file, .. } => file.write_all(lines),
        }
    }

    /// The file that has the name now. If it cannot be had, the one before goes on.
    fn reopen(&mut self) {
        if let Output::File { path, .. } = self {
            match Output::file(path.clone()) {
                Ok(new) => *self = new,
                Err(error) => log::error!("access log {}: {error}", path.display()),
            }
        }
    }
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
        let output = match &config.target {
            LogTarget::Off => {
                return Ok(AccessLog {
                    config: config.clone(),
                    buffers: None,
                    writer: Mutex::new(None),
                });
            }
            LogTarget::Standard => Output::Standard,
            LogTarget::File(path) => Output::file(path.clone())?,
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
        Ok(AccessLog {
            config: config.clone(),
            buffers: Some(buffers),
            writer: Mutex::new(Some(Writer { thread })),
        })
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

    /// Logs a request.
    pub fn log(&self, entry: &Entry) {
        let Some(buffers) = &self.buffers else { return };
        let mut buffer = lock(&buffers.shards[shard()]);
        entry.write(self.config.format, &mut buffer);
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

    /// Opens the file again by its name, after writing what was logged so far to the one before: for
    /// whoever moves log files away.
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

fn count_lines(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
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
    if let Err(error) = output.write(lines) {
        log::error!("access log: {error}");
        buffers
            .dropped
            .fetch_add(count_lines(lines), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::LogFormat;

    fn open(target: LogTarget) -> AccessLog {
        AccessLog::open(&model::AccessLog {
            target,
            format: LogFormat::Main,
            flush: Duration::from_secs(3600),
        })
        .unwrap()
    }

    #[test]
    fn every_line_of_every_thread_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("access.log");
        std::fs::write(&file, "before\n").unwrap();
        let log = open(LogTarget::File(file.clone()));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..2000).for_each(|_| log.log(&line::tests::entry())));
            }
        });
        log.close();
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text.lines().count(), 8001);
        assert!(text.starts_with("before\n"));
    }

    #[test]
    fn a_file_that_was_moved_away_is_followed_by_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let (file, moved) = (folder.path().join("log"), folder.path().join("log.1"));
        let log = open(LogTarget::File(file.clone()));
        log.log(&line::tests::entry());
        std::fs::rename(&file, &moved).unwrap();
        log.reopen();
        // The writer takes one message after the other, and this waits for the last.
        log.close();
        let lines = |path| std::fs::read_to_string(path).unwrap().lines().count();
        assert_eq!((lines(&moved), lines(&file)), (1, 0));
    }

    #[test]
    fn a_log_may_be_off() {
        let log = open(LogTarget::Off);
        log.log(&line::tests::entry());
        log.close();
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_an_error() {
        let target = LogTarget::File("/nonexistent/access.log".into());
        let config = model::AccessLog {
            target,
            format: LogFormat::Json,
            flush: Duration::from_secs(1),
        };
        assert!(AccessLog::open(&config).is_err());
    }
}
