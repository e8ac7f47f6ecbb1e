//! `agent emit` as scripts and hooks have it: real commands with and without an agent, and what of it is in the spool.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout, reason = "a test")]

#[path = "support/place.rs"]
mod place;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Output, Stdio};

use place::{Place, kill};
use rustix::process::Signal;

#[test]
fn the_project_is_the_repository_around_the_folder_unless_it_is_named() {
    let place = Place::new();
    let deep = place.0.path().join("code/shop/src/deep");
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::create_dir_all(place.0.path().join("code/shop/.git")).unwrap();
    std::fs::write(place.0.path().join("code/shop/.git/HEAD"), "ref: refs/heads/topic\n").unwrap();
    let run = |more: &[&str]| {
        let mut words = vec!["emit", "log", "name=x"];
        words.extend(more);
        assert!(place.command(&words).current_dir(&deep).status().unwrap().success());
    };
    run(&[]);
    run(&["--project", "named", "--tool", "hook"]);
    let home = place.command(&["emit", "log", "name=x"]).status().unwrap();
    assert!(home.success());
    let sources = place.said().sources;
    let expected = [("script", "shop", "", "topic"), ("hook", "named", "", "topic"), ("script", "", "", "")];
    let expected = expected.map(|(a, b, c, d)| (a.to_owned(), b.to_owned(), c.to_owned(), d.to_owned()));
    assert_eq!(sources, expected);
}

fn emit(place: &Place, words: &[&str], input: &str) -> Output {
    let mut command = place.command(&["emit"]);
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn json_comes_as_an_object_an_array_or_lines_and_all_of_it_or_nothing() {
    let place = Place::new();
    let lines =
        "{\"kind\":\"run\",\"worker\":\"a\",\"status\":\"success\"}\n{\"kind\":\"log\",\"name\":\"n\"}\n";
    let array = r#"[{"worker":"b","status":"failure"},{"worker":"c","status":"error","time":1773133200}]"#;
    for (words, input) in [
        (&["--json", "-"][..], lines),
        (&["run", "--json", "-"], array),
        (&["run", "--json", "-"], r#"{"worker":"d","status":"skipped"}"#),
        (&["run", "--json", "-"], ""),
    ] {
        let output = emit(&place, words, input);
        assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    }
    for (words, input, said) in [
        (&["--json", "-"][..], "{\"kind\":\"run\"}", "run needs worker=NAME"),
        (&["--json", "-"], "{\"worker\":\"x\"}", "it has no kind; kinds are run, session"),
        (
            &["run", "--json", "-"],
            "[{\"worker\":\"x\",\"status\":\"error\"},{\"worker\":\"x\"}]",
            "object 2: run needs status",
        ),
        (&["run", "--json", "-"], "{\"kind\":\"log\",\"name\":\"x\"}", "the command says \"run\""),
        (&["run", "--json", "-"], "{\"worker\":", "not JSON objects"),
        (&["run", "worker=x", "--json", "-"], "{}", "not from both"),
        (&["run", "worker"], "", "\"worker\" is not KEY=VALUE"),
        (&["run", "worker=x", "worker=y"], "", "worker is given twice"),
        (&["nur", "worker=x"], "", "kinds are run, session, finding, usage, push, value, log"),
        (&["log", "name=x", "--time", "soon"], "", "--time \"soon\" is not a time"),
    ] {
        let output = emit(&place, words, input);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(said) && stderr.lines().count() == 1, "{stderr}");
    }
    let said = place.said();
    let workers: Vec<_> = said.runs.iter().map(|(worker, _)| worker.as_str()).collect();
    assert_eq!((workers, said.logs.len(), said.others), (vec!["a", "b", "c", "d"], 1, 0));
}

/// A process that does not outlive a test that fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that ended is no reason to panic.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_next_agent_has_what_commands_spooled_and_takes_more_while_it_runs() {
    let place = Place::new();
    assert!(emit(&place, &["run", "worker=before", "status=success"], "").status.success());
    let mut agent = place.command(&["run", "--metrics-listen", "127.0.0.1:0"]);
    let (mut agent, line) = {
        let mut child = agent.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (Running(child), line)
    };
    let address = line.trim().strip_prefix("ready metrics=").unwrap().to_owned();
    let page = |address: &str| muster::page::get(address, "/metrics").unwrap();
    let before = page(&address);
    assert!(before.contains("muster_runs_total{tool=\"script\",agent=\"before\""), "{before}");
    assert!(emit(&place, &["run", "worker=while", "status=success"], "").status.success());
    let page = page(&address);
    assert!(page.contains("agent=\"before\"") && page.contains("agent=\"while\""), "{page}");
    assert!(page.contains("muster_agent_local_requests_total{outcome=\"accepted\"} 1"), "{page}");
    kill(&agent.0, Signal::TERM);
    assert!(agent.0.wait().unwrap().success());
    let said = place.said();
    let workers: Vec<_> = said.runs.iter().map(|(worker, _)| worker.as_str()).collect();
    assert_eq!(workers, ["before", "while"]);
}

#[test]
fn a_file_of_another_kind_than_a_folder_is_no_reason_to_hang() {
    let place = Place::new();
    let output =
        emit(&place, &["log", "name=x", "--state-dir", Path::new("/dev/null/x").to_str().unwrap()], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("muster: cannot use /dev/null/x"));
}
