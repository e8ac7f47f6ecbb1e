//! Setting up: what is asked for becomes a plan, and the plan is shown or done.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use muster::atomic_file::Access;
use muster::settings::{self, Environment};

use super::config_edit::{self, Changes};
use super::platform::{Here, Platform, ServiceFile};
use super::shell::Shell;
use super::{InstallError, Service};
use crate::config::{AgentConfig, Overrides};

/// What was asked for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// What the configuration is to say.
    pub changes: Changes,
    /// The configuration file, when it is not in the usual place.
    pub config: Option<PathBuf>,
    /// Whether the agent is started now, and not only at the next login.
    pub start: bool,
    /// Whether the service may write its own folder alone.
    pub file_sandbox: bool,
    /// The program that the service runs, with the words before `run`.
    pub program: PathBuf,
    /// The words before `run`: `agent` for `muster`.
    pub words: Vec<String>,
}

/// What would be done.
#[derive(Debug)]
pub struct Plan {
    /// What the service runs.
    pub service: Service,
    /// The configuration that results.
    pub config: AgentConfig,
    config_path: PathBuf,
    /// `None` when the file stays as it is.
    config_text: Option<String>,
    files: Vec<ServiceFile>,
    start: bool,
    /// The command that does the same in the foreground, without a configuration.
    foreground: String,
    /// What the user should know besides.
    notes: Vec<String>,
}

/// Makes the plan. Reads; changes nothing.
pub fn plan(
    request: &Request,
    platform: &dyn Platform,
    here: &Here,
    environment: Environment<'_>,
) -> Result<Plan, InstallError> {
    let (config_path, notes) = config_path(request, here)?;
    let before = match settings::read_file(&config_path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(InstallError::file("read", &config_path)(error)),
    };
    // Variables of this shell are not the service's: the file alone must do.
    let parse = |text: &str| AgentConfig::parse(text, Overrides::default(), environment);
    parse(&before).map_err(|source| InstallError::ConfigInvalid { path: config_path.clone(), source })?;
    let after = config_edit::apply(&before, &request.changes)
        .map_err(|source| InstallError::Edit { path: config_path.clone(), source })?;
    let config = parse(&after).map_err(InstallError::RequestInvalid)?;
    let mut arguments = request.words.clone();
    arguments.push("run".to_owned());
    if let Some(config) = &request.config {
        arguments.extend(["--config".to_owned(), config.display().to_string()]);
    }
    let variables = ["XDG_CONFIG_HOME", "XDG_STATE_HOME"];
    let environment = variables
        .into_iter()
        .filter_map(|name| Some((name, environment(name)?.to_str()?.to_owned())))
        .collect();
    let service = Service {
        program: request.program.clone(),
        arguments,
        state_dir: config.spool.state_dir.clone(),
        environment,
        file_sandbox: request.file_sandbox,
    };
    let files = platform.files(&service, here);
    let foreground = foreground(&service, &request.changes);
    // A file that is named must be there when the service starts.
    let is_missing = request.config.is_some() && !config_path.exists();
    let after = if is_missing && after.is_empty() { "[agent]\n".to_owned() } else { after };
    let config_text = (after != before).then_some(after);
    Ok(Plan { service, config, config_path, config_text, files, start: request.start, foreground, notes })
}

fn foreground(service: &Service, changes: &Changes) -> String {
    let mut words = vec![service.program.display().to_string()];
    words.extend(service.arguments.clone());
    let paths = [
        ("--state-dir", &changes.state_dir),
        ("--token-file", &changes.token_file),
        ("--ca-file", &changes.ca_file),
    ];
    let paths = paths.into_iter().filter_map(|(flag, path)| Some((flag, path.as_ref()?)));
    let watched = changes.watch.iter().map(|path| ("--watch", path));
    let paths = paths.chain(watched).map(|(flag, path)| (flag, path.display().to_string()));
    let server = changes.server.iter().map(|server| ("--server", server.clone()));
    words.extend(server.chain(paths).flat_map(|(flag, value)| [flag.to_owned(), value]));
    words.join(" ")
}

/// Where the configuration is, and what to say about it.
fn config_path(request: &Request, here: &Here) -> Result<(PathBuf, Vec<String>), InstallError> {
    if let Some(path) = &request.config {
        return Ok((resolved(path), Vec::new()));
    }
    let own = here.config_home.join("muster/muster.toml");
    let of_the_machine = Path::new("/etc/muster/muster.toml");
    let mut notes = Vec::new();
    if !own.exists() && of_the_machine.is_file() {
        if request.changes == Changes::default() {
            return Ok((of_the_machine.to_owned(), notes));
        }
        let text = settings::read_file(of_the_machine).unwrap_or_default();
        // The collector's own file has nothing that the agent would miss.
        if text.parse::<toml::Table>().is_ok_and(|table| table.contains_key("agent")) {
            notes.push(format!(
                "{} is the agent's configuration from now on; what {} says of agents is not read any more",
                own.display(),
                of_the_machine.display()
            ));
        }
    }
    Ok((resolved(&own), notes))
}

