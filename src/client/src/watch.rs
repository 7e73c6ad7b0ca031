//! Watching the log of acts: what was done in the name of owners, and of the authority, that nobody who may has signed.

use std::collections::BTreeSet;

use sealdex_crypto::{Identity, PrincipalId, PublicIdentity};
use sealdex_ledger::ActReader;
use sealdex_wire::{
    acts::{AuditKind, LogRow, SignedBy, Word},
    roster::Roster,
};

use crate::{acts::Entry, patient::consent::name_of};

/// Something in the log that should not be there, or that its owner has to know of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// Entry of the log, from 1; what is acknowledged.
    pub seq: u64,
    /// What, and whom it concerns.
    pub text: String,
}

/// Who may sign what.
pub struct Watch<'w> {
    /// The newest roster, with everyone enrolled below its members.
    pub roster: &'w Roster,
    /// Owners to watch over, by label.
    pub owners: Vec<(&'w str, &'w Identity)>,
    /// Entries whose alarms were acknowledged.
    pub acknowledged: &'w BTreeSet<u64>,
}

impl Watch<'_> {
    /// Alarms in entries of the log, in its order.
    #[must_use]
    pub fn alarms(&self, entries: &[Entry]) -> Vec<Alarm> {
        let mut readers: Vec<_> = self
            .owners
            .iter()
            .map(|(label, owner)| (*label, *owner, ActReader::new(&self.roster.domain, owner)))
            .collect();
        let signers = self.signers();
        let mut alarms = Vec::new();
        for (seq, entry) in entries {
            let mut raise = |text: String| alarms.push(Alarm { seq: *seq, text });
            let (act, gate) = match entry {
                Ok(read) => read,
                Err(error) => {
                    raise(error.to_string());
                    continue;
                }
            };
            let signed =
                |d: &sealdex_wire::acts::PublicWord| signers.iter().any(|s| s.verify(&d.hash.0, &d.signature).is_ok());
            if !act.entry.documents.iter().all(signed) {
                let gate = gate.id();
                raise(format!(
                    "entry {seq}: gate {gate} took a roster or an enrolment that neither the authority nor a member has signed"
                ));
            }
            for (label, owner, reader) in &mut readers {
                match reader.as_owner(act, gate) {
                    Ok(None) => {}
                    Ok(Some(found)) => {
                        let texts = found.rows.iter().filter_map(|row| self.of_owner(label, owner, row));
                        texts.for_each(|text| raise(format!("entry {seq}: {text}")));
                    }
                    Err(error) => raise(format!("entry {seq}: {label}: {error}")),
                }
            }
        }
        alarms.retain(|a| !self.acknowledged.contains(&a.seq));
        alarms
    }

    /// Whoever may sign rosters, enrolments and dismissals.
    fn signers(&self) -> Vec<PublicIdentity> {
        let members = self.roster.members.iter().map(|m| &m.keys);
        std::iter::once(&self.roster.authority).chain(members).filter_map(|k| k.identity().ok()).collect()
    }

    /// What is wrong with a row, or has to be acknowledged.
    fn of_owner(&self, label: &str, owner: &Identity, row: &LogRow) -> Option<String> {
        let reader = row.access.reader.map(|id| self.name(id)).unwrap_or_else(|| "nobody named".into());
        let section = row.access.section.as_deref().unwrap_or("all sections");
        let what = match row.access.kind {
            AuditKind::Grants => format!("a grant of {label}, {section}, to {reader}"),
            AuditKind::Owners => format!("a publication of keys of {label}"),
            AuditKind::Mandate => format!("a mandate of {label} for {reader}"),
            AuditKind::Erasure => format!("an order of {label} to erase {section}"),
            AuditKind::Revocations => format!("a revocation of {label}, {section}, from {reader}"),
            _ => return None,
        };
        let Some(word) = &row.word else { return Some(format!("{what} that nobody signed")) };
        if row.owner != owner.id() {
            return Some(format!("{what}, which names another owner"));
        }
        self.signature(label, owner, word).map(|wrong| format!("{what}{wrong}"))
    }

    fn signature(&self, label: &str, owner: &Identity, word: &Word) -> Option<String> {
        let fits = |keys: &PublicIdentity| keys.verify(&word.hash.0, &word.signature).is_ok();
        match word.by {
            SignedBy::Owner if word.signer == owner.id() && fits(&owner.public()) => Some(format!(
                " was signed with its key: acknowledge it if you made it, else the key is in other hands ({})",
                hash(word)
            )),
            SignedBy::Owner => Some(format!(" that {label} never signed: the gate has forged it")),
            SignedBy::Carer | SignedBy::Manager | SignedBy::Member => {
                let keys = self.roster.member(word.signer).and_then(|m| m.keys.identity().ok());
                let who = self.name(word.signer);
                Some(match keys.as_ref().is_some_and(fits) {
                    true => format!(" that {label} did not sign: {who} did, in its stead"),
                    false => format!(" that {who} is said to have signed, and has not: the gate has forged it"),
                })
            }
        }
    }

    fn name(&self, id: PrincipalId) -> String {
        name_of(self.roster, id)
    }
}

