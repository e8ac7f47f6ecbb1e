//! `muster man [--output DIR]`: the pages of `muster`, and of `muster-agent`, whose commands are those of `muster agent`.

use agent::cli::man::{self, ManArgs, Page};
use clap::CommandFactory;

use super::{Cli, Failure, print};

pub(super) fn run(arguments: &ManArgs) -> Result<(), Failure> {
    let pages = pages().map_err(Failure::other)?;
    match &arguments.output {
        Some(folder) => man::write(&pages, folder)
            .map_err(|error| Failure::Other(format!("cannot write into {}: {error}", folder.display()))),
        None => print(&pages.first().map(|page| String::from_utf8_lossy(&page.text)).unwrap_or_default()),
    }
}

/// All of them. `muster agent run` and `muster-agent run` have one page, as `muster-agent-run` has it.
fn pages() -> std::io::Result<Vec<Page>> {
    let of_the_agent = man::pages(agent::cli::slim::Cli::command())?;
    let mut pages = man::pages(Cli::command())?;
    pages.retain(|page| of_the_agent.iter().all(|other| other.file_name != page.file_name));
    pages.extend(of_the_agent);
    Ok(pages)
}
