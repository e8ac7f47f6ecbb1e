//! Which content and which parts of an identity may leave the machine.
//!
//! The agent's own file opts content in, field by field. A collector's configuration can only take away from that
//! ([`Privacy::without`]): there is no way here to add anything to what the file allows.
//!
//! A user or a host that is withheld is called `withheld-` and the first digits of the agent's id, and not by one word
//! for all: series and traces are told apart by them, and those of two machines must not become one. The collector knows
//! the agent's id anyway. A repository or a branch is `withheld` alone, and "" where there is none.

use std::collections::BTreeSet;

use muster::ids::AgentId;

use super::redact;

/// A field of content that can be opted in, one by one (`[agent.privacy] include = ["files", ...]`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContentField {
    /// Names of files, relative to the project.
    Files,
    /// Messages of runs and findings.
    Messages,
    /// Prompts and product requirement documents.
    Prompts,
    /// Titles and texts of tasks.
    Tasks,
}

/// A part of who and where a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IdentityPart {
    /// The developer's login name.
    User,
    /// The machine's name.
    Host,
    /// The repository's name.
    Repository,
    /// The branch.
    Branch,
}

/// What may leave the machine. The default is every part of the identity and no content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Privacy {
    included: BTreeSet<ContentField>,
    withheld: BTreeSet<IdentityPart>,
    pseudonym: String,
}

/// What stands for a part of an identity that is withheld.
pub const WITHHELD: &str = "withheld";
/// Digits of the agent's id that tell two machines apart: 32 bits.
const PSEUDONYM_DIGITS: usize = 8;

impl ContentField {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Files, Self::Messages, Self::Prompts, Self::Tasks];

    /// Its word in files and on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Messages => "messages",
            Self::Prompts => "prompts",
            Self::Tasks => "tasks",
        }
    }
}

impl IdentityPart {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::User, Self::Host, Self::Repository, Self::Branch];

    /// Its word on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Host => "host",
            Self::Repository => "repository",
            Self::Branch => "branch",
        }
    }

    /// The parts that the value of an attribute may tell, by the words in its key: `vcs.repository.name`, `host.user`.
    pub fn of_key(key: &str) -> impl Iterator<Item = Self> {
        let words = key.split(|c: char| !c.is_ascii_alphanumeric()).flat_map(humps);
        words.flat_map(|word| {
            let known = KEY_WORDS.iter().filter(move |(known, _)| word.eq_ignore_ascii_case(known));
            known.map(|(_, part)| *part)
        })
    }
}

/// Words of keys that tell a part of an identity.
const KEY_WORDS: [(&str, IdentityPart); 28] = [
    ("userid", IdentityPart::User),
    ("email", IdentityPart::User),
    ("committer", IdentityPart::User),
    ("node", IdentityPart::Host),
    // What CI systems call a pipeline is often the repository with the branch.
    ("workflow", IdentityPart::Repository),
    ("workflow", IdentityPart::Branch),
    ("pipeline", IdentityPart::Repository),
    ("pipeline", IdentityPart::Branch),
    ("user", IdentityPart::User),
    ("username", IdentityPart::User),
    ("enduser", IdentityPart::User),
    ("account", IdentityPart::User),
    ("login", IdentityPart::User),
    ("author", IdentityPart::User),
    ("owner", IdentityPart::User),
    ("actor", IdentityPart::User),
    ("host", IdentityPart::Host),
    ("hostname", IdentityPart::Host),
    ("machine", IdentityPart::Host),
    ("device", IdentityPart::Host),
    ("computer", IdentityPart::Host),
    // `service.instance.id` is often made of the host's name.
    ("instance", IdentityPart::Host),
    ("repository", IdentityPart::Repository),
    ("repo", IdentityPart::Repository),
    ("remote", IdentityPart::Repository),
    ("branch", IdentityPart::Branch),
    // `vcs.ref.head.name`.
    ("ref", IdentityPart::Branch),
    ("head", IdentityPart::Branch),
];

/// `userId` as `user` and `Id`.
fn humps(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let bytes = rest.as_bytes();
        let starts = |at: &usize| bytes[*at].is_ascii_uppercase() && !bytes[at - 1].is_ascii_uppercase();
        let end = (1..bytes.len()).find(starts).unwrap_or(bytes.len());
        let (hump, after) = rest.split_at(end);
        rest = after;
        Some(hump)
    })
}

impl Privacy {
    /// Opts in these fields and no others.
    pub fn including(fields: impl IntoIterator<Item = ContentField>) -> Self {
        Self { included: fields.into_iter().collect(), ..Self::default() }
    }

