//! Decompression with a bound on what comes out (reliability.md B12).
//!
//! A stream that says of itself that it is larger than the bound is refused without looking further; one that lies is
//! refused at the bound. What comes out is covered by the request's room before it is allocated.

use std::io::Read;

use bytes::Bytes;
use flate2::bufread::GzDecoder;
use http::HeaderValue;
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};
use zstd::zstd_safe;

use super::{Refusal, Room};

/// The encodings that are known, as gRPC and HTTP name them.
pub(super) const KNOWN: &str = "identity,gzip,zstd";
/// Gzip members or zstd frames of one request: clients write one, and each costs a set-up.
const MEMBERS_MAX: usize = 1024;
/// The first bytes of each gzip member.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// A window of 8 MiB is what a decoder must have (RFC 8878 section 3.1.1.1.2); larger ones are for archives.
const WINDOW_LOG_MAX: u32 = 23;
/// What is believed of a stream's own word on its size: a multiple of what was sent for it.
const BELIEVED_RATIO: usize = 64;
/// The least that is allocated for output.
const FIRST_BYTES: usize = 16 << 10;

/// How a request is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

/// Why there is no output.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// It is larger than the bound.
    Over,
    /// It cannot be had.
    Refused(Refusal),
}

struct Output<'a> {
    bytes: Vec<u8>,
    bytes_max: usize,
    input_bytes: usize,
    room: &'a mut Room,
}

impl Encoding {
    /// The encoding that a header names; none is the identity.
    pub(super) fn of(header: Option<&HeaderValue>) -> Result<Self, Refusal> {
        let Some(header) = header else { return Ok(Self::Identity) };
        let name = header.to_str().unwrap_or("?").trim();
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match () {
            () if name.is_empty() || is("identity") => Ok(Self::Identity),
            () if is("gzip") || is("x-gzip") => Ok(Self::Gzip),
            () if is("zstd") => Ok(Self::Zstd),
            () => Err(Refusal::Unsupported(format!("encoding {name:?} is not known; use one of {KNOWN}"))),
        }
    }
}

/// Decompresses; `room` covers `input` already, and covers the output too when this succeeds.
pub(super) fn inflate(
    encoding: Encoding,
    input: &Bytes,
    bytes_max: usize,
    room: &mut Room,
) -> Result<Bytes, Stop> {
    // Nothing is nothing, whatever the header says.
    if encoding == Encoding::Identity || input.is_empty() {
        return Ok(input.clone());
    }
    let declared = match encoding {
        Encoding::Gzip => declared_by_gzip(input),
        _ => zstd_safe::get_frame_content_size(input).ok().flatten(),
    };
    if declared.is_some_and(|bytes| bytes > bytes_max as u64) {
        return Err(Stop::Over);
    }
    let mut output = Output { bytes: Vec::new(), bytes_max, input_bytes: input.len(), room };
    let believed = declared.unwrap_or(0).min((input.len() * BELIEVED_RATIO) as u64);
    output.allocate(believed as usize)?;
    match encoding {
        Encoding::Gzip => gunzip(input, &mut output)?,
        _ => unzstd(input, &mut output)?,
    }
    Ok(Bytes::from(output.bytes))
}

/// The size at the end of the last member, modulo 2^32.
fn declared_by_gzip(input: &[u8]) -> Option<u64> {
    input.strip_prefix(&GZIP_MAGIC)?.last_chunk().map(|size| u64::from(u32::from_le_bytes(*size)))
}

fn gunzip(input: &[u8], output: &mut Output<'_>) -> Result<(), Stop> {
    let mut rest = input;
    for _ in 0..MEMBERS_MAX {
        let mut member = GzDecoder::new(rest);
        loop {
            output.make_room()?;
            let spare = output.bytes.capacity() - output.bytes.len();
            let read = member.by_ref().take(spare as u64).read_to_end(&mut output.bytes);
            if read.map_err(|error| broken("gzip", &error))? < spare {
                break;
            }
        }
        rest = member.into_inner();
        if rest.is_empty() {
            return output.check();
        }
    }
    Err(broken("gzip", &"too many members"))
}

fn unzstd(input: &[u8], output: &mut Output<'_>) -> Result<(), Stop> {
    let mut decoder = Decoder::new().map_err(|_| Stop::Refused(Refusal::Internal))?;
    let window = decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX));
    window.map_err(|_| Stop::Refused(Refusal::Internal))?;
    let mut input_left = InBuffer::around(input);
    let mut frames = 0;
    while frames < MEMBERS_MAX {
        output.make_room()?;
        let written = output.bytes.len();
        let wanted = {
            let mut buffer = OutBuffer::around_pos(&mut output.bytes, written);
            decoder.run(&mut input_left, &mut buffer).map_err(|error| broken("zstd", &error))?
        };
        let is_read = input_left.pos() == input.len();
        if wanted == 0 {
            frames += 1;
            if is_read {
                return output.check();
            }
        } else if is_read && output.bytes.len() < output.bytes.capacity() {
            return Err(broken("zstd", &"broken off"));
        }
    }
    Err(broken("zstd", &"too many frames"))
}

fn broken(encoding: &str, error: &dyn std::fmt::Display) -> Stop {
    Stop::Refused(Refusal::Invalid(format!("request is no valid {encoding}: {error}")))
}

impl Output<'_> {
    /// At least one byte to write to; one over the bound tells that it is passed.
    fn make_room(&mut self) -> Result<(), Stop> {
        self.check()?;
        if self.bytes.len() == self.bytes.capacity() {
            self.allocate(2 * self.bytes.capacity())?;
        }
        Ok(())
    }

    fn allocate(&mut self, bytes: usize) -> Result<(), Stop> {
        let bytes = bytes.max(FIRST_BYTES).min(self.bytes_max + 1);
        // Old and new are there together while one is copied into the other.
        let both = self.input_bytes + self.bytes.capacity() + bytes;
        self.room.grow_to(both).map_err(Stop::Refused)?;
        self.bytes.reserve_exact(bytes - self.bytes.len());
        self.room.shrink_to(self.input_bytes + bytes);
        Ok(())
    }

    fn check(&self) -> Result<(), Stop> {
        if self.bytes.len() > self.bytes_max { Err(Stop::Over) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
