//! `agent install` and `agent uninstall` as a user has them: the real binary in a home of its own, before a `systemctl`
//! that writes down what it is asked for; and the shipped units before systemd's own judges.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout, reason = "a test")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const BINARY: &str = env!("CARGO_BIN_EXE_muster-agent");

/// Answers as systemd does, by files beside it.
const SYSTEMCTL: &str = r#"#!/bin/sh
echo "systemctl $*" >> "$FAKE/calls"
case "$*" in
  *show-environment*) if [ -e "$FAKE/no-manager" ]; then echo "Failed to connect to bus: No medium found" >&2; exit 1; fi ;;
  *is-enabled*) test -e "$FAKE/enabled" ;;
  *is-active*) test -e "$FAKE/active" ;;
  *disable*) rm -f "$FAKE/enabled" ;;
  *enable*) touch "$FAKE/enabled" ;;
  *restart*) if [ -e "$FAKE/broken" ]; then echo "Job for muster-agent.service failed" >&2; exit 1; fi; touch "$FAKE/active" ;;
  *" start"*) touch "$FAKE/active" ;;
  *stop*) rm -f "$FAKE/active" ;;
esac
"#;

const LOGINCTL: &str =
    "#!/bin/sh\necho \"loginctl $*\" >> \"$FAKE/calls\"\ncat \"$FAKE/linger\" 2>/dev/null || echo no\n";

/// A user's home, and the fake commands.
struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        let home = Self { folder: tempfile::tempdir().unwrap() };
        for (name, script) in [("systemctl", SYSTEMCTL), ("loginctl", LOGINCTL)] {
            let path = home.fake().join(name);
            std::fs::create_dir_all(home.fake()).unwrap();
            std::fs::write(&path, script).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        std::fs::create_dir_all(home.path("src/shop/.git")).unwrap();
        home
    }

    fn fake(&self) -> PathBuf {
        self.folder.path().join("fake")
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join("dana").join(path)
    }

    fn config(&self) -> PathBuf {
        self.path(".config/muster/muster.toml")
    }

    fn unit(&self) -> PathBuf {
        self.path(".config/systemd/user/muster-agent.service")
    }

    fn state(&self) -> PathBuf {
        self.path(".local/state/muster/agent")
    }

    fn flag(&self, name: &str) {
        std::fs::write(self.fake().join(name), "").unwrap();
    }

    fn has_flag(&self, name: &str) -> bool {
        self.fake().join(name).exists()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        let path = format!("{}:{}", self.fake().display(), std::env::var("PATH").unwrap());
        command.args(words).env_clear().env("PATH", path).env("FAKE", self.fake());
        command.env("HOME", self.path("")).env("USER", "dana").current_dir(self.path("src/shop"));
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    #[track_caller]
    fn succeeds(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn fails(&self, words: &[&str], code: i32) -> String {
        let output = self.run(words);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// What the fake commands were asked since the last look.
    fn calls(&self) -> Vec<String> {
        let path = self.fake().join("calls");
        let calls = std::fs::read_to_string(&path).unwrap_or_default();
        let _ = std::fs::remove_file(path);
        calls.lines().map(str::to_owned).collect()
    }

    /// Every file of the home, with content and time of change.
    fn contents(&self) -> BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.path("")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let changed = path.metadata().unwrap().modified().unwrap();
                    files.insert(path.clone(), (std::fs::read(&path).unwrap(), changed));
                }
            }
        }
        files
    }
}

#[test]
fn print_shows_every_file_and_command_and_touches_nothing() {
    let home = Home::new();
    let shown = home.succeeds(&["install", "--print", "--server", "https://c.example:4317", "--watch", "."]);
    for words in [
        home.config().to_str().unwrap(),
        home.unit().to_str().unwrap(),
        home.state().to_str().unwrap(),
        "server = \"https://c.example:4317\"",
        &format!("watch = [\"{}\"]", home.path("src/shop").display()),
        &format!("ExecStart={BINARY} run\n"),
        &format!("ReadWritePaths=-{}\n", home.state().display()),
        "systemctl --user daemon-reload\nsystemctl --user enable muster-agent.service\nsystemctl --user restart muster-agent.service",
    ] {
        assert!(shown.contains(words), "{words}:\n{shown}");
    }
    assert!(home.contents().is_empty(), "{:?}", home.contents());
    assert!(home.calls().is_empty());
}

