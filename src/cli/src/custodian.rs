//! A hospital that enrols patients as they are registered: keys in a wallet, until it hands them out.

use std::{collections::BTreeSet, path::PathBuf};

use futures_util::future::BoxFuture;
use sealdex_client::Wallet;
use sealdex_fhir::Record;
use sealdex_gateway::{Deleted, Ingest, Sealing, Violation, Written};
use sealdex_provider::{OwnerMap, Writer};
use serde_json::Value as Json;
use tokio::sync::Mutex;

use crate::{
    failure::Failure,
    key_options::KeyOptions,
    owners::{Sensitive, enrol_patients, open_wallet, patient_of, save_wallet},
    places::Member,
};

/// Takes records in, and enrols the patients among them.
pub(crate) struct Custodian {
    sealing: Sealing,
    member: Member,
    owners: PathBuf,
    path: PathBuf,
    keys: KeyOptions,
    wallet: Mutex<Wallet>,
}

impl Custodian {
    /// Over a wallet, which is made when there is none.
    pub(crate) fn open(
        writer: Writer,
        member: Member,
        owners: PathBuf,
        path: PathBuf,
        keys: KeyOptions,
    ) -> Result<Self, Failure> {
        let wallet = if path.exists() {
            open_wallet(&path, &keys)?
        } else {
            let new = Wallet::new(&member.keys.secrets.domain, member.keys.secrets.authority);
            save_wallet(&path, &new, &keys)?;
            new
        };
        if wallet.authority != member.trusted.roster.authority {
            return Err(Failure::new(format!("{} is a wallet of another domain", path.display())));
        }
        Ok(Self { sealing: Sealing(writer), member, owners, path, keys, wallet: Mutex::new(wallet) })
    }

    /// Enrols the patients among these records who are new to this hospital. Only a Patient resource makes a
    /// patient: a reference may be a mistake.
    async fn enrol(&self, records: &[Record]) -> Result<(), Failure> {
        let schema = &self.member.trusted.schema;
        let patients = records.iter().filter(|r| r.resource_type == "Patient").map(Record::identity);
        let mut named: Sensitive = patients.map(|p| (p, BTreeSet::new())).collect();
        for (patient, labelled) in records.iter().filter_map(|r| patient_of(r, schema)) {
            if let Some(labelled) = labelled {
                named.entry(patient).or_default().insert(labelled);
            }
        }
        if named.is_empty() {
            return Ok(());
        }
        let mut wallet = self.wallet.lock().await;
        let known = if self.owners.exists() { OwnerMap::read(&self.owners)? } else { OwnerMap::default() };
        let is_patient = |p: &String| records.iter().any(|r| r.resource_type == "Patient" && r.identity() == *p);
        let lacks = |p: &String, sections: &BTreeSet<String>| match wallet.owners.get(p) {
            Some(entry) => sections.iter().any(|s| !entry.sections.contains_key(s) && !entry.erased.contains_key(s)),
            None => false,
        };
        // New patients, and those whose first record of some label this is.
        named.retain(|p, sections| (known.get(p).is_none() && is_patient(p)) || lacks(p, sections));
        let new = named;
        if new.is_empty() {
            return Ok(());
        }
        for patient in new.keys() {
            wallet.owners.entry(patient.clone()).or_insert_with(sealdex_client::OwnerEntry::random);
        }
        // New keys are kept before anything is sealed to them.
        save_wallet(&self.path, &wallet, &self.keys)?;
        enrol_patients(&mut wallet, &new, &self.member, &self.owners, false).await?;
        save_wallet(&self.path, &wallet, &self.keys)?;
        tracing::info!(patients = new.len(), "enrolled");
        Ok(())
    }
}

impl Ingest for Custodian {
    fn validate(&self, resource: &Json) -> Result<(), Vec<Violation>> {
        self.sealing.validate(resource)
    }

    fn write(&self, records: Vec<Record>) -> BoxFuture<'_, Vec<Written>> {
        Box::pin(async move {
            if let Err(e) = self.enrol(&records).await {
                tracing::warn!(error = %e, "a patient could not be enrolled");
                return vec![Written::Unavailable("the patient could not be enrolled".into()); records.len()];
            }
            self.sealing.write(records).await
        })
    }

    fn delete(&self, identity: String) -> BoxFuture<'_, Deleted> {
        self.sealing.delete(identity)
    }

    fn erase(&self) -> BoxFuture<'_, ()> {
        self.sealing.erase()
    }

    fn deleted(&self, identity: String) -> BoxFuture<'_, bool> {
        self.sealing.deleted(identity)
    }
}
