//! Configurations of Prometheus, each complete: copy the folder `prometheus/` beside it and start.
//!
//! - The job is called `muster`: rules about the collector look for it.
//! - `honor_labels` is on. The page has labels of its own - `team`, `user`, `host`, `project`, and `job` and `instance` of
//!   what came over OTLP. Without it a target's label of the same name would win and rename Muster's to `exported_...`.
//! - `environment` is a label of the target. The service levels of development, staging and production go by it.
//! - Of an agent's own page only `muster_agent_*` is kept: its `loki_*` and `devloop_*` are on the collector's page too,
//!   and every sum would count them twice.

use crate::GeneratedFile;

/// One file for each way to reach the collector.
pub(super) fn files() -> Vec<GeneratedFile> {
    [("basic", BASIC), ("tls", TLS), ("bearer", BEARER), ("kubernetes", KUBERNETES)]
        .map(|(name, jobs)| {
            GeneratedFile::new(format!("prometheus/prometheus-{name}.yml"), format!("{}{jobs}", head(name)))
        })
        .into()
}

fn head(name: &str) -> String {
    format!(
        "# prometheus --config.file=prometheus-{name}.yml
# Made from dashboards/src/prometheus/scrape.rs. docs/prometheus.md explains each setting.
global:
  scrape_interval: 15s
  evaluation_interval: 30s

rule_files:
  - rules/*.yml

alerting:
  alertmanagers:
    - static_configs:
        - targets: ['localhost:9093']

scrape_configs:
"
    )
}

const BASIC: &str = "  # The collector on this machine.
  - job_name: muster
    honor_labels: true
    static_configs:
      - targets: ['localhost:9464']
        labels:
          environment: production

  # The agent on this machine: only what it says about itself. The rest is on the collector's page already.
  - job_name: muster-agent
    static_configs:
      - targets: ['localhost:9465']
        labels:
          environment: production
    metric_relabel_configs:
      - source_labels: [__name__]
        regex: muster_agent_.+
        action: keep
";

const TLS: &str = "  # A reverse proxy with a certificate in front of the collector's loopback address.
  - job_name: muster
    honor_labels: true
    scheme: https
    tls_config:
      # The authority that signed the certificate; leave it out for a public one.
      ca_file: secrets/ca.pem
    basic_auth:
      username: prometheus
      password_file: secrets/proxy-password
    static_configs:
      - targets: ['collector.example.com:443']
        labels:
          environment: production
";

const BEARER: &str = "  # A collector with TLS and tokens. An operator's token shows all teams and the collector's own figures:
  # `muster token create --operator > secrets/muster-token`. A team's (`--team core`) shows that team alone, and the
  # alerts about the service stay silent.
  - job_name: muster
    honor_labels: true
    scheme: https
    tls_config:
      ca_file: secrets/ca.pem
    authorization:
      type: Bearer
      credentials_file: secrets/muster-token
    static_configs:
      - targets: ['collector.example.com:9464']
        labels:
          environment: production
";

const KUBERNETES: &str = "  # Pods with the label app.kubernetes.io/name=muster that name their port http, with TLS and an operator's token as
  # docs/monitoring/kubernetes.md sets them up: `muster token create --operator > secrets/muster-token`.
  - job_name: muster
    honor_labels: true
    scheme: https
    tls_config:
      ca_file: secrets/ca.pem
      # Pods are reached by their addresses, which no certificate has.
      server_name: muster.muster.svc
    authorization:
      type: Bearer
      credentials_file: secrets/muster-token
    kubernetes_sd_configs:
      - role: pod
        namespaces:
          names: [muster]
        selectors:
          - role: pod
            label: app.kubernetes.io/name=muster
    relabel_configs:
      # One target a pod, not one for each of its ports.
      - source_labels: [__meta_kubernetes_pod_container_port_name]
        regex: http
        action: keep
      # Not the ones that have ended, such as jobs.
      - source_labels: [__meta_kubernetes_pod_phase]
        regex: Succeeded|Failed
        action: drop
      # The name of a pod of a stateful set outlives its address: counters stay one series.
      - source_labels: [__meta_kubernetes_pod_name]
        target_label: instance
      # The pod's own label environment; production where it has none.
      - target_label: environment
        replacement: production
      - source_labels: [__meta_kubernetes_pod_label_environment]
        regex: (.+)
        target_label: environment
";
