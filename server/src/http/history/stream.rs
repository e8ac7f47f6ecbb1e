//! Rows as they come: a thread scans and writes, the connection sends. What is between them is bounded, so that a slow
//! reader slows the scan; one that takes nothing for a minute (`[history] reader_stall_seconds`) loses it.
//!
//! A stream that does not come to its end, whatever the reason, is cut: its last chunk is missing, and every HTTP client sees it. What the reader must know
//! of a whole one (files that could not be read) is in the trailer [`NOTICES`], as a JSON array, for who sends `TE: trailers`.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use history::format::{Format, FormatError, Layout, RowWriter};
use http_body_util::StreamBody;
use hyper::body::Frame;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};

use super::Rows;
use super::turns::Turn;

/// Name of the trailer.
pub(super) const NOTICES: &str = "muster-notices";
/// Longest trailer: a head is 64 KiB at most.
const NOTICES_BYTES_MAX: usize = 16 << 10;
/// Chunks between the scan and the connection.
const CHUNKS_AHEAD_MAX: usize = 4;
/// Bytes of a chunk, about.
const CHUNK_BYTES: usize = 128 << 10;
type Chunk = Result<Frame<Bytes>, io::Error>;

/// Both ends of a stream. Who takes nothing for `stall` has gone.
pub(super) fn pipe(stall: Duration) -> (Chunks, Body) {
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD_MAX);
    let is_whole = Arc::new(AtomicBool::new(false));
    let body = Body::new(StreamBody::new(ReceiverStream::new(receiver).chain(cut_unless(is_whole.clone()))));
    let gathered = Vec::with_capacity(CHUNK_BYTES);
    (Chunks { sender, runtime: Handle::current(), stall, gathered, is_whole }, body)
}

/// What comes after the last chunk: nothing if the writer came to its end, else an error, which cuts the answer. A writer
/// that gave up on a reader, or panicked, has no other way to say so.
fn cut_unless(is_whole: Arc<AtomicBool>) -> impl Stream<Item = Chunk> {
    let mut is_told = false;
    tokio_stream::iter(std::iter::from_fn(move || {
        let is_cut = !is_whole.load(Ordering::Acquire) && !std::mem::replace(&mut is_told, true);
        is_cut.then(|| Err(io::Error::other("the rows are not whole")))
    }))
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
    _turn: Turn,
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
        Ok(()) => {}
        Err(Copying::ReaderGone) => {
            tracing::debug!(%format, data_set = %layout.data_set, "a reader of history has gone, or took nothing for too long");
        }
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
    stall: Duration,
    gathered: Vec<u8>,
    is_whole: Arc<AtomicBool>,
}

/// Ends a stream so that its reader sees that it is not whole.
pub(super) struct Cutter(mpsc::Sender<Chunk>, Handle, Duration);

impl Chunks {
    fn cutter(&self) -> Cutter {
        Cutter(self.sender.clone(), self.runtime.clone(), self.stall)
    }

    fn send(&self, frame: Frame<Bytes>) -> io::Result<()> {
        let sent = self.runtime.block_on(self.sender.send_timeout(Ok(frame), self.stall));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }

    pub(super) fn finish(&mut self, notices: &[String]) -> io::Result<()> {
        self.flush()?;
        if !notices.is_empty() {
            self.tell(notices)?;
        }
        self.is_whole.store(true, Ordering::Release);
        Ok(())
    }

    fn tell(&self, notices: &[String]) -> io::Result<()> {
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
        let _ = self.1.block_on(self.0.send_timeout(Err(io::Error::other(why)), self.2));
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

    #[tokio::test(flavor = "multi_thread")]
    async fn a_stream_whose_writer_gave_up_ends_in_an_error_and_a_whole_one_does_not() {
        for is_whole in [true, false] {
            let (mut chunks, body) = pipe(Duration::from_secs(60));
            let writing = tokio::task::spawn_blocking(move || {
                chunks.write_all(b"a row").unwrap();
                chunks.flush().unwrap();
                if is_whole {
                    chunks.finish(&[]).unwrap();
                }
            });
            let read = axum::body::to_bytes(body, usize::MAX).await;
            writing.await.unwrap();
            assert_eq!(read.is_ok(), is_whole, "{read:?}");
        }
    }

    #[test]
    fn what_is_escaped_reads_back_as_it_was() {
        let told = ["naïve 🎉", "a\"b"];
        let escaped = ascii(&serde_json::json!(told).to_string());
        assert!(escaped.is_ascii());
        assert_eq!(serde_json::from_str::<Vec<String>>(&escaped).expect("JSON"), told);
    }
}
