//! The library against a node, as it should go, and what the contract refuses.

use std::time::Duration;

use sealdex_anchor::{Anchor, Anchored, Block, Checked, Error, PosterKey, Revert, Rpc, Terms, checked};
use sealdex_crypto::log::{LogError, Tree};
use sealdex_net::peer::Http;
use serde_json::json;

use crate::{
    chain::{BASE_FEE, CHAIN, GENESIS},
    node::{Fault, Node},
    trees::{honest, leaf, tree},
};

pub(crate) const ORIGIN: &str = "cloud.example/log";
const POSTER: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const STRANGER: &str = "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";

pub(crate) struct Scene {
    pub(crate) node: Node,
    pub(crate) rpc: Rpc,
    pub(crate) poster: PosterKey,
    pub(crate) stranger: PosterKey,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        let (poster, stranger) = (PosterKey::from_hex(POSTER).unwrap(), PosterKey::from_hex(STRANGER).unwrap());
        let rich = [&poster, &stranger].map(|key| key.address().0.into());
        let node = Node::start(&rich).await;
        let rpc = Rpc::new(Http::new(None).unwrap(), &node.url).with_timeout(Duration::from_millis(500));
        Self { node, rpc, poster, stranger }
    }

    pub(crate) async fn deployed() -> (Self, Anchor) {
        let scene = Self::new().await;
        let (anchor, _) = Anchor::deploy(scene.rpc.clone(), &scene.poster, terms()).await.unwrap();
        (scene, anchor)
    }
}

pub(crate) fn terms() -> Terms {
    Terms { wait: Duration::from_millis(300), poll: Duration::from_millis(5), ..Terms::default() }
}

/// Anchors the first `size` entries after those anchored already.
pub(crate) async fn grow(
    anchor: &Anchor,
    key: &PosterKey,
    log: &Tree,
    size: u64,
) -> Result<sealdex_anchor::Receipt, Error> {
    let old = anchor.latest(ORIGIN).await?.map(|anchored| anchored.size);
    let proof = old.map_or(Ok(vec![]), |old| log.consistency_proof(old, size)).unwrap_or_default();
    anchor.post(key, ORIGIN, old, size, &log.root_at(size).unwrap(), &proof).await
}

#[tokio::test]
async fn from_deployment_to_check() {
    let scene = Scene::new().await;
    let (anchor, receipt) = Anchor::deploy(scene.rpc.clone(), &scene.poster, terms()).await.unwrap();
    assert_eq!(receipt.price, u128::from(BASE_FEE) + 1_000_000_000);
    let inspected = anchor.inspect().await.unwrap();
    assert_eq!((inspected.chain, inspected.poster), (CHAIN, scene.poster.address()));

    assert_eq!(anchor.latest(ORIGIN).await, Ok(None));
    let log = honest(40);
    for (i, size) in [7, 8, 23].into_iter().enumerate() {
        let receipt = grow(&anchor, &scene.poster, &log, size).await.unwrap();
        assert_eq!(receipt.block, 3 + i as u64);
        let time = GENESIS + 12 * receipt.block;
        let anchored = Anchored { size, root: log.root_at(size).unwrap(), time };
        assert_eq!(anchor.latest(ORIGIN).await, Ok(Some(anchored)));
    }
    assert_eq!(anchor.latest("other.example/log").await, Ok(None));
    assert_eq!(anchor.root_at(ORIGIN, 8).await.unwrap().root, log.root_at(8).unwrap());

    let proof = log.inclusion_proof(5, 23).unwrap();
    assert_eq!(anchor.verify_inclusion(ORIGIN, 23, &leaf(5, false), 5, &proof).await, Ok(true));
    assert_eq!(anchor.verify_inclusion(ORIGIN, 23, &leaf(5, true), 5, &proof).await, Ok(false));

    let anchored = anchor.latest(ORIGIN).await.unwrap();
    let check = |log: &Tree| checked::with_roots(anchored.as_ref(), log.size(), |size| log.root_at(size)).unwrap();
    assert_eq!(check(&log), Checked::Behind { anchored: 23, log: 40 });
    assert_eq!(check(&honest(23)), Checked::Agrees { size: 23 });
    assert_eq!(check(&honest(22)), Checked::Shorter { anchored: 23, log: 22 });
    assert!(matches!(check(&tree(40, 22)), Checked::Differs { size: 23, .. }));
}

#[tokio::test]
async fn what_is_sent_is_what_the_terms_allow() {
    let (scene, anchor) = Scene::deployed().await;
    let (gwei, base) = (1_000_000_000, u128::from(BASE_FEE));
    let none = Fault::Error(json!({ "code": -32601, "message": "the method does not exist" }));
    let mut grown = 0;
    // Method that is missing; cap in gwei; tip and fee that are offered.
    for (missing, cap, tip, max_fee) in [
        ("", 200, gwei, 2 * base + gwei),
        ("", 9, gwei, 9 * gwei),
        ("eth_maxPriorityFeePerGas", 200, 2 * gwei, 2 * base + 2 * gwei),
        ("eth_feeHistory", 200, base + gwei, base + gwei),
    ] {
        scene.node.heal();
        scene.node.fail(missing, none.clone());
        grown += 1;
        let anchor = anchor.clone().with_terms(Terms { max_fee: cap * gwei, ..terms() });
        grow(&anchor, &scene.poster, &honest(9), grown).await.unwrap();
        let (from, sent) = scene.node.with(|inner| inner.taken.last().cloned().unwrap());
        assert_eq!(from.0.0, scene.poster.address().0);
        assert_eq!((sent.chain, sent.nonce, sent.tip, sent.max_fee), (CHAIN, grown, tip, max_fee), "{missing}");
        assert_eq!(sent.value, revm::primitives::U256::ZERO);
        assert!(sent.gas < 250_000, "{}", sent.gas);
    }
}

