//! Whether a store, row by row, is what this program writes: every row parses, every sealed scalar opens,
//! every signed document still verifies, and what belongs together is there.

use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;
use sealdex_crypto::{Point, PrincipalId, PublicIdentity, Scalar, sharing::Commitments};
use sealdex_wire::{
    Signed,
    auth::sha256,
    care::{Mandate, Wake},
    codec,
    consent::{GrantTerms, OwnerProfile, Revocation},
    erasure::ErasureOrder,
    family::{Dismissal, Enrolment, Family},
    group::GroupCharter,
    roster::PublicKeys,
    threshold::Entry,
};

use super::{
    AccessRow, AuditEntry, GrantKey, GrantRow, NOBODY, RequestRow, Row, StoreError, Table, TicketRow, WakeRow,
    consents::{bridge_commitments_key, grant_commitments_key},
    erasures::{self, OrderRow},
    rows::slot,
};
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
    said: Said,
    terms: bool,
    by_reader: bool,
}

/// What a grant's row, or its terms, say.
#[derive(Clone, PartialEq, Eq)]
struct Said {
    digest: [u8; 32],
    /// `R` of the scalar; the terms have that of the key they were made for.
    r: [u8; 33],
    generation: u32,
    reader: PrincipalId,
}

impl Said {
    /// Whether a row is what these terms became: the same, or rotated to a newer key or to a successor.
    fn follows(&self, terms: &Said) -> bool {
        let rotated = self.generation != terms.generation || self.reader != terms.reader;
        self.digest == terms.digest && (rotated || self.r == terms.r)
    }
}

/// Takes the rows of all tables, in the order of [`Table::ALL`].
pub struct Checker<'s> {
    secrets: &'s GateSecrets,
    members: Option<Members>,
    profiles: HashMap<PrincipalId, PublicIdentity>,
    enrolments: Vec<(Vec<u8>, Signed<Enrolment>)>,
    dismissals: Vec<(Vec<u8>, Signed<Dismissal>)>,
    /// Rows of an index that must still come, with the rows they belong to.
    expected: BTreeMap<Vec<u8>, (Table, Vec<u8>)>,
    grants: HashMap<Vec<u8>, Grant>,
    /// What shares are checked against, and whether the row it is for has come.
    commitments: HashMap<Vec<u8>, (Commitments, bool)>,
    /// Key of an order to erase → rows of the sections that are erased by it.
    orders: BTreeMap<Vec<u8>, Vec<(Vec<u8>, u32)>>,
    next_act: u64,
    report: Report,
}

/// What a row by itself says, for the rows after it.
enum Fact {
    Nothing,
    /// A row of an index must come.
    Expect(Vec<u8>),
    /// A row of an index that was to come.
    Came,
    Unverifiable,
    Restored(u64),
    Roster(Box<Members>),
    Profile(Box<PublicIdentity>),
    Commitments(Commitments),
    Bridge,
    Grant(Said),
    Terms(Said, bool),
    Enrolment(Signed<Enrolment>),
    Dismissal(Signed<Dismissal>),
    ByReader(Vec<u8>),
    /// A section is erased by the order under a key, up to an epoch.
    Erased(Vec<u8>, u32),
    /// An order to erase, and whether it could be verified.
    Order(Box<ErasureOrder>, bool),
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
            enrolments: Vec::new(),
            dismissals: Vec::new(),
            expected: BTreeMap::new(),
            grants: HashMap::new(),
            commitments: HashMap::new(),
            orders: BTreeMap::new(),
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
            if let Err(what) = fact.and_then(|fact| self.absorb(table, key, fact)) {
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
        let mut unused: Vec<_> = std::mem::take(&mut self.commitments)
            .into_iter()
            .filter(|(_, (_, used))| !used)
            .map(|(key, _)| key)
            .collect();
        unused.sort_unstable();
        unused.iter().for_each(|key| self.damage(Table::Commitments, key, "what it is for is not there".to_owned()));
        for (table, key) in std::mem::take(&mut self.expected).into_values() {
            let index = if table == Table::Requests { Table::RequestsBy } else { Table::MandatesTo };
            self.damage(table, &key, format!("it is missing in {}", index.name()));
        }
        for (key, _) in std::mem::take(&mut self.orders).into_values().flatten() {
            self.damage(Table::Erasures, &key, "the order by which this is erased is missing".to_owned());
        }
        self.check_family();
        self.report.roster = self.members.as_ref().map(|m| m.roster().version);
        self.report
    }

