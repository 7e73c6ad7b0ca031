//! Enrolling below oneself, without the authority (MOPSE+, spec section 8b), and what a member does with its own keys.

use std::collections::HashMap;

use sealdex_crypto::{Identity, IdentitySeed, MemberKey, PrincipalId};
use sealdex_member::{MemberKeys, MemberSecrets, Trusted};
use sealdex_net::{CallError, Peer};
use sealdex_open::ReaderKey;
use sealdex_wire::{
    Signed,
    consent::{Accepted, SecretBytes},
    family::{Dismissal, Enrolment, RotateBridge, UpdateFamily},
    roster::{Member, Role, Status},
};

use crate::group::{GroupError, rotate_all};

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum DelegateError {
    /// A server refused or does not answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Only providers enrol others.
    #[error("only providers enrol others, and {0} is none")]
    NotProvider(String),
    /// A name that is none, or is taken.
    #[error("\"{0}\" is taken, or is no name: use 1 to 64 letters, digits, '.', '-' and '_'")]
    Name(String),
    /// Nobody of this name below.
    #[error("nobody named \"{0}\" is enrolled below you")]
    NotBelow(String),
    /// The key file holds an invalid token key.
    #[error("the member key file holds an invalid token key")]
    Key,
    /// The member succeeds nobody.
    #[error("the roster does not name you as anybody's successor")]
    NoSuccessor,
    /// The old key file is somebody else's.
    #[error("that key file is not of the member you succeed")]
    OtherMember,
    /// Rotating grants failed.
    #[error(transparent)]
    Rotation(#[from] GroupError),
}

fn random_secret() -> SecretBytes {
    use rand::Rng as _;
    let mut bytes = SecretBytes([0; 32]);
    rand::rng().fill_bytes(&mut bytes.0);
    bytes
}

fn token_key(secrets: &MemberSecrets) -> Result<MemberKey, DelegateError> {
    MemberKey::from_bytes(&secrets.token_key.0).map_err(|_| DelegateError::Key)
}

/// A new member, not announced yet.
pub struct Enrolled {
    /// Its key file.
    pub secrets: MemberSecrets,
    for_gate: UpdateFamily,
    for_cloud: Option<UpdateFamily>,
}

/// Makes the keys of a member below `parent`, named `parent/name`. Nobody else takes part; [`announce`] tells the
/// servers.
pub fn enrol(parent: &MemberKeys, trusted: &Trusted, name: &str, role: Role) -> Result<Enrolled, DelegateError> {
    let own = &parent.secrets;
    if own.role != Role::Provider {
        return Err(DelegateError::NotProvider(own.name.clone()));
    }
    let full = format!("{}/{name}", own.name);
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    if !(1..=64).contains(&name.len()) || !name.chars().all(plain) || trusted.roster.named(&full).is_some() {
        return Err(DelegateError::Name(full));
    }
    let (key, c_inverse) = token_key(own)?.delegate(&mut rand::rng());
    let secrets = MemberSecrets {
        name: full.clone(),
        role,
        seed: random_secret(),
        token_key: SecretBytes(*key.to_bytes()),
        noise_key: random_secret(),
        ..own.clone()
    };
    let public = Identity::from_seed(&IdentitySeed::from_bytes(&secrets.seed.0)).public();
    let member = Member {
        id: public.id(),
        keys: (&public).into(),
        role,
        name: Some(full),
        parent: Some(parent.identity.id()),
        status: Status::Active,
        counts_from: None,
        succeeds: None,
    };
    let sign = |member: Member| {
        let enrolment = Enrolment { domain: own.domain.clone(), member };
        Signed::sign(&enrolment, &parent.identity, &mut rand::rng())
    };
    let update = |enrolment, factors| UpdateFamily { enrolments: vec![enrolment], factors, dismissals: Vec::new() };
    let nameless = Member { name: None, ..member.clone() };
    Ok(Enrolled {
        for_gate: update(sign(member), vec![SecretBytes(*c_inverse.to_bytes())]),
        for_cloud: (role == Role::Provider).then(|| update(sign(nameless), Vec::new())),
        secrets,
    })
}

/// Tells the gate, and of a provider the cloud. The cloud first: a provider the gate knows is one it can push to.
pub async fn announce(enrolled: &Enrolled, gate: &Peer, cloud: &Peer) -> Result<(), DelegateError> {
    if let Some(update) = &enrolled.for_cloud {
        let _: Accepted = cloud.post_json("/v1/members", update).await?;
    }
    let _: Accepted = gate.post_json("/v1/members", &enrolled.for_gate).await?;
    Ok(())
}

/// Dismisses a member below the caller, and all below that one. In force at the gate first.
pub async fn dismiss(
    keys: &MemberKeys,
    trusted: &Trusted,
    name: &str,
    gate: &Peer,
    cloud: &Peer,
) -> Result<PrincipalId, DelegateError> {
    let not_below = || DelegateError::NotBelow(name.into());
    let member = trusted.roster.named(name).ok_or_else(not_below)?;
    let path = trusted.roster.path(member.id).unwrap_or_default();
    if !path.iter().skip(1).any(|m| m.id == keys.identity.id()) {
        return Err(not_below());
    }
    let dismissal = Dismissal { domain: keys.secrets.domain.clone(), member: member.id };
    let dismissals = vec![Signed::sign(&dismissal, &keys.identity, &mut rand::rng())];
    let update = UpdateFamily { enrolments: Vec::new(), factors: Vec::new(), dismissals };
    let _: Accepted = gate.post_json("/v1/members", &update).await?;
    if member.role == Role::Provider {
        let _: Accepted = cloud.post_json("/v1/members", &update).await?;
    }
    Ok(member.id)
}

/// A new token key for a member: `k ← k·c`, and the factor that makes the gate's bridge fit it again. The key file is
/// to be kept before [`rotate_token_key`] is called.
pub fn new_token_key(keys: &MemberKeys) -> Result<(MemberSecrets, SecretBytes), DelegateError> {
    let (key, c_inverse) = token_key(&keys.secrets)?.delegate(&mut rand::rng());
    let secrets = MemberSecrets { token_key: SecretBytes(*key.to_bytes()), ..keys.secrets.clone() };
    Ok((secrets, SecretBytes(*c_inverse.to_bytes())))
}

/// Tells the gate. From then on the old token key fits nothing, and nothing is indexed anew.
pub async fn rotate_token_key(factor: SecretBytes, gate: &Peer) -> Result<(), DelegateError> {
    let _: Accepted = gate.post_json("/v1/bridges/rotate", &RotateBridge { factor }).await?;
    Ok(())
}

/// Takes over the grants of the member whom this one succeeds, with that one's old key file. No owner takes part.
pub async fn take_over(
    keys: &MemberKeys,
    old: &MemberKeys,
    trusted: &Trusted,
    gate: &Peer,
    progress: impl Fn(u64),
) -> Result<u64, DelegateError> {
    let me = trusted.roster.member(keys.identity.id());
    let before = me.and_then(|m| m.succeeds).ok_or(DelegateError::NoSuccessor)?;
    if before != old.identity.id() {
        return Err(DelegateError::OtherMember);
    }
    let olds = HashMap::from([(0, ReaderKey::from_identity(&old.identity))]);
    Ok(rotate_all(gate, before, olds, (0, ReaderKey::from_identity(&keys.identity)), progress).await?)
}
