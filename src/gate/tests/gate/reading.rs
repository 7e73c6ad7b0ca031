//! Searching: only what is granted, for the purpose, now; re-encapsulated, ticketed, page by page.

use sealdex_crypto::{Bits, PrincipalId, RecordId};
use sealdex_gate::{
    GateError,
    error::CallerRefusal,
    search::SearchRefusal,
    store::{AuditKind, ConsentStore, MemoryStore},
};
use sealdex_wire::{
    consent::{Access, AccessKind, ListAccesses},
    ingest::InnerEntry,
    limits,
    roster::Status,
    search::{ClauseError, InnerClause, InnerSort, SearchResponse},
};

use crate::domain::*;

/// An owner with records 1 (labs) and 2 (notes) pushed by the first hospital, 3 (labs) by the second.
async fn prepared() -> (Domain, Owner) {
    let d = Domain::new().await;
    let owner = Owner::new(50);
    let profile = owner.profile(1, &[("labs", 0), ("notes", 0)], &[d.id(NORTH), d.id(SOUTH)]);
    d.publish(&owner, &profile).await.unwrap();
    let entries = || vec![entry(d.token("code", b"x"), false)];
    d.push(NORTH, d.batch(&owner, "labs", 3, &[(1, entries())])).await.unwrap();
    d.push(NORTH, d.batch(&owner, "notes", 4, &[(2, entries())])).await.unwrap();
    d.push(SOUTH, d.batch(&owner, "labs", 5, &[(3, entries())])).await.unwrap();
    (d, owner)
}

#[tokio::test]
async fn only_granted_sections_are_found_and_their_reader_can_open_them() {
    let (d, owner) = prepared().await;
    assert_eq!(d.found(CLINICIAN, InnerClause::All).await, [0_u8; 0], "nothing is granted yet");
    d.grant(owner.id(), vec![owner.grant(&d.public(CLINICIAN), "labs", START)]).await.unwrap();
    let response = d.search(CLINICIAN, has(d.token("code", b"x"), false)).await.unwrap();
    assert_eq!(ids(&response), vec![1, 3]);
    assert_eq!(response.covered, vec![d.id(NORTH), d.id(SOUTH)]);
    assert_eq!(response.cursor, None);
    for group in &response.groups {
        assert_eq!(
            (group.owner, group.section.as_str(), group.epoch, group.reader),
            (owner.id(), "labs", 0, d.id(CLINICIAN))
        );
        assert!(opens(&d.parties[CLINICIAN].identity, &owner, group));
        assert!(!opens(&d.parties[OTHER].identity, &owner, group), "nobody else can");
    }
    assert_eq!(d.found(OTHER, InnerClause::All).await, [0_u8; 0], "the grant is for one reader");
}

async fn accesses(d: &Domain, caller: PrincipalId, limit: u32) -> Vec<Access> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = d.gate.list_accesses(caller, ListAccesses { after, limit }).await.unwrap();
        assert!(page.accesses.len() <= limit as usize);
        all.extend(page.accesses);
        match page.next {
            Some(next) => after = Some(next),
            None => return all,
        }
    }
}

