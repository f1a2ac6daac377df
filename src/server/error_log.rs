//! The program's own messages, on their way to standard error, a file or a syslog server.
//!
//! Workers log too, and a worker that waits for a full pipe serves nobody. So a message goes into a queue of
//! bounded length, and one thread writes. What does not fit is dropped and counted, and the log says so as
//! soon as its target takes something again.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::config::model::{ErrorLog, LogTarget};
use crate::gateway::log_file;
use crate::gateway::syslog::Syslog;

/// Messages that may wait for the thread that writes them.
const QUEUE: usize = 4096;

/// Bytes of a message; the rest of a longer one is cut off. With [`QUEUE`], this bounds the memory.
const LONGEST: usize = 8 << 10;

/// How long the end of the process waits for the last messages.
const LAST_MESSAGES: Duration = Duration::from_millis(500);

/// Least time between two messages that say how many were dropped.
const TELL: Duration = Duration::from_secs(1);

/// A process has one logger, and so one of these.
static QUEUE_OF_LOG: OnceLock<Arc<Queue>> = OnceLock::new();

/// Sends `log` messages to the configured target, from the configured level up. `RUST_LOG` goes
/// above it. Panics become messages, too. The last ones are written when what is returned is dropped.
///
/// # Errors
/// If the file cannot be opened, or the system refuses a thread.
pub fn start(config: &ErrorLog) -> io::Result<LastMessages> {
    let mut logger = env_logger::Builder::new();
    logger.filter_level(config.level);
    if config.level == LevelFilter::Info {
        // At this level pingora tells how it works inside.
        logger.filter_module("pingora", LevelFilter::Warn);
    }
    // pingora's pool of connections calls it an error when another thread has not let go of one yet.
    logger.filter_module("pingora_core::connectors", LevelFilter::Off);
    logger.parse_default_env();
    let target = match &config.target {
        LogTarget::Off => {
            logger.filter_level(LevelFilter::Off);
            None
        }
        LogTarget::Standard => Some(Target::Stream(Box::new(io::stderr()))),
        LogTarget::File(path) => Some(Target::File {
            file: log_file::open(path)?,
            path: path.clone(),
        }),
        LogTarget::Syslog(config) => Some(Target::Syslog(Syslog::new(config.clone()))),
    };
    if let Some(target) = target {
        let is_syslog = matches!(target, Target::Syslog(_));
        let queue = Arc::new(Queue::new(target)?);
        let queue = Arc::clone(QUEUE_OF_LOG.get_or_init(|| queue));
        if is_syslog {
            let filter = logger.build();
            let level = filter.filter();
            if log::set_boxed_logger(Box::new(ToSyslog { filter, queue })).is_ok() {
                log::set_max_level(level);
            }
            report_panics();
            return Ok(LastMessages);
        }
        logger.target(env_logger::Target::Pipe(Box::new(Lines(queue))));
    }
    // A logger that is there already stays: tests start more than one server.
    let _ = logger.try_init();
    report_panics();
    Ok(LastMessages)
}

/// Opens the file, or the socket, again by its name, for whoever moves log files away. If a file cannot
/// be had, the one before goes on.
pub fn reopen() {
    if let Some(queue) = QUEUE_OF_LOG.get() {
        queue.reopen();
    }
}

/// Messages that were lost since the start, because the target did not take them.
pub fn dropped() -> u64 {
    QUEUE_OF_LOG.get().map_or(0, |queue| queue.counts.dropped())
}

/// Writes the last messages when it is dropped, unless the target takes nothing.
pub struct LastMessages;

impl Drop for LastMessages {
    fn drop(&mut self) {
        if let Some(queue) = QUEUE_OF_LOG.get() {
            queue.flush(LAST_MESSAGES);
        }
    }
}

/// By itself a thread that panics writes to standard error, and waits for it.
fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed").to_owned();
        log::error!("thread {name}: {}", panic.to_string().replace('\n', " "));
    }));
}

/// Messages that wait to be written.
struct Queue {
    messages: SyncSender<Message>,
    counts: Arc<Counts>,
}

