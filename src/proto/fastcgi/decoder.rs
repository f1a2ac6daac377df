//! Records of a response, read in the buffer that they came in.

use super::{END_REQUEST, HEADER, REQUEST_ID, STDERR, STDOUT, VERSION};

/// Length of the content of the record that ends a request, in bytes.
const END_LENGTH: u16 = 8;

/// Bytes of a script's messages that are kept for the log.
const MAX_STDERR: usize = 2 << 10;

/// Reader of the records of one response.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    stdout_has_ended: bool,
    stderr: Vec<u8>,
    end: Option<End>,
}

/// Part of the record that comes next.
#[derive(Debug)]
enum State {
    Header {
        bytes: [u8; HEADER],
        length: usize,
    },
    Content {
        kind: Kind,
        left: u16,
        padding: u8,
    },
    Padding {
        left: u8,
    },
    /// The request has ended.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stdout,
    Stderr,
    End { bytes: [u8; END_LENGTH as usize] },
}

/// Result of reading some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded {
    /// Number of bytes that were read. Bytes behind the end of the response are not.
    pub consumed: usize,
    /// Number of bytes of output, which are now at the start.
    pub content: usize,
}

/// End of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Exit status of the script.
    pub app_status: u32,
    /// Outcome in terms of the protocol.
    pub protocol_status: ProtocolStatus,
}

/// Outcome of a request in terms of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolStatus {
    /// It was processed.
    Complete,
    /// The server has no room for it.
    Refused,
    /// Something that no server says of a request to a responder.
    Unknown,
}

/// Reason why a response is no FastCGI.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedRecord {
    /// Another version of the protocol, or another protocol.
    #[error("FastCGI record of version {0}: the peer speaks another protocol")]
    Version(u8),
    /// A request that was not sent.
    #[error("FastCGI record of request {0}, which is not under way")]
    Request(u16),
    /// A type that has no place in a response.
    #[error("FastCGI record of type {0} in a response")]
    Type(u8),
    /// An end with another length than it has.
    #[error("FastCGI end of a request of {0} bytes")]
    EndLength(u16),
    /// Output behind its end.
    #[error("FastCGI output behind the end of the output")]
    AfterOutput,
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder::new()
    }
}

impl Decoder {
    /// A reader at the start of a response.
    #[must_use]
    pub fn new() -> Self {
        Decoder {
            state: State::Header {
                bytes: [0; HEADER],
                length: 0,
            },
            stdout_has_ended: false,
            stderr: Vec::new(),
            end: None,
        }
    }

    /// End of the request, once it has come.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// Returns `true` if the server has said that no more output comes.
    #[must_use]
    pub fn stdout_has_ended(&self) -> bool {
        self.stdout_has_ended
    }

    /// The first 2 KiB of the script's messages.
    #[must_use]
    pub fn stderr(&self) -> &[u8] {
        &self.stderr
    }

    /// Reads the next bytes, and moves their output to the start of `bytes`.
    ///
    /// # Errors
    /// If they are no records of a response. The reader must not be used after that.
    pub fn decode(&mut self, bytes: &mut [u8]) -> Result<Decoded, MalformedRecord> {
        let (mut at, mut content) = (0, 0);
        while at < bytes.len() && !matches!(self.state, State::End) {
            let available = bytes.len() - at;
            match &mut self.state {
                State::Header {
                    bytes: kept,
                    length,
                } => {
                    let here = available.min(HEADER - *length);
                    kept[*length..*length + here].copy_from_slice(&bytes[at..at + here]);
                    *length += here;
                    at += here;
                    if *length == HEADER {
                        let header = *kept;
                        self.begin(header)?;
                    }
                }
                State::Content { kind, left, .. } => {
                    let here = available.min(usize::from(*left));
                    let part = at..at + here;
                    match kind {
                        Kind::Stdout => {
                            bytes.copy_within(part, content);
                            content += here;
                        }
                        Kind::Stderr => {
                            let room = MAX_STDERR.saturating_sub(self.stderr.len());
                            self.stderr.extend(bytes[part].iter().take(room));
                        }
                        Kind::End { bytes: end } => {
                            let from = usize::from(END_LENGTH - *left);
                            end[from..from + here].copy_from_slice(&bytes[part]);
                        }
                    }
                    // No longer than the rest of a record.
                    *left -= here as u16;
                    at += here;
                    if *left == 0 {
                        self.end_content();
                    }
                }
                State::Padding { left } => {
                    let here = available.min(usize::from(*left));
                    *left -= here as u8;
                    at += here;
                    if *left == 0 {
                        self.end_record();
                    }
                }
                State::End => {}
            }
        }
        Ok(Decoded {
            consumed: at,
            content,
        })
    }

