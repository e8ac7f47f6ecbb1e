//! Ctrl-C and SIGTERM while something is being written: tidy up, say what happened, exit as the shell expects.

use std::process;
use std::sync::mpsc;
use std::thread;

use super::super::Failure;

/// What a shell takes for "ended by SIGINT" and "by SIGTERM".
const EXIT_INTERRUPTED: i32 = 130;
const EXIT_TERMINATED: i32 = 143;

/// Has the first Ctrl-C or SIGTERM from now on run `tidy`, which gets the words `interrupted` or `terminated`, and end the
/// process. Nothing else of the process runs after it.
pub(super) fn on_interrupt(tidy: impl FnOnce(&'static str) + Send + 'static) -> Result<(), Failure> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(Failure::other)?;
    let (listening, is_listening) = mpsc::sync_channel(1);
    let wait = move || {
        let (word, code) = runtime.block_on(async {
            let mut terminations = terminations();
            // Whoever waits has gone only if the process ends.
            let _ = listening.send(());
            tokio::select! {
                _ = tokio::signal::ctrl_c() => ("interrupted", EXIT_INTERRUPTED),
                () = terminations.next() => ("terminated", EXIT_TERMINATED),
            }
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
struct Terminations(Option<tokio::signal::unix::Signal>);

#[cfg(unix)]
fn terminations() -> Terminations {
    Terminations(tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).ok())
}

#[cfg(unix)]
impl Terminations {
    async fn next(&mut self) {
        match &mut self.0 {
            Some(signal) => drop(signal.recv().await),
            None => std::future::pending().await,
        }
    }
}

#[cfg(not(unix))]
struct Terminations;

#[cfg(not(unix))]
fn terminations() -> Terminations {
    Terminations
}

#[cfg(not(unix))]
impl Terminations {
    async fn next(&mut self) {
        std::future::pending().await
    }
}
