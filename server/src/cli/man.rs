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

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// What a formatter says of a page; `None` where there is none.
    fn complaints(page: &Page) -> Option<String> {
        use std::io::Write;
        let mut groff = Command::new("groff")
            .args(["-man", "-ww", "-z", "-Tutf8", "-k"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .ok()?;
        groff.stdin.take().expect("piped").write_all(&page.text).expect("it reads");
        let formatted = groff.wait_with_output().expect("it ends");
        assert!(formatted.status.success(), "{}", page.file_name);
        Some(String::from_utf8_lossy(&formatted.stderr).into_owned())
    }

    #[test]
    fn every_command_has_one_page_that_a_formatter_takes() {
        let pages = pages().expect("pages");
        let mut names: Vec<_> = pages.iter().map(|page| page.file_name.as_str()).collect();
        for name in
            ["muster.1", "muster-serve.1", "muster-token-create.1", "muster-agent.1", "muster-agent-run.1"]
        {
            assert!(names.contains(&name), "{name} in {names:?}");
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), pages.len(), "each once");
        assert_eq!(pages[0].file_name, "muster.1");
        for page in &pages {
            let text = String::from_utf8_lossy(&page.text);
            assert!(text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"), "{}", page.file_name);
            let Some(complaints) = complaints(page) else {
                println!("SKIPPED: no groff to format pages");
                return;
            };
            assert_eq!(complaints, "", "{}", page.file_name);
        }
    }
}
