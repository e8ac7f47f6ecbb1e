//! The reference page of the table, `docs/destinations.md`.

use std::fmt::Write;
use std::time::Duration;

use super::*;
use crate::adapt::DropReason;

/// The whole page as Markdown.
pub fn reference_page() -> String {
    let mut page = String::from(HEAD);
    page.push_str("\n| items are dropped as | that is |\n|---|---|\n");
    for reason in DropReason::ALL {
        let _ = writeln!(page, "| `{}` | {} |", reason.name(), reason.meaning());
    }
    page.push_str(
        "\n## All profiles\n\n| profile | for | transports | authentication | metrics | compression | largest request |\n",
    );
    page.push_str("|---|---|---|---|---|---|---|\n");
    PROFILES.iter().for_each(|profile| overview_row(profile, &mut page));
    PROFILES.iter().for_each(|profile| section(profile, &mut page));
    page
}

fn overview_row(profile: &Profile, page: &mut String) {
    let _ = writeln!(
        page,
        "| [`{name}`](#{name}) | {} | {} | {} | {} | {} | {} |",
        profile.title,
        codes(profile.transports.iter().map(|transport| transport.name())),
        profile.auth,
        temporality_word(&profile.metrics),
        codes(profile.compressions.iter().map(|compression| compression.name())),
        size(profile.limits.metrics.uncompressed_bytes_max),
        name = profile.name,
    );
}

fn section(profile: &Profile, page: &mut String) {
    let _ = write!(page, "\n## {}\n\n{}: {}\n", profile.name, profile.title, profile.summary);
    let _ = writeln!(page, "See <{}>.\n", profile.docs_url);
    page.push_str("```toml\n");
    example(profile, page);
    page.push_str("```\n\n| | |\n|---|---|\n");
    for (what, text) in facts(profile) {
        let _ = writeln!(page, "| {what} | {text} |");
    }
    if !profile.notes.is_empty() {
        page.push('\n');
    }
    for note in profile.notes {
        let _ = writeln!(page, "- {note}");
    }
}

fn example(profile: &Profile, page: &mut String) {
    let _ = writeln!(page, "[[destination]]\nname = \"{0}\"\nprofile = \"{0}\"", profile.name);
    match profile.endpoints {
        Endpoints::Given { example } => {
            let _ = writeln!(page, "endpoint = \"{example}\"");
        }
        Endpoints::Regions(regions) if regions.len() > 1 => {
            let _ = writeln!(page, "region = \"{}\"", regions[0].region);
        }
        Endpoints::Regions(_) => {}
        Endpoints::Pattern { example, .. } => {
            let _ = writeln!(page, "region = \"{example}\"");
        }
    }
    if profile.auth.required {
        let _ = writeln!(page, "credential_file = \"/etc/muster/credentials/{}\"", profile.name);
    }
    if profile.signals.len() < Signal::ALL.len() {
        let names: Vec<_> = profile.signals.iter().map(|signal| format!("\"{signal}\"")).collect();
        let _ = writeln!(page, "signals = [{}]", names.join(", "));
    }
}

fn facts(profile: &Profile) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("Address", address(profile)),
        ("Transports", defaulted(profile.transports.iter().map(|transport| transport.name()))),
        ("Paths", codes(profile.signals.iter().map(|signal| profile.http_url("", *signal)))),
        ("Signals", profile.signals.iter().map(|signal| signal.name()).collect::<Vec<_>>().join(", ")),
        ("Authentication", format!("{}; the secret is {}", profile.auth, profile.auth.secret)),
        ("Compression", defaulted(profile.compressions.iter().map(|compression| compression.name()))),
        ("Largest request", limits(profile)),
        ("Metrics", metrics(&profile.metrics)),
        ("Attributes", attributes(&profile.attributes)),
        ("Age", ages(profile)),
    ];
    if !profile.headers.is_empty() {
        let shown = profile.headers.iter().map(|header| match header.signal {
            Some(signal) => format!("`{}: {}` on {signal}", header.name, header.value),
            None => format!("`{}: {}`", header.name, header.value),
        });
        facts.push(("Headers", shown.collect::<Vec<_>>().join(", ")));
    }
    facts.push(("Success", profile.answers.success.to_owned()));
    if let Some(text) = transient(&profile.answers) {
        facts.push(("Tried again besides", text));
    }
    facts
}

