//! Damaged and random bytes. Each case has its own seed, which a failure prints: `one_case` with it is the same case.

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use prost::Message;

use super::generate;
use crate::json::{decode, encode};
use crate::proto::collector_logs::ExportLogsServiceRequest;
use crate::proto::collector_metrics::ExportMetricsServiceRequest;
use crate::proto::collector_trace::ExportTraceServiceRequest;
use crate::{Signal, wire};

const CASES: u64 = 4_000;

/// Prints the seed of a case that panics, wherever in it that is.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the case that failed has seed {}", self.0);
        }
    }
}

fn for_each_seed(one_case: impl Fn(&mut fastrand::Rng)) {
    for seed in 0..CASES {
        let _seed = Seed(seed);
        one_case(&mut fastrand::Rng::with_seed(seed));
    }
}

/// As prost reads and writes it.
fn canonical(signal: Signal, bytes: &[u8]) -> Result<Vec<u8>, prost::DecodeError> {
    Ok(match signal {
        Signal::Logs => ExportLogsServiceRequest::decode(bytes)?.encode_to_vec(),
        Signal::Metrics => ExportMetricsServiceRequest::decode(bytes)?.encode_to_vec(),
        Signal::Traces => ExportTraceServiceRequest::decode(bytes)?.encode_to_vec(),
    })
}

fn requests() -> Vec<(Signal, Vec<u8>)> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut requests = Vec::new();
    for _ in 0..20 {
        requests
            .push((Signal::Logs, generate::logs().new_tree(&mut runner).unwrap().current().encode_to_vec()));
        requests.push((
            Signal::Metrics,
            generate::metrics().new_tree(&mut runner).unwrap().current().encode_to_vec(),
        ));
        requests.push((
            Signal::Traces,
            generate::traces().new_tree(&mut runner).unwrap().current().encode_to_vec(),
        ));
    }
    requests
}

/// Whatever is taken must be what prost takes, of bounded size, and the same after another round.
fn check_text(signal: Signal, text: &[u8]) -> bool {
    let request = match decode(signal, text) {
        Ok(request) => request,
        Err(error) => {
            assert!(error.line >= 1 && error.column >= 1 && !error.to_string().is_empty());
            return false;
        }
    };
    assert!(request.len() <= 4 * text.len());
    canonical(signal, &request).unwrap();
    wire::check(signal, &request).unwrap();
    let json = encode(signal, &request).unwrap();
    let again = decode(signal, &json).unwrap();
    assert_eq!(canonical(signal, &again), canonical(signal, &request));
    assert_eq!(encode(signal, &again).unwrap(), json);
    true
}

/// Tokens that mean something, to be put where they do not belong.
const TOKENS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "null",
    "true",
    "false",
    "{}",
    "[]",
    "\"\"",
    "0",
    "-",
    "1e3",
    "1.5",
    "-0.0",
    "1e999",
    "\"NaN\"",
    "NaN",
    "\"Infinity\"",
    "\"1\"",
    "18446744073709551615",
    "\\u0000",
    "\\ud83d",
    "\\u",
    "\u{0}",
    "é",
    "\u{feff}",
    "\"timeUnixNano\":",
    "\"asInt\":1,",
    "\"asDouble\":1,",
    "\"body\":{},",
    "\"attributes\":[],",
    "\"values\":[{}]",
    "\"x\":[[{}]],",
    "\"sum\":0,",
    "\"00000000000000ff\"",
    " ",
    "\n",
];

/// A few wounds to a body: cut, repeat, overwrite, insert.
fn damage(random: &mut fastrand::Rng, text: &mut Vec<u8>) {
    for _ in 0..random.usize(1..4) {
        let at = random.usize(0..=text.len());
        let end = (at + random.usize(0..20)).min(text.len());
        match random.u8(0..6) {
            0 => drop(text.drain(at..end)),
            1 => text.truncate(at),
            2 => {
                let piece = text[at..end].to_vec();
                let to = random.usize(0..=text.len());
                text.splice(to..to, piece);
            }
            3 if at < text.len() => text[at] = random.u8(..),
            4 if at < text.len() => text[at] ^= 1 << random.u8(0..8),
            _ => {
                let token = TOKENS[random.usize(0..TOKENS.len())];
                text.splice(at..at, token.bytes());
            }
        }
    }
}

#[test]
fn random_bytes_are_refused_or_read_but_never_panic() {
    for_each_seed(|random| {
        let bytes: Vec<u8> = (0..random.usize(0..64)).map(|_| random.u8(..)).collect();
        for signal in Signal::ALL {
            check_text(signal, &bytes);
            let _ = encode(signal, &bytes);
        }
    });
}

#[test]
fn random_tokens_are_refused_or_read_but_never_panic() {
    for_each_seed(|random| {
        let mut text = String::from("{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{");
        for _ in 0..random.usize(0..12) {
            text.push_str(TOKENS[random.usize(0..TOKENS.len())]);
        }
        check_text(Signal::Logs, text.as_bytes());
        text.push_str("}]}]}]}");
        check_text(Signal::Logs, text.as_bytes());
    });
}

