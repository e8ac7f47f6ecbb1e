//! `agent exec` as a user has it: real commands through the real binary, in a terminal and in a pipe, with signals, with
//! children that outlive them; and what of it is in the spool afterwards.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout, reason = "a test")]

#[path = "support/place.rs"]
mod place;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use muster::v1::RunStatus;
use place::{BINARY, Place, kill, output, wait};
use rustix::process::{Pid, Signal, kill_process};

/// Starts it and waits for its first line.
fn start_and_hear(mut command: Command, line: &str) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut heard = String::new();
    out.read_line(&mut heard).unwrap();
    assert_eq!(heard.trim(), line);
    (child, out)
}

#[test]
fn every_way_to_end_passes_through_and_is_told() {
    for (script, code, status) in [
        ("exit 0", 0, RunStatus::Success),
        ("exit 1", 1, RunStatus::Failure),
        ("exit 126", 126, RunStatus::Failure),
        ("exit 255", 255, RunStatus::Failure),
    ] {
        let place = Place::new();
        let output = output(place.shell(script));
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b""[..], &b""[..]));
        let (run, said) = place.only_run();
        assert_eq!(run.status(), status);
        assert!(run.duration_us.unwrap() > 0);
        assert_eq!(said.integer("exit_code"), Some(code.into()));
    }
}

#[test]
fn a_command_that_cannot_be_started_ends_with_126_or_127_and_is_told() {
    let place = Place::new();
    let plain = place.0.path().join("plain");
    std::fs::write(&plain, "#!/bin/sh\n").unwrap();
    for (name, code) in [("no-such-command", 127), (plain.to_str().unwrap(), 126)] {
        let place = Place::new();
        let output = output(place.command(&["exec", "--", name]));
        assert_eq!(output.status.code(), Some(code));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with("muster: ") && said.contains(name) && said.lines().count() == 1, "{said}");
        assert_eq!(place.only_run().0.status(), RunStatus::Error);
    }
}

#[test]
fn a_script_without_a_first_line_runs_as_it_does_in_a_shell() {
    let place = Place::new();
    let script = place.0.path().join("script");
    std::fs::write(&script, "echo \"$1\"; exit 3\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = output(place.command(&["exec", script.to_str().unwrap(), "--flag"]));
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(3), &b"--flag\n"[..]));
}

#[test]
fn a_command_that_a_signal_ends_takes_this_process_with_it() {
    for signal in [Signal::TERM, Signal::KILL, Signal::SEGV, Signal::PIPE, Signal::HUP] {
        let place = Place::new();
        let output = output(place.shell(&format!("kill -{} $$", signal.as_raw())));
        assert_eq!(output.status.signal(), Some(signal.as_raw()), "{output:?}");
        let (run, said) = place.only_run();
        assert_eq!(run.status(), RunStatus::Error);
        assert_eq!(said.integer("signal"), Some(signal.as_raw().into()));
    }
}

#[test]
fn a_signal_to_this_process_is_the_commands() {
    for (signal, name) in
        [(Signal::TERM, "TERM"), (Signal::HUP, "HUP"), (Signal::INT, "INT"), (Signal::USR1, "USR1")]
    {
        let place = Place::new();
        let script = format!("trap 'echo caught; exit 42' {name}; echo ready; while :; do sleep 0.05; done");
        let (child, mut out) = start_and_hear(in_the_foreground(&place.shell(&script)), "ready");
        kill(&child, signal);
        assert_eq!(wait(child).code(), Some(42), "{name}");
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "caught\n");
        assert_eq!(place.only_run().1.integer("exit_code"), Some(42));
    }
}

#[test]
fn what_is_ignored_stays_ignored_as_under_nohup() {
    let place = Place::new();
    let inner =
        format!("trap '' HUP; exec {BINARY} exec -- sh -c 'echo ready; sleep 0.5; kill -HUP $$; echo here'");
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(inner);
    let (child, mut out) = start_and_hear(like(&place.command(&[]), shell), "ready");
    kill(&child, Signal::HUP);
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!((wait(child).code(), rest.as_str()), (Some(0), "here\n"));
}

