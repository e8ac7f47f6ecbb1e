//! From the bytes of `events.jsonl` to counted lines and parsed records (contracts/loki-mode.md sections 1.5 and 2.8).
//!
//! Two cursors go through the log. The one that counts lines counts as the real endpoint does: every line that is not
//! blank, ends of line being `\n`, `\r\n` and a lone `\r`; a torn last line counts at once and not again when it is
//! completed. The one that parses records waits at a torn line until it is whole. It stands at or before the other.
//!
//! What is no record:
//!
//! | found | done |
//! |---|---|
//! | a record over several lines (a raw line end in a string) | joined, up to 16 lines and 64 KiB |
//! | a torn record with another written onto it | the other is read, the torn one is a parse error |
//! | no JSON object | a parse error |
//! | no `type` and no `event`, or longer than [`RECORD_BYTES_MAX`] | skipped and counted |

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::json::{self, Loose};

/// Longest record that is read: hooks write whole tool inputs, whose content we would not send anyway.
pub(super) const RECORD_BYTES_MAX: usize = 128 * 1024;
/// A record over several lines has at most this many.
const JOINED_LINES_MAX: usize = 16;
/// ... and at most this many bytes.
const JOINED_BYTES_MAX: usize = 64 * 1024;
/// Most fields of a record that are kept.
const FIELDS_MAX: usize = 32;

/// How far the log was read, in bytes from its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Cursors {
    /// Where the next record begins.
    pub parsed: u64,
    /// Up to where lines were counted; at least `parsed`.
    pub counted: u64,
    /// The line that `counted` stands in has been counted.
    pub line_counted: bool,
    /// `parsed` stands in a line that is too long: pass over it up to its end.
    pub skipping: bool,
}

/// What was wrong with what was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Faults {
    /// Lines that are no JSON object.
    pub parse_errors: u64,
    /// Records without a type, or too long.
    pub skipped: u64,
}

/// A record of the log, whatever its envelope.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Record {
    /// `timestamp`.
    pub timestamp: String,
    /// `type`, else `event`.
    pub kind: String,
    /// The scalars of `data` or `payload` and of the envelope itself, first come first.
    pub fields: Vec<(String, Loose)>,
    /// `data` where it is a text.
    pub text: String,
}

impl Record {
    /// A field's value; the first of that name.
    pub(super) fn field(&self, name: &str) -> &Loose {
        self.fields.iter().find(|(key, _)| key == name).map_or(&Loose::Null, |(_, value)| value)
    }
}

/// What a chunk held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Lines counted.
    pub lines: u64,
    /// Faults met.
    pub faults: Faults,
    /// `take_more` said no before the chunk was read to its end.
    pub stopped: bool,
}

impl Cursors {
    /// Reads `chunk`, which begins at `self.parsed`; `at_end` says that the log ends with it. Each record goes to
    /// `take`, which answers whether it takes another.
    pub(super) fn read(
        &mut self,
        chunk: &[u8],
        at_end: bool,
        mut take: impl FnMut(Record) -> bool,
    ) -> Progress {
        let mut progress = Progress::default();
        let start = self.parsed;
        let mut rest = chunk;
        loop {
            let piece = next_piece(rest, self.skipping, at_end);
            let Some(used) = piece.used else { break };
            rest = &rest[used..];
            self.skipping = piece.skipping;
            progress.faults.parse_errors += piece.faults.parse_errors;
            progress.faults.skipped += piece.faults.skipped;
            if let Some(record) = piece.record
                && !take(record)
            {
                progress.stopped = true;
                break;
            }
        }
        let parsed = chunk.len() - rest.len();
        self.parsed = start + parsed as u64;
        let count_to = if at_end && !progress.stopped { chunk.len() } else { parsed };
        let count_from = usize::try_from(self.counted.saturating_sub(start)).unwrap_or(usize::MAX);
        if let Some(uncounted) = chunk.get(count_from..count_to) {
            let (lines, used) = count_lines(uncounted, &mut self.line_counted);
            progress.lines = lines;
            self.counted += used as u64;
        }
        self.counted = self.counted.max(self.parsed);
        progress
    }
}

