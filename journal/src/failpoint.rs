//! Places where a test can have the process killed. Nothing at all without the feature `failpoints`.

/// Kills the process (SIGKILL) if `MUSTER_FAILPOINT` is `name:N` and this is the Nth time that it comes by here.
#[cfg(feature = "failpoints")]
pub fn failpoint(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Armed {
        name: String,
        hits_left: AtomicU64,
    }
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

    let armed = ARMED.get_or_init(|| {
        let setting = std::env::var("MUSTER_FAILPOINT").ok()?;
        let (name, hit) = setting.rsplit_once(':')?;
        let hits_left = AtomicU64::new(hit.parse().ok().filter(|&n| n > 0)?);
        Some(Armed { name: name.to_owned(), hits_left })
    });
    if let Some(armed) = armed
        && armed.name == name
        && armed.hits_left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        // The signal is on its way: nothing more may happen in this thread.
        loop {
            std::thread::park();
        }
    }
}

/// Nothing: the feature `failpoints` is off.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn failpoint(_name: &str) {}