#[test]
fn damaged_bodies_are_refused_or_read_and_what_is_read_is_stable() {
    let requests = requests();
    let taken = std::cell::Cell::new(0);
    for_each_seed(|random| {
        let (signal, request) = &requests[random.usize(0..requests.len())];
        let mut text = encode(*signal, request).unwrap();
        damage(random, &mut text);
        taken.set(taken.get() + u64::from(check_text(*signal, &text)));
    });
    // Both must happen, or the test says nothing.
    assert!((CASES / 50..CASES).contains(&taken.get()), "{} of {CASES} taken", taken.get());
}

#[test]
fn damaged_protobuf_is_written_as_prost_reads_it() {
    let requests = requests();
    let read = std::cell::Cell::new(0);
    for_each_seed(|random| {
        let (signal, request) = &requests[random.usize(0..requests.len())];
        let (_, other) = &requests[random.usize(0..requests.len())];
        let mut bytes = request.clone();
        match random.u8(0..4) {
            // Any message once more within another: its pieces merge, its oneofs change their minds.
            0 => merge_within(random, *signal, &mut bytes),
            1 => bytes.extend_from_slice(other),
            _ => damage(random, &mut bytes),
        }
        let Ok(canonical) = canonical(*signal, &bytes) else {
            let _ = encode(*signal, &bytes);
            return;
        };
        let json = encode(*signal, &bytes).unwrap();
        let plain = encode(*signal, &canonical).unwrap();
        let text = |json: Vec<u8>| String::from_utf8(json).unwrap();
        // prost leaves a zero out whatever its sign.
        if !json.windows(4).any(|window| window == b"-0.0") {
            assert_eq!(text(json), text(plain));
        }
        read.set(read.get() + 1);
    });
    assert!((CASES / 20..CASES).contains(&read.get()), "{} of {CASES} read", read.get());
}

/// Puts two points with mixed pieces into a metrics request, and two records into one of logs.
fn merge_within(random: &mut fastrand::Rng, signal: Signal, bytes: &mut Vec<u8>) {
    let mut piece = Vec::new();
    for _ in 0..random.usize(1..10) {
        let field: &[u8] = match signal {
            // asDouble, asInt, flags, exemplars, an unknown field and group.
            Signal::Metrics => match random.u8(0..6) {
                0 => b"\x21\0\0\0\0\0\0\x14\x40",
                1 => b"\x31\x05\0\0\0\0\0\0\0",
                2 => b"\x40\x81\x02",
                3 => b"\x2a\x04\x3a\x02\x0a\0",
                4 => b"\xa2\x06\x02\x08\x01",
                _ => b"\xa3\x06\x08\x01\xa4\x06",
            },
            // body: string, array with values, array with others, list; severity over 32 bits; flags.
            _ => match random.u8(0..6) {
                0 => b"\x2a\x03\x0a\x01a",
                1 => b"\x2a\x06\x2a\x04\x0a\x02\x18\x07",
                2 => b"\x2a\x08\x2a\x06\x0a\x04\x0a\x02xy",
                3 => b"\x2a\x06\x32\x04\x0a\x02\x0a\0",
                4 => b"\x10\x80\x80\x80\x80\x10",
                _ => b"\x45\x01\x02\x03\x04",
            },
        };
        piece.extend_from_slice(field);
    }
    let path: &[u8] = match signal {
        Signal::Metrics => &[0x0a, [0x2a, 0x3a][random.usize(0..2)], 0x12, 0x12, 0x0a],
        _ => &[0x12, 0x12, 0x0a],
    };
    for key in path {
        let mut outer = vec![*key];
        prost::encoding::encode_varint(piece.len() as u64, &mut outer);
        outer.append(&mut piece);
        piece = outer;
    }
    bytes.extend_from_slice(&piece);
}

/// What is skipped must be JSON: serde_json, which ignores values the same way, is the oracle. It knows nothing of our
/// limit on depth.
#[test]
fn what_is_skipped_is_json_by_serde_jsons_judgement() {
    let sample =
        r#"{"a":[1,-2.5e-7,"\ud83d\u00e9\n",{"b":null,"c":[[],{}]},true,false],"d":{"e":"f"},"g":0}"#;
    for_each_seed(|random| {
        let mut value = sample.as_bytes().to_vec();
        damage(random, &mut value);
        let mut text = b"{\"x\":".to_vec();
        text.extend_from_slice(&value);
        text.push(b'}');
        let oracle = std::str::from_utf8(&text)
            .is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
        // A known key may come out of the damage, but none that is of a request.
        assert_eq!(decode(Signal::Logs, &text).is_ok(), oracle, "{}", String::from_utf8_lossy(&text));
    });
}
