use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use muster::clock::{Clock, SystemClock};

use super::*;
use crate::sources::Processes;

/// A child that is ended with the test.
struct Running(Child);

impl Running {
    fn shell(script: &str) -> Self {
        let child = Command::new("sh")
            .args(["-c", script])
            .env("MUSTER_TEST_VALUE", "forty two")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        BufReader::new(self.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        line
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The shells wait for their input to end.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn answers_about_a_child(processes: &dyn Processes) {
    let mut child = Running::shell("echo ready; read end");
    child.line();
    let pid = child.0.id();
    assert!(processes.is_alive(pid));
    assert_eq!(processes.environment_variable(pid, "MUSTER_TEST_VALUE").as_deref(), Some("forty two"));
    assert_eq!(processes.environment_variable(pid, "MUSTER_TEST"), None);
    let now = SystemClock::new().wall();
    let started = processes.started(pid).unwrap();
    assert!(started <= now, "started {started:?} after {now:?}");
    assert!(now.since(started) < Duration::from_secs(600), "started {started:?} long before {now:?}");
    assert_eq!(processes.tree(pid), [pid]);
    assert!(processes.tree(std::process::id()).contains(&pid));
    child.0.kill().unwrap();
    // Killed and not waited for: a zombie.
    while processes.is_alive(pid) {
        std::thread::yield_now();
    }
    child.0.wait().unwrap();
    assert!(!processes.is_alive(pid));
    assert_eq!(processes.started(pid), None);
    assert!(processes.tree(pid).is_empty());
}

#[test]
fn a_child_is_seen_alive_then_as_a_zombie_then_gone() {
    answers_about_a_child(&ProcTable::new());
}

#[test]
fn sysinfo_gives_the_same_answers_as_proc() {
    answers_about_a_child(&elsewhere::ProcTable::new());
}

#[test]
fn numbers_that_are_no_single_process_are_never_alive() {
    for processes in [&ProcTable::new() as &dyn Processes, &elsewhere::ProcTable::new()] {
        for pid in [0, u32::MAX, i32::MAX as u32 + 1] {
            assert!(!processes.is_alive(pid), "{pid}");
            assert_eq!(processes.started(pid), None);
            assert_eq!(processes.environment_variable(pid, "PATH"), None);
            assert!(processes.tree(pid).is_empty());
        }
    }
}

#[test]
fn a_tree_has_grandchildren() {
    let mut child = Running::shell("sh -c 'echo $$; read end; true'; true");
    let grandchild: u32 = child.line().trim().parse().unwrap();
    let tree = ProcTable::new().tree(std::process::id());
    assert!(tree.contains(&child.0.id()) && tree.contains(&grandchild), "{tree:?} without {grandchild}");
    assert_eq!(ProcTable::new().tree(child.0.id()), [child.0.id(), grandchild]);
}

#[cfg(target_os = "linux")]
mod on_linux {
    use std::io::Write;
    use std::path::Path;

    use super::super::linux::{boot_time_s, is_live_process, value_in};
    use super::*;

    const STAT: &str = "1234 (a) b (c)) S 77 1234 1234 0 -1 4194560 5000 90000 0 10 250 50 4000 -3 20 0 7 0 \
                        360000 900000000 2500 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0";

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let stat = ProcessStat::parse(STAT.as_bytes()).unwrap();
        let expected = ProcessStat {
            state: b'S',
            parent: 77,
            cpu_ticks: 300,
            children_cpu_ticks: 4000,
            start_ticks: 360_000,
            resident_pages: 2500,
        };
        assert_eq!(stat, expected);
        assert!(stat.is_live());
    }

    #[test]
    fn a_cut_or_foreign_stat_is_not_read() {
        let end_of_last_used_field = STAT.find(" 18446744073709551615").unwrap();
        for cut in 0..end_of_last_used_field - 4 {
            assert_eq!(ProcessStat::parse(&STAT.as_bytes()[..cut]), None, "cut at {cut}");
        }
        assert_eq!(ProcessStat::parse(b"1 (x) S a b c"), None);
        assert_eq!(ProcessStat::parse(b")\xff\xfe"), None);
    }

    #[test]
    fn threads_and_zombies_are_no_live_processes() {
        let status = |state: &str, tgid: u32| format!("Name:\tx\nState:\t{state}\nTgid:\t{tgid}\nPid:\t7\n");
        assert!(is_live_process(7, &status("S (sleeping)", 7)));
        assert!(is_live_process(7, &status("T (stopped)", 7)));
        assert!(!is_live_process(7, &status("S (sleeping)", 6)));
        assert!(!is_live_process(7, &status("Z (zombie)", 7)));
        assert!(!is_live_process(7, &status("X (dead)", 7)));
        assert!(!is_live_process(7, ""));
    }

    fn own_thread_id() -> u32 {
        let link = std::fs::read_link("/proc/thread-self").unwrap();
        link.file_name().unwrap().to_str().unwrap().parse().unwrap()
    }

    #[test]
    fn the_number_of_a_thread_is_not_alive() {
        let (tell, hear) = std::sync::mpsc::channel();
        let (end, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            tell.send(own_thread_id()).unwrap();
            let _ = wait.recv();
        });
        let thread_id = hear.recv().unwrap();
        assert!(!ProcTable::new().is_alive(thread_id));
        drop(end);
        thread.join().unwrap();
    }

    #[test]
    fn a_variable_is_found_whole_and_not_by_its_beginning() {
        let environment = b"AB=1\0A=\xff\0LOKI_MAX=7=8\0LAST=x".as_slice();
        let value = |name: &str| value_in(environment, name);
        assert_eq!(value("LOKI_MAX").as_deref(), Some("7=8"));
        assert_eq!(value("AB").as_deref(), Some("1"));
        assert_eq!(value("LAST").as_deref(), Some("x"));
        assert_eq!(value("A"), None);
        assert_eq!(value("LOKI"), None);
        let long = format!("L={}\0", "x".repeat(ENVIRONMENT_VALUE_BYTES_MAX + 1));
        assert_eq!(value_in(long.as_bytes(), "L"), None);
    }

    fn write(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn stat_of(pid: u32, parent: u32, start_ticks: u64) -> String {
        format!("{pid} (x) S {parent} 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 {start_ticks} 0 0 0")
    }

    #[test]
    fn a_start_does_not_move_when_the_clock_is_set() {
        let proc = tempfile::tempdir().unwrap();
        let ticks = Units::of_this_machine().ticks_per_second;
        write(&proc.path().join("7/stat"), &stat_of(7, 1, 5 * ticks));
        write(&proc.path().join("stat"), "cpu 1 2 3\nbtime 100\n");
        let table = ProcTable::with_proc(proc.path().to_owned());
        assert_eq!(table.started(7).unwrap().0, 105_000_000, "a clock that is not set is not remembered");
        write(&proc.path().join("stat"), "btime 1700000000\n");
        assert_eq!(table.started(7).unwrap().0, 1_700_000_005_000_000);
        write(&proc.path().join("stat"), "btime 1700009999\n");
        assert_eq!(table.started(7).unwrap().0, 1_700_000_005_000_000);
        write(&proc.path().join("7/stat"), &stat_of(7, 1, 6 * ticks));
        assert_eq!(table.started(7).unwrap().0, 1_700_010_005_000_000, "the pid is another process now");
    }

    #[test]
    fn without_lists_of_children_the_tree_comes_from_the_parents() {
        let proc = tempfile::tempdir().unwrap();
        for (pid, parent) in [(1, 0), (7, 1), (8, 7), (9, 8), (10, 1), (11, 7)] {
            write(&proc.path().join(format!("{pid}/stat")), &stat_of(pid, parent, 1));
            write(&proc.path().join(format!("{pid}/task/{pid}/stat")), "");
        }
        write(&proc.path().join("notes"), "");
        let mut tree = ProcTable::with_proc(proc.path().to_owned()).tree(7);
        tree.sort_unstable();
        assert_eq!(tree, [7, 8, 9, 11]);
    }

    #[test]
    fn boot_time_is_one_line_of_many() {
        assert_eq!(boot_time_s("cpu 1\nbtime 1700000000\nprocesses 5\n"), Some(1_700_000_000));
        assert_eq!(boot_time_s("xbtime 5\n"), None);
        assert_eq!(boot_time_s("btime x\n"), None);
    }
}

#[test]
fn own_figures_are_of_this_process() {
    let usage = own_usage().unwrap();
    assert!(usage.resident_bytes > 100_000, "{usage:?}");
    assert!(usage.cpu < Duration::from_secs(3600 * 24), "{usage:?}");
}

#[test]
fn ticks_become_time_without_overflow() {
    let units = Units { ticks_per_second: 100, page_bytes: 4096 };
    assert_eq!(units.duration(250), Duration::from_millis(2500));
    assert!(units.duration(u64::MAX) > Duration::from_secs(1));
    assert_eq!(units.bytes(u64::MAX), u64::MAX);
}
