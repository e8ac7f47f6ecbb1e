//! The names of files, which say all that the store has to know of them. Pure.
//!
//! ```text
//! runs/team=platform/date=2026-11-21/5f0c9d1e-0000000000000001-0000000000003a7f.parquet    rows of a range
//! _commits/5f0c9d1e-0000000000000001-0000000000003a7f.json                                 that range is whole
//! _commits/5f0c9d1e-0000000000000001.plan                                                  what is being written
//! _commits/5f0c9d1e-runs-team=platform-date=2026-11-21.merge                               what is being merged
//! ```
//!
//! What begins with an underscore is no data for Hive, Spark and those who do as they do.

use std::fmt;

use journal::Position;
use journal::format::JournalId;
use muster::ids::Team;
use object_store::path::Path;

use crate::dataset::DataSet;
use crate::partition::{Day, JournalRange, Partition};

/// The folder of markers and plans.
pub const COMMITS: &str = "_commits";
/// The folder of what was set aside.
pub const CORRUPT: &str = "_corrupt";
/// The folder of what is being written, in a local place.
pub const UNFINISHED: &str = "_unfinished";

/// The first four bytes of a journal's id: whose range a name tells.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JournalTag([u8; 4]);

/// A file of rows, by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileName {
    /// Where its rows belong.
    pub partition: Partition,
    /// Whose range it is.
    pub journal: JournalTag,
    /// The range whose rows it has.
    pub range: JournalRange,
}

/// What a name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// Rows.
    File(FileName),
    /// A range that is whole.
    Marker(JournalTag, JournalRange),
    /// What is being written after a position.
    Plan(JournalTag, Position),
    /// What is being merged of a folder.
    Merge(JournalTag, Partition),
}

impl JournalTag {
    /// The tag of a journal.
    pub fn of(journal: &JournalId) -> Self {
        Self([journal[0], journal[1], journal[2], journal[3]])
    }
}

impl FileName {
    /// Its path under the root.
    pub fn path(&self) -> Path {
        let Partition { data_set, team, day } = &self.partition;
        let folder = format!("{data_set}/team={team}/date={day}");
        Path::from(format!("{folder}/{}.parquet", stem(self.journal, self.range)))
    }
}

/// The path of a range's marker.
pub fn marker_path(journal: JournalTag, range: JournalRange) -> Path {
    Path::from(format!("{COMMITS}/{}.json", stem(journal, range)))
}

/// The path of the plan for what comes after a position.
pub fn plan_path(journal: JournalTag, after: Position) -> Path {
    Path::from(format!("{COMMITS}/{journal}-{:016x}.plan", after.0))
}

/// The path of the plan for a merge in a folder.
pub fn merge_path(journal: JournalTag, partition: &Partition) -> Path {
    let Partition { data_set, team, day } = partition;
    Path::from(format!("{COMMITS}/{journal}-{data_set}-team={team}-date={day}.merge"))
}

/// Where a file is set aside.
pub fn corrupt_path(path: &Path) -> Path {
    Path::from(format!("{CORRUPT}/{path}"))
}

impl Name {
    /// What a path under the root says; `None`: not ours.
    pub fn parse(path: &Path) -> Option<Self> {
        let mut parts = path.as_ref().split('/');
        let first = parts.next()?;
        let name = if first == COMMITS {
            let file = parts.next()?;
            match file.rsplit_once('.')? {
                (stem, "json") => parse_stem(stem).map(|(journal, range)| Name::Marker(journal, range)),
                (stem, "plan") => parse_plan(stem),
                (stem, "merge") => parse_merge(stem),
                _ => None,
            }
        } else {
            parse_file(first.parse().ok()?, &mut parts).map(Name::File)
        }?;
        parts.next().is_none().then_some(name)
    }
}

fn parse_file<'a>(data_set: DataSet, parts: &mut impl Iterator<Item = &'a str>) -> Option<FileName> {
    let team: Team = parts.next()?.strip_prefix("team=")?.parse().ok()?;
    let day = parse_day(parts.next()?.strip_prefix("date=")?)?;
    let (journal, range) = parse_stem(parts.next()?.strip_suffix(".parquet")?)?;
    Some(FileName { partition: Partition { data_set, team, day }, journal, range })
}

fn stem(journal: JournalTag, range: JournalRange) -> String {
    format!("{journal}-{:016x}-{:016x}", range.after.0, range.to.0)
}

fn parse_stem(stem: &str) -> Option<(JournalTag, JournalRange)> {
    let (journal, rest) = stem.split_once('-')?;
    let (after, to) = rest.split_once('-')?;
    let range = JournalRange { after: parse_position(after)?, to: parse_position(to)? };
    (range.after < range.to).then_some((parse_tag(journal)?, range))
}

