//! `muster authority show|rotate`
//!
//! Works on the data folder; a running collector sees a change within a second.

use std::path::Path;

use muster::clock::{Clock, SystemClock};
use serde_json::json;

use super::installation::Installation;
use super::{Failure, audited, print, time};
use crate::audit::{Entry, What, Who};
use crate::authority::{self, Known};
use crate::config::{AuthoritySettings, Config};

/// Arguments of `muster authority`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    installation: Installation,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show who issues the certificates: its fingerprint, its end, and those before it that are still trusted.
    Show {
        /// As JSON.
        #[arg(long, conflicts_with = "pem")]
        json: bool,
        /// The certificate as PEM: what `--ca-file` takes.
        #[arg(long)]
        pem: bool,
    },
    /// Make a new authority. The one before stays trusted until the last certificate that it issued has ended.
    Rotate,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let Config { data_dir, authority, .. } = arguments.installation.load()?;
    match arguments.command {
        Command::Show { json, pem } => show(&data_dir, &authority, json, pem),
        Command::Rotate => rotate(&data_dir, &authority),
    }
}

fn show(data_dir: &Path, settings: &AuthoritySettings, as_json: bool, as_pem: bool) -> Result<(), Failure> {
    let known = authority::known(data_dir, settings).map_err(Failure::other)?;
    let known = known.ok_or_else(|| {
        let words = "there is no authority yet: `muster serve` makes it at its first start with [server.tls]";
        Failure::Other(format!("{words} (looked in {})", data_dir.display()))
    })?;
    if as_pem {
        return print(&authority::pem_of(&known.certificate));
    }
    print(&if as_json { json_of(&known) } else { words_of(&known) })
}

fn json_of(known: &Known) -> String {
    let retired: Vec<_> = known
        .retired
        .iter()
        .map(|retired| {
            json!({ "fingerprint": retired.fingerprint, "trusted_until": time(retired.trusted_until.0) })
        })
        .collect();
    let all = json!({
        "fingerprint": known.fingerprint,
        "not_after": time(known.not_after.0),
        "brought_along": known.is_brought_along,
        "retired": retired,
    });
    format!("{all}\n")
}

fn words_of(known: &Known) -> String {
    let whose =
        if known.is_brought_along { "brought along, [server.authority]" } else { "the collector's own" };
    let mut text = format!(
        "fingerprint  {}\nends         {}\nwhose        {whose}\n",
        known.fingerprint,
        time(known.not_after.0)
    );
    for retired in &known.retired {
        text += &format!(
            "before it    {}, trusted until {}\n",
            retired.fingerprint,
            time(retired.trusted_until.0)
        );
    }
    text
}

fn rotate(data_dir: &Path, settings: &AuthoritySettings) -> Result<(), Failure> {
    let now = SystemClock::new().wall();
    let until = authority::last_end(data_dir, settings, now).map_err(Failure::other)?;
    let rotated = authority::rotate(data_dir, settings, now, until).map_err(Failure::other)?;
    let entry = Entry::new(What::AuthorityChanged, Who::Command("authority rotate"));
    audited(data_dir, &entry.with("fingerprint", rotated.fingerprint.as_str()));
    let mut text = format!("the authority is now {}\n", rotated.fingerprint);
    if let Some(retired) = rotated.retired {
        text += &format!(
            "{} stays trusted until {}\nagents learn the new one when they renew; --ca-fingerprint takes the new one from now on\n",
            retired.fingerprint,
            time(retired.trusted_until.0)
        );
    }
    print(&text)
}
