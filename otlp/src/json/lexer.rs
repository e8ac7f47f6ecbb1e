//! JSON text, one token after the other (RFC 8259), without building anything.
//!
//! Strict but for one thing: half a surrogate pair (`"\ud83d"`), which JavaScript writes when it cuts a string in the
//! middle of a character, is read as U+FFFD, because refusing it would lose a whole request for one letter.

use std::borrow::Cow;

use super::error::{Fault, Found, Reason};

/// Values in values that are skipped, at most.
const SKIPPED_LEVELS_MAX: u32 = 100;

/// A place in a JSON text.
pub(super) struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lexer<'t> {
    /// At the start of a text.
    pub fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    /// Byte offset of the next token.
    pub fn next_offset(&mut self) -> usize {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte() {
            self.at += 1;
        }
        self.at
    }

    /// What comes next, by its first character.
    pub fn peek(&mut self) -> Found {
        self.next_offset();
        match self.byte() {
            None => Found::End,
            Some(b'{') => Found::Object,
            Some(b'[') => Found::Array,
            Some(b'"') => Found::String,
            Some(b'-' | b'0'..=b'9') => Found::Number,
            Some(b't' | b'f') => Found::Bool,
            Some(b'n') => Found::Null,
            Some(sign @ (b',' | b':' | b']' | b'}')) => Found::Punctuation(char::from(sign)),
            Some(_) => Found::Other,
        }
    }

    /// The error for what comes next, where `expected` should.
    pub fn unexpected(&mut self, expected: &'static str) -> Fault {
        let found = self.peek();
        let rest = &self.text.as_bytes()[self.at..];
        if [&b"NaN"[..], b"Infinity", b"-Infinity"].iter().any(|word| rest.starts_with(word)) {
            return Fault::new(self.at, Reason::BareNotANumber);
        }
        Fault::new(self.at, Reason::Unexpected { expected, found })
    }

    /// Takes the `{` of an object.
    pub fn open_object(&mut self, expected: &'static str) -> Result<(), Fault> {
        self.open(Found::Object, expected)
    }

    /// Takes the `[` of an array.
    pub fn open_array(&mut self, expected: &'static str) -> Result<(), Fault> {
        self.open(Found::Array, expected)
    }

    fn open(&mut self, wanted: Found, expected: &'static str) -> Result<(), Fault> {
        if self.peek() != wanted {
            return Err(self.unexpected(expected));
        }
        self.at += 1;
        Ok(())
    }

    /// The next key of the open object and its colon, or nothing at its end. `first` is true for a new object.
    pub fn key(&mut self, first: &mut bool) -> Result<Option<Key<'t>>, Fault> {
        match self.peek() {
            Found::Punctuation('}') => {
                self.at += 1;
                return Ok(None);
            }
            Found::Punctuation(',') if !*first => {
                self.at += 1;
                if self.peek() != Found::String {
                    return Err(self.unexpected("a key"));
                }
            }
            Found::String if *first => {}
            _ if *first => return Err(self.unexpected("a key or '}'")),
            _ => return Err(self.unexpected("',' or '}'")),
        }
        *first = false;
        let offset = self.at;
        let name = self.string()?;
        if self.peek() != Found::Punctuation(':') {
            return Err(self.unexpected("':'"));
        }
        self.at += 1;
        Ok(Some(Key { offset, name }))
    }

    /// Whether the open array has another element, which then comes next. `first` is true for a new array.
    pub fn element(&mut self, first: &mut bool) -> Result<bool, Fault> {
        match self.peek() {
            Found::Punctuation(']') => {
                self.at += 1;
                return Ok(false);
            }
            Found::Punctuation(',') if !*first => {
                self.at += 1;
                if let Found::Punctuation(_) = self.peek() {
                    return Err(self.unexpected("an element"));
                }
            }
            _ if *first => {}
            _ => return Err(self.unexpected("',' or ']'")),
        }
        *first = false;
        Ok(true)
    }

    /// Takes `null`, if it comes next.
    pub fn null(&mut self) -> Result<bool, Fault> {
        if self.peek() != Found::Null {
            return Ok(false);
        }
        self.word("null")?;
        Ok(true)
    }

    /// Takes `true` or `false`.
    pub fn bool(&mut self) -> Result<bool, Fault> {
        match self.peek() {
            Found::Bool if self.byte() == Some(b't') => self.word("true").map(|()| true),
            Found::Bool => self.word("false").map(|()| false),
            _ => Err(self.unexpected("true or false")),
        }
    }

    fn word(&mut self, word: &'static str) -> Result<(), Fault> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            let reason = Reason::Unexpected { expected: "a value", found: Found::Other };
            return Err(Fault::new(self.at, reason));
        }
        self.at += word.len();
        Ok(())
    }

    /// Takes a number as it is written.
    pub fn number(&mut self) -> Result<&'t str, Fault> {
        if self.peek() != Found::Number {
            return Err(self.unexpected("a number"));
        }
        match number_length(&self.text.as_bytes()[self.at..]) {
            Some(length) => {
                let number = &self.text[self.at..self.at + length];
                self.at += length;
                Ok(number)
            }
            None => {
                let fault = self.unexpected("a number");
                match fault.reason() {
                    Reason::BareNotANumber => Err(fault),
                    _ => Err(Fault::new(
                        self.at,
                        Reason::Unexpected { expected: "a number", found: Found::Other },
                    )),
                }
            }
        }
    }

    /// Takes a string.
    pub fn string(&mut self) -> Result<Cow<'t, str>, Fault> {
        if self.peek() != Found::String {
            return Err(self.unexpected("a string"));
        }
        self.at += 1;
        let mut unescaped: Option<String> = None;
        loop {
            let start = self.at;
            let rest = &self.text.as_bytes()[start..];
            let plain = rest.iter().position(|&byte| byte == b'"' || byte == b'\\' || byte < 0x20);
            let Some(plain) = plain else {
                self.at = self.text.len();
                return Err(self.unexpected("the end of a string"));
            };
            // Both ends are at ASCII characters: never within a character.
            let run = &self.text[start..start + plain];
            self.at += plain;
            match rest[plain] {
                b'"' => {
                    self.at += 1;
                    return Ok(match unescaped {
                        None => Cow::Borrowed(run),
                        Some(mut text) => {
                            text.push_str(run);
                            Cow::Owned(text)
                        }
                    });
                }
                b'\\' => {
                    let text = unescaped.get_or_insert_default();
                    text.push_str(run);
                    let character = self.escape()?;
                    text.push(character);
                }
                _ => return Err(Fault::new(self.at, Reason::ControlCharacter)),
            }
        }
    }

    /// Takes an escape, from its backslash on.
    fn escape(&mut self) -> Result<char, Fault> {
        let start = self.at;
        self.at += 1;
        let sign = self.byte();
        self.at += 1;
        Ok(match sign {
            Some(sign @ (b'"' | b'\\' | b'/')) => char::from(sign),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.code_point().ok_or_else(|| Fault::new(start, Reason::Escape)),
            _ => return Err(Fault::new(start, Reason::Escape)),
        })
    }

    /// Takes the digits after `\u`, and those of the second half of a pair.
    fn code_point(&mut self) -> Option<char> {
        let first = self.four_digits()?;
        if let Some(character) = char::from_u32(first) {
            return Some(character);
        }
        let after_first = self.at;
        if first < 0xdc00 && self.text.as_bytes()[self.at..].starts_with(b"\\u") {
            self.at += 2;
            let second = self.four_digits()?;
            if (0xdc00..0xe000).contains(&second) {
                return char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00));
            }
        }
        // The other half is missing. What follows is an escape of its own.
        self.at = after_first;
        Some(char::REPLACEMENT_CHARACTER)
    }

    fn four_digits(&mut self) -> Option<u32> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4)?;
        self.at += 4;
        digits.iter().try_fold(0, |value, &digit| Some(value << 4 | char::from(digit).to_digit(16)?))
    }

    /// Takes any value, and checks that it is JSON.
    pub fn skip(&mut self) -> Result<(), Fault> {
        self.skip_within(SKIPPED_LEVELS_MAX)
    }

    fn skip_within(&mut self, levels: u32) -> Result<(), Fault> {
        let found = self.peek();
        if levels == 0 && matches!(found, Found::Object | Found::Array) {
            return Err(Fault::new(self.at, Reason::TooDeep { levels: SKIPPED_LEVELS_MAX }));
        }
        let mut first = true;
        match found {
            Found::Object => {
                self.at += 1;
                while self.key(&mut first)?.is_some() {
                    self.skip_within(levels - 1)?;
                }
            }
            Found::Array => {
                self.at += 1;
                while self.element(&mut first)? {
                    self.skip_within(levels - 1)?;
                }
            }
            Found::String => drop(self.string()?),
            Found::Number => drop(self.number()?),
            Found::Bool => drop(self.bool()?),
            Found::Null => drop(self.null()?),
            Found::Punctuation(_) | Found::End | Found::Other => return Err(self.unexpected("a value")),
        }
        Ok(())
    }

    /// Nothing may follow.
    pub fn finish(&mut self) -> Result<(), Fault> {
        match self.peek() {
            Found::End => Ok(()),
            _ => Err(Fault::new(self.at, Reason::TrailingText)),
        }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

/// A key of an object.
pub(super) struct Key<'t> {
    /// Where it begins.
    pub offset: usize,
    /// Its text.
    pub name: Cow<'t, str>,
}

/// How many bytes at the start of `text` are a number by JSON's grammar.
pub(super) fn number_length(text: &[u8]) -> Option<usize> {
    let digits = |from: usize| text[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut at = usize::from(text.first() == Some(&b'-'));
    match digits(at) {
        0 => return None,
        count if count > 1 && text[at] == b'0' => return None,
        count => at += count,
    }
    if text.get(at) == Some(&b'.') {
        match digits(at + 1) {
            0 => return None,
            count => at += 1 + count,
        }
    }
    if let Some(b'e' | b'E') = text.get(at) {
        let sign = usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        match digits(at + 1 + sign) {
            0 => return None,
            count => at += 1 + sign + count,
        }
    }
    Some(at)
}
