//! Linux: a unit of the user's systemd.
//!
//! The unit is `packaging/systemd/muster-agent.service` with this user's paths. Its sandbox of files needs a user
//! namespace; where the system does not give one to users, the unit is written without it, and keeps the rest.

use std::path::Path;

use super::Service;
use super::platform::{Advice, CommandLine, Encoding, Here, Platform, ServiceFile};

/// The unit's name.
pub const UNIT: &str = "muster-agent.service";

const TEMPLATE: &str = include_str!("../../../packaging/systemd/muster-agent.service");
/// What the template has where the paths of a user go.
const TEMPLATE_STATE_DIR: &str = "%h/.local/state/muster/agent";
const SANDBOX_HEAD: &str = "# The sandbox of files:";

/// systemd's manager of this user's services.
#[derive(Debug, Clone, Copy)]
pub struct Systemd;

impl Platform for Systemd {
    fn title(&self) -> &'static str {
        "systemd user unit muster-agent.service"
    }

    fn files(&self, service: &Service, here: &Here) -> Vec<ServiceFile> {
        let path = here.config_home.join("systemd/user").join(UNIT);
        vec![ServiceFile { path, text: unit(service), encoding: Encoding::Utf8 }]
    }

    fn reach(&self) -> Option<CommandLine> {
        Some(systemctl(&["show-environment"]))
    }

    fn unreachable(&self, run: &str, said: &str) -> String {
        format!(
            "systemd does not manage this user's services here (systemctl --user: {said}). In a container, make the agent \
             the container's command or one of its processes: `{run}`, after `muster-agent enroll` if it is to have a \
             certificate. After su or sudo, log in as that user, or set \
             XDG_RUNTIME_DIR=/run/user/$(id -u). `install --print` shows what would be written"
        )
    }

    fn is_set_up(&self, _: &Here, started: bool) -> Vec<CommandLine> {
        let enabled = systemctl(&["is-enabled", "--quiet", UNIT]);
        let active = started.then(|| systemctl(&["is-active", "--quiet", UNIT]));
        std::iter::once(enabled).chain(active).collect()
    }

    fn set_up(&self, _: &Here, start: bool) -> Vec<CommandLine> {
        let mut commands = vec![systemctl(&["daemon-reload"]), systemctl(&["enable", UNIT])];
        if start {
            // Also when it runs: with what was just written. Returns when the agent says that it is ready.
            commands.push(systemctl(&["restart", UNIT]));
        }
        commands
    }

    fn start(&self, _: &Here) -> Vec<CommandLine> {
        vec![systemctl(&["start", UNIT])]
    }

    fn stop(&self, _: &Here) -> Vec<CommandLine> {
        vec![systemctl(&["stop", UNIT]).or_not()]
    }

    fn disable(&self, _: &Here) -> Vec<CommandLine> {
        vec![systemctl(&["disable", UNIT]).or_not()]
    }

    fn forget(&self) -> Vec<CommandLine> {
        vec![systemctl(&["daemon-reload"]), systemctl(&["reset-failed", UNIT]).or_not()]
    }

    fn when_it_fails(&self) -> &'static str {
        "see `systemctl --user status muster-agent` and `journalctl --user -u muster-agent -n 30`; if it says NAMESPACE or \
         USER, this system gives users no sandbox: install with --no-file-sandbox"
    }

    fn advice(&self, here: &Here) -> Advice {
        let user = &here.user;
        Advice {
            question: Some(CommandLine::new("loginctl", ["show-user", user, "--property=Linger", "--value"])),
            yes: "lingering is on: the agent runs from the machine's start on, logged in or not".to_owned(),
            no: format!(
                "lingering is off: the agent starts when you log in and stops when your last session ends; to have it run \
                 all the time: loginctl enable-linger {user}"
            ),
        }
    }
}

/// Whether this system lets a user make the namespaces that the sandbox of files needs. `read` gives a file's text.
pub fn file_sandbox_is_possible(read: &dyn Fn(&Path) -> Option<String>) -> bool {
    let value = |path: &str| read(Path::new(path)).and_then(|text| text.trim().parse::<u64>().ok());
    // Debian's own switch, and Ubuntu's since 23.10; both are absent elsewhere.
    value("/proc/sys/user/max_user_namespaces") != Some(0)
        && value("/proc/sys/kernel/unprivileged_userns_clone") != Some(0)
        && value("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").unwrap_or(0) == 0
}

fn systemctl(words: &[&str]) -> CommandLine {
    CommandLine::new("systemctl", std::iter::once("--user").chain(words.iter().copied()))
}

fn unit(service: &Service) -> String {
    let state_dir = quoted(&service.state_dir.display().to_string());
    let temporary = service.state_dir.join("tmp").display().to_string();
    let words = std::iter::once(service.program.display().to_string()).chain(service.arguments.clone());
    let words: Vec<_> = words.map(|word| quoted(&word.replace('$', "$$"))).collect();
    let from_unit = TEMPLATE.find("[Unit]").unwrap_or_default();
    let mut unit = "# Written by `muster agent install`, which writes it again. Changes of yours: systemctl --user edit muster-agent\n\n".to_owned();
    let mut in_sandbox = false;
    for line in TEMPLATE[from_unit..].lines() {
        in_sandbox = line.starts_with(SANDBOX_HEAD) || in_sandbox && !line.is_empty();
        if in_sandbox && !service.file_sandbox {
            continue;
        }
        match line.split_once('=').map_or(line, |(key, _)| key) {
            "ExecStart" => unit.push_str(&format!("ExecStart={}", words.join(" "))),
            "ExecStartPre" => {
                unit.push_str(&format!("ExecStartPre=-+/bin/mkdir -p -m 0700 {}", quoted(&temporary)));
            }
            "Environment" => {
                let variables = service.environment.iter().map(|(name, value)| format!("{name}={value}"));
                let variables = variables.chain([format!("TMPDIR={temporary}")]);
                let lines: Vec<_> =
                    variables.map(|variable| format!("Environment={}", quoted(&variable))).collect();
                unit.push_str(&lines.join("\n"));
            }
            "ReadWritePaths" => unit.push_str(&format!("ReadWritePaths={}", with_dash(&state_dir))),
            _ => unit.push_str(line),
        }
        unit.push('\n');
    }
    debug_assert!(!unit.contains(TEMPLATE_STATE_DIR), "every path of the template is replaced");
    unit
}

/// A path that need not be there.
fn with_dash(quoted: &str) -> String {
    match quoted.strip_prefix('"') {
        Some(rest) => format!("\"-{rest}"),
        None => format!("-{quoted}"),
    }
}

/// One word of a unit file: systemd's quoting, and no specifiers in it.
fn quoted(word: &str) -> String {
    let escaped = word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    let is_plain = !escaped.is_empty() && !escaped.contains([' ', '\t', '\'', '"', '\\', ';']);
    if is_plain { escaped } else { format!("\"{escaped}\"") }
}
