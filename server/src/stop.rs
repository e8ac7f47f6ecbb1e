//! Waiting for the end.

use tokio::sync::watch;

/// Comes true when `stop` is true, or nobody is left who could say so.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    // The guard that `wait_for` gives must not live across another await.
    let _ = stop.wait_for(|stop| *stop).await;
}
