//! An example for Alertmanager: who hears what.

/// Secrets are read from files; the three degrees go three ways.
pub(super) const CONFIGURATION: &str = r#"# alertmanager --config.file=alertmanager.yml
# Made from dashboards/src/prometheus/alertmanager.rs. docs/alerting.md explains the three degrees.
global:
  resolve_timeout: 5m
  slack_api_url_file: secrets/slack-webhook
  smtp_smarthost: smtp.example.com:587
  smtp_from: alertmanager@example.com
  smtp_auth_username: alertmanager@example.com
  smtp_auth_password_file: secrets/smtp-password

route:
  receiver: tickets
  group_by: [alertname, environment, team, project]
  group_wait: 30s
  group_interval: 5m
  repeat_interval: 4h
  routes:
    # Info is for the log: shown by Alertmanager, sent to nobody.
    - matchers: [severity="info"]
      receiver: log
      repeat_interval: 24h
    # Critical wakes somebody, unless it is about a place where nobody is harmed.
    - matchers: [severity="critical", environment!~"development|staging"]
      receiver: on-call
      repeat_interval: 1h

receivers:
  - name: on-call
    pagerduty_configs:
      - routing_key_file: secrets/pagerduty-key
        severity: '{{ .CommonLabels.severity }}'
        description: '{{ .CommonLabels.alertname }}: {{ (index .Alerts 0).Annotations.summary }}'
        details:
          runbook: '{{ .CommonAnnotations.runbook_url }}'
    slack_configs:
      - channel: '#muster-alerts'
        send_resolved: true
        title: '[{{ .Status | toUpper }}] {{ .CommonLabels.alertname }}'
        text: '{{ range .Alerts }}{{ .Annotations.summary }}{{ "\n" }}{{ .Annotations.description }}{{ "\n" }}{{ .Annotations.runbook_url }}{{ "\n" }}{{ end }}'
  - name: tickets
    email_configs:
      - to: team@example.com
        send_resolved: true
    slack_configs:
      - channel: '#muster-alerts'
        send_resolved: true
        title: '[{{ .Status | toUpper }}] {{ .CommonLabels.alertname }}'
        text: '{{ range .Alerts }}{{ .Annotations.summary }}{{ "\n" }}{{ .Annotations.description }}{{ "\n" }}{{ .Annotations.runbook_url }}{{ "\n" }}{{ end }}'
  - name: log

inhibit_rules:
  # The worse one of a pair is enough.
  - source_matchers: [alertname="DevLoopSuccessRateCritical"]
    target_matchers: [alertname=~"DevLoopSuccessRateWarning|DevLoopSuccessRateSLOViolation"]
    equal: [environment, team, project]
  - source_matchers: [alertname="DevLoopLatencyCritical"]
    target_matchers: [alertname=~"DevLoopLatencyWarning|DevLoopAgentResponseTimeSLOViolation"]
    equal: [environment, team, project]
  - source_matchers: [alertname="DevLoopSuccessRateSLOViolation"]
    target_matchers: [alertname="DevLoopSuccessRateWarning"]
    equal: [environment, team, project]
  - source_matchers: [alertname="DevLoopAgentResponseTimeSLOViolation"]
    target_matchers: [alertname="DevLoopLatencyWarning"]
    equal: [environment, team, project]
  - source_matchers: [alertname="DevLoopMemorySLOViolation"]
    target_matchers: [alertname="DevLoopMemoryWarning"]
    equal: [environment, team, user, host, project]
  - source_matchers: [alertname="DevLoopSuccessBudgetBurnFast"]
    target_matchers: [alertname="DevLoopSuccessBudgetBurnSlow"]
    equal: [environment, team, project]
  - source_matchers: [alertname="DevLoopLatencyBudgetBurnFast"]
    target_matchers: [alertname="DevLoopLatencyBudgetBurnSlow"]
    equal: [environment, team, project]
  - source_matchers: [alertname="DevLoopCpuCritical"]
    target_matchers: [alertname="DevLoopCpuWarning"]
    equal: [environment, team, user, host, project]
  - source_matchers: [alertname="DevLoopMemoryCritical"]
    target_matchers: [alertname=~"DevLoopMemoryWarning|DevLoopMemorySLOViolation"]
    equal: [environment, team, user, host, project]
  - source_matchers: [alertname="LokiBudgetCritical"]
    target_matchers: [alertname="LokiBudgetWarning"]
    equal: [environment, team, user, host, project]
  # The last agent of a team says what each of its agents says.
  - source_matchers: [alertname="MusterTeamSilent"]
    target_matchers: [alertname="MusterAgentGone"]
    equal: [environment, team]
  # Without the collector all else in its environment is an echo.
  - source_matchers: [alertname="MusterCollectorDown"]
    target_matchers: [alertname=~"MusterAgentGone|MusterAgentsGone|MusterTeamSilent|MusterAgentDisconnected|MusterAvailabilitySLOViolation"]
    equal: [environment]
  # That no collector is known has no environment: it is said of all.
  - source_matchers: [alertname="MusterCollectorMissing"]
    target_matchers: [alertname=~"MusterAgentGone|MusterAgentsGone|MusterTeamSilent|MusterAvailabilitySLOViolation"]
"#;