#[tokio::test]
async fn what_the_contract_refuses_is_said_and_not_sent() {
    let (scene, anchor) = Scene::deployed().await;
    let (log, fork) = (honest(20), tree(20, 3));
    grow(&anchor, &scene.poster, &log, 10).await.unwrap();
    let sent = scene.node.transactions();

    let refused = |revert| Err(Error::Reverted(revert));
    let (root, proof) = (log.root(), log.consistency_proof(10, 20).unwrap());
    let (poster, stranger) = (&scene.poster, &scene.stranger);
    assert_eq!(anchor.post(stranger, ORIGIN, Some(10), 20, &root, &proof).await, refused(Revert::NotPoster));
    let not_newer = refused(Revert::NotNewer { anchored: 10 });
    assert_eq!(anchor.post(poster, ORIGIN, Some(10), 10, &root, &[]).await, not_newer);
    assert_eq!(anchor.post(poster, ORIGIN, Some(10), 9, &root, &[]).await, not_newer);
    let inconsistent = refused(Revert::Inconsistent { anchored: 10 });
    assert_eq!(anchor.post(poster, ORIGIN, Some(10), 20, &root, &proof[1..]).await, inconsistent);
    let forked = fork.consistency_proof(10, 20).unwrap();
    assert_eq!(anchor.post(poster, ORIGIN, Some(10), 20, &fork.root(), &forked).await, inconsistent);
    assert_eq!(
        anchor.post(poster, ORIGIN, Some(9), 20, &root, &proof).await,
        Err(Error::Moved { anchored: 10, given: 9 })
    );
    assert_eq!(anchor.post(poster, ORIGIN, None, 20, &root, &[]).await, Err(Error::Moved { anchored: 10, given: 0 }));
    let unknown = Error::Reverted(Revert::UnknownCheckpoint { size: 11 });
    assert_eq!(anchor.root_at(ORIGIN, 11).await, Err(unknown.clone()));
    assert_eq!(anchor.verify_inclusion(ORIGIN, 11, &leaf(0, false), 0, &[]).await, Err(unknown));
    assert_eq!(scene.node.transactions(), sent, "nothing was sent");

    anchor.post(poster, ORIGIN, Some(10), 20, &root, &proof).await.unwrap();
}

#[tokio::test]
async fn another_chain_or_contract_is_not_mistaken_for_ours() {
    let (scene, anchor) = Scene::deployed().await;
    let wrong = Error::OtherChain { expected: 1, found: CHAIN };
    let elsewhere = Terms { chain: Some(1), ..terms() };
    assert_eq!(anchor.clone().with_terms(elsewhere.clone()).inspect().await, Err(wrong.clone()));
    assert_eq!(Anchor::deploy(scene.rpc.clone(), &scene.poster, elsewhere).await.err(), Some(wrong));
    let here = Terms { chain: Some(CHAIN), ..terms() };
    assert!(anchor.clone().with_terms(here).inspect().await.is_ok());

    let nothing = Anchor::new(scene.rpc.clone(), scene.stranger.address());
    let other = Error::OtherCode(scene.stranger.address());
    assert_eq!(nothing.inspect().await, Err(other.clone()));
    assert_eq!(nothing.latest(ORIGIN).await, Err(other.clone()));
    assert_eq!(grow(&nothing, &scene.poster, &honest(3), 3).await, Err(other));
    assert_eq!(scene.node.transactions(), 1);
}

#[tokio::test]
async fn auditors_read_what_cannot_be_replaced() {
    let (scene, anchor) = Scene::deployed().await;
    for (block, tag) in [(Block::Latest, "latest"), (Block::Safe, "safe"), (Block::Finalized, "finalized")] {
        let anchor = anchor.clone().at(block);
        anchor.latest(ORIGIN).await.unwrap();
        assert_eq!(scene.node.with(|inner| inner.tag.clone()), tag);
        anchor.inspect().await.unwrap();
        assert_eq!(scene.node.with(|inner| inner.tag.clone()), tag);
    }
    // What is posted extends what is newest, whichever block is read otherwise.
    grow(&anchor.at(Block::Finalized), &scene.poster, &honest(3), 3).await.unwrap();
    assert_eq!(scene.node.with(|inner| inner.tag.clone()), "latest");
}

#[tokio::test]
async fn roots_that_cannot_be_computed_are_the_callers_error() {
    let anchored = Anchored { size: 3, root: [1; 32], time: 1 };
    let failed: Result<Checked, _> = checked::with_roots(Some(&anchored), 5, |_| Err(LogError::RootMismatch));
    assert_eq!(failed, Err(LogError::RootMismatch));
}
