//! A gate of several nodes, over real HTTP: what it answers, with which nodes gone, and what fewer than it takes can do.
#![allow(clippy::unwrap_used)] // a test stops where it cannot go on

use std::{collections::BTreeSet, time::Duration};

use sealdex_client::owner;
use sealdex_crypto::{IdentitySeed, Point, PrincipalId, RecordId, Scalar, shamir::combine, sharing::deal};
use sealdex_fhir::Suite;
use sealdex_gate::{
    GateSecrets,
    backup::restore::check_store,
    secrets::StoreKey,
    store::{
        ConsentStore as _, GrantKey, ReadConsents as _, RedbStore, StoreError, Table, Transaction, WriteConsents as _,
    },
};
use sealdex_net::{Peer, Retry};
use sealdex_tests::{World, servers::Place};
use sealdex_wire::{
    B32, RawPoint,
    auth::sha256,
    codec,
    consent::{Accepted, SubmitRevocations},
    search::{InnerClause, SearchRequest, SearchResponse},
    threshold::{
        BeginResharing, Deal, Dealt, DealtRows, Entry, Partials, PartialsRequest, Reshare, Resharing, ResharingState,
        Sharing, Tagged, TakeTurn, Turn, WithTurns,
    },
};
use serde_bytes::ByteBuf;

/// What somebody gets, by identity.
async fn ask(world: &World, reader: &str, question: &str) -> Result<BTreeSet<String>, String> {
    let doc = Suite::parse(question, None).unwrap().queries.remove(0);
    let answer = world.session(reader).ask(&doc).await;
    answer.map(|a| a.hits.into_iter().map(|h| h.identity).collect()).map_err(|e| e.to_string())
}

const OBSERVATIONS: &str = r#"{"resource":"Observation"}"#;
const PATIENTS: &str = r#"{"resource":"Patient"}"#;

async fn world(readers: &[&str], of: (u16, u16)) -> (tempfile::TempDir, World) {
    let home = tempfile::tempdir().unwrap();
    let mut world = World::shared(home.path(), 6, 2, readers, Place::Process, of).await;
    world.enrol_patients().await;
    world.push_all().await;
    (home, world)
}

