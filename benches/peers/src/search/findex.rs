//! Findex over its in-memory back end, as in its example `in_memory`.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use cosmian_crypto_core::{CsRng, Secret, reexport::rand_core::SeedableRng};
use cosmian_findex::{Findex, IndexADT, MemoryEncryptionLayer, Op};
use cosmian_sse_memories::InMemory;

use super::{LOOKUPS, enough, value};
use crate::Failure;
use crate::measure::Processor;

/// Bytes of a word that holds so many values: a byte for the operation and how many, and eight a value.
const fn word_of(values: usize) -> usize {
    1 + 8 * values
}

/// A bit for the operation, seven for how many values, and the values: the encoding of the example, for any word.
fn encode<const WORD: usize>(op: Op, values: HashSet<u64>) -> Result<Vec<[u8; WORD]>, String> {
    let values: Vec<u64> = values.into_iter().collect();
    let word = |chunk: &[u64]| {
        let mut word = [0; WORD];
        word[0] = (chunk.len() - 1) as u8 | if matches!(op, Op::Insert) { 128 } else { 0 };
        for (at, value) in word[1..].chunks_exact_mut(8).zip(chunk) {
            at.copy_from_slice(&value.to_be_bytes());
        }
        word
    };
    Ok(values.chunks(WORD / 8).map(word).collect())
}

fn decode<const WORD: usize>(words: Vec<[u8; WORD]>) -> Result<HashSet<u64>, String> {
    let mut values = HashSet::new();
    for word in words {
        let (insert, count) = (word[0] & 128 != 0, usize::from(word[0] & 127) + 1);
        for bytes in word[1..].as_chunks::<8>().0.iter().take(count) {
            let value = u64::from_be_bytes(*bytes);
            if insert {
                values.insert(value)
            } else {
                values.remove(&value)
            };
        }
    }
    Ok(values)
}

/// One insertion a keyword, with words of 128 values as in the example: what suits it best.
pub fn grouped(records: u64) -> Result<(Duration, Duration), Failure> {
    measure::<{ word_of(128) }>(records, true)
}

/// One insertion a record, as records arrive, with words of as many values as an insertion brings: one. Longer ones
/// would be stored nearly empty. At least 16 bytes, which its encryption needs.
pub fn one_by_one(records: u64) -> Result<(Duration, Duration), Failure> {
    measure::<{ word_of(2) }>(records, false)
}

fn measure<const WORD: usize>(records: u64, grouped: bool) -> Result<(Duration, Duration), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut rng = CsRng::from_entropy();
    let key = Secret::random(&mut rng);
    let memory = MemoryEncryptionLayer::new(&key, InMemory::default());
    let findex = Findex::<WORD, u64, String, _>::new(memory, encode, decode);
    let started = Processor::now();
    runtime.block_on(async {
        if grouped {
            let mut bindings: HashMap<String, Vec<u64>> = HashMap::new();
            for n in 0..records {
                bindings.entry(value(n, records)).or_default().push(n);
            }
            for (keyword, ids) in bindings {
                findex.insert(keyword, ids).await.map_err(|e| e.to_string())?;
            }
        } else {
            for n in 0..records {
                findex.insert(value(n, records), [n]).await.map_err(|e| e.to_string())?;
            }
        }
        Ok::<_, String>(())
    })?;
    let built = started.elapsed();
    let started = Processor::now();
    let hits = runtime.block_on(async {
        let mut hits = 0;
        for n in 0..LOOKUPS {
            hits += findex.search(&value(n, records)).await.map_err(|e| e.to_string())?.len();
        }
        Ok::<_, String>(hits)
    })?;
    let found = started.elapsed();
    enough(hits)?;
    Ok((built, found))
}
