//! `[server] http_client_ca_file` and `[[server.http_client]]`: who reads the pages with a certificate of the operator's own
//! authority ([`crate::readers`]).
//!
//! The file is not read here: it is when the collector starts, reloads, or checks a configuration.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{Config, ConfigError};
use crate::authority::ReaderName;
use crate::credentials::Sight;

/// Keys of an entry of `[[server.http_client]]`.
pub(super) const KEYS: [&str; 3] = ["name", "team", "operator"];
/// Entries: a few scrapers for each of many teams. They are looked up at each request that shows a certificate.
pub const HTTP_CLIENTS_MAX: usize = 1_000;

const CLIENT: &str = "server.http_client";
const CA_FILE: &str = "server.http_client_ca_file";

/// Who reads pages with a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpClients {
    /// Certificates of the authorities that issue theirs, in PEM.
    pub ca_file: PathBuf,
    /// What the owner of a certificate with this name reads; the first entry goes before the others.
    pub listed: Vec<(ReaderName, Sight)>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct RawHttpClient {
    name: Option<String>,
    team: Option<String>,
    operator: bool,
}

pub(super) fn validate(
    ca_file: Option<PathBuf>,
    clients: Vec<RawHttpClient>,
) -> Result<Option<HttpClients>, ConfigError> {
    let Some(ca_file) = ca_file else {
        if clients.is_empty() {
            return Ok(None);
        }
        let problem =
            format!("needs {CA_FILE}: the authority that issues the certificates of those who read");
        return Err(ConfigError::Invalid { setting: CLIENT, problem });
    };
    if clients.len() > HTTP_CLIENTS_MAX {
        let problem = format!("{} entries, and there can be {HTTP_CLIENTS_MAX}", clients.len());
        return Err(ConfigError::Invalid { setting: CLIENT, problem });
    }
    let (mut listed, mut names) = (Vec::new(), BTreeSet::new());
    for (at, client) in clients.into_iter().enumerate() {
        let (name, sight) = client.validate(at + 1)?;
        if !names.insert(name.clone()) {
            let problem = format!("name {:?} stands there twice", name.as_str());
            return Err(ConfigError::Invalid { setting: CLIENT, problem });
        }
        listed.push((name, sight));
    }
    Ok(Some(HttpClients { ca_file, listed }))
}

impl RawHttpClient {
    /// `place`: which entry it is, from 1.
    fn validate(self, place: usize) -> Result<(ReaderName, Sight), ConfigError> {
        let invalid = |problem: String| ConfigError::Invalid { setting: CLIENT, problem };
        let text = self.name.ok_or_else(|| {
            invalid(format!("entry {place} needs a name: a DNS name or a URI that stands in the certificate"))
        })?;
        let shown: String = text.chars().take(100).collect();
        let name = text.parse().map_err(|problem| invalid(format!("name {shown:?} {problem}")))?;
        let sight = match (self.team, self.operator) {
            (Some(team), false) => {
                let team = team
                    .parse()
                    .map_err(|problem| invalid(format!("{shown:?}: team {team:?}: {problem}")))?;
                Sight::Team(team)
            }
            (None, true) => Sight::All,
            (Some(_), true) => {
                return Err(invalid(format!(
                    "{shown:?} has team and operator: one of them says what it reads"
                )));
            }
            (None, false) => {
                let problem =
                    "needs team = \"...\" (to read its data), or operator = true (to read everything)";
                return Err(invalid(format!("{shown:?} {problem}")));
            }
        };
        Ok((name, sight))
    }
}

impl Config {
    /// A certificate can only be shown where the pages have TLS.
    pub(super) fn refuse_certificates_without_tls(&self) -> Result<(), ConfigError> {
        if self.http_clients.is_none() || self.tls.is_some() {
            return Ok(());
        }
        let problem = "needs [server.tls]: without TLS nobody can show a certificate".to_owned();
        Err(ConfigError::Invalid { setting: CA_FILE, problem })
    }

