//! Who a watched project is: its name, its repository and branch, and on whose machine it lies.
//!
//! Git's files are read by hand, since starting `git` in a stranger's folder may run what that folder configures. Only
//! the repository's *name* is taken from the remote's address: user, password, host and path never leave this module.
//!
//! - name: configured, else the repository's name if the project is the repository's own folder, else the folder's
//!   name (design.md §3). A project inside a repository has its folder's name, so that two of them stay two.
//! - repository and branch: of the nearest repository at or above the folder.
//! - what cannot be read is "": a project without git is an ordinary project.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::sources::ProjectContext;

/// Whose machine this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Login name; the user's number if the system knows none.
    pub user: String,
    /// The machine's name, "" if the system does not tell.
    pub host: String,
}

/// Largest file of git's that is read: real ones have a few KiB.
const GIT_FILE_BYTES_MAX: u64 = 1 << 20;
/// How far above a project its repository is looked for: monorepos nest deep, but a home folder that is itself a
/// repository of dotfiles should rarely be taken for the project's.
const REPOSITORY_LEVELS_MAX: usize = 4;

impl Machine {
    /// Of this process.
    pub fn of_this_process() -> Self {
        let variable = |name| std::env::var(name).ok();
        Self {
            user: user_name(variable("USER"), variable("LOGNAME"), || {
                let uid = rustix::process::getuid().as_raw();
                // Services and cron jobs have no USER.
                let passwd = read_text(Path::new("/etc/passwd")).unwrap_or_default();
                login_name(&passwd, uid).map_or_else(|| uid.to_string(), str::to_owned)
            }),
            host: rustix::system::uname().nodename().to_string_lossy().trim().to_owned(),
        }
    }
}

/// The context of the project in `root`, which is canonical. `configured` is its name in the configuration, if any.
pub fn context(root: &Path, configured: Option<&str>, machine: &Machine) -> ProjectContext {
    let found = root
        .ancestors()
        .take(REPOSITORY_LEVELS_MAX)
        .find_map(|folder| Some((folder, GitFolder::of(folder)?)));
    let (repository, branch, is_its_own) = match &found {
        Some((folder, git)) => (git.repository(), git.branch(), *folder == root),
        None => (String::new(), String::new(), false),
    };
    let configured = configured.map(str::trim).filter(|name| !name.is_empty());
    let name = match configured {
        Some(name) => name.to_owned(),
        None if is_its_own && !repository.is_empty() => repository.clone(),
        None => folder_name(root),
    };
    ProjectContext {
        root: root.to_owned(),
        name,
        user: machine.user.clone(),
        host: machine.host.clone(),
        repository,
        branch,
    }
}

/// A name that no other project of this agent has: two clones of one repository must not be taken for one project.
/// The one that came first keeps its name; the next one has its folder's name with it, then a number.
pub fn distinct_name(wanted: &str, root: &Path, taken: &BTreeSet<String>) -> String {
    let folder = folder_name(root);
    let parent = root.parent().map(folder_name).unwrap_or_default();
    let by_place = [wanted.to_owned(), format!("{wanted}-{folder}"), format!("{wanted}-{parent}")];
    by_place
        .into_iter()
        .chain((2u64..).map(|n| format!("{wanted}-{n}")))
        .find(|name| !name.ends_with('-') && !taken.contains(name))
        .unwrap_or_else(|| wanted.to_owned())
}

/// The name of the repository that a remote's address means: its last part without `.git`. "" if it has none.
///
/// Takes `https://user:secret@host/team/name.git`, `git@host:team/name.git`, `ssh://host:22/name` and plain paths.
pub fn repository_name(address: &str) -> &str {
    let address = address.trim().split(['?', '#']).next().unwrap_or_default();
    // Without its scheme and host an address of only a host has no name, however much its user part looks like one.
    let path = match address.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_authority, path)| path),
        None => match address.split_once(':') {
            Some((host, path)) if !host.contains('/') => path,
            _ => address,
        },
    };
    let last = path.trim_end_matches('/').rsplit(['/', '\\']).next().unwrap_or_default();
    let name = last.strip_suffix(".git").unwrap_or(last);
    if name == "." || name == ".." { "" } else { name }
}

/// The address of the remote `origin` in the text of a git configuration.
pub fn origin_address(config: &str) -> Option<String> {
    let mut in_origin = false;
    for line in config.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            // Section names ignore case, subsection names do not (git-config).
            let header = header.split(']').next().unwrap_or_default();
            let (section, subsection) = header.split_once(char::is_whitespace).unwrap_or((header, ""));
            in_origin = section.eq_ignore_ascii_case("remote") && subsection.trim() == "\"origin\"";
        } else if in_origin
            && let Some((key, value)) = line.split_once('=')
            && key.trim().eq_ignore_ascii_case("url")
        {
            let value = value.trim();
            let value = match value.strip_prefix('"') {
                Some(quoted) => quoted.split('"').next().unwrap_or_default(),
                None => value.split([';', '#']).next().unwrap_or_default().trim(),
            };
            return Some(value.to_owned());
        }
    }
    None
}

/// The branch in the text of a `HEAD`; "" when it is detached.
pub fn branch_of_head(head: &str) -> &str {
    match head.trim().strip_prefix("ref:") {
        Some(reference) => {
            let reference = reference.trim();
            reference.strip_prefix("refs/heads/").unwrap_or(reference)
        }
        None => "",
    }
}

/// The folder that the text of a `.git` file points to (worktrees and submodules have one), as it is written.
pub fn git_folder_named_in(dot_git: &str) -> Option<&str> {
    let folder = dot_git.lines().next()?.strip_prefix("gitdir:")?.trim();
    (!folder.is_empty()).then_some(folder)
}

/// `USER`, else `LOGNAME`, else what the system says.
pub fn user_name(user: Option<String>, logname: Option<String>, system: impl FnOnce() -> String) -> String {
    [user, logname]
        .into_iter()
        .flatten()
        .map(|name| name.trim().to_owned())
        .find(|name| !name.is_empty())
        .unwrap_or_else(system)
}

/// The login name of `uid` in the text of `/etc/passwd` (passwd(5)).
pub fn login_name(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

/// Where a working tree's git data lies.
struct GitFolder {
    /// `HEAD` is here: each worktree has its own.
    own: PathBuf,
    /// `config` is here: all worktrees share it.
    common: PathBuf,
}

impl GitFolder {
    fn of(folder: &Path) -> Option<Self> {
        let dot_git = folder.join(".git");
        let metadata = std::fs::metadata(&dot_git).ok()?;
        let own = if metadata.is_dir() {
            dot_git
        } else {
            folder.join(git_folder_named_in(&read_text(&dot_git)?)?)
        };
        let common = match read_text(&own.join("commondir")) {
            Some(named) => own.join(named.trim()),
            None => own.clone(),
        };
        // An empty or foreign `.git` is no repository.
        own.join("HEAD").exists().then_some(Self { own, common })
    }

    fn repository(&self) -> String {
        let config = read_text(&self.common.join("config")).unwrap_or_default();
        repository_name(&origin_address(&config).unwrap_or_default()).to_owned()
    }

    fn branch(&self) -> String {
        branch_of_head(&read_text(&self.own.join("HEAD")).unwrap_or_default()).to_owned()
    }
}

fn read_text(path: &Path) -> Option<String> {
    // A FIFO of this name would block for ever.
    if !std::fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(GIT_FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn folder_name(folder: &Path) -> String {
    folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
