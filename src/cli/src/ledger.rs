//! The domain's logs, as the authority sees to them.

use sealdex_client::ceremony::{LedgerChange, witness_name};
use sealdex_wire::roster::{Ledger, Proofs};

use crate::{domain::Authority, failure::Failure, output::table};

/// `sealdex domain ledger`.
pub(crate) async fn change(mut authority: Authority, change: LedgerChange) -> Result<(), Failure> {
    let LedgerChange { with, without, quorum, max_age, proofs } = &change;
    let changes = !with.is_empty() || !without.is_empty() || quorum.is_some() || max_age.is_some() || proofs.is_some();
    if changes {
        authority.ceremony.set_ledger(change)?;
        authority.announce(Vec::new()).await?;
    }
    match &authority.ceremony.roster.ledger {
        Some(ledger) => show(ledger),
        None => println!("This domain was founded without a log."),
    }
    Ok(())
}

fn show(ledger: &Ledger) {
    let mut t = table(&["what", "key", "where"]);
    t.add_row(["log of batches", &ledger.batches, ""]);
    t.add_row(["log of acts", &ledger.acts, ""]);
    for witness in &ledger.witnesses {
        t.add_row([&witness_name(witness).unwrap_or_default(), &witness.key, &witness.url]);
    }
    println!("{t}");
    match ledger.quorum {
        0 => println!("No cosignature is asked for: the cloud alone says what the log holds."),
        n => println!(
            "A checkpoint is believed with {n} of {} cosignatures, at most {} s old.",
            ledger.witnesses.len(),
            ledger.max_age
        ),
    }
    println!(
        "That answers are whole is checked by {}.",
        match ledger.proofs {
            Proofs::Gate => "the gate",
            Proofs::Member => "the gate, and by the member that asks",
        }
    );
}
