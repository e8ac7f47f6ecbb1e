//! One family a name.

use metrics::{Format, PageRequest};

use super::Bench;
use super::payload::{delta, gauge, resource};
use crate::proto::metrics::Metric;
use crate::series::Dropped;

fn metric(name: &str, unit: &str, description: &str) -> Metric {
    let payload = resource(&[]).gauge(name, unit, vec![gauge(1.0)]);
    let metric = payload.0.scope_metrics.into_iter().flat_map(|scope| scope.metrics).next().expect("one");
    Metric { description: description.to_owned(), ..metric }
}

#[test]
fn a_metric_of_another_type_is_dropped_and_counted() {
    let mut bench = Bench::new();
    bench.send(resource(&[]).gauge("x", "", vec![gauge(1.0)]));
    // In OpenMetrics the counter's family would be x as well.
    bench.send(resource(&[]).sum("x", "", vec![delta(1.0), delta(2.0)]));
    bench.send(resource(&[]).histogram(
        "y",
        crate::proto::metrics::AggregationTemporality::Delta,
        vec![super::payload::histogram_at(0, 1, &[1], &[], 1.0)],
    ));
    bench.send(resource(&[]).gauge("y_seconds_count", "", vec![gauge(1.0)]));
    assert_eq!(bench.dropped(Dropped::TypeConflict), 3);
    assert_eq!(bench.series.stats().families, 2);
}

#[test]
fn help_is_of_the_first_and_stays_on_one_line() {
    let mut bench = Bench::new();
    bench.send(resource(&[]).metric(metric("x", "", "first\nline\r\u{2028}end")));
    bench.send(resource(&[]).metric(metric("x", "", "second")));
    let page = bench.page(Format::Text004);
    assert!(page.starts_with("# HELP x first line  end\n# TYPE x gauge\nx{"), "{page}");
    assert!(!page.contains("second"));
}

#[test]
fn muster_s_own_names_are_its_own() {
    let mut bench = Bench::new();
    for name in ["loki_cost_usd", "muster_anything", "muster_runs"] {
        bench.send(resource(&[]).gauge(name, "", vec![gauge(1.0)]));
    }
    bench.send(resource(&[]).sum("muster.runs", "", vec![delta(1.0)]));
    bench.send(resource(&[]).gauge("ß", "", vec![gauge(1.0)]));
    assert_eq!((bench.dropped(Dropped::OwnName), bench.dropped(Dropped::InvalidName)), (4, 1));
    assert_eq!(bench.series.stats().series, 0);
}

#[test]
fn a_team_cannot_take_another_s_names_and_the_page_of_both_has_each_once() {
    let mut bench = Bench::new();
    bench.send_as("red", resource(&[]).gauge("x", "", vec![gauge(1.0)]));
    bench.send_as("blue", resource(&[]).sum("x", "", vec![delta(2.0)]));
    let blue = PageRequest { team: Some(vec!["blue".to_owned()]), ..Default::default() };
    assert!(bench.page_of(&blue).contains("x_total{team=\"blue\"} 2\n"));
    for format in [Format::Text004, Format::OpenMetrics100] {
        let page = bench.page(format);
        assert!(page.contains("x{team=\"red\"} 1\n") && !page.contains("x_total"), "{page}");
    }
}

#[test]
fn names_that_the_page_has_are_left_out() {
    let mut bench = Bench::new();
    bench.send(resource(&[("service.name", "s"), ("a", "b")]).gauge("x", "", vec![gauge(1.0)]));
    let mut page = Vec::new();
    bench.series.render(&PageRequest::default(), ["x".to_owned(), "target_info".to_owned()], &mut page);
    let page = String::from_utf8(page).expect("text");
    assert!(page.starts_with("# HELP muster_otlp_folded_items_total"), "{page}");
}
