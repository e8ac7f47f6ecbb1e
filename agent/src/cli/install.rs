//! `agent install` and `agent uninstall`: the agent as a service of this user.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use muster::clock::{Clock, SystemClock};
use muster::reasons::reasons;
use muster::settings;

use super::Failure;
use crate::config::{AgentConfig, LocalConfig};
use crate::enrol::command::{CommandError, Wish, enrol_here};
use crate::enrol::{Enrolment, Fingerprint, FirstContact, Store, token};
use crate::install::config_edit::Changes;
use crate::install::launchd::Launchd;
use crate::install::scheduled_task::ScheduledTask;
use crate::install::systemd::{Systemd, file_sandbox_is_possible};
use crate::install::{self, Here, InstallError, Platform, Removal, Request, System};
use crate::project::Machine;

/// Flags of `agent install`.
#[derive(Debug, Args)]
#[command(after_help = INSTALL_HELP)]
pub struct InstallArgs {
    /// The collector, https://HOST:4317; written into the configuration
    #[arg(long, value_name = "URL", env = "MUSTER_SERVER")]
    server: Option<String>,
    /// File with the enrolment token: get a certificate of this agent's own before the agent starts
    #[arg(long, value_name = "FILE")]
    enroll_token_file: Option<PathBuf>,
    /// PEM of the CA that signed the collector's certificate
    #[arg(long, value_name = "FILE", env = "MUSTER_CA_FILE", conflicts_with = "ca_fingerprint")]
    ca_file: Option<PathBuf>,
    /// SHA-256 of the collector's authority, as `muster authority show` prints it there
    #[arg(long, value_name = "SHA256", env = "MUSTER_CA_FINGERPRINT")]
    ca_fingerprint: Option<Fingerprint>,
    /// What people call this agent [default: the machine's name]
    #[arg(long, value_name = "NAME", requires = "enroll_token_file")]
    name: Option<String>,
    /// File with a team's token, readable by its owner alone, where agents do not enrol
    #[arg(long, value_name = "FILE", env = "MUSTER_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// A project, or a folder of projects (repeatable); added to what is watched
    #[arg(long = "watch", value_name = "PATH", env = "MUSTER_WATCH", value_delimiter = ':')]
    watch: Vec<PathBuf>,
    /// Folder for identity and spool [default: ~/.local/state/muster/agent]
    #[arg(long, value_name = "DIR", env = "MUSTER_STATE_DIR")]
    state_dir: Option<PathBuf>,
    /// Configuration file [default: ~/.config/muster/muster.toml]
    #[arg(long, value_name = "FILE", env = "MUSTER_CONFIG")]
    config: Option<PathBuf>,
    /// Show every file and every command, and touch nothing
    #[arg(long)]
    print: bool,
    /// Enable the agent for the next login, and do not start it now
    #[arg(long)]
    no_start: bool,
    /// Let the service write wherever the user may: it then sees the tools' disk figures and Loki Mode's iteration limit
    #[arg(long)]
    no_file_sandbox: bool,
    /// With --print: another system's files
    #[arg(long, value_enum, default_value_t = Target::HERE, hide = true, requires = "print")]
    system: Target,
}

const INSTALL_HELP: &str = "The configuration keeps what it says; only what is asked for here is changed. Run it again at any \
time: what is in place already is left alone.";

/// Flags of `agent uninstall`.
#[derive(Debug, Args)]
pub struct UninstallArgs {
    /// Take configuration, identity and spool away as well; refused while events wait for a collector
    #[arg(long)]
    purge: bool,
    /// With --purge: lose the events that no collector has taken
    #[arg(long, requires = "purge")]
    force: bool,
    /// Folder for identity and spool, when it is not the configuration's
    #[arg(long, value_name = "DIR", env = "MUSTER_STATE_DIR")]
    state_dir: Option<PathBuf>,
    /// Configuration file [default: ~/.config/muster/muster.toml]
    #[arg(long, value_name = "FILE", env = "MUSTER_CONFIG")]
    config: Option<PathBuf>,
}

