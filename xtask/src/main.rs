//! Chores of the repository: `cargo xtask tidy` holds the layout and the two laws.

use std::{path::PathBuf, process::ExitCode};

mod tidy;

const USAGE: &str = "usage: cargo xtask tidy

  tidy   check the layout, the documentation and the laws that the compiler cannot check;
         prints one line per finding and exits 1 if there is any";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["tidy"] => match tidy::run(&root()) {
            Ok(findings) if findings.is_empty() => {
                println!("tidy: nothing to complain about");
                ExitCode::SUCCESS
            }
            Ok(findings) => {
                findings.iter().for_each(|finding| eprintln!("tidy: {finding}"));
                ExitCode::FAILURE
            }
            Err(error) => {
                eprintln!("tidy could not run: {error}");
                ExitCode::FAILURE
            }
        },
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().expect("xtask lies in the workspace").to_path_buf()
}