#[test]
fn an_installation_writes_enables_and_starts_and_a_second_one_changes_nothing() {
    let home = Home::new();
    let words = ["install", "--server", "http://127.0.0.1:4317", "--watch", "../shop", "--watch", "."];
    let said = home.succeeds(&words);
    assert!(said.contains("loginctl enable-linger dana"), "{said}");
    assert!(home.has_flag("enabled") && home.has_flag("active"));
    let mode = home.state().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    home.calls();

    let before = home.contents();
    for words in [&words[..], &["install"][..]] {
        let said = home.succeeds(words);
        assert!(said.contains("nothing to change"), "{said}");
        assert_eq!(home.contents(), before);
        let questions = ["show-environment", "is-enabled", "is-active", "show-user"];
        for call in home.calls() {
            assert!(questions.iter().any(|question| call.contains(question)), "{call}");
        }
    }

    // What has stopped meanwhile is started again.
    std::fs::remove_file(home.fake().join("active")).unwrap();
    let said = home.succeeds(&words);
    assert!(said.contains("restart muster-agent.service") && home.has_flag("active"), "{said}");
    assert_eq!(home.contents(), before);
}

#[test]
fn lingering_that_is_on_is_said_and_an_agent_for_the_next_login_is_not_started() {
    let home = Home::new();
    std::fs::write(home.fake().join("linger"), "yes\n").unwrap();
    let said = home.succeeds(&["install", "--no-start"]);
    assert!(said.contains("lingering is on") && !said.contains("enable-linger"), "{said}");
    assert!(home.has_flag("enabled") && !home.has_flag("active"));
    assert!(home.succeeds(&["install", "--no-start"]).contains("nothing to change"));
}

#[test]
fn what_the_configuration_said_stays_as_it_was_written() {
    let home = Home::new();
    std::fs::create_dir_all(home.config().parent().unwrap()).unwrap();
    let elsewhere = home.path("dotfiles.toml");
    let before = "# mine\n[history]\n\n[agent] # the agent\nmetrics_listen = \"off\"   # quiet\nwatch = [\n  \"/a\", # first\n]\n\n[agent.spool]\nbytes_max = 1073741824\n";
    std::fs::write(&elsewhere, before).unwrap();
    std::fs::set_permissions(&elsewhere, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::symlink(&elsewhere, home.config()).unwrap();
    home.succeeds(&["install", "--server", "https://c.example:4317", "--watch", "."]);
    let shop = home.path("src/shop").display().to_string();
    let expected = before
        .replace("# the agent\n", "# the agent\nserver = \"https://c.example:4317\"\n")
        .replace("\"/a\", # first", &format!("\"/a\", \"{shop}\", # first"));
    assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), expected);
    assert!(home.config().is_symlink());
    assert_eq!(elsewhere.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    // A service that was set up for this is set up anew for that, and the server alone is another one.
    home.succeeds(&["install", "--server", "https://d.example:4317"]);
    assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), expected.replace("c.example", "d.example"));
}

#[test]
fn what_is_not_valid_is_refused_and_nothing_is_changed() {
    let home = Home::new();
    for words in [
        &["install", "--server", "http://collector.example:4317"][..],
        &["install", "--server", "collector"],
        &["install", "--watch", "no-such-folder"],
        &["install", "--ca-fingerprint", "00"],
        &["install", "--name", "laptop"],
        &["uninstall", "--force"],
    ] {
        assert!(!home.fails(words, 2).is_empty());
        assert!(home.contents().is_empty(), "{words:?}");
    }
    std::fs::create_dir_all(home.config().parent().unwrap()).unwrap();
    std::fs::write(home.config(), "[agent]\nwacth = []\n").unwrap();
    let said = home.fails(&["install", "--server", "https://c.example:4317"], 2);
    assert!(said.contains("nothing was changed") && said.contains("did you mean `watch`"), "{said}");
    std::fs::write(home.config(), "agent = { metrics_listen = \"off\" }\n").unwrap();
    let said = home.fails(&["install", "--server", "https://c.example:4317"], 2);
    assert!(said.contains("write this there yourself: server = \"https://c.example:4317\""), "{said}");
    assert_eq!(home.contents().len(), 1);
    assert!(home.calls().is_empty());
}

