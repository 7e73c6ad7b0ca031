//! Each way to alter an answer has its name.

use sealdex_crypto::{PrincipalId, RecordId};
use sealdex_ledger::{
    BatchTrees, RecordsProof, Tampered, Verdict,
    answer::{verify, verify_fetched},
    run::{RunError, TermRange, page_hashes, pages},
    tree::{FlatTree, TreeError},
};
use sealdex_wire::search::{CloudClause, CloudCursor, CloudMatch, CloudSort};

use crate::world::{Case, fixed, order, tag, term};

fn terms() -> Case {
    Case::fixed(CloudClause::Terms(term(None, 1).to_vec()), None, 20)
}

fn sorted() -> Case {
    let sort = CloudSort { tag: tag(None, 0), descending: true };
    Case::fixed(CloudClause::Not(Box::new(CloudClause::Terms(term(None, 2).to_vec()))), Some(sort), 20)
}

fn both() -> Case {
    let range = CloudClause::Range { tag: tag(None, 1), lo: 3, hi: 9 };
    Case::fixed(CloudClause::And(vec![CloudClause::Terms(term(None, 1).to_vec()), range]), None, 10)
}

fn cases() -> [Case; 3] {
    [terms(), sorted(), both()]
}

#[test]
fn they_are_whole_before_they_are_altered() {
    for case in cases() {
        let Ok(Verdict::Complete(shown)) = case.check(&case.page, &case.proof) else { panic!("{:?}", case.asked) };
        assert!(shown.runs == 6 && shown.pairs > 20 && case.page.next.is_some() && case.page.providers.len() > 2);
    }
}

#[test]
fn matches_left_out_are_named() {
    for case in cases() {
        for at in 0..case.page.matches.len() {
            let mut page = case.page.clone();
            let gone = page.matches.remove(at).0;
            assert_eq!(case.check(&page, &case.proof), Err(Tampered::LeftOut(gone)), "match {at}");
        }
        let mut page = case.page.clone();
        page.matches.clear();
        assert_eq!(case.check(&page, &case.proof), Err(Tampered::LeftOut(case.page.matches[0].0)));
    }
}

#[test]
fn a_page_may_not_end_early() {
    for case in cases() {
        // One match fewer, and a cursor that fits.
        let mut asked = case.asked.clone();
        asked.limit -= 1;
        let page = case.world.answer(6, &asked);
        let last = case.page.matches.last().unwrap().0;
        let proof = case.world.prove(6, &case.asked, &page);
        let found = case.check(&page, &proof);
        match case.asked.sort {
            None => assert_eq!(found, Err(Tampered::LeftOut(last))),
            Some(_) => assert!(matches!(found, Err(Tampered::End { .. } | Tampered::LeftOut(_))), "{found:?}"),
        }
        // Said to be all there is.
        let mut page = case.page.clone();
        page.next = None;
        let proof = case.world.prove(6, &case.asked, &page);
        let found = case.check(&page, &proof);
        assert_eq!(found, Err(Tampered::End { expected: "more", found: "none" }));
        // A cursor beyond what was answered: what is between would be lost.
        let mut asked = case.asked.clone();
        asked.limit += 5;
        let mut page = case.page.clone();
        page.next = case.world.answer(6, &asked).next;
        let proof = case.world.prove(6, &case.asked, &page);
        assert!(matches!(case.check(&page, &proof), Err(Tampered::Order(_))));
    }
}

#[test]
fn the_last_page_may_not_promise_more() {
    for mut case in cases() {
        case.asked.limit = 10_000;
        let mut page = case.world.answer(6, &case.asked);
        assert_eq!(page.next, None);
        let last = case.world.matching(6, &case.asked).last().unwrap().0;
        for (limit, after) in [(10_000, last), (page.matches.len() as u32, last)] {
            case.asked.limit = limit;
            // With a proof for the page as it is, up to the end of the matches.
            page.next = None;
            let proof = case.world.prove(6, &case.asked, &page);
            page.next = Some(after);
            assert_eq!(case.check(&page, &proof), Err(Tampered::End { expected: "no", found: "more" }), "{limit}");
        }
    }
}

