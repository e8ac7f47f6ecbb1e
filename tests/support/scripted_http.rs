//! An HTTP server whose answers a test writes down, and which remembers what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// An answer. Its body is sent in chunks of HTTP/1.1.
#[derive(Debug, Clone)]
pub struct Script {
    pub status: u16,
    pub body: Vec<u8>,
    pub end: End,
}

/// How an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// As it should.
    Whole,
    /// As it should, a while later and with this in the trailer `muster-notices`.
    Told(&'static str),
    /// The connection breaks before the last chunk.
    Cut,
    /// Nothing more comes, and the connection stays.
    Hang,
}

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// `GET`, `POST`.
    pub method: String,
    /// With its query; of a proxy's request the whole URL.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// A running server; ends with the test's process.
pub struct ScriptedHttp {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Script {
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, body: body.into(), end: End::Whole }
    }

    pub fn refused(status: u16, error: &str) -> Self {
        Self { status, body: serde_json::json!({ "error": error }).to_string().into(), end: End::Whole }
    }
}

impl ScriptedHttp {
    /// Answers every request as `script` says.
    pub fn start(script: impl Fn(&Asked) -> Script + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (seen, script) = (asked.clone(), Arc::new(script));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, script) = (seen.clone(), script.clone());
                std::thread::spawn(move || serve(stream, &seen, &*script));
            }
        });
        Self { address, asked }
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no test holds it").clone()
    }
}

impl Asked {
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value)
    }
}

/// One request a connection.
fn serve(stream: TcpStream, seen: &Mutex<Vec<Asked>>, script: &dyn Fn(&Asked) -> Script) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let mut asked = Asked { method, target, headers, body: Vec::new() };
    let length = asked.header("content-length").parse().unwrap_or(0);
    let mut out = stream;
    if asked.header("expect") == "100-continue" {
        out.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
    }
    reader.by_ref().take(length).read_to_end(&mut asked.body).ok()?;
    let Script { status, body, end } = script(&asked);
    seen.lock().expect("no test holds it").push(asked);
    write!(out, "HTTP/1.1 {status} Scripted\r\ntransfer-encoding: chunked\r\ntrailer: muster-notices\r\nconnection: close\r\n\r\n")
        .ok()?;
    for chunk in body.chunks(10_000) {
        write!(out, "{:x}\r\n", chunk.len()).ok()?;
        out.write_all(chunk).ok()?;
        out.write_all(b"\r\n").ok()?;
    }
    match end {
        End::Whole => out.write_all(b"0\r\n\r\n").ok()?,
        End::Told(notices) => {
            std::thread::sleep(Duration::from_millis(500));
            write!(out, "0\r\nmuster-notices: {notices}\r\n\r\n").ok()?;
        }
        End::Cut => {}
        End::Hang => {
            out.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
            // Until the client goes.
            let _ = reader.read(&mut [0; 1]);
        }
    }
    Some(())
}
