//! What is taken for the log.

use sealdex_crypto::{Identity, IdentitySeed, PrincipalId, RecordId};
use sealdex_ledger::{EntryError, LedgerView, SignedBatch, StatementError, Verdict, answer::verify, ended_hash};
use sealdex_wire::search::{CloudClause, CloudSearch};

use crate::world::{DOMAIN, World, fixed, term};

/// Takes in these of a world's entries.
fn read(world: &World, domain: &str, entries: &[usize]) -> Result<LedgerView, EntryError> {
    let mut view = LedgerView::new(domain);
    for at in entries {
        let checked = view.check(&world.batches[*at].entry, world)?;
        view.add(checked, &world.batches[*at].ended)?;
    }
    Ok(view)
}

#[test]
fn entries_count_in_their_provider_s_order() {
    let world = fixed(); // providers 0, 1, 2, 0, 3, 1
    assert!(read(&world, DOMAIN, &[0, 1, 2, 3, 4, 5]).is_ok());
    assert!(read(&world, DOMAIN, &[1, 4, 5, 0, 3, 2]).is_ok(), "among providers any order will do");
    let provider = world.batches[0].provider;
    let chain = |seq, expected, found| Err(EntryError::Chain { seq, provider, expected, found });
    assert_eq!(read(&world, DOMAIN, &[0, 0]).map(drop), chain(2, 2, 1), "repeated");
    assert_eq!(read(&world, DOMAIN, &[3, 0]).map(drop), chain(1, 1, 2), "swapped");
    assert_eq!(read(&world, DOMAIN, &[1, 2, 3]).map(drop), chain(3, 1, 2), "one left out");
    assert!(matches!(
        read(&world, "other", &[0]),
        Err(EntryError::Statement { seq: 1, source: StatementError::Signature { .. } })
    ));
    assert_eq!(
        LedgerView::new(DOMAIN).check(&[1, 2], &world).map(drop),
        Err(EntryError::Statement { seq: 1, source: StatementError::Malformed })
    );
}

#[test]
fn a_statement_after_another_one_does_not_follow() {
    let world = fixed();
    let mut forked = SignedBatch::from_entry(&world.batches[3].entry).unwrap().statement;
    forked.previous = [5; 32];
    let forked = forked.sign(DOMAIN, &world.providers[0].identity, &mut rand::rng());
    let view = read(&world, DOMAIN, &[0, 1, 2]).unwrap();
    let provider = world.batches[0].provider;
    assert_eq!(
        view.check(&forked.to_entry(), &world).map(drop),
        Err(EntryError::Chain { seq: 4, provider, expected: 2, found: 2 })
    );
    assert_eq!(view.head(provider).0, 1);
    assert_eq!(view.head(PrincipalId([0; 16])), (0, [0; 32]));
}

#[test]
fn only_providers_of_the_roster_sign_and_each_for_itself() {
    let world = fixed();
    let view = LedgerView::new(DOMAIN);
    let first = SignedBatch::from_entry(&world.batches[0].entry).unwrap();
    let stranger = Identity::from_seed(&IdentitySeed::from_bytes(&[99; 32]));
    let mut own = first.statement.clone();
    own.provider = stranger.id();
    let own = own.sign(DOMAIN, &stranger, &mut rand::rng());
    let unknown = Err(EntryError::Unknown { seq: 1, provider: stranger.id() });
    assert_eq!(view.check(&own.to_entry(), &world).map(drop), unknown);
    for by in [&stranger, &world.providers[1].identity] {
        let forged = first.statement.clone().sign(DOMAIN, by, &mut rand::rng());
        let found = view.check(&forged.to_entry(), &world).map(drop);
        let source = StatementError::Signature { batch: first.statement.batch, provider: first.statement.provider };
        assert_eq!(found, Err(EntryError::Statement { seq: 1, source }));
    }
}

#[test]
fn ended_lists_are_those_signed() {
    let world = fixed();
    let at = (0..6).find(|at| world.batches[*at].ended.len() >= 32).unwrap();
    let before: Vec<usize> = (0..at).collect();
    let mut view = read(&world, DOMAIN, &before).unwrap();
    let batch = &world.batches[at];
    let wrong = Err(EntryError::Ended { seq: at as u64 + 1, provider: batch.provider });
    let ended = &batch.ended;
    let mut bent = ended.clone();
    bent[3] ^= 1;
    let (fewer, odd) = (&ended[16..], &ended[1..]);
    let more = [ended, &[0xff; 16][..]].concat();
    let swapped = [&ended[16..32], &ended[..16], &ended[32..]].concat();
    for altered in [&bent[..], fewer, odd, &more, &swapped, &[]] {
        let checked = view.check(&batch.entry, &world).unwrap();
        assert_eq!(view.add(checked, altered), wrong);
        assert_eq!(view.size(), at as u64, "nothing has changed");
        assert!(!view.has_ended(RecordId(*ended.first_chunk().unwrap()), batch.hospital, 99));
    }
    let checked = view.check(&batch.entry, &world).unwrap();
    view.add(checked, ended).unwrap();
    let (seq, id) = (at as u64 + 1, RecordId(*ended.first_chunk().unwrap()));
    assert!(view.has_ended(id, batch.hospital, seq) && !view.has_ended(id, batch.hospital, seq - 1));
}

