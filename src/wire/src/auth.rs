//! Request signatures: who calls, fresh, once, for this server only.
//!
//! `Authorization: Sealdex id=…,ts=…,nonce=…,sig=…[,keys=…]`, all hex but `ts` (decimal Unix
//! milliseconds). The signature covers domain, receiving server, method, path with query, time,
//! nonce and the body's hash. A caller who is in no roster (a patient) adds its keys, which its id
//! certifies.

use sealdex_crypto::{Identity, PrincipalId, PublicIdentity, Signature};
use sha2::{Digest, Sha256};

use crate::{B32, RawPoint, labels, roster::PublicKeys};

/// Scheme name in the header.
pub const SCHEME: &str = "Sealdex";

/// SHA-256 of the concatenation of `parts`.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut h = Sha256::new();
    for p in parts {
        h.update(p);
    }
    h.finalize().into()
}

/// What a request's signature covers.
#[derive(Clone, Copy, Debug)]
pub struct RequestParts<'a> {
    /// Domain name.
    pub domain: &'a str,
    /// The server it is meant for.
    pub audience: PrincipalId,
    /// HTTP method.
    pub method: &'a str,
    /// Path and query as sent.
    pub path: &'a str,
    /// Body.
    pub body: &'a [u8],
}

impl RequestParts<'_> {
    fn digest(&self, ts: u64, nonce: &[u8; 16], body_sha256: &[u8; 32]) -> [u8; 32] {
        let lp = |s: &str| (s.len() as u16).to_be_bytes();
        sha256(&[
            labels::REQUEST.as_bytes(),
            &lp(self.domain),
            self.domain.as_bytes(),
            &self.audience.0,
            &lp(self.method),
            self.method.as_bytes(),
            &lp(self.path),
            self.path.as_bytes(),
            &ts.to_be_bytes(),
            nonce,
            body_sha256,
        ])
    }

    /// The header value that signs this request.
    pub fn sign(
        &self,
        by: &Identity,
        with_keys: bool,
        ts: u64,
        nonce: [u8; 16],
        rng: &mut impl rand_core::CryptoRng,
    ) -> String {
        let sig = by.sign(&self.digest(ts, &nonce, &sha256(&[self.body])), rng);
        let mut out =
            format!("{SCHEME} id={},ts={ts},nonce={},sig={}", by.id(), hex::encode(nonce), hex::encode(sig.0));
        if with_keys {
            let p = by.public();
            out.push_str(&format!(",keys={}{}", hex::encode(p.enc_bytes()), hex::encode(p.sign_bytes())));
        }
        out
    }
}

/// A parsed header whose signature has not been checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthHeader {
    /// Claimed caller.
    pub id: PrincipalId,
    /// Unix milliseconds at the caller.
    pub ts: u64,
    /// Unique per request.
    pub nonce: [u8; 16],
    /// Signature.
    pub signature: Signature,
    /// Keys of a caller outside the roster.
    pub keys: Option<PublicKeys>,
}

/// Why a request is not authenticated.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum AuthError {
    /// No or unreadable header.
    #[error("the Authorization header is missing or malformed")]
    Header,
    /// The signature does not fit.
    #[error("the request's signature does not fit caller, server, path, time or body")]
    Signature,
    /// The keys in the header do not hash to the id.
    #[error("the keys in the Authorization header do not belong to the id")]
    Keys,
}

impl AuthHeader {
    /// Reads a header value. Every part must be there once, none else.
    pub fn parse(value: &str) -> Result<Self, AuthError> {
        let rest = value.strip_prefix(SCHEME).and_then(|r| r.strip_prefix(' ')).ok_or(AuthError::Header)?;
        let (mut id, mut ts, mut nonce, mut sig, mut keys) = (None, None, None, None, None);
        for part in rest.split(',') {
            let (name, v) = part.trim().split_once('=').ok_or(AuthError::Header)?;
            let fresh = match name {
                "id" => id.replace(array::<16>(v)?).is_none(),
                "ts" => ts.replace(v.parse::<u64>().map_err(|_| AuthError::Header)?).is_none(),
                "nonce" => nonce.replace(array::<16>(v)?).is_none(),
                "sig" => sig.replace(array::<64>(v)?).is_none(),
                "keys" => keys.replace(array::<65>(v)?).is_none(),
                _ => false,
            };
            if !fresh {
                return Err(AuthError::Header);
            }
        }
        let keys = keys.map(|k| {
            let (mut enc, mut sign) = ([0; 33], [0; 32]);
            enc.copy_from_slice(&k[..33]);
            sign.copy_from_slice(&k[33..]);
            PublicKeys { enc: RawPoint(enc), sign: B32(sign) }
        });
        Ok(Self {
            id: PrincipalId(id.ok_or(AuthError::Header)?),
            ts: ts.ok_or(AuthError::Header)?,
            nonce: nonce.ok_or(AuthError::Header)?,
            signature: Signature(sig.ok_or(AuthError::Header)?),
            keys,
        })
    }

    /// The identity behind the keys in the header, when they hash to the id.
    pub fn own_keys(&self) -> Result<Option<PublicIdentity>, AuthError> {
        let Some(keys) = &self.keys else { return Ok(None) };
        let identity = keys.identity().map_err(|_| AuthError::Keys)?;
        if identity.id() == self.id { Ok(Some(identity)) } else { Err(AuthError::Keys) }
    }

    /// Checks the signature over `request` by `caller`; the SHA-256 of the body, which it is about.
    pub fn verify(&self, request: &RequestParts<'_>, caller: &PublicIdentity) -> Result<[u8; 32], AuthError> {
        let body_sha256 = sha256(&[request.body]);
        let digest = request.digest(self.ts, &self.nonce, &body_sha256);
        caller.verify(&digest, &self.signature).map_err(|_| AuthError::Signature)?;
        Ok(body_sha256)
    }
}

fn array<const N: usize>(hex_text: &str) -> Result<[u8; N], AuthError> {
    let mut out = [0; N];
    hex::decode_to_slice(hex_text, &mut out).map_err(|_| AuthError::Header)?;
    Ok(out)
}
