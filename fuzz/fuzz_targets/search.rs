//! A search over a resource: first line the query, the rest the resource. Whatever is found must be found by the plan.
#![no_main]

use std::collections::BTreeSet;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sealdex_fhir::search::{Condition, Handling, Joined, narrow, pairs, parse};
use sealdex_schema::Schema;

static SCHEMA: LazyLock<Schema> = LazyLock::new(Schema::fhir_r4);

fuzz_target!(|data: &str| {
    let (query, resource) = data.split_once('\n').unwrap_or((data, "{}"));
    for kind in ["Observation", "Patient", "Encounter"] {
        let Ok(search) = parse(kind, &pairs(query), Handling::Lenient) else { continue };
        let set = || BTreeSet::from(["Patient/p".to_owned()]);
        let joined: Vec<Joined> = search
            .conditions
            .iter()
            .map(|c| match c {
                Condition::Own(_) => Joined::Own,
                Condition::Chain { .. } => Joined::RefersTo(set()),
                Condition::Has { .. } => Joined::Is(set()),
            })
            .collect();
        let _ = narrow(&search, &joined, &SCHEMA);
        if let Ok(json) = serde_json::from_str(resource) {
            let _ = search.holds(&json, &joined);
        }
    }
});