/// What stands at the start of the unread bytes.
#[derive(Default)]
struct Piece {
    /// Bytes to pass over; `None`: more bytes are needed first.
    used: Option<usize>,
    record: Option<Record>,
    faults: Faults,
    skipping: bool,
}

fn next_piece(bytes: &[u8], skipping: bool, at_end: bool) -> Piece {
    let Some(line_end) = bytes.iter().position(|b| matches!(b, b'\n' | b'\r')) else {
        return unfinished_line(bytes, skipping, at_end);
    };
    let used = Some(line_end + 1);
    let line = bytes[..line_end].trim_ascii();
    if skipping || line.is_empty() || is_blank(line) {
        return Piece { used, ..Piece::default() };
    }
    if line.len() > RECORD_BYTES_MAX {
        return Piece { used, faults: Faults { skipped: 1, parse_errors: 0 }, ..Piece::default() };
    }
    if let Some(raw) = json::parse::<RawRecord>(line) {
        return whole_record(raw, line_end + 1);
    }
    match joined_record(bytes, line_end) {
        Joined::Record(raw, used) => whole_record(raw, used),
        // At the end of the log the missing lines may still come.
        Joined::NotYet => Piece::default(),
        Joined::None => {
            let record = salvaged(line).and_then(RawRecord::into_record);
            Piece { used, record, faults: Faults { parse_errors: 1, skipped: 0 }, ..Piece::default() }
        }
    }
}

fn whole_record(raw: RawRecord, used: usize) -> Piece {
    let record = raw.into_record();
    let skipped = u64::from(record.is_none());
    Piece { used: Some(used), record, faults: Faults { skipped, parse_errors: 0 }, ..Piece::default() }
}

/// Bytes without an end of line: a torn record, the rest of one that is too long, or a last line that lacks its end.
fn unfinished_line(bytes: &[u8], skipping: bool, at_end: bool) -> Piece {
    if bytes.is_empty() {
        return Piece::default();
    }
    if skipping || bytes.len() > RECORD_BYTES_MAX {
        let faults = Faults { skipped: u64::from(!skipping), parse_errors: 0 };
        return Piece { used: Some(bytes.len()), faults, skipping: true, record: None };
    }
    // A closed object is whole even without its end of line; strictly, since mending could close what is open.
    if at_end
        && bytes.ends_with(b"}")
        && let Ok(raw) = serde_json::from_slice::<RawRecord>(bytes)
    {
        return whole_record(raw, bytes.len());
    }
    Piece::default()
}

enum Joined {
    /// A record and the bytes it takes.
    Record(RawRecord, usize),
    /// It may be one when more lines are there.
    NotYet,
    /// It is none.
    None,
}

/// Tries to read a record that begins in the first line and ends in one of the next.
fn joined_record(bytes: &[u8], first_line_end: usize) -> Joined {
    let first = bytes[..first_line_end].trim_ascii();
    let open = first.starts_with(b"{") && is_open(first);
    if !open {
        return Joined::None;
    }
    let mut start = first_line_end + 1;
    for _ in 1..JOINED_LINES_MAX {
        let Some(len) = bytes[start..].iter().position(|b| matches!(b, b'\n' | b'\r')) else {
            return if bytes.len() > JOINED_BYTES_MAX { Joined::None } else { Joined::NotYet };
        };
        let end = start + len;
        if end > JOINED_BYTES_MAX {
            return Joined::None;
        }
        let line = bytes[start..end].trim_ascii();
        if line.starts_with(b"{") && json::parse::<RawRecord>(line).is_some() {
            return Joined::None;
        }
        if line.ends_with(b"}")
            && let Some(raw) = json::parse::<RawRecord>(&bytes[..end])
        {
            return Joined::Record(raw, end + 1);
        }
        start = end + 1;
    }
    Joined::None
}

/// Whether a line stops inside a string or an object, so that the next line can go on with it.
fn is_open(line: &[u8]) -> bool {
    let (mut in_string, mut escaped, mut depth) = (false, false, 0_i64);
    for byte in line {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth -= 1,
            _ => {}
        }
    }
    in_string || depth > 0
}

