//! What a request for history asks, from its parameters.
//!
//! A parameter that is not known is refused: a filter with a slip in its name must not answer with everything.

use axum::http::StatusCode;
use history::dataset::DataSet;
use history::format::{Detail, Format, Layout};
use history::query::{Filter, TimeRange};
use history::when;
use jiff::tz::TimeZone;
use muster::clock::WallTime;
use muster::ids::Team;

use super::super::{Reader, Refused};

/// From when on, unless told otherwise: what the guides' exports have.
const START_DEFAULT: &str = "24h ago";
/// Longest text of a parameter.
const VALUE_BYTES_MAX: usize = 1_024;

/// The parameters of a request, each at most once.
#[derive(Debug)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// `known` are those that the page has; all pages have the range and the filter.
    pub(super) fn new(given: Vec<(String, String)>, known: &[&str]) -> Result<Self, Refused> {
        let all = || known.iter().chain(SHARED).copied();
        for (index, (name, value)) in given.iter().enumerate() {
            if !all().any(|known| known == name) {
                let known = all().collect::<Vec<_>>().join(", ");
                let name: String = name.chars().take(64).collect();
                return Err(bad(format!("no parameter {name:?} here; there are {known}")));
            }
            if given[..index].iter().any(|(before, _)| before == name) {
                return Err(bad(format!("{name} is given twice")));
            }
            if value.len() > VALUE_BYTES_MAX {
                return Err(bad(format!("{name} has more than {VALUE_BYTES_MAX} bytes")));
            }
        }
        Ok(Self(given))
    }

    /// A parameter; one without a value is not given.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(given, _)| given == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// A number within bounds.
    pub(super) fn number(&self, name: &str, default: usize, max: usize) -> Result<usize, Refused> {
        let Some(text) = self.text(name) else { return Ok(default) };
        let number = text.parse().ok().filter(|number| (1..=max).contains(number));
        number.ok_or_else(|| bad(format!("{name} is 1 to {max}")))
    }

    /// `true` or `false`.
    pub(super) fn truth(&self, name: &str, default: bool) -> Result<bool, Refused> {
        let Some(text) = self.text(name) else { return Ok(default) };
        text.parse().map_err(|_| bad(format!("{name} is true or false")))
    }

    /// Of which time. Local times are UTC here: the collector's zone is nobody's.
    pub(super) fn range(&self, now: WallTime) -> Result<TimeRange, Refused> {
        let start = self.text("start").unwrap_or(START_DEFAULT);
        when::range(start, self.text("end"), now, &TimeZone::UTC).map_err(|error| bad(error.to_string()))
    }

    /// Which rows. A team's token sees its own team, whatever is asked for.
    pub(super) fn filter(&self, reader: &Reader) -> Result<Filter, Refused> {
        let owned = |name| self.text(name).map(str::to_owned);
        let team = owned("team").map(Team::try_from).transpose().map_err(|error| bad(error.to_string()))?;
        Ok(Filter {
            team: reader.team(team),
            project: owned("project"),
            tool: owned("tool"),
            worker: owned("agent"),
            user: owned("user"),
            status: owned("status"),
        })
    }

    /// How the rows are written.
    pub(super) fn format(&self) -> Result<Format, Refused> {
        let format = self.text("format").unwrap_or(Format::Json.name());
        match format.parse() {
            Ok(Format::Parquet) | Err(_) => {
                let format: String = format.chars().take(64).collect();
                Err(bad(format!("no format {format:?} here; there are json, ndjson, csv and arrow")))
            }
            Ok(format) => Ok(format),
        }
    }

    /// How much of each row.
    pub(super) fn layout(&self, data_set: DataSet) -> Result<Layout, Refused> {
        let detail = if self.truth("detailed", true)? { Detail::Full } else { Detail::Guide };
        Ok(Layout { data_set, detail })
    }
}

/// What all pages of the history take.
const SHARED: &[&str] = &["start", "end", "team", "project", "tool", "agent", "user", "status"];

/// A request that is wrong in itself.
pub(super) fn bad(problem: String) -> Refused {
    Refused(StatusCode::BAD_REQUEST, problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(query: &[(&str, &str)]) -> Result<Parameters, Refused> {
        let owned = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Parameters::new(owned.collect(), &["format", "limit", "detailed"])
    }

    fn problem<T: std::fmt::Debug>(refused: Result<T, Refused>) -> String {
        let Refused(status, problem) = refused.expect_err("refused");
        assert_eq!(status, StatusCode::BAD_REQUEST);
        problem
    }

    #[test]
    fn a_slip_in_a_name_is_refused_and_does_not_answer_with_everything() {
        let told = problem(parameters(&[("projct", "api")]));
        assert!(told.contains("projct") && told.contains("project"), "{told}");
        assert!(problem(parameters(&[("team", "a"), ("team", "b")])).contains("twice"));
        assert!(problem(parameters(&[("user", &"x".repeat(2_000))])).contains("bytes"));
    }

    #[test]
    fn values_are_checked() {
        let given =
            parameters(&[("format", "parquet"), ("limit", "0"), ("detailed", "yes"), ("start", "soon")]);
        let given = given.expect("known names");
        assert!(problem(given.format()).contains("ndjson"));
        assert!(problem(given.number("limit", 100, 1_000)).contains("1 to 1000"));
        assert!(problem(given.truth("detailed", true)).contains("true or false"));
        assert!(problem(given.range(WallTime(1_795_000_000_000_000))).contains("7d ago"));
    }

    #[test]
    fn a_reader_of_one_team_cannot_ask_for_another() {
        let reader = Reader::Team("red".parse().expect("a team"));
        let filter = parameters(&[("team", "blue"), ("agent", "linter")]).expect("known").filter(&reader);
        let filter = filter.expect("a filter");
        assert_eq!(filter.team.as_ref().map(Team::as_str), Some("red"));
        assert_eq!(filter.worker.as_deref(), Some("linter"));
    }
}
