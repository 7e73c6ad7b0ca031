//! What the contract takes and what it refuses.

use proptest::prelude::*;
use revm::primitives::{Address, B256, keccak256};
use sealdex_crypto::log::{Hash, node_hash, verify_consistency, verify_inclusion};

use crate::{
    chain::{Contract, GENESIS, call, number, post, verify_inclusion as inclusion_call},
    trees::{Uniform, honest, leaf, tree},
};

fn log(n: u64) -> [u8; 32] {
    keccak256(n.to_be_bytes()).into()
}

fn error(signature: &str, arguments: &[u64]) -> Vec<u8> {
    let words: Vec<B256> = arguments.iter().map(|n| number(*n)).collect();
    call(signature, &words)
}

fn inconsistent(anchored: u64) -> Vec<u8> {
    error("Inconsistent(uint64)", &[anchored])
}

/// Every proof that is almost this one: a bit flipped, an element missing, doubled, added, or two exchanged.
fn almost(proof: &[Hash]) -> Vec<Vec<Hash>> {
    let mut all = Vec::new();
    for at in 0..proof.len() {
        for bit in 0..256 {
            let mut other = proof.to_vec();
            other[at][bit / 8] ^= 1 << (bit % 8);
            all.push(other);
        }
    }
    all.extend(misshapen(proof));
    all
}

fn misshapen(proof: &[Hash]) -> Vec<Vec<Hash>> {
    let mut all = Vec::new();
    for at in 0..proof.len() {
        let mut without = proof.to_vec();
        without.remove(at);
        all.push(without);
        all.push(proof[..at].to_vec());
        let mut twice = proof.to_vec();
        twice.insert(at, proof[at]);
        all.push(twice);
        if at > 0 && proof[at] != proof[at - 1] {
            let mut exchanged = proof.to_vec();
            exchanged.swap(at, at - 1);
            all.push(exchanged);
        }
    }
    for extra in [[0; 32], [0xff; 32]] {
        all.push([proof, &[extra]].concat());
        all.push([&[extra], proof].concat());
    }
    all
}

#[test]
fn every_small_log_grows_and_forks_of_it_are_refused() {
    let mut contract = Contract::deploy();
    let whole = honest(40);
    for new in 2..=40 {
        for old in 1..new {
            let id = log(old << 8 | new);
            contract.post(id, old, whole.root_at(old).unwrap(), &[]).unwrap();
            // A fork anywhere before the anchored size, with the fork's own, honest proof.
            for forked_at in [0, old / 2, old - 1] {
                let fork = tree(new, forked_at);
                let proof = fork.consistency_proof(old, new).unwrap();
                assert_eq!(contract.would_post(id, new, fork.root(), &proof), Err(inconsistent(old)));
            }
            let (root, proof) = (whole.root_at(new).unwrap(), whole.consistency_proof(old, new).unwrap());
            for proof in misshapen(&proof) {
                assert_eq!(contract.would_post(id, new, root, &proof), Err(inconsistent(old)), "{old} {new}");
            }
            contract.post(id, new, root, &proof).unwrap();
            let anchored = error("NotNewer(uint64)", &[new]);
            for size in [0, old, new] {
                assert_eq!(contract.would_post(id, size, root, &[]), Err(anchored.clone()));
            }
        }
    }
}

#[test]
fn no_bit_of_a_proof_or_root_can_be_changed() {
    let mut contract = Contract::deploy();
    let whole = honest(70);
    for (old, new) in [(1, 2), (3, 4), (4, 7), (6, 11), (7, 8), (8, 9), (13, 40), (32, 64), (33, 64), (63, 70)] {
        let id = log(old << 8 | new);
        let (root, proof) = (whole.root_at(new).unwrap(), whole.consistency_proof(old, new).unwrap());
        contract.post(id, old, whole.root_at(old).unwrap(), &[]).unwrap();
        for other in almost(&proof) {
            assert_eq!(contract.would_post(id, new, root, &other), Err(inconsistent(old)), "{old} {new}");
        }
        for other in almost(&[root]).into_iter().filter(|other| other.len() == 1 && other[0] != root) {
            assert_eq!(contract.would_post(id, new, other[0], &proof), Err(inconsistent(old)), "{old} {new}");
        }
        assert_eq!(contract.would_post(id, new, root, &proof), Ok(()));
    }
}

#[test]
fn huge_logs_grow_and_their_entries_are_found() {
    let (mut contract, trees) = (Contract::deploy(), Uniform::new());
    let sizes = [1_u64, 2, 999, 1 << 20, (1 << 20) + 1, 999_999_937, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 63];
    for (i, old) in sizes.into_iter().enumerate() {
        for new in &sizes[i + 1..] {
            let id = log(old ^ new.rotate_left(17));
            let (root, proof) = (trees.root(*new), trees.consistency(old, *new));
            verify_consistency(old, &trees.root(old), *new, &root, &proof).unwrap();
            contract.post(id, old, trees.root(old), &[]).unwrap();
            for at in 0..proof.len() {
                let mut other = proof.clone();
                other[at][at % 32] ^= 1;
                assert_eq!(contract.would_post(id, *new, root, &other), Err(inconsistent(old)));
            }
            assert_eq!(contract.would_post(id, *new, root, &proof[1..]), Err(inconsistent(old)));
            contract.post(id, *new, root, &proof).unwrap();
            for index in [0, old - 1, old, new - 1] {
                let proof = trees.inclusion(index, *new);
                verify_inclusion(&trees.leaf(), index, *new, &proof, &root).unwrap();
                assert!(contract.includes(id, *new, trees.leaf(), index, &proof));
                assert!(!contract.includes(id, *new, trees.leaf(), index, &proof[1..]));
            }
            assert!(!contract.includes(id, *new, trees.leaf(), *new, &trees.inclusion(0, *new)));
        }
    }
}

