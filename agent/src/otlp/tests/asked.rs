//! What the collector asks to be withheld, and the receiver turned off.

use std::collections::BTreeSet;
use std::sync::Arc;

use muster::ids::AgentId;
use otlp::Signal;
use otlp::proto::collector_metrics::ExportMetricsServiceRequest;
use otlp::proto::common::KeyValue;
use otlp::proto::common::any_value::Value;
use otlp::proto::metrics::metric::Data;
use otlp::proto::metrics::{Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics};
use otlp::proto::resource::Resource;
use otlp::receive::{Intake, Refusal};
use prost::Message;

use super::rig::{Rig, attribute, contains, text, value_of};
use crate::facts::IdentityPart;
use crate::remote_configuration::Settings;

fn ask(rig: &Rig, change: impl FnOnce(&mut Settings)) {
    let mut settings = rig.settings.borrow().as_ref().clone();
    change(&mut settings);
    rig.settings.send_replace(Arc::new(settings));
}

fn withhold(rig: &Rig, parts: &[IdentityPart]) {
    let parts: BTreeSet<IdentityPart> = parts.iter().copied().collect();
    let agent = AgentId::from_bytes([0xcd; 16]);
    ask(rig, |settings| settings.privacy = settings.privacy.without(&BTreeSet::new(), &parts, agent));
}

fn metrics(resource: Vec<KeyValue>, points: Vec<Vec<KeyValue>>) -> ExportMetricsServiceRequest {
    let data_points =
        points.into_iter().map(|attributes| NumberDataPoint { attributes, ..Default::default() }).collect();
    let metric = Metric {
        name: "sessions".to_owned(),
        data: Some(Data::Gauge(Gauge { data_points })),
        ..Default::default()
    };
    let scope_metrics = vec![ScopeMetrics { metrics: vec![metric], ..Default::default() }];
    let resource = Some(Resource { attributes: resource, ..Default::default() });
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { resource, scope_metrics, ..Default::default() }],
    }
}

/// A tool that says who and where wherever it can.
fn telling() -> ExportMetricsServiceRequest {
    let resource = vec![
        text("service.name", "claude-code"),
        text("service.instance.id", "laptop-4711"),
        text("host.id", "laptop-id"),
        text("host.name", "laptop"),
        text("user.name", "dana"),
        text("vcs.repository.name", "shoprepo"),
        text("vcs.ref.head.name", "topicbranch"),
    ];
    let point = |uid: i64, id: &str| vec![attribute("user.uid", Value::IntValue(uid)), text("user.id", id)];
    metrics(resource, vec![point(1000, "dana-1"), point(1001, "dana-2"), point(1001, "dana-2")])
}

const TOLD: [&str; 6] = ["dana-1", "laptop-4711", "laptop-id", "shoprepo", "topicbranch", "dana"];

#[tokio::test]
async fn what_tells_of_a_withheld_part_does_not_leave_and_series_stay_apart() {
    let folder = tempfile::tempdir().expect("folder");
    let rig = Rig::new(folder.path());
    rig.take(Signal::Metrics, telling()).await.expect("taken");
    withhold(&rig, &IdentityPart::ALL);
    rig.take(Signal::Metrics, telling()).await.expect("taken");
    let [before, after] = rig.spooled().await.try_into().expect("two payloads");
    for word in TOLD {
        assert!(contains(&before.request, word), "{word} leaves unless it is withheld");
        assert!(!contains(&after.request, word), "{word} is withheld");
    }
    let request = ExportMetricsServiceRequest::decode(after.request).expect("OTLP");
    let resource = request.resource_metrics[0].resource.as_ref().expect("a resource");
    let of = |key| value_of(&resource.attributes, key).expect(key);
    assert_eq!(
        (of("user.name").as_str(), of("host.name").as_str()),
        ("withheld-cdcdcdcd", "withheld-cdcdcdcd")
    );
    assert!(of("service.instance.id").starts_with("redacted-"), "{}", of("service.instance.id"));
    assert_eq!(of("service.name"), "claude-code");
    let metric = &request.resource_metrics[0].scope_metrics[0].metrics[0];
    let Some(Data::Gauge(gauge)) = &metric.data else { panic!("{metric:?}") };
    let [one, two, same] = &gauge.data_points[..] else { panic!("{gauge:?}") };
    for key in ["user.uid", "user.id"] {
        assert_ne!(value_of(&one.attributes, key), value_of(&two.attributes, key), "{key}");
        assert_eq!(value_of(&two.attributes, key), value_of(&same.attributes, key), "{key}");
        assert!(value_of(&one.attributes, key).is_some_and(|name| name.starts_with("redacted-")), "{key}");
    }
}

#[tokio::test]
async fn what_is_not_withheld_leaves_as_before() {
    let folder = tempfile::tempdir().expect("folder");
    let rig = Rig::new(folder.path());
    withhold(&rig, &[IdentityPart::Branch]);
    rig.take(Signal::Metrics, telling()).await.expect("taken");
    let payload = rig.spooled().await.remove(0);
    assert!(contains(&payload.request, "shoprepo") && contains(&payload.request, "laptop-id"));
    assert!(!contains(&payload.request, "topicbranch"));
}

#[tokio::test]
async fn a_receiver_that_is_off_says_so_before_it_reads_anything() {
    let folder = tempfile::tempdir().expect("folder");
    let rig = Rig::new(folder.path());
    let (head, ()) = http::Request::new(()).into_parts();
    rig.intake.authenticate(&head).expect("on");
    ask(&rig, |settings| settings.sources_off.extend(["otlp".to_owned()]));
    let refused = rig.intake.authenticate(&head).expect_err("off");
    assert!(matches!(&refused, Refusal::Invalid(why) if why.contains("turns `otlp` off")), "{refused:?}");
    ask(&rig, |settings| settings.sources_off.clear());
    rig.intake.authenticate(&head).expect("on again");
}
