//! A TCP proxy on loopback that breaks connections the ways networks do.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the proxy does with every connection, old and new.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// Nothing.
    Pass,
    /// Takes what the client sends and hands it on, but keeps the answers: after the cut the client cannot know what
    /// arrived.
    LoseReplies,
    /// Reads and writes nothing of connections that are open by now, and closes nothing. New ones pass.
    BlackHole,
    /// Accepts new connections and closes them at once; open ones are cut.
    Refuse,
    /// As `Refuse`, once clients have sent so many bytes since the start ([`FaultProxy::bytes_up`]).
    RefuseAfter(u64),
    /// Hands on so many bytes a second, each way.
    Throttle(u64),
}

/// A running proxy; ends when dropped.
pub struct FaultProxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<std::sync::mpsc::Sender<()>>,
}

struct Shared {
    target: Mutex<SocketAddr>,
    fault: watch::Sender<Fault>,
    /// Raised at each cut; a connection older than the count ends.
    cuts: watch::Sender<u64>,
    /// Connections with a smaller number are in the black hole.
    swallowed: watch::Sender<usize>,
    accepted: Mutex<Vec<Instant>>,
    bytes_up: AtomicU64,
    replies_lost: AtomicU64,
}

impl FaultProxy {
    /// Starts one before `target`.
    pub fn spawn(target: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("non-blocking");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            fault: watch::Sender::new(Fault::Pass),
            cuts: watch::Sender::new(0),
            swallowed: watch::Sender::new(0),
            accepted: Mutex::new(Vec::new()),
            bytes_up: AtomicU64::new(0),
            replies_lost: AtomicU64::new(0),
        });
        let (stop, stopped) = std::sync::mpsc::channel();
        let for_thread = shared.clone();
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).expect("a listener");
                let accept = async {
                    loop {
                        let Ok((client, _)) = listener.accept().await else { continue };
                        let number = {
                            let mut accepted = for_thread.accepted.lock().unwrap();
                            accepted.push(Instant::now());
                            accepted.len() - 1
                        };
                        tokio::spawn(connection(client, for_thread.clone(), number));
                    }
                };
                let gone = async {
                    while !matches!(stopped.try_recv(), Err(std::sync::mpsc::TryRecvError::Disconnected)) {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                };
                tokio::select! { () = accept => {}, () = gone => {} }
            });
        });
        Self { address, shared, stop: Some(stop) }
    }

    pub fn set(&self, fault: Fault) {
        match fault {
            Fault::BlackHole => {
                let open = self.shared.accepted.lock().unwrap().len();
                self.shared.swallowed.send_replace(open);
            }
            other => drop(self.shared.fault.send_replace(other)),
        }
        if fault == Fault::Refuse {
            self.cut();
        }
    }

    /// Closes every connection that is open now.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    pub fn retarget(&self, target: SocketAddr) {
        *self.shared.target.lock().unwrap() = target;
    }

    /// Bytes that clients sent and the target was given, since the start.
    pub fn bytes_up(&self) -> u64 {
        self.shared.bytes_up.load(Ordering::SeqCst)
    }

    /// Bytes of answers that were kept from clients, since the start.
    pub fn replies_lost(&self) -> u64 {
        self.shared.replies_lost.load(Ordering::SeqCst)
    }

    /// When each connection came.
    pub fn accepted(&self) -> Vec<Instant> {
        self.shared.accepted.lock().unwrap().clone()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.cut();
        drop(self.stop.take());
    }
}

async fn connection(client: TcpStream, shared: Arc<Shared>, number: usize) {
    let mut cuts = shared.cuts.subscribe();
    cuts.mark_unchanged();
    if *shared.fault.borrow() == Fault::Refuse {
        return;
    }
    let target = *shared.target.lock().unwrap();
    let Ok(server) = TcpStream::connect(target).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    tokio::select! {
        () = pump(client_read, server_write, &shared, number, Way::Up) => {}
        () = pump(server_read, client_write, &shared, number, Way::Down) => {}
        _ = cuts.changed() => {}
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Up,
    Down,
}

/// Hands bytes on until an end closes. A closed end closes the other: HTTP/2 has no use for half of a connection.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared, number: usize, way: Way) {
    let mut swallowed = shared.swallowed.subscribe();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => Some(read),
            _ = swallowed.wait_for(|numbers| number < *numbers) => None,
        };
        // What was read as the hole opened stays in it.
        if number < *shared.swallowed.borrow() {
            std::future::pending::<()>().await;
        }
        let Some(Ok(len @ 1..)) = read else { return };
        let now = *shared.fault.borrow();
        if now == Fault::LoseReplies && way == Way::Down {
            shared.replies_lost.fetch_add(len as u64, Ordering::SeqCst);
            continue;
        }
        if let Fault::Throttle(bytes_per_second) = now {
            tokio::time::sleep(Duration::from_secs_f64(len as f64 / bytes_per_second as f64)).await;
        }
        let len = match now {
            Fault::RefuseAfter(most) if way == Way::Up => {
                let left = most.saturating_sub(shared.bytes_up.load(Ordering::SeqCst));
                len.min(usize::try_from(left).unwrap_or(usize::MAX).max(1))
            }
            _ => len,
        };
        if to.write_all(&buffer[..len]).await.is_err() {
            return;
        }
        if way == Way::Up {
            let total = shared.bytes_up.fetch_add(len as u64, Ordering::SeqCst) + len as u64;
            if matches!(now, Fault::RefuseAfter(most) if total >= most) {
                shared.fault.send_replace(Fault::Refuse);
                shared.cuts.send_modify(|cuts| *cuts += 1);
            }
        }
    }
}
