//! The authority: founds a domain, enrols and revokes members.

use sealdex_crypto::{BridgeScalar, DomainMaster, Identity, IdentitySeed, PrincipalId, Scalar};
use sealdex_lognet::domain::{LedgerError, Which, log_key, policy};
use sealdex_member::{DomainPack, MemberSecrets, SchemaText};
use sealdex_net::{CallError, Peer};
use sealdex_tlog::note::{NoteError, VerifierKey};
use sealdex_wire::{
    Signed,
    consent::{Accepted, Bridge, SecretBytes, UpdateRoster},
    limits,
    roster::{Budget, Ledger, Member, Proofs, PublicKeys, Role, Roster, Server, Status, Witness},
    signed::Document,
    threshold::{Nodes, NodesError, Sharing},
};
use serde::{Deserialize, Serialize};

use crate::sharing::{Dealt, deal_to, seal_shares};

/// Kind of the authority's key file.
pub const AUTHORITY_KIND: &str = "authority";
/// Kind of a gate's key file.
pub const GATE_KIND: &str = "gate";
/// Kind of a cloud's key file.
pub const CLOUD_KIND: &str = "cloud";

/// Oldest that cosignatures may be in a new domain, seconds.
const MAX_AGE: u64 = 600;

/// The authority's key file. It holds what no running party holds together; keep it offline.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorityKeys {
    /// Domain.
    pub domain: String,
    /// Identity seed.
    pub seed: SecretBytes,
    /// Domain master scalar `K` (spec section 8b).
    pub master: SecretBytes,
    /// Epoch of the index secrets.
    pub index_epoch: u32,
    /// Member token secret.
    pub token_secret: SecretBytes,
    /// Member order secret.
    pub order_secret: SecretBytes,
    /// Seed of the group of all members.
    pub everyone_seed: SecretBytes,
    /// Copy of the gate's keys: no loss of gates may lose records (section 6).
    pub gate: GateSecretsFile,
}

/// A gate's key file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateSecretsFile {
    /// Domain.
    pub domain: String,
    /// Who may change the roster.
    pub authority: PublicKeys,
    /// Identity seed.
    pub seed: SecretBytes,
    /// Term key.
    pub term_key: SecretBytes,
    /// Outer order secret.
    pub order_secret: SecretBytes,
    /// Noise key of the outer layer.
    pub noise_key: SecretBytes,
    /// Routing tag key.
    pub tag_key: Secret64,
    /// Epoch of the index secrets.
    pub index_epoch: u32,
}

/// 64 secret bytes in two halves; 128 hex digits in a file.
#[derive(Clone, Debug)]
pub struct Secret64(pub SecretBytes, pub SecretBytes);

impl Serialize for Secret64 {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let text = zeroize::Zeroizing::new(hex::encode(self.0.0) + &hex::encode(self.1.0));
        s.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Secret64 {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = zeroize::Zeroizing::new(String::deserialize(d)?);
        let mut out = Self(SecretBytes([0; 32]), SecretBytes([0; 32]));
        let halves = text.split_at_checked(64).ok_or_else(|| serde::de::Error::custom("expected 128 hex digits"))?;
        for (half, text) in [(&mut out.0, halves.0), (&mut out.1, halves.1)] {
            hex::decode_to_slice(text, &mut half.0).map_err(|_| serde::de::Error::custom("expected 128 hex digits"))?;
        }
        Ok(out)
    }
}

/// A cloud's key file. It holds no key to anything stored: only the cloud's own identity.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloudSecretsFile {
    /// Domain.
    pub domain: String,
    /// Who may change the roster.
    pub authority: PublicKeys,
    /// Identity seed.
    pub seed: SecretBytes,
}