#[test]
fn without_systemd_it_says_what_to_run_instead_and_writes_nothing() {
    let home = Home::new();
    home.flag("no-manager");
    let said = home.fails(&["install", "--watch", "."], 1);
    assert!(said.contains("In a container") && said.contains(&format!("`{BINARY} run --watch ")), "{said}");
    assert!(said.contains("No medium found"), "{said}");
    assert!(home.contents().is_empty());

    let home = Home::new();
    std::fs::remove_file(home.fake().join("systemctl")).unwrap();
    let path = home.fake();
    let output = home.command(&["install"]).env("PATH", path).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("cannot run systemctl"), "{said}");
}

#[test]
fn a_service_that_does_not_start_is_told_with_where_to_look() {
    let home = Home::new();
    home.flag("broken");
    let said = home.fails(&["install"], 1);
    for words in
        ["Job for muster-agent.service failed", "journalctl --user -u muster-agent", "--no-file-sandbox"]
    {
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn taking_away_keeps_identity_and_spool_and_purging_takes_them_last_and_only_when_forced() {
    let home = Home::new();
    home.succeeds(&["install", "--watch", "."]);
    // Nobody holds the spool: the fake starts nothing. The event waits there.
    home.succeeds(&["emit", "run", "worker=lint", "status=success"]);
    assert!(home.state().join("identity.json").exists());

    let before = home.contents();
    home.calls();
    let said = home.fails(&["uninstall", "--purge"], 1);
    assert!(said.contains(" events (") && said.contains("--force"), "{said}");
    assert!(home.has_flag("enabled") && home.has_flag("active"), "it runs on, to send what waits");
    assert_eq!(home.calls().last().unwrap(), "systemctl --user start muster-agent.service");
    assert_eq!(home.contents().keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());

    let said = home.succeeds(&["uninstall"]);
    assert!(said.contains("--purge takes them away"), "{said}");
    assert!(!home.unit().exists() && home.state().join("identity.json").exists() && home.config().exists());
    assert!(!home.has_flag("enabled") && !home.has_flag("active"));
    assert!(home.succeeds(&["uninstall"]).contains("nothing to take away"));

    home.succeeds(&["install"]);
    std::fs::write(home.state().join("not-ours"), "x").unwrap();
    let said = home.succeeds(&["uninstall", "--purge", "--force"]);
    let removed: Vec<_> = said.lines().filter(|line| line.starts_with("removed ")).collect();
    assert!(removed.last().unwrap().ends_with("/spool"), "the spool is the last to go: {said}");
    let left: Vec<_> = home.contents().into_keys().collect();
    assert_eq!(left, [home.state().join("not-ours")], "and nothing of others goes");
}

#[test]
fn purging_leaves_a_configuration_that_says_more_than_the_agents_settings() {
    let home = Home::new();
    home.succeeds(&["install", "--watch", "."]);
    let mut text = std::fs::read_to_string(home.config()).unwrap();
    text.push_str("\n[server]\n");
    std::fs::write(home.config(), &text).unwrap();
    let said = home.succeeds(&["uninstall", "--purge"]);
    assert!(said.contains("take its section [agent] out by hand"), "{said}");
    assert_eq!(std::fs::read_to_string(home.config()).unwrap(), text);
    assert!(!home.state().exists());
}

// --- systemd's own judges ---

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd").join(name)
}

/// `systemd-analyze`; `None`, with a line that says so, where it is missing. CI must have it.
fn systemd_analyze() -> Option<Command> {
    let is_there = Command::new("systemd-analyze").arg("--version").output().is_ok();
    if !is_there {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "CI must have systemd-analyze (Debian: systemd)"
        );
        println!("SKIPPED: systemd-analyze is not installed (Debian: systemd)");
        return None;
    }
    Some(Command::new("systemd-analyze"))
}

#[test]
fn the_shipped_units_are_exposed_no_more_than_they_may_be() {
    for (unit, threshold) in [("muster.service", 20), ("muster-agent.service", 30)] {
        let Some(mut analyze) = systemd_analyze() else { return };
        analyze.args(["security", "--offline=yes", "--no-pager", &format!("--threshold={threshold}")]);
        let judged = analyze.arg(shipped(unit)).output().unwrap();
        let table = String::from_utf8_lossy(&judged.stdout);
        assert!(
            judged.status.success(),
            "{unit} is above {threshold}:\n{table}{}",
            String::from_utf8_lossy(&judged.stderr)
        );
        println!("{}", table.lines().last().unwrap());
    }
}

