//! `muster dashboards export [--dir DIR] [--force]`
//!
//! Writes every dashboard, rule and example that this version of Muster is watched with. A file that is there already is
//! left as it is: without `--force` nothing is written if one differs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ::dashboards::GeneratedFile;
use muster::atomic_file::{Access, replace};

use super::{Failure, print};

/// Arguments of `muster dashboards`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Write all of them as files, to import or to provision.
    Export {
        /// The folder to write to; made if absent.
        #[arg(long, default_value = "muster-dashboards")]
        dir: PathBuf,
        /// Overwrite files that differ.
        #[arg(long)]
        force: bool,
    },
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Written,
    Overwritten,
    Unchanged,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Command::Export { dir, force } = &arguments.command;
    let files = ::dashboards::files();
    let rows = export(&files, dir, *force)?;
    print(&as_table(&rows))
}

/// Writes `files` under `dir`. All are looked at before the first is written.
fn export<'a>(
    files: &'a [GeneratedFile],
    dir: &Path,
    force: bool,
) -> Result<Vec<(&'a str, Outcome)>, Failure> {
    let mut rows = Vec::with_capacity(files.len());
    for file in files {
        rows.push((file.path.as_str(), outcome(file, &dir.join(&file.path))?));
    }
    let differing: Vec<_> =
        rows.iter().filter(|row| row.1 == Outcome::Overwritten).map(|row| row.0).collect();
    if let (false, [first, ..]) = (force, differing.as_slice()) {
        let others = match differing.len() - 1 {
            0 => String::new(),
            others => format!(" and {others} more"),
        };
        return Err(Failure::Other(format!(
            "{} is there and differs{others}; nothing was written: choose another --dir, or --force to overwrite",
            dir.join(first).display()
        )));
    }
    for (file, (_, outcome)) in files.iter().zip(&rows) {
        if *outcome != Outcome::Unchanged {
            let path = dir.join(&file.path);
            write(&path, &file.content).map_err(|error| cannot("write", &path, &error))?;
        }
    }
    Ok(rows)
}

fn outcome(file: &GeneratedFile, path: &Path) -> Result<Outcome, Failure> {
    match fs::read(path) {
        Ok(content) if content == file.content.as_bytes() => Ok(Outcome::Unchanged),
        Ok(_) => Ok(Outcome::Overwritten),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Outcome::Written),
        Err(error) => Err(cannot("read", path, &error)),
    }
}

fn write(path: &Path, content: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    replace(path, content.as_bytes(), Access::Umask)
}

fn cannot(verb: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::Other(format!("cannot {verb} {}: {error}", path.display()))
}

fn as_table(rows: &[(&str, Outcome)]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(["FILE", "RESULT"]);
    for (path, outcome) in rows {
        let word = match outcome {
            Outcome::Written => "written",
            Outcome::Overwritten => "overwritten",
            Outcome::Unchanged => "unchanged",
        };
        table.add_row([*path, word]);
    }
    format!("{}\n", table.trim_fmt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_are_written_and_a_second_time_nothing_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = folder.path().join("new/dashboards");
        let files = ::dashboards::files();
        let first = export(&files, &dir, false).expect("written");
        assert!(first.len() == files.len() && first.iter().all(|row| row.1 == Outcome::Written));
        for file in &files {
            assert_eq!(fs::read_to_string(dir.join(&file.path)).expect("there"), file.content);
        }
        let second = export(&files, &dir, false).expect("nothing to do");
        assert!(second.iter().all(|row| row.1 == Outcome::Unchanged));
    }

    #[test]
    fn a_file_that_differs_stops_everything_unless_forced() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = ::dashboards::files();
        let edited = folder.path().join(&files[1].path);
        write(&edited, "mine").expect("written");
        let refused = export(&files, folder.path(), false).expect_err("refused").to_string();
        assert!(refused.contains("nothing was written") && refused.contains(&files[1].path), "{refused}");
        assert!(!folder.path().join(&files[0].path).exists());
        assert_eq!(fs::read_to_string(&edited).expect("there"), "mine");
        let rows = export(&files, folder.path(), true).expect("forced");
        assert_eq!((rows[0].1, rows[1].1), (Outcome::Written, Outcome::Overwritten));
        assert_eq!(fs::read_to_string(&edited).expect("there"), files[1].content);
    }

    #[test]
    fn a_folder_that_is_a_file_is_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = folder.path().join("file");
        write(&dir, "").expect("written");
        let refused = export(&::dashboards::files(), &dir, false).expect_err("refused").to_string();
        assert!(refused.starts_with("cannot read ") && refused.contains("file/"), "{refused}");
    }
}
