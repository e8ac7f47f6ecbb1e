//! The one door from a source into a batch, and the place where redaction happens.
//!
//! A source cannot put a text into an event by itself: an event holds indexes, and only [`Facts`] makes indexes. It
//! has one method for each class of text, and the class decides what leaves the machine:
//!
//! | class | method | by default |
//! |---|---|---|
//! | word: worker, model, status, event name, phase | [`Facts::word`] | kept if it looks like a word: short, printable, no path, no secret; else replaced |
//! | file of the project | [`Facts::file`] | dropped; opted in (`files`): relative to the project, never absolute |
//! | content: message, prompt, task, PRD | [`Facts::content`] | dropped; opted in by field: cut and scrubbed of secrets |
//! | who and where: user, host, repository, branch | [`Facts::speak_for`] | names; withheld where the collector asks for it |
//!
//! It is also where events that one may stand for are thinned out ([`Sampling`]).
//!
//! Everything a source says in one step becomes one batch, so that its position and its events are one spool record.

use std::collections::HashMap;
use std::path::Path;

use muster::batch::{BatchBuilder, SourceIdentity, SourceIndex, TextRef};
use muster::clock::WallTime;
use muster::v1::event::Kind;

use crate::sources::ProjectContext;

mod privacy;
pub(crate) mod redact;
mod sampling;
#[cfg(test)]
mod tests;

pub use privacy::{ContentField, IdentityPart, Privacy, WITHHELD};
pub use sampling::{SampledKind, Sampling};

/// Longest word: longer ones are prose or data, not names.
pub const WORD_BYTES_MAX: usize = 96;
/// Longest opted-in content.
pub const CONTENT_BYTES_MAX: usize = 1024;

/// Most words that are remembered in one step.
const WORDS_KNOWN_MAX: usize = 1024;

/// What the sources of one step have said.
#[derive(Debug)]
pub struct Facts {
    builder: BatchBuilder,
    privacy: Privacy,
    sampling: Sampling,
    groups: sampling::Groups,
    /// Facts that were stated, those that another one stands for included.
    stated: usize,
    source: Option<SourceIndex>,
    project_root: std::path::PathBuf,
    /// Words that were looked at: a step says the same few again and again, and looking for secrets is dear.
    words: HashMap<String, TextRef>,
}

impl Facts {
    /// Collects facts under `privacy`.
    pub fn new(privacy: Privacy) -> Self {
        Self {
            builder: BatchBuilder::new(),
            privacy,
            sampling: Sampling::default(),
            groups: Default::default(),
            stated: 0,
            source: None,
            project_root: Default::default(),
            words: HashMap::new(),
        }
    }

    /// The same, with events thinned out by `sampling`.
    pub fn sampled(self, sampling: Sampling) -> Self {
        Self { sampling, ..self }
    }

    /// Says whose facts the following ones are.
    pub fn speak_for(&mut self, tool: &str, tool_version: &str, project: &ProjectContext) {
        let of = |part, name: &str| self.privacy.identity(part, name);
        let identity = SourceIdentity {
            tool: tool.to_owned(),
            project: redact::name(&project.name),
            user: of(IdentityPart::User, &project.user),
            host: of(IdentityPart::Host, &project.host),
            os: std::env::consts::OS.to_owned(),
            repository: of(IdentityPart::Repository, &project.repository),
            branch: of(IdentityPart::Branch, &project.branch),
            tool_version: redact::word(tool_version).into_owned(),
        };
        self.project_root.clone_from(&project.root);
        self.source = self.builder.source(&identity);
    }

    /// A name or a word of state: kept when it looks like one, else replaced by `redacted`.
    pub fn word(&mut self, text: &str) -> TextRef {
        if let Some(word) = self.words.get(text) {
            return *word;
        }
        let word = self.builder.text(&redact::word(text));
        if self.words.len() < WORDS_KNOWN_MAX && text.len() <= WORD_BYTES_MAX {
            self.words.insert(text.to_owned(), word);
        }
        word
    }

    /// An id of a trace or a span in hexadecimal, which links to what a tracing system has; "" if it is something else.
    pub fn trace_id(&mut self, id: &str) -> TextRef {
        let is_id = matches!(id.len(), 16 | 32) && id.bytes().all(|b| b.is_ascii_hexdigit());
        self.builder.text(if is_id { id } else { "" })
    }

    /// A file of the project: 0 unless files are opted in; relative, and 0 when it is outside the project.
    pub fn file(&mut self, path: &str) -> TextRef {
        if !self.privacy.allows(ContentField::Files) {
            return 0;
        }
        match Path::new(path).strip_prefix(&self.project_root) {
            Ok(relative) => self.builder.text(&redact::scrub(&relative.to_string_lossy(), CONTENT_BYTES_MAX)),
            Err(_) if Path::new(path).is_relative() && !path.split(['/', '\\']).any(|part| part == "..") => {
                self.builder.text(&redact::scrub(path, CONTENT_BYTES_MAX))
            }
            Err(_) => 0,
        }
    }

    /// Content of a person or a model: 0 unless `field` is opted in; then cut and scrubbed of secrets.
    pub fn content(&mut self, field: ContentField, text: &str) -> TextRef {
        if !self.privacy.allows(field) {
            return 0;
        }
        self.builder.text(&redact::scrub(text, CONTENT_BYTES_MAX))
    }

    /// Whether `field` is opted in, for a source that can spare the work.
    pub fn allows(&self, field: ContentField) -> bool {
        self.privacy.allows(field)
    }

    /// Whether the value of an attribute of this key is not to leave, since it tells who or where.
    pub fn withholds_key(&self, key: &str) -> bool {
        self.privacy.withholds_key(key)
    }

    /// States a fact. Without [`Facts::speak_for`] before it there is nobody to attribute it to, and it is left out.
    pub fn push(&mut self, time: WallTime, kind: Kind) {
        self.push_weighted(time, 1, kind);
    }

    /// States a fact that stands for `weight` of its kind.
    pub fn push_weighted(&mut self, time: WallTime, weight: u32, kind: Kind) {
        debug_assert!(self.source.is_some(), "a source speaks for itself before it states facts");
        let Some(source) = self.source else { return };
        self.stated += 1;
        if !self.groups.take(&self.sampling, &mut self.builder, source, weight, &kind) {
            self.builder.push_weighted(time, source, weight, kind);
        }
    }

    /// Facts so far, those that another one stands for included: a source ends its step when this nears
    /// [`STEP_EVENTS_MAX`], however much is thinned out.
    pub fn len(&self) -> usize {
        self.stated
    }

    /// Nothing was said.
    pub fn is_empty(&self) -> bool {
        self.builder.is_empty()
    }

    /// The batch under construction.
    pub fn into_builder(self) -> BatchBuilder {
        self.builder
    }

    /// The batch under construction, to look at.
    pub fn builder(&self) -> &BatchBuilder {
        &self.builder
    }
}

/// A source ends its step when it has stated about this many facts: one step is one spool record.
pub const STEP_EVENTS_MAX: usize = 2_000;
