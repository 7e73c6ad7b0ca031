//! Witnesses in this process.

use std::path::Path;

use sealdex_client::ceremony::LedgerChange;
use sealdex_lognet::witness::{WitnessConfig, serve};
use sealdex_net::{Listen, guard::Bounds};
use sealdex_schema::FHIR_R4;
use sealdex_tlog::note::{CosignerKey, KeyName, VerifierKey};
use sealdex_wire::roster::Proofs;

use crate::World;

/// A witness of these logs, on a port of its own; its verifier key and address.
pub async fn witness(dir: &Path, logs: &[VerifierKey], n: u8) -> (String, String) {
    let key = CosignerKey::from_seed(KeyName::new(format!("test/w{n}")).unwrap(), &[n; 32]);
    let verifier = key.verifier().to_string();
    let logs = logs.iter().map(|k| (k.name().as_str().to_owned(), vec![k.clone()])).collect();
    let dir = dir.join(format!("w{n}"));
    let config = WitnessConfig { dir, listen: Listen::loopback(0), key, logs, bounds: Bounds::default() };
    let (ready, bound) = tokio::sync::oneshot::channel();
    tokio::spawn(serve(config, move |addr| ready.send(addr).unwrap(), std::future::pending()));
    (verifier, format!("http://{}", bound.await.unwrap()))
}

impl World {
    /// Has `witnesses` witnesses watch the domain's logs, of whom it takes `quorum`.
    pub async fn watch(&mut self, witnesses: u8, quorum: u32, proofs: Proofs) {
        let ledger = self.ceremony.roster.ledger.clone().unwrap();
        let logs = [&ledger.batches, &ledger.acts].map(|k| VerifierKey::parse(k).unwrap());
        let mut with = Vec::new();
        for n in 1..=witnesses {
            with.push(witness(&self.home, &logs, n).await);
        }
        let change = LedgerChange { with, quorum: Some(quorum), proofs: Some(proofs), ..LedgerChange::default() };
        self.ceremony.set_ledger(change).unwrap();
        self.pack = self.ceremony.pack(FHIR_R4);
        self.announce(Vec::new()).await;
    }
}