#[test]
fn matches_in_another_order_or_repeated_are_named() {
    for case in cases() {
        let mut page = case.page.clone();
        page.matches.swap(2, 5);
        assert_eq!(case.check(&page, &case.proof), Err(Tampered::Order(case.page.matches[5].0)));
        let mut page = case.page.clone();
        page.matches.insert(4, page.matches[3].clone());
        assert_eq!(case.check(&page, &case.proof), Err(Tampered::Invented(case.page.matches[3].0)));
        let mut page = case.page.clone();
        let gone = std::mem::replace(&mut page.matches[4], case.page.matches[3].clone()).0;
        assert_eq!(case.check(&page, &case.proof), Err(Tampered::LeftOut(gone)));
    }
}

#[test]
fn records_that_do_not_match_are_named() {
    for case in cases() {
        let mut page = case.page.clone();
        page.matches.push(CloudMatch(RecordId([9; 16]), 0, vec![1]));
        assert_eq!(case.check(&page, &case.proof), Err(Tampered::Invented(RecordId([9; 16]))));
        let matching = case.world.matching(6, &case.asked);
        let all = case.world.batches.iter().flat_map(|b| &b.records);
        let other = all
            .filter(|r| case.world.is_live(r.id, 6) && matching.iter().all(|(at, ..)| at.id != r.id))
            .max_by_key(|r| r.index.terms.len());
        let other = other.unwrap();
        let mut page = case.page.clone();
        page.matches.push(CloudMatch(other.id, 0, other.index.tag.clone()));
        assert_eq!(case.check(&page, &case.proof), Err(Tampered::Invented(other.id)));
    }
}

#[test]
fn replaced_versions_are_named() {
    for case in cases() {
        let mut asked = case.asked.clone();
        asked.limit = 10_000;
        let mut count = 0;
        for size in 1..6 {
            for (_, b, r) in case.world.matching(size, &asked) {
                if case.world.is_live(r.id, 6) {
                    continue;
                }
                count += 1;
                let mut page = case.page.clone();
                if !page.providers.contains(&b.provider) {
                    page.providers.push(b.provider);
                }
                let of = page.providers.iter().position(|p| *p == b.provider).unwrap() as u32;
                page.matches.insert(3, CloudMatch(r.id, of, r.index.tag.clone()));
                assert_eq!(case.check(&page, &case.proof), Err(Tampered::Replaced(r.id)));
                // As of a state before, it was whole.
                let page = case.world.answer(size, &case.asked);
                let proof = case.world.prove(size, &case.asked, &page);
                assert!(matches!(case.check(&page, &proof), Ok(Verdict::Complete(s)) if s.size == size));
            }
        }
        assert!(count > 5);
    }
}

#[test]
fn states_are_those_of_the_log() {
    for case in cases() {
        let page = case.world.answer(4, &case.asked);
        let proof = case.world.prove(4, &case.asked, &page);
        let at = |known| verify(&case.view, known, &case.asked, &page, &proof);
        assert!(matches!(at(4), Ok(Verdict::Complete(s)) if s.size == 4));
        assert_eq!(at(5), Err(Tampered::Hidden { answered: 4, known: 5 }));
        let mut later = proof.clone();
        later.size = 6;
        assert!(matches!(case.check(&page, &later), Err(Tampered::RunMissing { seq: 5, .. })));
        later.size = 7;
        assert_eq!(case.check(&page, &later), Err(Tampered::Ahead { answered: 7, known: 6 }));
        // An answer of six batches as if of four, and of four as if of six.
        assert!(case.check(&case.page, &proof).is_err());
        assert!(case.check(&page, &case.proof).is_err());
        let mut unproved = proof.clone();
        unproved.unproved = Some("not today".into());
        assert!(matches!(case.check(&page, &unproved), Ok(Verdict::Unproved(_))));
        let found = verify(&case.view, 5, &case.asked, &page, &unproved);
        assert_eq!(found, Err(Tampered::Hidden { answered: 4, known: 5 }), "also if it is not proved");
    }
}

