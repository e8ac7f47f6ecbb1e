use super::*;

fn profile(name: &str) -> &'static Profile {
    find(name).expect("it is in the table")
}

#[test]
fn names_are_unique_and_are_those_of_the_configuration() {
    let names: Vec<_> = PROFILES.iter().map(|profile| profile.name).collect();
    assert_eq!(
        names,
        [
            "otlp",
            "newrelic",
            "elastic",
            "elasticsearch",
            "elastic-apm",
            "datadog",
            "datadog-agent",
            "grafana-cloud",
            "honeycomb",
            "prometheus"
        ]
    );
    assert!(find("new-relic").is_none());
}

#[test]
fn every_profile_has_an_address_or_says_that_the_user_gives_it() {
    for profile in PROFILES {
        for transport in profile.transports {
            let url = match profile.endpoints {
                Endpoints::Given { example } => {
                    assert!(profile.base_url(*transport, None, None).is_err(), "{}", profile.name);
                    profile.base_url(*transport, None, Some(example))
                }
                Endpoints::Regions(_) => profile.base_url(*transport, None, None),
                Endpoints::Pattern { example, .. } => profile.base_url(*transport, Some(example), None),
            };
            let url = url.expect("an address");
            let scheme = url.split_once("://").map(|(scheme, _)| scheme);
            assert!(matches!(scheme, Some("http" | "https")), "{}: {url}", profile.name);
            assert!(!url.ends_with('/') && !url.contains('{'), "{url}");
        }
    }
}

#[test]
fn every_profile_has_limits_that_a_client_may_use_and_an_auth_scheme() {
    for profile in PROFILES {
        let name = profile.name;
        assert!(!profile.transports.is_empty() && !profile.signals.is_empty(), "{name}");
        assert!(profile.compressions.contains(&Compression::None), "{name}");
        assert!(!profile.auth.header.is_empty() && !profile.auth.secret.is_empty(), "{name}");
        assert_eq!(profile.auth.header, profile.auth.header.to_lowercase(), "{name}");
        assert!(profile.docs_url.starts_with("https://"), "{name}");
        if let AuthScheme::Prefixed(words) = profile.auth.scheme {
            assert!(!words.is_empty(), "{name}");
        }
        for signal in Signal::ALL {
            let limit = profile.limits.of(signal);
            assert!((100_000..=REQUEST_BYTES_CAP).contains(&limit.uncompressed_bytes_max), "{name}");
            assert!(limit.target_bytes() <= REQUEST_BYTES_TARGET, "{name}");
            assert!(
                limit.compressed_bytes_max.is_none_or(|max| max <= limit.uncompressed_bytes_max),
                "{name}"
            );
        }
        for header in profile.headers {
            assert_eq!(header.name, header.name.to_lowercase(), "{name}");
            assert!(header.name != profile.auth.header, "{name}");
        }
        assert!(profile.metrics.non_monotonic != Temporality::Delta, "{name}");
    }
}

#[test]
fn paths_are_those_of_the_vendors_pages() {
    let rows = [
        ("newrelic", "https://otlp.nr-data.net", Signal::Logs, "https://otlp.nr-data.net/v1/logs"),
        ("elasticsearch", "https://es:9200", Signal::Metrics, "https://es:9200/_otlp/v1/metrics"),
        ("datadog", "https://otlp.datadoghq.eu", Signal::Traces, "https://otlp.datadoghq.eu/v1/traces"),
        ("grafana-cloud", "https://g.net", Signal::Logs, "https://g.net/otlp/v1/logs"),
        ("grafana-cloud", "https://g.net/otlp", Signal::Logs, "https://g.net/otlp/v1/logs"),
        ("prometheus", "http://p:9090/", Signal::Metrics, "http://p:9090/api/v1/otlp/v1/metrics"),
        ("prometheus", "http://p:9090/api/v1/otlp/", Signal::Metrics, "http://p:9090/api/v1/otlp/v1/metrics"),
        (
            "prometheus",
            "http://p/sub/api/v1/otlp/v1/metrics",
            Signal::Metrics,
            "http://p/sub/api/v1/otlp/v1/metrics",
        ),
        ("otlp", "http://c:4318/v1/traces", Signal::Logs, "http://c:4318/v1/logs"),
    ];
    for (name, base, signal, url) in rows {
        assert_eq!(profile(name).http_url(base, signal), url);
    }
}

