//! Sender of log lines to a syslog server, as datagrams (RFC 3164, which every server supports).
//!
//! Sending never blocks for long; a datagram is dropped instead, because a log that delays requests
//! is worse than a log with a counted gap. If the server is unavailable, sending is retried with
//! each batch of lines.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use jiff::Zoned;

use crate::config::model::{Syslog as Config, SyslogServer};

/// Maximum length of a message in bytes, including its header; a longer one is truncated. Servers
/// accept at least 2 KiB (RFC 5426), and the common ones 8 KiB.
const LONGEST: usize = 8 << 10;

/// Maximum time to wait for a slow local server. Only threads without other work send.
const PATIENCE: Duration = Duration::from_millis(100);

/// Connection to a syslog server.
pub struct Syslog {
    config: Config,
    /// Host name for messages over a network; empty if messages do not contain it.
    host: String,
    socket: Option<Socket>,
    message: Vec<u8>,
}

enum Socket {
    Udp(UdpSocket),
    Unix {
        socket: UnixDatagram,
        /// True if the last send found the server too slow; sends then do not wait until one
        /// succeeds.
        behind: bool,
    },
}

impl Syslog {
    /// Creates a sender that connects when there is something to send.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let names_host = config.names_host && matches!(config.server, SyslogServer::Udp(_));
        let host = if names_host { host() } else { String::new() };
        Syslog {
            config,
            host,
            socket: None,
            message: Vec::new(),
        }
    }

    /// Reconnects to the server with the next line.
    pub fn reconnect(&mut self) {
        self.socket = None;
    }

    /// Sends lines as one message each, with the configured severity.
    ///
    /// # Errors
    /// The number of lines that were not sent, and the error of the first of them; those after it
    /// are not tried.
    pub fn send_lines(&mut self, lines: &[u8]) -> Result<(), (u64, io::Error)> {
        let (severity, time) = (self.config.severity, time());
        let mut lines = lines
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty());
        while let Some(line) = lines.next() {
            if let Err(error) = self.send_at(&time, severity, line) {
                return Err((1 + lines.count() as u64, error));
            }
        }
        Ok(())
    }

    /// Sends one line.
    ///
    /// # Errors
    /// If the line is lost.
    pub fn send(&mut self, severity: u8, line: &[u8]) -> io::Result<()> {
        self.send_at(&time(), severity, line)
    }

    fn send_at(&mut self, time: &str, severity: u8, line: &[u8]) -> io::Result<()> {
        let priority = (self.config.facility << 3) | severity;
        self.message.clear();
        let (host, tag) = (&self.host, &self.config.tag);
        write_message(&mut self.message, priority, time, host, tag, line);
        let is_local = matches!(self.config.server, SyslogServer::Unix(_));
        match self.send_message() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                // A restarted local server has a new socket. For a remote server, the error refers
                // to a previous datagram, so sending again is enough.
                if is_local {
                    self.socket = None;
                }
                self.send_message()
            }
            sent => sent,
        }
    }

    fn send_message(&mut self) -> io::Result<()> {
        if self.socket.is_none() {
            self.socket = Some(Socket::open(&self.config.server)?);
        }
        match &mut self.socket {
            Some(Socket::Udp(socket)) => socket.send(&self.message).map(drop),
            Some(Socket::Unix { socket, behind }) => {
                let sent = socket.send(&self.message).map(drop);
                let is_behind = is_would_block(&sent);
                if is_behind != *behind {
                    socket.set_nonblocking(is_behind)?;
                    *behind = is_behind;
                }
                sent
            }
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Socket {
    fn open(server: &SyslogServer) -> io::Result<Self> {
        match server {
            SyslogServer::Udp(address) => {
                let Some(server) = address.to_socket_addrs()?.next() else {
                    return Err(io::ErrorKind::AddrNotAvailable.into());
                };
                let any = match server {
                    SocketAddr::V4(_) => SocketAddr::from(([0; 4], 0)),
                    SocketAddr::V6(_) => SocketAddr::from(([0_u16; 8], 0)),
                };
                let socket = UdpSocket::bind(any)?;
                socket.connect(server)?;
                socket.set_nonblocking(true)?;
                Ok(Socket::Udp(socket))
            }
            SyslogServer::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                socket.set_write_timeout(Some(PATIENCE))?;
                let behind = false;
                Ok(Socket::Unix { socket, behind })
            }
        }
    }
}

fn is_would_block(sent: &io::Result<()>) -> bool {
    let kind = sent.as_ref().err().map(io::Error::kind);
    kind == Some(io::ErrorKind::WouldBlock)
}

/// Returns the first word of this host's name: a blank in it would end the field.
fn host() -> String {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_string_lossy();
    let word = name.split(char::is_whitespace).next().unwrap_or_default();
    word.to_owned()
}

/// Formats the current time as in RFC 3164, 4.1.2: local time, a single-digit day with a blank.
fn time() -> String {
    Zoned::now().strftime("%b %e %H:%M:%S").to_string()
}

/// Appends a message (RFC 3164, section 4.1). Local servers expect no host name.
fn write_message(out: &mut Vec<u8>, priority: u8, time: &str, host: &str, tag: &str, line: &[u8]) {
    out.push(b'<');
    out.extend_from_slice(itoa::Buffer::new().format(priority).as_bytes());
    out.push(b'>');
    for part in [time, host].into_iter().filter(|part| !part.is_empty()) {
        out.extend_from_slice(part.as_bytes());
        out.push(b' ');
    }
    out.extend_from_slice(tag.as_bytes());
    out.extend_from_slice(b": ");
    // A message must be a single line.
    let cleaned = |&byte: &u8| if byte.is_ascii_control() { b' ' } else { byte };
    let room = LONGEST.saturating_sub(out.len());
    out.extend(line[..floor_char(line, room)].iter().map(cleaned));
}

/// Returns the index at which to truncate a text to at most `longest` bytes without splitting a
/// character.
fn floor_char(text: &[u8], longest: usize) -> usize {
    if text.len() <= longest {
        return text.len();
    }
    let is_start = |&at: &usize| text[at] & 0b1100_0000 != 0b1000_0000;
    let starts = (longest.saturating_sub(3)..=longest).rev().find(is_start);
    starts.unwrap_or(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(server: SyslogServer) -> Config {
        Config {
            server,
            facility: 23,
            severity: 6,
            tag: "geogate".to_owned(),
            names_host: true,
        }
    }

    #[track_caller]
    fn check(host: &str, line: &[u8], expected: &str) {
        let mut out = Vec::new();
        write_message(&mut out, 190, "Nov  3 04:05:06", host, "geogate", line);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_message_says_priority_time_host_and_tag() {
        check(
            "edge",
            b"a line",
            "<190>Nov  3 04:05:06 edge geogate: a line",
        );
        check("", b"a line", "<190>Nov  3 04:05:06 geogate: a line");
        check(
            "",
            "two\nlines\0 中".as_bytes(),
            "<190>Nov  3 04:05:06 geogate: two lines  中",
        );
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let line = "中".repeat(4000);
        let mut out = Vec::new();
        write_message(
            &mut out,
            190,
            "Nov  3 04:05:06",
            "",
            "geogate",
            line.as_bytes(),
        );
        assert!((LONGEST - 2..=LONGEST).contains(&out.len()));
        assert!(String::from_utf8(out).unwrap().ends_with("中中"));
        // Invalid UTF-8 is truncated, too.
        assert_eq!(floor_char(&[0x80; 10], 5), 5);
    }

    #[test]
    fn a_network_server_gets_a_datagram_for_each_line() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap().to_string();
        let mut syslog = Syslog::new(config(SyslogServer::Udp(address)));
        syslog.send_lines(b"one\ntwo\n").unwrap();
        for line in ["one", "two"] {
            let mut buffer = [0; 1024];
            let length = server.recv(&mut buffer).unwrap();
            let text = std::str::from_utf8(&buffer[..length]).unwrap();
            assert!(text.starts_with("<190>"), "{text}");
            assert!(
                text.ends_with(&format!(" {} geogate: {line}", syslog.host)),
                "{text}"
            );
        }
    }

    fn receive(server: &UnixDatagram) -> String {
        let mut buffer = [0; 1024];
        let length = server.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_local_server_is_found_again_after_it_was_started_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut syslog = Syslog::new(config(SyslogServer::Unix(path.clone())));
        assert_eq!(syslog.send_lines(b"a\nb\n").unwrap_err().0, 2);
        for _ in 0..2 {
            let server = UnixDatagram::bind(&path).unwrap();
            syslog.send_lines(b"one\n").unwrap();
            assert!(receive(&server).ends_with(" geogate: one"));
            drop(server);
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_server_that_does_not_read_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let _server = UnixDatagram::bind(&path).unwrap();
        let mut syslog = Syslog::new(config(SyslogServer::Unix(path)));
        let lost = (0..10_000).find_map(|_| syslog.send_lines(b"line\nline\n").err());
        let (_, error) = lost.expect("the queue of a socket is finite");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