#[test]
fn tags_and_providers_are_those_of_the_record() {
    for case in cases() {
        for at in [0, 3, case.page.matches.len() - 1] {
            let id = case.page.matches[at].0;
            let mut page = case.page.clone();
            page.matches[at].2[3] ^= 4;
            assert_eq!(case.check(&page, &case.proof), Err(Tampered::Tag(id)));
            let mut page = case.page.clone();
            page.matches[at].1 = (page.matches[at].1 + 1) % page.providers.len() as u32;
            assert_eq!(case.check(&page, &case.proof), Err(Tampered::Provider(id)));
            page.matches[at].1 = 99;
            assert_eq!(case.check(&page, &case.proof), Err(Tampered::Provider(id)));
        }
        let mut page = case.page.clone();
        page.providers[0] = PrincipalId([1; 16]);
        assert_eq!(case.check(&page, &case.proof), Err(Tampered::Provider(case.page.matches[0].0)));
    }
}

#[test]
fn every_part_of_a_run_is_signed() {
    for case in cases() {
        for (i, run) in case.proof.runs.iter().enumerate() {
            let provider = case.world.batches[i].provider;
            let with = |alter: &dyn Fn(&mut sealdex_ledger::run::RunProof)| {
                let mut proof = case.proof.clone();
                alter(&mut proof.runs[i]);
                match case.check(&case.page, &proof) {
                    Err(Tampered::Run { seq, provider: of, source }) if seq == run.seq && of == provider => source,
                    other => panic!("{other:?}"),
                }
            };
            for at in (0..run.pairs.len()).step_by(37) {
                assert_eq!(with(&|r| r.pairs[at] ^= 1), RunError::Tree(TreeError::Root), "pair byte {at}");
            }
            for at in (0..run.hashes.len()).step_by(9) {
                assert_eq!(with(&|r| r.hashes[at] ^= 128), RunError::Tree(TreeError::Root), "hash byte {at}");
            }
            for at in 0..run.pages.len() {
                assert!(matches!(with(&|r| r.pages[at] += 1), RunError::Tree(_) | RunError::Shape), "page {at}");
            }
            assert_eq!(with(&|r| r.pages[0] = u32::MAX), RunError::Shape);
            assert_eq!(
                with(&|r| {
                    r.pairs.pop();
                }),
                RunError::Shape
            );
            assert_eq!(with(&|r| r.hashes.push(0)), RunError::Shape);
            assert_eq!(with(&|r| r.hashes.extend([0; 32])), RunError::Tree(TreeError::Length));
            assert_eq!(with(&|r| r.pairs.extend([0; 32])), RunError::Shape);
            // A page shown twice.
            assert_eq!(
                with(&|r| {
                    r.pages.insert(0, r.pages[0]);
                    let page = r.pairs[..512.min(r.pairs.len())].to_vec();
                    r.pairs.splice(0..0, page);
                }),
                RunError::Tree(TreeError::Places)
            );
            // No pages at all, with the root itself for a hash.
            let root = case.world.batches[i].trees.run_root();
            assert_eq!(
                with(&|r| {
                    r.pages.clear();
                    r.pairs.clear();
                    r.hashes = root.to_vec().into();
                }),
                RunError::Uncovered
            );
        }
    }
}

#[test]
fn every_run_must_be_there_once_and_in_order() {
    for case in cases() {
        for at in 0..6 {
            let provider = case.world.batches[at].provider;
            let missing = Err(Tampered::RunMissing { seq: at as u64 + 1, provider });
            let mut proof = case.proof.clone();
            proof.runs.remove(at);
            assert_eq!(case.check(&case.page, &proof), missing);
            let mut proof = case.proof.clone();
            proof.runs[at].seq += 1;
            assert_eq!(case.check(&case.page, &proof), missing);
            let mut proof = case.proof.clone();
            proof.runs.insert(at + 1, proof.runs[at].clone());
            let found = case.check(&case.page, &proof);
            assert!(matches!(found, Err(Tampered::RunMissing { .. } | Tampered::OtherQuestion)), "{found:?}");
        }
        let mut proof = case.proof.clone();
        proof.runs.swap(0, 1);
        assert!(matches!(case.check(&case.page, &proof), Err(Tampered::RunMissing { seq: 1, .. })));
    }
}

