//! OTLP/gRPC: one unary call. The message is not decoded by the transport, so that it is never copied into structs and
//! its limits have the statuses that OTLP wants (tonic says OUT_OF_RANGE, which clients would repeat for ever).

use bytes::{BufMut, Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use tonic::{Code, Status};

use super::collect::{Pieces, Reading};
use super::inflate::{Encoding, KNOWN};
use super::prepare::{Form, Whole, prepare};
use super::{Accepted, Body, Door, Intake, Outcome, Refusal, Transport, answer};
use crate::Signal;

const GRPC: &str = "application/grpc";
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// Before each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

pub(super) async fn answer<I, B>(door: &Door<I>, signal: Signal, request: Request<B>) -> Response<Body>
where
    I: Intake,
    B: hyper::body::Body<Data = Bytes> + Send + Unpin,
    B::Error: std::fmt::Display,
{
    let (head, body) = request.into_parts();
    if head.method != Method::POST || !is_grpc(&head) {
        return not_grpc();
    }
    let result = receive(door, signal, &head, Reading::new(body, &door.limits)).await;
    door.intake.finished(signal, Transport::Grpc, Outcome::of(&result));
    match result {
        Ok(accepted) => taken(signal, &accepted),
        Err(refusal) => refused(&refusal),
    }
}

async fn receive<I, B>(
    door: &Door<I>,
    signal: Signal,
    head: &Parts,
    mut body: Reading<B>,
) -> Result<Accepted, Refusal>
where
    I: Intake,
    B: hyper::body::Body<Data = Bytes> + Send + Unpin,
    B::Error: std::fmt::Display,
{
    let caller = door.intake.authenticate(head)?;
    let named = Encoding::of(head.headers.get(ENCODING))?;
    let room = door.intake.reserve(PREFIX_BYTES)?;
    let bytes_max = door.limits.request_bytes_max;
    let mut pieces = Pieces::new(bytes_max.saturating_add(PREFIX_BYTES), room);
    let mut announced = None;
    while let Some(piece) = body.next().await? {
        pieces.push(piece)?;
        if announced.is_none()
            && let Some([_, length @ ..]) = pieces.head::<PREFIX_BYTES>()
        {
            let length = u32::from_be_bytes(length) as usize;
            if length > bytes_max {
                return Err(Refusal::TooLarge { bytes_max });
            }
            pieces.expect(PREFIX_BYTES + length)?;
            announced = Some(length);
        }
        if announced.is_some_and(|length| pieces.len() > PREFIX_BYTES + length) {
            return Err(Refusal::Invalid("more than one message in a unary call".to_owned()));
        }
    }
    let (bytes, room) = pieces.finish();
    if announced.is_none_or(|length| bytes.len() < PREFIX_BYTES + length) {
        return Err(Refusal::Invalid("the call ended before its message did".to_owned()));
    }
    let encoding = match (bytes[0], named) {
        (0, _) => Encoding::Identity,
        (1, Encoding::Gzip | Encoding::Zstd) => named,
        _ => {
            return Err(Refusal::Invalid("a compressed message without its grpc-encoding".to_owned()));
        }
    };
    let bytes = bytes.slice(PREFIX_BYTES..);
    let whole = Whole { signal, form: Form::Protobuf, encoding, bytes, room };
    door.hand_in(&caller, prepare(whole, bytes_max, &door.heavy).await?).await
}

fn is_grpc(head: &Parts) -> bool {
    let kind = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let rest = kind.and_then(|kind| kind.strip_prefix(GRPC));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(';') || rest.starts_with("+proto"))
}

fn not_grpc() -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    response
}

fn taken(signal: Signal, accepted: &Accepted) -> Response<Body> {
    let message = answer::response(signal, Form::Protobuf, accepted);
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    framed.put_u8(0);
    // The reason of a partial success is a sentence.
    framed.put_u32(message.len() as u32);
    framed.put_slice(&message);
    let mut trailers = HeaderMap::new();
    trailers.insert(STATUS, HeaderValue::from_static("0"));
    let mut response = Response::new(Body::with_trailers(framed.freeze(), trailers));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(GRPC));
    response
}

fn refused(refusal: &Refusal) -> Response<Body> {
    let (code, message) = (refusal.code(), refusal.to_string());
    let status = match refusal.retry_after() {
        // Clients take a RetryInfo for a promise that a repeat can succeed: it is there only then.
        after @ Some(_) if matches!(code, Code::Unavailable | Code::ResourceExhausted) => {
            let details = answer::status(code, &message, after, Form::Protobuf);
            Status::with_details(code, message, details)
        }
        _ => Status::new(code, message),
    };
    let mut response = status.into_http::<Body>();
    if code == Code::Unimplemented {
        response.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static(KNOWN));
    }
    response
}
