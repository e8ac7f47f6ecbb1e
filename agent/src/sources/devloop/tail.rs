//! Following a file that grows by lines, over truncation, replacement and rewriting.
//!
//! A tail is an offset, the file it belongs to, and a hash of the bytes just before the offset. While those bytes are
//! the same, everything before them has been read, even when the file is another one with the same content. When they
//! are not, the file was rewritten, and it is read again from its start; the reader is told, and leaves out what it
//! already counted. A last line without its end stays unread until its end comes. Lines over [`LINE_BYTES_MAX`] are
//! passed over and counted.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use super::seen::RowId;
use super::stamp::Stamp;

/// Bytes of one read: even of the shortest lines that makes fewer facts than a batch holds.
const READ_BYTES_MAX: u64 = 128 * 1024;
/// Longest line that is read. Lines of 73 KB are usual.
const LINE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Bytes before the offset by which it is recognised.
const ANCHOR_BYTES: u64 = 64;

/// How far a file has been read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::sources) struct TailCursor {
    /// Everything before it has been read; always the start of a line, unless `inside_long_line`.
    pub offset: u64,
    /// Hash of the bytes just before it.
    pub anchor: u64,
    /// The rest of a line that is too long follows.
    pub inside_long_line: bool,
}

/// What is new in a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::sources) struct Piece {
    /// Whole lines.
    pub bytes: Vec<u8>,
    /// The file was rewritten and `bytes` are from its start.
    pub rewritten: bool,
    /// There is more to read.
    pub more: bool,
    /// Lines that were too long.
    pub skipped: u64,
}

/// Follows one file.
#[derive(Debug, Default)]
pub(in crate::sources) struct Tail {
    done_with: Option<Stamp>,
    failing: bool,
}

impl Tail {
    /// Reads what is new at `path`; `None` when nothing is. `look_closer`: trust no unchanged time. A lasting error is
    /// an error once.
    pub(in crate::sources) fn read(
        &mut self,
        path: &Path,
        cursor: &mut TailCursor,
        look_closer: bool,
    ) -> io::Result<Option<Piece>> {
        let read = self.read_on(path, cursor, look_closer);
        let was_failing = std::mem::replace(&mut self.failing, read.is_err());
        if was_failing && read.is_err() { Ok(None) } else { read }
    }

    fn read_on(
        &mut self,
        path: &Path,
        cursor: &mut TailCursor,
        look_closer: bool,
    ) -> io::Result<Option<Piece>> {
        let Some(stamp) = Stamp::of(path)? else {
            self.done_with = None;
            return Ok(None);
        };
        if self.done_with == Some(stamp) && !look_closer {
            return Ok(None);
        }
        let mut file = File::open(path)?;
        let mut piece = Piece::default();
        if !is_at(&mut file, cursor, stamp.bytes)? {
            *cursor = TailCursor::default();
            piece.rewritten = true;
        }
        let available = stamp.bytes.saturating_sub(cursor.offset);
        let mut bytes = read_at(&mut file, cursor.offset, available.min(READ_BYTES_MAX))?;
        if available > READ_BYTES_MAX && !bytes.contains(&b'\n') {
            bytes = read_at(&mut file, cursor.offset, available.min(LINE_BYTES_MAX))?;
        }
        let taken = take_lines(&mut bytes, cursor, &mut piece);
        cursor.offset += taken;
        cursor.anchor = anchor(&mut file, cursor.offset)?;
        piece.more = taken > 0 && cursor.offset < stamp.bytes;
        piece.bytes = bytes;
        if !piece.more {
            self.done_with = Some(stamp);
        }
        Ok(Some(piece))
    }
}

impl Tail {
    /// Whether the cursor's place is in the file at `path`: everything before it has been read there.
    pub(in crate::sources) fn holds(path: &Path, cursor: &TailCursor) -> bool {
        let Ok(Some(stamp)) = Stamp::of(path) else { return false };
        File::open(path).and_then(|mut file| is_at(&mut file, cursor, stamp.bytes)).unwrap_or(false)
    }