#[test]
fn every_part_of_a_leaf_is_signed() {
    for case in cases() {
        let records = &case.proof.records[2];
        let (seq, provider) = (records.seq, case.world.batches[records.seq as usize - 1].provider);
        let with = |alter: &dyn Fn(&mut RecordsProof)| {
            let mut proof = case.proof.clone();
            alter(&mut proof.records[2]);
            case.check(&case.page, &proof)
        };
        let wrong = |source| Err(Tampered::Records { seq, provider, source });
        assert_eq!(with(&|r| r.leaves[0].id.0[0] ^= 1), wrong(TreeError::Root));
        assert_eq!(with(&|r| r.leaves[0].origin.0[0] ^= 1), wrong(TreeError::Root));
        assert_eq!(with(&|r| r.leaves[0].sealed[0] ^= 1), wrong(TreeError::Root));
        assert_eq!(with(&|r| r.leaves[0].tag[0] ^= 1), wrong(TreeError::Root));
        assert_eq!(with(&|r| r.leaves[0].terms[31] ^= 1), wrong(TreeError::Root));
        assert_eq!(with(&|r| r.hashes[0] ^= 1), wrong(TreeError::Root));
        assert_eq!(with(&|r| r.places[0] = 1000), wrong(TreeError::Places));
        assert_eq!(with(&|r| r.places.truncate(r.places.len() - 1)), wrong(TreeError::Length));
        assert_eq!(with(&|r| r.hashes.push(0)), wrong(TreeError::Length));
        let mut proof = case.proof.clone();
        proof.records[2].seq = 77;
        assert_eq!(case.check(&case.page, &proof), Err(Tampered::Ahead { answered: 77, known: 6 }));
    }
}

#[test]
fn leaves_and_terms_that_decide_must_be_there() {
    for case in cases() {
        // Another record's leaf where this one's must be, honestly proved.
        let place = case.proof.records[1].places[0];
        let (seq, id) = (case.proof.records[1].seq, case.proof.records[1].leaves[0].id);
        let mut proof = case.proof.clone();
        let rest: Vec<u32> = proof.records[1].places.iter().copied().filter(|p| *p != place).collect();
        proof.records[1] = case.world.records_proof(seq, rest);
        let at: usize = proof.records[..1].iter().map(|r| r.places.len()).sum();
        proof.terms.remove(at);
        assert_eq!(case.check(&case.page, &proof), Err(Tampered::LeafMissing(id)));
    }
    for case in [sorted(), both()] {
        let leaves: Vec<RecordId> = case.proof.records.iter().flat_map(|r| &r.leaves).map(|l| l.id).collect();
        for at in [0, 5, leaves.len() - 1] {
            let mut proof = case.proof.clone();
            proof.terms[at][1] ^= 1;
            assert_eq!(case.check(&case.page, &proof), Err(Tampered::Terms(leaves[at])));
            let mut proof = case.proof.clone();
            let fewer = proof.terms[at].len() - 16;
            proof.terms[at].truncate(fewer.max(1));
            assert_eq!(case.check(&case.page, &proof), Err(Tampered::Terms(leaves[at])));
            let mut proof = case.proof.clone();
            proof.terms[at].clear();
            assert_eq!(case.check(&case.page, &proof), Err(Tampered::LeafMissing(leaves[at])));
        }
        let mut proof = case.proof.clone();
        proof.terms.clear();
        assert!(matches!(case.check(&case.page, &proof), Err(Tampered::LeafMissing(_))));
    }
}

