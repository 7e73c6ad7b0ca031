//! Whether a store, row by row, is what this program writes: every row parses, every sealed scalar opens,
//! every signed document still verifies, and what belongs together is there.

use std::collections::HashMap;

use rayon::prelude::*;
use sealdex_crypto::{BridgeScalar, PrincipalId, PublicIdentity, RekeyScalar};
use sealdex_wire::{
    Signed,
    auth::sha256,
    codec,
    consent::{GrantTerms, OwnerProfile, Revocation},
};

use super::{AccessRow, AuditEntry, GrantKey, GrantRow, Row, StoreError, Table, TicketRow};
use crate::{
    members::Members,
    rules,
    secrets::{GateSecrets, SealedScalar},
    standing,
};

/// Most damaged rows that are listed; all are counted.
const LISTED: usize = 100;

/// One row that is not in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Table.
    pub table: &'static str,
    /// Key, in hex.
    pub key: String,
    /// What is wrong.
    pub what: String,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "table {}, key {}: {}", self.table, self.key, self.what)
    }
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Tables, with their number of rows.
    pub tables: Vec<(&'static str, u64)>,
    /// Revocations of owners that published no profile: they parse, but nobody's key is there to verify them by.
    pub unverifiable: u64,
    /// How many rows are damaged.
    pub damaged: u64,
    /// The first hundred of them.
    pub damages: Vec<Damage>,
    /// Version of the roster.
    pub roster: Option<u64>,
    /// Time of the backup this store was restored from, if it waits to be resumed. Unix milliseconds.
    pub restored: Option<u64>,
}

/// What is known of a grant once its row was read.
struct Grant {
    digest: [u8; 32],
    terms: bool,
    by_reader: bool,
}

/// Takes the rows of all tables, in the order of [`Table::ALL`].
pub struct Checker<'s> {
    secrets: &'s GateSecrets,
    members: Option<Members>,
    profiles: HashMap<PrincipalId, PublicIdentity>,
    grants: HashMap<Vec<u8>, Grant>,
    next_act: u64,
    report: Report,
}

/// What a row by itself says, for the rows after it.
enum Fact {
    Nothing,
    Unverifiable,
    Restored(u64),
    Roster(Box<Members>),
    Profile(Box<PublicIdentity>),
    Grant([u8; 32]),
    Terms([u8; 32]),
    ByReader(Vec<u8>),
    Audit(u64),
    Access(u64),
}

impl<'s> Checker<'s> {
    /// By these keys.
    pub fn new(secrets: &'s GateSecrets) -> Self {
        Self {
            secrets,
            members: None,
            profiles: HashMap::new(),
            grants: HashMap::new(),
            next_act: 0,
            report: Report::default(),
        }
    }

    /// Takes rows of one table. Signatures and scalars are checked in parallel.
    pub fn rows(&mut self, table: Table, rows: &[Row]) {
        let name = table.name();
        match self.report.tables.last_mut().filter(|t| t.0 == name) {
            Some(counted) => counted.1 += rows.len() as u64,
            None => self.report.tables.push((name, rows.len() as u64)),
        }
        let facts: Vec<Result<Fact, String>> =
            rows.par_iter().with_min_len(16).map(|(key, value)| self.examine(table, key, value)).collect();
        for ((key, _), fact) in rows.iter().zip(facts) {
            if let Err(what) = fact.and_then(|fact| self.absorb(key, fact)) {
                self.damage(table, key, what);
            }
        }
    }

    /// Notes that a table cannot be read.
    pub fn unreadable(&mut self, table: Table, error: &StoreError) {
        self.damage(table, &[], error.to_string());
    }

    fn damage(&mut self, table: Table, key: &[u8], what: String) {
        self.report.damaged += 1;
        if self.report.damages.len() < LISTED {
            let key = match key {
                [] => "(none)".to_owned(),
                key => key.iter().map(|b| format!("{b:02x}")).collect(),
            };
            self.report.damages.push(Damage { table: table.name(), key, what });
        }
    }