#[test]
fn every_entry_of_every_small_log_is_found_and_nothing_else_is() {
    let mut contract = Contract::deploy();
    let (whole, id) = (honest(40), log(0));
    for size in 1..=40 {
        let proof = if size > 1 { whole.consistency_proof(size - 1, size).unwrap() } else { vec![] };
        contract.post(id, size, whole.root_at(size).unwrap(), &proof).unwrap();
    }
    for size in 1..=40 {
        for index in 0..size {
            let proof = whole.inclusion_proof(index, size).unwrap();
            assert!(contract.includes(id, size, leaf(index, false), index, &proof), "{index} of {size}");
            assert!(!contract.includes(id, size, leaf(index, true), index, &proof));
            for wrong in misshapen(&proof) {
                assert!(!contract.includes(id, size, leaf(index, false), index, &wrong), "{index} of {size}");
            }
            let thorough = size <= 7 || size == 40 && index % 20 == 0;
            let flipped = almost(&proof).into_iter().filter(|_| thorough);
            for wrong in flipped {
                assert!(!contract.includes(id, size, leaf(index, false), index, &wrong), "{index} of {size}");
            }
            for other in (0..=size).chain([u64::MAX]).filter(|other| *other != index) {
                assert!(
                    !contract.includes(id, size, leaf(index, false), other, &proof),
                    "{index} as {other} of {size}"
                );
            }
        }
    }
}

/// A size is not in its root: a poster can claim another one for it as long as the proof has the right shape. RFC 9162
/// says which shapes are right; the library and the contract agree on each.
#[test]
fn a_proof_of_other_sizes_is_taken_only_if_it_has_the_same_shape() {
    let mut contract = Contract::deploy();
    let (whole, above) = (honest(18), [9; 32]);
    let root = |size| whole.root_at(size).unwrap();
    let mut taken = [0, 0];
    for (old, new) in (2..=18).flat_map(|new| (1..new).map(move |old| (old, new))) {
        let (id, proof) = (log(old << 8 | new), whole.consistency_proof(old, new).unwrap());
        contract.post(id, old, root(old), &[]).unwrap();
        for size in old + 1..=40 {
            let wanted = verify_consistency(old, &root(old), size, &root(new), &proof).is_ok();
            assert_eq!(contract.would_post(id, size, root(new), &proof).is_ok(), wanted, "{old} {new} as {size}");
            taken[usize::from(wanted)] += 1;
        }
        // Both roots lifted by the same hash: right if one climbs on where the tree ends.
        let (id, lifted) = (log(1 << 16 | old << 8 | new), [&proof[..], &[above]].concat());
        contract.post(id, old, node_hash(&above, &root(old)), &[]).unwrap();
        let refused = contract.would_post(id, new, node_hash(&above, &root(new)), &lifted);
        assert_eq!(refused, Err(inconsistent(old)), "{old} {new}");
    }
    assert!(taken[0] > 1000 && taken[1] > 100, "{taken:?}");
}

#[test]
fn an_inclusion_proof_of_another_size_is_taken_only_if_it_has_the_same_shape() {
    let mut contract = Contract::deploy();
    let (whole, above) = (honest(12), [9; 32]);
    for size in 1..=12 {
        let root = whole.root_at(size).unwrap();
        for claimed in 1..=20 {
            let (id, lifted) = (log(size << 8 | claimed), log(1 << 16 | size << 8 | claimed));
            contract.post(id, claimed, root, &[]).unwrap();
            contract.post(lifted, claimed, node_hash(&above, &root), &[]).unwrap();
            for index in 0..size {
                let (leaf, mut proof) = (leaf(index, false), whole.inclusion_proof(index, size).unwrap());
                let wanted = verify_inclusion(&leaf, index, claimed, &proof, &root).is_ok();
                assert_eq!(
                    contract.includes(id, claimed, leaf, index, &proof),
                    wanted,
                    "{index} of {size} as {claimed}"
                );
                proof.push(above);
                let root = node_hash(&above, &root);
                let wanted = verify_inclusion(&leaf, index, claimed, &proof, &root).is_ok();
                assert_eq!(contract.includes(lifted, claimed, leaf, index, &proof), wanted);
            }
        }
    }
}