#[tokio::test]
async fn owners_and_nobody_else_see_what_was_done_with_their_records() {
    let (d, owner) = prepared().await;
    let other = Owner::new(51);
    d.admit(&other, NORTH).await;
    let grants = ["labs", "notes"].map(|s| owner.grant(&d.public(CLINICIAN), s, START));
    d.grant(owner.id(), grants.to_vec()).await.unwrap();
    d.search(CLINICIAN, InnerClause::All).await.unwrap();
    d.search(OTHER, InnerClause::All).await.unwrap();
    let all = accesses(&d, owner.id(), 100).await;
    let told: Vec<_> =
        all.iter().map(|a| (a.kind, a.caller, a.section.as_deref().unwrap_or_default(), a.count)).collect();
    let (north, south, reader) = (d.id(NORTH), d.id(SOUTH), d.id(CLINICIAN));
    assert_eq!(
        told,
        [
            (AccessKind::Push, north, "labs", 1),
            (AccessKind::Push, north, "notes", 1),
            (AccessKind::Push, south, "labs", 1),
            (AccessKind::Grant, owner.id(), "labs", 1),
            (AccessKind::Grant, owner.id(), "notes", 1),
            (AccessKind::Search, reader, "labs", 2),
            (AccessKind::Search, reader, "notes", 1),
        ],
        "a search that released nothing of the owner's is not the owner's business"
    );
    assert!(all.iter().skip(5).all(|a| a.purpose.is_some() && a.reader.is_none()));
    assert_eq!(all[3].reader, Some(reader));
    for limit in 1..4 {
        assert_eq!(accesses(&d, owner.id(), limit).await, all, "in pages of {limit}");
    }
    assert!(accesses(&d, other.id(), 9).await.is_empty() && accesses(&d, reader, 9).await.is_empty());
}

#[tokio::test]
async fn a_grant_to_everyone_serves_every_active_member() {
    let (mut d, owner) = prepared().await;
    d.grant(owner.id(), vec![owner.grant(&d.everyone.public(), "notes", START)]).await.unwrap();
    for n in [NORTH, WARD, CLINICIAN, OTHER] {
        let response = d.search(n, InnerClause::All).await.unwrap();
        assert_eq!(ids(&response), vec![2]);
        assert_eq!(response.groups[0].reader, d.everyone.id());
        assert!(opens(&d.everyone, &owner, &response.groups[0]));
    }
    d.parties[OTHER].status = Status::Revoked;
    d.version += 1;
    d.send_roster().await.unwrap();
    assert_eq!(d.search(OTHER, InnerClause::All).await.err(), Some(CallerRefusal::NotActive(d.id(OTHER)).into()));
    assert_eq!(d.search(CLINICIAN, InnerClause::All).await.map(|r| ids(&r)), Ok(vec![2]));
    let stranger = d.gate.search(PrincipalId([9; 16]), d.query(InnerClause::All)).await;
    assert_eq!(stranger.err(), Some(CallerRefusal::NotActive(PrincipalId([9; 16])).into()));
}

#[tokio::test]
async fn a_grant_holds_in_its_period_and_for_its_purpose_only() {
    let (d, owner) = prepared().await;
    let (mut terms, rk) = owner.terms(&d.public(CLINICIAN), "labs", 0, START);
    (terms.not_before, terms.not_after) = (START / 1000 + 10, START / 1000 + 20);
    d.grant(owner.id(), vec![owner.sign_grant(&terms, rk)]).await.unwrap();
    assert_eq!(d.found(CLINICIAN, InnerClause::All).await, [0_u8; 0], "not yet valid");
    d.advance(9_999);
    assert_eq!(d.found(CLINICIAN, InnerClause::All).await, [0_u8; 0], "still not");
    d.advance(1);
    assert_eq!(d.found(CLINICIAN, InnerClause::All).await, vec![1, 3]);
    let purpose = |p: &str| sealdex_wire::search::SearchRequest { purpose: p.into(), ..d.query(InnerClause::All) };
    for other in ["research", "any", "Treatment"] {
        let found = d.gate.search(d.id(CLINICIAN), purpose(other)).await.unwrap();
        assert_eq!(ids(&found), Vec::<u8>::new(), "purpose {other}");
    }
    d.advance(9_999);
    let last = d.search(CLINICIAN, InnerClause::All).await.unwrap();
    assert_eq!(ids(&last), vec![1, 3]);
    assert!(
        last.tickets.iter().all(|t| t.ticket.expires_at == (START / 1000 + 20) * 1000),
        "tickets end with the grant"
    );
    d.advance(1);
    assert_eq!(d.found(CLINICIAN, InnerClause::All).await, [0_u8; 0], "expired");
}