#[test]
fn ranges_that_do_not_cover_the_question_are_another_question() {
    for case in cases() {
        let with = |ranges: Vec<TermRange>| {
            let mut proof = case.proof.clone();
            proof.ranges = ranges;
            case.check(&case.page, &proof)
        };
        assert_eq!(with(Vec::new()), Err(Tampered::OtherQuestion));
        assert_eq!(with(vec![TermRange::one(term(None, 3))]), Err(Tampered::OtherQuestion));
        let whole = case.proof.ranges[0];
        let (mut low, mut high) = (whole, whole);
        low.lo[15] = low.lo[15].wrapping_add(1);
        high.hi[15] = high.hi[15].wrapping_sub(1);
        assert_eq!(with(vec![low]), Err(Tampered::OtherQuestion));
        assert_eq!(with(vec![high]), Err(Tampered::OtherQuestion));
        // Wider than the question: then more has to be shown.
        let wide = TermRange { lo: [0; 16], hi: [0xff; 16] };
        assert!(matches!(with(vec![wide]), Err(Tampered::Run { seq: 1, source: RunError::Uncovered, .. })));
    }
    // Each half covers a part only.
    let tag = tag(None, 0);
    let case = Case::fixed(CloudClause::Range { tag, lo: 2, hi: 9 }, None, 10);
    let mut proof = case.proof.clone();
    proof.ranges = vec![TermRange::codes(tag, 2, 4), TermRange::codes(tag, 6, 9)];
    assert_eq!(case.check(&case.page, &proof), Err(Tampered::OtherQuestion));
}

#[test]
fn a_wider_range_does_not_make_a_match() {
    // Pairs of a range that is wider than the clause do not decide.
    let tag = tag(None, 0);
    let wide = CloudClause::Range { tag, lo: 2, hi: 12 };
    let mut case = Case::fixed(wide, None, 100);
    case.asked.clause = CloudClause::Range { tag, lo: 4, hi: 9 };
    let found = case.check(&case.page, &case.proof);
    assert!(matches!(found, Err(Tampered::LeafMissing(_))), "{found:?}");
}

#[test]
fn a_run_out_of_order_is_refused_though_signed() {
    let mut world = fixed();
    let mut records = world.batches[0].records.clone();
    for (i, r) in records.iter_mut().enumerate() {
        r.id.0 = [0xf0 | i as u8 & 15; 16];
        r.id.0[1] = i as u8;
        r.index.origin.0 = r.id.0;
    }
    let mut trees = BatchTrees::new(&records);
    // A pair of the term away from the others.
    let wanted = term(None, 1);
    let at = trees.pairs.iter().position(|p| p[..16] == wanted).unwrap();
    let away = if at > trees.pairs.len() / 2 { 0 } else { trees.pairs.len() - 1 };
    trees.pairs.swap(at, away);
    trees.run = FlatTree::new(page_hashes(&trees.pairs));
    world.push_as(0, records, trees);
    let asked = terms().asked;
    let case = Case::of(world, asked);
    let mut proof = case.proof.clone();
    let last = proof.runs.last_mut().unwrap();
    let every: Vec<u64> = (0..pages(case.world.batches[6].trees.pairs.len() as u64)).collect();
    *last = crate::smart::rebuilt(&case.world, 7, &every);
    let found = case.check(&case.page, &proof);
    assert!(matches!(found, Err(Tampered::Run { seq: 7, source: RunError::Order, .. })), "{found:?}");
}

#[test]
fn scopes_spare_other_hospitals_and_only_those() {
    let h = fixed().hospitals[1];
    for clause in [
        CloudClause::Terms(term(Some(h), 1).to_vec()),
        CloudClause::Range { tag: tag(Some(h), 0), lo: 2, hi: 9 },
        CloudClause::Range { tag: tag(Some(h), 0), lo: 5, hi: 5 },
    ] {
        let case = Case::fixed(clause.clone(), None, 5);
        let own: Vec<u64> = (1..=6).filter(|s| case.view.batch(*s).unwrap().hospital == h).collect();
        assert_eq!(case.proof.runs.iter().map(|r| r.seq).collect::<Vec<_>>(), own);
        assert!(matches!(case.check(&case.page, &case.proof), Ok(Verdict::Complete(_))));
        let mut all = case.asked.clone();
        all.prove = Some(Vec::new());
        let found = verify(&case.view, 6, &all, &case.page, &case.proof);
        assert!(matches!(found, Err(Tampered::RunMissing { seq: 1, .. })), "no scopes, no sparing: {found:?}");
    }
    // Providers that are asked for spare the others too.
    let of = fixed().providers[2].identity.id();
    let clause = CloudClause::And(vec![CloudClause::Terms(term(None, 0).to_vec()), CloudClause::Source(vec![of])]);
    let case = Case::fixed(clause, None, 5);
    assert_eq!(case.proof.runs.iter().map(|r| r.seq).collect::<Vec<_>>(), [3]);
    assert!(matches!(case.check(&case.page, &case.proof), Ok(Verdict::Complete(_))));
}

