//! Requests made up from the tables, as awkward as the format allows: fields in any order and number, messages in
//! pieces, packed and unpacked, unknown fields and groups, integers with needless bytes. And damage done to them.

use fastrand::Rng;

use crate::Signal;
use crate::wire::schema::{self, Kind, Table};

const TEXTS: [&str; 12] = [
    "",
    "k",
    "user.name",
    "muster.team",
    "muster.item.id",
    "service.name",
    "exactly8",
    "ein Schlüssel",
    "\u{7f}\u{80}",
    "日本語のテキスト",
    "a text of more than sixteen bytes",
    "claude_code.token.usage of a text that is long enough to have a length of two bytes, which begins at one \
     hundred and twenty-eight bytes",
];

/// A request of which most are valid: a few go wrong where a group or a text is made up of noise.
pub(super) fn request(signal: Signal, seed: u64) -> Vec<u8> {
    let mut generator = Generator { rng: Rng::with_seed(seed), levels: 0, left: 120 };
    let mut out = Vec::new();
    generator.message(schema::request(signal), &mut out);
    out
}

/// The same request after some damage.
pub(super) fn damaged(signal: Signal, mut bytes: Vec<u8>, seed: u64) -> Vec<u8> {
    let mut rng = Rng::with_seed(!seed);
    for _ in 0..rng.u32(1..=3) {
        if bytes.is_empty() {
            return bytes;
        }
        let at = rng.usize(0..bytes.len());
        match rng.u32(0..7) {
            0 | 1 => bytes[at] ^= 1 << rng.u32(0..8),
            2 => bytes[at] = rng.u8(..),
            3 => bytes.truncate(at),
            4 => drop(bytes.remove(at)),
            5 => bytes.insert(at, [0, 0x0a, 0x12, 0x80, 0xff, rng.u8(..)][rng.usize(0..6)]),
            _ => {
                let other = request(signal, rng.u64(..));
                let (from, to) = (rng.usize(0..=other.len()), rng.usize(0..=other.len()));
                let end = (at + rng.usize(0..16)).min(bytes.len());
                bytes.splice(at..end, other[from.min(to)..from.max(to)].iter().copied());
            }
        }
    }
    bytes
}

struct Generator {
    rng: Rng,
    levels: u32,
    /// Fields that may still be written.
    left: u32,
}

impl Generator {
    fn message(&mut self, table: &Table, out: &mut Vec<u8>) {
        let known: Vec<u32> =
            (1..=16).filter(|&number| !matches!(table.kind(number), Kind::Unknown)).collect();
        // The upper levels have some of everything, so that there are items; the lower ones end.
        let fields = if self.levels < 4 { self.rng.u32(2..=5) } else { self.rng.u32(0..=4) };
        for _ in 0..fields {
            if self.left == 0 {
                return;
            }
            self.left -= 1;
            match self.rng.u32(0..40) {
                0 => self.unknown(table, out),
                // Whether the tables have all fields is asked by wire types that would be wrong for them.
                1 if self.rng.u32(0..8) == 0 => {
                    let number = self.rng.u32(1..=17);
                    self.any_field(number, out);
                }
                _ => {
                    let number = self.rng.choice(&known).copied().unwrap_or(1);
                    self.field(number, table.kind(number), out);
                }
            }
        }
    }

    fn field(&mut self, number: u32, kind: Kind, out: &mut Vec<u8>) {
        match kind {
            Kind::Unknown => {}
            Kind::Varint => self.key_then(number, 0, out, Self::varint),
            Kind::Fixed32 => self.key_then(number, 5, out, |rng, out| out.extend(rng.u32(..).to_le_bytes())),
            Kind::Fixed64 => self.key_then(number, 1, out, Self::fixed64),
            Kind::Text => {
                let text = *self.rng.choice(&TEXTS).unwrap_or(&"");
                self.delimited(number, text.as_bytes(), out);
            }
            Kind::Bytes => {
                let bytes: Vec<u8> = (0..self.rng.usize(0..20)).map(|_| self.rng.u8(..)).collect();
                self.delimited(number, &bytes, out);
            }
            Kind::Varints if self.rng.bool() => self.key_then(number, 0, out, Self::varint),
            Kind::Fixed64s if self.rng.bool() => self.key_then(number, 1, out, Self::fixed64),
            Kind::Varints => self.packed(number, out, Self::varint),
            Kind::Fixed64s => self.packed(number, out, Self::fixed64),
            Kind::Attribute => self.field(number, Kind::Message(&schema::KEY_VALUE), out),
            Kind::Message(inner) => {
                let mut value = Vec::new();
                self.levels += 1;
                self.message(inner, &mut value);
                self.levels -= 1;
                self.delimited(number, &value, out);
            }
        }
    }

    /// A field that the message does not have: it is to be skipped and kept.
    fn unknown(&mut self, table: &Table, out: &mut Vec<u8>) {
        let number = *self.rng.choice(&[4, 13, 15, 17, 19, 1000, (1 << 29) - 1]).unwrap_or(&1000);
        if matches!(table.kind(number), Kind::Unknown) {
            self.any_field(number, out);
        }
    }

    fn any_field(&mut self, number: u32, out: &mut Vec<u8>) {
        match self.rng.u32(0..5) {
            0 => self.key_then(number, 0, out, Self::varint),
            1 => self.key_then(number, 1, out, Self::fixed64),
            2 => self.key_then(number, 5, out, |rng, out| out.extend(rng.u32(..).to_le_bytes())),
            3 => self.delimited(number, b"\xffnobody knows", out),
            _ => {
                key(number, 3, out);
                let inner = self.rng.u32(1..20);
                if self.left > 0 && self.rng.bool() {
                    self.left -= 1;
                    self.any_field(inner, out);
                }
                key(if self.rng.u32(0..20) == 0 { inner } else { number }, 4, out);
            }
        }
    }

    fn key_then(&mut self, number: u32, wire: u32, out: &mut Vec<u8>, value: fn(&mut Rng, &mut Vec<u8>)) {
        key(number, wire, out);
        value(&mut self.rng, out);
    }

    fn packed(&mut self, number: u32, out: &mut Vec<u8>, value: fn(&mut Rng, &mut Vec<u8>)) {
        let mut packed = Vec::new();
        (0..self.rng.u32(0..4)).for_each(|_| value(&mut self.rng, &mut packed));
        self.delimited(number, &packed, out);
    }

    fn delimited(&mut self, number: u32, value: &[u8], out: &mut Vec<u8>) {
        key(number, 2, out);
        varint(value.len() as u64, if self.rng.u32(0..30) == 0 { 2 } else { 0 }, out);
        out.extend_from_slice(value);
    }

    fn varint(rng: &mut Rng, out: &mut Vec<u8>) {
        let bits = rng.u32(0..64);
        varint(rng.u64(..) >> bits, 0, out);
    }

    fn fixed64(rng: &mut Rng, out: &mut Vec<u8>) {
        out.extend(rng.u64(..).to_le_bytes());
    }
}

/// Appends a field's key.
pub(super) fn key(number: u32, wire: u32, out: &mut Vec<u8>) {
    varint(u64::from(number << 3 | wire), 0, out);
}

/// Appends an integer with `needless` bytes that say nothing.
fn varint(mut value: u64, needless: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    if needless == 0 {
        out.push(value as u8);
    } else {
        out.push(value as u8 | 0x80);
        out.extend(std::iter::repeat_n(0x80, needless - 1));
        out.push(0);
    }
}
