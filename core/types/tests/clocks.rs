//! Runs `testdata/clocks/*.txt`, where each command is answered on its own line behind ` -> `; `UPDATE=1` writes the
//! answers anew. And the page that teaches clocks shows the script's numbers.

mod clock_script;

use std::{fs, path::Path};

use clock_script::Run;

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The script with its answers, and what ran.
fn run(script: &str) -> (String, Run) {
    let (mut run, mut output) = (Run::default(), String::new());
    for line in script.lines() {
        let command = line.split(" -> ").next().expect("split gives something");
        if command.is_empty() || command.starts_with('#') {
            output += command;
        } else {
            output += &format!("{command} -> {}", run.step(command)).replace(" -> ok", "");
        }
        output += "\n";
    }
    (output, run)
}

#[test]
fn scripts() {
    let mut paths: Vec<_> =
        fs::read_dir(folder().join("testdata/clocks")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        let (actual, _) = run(&fs::read_to_string(&path).unwrap());
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &actual).unwrap();
        }
        assert_eq!(actual, fs::read_to_string(&path).unwrap(), "{}; UPDATE=1 accepts", path.display());
    }
}

/// Every event of the script is a row of the page's table, and its values are in the drawing.
#[test]
fn the_page_shows_the_script() {
    let (_, run) = run(&fs::read_to_string(folder().join("testdata/clocks/three_nodes.txt")).unwrap());
    let concepts = folder().join("../../docs/concepts");
    let page = fs::read_to_string(concepts.join("clocks.md")).unwrap();
    let drawing = fs::read_to_string(concepts.join("clocks.svg")).unwrap();
    assert_eq!(run.events.len(), 8);
    for (name, event) in &run.events {
        let row = format!(
            "| {name} | {} | {} | {} | {} | {} | {} |",
            event.node,
            event.what,
            event.wall_ms,
            event.lamport,
            event.hlc,
            event.version.past_with_dot()
        );
        assert!(page.contains(&row), "the page has no row\n{row}");
        for value in [event.lamport.to_string(), event.hlc.to_string(), event.version.past_with_dot()] {
            let shown = format!(">{value}<");
            assert!(drawing.contains(&shown), "the drawing does not show {shown} of event {name}");
        }
    }
    for line in &run.relations {
        assert!(page.contains(line), "the page does not say\n{line}");
    }
}
