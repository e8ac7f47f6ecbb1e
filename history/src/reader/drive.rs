//! Waits for asynchronous requests from blocking code.

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

/// A runtime to wait on.
pub(super) enum Driver {
    /// Somebody else's.
    Theirs(Handle),
    /// `None` only while it is dropped.
    Own(Option<Runtime>),
}

impl Driver {
    /// The runtime of the calling thread, or a new one.
    pub(super) fn of_here() -> io::Result<Self> {
        if let Ok(handle) = Handle::try_current() {
            return Ok(Self::Theirs(handle));
        }
        Ok(Self::Own(Some(Builder::new_current_thread().enable_all().build()?)))
    }

    /// Blocks the thread until `request` is done.
    pub(super) fn run<T>(&self, request: impl Future<Output = T>) -> T {
        match self {
            Self::Theirs(handle) => handle.block_on(request),
            Self::Own(runtime) => {
                runtime.as_ref().expect("only `drop` takes it, and has it alone").block_on(request)
            }
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // A runtime may not be waited for where tasks run, and a reader may be dropped there.
        if let Self::Own(runtime) = self
            && let Some(runtime) = runtime.take()
        {
            runtime.shutdown_background();
        }
    }
}
