//! The catalogue as OTLP metrics.

use super::super::{MetricsExport, Temporality};
use super::{applied, batch, full, key};

#[test]
fn a_cut_that_is_repeated_is_the_same_bytes_and_a_committed_one_is_not_said_again() {
    let mut export = MetricsExport::new(Temporality::Delta);
    let key = key();
    export.apply(&key.team, key.agent, &batch("devloop", full), applied(60));
    let first = export.cut(applied(60).wall, |_| true).expect("something was counted");
    let again = export.cut(applied(60).wall, |_| true).expect("something was counted");
    assert_eq!(first.request, again.request);
    export.commit(first);
    let later = export.cut(applied(120).wall, |series| series.family.ends_with("_total"));
    assert!(later.is_none());
}
