//! What the command line accepts, refuses and says about it.

use clap::CommandFactory;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_flag_and_command_is_documented() {
    fn check(command: &clap::Command) {
        assert!(command.get_about().is_some(), "{} has no description", command.get_name());
        for argument in command.get_arguments() {
            assert!(
                argument.get_help().is_some(),
                "{} {} has no help",
                command.get_name(),
                argument.get_id()
            );
        }
        command.get_subcommands().for_each(check);
    }
    let mut command = Cli::command();
    command.build();
    check(&command);
}

#[test]
fn sensible_lines_are_accepted() {
    for line in [
        "quorate dev",
        "quorate dev --nodes 5 --data-dir d --http-port 9000 --no-restart --json",
        "quorate put k v --if-absent",
        "quorate put k - --if-revision 7 --receipt",
        "quorate put k --file f",
        "quorate put k v --idempotency-key 8e03978e-40d5-43e8-bc93-6894a57f9324",
        "quorate delete k --if-revision 7 --idempotency-key once",
        "quorate get k --endpoints http://a:1,http://b:2 --timeout-ms 100",
        "quorate --json list p --limit 3 --values",
        "quorate server --node 0 --http 127.0.0.1:1 --member 0=localhost:1 --member 1=[::1]:2",
        "quorate bench --clients 1,2 --rate 10",
        "quorate bench failover --kills 3",
        "quorate check - --checker serializable --checker strict-serializable --svg f.svg",
        "quorate check --list",
        "quorate completions zsh",
        "quorate explain NO_QUORUM",
    ] {
        if let Err(error) = parse(line) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn contradictory_lines_are_refused() {
    for line in [
        "quorate",
        "quorate frobnicate",
        "quorate put",
        "quorate check",
        "quorate put k v --if-absent --if-revision 3",
        "quorate put k v --file f",
        "quorate dev --nodes 0",
        "quorate dev --nodes 100",
        "quorate dev --http-port 65400",
        "quorate get k --timeout-ms 0",
        "quorate bench --clients 0",
        "quorate server --member 0:localhost:1",
        "quorate server --member 0=localhost",
        "quorate server --cluster-id xyz",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn percent_encoded_keys_can_hold_any_byte() {
    let Command::Get(get) = parse("quorate get a%00b%2F --percent").expect("valid").command else {
        panic!("get")
    };
    assert_eq!(get.key.bytes(), b"a\0b/");
    let Command::Get(get) = parse("quorate get a%00b").expect("valid").command else { panic!("get") };
    assert_eq!(get.key.bytes(), b"a%00b");
}

#[test]
fn endpoints_default_to_the_dev_cluster() {
    let connection = |endpoints: &[&str]| Connection {
        endpoints: endpoints.iter().map(|&text| text.to_owned()).collect(),
        keyspace: "default".to_owned(),
        timeout_ms: 1,
    };
    assert_eq!(connection(&[]).endpoints().expect("defaults").len(), 3);
    assert_eq!(connection(&[""]).endpoints().expect("defaults").len(), 3);
    assert_eq!(connection(&["h:1"]).endpoints().expect("valid")[0].to_string(), "http://h:1");
    assert!(connection(&["h:1", "nonsense"]).endpoints().is_err());
}
