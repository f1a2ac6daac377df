//! Error log: the program's own messages, written to standard error, a file or a syslog server.
//!
//! Workers log too, and a worker that waits for a full pipe serves no requests. So a message goes
//! into a bounded queue, and one thread writes. Messages that do not fit are dropped and counted,
//! and the log reports their number as soon as its target accepts data again.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::config::model::{ErrorLog, LogTarget};
use crate::gateway::telemetry::log_file;
use crate::gateway::telemetry::syslog::Syslog;

/// Capacity of the queue, in messages.
const QUEUE: usize = 4096;

/// Maximum length of a message in bytes; the rest of a longer one is cut off. With [`QUEUE`], this
/// bounds the memory.
const LONGEST: usize = 8 << 10;

/// Time limit for writing the last messages at the end of the process.
const LAST_MESSAGES: Duration = Duration::from_millis(500);

/// Minimum interval between two messages that report dropped messages.
const TELL: Duration = Duration::from_secs(1);

/// The queue of this process, which has one logger.
static QUEUE_OF_LOG: OnceLock<Arc<Queue>> = OnceLock::new();

/// Sends `log` messages of the configured level and above to the configured target. `RUST_LOG`
/// overrides the level; with the target `off` nothing is logged, whatever it says. Panics are
/// logged, too. The last messages are written when the returned value is dropped.
///
/// # Errors
/// If the file cannot be opened, or a thread cannot be started.
pub fn start(config: &ErrorLog) -> io::Result<LastMessages> {
    // An existing logger stays: tests start more than one server.
    if let Some((logger, level)) = logger(config, std::env::var("RUST_LOG").ok().as_deref())?
        && log::set_boxed_logger(logger).is_ok()
    {
        log::set_max_level(level);
    }
    report_panics();
    Ok(LastMessages)
}

/// Creates the logger and the level that it needs; `None` if nothing is logged.
fn logger(
    config: &ErrorLog,
    rust_log: Option<&str>,
) -> io::Result<Option<(Box<dyn Log>, LevelFilter)>> {
    let target = match &config.target {
        LogTarget::Off => return Ok(None),
        LogTarget::Standard => Target::Stream(Box::new(io::stderr())),
        LogTarget::File(path) => Target::File {
            file: log_file::open(path)?,
            path: path.clone(),
        },
        LogTarget::Syslog(config) => Target::Syslog(Syslog::new(config.clone())),
    };
    let mut logger = env_logger::Builder::new();
    logger.filter_level(config.level);
    if config.level == LevelFilter::Info {
        // At this level pingora logs its internals.
        logger.filter_module("pingora", LevelFilter::Warn);
    }
    // pingora's connection pool logs an error when another thread still holds a connection for a
    // moment.
    logger.filter_module("pingora_core::connectors", LevelFilter::Off);
    if let Some(filters) = rust_log {
        logger.parse_filters(filters);
    }
    let is_syslog = matches!(target, Target::Syslog(_));
    let queue = Arc::new(Queue::new(target)?);
    let queue = Arc::clone(QUEUE_OF_LOG.get_or_init(|| queue));
    if !is_syslog {
        logger.target(env_logger::Target::Pipe(Box::new(Lines(Arc::clone(
            &queue,
        )))));
    }
    let filter = logger.build();
    let level = filter.filter();
    let logger: Box<dyn Log> = if is_syslog {
        Box::new(ToSyslog { filter, queue })
    } else {
        Box::new(filter)
    };
    Ok(Some((logger, level)))
}

/// Reopens the file or the socket by its name, for log rotation. If the file cannot be opened, the
/// previous one stays in use.
pub fn reopen() {
    if let Some(queue) = QUEUE_OF_LOG.get() {
        queue.reopen();
    }
}

/// Returns the number of messages dropped since the start, because the target did not accept them.
pub fn dropped() -> u64 {
    QUEUE_OF_LOG.get().map_or(0, |queue| queue.counts.dropped())
}

/// Guard that writes the last messages when it is dropped, unless the target accepts no data.
pub struct LastMessages;

impl Drop for LastMessages {
    fn drop(&mut self) {
        if let Some(queue) = QUEUE_OF_LOG.get() {
            queue.flush(LAST_MESSAGES);
        }
    }
}

/// Sends panics to the log. By default a panicking thread writes to standard error, and waits for
/// it.
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
    /// Answered when all earlier messages are written.
    Flush(SyncSender<()>),
}

#[derive(Default)]
struct Counts {
    /// Dropped messages that the log has not reported yet.
    untold: AtomicU64,
    told: AtomicU64,
    /// True if the target has to be reopened, and the queue was full when this was requested.
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

    /// Waits until all messages are written, for at most `patience`. Returns `true` if they were.
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
                // The receiver may have timed out.
                let _ = done.send(());
                tell = false;
            }
        }
        if tell && tell_dropped(&mut target, counts) {
            told = Some(Instant::now());
        }
    }
}

/// Logs how many messages were dropped, if any. Returns `true` if it did.
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

/// Target of the log, used by the writing thread only.
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

/// Adapter for `env_logger`, which writes each line in one piece.
struct Lines(Arc<Queue>);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // The line contains the level already, and only syslog needs it separately.
        self.0.push(Level::Error, line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Logger that sends messages to a syslog server.
struct ToSyslog {
    /// Decides what is logged, and writes nothing.
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

    /// A queue whose target is a pipe that is not read yet.
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
        // More than the pipe and the queue can hold.
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
    fn an_environment_variable_changes_the_level_and_not_whether_there_is_a_log() {
        let level = |target, rust_log| {
            let config = ErrorLog {
                target,
                level: LevelFilter::Warn,
            };
            let logger = logger(&config, rust_log).unwrap();
            logger.map(|(_, level)| level)
        };
        let modules = Some("geogate=trace");
        assert_eq!(level(LogTarget::Standard, None), Some(LevelFilter::Warn));
        assert_eq!(
            level(LogTarget::Standard, modules),
            Some(LevelFilter::Trace)
        );
        for rust_log in [None, Some("debug"), modules] {
            assert_eq!(level(LogTarget::Off, rust_log), None);
        }
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
