//! Waits for asynchronous requests from blocking code.

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

/// What to wait with.
pub(super) enum Driver {
    /// Nothing: files of this machine are read by the thread that waits, so that their bytes are freed where they were
    /// allocated. By way of a runtime's threads an export of a month held twice the memory.
    Here,
    /// Somebody else's.
    Theirs(Handle),
    /// `None` only while it is dropped.
    Own(Option<Runtime>),
}

impl Driver {
    /// The runtime of the calling thread; without one, a new one if `is_local` does not say that none is needed.
    pub(super) fn of_here(is_local: bool) -> io::Result<Self> {
        if let Ok(handle) = Handle::try_current() {
            return Ok(Self::Theirs(handle));
        }
        if is_local {
            return Ok(Self::Here);
        }
        Ok(Self::Own(Some(Builder::new_current_thread().enable_all().build()?)))
    }

    /// Blocks the thread until `request` is done.
    pub(super) fn run<T>(&self, request: impl Future<Output = T>) -> T {
        match self {
            Self::Here => futures_executor::block_on(request),
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
