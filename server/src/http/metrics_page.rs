//! `/metrics`: the aggregate's series, those that came over OTLP and the collector's own figures on one page.
//!
//! `?team=`, `?project=` and `?name[]=` (each repeatable) filter. A page of one team or project leaves the collector's
//! own figures out, since they are nobody's. Until the journal's tail is replayed after a start there is no page: its
//! counters would be lower than they were. Pages are made off the async threads, a part at a time, so that neither
//! ingest nor the aggregate waits for a large one.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use metrics::exposition::merge_text;
use metrics::{Format, PageCursor, PageRequest};
use muster::ids::Team;
use otlp::series::PageCursor as ForeignCursor;
use tokio::time::timeout;

use super::{Pages, Reader, Refused, Shared};
use crate::telemetry;

/// A scrape that waits longer for other scrapes has failed at the scraper already.
const RENDER_WAIT: Duration = Duration::from_secs(10);
/// How much is written before the aggregate's reader is let in.
const PART_BYTES: usize = 1 << 20;
/// Names, teams or projects that one request may list.
const FILTERS_MAX: usize = 256;

pub(super) async fn page(
    State(shared): State<Shared>,
    reader: Reader,
    Query(filters): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let format = Format::negotiate(accept);
    let request = request(format, &reader, filters)?;
    let is_gzip = accepts_gzip(&headers);
    let unavailable = |reason: &str| Refused(StatusCode::SERVICE_UNAVAILABLE, reason.to_owned());
    if !shared.pages.view.is_caught_up() {
        return Err(unavailable("the journal is being replayed; counters are not what they were yet"));
    }
    let permit = timeout(RENDER_WAIT, shared.renders.clone().acquire_owned()).await;
    let Ok(Ok(permit)) = permit else {
        return Err(unavailable("too many pages are being made"));
    };
    let pages = shared.pages.clone();
    let made = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let page = make(&pages, &request);
        if is_gzip { gzip(&page) } else { Ok(page) }
    });
    let body = match made.await {
        Ok(Ok(body)) => body,
        Ok(Err(error)) => return Err(Refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
        Err(error) => {
            tracing::error!(%error, "making the page of metrics failed");
            let reason = "making the page failed; the collector's log says more".to_owned();
            return Err(Refused(StatusCode::INTERNAL_SERVER_ERROR, reason));
        }
    };
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    headers.insert(header::VARY, HeaderValue::from_static("accept, accept-encoding"));
    if is_gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

fn request(format: Format, reader: &Reader, filters: Vec<(String, String)>) -> Result<PageRequest, Refused> {
    if filters.len() > FILTERS_MAX {
        return Err(Refused(StatusCode::BAD_REQUEST, format!("at most {FILTERS_MAX} filters")));
    }
    let mut request = PageRequest { format, ..Default::default() };
    for (key, value) in filters {
        match key.as_str() {
            "team" => request.team.get_or_insert_default().push(value),
            "project" => request.project.get_or_insert_default().push(value),
            "name[]" | "name" => request.names.push(value),
            // Scrapers may add parameters of their own.
            _ => {}
        }
    }
    if let Some(own) = reader.team(None) {
        request.team = Some(vec![Team::as_str(&own).to_owned()]);
    }
    Ok(request)
}

fn make(pages: &Arc<Pages>, request: &PageRequest) -> Vec<u8> {
    let _span = telemetry::span("page of metrics", Vec::new());
    let mut page = Vec::new();
    let now = pages.clock.wall();
    let mut next = Some(PageCursor::default());
    while let Some(cursor) = next {
        let part_end = page.len() + PART_BYTES;
        next = pages.view.aggregate.read().render_part(request, now, cursor, part_end, &mut page);
    }
    let own = (request.team.is_none() && request.project.is_none()).then(|| pages.telemetry.page());
    let mut next = Some(ForeignCursor::new(own.iter().flat_map(|own| names(own))));
    while let Some(cursor) = next {
        let part_end = page.len() + PART_BYTES;
        next = pages.view.foreign.read().render_part(request, cursor, part_end, &mut page);
    }
    if let Some(own) = own {
        let report = merge_text(&own, request.format, |metadata| request.wants(metadata), &mut page);
        if report.families_dropped + report.samples_dropped > 0 {
            tracing::debug!(?report, "some of the collector's own figures are not on the page");
        }
    }
    request.format.finish(&mut page);
    page
}

/// Names of families and samples on a page of text 0.0.4, and those that OpenMetrics gives them.
fn names(page: &str) -> impl Iterator<Item = String> + '_ {
    let named = page.lines().filter_map(|line| match line.strip_prefix("# TYPE ") {
        Some(told) => told.split(' ').next(),
        None if line.starts_with('#') => None,
        None => line.split(['{', ' ']).next().filter(|name| !name.is_empty()),
    });
    named.flat_map(|name| [name, name.strip_suffix("_total").unwrap_or(name)]).map(str::to_owned)
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let listed = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    listed.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let is_refused = parts.filter_map(|part| part.strip_prefix("q=")).any(|q| q.parse() == Ok(0.0_f32));
        is_gzip && !is_refused
    })
}

fn gzip(page: &[u8]) -> std::io::Result<Vec<u8>> {
    // Text compresses tenfold at the fastest level already.
    let mut encoder = GzEncoder::new(Vec::with_capacity(page.len() / 8), Compression::fast());
    encoder.write_all(page)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoding(value: &'static str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
        accepts_gzip(&headers)
    }

    #[test]
    fn gzip_is_given_to_who_accepts_it() {
        assert!(encoding("gzip") && encoding("deflate, GZIP;q=0.5"));
        assert!(!encoding("gzip;q=0") && !encoding("br") && !accepts_gzip(&HeaderMap::new()));
    }

    #[test]
    fn the_names_of_a_page_are_those_of_its_families_and_samples_in_both_formats() {
        let page =
            "# HELP a_total x\n# TYPE a_total counter\na_total{b=\"c\"} 1\n# TYPE h histogram\nh_sum 2\n";
        let mut names: Vec<String> = names(page).collect();
        names.sort();
        names.dedup();
        assert_eq!(names, ["a", "a_total", "h", "h_sum"]);
    }

    #[test]
    fn a_reader_of_one_team_cannot_ask_for_another() {
        let reader = Reader::Team("red".parse().expect("team"));
        let filters = vec![("team".to_owned(), "blue".to_owned()), ("name[]".to_owned(), "x".to_owned())];
        let request = request(Format::Text004, &reader, filters).expect("few");
        assert_eq!(request.team, Some(vec!["red".to_owned()]));
        assert_eq!(request.names, ["x"]);
    }
}
