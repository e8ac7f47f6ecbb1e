//! Notes in the audit log who takes rows out of the history.
//!
//! A stream of rows (`format=ndjson`, `csv` or `arrow`, and `recent?follow=true`) is an export: one line when it begins and one
//! when it ends, with what was asked, the bytes that went out, the rows where a line is one (NDJSON), and whether it was
//! whole. A page of JSON is a read: equal ones within a minute are one line with a count, so that a dashboard does not
//! fill the log. A request that is refused is not noted here; a refused credential is where it is refused.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Body as _, Frame, SizeHint};
use muster::credential::{Token, TokenId};

use super::Shared;
use crate::audit::{AuditLog, END_CUT, END_WHOLE, Entry, What, Who};
use crate::ingest::Peer;

/// Where rows are.
const PATH: &str = "/api/v1/history/";
/// Longest part of a query that is noted.
const ASKED_CHARS_MAX: usize = 1_000;

/// Runs a request, and notes it if it is about rows.
pub(super) async fn note(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let Some(asked) = Asked::of(&request) else { return next.run(request).await };
    let response = next.run(request).await;
    if !response.status().is_success() {
        return response;
    }
    let audit = &shared.pages.audit;
    if !asked.is_stream {
        audit.record_often(asked.entry(What::HistoryRead));
        return response;
    }
    audit.record(&asked.entry(What::ExportBegun));
    let is_lines = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == NDJSON);
    let ended = asked.entry(What::ExportEnded);
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
    what: String,
    query: String,
    is_stream: bool,
}

impl Asked {
    fn of(request: &Request) -> Option<Self> {
        let what = request.uri().path().strip_prefix(PATH)?;
        let Peer(peer) = request.extensions().get::<Peer>().copied()?;
        let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header.and_then(|text| Token::parse(text.split_once(' ')?.1).ok());
        let query = request.uri().query().unwrap_or_default();
        let has = |pairs: &[&str]| query.split('&').any(|pair| pairs.contains(&pair));
        let is_stream = has(&["format=ndjson", "format=csv", "format=arrow", "follow=true"]);
        Some(Self {
            who: Who::Peer(peer.ip()),
            token: token.map(|token| token.id().clone()),
            what: what.chars().take(64).collect(),
            query: query.chars().take(ASKED_CHARS_MAX).collect(),
            is_stream,
        })
    }

    fn entry(&self, what: What) -> Entry {
        let entry = Entry::new(what, self.who).with("of", self.what.as_str());
        let entry = if self.query.is_empty() { entry } else { entry.with("asked", self.query.as_str()) };
        match &self.token {
            Some(token) => entry.token(token),
            None => entry,
        }
    }
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
