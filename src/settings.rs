//! The configuration file: where it is, reading it within a bound, and unknown keys.
//!
//! An unknown key is always an error: a misspelt `retention_byts_max` that is passed over in silence is found when the
//! disk is full.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

/// A spelling this much alike is worth naming (Jaro-Winkler, 0 to 1).
const LIKENESS_MIN: f64 = 0.75;

/// A configuration is a page of text; more is a mistake and is not read into memory.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Looks a variable up as a path; an empty one is as good as none.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<PathBuf>;

/// [`Environment`] of this process.
pub fn process_environment(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Where this user's configurations are: XDG's place, or that of Windows.
pub fn config_home(environment: Environment<'_>) -> Option<PathBuf> {
    environment("XDG_CONFIG_HOME")
        .or_else(|| Some(environment("HOME")?.join(".config")))
        .or_else(|| environment("APPDATA"))
}

/// The first of the usual places that has a configuration file: the user's, then the system's.
pub fn default_file(environment: Environment<'_>) -> Option<PathBuf> {
    let home = config_home(environment);
    let places = [home.map(|h| h.join("muster/muster.toml")), Some(PathBuf::from("/etc/muster/muster.toml"))];
    places.into_iter().flatten().find(|path| path.is_file())
}

/// Where `part` (`server`, `agent`) keeps its state unless told otherwise: systemd's place, then XDG's, then that
/// of Windows.
pub fn default_state_dir(environment: Environment<'_>, part: &str) -> PathBuf {
    if let Some(state) = environment("STATE_DIRECTORY") {
        return state;
    }
    let state = environment("XDG_STATE_HOME")
        .or_else(|| Some(environment("HOME")?.join(".local/state")))
        .or_else(|| environment("LOCALAPPDATA"));
    state.unwrap_or_else(|| PathBuf::from("/var/lib")).join("muster").join(part)
}

/// The text of a configuration file.
pub fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        let problem = format!("it has more than {FILE_BYTES_MAX} bytes, which no configuration has");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
    }
    Ok(text)
}

/// A key that nobody reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownKey {
    /// Where it stands, from 1.
    pub line: usize,
    /// The key with its section.
    pub key: String,
    /// The known key that it is most like.
    pub nearest: Option<String>,
}

impl fmt::Display for UnknownKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: unknown key `{}`", self.line, self.key)?;
        match &self.nearest {
            Some(nearest) => write!(f, "; did you mean `{nearest}`?"),
            None => Ok(()),
        }
    }
}

/// The first key of a section that is not among `known`. `section` is a path such as `["server", "tls"]`, the empty path
/// is the file itself; where it leads through a list of tables, all of them are looked at. Text that is no TOML and a section that is not there have no unknown key: whoever reads the
/// values reports those with their place.
pub fn first_unknown_key(text: &str, section: &[&str], known: &[&str]) -> Option<UnknownKey> {
    let document = DeTable::parse(text).ok()?;
    let mut tables = vec![document.get_ref()];
    for name in section {
        let values = tables.iter().filter_map(|table| Some(table.get(*name)?.get_ref()));
        tables = values.flat_map(tables_of).collect();
    }
    let keys = tables.iter().flat_map(|table| table.keys());
    let mut unknown: Vec<_> = keys.filter(|key| !known.contains(&key.get_ref().as_ref())).collect();
    unknown.sort_by_key(|key| key.span().start);
    let key = unknown.first()?;
    let before = text.get(..key.span().start).unwrap_or_default();
    let path = section.iter().copied().chain([key.get_ref().as_ref()]).collect::<Vec<_>>();
    Some(UnknownKey {
        line: before.bytes().filter(|b| *b == b'\n').count() + 1,
        key: path.join("."),
        nearest: nearest(key.get_ref(), known).map(str::to_owned),
    })
}

/// A table, or those of a list.
fn tables_of<'a, 'i>(value: &'a DeValue<'i>) -> Vec<&'a DeTable<'i>> {
    match value {
        DeValue::Table(table) => vec![table],
        DeValue::Array(values) => values.iter().flat_map(|value| tables_of(value.get_ref())).collect(),
        _ => Vec::new(),
    }
}

/// The known word that `given` is most like, if any is like it.
fn nearest<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    let scored = known.iter().map(|candidate| (strsim::jaro_winkler(given, candidate), *candidate));
    scored
        .filter(|(score, _)| *score >= LIKENESS_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_is_named_with_its_line_and_the_nearest_known_one() {
        let text = "[agent]\nserver = \"x\"\n\nwach = []\n";
        let unknown = first_unknown_key(text, &["agent"], &["server", "watch"]).expect("unknown");
        assert_eq!(unknown.to_string(), "line 4: unknown key `agent.wach`; did you mean `watch`?");
        assert_eq!(first_unknown_key(text, &["agent"], &["server", "wach"]), None);
        assert_eq!(first_unknown_key(text, &["server"], &[]), None);
    }

    #[test]
    fn the_data_has_its_place_by_systemd_then_xdg_then_home() {
        let from = |pairs: &'static [(&str, &str)]| {
            move |name: &str| {
                pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value))
            }
        };
        let dir = default_state_dir(&from(&[("STATE_DIRECTORY", "/s"), ("HOME", "/h")]), "server");
        assert_eq!(dir, PathBuf::from("/s"));
        let dir = default_state_dir(&from(&[("XDG_STATE_HOME", "/x"), ("HOME", "/h")]), "server");
        assert_eq!(dir, PathBuf::from("/x/muster/server"));
        assert_eq!(
            default_state_dir(&from(&[("HOME", "/h")]), "server"),
            PathBuf::from("/h/.local/state/muster/server")
        );
    }
}
