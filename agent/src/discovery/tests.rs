use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::sources::{ProjectContext, Source, ToolEnvironment};

/// Stands for a tool: its folder and a file in it make a project.
#[derive(Debug)]
struct Marked {
    name: &'static str,
    file: &'static str,
}

impl Tool for Marked {
    fn name(&self) -> &'static str {
        self.name
    }

    fn is_in(&self, root: &Path) -> bool {
        root.join(self.state_folder()).join(self.file).exists()
    }

    fn open(&self, _: ProjectContext, _: &ToolEnvironment, _: Option<&[u8]>) -> Box<dyn Source> {
        unreachable!("a search opens nothing")
    }
}

const LOKI: Marked = Marked { name: "loki", file: "" };
const DEVLOOP: Marked = Marked { name: "devloop", file: "agents.json" };
const TOOLS: &[&dyn Tool] = &[&LOKI, &DEVLOOP];

fn write(path: PathBuf, text: &str) {
    make(path.parent().unwrap());
    File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn make(path: impl AsRef<Path>) {
    std::fs::create_dir_all(path).unwrap();
}

fn loki_in(path: PathBuf) {
    make(path.join(".loki"));
}

fn devloop_in(path: PathBuf) {
    write(path.join(".devloop/agents.json"), "{}");
}

/// A temporary folder under its canonical name.
fn home() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    (folder, path)
}

fn bounds() -> Bounds {
    Bounds { home: None, ..Bounds::default() }
}

fn names(found: &[FoundProject], home: &Path) -> Vec<String> {
    found
        .iter()
        .map(|project| {
            format!("{} {}", project.root.strip_prefix(home).unwrap().display(), project.tools.join("+"))
        })
        .collect()
}

#[test]
fn projects_are_found_four_levels_deep_nested_and_with_both_tools() {
    let (_keep, home) = home();
    loki_in(home.join("a"));
    devloop_in(home.join("a"));
    loki_in(home.join("a/inner"));
    loki_in(home.join("1/2/3/4"));
    loki_in(home.join("1/2/3/4/5"));
    make(home.join("b/.devloop/backups"));
    let found = find_projects(std::slice::from_ref(&home), TOOLS, &bounds());
    assert_eq!(names(&found.projects, &home), ["1/2/3/4 loki", "a loki+devloop", "a/inner loki"]);
    assert_eq!(found.skipped, Skipped::default());
}

#[test]
fn dependencies_hidden_folders_and_the_home_are_no_projects() {
    let (_keep, home) = home();
    for folder in ["", "x/node_modules/y", "x/target/y", "x/.venv/y", "x/.git/y", "x/.hidden", "venv/y"] {
        loki_in(home.join(folder));
    }
    loki_in(home.join("target/real"));
    devloop_in(home.clone());
    let with_home = Bounds { home: Some(home.join("x/..")), ..bounds() };
    let found = find_projects(std::slice::from_ref(&home), TOOLS, &with_home);
    assert_eq!(names(&found.projects, &home), [] as [&str; 0]);
    // Whoever names it means it.
    let found = find_projects(&[home.join("target")], TOOLS, &with_home);
    assert_eq!(names(&found.projects, &home), ["target/real loki"]);
}

#[test]
fn a_project_that_is_reached_on_many_ways_counts_once() {
    let (_keep, home) = home();
    loki_in(home.join("real/shop"));
    make(home.join("links"));
    symlink(home.join("real/shop"), home.join("links/shop")).unwrap();
    symlink(home.join("real"), home.join("real/shop/up")).unwrap();
    symlink("self", home.join("links/self")).unwrap();
    symlink(home.join("nowhere"), home.join("links/nowhere")).unwrap();
    symlink(home.join("links"), home.join("links/loop")).unwrap();
    let roots = [home.join("links"), home.clone(), home.join("real/shop/.loki"), home.join("links/shop")];
    let found = find_projects(&roots, TOOLS, &bounds());
    assert_eq!(names(&found.projects, &home), ["real/shop loki"]);
    assert_eq!(found.skipped, Skipped::default());
    assert!(found.folders_visited <= 4, "{}", found.folders_visited);
}

#[test]
fn a_state_folder_that_is_named_means_its_project_alone() {
    let (_keep, home) = home();
    loki_in(home.join("shop"));
    loki_in(home.join("shop/inner"));
    let found = find_projects(&[home.join("shop/.loki")], TOOLS, &bounds());
    assert_eq!(names(&found.projects, &home), ["shop loki"]);
    let found = find_projects(&[home.join("shop/.loki"), home.clone()], TOOLS, &bounds());
    assert_eq!(names(&found.projects, &home), ["shop loki", "shop/inner loki"]);
}

