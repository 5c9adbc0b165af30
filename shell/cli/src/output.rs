//! Lines on standard output, which may have lost its reader.

use std::{
    fmt::Arguments,
    io::{ErrorKind, Write},
};

/// Prints a line; colours reach only a terminal. A reader that is gone (`| head`) is no failure: a
/// cluster that `quorate dev` runs does not end because nobody reads its events.
pub fn line(text: Arguments<'_>) {
    let mut out = anstream::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("cannot write to standard output: {error}")
        }
        _ => {}
    }
}

/// As `println!`, through [`line()`].
macro_rules! say {
    ($($text:tt)*) => {
        crate::output::line(format_args!($($text)*))
    };
}

pub(crate) use say;
