//! One text at a time: what of it may leave, decided by the rules of [`crate::facts`] and by where it stands.
//!
//! | text | kept when |
//! |---|---|
//! | key of an attribute, name of a metric or an event | it is one word |
//! | value | its key says how ([`Class`]); without a word about it, when it is one word |
//! | id | it is a word, or a checksum or UUID, which the rules for words take for secrets |
//! | unit | it is one of UCUM's, annotations in braces being words |
//! | description of a metric | always, cut and scrubbed: it is part of the tool's program |
//! | schema address | it is one of OpenTelemetry's own |
//!
//! What tells a part of an identity that is withheld becomes `redacted-` and a keyed checksum wherever it stands, whatever
//! its type: two processes must not become one.
//!
//! What else is not kept becomes `redacted`, and is counted. In the attributes of data points it becomes `redacted-` and a
//! keyed checksum ([`Pseudonyms`]): attributes name the series there, and two series must not become one.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::content_keys::{self, Class};
use super::pseudonyms::Pseudonyms;
use crate::facts::redact::{self, REDACTED};
use crate::facts::{CONTENT_BYTES_MAX, ContentField, Privacy, WORD_BYTES_MAX};

/// Longest description of a metric.
const DESCRIPTION_BYTES_MAX: usize = 256;
/// Longest unit.
const UNIT_BYTES_MAX: usize = 63;
/// Longest variant of a model: `1m`, `thinking`.
const VARIANT_BYTES_MAX: usize = 16;
/// SHA-256 in hex; a UUID is shorter.
const CHECKSUM_BYTES_MAX: usize = 64;
/// Most words and keys that are remembered: a payload says the same few again and again.
const KNOWN_MAX: usize = 1024;
/// Where OpenTelemetry's schemas are.
const SCHEMAS: &str = "https://opentelemetry.io/schemas/";

/// Decides over texts, and counts what it replaced.
#[derive(Debug)]
pub struct Texts<'a> {
    privacy: &'a Privacy,
    roots: &'a [PathBuf],
    pseudonyms: &'a Pseudonyms,
    classes: HashMap<String, Option<Class>>,
    words: HashMap<String, bool>,
    redacted: u64,
}

/// What becomes of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It stays.
    Keep,
    /// This stands for it.
    Replace(String),
    /// It is not to leave.
    Redact,
}

impl<'a> Texts<'a> {
    /// Rules under `privacy`; `roots` are the watched projects' folders, to which files are made relative.
    pub fn new(privacy: &'a Privacy, roots: &'a [PathBuf], pseudonyms: &'a Pseudonyms) -> Self {
        Self { privacy, roots, pseudonyms, classes: HashMap::new(), words: HashMap::new(), redacted: 0 }
    }

    /// Texts that were replaced so far.
    pub fn redacted(&self) -> u64 {
        self.redacted
    }

    /// Counts a text that was taken out.
    pub fn count(&mut self) {
        self.redacted += 1;
    }

    /// What a key says of its value; `None` when the key is none that may leave.
    pub fn class_of(&mut self, key: &str) -> Option<Class> {
        if let Some(class) = self.classes.get(key) {
            return *class;
        }
        let class = is_one_word(key).then(|| match content_keys::class_of(key) {
            // A pseudonym would tell more than nothing.
            Class::Never => Class::Never,
            Class::Content(field) if !self.allows(field) => Class::Content(field),
            _ if self.privacy.withholds_key(key) => Class::Withheld,
            class => class,
        });
        if self.classes.len() < KNOWN_MAX && key.len() <= WORD_BYTES_MAX {
            self.classes.insert(key.to_owned(), class);
        }
        class
    }

    /// What becomes of a value under a key of `class`.
    pub fn value(&mut self, class: Class, text: &str) -> Verdict {
        let keep = match class {
            Class::Word => self.is_word(text) && !has_space(text),
            Class::Name => self.is_word(text),
            Class::Model => self.is_word(text) || self.is_model_with_variant(text),
            Class::Id => is_checksum(text) || (self.is_word(text) && !has_space(text)),
            Class::Content(ContentField::Files) => return self.file(text),
            Class::Content(field) => return self.content(field, text),
            Class::Never | Class::Withheld => text.is_empty(),
        };
        if keep { Verdict::Keep } else { Verdict::Redact }
    }

    /// Replaces a text that stands in a field of its own unless it is a name.
    pub fn name(&mut self, text: &mut String) {
        if !self.is_word(text) {
            self.replace(text, REDACTED.to_owned());
        }
    }

    /// Empties a text that stands in a field of its own unless it is one word: where `redacted` would be no legal value.
    pub fn word_or_empty(&mut self, text: &mut String) {
        if !is_one_word(text) {
            self.replace(text, String::new());
        }
    }

