//! `quorate check`.

use std::path::PathBuf;

use clap::Args;

/// `quorate check`.
#[derive(Clone, Debug, Args)]
#[command(after_help = r#"Examples:
  quorate check history.jsonl
  quorate check history.jsonl --svg counterexample.svg
  quorate check transactions.jsonl --checker strict-serializable --json
  quorate check --list

A history has an event a line, in the order of recording. This one is invalid, since the read began
after the write had ended, and missed it:
  {"process":1,"type":"invoke","time_us":10,"op":{"f":"write","key":"x","value":"a"}}
  {"process":1,"type":"ok","time_us":20,"op":{"f":"write","key":"x","value":"a"}}
  {"process":2,"type":"invoke","time_us":30,"op":{"f":"read","key":"x"}}
  {"process":2,"type":"ok","time_us":40,"op":{"f":"read","key":"x","value":null}}
The whole format is described in docs/reference/history-format.md. No cluster is asked anything: the
history may be of any system.

Exit codes: 0 valid, 1 invalid, 2 no history or wrong usage, 3 not decided, which is no pass."#)]
pub struct Check {
    /// The history, JSON lines; `-` is standard input
    #[arg(required_unless_present = "list")]
    pub history: Option<PathBuf>,
    /// Judge by this checker, not by those that apply to every such history; may be repeated
    #[arg(long, value_name = "NAME")]
    pub checker: Vec<String>,
    /// List the checkers
    #[arg(long)]
    pub list: bool,
    /// Draw the first counterexample to this file, as an SVG timeline
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Give up the search for an order of a key's operations after so many steps; memory grows with them
    #[arg(long, value_name = "STEPS", default_value_t = ::check::BUDGET_DEFAULT)]
    pub budget: u64,
    /// Let answers be so much older than they may be, in milliseconds, for clocks that run differently
    #[arg(long, value_name = "MS", default_value_t = ::check::CLOCK_SLACK_MS)]
    pub clock_slack_ms: u64,
}
