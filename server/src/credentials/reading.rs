//! Who may read pages, and what: by a token in the request, or else by the connection's certificate.
//!
//! A certificate of the own authority is an agent's and reads nothing; one of the readers' authority reads what the
//! configuration says of its name ([`crate::readers`]).

use std::sync::Arc;
use std::time::Duration;

use muster::credential::TokenId;
use muster::ids::Team;

use super::refusals::About;
use super::{Credentials, NotAccepted, Presented, Scope};
use crate::authority::{PeerCertificate, ReaderCertificate, ReaderName};
use crate::figures::CredentialRefusal;
use crate::readers::{Prepared, Readers};

/// Certificates may live to the end of time, which a timer cannot wait for.
const YEAR: Duration = Duration::from_secs(366 * 86_400);
/// By how much a timer may be before the wall clock.
const END_SLACK: Duration = Duration::from_secs(1);

/// What a reader may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// Everything.
    All,
    /// One team's data.
    Team(Team),
}

/// A reader that is let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// What it may see.
    pub sight: Sight,
    /// By what.
    pub by: ReadingBy,
}

/// By what a reader is let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadingBy {
    /// By a token.
    Token(TokenId),
    /// By the connection's certificate, which has this name.
    Certificate(ReaderName),
}

/// Why a reader sees nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReaderRefused {
    /// Its credential is not accepted.
    #[error(transparent)]
    NotAccepted(#[from] NotAccepted),
    /// Its credential is an agent's.
    #[error("an agent's credential sends and reads nothing; a team's token reads the data of its team")]
    ReadsNothing,
}

impl Credentials {
    /// Knows from now on who reads with a certificate. The first ones stay; [`Credentials::set_readers`] changes them.
    pub(crate) fn know_readers(&self, readers: Arc<Readers>) {
        // Set once, at the start.
        let _ = self.readers.set(readers);
    }

    /// Who reads with a certificate, if the pages have TLS.
    pub(crate) fn readers(&self) -> Option<&Arc<Readers>> {
        self.readers.get()
    }

    /// Puts other readers in force. Without TLS since the start there is nobody who could show a certificate.
    pub(crate) fn set_readers(&self, prepared: Prepared) {
        if self.readers().is_some_and(|readers| readers.set(prepared)) {
            self.tell_changed();
        }
    }

    /// Looks at the file of the readers' authorities.
    pub(super) fn look_at_readers(&self) {
        if self.readers().is_some_and(|readers| readers.look(&self.figures)) {
            self.tell_changed();
        }
    }

    /// What the reader of a page may see.
    pub fn authenticate_reader(&self, shown: Presented<'_>) -> Result<Reading, ReaderRefused> {
        let (scope, token) = match (shown.header, shown.certificate) {
            (Some(header), _) => self.identify(shown.ip, header)?,
            (None, Some(certificate)) => return self.read_by_certificate(shown, certificate),
            (None, None) => return Err(self.missing(shown.ip).into()),
        };
        match scope {
            Scope::Team(team) => Ok(Reading { sight: Sight::Team(team), by: ReadingBy::Token(token) }),
            Scope::Operator => Ok(Reading { sight: Sight::All, by: ReadingBy::Token(token) }),
            Scope::Agent(_) => {
                self.refusals.refuse(shown.ip, CredentialRefusal::Role, About::Token(&token));
                Err(ReaderRefused::ReadsNothing)
            }
            Scope::Enrolment(_) => {
                Err(self.refusals.refuse(shown.ip, CredentialRefusal::Role, About::Token(&token)).into())
            }
        }
    }

    fn read_by_certificate(
        &self,
        shown: Presented<'_>,
        certificate: &PeerCertificate,
    ) -> Result<Reading, ReaderRefused> {
        let Some(of_reader) = &certificate.reader else {
            let name = self.identify_certificate(shown.ip, certificate).map_err(NotAccepted::from)?;
            self.refusals.refuse(shown.ip, CredentialRefusal::Role, About::Agent(&name));
            return Err(ReaderRefused::ReadsNothing);
        };
        let refuse = |why| {
            let about = of_reader.names.first().map_or(About::Nobody, About::Reader);
            Err(self.refusals.refuse(shown.ip, why, about).into())
        };
        match self.admit(certificate, of_reader) {
            Ok((name, sight)) => Ok(Reading { sight, by: ReadingBy::Certificate(name) }),
            Err(why) => refuse(why),
        }
    }

    /// In how long a certificate has surely ended; a year at most, since no connection lives as long.
    pub(crate) fn has_ended_in(&self, certificate: &PeerCertificate) -> Duration {
        certificate.not_after.since(self.clock.wall()).min(YEAR) + END_SLACK
    }

    fn admit(
        &self,
        certificate: &PeerCertificate,
        of_reader: &ReaderCertificate,
    ) -> Result<(ReaderName, Sight), CredentialRefusal> {
        let now = self.clock.wall();
        if certificate.not_after <= now {
            return Err(CredentialRefusal::Expired);
        }
        let readers = self.readers().ok_or(CredentialRefusal::Unknown)?;
        readers.admit(of_reader, now).ok_or(CredentialRefusal::Unknown)
    }

    /// Whether a reader that was let in still would be, and sees the same. `certificate`: its connection's.
    pub(crate) fn may_go_on(&self, reading: &Reading, certificate: Option<&PeerCertificate>) -> bool {
        match &reading.by {
            ReadingBy::Token(token) => {
                let now = self.clock.wall();
                self.tokens.load().get(token).is_some_and(|known| known.ended(now).is_none())
            }
            ReadingBy::Certificate(_) => {
                let shown = certificate.and_then(|shown| Some((shown, shown.reader.as_ref()?)));
                let admitted = shown.and_then(|(shown, of_reader)| self.admit(shown, of_reader).ok());
                admitted.is_some_and(|(_, sight)| sight == reading.sight)
            }
        }
    }
}
