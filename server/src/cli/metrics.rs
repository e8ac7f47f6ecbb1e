//! `muster metrics [PATTERN]`: the page of a running collector or agent.

use super::{Failure, print};

/// Arguments of `muster metrics`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only families whose name contains this text.
    pattern: Option<String>,
    /// The machine.
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// The port: 9464 is the collector's, 9465 the agent's.
    #[arg(long, default_value_t = 9464)]
    port: u16,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let address = format!("{}:{}", arguments.host, arguments.port);
    let page = muster::page::get(&address, "/metrics").map_err(|error| {
        Failure::Other(format!(
            "{error}; is it running? `muster up` or `muster serve` starts one, --host and --port name another"
        ))
    })?;
    match &arguments.pattern {
        None => print(&page),
        Some(pattern) => match matching(&page, pattern).as_str() {
            "" => Err(Failure::Other(format!("no name on the page of {address} contains {pattern:?}"))),
            lines => print(lines),
        },
    }
}

/// Lines of families and samples whose name contains `pattern`, with their HELP and TYPE.
fn matching(page: &str, pattern: &str) -> String {
    let name = |line: &str| {
        let named = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE ")).unwrap_or(line);
        named.split(['{', ' ']).next().unwrap_or_default().to_owned()
    };
    page.lines().filter(|line| name(line).contains(pattern)).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_keeps_whole_families_and_looks_at_names_alone() {
        let page =
            "# HELP a_total Of b_total.\n# TYPE a_total counter\na_total{x=\"b_total\"} 1\nb_total 2\n";
        assert_eq!(matching(page, "b_total"), "b_total 2\n");
        assert_eq!(matching(page, "a_t").lines().count(), 3);
    }
}
