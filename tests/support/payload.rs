//! What a simulated agent's events say: a function of who sends it and its number, so that the oracle can tell what any
//! stored event must be without having kept it.

use muster::batch::{BatchBuilder, SealedBatch, SourceIdentity};
use muster::clock::WallTime;
use muster::ids::{AgentId, Epoch, Seq};
use muster::v1;
use muster::v1::event::Kind;

/// Who issues the events.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Issuer {
    pub agent: AgentId,
    pub epoch: Epoch,
    /// Names the project, so that each issuer has series of its own.
    pub project: String,
    /// When the first event happened.
    pub base_time: WallTime,
}

/// One event's content.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Payload {
    pub worker: &'static str,
    pub status: v1::RunStatus,
    pub duration_us: u64,
    pub run_id: u64,
}

const WORKERS: [&str; 3] = ["linter", "formatter", "test-runner"];

impl Issuer {
    /// A new agent in a project.
    pub fn new(project: String, base_time: WallTime, random: &mut fastrand::Rng) -> Self {
        let mut agent = [0; 16];
        random.fill(&mut agent);
        Self {
            agent: AgentId::from_bytes(agent),
            epoch: Epoch::try_from(random.u64(1..)).expect("never 0"),
            project,
            base_time,
        }
    }

    /// What event `seq` says.
    pub fn payload(&self, seq: Seq) -> Payload {
        let agent_half = u64::from_le_bytes(self.agent.as_bytes()[..8].try_into().expect("8 bytes"));
        let hash = mix(agent_half ^ mix(self.epoch.get() ^ mix(seq.0)));
        Payload {
            worker: WORKERS[(hash % 3) as usize],
            status: match hash >> 8 & 7 {
                0 => v1::RunStatus::Failure,
                1 => v1::RunStatus::Error,
                _ => v1::RunStatus::Success,
            },
            duration_us: hash >> 16 & 0xF_FFFF,
            run_id: hash | 1,
        }
    }

    /// The events `first..first + count` as one batch. The same numbers are always the same bytes.
    pub fn batch(&self, first: Seq, count: u64) -> SealedBatch {
        let mut builder = BatchBuilder::new();
        let identity = SourceIdentity {
            tool: "devloop".to_owned(),
            project: self.project.clone(),
            user: "ada".to_owned(),
            host: "simulated".to_owned(),
            os: "linux".to_owned(),
            ..SourceIdentity::default()
        };
        let source = builder.source(&identity).expect("one source fits");
        let session = builder.text("session-1");
        for seq in first.0..first.0 + count {
            let payload = self.payload(Seq(seq));
            let worker = builder.text(payload.worker);
            let time = WallTime(self.base_time.0 + seq * 1_000);
            let run = v1::RunFinished {
                worker,
                status: payload.status as i32,
                duration_us: Some(payload.duration_us),
                run_id: payload.run_id,
                session,
                ..v1::RunFinished::default()
            };
            builder.push(time, source, Kind::RunFinished(run));
        }
        builder.seal(first).expect("within every bound")
    }
}

/// The finaliser of SplitMix64.
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}
