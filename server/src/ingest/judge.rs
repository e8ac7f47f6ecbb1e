//! Whether a batch may go into the log, by its bytes alone.

use journal::stream::Sealed;
use muster::batch;
use muster::ids::{Seq, SeqRange};
use muster::v1;

/// What a batch is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It may be appended.
    Good(Sealed),
    /// Its bytes are not what was sealed: the way here damaged them, or the spool did.
    Damaged,
    /// It can never be accepted.
    Never(String),
}

/// Checks envelope, checksum and content against each other.
pub(super) fn judge(sealed: v1::SealedBatch) -> Judgement {
    let Ok(seqs) = SeqRange::new(Seq(sealed.first_seq), Seq(sealed.last_seq)) else {
        return Judgement::Never(format!(
            "sequence numbers {} to {} are no range",
            sealed.first_seq, sealed.last_seq
        ));
    };
    if crc32c::crc32c(&sealed.batch) != sealed.crc32c {
        return Judgement::Damaged;
    }
    let head = match batch::check(&sealed.batch) {
        Ok(head) => head,
        Err(error) => return Judgement::Never(error.to_string()),
    };
    if head.first_seq != sealed.first_seq || head.event_count != seqs.count() {
        return Judgement::Never(format!(
            "envelope says {} events from {}, the batch has {} from {}",
            seqs.count(),
            sealed.first_seq,
            head.event_count,
            head.first_seq
        ));
    }
    Judgement::Good(Sealed { seqs, crc32c: sealed.crc32c, bytes: sealed.batch })
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster::batch::{BatchBuilder, SourceIdentity};
    use muster::clock::WallTime;
    use muster::v1::event::Kind;

    fn sealed() -> v1::SealedBatch {
        let mut builder = BatchBuilder::new();
        let source = builder.source(&SourceIdentity::default()).expect("room");
        for n in 0..3 {
            builder.push(WallTime(n), source, Kind::SourceEnded(v1::SourceEnded {}));
        }
        let sealed = builder.seal(Seq(5)).expect("valid");
        v1::SealedBatch { first_seq: 5, last_seq: 7, batch: sealed.bytes, crc32c: sealed.crc32c }
    }

    #[test]
    fn an_envelope_must_tell_what_its_batch_has() {
        assert!(matches!(judge(sealed()), Judgement::Good(_)));
        for (first_seq, last_seq) in [(5, 8), (5, 6), (6, 8), (1, 7), (0, 2), (7, 5), (u64::MAX, u64::MAX)] {
            let judgement = judge(v1::SealedBatch { first_seq, last_seq, ..sealed() });
            assert!(matches!(judgement, Judgement::Never(_)), "{first_seq}..{last_seq}: {judgement:?}");
        }
    }

    #[test]
    fn a_flipped_bit_is_damage_and_not_a_verdict() {
        let mut batch = sealed().batch.to_vec();
        batch[3] ^= 4;
        assert_eq!(judge(v1::SealedBatch { batch: batch.into(), ..sealed() }), Judgement::Damaged);
    }

    #[test]
    fn bytes_that_are_no_batch_are_rejected_with_the_reason() {
        let batch = b"\xff\xff\xff".to_vec();
        let crc32c = crc32c::crc32c(&batch);
        let judgement = judge(v1::SealedBatch { batch: batch.into(), crc32c, ..sealed() });
        assert!(matches!(judgement, Judgement::Never(reason) if reason.contains("protobuf")));
    }
}