#[test]
fn only_the_poster_posts() {
    let mut contract = Contract::deploy();
    let whole = honest(5);
    let stranger = Address::repeat_byte(0x22);
    let (poster, root) = (contract.poster, whole.root());
    let refused = Err(error("NotPoster()", &[]));
    assert_eq!(contract.send(stranger, post(log(0), 5, root, &[])), refused);
    contract.send(poster, post(log(0), 3, whole.root_at(3).unwrap(), &[])).unwrap();
    let proof = whole.consistency_proof(3, 5).unwrap();
    assert_eq!(contract.send(stranger, post(log(0), 5, root, &proof)), refused);
    contract.send(poster, post(log(0), 5, root, &proof)).unwrap();
    assert_eq!(contract.view(stranger, &call("poster()", &[])).unwrap()[12..], poster[..]);
}

#[test]
fn the_first_checkpoint_has_entries_and_no_proof() {
    let mut contract = Contract::deploy();
    let whole = honest(4);
    let proof = whole.consistency_proof(3, 4).unwrap();
    assert_eq!(contract.post(log(0), 4, whole.root(), &proof), Err(inconsistent(0)));
    assert_eq!(contract.post(log(0), 0, whole.root(), &[]), Err(error("NotNewer(uint64)", &[0])));
    contract.post(log(0), 4, whole.root(), &[]).unwrap();
}

#[test]
fn logs_are_kept_apart_and_checkpoints_stay() {
    let mut contract = Contract::deploy();
    let whole = honest(9);
    let words = |words: &[B256]| words.concat();
    let time = |block: u64| number(GENESIS + 12 * block);
    assert_eq!(contract.view(Address::ZERO, &call("latest(bytes32)", &[log(0).into()])), Ok(vec![0; 96]));
    contract.post(log(0), 4, whole.root_at(4).unwrap(), &[]).unwrap();
    contract.post(log(1), 2, whole.root_at(2).unwrap(), &[]).unwrap();
    contract.post(log(0), 9, whole.root(), &whole.consistency_proof(4, 9).unwrap()).unwrap();
    let root = |size| B256::from(whole.root_at(size).unwrap());
    for (id, size, at) in [(0, 9, 5), (1, 2, 4)] {
        let latest = contract.view(Address::ZERO, &call("latest(bytes32)", &[log(id).into()]));
        assert_eq!(latest, Ok(words(&[number(size), root(size), time(at)])));
    }
    let mut root_at =
        |id, size| contract.view(Address::ZERO, &call("rootAt(bytes32,uint64)", &[log(id).into(), number(size)]));
    for (id, size, at) in [(0, 4, 3), (0, 9, 5), (1, 2, 4)] {
        assert_eq!(root_at(id, size), Ok(words(&[root(size), time(at)])));
    }
    for (id, size) in [(0, 0), (0, 2), (0, 5), (1, 4), (1, 9), (2, 4)] {
        let unknown = error("UnknownCheckpoint(uint64)", &[size]);
        assert_eq!(root_at(id, size), Err(unknown));
    }
    let unknown = inclusion_call(log(1), 4, leaf(0, false), 0, &whole.inclusion_proof(0, 4).unwrap());
    assert_eq!(contract.view(Address::ZERO, &unknown), Err(error("UnknownCheckpoint(uint64)", &[4])));
}

#[test]
fn what_is_not_of_the_abi_is_refused() {
    let mut contract = Contract::deploy();
    let good = post(log(0), 3, [1; 32], &[]);
    let mut too_large = good.clone();
    too_large[4 + 32] = 1; // size beyond 64 bits
    for bad in [&[][..], &good[..4], &good[..good.len() - 1], &too_large] {
        assert_eq!(contract.send(contract.poster, bad.to_vec()), Err(vec![]));
    }
    let mut paid = crate::chain::transaction(contract.poster, 5, contract.address.into(), good.clone());
    paid.value = revm::primitives::U256::from(1);
    assert!(!contract.chain.execute(paid).unwrap().is_success(), "money is not taken");
    contract.send(contract.poster, good).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// The contract and the library agree on proofs of huge logs, right or wrong.
    #[test]
    fn contract_and_library_agree(
        bits in 1u32..63, low in any::<u64>(), more in any::<u64>(), change in 0usize..8, at in any::<prop::sample::Index>(),
    ) {
        let trees = Uniform::new();
        let new = 2 + low % (1 << bits);
        let old = 1 + more % (new - 1);
        let mut proof = trees.consistency(old, new);
        match change {
            0 => { let at = at.index(proof.len()); proof[at][0] ^= 0x80; }
            1 => { proof.remove(at.index(proof.len())); }
            2 => proof.insert(at.index(proof.len() + 1), [7; 32]),
            3 => { let last = proof.len() - 1; proof.swap(0, last); }
            _ => {}
        }
        let wanted = verify_consistency(old, &trees.root(old), new, &trees.root(new), &proof);
        let mut contract = Contract::deploy();
        contract.post(log(0), old, trees.root(old), &[]).unwrap();
        let found = contract.would_post(log(0), new, trees.root(new), &proof);
        prop_assert_eq!(found.is_ok(), wanted.is_ok(), "{} {} {:?}", old, new, wanted);
    }
}
