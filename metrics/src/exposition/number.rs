//! Numbers on a page.

/// An integer.
pub(super) fn push_integer(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// A number of millionths as a decimal: exact, without trailing zeros.
pub(super) fn push_millionths(number: u64, out: &mut Vec<u8>) {
    push_integer(number / 1_000_000, out);
    push_fraction(number % 1_000_000, 6, out);
}

/// Shortest text that reads back as the same number; whole numbers without a fraction.
pub(super) fn push_float(number: f64, out: &mut Vec<u8>) {
    if number.fract() == 0.0 && number.abs() < 1e15 {
        out.extend_from_slice(itoa::Buffer::new().format(number as i64).as_bytes());
    } else {
        out.extend_from_slice(ryu::Buffer::new().format(number).as_bytes());
    }
}

/// As [`push_float`], with the words for what is no finite number.
pub(super) fn push_any_float(number: f64, out: &mut Vec<u8>) {
    if number.is_finite() {
        return push_float(number, out);
    }
    let word = if number.is_nan() {
        "NaN"
    } else if number > 0.0 {
        "+Inf"
    } else {
        "-Inf"
    };
    out.extend_from_slice(word.as_bytes());
}

/// A number of `unit`ths (1,000 or 1,000,000), as [`push_millionths`].
pub(super) fn push_scaled(number: u64, unit: u64, out: &mut Vec<u8>) {
    push_integer(number / unit, out);
    push_fraction(number % unit, unit.ilog10(), out);
}

/// As [`push_scaled`], and always with a fraction: OpenMetrics' canonical form of `le`.
pub(super) fn push_scaled_canonical(number: u64, unit: u64, out: &mut Vec<u8>) {
    push_scaled(number, unit, out);
    if number.is_multiple_of(unit) {
        out.extend_from_slice(b".0");
    }
}

fn push_fraction(mut fraction: u64, mut digits: u32, out: &mut Vec<u8>) {
    if fraction == 0 {
        return;
    }
    while fraction.is_multiple_of(10) {
        fraction /= 10;
        digits -= 1;
    }
    out.push(b'.');
    let leading = digits - fraction.ilog10() - 1;
    out.extend(std::iter::repeat_n(b'0', leading as usize));
    push_integer(fraction, out);
}

/// OpenMetrics' canonical form of a bound: always with a fraction or an exponent.
pub(super) fn canonical_float(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if (1e-4..1e15).contains(&number.abs()) || number == 0.0 {
        return format!("{number:?}");
    }
    let text = format!("{number:e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let digits = if digits.contains('.') { digits.to_owned() } else { format!("{digits}.0") };
            let (sign, exponent) = exponent.strip_prefix('-').map_or(("+", exponent), |rest| ("-", rest));
            format!("{digits}e{sign}{exponent:0>2}")
        }
        None => text,
    }
}
