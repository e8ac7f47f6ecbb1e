//! Ctrl-C and SIGTERM while something is being written: tidy up, say what happened, exit as the shell expects.

use std::process;
use std::sync::mpsc;
use std::thread;

use super::super::Failure;

/// What a shell takes for "ended by SIGINT" and "by SIGTERM".
const EXIT_INTERRUPTED: i32 = 130;
#[cfg(unix)]
const EXIT_TERMINATED: i32 = 143;

/// Has the first Ctrl-C or SIGTERM from now on run `tidy`, which gets the words `interrupted` or `terminated`, and end the
/// process. Nothing else of the process runs after it.
pub(super) fn on_interrupt(tidy: impl FnOnce(&'static str) + Send + 'static) -> Result<(), Failure> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(Failure::other)?;
    let (listening, is_listening) = mpsc::sync_channel(1);
    let wait = move || {
        let (word, code) = runtime.block_on(async {
            // Listens before anybody is told so: a signal between would end the process with nothing tidied.
            let signals = Signals::new();
            // Whoever waits has gone only if the process ends.
            let _ = listening.send(());
            signals.next().await
        });
        tidy(word);
        process::exit(code);
    };
    thread::Builder::new().name("muster-signals".to_owned()).spawn(wait).map_err(Failure::other)?;
    // Without an answer the thread has gone, and signals do what they do without it.
    let _ = is_listening.recv();
    Ok(())
}

#[cfg(unix)]
struct Signals {
    interrupts: Option<tokio::signal::unix::Signal>,
    terminations: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        Self {
            interrupts: signal(SignalKind::interrupt()).ok(),
            terminations: signal(SignalKind::terminate()).ok(),
        }
    }

    async fn next(mut self) -> (&'static str, i32) {
        tokio::select! {
            () = received(&mut self.interrupts) => ("interrupted", EXIT_INTERRUPTED),
            () = received(&mut self.terminations) => ("terminated", EXIT_TERMINATED),
        }
    }
}

/// Never, where the system does not tell of it.
#[cfg(unix)]
async fn received(signal: &mut Option<tokio::signal::unix::Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> Self {
        Self
    }

    async fn next(self) -> (&'static str, i32) {
        match tokio::signal::ctrl_c().await {
            Ok(()) => ("interrupted", EXIT_INTERRUPTED),
            Err(_) => std::future::pending().await,
        }
    }
}