fn address(profile: &Profile) -> String {
    match profile.endpoints {
        Endpoints::Given { .. } => "you give `endpoint`".to_owned(),
        Endpoints::Pattern { url, .. } => format!("`{url}`: you give `region`, or `endpoint`"),
        Endpoints::Regions(regions) => {
            let shown = regions.iter().map(|endpoint| {
                let also: String = endpoint.aliases.iter().map(|alias| format!(" or `{alias}`")).collect();
                let urls = match (endpoint.http, endpoint.grpc) {
                    (http, grpc) if grpc.is_empty() || grpc == http => format!("`{http}`"),
                    (http, grpc) => format!("`{http}`, gRPC `{grpc}`"),
                };
                format!("`{}`{also}: {urls}", endpoint.region)
            });
            format!("region {}", shown.collect::<Vec<_>>().join("<br>"))
        }
    }
}

fn limits(profile: &Profile) -> String {
    let each: Vec<_> = profile.signals.iter().map(|signal| profile.limits.of(*signal)).collect();
    let shown = |limit: PayloadLimit| match limit.compressed_bytes_max {
        Some(compressed) => {
            format!(
                "{} before and {} after compression",
                size(limit.uncompressed_bytes_max),
                size(compressed)
            )
        }
        None => format!("{} before compression", size(limit.uncompressed_bytes_max)),
    };
    if each.iter().all(|limit| *limit == each[0]) {
        return shown(each[0]);
    }
    let by_signal =
        profile.signals.iter().zip(&each).map(|(signal, limit)| format!("{signal} {}", shown(*limit)));
    by_signal.collect::<Vec<_>>().join("; ")
}

fn temporality_word(rules: &MetricRules) -> &'static str {
    match (rules.monotonic, rules.histograms) {
        (Temporality::AsIs, Temporality::AsIs) => "as they are",
        (Temporality::AsIs, _) => "delta histograms",
        (Temporality::Delta, _) => "delta",
        (Temporality::Cumulative, _) => "cumulative",
    }
}

fn metrics(rules: &MetricRules) -> String {
    let word = |temporality| match temporality {
        Temporality::AsIs => "as they are",
        Temporality::Delta => "delta",
        Temporality::Cumulative => "cumulative",
    };
    if rules.is_as_is() {
        return "as they are".to_owned();
    }
    let mut parts = vec![
        format!("monotonic sums {}", word(rules.monotonic)),
        format!("other sums {}", word(rules.non_monotonic)),
        format!("histograms {}", word(rules.histograms)),
    ];
    match rules.exponential {
        Exponential::Kept => {}
        Exponential::FromScale(scale) => {
            parts.push(format!("exponential histograms of a scale under {scale} as explicit ones"));
        }
        Exponential::Explicit => parts.push("exponential histograms as explicit ones".to_owned()),
    }
    if rules.non_finite == NonFinite::Dropped {
        parts.push("NaN and infinities dropped and counted".to_owned());
    }
    if rules.one_point_a_second {
        parts.push("one delta point a second and series".to_owned());
    }
    parts.join("; ")
}

fn attributes(limits: &AttributeLimits) -> String {
    if *limits == AttributeLimits::NONE {
        return "no limits that are known".to_owned();
    }
    let numbers = [
        (limits.resource_max, "on a resource"),
        (limits.scope_max, "on a scope"),
        (limits.record_max, "on a record"),
        (limits.metric_max, "on a data point with its resource and scope"),
        (limits.key_chars_max, "characters in a key"),
        (limits.value_chars_max, "characters in a text"),
        (limits.array_max, "elements in an array"),
        (limits.bytes_max, "bytes in a byte value"),
    ];
    let mut parts: Vec<_> =
        numbers.iter().filter_map(|(number, of)| number.map(|number| format!("{number} {of}"))).collect();
    if limits.complex_on_logs_only {
        parts.push("maps and mixed arrays on log records only".to_owned());
    }
    if limits.empty_dropped {
        parts.push("none without a value".to_owned());
    }
    if !limits.metric_keys_reserved.is_empty() {
        let keys = codes(limits.metric_keys_reserved.iter().copied());
        parts.push(format!("on data points {keys} and the metric's own name get `_` after them"));
    }
    parts.join("; ")
}

fn ages(profile: &Profile) -> String {
    let shown = profile.signals.iter().filter_map(|signal| {
        let age = profile.ages.of(*signal);
        let sides: Vec<_> = [(age.past_max, "back"), (age.future_max, "ahead")]
            .iter()
            .filter_map(|(limit, side)| limit.map(|limit| format!("{} {side}", duration(limit))))
            .collect();
        (!sides.is_empty()).then(|| format!("{signal} {}", sides.join(" and ")))
    });
    let shown: Vec<_> = shown.collect();
    if shown.is_empty() { "no limits that are known".to_owned() } else { shown.join("; ") }
}

