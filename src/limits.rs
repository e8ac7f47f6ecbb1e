//! Bounds that both sides must agree on, each with its reason.

/// Version of the wire contract. Raised only when an old peer could misread a new one.
pub const PROTOCOL_VERSION: u32 = 1;

/// Most events in one batch: keeps one batch's decoded form under a few MiB.
pub const BATCH_EVENTS_MAX: usize = 10_000;

/// Largest encoded batch. One spool record holds one batch, so it is also the spool's record limit less its frame.
pub const BATCH_BYTES_MAX: usize = 4 << 20;

/// Largest gRPC message: a batch and its envelope.
pub const MESSAGE_BYTES_MAX: usize = BATCH_BYTES_MAX + 64 * 1024;

/// Most batches that one stream may have sent and not seen answered: enough to hide one disk sync and one round trip.
pub const BATCHES_IN_FLIGHT_MAX: u32 = 16;

/// Longest text in a string table. Worker names, models and words of state are far shorter; content that is opted in
/// is cut here.
pub const TEXT_BYTES_MAX: usize = 4096;

/// Most texts in a batch's string table.
pub const TEXTS_MAX: usize = 20_000;

/// Most sources in a batch: an agent watches at most this many projects at once.
pub const SOURCES_MAX: usize = 1024;

/// Batches that both sides compare to tell a clone from a retry.
pub const RECENT_BATCHES_MAX: usize = 64;

/// How often an agent says that it is there when it has nothing else to say.
pub const HEARTBEAT_INTERVAL_MS: u32 = 15_000;
