//! `quorate value`: operations on typed values, and reads of them.

use std::{ffi::OsStr, fmt::Write};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value as Json, json};

use crate::{
    args::{
        bytes_of,
        value::{Changing, Looking, ValueCommand},
    },
    client::{Condition, api::encode},
    commands::{self, written},
    failure::{Exit, Failure},
    output::say,
    tree::keys::readable,
};

/// Runs the command.
///
/// # Errors
/// If the cluster refuses, or there is no such key, field or member.
pub async fn run(command: ValueCommand, json: bool) -> Result<(), Failure> {
    match command {
        ValueCommand::Incr(args) => {
            let operation = within(args.field.as_deref(), json!({"increment": {"by": args.by}}));
            change(&args.key.bytes(), operation, &args.changing, json).await
        }
        ValueCommand::Reset(args) => {
            let operation = within(args.field.as_deref(), json!({"reset": {}}));
            change(&args.key.bytes(), operation, &args.changing, json).await
        }
        ValueCommand::Add(args) => {
            let operation =
                within(args.field.as_deref(), json!({"add": {"members": members(&args.members)}}));
            change(&args.key.bytes(), operation, &args.changing, json).await
        }
        ValueCommand::Remove(args) => {
            let operation =
                within(args.field.as_deref(), json!({"remove": {"members": members(&args.members)}}));
            change(&args.key.bytes(), operation, &args.changing, json).await
        }
        ValueCommand::PutField(args) => {
            let operation = json!({"put": {"field": text(&args.field), "value": text(&args.value)}});
            change(&args.key.bytes(), operation, &args.changing, json).await
        }
        ValueCommand::RemoveField(args) => {
            let operation = json!({"remove_field": {"field": text(&args.field)}});
            change(&args.key.bytes(), operation, &args.changing, json).await
        }
        ValueCommand::Zadd(args) => {
            let operation = json!({"score": {"member": text(&args.member), "score": finite(args.score)?}});
            change(&args.key.bytes(), operation, &args.changing, json).await
        }
        ValueCommand::Zincr(args) => {
            let operation =
                json!({"increment_score": {"member": text(&args.member), "by": finite(args.by)?}});
            change(&args.key.bytes(), operation, &args.changing, json).await
        }
        ValueCommand::Show(args) => show(&args.key.bytes(), "part=whole", &args.looking, json).await,
        ValueCommand::Members(args) => {
            let start = args.start.as_deref().map(bytes_of).unwrap_or_default();
            let part = format!("part=members&start={}&limit={}", encode(&start), args.limit);
            show(&args.key.bytes(), &part, &args.looking, json).await
        }
        ValueCommand::Member(args) => {
            let part = format!("part=member&member={}", encode(&bytes_of(&args.member)));
            show(&args.key.bytes(), &part, &args.looking, json).await
        }
        ValueCommand::Field(args) => {
            let part = format!("part=field&field={}", encode(&bytes_of(&args.field)));
            show(&args.key.bytes(), &part, &args.looking, json).await
        }
        ValueCommand::Zrange(args) => {
            let mut part =
                format!("part=scores&skip={}&limit={}&descending={}", args.skip, args.limit, args.reverse);
            for (name, bound) in [("min", args.min), ("max", args.max)] {
                if let Some(bound) = bound {
                    let bound = finite(bound)?.to_string();
                    write!(part, "&{name}={}", encode(bound.as_bytes())).expect("a string takes all");
                }
            }
            show(&args.key.bytes(), &part, &args.looking, json).await
        }
    }
}

async fn change(key: &[u8], operation: Json, args: &Changing, json: bool) -> Result<(), Failure> {
    let condition = match args.if_revision {
        _ if args.if_absent => Condition::Absent,
        Some(revision) => Condition::Revision(revision),
        None => Condition::Always,
    };
    let under_key = args.idempotency_key.as_deref();
    let keyspace = written(&args.connection, &args.writing)?;
    let (keyspace, repeat) = commands::under_key(keyspace, under_key);
    let document = json!({"operations": [operation]}).to_string();
    let answer = keyspace.operate(key, document.into(), condition, repeat).await;
    let answer = answer.map_err(|error| commands::failure(error, under_key.is_some()))?;
    let mut body: Json = serde_json::from_slice(&answer.body).map_err(|error| {
        Failure::new(Exit::Error, format!("the answer is not JSON: {error}"))
            .next("it was applied; read the value to see what it is")
    })?;
    if json {
        body["attempts"] = answer.attempts.into();
        say!("{body}");
        return Ok(());
    }
    say!("{}", done(&body["answers"][0], &body["revision"]));
    if args.receipt {
        say!("{:#}", body["receipt"]);
    }
    Ok(())
}