#[test]
fn a_project_is_lost_with_the_link_through_which_it_was_watched() {
    let (_keep, home) = home();
    loki_in(home.join("away/shop"));
    make(home.join("watched"));
    symlink(home.join("away/shop"), home.join("watched/shop")).unwrap();
    let mut discovery = Discovery::new(vec![home.join("watched")], bounds());
    assert_eq!(discovery.rescan(TOOLS).added.len(), 1);
    std::fs::remove_file(home.join("watched/shop")).unwrap();
    assert_eq!(names(&discovery.rescan(TOOLS).lost, &home), ["away/shop loki"]);
}

#[test]
fn missing_and_unreadable_folders_are_named_and_the_rest_goes_on() {
    let (_keep, home) = home();
    loki_in(home.join("shop"));
    write(home.join("file"), "");
    let closed = home.join("closed");
    loki_in(closed.join("inside"));
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o000)).unwrap();
    let roots = [home.join("gone"), home.join("file/below"), home.join("file"), home.clone()];
    let found = find_projects(&roots, TOOLS, &bounds());
    // The superuser may enter anything.
    let is_open = std::fs::read_dir(&closed).is_ok();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(found.skipped.missing, [home.join("gone")]);
    assert!(found.skipped.unreadable_first.contains(&home.join("file/below")));
    if is_open {
        assert_eq!(names(&found.projects, &home), ["closed/inside loki", "shop loki"]);
    } else {
        assert_eq!(names(&found.projects, &home), ["shop loki"]);
        assert_eq!(found.skipped.unreadable, 2);
    }
}

#[test]
fn a_tree_of_50_000_files_is_searched_within_bounds() {
    let (_keep, home) = home();
    for folder in 0..500 {
        let folder = home.join(format!("big/{}/{folder}", folder % 20));
        make(&folder);
        for file in 0..100 {
            File::create(folder.join(file.to_string())).unwrap();
        }
    }
    loki_in(home.join("zz"));
    let found = find_projects(std::slice::from_ref(&home), TOOLS, &bounds());
    assert_eq!(names(&found.projects, &home), ["zz loki"]);
    assert!(!found.skipped.is_cut_short);
    assert_eq!(found.folders_visited, 1 + 1 + 20 + 500 + 1);

    for tight in [Bounds { folders_max: 30, ..bounds() }, Bounds { entries_max: 1_000, ..bounds() }] {
        let found = find_projects(std::slice::from_ref(&home), TOOLS, &tight);
        assert_eq!(names(&found.projects, &home), ["zz loki"], "near folders come first");
        assert!(found.skipped.is_cut_short);
        assert!(found.folders_visited <= 40, "{}", found.folders_visited);
    }
}

#[test]
fn projects_are_found_and_lost_while_running() {
    let (_keep, home) = home();
    let mut discovery = Discovery::new(vec![home.clone()], bounds());
    assert_eq!(discovery.rescan(TOOLS), Rescanned::default());
    loki_in(home.join("shop"));
    assert_eq!(names(&discovery.rescan(TOOLS).added, &home), ["shop loki"]);
    devloop_in(home.join("shop"));
    let told = discovery.rescan(TOOLS);
    assert_eq!((names(&told.added, &home), told.lost.len()), (vec!["shop devloop".to_owned()], 0));
    assert_eq!(discovery.rescan(TOOLS), Rescanned::default());
    assert_eq!(names(&discovery.projects(TOOLS), &home), ["shop loki+devloop"]);

    std::fs::remove_dir_all(home.join("shop/.loki")).unwrap();
    let told = discovery.rescan(TOOLS);
    assert_eq!((told.added.len(), names(&told.lost, &home)), (0, vec!["shop loki".to_owned()]));
    loki_in(home.join("shop"));
    assert_eq!(names(&discovery.rescan(TOOLS).added, &home), ["shop loki"]);
    std::fs::remove_dir_all(home.join("shop")).unwrap();
    assert_eq!(names(&discovery.rescan(TOOLS).lost, &home), ["shop loki+devloop"]);
}

#[test]
fn a_search_that_is_cut_short_loses_no_known_project() {
    let (_keep, home) = home();
    loki_in(home.join("b/deep/shop"));
    let mut discovery = Discovery::new(vec![home.clone()], bounds());
    discovery.rescan(TOOLS);
    for folder in 0..50 {
        make(home.join(format!("a/{folder}")));
    }
    discovery.bounds.folders_max = 10;
    let told = discovery.rescan(TOOLS);
    assert!(told.skipped.is_cut_short);
    assert_eq!((told.added.len(), told.lost.len()), (0, 0));
    std::fs::remove_dir_all(home.join("b/deep/shop/.loki")).unwrap();
    assert_eq!(names(&discovery.rescan(TOOLS).lost, &home), ["b/deep/shop loki"]);
}

