use std::collections::BTreeSet;
use std::io::Write;

use muster::clock::WallTime;

use super::machine::{CpuTicks, DiskIo, Memory};
use super::usage::{ReadingTime, TreeChange, disk_io_bytes, since_boot_ticks};
use super::*;
use crate::facts::Privacy;
use crate::processes::{ProcTable, Units};
use crate::sources::Processes;

const UNITS: Units = Units { ticks_per_second: 100, page_bytes: 4096 };

#[test]
fn processor_time_counts_guests_once_and_waiting_as_idle() {
    let text = "cpu  1000 200 300 5000 400 10 20 30 500 50\ncpu0 1 2 3 4\ncpu1 1 2 3 4\nintr 5\ncpufreq 9\n";
    let before = CpuTicks::parse(text).unwrap();
    assert_eq!(before, CpuTicks { busy: 1560, idle: 5400, cores: 2 });
    let now = CpuTicks { busy: 1560 + 50, idle: 5400 + 150, cores: 2 };
    assert_eq!(now.percent_since(&before), Some(50.0));
    assert_eq!(
        CpuTicks { idle: 5399, ..now }.percent_since(&before),
        Some(200.0),
        "idle time may run backwards"
    );
    assert_eq!(before.percent_since(&before), None);
    assert_eq!(before.percent_since(&now), None, "the counters began anew");
    assert_eq!(CpuTicks::parse("cpu  1 2 3 4\n").unwrap(), CpuTicks { busy: 6, idle: 4, cores: 1 });
    for broken in ["", "cpu  1 2 x", "cpu0 1 2 3 4", "cpu  -1 2 3 4"] {
        assert_eq!(CpuTicks::parse(broken), None, "{broken}");
    }
}

#[test]
fn used_memory_is_what_is_not_available() {
    let new = "MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 700 kB\nBuffers: 50 kB\nCached: 400 kB\n";
    assert_eq!(Memory::parse(new), Some(Memory { total_bytes: 1_024_000, used_bytes: 307_200 }));
    let old = "MemTotal: 1000 kB\nMemFree: 100 kB\nBuffers: 50 kB\nCached: 400 kB\nSwapCached: 7 kB\n";
    assert_eq!(Memory::parse(old), Some(Memory { total_bytes: 1_024_000, used_bytes: 460_800 }));
    let odd = "MemTotal: 1000 kB\nMemAvailable: 2000 kB\n";
    assert_eq!(Memory::parse(odd).unwrap().used_bytes, 0);
    assert_eq!(Memory::parse("MemTotal: x kB\n"), None);
    assert_eq!(Memory::parse(""), None);
}

fn diskstats(disks: &[(&str, u64, u64)]) -> DiskIo {
    let lines = disks.iter().map(|(name, read, written)| {
        format!("   8       0 {name} 10 0 {read} 5 20 0 {written} 7 0 8 12 0 0 0 0\n")
    });
    DiskIo::parse(&lines.collect::<String>())
}

#[test]
fn only_whole_disks_count_and_no_layer_twice() {
    let names = [
        "sda",
        "sda1",
        "nvme0n1",
        "nvme0n1p2",
        "mmcblk0",
        "mmcblk0p1",
        "dm-0",
        "md0",
        "loop3",
        "zram0",
        "xvda1",
    ];
    let before = diskstats(&names.map(|name| (name, 0, 0)));
    let now = diskstats(&names.map(|name| (name, 1, 2)));
    // sda, nvme0n1, mmcblk0, and xvda1, whose disk is not told.
    assert_eq!(now.bytes_since(&before), 4 * 3 * 512);
}

#[test]
fn a_disk_that_comes_goes_or_begins_anew_gives_no_nonsense() {
    let before = diskstats(&[("sda", 100, 0), ("sdb", 100, 0)]);
    assert_eq!(diskstats(&[("sda", 110, 0)]).bytes_since(&before), 10 * 512);
    assert_eq!(diskstats(&[("sda", 100, 0), ("sdb", 5, 0), ("sdc", 7, 0)]).bytes_since(&before), 12 * 512);
    assert_eq!(DiskIo::parse("8 0 sda x\n\n8 0\n").bytes_since(&before), 0);
}