    /// The same without this content and these parts of the identity, on the machine of `agent`.
    pub fn without(
        &self,
        content: &BTreeSet<ContentField>,
        identity: &BTreeSet<IdentityPart>,
        agent: AgentId,
    ) -> Self {
        let mut pseudonym = agent.to_string();
        pseudonym.truncate(PSEUDONYM_DIGITS);
        Self {
            included: &self.included - content,
            withheld: &self.withheld | identity,
            pseudonym: format!("{WITHHELD}-{pseudonym}"),
        }
    }

    /// Whether `field` may leave the machine.
    pub fn allows(&self, field: ContentField) -> bool {
        self.included.contains(&field)
    }

    /// Whether this part of the identity stays on the machine.
    pub fn withholds(&self, part: IdentityPart) -> bool {
        self.withheld.contains(&part)
    }

    /// Whether two of these call the user and the host alike, so that series go on.
    pub fn names_alike(&self, other: &Self) -> bool {
        [IdentityPart::User, IdentityPart::Host]
            .iter()
            .all(|part| self.withholds(*part) == other.withholds(*part))
    }

    /// What leaves of a part of the identity.
    pub fn identity(&self, part: IdentityPart, name: &str) -> String {
        match part {
            _ if !self.withholds(part) => redact::name(name),
            IdentityPart::User | IdentityPart::Host => self.pseudonym.clone(),
            IdentityPart::Repository | IdentityPart::Branch if name.trim().is_empty() => String::new(),
            IdentityPart::Repository | IdentityPart::Branch => WITHHELD.to_owned(),
        }
    }

    /// Whether the value of an attribute of this key tells a part of the identity that stays on the machine.
    pub fn withholds_key(&self, key: &str) -> bool {
        !self.withheld.is_empty() && IdentityPart::of_key(key).any(|part| self.withholds(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: AgentId = AgentId::from_bytes([0xab; 16]);

    #[test]
    fn what_is_withheld_is_called_so_and_two_machines_stay_two() {
        let all = BTreeSet::from(IdentityPart::ALL);
        let here = Privacy::default().without(&BTreeSet::new(), &all, AGENT);
        let there = Privacy::default().without(&BTreeSet::new(), &all, AgentId::from_bytes([7; 16]));
        assert_eq!(here.identity(IdentityPart::User, "dana"), "withheld-abababab");
        assert_eq!(here.identity(IdentityPart::Host, ""), "withheld-abababab");
        assert_ne!(here.identity(IdentityPart::Host, "a"), there.identity(IdentityPart::Host, "a"));
        assert_eq!(here.identity(IdentityPart::Repository, "shop"), "withheld");
        assert_eq!(here.identity(IdentityPart::Branch, ""), "");
        assert!(!here.names_alike(&Privacy::default()));
        let own = Privacy::default();
        assert_eq!(own.identity(IdentityPart::User, "dana"), "dana");
    }

    #[test]
    fn a_key_of_two_parts_is_withheld_with_either() {
        for (key, part) in [
            ("repository.owner", IdentityPart::User),
            ("GITHUB_REPOSITORY_OWNER", IdentityPart::User),
            ("host.user", IdentityPart::User),
            ("host.user", IdentityPart::Host),
            ("ci.workflow", IdentityPart::Branch),
            ("ci.workflow", IdentityPart::Repository),
        ] {
            let withheld = BTreeSet::from([part]);
            let privacy = Privacy::default().without(&BTreeSet::new(), &withheld, AGENT);
            assert!(privacy.withholds_key(key), "{key} with {part:?}");
        }
    }

    #[test]
    fn keys_that_tell_who_or_where_are_known() {
        for (key, part) in [
            ("user.id", Some(IdentityPart::User)),
            ("user.account_uuid", Some(IdentityPart::User)),
            ("enduser.id", Some(IdentityPart::User)),
            ("userId", Some(IdentityPart::User)),
            ("GITHUB_ACTOR", Some(IdentityPart::User)),
            ("host.name", Some(IdentityPart::Host)),
            ("net.hostName", Some(IdentityPart::Host)),
            ("service.instance.id", Some(IdentityPart::Host)),
            ("github.copilot.git.repository", Some(IdentityPart::Repository)),
            ("vcs.repository.name", Some(IdentityPart::Repository)),
            ("vcs.ref.head.name", Some(IdentityPart::Branch)),
            ("git_branch", Some(IdentityPart::Branch)),
            ("session.id", None),
            ("model", None),
            ("reference", None),
            ("", None),
        ] {
            assert_eq!(IdentityPart::of_key(key).next(), part, "{key}");
        }
    }
}