/// The file itself where the path is a link to it, as in a folder of dotfiles: the link is to stay.
fn resolved(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

impl Plan {
    /// Every file with its content and every command, for `--print`.
    pub fn show(&self, platform: &dyn Platform, here: &Here, enrolment: Option<&str>) -> String {
        let mut shown = String::new();
        // Writing to a string does not fail.
        let _ =
            writeln!(shown, "# the agent as a {}; nothing is written or run by --print\n", platform.title());
        let _ = writeln!(shown, "# folder {} (0700)\n", self.service.state_dir.display());
        match &self.config_text {
            Some(text) => {
                let _ = writeln!(shown, "# file {}\n{text}", self.config_path.display());
            }
            None if self.config_path.exists() => {
                let _ = writeln!(shown, "# file {} stays as it is\n", self.config_path.display());
            }
            None => {
                let _ = writeln!(shown, "# no file {}: nothing asks for it\n", self.config_path.display());
            }
        }
        for file in &self.files {
            let encoding = if file.encoding == super::Encoding::Utf16 { " (UTF-16)" } else { "" };
            let _ = writeln!(shown, "# file {}{encoding}\n{}", file.path.display(), file.text);
        }
        let _ = writeln!(shown, "# commands");
        for command in enrolment
            .into_iter()
            .map(str::to_owned)
            .chain(platform.set_up(here, self.start).iter().map(ToString::to_string))
        {
            let _ = writeln!(shown, "{command}");
        }
        shown
    }

    /// Does it, but for what is there already. `enrol` is called before anything of it is done; it answers a line to say.
    pub fn carry_out(
        &self,
        platform: &dyn Platform,
        here: &Here,
        shell: &dyn Shell,
        enrol: impl FnOnce(&AgentConfig) -> Result<Option<String>, InstallError>,
        say: &mut dyn FnMut(&str),
    ) -> Result<(), InstallError> {
        if let Some(question) = platform.reach() {
            let answer = shell.run(&question);
            if !answer.success {
                let advice = platform.unreachable(&self.foreground, &answer.said);
                return Err(InstallError::NoServiceManager(advice));
            }
        }
        make_private_folder(&self.service.state_dir.join("tmp"))?;
        let mut is_changed = false;
        if let Some(line) = enrol(&self.config)? {
            say(&line);
            is_changed = true;
        }
        if let Some(text) = &self.config_text {
            let access = access_of(&self.config_path);
            write(shell, &self.config_path, text.as_bytes(), access, say)?;
            is_changed = true;
        }
        for file in &self.files {
            let bytes = file.bytes();
            if std::fs::read(&file.path).is_ok_and(|there| there == bytes) {
                continue;
            }
            write(shell, &file.path, &bytes, Access::Umask, say)?;
            is_changed = true;
        }
        let is_set_up = || platform.is_set_up(here, self.start).iter().all(|asked| shell.run(asked).success);
        if !is_changed && is_set_up() {
            say(&format!(
                "nothing to change: {} is installed{}",
                platform.title(),
                if self.start { " and runs" } else { "" }
            ));
        } else {
            for command in platform.set_up(here, self.start) {
                run(shell, &command, platform, say)?;
            }
        }
        self.notes.iter().for_each(|note| say(note));
        if self.config.watch.is_empty() {
            say("no project is watched yet: muster agent install --watch PATH");
        }
        say(&advice(platform, here, shell));
        Ok(())
    }
}

fn advice(platform: &dyn Platform, here: &Here, shell: &dyn Shell) -> String {
    let advice = platform.advice(here);
    let answer = advice.question.map(|question| shell.run(&question));
    if answer.is_some_and(|answer| answer.success && answer.said == "yes") { advice.yes } else { advice.no }
}

pub(super) fn run(
    shell: &dyn Shell,
    command: &super::CommandLine,
    platform: &dyn Platform,
    say: &mut dyn FnMut(&str),
) -> Result<(), InstallError> {
    let outcome = shell.run(command);
    if outcome.success {
        say(&format!("ran    {command}"));
    } else if !command.may_fail {
        let said = format!("{}\n{}", outcome.said, platform.when_it_fails());
        return Err(InstallError::Command { command: command.to_string(), said });
    }
    Ok(())
}

fn write(
    shell: &dyn Shell,
    path: &Path,
    content: &[u8],
    access: Access,
    say: &mut dyn FnMut(&str),
) -> Result<(), InstallError> {
    shell.write(path, content, access).map_err(InstallError::file("write", path))?;
    say(&format!("wrote  {}", path.display()));
    Ok(())
}

/// A file that was its owner's alone stays so.
fn access_of(path: &Path) -> Access {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(path).map(|found| found.permissions().mode());
        if mode.is_ok_and(|mode| mode & 0o077 == 0) {
            return Access::Owner;
        }
    }
    let _ = path;
    Access::Umask
}

fn make_private_folder(path: &Path) -> Result<(), InstallError> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(path).map_err(InstallError::file("make", path))
}
