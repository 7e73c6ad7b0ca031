//! The cloud over real sockets: who may do what, and what it answers.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod support;

use std::time::{Duration, Instant};

use rand::RngExt;
use sealdex_cloud::backup::schedule::BackupPlan;
use sealdex_crypto::RecordId;
use sealdex_net::{clock::now_ms, reply};
use sealdex_wire::{
    ProblemType::{
        BadDocument, Conflict, Forbidden, Internal, Malformed, Overloaded, Stale, TooLarge, Unauthenticated,
    },
    auth::RequestParts,
    codec,
    consent::{Accepted, Bridge, SecretBytes, UpdateRoster},
    ingest::{BatchReceipt, CloudStats},
    limits,
    roster::{Role, Status},
    search::{CloudClause, CloudMatches, CloudSearch, CloudSort, Fetched, WithdrawTickets},
};
use support::{
    domain::{Domain, Running, peer, push, put_roster, refused, search, settled},
    *,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A cloud with a roster.
async fn cloud() -> (tempfile::TempDir, Domain, Running) {
    let dir = tempfile::tempdir().unwrap();
    let domain = Domain::new();
    let running = Running::start(dir.path()).await;
    assert_eq!(put_roster(&domain, running.addr, &domain.roster(1)).await, Ok(1));
    (dir, domain, running)
}

fn ids(matches: &CloudMatches) -> Vec<RecordId> {
    matches.matches.iter().map(|m| m.0).collect()
}

fn packed(ids: &[u64]) -> Vec<u8> {
    ids.iter().flat_map(|&n| record_id(n).0).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn push_search_fetch_and_restart() {
    let (dir, d, running) = cloud().await;
    let (hospital, ward, gate) =
        (d.peer(running.addr, &d.hospital), d.peer(running.addr, &d.ward), d.peer(running.addr, &d.gate));
    let receipt =
        push(&hospital, &d.upload(1, &d.hospital, vec![record(1, 1, &[term(1)]), record(2, 2, &[term(1), term(2)])]))
            .await
            .unwrap();
    assert_eq!((receipt.seq, receipt.records, receipt.duplicate), (1, 2, false));
    let started = Instant::now();
    push(&ward, &d.upload(2, &d.ward, vec![record(3, 1, &[term(1), order_term(9, 5)])])).await.unwrap();
    let stats = settled(&d, running.addr).await;
    assert!(started.elapsed() < Duration::from_secs(1), "searchable within a second");
    assert_eq!((stats.records, stats.batches, stats.accepted, stats.indexed), (2, 2, 2, 2));
    assert!(stats.store_bytes > 0 && stats.index_bytes > 0);

    let found = search(&gate, CloudClause::Terms(term(1).to_vec()), 10).await.unwrap();
    assert_eq!((ids(&found), found.next), (vec![record_id(2), record_id(3)], None));
    assert_eq!(found.providers, [d.hospital.id(), d.ward.id()]);
    assert_eq!(found.matches[1].1, 1);
    assert_eq!(found.matches[1].2, tag(3));
    let first = search(&gate, CloudClause::All, 1).await.unwrap();
    assert_eq!((ids(&first), first.next.map(|n| n.id)), (vec![record_id(2)], Some(record_id(2))));
    // A hospital stands for its wards, a ward for itself.
    assert_eq!(ids(&search(&gate, CloudClause::Source(vec![d.hospital.id()]), 10).await.unwrap()).len(), 2);
    assert_eq!(ids(&search(&gate, CloudClause::Source(vec![d.ward.id()]), 10).await.unwrap()), [record_id(3)]);
    let sort = Some(CloudSort { tag: [9; 8], descending: true });
    let sorted = CloudSearch { clause: CloudClause::All, sort, after: None, limit: 5, prove: None };
    assert_eq!(ids(&gate.post_cbor("/v1/search", &sorted).await.unwrap()), [record_id(3)]);

    let anybody = peer(running.addr, d.cloud, None);
    let fetched: Fetched = anybody.post_cbor("/v1/records", &d.fresh_ticket(packed(&[3, 1, 2]))).await.unwrap();
    let sealed: Vec<_> = fetched.sealed.iter().map(|s| s.as_ref().map(|b| b.to_vec())).collect();
    assert_eq!(sealed, [Some(b"sealed bytes of 3".to_vec()), None, Some(b"sealed bytes of 2".to_vec())]);

    running.stop().await;
    let again = Running::start(dir.path()).await;
    let stats = settled(&d, again.addr).await;
    assert_eq!((stats.records, stats.indexed), (2, 2), "roster, records and index are still there");
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_without_a_roster_is_not_ready() {
    let dir = tempfile::tempdir().unwrap();
    let d = Domain::new();
    let running = Running::start(dir.path()).await;
    let anybody = peer(running.addr, d.cloud, None);
    let get = |path: &'static str| anybody.call(http::Method::GET, path, reply::JSON, Default::default());
    assert!(get("/healthz").await.is_ok());
    assert_eq!(refused(get("/readyz").await), Overloaded);
    assert_eq!(
        refused(push(&d.peer(running.addr, &d.hospital), &d.upload(1, &d.hospital, vec![record(1, 1, &[])])).await),
        Unauthenticated
    );
    put_roster(&d, running.addr, &d.roster(1)).await.unwrap();
    settled(&d, running.addr).await;
    assert!(get("/readyz").await.is_ok());
    let metrics = get("/metrics").await.unwrap();
    assert!(String::from_utf8_lossy(&metrics).contains("sealdex_requests_total"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_newer_rosters_of_the_authority_count() {
    let (_dir, d, running) = cloud().await;
    let put = |roster| {
        let (d, addr) = (&d, running.addr);
        async move { put_roster(d, addr, &roster).await }
    };
    assert_eq!(put(d.roster(1)).await, Ok(0), "the same again changes nothing");
    let mut other = d.roster(1);
    other.members.pop();
    assert_eq!(refused(put(other.clone()).await), Conflict);
    other.version = 3;
    assert_eq!(put(other).await, Ok(1));
    assert_eq!(refused(put(d.roster(2)).await), Conflict);

    let mut telling = d.roster(4);
    telling.members[0].name = Some("St. Elsewhere".into());
    let mut user = d.roster(4);
    user.members[0].role = Role::User;
    let mut elsewhere = d.roster(4);
    elsewhere.domain = "another".into();
    let mut unlisted = d.roster(4);
    unlisted.clouds.clear();
    let mut forged = d.roster(4);
    forged.members[0].keys = forged.members[2].keys;
    let mut ring = d.roster(4);
    ring.members[0].parent = Some(d.ward.id());
    for bad in [telling, user, elsewhere, unlisted, forged, ring] {
        assert_eq!(refused(put(bad).await), BadDocument);
    }
    let by_gate = d.peer(running.addr, &d.gate);
    let update = d.update(&d.roster(5), &d.authority);
    assert_eq!(refused(by_gate.put_json::<_, Accepted>("/v1/roster", &update).await), Forbidden);
    let by_authority = d.peer(running.addr, &d.authority);
    let wrongly_signed = d.update(&d.roster(5), &d.gate);
    assert_eq!(refused(by_authority.put_json::<_, Accepted>("/v1/roster", &wrongly_signed).await), BadDocument);
    let bridges = vec![Bridge { member: d.ward.id(), scalar: Some(SecretBytes([1; 32])), commitments: vec![] }];
    let with_bridges = UpdateRoster { bridges, ..update };
    assert_eq!(refused(by_authority.put_json::<_, Accepted>("/v1/roster", &with_bridges).await), Malformed);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_kept_apart() {
    let (_dir, d, running) = cloud().await;
    let upload = d.upload(1, &d.hospital, vec![record(1, 1, &[])]);
    for who in [&d.gate, &d.authority] {
        assert_eq!(refused(push(&d.peer(running.addr, who), &upload).await), Forbidden);
    }
    assert_eq!(refused(push(&d.peer(running.addr, &d.stranger), &upload).await), Unauthenticated);
    let self_certified = d.peer(running.addr, &d.stranger).self_certified();
    assert_eq!(refused(push(&self_certified, &upload).await), Forbidden);
    assert_eq!(refused(self_certified.get_json::<CloudStats>("/v1/stats").await), Forbidden);
    assert_eq!(refused(push(&peer(running.addr, d.cloud, None), &upload).await), Unauthenticated);
    for who in [&d.hospital, &d.authority] {
        let p = d.peer(running.addr, who);
        assert_eq!(refused(search(&p, CloudClause::All, 1).await), Forbidden);
        assert_eq!(
            refused(p.post_cbor::<_, Accepted>("/v1/tickets/withdraw", &WithdrawTickets { nonces: vec![] }).await),
            Forbidden
        );
        assert!(p.get_json::<CloudStats>("/v1/stats").await.is_ok());
    }
    push(&d.peer(running.addr, &d.hospital), &upload).await.unwrap();
    assert_eq!(refused(d.peer(running.addr, &d.gate).get_json::<serde_json::Value>("/v1/excerpt").await), Forbidden);
    let authority = d.peer(running.addr, &d.authority);
    let excerpt: serde_json::Value = authority.get_json("/v1/excerpt?n=5").await.unwrap();
    assert_eq!(excerpt[0]["sealed_prefix"], hex::encode("sealed bytes of 1"));
    assert_eq!(excerpt[0]["provider"], d.hospital.id().to_string());
    assert_eq!(refused(authority.get_json::<serde_json::Value>("/v1/excerpt?n=101").await), Malformed);

    // A revoked hospital takes its wards along.
    let mut roster = d.roster(2);
    roster.members[0].status = Status::Revoked;
    put_roster(&d, running.addr, &roster).await.unwrap();
    for (n, who) in [(7, &d.hospital), (8, &d.ward)] {
        assert_eq!(
            refused(push(&d.peer(running.addr, who), &d.upload(n, who, vec![record(50, 50, &[])])).await),
            Forbidden
        );
    }
    assert!(push(&d.peer(running.addr, &d.other), &d.upload(9, &d.other, vec![record(51, 51, &[])])).await.is_ok());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_checked() {
    let (_dir, d, running) = cloud().await;
    let hospital = d.peer(running.addr, &d.hospital);
    let good = d.upload(1, &d.hospital, vec![record(1, 1, &[term(1)])]);
    let mut alterations = vec![good.clone(); 6];
    alterations[0].gate_signature.0[5] ^= 1;
    alterations[1].records[0].index.terms[3] ^= 1;
    alterations[2].records[0].index.tag[3] ^= 1;
    alterations[3].records[0].index.origin.0[3] ^= 1;
    alterations[4].records[0].id.0[3] ^= 1;
    alterations[5].gate = d.hospital.id();
    alterations.push(d.upload(1, &d.ward, good.records.clone()));
    for altered in &alterations {
        assert_eq!(refused(push(&hospital, altered).await), BadDocument);
    }
    let with = |change: &dyn Fn(&mut sealdex_wire::ingest::UploadRecord)| {
        let mut r = record(1, 1, &[term(1)]);
        change(&mut r);
        d.upload(1, &d.hospital, vec![r])
    };
    for bad in [
        with(&|r| r.index.terms.truncate(15)),
        with(&|r| r.index.terms = vec![0; 16 * (limits::RECORD_ENTRIES + 1)]),
        with(&|r| r.index.tag = vec![0; limits::TAG + 1]),
        with(&|r| r.index.tag.clear()),
        with(&|r| r.sealed.clear()),
        d.upload(1, &d.hospital, vec![]),
        d.upload(1, &d.hospital, (0..=limits::BATCH_RECORDS as u64).map(|n| record(n, n, &[])).collect()),
        d.upload(1, &d.hospital, vec![record(1, 1, &[]), record(1, 2, &[])]),
    ] {
        assert_eq!(refused(push(&hospital, &bad).await), Malformed);
    }
    assert!(push(&hospital, &good).await.is_ok());
    let again: BatchReceipt = push(&hospital, &good).await.unwrap();
    assert!(again.duplicate && again.seq == 1);
    for conflict in
        [d.upload(1, &d.hospital, vec![record(2, 2, &[])]), d.upload(2, &d.hospital, vec![record(1, 3, &[])])]
    {
        assert_eq!(refused(push(&hospital, &conflict).await), Conflict);
    }
    let foreign = d.upload(3, &d.other, vec![record(9, 1, &[])]);
    assert_eq!(refused(push(&d.peer(running.addr, &d.other), &foreign).await), Conflict);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_are_bounded() {
    let (_dir, d, running) = cloud().await;
    settled(&d, running.addr).await;
    let gate = d.peer(running.addr, &d.gate);
    let mut deep = CloudClause::All;
    for _ in 0..limits::CLAUSE_DEPTH + 2 {
        deep = CloudClause::Not(Box::new(deep));
    }
    for bad in [
        deep,
        CloudClause::Terms(vec![0; 17]),
        CloudClause::Range { tag: [0; 8], lo: 2, hi: 1 },
        CloudClause::Terms(vec![0; 16 * (limits::CLOUD_LEAVES + 1)]),
    ] {
        assert_eq!(refused(search(&gate, bad, 1).await), Malformed);
    }
    assert_eq!(refused(search(&gate, CloudClause::All, 0).await), Malformed);
    assert_eq!(refused(search(&gate, CloudClause::All, limits::PAGE + 1).await), Malformed);
    let widest = CloudClause::Terms((0..limits::CLOUD_LEAVES as u64).flat_map(term).collect());
    assert!(search(&gate, widest, 1).await.is_ok());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_open_only_what_and_when_they_say() {
    let (dir, d, running) = cloud().await;
    push(&d.peer(running.addr, &d.hospital), &d.upload(1, &d.hospital, vec![record(1, 1, &[]), record(2, 2, &[])]))
        .await
        .unwrap();
    let anybody = peer(running.addr, d.cloud, None);
    let fetch = |t| {
        let p = &anybody;
        async move { p.post_cbor::<_, Fetched>("/v1/records", &t).await }
    };
    let good = d.fresh_ticket(packed(&[1]));
    assert!(fetch(good.clone()).await.is_ok());

    let now = now_ms();
    let (mut other_ids, mut more_ids, mut resigned, mut longer) =
        (good.clone(), good.clone(), good.clone(), good.clone());
    other_ids.ids = packed(&[2]);
    more_ids.ids.extend(packed(&[2]));
    resigned.ticket.gate = d.hospital.id();
    longer.ticket.expires_at += 1;
    let expired = d.ticket(packed(&[1]), now - 2, now - 1);
    let too_long = d.ticket(packed(&[1]), now, now + limits::TICKET_MS + 1);
    let backwards = d.ticket(packed(&[1]), now + 5, now + 4);
    let future = d.ticket(packed(&[1]), now + limits::CLOCK_SKEW_MS + 5000, now + limits::CLOCK_SKEW_MS + 6000);
    let before_start = d.ticket(packed(&[1]), now - 50_000, now + 5000);
    for bad in [other_ids, more_ids, resigned, longer, expired, too_long, backwards, future, before_start] {
        assert_eq!(refused(fetch(bad).await), Forbidden);
    }
    assert_eq!(refused(fetch(d.fresh_ticket(vec![0; 17])).await), Malformed);
    assert_eq!(refused(fetch(d.fresh_ticket(vec![0; 16 * (limits::TICKET_RECORDS + 1)])).await), Malformed);
    assert_eq!(refused(fetch(d.fresh_ticket(vec![0; 1 << 20])).await), TooLarge);

    let gate = d.peer(running.addr, &d.gate);
    let nonces = good.ticket.nonce.to_vec();
    let withdrawn: Accepted = gate.post_cbor("/v1/tickets/withdraw", &WithdrawTickets { nonces }).await.unwrap();
    assert_eq!(withdrawn.count, 1);
    assert_eq!(refused(fetch(good.clone()).await), Forbidden);
    assert!(fetch(d.fresh_ticket(packed(&[1]))).await.is_ok());
    assert_eq!(
        refused(gate.post_cbor::<_, Accepted>("/v1/tickets/withdraw", &WithdrawTickets { nonces: vec![1] }).await),
        Malformed
    );

    // A restart forgets withdrawals, so it refuses every older ticket.
    running.stop().await;
    let again = Running::start(dir.path()).await;
    let anybody = peer(again.addr, d.cloud, None);
    assert_eq!(refused(anybody.post_cbor::<_, Fetched>("/v1/records", &good).await), Forbidden);
    again.stop().await;
}

/// One raw HTTP/1.1 request; the status.
async fn raw(addr: std::net::SocketAddr, path: &str, authorization: Option<&str>, body: &[u8]) -> u16 {
    let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    let auth = authorization.map(|a| format!("authorization: {a}\r\n")).unwrap_or_default();
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{auth}content-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_counts_once_and_only_here() {
    let (_dir, d, running) = cloud().await;
    let body = codec::to_cbor(&d.upload(1, &d.hospital, vec![record(1, 1, &[])]));
    let sign = |audience, path, ts| {
        let parts = RequestParts { domain: support::domain::DOMAIN, audience, method: "POST", path, body: &body };
        parts.sign(&d.hospital, false, ts, rand::rng().random(), &mut rng(3))
    };
    let header = sign(d.cloud, "/v1/batches", now_ms());
    assert_eq!(raw(running.addr, "/v1/batches", Some(&header), &body).await, 200);
    assert_eq!(raw(running.addr, "/v1/batches", Some(&header), &body).await, Stale.status());
    let fresh = |h: String| {
        let (addr, body) = (running.addr, &body);
        async move { raw(addr, "/v1/batches", Some(&h), body).await }
    };
    assert_eq!(fresh(sign(d.gate.id(), "/v1/batches", now_ms())).await, 401);
    assert_eq!(fresh(sign(d.cloud, "/v1/search", now_ms())).await, 401);
    assert_eq!(fresh(sign(d.cloud, "/v1/batches", now_ms() - 60_000)).await, 401);
    assert_eq!(fresh(sign(d.cloud, "/v1/batches", now_ms() + limits::CLOCK_SKEW_MS + 5000)).await, 401);
    assert_eq!(fresh(sign(d.cloud, "/v1/batches", now_ms())).await, 200);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_bytes_are_refused() {
    let (_dir, d, running) = cloud().await;
    settled(&d, running.addr).await;
    let mut rng = rng(11);
    let valid = [
        ("/v1/batches", &d.hospital, codec::to_cbor(&d.upload(1, &d.hospital, vec![record(1, 1, &[term(1)])]))),
        (
            "/v1/search",
            &d.gate,
            codec::to_cbor(&CloudSearch {
                clause: CloudClause::Terms(term(1).to_vec()),
                sort: None,
                after: None,
                limit: 1,
                prove: None,
            }),
        ),
        ("/v1/tickets/withdraw", &d.gate, codec::to_cbor(&WithdrawTickets { nonces: vec![0; 16] })),
        ("/v1/records", &d.gate, codec::to_cbor(&d.fresh_ticket(packed(&[1])))),
    ];
    for (path, who, good) in &valid {
        let mut hostile: Vec<Vec<u8>> = vec![
            vec![],
            vec![0x81; 1 << 14],
            vec![0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            vec![0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            b"{\"clause\":\"all\"}".to_vec(),
            good.iter().copied().chain([0]).collect(),
        ];
        hostile.extend((1..good.len()).step_by(9).map(|cut| good[..cut].to_vec()));
        for body in hostile {
            let p = d.peer(running.addr, who);
            assert_eq!(refused(p.post_cbor_bytes::<Accepted>(path, body.into()).await), Malformed, "{path}");
        }
        for _ in 0..40 {
            let mut body = good.clone();
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..body.len());
                body[at] = rng.random();
            }
            let p = d.peer(running.addr, who);
            if let Err(e) = p.call(http::Method::POST, path, reply::CBOR, body.into()).await {
                let status = e.problem_type().expect("a problem document").status();
                assert!((400..500).contains(&status), "{path}: {e}");
            }
        }
    }
    assert!(d.peer(running.addr, &d.gate).get_json::<CloudStats>("/v1/stats").await.is_ok(), "still alive");
    running.stop().await;
}

/// With backups first, what the backup has not got is not found either, or no answer with it could be proved; and nothing
/// else stops.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_folder_that_fails_stops_no_search() {
    let home = tempfile::tempdir().unwrap();
    let (domain, folder, away) = (Domain::new(), home.path().join("backups"), home.path().join("away"));
    let every = Some(Duration::from_millis(100));
    let plan = BackupPlan { dir: folder.clone(), every, keep: 2, first: true };
    let cloud = Running::backing_up(&home.path().join("cloud"), Some(plan)).await;
    put_roster(&domain, cloud.addr, &domain.roster(1)).await.unwrap();
    let (hospital, gate) = (domain.peer(cloud.addr, &domain.hospital), domain.peer(cloud.addr, &domain.gate));
    push(&hospital, &domain.upload(1, &domain.hospital, vec![record(1, 1, &[])])).await.unwrap();
    assert_eq!(settled(&domain, cloud.addr).await.indexed, 1);
    std::fs::rename(&folder, &away).unwrap();
    std::fs::write(&folder, "no folder").unwrap();
    // It replaces the first, which is found for as long as this is not backed up.
    let second = domain.upload(2, &domain.hospital, vec![record(2, 1, &[])]);
    assert_eq!(refused(push(&hospital, &second).await), Internal);
    let found = || async {
        let page = search(&gate, CloudClause::All, 9).await.unwrap();
        page.matches.iter().map(|m| m.0).collect::<Vec<_>>()
    };
    for _ in 0..20 {
        assert_eq!(found().await, [record_id(1)]);
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert_eq!(gate.get_json::<CloudStats>("/v1/stats").await.unwrap().indexed, 1);
    // Once it works again, by itself.
    std::fs::remove_file(&folder).unwrap();
    std::fs::rename(&away, &folder).unwrap();
    let mut last = Vec::new();
    for _ in 0..400 {
        last = found().await;
        if last == [record_id(2)] {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert_eq!(last, [record_id(2)]);
    assert!(push(&hospital, &second).await.unwrap().duplicate);
    cloud.stop().await;
}
