//! Scalars: what a JSON value of a kind is on the wire.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::error::{Fault, Found, Reason};
use super::lexer::{Lexer, number_length};
use super::schema::Kind;

/// A scalar as protobuf has it.
#[derive(Debug, PartialEq)]
pub(super) enum Scalar<'t> {
    Varint(u64),
    Fixed32(u32),
    Fixed64(u64),
    Text(Cow<'t, [u8]>),
}

impl Scalar<'_> {
    /// Whether it is what an absent field means.
    pub fn is_default(&self) -> bool {
        match self {
            Scalar::Varint(value) | Scalar::Fixed64(value) => *value == 0,
            Scalar::Fixed32(value) => *value == 0,
            Scalar::Text(text) => text.is_empty(),
        }
    }
}

/// Takes a value of `kind`, which is not a message.
pub(super) fn read<'t>(lexer: &mut Lexer<'t>, kind: Kind) -> Result<Scalar<'t>, Fault> {
    Ok(match kind {
        Kind::Bool => Scalar::Varint(u64::from(lexer.bool()?)),
        Kind::Enum => Scalar::Varint(enumeration(lexer)? as u64),
        Kind::Int32 => Scalar::Varint(int32(lexer)? as u64),
        Kind::Sint32 => {
            let value = int32(lexer)?;
            Scalar::Varint(((value << 1) ^ (value >> 63)) as u64)
        }
        Kind::Uint32 => Scalar::Varint(u64::from(uint32(lexer)?)),
        Kind::Fixed32 => Scalar::Fixed32(uint32(lexer)?),
        Kind::Int64 => Scalar::Varint(int64(lexer)? as u64),
        Kind::Sfixed64 => Scalar::Fixed64(int64(lexer)? as u64),
        Kind::Uint64 => Scalar::Varint(uint64(lexer)?),
        Kind::Fixed64 => Scalar::Fixed64(uint64(lexer)?),
        Kind::Double => Scalar::Fixed64(double(lexer)?.to_bits()),
        Kind::String => Scalar::Text(match lexer.string()? {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        }),
        Kind::Bytes => Scalar::Text(Cow::Owned(bytes(lexer)?)),
        Kind::TraceId => Scalar::Text(Cow::Owned(id(lexer, 32)?)),
        Kind::SpanId => Scalar::Text(Cow::Owned(id(lexer, 16)?)),
        Kind::Message(_) => return Err(lexer.unexpected("a scalar")),
    })
}

/// An enum's number, sign-extended; a name is refused (OTLP's own rule).
fn enumeration(lexer: &mut Lexer<'_>) -> Result<i64, Fault> {
    let expected = "the number of an enum";
    let offset = lexer.next_offset();
    integer(lexer, expected, i128::from(i32::MIN), i128::from(i32::MAX)).map(|value| value as i64).map_err(
        |fault| match fault.reason() {
            Reason::NotANumber { .. } => Fault::new(offset, Reason::EnumName),
            _ => fault,
        },
    )
}

fn int32(lexer: &mut Lexer<'_>) -> Result<i64, Fault> {
    let expected = "a signed integer of 32 bits";
    integer(lexer, expected, i128::from(i32::MIN), i128::from(i32::MAX)).map(|value| value as i64)
}

fn uint32(lexer: &mut Lexer<'_>) -> Result<u32, Fault> {
    integer(lexer, "an unsigned integer of 32 bits", 0, i128::from(u32::MAX)).map(|value| value as u32)
}

fn int64(lexer: &mut Lexer<'_>) -> Result<i64, Fault> {
    let expected = "a signed integer of 64 bits";
    integer(lexer, expected, i128::from(i64::MIN), i128::from(i64::MAX)).map(|value| value as i64)
}

fn uint64(lexer: &mut Lexer<'_>) -> Result<u64, Fault> {
    integer(lexer, "an unsigned integer of 64 bits", 0, i128::from(u64::MAX)).map(|value| value as u64)
}

/// A whole number within bounds, bare or in quotation marks.
fn integer(lexer: &mut Lexer<'_>, expected: &'static str, min: i128, max: i128) -> Result<i128, Fault> {
    let (offset, text) = numeric(lexer, expected)?;
    if number_length(text.as_bytes()) != Some(text.len()) {
        return Err(Fault::new(offset, Reason::NotANumber { expected }));
    }
    match whole(&text) {
        Whole::Value(value) if (min..=max).contains(&value) => Ok(value),
        Whole::Value(_) | Whole::TooLarge => Err(Fault::new(offset, Reason::OutOfRange { expected })),
        Whole::Fraction => Err(Fault::new(offset, Reason::Fraction { expected })),
    }
}

