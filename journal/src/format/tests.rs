use super::*;

#[test]
fn the_checksum_is_castagnoli() {
    assert_eq!(crc32c::crc32c(b"123456789"), 0xE306_9283);
}

#[test]
fn a_segment_head_reads_back_and_survives_any_one_flipped_bit() {
    let head = SegmentHead { journal_id: [7; 16], first: 42, created_wall_us: 99 };
    let bytes = head.encode();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes;
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(SegmentHead::decode(&flipped), Decoded::Valid(head), "bit {bit}");
    }
}

#[test]
fn a_head_of_a_newer_version_is_told_from_a_damaged_one() {
    let mut bytes = SegmentHead { journal_id: [7; 16], first: 42, created_wall_us: 99 }.encode();
    for copy in [0, SECOND_COPY_OFFSET] {
        bytes[copy + 8] = 9;
        let crc = crc32c::crc32c(&bytes[copy..copy + 60]);
        bytes[copy + 60..copy + 64].copy_from_slice(&crc.to_le_bytes());
    }
    assert_eq!(SegmentHead::decode(&bytes), Decoded::Newer(9));
}

#[test]
fn a_frame_belongs_to_one_segment_of_one_log_alone() {
    let id = [3; 16];
    let head = FrameHead {
        frame_type: FrameType::Record,
        kind: 1,
        meta_len: 4,
        payload_len: 0,
        position: 5,
        wall_us: 6,
        synced: 4,
        payload_crc: 0,
    };
    let mut bytes = Vec::new();
    head.encode(Salt::new(&id, 1), b"meta", &mut bytes);
    assert_eq!(bytes.len() as u64, head.frame_len());
    assert_eq!(FrameHead::decode(&bytes), Some(head));
    assert!(head.is_valid(Salt::new(&id, 1), &bytes));
    assert!(!head.is_valid(Salt::new(&id, 2), &bytes));
    assert!(!head.is_valid(Salt::new(&[4; 16], 1), &bytes));
}
