//! Batches of run events whose only varying part, the first number, is spliced in: making load must cost little.

use bytes::{BufMut, Bytes, BytesMut};
use muster::batch::{BatchBuilder, SourceIdentity};
use muster::clock::WallTime;
use muster::ids::Seq;
use muster::v1;
use muster::v1::event::Kind;

/// A batch without its first number.
#[derive(Debug, Clone)]
pub struct Template {
    tail: Bytes,
    events: u64,
}

/// 2026-02-20T12:00:00Z.
const START: WallTime = WallTime(1_771_588_800_000_000);

impl Template {
    /// `events` run events of one project of agent number `agent`.
    pub fn new(agent: usize, events: u64) -> anyhow::Result<Self> {
        let mut builder = BatchBuilder::new();
        let identity = SourceIdentity {
            tool: "devloop".to_owned(),
            project: format!("project-{}", agent % 50),
            user: format!("user-{agent}"),
            host: format!("host-{agent}"),
            os: "linux".to_owned(),
            ..SourceIdentity::default()
        };
        let source = builder.source(&identity).ok_or_else(|| anyhow::anyhow!("no room for a source"))?;
        let workers = ["linter", "formatter", "test-runner", "type-checker", "security-scanner"]
            .map(|w| builder.text(w));
        for n in 0..events {
            let run = v1::RunFinished {
                worker: workers[n as usize % workers.len()],
                status: if n % 17 == 0 {
                    v1::RunStatus::Failure.into()
                } else {
                    v1::RunStatus::Success.into()
                },
                duration_us: Some(90_000 + (n * 7919) % 900_000),
                run_id: n.wrapping_mul(0x9e37_79b9_7f4a_7c15),
                ..v1::RunFinished::default()
            };
            builder.push(WallTime(START.0 + n * 350_000), source, Kind::RunFinished(run));
        }
        let sealed = builder.seal(Seq(1))?;
        // Field 1 stands first: tag 0x08 and the number 1, two bytes.
        anyhow::ensure!(sealed.bytes.starts_with(&[0x08, 0x01]), "first_seq does not stand first");
        Ok(Self { tail: sealed.bytes.slice(2..), events })
    }

    /// The batch that begins at `first`.
    pub fn batch(&self, first: u64) -> v1::SealedBatch {
        let mut bytes = BytesMut::with_capacity(self.tail.len() + 11);
        bytes.put_u8(0x08);
        prost::encoding::encode_varint(first, &mut bytes);
        bytes.put_slice(&self.tail);
        let batch = bytes.freeze();
        let crc32c = crc32c::crc32c(&batch);
        v1::SealedBatch { first_seq: first, last_seq: first + self.events - 1, batch, crc32c }
    }

    /// Events in a batch.
    pub fn events(&self) -> u64 {
        self.events
    }
}
