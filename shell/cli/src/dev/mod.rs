//! `quorate dev`: a cluster on this machine, each node its own process.
//!
//! Guarantee: no node outlives the command. Stopped by a signal, it stops them and waits; killed, it
//! takes the pipe with it whose end tells them to stop.

mod events;
mod layout;
mod patience;
mod ports;
mod process;
mod supervisor;

pub use events::{Event, What};
pub use layout::Layout;
pub use ports::Ports;
pub use supervisor::Supervisor;

use std::collections::BTreeSet;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{args::Dev, failure::Failure, output::say};

/// Runs the command until it is told to stop.
///
/// # Errors
/// If the directory or a port cannot be used, or no node is left running.
pub async fn run(args: Dev, json: bool) -> Result<(), Failure> {
    // Before anything starts: a signal from here on is answered by stopping in order.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let layout = Layout::open(&args.data_dir, args.nodes)?;
    if !json {
        let nodes =
            if layout.nodes() == 1 { "one node".to_owned() } else { format!("{} nodes", layout.nodes()) };
        say!("quorate dev: {nodes}, data in {}", layout.dir().display());
    }
    let (mut supervisor, mut events) =
        Supervisor::start(layout, Ports::new(args.http_port), !args.no_restart).await?;
    let mut unsettled: BTreeSet<u16> = (0..supervisor.layout().nodes()).collect();
    let mut stopping = false;
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            () = either(&mut interrupt, &mut terminate) => {
                if stopping {
                    supervisor.kill();
                } else {
                    supervisor.stop();
                    if !json {
                        say!("stopping; the data stays (again to kill)");
                    }
                }
                stopping = true;
                continue;
            }
        };
        // The channel closes when the last node's task has ended.
        let Some(event) = event else { break };
        show(&event, json);
        if matches!(event.what, What::Ready { .. })
            && unsettled.remove(&event.node)
            && unsettled.is_empty()
            && !json
        {
            say!("{}", how_to_try(&supervisor, args.http_port));
        }
    }
    supervisor.finished().await;
    if stopping {
        return Ok(());
    }
    let log = supervisor.layout().log_file(0);
    Err(Failure::error("no node is left running")
        .next(format!("look at the logs, for example {}", log.display())))
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

fn show(event: &Event, json: bool) {
    if json {
        say!("{}", event.json());
    } else if let Some(line) = event.line() {
        say!("{line}");
    }
}

fn how_to_try(supervisor: &Supervisor, base: u16) -> String {
    let nodes = supervisor.layout().nodes();
    let endpoints: Vec<_> =
        (0..nodes).map(|node| format!("http://{}", supervisor.ports().http(node))).collect();
    let mut text = "\nTry it, in another terminal:\n".to_owned();
    if base != crate::args::DEV_HTTP_PORT {
        text += &format!("  export QUORATE_ENDPOINTS={}\n", endpoints.join(","));
    }
    text += "  quorate put greeting hello\n  quorate get greeting\n  quorate status\n";
    if nodes >= 3 {
        text += "  kill -9 PID        of any node above: reads and writes go on\n";
    }
    text + "Ctrl-C stops the cluster; its data stays."
}
