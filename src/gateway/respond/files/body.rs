//! Body of a response from a file, which is read as the client takes it.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use pingora::{Error, ErrorType, Result};

use super::{PIECE, off_worker};
use crate::gateway::compression::Encoder;

/// Body of a response from a file.
pub struct FileBody {
    file: Arc<File>,
    /// Whole content of a small file.
    first: Option<Bytes>,
    /// Segments that are still to be sent.
    segments: Segments,
    encoder: Option<Box<Encoder>>,
}

/// Segments of a body in their order, none of which is empty.
#[derive(Debug, Default)]
pub struct Segments(VecDeque<Segment>);

#[derive(Debug)]
enum Segment {
    Text(Bytes),
    /// Bytes of the file.
    File(Range<u64>),
}

impl Segments {
    /// Adds bytes of the file, if there are any.
    pub fn push_file(&mut self, range: Range<u64>) {
        if !range.is_empty() {
            self.0.push_back(Segment::File(range));
        }
    }

    /// Adds text, which is not empty.
    pub fn push_text(&mut self, text: Bytes) {
        self.0.push_back(Segment::Text(text));
    }

    /// Number of bytes.
    pub fn length(&self) -> u64 {
        let lengths = self.0.iter().map(|segment| match segment {
            Segment::Text(text) => text.len() as u64,
            Segment::File(range) => range.end - range.start,
        });
        lengths.sum()
    }
}

impl FileBody {
    /// A body of segments. `first` is the whole content of a small file.
    pub fn new(
        file: File,
        first: Option<Bytes>,
        segments: Segments,
        encoder: Option<Box<Encoder>>,
    ) -> Self {
        FileBody {
            file: Arc::new(file),
            first,
            segments,
            encoder,
        }
    }

    /// Returns `true` if nothing of the body is left.
    pub fn is_empty(&self) -> bool {
        self.segments.0.is_empty()
    }

    /// Returns the next piece of the body. It may be empty while an encoder waits for more input.
    ///
    /// # Errors
    /// If the file has become shorter, or cannot be read.
    pub async fn next(&mut self) -> Result<Bytes> {
        let piece = match self.segments.0.front_mut() {
            None => Bytes::new(),
            Some(Segment::Text(text)) => {
                let text = std::mem::take(text);
                self.segments.0.pop_front();
                text
            }
            Some(Segment::File(range)) => {
                let piece = match &self.first {
                    Some(all) => all.slice(range.start as usize..range.end as usize),
                    None => read_piece(&self.file, range.start, length_of(range)).await?,
                };
                range.start += piece.len() as u64;
                if range.is_empty() {
                    self.segments.0.pop_front();
                }
                piece
            }
        };
        let is_last = self.is_empty();
        match &mut self.encoder {
            Some(encoder) => encoder.encode(&piece, is_last),
            None => Ok(piece),
        }
    }
}

fn length_of(range: &Range<u64>) -> usize {
    (range.end - range.start).min(PIECE) as usize
}

/// Reads a piece of a file. If the file was truncated meanwhile, the announced length cannot be
/// sent, so the response is aborted.
async fn read_piece(file: &Arc<File>, offset: u64, length: usize) -> Result<Bytes> {
    let file = Arc::clone(file);
    let read = move || -> io::Result<Bytes> {
        let mut piece = vec![0; length];
        file.read_exact_at(&mut piece, offset)?;
        Ok(piece.into())
    };
    let piece = off_worker(read).await?;
    piece.map_err(|error| Error::because(ErrorType::InternalError, "reading a file", error))
}
