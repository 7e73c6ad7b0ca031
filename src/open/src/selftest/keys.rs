//! Sections 1 to 3: derivation, identities, section keys.

use sealdex_crypto::{Identity, IdentitySeed, PublicIdentity, Scalar, SignSecret, kdf_into};

use super::entry::{Entry, done, refused, same, same_secret};
use crate::SectionSecret;

pub(super) fn hash_to_scalar(entry: &Entry<'_>) -> Result<(), String> {
    let parts = entry.bytes_list("parts")?;
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    check_parts(&parts)?;
    let scalar = sealdex_crypto::hash_to_scalar(entry.text("label")?, &parts);
    same("scalar", scalar.to_bytes().as_slice(), &entry.bytes("scalar")?)
}

pub(super) fn kdf(entry: &Entry<'_>) -> Result<(), String> {
    let parts = entry.bytes_list("parts")?;
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    check_parts(&parts)?;
    let length = entry.u32("length")?;
    if length > 255 * 32 {
        return Err(format!("field length is too large: {length}"));
    }
    let mut okm = vec![0; length as usize];
    let derived = kdf_into(entry.text("label")?, &entry.bytes("ikm")?, &parts, &mut okm);
    done("kdf", derived)?;
    same("okm", &okm, &entry.bytes("okm")?)
}

pub(super) fn identity(entry: &Entry<'_>) -> Result<(), String> {
    let identity = Identity::from_seed(&IdentitySeed::from_bytes(&entry.array("seed")?));
    let public = identity.public();
    let enc_secret = entry.bytes("enc_secret")?;
    same_secret("enc_secret", identity.enc_secret().to_bytes().as_slice(), &enc_secret)?;
    same("enc_public", &public.enc_bytes(), &entry.bytes("enc_public")?)?;
    same("sign_public_xonly", &public.sign_bytes(), &entry.bytes("sign_public_xonly")?)?;
    same("principal_id", &public.id().0, &entry.bytes("principal_id")?)?;

    let sign_secret = SignSecret::from_scalar(&entry.scalar("sign_secret")?);
    same("public half of sign_secret", &sign_secret.public().to_bytes(), &public.sign_bytes())?;
    let read = PublicIdentity::from_bytes(&public.enc_bytes(), &public.sign_bytes());
    let read = done("public keys", read)?;
    let message = [0x5d; 32];
    let signature = sign_secret.sign_with(&message, &[7; 32]);
    done("signature", read.verify(&message, &signature))?;
    let other = read.verify(&[0x5e; 32], &signature);
    refused("a signature of another message", other.is_err())
}

pub(super) fn section_key(entry: &Entry<'_>) -> Result<(), String> {
    let seed = IdentitySeed::from_bytes(&entry.array("seed")?);
    let section = entry.text("section")?;
    check_parts(&[section.as_bytes()])?;
    let secret = SectionSecret::derive(&seed, section, entry.u32("epoch")?);
    let known: Scalar = entry.scalar("secret")?;
    let derived = secret.scalar().to_bytes();
    same_secret("secret", derived.as_slice(), known.to_bytes().as_slice())?;
    same("public", &secret.public().to_bytes(), &entry.bytes("public")?)?;
    let from_known = SectionSecret::from_scalar(known).public().to_bytes();
    same("public half of secret", &from_known, &entry.bytes("public")?)
}

/// Names and parts longer than a length prefix can say are refused before they are hashed.
pub(super) fn check_parts(parts: &[&[u8]]) -> Result<(), String> {
    match parts.iter().find(|part| part.len() > sealdex_crypto::MAX_PART) {
        Some(part) => Err(format!("a part of {} bytes is too long", part.len())),
        None => Ok(()),
    }
}
