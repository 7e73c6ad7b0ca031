//! Padmé lengths (section 7), cover (section 10) and the log's tree (section 11).

use sealdex_crypto::{cover as suite, log};
use serde_json::Value;

use super::entry::{Entry, done, equal, integer, narrow, same};

pub(super) fn padme(entry: &Entry<'_>) -> Result<(), String> {
    let padded = sealdex_crypto::padme(entry.u64("length")?);
    equal("padded", padded, entry.u64("padded")?)
}

pub(super) fn cover(entry: &Entry<'_>) -> Result<(), String> {
    let bits = entry.u8("bits")?;
    let path = done("path", suite::path(bits, entry.u32("q")?))?;
    let values: Vec<_> = path.iter().map(|&(len, prefix)| suite::value_bytes(len, prefix).to_vec()).collect();
    equal("path", path, nodes(entry, "path")?)?;
    equal("values_of_path", values, entry.bytes_list("values_of_path")?)?;
    let query = suite::cover(bits, entry.u32("from")?, entry.u32("to")?);
    equal("query", done("query", query)?, nodes(entry, "query")?)
}

fn nodes(entry: &Entry<'_>, name: &str) -> Result<Vec<(u8, u32)>, String> {
    let node = |value: &Value| match value.as_array().map(Vec::as_slice) {
        Some([len, prefix]) => {
            let len = narrow(name, integer(name, len)?)?;
            Ok((len, narrow(name, integer(name, prefix)?)?))
        }
        _ => Err(format!("field {name} is not a list of pairs")),
    };
    entry.list(name)?.iter().map(node).collect()
}

pub(super) fn merkle(entry: &Entry<'_>) -> Result<(), String> {
    let entries = entry.bytes_list("entries")?;
    let leaves: Vec<_> = entries.iter().map(|bytes| log::leaf_hash(bytes)).collect();
    let tree: log::Tree = leaves.iter().copied().collect();
    let root: log::Hash = entry.array("root")?;
    same("root", &tree.root(), &root)?;
    let size = tree.size();
    for (index, leaf) in (0..).zip(&leaves) {
        let proof = done("inclusion", tree.inclusion_proof(index, size))?;
        let held = log::verify_inclusion(leaf, index, size, &proof, &root);
        done("inclusion", held)?;
    }
    for old in 1..=size {
        let old_root = done("old root", tree.root_at(old))?;
        let proof = done("consistency", tree.consistency_proof(old, size))?;
        let held = log::verify_consistency(old, &old_root, size, &root, &proof);
        done("consistency", held)?;
    }
    Ok(())
}
