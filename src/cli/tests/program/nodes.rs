//! A gate of several nodes, through the program itself: founded, killed, dealt new shares, joined and left.
#![allow(clippy::unwrap_used)] // a test stops where it cannot go on

use crate::stage::{Gate, Stage, free_port, ids};

/// What both patients do about their observations.
fn of_both(stage: &Stage, arguments: &[&str]) {
    let both = ["--section", "observations", "--owner", "Patient/a", "--owner", "Patient/b"];
    stage.own(&[arguments, &both].concat());
}

/// Three nodes, and ana may read what was written of both patients.
fn granted() -> Stage {
    let stage = Stage::set(&["ana", "ben"], Gate::TwoOfThree);
    of_both(&stage, &["grant", "--to", "ana"]);
    assert_eq!(stage.finds("ana", "treatment"), ids(&["w1", "w2"]));
    stage
}

#[test]
fn nodes_are_refreshed_added_replaced_and_left_out_and_no_patient_takes_part() {
    let all = ids(&["w1", "w2"]);
    let mut stage = granted();
    let shown = stage.done(&["domain", "show", "--dir", "domain"]);
    assert!(shown.contains("The gate takes 2 of its 3 nodes; epoch 0") && shown.contains("node 3"), "{shown}");
    // Of a token key that was changed, a node that joins later learns too.
    stage.done(&["member", "rotate-token", "--member", "ana"]);
    // Refreshed: the same nodes, other shares.
    let done = stage.done(&["domain", "reshare", "--dir", "domain"]);
    assert!(done.contains("epoch 1, 2 of nodes 1, 2, 3"), "{done}");
    assert_eq!(stage.finds("ana", "treatment"), all);
    // One is lost for good, and another takes its place.
    stage.kill_node(1);
    std::fs::remove_file(stage.path("gate-1.redb")).unwrap();
    assert_eq!(stage.finds("ana", "treatment"), all, "two of three");
    let port = free_port();
    stage.ports.push(port);
    let url = format!("http://127.0.0.1:{port}");
    let refused = stage.refused(&["domain", "reshare", "--dir", "domain", "--with", "4"]);
    assert!(refused.contains("prepare node 4 with `sealdex domain add-node`"), "{refused}");
    let prepared = stage.done(&["domain", "add-node", "--dir", "domain", "--url", &url]);
    assert!(prepared.contains("Node 4 is prepared"), "{prepared}");
    let refused = stage.refused(&["domain", "reshare", "--dir", "domain", "--with", "4", "--without", "1"]);
    assert!(refused.contains("node 4 cannot take part") && refused.contains("nothing was changed"), "{refused}");
    stage.own(&["grant", "--to", "ben", "--section", "observations", "--owner", "Patient/a"]);
    stage.start_node(4);
    let done = stage.done(&["domain", "reshare", "--dir", "domain", "--with", "4", "--without", "1"]);
    assert!(done.contains("epoch 2, 2 of nodes 2, 3, 4"), "{done}");
    // The new one knows what was granted, revoked and bridged before, and serves where another is gone.
    stage.until_level(4);
    stage.kill_node(2);
    assert_eq!(stage.finds("ana", "treatment"), all, "with the new one");
    assert_eq!(stage.finds("ben", "treatment"), ids(&["w1"]));
    stage.own(&["revoke", "--from", "ana", "--section", "observations", "--owner", "Patient/b"]);
    assert_eq!(stage.finds("ana", "treatment"), ids(&["w1"]));
    stage.start_node(2);
    stage.until_level(2);
    // From now on it takes all three.
    let done = stage.done(&["domain", "reshare", "--dir", "domain", "--threshold", "3"]);
    assert!(done.contains("epoch 3, 3 of nodes 2, 3, 4"), "{done}");
    assert_eq!(stage.finds("ana", "treatment"), ids(&["w1"]));
    stage.kill_node(3);
    let refused = stage.refused(&["query", "--member", "ana", r#"{"resource":"Observation"}"#]);
    assert!(refused.contains("2 of the 3 nodes it takes answer"), "{refused}");
    // What each of them holds is in order.
    stage.kill_node(4);
    let store = stage.path("gate-4.redb");
    let checked = stage.done(&["gate", "check", "--keys", "domain/gate-4.key", "--store", store.to_str().unwrap()]);
    assert!(checked.contains("every sealed scalar opens"), "{checked}");
}

#[test]
fn what_was_acknowledged_outlives_every_node_killed_in_turn() {
    let mut stage = granted();
    // A search is on the record of every node that took part, and is told once.
    let searched = |stage: &Stage| stage.own(&["access-log", "--owner", "Patient/a"]).matches("searched, and").count();
    assert_eq!(searched(&stage), 1);
    stage.finds("ana", "treatment");
    stage.kill_node(3);
    stage.finds("ana", "treatment");
    assert_eq!(searched(&stage), 3, "and one of those it took is always there to tell");
    stage.start_node(3);
    stage.until_level(3);
    for node in 1..=3 {
        of_both(&stage, &["grant", "--to", "ben", "--purpose", &format!("p{node}")]);
        stage.kill_node(node);
        of_both(&stage, &["revoke", "--from", "ana"]);
        assert_eq!(stage.finds("ana", "treatment"), ids(&[]), "revoked while node {node} was gone");
        assert_eq!(stage.finds("ben", &format!("p{node}")).len(), 2, "granted before node {node} was killed");
        stage.start_node(node);
        stage.until_level(node);
        let other = node % 3 + 1;
        stage.kill_node(other);
        assert_eq!(stage.finds("ana", "treatment"), ids(&[]), "node {node} was told");
        stage.start_node(other);
        stage.until_level(other);
        of_both(&stage, &["grant", "--to", "ana"]);
        assert_eq!(stage.finds("ana", "treatment").len(), 2, "and granted anew");
    }
}