    fn begin(&mut self, header: [u8; HEADER]) -> Result<(), MalformedRecord> {
        let [version, kind, id, id_low, length, length_low, padding, _] = header;
        if version != VERSION {
            return Err(MalformedRecord::Version(version));
        }
        let id = u16::from_be_bytes([id, id_low]);
        if id != REQUEST_ID {
            return Err(MalformedRecord::Request(id));
        }
        let left = u16::from_be_bytes([length, length_low]);
        let kind = match kind {
            STDOUT if self.stdout_has_ended => return Err(MalformedRecord::AfterOutput),
            STDOUT => {
                self.stdout_has_ended = left == 0;
                Kind::Stdout
            }
            STDERR => Kind::Stderr,
            END_REQUEST if left == END_LENGTH => Kind::End {
                bytes: [0; END_LENGTH as usize],
            },
            END_REQUEST => return Err(MalformedRecord::EndLength(left)),
            other => return Err(MalformedRecord::Type(other)),
        };
        self.state = State::Content {
            kind,
            left,
            padding,
        };
        if left == 0 {
            self.end_content();
        }
        Ok(())
    }

    fn end_content(&mut self) {
        let State::Content { kind, padding, .. } = self.state else {
            return;
        };
        if let Kind::End { bytes } = kind {
            let [a, b, c, d, status, ..] = bytes;
            self.end = Some(End {
                app_status: u32::from_be_bytes([a, b, c, d]),
                protocol_status: match status {
                    0 => ProtocolStatus::Complete,
                    // One request at a time, and overloaded: another server may take it.
                    1 | 2 => ProtocolStatus::Refused,
                    _ => ProtocolStatus::Unknown,
                },
            });
        }
        self.state = State::Padding { left: padding };
        if padding == 0 {
            self.end_record();
        }
    }

    fn end_record(&mut self) {
        self.state = if self.end.is_some() {
            State::End
        } else {
            State::Header {
                bytes: [0; HEADER],
                length: 0,
            }
        };
    }

