//! `quorate chaos`.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    path::PathBuf,
};

use clap::{Args, Subcommand};

/// `quorate chaos`.
#[derive(Clone, Debug, Args)]
pub struct ChaosArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ChaosCommand,
}

/// What there is to do.
#[derive(Clone, Debug, Subcommand)]
pub enum ChaosCommand {
    /// Run a scenario against a cluster of real processes, and judge what clients saw.
    Run(Box<ChaosRun>),
    /// List the built-in scenarios, and the faults that scenarios can name.
    List,
}

/// `quorate chaos run`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  quorate chaos list
  quorate chaos run all
  quorate chaos run partitions --nodes 5 --minutes 10 --report report.html
  quorate chaos run my-scenario.toml --history histories --seed 7
  quorate chaos run all --start-etcd /usr/bin/etcd
  quorate chaos run quiet --etcd http://127.0.0.1:2379,http://127.0.0.1:22379

It starts a cluster of this very program on 127.0.0.1, in a temporary directory, hurts it as the scenario
says while clients work, heals it, and judges everything that clients saw. Ctrl-C ends it early: it heals
and judges what there is; a second Ctrl-C ends it at once. It ends no process but those it started.

What of a scenario cannot be done to real processes, or not on this machine, is named as skipped. The
schedule of faults comes from the seed; what the processes make of it does not, so a run that failed is
best looked at in its report and its histories (--history), which `quorate check` judges again.

Exit codes: 0 valid, 1 invalid, 2 it could not be run, or wrong usage, 3 not decided, which is no pass.")]
pub struct ChaosRun {
    /// A scenario: a file (TOML), or the name of a built-in one
    pub scenario: String,
    /// How many nodes [default: as the scenario says, else 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=9))]
    pub nodes: Option<u16>,
    /// For how many minutes faults happen [default: as the scenario says, else 1]
    #[arg(long, value_name = "MINUTES", value_parser = parse_minutes)]
    pub minutes: Option<f64>,
    /// Draw everything from this [default: by chance, and printed]
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// Write a report to this file: one HTML page that needs nothing else
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Keep the histories of what clients saw in this directory
    #[arg(long, value_name = "DIR")]
    pub history: Option<PathBuf>,
    /// Judge this program instead of the running one: another version of quorate
    #[arg(long, value_name = "PATH")]
    pub server: Option<PathBuf>,
    /// Judge an etcd v3 cluster that runs: where its members serve clients, http://HOST:PORT by commas
    #[arg(long, value_name = "URLS", value_delimiter = ',', value_parser = parse_endpoint, conflicts_with_all = ["server", "start_etcd", "nodes"])]
    pub etcd: Vec<SocketAddr>,
    /// Its processes on this machine, in the order of --etcd: they may be paused, and are never ended
    #[arg(long, value_name = "PIDS", value_delimiter = ',', requires = "etcd")]
    pub etcd_pids: Vec<u32>,
    /// Judge etcd: start a cluster of this program, with links between its peers that can be hurt
    #[arg(long, value_name = "PATH", conflicts_with = "server")]
    pub start_etcd: Option<PathBuf>,
    /// Give up the search for an order of a key's operations after so many steps; memory grows with them
    #[arg(long, value_name = "STEPS", default_value_t = ::check::BUDGET_DEFAULT)]
    pub budget: u64,
}

fn parse_minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|_| format!("`{text}` is no number of minutes"))?;
    if minutes.is_finite() && (0.05..=360.0).contains(&minutes) {
        Ok(minutes)
    } else {
        Err(format!("`{text}` is not from 0.05 to 360 minutes"))
    }
}

fn parse_endpoint(text: &str) -> Result<SocketAddr, String> {
    let form = || format!("`{text}` is not http://HOST:PORT");
    let address = text.strip_prefix("http://").ok_or_else(form)?.trim_end_matches('/');
    address.to_socket_addrs().ok().and_then(|mut found| found.next()).ok_or_else(form)
}