enum Message {
    Line(Level, Vec<u8>),
    Reopen,
    /// Answered when all before it are written.
    Flush(SyncSender<()>),
}

#[derive(Default)]
struct Counts {
    /// Messages dropped that the log has not told of yet.
    untold: AtomicU64,
    told: AtomicU64,
    /// Whether the target is to be opened again, and there was no room to say so.
    reopen: AtomicBool,
}

impl Counts {
    fn dropped(&self) -> u64 {
        self.untold.load(Ordering::Relaxed) + self.told.load(Ordering::Relaxed)
    }
}

impl Queue {
    fn new(target: Target) -> io::Result<Self> {
        let (messages, queue) = sync_channel(QUEUE);
        let counts = Arc::new(Counts::default());
        let for_thread = Arc::clone(&counts);
        std::thread::Builder::new()
            .name("error-log".to_owned())
            .spawn(move || write_all(&queue, target, &for_thread))?;
        Ok(Queue { messages, counts })
    }

    fn push(&self, level: Level, line: &[u8]) {
        let mut line = line[..line.len().min(LONGEST)].to_vec();
        if line.len() == LONGEST {
            line[LONGEST - 1] = b'\n';
        }
        if self.messages.try_send(Message::Line(level, line)).is_err() {
            self.counts.untold.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn reopen(&self) {
        if self.messages.try_send(Message::Reopen).is_err() {
            self.counts.reopen.store(true, Ordering::Relaxed);
        }
    }

    /// Waits until all messages are written, for so long; whether they were.
    fn flush(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let (done, wait) = sync_channel(1);
        let mut message = Message::Flush(done);
        while let Err(TrySendError::Full(back)) = self.messages.try_send(message) {
            if Instant::now() > deadline {
                return false;
            }
            message = back;
            std::thread::sleep(Duration::from_millis(5));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        wait.recv_timeout(left).is_ok()
    }
}

fn write_all(queue: &Receiver<Message>, mut target: Target, counts: &Counts) {
    let mut told = None::<Instant>;
    while let Ok(message) = queue.recv() {
        if counts.reopen.swap(false, Ordering::Relaxed) {
            target.reopen();
        }
        let mut tell = told.is_none_or(|told| told.elapsed() > TELL);
        match message {
            Message::Line(level, line) => {
                if target.write(level, &line).is_err() {
                    counts.untold.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
            }
            Message::Reopen => target.reopen(),
            Message::Flush(done) => {
                tell_dropped(&mut target, counts);
                // Whoever waited may have given up.
                let _ = done.send(());
                tell = false;
            }
        }
        if tell && tell_dropped(&mut target, counts) {
            told = Some(Instant::now());
        }
    }
}

/// Says how many messages were dropped, if any were; whether it did.
fn tell_dropped(target: &mut Target, counts: &Counts) -> bool {
    let dropped = counts.untold.load(Ordering::Relaxed);
    if dropped == 0 {
        return false;
    }
    let text = format!("error log: {dropped} messages dropped, its target did not take them");
    let line = if let Target::Syslog(_) = target {
        text
    } else {
        let now = jiff::Timestamp::now();
        format!("[{now:.0} ERROR {}] {text}\n", module_path!())
    };
    if target.write(Level::Error, line.as_bytes()).is_err() {
        return false;
    }
    counts.untold.fetch_sub(dropped, Ordering::Relaxed);
    counts.told.fetch_add(dropped, Ordering::Relaxed);
    true
}

/// Where messages end. Only the thread that writes has it.
enum Target {
    Stream(Box<dyn Write + Send>),
    File { path: PathBuf, file: File },
    Syslog(Syslog),
}

impl Target {
    fn write(&mut self, level: Level, line: &[u8]) -> io::Result<()> {
        match self {
            Target::Stream(stream) => stream.write_all(line).and_then(|()| stream.flush()),
            Target::File { file, .. } => file.write_all(line),
            Target::Syslog(syslog) => {
                // RFC 5424, 6.2.1.
                let severity = match level {
                    Level::Error => 3,
                    Level::Warn => 4,
                    Level::Info => 6,
                    Level::Debug | Level::Trace => 7,
                };
                syslog.send(severity, line)
            }
        }
    }

    fn reopen(&mut self) {
        match self {
            Target::Stream(_) => {}
            Target::File { path, file } => match log_file::open(path) {
                Ok(new) => *file = new,
                Err(error) => log::error!("error log {}: {error}", path.display()),
            },
            Target::Syslog(syslog) => syslog.reconnect(),
        }
    }
}

/// Takes the lines that `env_logger` writes, each in one piece.
struct Lines(Arc<Queue>);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // The level stands in the line, and matters to syslog alone.
        self.0.push(Level::Error, line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes messages for a syslog server.
struct ToSyslog {
    /// Knows what is logged, and writes nothing.
    filter: env_logger::Logger,
    queue: Arc<Queue>,
}

impl Log for ToSyslog {
    fn enabled(&self, metadata: &Metadata) -> bool {
        self.filter.enabled(metadata)
    }

    fn log(&self, record: &Record) {
        if self.filter.matches(record) {
            let message = format!("{}: {}", record.target(), record.args());
            self.queue.push(record.level(), message.as_bytes());
        }
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, PipeReader};

    use super::*;

    /// A queue whose target nobody reads yet.
    fn stalled() -> (Queue, PipeReader) {
        let (reader, writer) = io::pipe().unwrap();
        (
            Queue::new(Target::Stream(Box::new(writer))).unwrap(),
            reader,
        )
    }

    #[test]
    fn a_target_that_takes_nothing_holds_nobody_up_and_is_told_what_it_missed() {
        let (queue, reader) = stalled();
        // More than the pipe and the queue hold.
        let line = [vec![b'x'; 1000], b"\n".to_vec()].concat();
        let sent = 2 * QUEUE;
        (0..sent).for_each(|_| queue.push(Level::Error, &line));
        assert!(!queue.flush(Duration::ZERO));
        let dropped = queue.counts.dropped();
        assert!(dropped >= (sent - QUEUE - 200) as u64, "{dropped}");
        let reading = std::thread::spawn(|| {
            let lines = BufReader::new(reader).lines().map(Result::unwrap);
            lines
                .filter(|line| line.contains("dropped"))
                .collect::<Vec<_>>()
        });
        assert!(queue.flush(Duration::from_secs(60)));
        assert_eq!(queue.counts.dropped(), dropped);
        drop(queue);
        let told = reading.join().unwrap();
        let number = |line: &String| {
            let (time, rest) = line
                .split_once(" ERROR geogate::server::error_log] ")
                .unwrap();
            assert!(time.starts_with('[') && time.ends_with('Z'), "{line}");
            let rest = rest.strip_prefix("error log: ").unwrap();
            let number = rest.strip_suffix(" messages dropped, its target did not take them");
            number.unwrap().parse::<u64>().unwrap()
        };
        assert_eq!(told.iter().map(number).sum::<u64>(), dropped);
    }

    #[test]
    fn a_long_message_is_cut() {
        let (queue, reader) = stalled();
        queue.push(Level::Error, &vec![b'x'; 3 * LONGEST]);
        queue.push(Level::Error, b"next\n");
        let mut lines = BufReader::new(reader).lines().map(Result::unwrap);
        assert_eq!(lines.next().unwrap().len(), LONGEST - 1);
        assert_eq!(lines.next().unwrap(), "next");
    }

    #[test]
    fn all_messages_are_written_before_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let file = log_file::open(&path).unwrap();
        let queue = Queue::new(Target::File {
            path: path.clone(),
            file,
        })
        .unwrap();
        (0..1000).for_each(|_| queue.push(Level::Info, b"a line\n"));
        let moved = folder.path().join("log.1");
        assert!(queue.flush(Duration::from_secs(60)));
        std::fs::rename(&path, &moved).unwrap();
        queue.reopen();
        queue.push(Level::Info, b"after\n");
        assert!(queue.flush(Duration::from_secs(60)));
        assert_eq!(
            std::fs::read_to_string(&moved).unwrap().lines().count(),
            1000
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "after\n");
    }
}
