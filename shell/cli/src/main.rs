//! `quorate`: the one binary. Commands for people and scripts, and the server itself.
//!
//! Results go to standard output, everything else to standard error. Exit codes are in
//! [`failure::Exit`] and documented in `docs/reference/cli.md`.

mod args;
mod bench;
mod chaos;
mod client;
mod commands;
mod dev;
mod failure;
mod judge;
mod keyspaces;
mod leases;
mod locks;
mod lost;
mod output;
mod plan;
mod server_command;
mod status;
mod tree;
mod txn;
mod value;
mod watch;

use std::process::ExitCode;

use args::{BenchCommand, Cli, Command};
use clap::Parser;
use failure::Failure;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return not_parsed(&error),
    };
    let json = cli.json;
    if let Command::Check(args) = &cli.command {
        return judge::run(args, json);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::from(error).report(json),
    };
    if let Command::Chaos(args) = cli.command {
        return runtime.block_on(chaos::run(args.command, json));
    }
    match runtime.block_on(run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(json),
    }
}

/// As clap tells it; or as JSON, to a program that asked for that. Help and versions are no failures.
fn not_parsed(error: &clap::Error) -> ExitCode {
    let json =
        std::env::args_os().take_while(|argument| argument != "--").any(|argument| argument == "--json");
    if !error.use_stderr() || !json {
        error.exit();
    }
    let text = error.render().to_string();
    let message = text.trim().strip_prefix("error: ").unwrap_or(&text).lines().next().unwrap_or_default();
    Failure::usage(message).next("see --help").report(true)
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let json = cli.json;
    match cli.command {
        Command::Dev(args) => dev::run(args, json).await,
        Command::Server(args) => server_command::run(args).await,
        Command::Put(args) => commands::put(args, json).await,
        Command::Get(args) => commands::get(args, json).await,
        Command::Delete(args) => commands::delete(args, json).await,
        Command::List(args) => commands::list(args, json).await,
        Command::Keyspace(args) => keyspaces::run(args.command, json).await,
        Command::Apply(args) => keyspaces::apply(&args, json).await,
        Command::Plan(args) => plan::run(args, json).await,
        Command::Txn(args) => txn::run(args, json).await,
        Command::Watch(args) => watch::run(args, json).await,
        Command::Compact(args) => watch::compact(args, json).await,
        Command::LostWrites(args) => lost::run(args, json).await,
        Command::Lease(args) => leases::run(args.command, json).await,
        Command::Lock(args) => locks::lock(args, json).await,
        Command::Election(args) => locks::election(args.command, json).await,
        Command::Value(args) => value::run(args.command, json).await,
        Command::Import(args) => tree::import::run(args, json).await,
        Command::Export(args) => tree::export::run(args, json).await,
        Command::Status(args) => status::run(&args.connection, json).await,
        Command::Bench(mut args) => match args.command.take() {
            Some(BenchCommand::Failover(args)) => bench::failover::run(args, json).await,
            None => bench::run(args, json).await,
        },
        Command::Check(_) | Command::Chaos(_) => unreachable!("has exit codes of its own"),
        Command::Explain(args) => commands::explain(&args, json),
        Command::Version => {
            commands::version(json);
            Ok(())
        }
        Command::Completions(args) => {
            commands::completions(&args);
            Ok(())
        }
    }
}
