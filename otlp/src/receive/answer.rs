//! What is said back, in the form of the request, and which word of which protocol a refusal is.

use std::time::Duration;

use bytes::Bytes;
use tonic::Code;

use super::prepare::Form;
use super::{Accepted, Refusal};
use crate::Signal;
use crate::json::{Status, encode_response, encode_response_protobuf};

/// When a body that was too slow may come again.
const SLOW_RETRY: Duration = Duration::from_secs(1);

/// An export response; empty when all was taken.
pub(super) fn response(signal: Signal, form: Form, accepted: &Accepted) -> Bytes {
    let Accepted { rejected, message } = accepted;
    Bytes::from(match form {
        Form::Protobuf => encode_response_protobuf(*rejected, message),
        Form::Json => encode_response(signal, *rejected, message),
    })
}

/// An error's `google.rpc.Status`.
pub(super) fn status(code: Code, message: &str, retry_after: Option<Duration>, form: Form) -> Bytes {
    let status = Status { code, message: message.to_owned(), retry_after };
    Bytes::from(match form {
        Form::Protobuf => status.to_protobuf(),
        Form::Json => status.to_json(),
    })
}

impl Refusal {
    /// gRPC's word for it.
    pub(super) fn code(&self) -> Code {
        match self {
            Self::Unauthenticated => Code::Unauthenticated,
            Self::Invalid(_) => Code::InvalidArgument,
            Self::TooLarge { .. } | Self::Limited { .. } => Code::ResourceExhausted,
            Self::Unsupported(_) => Code::Unimplemented,
            Self::Slow => Code::DeadlineExceeded,
            Self::Overloaded { .. } | Self::Unavailable { .. } => Code::Unavailable,
            Self::Internal => Code::Internal,
        }
    }

    /// When the same request may come again, if it may.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Overloaded { retry_after }
            | Self::Limited { retry_after, .. }
            | Self::Unavailable { retry_after } => Some(*retry_after),
            Self::Slow => Some(SLOW_RETRY),
            _ => None,
        }
    }
}