#[test]
fn pages_of_many_codes_begin_and_end_within_a_code() {
    for descending in [false, true] {
        let sort = CloudSort { tag: tag(None, 0), descending };
        let mut case = Case::fixed(CloudClause::All, Some(sort), 3);
        let all = case.world.matching(6, &case.asked);
        let ties = all.windows(2).filter(|w| w[0].0.code == w[1].0.code).count();
        assert!(ties > 20);
        let mut seen = 0;
        while let Some(next) = case.page.next {
            assert!(matches!(case.check(&case.page, &case.proof), Ok(Verdict::Complete(_))));
            // Begun one later in the same code: the one between is missed.
            seen += case.page.matches.len();
            case.asked.after = Some(next);
            let skip = CloudCursor { code: next.code, ..case.world.answer(6, &case.asked).next.unwrap_or(next) };
            let mut wrong = case.asked.clone();
            wrong.after = Some(skip);
            let (page, honest) = (case.world.answer(6, &wrong), case.world.answer(6, &case.asked));
            if page != honest {
                let proof = case.world.prove(6, &wrong, &page);
                assert!(case.check(&page, &proof).is_err());
            }
            let world = std::mem::replace(&mut case.world, fixed());
            case = Case::of(world, case.asked.clone());
        }
        assert!(matches!(case.check(&case.page, &case.proof), Ok(Verdict::Complete(_))));
        assert!(seen > 100);
    }
}

#[test]
fn fetched_records_are_those_of_the_log() {
    let case = terms();
    let world = &case.world;
    let of = |seq: u64, place: usize| {
        let b = &world.batches[seq as usize - 1];
        (b.records[place].id, b.provider, b.records[place].sealed.clone())
    };
    let wanted = [of(2, 4), of(2, 9), of(5, 0)];
    let proofs = [world.records_proof(2, vec![4, 9]), world.records_proof(5, vec![0])];
    let check = |records: &[(RecordId, PrincipalId, Vec<u8>)], proofs: &[RecordsProof]| {
        verify_fetched(&case.view, records.iter().map(|(id, p, s)| (*id, *p, s.as_slice())), proofs)
    };
    assert_eq!(check(&wanted, &proofs), Ok(()));
    for at in 0..3 {
        let id = wanted[at].0;
        let mut records = wanted.clone();
        records[at].2[0] ^= 1;
        assert_eq!(check(&records, &proofs), Err(Tampered::Sealed(id)));
        records[at].2.clear();
        assert_eq!(check(&records, &proofs), Err(Tampered::Sealed(id)));
        let mut records = wanted.clone();
        records[at].1 = world.providers[2].identity.id();
        assert_eq!(check(&records, &proofs), Err(Tampered::Provider(id)));
        let mut records = wanted.clone();
        records[at].2.clone_from(&wanted[(at + 1) % 3].2);
        assert_eq!(check(&records, &proofs), Err(Tampered::Sealed(id)));
        records[at] = (RecordId([7; 16]), wanted[at].1, vec![1]);
        assert_eq!(check(&records, &proofs), Err(Tampered::Invented(RecordId([7; 16]))));
    }
    assert_eq!(check(&wanted, &proofs[..1]), Err(Tampered::Invented(wanted[2].0)));
    // A leaf of one batch in another's name, one that was altered, and one nobody signed.
    let mut bent = proofs.clone();
    bent[0].seq = 3;
    assert!(matches!(check(&wanted, &bent), Err(Tampered::Records { seq: 3, source: TreeError::Root, .. })));
    for seq in [0, 7, u64::MAX] {
        bent[0].seq = seq;
        assert_eq!(check(&wanted, &bent), Err(Tampered::Ahead { answered: seq, known: 6 }));
    }
    let mut bent = proofs.clone();
    bent[1].leaves[0].sealed = sealdex_ledger::part_hash(b"other");
    let other = [of(2, 4), (wanted[2].0, wanted[2].1, b"other".to_vec())];
    assert!(matches!(check(&other, &bent), Err(Tampered::Records { seq: 5, source: TreeError::Root, .. })));
    let mut bent = proofs.clone();
    bent[0].leaves.push(bent[1].leaves[0]);
    assert!(matches!(check(&wanted, &bent), Err(Tampered::Records { seq: 2, source: TreeError::Length, .. })));
}

