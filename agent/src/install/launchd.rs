//! macOS: a launch agent of the user's session.
//!
//! Rendered and parsed in the tests; never run there.

use super::Service;
use super::platform::{Advice, CommandLine, Encoding, Here, Platform, ServiceFile, xml};

/// The launch agent's name.
pub const LABEL: &str = "dev.muster.agent";

/// launchd, for the user's graphical session.
#[derive(Debug, Clone, Copy)]
pub struct Launchd;

impl Platform for Launchd {
    fn title(&self) -> &'static str {
        "launch agent dev.muster.agent"
    }

    fn files(&self, service: &Service, here: &Here) -> Vec<ServiceFile> {
        let path = plist_path(here).into();
        vec![ServiceFile { path, text: plist(service, here), encoding: Encoding::Utf8 }]
    }

    fn reach(&self) -> Option<CommandLine> {
        None
    }

    fn unreachable(&self, _: &str, said: &str) -> String {
        format!("launchd cannot be reached: {said}")
    }

    fn is_set_up(&self, here: &Here, started: bool) -> Vec<CommandLine> {
        // What is not loaded yet is told by its file alone.
        let loaded = started.then(|| CommandLine::new("launchctl", ["print", &target(here)]));
        loaded.into_iter().collect()
    }

    fn set_up(&self, here: &Here, start: bool) -> Vec<CommandLine> {
        if !start {
            // A file in its folder is started at the next login.
            return vec![CommandLine::new("launchctl", ["enable", &target(here)])];
        }
        // One that is loaded keeps its old file until it is taken out.
        let mut commands = self.stop(here);
        commands.push(CommandLine::new("launchctl", ["enable", &target(here)]));
        commands.extend(self.start(here));
        commands
    }

    fn start(&self, here: &Here) -> Vec<CommandLine> {
        vec![CommandLine::new("launchctl", ["bootstrap", &domain(here), &plist_path(here)])]
    }

    fn stop(&self, here: &Here) -> Vec<CommandLine> {
        vec![CommandLine::new("launchctl", ["bootout", &target(here)]).or_not()]
    }

    fn disable(&self, _: &Here) -> Vec<CommandLine> {
        Vec::new()
    }

    fn forget(&self) -> Vec<CommandLine> {
        Vec::new()
    }

    fn when_it_fails(&self) -> &'static str {
        "see ~/Library/Logs/muster-agent.log and `launchctl print gui/$(id -u)/dev.muster.agent`"
    }

    fn advice(&self, _: &Here) -> Advice {
        let words = "the agent starts when you log in and stops when you log out".to_owned();
        Advice { question: None, yes: words.clone(), no: words }
    }
}

fn domain(here: &Here) -> String {
    format!("gui/{}", here.uid)
}

fn target(here: &Here) -> String {
    format!("gui/{}/{LABEL}", here.uid)
}

fn plist_path(here: &Here) -> String {
    here.home.join("Library/LaunchAgents").join(format!("{LABEL}.plist")).display().to_string()
}

fn plist(service: &Service, here: &Here) -> String {
    let string = |text: &str| format!("<string>{}</string>", xml(text));
    let program = service.program.display().to_string();
    let arguments = std::iter::once(&program).chain(&service.arguments);
    let arguments: String = arguments.map(|word| format!("    {}\n", string(word))).collect();
    let variables = service.environment.iter();
    let variables: String =
        variables.map(|(name, value)| format!("    <key>{name}</key>{}\n", string(value))).collect();
    let log = string(&here.home.join("Library/Logs/muster-agent.log").display().to_string());
    // Started again when it fails, 10 s apart; 63 is umask 077; Background is behind what the user waits for.
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>Label</key>{label}
  <key>ProgramArguments</key>
  <array>
{arguments}  </array>
  <key>EnvironmentVariables</key>
  <dict>
{variables}  </dict>
  <key>RunAtLoad</key><true/>
  <key>KeepAlive</key>
  <dict>
    <key>SuccessfulExit</key><false/>
  </dict>
  <key>ThrottleInterval</key><integer>10</integer>
  <key>ProcessType</key><string>Background</string>
  <key>Umask</key><integer>63</integer>
  <key>StandardErrorPath</key>{log}
</dict>
</plist>
"#,
        label = string(LABEL),
    )
}