    /// The same, of the address. Apart from the others since a flag or a variable may say another than the file, and
    /// commands that do not serve know neither.
    pub(crate) fn refuse_certificates_on_loopback(&self) -> Result<(), ConfigError> {
        if self.http_clients.is_none() || !self.http_listen.ip().is_loopback() {
            return Ok(());
        }
        let problem = format!(
            "is of no use with http_listen = \"{}\": on loopback the pages have no TLS; listen where the readers can \
             connect to",
            self.http_listen
        );
        Err(ConfigError::Invalid { setting: CA_FILE, problem })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;

    const HEAD: &str = "[server]\nhttp_listen = \"0.0.0.0:9464\"\nhttp_client_ca_file = \"ca.pem\"\n";
    const TLS: &str = "[server.tls]\nnames = [\"localhost\"]\n";

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, &Overrides { data_dir: Some("/tmp/muster".into()), ..Default::default() })
    }

    fn with(entries: &str) -> Result<Config, ConfigError> {
        parse(&format!("{HEAD}{entries}{TLS}"))
    }

    fn refusal(text: &str) -> String {
        parse(text).expect_err("must be refused").to_string()
    }

    fn entry(lines: &str) -> String {
        format!("[[server.http_client]]\n{lines}\n")
    }

    #[test]
    fn readers_are_listed_with_what_they_read_in_their_order() {
        let entries = entry("name = \"prometheus.monitoring.svc\"\nteam = \"platform\"")
            + &entry("name = \"spiffe://a/b\"\noperator = true");
        let clients = with(&entries).expect("valid").http_clients.expect("some");
        assert_eq!(clients.ca_file, PathBuf::from("ca.pem"));
        let platform = Sight::Team("platform".parse().expect("a team"));
        let named = |text: &str| text.parse::<ReaderName>().expect("a name");
        assert_eq!(
            clients.listed,
            [(named("prometheus.monitoring.svc"), platform), (named("spiffe://a/b"), Sight::All),]
        );
        // The last one has been taken out: the authority alone lets nobody read.
        assert!(with("").expect("valid").http_clients.expect("some").listed.is_empty());
        assert_eq!(parse("").expect("valid").http_clients, None);
    }

    #[test]
    fn each_mistake_is_told_with_what_helps() {
        let of = |lines: &str| with(&entry(lines)).expect_err(lines).to_string();
        for (lines, words) in [
            ("team = \"red\"", "entry 1 needs a name"),
            ("name = \"a.b\"", "needs team"),
            ("name = \"a.b\"\noperator = false", "needs team"),
            ("name = \"a.b\"\nteam = \"red\"\noperator = true", "has team and operator"),
            ("name = \"a.b\"\nteam = \"no team\"", "team \"no team\""),
            ("name = \"*.b\"\nteam = \"red\"", "wildcard"),
            ("name = \"muster://red/agent/x\"\nteam = \"red\"", "agent"),
            ("name = \"10.0.0.1\"\nteam = \"red\"", "address"),
            ("name = \"\"\nteam = \"red\"", "1 to 2048 bytes"),
            ("name = \"a.b\"\nroll = \"x\"", "unknown key"),
        ] {
            let said = of(lines);
            assert!(said.contains(words) && said.contains("server.http_client"), "{lines}: {said}");
        }
        let twice = entry("name = \"a.b\"\nteam = \"red\"") + &entry("name = \"a.b\"\noperator = true");
        let said = with(&twice).expect_err("twice").to_string();
        assert!(said.contains("\"a.b\" stands there twice"), "{said}");
        let many: String =
            (0..=HTTP_CLIENTS_MAX).map(|n| entry(&format!("name = \"n{n}.b\"\noperator = true"))).collect();
        let said = with(&many).expect_err("too many").to_string();
        assert!(said.contains("1001 entries, and there can be 1000"), "{said}");
    }

    #[test]
    fn a_certificate_needs_an_authority_and_pages_with_tls() {
        let one = entry("name = \"a.b\"\nteam = \"red\"");
        let listen = "[server]\nhttp_listen = \"0.0.0.0:9464\"\n";
        let said = refusal(&format!("{listen}{one}{TLS}"));
        assert!(said.starts_with("server.http_client: needs server.http_client_ca_file"), "{said}");
        let said = refusal(&format!("{HEAD}insecure = true\n{one}"));
        assert!(said.starts_with("server.http_client_ca_file: needs [server.tls]"), "{said}");
        let on_loopback =
            parse(&format!("[server]\nhttp_client_ca_file = \"ca.pem\"\n{one}{TLS}")).expect("valid");
        let said = on_loopback.refuse_certificates_on_loopback().expect_err("no TLS there").to_string();
        assert!(said.contains("on loopback the pages have no TLS"), "{said}");
        with(&one).expect("valid").refuse_certificates_on_loopback().expect("others reach it");
    }
}
