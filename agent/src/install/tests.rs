//! Scenario: the files of all three systems, rendered here with paths that need quoting. Guarantees: parsers that are not
//! ours read out of them what was put in.

use std::path::Path;
use std::process::Command;

use super::config_edit::{self, Changes, EditError};
use super::launchd::Launchd;
use super::scheduled_task::ScheduledTask;
use super::systemd::{Systemd, file_sandbox_is_possible};
use super::*;

const PROGRAM: &str = "/Users/o'neil & <co>/bin/muster-agent";

fn service() -> Service {
    Service {
        program: PROGRAM.into(),
        arguments: vec!["run".into(), "--config".into(), r#"/a b/"c" & <d>\"#.into()],
        state_dir: "/Users/o'neil & <co>/state".into(),
        environment: vec![("XDG_STATE_HOME", "/Users/o'neil & <co>".into())],
        file_sandbox: true,
    }
}

fn here() -> Here {
    Here {
        home: "/Users/o'neil & <co>".into(),
        config_home: "/Users/o'neil & <co>/.config".into(),
        user: r"CORP\o'neil & co".into(),
        uid: 501,
    }
}

/// What Python's parsers say of a file; `None`, with a line that says so, without Python. CI has it.
fn python(program: &str, file: &ServiceFile) -> Option<serde_json::Value> {
    let python = std::env::var("MUSTER_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::File::create(&path).and_then(|mut f| std::io::Write::write_all(&mut f, &file.bytes())).unwrap();
    let Ok(ended) = Command::new(python).args(["-c", program]).arg(&path).output() else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI must have python3");
        println!("SKIPPED: python3 is not installed");
        return None;
    };
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    Some(serde_json::from_slice(&ended.stdout).unwrap())
}

#[test]
fn the_launch_agent_is_a_property_list_that_says_what_to_run() {
    let files = Launchd.files(&service(), &here());
    assert_eq!(files[0].path, here().home.join("Library/LaunchAgents/dev.muster.agent.plist"));
    let program = "import json, plistlib, sys; print(json.dumps(plistlib.load(open(sys.argv[1], 'rb'))))";
    let Some(plist) = python(program, &files[0]) else { return };
    let words: Vec<_> = std::iter::once(PROGRAM.to_owned()).chain(service().arguments).collect();
    assert_eq!(plist["ProgramArguments"], serde_json::json!(words));
    assert_eq!(plist["Label"], "dev.muster.agent");
    assert_eq!(plist["EnvironmentVariables"]["XDG_STATE_HOME"], "/Users/o'neil & <co>");
    assert_eq!((&plist["RunAtLoad"], &plist["Umask"]), (&true.into(), &0o077.into()));
    assert_eq!(plist["KeepAlive"]["SuccessfulExit"], false);
    assert_eq!(plist["StandardErrorPath"], "/Users/o'neil & <co>/Library/Logs/muster-agent.log");
    let commands: Vec<_> = Launchd.set_up(&here(), true).iter().map(ToString::to_string).collect();
    assert_eq!(
        commands[..2],
        ["launchctl bootout gui/501/dev.muster.agent", "launchctl enable gui/501/dev.muster.agent"]
    );
    assert!(commands[2].starts_with("launchctl bootstrap gui/501 "), "{commands:?}");
}

#[test]
fn the_scheduled_task_is_one_that_says_what_to_run_for_whom() {
    let files = ScheduledTask.files(&service(), &here());
    assert_eq!(files[0].bytes()[..2], [0xFF, 0xFE], "UTF-16 with its mark, as Windows writes tasks");
    let program = "import json, sys, xml.etree.ElementTree as t
print(json.dumps({e.tag.split('}')[1]: e.text for e in t.parse(sys.argv[1]).iter() if not len(e)}))";
    let Some(task) = python(program, &files[0]) else { return };
    assert_eq!(task["Command"], PROGRAM);
    assert_eq!(task["Arguments"], r#"run --config "/a b/\"c\" & <d>\\""#);
    assert_eq!(task["UserId"], r"CORP\o'neil & co");
    assert_eq!(
        (&task["RunLevel"], &task["LogonType"]),
        (&"LeastPrivilege".into(), &"InteractiveToken".into())
    );
    assert_eq!(
        (&task["StopIfGoingOnBatteries"], &task["ExecutionTimeLimit"]),
        (&"false".into(), &"PT0S".into())
    );
    let commands = ScheduledTask.set_up(&here(), false);
    assert_eq!(commands.len(), 1);
    assert_eq!(commands[0].arguments[..3], ["/Create", "/TN", r"\Muster\Agent"]);
}

#[test]
fn the_unit_is_the_shipped_one_with_the_users_paths() {
    let mut plain = service();
    plain.program = "/usr/bin/muster".into();
    plain.arguments = vec!["agent".into(), "run".into()];
    plain.state_dir = "/home/dana/.local/state/muster/agent".into();
    plain.environment.clear();
    let shipped = include_str!("../../../packaging/systemd/muster-agent.service");
    let expected =
        shipped.replace("%h", "/home/dana").replace("/usr/bin/muster-agent run", "/usr/bin/muster agent run");
    let rendered = Systemd.files(&plain, &here()).remove(0).text;
    let from_unit = |text: &str| text[text.find("[Unit]").unwrap()..].to_owned();
    assert_eq!(from_unit(&rendered), from_unit(&expected));

    plain.file_sandbox = false;
    let without = Systemd.files(&plain, &here()).remove(0).text;
    let missing: Vec<_> = rendered.lines().filter(|line| !without.contains(line)).collect();
    assert!(missing.iter().any(|line| line.starts_with("ProtectHome=")), "{missing:?}");
    let kept = ["NoNewPrivileges=yes", "SystemCallFilter=@system-service", "Type=notify", "[Install]"];
    assert!(kept.iter().all(|line| without.contains(line)), "{without}");
}

#[test]
fn a_sandbox_of_files_is_not_asked_for_where_users_may_not_make_one() {
    let system = |switches: &'static [(&str, &str)]| {
        file_sandbox_is_possible(&move |path: &Path| {
            let found = switches.iter().find(|(name, _)| path.ends_with(name));
            found.map(|(_, value)| format!("{value}\n"))
        })
    };
    assert!(system(&[]));
    assert!(system(&[("unprivileged_userns_clone", "1"), ("max_user_namespaces", "60000")]));
    assert!(!system(&[("unprivileged_userns_clone", "0")]));
    assert!(!system(&[("max_user_namespaces", "0")]));
    assert!(!system(&[("apparmor_restrict_unprivileged_userns", "1")]));
}

#[test]
fn a_setting_goes_where_the_file_has_a_place_for_it() {
    let changes = Changes {
        server: Some("https://c:4317".into()),
        watch: vec!["/a".into(), "/b \"x\"".into()],
        ..Default::default()
    };
    let both = "server = \"https://c:4317\"\n";
    let watch = "watch = [\"/a\", '/b \"x\"']\n";
    for (before, after) in [
        (String::new(), format!("[agent]\n{watch}{both}")),
        ("[agent]".into(), format!("[agent]\n{watch}{both}")),
        ("[server]\n".into(), format!("[server]\n\n[agent]\n{watch}{both}")),
        ("[agent.spool]\n".into(), format!("[agent.spool]\n\n[agent]\n{watch}{both}")),
        ("[ agent ]\r\nserver='x'".into(), format!("[ agent ]\r\n{watch}server=\"https://c:4317\"")),
        (format!("[agent]\n{both}watch = []\n"), format!("[agent]\n{both}{watch}")),
        (
            format!("[agent]\n{both}watch = ['/b \"x\"',]\n"),
            format!("[agent]\n{both}watch = ['/b \"x\"', \"/a\",]\n"),
        ),
        (format!("[agent]\n{both}{watch}"), format!("[agent]\n{both}{watch}")),
    ] {
        assert_eq!(config_edit::apply(&before, &changes).unwrap(), after, "{before}");
        assert_eq!(config_edit::apply(&after, &changes).unwrap(), after, "twice is once");
    }
    assert_eq!(config_edit::apply("# x\n", &Changes::default()).unwrap(), "# x\n");
}

#[test]
fn a_form_that_is_not_managed_is_refused_with_what_to_write() {
    let changes = Changes { server: Some("https://c:4317".into()), ..Default::default() };
    for text in ["agent = {}\n", "agent.watch = []\n", "[server]\nx = '''\n[agent]\n'''\n[agent.spool]\n"] {
        let refused = config_edit::apply(text, &changes);
        let Err(EditError::ByHand(what)) = refused else { panic!("{text}: {refused:?}") };
        assert_eq!(what, "server = \"https://c:4317\"");
    }
    assert!(matches!(config_edit::apply("[agent", &changes), Err(EditError::Syntax(_))));
}