fn parse_plan(stem: &str) -> Option<Name> {
    let (journal, after) = stem.split_once('-')?;
    Some(Name::Plan(parse_tag(journal)?, parse_position(after)?))
}

fn parse_merge(stem: &str) -> Option<Name> {
    let (journal, rest) = stem.split_once('-')?;
    let (data_set, rest) = rest.split_once("-team=")?;
    let (team, day) = rest.split_once("-date=")?;
    let partition =
        Partition { data_set: data_set.parse().ok()?, team: team.parse().ok()?, day: parse_day(day)? };
    Some(Name::Merge(parse_tag(journal)?, partition))
}

fn parse_tag(text: &str) -> Option<JournalTag> {
    let number = u32::from_str_radix(text, 16).ok()?;
    (format!("{number:08x}") == text).then(|| JournalTag(number.to_be_bytes()))
}

fn parse_position(text: &str) -> Option<Position> {
    let number = u64::from_str_radix(text, 16).ok()?;
    (format!("{number:016x}") == text).then_some(Position(number))
}

fn parse_day(text: &str) -> Option<Day> {
    if text == Day::Undated.to_string() {
        return Some(Day::Undated);
    }
    let date: jiff::civil::Date = text.parse().ok()?;
    let epoch = jiff::civil::Date::constant(1970, 1, 1);
    let days = epoch.until((jiff::Unit::Day, date)).ok()?.get_days();
    let day = Day::Utc(u32::try_from(days).ok()?);
    // Only what we would write: other spellings of the date are not ours.
    (day.to_string() == text).then_some(day)
}

impl fmt::Display for JournalTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for JournalTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JournalTag({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranges() -> impl Strategy<Value = JournalRange> {
        (0..u64::MAX, 1..u64::MAX).prop_map(|(after, more)| JournalRange {
            after: Position(after),
            to: Position(after.saturating_add(more)),
        })
    }

    proptest! {
        #[test]
        fn a_name_reads_back(
            data_set in prop::sample::select(DataSet::ALL.as_slice()),
            team in "[a-zA-Z0-9._-]{1,64}",
            day in prop::option::of(0_u32..=2_932_896),
            tag in any::<[u8; 4]>(),
            range in ranges(),
        ) {
            let team: Team = team.parse().expect("a team");
            let partition = Partition { data_set, team, day: day.map_or(Day::Undated, Day::Utc) };
            let merge = merge_path(JournalTag(tag), &partition);
            prop_assert_eq!(Name::parse(&merge), Some(Name::Merge(JournalTag(tag), partition.clone())));
            let name = FileName { partition, journal: JournalTag(tag), range };
            prop_assert_eq!(Name::parse(&name.path()), Some(Name::File(name)));
            let marker = marker_path(JournalTag(tag), range);
            prop_assert_eq!(Name::parse(&marker), Some(Name::Marker(JournalTag(tag), range)));
            let plan = plan_path(JournalTag(tag), range.after);
            prop_assert_eq!(Name::parse(&plan), Some(Name::Plan(JournalTag(tag), range.after)));
        }

        #[test]
        fn any_text_is_either_a_name_that_we_would_write_or_none(text in "[a-z0-9_=./-]{0,80}") {
            let Ok(path) = Path::parse(&text) else { return Ok(()) };
            let written = match Name::parse(&path) {
                Some(Name::File(name)) => name.path(),
                Some(Name::Marker(tag, range)) => marker_path(tag, range),
                Some(Name::Plan(tag, after)) => plan_path(tag, after),
                Some(Name::Merge(tag, partition)) => merge_path(tag, &partition),
                None => return Ok(()),
            };
            prop_assert_eq!(written, path);
        }
    }

    #[test]
    fn a_name_that_is_nearly_ours_is_not_ours() {
        let good = "runs/team=a/date=2026-11-21/5f0c9d1e-0000000000000001-0000000000003a7f.parquet";
        assert!(Name::parse(&Path::from(good)).is_some());
        for (from, to) in [
            ("runs/", "run/"),
            ("team=a", "team="),
            ("2026-11-21", "2026-13-21"),
            ("2026-11-21", "20261121"),
            ("5f0c9d1e", "5F0C9D1E"),
            ("5f0c9d1e", "5f0c9d1"),
            ("0000000000000001", "0000000000003a7f"),
            (".parquet", ".parquet.tmp"),
            (".parquet", ".parquet/x"),
        ] {
            let text = good.replace(from, to);
            assert_eq!(Name::parse(&Path::from(text.as_str())), None, "{text}");
        }
    }
}