/// Why the authority could not do something.
#[derive(Debug, thiserror::Error)]
pub enum CeremonyError {
    /// A name is taken.
    #[error("the roster has a member named \"{0}\" already")]
    NameTaken(String),
    /// No such member.
    #[error("the roster has no member named \"{0}\"")]
    NoMember(String),
    /// A name that is none.
    #[error("\"{0}\" cannot be a name: use 1 to 64 letters, digits, '.', '-' and '_'")]
    BadName(String),
    /// To succeed someone, they must be revoked first.
    #[error("{0} is no revoked member of that role: revoke it first, then enrol its successor")]
    NotRevoked(PrincipalId),
    /// The authority's key file is damaged.
    #[error("the authority's key file holds an invalid master scalar")]
    Master,
    /// A key of a log or a witness.
    #[error("this is no key of a witness: {0}")]
    LogKey(#[from] NoteError),
    /// Witnesses that make no policy.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A witness that is not there.
    #[error("the domain has no witness named \"{0}\"")]
    NoWitness(String),
    /// A domain from before there were logs.
    #[error("this domain was founded without a log: found a new one, and push the records there")]
    NoLog,
    /// More auditors than rows are made for.
    #[error("a domain has at most {} auditors beside its authority: leave one out first", limits::AUDITORS)]
    TooManyAuditors,
    /// Gates that do not make one gate.
    #[error(transparent)]
    Nodes(#[from] NodesError),
    /// A server refused.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// What is special about a new member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// It may count and not read: the smallest count it is told.
    pub counts_from: Option<u32>,
    /// The revoked member whose grants it takes over.
    pub succeeds: Option<PrincipalId>,
}

/// A change of who witnesses a domain's logs.
#[derive(Clone, Debug, Default)]
pub struct LedgerChange {
    /// Verifier keys and addresses of witnesses to add.
    pub with: Vec<(String, String)>,
    /// Names of witnesses to leave out.
    pub without: Vec<String>,
    /// How many it takes.
    pub quorum: Option<u32>,
    /// Oldest their cosignatures may be, seconds.
    pub max_age: Option<u64>,
    /// Who checks that answers are whole.
    pub proofs: Option<Proofs>,
}

/// Name of a witness's key.
pub fn witness_name(witness: &Witness) -> Option<String> {
    VerifierKey::parse(&witness.key).ok().map(|key| key.name().as_str().to_owned())
}

/// A founded domain, as the authority works on it.
pub struct Ceremony {
    /// The authority's keys.
    pub keys: AuthorityKeys,
    /// The newest roster.
    pub roster: Roster,
    identity: std::sync::Arc<Identity>,
}

fn random_secret() -> SecretBytes {
    use rand::Rng as _;
    let mut bytes = SecretBytes([0; 32]);
    rand::rng().fill_bytes(&mut bytes.0);
    bytes
}

fn identity_of(seed: &SecretBytes) -> Identity {
    Identity::from_seed(&IdentitySeed::from_bytes(&seed.0))
}

/// A server of the roster, by its identity seed.
pub fn server(seed: &SecretBytes, url: &str, node: Option<u16>) -> Server {
    let public = identity_of(seed).public();
    Server { id: public.id(), keys: (&public).into(), url: url.into(), node }
}

fn check_name(name: &str) -> Result<(), CeremonyError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    if (1..=64).contains(&name.len()) && name.chars().all(plain) {
        Ok(())
    } else {
        Err(CeremonyError::BadName(name.into()))
    }
}

impl Ceremony {
    /// Founds a domain with one gate and one cloud at these addresses.
    pub fn found(domain: &str, gate_url: &str, cloud_url: &str) -> Result<(Self, CloudSecretsFile), CeremonyError> {
        check_name(domain)?;
        let seed = random_secret();
        let authority = PublicKeys::from(&identity_of(&seed).public());
        let gate = GateSecretsFile {
            domain: domain.into(),
            authority,
            seed: random_secret(),
            term_key: random_secret(),
            order_secret: random_secret(),
            noise_key: random_secret(),
            tag_key: Secret64(random_secret(), random_secret()),
            index_epoch: 0,
        };
        let cloud = CloudSecretsFile { domain: domain.into(), authority, seed: random_secret() };
        let master = SecretBytes(*sealdex_crypto::Scalar::random(&mut rand::rng()).to_bytes());
        let keys = AuthorityKeys {
            domain: domain.into(),
            seed,
            master,
            index_epoch: 0,
            token_secret: random_secret(),
            order_secret: random_secret(),
            everyone_seed: random_secret(),
            gate,
        };
        let log = |which| Ok::<_, CeremonyError>(log_key(&cloud.seed.0, domain, which)?.verifier().to_string());
        let ledger = Ledger {
            batches: log(Which::Batches)?,
            acts: log(Which::Acts)?,
            witnesses: Vec::new(),
            quorum: 0,
            max_age: MAX_AGE,
            proofs: Proofs::default(),
            auditors: Vec::new(),
        };
        let roster = Roster {
            domain: domain.into(),
            version: 1,
            authority,
            gates: vec![server(&keys.gate.seed, gate_url, None)],
            sharing: None,
            ledger: Some(ledger),
            clouds: vec![server(&cloud.seed, cloud_url, None)],
            everyone: (&identity_of(&keys.everyone_seed).public()).into(),
            members: Vec::new(),
            revoked: Vec::new(),
            budgets: Vec::new(),
        };
        Ok((Self::resume(keys, roster), cloud))
    }

