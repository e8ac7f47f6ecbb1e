//! Whether a destination is the collector itself: what it sent there would come back, and go out again without end.
//!
//! Decided by the address as it is written, without asking a name server: a port of ours, at this machine's name for
//! itself or at an address that the listener is on. A proxy or a name for this machine is not seen here; what comes back
//! by it is refused at the door ([`crate::forward::FORWARDED_BY`]).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use http::Uri;

use super::destination::Destination;
use super::{Config, ConfigError};

/// A listener of the collector: the key of its setting, and where it is.
pub(crate) type Door = (&'static str, SocketAddr);

impl Config {
    /// The listeners, where they are to be.
    pub(super) fn doors(&self) -> Vec<Door> {
        let otlp_http = self.otlp_http_listen.map(|address| ("server.otlp_http_listen", address));
        let doors = [("server.grpc_listen", self.grpc_listen), ("server.http_listen", self.http_listen)];
        doors.into_iter().chain(otlp_http).collect()
    }
}

/// Refuses destinations that are one of these listeners.
pub(crate) fn refuse_own_doors(destinations: &[Destination], doors: &[Door]) -> Result<(), ConfigError> {
    for destination in destinations {
        let Some((setting, address)) = own_door(&destination.base_url, doors, is_of_this_machine) else {
            continue;
        };
        let problem = format!(
            "{} is this collector itself ({setting} = \"{address}\"), and all that it sends would come back to it: \
             write the address of the other server, or give the collector another port with {setting}",
            destination.base_url
        );
        return Err(ConfigError::Destination {
            name: destination.name.clone(),
            setting: "endpoint",
            problem,
        });
    }
    Ok(())
}

fn own_door(url: &str, doors: &[Door], is_of_this_machine: impl Fn(IpAddr) -> bool) -> Option<Door> {
    let uri: Uri = url.parse().ok()?;
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    let host = host.to_ascii_lowercase();
    // RFC 6761 section 6.3: such names are always this machine.
    let is_localhost = host == "localhost" || host.ends_with(".localhost");
    let target: Option<IpAddr> = host.parse().ok().map(|ip: IpAddr| connected_to(ip.to_canonical()));
    let is_own = |(_, door): &&Door| {
        let at = door.ip().to_canonical();
        let takes = |ip: IpAddr| match at {
            // The unspecified IPv6 address takes IPv4 as well, on most systems.
            at if at.is_unspecified() => {
                (at.is_ipv6() || ip.is_ipv4()) && (ip.is_loopback() || is_of_this_machine(ip))
            }
            at => at == ip,
        };
        let takes_localhost = at.is_loopback() || at.is_unspecified();
        door.port() == port && ((is_localhost && takes_localhost) || target.is_some_and(takes))
    };
    doors.iter().find(is_own).copied()
}

/// Where a connection to the unspecified address goes.
fn connected_to(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

/// Whether an interface of this machine has the address: only then can a socket be bound to it.
fn is_of_this_machine(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_an_own_listener_is_seen_and_no_other_server_is() {
        let lan: IpAddr = "192.0.2.7".parse().expect("address");
        for (listener, url, is_own) in [
            ("127.0.0.1:4317", "http://127.0.0.1:4317", true),
            ("127.0.0.1:4317", "http://localhost:4317", true),
            ("127.0.0.1:4317", "https://LOCALHOST.:4317/v1/logs", true),
            ("127.0.0.1:4317", "http://muster.localhost:4317", true),
            ("127.0.0.1:4317", "http://0.0.0.0:4317", true),
            ("127.0.0.1:4317", "http://[::ffff:127.0.0.1]:4317", true),
            ("127.0.0.1:4317", "http://localhost:4318", false),
            ("127.0.0.1:4317", "http://127.0.0.2:4317", false),
            ("127.0.0.1:4317", "http://[::1]:4317", false),
            ("127.0.0.1:4317", "http://192.0.2.7:4317", false),
            ("127.0.0.1:4317", "http://collector.example:4317", false),
            ("127.0.0.1:443", "https://localhost", true),
            ("127.0.0.1:80", "http://localhost", true),
            ("[::1]:4317", "http://[::1]:4317", true),
            ("[::1]:4317", "http://[::]:4317", true),
            ("[::1]:4317", "http://localhost:4317", true),
            ("0.0.0.0:4317", "http://localhost:4317", true),
            ("0.0.0.0:4317", "http://127.9.9.9:4317", true),
            ("0.0.0.0:4317", "http://192.0.2.7:4317", true),
            ("0.0.0.0:4317", "http://192.0.2.8:4317", false),
            ("0.0.0.0:4317", "http://[::1]:4317", false),
            ("[::]:4317", "http://[::1]:4317", true),
            ("[::]:4317", "http://127.0.0.1:4317", true),
            ("[::]:4317", "http://192.0.2.7:4317", true),
            ("192.0.2.7:4317", "http://192.0.2.7:4317", true),
            ("192.0.2.7:4317", "http://localhost:4317", false),
        ] {
            let door = ("server.grpc_listen", listener.parse().expect("address"));
            let found = own_door(url, &[door], |ip| ip == lan);
            assert_eq!(found.is_some(), is_own, "{listener} {url}");
        }
    }

    #[test]
    fn an_address_is_of_this_machine_if_it_is_on_an_interface() {
        assert!(is_of_this_machine(Ipv4Addr::LOCALHOST.into()));
        assert!(!is_of_this_machine("192.0.2.7".parse().expect("address")));
    }
}
