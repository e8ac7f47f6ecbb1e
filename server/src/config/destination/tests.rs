use crate::config::{Config, Overrides};

use super::*;

fn parse(text: &str) -> Result<Vec<Destination>, String> {
    Config::parse(text, &Overrides::default())
        .map(|config| config.destinations)
        .map_err(|error| error.to_string())
}

fn one(more: &str) -> Result<Destination, String> {
    let text = format!(
        "[[destination]]\nname = \"nr\"\nprofile = \"otlp\"\nendpoint = \"http://localhost:14317\"\n{more}"
    );
    parse(&text).map(|mut destinations| destinations.remove(0))
}

#[test]
fn defaults_come_from_the_profile() {
    let local = one("").expect("valid");
    assert_eq!((local.transport, local.compression), (Transport::Grpc, Compression::None));
    assert_eq!(local.signals.len(), 3);
    let text =
        "[[destination]]\nname = \"dd\"\nprofile = \"datadog\"\nregion = \"eu1\"\ncredential_env = \"DD\"\n";
    let datadog = parse(text).expect("valid").remove(0);
    assert_eq!(datadog.base_url, "https://otlp.datadoghq.eu");
    assert_eq!((datadog.transport, datadog.compression), (Transport::HttpProtobuf, Compression::Zstd));
    assert_eq!(datadog.queue_bytes_max, QUEUE_BYTES_DEFAULT);
}

#[test]
fn an_error_names_the_destination_the_key_and_what_to_do() {
    for (more, key, words) in [
        ("transport = \"carrier-pigeon\"", "transport", "http/protobuf"),
        ("signals = [\"profiles\"]", "signals", "logs, metrics and traces"),
        ("signals = []", "signals", "leave the key out"),
        ("queue_full = \"block\"", "queue_full", "drop_oldest"),
        ("compression = \"snappy\"", "compression", "gzip"),
        ("timeout_seconds = 0", "timeout_seconds", "1 to 300"),
        ("client_cert_file = \"c\"", "client_cert_file", "client_key_file"),
        ("credential_file = \"a\"\ncredential_env = \"b\"", "credential_file", "exclude"),
        ("headers = { content-type = \"x\" }", "headers", "leave it out"),
        ("filter = { severity = \"loud\" }", "filter", "warn"),
        ("region = \"us\"", "endpoint", "exclude"),
    ] {
        let said = one(more).expect_err(more);
        assert!(said.starts_with(&format!("destination \"nr\": {key} ")) && said.contains(words), "{said}");
    }
    let said = parse("[[destination]]\nname = \"N R\"\nprofile = \"otlp\"\n").expect_err("name");
    assert!(said.contains("a-z 0-9 -"), "{said}");
    let said = parse("[[destination]]\nname = \"nr\"\nprofile = \"newrelics\"\n").expect_err("profile");
    assert!(said.contains("newrelic,"), "{said}");
    let said = parse("[[destination]]\nname = \"nr\"\nprofile = \"newrelic\"\n").expect_err("key");
    assert!(said.contains("credential_env"), "{said}");
}

#[test]
fn names_are_unique_and_unknown_keys_are_found_in_every_entry() {
    let entry = "[[destination]]\nname = \"nr\"\nprofile = \"otlp\"\nendpoint = \"http://localhost:14317\"\n";
    assert!(parse(&format!("{entry}{entry}")).expect_err("twice").contains("another destination"));
    let said = parse(&format!("{entry}[[destination]]\nendpiont = \"x\"\n")).expect_err("unknown");
    assert_eq!(said, "line 6: unknown key `destination.endpiont`; did you mean `endpoint`?");
    let said = one("filter = { tem = [\"x\"] }\n").expect_err("unknown");
    assert!(said.contains("did you mean `team`"), "{said}");
}

#[test]
fn every_example_of_the_reference_page_is_valid_beside_the_default_listeners() {
    let page = otlp::profile::reference_page();
    for block in page.split("```toml\n").skip(1) {
        let example = block.split("```").next().expect("split gives one piece at least");
        parse(example).unwrap_or_else(|said| panic!("{said}\n{example}"));
    }
}

#[test]
fn plaintext_to_another_machine_needs_an_explicit_word() {
    let text = |more: &str| {
        format!(
            "[[destination]]\nname = \"a\"\nprofile = \"otlp\"\nendpoint = \"http://sink.example:4317\"\n{more}"
        )
    };
    assert!(parse(&text("")).expect_err("plain").contains("insecure = true"));
    assert!(parse(&text("insecure = true\n")).is_ok());
    let user = one("").map(|_| ()).and_then(|()| {
        parse("[[destination]]\nname = \"a\"\nprofile = \"otlp\"\nendpoint = \"https://key@sink.example\"\n").map(|_| ())
    });
    assert!(user.expect_err("user").contains("credential_file"));
}

#[test]
fn values_of_headers_are_never_shown() {
    let destination = one("headers = { x-api = \"canary-91c\" }\n").expect("valid");
    assert!(!format!("{destination:?}").contains("canary"), "{destination:?}");
}
