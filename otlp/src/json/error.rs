//! What is wrong with a JSON body, and where. None of it repeats the payload: places are named by known field
//! names and numbers, what was found by its kind.

use std::fmt;

/// A body that is not an OTLP/JSON request: it will never be one, so its sender must not repeat it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError {
    /// Line of the fault, from 1.
    pub line: usize,
    /// Column of the fault in characters, from 1.
    pub column: usize,
    /// The field at fault, like `resourceSpans[0].scopeSpans[2].spans[10].traceId`; empty at the top.
    pub path: String,
    /// What is wrong.
    pub reason: Reason,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)?;
        if !self.path.is_empty() {
            write!(f, ", {}", self.path)?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl std::error::Error for JsonError {}

/// What is wrong with a JSON body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// No JSON at all.
    #[error("the body is empty; a request without items is {{}}")]
    Empty,
    /// Not text.
    #[error("the body is not UTF-8")]
    NotUtf8,
    /// Three bytes that JSON does not allow.
    #[error("the body begins with a byte order mark; send UTF-8 without one")]
    ByteOrderMark,
    /// More than one JSON value.
    #[error("text follows the end of the request")]
    TrailingText,
    /// JSON of the wrong kind, or no JSON.
    #[error("expected {expected}, found {found}")]
    Unexpected {
        /// What the field takes.
        expected: &'static str,
        /// What is there.
        found: Found,
    },
    /// `NaN` or `Infinity` as a bare word.
    #[error("NaN, Infinity and -Infinity are strings in JSON, in quotation marks")]
    BareNotANumber,
    /// A name where OTLP wants an enum's number.
    #[error("enums are written as their numbers in OTLP/JSON, not as names")]
    EnumName,
    /// A string that is no number.
    #[error("expected {expected}, found a string that is not one")]
    NotANumber {
        /// What the field takes.
        expected: &'static str,
    },
    /// A fraction where a whole number belongs.
    #[error("expected {expected}, found a number with a fraction")]
    Fraction {
        /// What the field takes.
        expected: &'static str,
    },
    /// A number too large or too small.
    #[error("the number is out of the range of {expected}")]
    OutOfRange {
        /// What the field takes.
        expected: &'static str,
    },
    /// An id of the wrong length.
    #[error(
        "expected {digits} hexadecimal digits (ids are hex in OTLP/JSON, not base64) or an empty string, found {found} bytes"
    )]
    IdLength {
        /// How many digits the id has.
        digits: usize,
        /// How many bytes of text were there.
        found: usize,
    },
    /// An id with a character that is no hexadecimal digit.
    #[error("expected {digits} hexadecimal digits, found another character among them")]
    IdDigit {
        /// How many digits the id has.
        digits: usize,
    },
    /// Bytes that are not base64.
    #[error("expected base64, standard or URL-safe")]
    NotBase64,
    /// A key of one object that is there again.
    #[error("the field is given twice in one object")]
    GivenTwice,
    /// Two members of a oneof.
    #[error("the object has {first} already, and can have only one of the two")]
    OneofTwice {
        /// The member that came first.
        first: &'static str,
    },
    /// `null` in an array.
    #[error("null is not an element; leave it out")]
    NullElement,
    /// Messages in messages, or unknown values in values, beyond the limit.
    #[error("nested deeper than {levels} levels")]
    TooDeep {
        /// The limit.
        levels: u32,
    },
    /// A backslash and something that JSON does not know.
    #[error("unknown escape in a string")]
    Escape,
    /// A raw control character, such as a line end, in a string.
    #[error("a control character in a string must be escaped")]
    ControlCharacter,
}

/// What is there instead: a kind, never a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// `{`
    Object,
    /// `[`
    Array,
    /// `"`
    String,
    /// A digit or a minus.
    Number,
    /// `true` or `false`.
    Bool,
    /// `null`
    Null,
    /// One of `,:]}`.
    Punctuation(char),
    /// No more text.
    End,
    /// Anything else.
    Other,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Found::Object => "an object",
            Found::Array => "an array",
            Found::String => "a string",
            Found::Number => "a number",
            Found::Bool => "true or false",
            Found::Null => "null",
            Found::Punctuation(sign) => return write!(f, "'{sign}'"),
            Found::End => "the end of the body",
            Found::Other => "something that is not JSON",
        })
    }
}

/// A fault on its way up: the path grows from its end as the readers return, at no cost to a good body.
#[derive(Debug)]
pub(super) struct Fault(Box<Inner>);

#[derive(Debug)]
struct Inner {
    offset: usize,
    reason: Reason,
    steps: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    Field(&'static str),
    Index(usize),
}

impl Fault {
    /// A fault at a byte of the text.
    pub fn new(offset: usize, reason: Reason) -> Self {
        Fault(Box::new(Inner { offset, reason, steps: Vec::new() }))
    }

    /// What is wrong.
    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    /// The same, within a field.
    pub fn in_field(mut self, name: &'static str) -> Self {
        self.0.steps.push(Step::Field(name));
        self
    }

    /// The same, within an element of an array.
    pub fn in_element(mut self, index: usize) -> Self {
        self.0.steps.push(Step::Index(index));
        self
    }

    /// The error for the sender; `text` is the body it was found in.
    pub fn locate(self, text: &[u8]) -> JsonError {
        let before = &text[..self.0.offset.min(text.len())];
        let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        // A character is counted by its first byte.
        let column = 1 + before[line_start..].iter().filter(|&&byte| byte & 0xc0 != 0x80).count();
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        let mut path = String::new();
        for step in self.0.steps.iter().rev() {
            match step {
                Step::Field(name) if path.is_empty() => path.push_str(name),
                Step::Field(name) => path.extend([".", name]),
                Step::Index(index) => path.push_str(&format!("[{index}]")),
            }
        }
        JsonError { line, column, path, reason: self.0.reason }
    }
}