    /// A text of a program's own words: kept when it is one word, content of `field` otherwise.
    pub fn message(&mut self, field: ContentField, text: &mut String) {
        if self.is_word(text) && !has_space(text) {
            return;
        }
        match self.content(field, text) {
            Verdict::Keep => {}
            Verdict::Replace(scrubbed) => *text = scrubbed,
            Verdict::Redact => self.replace(text, REDACTED.to_owned()),
        }
    }

    /// Scrubs and cuts a metric's description.
    pub fn description(&mut self, text: &mut String) {
        let scrubbed = redact::scrub(text, DESCRIPTION_BYTES_MAX);
        if scrubbed != *text {
            self.replace(text, scrubbed);
        }
    }

    /// Empties what is no unit.
    pub fn unit(&mut self, text: &mut String) {
        let bare: String =
            text.chars().filter(|c| !matches!(c, '{' | '}' | '%' | '[' | ']' | '\'')).collect();
        // A lone annotation or a lone percent sign has nothing else in it; `1/s` and `/s` are no paths.
        let bare = bare.trim_start_matches('/');
        if text.len() > UNIT_BYTES_MAX || !(bare.is_empty() || is_one_word(bare)) {
            self.replace(text, String::new());
        }
    }

    /// Empties the address of a schema that is not OpenTelemetry's.
    pub fn schema(&mut self, text: &mut String) {
        let is_known = text.strip_prefix(SCHEMAS).is_some_and(|version| {
            version.len() <= 16 && version.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        });
        if !is_known && !text.is_empty() {
            self.replace(text, String::new());
        }
    }

    /// Empties what is no trace or span id of `bytes` bytes.
    pub fn id(&mut self, id: &mut Vec<u8>, bytes: usize) {
        if !id.is_empty() && id.len() != bytes {
            self.count();
            id.clear();
        }
    }

    /// What stands for a text where texts must stay apart.
    pub fn pseudonym(&self, text: &str) -> String {
        self.pseudonyms.of(text)
    }

    /// Content: what of it may leave.
    pub fn content(&mut self, field: ContentField, text: &str) -> Verdict {
        match () {
            () if text.is_empty() => Verdict::Keep,
            () if self.privacy.allows(field) => Verdict::Replace(redact::scrub(text, CONTENT_BYTES_MAX)),
            () => Verdict::Redact,
        }
    }

    /// Whether `field` is opted in.
    pub fn allows(&self, field: ContentField) -> bool {
        self.privacy.allows(field)
    }

    /// A file: relative to a watched project, or not at all.
    fn file(&mut self, text: &str) -> Verdict {
        if text.is_empty() {
            return Verdict::Keep;
        }
        if !self.privacy.allows(ContentField::Files) {
            return Verdict::Redact;
        }
        let inside = self.roots.iter().find_map(|root| Path::new(text).strip_prefix(root).ok());
        let relative = match inside.and_then(Path::to_str) {
            Some(relative) => relative,
            None if redact::looks_like_path(text) => return Verdict::Redact,
            None => text,
        };
        if relative.split(['/', '\\']).any(|part| part == "..") {
            return Verdict::Redact;
        }
        Verdict::Replace(redact::scrub(relative, CONTENT_BYTES_MAX))
    }

    /// `claude-opus-5[1m]`: brackets are in no word, but both parts of it are.
    fn is_model_with_variant(&mut self, text: &str) -> bool {
        let parts = text.strip_suffix(']').and_then(|rest| rest.split_once('['));
        parts.is_some_and(|(model, variant)| {
            variant.len() <= VARIANT_BYTES_MAX && is_one_word(variant) && self.is_word(model)
        })
    }

    fn is_word(&mut self, text: &str) -> bool {
        if let Some(is_word) = self.words.get(text) {
            return *is_word;
        }
        let is_word = is_words(text);
        if self.words.len() < KNOWN_MAX && text.len() <= WORD_BYTES_MAX {
            self.words.insert(text.to_owned(), is_word);
        }
        is_word
    }

    fn replace(&mut self, text: &mut String, with: String) {
        self.count();
        *text = with;
    }
}

/// Whether a text is kept whole by the rules for words; nothing is.
fn is_words(text: &str) -> bool {
    text.is_empty() || matches!(redact::word(text), Cow::Borrowed(word) if word == text)
}

fn is_one_word(text: &str) -> bool {
    is_words(text) && !has_space(text)
}

fn has_space(text: &str) -> bool {
    text.contains(char::is_whitespace)
}

