//! What the tests share: records, batches, searches.
#![allow(dead_code)] // each test binary uses its part

pub(crate) mod domain;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use sealdex_cloud::store::{NewBatch, SealedStore};
use sealdex_crypto::{BatchId, PrincipalId, RecordId, Term};
use sealdex_wire::ingest::{BatchReceipt, BridgedRecord, UploadRecord};

pub(crate) fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// Ids that grow with `n`, like UUIDv7.
pub(crate) fn record_id(n: u64) -> RecordId {
    let mut id = [0x5a; 16];
    id[..8].copy_from_slice(&n.to_be_bytes());
    RecordId(id)
}

pub(crate) fn provider(n: u8) -> PrincipalId {
    PrincipalId([n; 16])
}

pub(crate) fn term(n: u64) -> [u8; 16] {
    let mut t = [0x11; 16];
    t[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    t
}

pub(crate) fn order_term(tag: u8, code: u64) -> [u8; 16] {
    let mut t = [tag; 16];
    t[8..].copy_from_slice(&code.to_be_bytes());
    t
}

/// A routing tag that looks like nothing else, read forwards or backwards.
pub(crate) fn tag(id: u64) -> Vec<u8> {
    let words = [0xd6e8_feb8_6659_fd93_u64, 0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db];
    words.iter().flat_map(|odd| (id + 1).wrapping_mul(*odd).to_be_bytes()).collect()
}

pub(crate) fn record(id: u64, origin: u64, terms: &[[u8; 16]]) -> UploadRecord {
    UploadRecord {
        id: record_id(id),
        index: BridgedRecord { origin: Term(term(origin)), terms: terms.concat(), tag: tag(id) },
        sealed: format!("sealed bytes of {id}").into_bytes(),
    }
}

/// A batch of provider 1 of hospital 1.
pub(crate) fn batch(id: u8, records: Vec<UploadRecord>) -> NewBatch {
    NewBatch {
        batch: BatchId([id; 16]),
        provider: provider(1),
        hospital: provider(1),
        body_sha256: [id; 32],
        records,
        deletes: Vec::new(),
        erases: Vec::new(),
        stated: None,
    }
}

/// Accepts one batch that must be accepted.
pub(crate) fn push(store: &dyn SealedStore, batch: NewBatch) -> BatchReceipt {
    store.accept(&[batch]).expect("store").remove(0).expect("accepted")
}

/// Random records with few distinct terms, codes and origins, so that everything collides.
pub(crate) fn random_records(rng: &mut StdRng, next_id: &mut u64, n: usize, origins: u64) -> Vec<UploadRecord> {
    (0..n)
        .map(|_| {
            *next_id += rng.random_range(1..3_u64);
            let mut terms: Vec<_> = (0..rng.random_range(0..5)).map(|_| term(rng.random_range(0..12))).collect();
            for tag in [0xa0, 0xb0] {
                for _ in 0..rng.random_range(0..3) {
                    terms.push(order_term(tag, rng.random_range(0..40)));
                }
            }
            record(*next_id, rng.random_range(0..origins), &terms)
        })
        .collect()
}
