//! Scenarios that are always at hand, by name.

use scenario::{Problem, Scenario};

const TEXTS: [(&str, &str); 6] = [
    ("quiet", include_str!("../scenarios/quiet.toml")),
    ("processes", include_str!("../scenarios/processes.toml")),
    ("partitions", include_str!("../scenarios/partitions.toml")),
    ("links", include_str!("../scenarios/links.toml")),
    ("machines", include_str!("../scenarios/machines.toml")),
    ("all", include_str!("../scenarios/all.toml")),
];

/// All.
///
/// # Errors
/// Never, as a test makes sure.
pub fn built_in() -> Result<Vec<Scenario>, Problem> {
    TEXTS.iter().map(|(name, text)| scenario::parse(name, text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::{Fault, meant};

    #[test]
    fn they_are_scenarios_and_every_fault_is_in_one() {
        let all = built_in().expect("they can be read");
        let names: Vec<String> =
            all.into_iter().flat_map(|scenario| scenario.faults.kinds.unwrap_or_default()).collect();
        assert!(names.iter().all(|name| meant(name).is_some()));
        for fault in Fault::ALL {
            assert!(names.iter().any(|name| name == fault.name()), "{fault} is in no scenario");
        }
    }
}