/// Whether systemd finds fault with a unit.
#[track_caller]
fn verify(unit: &Path, is_users: bool) {
    let Some(mut analyze) = systemd_analyze() else { return };
    let runtime = tempfile::tempdir().unwrap();
    analyze.arg(if is_users { "--user" } else { "--system" });
    let verified = analyze
        .args(["--man=no", "verify"])
        .arg(unit)
        .env("XDG_RUNTIME_DIR", runtime.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success(), "{}: {said}", unit.display());
    let name = unit.file_name().unwrap().to_str().unwrap();
    assert!(!said.contains(name), "{}: {said}", unit.display());
}

#[test]
fn the_shipped_units_say_nothing_that_systemd_does_not_know() {
    let folder = tempfile::tempdir().unwrap();
    for (unit, program, is_users) in [
        ("muster.service", "/usr/bin/muster ", false),
        ("muster-agent.service", "/usr/bin/muster-agent ", true),
    ] {
        // Where the programs are not installed, systemd would say so.
        let text = std::fs::read_to_string(shipped(unit)).unwrap().replace(program, &format!("{BINARY} "));
        let path = folder.path().join(unit);
        std::fs::write(&path, text).unwrap();
        verify(&path, is_users);
    }
}

#[test]
fn the_unit_of_a_user_with_a_difficult_home_is_one_that_systemd_takes() {
    let home = Home::new();
    home.succeeds(&["install"]);
    verify(&home.unit(), true);
    home.succeeds(&["install", "--no-file-sandbox"]);
    verify(&home.unit(), true);
    let unit = std::fs::read_to_string(home.unit()).unwrap();
    assert!(
        !unit.contains("Protect") && !unit.contains("PrivateUsers") && unit.contains("SystemCallFilter=")
    );

    let difficult = home.path("100% \"quoted\" $HOME; o'neil");
    std::fs::create_dir_all(&difficult).unwrap();
    let installed = home.command(&["install"]).env("XDG_STATE_HOME", &difficult).output().unwrap();
    assert!(installed.status.success(), "{installed:?}");
    verify(&home.unit(), true);
    let unit = std::fs::read_to_string(home.unit()).unwrap();
    assert!(unit.contains(r#"100%% \"quoted\" $HOME; o'neil/muster/agent"#), "{unit}");
}

// --- man pages and completions ---

/// What a formatter of man pages complains about; `None` where there is none.
fn complaints(page: &Path) -> Option<String> {
    let formatted =
        Command::new("groff").args(["-man", "-ww", "-z", "-Tutf8", "-k"]).arg(page).output().ok()?;
    assert!(formatted.status.success(), "{formatted:?}");
    Some(String::from_utf8_lossy(&formatted.stderr).into_owned())
}

#[test]
fn every_command_has_a_man_page_that_formatters_take() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(BINARY).args(["man", "--output"]).arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let names: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    for name in ["muster-agent.1", "muster-agent-run.1", "muster-agent-install.1", "muster-agent-uninstall.1"]
    {
        assert!(names.iter().any(|there| there == name), "{names:?}");
    }
    for name in names {
        let page = folder.path().join(&name);
        let text = std::fs::read_to_string(&page).unwrap();
        for part in [".TH ", ".SH NAME", ".SH SYNOPSIS"] {
            assert!(text.contains(part), "{name:?} has no {part}");
        }
        let Some(complaints) = complaints(&page) else {
            println!("SKIPPED: no groff to format pages");
            return;
        };
        assert_eq!(complaints, "", "{name:?}");
    }
}

#[test]
fn completions_know_the_agents_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = Command::new(BINARY).args(["completions", shell]).output().unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && script.contains("muster-agent"), "{shell}");
        for command in ["install", "uninstall", "emit", "run"] {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
    let bash = Command::new(BINARY).args(["completions", "bash"]).output().unwrap().stdout;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("script"), bash).unwrap();
    let parsed = Command::new("bash").arg("-n").arg(folder.path().join("script")).output().unwrap();
    assert!(parsed.status.success() && parsed.stderr.is_empty(), "{parsed:?}");
}
