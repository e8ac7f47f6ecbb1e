//! Processes and signals of Unix.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::Duration;

use muster::clock::{Clock, WallTime};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Resource, Rlimit, Signal};
use signal_hook::consts::signal::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::origin::WithOrigin;
use signal_hook::low_level::siginfo::Cause;

use super::{Command, End, Ended, STARTED_AFTER, Used};
use crate::processes::{ProcTable, ProcessStat, Units};
use crate::sources::Processes;

/// What others may send to this process and mean the command.
const PASSED_ON: [i32; 6] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2];
/// The tree is sampled after this, and then less and less often: a sample costs some file reads.
const SAMPLE_PAUSE_FIRST: Duration = Duration::from_millis(5);
const SAMPLE_PAUSE_MAX: Duration = Duration::from_secs(1);

/// How much this process may grow between the look at its own memory and the command's start.
const OWN_MEMORY_MARGIN_BYTES: u64 = 1 << 20;

pub(super) fn run(command: &Command, clock: &dyn Clock, lasts: &mut dyn FnMut(WallTime)) -> Ended {
    // Before the command is there, so that none is missed; they wait in a pipe.
    let mut signals = Signals::listen();
    let own_memory = memory_bytes(UsageWho::RUSAGE_SELF);
    let (started, began) = (clock.wall(), clock.monotonic().0);
    let ran_for = || clock.monotonic().0.saturating_sub(began);
    let (end, mut used) = match spawn(command) {
        Err(error) => (End::NotStarted(error), Used::default()),
        Ok(mut child) => {
            let mut watch = Watch { clock_of_child: &ran_for, tree: Tree::new(child.id()), lasts, started };
            let end = watch.until_end(&mut child, &mut signals);
            (
                end,
                Used {
                    memory_bytes: watch.tree.memory_bytes,
                    processes: watch.tree.processes,
                    ..Used::default()
                },
            )
        }
    };
    let duration = ran_for();
    if !matches!(end, End::NotStarted(_)) {
        account(&mut used, own_memory);
    }
    Ended { end, started, duration, used }
}

/// Ends this process by a signal, without a core of its own.
pub(super) fn die_by(signal: i32) {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = rustix::process::setrlimit(Resource::Core, none);
    let _ = signal_hook::low_level::emulate_default_handler(signal);
}

fn spawn(command: &Command) -> io::Result<Child> {
    let traceparent = || command.traceparent.iter().map(|value| ("TRACEPARENT", value));
    let (program, arguments) = (&command.words[0], &command.words[1..]);
    let spawned = std::process::Command::new(program).args(arguments).envs(traceparent()).spawn();
    match spawned {
        // A script without a first line that names its shell: execvp(3) gives it to the shell.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => {
            let script = find(Path::new(program)).ok_or(error)?;
            std::process::Command::new("/bin/sh").arg(script).args(arguments).envs(traceparent()).spawn()
        }
        spawned => spawned,
    }
}

/// Where a program is.
fn find(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return Some(program.to_owned());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// The most memory that one process had, by the system's account.
fn memory_bytes(who: UsageWho) -> Option<u64> {
    // KiB; on Apple's systems bytes.
    let unit = if cfg!(target_vendor = "apple") { 1 } else { 1024 };
    let rss = u64::try_from(getrusage(who).ok()?.max_rss()).ok()?;
    (rss > 0).then(|| rss.saturating_mul(unit))
}

/// The system's account of what this process waited for, which is the command. A new process begins with the peak of the
/// one that started it, here ours: only what is above says something of the command.
fn account(used: &mut Used, own_memory: Option<u64>) {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return };
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    used.cpu = u64::try_from(micros).ok().map(Duration::from_micros);
    let memory = memory_bytes(UsageWho::RUSAGE_CHILDREN);
    // The pages of the start itself come on top.
    let floor = own_memory.unwrap_or(0) + OWN_MEMORY_MARGIN_BYTES;
    used.memory_bytes = used.memory_bytes.max(memory.filter(|bytes| *bytes > floor));
    // Blocks of 512 bytes, whatever the disk's are (getrusage(2)).
    let blocks = usage.block_reads().saturating_add(usage.block_writes());
    used.io_bytes = u64::try_from(blocks).ok().map(|blocks| blocks * 512);
}