fn double(lexer: &mut Lexer<'_>) -> Result<f64, Fault> {
    let expected = "a number";
    let (offset, text) = numeric(lexer, expected)?;
    match &*text {
        "NaN" => return Ok(f64::NAN),
        "Infinity" => return Ok(f64::INFINITY),
        "-Infinity" => return Ok(f64::NEG_INFINITY),
        _ => {}
    }
    if number_length(text.as_bytes()) != Some(text.len()) {
        return Err(Fault::new(offset, Reason::NotANumber { expected }));
    }
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err(Fault::new(offset, Reason::OutOfRange { expected: "a double" })),
    }
}

/// The text of a number or of a string, and where it begins.
fn numeric<'t>(lexer: &mut Lexer<'t>, expected: &'static str) -> Result<(usize, Cow<'t, str>), Fault> {
    let offset = lexer.next_offset();
    let text = match lexer.peek() {
        Found::Number => Cow::Borrowed(lexer.number()?),
        Found::String => lexer.string()?,
        _ => return Err(lexer.unexpected(expected)),
    };
    Ok((offset, text))
}

/// What a decimal number is as a whole one.
#[derive(Debug, PartialEq)]
enum Whole {
    Value(i128),
    Fraction,
    TooLarge,
}

/// Exact for any exponent: `1795280419445208432.0` and `1.795280419445208432e18` lose nothing on the way through a double.
/// `number` is one by JSON's grammar.
fn whole(number: &str) -> Whole {
    let (negative, number) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number),
    };
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        // An exponent beyond i64 is as good as its bound.
        Some((mantissa, exponent)) => (mantissa, exponent.parse().unwrap_or(beyond(exponent))),
        None => (number, 0),
    };
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || integer.bytes().chain(fraction.bytes());
    let leading = digits().take_while(|&digit| digit == b'0').count();
    let length = integer.len() + fraction.len();
    if leading == length {
        return Whole::Value(0);
    }
    let trailing = digits().rev().take_while(|&digit| digit == b'0').count();
    let scale = i64::saturating_add(exponent, trailing as i64 - fraction.len() as i64);
    if scale < 0 {
        return Whole::Fraction;
    }
    let significant = length - leading - trailing;
    // 20 digits hold every integer of 64 bits.
    if significant as i64 > 20 || scale > 20 - significant as i64 {
        return Whole::TooLarge;
    }
    let mut value: i128 = 0;
    for digit in digits().skip(leading).take(significant) {
        value = value * 10 + i128::from(digit - b'0');
    }
    for _ in 0..scale {
        value *= 10;
    }
    Whole::Value(if negative { -value } else { value })
}

fn beyond(exponent: &str) -> i64 {
    if exponent.starts_with('-') { i64::MIN } else { i64::MAX }
}

/// An id of so many hexadecimal digits, or none.
fn id(lexer: &mut Lexer<'_>, digits: usize) -> Result<Vec<u8>, Fault> {
    let offset = lexer.next_offset();
    let text = lexer.string()?;
    if text.is_empty() {
        return Ok(Vec::new());
    }
    if text.len() != digits {
        return Err(Fault::new(offset, Reason::IdLength { digits, found: text.len() }));
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| Some((digit(pair[0])? << 4 | digit(pair[1])?) as u8))
        .collect::<Option<Vec<u8>>>()
        .ok_or_else(|| Fault::new(offset, Reason::IdDigit { digits }))
}

// protobuf's JSON takes both alphabets, padding or none, and does not look at bits beyond the last byte.
const BASE64: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const BASE64_STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, BASE64);
const BASE64_URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, BASE64);

fn bytes(lexer: &mut Lexer<'_>) -> Result<Vec<u8>, Fault> {
    let offset = lexer.next_offset();
    let text = lexer.string()?;
    let engine = if text.contains(['-', '_']) { BASE64_URL_SAFE } else { BASE64_STANDARD };
    engine.decode(text.as_bytes()).map_err(|_| Fault::new(offset, Reason::NotBase64))
}
