use std::io::Write;
use std::sync::Arc;

use super::*;
use crate::receive::Budget;

const MAX: usize = 1 << 20;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 1).expect("memory")
}

fn compress(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
    if encoding == Encoding::Gzip { gzip(bytes) } else { zstd(bytes) }
}

fn budget() -> Arc<Budget> {
    Budget::new(8 * MAX)
}

fn open(encoding: Encoding, input: &[u8]) -> Result<Bytes, Stop> {
    let mut room = budget().reserve(input.len()).expect("room");
    let output = inflate(encoding, &Bytes::copy_from_slice(input), MAX, &mut room)?;
    assert!(room.bytes() >= output.len(), "what came out is covered");
    Ok(output)
}

fn is_invalid(result: &Result<Bytes, Stop>) -> bool {
    matches!(result, Err(Stop::Refused(Refusal::Invalid(_))))
}

#[test]
fn what_was_compressed_comes_out_up_to_the_bound_itself() {
    let mut random = fastrand::Rng::with_seed(1);
    for bytes in [0, 1, 1000, FIRST_BYTES, FIRST_BYTES + 1, MAX - 1, MAX] {
        let noise: Vec<u8> = (0..bytes).map(|_| random.u8(..)).collect();
        for text in [noise, vec![7; bytes]] {
            for encoding in [Encoding::Gzip, Encoding::Zstd] {
                assert_eq!(open(encoding, &compress(encoding, &text)).expect("valid"), text, "{bytes}");
            }
            assert_eq!(open(Encoding::Identity, &text).expect("as it is"), text);
        }
    }
}

#[test]
fn one_byte_over_the_bound_is_over_it_whether_the_stream_says_so_or_not() {
    let text = vec![7; MAX + 1];
    for encoding in [Encoding::Gzip, Encoding::Zstd] {
        assert_eq!(open(encoding, &compress(encoding, &text)), Err(Stop::Over));
    }
    let mut lying = gzip(&text);
    let end = lying.len() - 4;
    lying[end..].copy_from_slice(&5_u32.to_le_bytes());
    assert_eq!(open(Encoding::Gzip, &lying), Err(Stop::Over));
    let mut silent = zstd::stream::Encoder::new(Vec::new(), 1).expect("memory");
    silent.write_all(&text).expect("memory");
    let silent = silent.finish().expect("memory");
    assert!(matches!(zstd_safe::get_frame_content_size(&silent), Ok(None)));
    assert_eq!(open(Encoding::Zstd, &silent), Err(Stop::Over));
}

#[test]
fn members_and_frames_are_joined_as_long_as_they_are_few() {
    for encoding in [Encoding::Gzip, Encoding::Zstd] {
        let few: Vec<u8> = (0..100).flat_map(|n: u8| compress(encoding, &[n; 3])).collect();
        let wanted: Vec<u8> = (0..100).flat_map(|n: u8| [n; 3]).collect();
        assert_eq!(open(encoding, &few).expect("valid"), wanted);
        let many = compress(encoding, b"").repeat(MEMBERS_MAX + 1);
        assert!(is_invalid(&open(encoding, &many)));
        let large = compress(encoding, &vec![0; MAX / 2 + 1]).repeat(2);
        assert_eq!(open(encoding, &large), Err(Stop::Over));
    }
}

#[test]
fn no_damage_makes_it_panic_or_go_over_the_bound() {
    let mut random = fastrand::Rng::with_seed(2);
    for encoding in [Encoding::Gzip, Encoding::Zstd] {
        let whole = compress(encoding, &b"one two three ".repeat(1000));
        for cut in 0..whole.len() {
            assert!(open(encoding, &whole[..cut]).is_err() || cut == 0, "{cut} bytes of {}", whole.len());
        }
        for _ in 0..2000 {
            let mut damaged = whole.clone();
            let at = random.usize(..damaged.len());
            damaged[at] ^= 1 << random.u8(..8);
            if let Ok(output) = open(encoding, &damaged) {
                assert!(output.len() <= MAX);
            }
        }
        assert!(is_invalid(&open(encoding, b"plain text that nobody compressed")));
    }
}

#[test]
fn a_window_that_only_archives_need_is_refused() {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).expect("memory");
    encoder.window_log(25).expect("allowed");
    encoder.write_all(&[1; 100]).expect("memory");
    assert!(is_invalid(&open(Encoding::Zstd, &encoder.finish().expect("memory"))));
}

#[test]
fn output_that_has_no_room_is_not_allocated() {
    for encoding in [Encoding::Gzip, Encoding::Zstd] {
        let input = Bytes::from(compress(encoding, &vec![0; MAX]));
        let budget = Budget::new(MAX / 4);
        let mut room = budget.reserve(input.len()).expect("room");
        let result = inflate(encoding, &input, MAX, &mut room);
        assert!(matches!(result, Err(Stop::Refused(Refusal::Overloaded { .. }))), "{result:?}");
    }
}