/// A Loki state as it looks while a session of `project` runs.
fn loki_state(root: &Path, project: &Path, pid: &str, started_at: &str) {
    let dashboard = serde_json::json!({
        "mode": "autonomous", "project": {"name": "shop", "path": project}, "startedAt": started_at,
    });
    write(root.join(".loki/dashboard-state.json"), &dashboard.to_string());
    let orchestrator = serde_json::json!({"startedAt": started_at});
    write(root.join(".loki/state/orchestrator.json"), &orchestrator.to_string());
    write(root.join(".loki/loki.pid"), pid);
}

const START: &str = "2026-02-20T10:30:00Z";

#[test]
fn a_worktree_with_a_copy_of_a_projects_state_is_no_project() {
    let (_keep, home) = home();
    let (shop, tree) = (home.join("shop"), home.join("shop-testing"));
    loki_state(&shop, &shop, "100\n", START);
    loki_state(&tree, &shop, "100\n", START);
    devloop_in(tree.clone());
    let found = find_projects(std::slice::from_ref(&home), TOOLS, &bounds());
    assert_eq!(names(&found.projects, &home), ["shop loki", "shop-testing devloop"]);
    assert_eq!(found.skipped.worktree_copies, BTreeSet::from([tree.clone()]));

    // The project's session has ended and another has begun: the copy is still one.
    std::fs::remove_file(shop.join(".loki/loki.pid")).unwrap();
    let found = find_projects(std::slice::from_ref(&home), TOOLS, &bounds());
    assert_eq!(found.skipped.worktree_copies.len(), 1);

    // It gets a session of its own.
    let mut discovery = Discovery::new(vec![home.clone()], bounds());
    discovery.rescan(TOOLS);
    loki_state(&tree, &tree, "200\n", START);
    assert_eq!(names(&discovery.rescan(TOOLS).added, &home), ["shop-testing loki"]);
    // And is made a copy again.
    loki_state(&tree, &shop, "", START);
    assert_eq!(names(&discovery.rescan(TOOLS).lost, &home), ["shop-testing loki"]);
}

#[test]
fn what_shows_a_session_of_its_own_or_has_no_original_is_no_copy() {
    let (_keep, home) = home();
    let shop = home.join("shop");
    loki_state(&shop, &shop, "100\n", START);
    loki_state(&home.join("own-pid"), &shop, "200\n", START);
    loki_state(&home.join("own-start"), &shop, "100\n", "2026-02-21T00:00:00Z");
    loki_state(&home.join("moved"), &home.join("gone"), "100\n", START);
    loki_state(&home.join("backup/shop"), &shop, "100\n", START);
    loki_state(&home.join("broken"), &shop, "100\n", START);
    write(home.join("broken/.loki/dashboard-state.json"), "{\"project\": ,}");
    let found = find_projects(std::slice::from_ref(&home), TOOLS, &bounds());
    assert_eq!(found.projects.len(), 6);
    assert!(found.skipped.worktree_copies.is_empty());
}

#[test]
fn the_next_rescan_is_woken_where_projects_may_appear() {
    let (_keep, home) = home();
    make(home.join("shop/src"));
    loki_in(home.join("a/b/deep"));
    let mut discovery = Discovery::new(vec![home.clone()], bounds());
    discovery.rescan(TOOLS);
    let paths = discovery.watched_paths();
    for expected in ["", ".loki", "shop/.loki", "shop/.devloop", "a/.loki", "a/b/deep/.devloop"] {
        assert!(paths.contains(&WatchedPath(home.join(expected))), "{expected}");
    }
    assert!(
        !paths.contains(&WatchedPath(home.join("a/b/deep/.loki"))),
        "each write in it would wake a search"
    );
    assert!(!paths.contains(&WatchedPath(home.join("shop/src/.loki"))));

    loki_in(home.clone());
    discovery.rescan(TOOLS);
    assert!(!discovery.watched_paths().contains(&WatchedPath(home.clone())), "a project's files are many");
    discovery.bounds.home = Some(home.clone());
    discovery.rescan(TOOLS);
    let paths = discovery.watched_paths();
    for never in ["", ".loki", ".devloop"] {
        assert!(!paths.contains(&WatchedPath(home.join(never))), "the home's {never} is no project");
    }
    for folder in 0..2 * CANDIDATES_MAX {
        make(home.join(folder.to_string()));
    }
    discovery.rescan(TOOLS);
    assert!(discovery.watched_paths().len() <= CANDIDATES_MAX * TOOLS.len());
}
