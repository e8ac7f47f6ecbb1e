//! How much of the log lies behind a reader, in bytes.
//!
//! Known to the byte at a segment's ends; inside a segment it is taken that its records are of one size. Good enough
//! to bound a queue by, and it reads nothing.

use crate::record::Position;
use crate::segments::{Segment, Segments};

/// Bytes of the records after `position`.
pub(crate) fn bytes_after(segments: &Segments, position: Position) -> u64 {
    segments.list.iter().map(|segment| bytes_of(segment, position.0)).sum()
}

/// The first position that has at most `bytes` after it.
pub(crate) fn position_before(segments: &Segments, bytes: u64) -> Position {
    let mut room = bytes;
    for segment in segments.list.iter().rev() {
        if segment.end > room {
            let part = u128::from(records(segment)) * u128::from(room) / u128::from(segment.end);
            // No more than the segment has.
            return Position(segment.last - part as u64);
        }
        room -= segment.end;
    }
    Position(segments.first_position().0 - 1)
}

fn records(segment: &Segment) -> u64 {
    (segment.last + 1).saturating_sub(segment.first)
}

fn bytes_of(segment: &Segment, after: u64) -> u64 {
    let (all, left) = (records(segment), segment.last.saturating_sub(after.max(segment.first - 1)));
    if all == 0 {
        return 0;
    }
    // No more than `end`: `left` is at most `all`.
    (u128::from(segment.end) * u128::from(left) / u128::from(all)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments() -> Segments {
        let segment = |first, last, end| {
            let mut segment = Segment::new(first, end, 0);
            segment.last = last;
            segment
        };
        Segments { list: vec![segment(1, 10, 1_000), segment(11, 20, 2_000), segment(21, 20, 64)] }
    }

    #[test]
    fn whole_segments_count_in_full_and_parts_by_their_records() {
        let segments = segments();
        assert_eq!(bytes_after(&segments, Position(0)), 3_000);
        assert_eq!(bytes_after(&segments, Position(5)), 2_500);
        assert_eq!(bytes_after(&segments, Position(20)), 0);
        assert_eq!(bytes_after(&segments, Position(99)), 0);
    }

    #[test]
    fn the_position_that_leaves_some_bytes_leaves_no_more() {
        let segments = segments();
        for bytes in [0, 64, 500, 1_999, 2_064, 2_500, 9_000] {
            let position = position_before(&segments, bytes);
            assert!(bytes_after(&segments, position) <= bytes, "{bytes}: {position}");
        }
        assert_eq!(position_before(&segments, 9_000), Position(0));
        assert_eq!(position_before(&segments, 0), Position(20));
    }
}
