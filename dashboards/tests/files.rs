//! The files in this folder are what the description gives. `MUSTER_BLESS=1` writes them anew and takes away what is
//! not generated any more.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use muster::atomic_file::{Access, replace};

/// Folders that hold generated files alone.
const FOLDERS: [&str; 5] = ["grafana", "prometheus", "datadog", "newrelic", "elastic"];

#[test]
fn the_files_are_made_from_the_description_and_there_are_no_others() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = dashboards::files();
    let wanted: BTreeSet<PathBuf> = files.iter().map(|file| root.join(&file.path)).collect();
    if std::env::var_os("MUSTER_BLESS").is_some() {
        for file in &files {
            let path = root.join(&file.path);
            fs::create_dir_all(path.parent().expect("files lie in folders"))
                .expect("the repository can be written");
            replace(&path, file.content.as_bytes(), Access::Umask).expect("the repository can be written");
        }
        for stray in present(root).difference(&wanted) {
            fs::remove_file(stray).expect("the repository can be written");
        }
    }
    for file in &files {
        let path = root.join(&file.path);
        let written = fs::read_to_string(&path).unwrap_or_default();
        for (line, (ours, theirs)) in file.content.lines().zip(written.lines()).enumerate() {
            assert_eq!(
                ours,
                theirs,
                "line {} of {}; MUSTER_BLESS=1 writes it anew",
                line + 1,
                path.display()
            );
        }
        assert!(
            file.content == written,
            "{} differs in length; MUSTER_BLESS=1 writes it anew",
            path.display()
        );
    }
    assert_eq!(present(root), wanted, "files that are not generated");
}

#[test]
fn paths_are_unique_plain_and_in_a_known_folder_and_files_end_with_a_line_feed() {
    let files = dashboards::files();
    let paths: BTreeSet<_> = files.iter().map(|file| &file.path).collect();
    assert_eq!(paths.len(), files.len());
    for file in &files {
        let plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains('\\');
        assert!(file.path.split('/').all(plain), "{}", file.path);
        assert!(FOLDERS.iter().any(|folder| file.path.starts_with(&format!("{folder}/"))), "{}", file.path);
        assert!(file.content.ends_with('\n') && !file.content.ends_with("\n\n"), "{}", file.path);
        assert!(!file.content.contains('\r') && !file.content.contains('\t'), "{}", file.path);
    }
}

#[test]
fn the_list_of_panels_that_are_empty_by_nature_is_in_the_documentation() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/dashboards.md");
    let page = fs::read_to_string(&path).expect("the page is there");
    let (begin, end) = ("<!-- empty by nature: begin -->\n", "<!-- empty by nature: end -->\n");
    let (head, rest) = page.split_once(begin).expect("the place is marked");
    let (_, tail) = rest.split_once(end).expect("the place is marked");
    let wanted = format!("{head}{begin}{}{end}{tail}", dashboards::grafana::empty_by_nature_table());
    if std::env::var_os("MUSTER_BLESS").is_some() {
        replace(&path, wanted.as_bytes(), Access::Umask).expect("the repository can be written");
    } else {
        assert!(page == wanted, "{} lacks the list as it is; MUSTER_BLESS=1 writes it", path.display());
    }
}

#[test]
fn the_reference_of_the_services_own_figures_is_as_they_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics-service.md");
    let wanted = dashboards::reference::service_page();
    if std::env::var_os("MUSTER_BLESS").is_some() {
        replace(&path, wanted.as_bytes(), Access::Umask).expect("the repository can be written");
    } else {
        let page = fs::read_to_string(&path).unwrap_or_default();
        assert!(page == wanted, "{} is not as it is made; MUSTER_BLESS=1 writes it", path.display());
    }
}

#[test]
fn the_documentation_names_every_file() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/dashboards.md");
    let page = fs::read_to_string(&path).expect("the page is there");
    for file in dashboards::files() {
        // Files of one folder are listed after the first one by their names alone.
        let name = file.path.rsplit('/').next().unwrap_or_default();
        let is_named = [file.path.as_str(), name].iter().any(|name| page.contains(&format!("`{name}`")));
        assert!(is_named, "{} is not in {}", file.path, path.display());
    }
}

fn present(root: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders: Vec<_> = FOLDERS.iter().map(|folder| root.join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("the repository can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path);
            }
        }
    }
    found
}
