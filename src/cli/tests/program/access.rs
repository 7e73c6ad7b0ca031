//! Who may read, through the program itself: groups, policies, requests, emergencies, carers, labels, members below
//! members, tracing. Everything over real servers.
#![allow(clippy::unwrap_used)] // a test stops where it cannot go on

use crate::stage::{Gate, Stage, ids, patient, weight};

#[test]
fn groups_policies_requests_labels_and_epochs() {
    consent(Gate::Single);
}

#[test]
fn groups_policies_requests_labels_and_epochs_at_three_nodes() {
    consent(Gate::TwoOfThree);
}

fn consent(gate: Gate) {
    let s = Stage::set(&["ana", "ben", "cem", "house"], gate);
    let a = ["--owner", "Patient/a"];
    s.done(&["group", "found", "--member", "house", "--name", "ward", "ana", "ben"]);
    s.own(&[&["grant"], &a[..], &["--section", "observations", "--to", "ward@house", "--newcomers", "later"]].concat());
    assert_eq!(s.finds("ana", "treatment"), ids(&["w1"]), "not what bears a label");
    assert_eq!(s.finds("house", "treatment"), ids(&[]), "its manager is not in it");
    let later = |days: &str| {
        let policy =
            ["--name", "w", "--to", "ward@house", "--newcomers", "later", "--purpose", "audit", "--days", days];
        s.own(&[&["policy", "set", "--owner", "Patient/b"], &policy[..]].concat())
    };
    later("1");
    s.done(&["group", "add", "--member", "house", "--name", "ward", "cem"]);
    assert!(!later("365").contains("(0 grants)"), "what is about to end is renewed");
    assert_eq!((s.finds("ana", "audit"), s.finds("cem", "audit")), (ids(&["w2"]), ids(&[])), "and means whom it meant");
    assert_eq!(s.finds("cem", "treatment"), ids(&[]), "a newcomer sees nothing of before");
    let gone = s.done(&["group", "remove", "--member", "house", "--name", "ward", "ben"]);
    assert!(gone.contains("13 grants are rotated"), "{gone}");
    assert_eq!((s.finds("ben", "treatment"), s.finds("ana", "treatment")), (ids(&[]), ids(&["w1"])));
    // The next epoch: what is pushed from now on is for the newcomer too.
    s.own(&[&["consent", "advance"], &a[..], &["--section", "observations"]].concat());
    s.write("records/more.ndjson", &weight("w3", "a", ""));
    s.done(&["push", "--provider", "h1", "records"]);
    assert_eq!((s.finds("cem", "treatment"), s.finds("ana", "treatment")), (ids(&["w3"]), ids(&["w1", "w3"])));

    // "The house may read everything but notes, psychiatric records included, for treatment and research."
    let policy = [
        "--name",
        "gp",
        "--to",
        "house",
        "--except",
        "notes",
        "--label",
        "psychiatric",
        "--purpose",
        "treatment",
        "--purpose",
        "research",
    ];
    s.own(&[&["policy", "set"], &a[..], &policy[..]].concat());
    for purpose in ["treatment", "research"] {
        assert_eq!(s.finds("house", purpose), ids(&["m1", "w1", "w3"]));
    }
    assert!(s.own(&[&["consent", "show"], &a[..]].concat()).contains("observations/psychiatric (0)"));
    assert!(s.own(&[&["consent", "apply"], &a[..]].concat()).starts_with("0 grants"));
    let refused = s.refused(&[
        "grant",
        "--wallet",
        "w.key",
        "--domain",
        "domain/domain.json",
        "--owner",
        "Patient/a",
        "--all-sections",
        "--label",
        "none",
        "--to",
        "ana",
    ]);
    assert!(refused.contains("no label \"none\"; there are: psychiatric"), "{refused}");

    // A request, approved for less than was asked; one declined.
    let id = s.principal("Patient/a");
    let ask = [
        "request",
        "make",
        "--member",
        "ben",
        "--patient",
        &id,
        "--section",
        "observations",
        "--section",
        "notes",
        "--reason",
        "second opinion",
    ];
    s.done(&ask);
    assert!(s.own(&[&["request", "list"], &a[..]].concat()).contains("second opinion"));
    s.own(&[&["request", "approve"], &a[..], &["--number", "1", "--section", "observations", "--days", "7"]].concat());
    assert_eq!(s.finds("ben", "treatment"), ids(&["w1", "w3"]));
    s.done(&ask);
    s.own(&[&["request", "decline"], &a[..], &["--number", "2"]].concat());
    let made = s.done(&["request", "made", "--member", "ben"]);
    assert!(made.contains("approved") && made.contains("declined"), "{made}");

    // Export, revoke, import.
    s.own(&[&["consent", "export"], &a[..], &["--out", "consent.json"]].concat());
    let revoked = s.own(&[&["revoke"], &a[..], &["--all-sections", "--from", "house"]].concat());
    assert!(revoked.contains("epochs begun"), "{revoked}");
    assert_eq!((s.finds("house", "treatment"), s.finds("ana", "treatment")), (ids(&[]), ids(&["w1", "w3"])));
    s.own(&[&["consent", "import"], &a[..], &["--file", "consent.json"]].concat());
    assert_eq!(s.finds("house", "research"), ids(&["m1", "w1", "w3"]));
}

#[test]
fn emergencies_carers_members_below_members_and_tracing() {
    care(Gate::Single);
}

#[test]
fn emergencies_carers_members_below_members_and_tracing_at_three_nodes() {
    care(Gate::TwoOfThree);
}

