//! OTLP/HTTP: a POST for each request, answered in the type that it came in.

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use tonic::Code;

use super::collect::{Pieces, Reading};
use super::inflate::{Encoding, KNOWN};
use super::prepare::{Form, Whole, prepare};
use super::{Accepted, Body, Door, Intake, Outcome, Refusal, Transport, answer};
use crate::Signal;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

pub(super) async fn answer<I, B>(door: &Door<I>, request: Request<B>) -> Response<Body>
where
    I: Intake,
    B: hyper::body::Body<Data = Bytes> + Send + Unpin,
    B::Error: std::fmt::Display,
{
    let (head, body) = request.into_parts();
    let mut body = Reading::new(body, &door.limits);
    let form = form_of(&head);
    let response = match Signal::of_http_path(head.uri.path()) {
        None => error(
            StatusCode::NOT_FOUND,
            Code::Unimplemented,
            "no such path; /v1/logs, /v1/metrics, /v1/traces",
            None,
            form,
        ),
        Some(_) if head.method != Method::POST => {
            let message = "telemetry is sent with POST";
            let status = StatusCode::METHOD_NOT_ALLOWED;
            let mut response = error(status, Code::Unimplemented, message, None, form);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            response
        }
        Some(signal) => {
            let result = receive(door, signal, &head, form, &mut body).await;
            door.intake.finished(signal, Transport::Http, Outcome::of(&result));
            match result {
                Ok(accepted) => taken(signal, form, &accepted),
                Err(refusal) => refused(&refusal, form),
            }
        }
    };
    if response.status() != StatusCode::OK && must_drain(&head, &body) {
        body.drain().await;
    }
    response
}

async fn receive<I, B>(
    door: &Door<I>,
    signal: Signal,
    head: &Parts,
    form: Option<Form>,
    body: &mut Reading<B>,
) -> Result<Accepted, Refusal>
where
    I: Intake,
    B: hyper::body::Body<Data = Bytes> + Send + Unpin,
    B::Error: std::fmt::Display,
{
    let caller = door.intake.authenticate(head)?;
    let Some(form) = form else {
        return Err(Refusal::Unsupported(format!("content-type must be {PROTOBUF} or {JSON}")));
    };
    let encoding = Encoding::of(head.headers.get(CONTENT_ENCODING))?;
    let bytes_max = door.limits.request_bytes_max;
    let announced = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|bytes: usize| bytes > bytes_max) {
        return Err(Refusal::TooLarge { bytes_max });
    }
    let room = door.intake.reserve(announced.unwrap_or(0))?;
    let mut pieces = Pieces::new(bytes_max, room);
    while let Some(piece) = body.next().await? {
        pieces.push(piece)?;
    }
    let (bytes, room) = pieces.finish();
    let whole = Whole { signal, form, encoding, bytes, room };
    door.hand_in(&caller, prepare(whole, bytes_max, &door.heavy).await?).await
}

/// What the body is written in, by its type; parameters are allowed.
fn form_of(head: &Parts) -> Option<Form> {
    let kind = head.headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let kind = kind.split(';').next()?.trim();
    match () {
        () if kind.eq_ignore_ascii_case(PROTOBUF) => Some(Form::Protobuf),
        () if kind.eq_ignore_ascii_case(JSON) => Some(Form::Json),
        () => None,
    }
}

/// HTTP/1.1 knows no answer before the end of the body: a client that still sends sees a broken connection, and comes
/// again with what was refused. One that waits for "100 Continue" sends nothing.
fn must_drain<B>(head: &Parts, body: &Reading<B>) -> bool
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let waits = head.headers.contains_key(EXPECT) && !body.has_begun();
    head.version < Version::HTTP_2 && !body.is_at_end() && !waits
}

fn taken(signal: Signal, form: Option<Form>, accepted: &Accepted) -> Response<Body> {
    // What was taken had a form.
    let form = form.unwrap_or(Form::Protobuf);
    let mut response = Response::new(Body::new(answer::response(signal, form, accepted)));
    response.headers_mut().insert(CONTENT_TYPE, content_type(form));
    response
}

fn refused(refusal: &Refusal, form: Option<Form>) -> Response<Body> {
    let status = match refusal {
        Refusal::Unauthenticated => StatusCode::UNAUTHORIZED,
        Refusal::Invalid(_) => StatusCode::BAD_REQUEST,
        Refusal::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::Unsupported(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Refusal::Limited { .. } => StatusCode::TOO_MANY_REQUESTS,
        // Not 408: OTLP's clients give up on it.
        Refusal::Slow | Refusal::Overloaded { .. } | Refusal::Unavailable { .. } => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        Refusal::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let after = refusal.retry_after();
    let mut response = error(status, refusal.code(), &refusal.to_string(), after, form);
    let headers = response.headers_mut();
    if let Some(after) = after {
        headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs_f64().ceil().max(1.0) as u64));
    }
    match refusal {
        Refusal::Unauthenticated => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        Refusal::Unsupported(_) => {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(KNOWN));
        }
        _ => {}
    }
    response
}

/// An error in the request's form; in protobuf when that is not known, as OTLP's clients expect.
fn error(
    status: StatusCode,
    code: Code,
    message: &str,
    retry_after: Option<std::time::Duration>,
    form: Option<Form>,
) -> Response<Body> {
    let mut response = match form {
        Some(form) => {
            let mut response = Response::new(Body::new(answer::status(code, message, retry_after, form)));
            response.headers_mut().insert(CONTENT_TYPE, content_type(form));
            response
        }
        None => {
            let mut response = Response::new(Body::new(format!("{message}\n").into()));
            response
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
            response
        }
    };
    *response.status_mut() = status;
    response
}

fn content_type(form: Form) -> HeaderValue {
    HeaderValue::from_static(match form {
        Form::Protobuf => PROTOBUF,
        Form::Json => JSON,
    })
}
