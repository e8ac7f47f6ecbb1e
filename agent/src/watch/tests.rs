use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use notify::event::{AccessKind, AccessMode, Event, EventKind, Flag};

use super::*;

/// Far longer than anything takes: only a missing event reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

fn write(path: impl AsRef<Path>, text: &str) {
    File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn append(path: impl AsRef<Path>, text: &str) {
    File::options().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "the watched tools rename so, and nothing here has to last")]
fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    std::fs::rename(from, to).unwrap();
}

fn make_folder(path: impl AsRef<Path>) {
    std::fs::create_dir_all(path).unwrap();
}

fn remove_folder(path: impl AsRef<Path>) {
    std::fs::remove_dir_all(path).unwrap();
}

/// A watcher over a temporary folder, and what it told.
struct Watched {
    watcher: Watcher,
    changes: Changes,
    wanted: BTreeSet<WatchedPath>,
    home: tempfile::TempDir,
    wakes: usize,
    sentinels: usize,
}

impl Watched {
    async fn new(paths: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        Self::over(Watcher::new(), paths, prepare).await
    }

    async fn over(
        (watcher, changes): (Watcher, Changes),
        paths: &[&str],
        prepare: impl FnOnce(&Path),
    ) -> Self {
        let home = tempfile::tempdir().unwrap();
        make_folder(home.path().join("sentinel"));
        prepare(home.path());
        let wanted =
            ["sentinel"].iter().chain(paths).map(|path| WatchedPath(home.path().join(path))).collect();
        let mut watched = Self { watcher, changes, wanted, home, wakes: 0, sentinels: 0 };
        watched.watcher.set_paths(&watched.wanted);
        watched.heard().await;
        watched
    }

    fn path(&self, path: &str) -> PathBuf {
        self.home.path().join(path)
    }

    async fn next(&mut self) -> ChangeSet {
        let changes = tokio::time::timeout(PATIENCE, self.changes.changed()).await.expect("a change is told");
        self.wakes += 1;
        self.watcher.set_paths(&self.wanted);
        changes
    }

    /// Waits until `path` is touched.
    async fn touched(&mut self, path: &str) {
        let path = WatchedPath(self.path(path));
        while !self.next().await.touched.contains(&path) {}
    }

    /// Everything that was told of what happened before this call: the kernel's queue keeps the order, so once a
    /// change of the sentinel is told, whatever came before it was told too.
    async fn heard(&mut self) -> BTreeSet<String> {
        // What a change brings about (a new watch touches its paths) comes with the second sentinel.
        let mut heard = self.heard_once().await;
        heard.extend(self.heard_once().await);
        heard
    }

    async fn heard_once(&mut self) -> BTreeSet<String> {
        self.sentinels += 1;
        write(self.path(&format!("sentinel/{}", self.sentinels)), "");
        let sentinel = WatchedPath(self.path("sentinel"));
        let mut heard = BTreeSet::new();
        loop {
            let changes = self.next().await;
            let is_over = changes.touched.contains(&sentinel);
            let names = changes.touched.into_iter().filter(|path| *path != sentinel);
            heard.extend(
                names.map(|path| path.0.strip_prefix(self.home.path()).unwrap().display().to_string()),
            );
            if is_over {
                return heard;
            }
        }
    }

    /// What is told of `change`, once all is quiet.
    async fn heard_of(&mut self, change: impl FnOnce(&Path)) -> Vec<String> {
        change(self.home.path());
        self.heard().await.into_iter().collect()
    }
}

#[tokio::test]
async fn a_file_stays_watched_when_it_is_saved_by_rename_truncated_rotated_and_removed() {
    let mut watched = Watched::new(&["state/a.json"], |home| {
        make_folder(home.join("state"));
        write(home.join("state/a.json"), "1");
    })
    .await;
    for round in 0..3 {
        let told = watched
            .heard_of(|home| {
                write(home.join("state/a.json.tmp"), "22");
                rename(home.join("state/a.json.tmp"), home.join("state/a.json"));
            })
            .await;
        assert_eq!(told, ["state/a.json"], "saved by rename, round {round}");
        let told = watched.heard_of(|home| write(home.join("state/a.json"), "")).await;
        assert_eq!(told, ["state/a.json"], "truncated, round {round}");
        let told = watched.heard_of(|home| append(home.join("state/a.json"), "x")).await;
        assert_eq!(told, ["state/a.json"], "appended, round {round}");
        let told =
            watched.heard_of(|home| rename(home.join("state/a.json"), home.join("state/a.json.1"))).await;
        assert_eq!(told, ["state/a.json"], "rotated away, round {round}");
        let told = watched.heard_of(|home| write(home.join("state/a.json"), "new")).await;
        assert_eq!(told, ["state/a.json"], "made again, round {round}");
        let told = watched.heard_of(|home| std::fs::remove_file(home.join("state/a.json")).unwrap()).await;
        assert_eq!(told, ["state/a.json"], "removed, round {round}");
    }
    assert_eq!(watched.watcher.health().folders_watched, 2);
}