#[tokio::test]
async fn a_grant_for_any_purpose_fits_every_purpose() {
    let (d, owner) = prepared().await;
    let (mut terms, rk) = owner.terms(&d.public(CLINICIAN), "labs", 0, START);
    terms.purpose = "any".into();
    d.grant(owner.id(), vec![owner.sign_grant(&terms, rk)]).await.unwrap();
    assert_eq!(d.found(CLINICIAN, InnerClause::All).await, vec![1, 3]);
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused() {
    let (d, _) = prepared().await;
    let ask = async |change: fn(&mut sealdex_wire::search::SearchRequest)| {
        let mut request = d.query(InnerClause::All);
        change(&mut request);
        d.gate.search(d.id(CLINICIAN), request).await.err()
    };
    let refusal = |r: SearchRefusal| Some(GateError::from(r));
    assert_eq!(ask(|r| r.purpose.clear()).await, refusal(SearchRefusal::Purpose));
    assert_eq!(ask(|r| r.purpose = "x".repeat(129)).await, refusal(SearchRefusal::Purpose));
    assert_eq!(ask(|r| r.limit = 0).await, refusal(SearchRefusal::Limit));
    assert_eq!(ask(|r| r.limit = limits::PAGE + 1).await, refusal(SearchRefusal::Limit));
    assert_eq!(ask(|r| r.cursor = Some(vec![0; 40].into())).await, refusal(SearchRefusal::Cursor));
    let deep = |r: &mut sealdex_wire::search::SearchRequest| {
        for _ in 0..limits::CLAUSE_DEPTH {
            r.clause = InnerClause::Not(Box::new(r.clause.clone()));
        }
    };
    assert_eq!(ask(deep).await, refusal(SearchRefusal::Clause(ClauseError::TooDeep)));
    let unknown = InnerClause::Not(Box::new(InnerClause::Source(vec![d.id(CLINICIAN)])));
    assert_eq!(d.search(CLINICIAN, unknown).await.err(), refusal(SearchRefusal::UnknownProvider(d.id(CLINICIAN))));
}

#[tokio::test]
async fn tags_that_do_not_open_are_dropped_not_fatal() {
    let (d, owner) = prepared().await;
    d.grant(owner.id(), vec![owner.grant(&d.public(CLINICIAN), "labs", START)]).await.unwrap();
    {
        let mut records = d.cloud.records.lock().unwrap();
        let stolen = records[&RecordId([3; 16])].1.tag.clone();
        records.get_mut(&RecordId([1; 16])).unwrap().1.tag = stolen;
        records.get_mut(&RecordId([2; 16])).unwrap().1.tag = vec![1, 2, 3];
    }
    assert_eq!(d.found(CLINICIAN, InnerClause::All).await, vec![3], "a tag of another record does not pass");
}

/// 60 records of one owner, readable (labs) or not (notes) in turn, with an order code each.
async fn many(merged: bool) -> (Domain, Owner) {
    let d = Domain::new().await;
    let owner = Owner::new(50);
    let profile = owner.profile(1, &[("labs", 0), ("notes", 0)], &[d.id(NORTH), d.id(SOUTH)]);
    d.publish(&owner, &profile).await.unwrap();
    d.grant(owner.id(), vec![owner.grant(&d.public(CLINICIAN), "labs", START)]).await.unwrap();
    let (key, field, bits) = (d.order_key("value"), d.field("value"), Bits::new(16).unwrap());
    for n in 1..=60_u8 {
        let code = key.code(bits, 1000 - u64::from(n), 0).unwrap();
        let entries = vec![InnerEntry::Order { merged, field: field.0, bits: 16, code }];
        let (provider, section) = (usize::from(n > 30), if n % 2 == 0 { "labs" } else { "notes" });
        d.push(provider, d.batch(&owner, section, u64::from(n % 7) + 1, &[(n, entries)])).await.unwrap();
    }
    (d, owner)
}

/// All pages of a search; each must keep to the limit.
async fn pages(d: &Domain, sort: Option<InnerSort>, limit: u32) -> Vec<SearchResponse> {
    let mut request = d.query(InnerClause::All);
    (request.sort, request.limit) = (sort, limit);
    let mut out = Vec::new();
    loop {
        let page = d.gate.search(d.id(CLINICIAN), request.clone()).await.unwrap();
        request.cursor = page.cursor.clone();
        out.push(page);
        if request.cursor.is_none() {
            return out;
        }
    }
}

#[tokio::test]
async fn pages_hold_the_limit_and_miss_and_repeat_nothing() {
    let (d, _) = many(true).await;
    let readable: Vec<u8> = (1..=30).map(|n| 2 * n).collect();
    for limit in [1, 4, 7, 30, 31, 1000] {
        let pages = pages(&d, None, limit).await;
        let sizes: Vec<usize> = pages.iter().map(|p| ids(p).len()).collect();
        assert!(sizes.iter().all(|n| *n <= limit as usize), "{sizes:?}");
        assert_eq!(pages.iter().flat_map(ids).collect::<Vec<_>>(), readable, "by record id, limit {limit}");
    }
}

#[tokio::test]
async fn sorted_pages_hold_the_limit_and_follow_the_order() {
    let (d, _) = many(true).await;
    let sort = |descending| Some(InnerSort { merged: true, field: d.field("value").0, descending });
    for limit in [1, 4, 7, 30, 1000] {
        for descending in [true, false] {
            let pages = pages(&d, sort(descending), limit).await;
            assert!(pages.iter().all(|p| ids(p).len() <= limit as usize));
            // Values fall as ids rise. Within a page matches are grouped by capsule.
            let mut expected: Vec<u8> = (1..=30).map(|n| 2 * n).collect();
            if !descending {
                expected.reverse();
            }
            let mut found = Vec::new();
            for page in &pages {
                let mut some = ids(page);
                if !descending {
                    some.reverse();
                }
                found.extend(some);
            }
            assert_eq!(found, expected, "limit {limit}, descending {descending}");
        }
    }
}

#[tokio::test]
async fn isolated_sorting_takes_the_limit_from_each_hospital() {
    let (d, _) = many(false).await;
    let sort = Some(InnerSort { merged: false, field: d.field("value").0, descending: true });
    let first = pages(&d, sort.clone(), 4).await;
    assert_eq!(ids(&first[0]), vec![2, 4, 6, 8, 32, 34, 36, 38], "the four largest of each");
    let mut all: Vec<u8> = first.iter().flat_map(ids).collect();
    all.sort_unstable();
    assert_eq!(all, (1..=30).map(|n| 2 * n).collect::<Vec<u8>>());
    let mut request = d.query(InnerClause::Source(vec![d.id(SOUTH)]));
    (request.sort, request.limit) = (sort, 3);
    let south = d.gate.search(d.id(CLINICIAN), request).await.unwrap();
    assert_eq!((ids(&south), south.covered), (vec![32, 34, 36], vec![d.id(SOUTH)]));
}

#[tokio::test]
async fn a_cursor_serves_nobody_else() {
    let (d, owner) = many(true).await;
    d.grant(owner.id(), vec![owner.grant(&d.public(OTHER), "labs", START)]).await.unwrap();
    let mut request = d.query(InnerClause::All);
    request.limit = 4;
    request.cursor = d.gate.search(d.id(CLINICIAN), request.clone()).await.unwrap().cursor;
    assert!(request.cursor.is_some());
    let stolen = d.gate.search(d.id(OTHER), request.clone()).await;
    assert_eq!(stolen.err(), Some(SearchRefusal::Cursor.into()));
}

#[tokio::test]
async fn matches_share_capsules_and_tickets_cover_every_id_once() {
    let (d, _) = many(true).await;
    let response = d.search(CLINICIAN, InnerClause::All).await.unwrap();
    // Seven capsules at the first hospital and seven at the second.
    assert_eq!(response.groups.len(), 14);
    let mut ticketed: Vec<u8> = response.tickets.iter().flat_map(|t| t.ids.chunks(16).map(|id| id[0])).collect();
    ticketed.sort_unstable();
    assert_eq!(ticketed, ids(&response));
    for t in &response.tickets {
        assert!(t.ticket.verify(DOMAIN, d.cloud_identity.id(), &t.ids, &d.gate_identity.public()));
        assert_eq!((t.ticket.issued_at, t.ticket.expires_at), (START, START + limits::TICKET_MS));
    }
    let mut request = d.query(InnerClause::All);
    request.limit = 4;
    let page = d.gate.search(d.id(CLINICIAN), request).await.unwrap();
    assert_eq!(page.tickets.iter().map(|t| t.ids.len()).sum::<usize>(), 4 * 16);
}

#[tokio::test]
async fn the_cloud_is_told_no_names_and_the_audit_no_values() {
    let (d, owner) = prepared().await;
    d.grant(owner.id(), vec![owner.grant(&d.public(CLINICIAN), "labs", START)]).await.unwrap();
    let token = d.token("code", b"x");
    d.search(CLINICIAN, has(token, false)).await.unwrap();
    let asked = d.cloud.asked.lock().unwrap().iter().flat_map(sealdex_wire::codec::to_cbor).collect::<Vec<u8>>();
    let contains = |needle: &[u8]| asked.windows(needle.len()).any(|w| w == needle);
    assert!(!contains(&d.id(CLINICIAN).0) && !contains(&owner.id().0) && !contains(&token));
}

#[test]
fn acts_are_audited_with_counts() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = MemoryStore::default();
    let shared = std::sync::Arc::new(store);
    struct Shared(std::sync::Arc<MemoryStore>);
    impl ConsentStore for Shared {
        fn read<T, E: From<sealdex_gate::store::StoreError>>(
            &self,
            f: impl FnOnce(&dyn sealdex_gate::store::Snapshot) -> Result<T, E>,
        ) -> Result<T, E> {
            self.0.read(f)
        }
        fn write<T, E: From<sealdex_gate::store::StoreError>>(
            &self,
            f: impl FnMut(&mut dyn sealdex_gate::store::Transaction) -> Result<T, E>,
        ) -> Result<T, E> {
            self.0.write(f)
        }
    }
    let d = runtime.block_on(async {
        let d = Domain::over(Shared(shared.clone()));
        d.send_roster().await.unwrap();
        let owner = Owner::new(50);
        d.admit(&owner, NORTH).await;
        d.grant(owner.id(), vec![owner.grant(&d.public(CLINICIAN), "labs", START)]).await.unwrap();
        d.push(NORTH, d.batch(&owner, "labs", 3, &[(1, vec![]), (2, vec![])])).await.unwrap();
        d.search(CLINICIAN, InnerClause::All).await.unwrap();
        d.revoke(&owner, owner.revoke(d.id(CLINICIAN), None, START)).await.unwrap();
        d
    });
    use sealdex_gate::store::ReadConsents as _;
    let trail = shared.read(|s| s.audit_from(0, 99)).unwrap();
    let owner = Some(Owner::new(50).id());
    let acts: Vec<_> = trail.iter().map(|e| (e.kind, e.caller, e.owner, e.count, e.owners)).collect();
    let expected = vec![
        (AuditKind::Roster, d.authority.id(), None, 1, 0),
        (AuditKind::Owners, Owner::new(50).id(), owner, 1, 1),
        (AuditKind::Grants, Owner::new(50).id(), owner, 1, 1),
        (AuditKind::Bridge, d.id(NORTH), None, 2, 1),
        (AuditKind::Search, d.id(CLINICIAN), None, 2, 1),
        (AuditKind::Revocations, Owner::new(50).id(), owner, 1, 1),
    ];
    assert_eq!(acts, expected);
    assert_eq!(trail[4].purpose.as_deref(), Some("treatment"));
}
