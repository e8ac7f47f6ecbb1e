//! Notes in the audit log who takes rows out of the history.
//!
//! A stream of rows (`format=ndjson`, `csv` or `arrow`, and `recent?follow=true`) is an export: one line when it begins and one
//! when it ends, with what was asked, the bytes that went out, the rows where a line is one (NDJSON), and whether it was
//! whole. A page of JSON is a read: equal ones within a minute are one line with a count, so that a dashboard does not
//! fill the log. A request that is refused is not noted here; a refused credential is where it is refused.
//!
//! Which of both it is, and of what, is said by the page that answers ([`Told`]); what was asked is noted as the page has read
//! it. A request can be written in many ways, and none of them hides an export.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::{Uri, header};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Body as _, Frame, SizeHint};
use muster::credential::{Token, TokenId};

use super::Shared;
use crate::audit::{AuditLog, END_CUT, END_WHOLE, Entry, What, Who};
use crate::authority::{PeerCertificate, ReaderName};
use crate::credentials::Credentials;
use crate::ingest::Peer;

/// Where rows are.
const PATH: &str = "/api/v1/history/";
/// Longest part of a query that is noted.
const ASKED_CHARS_MAX: usize = 1_000;

/// What a page of the history has answered with; an extension of its answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    /// The data set, or which page else.
    pub(super) of: &'static str,
    /// Whether rows go out until there are no more, or the reader goes.
    pub(super) is_export: bool,
}

/// Runs a request, and notes it if it is about rows.
pub(super) async fn note(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let Some(asked) = Asked::of(&request, &shared.pages.credentials) else { return next.run(request).await };
    let response = next.run(request).await;
    let told = response.extensions().get::<Told>().copied();
    let Some(told) = told.filter(|_| response.status().is_success()) else { return response };
    let audit = &shared.pages.audit;
    if !told.is_export {
        audit.record_often(asked.entry(What::HistoryRead, told));
        return response;
    }
    audit.record(&asked.entry(What::ExportBegun, told));
    let is_lines = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == NDJSON);
    let ended = asked.entry(What::ExportEnded, told);
    response.map(|body| {
        let noted = Noted {
            body,
            audit: audit.clone(),
            ended,
            bytes: 0,
            rows: is_lines.then_some(0),
            is_whole: false,
        };
        Body::new(noted)
    })
}

const NDJSON: &str = "application/x-ndjson";

/// What a request asks for, and who asks.
struct Asked {
    who: Who,
    token: Option<TokenId>,
    /// The name of its certificate, if no token goes before that.
    reader: Option<ReaderName>,
    query: String,
}

impl Asked {
    fn of(request: &Request, credentials: &Credentials) -> Option<Self> {
        if !request.uri().path().starts_with(PATH) {
            return None;
        }
        let Peer(peer) = request.extensions().get::<Peer>().copied()?;
        let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header.and_then(|text| Token::parse(text.split_once(' ')?.1).ok());
        let certificate = request.extensions().get::<Arc<PeerCertificate>>().filter(|_| token.is_none());
        let of_reader = certificate.and_then(|certificate| certificate.reader.as_ref());
        Some(Self {
            who: Who::Peer(peer.ip()),
            token: token.map(|token| token.id().clone()),
            reader: of_reader.and_then(|shown| credentials.readers()?.name_of(shown)),
            query: plainly(request.uri()).chars().take(ASKED_CHARS_MAX).collect(),
        })
    }

    fn entry(&self, what: What, told: Told) -> Entry {
        let entry = Entry::new(what, self.who).with("of", told.of);
        let entry = if self.query.is_empty() { entry } else { entry.with("asked", self.query.as_str()) };
        match (&self.token, &self.reader) {
            (Some(token), _) => entry.token(token),
            (None, Some(name)) => entry.with("reader", name.as_str()),
            (None, None) => entry,
        }
    }
}

/// The parameters as the pages read them. What would be taken for another parameter stays encoded.
fn plainly(uri: &Uri) -> String {
    let Ok(Query(parameters)) = Query::<Vec<(String, String)>>::try_from_uri(uri) else {
        // No page has read them.
        return uri.query().unwrap_or_default().to_owned();
    };
    let plain = |text: &str| text.replace('%', "%25").replace('&', "%26").replace('=', "%3D");
    let pairs = parameters.iter().map(|(name, value)| format!("{}={}", plain(name), plain(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// A body that tells how it ended.
struct Noted {
    body: Body,
    audit: Arc<AuditLog>,
    ended: Entry,
    bytes: u64,
    rows: Option<u64>,
    is_whole: bool,
}

impl hyper::body::Body for Noted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(None) => self.is_whole = true,
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.bytes += data.len() as u64;
                    if let Some(rows) = &mut self.rows {
                        // An empty line keeps a quiet stream alive.
                        *rows += u64::from(data.len() > 1)
                            * data.iter().filter(|byte| **byte == b'\n').count() as u64;
                    }
                }
            }
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        let mut entry = self.ended.clone().with("bytes", self.bytes);
        if let Some(rows) = self.rows {
            entry = entry.with("rows", rows);
        }
        let is_whole = self.is_whole || self.body.is_end_stream();
        let end = if is_whole { END_WHOLE } else { END_CUT };
        self.audit.record(&entry.with("end", end));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_noted_as_it_is_read_however_it_is_written() {
        let plain = |query: &str| plainly(&format!("/x?{query}").parse().expect("a URI"));
        for written in ["format=csv&team=red", "%66ormat=c%73v&te%61m=%72ed", "format=csv&&team=red"] {
            assert_eq!(plain(written), "format=csv&team=red");
        }
        assert_eq!(plain("start=24h+ago"), plain("start=24h%20ago"));
        assert_eq!(plain("user=a%26team%3Dblue"), "user=a%26team%3Dblue", "it is no team");
    }
}
