//! `agent enroll`: a certificate of the collector's authority instead of a token.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use muster::clock::{Clock, SystemClock};
use muster::credential::Token;
use muster::settings;

use super::{Failure, page};
use crate::config::{AgentConfig, Overrides};
use crate::enrol::command::{Wish, enrol_here};
use crate::enrol::renewal::in_words;
use crate::enrol::{Enrolment, Fingerprint, FirstContact, token};

/// Flags of `agent enroll`.
#[derive(Debug, Clone, Default, Args)]
#[command(
    after_help = "The token is read from the file, or from MUSTER_ENROLL_TOKEN; never from the command line, which \
                        everybody on the machine can see. The private key is made here and never leaves this machine."
)]
pub struct EnrollArgs {
    /// The collector, https://HOST:4317
    #[arg(long, value_name = "URL", env = "MUSTER_SERVER")]
    pub server: Option<String>,
    /// File with the enrolment token, readable by its owner alone
    #[arg(long, value_name = "FILE", env = "MUSTER_ENROLL_TOKEN_FILE")]
    pub enroll_token_file: Option<PathBuf>,
    /// What people call this agent [default: the machine's name]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// PEM of the authority that issued the collector's certificate (default: the public ones)
    #[arg(long, value_name = "FILE", env = "MUSTER_CA_FILE", conflicts_with = "ca_fingerprint")]
    pub ca_file: Option<PathBuf>,
    /// SHA-256 of that authority, as `muster authority show` prints it at the collector
    #[arg(long, value_name = "SHA256", env = "MUSTER_CA_FINGERPRINT")]
    pub ca_fingerprint: Option<Fingerprint>,
    /// Say it as one JSON object, for programs
    #[arg(long)]
    pub json: bool,
    /// Enrol again although the agent is enrolled
    #[arg(long)]
    pub force: bool,
    /// Ask for a certificate for a new key, although the one before was not answered: takes another use of the token
    #[arg(long)]
    pub new_key: bool,
    /// Folder for identity and spool
    #[arg(long, value_name = "DIR", env = "MUSTER_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// Configuration file [default: ~/.config/muster/muster.toml, then /etc/muster/muster.toml]
    #[arg(long, value_name = "FILE", env = "MUSTER_CONFIG")]
    pub config: Option<PathBuf>,
}

impl EnrollArgs {
    fn resolve(&self) -> Result<AgentConfig, Failure> {
        let path = self.config.clone().or_else(|| settings::default_file(&settings::process_environment));
        let overrides = Overrides {
            server: self.server.clone(),
            state_dir: self.state_dir.clone(),
            ca_file: self.ca_file.clone(),
            // Plaintext is refused with better words than the configuration's.
            insecure: true,
            ..Overrides::default()
        };
        AgentConfig::load(path.as_deref(), overrides, &settings::process_environment).map_err(Failure::usage)
    }

    fn token(&self) -> Result<Token, Failure> {
        let token = match &self.enroll_token_file {
            Some(path) => token::from_file(path),
            None => token::from_variable(std::env::var("MUSTER_ENROLL_TOKEN").ok()),
        };
        token.map_err(Failure::usage)
    }
}

/// Enrols this machine's agent and says as whom.
pub(super) fn enroll(args: &EnrollArgs) -> Result<ExitCode, Failure> {
    let config = args.resolve()?;
    let ca_file = config.server.as_ref().and_then(|server| server.ca_file.clone());
    let first_contact = match (args.ca_fingerprint, ca_file) {
        (Some(fingerprint), _) => FirstContact::Pinned(fingerprint),
        (None, Some(path)) => FirstContact::from_file(&path).map_err(Failure::usage)?,
        (None, None) => FirstContact::Public,
    };
    let wish = Wish {
        token: args.token()?,
        first_contact,
        name: args.name.clone().unwrap_or_default(),
        force: args.force,
        new_key: args.new_key,
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::failed)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let enrolment = runtime.block_on(enrol_here(&config, &wish, &clock)).map_err(Failure::failed)?;
    page::print(&if args.json { as_json(&enrolment) } else { as_words(&enrolment) })
}

fn as_json(enrolment: &Enrolment) -> String {
    let Enrolment { record, certificate, .. } = enrolment;
    let told = serde_json::json!({
        "server": record.server,
        "team": record.team,
        "name": record.name,
        "agent": record.agent_id.to_string(),
        "serial": certificate.serial,
        "not_before": in_words(certificate.not_before),
        "not_after": in_words(certificate.not_after),
    });
    format!("{told}\n")
}

fn as_words(enrolment: &Enrolment) -> String {
    let record = &enrolment.record;
    format!(
        "enrolled with {} as {:?} of team {} (agent {})\ncertificate until {}; a running agent uses it at its next \
         connection and renews it, else start one with `muster agent run`\n",
        record.server,
        record.name,
        record.team,
        record.agent_id,
        in_words(enrolment.certificate.not_after)
    )
}
