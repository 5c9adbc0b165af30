//! `cargo run -p sim -- --seeds 0..1000`: see `sim --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    sim::cli::main()
}