    /// The cursor with the anchor of its place in the file as it is now.
    pub(in crate::sources) fn anchored(path: &Path, cursor: TailCursor) -> io::Result<TailCursor> {
        Ok(TailCursor { anchor: anchor(&mut File::open(path)?, cursor.offset)?, ..cursor })
    }
}

/// Leaves whole lines in `bytes`; answers how many bytes are done with.
fn take_lines(bytes: &mut Vec<u8>, cursor: &mut TailCursor, piece: &mut Piece) -> u64 {
    let read = bytes.len() as u64;
    if cursor.inside_long_line {
        match bytes.iter().position(|&byte| byte == b'\n') {
            Some(end) => drop(bytes.drain(..=end)),
            None => {
                bytes.clear();
                return read;
            }
        }
        cursor.inside_long_line = false;
    }
    let before = read - bytes.len() as u64;
    match bytes.iter().rposition(|&byte| byte == b'\n') {
        Some(end) => bytes.truncate(end + 1),
        None if bytes.len() as u64 >= LINE_BYTES_MAX => {
            bytes.clear();
            cursor.inside_long_line = true;
            piece.skipped += 1;
            return read;
        }
        None => bytes.clear(),
    }
    before + bytes.len() as u64
}

/// Whether the cursor's place is still in the file.
fn is_at(file: &mut File, cursor: &TailCursor, size: u64) -> io::Result<bool> {
    Ok(cursor.offset == 0 || (cursor.offset <= size && anchor(file, cursor.offset)? == cursor.anchor))
}

fn anchor(file: &mut File, offset: u64) -> io::Result<u64> {
    let start = offset.saturating_sub(ANCHOR_BYTES);
    Ok(RowId::of(&read_at(file, start, offset - start)?).0)
}

/// Up to `count` bytes at `offset`.
pub(in crate::sources) fn read_at(file: &mut File, offset: u64, count: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(count).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file_with(content: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(content).expect("write");
        file
    }

    fn lines(tail: &mut Tail, path: &Path, cursor: &mut TailCursor) -> (String, bool) {
        let piece = tail.read(path, cursor, true).expect("read").unwrap_or_default();
        (String::from_utf8_lossy(&piece.bytes).into_owned(), piece.rewritten)
    }

    #[test]
    fn a_line_without_its_end_waits_for_it() {
        let mut file = file_with(b"one\ntw");
        let (mut tail, mut cursor) = (Tail::default(), TailCursor::default());
        assert_eq!(lines(&mut tail, file.path(), &mut cursor).0, "one\n");
        assert_eq!(lines(&mut tail, file.path(), &mut cursor).0, "");
        file.write_all(b"o\n").expect("write");
        assert_eq!(lines(&mut tail, file.path(), &mut cursor), ("two\n".into(), false));
    }

    #[test]
    fn a_file_that_was_replaced_by_its_own_content_goes_on_and_another_one_begins_anew() {
        let (mut tail, mut cursor) = (Tail::default(), TailCursor::default());
        lines(&mut tail, file_with(b"one\ntwo\n").path(), &mut cursor);
        let longer = file_with(b"one\ntwo\nthree\n");
        assert_eq!(lines(&mut tail, longer.path(), &mut cursor), ("three\n".into(), false));
        let other = file_with(b"1\n2\n3\n4\n5\n6\n7\n8\n");
        assert!(lines(&mut tail, other.path(), &mut cursor).1);
        let truncated = file_with(b"");
        assert_eq!(lines(&mut tail, truncated.path(), &mut cursor), (String::new(), true));
    }

    #[test]
    fn an_endless_line_costs_only_itself() {
        let mut content = vec![b'x'; 2 * LINE_BYTES_MAX as usize + 77];
        content.extend_from_slice(b"\nshort\n");
        let file = file_with(&content);
        let (mut tail, mut cursor) = (Tail::default(), TailCursor::default());
        let (mut read, mut skipped) = (Vec::new(), 0);
        loop {
            let piece = tail.read(file.path(), &mut cursor, true).expect("read").expect("a piece");
            read.extend_from_slice(&piece.bytes);
            skipped += piece.skipped;
            if !piece.more {
                break;
            }
        }
        assert_eq!(read, b"short\n");
        assert_eq!(skipped, 1);
    }
}
