//! `quorate export`: keys and values back into a directory tree.
//!
//! Guarantee: nothing is written outside the directory, and what cannot come back is listed; exit
//! code 0 means that everything below the prefix came back.
//! Not promised: one instant. Keys that change while an export runs may be seen before or after.

use std::{io, path::Path, time::Instant};

use serde_json::json;
use tokio::task;
use types::limits::RANGE_ITEMS_MAX;

use super::{
    assemble::Assembler,
    import::{refusal, refused_json},
    place::Place,
    progress::Progress,
};
use crate::{
    args::Export,
    client::api::{Page, PageRequest},
    failure::Failure,
    output::say,
};

/// Runs the command.
///
/// # Errors
/// If the directory cannot be written or is not empty, the cluster does not answer, or keys were refused.
pub async fn run(args: Export, json: bool) -> Result<(), Failure> {
    let started = Instant::now();
    check_empty(&args.dir, args.force)?;
    let keyspace = args.connection.keyspace()?;
    let prefix = crate::args::bytes_of(&args.prefix);
    let place = Place::open(&args.dir).map_err(|error| unwritable(&args.dir, &error))?;
    let mut assembler = Assembler::new(place);
    let progress = Progress::new("export", None, json);
    let mut cursor = None::<String>;
    loop {
        let request =
            PageRequest { prefix: &prefix, limit: RANGE_ITEMS_MAX, cursor: cursor.as_deref(), values: true };
        let page = keyspace.page(request).await?;
        cursor = page.next.clone();
        let bytes =
            page.items.iter().filter_map(|item| item.value.as_ref()).map(|value| value.len() as u64).sum();
        let (before, prefix_bytes) = (assembler.paths(), prefix.len());
        assembler = task::spawn_blocking(move || write_page(assembler, &page, prefix_bytes))
            .await
            .expect("writing does not panic")
            .map_err(|error| unwritable(&args.dir, &error))?;
        (before..assembler.paths()).for_each(|_| progress.add_path());
        progress.add_bytes(bytes);
        if cursor.is_none() {
            break;
        }
    }
    let written = assembler.finish().map_err(|error| unwritable(&args.dir, &error))?;
    progress.finish();
    let seconds = started.elapsed().as_secs_f64();
    if json {
        let summary = json!({
            "event": "exported",
            "files": written.files,
            "links": written.links,
            "empty_directories": written.empty_directories,
            "bytes": written.bytes,
            "seconds": seconds,
            "refused": written.refused.iter().map(refused_json).collect::<Vec<_>>(),
        });
        say!("{summary}");
    } else {
        let (files, links, dirs) = (written.files, written.links, written.empty_directories);
        let size = indicatif::HumanBytes(written.bytes);
        say!("exported {files} files ({size}), {links} links, {dirs} empty directories in {seconds:.1} s");
    }
    refusal("exported", &written.refused, json)
}

fn write_page(mut assembler: Assembler, page: &Page, prefix_bytes: usize) -> io::Result<Assembler> {
    for item in &page.items {
        let key = item.key.get(prefix_bytes..).unwrap_or_default();
        assembler.accept(key, item.value.as_deref().unwrap_or_default())?;
    }
    Ok(assembler)
}

fn check_empty(dir: &Path, force: bool) -> Result<(), Failure> {
    let occupied = match std::fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(unwritable(dir, &error)),
    };
    if occupied && !force {
        return Err(Failure::error(format!("{} is not empty", dir.display()))
            .next("name a new directory, or add --force to replace files of the same names"));
    }
    Ok(())
}

fn unwritable(dir: &Path, error: &io::Error) -> Failure {
    Failure::error(format!("cannot write {}: {error}", dir.display()))
        .next("make room or name another directory, then run the export again with --force")
}
