//! Stopping the process when going on could break a promise.

#[cfg(test)]
mod tests;

use std::{
    any::Any,
    io::{self, Write},
    panic::{self, AssertUnwindSafe},
};

use storage::StoreError;

/// Exit code when an invariant of the program broke (`EX_SOFTWARE` of sysexits).
pub const EXIT_BROKEN_INVARIANT: i32 = 70;
/// Exit code when a disk failed, or holds damaged data (`EX_IOERR` of sysexits).
pub const EXIT_DISK: i32 = 74;

/// Says why, and ends the process at once. The files stay as they are; a restart recovers from them.
pub(crate) fn stop_process(code: i32, reason: &str) -> ! {
    if tracing::enabled!(tracing::Level::ERROR) {
        tracing::error!(exit_code = code, "the node stops: {reason}");
    } else {
        // No subscriber: the reason must not be lost.
        let _ = writeln!(io::stderr(), "quorate: the node stops: {reason}");
    }
    let _ = io::stdout().flush();
    let _ = io::stderr().flush();
    std::process::exit(code)
}

/// Runs the body of a thread that the node cannot live without.
pub(crate) fn guard<T>(thread: &str, body: impl FnOnce() -> T) -> T {
    match panic::catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => value,
        Err(payload) => {
            let what = panic_text(&*payload);
            stop_process(EXIT_BROKEN_INVARIANT, &format!("the {thread} thread broke an invariant: {what}"))
        }
    }
}

/// The exit code for a failure of the state store.
pub(crate) fn store_exit_code(error: &StoreError) -> i32 {
    match error {
        StoreError::BadSnapshot { .. } => EXIT_BROKEN_INVARIANT,
        _ => EXIT_DISK,
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
}