/// What an operation did, in a word; of a number, the number alone.
fn done(answer: &Json, revision: &Json) -> String {
    let number = |name: &str| answer.get(name).filter(|number| number.is_number());
    match (number("value"), number("score"), number("added"), number("removed")) {
        (Some(value), ..) => value.to_string(),
        (_, Some(score), ..) => score.to_string(),
        (_, _, Some(added), _) => format!("added {added} at revision {revision}"),
        (_, _, _, Some(removed)) => format!("removed {removed} at revision {revision}"),
        _ => format!("written at revision {revision}"),
    }
}

async fn show(key: &[u8], part: &str, args: &Looking, json: bool) -> Result<(), Failure> {
    let keyspace = commands::read_from(&args.connection, &args.reading)?;
    let answer = keyspace.value(key, part).await?;
    let mut body: Json = serde_json::from_slice(&answer.body)
        .map_err(|error| Failure::error(format!("the answer is not JSON: {error}")))?;
    let missing = match (&body["present"], &body["value"]) {
        (Json::Bool(false), _) => Some("member"),
        (_, Json::Array(fields)) if part.starts_with("part=field") && fields.is_empty() => Some("field"),
        _ => None,
    };
    if json {
        body["attempts"] = answer.attempts.into();
        say!("{body}");
    } else if missing.is_none() {
        lines(&body, part.starts_with("part=field")).iter().for_each(|line| say!("{line}"));
    }
    if args.receipt {
        eprintln!("{:#}", body["receipt"]);
    }
    match missing {
        Some(what) => Err(Failure::new(Exit::NotFound, format!("{} has no such {what}", readable(key)))
            .next("print all of it with `quorate value show`")),
        None => Ok(()),
    }
}

/// A value for a person: one member, field or number on each line.
fn lines(body: &Json, alone: bool) -> Vec<String> {
    let scored = |item: &Json| format!("{} {}", plain(&item["member"]), item["score"]);
    let all = |items: &Json, line: &dyn Fn(&Json) -> String| {
        items.as_array().map(|items| items.iter().map(line).collect()).unwrap_or_default()
    };
    if body["present"].is_boolean() {
        let score = &body["score"];
        let of_set = if score.is_null() { String::new() } else { format!(" {score} {}", body["rank"]) };
        return vec![format!("yes{of_set}")];
    }
    if body["members"].is_array() {
        return all(&body["members"], &plain);
    }
    if body["scores"].is_array() {
        return all(&body["scores"], &scored);
    }
    let in_field = |value: &Json| match value {
        Json::Array(members) => members.iter().map(plain).collect::<Vec<_>>().join(" "),
        value => plain(value),
    };
    match body["kind"].as_str() {
        Some("set") => all(&body["value"], &plain),
        Some("sorted_set") => all(&body["value"], &scored),
        Some("map") if alone => all(&body["value"], &|field| in_field(&field["value"])),
        Some("map") => {
            all(&body["value"], &|field| format!("{} {}", plain(&field["field"]), in_field(&field["value"])))
        }
        _ => vec![plain(&body["value"])],
    }
}

/// Text, or bytes that are none, escaped.
fn plain(value: &Json) -> String {
    let bytes = value["base64"].as_str().and_then(|text| BASE64_STANDARD.decode(text).ok());
    match (value, bytes) {
        (Json::String(text), _) => readable(text.as_bytes()),
        (_, Some(bytes)) => readable(&bytes),
        (value, None) => value.to_string(),
    }
}

fn within(field: Option<&OsStr>, operation: Json) -> Json {
    match field {
        Some(field) => json!({"within": {"field": text(field), "operation": operation}}),
        None => operation,
    }
}

fn members(members: &[std::ffi::OsString]) -> Vec<Json> {
    members.iter().map(|member| text(member)).collect()
}

fn text(argument: &OsStr) -> Json {
    match argument.to_str() {
        Some(text) => text.into(),
        None => json!({"base64": BASE64_STANDARD.encode(bytes_of(argument))}),
    }
}

fn finite(score: f64) -> Result<f64, Failure> {
    if score.is_finite() { Ok(score) } else { Err(Failure::usage("a score is a finite number")) }
}
