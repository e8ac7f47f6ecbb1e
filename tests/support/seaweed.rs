//! SeaweedFS as an S3-compatible store, and boto3 to look into it: both installed by `scripts/test`.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::pause;
use super::process::Process;
use super::python::tool;

/// It starts four servers, one after the other, and now and then one of them hangs in that: then it is started anew.
const START_MAX: Duration = Duration::from_secs(40);
const STARTS_MAX: usize = 4;

/// Who may do what: `writer` everything, `reader` only read.
const IDENTITIES: &str = r#"{"identities": [
 {"name": "writer", "credentials": [{"accessKey": "writer-key", "secretKey": "writer-secret"}],
  "actions": ["Admin", "Read", "Write", "List"]},
 {"name": "reader", "credentials": [{"accessKey": "reader-key", "secretKey": "reader-secret"}],
  "actions": ["Read:history", "List:history"]}]}"#;

const BOTO: &str = r#"
import sys, boto3, botocore.config
patience = botocore.config.Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 2})
store = boto3.client("s3", endpoint_url=sys.argv[1], aws_access_key_id="writer-key",
                     aws_secret_access_key="writer-secret", region_name="us-east-1", config=patience)
if sys.argv[2] == "make":
    store.create_bucket(Bucket=sys.argv[3])
elif sys.argv[2] == "list":
    for entry in store.list_objects_v2(Bucket=sys.argv[3]).get("Contents", []):
        print(entry["Key"])
else:
    sys.stdout.buffer.write(store.get_object(Bucket=sys.argv[3], Key=sys.argv[4])["Body"].read())
"#;

/// A running store with a bucket `history`.
pub struct Seaweed {
    _process: Process,
    pub endpoint: String,
}

impl Seaweed {
    pub fn spawn(folder: &Path) -> Option<Self> {
        let python = tool("MUSTER_TEST_PYTHON")?;
        let program = python.with_file_name("weed");
        let started = (0..STARTS_MAX).find_map(|n| Self::start(&program, &folder.join(format!("start{n}"))));
        Some(started.unwrap_or_else(|| panic!("SeaweedFS gave no bucket in {STARTS_MAX} starts")))
    }

    fn start(program: &Path, folder: &Path) -> Option<Self> {
        std::fs::create_dir_all(folder).unwrap();
        let identities = folder.join("identities.json");
        std::fs::write(&identities, IDENTITIES).unwrap();
        // It listens on ten thousand above some of them as well.
        let ports: Vec<u16> = free_ports(6);
        let mut command = Command::new(program);
        command.args(["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"]);
        command.arg("-master.volumeSizeLimitMB=64").arg(format!("-dir={}", folder.display()));
        command.arg(format!("-s3.config={}", identities.display()));
        let names =
            ["master.port", "volume.port", "filer.port", "s3.port", "s3.port.lance", "s3.port.iceberg"];
        command.args(names.iter().zip(&ports).map(|(name, port)| format!("-{name}={port}")));
        let process = Process::spawn("weed", command);
        let address = format!("127.0.0.1:{}", ports[3]);
        let seaweed = Self { _process: process, endpoint: format!("http://{address}") };
        let began = Instant::now();
        while began.elapsed() < START_MAX {
            if TcpStream::connect(&address).is_ok() && seaweed.boto(&["make", "history"]).is_some() {
                return Some(seaweed);
            }
            pause(Duration::from_millis(50));
        }
        None
    }

    /// Names of the objects of a bucket.
    pub fn list(&self, bucket: &str) -> Vec<String> {
        let listed = self.boto(&["list", bucket]).expect("boto3 lists");
        String::from_utf8(listed).unwrap().lines().map(str::to_owned).collect()
    }

    /// What an object has.
    #[track_caller]
    pub fn get(&self, bucket: &str, key: &str) -> Vec<u8> {
        self.boto(&["get", bucket, key]).expect("boto3 reads it")
    }

    fn boto(&self, arguments: &[&str]) -> Option<Vec<u8>> {
        let mut command = Command::new(tool("MUSTER_TEST_PYTHON")?);
        let output = command.args(["-c", BOTO, &self.endpoint]).args(arguments).output().unwrap();
        output.status.success().then_some(output.stdout)
    }
}

/// Ports that are free, and that ten thousand more is a port too.
fn free_ports(count: usize) -> Vec<u16> {
    let mut ports = Vec::new();
    while ports.len() < count {
        let port = fastrand::u16(20_000..50_000);
        let is_free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
        if is_free(port) && is_free(port + 10_000) && !ports.contains(&port) {
            ports.push(port);
        }
    }
    ports
}