    /// What was found, once all rows have been taken.
    pub fn finish(mut self) -> Report {
        let mut lacking: Vec<(Vec<u8>, bool, bool)> = Vec::new();
        lacking.extend(self.grants.drain().filter_map(|(key, g)| {
            let whole = g.terms && g.by_reader;
            (!whole).then_some((key, g.terms, g.by_reader))
        }));
        lacking.sort_unstable();
        for (key, terms, by_reader) in lacking {
            if !terms {
                self.damage(Table::Grants, &key, "its signed terms are missing in grant_terms".to_owned());
            }
            if !by_reader {
                self.damage(Table::Grants, &key, "it is missing in grants_by_reader".to_owned());
            }
        }
        self.report.roster = self.members.as_ref().map(|m| m.roster().version);
        self.report
    }

    /// A row by itself, and by what earlier tables hold.
    fn examine(&self, table: Table, key: &[u8], value: &[u8]) -> Result<Fact, String> {
        match table {
            Table::Meta => meta(key, value),
            Table::Roster => {
                let members = rules::roster::verify(parse(value)?, self.secrets).map_err(|e| e.to_string())?;
                Ok(Fact::Roster(Box::new(members)))
            }
            Table::Bridges => {
                id(key)?;
                let sealed = value.try_into().map(SealedScalar).map_err(|_| "it is no sealed scalar".to_owned())?;
                let scalar = self.secrets.store_key.open_scalar(table, key, &sealed).map_err(|e| e.to_string())?;
                BridgeScalar::from_bytes(&scalar).map_err(|_| "what it seals is no scalar".to_owned())?;
                Ok(Fact::Nothing)
            }
            Table::Profiles => self.profile(key, value),
            Table::Grants => self.grant(key, value),
            Table::GrantTerms => self.terms(key, value),
            Table::GrantsByReader => {
                let grant = GrantKey::parse_by_reader(key).filter(|_| value.is_empty());
                Ok(Fact::ByReader(grant.ok_or("it does not parse")?.to_bytes()))
            }
            Table::Tombstones => self.tombstone(key, value),
            Table::Audit => {
                parse::<AuditEntry>(value)?;
                Ok(Fact::Audit(number(key).ok_or("its key is no sequence number")?))
            }
            Table::Tickets => {
                let row: TicketRow = parse(value)?;
                if row.nonce == key { Ok(Fact::Nothing) } else { Err("it is the row of another ticket".to_owned()) }
            }
            Table::Accesses => {
                parse::<AccessRow>(value)?;
                let place = key.get(16..).filter(|rest| rest.len() == 12);
                Ok(Fact::Access(place.and_then(|p| number(&p[..8])).ok_or("its key does not parse")?))
            }
        }
    }

    /// A row among those before it.
    fn absorb(&mut self, key: &[u8], fact: Fact) -> Result<(), String> {
        match fact {
            Fact::Nothing => {}
            Fact::Unverifiable => self.report.unverifiable += 1,
            Fact::Restored(as_of) => self.report.restored = Some(as_of),
            Fact::Roster(members) => self.members = Some(*members),
            Fact::Profile(keys) => drop(self.profiles.insert(keys.id(), *keys)),
            Fact::Grant(digest) => {
                self.grants.insert(key.to_vec(), Grant { digest, terms: false, by_reader: false });
            }
            Fact::Terms(digest) => {
                let grant = self.grants.get_mut(key).ok_or("these are terms without a grant")?;
                grant.terms = true;
                // The terms are signed, so it is the row that was changed.
                if grant.digest != digest {
                    self.damage(Table::Grants, key, "it says something else than its signed terms".to_owned());
                }
            }
            Fact::ByReader(grant) => {
                self.grants.get_mut(&grant).ok_or("it names a grant that is not there")?.by_reader = true;
            }
            Fact::Audit(seq) => {
                let missing = seq - self.next_act.min(seq);
                self.next_act = seq + 1;
                if missing > 0 {
                    return Err(format!("{missing} entries before it are missing"));
                }
            }
            Fact::Access(act) if act >= self.next_act => {
                return Err("it belongs to an act that the audit trail does not have".to_owned());
            }
            Fact::Access(_) => {}
        }
        Ok(())
    }

    fn domain(&self, found: &str) -> Result<(), String> {
        if found == self.secrets.domain() { Ok(()) } else { Err("it is for another domain".to_owned()) }
    }

    fn profile(&self, key: &[u8], value: &[u8]) -> Result<Fact, String> {
        let signed: Signed<OwnerProfile> = parse(value)?;
        let claimed = signed.peek().map_err(|e| e.to_string())?;
        let keys = claimed.owner.identity().map_err(|_| "its keys are no points of the curve".to_owned())?;
        let profile = signed.verify(&keys).map_err(|e| e.to_string())?;
        self.domain(&profile.domain)?;
        if id(key)? != keys.id() {
            return Err("it is the profile of another owner".to_owned());
        }
        Ok(Fact::Profile(Box::new(keys)))
    }

