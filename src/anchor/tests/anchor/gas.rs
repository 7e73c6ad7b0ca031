//! What it costs: the figures of docs/ANCHOR.md. Shown by `cargo test -p sealdex-anchor gas -- --nocapture`.

use revm::primitives::{Address, TxKind};

use crate::{
    chain::{Contract, verify_inclusion},
    trees::Uniform,
};

#[test]
fn gas_is_what_the_page_says() {
    let page = include_str!("../../../../docs/ANCHOR.md");
    let trees = Uniform::new();
    let mut contract = Contract::deploy();
    let mut rows = vec![row("deploy", "", contract.deployed_for)];
    let first = contract.post([0xaa; 32], 1000, trees.root(1000), &[]).unwrap();
    rows.push(row("post, the first of a log", "0", first));
    for (exponent, entries) in [(3, 1_000), (6, 1_000_000), (9, 1_000_000_000)] {
        // Anchored again and again while it grows by a thousandth each time.
        let (mut all, mut lengths) = (Vec::new(), Vec::new());
        let log = [exponent; 32];
        let mut old = entries - 1;
        contract.post(log, old, trees.root(old), &[]).unwrap();
        for _ in 0..60 {
            let new = old + entries / 1_000 + 1;
            let proof = trees.consistency(old, new);
            lengths.push(proof.len());
            all.push(contract.post(log, new, trees.root(new), &proof).unwrap());
            old = new;
        }
        let mean = all.iter().sum::<u64>() / all.len() as u64;
        let hashes = format!("{}–{}", lengths.iter().min().unwrap(), lengths.iter().max().unwrap());
        rows.push(row(&format!("post, 10^{exponent} entries, mean"), &hashes, mean));
        rows.push(row(&format!("post, 10^{exponent} entries, most"), &hashes, *all.iter().max().unwrap()));
        let proof = trees.inclusion(old / 3, old);
        let call = verify_inclusion(log, old, trees.leaf(), old / 3, &proof);
        let checked = contract.chain.view(Address::ZERO, TxKind::Call(contract.address), &call);
        assert!(checked.is_success());
        let hashes = proof.len().to_string();
        rows.push(row(&format!("inclusion, 10^{exponent} entries, as a transaction"), &hashes, checked.gas_used()));
    }
    println!("{}", rows.join("\n"));
    for row in rows {
        assert!(page.contains(&row), "docs/ANCHOR.md lacks: {row}");
    }
}

fn row(what: &str, hashes: &str, gas: u64) -> String {
    format!("| {what} | {hashes} | {gas} |")
}
