//! Where a destination is: its regions, and the URL of a signal.

use super::{Profile, Transport};
use crate::Signal;

/// Where a kind of destination is.
#[derive(Debug, Clone, Copy)]
pub enum Endpoints {
    /// The user says it; the example is for the reference page.
    Given {
        /// An address as a user would write it.
        example: &'static str,
    },
    /// One of these; the first is used when neither region nor endpoint is named.
    Regions(&'static [Endpoint]),
    /// A region that the user names, put into a pattern at `{region}`.
    Pattern {
        /// The URL with `{region}` in it.
        url: &'static str,
        /// A region that there is, for the reference page.
        example: &'static str,
    },
}

/// One address of a vendor.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint {
    /// What the region is called in a configuration.
    pub region: &'static str,
    /// What the vendor calls it too, such as Datadog's sites.
    pub aliases: &'static [&'static str],
    /// Base of OTLP/HTTP; paths come after it.
    pub http: &'static str,
    /// Address of OTLP/gRPC; empty where it is not spoken.
    pub grpc: &'static str,
}

/// Why there is no address.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EndpointError {
    /// Only the user knows.
    #[error("profile {profile:?} needs an endpoint, such as {example:?}")]
    Missing {
        /// The profile.
        profile: &'static str,
        /// What one looks like.
        example: &'static str,
    },
    /// A pattern lacks what goes into it.
    #[error("profile {profile:?} needs a region, such as {example:?}, or an endpoint")]
    RegionMissing {
        /// The profile.
        profile: &'static str,
        /// A region that there is.
        example: &'static str,
    },
    /// The profile knows no regions.
    #[error("profile {profile:?} has no regions: give an endpoint")]
    NoRegions {
        /// The profile.
        profile: &'static str,
    },
    /// Not one of the vendor's.
    #[error("profile {profile:?} has no region {region:?}; there are {known}")]
    UnknownRegion {
        /// The profile.
        profile: &'static str,
        /// What was asked for.
        region: String,
        /// Those that there are.
        known: String,
    },
    /// Two answers to one question.
    #[error("region and endpoint exclude each other")]
    Both,
    /// Nothing to send to over that transport.
    #[error("profile {profile:?} does not speak {transport}")]
    Transport {
        /// The profile.
        profile: &'static str,
        /// The transport's name.
        transport: &'static str,
    },
}

impl Profile {
    /// The base URL to send to over `transport`: the user's, or the vendor's of that region. With HTTP,
    /// [`Profile::http_url`] makes a signal's URL of it.
    pub fn base_url(
        &self,
        transport: Transport,
        region: Option<&str>,
        endpoint: Option<&str>,
    ) -> Result<String, EndpointError> {
        let profile = self.name;
        if !self.transports.contains(&transport) {
            return Err(EndpointError::Transport { profile, transport: transport.name() });
        }
        match (endpoint, region, self.endpoints) {
            (Some(_), Some(_), _) => Err(EndpointError::Both),
            (Some(endpoint), None, _) => Ok(endpoint.trim().trim_end_matches('/').to_owned()),
            (None, Some(_), Endpoints::Given { .. }) => Err(EndpointError::NoRegions { profile }),
            (None, None, Endpoints::Given { example }) => Err(EndpointError::Missing { profile, example }),
            (None, None, Endpoints::Pattern { example, .. }) => {
                Err(EndpointError::RegionMissing { profile, example })
            }
            (None, Some(region), Endpoints::Pattern { url, example }) if is_region(region) => {
                debug_assert!(is_region(example), "the table's own example");
                Ok(url.replace("{region}", region))
            }
            (None, Some(region), Endpoints::Pattern { example, .. }) => Err(EndpointError::UnknownRegion {
                profile,
                region: region.to_owned(),
                known: format!("such as {example:?}"),
            }),
            (None, region, Endpoints::Regions(regions)) => {
                let found = find_region(regions, region).ok_or_else(|| EndpointError::UnknownRegion {
                    profile,
                    region: region.unwrap_or_default().to_owned(),
                    known: regions.iter().map(|endpoint| endpoint.region).collect::<Vec<_>>().join(", "),
                })?;
                let url = if transport == Transport::Grpc { found.grpc } else { found.http };
                Ok(url.to_owned())
            }
        }
    }

    /// The URL that a signal is posted to. The user's base may already have the profile's prefix, or even the path of
    /// a signal, as vendors' pages show it: neither is put twice.
    pub fn http_url(&self, base: &str, signal: Signal) -> String {
        let mut base = base.trim_end_matches('/');
        for any in Signal::ALL {
            base = base.strip_suffix(any.http_path()).unwrap_or(base).trim_end_matches('/');
        }
        base = base.strip_suffix(self.path_prefix).unwrap_or(base).trim_end_matches('/');
        format!("{base}{}{}", self.path_prefix, signal.http_path())
    }
}

fn find_region(regions: &'static [Endpoint], region: Option<&str>) -> Option<&'static Endpoint> {
    match region {
        None => regions.first(),
        Some(name) => regions.iter().find(|endpoint| {
            endpoint.region.eq_ignore_ascii_case(name)
                || endpoint.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(name))
        }),
    }
}

/// Whether the text can be part of a host's name, so that a pattern cannot be turned into another host.
fn is_region(text: &str) -> bool {
    !text.is_empty() && text.len() <= 40 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}
