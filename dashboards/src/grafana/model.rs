//! What a dashboard is, in the words that its description uses.
//!
//! A dashboard has rows, a row has panels, a panel has queries. A panel cannot be made without a title, a description and
//! a unit. Where the panels of a row lie follows from their widths: left to right, in lines of [`GRID_WIDTH`].
//!
//! In an expression `@` stands for the filter by the dashboard's variables (team, user, project) and `@tool` for the same
//! and the tool: `loki_cost_usd{@}`, `muster_runs_total{@tool, status="error"}`.

/// Columns of Grafana's grid.
pub const GRID_WIDTH: u32 = 24;

/// A dashboard.
#[derive(Debug, Clone)]
pub struct Dashboard {
    /// Stable name in URLs; also the name of its file. At most 40 characters.
    pub uid: &'static str,
    /// Its title.
    pub title: &'static str,
    /// Who looks at it, and for what.
    pub description: &'static str,
    /// To find it by, besides [`super::TAG`].
    pub tags: &'static [&'static str],
    /// How often it reads anew: `15s`, `1m`.
    pub refresh: &'static str,
    /// How far back it looks when opened: `now-6h`.
    pub from: &'static str,
    /// What a reader may choose, besides the data source.
    pub variables: &'static [Variable],
    /// What it shows.
    pub rows: Vec<Row>,
}

/// Panels under a common title.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its title.
    pub title: &'static str,
    /// Left to right, line after line.
    pub panels: Vec<Panel>,
}

/// A choice of label values: `$name`.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// Name of the variable and of the label.
    pub name: &'static str,
    /// How it is called on the page.
    pub label: &'static str,
    /// Where the values come from: the samples that have them.
    pub from: &'static str,
}

/// One picture.
#[derive(Debug, Clone)]
pub struct Panel {
    /// Its title.
    pub title: &'static str,
    /// What it says and what to do about it.
    pub description: &'static str,
    /// How it shows.
    pub kind: PanelKind,
    /// Columns of the grid.
    pub width: u32,
    /// Lines of the grid.
    pub height: u32,
    /// What it asks.
    pub queries: Vec<Query>,
    /// What its numbers are in.
    pub unit: Unit,
    /// Digits after the point; Grafana chooses when `None`.
    pub decimals: Option<u32>,
    /// The least and the most that a gauge or an axis shows.
    pub range: Option<(f64, f64)>,
    /// Where a number turns good or bad.
    pub thresholds: Option<Thresholds>,
    /// Words for numbers.
    pub mappings: &'static [Mapping],
    /// Colours of series by their legend.
    pub colors: &'static [(&'static str, Color)],
    /// What it says when nothing answers.
    pub no_value: Option<&'static str>,
    /// The least time between two points: `1d`. Grafana chooses when `None`.
    pub step: Option<&'static str>,
    /// Why it is empty on a sound system; `None` when it has data as soon as its tool works.
    pub empty_by_nature: Option<&'static str>,
}

/// How a panel shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PanelKind {
    /// One large number a series, as it is now.
    Stat,
    /// A dial a series.
    Gauge,
    /// A bar a series.
    Bars,
    /// Lines over time.
    Lines,
    /// Areas over time on top of each other.
    StackedAreas,
    /// Bars over time on top of each other.
    StackedBars,
    /// Shares of a whole.
    Pie,
    /// A column a query, a line a group of labels.
    Table,
    /// Buckets of a histogram over time.
    Heatmap,
}

/// One question to Prometheus.
#[derive(Debug, Clone)]
pub struct Query {
    /// PromQL, with `@` and `@tool` for the filters.
    pub expression: String,
    /// Name of a series, with `{{label}}`; in a table, of the column.
    pub legend: &'static str,
    /// In a table: what the column's numbers are in, when not in the panel's unit.
    pub unit: Option<Unit>,
    /// In a table: where the column's numbers turn good or bad.
    pub thresholds: Option<Thresholds>,
    /// In a table: words for the column's numbers.
    pub mappings: &'static [Mapping],
    /// Why it answers nothing on a sound system, when that is so of this query and not of the panel.
    pub empty_by_nature: Option<&'static str>,
}

/// Units as Grafana names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A count, shortened when large.
    Count,
    /// A number as it is.
    Number,
    /// 0 to 100.
    Percent,
    /// 0 to 1, shown as percent.
    Share,
    /// Milliseconds.
    Milliseconds,
    /// Seconds, shown in what fits.
    Seconds,
    /// Seconds, shown as days, hours and minutes.
    Duration,
    /// Hours.
    Hours,
    /// Bytes, in powers of 1024.
    Bytes,
    /// MiB.
    Mebibytes,
    /// GiB.
    Gibibytes,
    /// Bytes a second, in powers of 1024.
    BytesPerSecond,
    /// US dollars.
    Usd,
    /// Events a second.
    PerSecond,
    /// Events a minute.
    PerMinute,
}