#[test]
fn what_was_thrown_away_unwritten_is_not_counted() {
    let text = "rchar: 9\nwchar: 9\nsyscr: 1\nsyscw: 1\nread_bytes: 100\nwrite_bytes: 50\ncancelled_write_bytes: 20\n";
    assert_eq!(disk_io_bytes(text), Some(130));
    assert_eq!(disk_io_bytes("read_bytes: 1\nwrite_bytes: 2\ncancelled_write_bytes: 9\n"), Some(1));
    assert_eq!(disk_io_bytes("read_bytes: 1\n"), None);
    assert_eq!(disk_io_bytes(""), None);
}

#[test]
fn uptime_is_told_in_ticks() {
    assert_eq!(since_boot_ticks("350735.47 234388.90\n", &UNITS), Some(35_073_547));
    assert_eq!(since_boot_ticks("0.05 1", &Units { ticks_per_second: 1000, ..UNITS }), Some(50));
    for broken in ["", "x.00", "1", "99999999999999999999.00"] {
        assert_eq!(since_boot_ticks(broken, &UNITS), None, "{broken}");
    }
}

/// pid, start, own ticks, children's ticks, bytes.
type Line = (u32, u64, u64, u64, Option<u64>);

/// A reading `at_s` seconds after the machine started.
fn reading(at_s: u64, lines: &[Line]) -> TreeUsage {
    let processes = lines.iter().map(|&(pid, start_ticks, cpu_ticks, children_cpu_ticks, disk_io_bytes)| {
        let stat = ProcessStat {
            state: b'S',
            parent: 1,
            cpu_ticks,
            children_cpu_ticks,
            start_ticks,
            resident_pages: 10,
        };
        (pid, ProcessUsage { stat, disk_io_bytes })
    });
    let monotonic = Monotonic(Duration::from_secs(at_s));
    let at = ReadingTime { monotonic, since_boot_ticks: Some(at_s * UNITS.ticks_per_second) };
    TreeUsage::new(processes.collect(), at)
}

fn change(cpu_percent: f64, disk_io_bytes: u64) -> TreeChange {
    TreeChange { cpu_percent: Some(cpu_percent), disk_io_bytes: Some(disk_io_bytes) }
}

#[test]
fn a_tree_counts_survivors_newcomers_and_commands_that_came_and_went_between() {
    let before = reading(100, &[(1, 10, 500, 1000, Some(5000)), (2, 20, 300, 0, Some(700))]);
    let survivors = reading(110, &[(1, 10, 600, 1000, Some(5100)), (2, 20, 350, 0, Some(700))]);
    assert_eq!(survivors.since(&before, &UNITS), change(15.0, 100));
    let newcomer = reading(
        110,
        &[(1, 10, 500, 1000, Some(5000)), (2, 20, 300, 0, Some(700)), (3, 10_500, 70, 30, Some(9))],
    );
    assert_eq!(newcomer.since(&before, &UNITS), change(10.0, 9));
    // Commands that no reading has seen, of which their parent knows.
    let came_and_went = reading(110, &[(1, 10, 500, 1200, Some(5900)), (2, 20, 300, 0, Some(700))]);
    assert_eq!(came_and_went.since(&before, &UNITS), change(20.0, 900));
    // Process 2 used 40 more, ended, and its parent has waited for it: 340 ticks and 720 bytes go to process 1.
    let waited_for = reading(110, &[(1, 10, 500, 1340, Some(5720))]);
    assert_eq!(waited_for.since(&before, &UNITS), change(4.0, 20));
}

#[test]
fn nothing_is_negative_when_processes_vanish_or_numbers_are_used_again() {
    let before = reading(100, &[(1, 10, 500, 0, Some(5000)), (2, 20, 300, 0, Some(700))]);
    // Nobody waited for process 2.
    let orphan = reading(110, &[(1, 10, 510, 0, Some(5010))]);
    assert_eq!(orphan.since(&before, &UNITS), change(1.0, 0));
    let same_number = reading(110, &[(1, 10_900, 5, 0, Some(3)), (2, 20, 300, 0, Some(700))]);
    assert_eq!(same_number.since(&before, &UNITS), change(0.5, 3));
    let lower = reading(110, &[(1, 10, 4, 0, Some(1)), (2, 20, 3, 0, Some(1))]);
    assert_eq!(lower.since(&before, &UNITS), change(0.0, 0));
    assert_eq!(reading(100, &[(1, 10, 900, 0, None)]).since(&before, &UNITS), TreeChange::default());
    assert_eq!(
        reading(110, &[]).since(&before, &UNITS),
        TreeChange { cpu_percent: Some(0.0), disk_io_bytes: None }
    );
}