#[test]
fn input_and_a_flood_of_output_pass_untouched() {
    let place = Place::new();
    let mut bytes = vec![0_u8; 32 << 20];
    let mut rng = fastrand::Rng::with_seed(7);
    bytes.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&rng.u64(..).to_le_bytes()[..chunk.len()]));
    let checksum = crc32c::crc32c(&bytes);
    let mut command = place.shell("cat; cat <&- ; head -c 100000 /dev/zero >&2; exit 9");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert_eq!(output.status.code(), Some(9));
    assert_eq!((output.stdout.len(), crc32c::crc32c(&output.stdout)), (32 << 20, checksum));
    // `cat` without an input says so, in the shell's words; the rest is the zeros.
    assert!(output.stderr.len() >= 100_000);
}

#[test]
fn a_reader_that_goes_away_ends_the_command_as_without_us() {
    let place = Place::new();
    let mut child = place.command(&["exec", "--", "yes"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 2];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(wait(child).signal(), Some(Signal::PIPE.as_raw()));
}

#[test]
fn a_child_that_outlives_the_command_is_not_waited_for() {
    let place = Place::new();
    let began = Instant::now();
    let mut command = place.shell("(sleep 30; echo late) >/dev/null 2>&1 & echo $!");
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    let pid: i32 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    let pid = Pid::from_raw(pid).unwrap();
    assert!(rustix::process::test_kill_process(pid).is_ok(), "it lives on");
    kill_process(pid, Signal::KILL).unwrap();
    assert_eq!(place.only_run().0.status(), RunStatus::Success);
}

/// A shell's `script` under `exec` in a terminal of its own, of 33 lines and 77 columns, in which `keys` are pressed when it
/// has said "ready". The exit code as Python tells it (a signal is negative), and what was on the terminal.
fn in_a_terminal(place: &Place, script: &str, keys: &str) -> (i32, String) {
    let python = r#"
import fcntl, os, pty, struct, sys, termios, time
keys, command = sys.argv[1].encode(), sys.argv[2:]
pid, fd = pty.fork()
if pid == 0:
    os.execvp(command[0], command)
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
seen = b""
try:
    while True:
        piece = os.read(fd, 4096)
        if not piece: break
        seen += piece
        if b"ready" in seen and keys:
            time.sleep(0.2)
            os.write(fd, keys)
            keys = b""
except OSError:
    pass
_, status = os.waitpid(pid, 0)
print(os.waitstatus_to_exitcode(status))
print(seen.decode())
"#;
    let shell = in_the_foreground(&place.shell(script));
    let mut command = Command::new("python3");
    command.args(["-c", python, keys]).arg(shell.get_program()).args(shell.get_args());
    let output = like(&shell, command).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    let (code, seen) = said.split_once('\n').unwrap();
    (code.parse().unwrap(), seen.to_owned())
}

/// The command as from a shell's prompt: what the tests' own parent ignores (a job in the background, `nohup`) would be
/// inherited.
fn in_the_foreground(command: &Command) -> Command {
    let mut foreground = Command::new("env");
    foreground.arg("--default-signal=HUP,INT,QUIT,TERM").arg(command.get_program()).args(command.get_args());
    like(command, foreground)
}

/// In the same folder, with the same environment.
fn like(command: &Command, mut other: Command) -> Command {
    other.env_clear().envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
    other.current_dir(command.get_current_dir().unwrap());
    other
}

#[test]
fn in_a_terminal_the_command_has_the_terminal() {
    let place = Place::new();
    let script = "test -t 0 && test -t 1 && test -t 2 && echo ready && read line && stty size && echo got $line && exit 5";
    let (code, seen) = in_a_terminal(&place, script, "hello\n");
    assert!(code == 5 && seen.contains("33 77") && seen.contains("got hello"), "{code}: {seen}");
    assert_eq!(place.only_run().1.integer("exit_code"), Some(5));
}

#[test]
fn ctrl_c_in_a_terminal_reaches_the_command_once() {
    let place = Place::new();
    let script = "n=0; trap 'n=$((n+1)); echo int $n' INT; echo ready; i=0; \
                  while [ $i -lt 40 ]; do sleep 0.05; i=$((i+1)); done; exit $n";
    let (code, seen) = in_a_terminal(&place, script, "\u{3}");
    assert!(code == 1 && seen.contains("int 1") && !seen.contains("int 2"), "{code}: {seen}");
    assert_eq!(place.only_run().1.integer("exit_code"), Some(1));
}

#[test]
fn a_command_without_a_trap_dies_of_ctrl_c_and_so_does_this_process() {
    let place = Place::new();
    assert_eq!(in_a_terminal(&place, "echo ready; exec sleep 60", "\u{3}").0, -2);
    assert_eq!(place.only_run().1.integer("signal"), Some(2));
}

#[test]
fn what_a_run_used_is_told() {
    let place = Place::new();
    let burn = "python3 -c 'x = bytearray(64 << 20); import time; t = time.process_time()\nwhile time.process_time() - t < 0.3: pass'";
    let mut command = place.shell(&format!("{burn} & wait"));
    assert!(command.status().unwrap().success());
    let (run, said) = place.only_run();
    let sample = said.samples[0];
    let cpu_s = sample.cpu_percent.unwrap() / 100.0 * run.duration_us.unwrap() as f64 / 1e6;
    assert!((0.29..5.0).contains(&cpu_s), "{cpu_s}");
    assert!(sample.memory_bytes.unwrap() > 64 << 20, "{sample:?}");
    assert!(sample.processes >= 2, "{sample:?}");
    assert!(sample.disk_io_bytes.is_some());
}

#[test]
fn a_small_commands_memory_is_its_own_and_not_ours() {
    let place = Place::new();
    assert!(place.command(&["exec", "--", "sleep", "0.3"]).status().unwrap().success());
    let memory_bytes = place.only_run().1.samples[0].memory_bytes.unwrap();
    assert!((100_000..8 << 20).contains(&memory_bytes), "{memory_bytes}");
}

#[test]
fn ci_and_trace_are_told_and_the_trace_is_passed_on() {
    let place = Place::new();
    let mut command = place.command(&["exec", "--name", "unit tests", "--", "sh", "-c", "echo $TRACEPARENT"]);
    command.env("TRACEPARENT", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    command
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_REPOSITORY", "acme/shop")
        .env("GITHUB_REF_NAME", "main");
    command.env("GITHUB_RUN_ID", "123456").env("GITHUB_TOKEN", "ghs_canarycanarycanary");
    let output = output(command);
    let passed = String::from_utf8(output.stdout).unwrap();
    let span = passed
        .trim()
        .strip_prefix("00-4bf92f3577b34da6a3ce929d0e0e4736-")
        .unwrap()
        .strip_suffix("-01")
        .unwrap();
    assert_ne!(span, "00f067aa0ba902b7");
    let said = place.only_run().1;
    assert_eq!(said.runs[0].0, "unit tests");
    assert_eq!(said.text("ci.provider"), Some("github"));
    assert_eq!(said.text("ci.run_id"), Some("123456"));
    assert_eq!(said.text("trace_id"), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
    assert_eq!((said.text("span_id"), said.text("parent_span_id")), (Some(span), Some("00f067aa0ba902b7")));
    let (tool, _, repository, branch) = &said.sources[0];
    assert_eq!((tool.as_str(), repository.as_str(), branch.as_str()), ("exec", "shop", "main"));
    let said = place.shell("echo ${TRACEPARENT-none}").output().unwrap();
    assert_eq!(said.stdout, b"none\n");
}

#[test]
fn telemetry_that_goes_nowhere_is_one_line_and_changes_nothing() {
    let place = Place::new();
    std::fs::write(place.state(), "a file where the folder should be").unwrap();
    let broken = place.0.path().join("broken.toml");
    std::fs::write(&broken, "[agent\n").unwrap();
    for config in [None, Some(&broken)] {
        let mut command = place.shell("echo out; exit 3");
        command.envs(config.map(|path| ("MUSTER_CONFIG", path)));
        let output = output(command);
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(3), &b"out\n"[..]));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with("muster: this run is not recorded: "), "{said}");
    }
}
