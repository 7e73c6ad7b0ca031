//! Whatever a cloud that knows the code makes up, a page found whole is the honest one.

use std::convert::Infallible;

use proptest::prelude::*;
use sealdex_crypto::RecordId;
use sealdex_ledger::{
    AnswerProof, Tampered, Verdict,
    run::{PAGE_PAIRS, RunError, RunProof, pages},
    tree,
};
use sealdex_wire::search::{CloudClause, CloudCursor, CloudMatch, CloudMatches, CloudSearch, CloudSort, Scoped};

use crate::world::{Case, Dice, World, clause, question, tag, term};

fn bend(bytes: &mut [u8], dice: &mut Dice) {
    if !bytes.is_empty() {
        bytes[dice.below(bytes.len())] ^= 1 << dice.below(8);
    }
}

fn pick<'a, T>(from: &'a mut [T], dice: &mut Dice) -> Option<&'a mut T> {
    let at = dice.below(from.len());
    from.get_mut(at)
}

/// One random alteration of a page.
fn bend_page(case: &Case, page: &mut CloudMatches, dice: &mut Dice) {
    let (count, any) = (page.matches.len(), dice.below(case.world.batches.len()));
    let records = &case.world.batches[any].records;
    let id = if records.is_empty() { RecordId(dice.bytes16()) } else { records[dice.below(records.len())].id };
    match dice.below(12) {
        0 if count > 0 => drop(page.matches.remove(dice.below(count))),
        1 => drop(page.matches.pop()),
        2 if count > 1 => page.matches.swap(dice.below(count), dice.below(count)),
        3 if count > 0 => page.matches.insert(dice.below(count), page.matches[dice.below(count)].clone()),
        4 => page.matches.insert(dice.below(count + 1), CloudMatch(id, dice.below(3) as u32, vec![1])),
        5 => {
            if let Some(m) = pick(&mut page.matches, dice) {
                m.0 = id;
            }
        }
        6 => {
            if let Some(m) = pick(&mut page.matches, dice) {
                m.1 ^= 1;
            }
        }
        7 => {
            if let Some(m) = pick(&mut page.matches, dice) {
                bend(&mut m.2, dice);
            }
        }
        8 => page.providers.reverse(),
        9 => page.next = None,
        10 => page.next = page.matches.last().map(|m| CloudCursor { code: dice.below(20) as u64, id: m.0 }),
        _ => page.next = Some(CloudCursor { code: dice.below(20) as u64, id }),
    }
}

/// One random alteration of a proof.
fn bend_proof(proof: &mut AnswerProof, other: &AnswerProof, dice: &mut Dice) {
    match dice.below(22) {
        0 => proof.size = dice.below(8) as u64,
        1 => {
            if let Some(r) = pick(&mut proof.ranges, dice) {
                bend(&mut r.lo, dice);
            }
        }
        2 => {
            if let Some(r) = pick(&mut proof.ranges, dice) {
                r.hi = [0xff; 16];
            }
        }
        3 => proof.ranges.truncate(proof.ranges.len().saturating_sub(1)),
        4 => proof.ranges.clone_from(&other.ranges),
        5 => drop(proof.runs.pop()),
        6 => {
            let at = dice.below(proof.runs.len());
            proof.runs.splice(at..at, other.runs.first().cloned());
        }
        7 => {
            if let Some(r) = pick(&mut proof.runs, dice) {
                r.seq ^= 1;
            }
        }
        8 => {
            if let Some(p) = pick(&mut proof.runs, dice).and_then(|r| pick(&mut r.pages, dice)) {
                *p ^= 1 << dice.below(3);
            }
        }
        9 => {
            if let Some(r) = pick(&mut proof.runs, dice) {
                bend(&mut r.pairs, dice);
            }
        }
        10 => {
            if let Some(r) = pick(&mut proof.runs, dice) {
                bend(&mut r.hashes, dice);
            }
        }
        11 => drop(proof.records.pop()),
        12 => {
            if let Some(r) = pick(&mut proof.records, dice) {
                r.seq ^= 1;
            }
        }
        13 => {
            if let Some(p) = pick(&mut proof.records, dice).and_then(|r| pick(&mut r.places, dice)) {
                *p ^= 1;
            }
        }
        14 => {
            if let Some(l) = pick(&mut proof.records, dice).and_then(|r| pick(&mut r.leaves, dice)) {
                let part = dice.below(5);
                let parts = [&mut l.id.0[..], &mut l.origin.0, &mut l.sealed, &mut l.tag, &mut l.terms];
                bend(parts.into_iter().nth(part).unwrap(), dice);
            }
        }
        15 => {
            if let Some(r) = pick(&mut proof.records, dice) {
                bend(&mut r.hashes, dice);
            }
        }
        16 => {
            if let Some(t) = pick(&mut proof.terms, dice) {
                bend(t, dice);
            }
        }
        17 => {
            if let Some(t) = pick(&mut proof.terms, dice) {
                t.clear();
            }
        }
        18 => proof.terms.reverse(),
        19 => proof.terms.clear(),
        20 => proof.records.clone_from(&other.records),
        _ => proof.clone_from(other),
    }
}