#[test]
fn an_old_process_that_joins_the_tree_counts_from_now_on() {
    let before = reading(100, &[(1, 10, 500, 0, Some(0))]);
    let joined = reading(110, &[(1, 10, 500, 0, Some(0)), (9, 9_000, 8_000, 0, Some(1 << 40))]);
    assert_eq!(joined.since(&before, &UNITS), change(0.0, 0));
    let later = reading(120, &[(1, 10, 500, 0, Some(0)), (9, 9_000, 8_100, 0, Some((1 << 40) + 5))]);
    assert_eq!(later.since(&joined, &UNITS), change(10.0, 5));
}

/// A folder that looks like `/proc`, for a source.
struct Machinery {
    proc: tempfile::TempDir,
    source: HostSource,
    processes: ProcTable,
}

impl Machinery {
    fn new() -> Self {
        let proc = tempfile::tempdir().unwrap();
        let machine = Machine { user: "kim".to_owned(), host: "box".to_owned() };
        let source = HostSource::with_proc(proc.path().to_owned(), UNITS, &machine);
        let processes = ProcTable::with_proc(proc.path().to_owned());
        Self { proc, source, processes }
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.proc.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn machine(&self, busy: u64, idle: u64, sectors: u64) {
        self.file("stat", &format!("cpu  {busy} 0 0 {idle}\ncpu0 1 1 1 1\nbtime 1\n"));
        self.file("meminfo", "MemTotal: 1000 kB\nMemAvailable: 600 kB\n");
        self.file("diskstats", &format!("8 0 sda 1 0 {sectors} 0 1 0 0 0 0 0 0\n"));
        self.file("uptime", "100.00 1.0\n");
    }

    fn process(&self, pid: u32, parent: u32, ticks: u64) {
        let stat = format!("{pid} (x) S {parent} 0 0 0 0 0 0 0 0 0 {ticks} 0 0 0 0 0 0 0 50 0 3 0");
        self.file(&format!("{pid}/stat"), &stat);
        self.file(&format!("{pid}/io"), &format!("read_bytes: {ticks}\nwrite_bytes: 0\n"));
        self.file(&format!("{pid}/task/{pid}/stat"), "");
    }

    /// Tool, project and sample of each event of one step.
    fn step(&mut self, at_s: u64) -> (Vec<(String, String, ResourceSample)>, Option<Duration>) {
        let moment = Moment {
            wall: WallTime(1_700_000_000_000_000),
            monotonic: Monotonic(Duration::from_secs(at_s)),
            processes: &self.processes as &dyn Processes,
            rescan: false,
        };
        let mut facts = Facts::new(Privacy::default());
        let step = self.source.step(&moment, &mut facts);
        assert!(!step.more);
        (samples(facts), step.again_in)
    }

    fn live(&mut self, pids: &[u32]) -> bool {
        let project = ProjectContext {
            root: "/shop".into(),
            name: "shop".to_owned(),
            user: String::new(),
            host: String::new(),
            repository: String::new(),
            branch: String::new(),
        };
        self.source.watch([LiveTool { tool: "loki", project, pids: pids.to_vec() }])
    }
}

fn samples(facts: Facts) -> Vec<(String, String, ResourceSample)> {
    let Ok(sealed) = facts.into_builder().seal(muster::ids::Seq(1)) else { return Vec::new() };
    let batch = muster::batch::decode(&sealed.bytes).unwrap();
    let text = |index: u32| batch.strings.get(index as usize).cloned().unwrap_or_default();
    batch
        .events
        .iter()
        .map(|event| {
            let source = &batch.sources[event.source as usize];
            let Some(Kind::ResourceSample(sample)) = &event.kind else { panic!("{event:?}") };
            (text(source.tool), text(source.project), *sample)
        })
        .collect()
}

#[test]
fn the_machine_is_sampled_every_five_minutes_and_every_minute_while_something_lives() {
    let mut machinery = Machinery::new();
    machinery.machine(100, 900, 10);
    machinery.process(7, 1, 100);
    machinery.process(8, 7, 50);
    let (said, again_in) = machinery.step(0);
    assert_eq!(again_in, Some(INTERVAL_IDLE));
    let [(tool, project, first)] = said.as_slice() else { panic!("{said:?}") };
    assert_eq!((tool.as_str(), project.as_str()), ("host", ""));
    assert_eq!((first.cpu_percent, first.disk_io_bytes), (None, None), "the first reading has no rate");
    assert_eq!((first.memory_bytes, first.memory_total_bytes), (Some(409_600), Some(1_024_000)));
    assert_eq!(first.processes, 2);

    let (said, again_in) = machinery.step(59);
    assert_eq!((said.len(), again_in), (0, Some(Duration::from_secs(241))));
    assert!(machinery.live(&[7]));
    assert!(!machinery.live(&[7, 8]), "the same session");
    assert!(!machinery.live(&[7]));
    assert_eq!(machinery.step(59).1, Some(Duration::from_secs(1)));
    machinery.machine(150, 950, 12);
    let (said, again_in) = machinery.step(60);
    assert_eq!(again_in, Some(INTERVAL_LIVE));
    let [(_, _, machine), (tool, project, tree)] = said.as_slice() else { panic!("{said:?}") };
    assert_eq!((machine.cpu_percent, machine.disk_io_bytes), (Some(50.0), Some(1024)));
    assert_eq!((tool.as_str(), project.as_str()), ("loki", "shop"));
    assert_eq!((tree.cpu_percent, tree.disk_io_bytes, tree.processes), (None, None, 2));
    assert_eq!(tree.memory_bytes, Some(6 * 4096));

    machinery.process(8, 7, 650);
    let (said, _) = machinery.step(120);
    let (_, _, tree) = &said[1];
    assert_eq!((tree.cpu_percent, tree.disk_io_bytes), (Some(10.0), Some(600)));
}

#[test]
fn a_session_that_ends_is_stated_once_with_nothing_in_it() {
    let mut machinery = Machinery::new();
    machinery.machine(1, 1, 1);
    machinery.process(7, 1, 100);
    machinery.live(&[7]);
    assert_eq!(machinery.step(0).0.len(), 2);
    // Its source says so first.
    machinery.live(&[]);
    let (said, again_in) = machinery.step(1);
    let [(tool, _, last)] = said.as_slice() else { panic!("{said:?}") };
    assert_eq!(
        (tool.as_str(), last.processes, last.memory_bytes, last.cpu_percent),
        ("loki", 0, Some(0), Some(0.0))
    );
    assert_eq!(again_in, Some(INTERVAL_IDLE - Duration::from_secs(1)));
    assert!(machinery.step(2).0.is_empty());
    // Its processes are gone first.
    machinery.live(&[7]);
    assert_eq!(machinery.step(60).0.len(), 2);
    std::fs::remove_dir_all(machinery.proc.path().join("7")).unwrap();
    assert_eq!(machinery.step(120).0.last().unwrap().2.processes, 0);
    assert_eq!(machinery.step(180).0.len(), 1);
    // Its project is gone.
    machinery.process(7, 1, 100);
    assert_eq!(machinery.step(240).0.len(), 2);
    machinery.source.forget("loki", Path::new("/shop"));
    assert!(machinery.step(241).0.is_empty());
}

#[test]
fn without_proc_nothing_is_stated() {
    let mut machinery = Machinery::new();
    machinery.live(&[7]);
    assert!(machinery.step(0).0.is_empty());
    machinery.file("stat", "garbage");
    let (said, _) = machinery.step(60);
    assert_eq!(said.len(), 1);
    assert_eq!((said[0].2.cpu_percent, said[0].2.memory_bytes), (None, None));
}

#[test]
fn this_machine_and_this_process_can_be_measured() {
    let machine = Machine::of_this_process();
    assert!(!machine.user.is_empty());
    let processes = ProcTable::new();
    let mut source = HostSource::new(&machine);
    let project = ProjectContext {
        root: "/shop".into(),
        name: "shop".to_owned(),
        user: machine.user,
        host: machine.host,
        repository: String::new(),
        branch: String::new(),
    };
    let mut scopes = BTreeSet::new();
    for at_s in [0, 60] {
        source.watch([LiveTool { tool: "loki", project: project.clone(), pids: vec![std::process::id()] }]);
        let moment = Moment {
            wall: WallTime(1),
            monotonic: Monotonic(Duration::from_secs(at_s)),
            processes: &processes,
            rescan: false,
        };
        let mut facts = Facts::new(Privacy::default());
        source.step(&moment, &mut facts);
        for (tool, _, sample) in samples(facts) {
            assert!(sample.memory_bytes.unwrap() > 0);
            assert!(sample.processes > 0);
            assert!(sample.cpu_percent.is_none_or(|percent| percent.is_finite() && percent >= 0.0));
            scopes.insert(tool);
        }
    }
    assert_eq!(scopes.len(), 2);
}