/// The record that was written onto a torn one.
fn salvaged(line: &[u8]) -> Option<RawRecord> {
    let start = (1..line.len()).rev().find(|at| {
        let rest = &line[*at..];
        [&b"{\"timestamp\""[..], b"{\"type\"", b"{\"event\""].iter().any(|head| rest.starts_with(head))
    })?;
    json::parse(&line[start..])
}

/// Counts the lines that begin in `bytes` and are not blank; `counted` says that the first one was. Answers them and
/// how many bytes were used: all but a cut character that decides whether its line is blank.
fn count_lines(bytes: &[u8], counted: &mut bool) -> (u64, usize) {
    let (mut lines, mut at) = (0, 0);
    while at < bytes.len() {
        if *counted {
            match bytes[at..].iter().position(|b| matches!(b, b'\n' | b'\r')) {
                Some(len) => at += len + 1,
                None => return (lines, bytes.len()),
            }
            *counted = false;
            continue;
        }
        match blank_at(&bytes[at..]) {
            Blank::Bytes(len) => at += len,
            Blank::Cut => return (lines, at),
            Blank::No => {
                lines += 1;
                *counted = true;
            }
        }
    }
    (lines, at)
}

enum Blank {
    /// A blank of this many bytes.
    Bytes(usize),
    /// The start of a character whose end is missing.
    Cut,
    No,
}

/// What Python's `str.strip` takes for blank.
fn blank_at(bytes: &[u8]) -> Blank {
    let first = bytes[0];
    if first.is_ascii() {
        return if matches!(first, b'\t'..=b'\r' | 0x1c..=0x1f | b' ') { Blank::Bytes(1) } else { Blank::No };
    }
    let head = &bytes[..bytes.len().min(4)];
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.valid_up_to() > 0 => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or("")
        }
        Err(error) if error.error_len().is_none() => return Blank::Cut,
        Err(_) => return Blank::No,
    };
    match valid.chars().next() {
        Some(c) if c.is_whitespace() => Blank::Bytes(c.len_utf8()),
        _ => Blank::No,
    }
}

fn is_blank(line: &[u8]) -> bool {
    count_lines(line, &mut false).0 == 0
}

/// A record as it stands in the log.
#[derive(Default)]
struct RawRecord {
    timestamp: Loose,
    kind: Loose,
    event: Loose,
    fields: Vec<(String, Loose)>,
    text: String,
}

impl RawRecord {
    fn into_record(self) -> Option<Record> {
        let text = |value: Loose| match value {
            Loose::Text(text) if !text.trim().is_empty() => Some(text),
            _ => None,
        };
        let kind = text(self.kind).or_else(|| text(self.event))?;
        Some(Record {
            timestamp: text(self.timestamp).unwrap_or_default(),
            kind,
            fields: self.fields,
            text: self.text,
        })
    }
}

impl<'de> Deserialize<'de> for RawRecord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Envelope;
        impl<'de> Visitor<'de> for Envelope {
            type Value = RawRecord;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawRecord, A::Error> {
                let mut record = RawRecord::default();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "timestamp" => record.timestamp = map.next_value()?,
                        "type" => record.kind = map.next_value()?,
                        "event" => record.event = map.next_value()?,
                        "data" | "payload" => match map.next_value()? {
                            Body::Fields(mut fields) => record.fields.append(&mut fields),
                            Body::Text(text) => record.text = text,
                            Body::Other => {}
                        },
                        _ => {
                            let value: Loose = map.next_value()?;
                            if record.fields.len() < FIELDS_MAX {
                                record.fields.push((key, value));
                            }
                        }
                    }
                }
                Ok(record)
            }
        }
        deserializer.deserialize_map(Envelope)
    }
}

