//! An HTTP server that does what a test says, and remembers what it was sent.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request that came.
#[derive(Debug, Clone, Default)]
pub struct Received {
    /// `POST`, `GET`, ...
    pub method: String,
    /// With its query.
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// As it travelled.
    pub body: Vec<u8>,
    /// The body, decompressed if it was gzip.
    pub plain: Vec<u8>,
}

/// What is answered.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Status, headers, body.
    Say(u16, Vec<(&'static str, String)>, String),
    /// The connection ends without a word.
    Hang,
}

type Script = dyn FnMut(usize, &Received) -> Reply + Send;

/// A sink at work. It listens until the test's process ends.
pub struct HttpSink {
    pub address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
}

impl HttpSink {
    /// `script` is given the number of the request, from 0, and the request.
    pub fn spawn(script: impl FnMut(usize, &Received) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let script: Arc<Mutex<Box<Script>>> = Arc::new(Mutex::new(Box::new(script)));
        let all = received.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (all, script) = (all.clone(), script.clone());
                std::thread::spawn(move || serve(stream, &all, &script));
            }
        });
        Self { address, received }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests so far.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

fn serve(stream: TcpStream, all: &Mutex<Vec<Received>>, script: &Mutex<Box<Script>>) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader) {
        let reply = {
            let mut all = all.lock().unwrap();
            all.push(request.clone());
            let number = all.len() - 1;
            drop(all);
            (script.lock().unwrap())(number, &request)
        };
        let Reply::Say(status, headers, body) = reply else { return };
        let mut answer = format!("HTTP/1.1 {status} Said\r\ncontent-length: {}\r\n", body.len());
        headers.iter().for_each(|(name, value)| answer += &format!("{name}: {value}\r\n"));
        answer += "\r\n";
        // The length of what is not asked for.
        if request.method != "HEAD" {
            answer += &body;
        }
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let mut request = Received { method: words.next()?, path: words.next()?, ..Received::default() };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        request.headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = request.headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    request.body = vec![0; length];
    reader.read_exact(&mut request.body).ok()?;
    request.plain = match request.headers.get("content-encoding").map(String::as_str) {
        Some("gzip") => {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(request.body.as_slice()).read_to_end(&mut plain).unwrap();
            plain
        }
        _ => request.body.clone(),
    };
    Some(request)
}

/// 204 without a word.
pub fn taken() -> Reply {
    Reply::Say(204, Vec::new(), String::new())
}

/// A status and words.
pub fn says(status: u16, body: &str) -> Reply {
    Reply::Say(status, Vec::new(), body.to_owned())
}
