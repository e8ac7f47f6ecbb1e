//! The newest rows of all kinds but samples, oldest first, as NDJSON; with `follow=true` then every one that comes.
//!
//! Each object has `data_set` before the columns of its data set. A quiet stream has an empty line every
//! [`ALIVE_INTERVAL`]: who hears nothing for longer has lost the collector.

use std::io::{self, Write};
use std::time::Duration;

use axum::extract::{Extension, Query as UrlQuery, State};
use axum::response::Response;
use history::follow::{FOLLOWED, Follow};
use history::format::{Format, tagged_lines};
use journal::Subscription;
use muster::clock::WallTime;
use tokio::sync::watch;

use super::super::connection::Life;
use super::super::{Reader, Refused, Shared};
use super::asked::{Parameters, bad};
use super::stream::{self, Chunks};
use super::turns::Turn;
use super::{Problem, answer, history, told};

/// Rows unless asked otherwise, and at most.
const COUNT_DEFAULT: usize = 20;
const COUNT_MAX: usize = 1_000;
/// How far back the newest are looked for, in microseconds: 30 days.
const PAST_US: u64 = 30 * 86_400 * 1_000_000;
/// How often a quiet stream says that it is there.
const ALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// How long a stop waits for a stream that is quiet.
const STOP_LOOK: Duration = Duration::from_millis(250);
/// A stream that is followed ends after this, so that a forgotten reader is not kept for ever.
const FOLLOW_MAX: Duration = Duration::from_secs(24 * 60 * 60);

pub(in super::super) async fn recent(
    State(shared): State<Shared>,
    reader: Reader,
    UrlQuery(given): UrlQuery<Vec<(String, String)>>,
    Extension(life): Extension<Life>,
) -> Result<Response, Refused> {
    let history = history(&shared.pages)?;
    if let Some((name, _)) = given.iter().find(|(name, _)| ["start", "end"].contains(&name.as_str())) {
        return Err(bad(format!("recent takes no {name}: it has the newest rows, n of them")));
    }
    let parameters = Parameters::new(given, &["n", "follow"])?;
    let count = match parameters.text("n") {
        Some("0") => 0,
        _ => parameters.number("n", COUNT_DEFAULT, COUNT_MAX)?,
    };
    let is_followed = parameters.truth("follow", false)?;
    let filter = parameters.filter(&reader)?;
    let is_open = shared.pages.is_open;
    let turn = if is_followed {
        shared.turns.follower(&reader, is_open)?
    } else {
        shared.turns.query(&reader, is_open)?
    };
    let mut wake = shared.pages.journal.subscribe();
    wake.position();
    let since = WallTime(shared.pages.clock.wall().0.saturating_sub(PAST_US));
    let (newest, notices, follow) = answer(move || {
        let newest = history.newest(&FOLLOWED, &filter, since, count)?;
        let follow = history.follow(&filter, newest.position);
        let notices: Vec<_> = newest.notices.iter().map(ToString::to_string).collect();
        let lines = tagged_lines(newest.rows).map_err(|error| Problem::Failed(error.to_string()))?;
        Ok((lines, notices, follow))
    })
    .await?;
    let (chunks, body) = stream::pipe(super::stall(&shared.pages));
    if is_followed {
        life.extend(FOLLOW_MAX);
    }
    let following = is_followed.then_some(Following { follow, wake });
    let stop = shared.pages.stop.clone();
    // It ends with its reader, or with the collector.
    drop(tokio::task::spawn_blocking(move || {
        // Who has gone needs no word.
        let _ = tell((&newest, &notices), following, chunks, &stop, turn);
    }));
    Ok(told(stream::response(Format::Ndjson, body), "recent", is_followed))
}

struct Following {
    follow: Follow,
    wake: Subscription,
}

fn tell(
    (newest, notices): (&[u8], &[String]),
    following: Option<Following>,
    mut chunks: Chunks,
    stop: &watch::Receiver<bool>,
    _turn: Turn,
) -> io::Result<()> {
    chunks.write_all(newest)?;
    chunks.flush()?;
    let Some(Following { mut follow, mut wake }) = following else {
        return chunks.finish(notices);
    };
    let mut quiet = Duration::ZERO;
    while !*stop.borrow() {
        if !follow.is_behind() {
            if wake.wait(STOP_LOOK).is_some() {
                continue;
            }
            quiet += STOP_LOOK;
            if quiet >= ALIVE_INTERVAL {
                quiet = Duration::ZERO;
                chunks.write_all(b"\n")?;
                chunks.flush()?;
            }
            continue;
        }
        let rows = follow.step().map_err(io::Error::other)?;
        if !rows.is_empty() {
            quiet = Duration::ZERO;
            chunks.write_all(&tagged_lines(rows).map_err(io::Error::other)?)?;
            chunks.flush()?;
        }
    }
    Ok(())
}