/// Waits for one command.
struct Watch<'a> {
    clock_of_child: &'a dyn Fn() -> Duration,
    tree: Tree,
    lasts: &'a mut dyn FnMut(WallTime),
    started: WallTime,
}

impl Watch<'_> {
    fn until_end(&mut self, child: &mut Child, signals: &mut Signals) -> End {
        let mut told = false;
        let mut pause = SAMPLE_PAUSE_FIRST;
        let mut sample_at = pause;
        loop {
            match child.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => return end_of(status),
                // Somebody else waited for it: how it ended is not known.
                Err(error) => return End::NotStarted(error),
            }
            let now = (self.clock_of_child)();
            if !told && now >= STARTED_AFTER {
                told = true;
                (self.lasts)(self.started);
            }
            if now >= sample_at {
                self.tree.sample();
                pause = (pause * 2).min(SAMPLE_PAUSE_MAX);
                sample_at = now + pause;
            }
            let next = if told { sample_at } else { sample_at.min(STARTED_AFTER) };
            for signal in signals.wait(next.saturating_sub(now)) {
                pass_on(child, signal);
            }
        }
    }
}

fn end_of(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Exited(code),
        (None, Some(signal)) => End::Signaled(signal),
        (None, None) => End::Exited(1),
    }
}

fn pass_on(child: &Child, signal: i32) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let (Some(pid), Some(signal)) = (pid, Signal::from_named_raw(signal)) {
        // It may just have ended; it was not waited for, so the number is still its own.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Signals to this process, as far as they are not ignored: what we were told to ignore, the command ignores, too.
struct Signals(Option<SignalDelivery<UnixStream, WithOrigin>>);

impl Signals {
    fn listen() -> Self {
        let ignored = ignored_signals();
        let listened = PASSED_ON.into_iter().filter(|signal| ignored & (1 << (signal - 1)) == 0);
        let delivery = UnixStream::pair().and_then(|(read, write)| {
            SignalDelivery::with_pipe(read, write, WithOrigin::default(), listened.chain([SIGCHLD]))
        });
        // Without them the command is still waited for, by looking again and again.
        Self(delivery.ok())
    }

    /// Waits for signals, and answers those to be passed on.
    fn wait(&mut self, most: Duration) -> Vec<i32> {
        let Some(delivery) = &mut self.0 else {
            std::thread::park_timeout(most.min(SAMPLE_PAUSE_FIRST));
            return Vec::new();
        };
        let timeout = Timespec::try_from(most).ok();
        let mut readable = [PollFd::from_borrowed_fd(delivery.get_read().as_fd(), PollFlags::IN)];
        // Interrupted is as good as readable.
        let _ = poll(&mut readable, timeout.as_ref());
        // What the kernel sends (the terminal's keys, its hangup) goes to the whole group.
        let is_for_us = |cause: Cause| matches!(cause, Cause::Sent(_));
        let pending = delivery.pending();
        pending
            .filter(|origin| origin.signal != SIGCHLD && is_for_us(origin.cause))
            .map(|o| o.signal)
            .collect()
    }
}

/// A bit for each signal that this process ignores, from 1 (proc_pid_status(5)); none where the system does not tell.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// The command and what it started.
struct Tree {
    pid: u32,
    table: ProcTable,
    units: Units,
    memory_bytes: Option<u64>,
    processes: u32,
}

impl Tree {
    fn new(pid: u32) -> Self {
        let units = Units::of_this_machine();
        Self { pid, table: ProcTable::new(), units, memory_bytes: None, processes: 0 }
    }

    /// Looks at it now, and keeps the most.
    fn sample(&mut self) {
        let stats = self.table.tree(self.pid).into_iter().filter_map(|pid| {
            ProcessStat::parse(&std::fs::read(format!("/proc/{pid}/stat")).ok()?).filter(ProcessStat::is_live)
        });
        let (mut pages, mut count) = (0_u64, 0_u32);
        for stat in stats {
            pages = pages.saturating_add(stat.resident_pages);
            count += 1;
        }
        self.processes = self.processes.max(count);
        if pages > 0 {
            self.memory_bytes = self.memory_bytes.max(Some(self.units.bytes(pages)));
        }
    }
}