/// Colours of Grafana's palette.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Color {
    /// Good.
    Green,
    /// Look at it.
    Yellow,
    /// Soon bad.
    Orange,
    /// Bad.
    Red,
    /// Severest.
    DarkRed,
    /// Neutral.
    Blue,
    /// Nothing to say.
    Gray,
}

/// Where a number turns: the colour below all steps, then from each step on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Below the first step.
    pub base: Color,
    /// From that number on; ascending.
    pub steps: &'static [(f64, Color)],
}

/// A word for a number.
#[derive(Debug, Clone, Copy)]
pub struct Mapping {
    /// The number.
    pub value: i64,
    /// The word.
    pub text: &'static str,
    /// Its colour.
    pub color: Color,
}

impl Thresholds {
    /// Green, then what is said.
    pub const fn up(steps: &'static [(f64, Color)]) -> Self {
        Self { base: Color::Green, steps }
    }

    /// Red, then what is said: more is better.
    pub const fn down(steps: &'static [(f64, Color)]) -> Self {
        Self { base: Color::Red, steps }
    }
}

impl Row {
    /// A row of panels.
    pub fn new(title: &'static str, panels: impl Into<Vec<Panel>>) -> Self {
        Self { title, panels: panels.into() }
    }
}

impl Query {
    fn new(legend: &'static str, unit: Option<Unit>, expression: String) -> Self {
        Self { expression, legend, unit, thresholds: None, mappings: &[], empty_by_nature: None }
    }
}

impl Panel {
    /// A panel without queries, as large as its kind usually is.
    pub fn new(kind: PanelKind, title: &'static str, unit: Unit, description: &'static str) -> Self {
        let (width, height) = match kind {
            PanelKind::Stat => (6, 4),
            PanelKind::Gauge => (6, 6),
            PanelKind::Bars | PanelKind::Pie => (8, 8),
            PanelKind::Table => (24, 8),
            _ => (12, 8),
        };
        Self {
            title,
            description,
            kind,
            width,
            height,
            queries: Vec::new(),
            unit,
            decimals: None,
            range: None,
            thresholds: None,
            mappings: &[],
            colors: &[],
            no_value: None,
            step: None,
            empty_by_nature: None,
        }
    }

    /// Asks this too; series are called `legend`.
    pub fn query(mut self, legend: &'static str, expression: impl Into<String>) -> Self {
        self.queries.push(Query::new(legend, None, expression.into()));
        self
    }

    /// Asks this too, as a column of a table with a unit of its own.
    pub fn column(mut self, title: &'static str, unit: Unit, expression: impl Into<String>) -> Self {
        self.queries.push(Query::new(title, Some(unit), expression.into()));
        self
    }

    /// Colours the newest column by these.
    pub fn column_thresholds(mut self, thresholds: Thresholds) -> Self {
        self.queries.last_mut().expect("a column comes before its thresholds").thresholds = Some(thresholds);
        self
    }

    /// Shows words for the newest column's numbers.
    pub fn column_mappings(mut self, mappings: &'static [Mapping]) -> Self {
        self.queries.last_mut().expect("a column comes before its words").mappings = mappings;
        self
    }

    /// The newest query may answer nothing on a sound system, for this reason.
    pub fn query_empty_by_nature(mut self, reason: &'static str) -> Self {
        self.queries.last_mut().expect("a query comes before its reason").empty_by_nature = Some(reason);
        self
    }

    /// Another size.
    pub fn size(mut self, width: u32, height: u32) -> Self {
        (self.width, self.height) = (width, height);
        self
    }

    /// That many digits after the point.
    pub fn decimals(mut self, decimals: u32) -> Self {
        self.decimals = Some(decimals);
        self
    }

    /// Shows from `min` to `max`.
    pub fn range(mut self, min: f64, max: f64) -> Self {
        self.range = Some((min, max));
        self
    }

    /// Turns good or bad there.
    pub fn thresholds(mut self, thresholds: Thresholds) -> Self {
        self.thresholds = Some(thresholds);
        self
    }

    /// Shows words for numbers.
    pub fn mappings(mut self, mappings: &'static [Mapping]) -> Self {
        self.mappings = mappings;
        self
    }

    /// Colours series by their legend.
    pub fn colors(mut self, colors: &'static [(&'static str, Color)]) -> Self {
        self.colors = colors;
        self
    }

    /// Says this when nothing answers.
    pub fn no_value(mut self, words: &'static str) -> Self {
        self.no_value = Some(words);
        self
    }

    /// At least that long between two points.
    pub fn step(mut self, step: &'static str) -> Self {
        self.step = Some(step);
        self
    }

    /// May be empty on a sound system, for this reason.
    pub fn empty_by_nature(mut self, reason: &'static str) -> Self {
        self.empty_by_nature = Some(reason);
        self
    }
}