/// `data` or `payload`.
enum Body {
    Fields(Vec<(String, Loose)>),
    Text(String),
    Other,
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Body;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_unit<E>(self) -> Result<Body, E> {
                Ok(Body::Other)
            }
            fn visit_bool<E>(self, _: bool) -> Result<Body, E> {
                Ok(Body::Other)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Body, E> {
                Ok(Body::Other)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Body, E> {
                Ok(Body::Other)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Body, E> {
                Ok(Body::Other)
            }
            fn visit_str<E>(self, text: &str) -> Result<Body, E> {
                Ok(Body::Text(text.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Body, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Body::Other)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Body, A::Error> {
                let mut fields = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, Loose>()? {
                    if fields.len() < FIELDS_MAX {
                        fields.push((key, value));
                    }
                }
                Ok(Body::Fields(fields))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(bytes: &[u8]) -> (Vec<String>, Progress, Cursors) {
        let mut cursors = Cursors::default();
        let mut kinds = Vec::new();
        let progress = cursors.read(bytes, true, |record| {
            kinds.push(record.kind);
            true
        });
        (kinds, progress, cursors)
    }

    #[test]
    fn lines_are_counted_as_python_counts_them() {
        for (text, lines) in [
            (&b""[..], 0),
            (b"\n\n{\"type\":\"a\"}\n \t\n{\"type\":\"b\"}\n", 2),
            (b"{\"type\":\"a\"}\r{\"type\":\"b\"}\r", 2),
            (b"{\"type\":\"a\"}\r\n{\"type\":\"b\"}", 2),
            (b"{\"type\":\"a\"}\n\0\0\0\n{\"type\":\"b\"}\n", 3),
            (b"a\n\xc2\xa0\n\xe3\x80\x80\x1c\nb", 2),
            (b"a\n\xff\n", 2),
            (b"a\n  torn", 2),
            (b"a\n  \xc2", 1),
        ] {
            assert_eq!(read_all(text).1.lines, lines, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn a_record_over_several_lines_is_one_record() {
        let log = b"{\"type\":\"x\",\"data\":{\"s\":\"one\n{two\n\n three\",\"n\":012}}\n{\"type\":\"y\"}\n";
        let (kinds, progress, _) = read_all(log);
        assert_eq!(kinds, ["x", "y"]);
        assert_eq!(progress, Progress { lines: 4, faults: Faults::default(), stopped: false });
    }

    #[test]
    fn a_torn_record_costs_itself_alone() {
        let log = b"{\"type\":\"a\",\"da\n{\"type\":\"b\"}\n{\"type\":\"c\",\"d{\"type\":\"d\"}\nrubbish\n{\"x\":1}\n{\"ty";
        let (kinds, progress, cursors) = read_all(log);
        assert_eq!(kinds, ["b", "d"]);
        assert_eq!(progress.lines, 6);
        assert_eq!(progress.faults, Faults { parse_errors: 3, skipped: 1 });
        assert_eq!(cursors.parsed, log.len() as u64 - 4, "the torn tail is waited for");
    }

    #[test]
    fn a_last_record_without_its_line_end_is_read_once() {
        let log = b"{\"type\":\"a\"}";
        let (kinds, progress, mut cursors) = read_all(log);
        assert_eq!((kinds.len(), progress.lines), (1, 1));
        let more = cursors.read(b"\n{\"type\":\"b\"}\n", true, |record| record.kind == "b");
        assert_eq!((more.lines, more.faults), (1, Faults::default()));
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over_in_any_number_of_chunks() {
        let mut log = b"{\"type\":\"".to_vec();
        log.resize(3 * RECORD_BYTES_MAX, b'x');
        log.extend_from_slice(b"\"}\n{\"type\":\"after\"}\n");
        let mut cursors = Cursors::default();
        let (mut kinds, mut lines, mut skipped) = (Vec::new(), 0, 0);
        for _ in 0..10 {
            let from = cursors.parsed as usize;
            let to = log.len().min(from + RECORD_BYTES_MAX + 100);
            let progress = cursors.read(&log[from..to], to == log.len(), |record| {
                kinds.push(record.kind);
                true
            });
            lines += progress.lines;
            skipped += progress.faults.skipped;
        }
        assert_eq!((kinds, lines, skipped), (vec!["after".to_owned()], 2, 1));
    }
}