    /// Whether each enrolment and dismissal follows from those before it. One merge when all is in order, one a row
    /// when not.
    fn check_family(&mut self) {
        let Some(roster) = self.members.as_ref().map(|m| m.roster().clone()) else { return };
        let (enrolments, dismissals) = (std::mem::take(&mut self.enrolments), std::mem::take(&mut self.dismissals));
        let whole = Family {
            enrolments: enrolments.iter().map(|e| e.1.clone()).collect(),
            dismissals: dismissals.iter().map(|d| d.1.clone()).collect(),
        };
        if whole.merge(&roster).is_ok() {
            return;
        }
        let mut sound = Family::default();
        for (key, enrolment) in enrolments {
            sound.enrolments.push(enrolment);
            if let Err(error) = sound.merge(&roster) {
                sound.enrolments.pop();
                self.damage(Table::Family, &key, error.to_string());
            }
        }
        for (key, dismissal) in dismissals {
            sound.dismissals.push(dismissal);
            if let Err(error) = sound.merge(&roster) {
                sound.dismissals.pop();
                self.damage(Table::Family, &key, error.to_string());
            }
        }
    }

    /// A row by itself, and by what earlier tables hold.
    fn examine(&self, table: Table, key: &[u8], value: &[u8]) -> Result<Fact, String> {
        match table {
            Table::Meta => meta(key, value),
            Table::Roster => {
                let members =
                    rules::roster::verify(parse(value)?, Family::default(), self.secrets).map_err(|e| e.to_string())?;
                Ok(Fact::Roster(Box::new(members)))
            }
            Table::Bridges => {
                id(key)?;
                let sealed = value.try_into().map(SealedScalar).map_err(|_| "it is no sealed scalar".to_owned())?;
                let scalar = self.secrets.store_key.open_scalar(table, key, &sealed).map_err(|e| e.to_string())?;
                let scalar = Scalar::from_bytes(&scalar).map_err(|_| "what it seals is no scalar".to_owned())?;
                self.share(bridge_commitments_key(id(key)?), &scalar)?;
                Ok(Fact::Bridge)
            }
            Table::Commitments => {
                let read = Commitments::from_bytes(value).map_err(|_| "it does not parse".to_owned());
                read.map(Fact::Commitments)
            }
            Table::Entries => {
                let entry: Entry = parse(value)?;
                let place = [entry.origin.0.as_slice(), &entry.number.to_be_bytes()].concat();
                if place == key { Ok(Fact::Nothing) } else { Err("it is the row of another request".to_owned()) }
            }
            Table::Known if key.len() == 16 && value.len() == 8 => Ok(Fact::Nothing),
            Table::ActLog if super::act_log::is_row(key, value) => Ok(Fact::Nothing),
            Table::ActLog => Err("it does not parse".to_owned()),
            Table::Erasures => self.erasure(key, value),
            Table::Staged => {
                let (sealed, commitments) = value.split_first_chunk().ok_or("it does not parse")?;
                let share = self.secrets.store_key.open_scalar(table, key, &SealedScalar(*sealed));
                let share = share.map_err(|e| e.to_string())?;
                Scalar::from_bytes(&share).map_err(|_| "what it seals is no scalar".to_owned())?;
                Commitments::from_bytes(commitments).map_err(|_| "it does not parse".to_owned())?;
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
            Table::Groups => {
                let signed: Signed<GroupCharter> = parse(value)?;
                let authority = PublicKeys::from(self.secrets.authority());
                let (group, _) = signed.verified(self.secrets.domain(), &authority).map_err(|e| e.to_string())?;
                if id(key)? == group { Ok(Fact::Nothing) } else { Err("it is the charter of another group".to_owned()) }
            }
            Table::Family => match key.first() {
                Some(0) if key.len() == 9 => Ok(Fact::Enrolment(parse(value)?)),
                Some(1) if key.len() == 17 => Ok(Fact::Dismissal(parse(value)?)),
                _ => Err("its key does not parse".to_owned()),
            },
            Table::Wakes => {
                let row: WakeRow = parse(value)?;
                let fits = key.len() == 72 && key[16..32] == row.reader.0 && key[40..] == row.id.0;
                let text = |(who, bytes): &(PrincipalId, serde_bytes::ByteBuf)| {
                    let Ok(signed) = parse::<Signed<Wake>>(bytes) else { return false };
                    let keys = self.members.as_ref().and_then(|m| m.keys(*who));
                    let verified = keys.is_none_or(|k| signed.verify(&k).is_ok());
                    verified && sha256(&[signed.payload.as_bytes()]) == row.id.0
                };
                let signed = (1..=2).contains(&row.signed.len()) && row.signed.iter().all(text);
                if fits && signed {
                    Ok(Fact::Nothing)
                } else {
                    Err("it is not the emergency that was signed".to_owned())
                }
            }
            Table::Requests => {
                let row: RequestRow = parse(value)?;
                let fits = key.len() == 24 && key[..16] == row.ask.owner.0;
                let index = [row.caller.0.as_slice(), key].concat();
                if fits { Ok(Fact::Expect(index)) } else { Err("it is a request to another owner".to_owned()) }
            }
            Table::RequestsBy if key.len() == 40 && value.is_empty() => Ok(Fact::Came),
            Table::Mandates => self.mandate(key, value),
            Table::MandatesTo if key.len() == 32 && value.is_empty() => Ok(Fact::Came),
            Table::RequestsBy | Table::MandatesTo | Table::Known => Err("it does not parse".to_owned()),
        }
    }

    /// A row among those before it.
    fn absorb(&mut self, table: Table, key: &[u8], fact: Fact) -> Result<(), String> {
        match fact {
            Fact::Expect(index) => drop(self.expected.insert(index, (table, key.to_vec()))),
            Fact::Came => {
                self.expected.remove(key).ok_or("what it refers to is not there")?;
            }
            Fact::Nothing => {}
            Fact::Unverifiable => self.report.unverifiable += 1,
            Fact::Restored(as_of) => self.report.restored = Some(as_of),
            Fact::Roster(members) => self.members = Some(*members),
            Fact::Profile(keys) => drop(self.profiles.insert(keys.id(), *keys)),
            Fact::Enrolment(signed) => self.enrolments.push((key.to_vec(), signed)),
            Fact::Dismissal(signed) => self.dismissals.push((key.to_vec(), signed)),
            Fact::Commitments(read) => drop(self.commitments.insert(key.to_vec(), (read, false))),
            Fact::Bridge => self.used(b'b', key),
            Fact::Grant(said) => {
                self.used(b'g', key);
                self.grants.insert(key.to_vec(), Grant { said, terms: false, by_reader: false });
            }
            Fact::Terms(said, verified) => {
                self.report.unverifiable += u64::from(!verified);
                let grant = self.grants.get_mut(key).ok_or("these are terms without a grant")?;
                grant.terms = true;
                // The terms are signed, so it is the row that was changed.
                if !grant.said.follows(&said) {
                    self.damage(Table::Grants, key, "it says something else than its signed terms".to_owned());
                }
            }
            Fact::ByReader(grant) => {
                self.grants.get_mut(&grant).ok_or("it names a grant that is not there")?.by_reader = true;
            }
            Fact::Erased(order, through) => self.orders.entry(order).or_default().push((key.to_vec(), through)),
            Fact::Order(order, verified) => {
                self.report.unverifiable += u64::from(!verified);
                let rows = self.orders.remove(key).ok_or("nothing is erased by this order")?;
                for (row, through) in rows.iter().filter(|(row, through)| !erasures::names(&order, row, *through)) {
                    self.damage(table, row, format!("its order does not erase it up to epoch {through}"));
                }
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

    fn used(&mut self, kind: u8, key: &[u8]) {
        if let Some(found) = self.commitments.get_mut(&[&[kind], key].concat()) {
            found.1 = true;
        }
    }

    /// What belongs to the secret that a scalar is, or is this node's share of.
    fn share(&self, key: Vec<u8>, scalar: &Scalar) -> Result<Point, String> {
        let nodes = self.members.as_ref().and_then(Members::nodes);
        let Some(own) = nodes.and_then(|n| n.get(self.secrets.identity().id())) else { return Ok(scalar.base_mul()) };
        let (commitments, _) = self.commitments.get(&key).ok_or("what its share is checked against is missing")?;
        if commitments.hold(own.number, scalar) {
            Ok(commitments.secret())
        } else {
            Err("it is not this node's share".to_owned())
        }
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
        let parsed = GrantKey::parse(key).ok_or("its key does not parse")?;
        let row = GrantRow::parse(value).ok_or("it does not parse")?;
        let scalar = self.secrets.store_key.open_scalar(Table::Grants, key, &row.rk).map_err(|e| e.to_string())?;
        let rk = Scalar::from_bytes(&scalar).map_err(|_| "what it seals is no scalar".to_owned())?;
        let r = self.share(grant_commitments_key(&parsed), &rk)?.to_bytes();
        let times = [row.not_before, row.not_after, row.granted_at, row.joined_by];
        let slot = slot(&row.purpose, &row.providers, row.emergency);
        let digest = digest(&row.a.0, &row.x.0, times, &row.by, &slot);
        Ok(Fact::Grant(Said { digest, r, generation: row.generation, reader: parsed.reader }))
    }

    fn mandate(&self, key: &[u8], value: &[u8]) -> Result<Fact, String> {
        let signed: Signed<Mandate> = parse(value)?;
        let mandate = match self.profiles.get(&signed.signer) {
            Some(owner) => signed.verify(owner),
            None => signed.peek(),
        };
        let mandate = mandate.map_err(|e| e.to_string())?;
        let carer = mandate.carer.identity().map_err(|_| "its carer's keys are no points of the curve".to_owned())?;
        if key != [mandate.owner.0, carer.id().0].concat() || mandate.owner != signed.signer {
            return Err("it is another mandate".to_owned());
        }
        let verified = self.profiles.contains_key(&signed.signer);
        if !verified {
            return Err("its owner has no profile".to_owned());
        }
        Ok(Fact::Expect([carer.id().0, mandate.owner.0].concat()))
    }

    fn terms(&self, key: &[u8], value: &[u8]) -> Result<Fact, String> {
        let signed: Signed<GrantTerms> = parse(value)?;
        let claimed = signed.peek().map_err(|e| e.to_string())?;
        self.profiles.get(&claimed.owner).ok_or("its owner has no profile")?;
        let carer = || self.members.as_ref().and_then(|m| m.keys(signed.signer));
        // A carer that a provider enrolled is known once all rows were taken.
        let signer = self.profiles.get(&signed.signer).copied().or_else(carer);
        let terms = match &signer {
            Some(signer) => signed.verify(signer).map_err(|e| e.to_string())?,
            None => claimed,
        };
        self.domain(&terms.domain)?;
        let reader = terms.reader.identity().map_err(|_| "its reader's keys are no points of the curve".to_owned())?;
        let parsed = GrantKey::parse(key).ok_or("its key does not parse")?;
        let succeeded = self.members.as_ref().and_then(|m| m.get(parsed.reader));
        let moved = succeeded.is_some_and(|m| m.line.contains(&reader.id()));
        let made = GrantKey::of(&terms, if moved { parsed.reader } else { reader.id() });
        if made != parsed || terms.by.unwrap_or(terms.owner) != signed.signer {
            return Err("these are the terms of another grant".to_owned());
        }
        let joined_by = terms.joined_by.unwrap_or(u64::MAX);
        let times = [terms.not_before, terms.not_after, terms.granted_at, joined_by];
        let digest = digest(&terms.a.0, &terms.x.0, times, &terms.by.unwrap_or(NOBODY), &made.slot);
        let generation = terms.group_key.map_or(0, |k| k.generation);
        Ok(Fact::Terms(Said { digest, r: terms.r.0, generation, reader: reader.id() }, signer.is_some()))
    }

    fn erasure(&self, key: &[u8], value: &[u8]) -> Result<Fact, String> {
        let (signed, named) = match erasures::is_row(key, value).ok_or("it does not parse")? {
            OrderRow::Other => return Ok(Fact::Nothing),
            OrderRow::Section(order, through) => return Ok(Fact::Erased(order, through)),
            OrderRow::Document(signed) => (signed, true),
            OrderRow::Whole(signed) => (signed, false),
        };
        let order = signed.peek().map_err(|e| e.to_string())?;
        self.domain(&order.domain)?;
        let verified = match self.profiles.get(&order.owner) {
            Some(owner) => signed.verify(owner).map(|_| true).map_err(|e| e.to_string())?,
            None => false,
        };
        match (named, verified) {
            (true, _) => Ok(Fact::Order(Box::new(order), verified)),
            (false, true) => Ok(Fact::Nothing),
            (false, false) => Ok(Fact::Unverifiable),
        }
    }

    fn tombstone(&self, key: &[u8], value: &[u8]) -> Result<Fact, String> {
        let (at, signed) = value.split_first_chunk::<8>().ok_or("it does not parse")?;
        let signed: Signed<Revocation> = parse(signed)?;
        let claimed = signed.peek().map_err(|e| e.to_string())?;
        self.domain(&claimed.domain)?;
        let section = claimed.section.as_deref().map_or(vec![0], |s| [&[1], s.as_bytes()].concat());
        let purpose = claimed.purpose.as_deref().map_or(Vec::new(), |p| [&[0], p.as_bytes()].concat());
        let place = [&claimed.owner.0, &claimed.reader.0, section.as_slice(), &purpose].concat();
        if place != key || claimed.revoked_at != u64::from_be_bytes(*at) {
            return Err("its key or time is not that of the revocation in it".to_owned());
        }
        // The owner's word, or its carer's.
        let known = self.profiles.get(&signed.signer).copied();
        match known.or_else(|| self.members.as_ref().and_then(|m| m.keys(signed.signer))) {
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

fn digest(a: &[u8], x: &[u8], times: [u64; 4], by: &PrincipalId, slot: &[u8]) -> [u8; 32] {
    sha256(&[a, x, times.map(u64::to_be_bytes).as_flattened(), &by.0, slot])
}
