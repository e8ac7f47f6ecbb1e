//! Rows of the history handed to other systems, read back there by their own means.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout, reason = "a test")]

#[path = "deliveries/command.rs"]
mod command;
#[path = "deliveries/datadog.rs"]
mod datadog;
#[path = "deliveries/influx.rs"]
mod influx;
#[path = "deliveries/otlp.rs"]
mod otlp;
#[path = "deliveries/resume.rs"]
mod resume;
#[path = "deliveries/s3.rs"]
mod s3;
#[path = "deliveries/s3_away.rs"]
mod s3_away;
#[path = "support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow_array::RecordBatch;
use history::dataset::DataSet;
use history::format::{Format, Layout, RowWriter};
use history::line_protocol::Detail;
use history::query::TimeRange;
use muster::clock::{Clock, SystemClock, WallTime};
use secrecy::SecretString;
use server::delivery::datadog::{
    COMPRESSED_BYTES_MAX, Datadog, DatadogError, DatadogSettings, PLAIN_BYTES_MAX,
};
use server::delivery::influx::{Influx, InfluxCredential, InfluxSettings};
use server::delivery::otlp::{Otlp, OtlpError};
use server::delivery::position::Position;
use server::delivery::s3::{S3Target, Upload};
use server::delivery::state::{StateFile, What, default_path};
use server::delivery::{Delivered, Delivery, Destination, Retries, Stopped};

use support::databases::{self, Victoria, values};
use support::history_rows::{Row, Value, batches, run, text};
use support::http_sink::{HttpSink, Received, Reply, says, taken};
use support::peers::Sink;
use support::seaweed::Seaweed;

/// Not on the second, so that nothing is right because it was rounded.
fn now_us() -> i64 {
    SystemClock::new().wall().0 as i64 / 1_000_000 * 1_000_000 - 300_000_000 + 123_456
}

fn retries(seconds: u64) -> Retries {
    Retries { give_up_after: Duration::from_secs(seconds) }
}

fn deliver(
    destination: &mut impl Destination,
    data_set: DataSet,
    batches: &[RecordBatch],
    from: Option<Position>,
    state: Option<&StateFile>,
) -> Result<Delivered, Box<Stopped>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let rows = batches.iter().cloned().map(Ok);
    Delivery { data_set, from, state }.run(&runtime, destination, rows, |_, _| {})
}

/// Runs of three workers; hundreds of them in one microsecond, as of a tool that keeps seconds.
fn crowded_runs(count: i64) -> Vec<Row> {
    let names = ["linter", "test runner", "odd=name,\"x\"\\"];
    let base_us = now_us();
    let at = |n: i64| base_us + n / 2500 * 1_000_000;
    (0..count)
        .map(|n| run(at(n), names[(n % 3) as usize], if n % 7 == 0 { "failure" } else { "success" }, n))
        .collect()
}

/// Runs and summed durations by worker and status.
fn by_worker(rows: &[Row]) -> BTreeMap<(String, String), (i64, i64)> {
    let mut by = BTreeMap::<_, (i64, i64)>::new();
    for row in rows {
        let (Value::Text(worker), Value::Text(status)) = (&row["worker"], &row["status"]) else { panic!() };
        let Value::Integer(duration_us) = row["duration_us"] else { panic!() };
        // What line protocol cannot say.
        let worker =
            if worker.ends_with('\\') { format!("{}/", &worker[..worker.len() - 1]) } else { worker.clone() };
        let entry = by.entry((worker, status.clone())).or_default();
        entry.0 += 1;
        entry.1 += duration_us;
    }
    by
}