fn care(gate: Gate) {
    let s = Stage::set(&["ana", "ben", "cem"], gate);
    let (a, id) = (["--owner", "Patient/a"], s.principal("Patient/a"));
    let dormant =
        ["--all-sections", "--purpose", "any", "--to", "ana", "--waker", "ana", "--waker", "ben", "--minutes", "30"];
    s.own(&[&["grant"], &a[..], &dormant[..]].concat());
    assert_eq!(s.finds("ana", "treatment"), ids(&[]));
    s.done(&["emergency", "ask", "--member", "ana", "--patient", &id, "--minutes", "20", "--reason", "unconscious"]);
    let listed = s.done(&["emergency", "list", "--member", "ben"]);
    let wake = listed.lines().find(|l| l.contains("waits")).unwrap().split_whitespace().nth(1).unwrap().to_owned();
    let refused = s.refused(&["emergency", "sign", "--member", "ana", "--id", &wake]);
    assert!(refused.contains("a second person must"), "{refused}");
    s.done(&["emergency", "sign", "--member", "ben", "--id", &wake]);
    assert_eq!(s.finds("ana", "treatment"), ids(&["w1"]));
    let log = s.own(&[&["access-log"], &a[..]].concat());
    assert!(log.contains("WOKE the emergency grant to ana") && log.contains("EMERGENCY: searched"), "{log}");
    s.own(&[&["emergency", "close"], &a[..], &["--id", &wake]].concat());
    assert_eq!(s.finds("ana", "treatment"), ids(&[]));

    s.own(&[&["grant"], &a[..], &["--section", "observations", "--to", "ben"]].concat());
    s.own(&[&["carer", "add"], &a[..], &["--carer", "ben"]].concat());
    s.done(&["carer", "grant", "--member", "ben", "--patient", &id, "--section", "observations", "--to", "cem"]);
    assert_eq!(s.finds("cem", "treatment"), ids(&["w1"]));
    s.own(&[&["carer", "remove"], &a[..], &["--carer", "ben"]].concat());
    assert_eq!((s.finds("cem", "treatment"), s.finds("ben", "treatment")), (ids(&[]), ids(&["w1"])));

    // A department and its physician; what the department pushed, by the name of the hospital too.
    s.done(&["member", "enrol", "--member", "h1", "--name", "ward", "--role", "provider", "--out", "ward"]);
    s.done(&["member", "enrol", "--member", "ward", "--name", "dr", "--role", "user", "--out", "dr"]);
    s.write("of-ward/all.ndjson", &[patient("c"), weight("w9", "c", "")].join("\n"));
    s.done(&["owners", "enrol", "--provider", "ward", "--wallet", "w.key", "of-ward"]);
    s.done(&["push", "--provider", "ward", "of-ward"]);
    s.own(&["grant", "--owner", "Patient/c", "--owner", "Patient/b", "--all-sections", "--to", "h1/ward/dr"]);
    let from = |source: &str| {
        let question =
            format!(r#"{{"resource":"Observation","filters":[{{"field":"source","op":"eq","value":"{source}"}}]}}"#);
        let found = s.done(&["query", "--member", "dr", "--format", "csv", &question]);
        found.lines().count() - 1
    };
    assert_eq!((from("h1/ward"), from("h1")), (1, 2));
    s.done(&["member", "rotate-token", "--member", "dr"]);
    assert_eq!(from("h1"), 2, "with a new token key");
    let trace = s.done(&["domain", "trace", "--dir", "domain", "dr/member.key", "--revoke"]);
    let said = ["This is the key of h1/ward/dr", "enrolled by h1/ward, below h1", "It did reach", "is revoked"];
    assert!(said.iter().all(|part| trace.contains(part)), "{trace}");
    let refused = s.refused(&["query", "--member", "dr", r#"{"resource":"Observation"}"#]);
    assert!(refused.contains("no active member"), "{refused}");

    // A successor, and a member who may only count.
    s.done(&["domain", "revoke", "--dir", "domain", "--name", "ben"]);
    s.done(&[
        "domain",
        "enrol",
        "--dir",
        "domain",
        "--name",
        "ben2",
        "--role",
        "user",
        "--succeeds",
        "ben",
        "--out",
        "ben2",
    ]);
    assert!(s.done(&["member", "take-over", "--member", "ben2", "--old", "ben"]).starts_with("1 grants"));
    assert_eq!(s.finds("ben2", "treatment"), ids(&["w1"]));
    s.done(&[
        "domain",
        "enrol",
        "--dir",
        "domain",
        "--name",
        "stat",
        "--role",
        "user",
        "--counts-from",
        "2",
        "--out",
        "stat",
    ]);
    s.own(&["grant", "--all-owners", "--all-sections", "--purpose", "research", "--to", "stat"]);
    let counted = s.done(&["count", "--member", "stat", r#"{"resource":"Observation"}"#]);
    assert!(counted.starts_with("2 patients, 2 records"), "{counted}");
    assert!(s.refused(&["query", "--member", "stat", r#"{"resource":"Observation"}"#]).contains("count and not read"));
    s.done(&[
        "domain",
        "budget",
        "--dir",
        "domain",
        "--name",
        "cem",
        "--tokens",
        "0",
        "--ranges",
        "0",
        "--entries",
        "0",
    ]);
    let refused = s.refused(&["query", "--member", "cem", "Observation?code=x"]);
    assert!(refused.contains("429") && refused.contains("larger budget"), "{refused}");
}