    /// Returns `true` if the request has ended, and its last record with it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        matches!(self.state, State::End)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(kind: u8, content: &[u8], padding: u8) -> Vec<u8> {
        let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
        let mut record = vec![1, kind, 0, 1, high, low, padding, 0];
        record.extend_from_slice(content);
        record.extend(std::iter::repeat_n(0xaa, usize::from(padding)));
        record
    }

    fn end(app: u32, status: u8) -> Vec<u8> {
        let content = [&app.to_be_bytes()[..], &[status, 0, 0, 0]].concat();
        record(3, &content, 0)
    }

    /// Output, messages and the end of a response that comes in pieces of this size.
    fn read(bytes: &[u8], size: usize) -> Result<(Vec<u8>, Decoder, usize), MalformedRecord> {
        let (mut decoder, mut output, mut consumed) = (Decoder::new(), Vec::new(), 0);
        for piece in bytes.chunks(size) {
            let mut piece = piece.to_vec();
            let decoded = decoder.decode(&mut piece)?;
            output.extend_from_slice(&piece[..decoded.content]);
            consumed += decoded.consumed;
        }
        Ok((output, decoder, consumed))
    }

    #[test]
    fn output_and_messages_are_told_apart() {
        let bytes = [
            record(6, b"out", 5),
            record(7, b"oh", 0),
            record(6, b"put", 255),
            record(6, b"", 8),
            end(255, 0),
            b"more".to_vec(),
        ]
        .concat();
        for size in 1..bytes.len() {
            let (output, decoder, consumed) = read(&bytes, size).unwrap();
            assert_eq!(output, b"output");
            assert_eq!(decoder.stderr(), b"oh");
            assert!(decoder.stdout_has_ended() && decoder.is_complete());
            let end = decoder.end().unwrap();
            assert_eq!(end.app_status, 255);
            assert_eq!(end.protocol_status, ProtocolStatus::Complete);
            assert_eq!(consumed, bytes.len() - 4);
        }
    }

    #[test]
    fn the_log_gets_no_more_than_the_start_of_the_messages() {
        let bytes = record(7, &vec![b'x'; 60_000], 0);
        assert_eq!(read(&bytes, 1000).unwrap().1.stderr().len(), 2048);
    }

    #[track_caller]
    fn check_malformed(bytes: &[u8], expected: &MalformedRecord) {
        assert_eq!(read(bytes, 5).map(|_| ()).unwrap_err(), *expected);
    }

    #[test]
    fn what_is_no_response_is_malformed() {
        use MalformedRecord as Bad;
        check_malformed(b"HTTP/1.1 200 OK\r\n\r\n", &Bad::Version(b'H'));
        check_malformed(&[1, 6, 0, 2, 0, 1, 0, 0, b'x'], &Bad::Request(2));
        check_malformed(&[1, 6, 0, 0, 0, 1, 0, 0, b'x'], &Bad::Request(0));
        check_malformed(&record(11, b"", 0), &Bad::Type(11));
        check_malformed(&record(3, b"1234567", 0), &Bad::EndLength(7));
        check_malformed(&record(3, b"", 0), &Bad::EndLength(0));
        let twice = [record(6, b"", 0), record(6, b"x", 0)].concat();
        check_malformed(&twice, &Bad::AfterOutput);
    }

    #[test]
    fn a_server_without_room_says_so() {
        for (status, expected) in [
            (1, ProtocolStatus::Refused),
            (2, ProtocolStatus::Refused),
            (3, ProtocolStatus::Unknown),
            (9, ProtocolStatus::Unknown),
        ] {
            let (_, decoder, _) = read(&end(0, status), 3).unwrap();
            assert_eq!(decoder.end().unwrap().protocol_status, expected);
        }
    }

    proptest! {
        #[test]
        fn records_are_read_whatever_their_pieces(
            parts in proptest::collection::vec(
                (any::<bool>(), proptest::collection::vec(any::<u8>(), 1..300), any::<u8>()), 0..8),
            size in 1usize..700,
        ) {
            let mut bytes = Vec::new();
            let (mut output, mut messages) = (Vec::new(), Vec::new());
            for (is_output, content, padding) in &parts {
                bytes.extend(record(if *is_output { 6 } else { 7 }, content, *padding));
                if *is_output { &mut output } else { &mut messages }.extend_from_slice(content);
            }
            bytes.extend(end(0, 0));
            messages.truncate(MAX_STDERR);
            let (read, decoder, consumed) = read(&bytes, size).unwrap();
            prop_assert_eq!(read, output);
            prop_assert_eq!(decoder.stderr(), messages);
            prop_assert_eq!(consumed, bytes.len());
            prop_assert!(decoder.is_complete());
        }

        #[test]
        fn anything_is_read_or_refused(
            bytes in proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(3), Just(6), any::<u8>()], 0..200),
            size in 1usize..40,
        ) {
            if let Ok((output, _, consumed)) = read(&bytes, size) {
                prop_assert!(output.len() + 8 <= consumed || output.is_empty());
                prop_assert!(consumed <= bytes.len());
            }
        }
    }
}
