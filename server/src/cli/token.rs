//! `muster token create|list|revoke`
//!
//! Edits the token file of the data folder; a running collector sees it within a second.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use muster::clock::{Clock, SystemClock, WallTime};
use muster::credential::{Token, TokenKind};
use muster::ids::Team;
use serde_json::json;

use super::installation::Installation;
use super::{Failure, audited, print, time};
use crate::audit::{Entry, What, Who};
use crate::authority;
use crate::config::{AuthoritySettings, Config};
use crate::credentials::{NewToken, Scope, TOKEN_NAME_BYTES_MAX, TokenFile, TokenRecord};

/// An enrolment token is for now, and for the person next to whoever makes it.
const ENROLMENT_TTL_DEFAULT: Duration = Duration::from_secs(3_600);
/// A token that should live longer has no end.
const TTL_DAYS_MAX: u64 = 366;
/// A roll-out to a whole company.
const USES_MAX: i64 = 100_000;

/// Arguments of `muster token`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    installation: Installation,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a token and print it. It is shown this once.
    Create(Create),
    /// List tokens, without their secrets.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Revoke a token. Its open streams end within 5 s.
    Revoke {
        /// Its id, as `list` shows it.
        id: String,
    },
}

#[derive(Debug, clap::Args)]
struct Create {
    /// The team that it speaks for.
    #[arg(long, required_unless_present = "operator", conflicts_with = "operator")]
    team: Option<Team>,
    /// For reading: all teams' data and the collector's own figures. Nothing can be sent with it.
    #[arg(long, conflicts_with_all = ["role", "enroll"])]
    operator: bool,
    /// What of the team's rights it has: `team` sends for the team and reads its data, `agent` sends and reads nothing.
    #[arg(long, value_enum, default_value_t = TokenRole::Team)]
    role: TokenRole,
    /// For enrolling agents: `muster agent enroll` exchanges it for a certificate. It is accepted for nothing else.
    #[arg(long, visible_alias = "enrol", conflicts_with = "role")]
    enroll: bool,
    /// How many agents it enrols.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "enroll",
          value_parser = clap::value_parser!(u32).range(1..=USES_MAX))]
    uses: u32,
    /// When it ends by itself, as 90s, 30m, 1h or 7d [default: 1h with --enroll, else never].
    #[arg(long, value_name = "TIME", value_parser = time_to_live)]
    ttl: Option<Duration>,
    /// What to call it in `list`.
    #[arg(long, value_parser = token_name)]
    name: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum TokenRole {
    Team,
    Agent,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let Config { data_dir, authority, .. } = arguments.installation.load()?;
    let now = SystemClock::new().wall();
    match arguments.command {
        Command::Create(asked) => create(&data_dir, &authority, asked, now),
        Command::List { json } => {
            let records = TokenFile::list(&data_dir).map_err(Failure::other)?;
            print(&if json { as_json(&records) } else { as_table(&records) })
        }
        Command::Revoke { id } => {
            let file = TokenFile::edit(&data_dir).map_err(Failure::other)?;
            let token_id = file.revoke(&id, now).map_err(Failure::other)?;
            let entry = Entry::new(What::TokenRevoked, Who::Command("token revoke"));
            audited(&data_dir, &entry.token(&token_id));
            print(&format!("{id} is revoked\n"))
        }
    }
}

fn create(
    data_dir: &Path,
    authority: &AuthoritySettings,
    asked: Create,
    now: WallTime,
) -> Result<(), Failure> {
    let mut random = [0; 44];
    getrandom::fill(&mut random).map_err(Failure::other)?;
    let kind = if asked.enroll { TokenKind::Enrolment } else { TokenKind::Access };
    let token = Token::of_kind(kind, random);
    let scope = match asked.team {
        None => Scope::Operator,
        Some(team) if asked.enroll => Scope::Enrolment(team),
        Some(team) if asked.role == TokenRole::Agent => Scope::Agent(team),
        Some(team) => Scope::Team(team),
    };
    let ttl = asked.ttl.or(asked.enroll.then_some(ENROLMENT_TTL_DEFAULT));
    let expires = ttl.map(|ttl| WallTime(now.0.saturating_add(ttl.as_micros() as u64)));
    let file = TokenFile::edit(data_dir).map_err(Failure::other)?;
    let entry = Entry::new(What::TokenCreated, Who::Command("token create")).token(token.id());
    let entry = entry.with("role", role_of(&scope));
    let entry = if let Some(team) = scope.team() { entry.team(team) } else { entry };
    let new = NewToken { scope, name: asked.name, expires, uses: asked.uses };
    file.add_new(&token, new, now).map_err(Failure::other)?;
    audited(data_dir, &entry);
    print(&format!("{}\n", token.expose()))?;
    if asked.enroll { tell_fingerprint(data_dir, authority) } else { Ok(()) }
}

