//! Machines of a team: network namespaces with addresses of their own, joined by cables that can be pulled.
//!
//! ```text
//! ada 10.91.1.2 ── cable ── 10.91.1.1 collector 10.91.2.1 ── cable ── 10.91.2.2 bob
//! ```
//!
//! Needs root and iproute2. Everything ends with the handle; the names carry this process's id, so that runs do not meet.
//! A machine may have a file system of its own: a minimal Debian with a package installed (`tests/packages/developers.sh`).

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::collector::clean_environment;

/// A machine with its own network.
pub struct Machine {
    namespace: String,
    /// Its file system; `None`: this machine's.
    root: Option<PathBuf>,
}

/// A cable from the collector to a developer's machine.
pub struct Cable {
    collector: String,
    device: &'static str,
}

/// The collector's machine and two developers'.
pub struct Team {
    pub collector: Machine,
    pub ada: Machine,
    pub bob: Machine,
    pub cable_of_ada: Cable,
    pub cable_of_bob: Cable,
}

/// Where the two developers reach the collector.
pub const COLLECTOR_FOR_ADA: &str = "10.91.1.1";
pub const COLLECTOR_FOR_BOB: &str = "10.91.2.1";

impl Team {
    /// `None` where namespaces cannot be had; in CI that is a failure. `roots` has a file system for each machine.
    #[track_caller]
    pub fn create(roots: Option<&Path>) -> Option<Self> {
        let machine = |name: &str| Machine {
            namespace: format!("muster-{}-{name}", std::process::id()),
            root: roots.map(|roots| roots.join(name)),
        };
        let (collector, ada, bob) = (machine("collector"), machine("ada"), machine("bob"));
        if let Err(why) = ip(&["netns", "add", &collector.namespace]) {
            assert!(std::env::var("CI").is_err(), "no network namespaces, which CI must have: {why}");
            println!("SKIPPED: no network namespaces here (they need root and iproute2): {why}");
            return None;
        }
        let cable = |device| Cable { collector: collector.namespace.clone(), device };
        let (cable_of_ada, cable_of_bob) = (cable("ada"), cable("bob"));
        // From here on dropping what there is cleans up.
        let team = Self { collector, ada, bob, cable_of_ada, cable_of_bob };
        let hub = &team.collector.namespace;
        let must = |arguments: &[&str]| ip(arguments).unwrap_or_else(|why| panic!("ip {arguments:?}: {why}"));
        must(&["-n", hub, "link", "set", "lo", "up"]);
        for (machine, device, here, there) in [
            (&team.ada, "ada", COLLECTOR_FOR_ADA, "10.91.1.2"),
            (&team.bob, "bob", COLLECTOR_FOR_BOB, "10.91.2.2"),
        ] {
            let namespace = &machine.namespace;
            must(&["netns", "add", namespace]);
            must(&["-n", namespace, "link", "set", "lo", "up"]);
            must(&[
                "-n", hub, "link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", namespace,
            ]);
            must(&["-n", hub, "addr", "add", &format!("{here}/24"), "dev", device]);
            must(&["-n", namespace, "addr", "add", &format!("{there}/24"), "dev", "eth0"]);
            must(&["-n", hub, "link", "set", device, "up"]);
            must(&["-n", namespace, "link", "set", "eth0", "up"]);
        }
        Some(team)
    }
}

impl Machine {
    /// A command that runs on this machine, with a home of its own.
    pub fn command(&self, program: &Path, home: &Path) -> Command {
        let mut command = Command::new("ip");
        clean_environment(&mut command);
        command.args(["netns", "exec", &self.namespace]);
        if let Some(root) = &self.root {
            command.arg("chroot").arg(root);
        }
        command.arg(program).env("HOME", self.inside(home));
        command
    }

    /// Where users of this machine live, in the file system of the test.
    pub fn home_of(&self, user: &str, folder: &Path) -> PathBuf {
        self.root.as_ref().map_or_else(|| folder.join(user), |root| root.join("home").join(user))
    }

    /// What the machine itself calls a path.
    pub fn inside(&self, path: &Path) -> PathBuf {
        let own = self.root.as_ref().and_then(|root| path.strip_prefix(root).ok());
        own.map_or_else(|| path.to_owned(), |own| Path::new("/").join(own))
    }

    /// Whether what runs here was installed from packages.
    pub fn is_packaged(&self) -> bool {
        self.root.is_some()
    }
}

impl Cable {
    pub fn pull(&self) {
        self.set("down");
    }

    pub fn plug_in(&self) {
        self.set("up");
    }

    fn set(&self, state: &str) {
        ip(&["-n", &self.collector, "link", "set", self.device, state]).expect("the cable is there");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // One that was never made is none to delete.
        let _ = ip(&["netns", "del", &self.namespace]);
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(arguments).output().map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(words(&output)) }
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}