    /// Founds a domain whose gate has a node at each of these addresses, `threshold` of which must agree. The key file
    /// of each node, in their order, and the cloud's.
    ///
    /// # Errors
    /// [`CeremonyError`].
    pub fn found_shared(
        domain: &str,
        gate_urls: &[String],
        threshold: u16,
        cloud_url: &str,
    ) -> Result<(Self, Vec<GateSecretsFile>, CloudSecretsFile), CeremonyError> {
        let first = gate_urls.first().map_or("", String::as_str);
        let (mut ceremony, cloud) = Self::found(domain, first, cloud_url)?;
        let mut files = vec![ceremony.keys.gate.clone()];
        files.extend(gate_urls.iter().skip(1).map(|_| ceremony.new_node()));
        let numbered = (1..).zip(&files).zip(gate_urls);
        let gates: Vec<Server> = numbered.map(|((number, file), url)| server(&file.seed, url, Some(number))).collect();
        let sharing = Sharing { threshold, epoch: 0 };
        Nodes::new(sharing, &gates)?;
        (ceremony.roster.gates, ceremony.roster.sharing) = (gates, Some(sharing));
        Ok((ceremony, files, cloud))
    }

    /// Keys of a node that is to be: the gate's own, and an identity.
    pub fn new_node(&self) -> GateSecretsFile {
        GateSecretsFile { seed: random_secret(), ..self.keys.gate.clone() }
    }

    /// Goes on with a founded domain.
    pub fn resume(keys: AuthorityKeys, roster: Roster) -> Self {
        let identity = std::sync::Arc::new(identity_of(&keys.seed));
        Self { keys, roster, identity }
    }

    /// Enrols a member: its key file, and the bridge scalar for the gate. The roster grows by one
    /// version; [`Ceremony::announce`] publishes it.
    pub fn enrol(&mut self, name: &str, role: Role) -> Result<(MemberSecrets, Bridge), CeremonyError> {
        self.enrol_as(name, role, Standing::default())
    }