#[tokio::test]
async fn what_nobody_asked_for_wakes_nobody() {
    let mut watched =
        Watched::new(&["state/a", "state/sub"], |home| make_folder(home.join("state/sub/deep"))).await;
    let told = watched
        .heard_of(|home| {
            write(home.join("state/b"), "x");
            write(home.join("state/sub/deep/c"), "x");
            rename(home.join("state/b"), home.join("state/d"));
        })
        .await;
    assert!(told.is_empty(), "{told:?}");
    assert_eq!(watched.heard_of(|home| write(home.join("state/sub/e"), "x")).await, ["state/sub"]);
}

#[tokio::test]
async fn our_own_reading_wakes_nobody() {
    let mut watched = Watched::new(&["state"], |home| {
        make_folder(home.join("state"));
        write(home.join("state/a"), "text");
    })
    .await;
    let told = watched
        .heard_of(|home| {
            for _ in 0..100 {
                let mut text = String::new();
                File::open(home.join("state/a")).unwrap().read_to_string(&mut text).unwrap();
                assert_eq!(std::fs::read_dir(home.join("state")).unwrap().count(), 1);
            }
        })
        .await;
    assert!(told.is_empty(), "{told:?}");
}

#[tokio::test]
async fn a_state_folder_that_is_deleted_and_made_again_is_watched_again() {
    let paths = ["project/.loki/events.jsonl", "project/.loki/queue", "project/.loki"];
    let mut watched = Watched::new(&paths, |home| make_folder(home.join("project/.loki/queue"))).await;
    for round in 0..3 {
        let told = watched.heard_of(|home| remove_folder(home.join("project/.loki"))).await;
        assert!(told.contains(&paths[2].to_owned()), "removed, round {round}: {told:?}");
        let told = watched
            .heard_of(|home| {
                make_folder(home.join("project/.loki/queue"));
                write(home.join("project/.loki/events.jsonl"), "1");
            })
            .await;
        assert_eq!(
            told,
            ["project/.loki", "project/.loki/events.jsonl", "project/.loki/queue"],
            "round {round}"
        );
        let told = watched.heard_of(|home| append(home.join("project/.loki/events.jsonl"), "2")).await;
        assert_eq!(told, ["project/.loki", "project/.loki/events.jsonl"], "appended, round {round}");
        let told = watched.heard_of(|home| write(home.join("project/.loki/queue/a.json"), "2")).await;
        assert_eq!(told, ["project/.loki/queue"], "in the subfolder, round {round}");
    }
}

#[tokio::test]
async fn a_folder_that_is_replaced_while_a_file_of_it_is_open_is_watched_again() {
    let mut watched = Watched::new(&["p/.devloop/a"], |home| {
        make_folder(home.join("p/.devloop"));
        write(home.join("p/.devloop/a"), "1");
    })
    .await;
    let open = File::open(watched.path("p/.devloop/a")).unwrap();
    watched
        .heard_of(|home| {
            remove_folder(home.join("p/.devloop"));
            make_folder(home.join("p/.devloop"));
        })
        .await;
    // The kernel may have kept the old folder for the open file; the slow rescan finds out at the latest.
    watched.watcher.check();
    watched.heard().await;
    assert_eq!(watched.heard_of(|home| write(home.join("p/.devloop/a"), "2")).await, ["p/.devloop/a"]);
    drop(open);
    watched.heard().await;
    assert_eq!(watched.heard_of(|home| append(home.join("p/.devloop/a"), "3")).await, ["p/.devloop/a"]);
}

#[tokio::test]
async fn a_folder_that_is_renamed_away_is_heard_no_more_and_its_successor_is() {
    let mut watched =
        Watched::new(&["p/.loki", "p/.loki/a/b"], |home| make_folder(home.join("p/.loki/a/b"))).await;
    watched
        .heard_of(|home| {
            rename(home.join("p/.loki"), home.join("p/old"));
            make_folder(home.join("p/.loki/a/b"));
        })
        .await;
    let told = watched.heard_of(|home| write(home.join("p/old/a/b/x"), "")).await;
    assert!(told.is_empty(), "{told:?}");
    assert_eq!(watched.heard_of(|home| write(home.join("p/.loki/a/b/x"), "")).await, ["p/.loki/a/b"]);
    assert_eq!(watched.heard_of(|home| write(home.join("p/.loki/x"), "")).await, ["p/.loki"]);
}