/// Whether a text is a checksum or a UUID, perhaps behind a short word: `resp_` and 48 hex digits.
fn is_checksum(text: &str) -> bool {
    let is_hex = |text: &str| text.len() >= 8 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    if text.len() > CHECKSUM_BYTES_MAX + VARIANT_BYTES_MAX {
        return false;
    }
    let behind = text.split_once('_').filter(|(issuer, _)| {
        (1..=8).contains(&issuer.len()) && issuer.bytes().all(|b| b.is_ascii_lowercase())
    });
    let digits = behind.map_or(text, |(_, digits)| digits);
    is_hex(digits) && !redact::has_secret_prefix(text) && is_words(behind.map_or("", |(issuer, _)| issuer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(key: &str, text: &str, fields: &[ContentField]) -> Verdict {
        let privacy = Privacy::including(fields.iter().copied());
        let roots = [PathBuf::from("/home/dana/shop")];
        let pseudonyms = Pseudonyms::of_key([7; 32]);
        let mut texts = Texts::new(&privacy, &roots, &pseudonyms);
        texts.class_of(key).map_or(Verdict::Redact, |class| texts.value(class, text))
    }

    #[test]
    fn ids_models_times_and_versions_survive() {
        for (key, text) in [
            ("session.id", "3f2b8c1e-7d7a-4b0e-9c55-0d2f5a6b7c8d"),
            ("user.id", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
            ("request_id", "req_011CSHoEeqs5C35K2UUqR7Fy"),
            ("gen_ai.response.id", "resp_68af12cd34ab56ef78ab90cd12ef34ab56cd78ef90ab12cd"),
            ("conversation.id", "0123456789abcdef0123456789abcdef"),
            ("model", "claude-opus-5[1m]"),
            ("gen_ai.request.model", "openai/gpt-5.3"),
            ("event.timestamp", "2026-09-01T12:00:00.000Z"),
            ("service.version", "2.1.248"),
            ("tool_name", "Web Search"),
            ("success", "true"),
            ("cost_usd", "0.0123"),
            ("query_source", "agent:builtin:explore"),
        ] {
            assert_eq!(verdict(key, text, &[]), Verdict::Keep, "{key}={text}");
        }
    }

    #[test]
    fn content_secrets_and_prose_do_not() {
        for (key, text) in [
            ("prompt", "hello"),
            ("file_path", "main.rs"),
            ("anything", "fix login"),
            ("anything", "/home/dana/x"),
            ("anything", "0123456789abcdef0123456789abcdef"),
            ("session.id", "sk-ant-api03-abcdefgh12345678"),
            ("session.id", "ghp_0123456789abcdefghijABCDEFGHIJ"),
            ("session.id", "ghp_0123456789abcdef0123456789abcdef"),
            ("conversation.name", "Fix login"),
            ("api_key_id", "0123456789abcdef0123456789abcdef"),
            ("model", "please[do this now]"),
            ("user.email", "dana@example.com"),
            ("a key with spaces", "x"),
        ] {
            assert_eq!(verdict(key, text, &[]), Verdict::Redact, "{key}={text}");
        }
    }

    #[test]
    fn what_is_opted_in_leaves_scrubbed_and_relative() {
        let all = [ContentField::Files, ContentField::Messages, ContentField::Prompts, ContentField::Tasks];
        let replaced = |text: &str| Verdict::Replace(text.to_owned());
        assert_eq!(
            verdict("prompt", "use key sk-live-0123456789 now", &all),
            replaced("use key redacted now")
        );
        assert_eq!(verdict("file_path", "/home/dana/shop/src/a.rs", &all), replaced("src/a.rs"));
        assert_eq!(verdict("file_path", "src/a.rs", &all), replaced("src/a.rs"));
        assert_eq!(verdict("file_path", "/home/dana/My Diary/a.txt", &all), Verdict::Redact);
        assert_eq!(verdict("file_path", "a/../../b", &all), Verdict::Redact);
        assert_eq!(verdict("tool_input", "{}", &all), Verdict::Redact);
        assert_eq!(verdict("prompt", "hello", &[ContentField::Messages]), Verdict::Redact);
    }

    #[test]
    fn units_are_units() {
        let privacy = Privacy::default();
        let pseudonyms = Pseudonyms::of_key([7; 32]);
        let mut texts = Texts::new(&privacy, &[], &pseudonyms);
        for unit in ["s", "By", "{token}", "%", "1/s", "{requests}/s", "USD", "", "By/s"] {
            let mut kept = unit.to_owned();
            texts.unit(&mut kept);
            assert_eq!(kept, unit);
        }
        let mut prose = "{please fix the login}".to_owned();
        texts.unit(&mut prose);
        assert_eq!((prose.as_str(), texts.redacted()), ("", 1));
    }
}