/// The first digits of what was signed.
fn hash(word: &Word) -> String {
    hex::encode(&word.hash.0[..8])
}

#[cfg(test)]
mod tests {
    use sealdex_crypto::{IdentitySeed, RowKey};
    use sealdex_ledger::act::{
        Reader,
        content::{Head, Sealer},
        row_key,
    };
    use sealdex_wire::{
        B32, Signed,
        acts::{AccessRow, Act, AuditEntry, PublicWord, Spent},
        consent::Revocation,
        roster::{PublicKeys, Roster},
    };

    use super::*;

    fn identity(n: u8) -> Identity {
        Identity::from_seed(&IdentitySeed::from_bytes(&[n; 32]))
    }

    fn roster() -> Roster {
        let keys = |n| PublicKeys::from(&identity(n).public());
        Roster {
            domain: "d".into(),
            version: 1,
            authority: keys(1),
            gates: Vec::new(),
            sharing: None,
            clouds: Vec::new(),
            ledger: None,
            everyone: keys(2),
            members: Vec::new(),
            revoked: Vec::new(),
            budgets: Vec::new(),
        }
    }

    /// Alarms over one act of a gate with this word about Ana, and a document signed by `signer`.
    fn alarms(word: Option<Word>, signer: u8, acknowledged: &[u64]) -> Vec<String> {
        let (gate, ana) = (identity(10), identity(20));
        let access = AccessRow {
            at: 1,
            kind: AuditKind::Grants,
            caller: ana.id(),
            purpose: None,
            section: Some("labs".into()),
            reader: Some(PrincipalId([7; 16])),
            count: 1,
            emergency: false,
            search: None,
        };
        let entry = AuditEntry {
            at: 1,
            kind: AuditKind::Grants,
            caller: ana.id(),
            owner: None,
            purpose: None,
            count: 1,
            owners: 1,
            spent: Spent::default(),
        };
        let hash = B32([9; 32]);
        let documents = vec![PublicWord { hash, signature: identity(signer).sign(&hash.0, &mut rand::rng()) }];
        let act = Act { act: 0, entry, documents, rows: vec![LogRow { owner: ana.id(), part: Some(0), access, word }] };
        let mut key = |id| -> Option<RowKey> { Some(row_key("d", &gate, &ana.public(), gate.id(), Reader::Owner(id))) };
        let sealer = Sealer { domain: "d", gate: &gate, auditors: &[] };
        let signed = sealer.entries(&act, Head::default(), &mut key, &mut rand::rng()).remove(0);
        let (roster, acknowledged) = (roster(), acknowledged.iter().copied().collect());
        let watch = Watch { roster: &roster, owners: vec![("Patient/a", &ana)], acknowledged: &acknowledged };
        watch.alarms(&[(4, Ok((signed, gate.public())))]).into_iter().map(|a| a.text).collect()
    }

    fn word(by: SignedBy, signer: u8, signs: u8) -> Word {
        let document = Revocation {
            domain: "d".into(),
            owner: identity(20).id(),
            reader: PrincipalId([7; 16]),
            section: None,
            purpose: None,
            revoked_at: 3,
        };
        let signed = Signed::sign(&document, &identity(signs), &mut rand::rng());
        Word { signer: identity(signer).id(), ..Word::of(&signed, by) }
    }

    #[test]
    fn whatever_an_owner_has_not_signed_or_acknowledged_is_told() {
        let own = || Some(word(SignedBy::Owner, 20, 20));
        let told = alarms(own(), 1, &[]);
        assert!(told[0].starts_with("entry 4: a grant of Patient/a, labs, to 0707"), "{told:?}");
        assert!(told[0].contains("was signed with its key") && told.len() == 1);
        assert!(alarms(own(), 1, &[4]).is_empty(), "acknowledged");
        assert!(alarms(own(), 1, &[3]).len() == 1, "another entry");
        let forged = alarms(Some(word(SignedBy::Owner, 20, 21)), 1, &[]);
        assert!(forged[0].contains("Patient/a never signed: the gate has forged it"), "{forged:?}");
        let carer = alarms(Some(word(SignedBy::Carer, 21, 21)), 1, &[]);
        assert!(carer[0].contains("is said to have signed, and has not"), "a stranger: {carer:?}");
        assert!(alarms(None, 1, &[])[0].contains("that nobody signed"));
    }

    #[test]
    fn a_roster_that_the_authority_has_not_signed_is_told() {
        let told = alarms(Some(word(SignedBy::Owner, 20, 20)), 66, &[]);
        assert!(told[0].contains("neither the authority nor a member has signed"), "{told:?}");
        assert_eq!(told.len(), 2);
    }
}