/// To standard error: the token alone is what goes into a file.
fn tell_fingerprint(data_dir: &Path, settings: &AuthoritySettings) -> Result<(), Failure> {
    let words = match authority::known(data_dir, settings).map_err(Failure::other)? {
        Some(known) => format!("the collector's authority: --ca-fingerprint {}\n", known.fingerprint),
        None => "the collector has no authority yet: `muster serve` makes it at its first start with [server.tls]; \
                 without TLS there are no certificates to enrol for\n"
            .to_owned(),
    };
    // Nothing is left to tell if standard error is gone.
    let _ = std::io::stderr().lock().write_all(words.as_bytes());
    Ok(())
}

/// `90s`, `30m`, `1h`, `7d`.
fn time_to_live(text: &str) -> Result<Duration, String> {
    let refused = || format!("{text:?} is no time; write 90s, 30m, 1h or 7d, at most {TTL_DAYS_MAX}d");
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(refused)?;
    let seconds = match &text[unit_at..] {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(refused()),
    };
    let count: u64 = text[..unit_at].parse().map_err(|_| refused())?;
    let ttl = count.checked_mul(seconds).filter(|ttl| (1..=TTL_DAYS_MAX * 86_400).contains(ttl));
    ttl.map(Duration::from_secs).ok_or_else(refused)
}

fn token_name(text: &str) -> Result<String, String> {
    let is_fit = !text.is_empty() && text.len() <= TOKEN_NAME_BYTES_MAX && !text.contains(char::is_control);
    is_fit
        .then(|| text.to_owned())
        .ok_or_else(|| format!("a name is 1 to {TOKEN_NAME_BYTES_MAX} bytes without control characters"))
}

fn as_json(records: &[TokenRecord]) -> String {
    let rows: Vec<_> = records
        .iter()
        .map(|record| {
            json!({
                "id": record.id,
                "role": role(record),
                "team": record.team,
                "operator": record.operator,
                "name": record.name,
                "uses_left": record.enrol.map(|enrol| enrol.uses_left),
                "created": time(record.created_us),
                "expires": record.expires_us.map(time),
                "revoked": record.revoked_us.map(time),
            })
        })
        .collect();
    format!("{}\n", serde_json::Value::from(rows))
}

fn as_table(records: &[TokenRecord]) -> String {
    let mut table = comfy_table::Table::new();
    let header = ["ID", "ROLE", "TEAM", "NAME", "USES LEFT", "CREATED", "EXPIRES", "REVOKED"];
    table.load_style(comfy_table::presets::NOTHING).set_header(header);
    for record in records {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        table.add_row([
            record.id.to_string(),
            role(record).to_owned(),
            or_none(record.team.as_ref().map(ToString::to_string)),
            or_none(record.name.clone()),
            or_none(record.enrol.map(|enrol| enrol.uses_left.to_string())),
            time(record.created_us),
            or_none(record.expires_us.map(time)),
            or_none(record.revoked_us.map(time)),
        ]);
    }
    format!("{}\n", table.trim_fmt())
}

fn role(record: &TokenRecord) -> &'static str {
    role_of(&record.scope())
}

fn role_of(scope: &Scope) -> &'static str {
    match scope {
        Scope::Team(_) => "team",
        Scope::Agent(_) => "agent",
        Scope::Operator => "operator",
        Scope::Enrolment(_) => "enrolment",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_is_a_number_and_a_unit_within_a_year() {
        for (text, seconds) in [("90s", 90), ("30m", 1_800), ("1h", 3_600), ("7d", 604_800)] {
            assert_eq!(time_to_live(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "h", "1", "0s", "1w", "-1h", "1h30m", "367d", "99999999999999999999d", "1µs"] {
            assert!(time_to_live(text).is_err(), "{text}");
        }
    }
}
