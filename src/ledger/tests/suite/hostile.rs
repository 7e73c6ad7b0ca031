//! Proofs made to be much work.

use proptest::prelude::*;
use sealdex_ledger::{
    AnswerProof, Tampered, Verdict,
    clause::Ranges,
    prove::{MOST_LOOKUPS, prove},
    run::TermRange,
};
use sealdex_wire::{codec, limits, search::CloudClause};
use serde_bytes::ByteBuf;

use crate::world::{Case, tag, term};

fn range() -> Case {
    Case::fixed(CloudClause::Range { tag: tag(None, 0), lo: 2, hi: 9 }, None, 10)
}

#[test]
fn ranges_shown_many_times_are_looked_through_once() {
    let case = range();
    let Ok(Verdict::Complete(once)) = case.check(&case.page, &case.proof) else { panic!() };
    let mut proof = case.proof.clone();
    proof.ranges = vec![proof.ranges[0]; 1000];
    // Some that overlap, and some that are empty.
    proof.ranges.extend((2..9).map(|lo| TermRange::codes(tag(None, 0), lo, 9)));
    proof.ranges.push(TermRange::codes(tag(None, 0), 8, 3));
    let Ok(Verdict::Complete(often)) = case.check(&case.page, &proof) else { panic!() };
    assert_eq!(once, often);
}

#[test]
fn ranges_without_end_are_refused() {
    let case = range();
    let mut proof = case.proof.clone();
    proof.ranges = vec![proof.ranges[0]; MOST_LOOKUPS as usize];
    assert_eq!(case.check(&case.page, &proof), Err(Tampered::OtherQuestion));
}

#[test]
fn a_question_of_many_terms_is_not_proved() {
    let mut case = range();
    let terms = (0..MOST_LOOKUPS / 6 + 1).flat_map(|k| u128::from(k).to_be_bytes()).collect();
    case.asked.clause = CloudClause::Terms(terms);
    let page = case.world.answer(6, &case.asked);
    let Ok(proof) = prove(&case.world.cloud(6), &case.asked, &page);
    let reason = proof.unproved.clone().unwrap();
    assert!(reason.contains("65536 look-ups"), "{reason}");
    assert_eq!(case.check(&page, &proof), Ok(Verdict::Unproved(reason)));
}

#[test]
fn a_proof_takes_no_more_memory_than_it_is_long() {
    let mut proof = range().proof;
    proof.terms = vec![ByteBuf::new(); 1 << 20];
    assert_eq!(codec::from_cbor::<AnswerProof>(&codec::to_cbor(&proof)), Ok(proof.clone()));
    proof.terms.push(ByteBuf::new());
    assert!(codec::from_cbor::<AnswerProof>(&codec::to_cbor(&proof)).is_err());
}

#[test]
fn reasons_are_short_and_for_people() {
    let case = range();
    let mut proof = case.proof.clone();
    proof.unproved = Some("\u{1b}[2Jno\n".repeat(100_000));
    let Ok(Verdict::Unproved(reason)) = case.check(&case.page, &proof) else { panic!() };
    assert!(reason.len() <= limits::TEXT && reason.starts_with("[2Jno[2J"));
}

#[test]
fn numbers_at_their_ends_are_refused() {
    let case = range();
    for n in [0, 7, u64::MAX - 1, u64::MAX] {
        let mut proof = case.proof.clone();
        proof.size = n;
        assert!(case.check(&case.page, &proof).is_err());
        let mut proof = case.proof.clone();
        proof.runs[0].seq = n;
        assert!(case.check(&case.page, &proof).is_err());
        let mut proof = case.proof.clone();
        proof.runs[0].pages[0] = n as u32 | 1 << 20;
        assert!(case.check(&case.page, &proof).is_err());
        let mut proof = case.proof.clone();
        proof.records[0].places[0] = n as u32 | 1 << 20;
        assert!(case.check(&case.page, &proof).is_err());
    }
    // All empty.
    let mut proof = case.proof.clone();
    (proof.runs, proof.records, proof.terms) = Default::default();
    assert!(matches!(case.check(&case.page, &proof), Err(Tampered::RunMissing { seq: 1, .. })));
}

proptest! {
    #[test]
    fn one_range_contains_another(
        shown in prop::collection::vec((0_u8..20, 0_u8..20), 0..8), lo in 0_u8..20, hi in 0_u8..20,
    ) {
        let range = |lo: u8, hi: u8| TermRange { lo: [lo; 16], hi: [hi; 16] };
        let shown: Vec<TermRange> = shown.into_iter().map(|(lo, hi)| range(lo, hi)).collect();
        let asked = range(lo.min(hi), lo.max(hi));
        prop_assert_eq!(Ranges::new(&shown).has(&asked), shown.iter().any(|r| r.contains(&asked)));
    }
}

#[test]
fn a_term_that_no_record_has_is_shown_to_have_none() {
    for clause in
        [CloudClause::Terms(term(None, 99).to_vec()), CloudClause::Or(Vec::new()), CloudClause::Terms(Vec::new())]
    {
        let case = Case::fixed(clause, None, 10);
        assert!(case.page.matches.is_empty());
        assert!(matches!(case.check(&case.page, &case.proof), Ok(Verdict::Complete(s)) if s.pairs == 0));
    }
}
