//! Counting: what events do to series.

use super::*;
use v1::RunStatus::{Error, Failure, Skipped, Success};

#[test]
fn runs_count_by_status_and_a_run_that_did_nothing_is_a_success_in_the_guides_family_alone() {
    let mut bed = Bed::agent();
    bed.hear(
        Said::by("devloop", "shop")
            .run("linter", Success, Some(120))
            .run("linter", Skipped, Some(8))
            .run("linter", Failure, Some(300))
            .run("linter", Error, None),
    );
    let value = |sample: &str| bed.value(sample).unwrap_or_default();
    assert_eq!(value(r#"devloop_agent_runs_total{agent="linter",status="success"}"#), "2");
    assert_eq!(value(r#"devloop_agent_runs_total{agent="linter",status="failure"}"#), "1");
    assert_eq!(value(r#"devloop_agent_runs_total{agent="linter",status="error"}"#), "1");
    assert_eq!(value(r#"muster_runs_total{tool="devloop",agent="linter",status="success"}"#), "1");
    assert_eq!(value(r#"muster_runs_total{tool="devloop",agent="linter",status="skipped"}"#), "1");
    assert_eq!(value(r#"devloop_agent_execution_duration_ms_bucket{agent="linter",le="100"}"#), "1");
    assert_eq!(value(r#"devloop_agent_execution_duration_ms_bucket{agent="linter",le="+Inf"}"#), "3");
    assert_eq!(value(r#"devloop_agent_execution_duration_ms_sum{agent="linter"}"#), "428");
    assert_eq!(value(r#"devloop_agent_last_run_ms{agent="linter"}"#), "300");
    assert_eq!(value(r#"muster_run_duration_seconds_sum{tool="devloop",agent="linter"}"#), "0.428");
}
