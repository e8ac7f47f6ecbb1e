//! Windows: a scheduled task that starts at the user's logon.
//!
//! Rendered and parsed in the tests; never run there.

use super::Service;
use super::platform::{Advice, CommandLine, Encoding, Here, Platform, ServiceFile, xml};

/// The task's name.
pub const TASK: &str = r"\Muster\Agent";

/// The task scheduler.
#[derive(Debug, Clone, Copy)]
pub struct ScheduledTask;

impl Platform for ScheduledTask {
    fn title(&self) -> &'static str {
        r"scheduled task \Muster\Agent"
    }

    fn files(&self, service: &Service, here: &Here) -> Vec<ServiceFile> {
        let path = definition_path(here).into();
        vec![ServiceFile { path, text: task(service, here), encoding: Encoding::Utf16 }]
    }

    fn reach(&self) -> Option<CommandLine> {
        None
    }

    fn unreachable(&self, _: &str, said: &str) -> String {
        format!("the task scheduler cannot be reached: {said}")
    }

    fn is_set_up(&self, _: &Here, _: bool) -> Vec<CommandLine> {
        vec![schtasks(&["/Query", "/TN", TASK])]
    }

    fn set_up(&self, here: &Here, start: bool) -> Vec<CommandLine> {
        let mut commands = vec![schtasks(&["/Create", "/TN", TASK, "/XML", &definition_path(here), "/F"])];
        if start {
            commands.extend(self.stop(here));
            commands.extend(self.start(here));
        }
        commands
    }

    fn start(&self, _: &Here) -> Vec<CommandLine> {
        vec![schtasks(&["/Run", "/TN", TASK])]
    }

    fn stop(&self, _: &Here) -> Vec<CommandLine> {
        vec![schtasks(&["/End", "/TN", TASK]).or_not()]
    }

    fn disable(&self, _: &Here) -> Vec<CommandLine> {
        vec![schtasks(&["/Delete", "/TN", TASK, "/F"]).or_not()]
    }

    fn forget(&self) -> Vec<CommandLine> {
        Vec::new()
    }

    fn when_it_fails(&self) -> &'static str {
        r"see `schtasks /Query /TN \Muster\Agent /V /FO LIST`"
    }

    fn advice(&self, _: &Here) -> Advice {
        let words = "the agent starts when you log on and stops when you log off".to_owned();
        Advice { question: None, yes: words.clone(), no: words }
    }
}

fn schtasks(words: &[&str]) -> CommandLine {
    CommandLine::new("schtasks", words.iter().copied())
}

fn definition_path(here: &Here) -> String {
    here.config_home.join("muster").join("agent-task.xml").display().to_string()
}

fn task(service: &Service, here: &Here) -> String {
    let words: Vec<_> = service.arguments.iter().map(|word| quoted(word)).collect();
    let (user, program) = (xml(&here.user), xml(&service.program.display().to_string()));
    let arguments = xml(&words.join(" "));
    // By the user's own rights, on battery too, without an end, and again a minute after it failed.
    format!(
        r#"<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.3" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo>
    <URI>{TASK}</URI>
    <Description>Watches coding agents and dev-loop tools on this machine and streams what they do to a Muster collector.</Description>
  </RegistrationInfo>
  <Triggers>
    <LogonTrigger>
      <Enabled>true</Enabled>
      <UserId>{user}</UserId>
    </LogonTrigger>
  </Triggers>
  <Principals>
    <Principal id="Author">
      <UserId>{user}</UserId>
      <LogonType>InteractiveToken</LogonType>
      <RunLevel>LeastPrivilege</RunLevel>
    </Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <StartWhenAvailable>true</StartWhenAvailable>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <Priority>7</Priority>
    <RestartOnFailure>
      <Interval>PT1M</Interval>
      <Count>999</Count>
    </RestartOnFailure>
  </Settings>
  <Actions Context="Author">
    <Exec>
      <Command>{program}</Command>
      <Arguments>{arguments}</Arguments>
    </Exec>
  </Actions>
</Task>
"#
    )
}

/// One argument as the C runtime of Windows takes it apart again.
fn quoted(word: &str) -> String {
    if !word.is_empty() && !word.contains([' ', '\t', '"']) {
        return word.to_owned();
    }
    let mut quoted = String::from("\"");
    let mut backslashes = 0;
    for character in word.chars() {
        match character {
            '\\' => backslashes += 1,
            '"' => {
                quoted.push_str(&"\\".repeat(2 * backslashes + 1));
                quoted.push('"');
                backslashes = 0;
                continue;
            }
            other => {
                quoted.push_str(&"\\".repeat(backslashes));
                quoted.push(other);
                backslashes = 0;
                continue;
            }
        }
    }
    quoted.push_str(&"\\".repeat(2 * backslashes));
    quoted.push('"');
    quoted
}