#[tokio::test]
async fn a_symlinked_state_folder_is_watched_at_its_target_and_follows_the_link() {
    let link = |home: &Path, target: &str| {
        let _ = std::fs::remove_file(home.join("p/.loki"));
        std::os::unix::fs::symlink(home.join(target), home.join("p/.loki")).unwrap();
    };
    let mut watched = Watched::new(&["p/.loki", "p/.loki/events.jsonl"], |home| {
        make_folder(home.join("p"));
        make_folder(home.join("data/one"));
        make_folder(home.join("data/two"));
        link(home, "data/one");
    })
    .await;
    let both = ["p/.loki", "p/.loki/events.jsonl"];
    assert_eq!(watched.heard_of(|home| write(home.join("data/one/events.jsonl"), "1")).await, both);
    watched.heard_of(|home| link(home, "data/two")).await;
    assert_eq!(watched.heard_of(|home| write(home.join("data/two/other"), "1")).await, ["p/.loki"]);
    // The link stands in the middle of this path; the slow rescan sees that it leads elsewhere.
    watched.watcher.check();
    watched.heard().await;
    assert_eq!(watched.heard_of(|home| write(home.join("data/two/events.jsonl"), "1")).await, both);
    let told = watched.heard_of(|home| write(home.join("data/one/events.jsonl"), "2")).await;
    assert!(told.is_empty(), "{told:?}");
}

#[tokio::test]
async fn one_folder_on_two_ways_is_told_on_both() {
    let mut watched = Watched::new(&["a/.loki", "b/.loki"], |home| {
        make_folder(home.join("a/.loki"));
        make_folder(home.join("b"));
        std::os::unix::fs::symlink(home.join("a/.loki"), home.join("b/.loki")).unwrap();
    })
    .await;
    assert_eq!(watched.heard_of(|home| write(home.join("b/.loki/x"), "1")).await, ["a/.loki", "b/.loki"]);
    watched.wanted.retain(|path| !path.0.ends_with("a/.loki"));
    watched.watcher.set_paths(&watched.wanted);
    assert_eq!(watched.heard_of(|home| write(home.join("a/.loki/x"), "2")).await, ["b/.loki"]);
}

#[tokio::test]
async fn a_path_of_which_only_the_project_exists_is_seen_when_it_appears() {
    let mut watched = Watched::new(&["p/.loki/metrics/efficiency"], |home| make_folder(home.join("p"))).await;
    let told = watched.heard_of(|home| write(home.join("p/README.md"), "")).await;
    assert!(told.is_empty(), "{told:?}");
    make_folder(watched.path("p/.loki/metrics/efficiency"));
    watched.touched("p/.loki/metrics/efficiency").await;
    watched.heard().await;
    let told = watched.heard_of(|home| write(home.join("p/.loki/metrics/efficiency/1.json"), "")).await;
    assert_eq!(told, ["p/.loki/metrics/efficiency"]);
    assert_eq!(watched.watcher.health().paths_unseen, 0);
}

#[tokio::test]
async fn a_path_far_from_anything_is_left_to_the_rescan() {
    let mut watched = Watched::new(&["1/2/3/4/5/6"], |_| ()).await;
    assert_eq!(watched.watcher.health().paths_unseen, 1);
    make_folder(watched.path("1/2/3/4/5/6"));
    watched.watcher.check();
    watched.touched("1/2/3/4/5/6").await;
    assert_eq!(watched.watcher.health().paths_unseen, 0);
}

#[tokio::test]
async fn a_checkout_of_thousands_of_files_is_few_wake_ups() {
    let mut watched = Watched::new(&["src"], |home| make_folder(home.join("src"))).await;
    let folder = watched.path("src");
    let begun = Instant::now();
    let wakes_before = watched.wakes;
    let storm = std::thread::spawn(move || {
        for file in 0..5_000 {
            write(folder.join(file.to_string()), "text");
        }
        for file in 0..5_000 {
            std::fs::remove_file(folder.join(file.to_string())).unwrap();
        }
    });
    while !storm.is_finished() {
        watched.touched("src").await;
    }
    storm.join().unwrap();
    watched.heard().await;
    let wakes = watched.wakes - wakes_before;
    let most = begun.elapsed().as_millis() / WAKE_INTERVAL_MIN.as_millis() + 2;
    assert!(wakes as u128 <= most, "{wakes} wake-ups in {:?}", begun.elapsed());
}

#[tokio::test]
async fn an_overflow_of_the_kernels_queue_asks_for_a_rescan_and_the_watches_live_on() {
    let mut watched = Watched::new(&["state"], |home| make_folder(home.join("state"))).await;
    let queue = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let queue: usize = queue.trim().parse().unwrap();
    let hearing = Arc::clone(&watched.watcher.hearing);
    // notify's thread waits for us while the queue runs over. Each file is at least two events.
    let held = hearing.lock();
    for file in 0..queue / 2 + 100 {
        write(watched.path(&format!("state/{file}")), "");
    }
    drop(held);
    while !watched.next().await.rescan {}
    assert!(watched.watcher.health().rescans_forced >= 1);
    watched.heard().await;
    assert_eq!(watched.heard_of(|home| write(home.join("state/last"), "")).await, ["state"]);
}

