//! Colours and limits that several dashboards share.

use super::model::{Color, Mapping, Thresholds};

/// How runs end.
pub(super) const STATUS: &[(&str, Color)] = &[
    ("success", Color::Green),
    ("failure", Color::Orange),
    ("error", Color::Red),
    ("skipped", Color::Gray),
    ("completed", Color::Green),
    ("in_progress", Color::Blue),
    ("pending", Color::Yellow),
    ("failed", Color::Red),
];

/// How bad findings are.
pub(super) const SEVERITY: &[(&str, Color)] =
    &[("critical", Color::DarkRed), ("high", Color::Red), ("medium", Color::Orange), ("low", Color::Yellow)];

/// States of a session (guide of Loki Mode, panel 1).
pub(super) const SESSION: &[Mapping] = &[
    Mapping { value: 0, text: "Stopped", color: Color::Red },
    Mapping { value: 1, text: "Running", color: Color::Green },
    Mapping { value: 2, text: "Paused", color: Color::Yellow },
];

/// Share of runs that succeed: below 98 % is critical, below 99 % a warning (guide of DevLoop, "Alerting Thresholds").
pub(super) const SUCCESS: Thresholds = Thresholds::down(&[(0.98, Color::Yellow), (0.99, Color::Green)]);
/// P95 in milliseconds: above 1 s a warning, above 2 s critical.
pub(super) const P95_MS: Thresholds = Thresholds::up(&[(1_000.0, Color::Yellow), (2_000.0, Color::Red)]);
/// CPU in percent: above 60 a warning, above 80 critical.
pub(super) const CPU: Thresholds = Thresholds::up(&[(60.0, Color::Yellow), (80.0, Color::Red)]);
/// Memory in MiB: above 500 a warning, above 1 GB critical.
pub(super) const MEMORY_MB: Thresholds = Thresholds::up(&[(500.0, Color::Yellow), (1_024.0, Color::Red)]);
/// The same in GiB.
pub(super) const MEMORY_GB: Thresholds =
    Thresholds::up(&[(500.0 / 1_024.0, Color::Yellow), (1.0, Color::Red)]);
/// Waiting events: 50 is the most (guide of DevLoop, "Performance SLI").
pub(super) const QUEUE: Thresholds = Thresholds::up(&[(25.0, Color::Yellow), (50.0, Color::Red)]);
/// Any is too many.
pub(super) const NONE_ALLOWED: Thresholds = Thresholds::up(&[(1.0, Color::Red)]);
/// The same for what is not grave.
pub(super) const NONE_WANTED: Thresholds = Thresholds::up(&[(1.0, Color::Yellow)]);
/// Seconds that the oldest record for a destination has waited.
pub(super) const BEHIND: Thresholds = Thresholds::up(&[(60.0, Color::Yellow), (900.0, Color::Red)]);
