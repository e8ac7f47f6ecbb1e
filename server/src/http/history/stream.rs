//! Rows as they come: a thread scans and writes, the connection sends. What is between them is bounded, so that a slow
//! reader slows the scan; one that takes nothing for a minute loses it.
//!
//! A stream that fails in the middle is cut: its last chunk is missing, and every HTTP client sees it. What the reader must know
//! of a whole one (files that could not be read) is in the trailer [`NOTICES`], as a JSON array, for who sends `TE: trailers`.

use std::io::{self, Write};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use history::format::{Format, FormatError, Layout, RowWriter};
use http_body_util::StreamBody;
use hyper::body::Frame;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

use super::Rows;

/// Name of the trailer.
pub(super) const NOTICES: &str = "muster-notices";
/// Longest trailer: a head is 64 KiB at most.
const NOTICES_BYTES_MAX: usize = 16 << 10;
/// Chunks between the scan and the connection.
const CHUNKS_AHEAD_MAX: usize = 4;
/// Bytes of a chunk, about.
const CHUNK_BYTES: usize = 128 << 10;
/// Who takes nothing for so long has gone.
const TAKES_NOTHING_MAX: Duration = Duration::from_secs(60);

type Chunk = Result<Frame<Bytes>, io::Error>;

/// Both ends of a stream.
pub(super) fn pipe() -> (Chunks, Body) {
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD_MAX);
    let body = Body::new(StreamBody::new(ReceiverStream::new(receiver)));
    (Chunks { sender, runtime: Handle::current(), gathered: Vec::with_capacity(CHUNK_BYTES) }, body)
}

/// An answer that streams.
pub(super) fn response(format: Format, body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::TRAILER, HeaderValue::from_static(NOTICES));
    response
}

/// Writes all rows. Blocks; ends early when nobody reads or the collector stops.
pub(super) fn copy(
    mut rows: Rows,
    (format, layout): (Format, Layout),
    chunks: Chunks,
    stop: &watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
) {
    let cutter = chunks.cutter();
    let copied = (|| -> Result<(), Copying> {
        let mut writer = RowWriter::new(format, layout, chunks)?;
        for batch in rows.by_ref() {
            writer.write(&batch.map_err(|error| Copying::Failed(error.to_string()))?)?;
            if *stop.borrow() {
                return Err(Copying::Failed("the collector stops".to_owned()));
            }
        }
        let mut chunks = writer.finish()?;
        chunks.finish(&rows.notices())?;
        Ok(())
    })();
    match copied {
        Ok(()) | Err(Copying::ReaderGone) => {}
        Err(Copying::Failed(why)) => {
            tracing::warn!(why, %format, data_set = %layout.data_set, "a stream of history was cut");
            cutter.cut(why);
        }
    }
}

enum Copying {
    ReaderGone,
    Failed(String),
}

impl From<FormatError> for Copying {
    fn from(error: FormatError) -> Self {
        match error {
            FormatError::Io(_) => Self::ReaderGone,
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<io::Error> for Copying {
    fn from(_: io::Error) -> Self {
        Self::ReaderGone
    }
}

/// Gathers what is written into chunks.
pub(super) struct Chunks {
    sender: mpsc::Sender<Chunk>,
    runtime: Handle,
    gathered: Vec<u8>,
}

/// Ends a stream so that its reader sees that it is not whole.
pub(super) struct Cutter(mpsc::Sender<Chunk>, Handle);

impl Chunks {
    fn cutter(&self) -> Cutter {
        Cutter(self.sender.clone(), self.runtime.clone())
    }

    fn send(&self, frame: Frame<Bytes>) -> io::Result<()> {
        let sent = self.runtime.block_on(self.sender.send_timeout(Ok(frame), TAKES_NOTHING_MAX));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }

    pub(super) fn finish(&mut self, notices: &[String]) -> io::Result<()> {
        self.flush()?;
        if notices.is_empty() {
            return Ok(());
        }
        let mut notices = notices.to_vec();
        // ASCII alone: other characters are escaped, as JSON may.
        let told = loop {
            let told = ascii(&serde_json::json!(notices).to_string());
            if told.len() <= NOTICES_BYTES_MAX || notices.pop().is_none() {
                break told;
            }
        };
        let Ok(value) = HeaderValue::try_from(told) else { return Ok(()) };
        self.send(Frame::trailers(HeaderMap::from_iter([(NOTICES_NAME, value)])))
    }
}

const NOTICES_NAME: header::HeaderName = header::HeaderName::from_static(NOTICES);

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.gathered, Vec::with_capacity(CHUNK_BYTES));
        self.send(Frame::data(Bytes::from(chunk)))
    }
}

impl Cutter {
    fn cut(self, why: String) {
        // Who has gone needs no word.
        let _ = self.1.block_on(self.0.send_timeout(Err(io::Error::other(why)), TAKES_NOTHING_MAX));
    }
}

/// JSON with everything but ASCII escaped.
fn ascii(json: &str) -> String {
    use std::fmt::Write;
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii() {
            escaped.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to memory cannot fail.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_escaped_reads_back_as_it_was() {
        let told = ["naïve 🎉", "a\"b"];
        let escaped = ascii(&serde_json::json!(told).to_string());
        assert!(escaped.is_ascii());
        assert_eq!(serde_json::from_str::<Vec<String>>(&escaped).expect("JSON"), told);
    }
}
