//! The scrape configuration for Kubernetes, which Debian's Prometheus cannot read as it is: it is built without that
//! service discovery. What asks the cluster is held against what Prometheus documents of `kubernetes_sd_config`, and
//! what is made of its answer is done by `promtool check service-discovery` with pods that are written down.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test: its files are its own, and skipping is said"
)]

#[path = "../../tests/support/tool.rs"]
mod tool;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use tool::tool;

const DISCOVERY: &str = "    kubernetes_sd_configs:\n";
const RELABELLING: &str = "    relabel_configs:\n";

/// Meta labels of the role pod, without the ones that have a name in them.
const META: [&str; 15] = [
    "__meta_kubernetes_namespace",
    "__meta_kubernetes_pod_name",
    "__meta_kubernetes_pod_ip",
    "__meta_kubernetes_pod_container_init",
    "__meta_kubernetes_pod_container_name",
    "__meta_kubernetes_pod_container_id",
    "__meta_kubernetes_pod_container_image",
    "__meta_kubernetes_pod_container_port_name",
    "__meta_kubernetes_pod_container_port_number",
    "__meta_kubernetes_pod_container_port_protocol",
    "__meta_kubernetes_pod_ready",
    "__meta_kubernetes_pod_phase",
    "__meta_kubernetes_pod_node_name",
    "__meta_kubernetes_pod_host_ip",
    "__meta_kubernetes_pod_uid",
];

/// The file's text before the discovery, the discovery, and the relabelling after it.
fn parts() -> [String; 3] {
    let files = dashboards::files();
    let file = files.iter().find(|file| file.path == "prometheus/prometheus-kubernetes.yml");
    let text = &file.expect("it is shipped").content;
    let (before, rest) = text.split_once(DISCOVERY).expect("pods are discovered");
    let (discovery, after) = rest.split_once(RELABELLING).expect("pods are relabelled");
    [before.to_owned(), discovery.to_owned(), format!("{RELABELLING}{after}")]
}

#[test]
fn what_asks_the_cluster_has_the_settings_that_prometheus_documents() {
    let [before, discovery, after] = parts();
    assert_eq!(before.matches("- job_name: ").count(), 1, "one job, to which the discovery belongs");
    // Indentation and key of each line; values are looked at below.
    let mut keys = Vec::new();
    for line in discovery.lines() {
        let (key, value) = line.split_once(':').expect("settings alone");
        let plain = key.trim().trim_start_matches("- ");
        let depth = (key.len() - key.trim_start().len()) / 2 + usize::from(key.trim().starts_with("- "));
        keys.push((depth, plain.to_owned(), value.trim().to_owned()));
    }
    let known: [(usize, &str, &[&str]); 5] = [
        (4, "role", &["pod"]),
        (4, "namespaces", &[""]),
        (5, "names", &["[muster]"]),
        (4, "selectors", &[""]),
        (6, "role", &["pod"]),
    ];
    for (depth, key, values) in known {
        let found = keys.iter().find(|(d, k, _)| *d == depth && k == key);
        let found = found.unwrap_or_else(|| panic!("no {key} at depth {depth}: {keys:?}"));
        assert!(values.contains(&found.2.as_str()), "{found:?}");
    }
    let selector = keys.iter().find(|(_, key, _)| key == "label").expect("pods are chosen by a label");
    assert_eq!(selector.2, "app.kubernetes.io/name=muster");
    assert_eq!(keys.len(), known.len() + 1, "nothing else is set: {keys:?}");
    for meta in
        after.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|w| w.starts_with("__meta"))
    {
        let of_name = ["label", "labelpresent", "annotation", "annotationpresent"]
            .iter()
            .any(|kind| meta.starts_with(&format!("__meta_kubernetes_pod_{kind}_")));
        assert!(META.contains(&meta) || of_name, "pods have no {meta}");
    }
}

/// A pod's port: name, phase, label `environment`, name of the port.
type Port = (&'static str, &'static str, Option<&'static str>, &'static str);

#[test]
fn each_running_pod_is_one_target_with_its_name_and_its_environment() {
    let Some(promtool) = tool("MUSTER_TEST_PROMTOOL") else { return };
    let ports: [Port; 5] = [
        ("muster-0", "Running", None, "http"),
        ("muster-0", "Running", None, "grpc"),
        ("muster-1", "Running", Some("staging"), "http"),
        ("muster-backup", "Succeeded", None, "http"),
        ("muster-broken", "Failed", None, "http"),
    ];
    let found: BTreeSet<_> = relabelled(&promtool, &ports)
        .iter()
        .map(|labels| [&labels["job"], &labels["instance"], &labels["environment"]].map(String::clone))
        .collect();
    let wanted = [["muster", "muster-0", "production"], ["muster", "muster-1", "staging"]];
    assert_eq!(found, wanted.map(|target| target.map(str::to_owned)).into());
}

/// The labels of the targets that are left of these ports.
fn relabelled(promtool: &Path, ports: &[Port]) -> Vec<BTreeMap<String, String>> {
    let [before, _, after] = parts();
    let target = |(index, (pod, phase, environment, port)): (usize, &Port)| {
        let label = environment.map_or_else(String::new, |environment| {
            format!("          __meta_kubernetes_pod_label_environment: {environment}\n")
        });
        format!(
            "      - targets: ['10.0.0.{index}:9464']\n        labels:\n          __meta_kubernetes_pod_name: {pod}\n          \
             __meta_kubernetes_pod_phase: {phase}\n          __meta_kubernetes_pod_container_port_name: {port}\n{label}"
        )
    };
    let targets: String = ports.iter().enumerate().map(target).collect();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kubernetes");
    fs::create_dir_all(&folder).expect("a folder of its own");
    let config = folder.join("prometheus.yml");
    fs::write(&config, format!("{before}    static_configs:\n{targets}{after}")).expect("written");
    let mut command = Command::new(promtool);
    command.args(["check", "service-discovery", "--timeout=2s"]).arg(&config).arg("muster");
    let output = command.output().expect("promtool starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let answer = answer.as_array().expect("a list of targets");
    assert_eq!(answer.len(), ports.len(), "{answer:?}");
    let labels = answer.iter().filter_map(|target| target["labels"].as_object());
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    labels
        .filter(|labels| !labels.is_empty())
        .map(|labels| labels.iter().map(|(key, value)| (key.clone(), text(value))).collect())
        .collect()
}
