//! Unfolding: what the cloud is asked.

use sealdex_crypto::{Bits, FieldToken, GateOrderSecret, OuterOrderKey, ScopeKey, TermKey, token_point};
use sealdex_gate::search::SearchRefusal;
use sealdex_wire::{
    RawPoint,
    roster::Role,
    search::{CloudClause, CloudSearch, InnerClause},
};

use crate::domain::*;

fn scope(id: &[u8]) -> ScopeKey {
    ScopeKey::derive(&TermKey::from_bytes(&[1; 32]), DOMAIN, id)
}

fn terms(of: &[&[u8]], x: &[u8]) -> CloudClause {
    let mut terms: Vec<_> = of.iter().map(|s| scope(s).term(x)).collect();
    terms.sort_unstable();
    CloudClause::Terms(terms.iter().flat_map(|t| t.0).collect())
}

fn range(of: &[u8], field: FieldToken, lo: u64, hi: u64) -> CloudClause {
    let key = OuterOrderKey::derive(&GateOrderSecret::from_bytes(&[2; 32]), DOMAIN, &field, 0, of);
    let (lo, hi) = key.bounds(Bits::new(16).unwrap(), lo, hi).unwrap();
    CloudClause::Range { tag: scope(of).tag(&field), lo, hi }
}

async fn asked(d: &Domain, clause: InnerClause) -> CloudClause {
    d.search(CLINICIAN, clause).await.unwrap();
    let asked: Vec<CloudSearch> = std::mem::take(&mut *d.cloud.asked.lock().unwrap());
    assert_eq!(asked.len(), 1);
    asked[0].clause.clone()
}

#[tokio::test]
async fn isolated_fields_are_asked_once_per_hospital_and_merged_ones_once() {
    let d = Domain::new().await;
    let (north, south) = (d.id(NORTH).0, d.id(SOUTH).0);
    let token = d.token("code", b"x");
    assert_eq!(asked(&d, has(token, false)).await, terms(&[&north, &south], &token));
    assert_eq!(asked(&d, has(token, true)).await, terms(&[&[]], &token));
    let point = RawPoint(d.parties[CLINICIAN].key.inner(DOMAIN, "ssn", b"1").unwrap().to_bytes());
    let common = token_point(DOMAIN, "ssn", b"1").unwrap().mul(d.master.scalar()).to_bytes();
    assert_eq!(asked(&d, InnerClause::Bridged { merged: true, point }).await, terms(&[&[]], &common));
    assert_eq!(asked(&d, InnerClause::Bridged { merged: false, point }).await, terms(&[&north, &south], &common));
    let field = d.field("value");
    let order = |merged| InnerClause::Order { merged, field: field.0, bits: 16, lo: 70_000, hi: 900_000 };
    assert_eq!(asked(&d, order(true)).await, range(&[], field, 70_000, 900_000));
    let both = vec![range(&north, field, 70_000, 900_000), range(&south, field, 70_000, 900_000)];
    assert_eq!(asked(&d, order(false)).await, CloudClause::Or(both));
}

#[tokio::test]
async fn a_source_named_at_the_top_bounds_the_hospitals_asked() {
    let d = Domain::new().await;
    let (north, south, token) = (d.id(NORTH).0, d.id(SOUTH).0, d.token("code", b"x"));
    let leaf = || has(token, false);
    let ward = InnerClause::Source(vec![d.id(WARD)]);
    let not = |c| InnerClause::Not(Box::new(c));
    let cloud_ward = CloudClause::Source(vec![d.id(WARD)]);
    let bounded = asked(&d, InnerClause::And(vec![ward.clone(), InnerClause::And(vec![not(leaf())])])).await;
    let negated = CloudClause::Not(Box::new(terms(&[&north], &token)));
    assert_eq!(
        bounded,
        CloudClause::And(vec![cloud_ward.clone(), CloudClause::And(vec![negated])]),
        "the ward's hospital only"
    );
    let either = asked(&d, InnerClause::Or(vec![ward.clone(), leaf()])).await;
    assert_eq!(
        either,
        CloudClause::Or(vec![cloud_ward.clone(), terms(&[&north, &south], &token)]),
        "an alternative bounds nothing"
    );
    let other = InnerClause::Source(vec![d.id(SOUTH)]);
    let none = asked(&d, InnerClause::And(vec![ward, other, leaf()])).await;
    let CloudClause::And(parts) = none else { panic!("a conjunction") };
    assert_eq!(parts[2], CloudClause::Terms(vec![]), "in no hospital");
}

#[tokio::test]
async fn alternatives_of_tokens_become_one_list_of_terms() {
    let d = Domain::new().await;
    let tokens = [d.token("a", b"1"), d.token("a", b"2")];
    let asked = asked(&d, InnerClause::Or(tokens.iter().map(|t| has(*t, true)).collect())).await;
    let both: Vec<u8> = tokens.iter().flat_map(|t| scope(&[]).term(t).0).collect();
    assert_eq!(asked, CloudClause::Terms(both));
}

#[tokio::test]
async fn a_query_too_wide_once_unfolded_is_refused() {
    let mut d = Domain::over(sealdex_gate::store::MemoryStore::default());
    for n in 60..100 {
        let (key, delta) = d.master.enrol(&mut rand::rng());
        let status = sealdex_wire::roster::Status::Active;
        d.parties.push(Party {
            identity: identity(n),
            key,
            delta,
            role: Role::Provider,
            parent: None,
            status,
            counts_from: None,
            succeeds: None,
        });
    }
    d.send_roster().await.unwrap();
    let wide = InnerClause::Or(vec![has([1; 32], false); 8000]);
    let refused = d.search(CLINICIAN, wide).await.err();
    let leaves = 8000 * 43 + 1;
    assert_eq!(refused, Some(SearchRefusal::TooWide { leaves, hospitals: 42 }.into()));
}
