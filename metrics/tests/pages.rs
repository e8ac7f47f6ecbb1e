//! Whole pages: to the byte, and through the parsers that the world uses.
//!
//! The golden pages in `golden/` were checked by hand against the scenario and the format's rules
//! (contracts/otlp.md section 3.2). `MUSTER_BLESS=1` writes them anew; look at the difference before you commit it.

mod scenario;

use std::path::{Path, PathBuf};
use std::process::Command;

use metrics::{Format, exposition};
use muster::atomic_file::{Access, replace};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Compares with the file, or writes it with `MUSTER_BLESS=1`.
fn assert_is_file(path: &Path, content: &str) {
    if std::env::var_os("MUSTER_BLESS").is_some() {
        replace(path, content.as_bytes(), Access::Umask).expect("the repository can be written");
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    for (line, (ours, theirs)) in content.lines().zip(expected.lines()).enumerate() {
        assert_eq!(ours, theirs, "line {} of {}; MUSTER_BLESS=1 writes it anew", line + 1, path.display());
    }
    assert!(content == expected, "{} differs in length; MUSTER_BLESS=1 writes it anew", path.display());
}

#[test]
fn pages_are_as_checked_by_hand() {
    let (collector, agent) = (scenario::collector(), scenario::agent());
    assert_is_file(&golden("collector.prom"), &scenario::page(&collector, Format::Text004));
    assert_is_file(&golden("collector.openmetrics"), &scenario::page(&collector, Format::OpenMetrics100));
    assert_is_file(&golden("agent.prom"), &scenario::page(&agent, Format::Text004));
    assert_is_file(
        &golden("hostile.openmetrics"),
        &scenario::page(&scenario::hostile(), Format::OpenMetrics100),
    );
}

#[test]
fn the_reference_page_is_the_catalogue() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    assert_is_file(&path, &metrics::catalogue::reference_page());
}

#[test]
fn every_family_of_the_catalogue_is_on_the_golden_page() {
    let page = scenario::page(&scenario::collector(), Format::Text004);
    for family in metrics::catalogue::families() {
        let announced = format!("# TYPE {} ", family.name);
        assert_eq!(page.matches(&announced).count(), 1, "{announced}");
        assert_eq!(page.matches(&format!("# HELP {} ", family.name)).count(), 1, "{announced}");
    }
}

/// `MUSTER_TEST_PYTHON` names a Python with `prometheus_client`; without it `python3` is tried.
#[test]
fn pythons_parsers_take_every_page() {
    let python = std::env::var("MUSTER_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has_client = Command::new(&python).args(["-c", "import prometheus_client"]).output();
    if !has_client.is_ok_and(|output| output.status.success()) {
        let is_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(!is_ci, "CI must have prometheus_client, see MUSTER_TEST_PYTHON");
        eprintln!("SKIPPED: {python} has no prometheus_client; name one that has in MUSTER_TEST_PYTHON");
        return;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let own = "# HELP own_total Own\n# TYPE own_total counter\nown_total 1\n# TYPE own_seconds histogram\n\
               own_seconds_bucket{le=\"1\"} 1\nown_seconds_bucket{le=\"+Inf\"} 1\nown_seconds_sum 1\nown_seconds_count 1\n\
               # TYPE target_info gauge\ntarget_info{service_name=\"muster\"} 1\n";
    let mut files = Vec::new();
    for (name, aggregate) in
        [("collector", scenario::collector()), ("hostile", scenario::hostile()), ("agent", scenario::agent())]
    {
        for (ending, format) in [("prom", Format::Text004), ("openmetrics", Format::OpenMetrics100)] {
            let page = scenario::page(&aggregate, format).replace("# EOF\n", "");
            let mut page = page.into_bytes();
            exposition::merge_text(own, format, |_| true, &mut page);
            format.finish(&mut page);
            let path = folder.join(format!("{name}.{ending}"));
            replace(&path, &page, Access::Umask).expect("the target folder can be written");
            files.push(path);
        }
    }
    let parsed = Command::new(&python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parse.py"))
        .args(&files)
        .output()
        .expect("python runs");
    assert!(parsed.status.success(), "{}", String::from_utf8_lossy(&parsed.stderr));
    assert_eq!(String::from_utf8_lossy(&parsed.stdout).lines().count(), files.len());
}