#[test]
fn a_term_and_a_code_of_the_same_bytes_are_one() {
    // A range of one code and the term itself ask the same.
    let tag = tag(None, 0);
    let range = Case::fixed(CloudClause::Range { tag, lo: 5, hi: 5 }, None, 100);
    let term = Case::fixed(CloudClause::Terms(order(tag, 5).to_vec()), None, 100);
    assert_eq!(range.page.matches, term.page.matches);
    assert!(matches!(range.check(&range.page, &term.proof), Ok(Verdict::Complete(_))));
}

#[test]
fn a_scope_is_of_ranges_within_it_only() {
    // A range from within one hospital's tag to a term of all would hide all others' records that have it.
    let world = fixed();
    let wanted = term(None, 1);
    let low = |h: &PrincipalId| (0..2).map(|k| tag(Some(*h), k)).find(|t| t[..] < wanted[..8]);
    let (h, low) = world.hospitals.iter().find_map(|h| Some((*h, low(h)?))).unwrap();
    let mut case = Case::of(world, terms().asked);
    case.asked.limit = 1000;
    let own: Vec<PrincipalId> =
        case.world.providers.iter().filter(|p| p.hospital == h).map(|p| p.identity.id()).collect();
    let mut narrow = case.asked.clone();
    narrow.clause = CloudClause::And(vec![narrow.clause, CloudClause::Source(own)]);
    let page = case.world.answer(6, &narrow);
    let mut proof = case.world.prove(6, &narrow, &page);
    proof.ranges = vec![TermRange { lo: order(low, 0), hi: wanted }];
    (proof.runs, proof.records, proof.terms) = Default::default();
    for (seq, b) in (1..).zip(&case.world.batches).filter(|(_, b)| b.hospital == h) {
        let every: Vec<u64> = (0..pages(b.trees.pairs.len() as u64)).collect();
        proof.runs.push(crate::smart::rebuilt(&case.world, seq, &every));
        proof.records.push(case.world.records_proof(seq, (0..b.records.len() as u32).collect()));
        proof.terms.extend(b.records.iter().map(|r| r.index.terms.clone().into()));
    }
    let found = case.check(&page, &proof);
    assert!(matches!(found, Err(Tampered::RunMissing { .. })), "{found:?}");
}

#[test]
fn a_leaf_is_of_the_batch_of_its_pair() {
    // Another hospital's provider pushes a record with this one's id and another tag.
    let mut world = fixed();
    let asked = terms().asked;
    let (_, b, r) = world.matching(6, &asked)[0];
    let (hospital, mut copy) = (b.hospital, r.clone());
    copy.index.tag = vec![9; 16];
    copy.index.origin.0 = [9; 16];
    copy.index.terms.clear();
    let id = copy.id;
    let other = world.providers.iter().position(|p| p.hospital != hospital).unwrap();
    world.push(other, vec![copy]);
    let case = Case::of(world, asked);
    assert!(matches!(case.check(&case.page, &case.proof), Ok(Verdict::Complete(_))));
    let mut page = case.page.clone();
    let place = page.matches.iter().position(|m| m.0 == id).unwrap();
    page.matches[place].2 = vec![9; 16];
    assert_eq!(case.check(&page, &case.proof), Err(Tampered::Tag(id)));
    let mut proof = case.proof.clone();
    proof.records.push(case.world.records_proof(7, vec![0]));
    proof.terms.push(Default::default());
    assert_eq!(case.check(&page, &proof), Err(Tampered::Tag(id)), "the leaf of the copy is no leaf of the record");
}
