//! Texts on a page.

use std::borrow::Cow;

/// Longest label value in bytes before escaping. Names of workers, models, projects and branches are far shorter; what
/// is longer is cut, so that a series has a bounded size.
pub const LABEL_BYTES_MAX: usize = 128;

/// A label value as it stands between the quotes: cut at [`LABEL_BYTES_MAX`], with quote, backslash and line feed
/// escaped, and characters that readers of pages split lines or stop at (all other control characters, U+2028, U+2029)
/// replaced by U+FFFD.
pub fn label_value(text: &str) -> Cow<'_, str> {
    let text = &text[..text.floor_char_boundary(LABEL_BYTES_MAX)];
    if text.bytes().all(|byte| (b' '..0x7f).contains(&byte) && byte != b'"' && byte != b'\\') {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '\u{2028}' | '\u{2029}' => escaped.push(char::REPLACEMENT_CHARACTER),
            other if other.is_control() => escaped.push(char::REPLACEMENT_CHARACTER),
            other => escaped.push(other),
        }
    }
    Cow::Owned(escaped)
}

/// A HELP text: backslash and line feed escaped, in OpenMetrics the quote as well.
pub(super) fn push_help(text: &str, quotes: bool, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'"' if quotes => out.extend_from_slice(b"\\\""),
            other => out.push(other),
        }
    }
}