/// Whose files are rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Target {
    Linux,
    Macos,
    Windows,
}

impl Target {
    const HERE: Self = if cfg!(target_os = "macos") {
        Self::Macos
    } else if cfg!(windows) {
        Self::Windows
    } else {
        Self::Linux
    };

    fn platform(self) -> &'static dyn Platform {
        match self {
            Self::Linux => &Systemd,
            Self::Macos => &Launchd,
            Self::Windows => &ScheduledTask,
        }
    }
}

pub(super) fn install(args: &InstallArgs) -> Result<ExitCode, Failure> {
    let here = here().map_err(refusal)?;
    let platform = args.system.platform();
    let request = args.request().map_err(refusal)?;
    let plan = install::plan(&request, platform, &here, &settings::process_environment).map_err(refusal)?;
    if args.print {
        let enrolment = args.enroll_token_file.as_ref().map(|token| {
            let program = std::iter::once(request.program.display().to_string()).chain(request.words.clone());
            let program = program.collect::<Vec<_>>().join(" ");
            format!("{program} enroll --enroll-token-file {}", token.display())
        });
        say(plan.show(platform, &here, enrolment.as_deref()).trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    if !request.file_sandbox && !args.no_file_sandbox && args.system == Target::Linux {
        say("this system gives users no namespaces: the service runs without the sandbox of files");
    }
    let enrol = |config: &AgentConfig| args.enrol(config);
    plan.carry_out(platform, &here, &System, enrol, &mut |line| say(line)).map_err(refusal)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn uninstall(args: &UninstallArgs) -> Result<ExitCode, Failure> {
    let here = here().map_err(refusal)?;
    let config = args.config.clone().unwrap_or_else(|| here.config_home.join("muster/muster.toml"));
    let at = config.exists().then_some(config.as_path());
    let state_dir = match LocalConfig::load(at, args.state_dir.as_deref(), &settings::process_environment) {
        Ok(config) => config.spool.state_dir,
        // An agent whose configuration is broken can be taken away all the same; its state is where it always is.
        Err(_) if !args.purge || args.state_dir.is_some() => args
            .state_dir
            .clone()
            .unwrap_or_else(|| settings::default_state_dir(&settings::process_environment, "agent")),
        Err(error) => return Err(Failure::usage(error)),
    };
    let removal = Removal { purge: args.purge, force: args.force, state_dir, config };
    install::remove(&removal, Target::HERE.platform(), &here, &System, &mut |line| say(line))
        .map_err(refusal)?;
    Ok(ExitCode::SUCCESS)
}

impl InstallArgs {
    fn request(&self) -> Result<Request, InstallError> {
        let absolute = |path: &PathBuf| {
            path.canonicalize().map_err(|error| {
                InstallError::Usage(format!(
                    "{}: {error}; name a file or folder that is there",
                    path.display()
                ))
            })
        };
        let changes = Changes {
            server: self.server.clone(),
            watch: self.watch.iter().map(absolute).collect::<Result<_, _>>()?,
            state_dir: self.state_dir.as_deref().map(in_this_folder).transpose()?,
            token_file: self.token_file.as_ref().map(absolute).transpose()?,
            ca_file: self.ca_file.as_ref().map(absolute).transpose()?,
        };
        let read = |path: &Path| std::fs::read_to_string(path).ok();
        Ok(Request {
            changes,
            config: self.config.as_deref().map(in_this_folder).transpose()?,
            start: !self.no_start,
            file_sandbox: !self.no_file_sandbox && file_sandbox_is_possible(&read),
            program: this_program()?,
            words: words_before_install(),
        })
    }

    /// Gets the certificate, where one was asked for. Answers what to say; nothing where the agent has one of this
    /// collector already, so that a second run with a token that was used is no failure.
    fn enrol(&self, config: &AgentConfig) -> Result<Option<String>, InstallError> {
        let Some(token_file) = &self.enroll_token_file else { return Ok(None) };
        let not_enrolled = |error: &dyn std::error::Error| InstallError::Enrolment(reasons(error));
        let server = config.server.as_ref().ok_or_else(|| not_enrolled(&CommandError::NoServer))?;
        let held = Store::new(&config.spool.state_dir).load().map_err(|error| not_enrolled(&error))?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let is_of_this = |held: &Enrolment| held.record.server == server.address.to_string();
        let has_ended = held.as_ref().is_some_and(|held| held.certificate.not_after <= clock.wall());
        if held.as_ref().is_some_and(is_of_this) && !has_ended {
            return Ok(None);
        }
        let first_contact = match (self.ca_fingerprint, &server.ca_file) {
            (Some(fingerprint), _) => FirstContact::Pinned(fingerprint),
            (None, Some(path)) => FirstContact::from_file(path).map_err(|error| not_enrolled(&error))?,
            (None, None) => FirstContact::Public,
        };
        let token = token::from_file(token_file).map_err(|error| not_enrolled(&error))?;
        let name = self.name.clone().unwrap_or_default();
        let wish = Wish { token, first_contact, name, force: has_ended, new_key: false };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| not_enrolled(&error))?;
        let enrolment =
            runtime.block_on(enrol_here(config, &wish, &clock)).map_err(|error| not_enrolled(&error))?;
        let record = &enrolment.record;
        Ok(Some(format!("enrolled with {} as {:?} of team {}", record.server, record.name, record.team)))
    }
}

/// Whose agent it is, and where that user's things are.
fn here() -> Result<Here, InstallError> {
    let variable = settings::process_environment;
    if variable("SUDO_USER").is_some() && user_number() == 0 {
        let problem = "the agent is one user's: run this as that user, without sudo";
        return Err(InstallError::Usage(problem.to_owned()));
    }
    let home = variable("HOME").or_else(|| variable("USERPROFILE"));
    let Some(home) = home else { return Err(InstallError::Usage("HOME is not set".to_owned())) };
    let config_home = settings::config_home(&variable).unwrap_or_else(|| home.join(".config"));
    let user = Machine::of_this_process().user;
    let user = match variable("USERDOMAIN").filter(|_| cfg!(windows)) {
        Some(domain) => format!(r"{}\{user}", domain.display()),
        None => user,
    };
    Ok(Here { home, config_home, user, uid: user_number() })
}

#[cfg(unix)]
fn user_number() -> u32 {
    rustix::process::getuid().as_raw()
}

#[cfg(not(unix))]
fn user_number() -> u32 {
    0
}

/// This program, by the name that `PATH` has for it if it is the same: `/usr/bin/muster-agent` outlives an upgrade, what it
/// links to may not.
fn this_program() -> Result<PathBuf, InstallError> {
    let exact = std::env::current_exe().map_err(InstallError::file("find", Path::new("this program")))?;
    let name = std::env::args_os().next().and_then(|word| Some(Path::new(&word).file_name()?.to_owned()));
    let (Some(name), Some(path)) = (name, std::env::var_os("PATH")) else { return Ok(exact) };
    let candidates =
        std::env::split_paths(&path).filter(|folder| folder.is_absolute()).map(|folder| folder.join(&name));
    let is_this = |candidate: &PathBuf| candidate.canonicalize().ok() == exact.canonicalize().ok();
    Ok(candidates.into_iter().find(is_this).unwrap_or(exact))
}

/// `agent` for `muster agent install`, nothing for `muster-agent install`.
fn words_before_install() -> Vec<String> {
    std::env::args().skip(1).take_while(|word| word != "install").collect()
}

/// A path that need not be there yet, from the root.
fn in_this_folder(path: &Path) -> Result<PathBuf, InstallError> {
    std::path::absolute(path).map_err(InstallError::file("use", path))
}

fn refusal(error: InstallError) -> Failure {
    if error.is_usage() { Failure::usage(error) } else { Failure::failed(error) }
}

fn say(line: &str) {
    // Who closed our stdout does not want to know.
    let _ = writeln!(std::io::stdout(), "{line}");
}
