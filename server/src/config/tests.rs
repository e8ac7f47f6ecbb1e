use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, &Overrides { data_dir: Some("/tmp/muster".into()), ..Default::default() })
}

fn refusal(text: &str) -> String {
    parse(text).expect_err("must be refused").to_string()
}

#[test]
fn an_empty_file_is_the_defaults_on_loopback() {
    let config = parse("").expect("valid");
    assert_eq!(config, Config::with_data_dir("/tmp/muster"));
    assert_eq!(config.grpc_listen.to_string(), GRPC_LISTEN_DEFAULT);
    assert_eq!(config.http_listen.to_string(), HTTP_LISTEN_DEFAULT);
    assert!(config.anonymous_allowed());
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_known_one() {
    let said = refusal("# mine\n[server]\nhttp_lisen = \"127.0.0.1:1\"\n");
    assert_eq!(said, "line 3: unknown key `server.http_lisen`; did you mean `http_listen`?");
    assert_eq!(refusal("[sever]\n"), "line 1: unknown key `sever`; did you mean `server`?");
    let said = refusal("[server.limits]\nstream_max = 3\n");
    assert_eq!(said, "line 2: unknown key `server.limits.stream_max`; did you mean `streams_max`?");
    assert_eq!(refusal("[server]\nzzz = 1\n"), "line 2: unknown key `server.zzz`");
}

#[test]
fn sections_of_other_parts_are_handed_on_as_they_stand() {
    let config = parse("[agent]\nwatch = [\"~/code\"]\n").expect("valid");
    assert!(config.others.agent.is_some());
}

#[test]
fn a_value_of_the_wrong_type_is_refused_with_its_place() {
    let said = refusal("[server]\ngrpc_listen = 4317\n");
    assert!(said.contains("line 2"), "{said}");
    assert!(refusal("[server\n").contains("not valid TOML"));
}

#[test]
fn a_door_to_other_machines_needs_tls_or_an_explicit_word() {
    let open = "[server]\ngrpc_listen = \"0.0.0.0:4317\"\n";
    assert!(refusal(open).contains("--insecure"), "{}", refusal(open));
    assert!(refusal("[server]\nhttp_listen = \"[::]:9464\"\n").contains("http_listen"));
    let config = parse(&format!("{open}insecure = true\n")).expect("the operator said so");
    assert!(config.anonymous_allowed());
    let tls = format!("{open}[server.tls]\ncert_file = \"c\"\nkey_file = \"k\"\n");
    assert!(!parse(&tls).expect("tls is set").anonymous_allowed());
    assert!(refusal("[server.tls]\ncert_file = \"c\"\n").contains("key_file"));
}

#[test]
fn pages_ask_for_a_credential_where_others_can_read_them_or_where_they_are_told_to() {
    let parse = |text: &str| parse(text).expect("valid");
    assert!(parse("").pages_are_open());
    assert!(!parse("[server]\nhttp_credentials = \"required\"\n").pages_are_open());
    let elsewhere = "[server]\nhttp_listen = \"0.0.0.0:9464\"\ninsecure = true\n";
    assert!(parse(elsewhere).pages_are_open());
    assert!(!parse(&format!("{elsewhere}http_credentials = \"required\"\n")).pages_are_open());
    assert!(refusal("[server]\nhttp_credentials = \"yes\"\n").contains("server.http_credentials"));
}

#[test]
fn otlp_over_http_is_on_loopback_unless_it_is_off_or_elsewhere() {
    let listen = |text: &str| parse(&format!("[server]\notlp_http_listen = \"{text}\"\n"));
    assert_eq!(parse("").expect("valid").otlp_http_listen, OTLP_HTTP_LISTEN_DEFAULT.parse().ok());
    let off = listen("off").expect("valid");
    assert!(off.otlp_http_listen.is_none() && !off.anonymous_otlp_http_allowed());
    let said = listen("4318").expect_err("no address").to_string();
    assert!(said.contains("server.otlp_http_listen") && said.contains("off"), "{said}");
    let said = listen("0.0.0.0:4318").expect_err("needs TLS").to_string();
    assert!(said.contains("server.otlp_http_listen") && said.contains("--insecure"), "{said}");
    let tls =
        "[server]\notlp_http_listen = \"0.0.0.0:4318\"\n[server.tls]\ncert_file = \"c\"\nkey_file = \"k\"\n";
    let config = parse(tls).expect("valid");
    assert!(
        config.anonymous_allowed() && !config.anonymous_otlp_http_allowed(),
        "each port has its own rule"
    );
    let overrides = Overrides { otlp_http_listen: Some("off".to_owned()), ..Default::default() };
    let config = Config::parse("[server]\notlp_http_listen = \"127.0.0.1:1\"\n", &overrides).expect("valid");
    assert_eq!(config.otlp_http_listen, None);
    assert!(refusal("[server.limits]\notlp_request_bytes_max = 5\n").contains("otlp_request_bytes_max"));
}

#[test]
fn a_destination_that_is_the_collector_itself_is_refused() {
    let to = |profile: &str, endpoint: &str| {
        format!("[[destination]]\nname = \"loop\"\nprofile = \"{profile}\"\nendpoint = \"{endpoint}\"\n")
    };
    for own in ["http://localhost:4317", "http://127.0.0.1:4318", "http://127.0.0.1:9464"] {
        let said = refusal(&to("otlp", own));
        assert!(said.starts_with("destination \"loop\": endpoint ") && said.contains(own), "{said}");
        assert!(said.contains("itself (server.") && said.contains("the other server"), "{said}");
    }
    let moved = "[server]\ngrpc_listen = \"127.0.0.1:14317\"\n";
    parse(&format!("{moved}{}", to("otlp", "http://localhost:4317"))).expect("another server's");
    let overrides = Overrides { grpc_listen: "[::1]:7".parse().ok(), ..Default::default() };
    let said = Config::parse(&to("datadog-agent", "http://[::1]:7"), &overrides).expect_err("by a flag");
    assert!(said.to_string().contains("server.grpc_listen = \"[::1]:7\""), "{said}");
    let said = refusal("[[destination]]\nname = \"loop\"\nprofile = \"datadog-agent\"\n");
    assert!(said.contains("needs an endpoint"), "{said}");
}

#[test]
fn flags_win_over_the_file() {
    let overrides = Overrides {
        data_dir: Some("/flag".into()),
        http_listen: Some("127.0.0.1:7".parse().expect("address")),
        ..Default::default()
    };
    let text =
        "[server]\ndata_dir = \"/file\"\nhttp_listen = \"127.0.0.1:6\"\ngrpc_listen = \"127.0.0.1:5\"\n";
    let config = Config::parse(text, &overrides).expect("valid");
    assert_eq!(config.data_dir, PathBuf::from("/flag"));
    assert_eq!((config.http_listen.port(), config.grpc_listen.port()), (7, 5));
}

#[test]
fn a_bound_outside_its_range_is_refused() {
    assert!(refusal("[server.limits]\nstreams_max = 0\n").contains("server.limits.streams_max"));
    assert!(refusal("[server.journal]\nsegment_bytes_max = 1\n").contains("segment_bytes_max"));
    assert!(refusal("[server]\nlog = \"info,=,\"\n").contains("server.log"));
}