/// A question like another, which a cheat would rather answer.
fn near(world: &World, asked: &CloudSearch, dice: &mut Dice) -> CloudSearch {
    fn narrow(clause: &mut CloudClause, dice: &mut Dice) {
        match clause {
            CloudClause::Terms(t) => t.truncate(t.len().saturating_sub(16)),
            CloudClause::Range { lo, hi, .. } => match dice.below(4) {
                0 => *lo = lo.saturating_add(1 + dice.below(4) as u64).min(*hi),
                1 => *hi = hi.saturating_sub(1 + dice.below(4) as u64).max(*lo),
                2 => *hi = u64::MAX,
                _ => *lo = 0,
            },
            CloudClause::And(all) | CloudClause::Or(all) if !all.is_empty() => {
                let at = dice.below(all.len());
                if dice.percent(50) {
                    narrow(&mut all[at], dice);
                } else {
                    all.remove(at);
                }
            }
            CloudClause::Source(of) => of.truncate(1),
            CloudClause::Not(c) => *clause = (**c).clone(),
            other => *other = CloudClause::Or(Vec::new()),
        }
    }
    let mut near = asked.clone();
    match dice.below(9) {
        0..3 => narrow(&mut near.clause, dice),
        3 => {
            let of = world.providers[dice.below(world.providers.len())].identity.id();
            near.clause = CloudClause::And(vec![near.clause, CloudClause::Source(vec![of])]);
        }
        4 => near.clause = CloudClause::And(vec![near.clause, clause(world, dice, 0)]),
        5 => {
            // Another hospital's terms and tags than they are.
            let mut scopes = world.scopes();
            let wrong = world.hospitals[dice.below(world.hospitals.len())];
            scopes.iter_mut().for_each(|s| s.hospital = wrong);
            let terms = (0..6).flat_map(|k| term(None, k)).collect();
            let tags = (0..2).flat_map(|k| tag(None, k)).collect();
            scopes.push(Scoped { hospital: wrong, terms, tags });
            near.prove = Some(scopes);
        }
        6 => near.sort = near.sort.map(|s| CloudSort { descending: !s.descending, ..s }),
        7 => near.limit = 1 + dice.below(20) as u32,
        _ => near.after = world.answer(world.size(), asked).next,
    }
    near
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, ..ProptestConfig::default() })]

    #[test]
    fn altered_pages_and_proofs_never_pass(seed in any::<u64>()) {
        let dice = &mut Dice(seed);
        let case = Case::random(dice);
        let other_asked = question(&case.world, dice);
        let other_page = case.world.answer(case.world.size(), &other_asked);
        let other = case.world.prove(case.world.size(), &other_asked, &other_page);
        for _ in 0..60 {
            let (mut page, mut proof) = (case.page.clone(), case.proof.clone());
            let what = dice.below(3);
            for _ in 0..1 + dice.below(2) {
                if what != 0 { bend_page(&case, &mut page, dice) }
                if what != 1 { bend_proof(&mut proof, &other, dice) }
            }
            if let Ok(Verdict::Complete(shown)) = case.check(&page, &proof) {
                prop_assert!(case.is_honest(shown.size, &page), "{:?}\n{page:?}", case.asked);
            }
        }
    }

    #[test]
    fn proofs_of_other_questions_show_nothing_of_this_one(seed in any::<u64>()) {
        let dice = &mut Dice(seed);
        let case = Case::random(dice);
        let size = case.world.size();
        for _ in 0..30 {
            let near = near(&case.world, &case.asked, dice);
            let page = case.world.answer(size, &near);
            let mut proof = case.world.prove(size, &near, &page);
            for alter in 0..4 {
                match alter {
                    1 => proof.ranges.clone_from(&case.proof.ranges),
                    2 => proof.records.clone_from(&case.proof.records),
                    3 => proof.terms.clone_from(&case.proof.terms),
                    _ => {}
                }
                if let Ok(Verdict::Complete(_)) = case.check(&page, &proof) {
                    prop_assert!(case.is_honest(size, &page), "{:?}\n{near:?}\n{page:?}", case.asked);
                }
            }
            // The page that was asked for, with the proof of another: as good as it is.
            if let Ok(Verdict::Complete(_)) = case.check(&case.page, &proof) {
                prop_assert!(case.is_honest(size, &case.page));
            }
        }
    }

    #[test]
    fn pages_left_out_of_a_run_are_missed(seed in any::<u64>()) {
        let dice = &mut Dice(seed);
        let case = Case::random(dice);
        for at in 0..case.proof.runs.len() {
            let whole = &case.proof.runs[at];
            for gone in 0..whole.pages.len() {
                let kept: Vec<u64> =
                    whole.pages.iter().enumerate().filter(|(i, _)| *i != gone).map(|(_, p)| u64::from(*p)).collect();
                let mut proof = case.proof.clone();
                proof.runs[at] = rebuilt(&case.world, whole.seq, &kept);
                let found = case.check(&case.page, &proof);
                let uncovered = matches!(&found, Err(Tampered::Run { seq, source: RunError::Uncovered, .. })
                    if *seq == whole.seq);
                prop_assert!(uncovered, "{found:?}");
            }
        }
    }
}

/// These pages of a run, with hashes that fit.
pub(crate) fn rebuilt(world: &World, seq: u64, kept: &[u64]) -> RunProof {
    let trees = &world.batches[seq as usize - 1].trees;
    let count = pages(trees.pairs.len() as u64);
    let Ok(hashes) = tree::prove(count, kept, &mut |at| Ok::<_, Infallible>(trees.run.nodes()[at as usize]));
    let page = |p: &u64| trees.pairs.chunks(PAGE_PAIRS).nth(*p as usize).unwrap().as_flattened().to_vec();
    RunProof {
        seq,
        pages: kept.iter().map(|p| *p as u32).collect(),
        pairs: kept.iter().flat_map(page).collect::<Vec<u8>>().into(),
        hashes: hashes.concat().into(),
    }
}
