//! `muster metrics [PATTERN]`: the page of a running collector or agent.

use super::collector::{Collector, CollectorArguments};
use super::{Failure, print};

/// Arguments of `muster metrics`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only families whose name contains this text.
    pattern: Option<String>,
    /// The machine, instead of --server [default: 127.0.0.1].
    #[arg(long)]
    host: Option<String>,
    /// The port: 9464 is the collector's, 9465 the agent's [default: 9464].
    #[arg(long)]
    port: Option<u16>,
    #[command(flatten)]
    collector: CollectorArguments,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut of = arguments.collector.clone();
    if arguments.host.is_some() || arguments.port.is_some() {
        let host = arguments.host.as_deref().unwrap_or("127.0.0.1");
        let is_bare_ipv6 = host.contains(':') && !host.starts_with('[');
        let host = if is_bare_ipv6 { format!("[{host}]") } else { host.to_owned() };
        of.server = Some(format!("{host}:{}", arguments.port.unwrap_or(9464)));
    }
    let collector = Collector::new(&of)?;
    let page = collector.page("/metrics")?;
    match &arguments.pattern {
        None => print(&page),
        Some(pattern) => match matching(&page, pattern).as_str() {
            "" => {
                Err(Failure::Other(format!("no name on {}/metrics contains {pattern:?}", collector.base())))
            }
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