#[test]
fn regions_are_found_by_the_vendors_words_too() {
    let http = Transport::HttpProtobuf;
    let url = |name, region| profile(name).base_url(http, region, None);
    assert_eq!(url("newrelic", None).as_deref(), Ok("https://otlp.nr-data.net"));
    assert_eq!(url("newrelic", Some("EU")).as_deref(), Ok("https://otlp.eu01.nr-data.net"));
    assert_eq!(url("datadog", Some("datadoghq.eu")).as_deref(), Ok("https://otlp.datadoghq.eu"));
    assert_eq!(
        url("grafana-cloud", Some("eu-west-2")).as_deref(),
        Ok("https://otlp-gateway-prod-eu-west-2.grafana.net")
    );
}

#[test]
fn what_cannot_be_an_address_is_refused_with_what_would_be_one() {
    let http = Transport::HttpProtobuf;
    let message = |name, transport, region, endpoint| {
        profile(name).base_url(transport, region, endpoint).expect_err("refused").to_string()
    };
    assert!(message("newrelic", http, Some("mars"), None).contains("us, eu, jp"));
    assert!(message("elastic", http, None, None).contains("needs an endpoint"));
    assert!(
        message("datadog-agent", Transport::Grpc, None, None).contains("needs an endpoint"),
        "its usual port is the collector's own"
    );
    assert!(message("elastic", http, Some("us"), None).contains("no regions"));
    assert!(message("grafana-cloud", http, None, None).contains("us-east-0"));
    assert!(message("grafana-cloud", http, Some("x.evil.example/"), None).contains("no region"));
    assert!(message("newrelic", http, Some("us"), Some("https://x")).contains("exclude"));
    assert!(message("datadog", Transport::Grpc, None, None).contains("does not speak grpc"));
    assert!(message("elasticsearch", Transport::HttpJson, None, Some("https://x")).contains("http/json"));
}

#[test]
fn secrets_are_put_into_the_form_that_the_vendor_reads() {
    let value = |name, secret| profile(name).auth.value(secret);
    assert_eq!(value("newrelic", "KEY\n").as_deref(), Ok("KEY"));
    assert_eq!(value("elastic", "b64==").as_deref(), Ok("ApiKey b64=="));
    assert_eq!(value("elastic", "apikey b64==").as_deref(), Ok("apikey b64=="));
    assert_eq!(value("elastic-apm", "Bearer s").as_deref(), Ok("Bearer s"));
    assert_eq!(value("otlp", "t").as_deref(), Ok("Bearer t"));
    assert_eq!(value("grafana-cloud", "12:tok").as_deref(), Ok("Basic MTI6dG9r"));
    assert_eq!(value("grafana-cloud", "Basic MTI6dG9r").as_deref(), Ok("Basic MTI6dG9r"));
    assert_eq!(value("grafana-cloud", "tok"), Err(AuthError::NoColon));
    assert_eq!(value("newrelic", " \n"), Err(AuthError::Empty));
    assert_eq!(value("newrelic", "a\nb"), Err(AuthError::NotVisibleAscii));
}

#[test]
fn datadog_is_told_to_keep_the_resource_and_to_count_spans() {
    let names = |signal| profile("datadog").headers_for(signal).map(|header| header.name).collect::<Vec<_>>();
    assert_eq!(names(Signal::Traces), ["compute_stats"]);
    assert_eq!(names(Signal::Metrics), ["dd-otel-metric-config"]);
    assert!(names(Signal::Logs).is_empty());
    let config = profile("datadog").headers.iter().find(|header| header.value.starts_with('{'));
    let json: serde_json::Value = serde_json::from_str(config.expect("there").value).expect("JSON");
    assert_eq!(json["resource_attributes_as_tags"], true);
}

#[test]
fn any_2xx_is_success() {
    for profile in PROFILES {
        for status in [200, 202, 204] {
            assert!(profile.answers.is_success(status));
        }
        assert!(!profile.answers.is_success(199) && !profile.answers.is_success(300));
    }
}

#[test]
fn the_edge_of_new_relic_may_be_asked_again() {
    assert!(profile("newrelic").answers.transient_grpc.contains(&tonic::Code::Unknown));
    assert!(profile("newrelic").answers.transient_grpc.contains(&tonic::Code::Internal));
    assert!(profile("otlp").answers.transient_grpc.is_empty());
}

#[test]
fn words_of_settings_are_read_back() {
    for transport in Transport::ALL {
        assert_eq!(Transport::of_name(transport.name()), Some(transport));
        assert!(!transport.content_type().contains(';'));
    }
    for compression in Compression::ALL {
        assert_eq!(Compression::of_name(compression.name()), Some(compression));
    }
    assert_eq!(Transport::of_name("http"), None);
}