fn transient(answers: &Answers) -> Option<String> {
    let grpc = answers.transient_grpc.iter().map(|code| format!("gRPC `{code:?}`"));
    let http = answers.transient_http.iter().map(|status| format!("HTTP {status}"));
    let all: Vec<_> = grpc.chain(http).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

fn codes(words: impl Iterator<Item = impl std::fmt::Display>) -> String {
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// Like [`codes`], saying that the first is the default.
fn defaulted(words: impl Iterator<Item = &'static str>) -> String {
    let shown = words.enumerate().map(|(index, word)| match index {
        0 => format!("`{word}` (default)"),
        _ => format!("`{word}`"),
    });
    shown.collect::<Vec<_>>().join(", ")
}

fn size(bytes: usize) -> String {
    const MIB: usize = 1 << 20;
    match bytes {
        whole if whole.is_multiple_of(MIB) => format!("{} MiB", whole / MIB),
        whole if whole.is_multiple_of(1_000_000) => format!("{} MB", whole / 1_000_000),
        other => format!("{} kB", other / 1000),
    }
}

fn duration(duration: Duration) -> String {
    let minutes = duration.as_secs() / 60;
    if minutes.is_multiple_of(60) { format!("{} h", minutes / 60) } else { format!("{minutes} min") }
}

const HEAD: &str = "# Destinations

This page is generated from the table in `otlp/src/profile/` (`MUSTER_BLESS=1 cargo test -p otlp --test profiles_doc` writes it).

A `[[destination]]` is somewhere that the collector forwards to: Muster's own events, sessions, runs and metrics, and what
tools sent over OTLP. There can be any number of them; each has its own queue, and none waits for another. The `profile` says
what the other side is, and with it addresses, headers, limits and which form of metrics it understands. `muster check-config
--probe` sends an empty request to each and says what came back.

| key | what it says |
|---|---|
| `name` | what it is called in `muster status`, in `/metrics` and in logs; once only |
| `profile` | one of the names below |
| `endpoint` | base address, `https://host:port`; paths are added. Not together with `region` |
| `region` | one of the profile's regions |
| `transport` | `grpc`, `http/protobuf` or `http/json`, if the profile has it |
| `credential_file`, `credential_env` | a file, or a variable, with the secret of the profile's header; `id:token` where that is Basic |
| `signals` | some of `[\"logs\", \"metrics\", \"traces\"]`; all that the profile takes when left out |
| `filter` | `{ team = [], project = [], tool = [], event = [], severity = \"warn\" }`; what is left out lets all through |
| `headers` | more headers, `{ name = \"value\" }`; never for secrets |
| `resource_attributes` | more attributes on every resource, `{ name = \"value\" }` |
| `ca_file` | certificates to trust instead of the public ones |
| `client_cert_file`, `client_key_file` | a certificate to show, both or neither |
| `compression` | one of the profile's |
| `timeout_seconds` | for one request |
| `queue_bytes_max` | what may wait for this destination |
| `queue_full` | `drop_oldest`: what happens at that size, and the only policy there is |
| `requests_in_flight_max` | requests at the same time |
| `metrics_interval_seconds` | how often Muster's own metrics are sent |
| `insecure` | plaintext to an address that is not loopback |

## What is changed on the way

Nothing is, where the profile has no rule for it: such payloads go as the bytes that came. Otherwise:

- Cumulative becomes delta, and delta becomes cumulative, a stream at a time: a stream is a resource, a scope, a metric's name
  and unit, and a point's attributes. The first cumulative point counts in full if it says since when it counts and that is after
  this destination was first served; otherwise it is the baseline for the next. A value that falls, or a start after the point
  before, is a new start. Deltas are added up since the first one's start, and a gap between them is taken as nothing recorded.
  100,000 streams and 64 MiB of them are kept for each destination; past either the one that was silent longest is forgotten.
- Exponential histograms become explicit ones where they are not taken: one bound for each bucket, joined two by two until there
  are 160 at most.
- Attributes that a destination would cut or drop are cut and dropped here: names of semantic conventions and `muster.*` stay
  before others.
- Items that are too old or too new for a destination are dropped.
- Requests are made for 4 MiB, or the profile's limit where that is less. A single item that is over the limit goes to the
  dead-letter file.

An answer of 2xx is success, with any body. Requests are tried again by OTLP's rules: HTTP 429, 502, 503 and 504, gRPC `CANCELLED`,
`DEADLINE_EXCEEDED`, `ABORTED`, `OUT_OF_RANGE`, `UNAVAILABLE` and `DATA_LOSS`, and `RESOURCE_EXHAUSTED` if it says when.
";