/// Signs a batch without records that ends these.
fn end(world: &World, provider: usize, ids: &[RecordId]) -> (Vec<u8>, Vec<u8>) {
    let mut list: Vec<[u8; 16]> = ids.iter().map(|id| id.0).collect();
    list.sort_unstable();
    let list = list.concat();
    let by = &world.providers[provider];
    let mut statement = SignedBatch::from_entry(&world.batches[0].entry).unwrap().statement;
    let (number, previous) = world.heads.get(&by.identity.id()).copied().unwrap_or((0, [0; 32]));
    statement.provider = by.identity.id();
    (statement.number, statement.previous) = (number + 1, previous);
    (statement.records, statement.pairs) = (0, 0);
    (statement.ended, statement.ended_hash) = (ids.len() as u32, ended_hash(&list));
    (statement.sign(DOMAIN, &by.identity, &mut rand::rng()).to_entry(), list)
}

#[test]
fn a_hospital_cannot_end_another_s_record() {
    let world = fixed();
    let clause = CloudClause::Terms(term(None, 2).to_vec());
    let asked = CloudSearch { clause, sort: None, after: None, limit: 100, prove: Some(Vec::new()) };
    let page = world.answer(6, &asked);
    let mut proof = world.prove(6, &asked, &page);
    proof.size = 7;
    let (_, b, r) = world.matching(6, &asked)[0];
    for provider in 0..world.providers.len() {
        let mut view = world.view();
        let (entry, ended) = end(&world, provider, &[r.id]);
        let checked = view.check(&entry, &world).unwrap();
        view.add(checked, &ended).unwrap();
        let own = world.providers[provider].hospital == b.hospital;
        assert_eq!(view.has_ended(r.id, b.hospital, 7), own);
        let found = verify(&view, 7, &asked, &page, &proof);
        assert_eq!(matches!(found, Ok(Verdict::Complete(_))), !own, "{found:?}");
    }
}

#[test]
fn what_has_ended_stays_ended() {
    let world = fixed();
    let mut view = world.view();
    let (id, first) = world.ended_at.iter().min_by_key(|(_, at)| **at).unwrap();
    let (_, b, _) = world.find(*id).unwrap();
    let provider = world.providers.iter().position(|p| p.identity.id() == b.provider).unwrap();
    let (entry, ended) = end(&world, provider, &[*id]);
    let checked = view.check(&entry, &world).unwrap();
    view.add(checked, &ended).unwrap();
    assert!(view.has_ended(*id, b.hospital, *first), "from the first time on");
}

#[test]
fn an_entry_checked_before_another_was_taken_in_is_not_taken_in_twice() {
    let world = fixed();
    let mut view = LedgerView::new(DOMAIN);
    let checked =
        [view.check(&world.batches[0].entry, &world).unwrap(), view.check(&world.batches[0].entry, &world).unwrap()];
    let [first, second] = checked;
    view.add(first, &world.batches[0].ended).unwrap();
    let provider = world.batches[0].provider;
    let found = view.add(second, &world.batches[0].ended);
    assert_eq!(found, Err(EntryError::Chain { seq: 2, provider, expected: 2, found: 1 }));
    assert_eq!(view.size(), 1);
}

#[test]
fn a_statement_is_its_own_provider_s_whatever_key_it_is_checked_with() {
    let world = fixed();
    let first = SignedBatch::from_entry(&world.batches[0].entry).unwrap().statement;
    let other = &world.providers[1].identity;
    let forged = first.sign(DOMAIN, other, &mut rand::rng());
    assert!(matches!(forged.verify(DOMAIN, &other.public()), Err(StatementError::Signature { .. })));
}

#[test]
fn ended_lists_ascend_though_signed() {
    let world = fixed();
    let list = [[9; 16], [1; 16]].concat();
    let mut statement = SignedBatch::from_entry(&world.batches[0].entry).unwrap().statement;
    (statement.ended, statement.ended_hash) = (2, ended_hash(&list));
    let entry = statement.sign(DOMAIN, &world.providers[0].identity, &mut rand::rng()).to_entry();
    let mut view = LedgerView::new(DOMAIN);
    let checked = view.check(&entry, &world).unwrap();
    assert!(matches!(view.add(checked, &list), Err(EntryError::Ended { seq: 1, .. })));
}