    /// As [`Ceremony::enrol`], for a member that may only count, or that takes over from a revoked one.
    pub fn enrol_as(
        &mut self,
        name: &str,
        role: Role,
        standing: Standing,
    ) -> Result<(MemberSecrets, Bridge), CeremonyError> {
        check_name(name)?;
        if let Some(before) = standing.succeeds
            && !self.roster.member(before).is_some_and(|m| m.status == Status::Revoked && m.role == role)
        {
            return Err(CeremonyError::NotRevoked(before));
        }
        if self.roster.named(name).is_some() {
            return Err(CeremonyError::NameTaken(name.into()));
        }
        let master = DomainMaster::from_bytes(&self.keys.master.0).map_err(|_| CeremonyError::Master)?;
        let (token_key, delta): (_, BridgeScalar) = master.enrol(&mut rand::rng());
        let secrets = MemberSecrets {
            domain: self.keys.domain.clone(),
            name: name.into(),
            role,
            authority: self.roster.authority,
            index_epoch: self.keys.index_epoch,
            seed: random_secret(),
            token_key: SecretBytes(*token_key.to_bytes()),
            token_secret: self.keys.token_secret.clone(),
            order_secret: self.keys.order_secret.clone(),
            noise_key: random_secret(),
            everyone_seed: self.keys.everyone_seed.clone(),
        };
        let public = identity_of(&secrets.seed).public();
        self.roster.members.push(Member {
            id: public.id(),
            keys: (&public).into(),
            role,
            name: Some(name.into()),
            parent: None,
            status: Status::Active,
            counts_from: standing.counts_from,
            succeeds: standing.succeeds,
        });
        self.roster.version += 1;
        let scalar = Some(SecretBytes(*delta.to_bytes()));
        Ok((secrets, Bridge { member: public.id(), scalar, commitments: Vec::new() }))
    }

    /// Revokes a member and all below it.
    pub fn revoke(&mut self, name: &str) -> Result<PrincipalId, CeremonyError> {
        let member = self.roster.members.iter_mut().find(|m| m.name.as_deref() == Some(name));
        let member = member.ok_or_else(|| CeremonyError::NoMember(name.into()))?;
        member.status = Status::Revoked;
        let id = member.id;
        self.roster.version += 1;
        Ok(id)
    }

    /// Revokes a member that others enrolled, and all below it.
    pub fn revoke_below(&mut self, member: PrincipalId) {
        if !self.roster.revoked.contains(&member) {
            self.roster.revoked.push(member);
        }
        self.roster.version += 1;
    }

    /// Sets what a member with all below it (or, for none, everyone else) may do in a day.
    pub fn set_budget(&mut self, budget: Budget) {
        self.roster.budgets.retain(|b| b.member != budget.member);
        self.roster.budgets.push(budget);
        self.roster.version += 1;
    }

    /// Lets an auditor read every act from now on, or no longer; whether that changes anything.
    ///
    /// # Errors
    /// [`CeremonyError`].
    pub fn set_auditor(&mut self, auditor: PublicKeys, reads: bool) -> Result<bool, CeremonyError> {
        let ledger = self.roster.ledger.as_mut().ok_or(CeremonyError::NoLog)?;
        let before = ledger.auditors.len();
        ledger.auditors.retain(|a| *a != auditor);
        let known = ledger.auditors.len() < before;
        if reads {
            if ledger.auditors.len() >= limits::AUDITORS {
                return Err(CeremonyError::TooManyAuditors);
            }
            ledger.auditors.push(auditor);
        }
        if known != reads {
            self.roster.version += 1;
        }
        Ok(known != reads)
    }

    /// Changes who witnesses the domain's logs and which checkpoints are believed. Nothing changes unless the result is a
    /// policy.
    ///
    /// # Errors
    /// [`CeremonyError`].
    pub fn set_ledger(&mut self, change: LedgerChange) -> Result<&Ledger, CeremonyError> {
        let mut ledger = self.roster.ledger.clone().ok_or(CeremonyError::NoLog)?;
        for name in change.without {
            let before = ledger.witnesses.len();
            ledger.witnesses.retain(|w| witness_name(w).is_none_or(|n| n != name));
            if ledger.witnesses.len() == before {
                return Err(CeremonyError::NoWitness(name));
            }
        }
        for (key, url) in change.with {
            VerifierKey::parse(&key)?;
            ledger.witnesses.retain(|w| w.key != key);
            ledger.witnesses.push(Witness { key, url });
        }
        ledger.quorum = change.quorum.unwrap_or(ledger.quorum);
        ledger.max_age = change.max_age.unwrap_or(ledger.max_age);
        ledger.proofs = change.proofs.unwrap_or(ledger.proofs);
        policy(&ledger, Which::Batches)?;
        policy(&ledger, Which::Acts)?;
        self.roster.version += 1;
        Ok(self.roster.ledger.insert(ledger))
    }

