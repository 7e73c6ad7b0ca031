//! What an honest cloud answers is found whole.

use proptest::prelude::*;
use sealdex_ledger::{Verdict, answer::verify};

use crate::world::{Dice, World, coverable, meaning, question};

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn every_page_is_proved_and_together_they_are_all_matches(seed in any::<u64>()) {
        let dice = &mut Dice(seed);
        let world = World::random(dice);
        let view = world.view();
        for _ in 0..24 {
            // Some answers are of a state that the verifier has read beyond.
            let size = if dice.percent(30) { dice.below(world.batches.len() + 1) as u64 } else { world.size() };
            let mut asked = question(&world, dice);
            let provable = asked.sort.is_some() || coverable(&asked.clause);
            let mut all = Vec::new();
            loop {
                let page = world.answer(size, &asked);
                let proof = world.prove(size, &asked, &page);
                let verdict = verify(&view, size, &asked, &page, &proof);
                match verdict {
                    Ok(Verdict::Complete(shown)) => prop_assert!(provable && shown.size == size),
                    Ok(Verdict::Unproved(reason)) => prop_assert!(!provable && !reason.is_empty()),
                    Err(e) => prop_assert!(false, "{e}: {asked:?}"),
                }
                all.extend(meaning(&page));
                let Some(next) = page.next else { break };
                asked.after = Some(next);
            }
            let found = world.matching(size, &asked);
            let expected: Vec<_> =
                found.iter().map(|(_, b, r)| (r.id, Some(b.provider), r.index.tag.clone())).collect();
            prop_assert_eq!(all, expected);
        }
    }
}
