//! Measures in how many seeds each planted bug is caught, and by what.
//!
//! `cargo run --profile sim -p sim --features planted --bin catalogue -- --into verify/planted/README.md`

use std::{fs, io, path::PathBuf, process::ExitCode};

use clap::Parser;
use raft_group::Planted;
use sim::catalogue::measure;

/// The measured table stands between these lines.
const BEGIN: &str = "<!-- measured: begin -->\n";
const END: &str = "<!-- measured: end -->";

/// Looks for every planted bug from several seeds on, and prints a row of a table for each.
#[derive(Debug, Parser)]
struct Arguments {
    /// These bugs alone.
    #[arg(long, value_name = "BUG", value_parser = parse_bug)]
    bug: Vec<Planted>,
    /// Print JSON, an object a line, instead of a table.
    #[arg(long)]
    json: bool,
    /// Put the table into this page, between its marks.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["bug", "json"])]
    into: Option<PathBuf>,
}

fn parse_bug(text: &str) -> Result<Planted, String> {
    let known = || Planted::ALL.iter().map(|bug| bug.name()).collect::<Vec<_>>().join(", ");
    Planted::named(text).ok_or_else(|| format!("there is no such bug; there are {}", known()))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let bugs = if arguments.bug.is_empty() { Planted::ALL.to_vec() } else { arguments.bug.clone() };
    match run(&arguments, &bugs) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("catalogue: a bug was not caught");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("catalogue: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Answers whether every bug was caught.
fn run(arguments: &Arguments, bugs: &[Planted]) -> io::Result<bool> {
    let (mut table, mut caught) = (String::new(), true);
    if !arguments.json {
        table += "| bug | scenario | caught by | seeds | families |\n|---|---|---|---|---|\n";
        print!("{table}");
    }
    for bug in bugs {
        let row = measure(*bug).map_err(io::Error::other)?;
        caught &= row.seeds.iter().all(Option::is_some);
        match arguments.json {
            true => println!("{}", serde_json::to_string(&row)?),
            false => println!("{}", row.markdown()),
        }
        table += &format!("{}\n", row.markdown());
    }
    if let Some(path) = &arguments.into {
        let page = fs::read_to_string(path)?;
        let parts = page.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
        let (before, after) = parts.ok_or_else(|| io::Error::other("the page has no marks for the table"))?;
        fs::write(path, format!("{before}{BEGIN}{table}{END}{after}"))?;
    }
    Ok(caught)
}