    /// The pack members get.
    pub fn pack(&self, schema_toml: &str) -> DomainPack {
        let text = SchemaText { domain: self.keys.domain.clone(), toml: schema_toml.into() };
        let mut rng = rand::rng();
        DomainPack {
            roster: Signed::sign(&self.roster, &self.identity, &mut rng),
            schema: Signed::sign(&text, &self.identity, &mut rng),
        }
    }

    /// The authority's identity, to call servers with.
    pub fn identity(&self) -> std::sync::Arc<Identity> {
        self.identity.clone()
    }

    /// Sends the roster to gate and cloud, with the bridge scalars of new members to the gate: dealt to its nodes if it
    /// has several, each of which is told by itself. It is in force when as many have it as it takes; those that do not
    /// answer, which are returned, learn of it from the others.
    pub async fn announce(
        &self,
        gates: &[Peer],
        cloud: &Peer,
        bridges: Vec<Bridge>,
    ) -> Result<Vec<CallError>, CeremonyError> {
        let for_cloud = Signed::sign(&self.roster.for_cloud(), &self.identity, &mut rand::rng());
        let update = UpdateRoster { roster: for_cloud, bridges: Vec::new(), shares: Vec::new() };
        let _: Accepted = cloud.put_json("/v1/roster", &update).await?;
        let update = self.update(bridges)?;
        let needed = self.roster.sharing.map_or(1, |s| usize::from(s.threshold));
        let mut running = tokio::task::JoinSet::new();
        for gate in gates {
            let (gate, body) = (gate.clone(), update.clone());
            running.spawn(async move { gate.put_json::<_, Accepted>("/v1/roster", &body).await });
        }
        let mut failed = Vec::new();
        while let Some(done) = running.join_next().await {
            match done {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => failed.push(error),
                Err(stopped) => std::panic::resume_unwind(stopped.into_panic()),
            }
        }
        match failed.pop() {
            Some(error) if failed.len() + 1 + needed > gates.len() => Err(error.into()),
            Some(error) => {
                failed.push(error);
                Ok(failed)
            }
            None => Ok(failed),
        }
    }

    /// What the gate is sent.
    fn update(&self, bridges: Vec<Bridge>) -> Result<UpdateRoster, CeremonyError> {
        let roster = Signed::sign(&self.roster, &self.identity, &mut rand::rng());
        let Some(nodes) = Nodes::of(&self.roster)? else {
            return Ok(UpdateRoster { roster, bridges, shares: Vec::new() });
        };
        let mut dealt = Vec::new();
        for bridge in &bridges {
            let scalar = bridge.scalar.as_ref().and_then(|s| Scalar::from_bytes(&s.0).ok());
            dealt.push(deal_to(&nodes, &scalar.ok_or(CeremonyError::Master)?));
        }
        let documents: Vec<(&[u8], &Dealt)> =
            bridges.iter().zip(&dealt).map(|(b, d)| (b.member.0.as_slice(), d)).collect();
        let shares = seal_shares(&nodes, &self.roster.domain, &documents);
        let commitments = dealt.iter().map(|d| d.commitments.clone());
        let bridges = bridges.iter().zip(commitments);
        let bridges = bridges.map(|(b, commitments)| Bridge { member: b.member, scalar: None, commitments }).collect();
        Ok(UpdateRoster { roster, bridges, shares })
    }

    /// Signs a document as the authority.
    pub fn sign<T: Document>(&self, document: &T) -> Signed<T> {
        Signed::sign(document, &self.identity, &mut rand::rng())
    }
}
