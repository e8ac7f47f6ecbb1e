//! Databases that nobody here wrote, unpacked by `scripts/test`: InfluxDB 1.x and VictoriaMetrics of Debian.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::http::{encode, get, post};
use super::process::Process;
use super::python::tool;
use super::wait_until;

const START_MAX: Duration = Duration::from_secs(60);

/// A running InfluxDB with a database `devloop`.
pub struct Influx {
    _process: Process,
    pub address: SocketAddr,
}

/// A running VictoriaMetrics.
pub struct Victoria {
    _process: Process,
    pub address: SocketAddr,
}

impl Influx {
    pub fn spawn(folder: &Path) -> Option<Self> {
        Self::spawn_with(folder, "")
    }

    /// `http` is added to the section of that name.
    pub fn spawn_with(folder: &Path, http: &str) -> Option<Self> {
        let program = tool("MUSTER_TEST_INFLUXD")?;
        let (address, backup) = (free_address(), free_address());
        let at = folder.display();
        let config = format!(
            "reporting-disabled = true\nbind-address = \"{backup}\"\n\
             [meta]\ndir = \"{at}/meta\"\n[data]\ndir = \"{at}/data\"\nwal-dir = \"{at}/wal\"\n\
             [monitor]\nstore-enabled = false\n[http]\nbind-address = \"{address}\"\n{http}\n"
        );
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("influxdb.conf"), config).unwrap();
        let mut command = Command::new(program);
        command.arg("-config").arg(folder.join("influxdb.conf"));
        let process = Process::spawn("influxd", command);
        wait_until("InfluxDB to listen", START_MAX, || TcpStream::connect(address).is_ok());
        Some(Self { _process: process, address })
    }

    /// Asks it, and gives the rows of its first series: names of columns and values.
    #[track_caller]
    pub fn query(&self, query: &str) -> Vec<serde_json::Value> {
        self.query_as(query, "")
    }

    /// With more parameters, such as `&u=..&p=..`.
    #[track_caller]
    pub fn query_as(&self, query: &str, parameters: &str) -> Vec<serde_json::Value> {
        let path = format!("/query?db=devloop&epoch=ns&q={}{parameters}", encode(query));
        let answer = if query.starts_with("SELECT") || query.starts_with("SHOW") {
            get(self.address, &path)
        } else {
            post(self.address, &path, &[], b"")
        };
        let answer = answer.json();
        assert!(answer["results"][0].get("error").is_none() && answer.get("error").is_none(), "{answer}");
        answer["results"][0]["series"].as_array().cloned().unwrap_or_default()
    }
}

impl Victoria {
    pub fn spawn(folder: &Path) -> Option<Self> {
        let program = tool("MUSTER_TEST_VICTORIA_METRICS")?;
        let address = free_address();
        std::fs::create_dir_all(folder).unwrap();
        let mut command = Command::new(program);
        command.arg(format!("-httpListenAddr={address}")).arg("-retentionPeriod=100y");
        command.arg(format!("-storageDataPath={}", folder.display()));
        let process = Process::spawn("victoria-metrics", command);
        wait_until("VictoriaMetrics to listen", START_MAX, || TcpStream::connect(address).is_ok());
        Some(Self { _process: process, address })
    }

    /// All that it has of a metric: labels, values, timestamps in milliseconds. Rows become visible some time after
    /// they were taken: this waits for `count` values.
    #[track_caller]
    pub fn export(&self, metric: &str, count: usize) -> Vec<serde_json::Value> {
        let path = format!("/api/v1/export?match={}", encode(&format!("{{__name__=\"{metric}\"}}")));
        let mut series = Vec::new();
        wait_until(&format!("{count} values of {metric}"), START_MAX, || {
            get(self.address, "/internal/force_flush");
            let text = get(self.address, &path).text();
            series = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            values(&series).len() >= count
        });
        series
    }
}

/// All values of exported series.
pub fn values(series: &[serde_json::Value]) -> Vec<f64> {
    let of_one = |one: &serde_json::Value| one["values"].as_array().cloned().unwrap_or_default();
    series.iter().flat_map(of_one).map(|value| value.as_f64().unwrap()).collect()
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
