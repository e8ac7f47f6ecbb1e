//! How it stands with the collector's configuration, in one place for `status`, `doctor` and the page.

use std::fmt::Write;

use super::{Held, InForce};

/// Digits of a hash that people are shown.
const HASH_DIGITS: usize = 12;

/// What became of the last offer, as the report to the collector has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    /// The own file does not let anybody offer anything.
    #[default]
    NotTaken,
    /// The own file alone is in force.
    Own,
    /// An offer is in force.
    Applied,
    /// The last offer was refused; what was in force before still is.
    Rejected,
}

/// What is in force, and what became of offers.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// What became of the last offer.
    pub state: State,
    /// The entry of the collector's file that is in force, "" when none is.
    pub name: String,
    /// Its hash in hexadecimal, cut for people.
    pub hash: String,
    /// Who offered it.
    pub issuer: String,
    /// What it asks, in words.
    pub asks: String,
    /// The hash of the offer that was refused, cut.
    pub rejected_hash: String,
    /// What is wrong; "" when nothing is.
    pub problem: String,
    /// Offers taken since the process started.
    pub applied: u64,
    /// Offers refused since the process started.
    pub rejected: u64,
}

impl State {
    const ALL: [Self; 4] = [Self::NotTaken, Self::Own, Self::Applied, Self::Rejected];

    /// Its word on pages.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NotTaken => "not_taken",
            Self::Own => "own",
            Self::Applied => "applied",
            Self::Rejected => "rejected",
        }
    }
}

impl Standing {
    pub(super) fn of(held: &Held, takes_offers: bool) -> Self {
        let mut standing = Self {
            state: if takes_offers { State::Own } else { State::NotTaken },
            applied: held.applied,
            rejected: held.rejected,
            ..Self::default()
        };
        match &held.in_force {
            InForce::Own => {}
            InForce::Unreadable(why) => {
                standing.problem =
                    format!("{why}: everything is withheld until the collector has offered again");
            }
            InForce::Offered(of) => {
                let (offer, issuer) = &**of;
                standing.state = State::Applied;
                standing.name = offer.name().to_owned();
                standing.hash = digits(offer.hash());
                standing.issuer = issuer.to_string();
                standing.asks = offer.in_words();
            }
        }
        if let Some(refused) = &held.refused {
            standing.state = State::Rejected;
            standing.rejected_hash = digits(&refused.hash);
            standing.problem.clone_from(&refused.why);
        }
        standing
    }

    /// One line for people.
    pub fn in_words(&self) -> String {
        let in_force = match (self.state, self.name.is_empty()) {
            (State::NotTaken, _) => return "not taken (agent.remote_configuration is false)".to_owned(),
            (_, true) => "the own file alone is in force".to_owned(),
            (_, false) => format!("{} ({}) is in force: {}", self.name, self.hash, self.asks),
        };
        match (self.state, self.problem.is_empty()) {
            (State::Rejected, _) => format!("{in_force}; an offer was refused: {}", self.problem),
            (_, false) => format!("{in_force}; {}", self.problem),
            (_, true) => in_force,
        }
    }

    /// As Prometheus text 0.0.4.
    pub fn write_text(&self, page: &mut String) {
        let name = "muster_agent_configuration";
        // Writing to a String cannot fail.
        let _ = writeln!(
            page,
            "# HELP {name} How it stands with the collector's configuration: 1 for the state that is.\n# TYPE {name} gauge"
        );
        for state in State::ALL {
            let _ = writeln!(page, "{name}{{state=\"{}\"}} {}", state.word(), u8::from(state == self.state));
        }
        let name = "muster_agent_configuration_offers_total";
        let _ = writeln!(page, "# HELP {name} Offers of the collector, by outcome.\n# TYPE {name} counter");
        for (outcome, count) in [("applied", self.applied), ("rejected", self.rejected)] {
            let _ = writeln!(page, "{name}{{outcome=\"{outcome}\"}} {count}");
        }
    }

    /// For `status`.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "state": self.state.word(),
            "name": self.name,
            "hash": self.hash,
            "offered_by": self.issuer,
            "asks": self.asks,
            "rejected_hash": self.rejected_hash,
            "problem": self.problem,
            "words": self.in_words(),
        })
    }
}

fn digits(hash: &[u8]) -> String {
    let mut digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.truncate(HASH_DIGITS);
    digits
}
