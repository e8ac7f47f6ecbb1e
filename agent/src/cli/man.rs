//! Man pages, of every command that help shows, from the same words as help.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;
use muster::atomic_file::{self, Access};

/// A page of section 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Its file's name, such as `muster-agent-run.1`.
    pub file_name: String,
    /// Its text, in roff.
    pub text: Vec<u8>,
}

/// Flags of `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write the pages of all commands into this folder, instead of the main one to stdout
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

/// The pages of a command and of all below it; its own is the first.
pub fn pages(command: Command) -> io::Result<Vec<Page>> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    add_pages(&command, &mut pages)?;
    Ok(pages)
}

fn add_pages(command: &Command, pages: &mut Vec<Page>) -> io::Result<()> {
    let man =
        Man::new(command.clone()).manual("Muster").source(concat!("muster ", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    man.render(&mut text)?;
    pages.push(Page { file_name: man.get_filename(), text });
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        add_pages(below, pages)?;
    }
    Ok(())
}

/// Writes the pages into `folder`, which is made.
pub fn write(pages: &[Page], folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    pages
        .iter()
        .try_for_each(|page| atomic_file::replace(&folder.join(&page.file_name), &page.text, Access::Umask))
}