/// By a field of section 8b, whose bridging takes the nodes together.
fn by_identifier(world: &World) -> String {
    let record = world.hospitals.iter().flat_map(|h| world.records(h)).find(|r| r.resource_type == "Patient").unwrap();
    let json: serde_json::Value = serde_json::from_slice(&record.bytes).unwrap();
    let identifier = &json["identifier"][0];
    let token = format!("{}|{}", identifier["system"].as_str().unwrap(), identifier["value"].as_str().unwrap());
    format!(r#"{{"resource":"Patient","filters":[{{"field":"identifier","op":"eq","value":"{token}"}}]}}"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn it_answers_as_a_single_gate_does_and_with_nodes_gone() {
    let (_home, mut world) = world(&["ana", "ben"], (3, 2)).await;
    world.grant_everything("ana").await;
    let identified = by_identifier(&world);
    let expected = world.corpus();
    let by = |q: &str| -> BTreeSet<String> {
        let doc = Suite::parse(q, None).unwrap().queries.remove(0);
        expected.ask(&doc, &world.schema).unwrap().0.into_iter().map(|h| h.identity).collect()
    };
    let wanted = [OBSERVATIONS, PATIENTS, &identified].map(&by);
    assert!(wanted.iter().all(|w| !w.is_empty()), "{:?}", wanted.each_ref().map(BTreeSet::len));
    let check = async |world: &World, when: &str| {
        for (question, wanted) in [OBSERVATIONS, PATIENTS, &identified].iter().zip(&wanted) {
            assert_eq!(ask(world, "ana", question).await.as_ref(), Ok(wanted), "{when}: {question}");
        }
        assert_eq!(
            ask(world, "ben", OBSERVATIONS).await,
            Ok(BTreeSet::new()),
            "{when}: nobody has granted him anything"
        );
    };
    check(&world, "all nodes").await;
    for gone in 0..3 {
        world.servers.stop_node(gone).await;
        check(&world, &format!("without node {}", gone + 1)).await;
        world.servers.start_node(gone).await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    check(&world, "all back").await;
    world.servers.stop_node(0).await;
    world.servers.stop_node(2).await;
    let refused = ask(&world, "ana", OBSERVATIONS).await.unwrap_err();
    assert!(refused.contains("of the 2 nodes it takes"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_holds_whichever_nodes_answer_and_a_node_that_was_away_learns_of_it() {
    let (_home, mut world) = world(&["ana"], (3, 2)).await;
    world.grant_everything("ana").await;
    assert!(!ask(&world, "ana", OBSERVATIONS).await.unwrap().is_empty());
    world.servers.stop_node(2).await;
    let keys = &world.readers["ana"];
    let owners: Vec<owner::Owner> = world.owners.values().map(|e| e.owner()).collect();
    let revocations = owners.iter().map(|o| o.revocation("test", keys.identity.id(), None)).collect();
    assert!(owner::revoke_all(&world.gate(keys), revocations).await.unwrap() > 0);
    assert_eq!(ask(&world, "ana", OBSERVATIONS).await, Ok(BTreeSet::new()));
    // The one that was away comes back while another goes: it must not serve what it has not heard was revoked.
    world.servers.start_node(2).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    for gone in [0, 1] {
        world.servers.stop_node(gone).await;
        assert_eq!(ask(&world, "ana", OBSERVATIONS).await, Ok(BTreeSet::new()), "without node {}", gone + 1);
        world.servers.start_node(gone).await;
        tokio::time::sleep(Duration::from_millis(2500)).await;
    }
    // And what was granted while it was away can be read with it.
    world.servers.stop_node(1).await;
    world.grant("ana", &["observations".into()], "any").await;
    world.servers.start_node(1).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    world.servers.stop_node(0).await;
    assert!(!ask(&world, "ana", OBSERVATIONS).await.unwrap().is_empty(), "with the one that was away");
}

/// What a node's store is changed to by whoever has its keys.
fn tamper(world: &World, node: usize, change: impl Fn(&StoreKey, &mut dyn Transaction) -> Result<(), StoreError>) {
    let key = StoreKey::derive(&IdentitySeed::from_bytes(&world.servers.node_keys(node).seed.0));
    RedbStore::open(&world.servers.node_store(node)).unwrap().write(|txn| change(&key, txn)).unwrap();
}

/// Every scalar another one; with `consistently`, what they are checked against as well.
fn other_shares(key: &StoreKey, txn: &mut dyn Transaction, consistently: bool) -> Result<(), StoreError> {
    let mut rng = rand::rng();
    let mut other = || deal(&Scalar::random(&mut rng), 2, &[1, 2, 3], &mut rand::rng()).unwrap();
    for (member, _) in txn.range(Table::Bridges, &[], None, usize::MAX)? {
        let (member, dealt) = (PrincipalId(member.try_into().unwrap()), other());
        txn.put_bridge(member, &key.seal_scalar(Table::Bridges, &member.0, &dealt.shares[1].1.to_bytes()))?;
        if consistently {
            txn.put_bridge_commitments(member, &dealt.commitments)?;
        }
    }
    for (grant, _) in txn.range(Table::Grants, &[], None, usize::MAX)? {
        let (grant, dealt) = (GrantKey::parse(&grant).unwrap(), other());
        let mut row = txn.grant(&grant)?.unwrap();
        row.rk = key.seal_scalar(Table::Grants, &grant.to_bytes(), &dealt.shares[1].1.to_bytes());
        txn.put_grant_row(&grant, &row)?;
        if consistently {
            txn.put_grant_commitments(&grant, &dealt.commitments)?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_returns_wrong_results_is_named_by_its_proof_and_left_out() {
    let (_home, mut world) = world(&["ana", "ben", "cleo", "dora", "emil"], (3, 2)).await;
    let identified = by_identifier(&world);
    for reader in ["ana", "ben", "cleo", "dora", "emil"] {
        world.grant_everything(reader).await;
    }
    let wanted = ask(&world, "ana", OBSERVATIONS).await.unwrap();
    for consistently in [false, true] {
        world.servers.stop_node(1).await;
        tamper(&world, 1, |key, txn| other_shares(key, txn, consistently));
        world.servers.start_node(1).await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let mut named = 0;
        // Who leads for whom differs.
        for reader in ["ana", "ben", "cleo", "dora", "emil"] {
            for question in [OBSERVATIONS, &identified] {
                let doc = Suite::parse(question, None).unwrap().queries.remove(0);
                let answer = world.session(reader).ask(&doc).await.unwrap();
                if question == OBSERVATIONS {
                    let found: BTreeSet<String> = answer.hits.into_iter().map(|h| h.identity).collect();
                    assert_eq!(found, wanted, "{reader}, consistently: {consistently}");
                } else {
                    assert_eq!(answer.hits.len(), 1, "{reader}, consistently: {consistently}");
                }
                let of_two = |n: &String| n.starts_with("node 2 of the gate sent a wrong result");
                assert!(answer.notes.iter().all(of_two), "{reader}, {question}: {:?}", answer.notes);
                named += answer.notes.len();
            }
        }
        assert!(named > 0, "nobody was served by the wrong one");
    }
    // It is not dealt on either: who takes its part notices.
    let report = check_store(&world.servers.node_store(0), &secrets(&world, 0));
    assert!(report.is_err(), "a store in use is not checked");
    world.servers.stop_node(0).await;
    assert_eq!(check_store(&world.servers.node_store(0), &secrets(&world, 0)).unwrap().damages, []);
    world.servers.stop_node(1).await;
    tamper(&world, 1, |key, txn| other_shares(key, txn, false));
    let report = check_store(&world.servers.node_store(1), &secrets(&world, 1)).unwrap();
    assert!(report.damaged > 3 && report.damages.iter().all(|d| d.what == "it is not this node's share"), "{report:?}");
}

fn secrets(world: &World, node: usize) -> GateSecrets {
    GateSecrets::from_json(codec::to_json(world.servers.node_keys(node)).as_bytes()).unwrap()
}

/// A member's search at a node, with these turns.
async fn led(
    world: &World,
    reader: &str,
    node: usize,
    request: &SearchRequest,
    turns: Vec<Turn>,
) -> Result<(), String> {
    let with = WithTurns { request: codec::to_cbor(request).into(), points: request.clause.points(), turns };
    let answer = peer(world, reader, node).post_cbor::<_, SearchResponse>("/v1/shared/search", &with).await;
    answer.map(drop).map_err(|e| e.to_string())
}

fn peer(world: &World, reader: &str, node: usize) -> Peer {
    let (server, keys) = (&world.ceremony.roster.gates[node], &world.readers[reader]);
    let peer = Peer::new(world.http.clone(), &server.url, "test", server.id, Some(keys.identity.clone())).unwrap();
    peer.with_retry(Retry::NONE)
}

#[tokio::test(flavor = "multi_thread")]
async fn fewer_nodes_than_it_takes_neither_answer_nor_bridge() {
    let (_home, mut world) = world(&["ana", "ben"], (3, 2)).await;
    world.grant_everything("ana").await;
    let request = |purpose: &str| SearchRequest {
        clause: InnerClause::Bridged {
            merged: false,
            point: RawPoint(Scalar::from_u64(7).unwrap().base_mul().to_bytes()),
        },
        purpose: purpose.into(),
        sort: None,
        limit: 10,
        cursor: None,
        prove: false,
    };
    let search = request("treatment");
    let turn = async |reader: &str, node: usize, request: &SearchRequest, spent: [u64; 3]| -> Turn {
        let hash = B32(sha256(&[&codec::to_cbor(request)]));
        let taken = TakeTurn { request: hash, spent, points: request.clause.points() };
        peer(&world, reader, node).post_cbor("/v1/turns", &taken).await.unwrap()
    };
    // As it should be.
    let good = turn("ana", 1, &search, [1, 0, 0]).await;
    led(&world, "ana", 0, &search, vec![good.clone()]).await.unwrap();
    let refused = async |what: &str, turns: Vec<Turn>, says: &str| {
        let refused = led(&world, "ana", 0, &search, turns).await.unwrap_err();
        assert!(refused.contains(says), "{what}: {refused}");
    };
    refused("no turn", vec![], "2 of which must agree").await;
    refused("more than it takes", vec![good.clone(), good.clone()], "2 of which must agree").await;
    refused("the lead's own", vec![turn("ana", 0, &search, [1, 0, 0]).await], "two turns are of one node").await;
    refused("somebody else's", vec![turn("ben", 1, &search, [1, 0, 0]).await], "for another request or caller").await;
    let other = turn("ana", 1, &request("research"), [1, 0, 0]).await;
    refused("for another request", vec![other], "for another request or caller").await;
    refused("that charged less", vec![turn("ana", 1, &search, [0, 0, 0]).await], "for another request or caller").await;
    refused("of no node", vec![Turn { node: 9, ..good.clone() }], "of no node").await;
    refused("of another epoch", vec![Turn { epoch: 1, ..good.clone() }], "epoch 0").await;
    refused("signed by another", vec![Turn { node: 3, ..good.clone() }], "did not sign it").await;
    refused("too old", vec![Turn { at: good.at - 500_000, ..good.clone() }], "too old").await;
    let point = |n: u64| RawPoint(Scalar::from_u64(n).unwrap().base_mul().to_bytes());
    let bent = Turn { partials: vec![point(5)], ..good.clone() };
    refused("with a wrong part", vec![bent], "node 2 of the gate has or sent a wrong result").await;
    refused("without its proof", vec![Turn { proof: None, ..good.clone() }], "(no proof)").await;
    refused("with too few parts", vec![Turn { partials: vec![], ..good.clone() }], "not one part for each").await;
    // A node asked as if it were the gate, and asked for its part without a grant.
    let plain = peer(&world, "ana", 0).post_cbor::<_, SearchResponse>("/v1/search", &search).await.unwrap_err();
    assert!(plain.to_string().contains("2 of which must agree"), "{plain}");
    // Who is told of a match by a lead gets nothing from a node that knows no grant.
    let all = SearchRequest { clause: InnerClause::All, ..request("treatment") };
    let (hash, none) = (B32(sha256(&[&codec::to_cbor(&all)])), Vec::new());
    let taken = TakeTurn { request: hash, spent: [0; 3], points: none.clone() };
    let turn: Turn = peer(&world, "ana", 1).post_cbor("/v1/turns", &taken).await.unwrap();
    let with = WithTurns { request: codec::to_cbor(&all).into(), points: none, turns: vec![turn] };
    let found: SearchResponse = peer(&world, "ana", 0).post_cbor("/v1/shared/search", &with).await.unwrap();
    let capsules: Vec<Tagged> = found
        .groups
        .iter()
        .map(|g| Tagged {
            id: RecordId(*g.ids.first_chunk().unwrap()),
            provider: g.provider,
            records: 1,
            tag: g.tag.clone().unwrap(),
        })
        .collect();
    assert!(!capsules.is_empty());
    let part = async |reader: &str, capsules: &[Tagged]| -> Partials {
        let request =
            PartialsRequest { purpose: "treatment".into(), search: hash, prove: false, capsules: capsules.to_vec() };
        peer(&world, reader, 2).post_cbor("/v1/partials", &request).await.unwrap()
    };
    let patients =
        |p: &Partials| p.partials.iter().flatten().filter(|p| p.reader != world.trusted().everyone.id()).count();
    assert!(patients(&part("ana", &capsules).await) > 0);
    assert_eq!(patients(&part("ben", &capsules).await), 0, "he has the tags, and no grant");
    let bent: Vec<Tagged> = capsules.iter().map(|c| Tagged { id: RecordId([9; 16]), ..c.clone() }).collect();
    assert!(part("ana", &bent).await.partials.iter().all(Option::is_none), "a tag holds for its own record");
    // One node's part of a capsule is of no use, and two are.
    let (first, second) = (&found.groups[0], part("ana", &capsules).await.partials[0].clone().unwrap());
    let parts = [(1, first.reencapsulated), (3, second.point)].map(|(n, p)| (n, Point::from_bytes(&p.0).unwrap()));
    let whole = combine(&parts).unwrap();
    assert!(parts.iter().all(|(_, part)| *part != whole));
    world.ceremony.revoke("ben").unwrap();
    world.announce(Vec::new()).await;
    let request =
        PartialsRequest { purpose: "treatment".into(), search: hash, prove: false, capsules: capsules.clone() };
    let refused = peer(&world, "ben", 2).post_cbor::<_, Partials>("/v1/partials", &request).await.unwrap_err();
    assert!(refused.to_string().contains("is no active member"), "{refused}");
    world.servers.stop_node(1).await;
    world.servers.stop_node(2).await;
    assert!(ask(&world, "ana", OBSERVATIONS).await.is_err(), "one node alone does not answer");
}

/// What leads a gate of these nodes to its next epoch.
fn next(world: &World, dealers: &[u16]) -> BeginResharing {
    let roster = &world.ceremony.roster;
    let from = roster.sharing.unwrap();
    let resharing = Resharing {
        domain: roster.domain.clone(),
        from,
        to: Sharing { epoch: from.epoch + 1, ..from },
        nodes: roster.gates.clone(),
        dealers: dealers.to_vec(),
        made_at: 1,
    };
    BeginResharing { resharing: world.ceremony.sign(&resharing), roster: world.ceremony.sign(roster) }
}

async fn tell(world: &World, node: usize, begin: Option<BeginResharing>) -> Result<(), String> {
    let node = world.authority(&world.ceremony.roster.gates[node]).with_retry(Retry::NONE);
    let told: Result<Accepted, _> = node.post_json("/v1/reshare", &Reshare { begin }).await;
    told.map(drop).map_err(|e| e.to_string())
}

async fn state(world: &World, node: usize) -> ResharingState {
    let node = world.authority(&world.ceremony.roster.gates[node]);
    for _ in 0..400 {
        let state: ResharingState = node.post_json("/v1/reshare/state", &()).await.unwrap();
        if state.complete.is_some() || state.failed.is_some() {
            return state;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the resharing does not end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resharing_is_the_authoritys_and_names_who_deals_something_else() {
    let (_home, mut world) = world(&["ana"], (3, 2)).await;
    world.grant_everything("ana").await;
    let wanted = ask(&world, "ana", OBSERVATIONS).await.unwrap();
    // Only the authority, only from here to the next epoch, and by as many as it takes.
    let begin = next(&world, &[1, 2]);
    let request = Reshare { begin: Some(begin.clone()) };
    let by_ana: Result<Accepted, _> = peer(&world, "ana", 0).post_json("/v1/reshare", &request).await;
    assert!(by_ana.unwrap_err().to_string().contains("authority"));
    let changed = |f: &dyn Fn(&mut Resharing)| {
        let mut resharing = begin.resharing.peek().unwrap();
        f(&mut resharing);
        Some(BeginResharing { resharing: world.ceremony.sign(&resharing), ..begin.clone() })
    };
    for (bad, says) in [
        (changed(&|r| r.from.epoch = 3), "in epoch 0"),
        (changed(&|r| r.to.epoch = 0), "next epoch"),
        (changed(&|r| r.dealers = vec![1]), "takes 2"),
        (changed(&|r| r.dealers = vec![1, 1]), "takes 2"),
        (changed(&|r| r.dealers = vec![1, 7]), "takes 2"),
        (changed(&|r| r.to.threshold = 1), "more than half"),
        (changed(&|r| r.domain = "other".into()), "another domain"),
    ] {
        let refused = tell(&world, 0, bad).await.unwrap_err();
        assert!(refused.contains(says), "{refused}");
    }
    // A roster with another sharing is no way around it.
    let kept = world.ceremony.roster.clone();
    world.ceremony.roster.sharing = Some(Sharing { threshold: 2, epoch: 1 });
    world.ceremony.roster.version += 1;
    let gates: Vec<Peer> = kept.gates.iter().map(|g| world.authority(g)).collect();
    let refused = world.ceremony.announce(&gates, &world.authority(&kept.clouds[0]), vec![]).await.unwrap_err();
    assert!(refused.to_string().contains("other nodes than this one was dealt shares for"), "{refused}");
    let version = world.ceremony.roster.version;
    world.ceremony.roster = kept;
    world.ceremony.roster.version = version;
    // While it is under way nothing is changed and everything is found; given up, all is as it was.
    for node in 0..3 {
        tell(&world, node, Some(begin.clone())).await.unwrap();
    }
    let same: BTreeSet<_> = [state(&world, 0).await, state(&world, 1).await, state(&world, 2).await]
        .into_iter()
        .map(|s| s.complete.map(|c| c.0).ok_or(s.failed))
        .collect();
    assert!(same.len() == 1 && same.iter().all(Result::is_ok), "{same:?}");
    assert_eq!(ask(&world, "ana", OBSERVATIONS).await, Ok(wanted.clone()));
    let keys = &world.readers["ana"];
    let owner = world.owners.values().next().unwrap().owner();
    let revocation = SubmitRevocations { revocations: vec![owner.revocation("test", keys.identity.id(), None)] };
    let refused: Result<Accepted, _> = peer(&world, "ana", 0).post_json("/v1/revocations", &revocation).await;
    assert!(refused.unwrap_err().to_string().contains("being shared anew"));
    let asks = Deal { epoch: 1, of: Dealt::Grants, after: None };
    let refused = peer(&world, "ana", 0).post_cbor::<_, DealtRows>("/v1/reshare/deal", &asks).await.unwrap_err();
    assert!(refused.to_string().contains("is no node of this gate"), "{refused}");
    for node in 0..3 {
        tell(&world, node, None).await.unwrap();
    }
    let done: Accepted = peer(&world, "ana", 0).post_json("/v1/revocations", &revocation).await.unwrap();
    assert!(done.count > 0);
    let left = ask(&world, "ana", OBSERVATIONS).await.unwrap();
    assert!(left.len() < wanted.len());
    // A node that deals something else than its share is named by those who receive it.
    world.servers.stop_node(1).await;
    tamper(&world, 1, |key, txn| other_shares(key, txn, false));
    world.servers.start_node(1).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let begin = next(&world, &[1, 2]);
    for node in 0..3 {
        tell(&world, node, Some(begin.clone())).await.unwrap();
    }
    let failed = state(&world, 2).await.failed.unwrap();
    assert!(failed.contains("node 2 deals something else than its share"), "{failed}");
    for node in 0..3 {
        tell(&world, node, None).await.unwrap();
    }
    // One that lacks a grant is named with it.
    world.servers.stop_node(2).await;
    let (lost, commitments) = (std::cell::RefCell::new(None), std::cell::RefCell::new(None));
    tamper(&world, 2, |_, txn| {
        let row = txn.range(Table::Grants, &[], None, 1)?.remove(0);
        let key = GrantKey::parse(&row.0).unwrap();
        lost.replace(Some((key.clone(), txn.grant(&key)?.unwrap(), txn.grant_terms(&key)?.unwrap())));
        *commitments.borrow_mut() = txn.grant_commitments(&key)?;
        txn.remove_grant(&key)
    });
    let (key, row, terms) = lost.into_inner().unwrap();
    world.servers.start_node(2).await;
    let begin = next(&world, &[1, 3]);
    for node in 0..3 {
        tell(&world, node, Some(begin.clone())).await.unwrap();
    }
    let failed = state(&world, 0).await.failed.unwrap();
    assert!(failed.contains(&format!("the grant of {} to {}", key.owner, key.reader)), "{failed}");
    for node in 0..3 {
        tell(&world, node, None).await.unwrap();
    }
    world.servers.stop_node(2).await;
    tamper(&world, 2, |_, txn| {
        txn.put_grant(&key, &row, &terms)?;
        txn.put_grant_commitments(&key, commitments.borrow().as_ref().unwrap())
    });
    world.servers.start_node(2).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    // Without the one that was wrong, by the two that are honest, it gets shares that are right again.
    let begin = next(&world, &[1, 3]);
    for node in 0..3 {
        tell(&world, node, Some(begin.clone())).await.unwrap();
    }
    for node in [0, 2, 1] {
        let state = state(&world, node).await;
        assert_eq!(state.failed, None, "node {}", node + 1);
    }
    world.ceremony.roster.sharing = Some(begin.resharing.peek().unwrap().to);
    world.ceremony.roster.version += 1;
    world.announce(Vec::new()).await;
    world.servers.stop_node(0).await;
    world.pack = world.ceremony.pack(sealdex_schema::FHIR_R4);
    assert_eq!(ask(&world, "ana", OBSERVATIONS).await, Ok(left), "with the one that was wrong");
}

/// A search for everything, led by one node with the turn of another.
async fn everything(world: &World, lead: usize, other: usize, cursor: Option<ByteBuf>) -> SearchResponse {
    let (clause, purpose) = (InnerClause::All, "treatment".to_owned());
    let request = SearchRequest { clause, purpose, sort: None, limit: 3, cursor, prove: false };
    let hash = B32(sha256(&[&codec::to_cbor(&request)]));
    let taken = TakeTurn { request: hash, spent: [0; 3], points: Vec::new() };
    let turn: Turn = peer(world, "ana", other).post_cbor("/v1/turns", &taken).await.unwrap();
    let with = WithTurns { request: codec::to_cbor(&request).into(), points: Vec::new(), turns: vec![turn] };
    peer(world, "ana", lead).post_cbor("/v1/shared/search", &with).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn endings_are_told_to_every_node_any_node_goes_on_and_one_alone_takes_and_answers_nothing() {
    let (_home, mut world) = world(&["ana"], (3, 2)).await;
    world.grant_everything("ana").await;
    // A page of one node's search, and the next of another's.
    let ids = |r: &SearchResponse| -> BTreeSet<Vec<u8>> {
        r.groups.iter().flat_map(|g| g.ids.chunks(16).map(<[u8]>::to_vec)).collect()
    };
    let first = everything(&world, 0, 1, None).await;
    let next = everything(&world, 1, 2, first.cursor.clone()).await;
    assert!(ids(&first).len() == 3 && ids(&next).len() == 3 && ids(&first).is_disjoint(&ids(&next)));
    // The program tells every node itself: none is believed that it hands on.
    let keys = &world.readers["ana"];
    let owner = world.owners.values().next().unwrap().owner();
    let revocation = owner.revocation("test", keys.identity.id(), None);
    owner::revoke_all(&world.gate(keys), vec![revocation]).await.unwrap();
    for node in 0..3 {
        world.servers.stop_node(node).await;
        let own = world.ceremony.roster.gates[node].id;
        let store = RedbStore::open(&world.servers.node_store(node)).unwrap();
        let taken: Vec<Entry> = store
            .read(|s| s.range(Table::Entries, &[], None, usize::MAX))
            .unwrap()
            .iter()
            .map(|(_, row)| codec::from_cbor(row).unwrap())
            .collect();
        let by_itself = taken.iter().filter(|e| e.origin == own && e.path == "/v1/revocations").count();
        assert_eq!(by_itself, 1, "node {}", node + 1);
    }
    // One that has heard from no other since it started answers nothing, and keeps what it is told for them.
    world.servers.start_node(0).await;
    let taken = TakeTurn { request: B32([0; 32]), spent: [0; 3], points: Vec::new() };
    let refused = peer(&world, "ana", 0).post_cbor::<_, Turn>("/v1/turns", &taken).await.unwrap_err();
    assert!(refused.to_string().contains("is out of touch"), "{refused}");
    let another = world.owners.values().nth(1).unwrap().owner();
    let revocations = vec![another.revocation("test", keys.identity.id(), None)];
    let request = SubmitRevocations { revocations };
    let told: Result<Accepted, _> = peer(&world, "ana", 0).post_json("/v1/revocations", &request).await;
    let refused = told.unwrap_err();
    assert!(refused.to_string().contains("kept by 1 of the 2 nodes it takes"), "{refused}");
    for node in [1, 2] {
        world.servers.start_node(node).await;
    }
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let tombstone = [another.id().0, keys.identity.id().0].concat();
    world.servers.stop_node(2).await;
    let store = RedbStore::open(&world.servers.node_store(2)).unwrap();
    let row = store.read(|s| s.get(Table::Tombstones, &[tombstone.as_slice(), &[0]].concat())).unwrap();
    assert!(row.is_some(), "and hands it on when they are there");
}

/// How long it takes to share many scalars anew; SEALDEX_PATIENTS sets how many patients grant a dozen sections each.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures, and takes minutes: cargo test -p sealdex-tests --release --test whole threshold -- --ignored --nocapture"]
#[allow(clippy::print_stdout)] // a measurement prints
async fn many_scalars_shared_anew() {
    let home = tempfile::tempdir().unwrap();
    let patients = std::env::var("SEALDEX_PATIENTS").ok().and_then(|p| p.parse().ok()).unwrap_or(2000);
    let mut world = World::shared(home.path(), patients, 1, &["ana"], Place::Process, (3, 2)).await;
    world.enrol_patients().await;
    let started = std::time::Instant::now();
    let grants = world.grant_everything("ana").await;
    println!("{grants} grants in {:.1} s", started.elapsed().as_secs_f64());
    let begin = next(&world, &[1, 2]);
    let started = std::time::Instant::now();
    for node in 0..3 {
        tell(&world, node, Some(begin.clone())).await.unwrap();
    }
    let mut complete = 0;
    while complete < 3 {
        complete = 0;
        for gate in &world.ceremony.roster.gates {
            let state: ResharingState = world.authority(gate).post_json("/v1/reshare/state", &()).await.unwrap();
            assert_eq!(state.failed, None);
            complete += usize::from(state.complete.is_some());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let dealt = started.elapsed().as_secs_f64();
    world.ceremony.roster.sharing = Some(begin.resharing.peek().unwrap().to);
    world.ceremony.roster.version += 1;
    let started = std::time::Instant::now();
    world.announce(Vec::new()).await;
    let switched = started.elapsed().as_secs_f64();
    let each = dealt * 1e6 / grants as f64;
    println!("dealt and laid aside at three nodes in {dealt:.1} s ({each:.0} µs a grant), switched in {switched:.1} s");
}