    fn grant(&self, key: &[u8], value: &[u8]) -> Result<Fact, String> {
        GrantKey::parse(key).ok_or("its key does not parse")?;
        let row = GrantRow::parse(value).ok_or("it does not parse")?;
        let scalar = self.secrets.store_key.open_scalar(Table::Grants, key, &row.rk).map_err(|e| e.to_string())?;
        let rk = RekeyScalar::from_bytes(&scalar).map_err(|_| "what it seals is no scalar".to_owned())?;
        let times = [row.not_before, row.not_after, row.granted_at];
        Ok(Fact::Grant(digest(&row.a.0, &row.x.0, &rk.public().to_bytes(), times, &row.purpose)))
    }

    fn terms(&self, key: &[u8], value: &[u8]) -> Result<Fact, String> {
        let signed: Signed<GrantTerms> = parse(value)?;
        let owner = self.profiles.get(&signed.signer).ok_or("its owner has no profile")?;
        let terms = signed.verify(owner).map_err(|e| e.to_string())?;
        self.domain(&terms.domain)?;
        let reader = terms.reader.identity().map_err(|_| "its reader's keys are no points of the curve".to_owned())?;
        if GrantKey::new(terms.owner, &terms.section, terms.epoch, reader.id()).to_bytes() != key
            || terms.owner != signed.signer
        {
            return Err("these are the terms of another grant".to_owned());
        }
        let times = [terms.not_before, terms.not_after, terms.granted_at];
        Ok(Fact::Terms(digest(&terms.a.0, &terms.x.0, &terms.r.0, times, &terms.purpose)))
    }

    fn tombstone(&self, key: &[u8], value: &[u8]) -> Result<Fact, String> {
        let (at, signed) = value.split_first_chunk::<8>().ok_or("it does not parse")?;
        let signed: Signed<Revocation> = parse(signed)?;
        let claimed = signed.peek().map_err(|e| e.to_string())?;
        self.domain(&claimed.domain)?;
        let section = claimed.section.as_deref().map_or(vec![0], |s| [&[1], s.as_bytes()].concat());
        let place = [&claimed.owner.0, &claimed.reader.0, section.as_slice()].concat();
        if place != key || claimed.owner != signed.signer || claimed.revoked_at != u64::from_be_bytes(*at) {
            return Err("its key or time is not that of the revocation in it".to_owned());
        }
        let known = self.profiles.get(&claimed.owner).copied();
        match known.or_else(|| self.members.as_ref().and_then(|m| m.keys(claimed.owner))) {
            Some(owner) => signed.verify(&owner).map(|_| Fact::Nothing).map_err(|e| e.to_string()),
            None => Ok(Fact::Unverifiable),
        }
    }
}

fn meta(key: &[u8], value: &[u8]) -> Result<Fact, String> {
    match key {
        b"format" if value.len() == 4 => Ok(Fact::Nothing),
        b"format" => Err("it is no number of a format".to_owned()),
        standing::RESTORED => Ok(Fact::Restored(standing::parse_restored(value).ok_or("it does not parse")?)),
        key if key.starts_with(standing::RESUMED) => {
            Ok(standing::parse_resumed(key, value).map(|_| Fact::Nothing).ok_or("it does not parse")?)
        }
        _ => Ok(Fact::Nothing),
    }
}

fn parse<T: serde::de::DeserializeOwned>(value: &[u8]) -> Result<T, String> {
    codec::from_cbor(value).map_err(|_| "it does not parse".to_owned())
}

fn id(key: &[u8]) -> Result<PrincipalId, String> {
    key.try_into().map(PrincipalId).map_err(|_| "its key is no id".to_owned())
}

fn number(key: &[u8]) -> Option<u64> {
    key.try_into().map(u64::from_be_bytes).ok()
}

fn digest(a: &[u8], x: &[u8], r: &[u8], times: [u64; 3], purpose: &str) -> [u8; 32] {
    let [not_before, not_after, granted_at] = times.map(u64::to_be_bytes);
    sha256(&[a, x, r, &not_before, &not_after, &granted_at, purpose.as_bytes()])
}