/// A system with few watches.
struct Limited {
    inner: NotifyBackend,
    left: Arc<std::sync::atomic::AtomicUsize>,
}

impl Backend for Limited {
    fn watch(&mut self, folder: &Path) -> Result<(), Refusal> {
        use std::sync::atomic::Ordering::SeqCst;
        self.left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).map_err(|_| Refusal::Watches)?;
        self.inner.watch(folder)
    }

    fn unwatch(&mut self, folder: &Path) {
        self.inner.unwatch(folder);
    }
}

#[tokio::test]
async fn past_the_limit_of_watches_paths_are_polled_until_there_is_room() {
    let hearing = Arc::new(Hearing::default());
    // The sentinel sorts behind "a" and before "z".
    let left = Arc::new(std::sync::atomic::AtomicUsize::new(2));
    let limited = Limited { inner: NotifyBackend::new(Arc::clone(&hearing)), left: Arc::clone(&left) };
    let made = Watcher::over(Box::new(limited), hearing);
    let mut watched = Watched::over(made, &["a", "z"], |home| {
        make_folder(home.join("a"));
        make_folder(home.join("z"));
    })
    .await;
    let health = watched.watcher.health();
    assert_eq!((health.folders_watched, health.folders_polled), (2, 1));
    // Nothing happens there, and still it is looked at, again and again.
    watched.touched("z").await;
    watched.touched("z").await;
    assert_eq!(watched.heard_of(|home| write(home.join("a/x"), "")).await.first().unwrap(), "a");

    left.store(1, std::sync::atomic::Ordering::SeqCst);
    watched.watcher.check();
    let health = watched.watcher.health();
    assert_eq!((health.folders_watched, health.folders_polled), (3, 0));
    assert!(!watched.watcher.hearing.is_polling());
    watched.heard().await;
    assert_eq!(watched.heard_of(|home| write(home.join("z/x"), "")).await, ["z"]);
}

#[test]
fn the_advice_names_the_limit_and_what_it_must_be() {
    let text = backend::advice(&Refusal::Watches, 12, Some(8192));
    assert!(text.contains("fs.inotify.max_user_watches to at least 8204"), "{text}");
    assert!(text.contains("polled every 2 s instead: 12 folders"), "{text}");
    let text = backend::advice(&Refusal::Instances, 3, Some(128));
    assert!(text.contains("fs.inotify.max_user_instances to at least 129"), "{text}");
    assert!(backend::advice(&Refusal::Watches, 12, None).contains("by at least 12"));
}

#[tokio::test]
async fn a_rescan_is_told_once_and_opens_are_not_told() {
    let hearing = Arc::new(Hearing::default());
    let (_watcher, mut changes) =
        Watcher::over(Box::new(NotifyBackend::new(Arc::clone(&hearing))), Arc::clone(&hearing));
    let open = EventKind::Access(AccessKind::Open(AccessMode::Any));
    hearing.hear(Ok(Event::new(open).add_path("/x".into())));
    assert!(!hearing.has_news());
    hearing.hear(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)));
    assert_eq!(changes.changed().await, ChangeSet { touched: Vec::new(), rescan: true });
    assert!(!hearing.has_news());
    hearing.hear(Err(notify::Error::generic("broken")));
    assert!(changes.changed().await.rescan);
    assert!(hearing.take_stale().everything);
}

#[tokio::test]
async fn a_change_is_not_lost_when_the_waiting_is_dropped() {
    let mut watched = Watched::new(&["state"], |home| make_folder(home.join("state"))).await;
    write(watched.path("state/a"), "");
    while !watched.changes.hearing.has_news() {
        tokio::task::yield_now().await;
    }
    // Dropped while it gathers the burst.
    tokio::select! {
        biased;
        _ = watched.changes.changed() => panic!("a burst is gathered first"),
        () = tokio::task::yield_now() => {}
    }
    watched.touched("state").await;
}

#[test]
fn more_paths_than_the_bound_are_counted_as_unseen() {
    let home = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let (mut watcher, _changes) = Watcher::new();
        let wanted: BTreeSet<_> =
            (0..WATCHED_PATHS_MAX + 5).map(|n| WatchedPath(home.path().join(n.to_string()))).collect();
        watcher.set_paths(&wanted);
        let health = watcher.health();
        assert_eq!((health.folders_watched, health.paths_unseen), (1, 5));
        watcher.set_paths(&BTreeSet::new());
        assert_eq!(watcher.health(), WatchHealth::default());
    });
}
