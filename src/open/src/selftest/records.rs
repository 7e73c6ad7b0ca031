//! Sections 4 to 7: capsules, grants, routing tags, sealed records.

use sealdex_crypto::{
    Capsule, CapsuleKey, DleqProof, GateTagKey, PrincipalId, RecordHeader, RecordId, Reencapsulated, RekeyScalar,
    RoutingInfo, dleq, encapsulate_with, make_tag, open_tag, reencapsulate, reencapsulate_many, seal_record, shamir,
};

use super::entry::{Entry, done, equal, integer, narrow, refused, same, same_secret};
use super::keys::check_parts;
use crate::{ReaderKey, SectionSecret, make_grant, open_record, rotation_factor};

/// Content in a file of known answers is small; this bounds what a hostile one can do.
const CONTENT_LIMIT: usize = 64 << 20;

pub(super) fn capsule(entry: &Entry<'_>) -> Result<(), String> {
    let owner = SectionSecret::from_scalar(entry.scalar("owner_secret")?);
    let public = entry.point("owner_public")?;
    same("owner_public", &owner.public().to_bytes(), &public.to_bytes())?;
    let context = entry.bytes("context")?;
    check_parts(&[&context])?;
    let key = entry.bytes("key")?;

    let (made, made_key) = encapsulate_with(&entry.scalar("r")?, &public, &context);
    same("capsule", &made.to_bytes(), &entry.bytes("capsule")?)?;
    same_secret("the writer's key", made_key.expose(), &key)?;

    let given = Capsule::from(entry.point("capsule")?);
    same_secret("the owner's key", owner.open(&given, &context).expose(), &key)
}

pub(super) fn grant(entry: &Entry<'_>) -> Result<(), String> {
    let owner = SectionSecret::from_scalar(entry.scalar("owner_secret")?);
    let user = ReaderKey::from_scalar(entry.scalar("user_secret")?);
    let (a_pub, b_pub) = (entry.point("owner_public")?, entry.point("user_public")?);
    same("owner_public", &owner.public().to_bytes(), &a_pub.to_bytes())?;
    same("user_public", &user.public().to_bytes(), &b_pub.to_bytes())?;

    let keys = make_grant(&owner, &b_pub, &entry.scalar("x")?);
    same("X", &keys.x_pub.to_bytes(), &entry.bytes("X")?)?;
    same("rk", keys.rk.to_bytes().as_slice(), &entry.bytes("rk")?)?;
    same("R", &keys.r_pub.to_bytes(), &entry.bytes("R")?)?;

    let rk = RekeyScalar::from_scalar(entry.scalar("rk")?);
    refused("an R of another scalar", rk.matches(&entry.point("R")?))?;
    let capsule = Capsule::from(entry.point("capsule")?);
    let turned = reencapsulate(&rk, &capsule);
    same("reencapsulated", &turned.to_bytes(), &entry.bytes("reencapsulated")?)?;
    let many = reencapsulate_many(&[(&rk, capsule), (&rk, capsule)]);
    equal("a batch", many, vec![turned.to_bytes(); 2])?;

    let (context, key) = (entry.bytes("context")?, entry.bytes("key")?);
    check_parts(&[&context])?;
    let x_pub = entry.point("X")?;
    let d = user.rekey_secret(&x_pub, &a_pub);
    same_secret("the user's key", d.open(&capsule, &turned, &a_pub, &context).expose(), &key)?;
    same_secret("the owner's key", owner.open(&capsule, &context).expose(), &key)?;

    let turns = Turn { rk, capsule, turned };
    proof(&entry.object("proof")?, &turns)?;
    threshold(&entry.object("threshold")?, &turns)?;

    let rotate = entry.object("rotate")?;
    let new_user = ReaderKey::from_scalar(rotate.scalar("new_user_secret")?);
    let factor = rotation_factor(&user, &new_user, &x_pub, &a_pub);
    same("factor", factor.to_bytes().as_slice(), &rotate.bytes("factor")?)?;
    let new_rk = turns.rk.rotate(&rotate.scalar("factor")?);
    same("new_rk", new_rk.to_bytes().as_slice(), &rotate.bytes("new_rk")?)?;
    let turned = reencapsulate(&new_rk, &capsule);
    same("rotated", &turned.to_bytes(), &rotate.bytes("reencapsulated")?)?;
    let opened = new_user.rekey_secret(&x_pub, &a_pub).open(&capsule, &turned, &a_pub, &context);
    same_secret("the new user's key", opened.expose(), &key)?;
    let old = d.open(&capsule, &turned, &a_pub, &context);
    refused("the old group key", old.expose().as_slice() != key)
}

/// A capsule, the scalar it was turned with, and the result.
struct Turn {
    rk: RekeyScalar,
    capsule: Capsule,
    turned: Reencapsulated,
}

fn proof(entry: &Entry<'_>, turn: &Turn) -> Result<(), String> {
    let nonce = entry.scalar("k")?;
    let made = dleq::prove_with(&nonce, &turn.rk, &turn.capsule, &turn.turned);
    same("c", &made.c, &entry.bytes("c")?)?;
    same("z", &made.z, &entry.bytes("z")?)?;
    let given = DleqProof { c: entry.array("c")?, z: entry.array("z")? };
    let r_pub = turn.rk.public();
    let verified = dleq::verify(&r_pub, &turn.capsule, &turn.turned, &given);
    done("proof", verified)?;
    let other = Reencapsulated::from(turn.capsule.point());
    let verified = dleq::verify(&r_pub, &turn.capsule, &other, &given);
    refused("a proof of another point", verified.is_err())
}

fn threshold(entry: &Entry<'_>, turn: &Turn) -> Result<(), String> {
    let coefficients = entry.scalars("coefficients")?;
    let known = entry.scalars("shares")?;
    let t: usize = narrow("t", entry.u64("t")?)?;
    equal("t", t, coefficients.len() + 1)?;
    let count = narrow("shares", known.len() as u64)?;
    let shares = shamir::split_with(turn.rk.scalar(), &coefficients, count);
    for (share, known) in done("shares", shares)?.iter().zip(&known) {
        same("share", share.to_bytes().as_slice(), known.to_bytes().as_slice())?;
    }
    let (nodes, partials) = (entry.list("nodes")?, entry.points("partial")?);
    equal("number of partial results", partials.len(), nodes.len())?;
    let mut numbered = Vec::new();
    for (node, partial) in nodes.iter().zip(partials) {
        let node: u16 = narrow("nodes", integer("nodes", node)?)?;
        let share = usize::from(node).checked_sub(1).and_then(|at| known.get(at));
        let share = share.ok_or_else(|| format!("there is no node {node}"))?;
        let made = turn.capsule.point().mul(share);
        same("partial", &made.to_bytes(), &partial.to_bytes())?;
        numbered.push((node, partial));
    }
    let combined = done("combine", shamir::combine(&numbered))?;
    same("combined", &combined.to_bytes(), &turn.turned.to_bytes())
}

pub(super) fn routing_tag(entry: &Entry<'_>) -> Result<(), String> {
    let key = GateTagKey::from_bytes(&entry.array("gate_tag_key")?);
    let record_id = RecordId(entry.array("record_id")?);
    let info = RoutingInfo {
        patient: PrincipalId(entry.array("patient_id")?),
        section: entry.text("section")?.to_owned(),
        epoch: entry.u32("epoch")?,
        capsule: entry.array("capsule")?,
    };
    check_parts(&[info.section.as_bytes()])?;
    let tag = entry.bytes("tag")?;
    let made = make_tag(&key, &record_id, &info, entry.array("nonce")?);
    same("tag", &made, &tag)?;
    let opened = done("tag", open_tag(&key, &record_id, &tag))?;
    equal("opened tag", opened, info)?;
    let mut other = record_id;
    other.0[15] ^= 1;
    refused("a tag of another record", open_tag(&key, &other, &tag).is_err())
}

pub(super) fn sealed_record(entry: &Entry<'_>) -> Result<(), String> {
    let key = CapsuleKey::from_bytes(&entry.array("capsule_key")?);
    let header = RecordHeader {
        domain: entry.text("domain")?.to_owned(),
        provider: PrincipalId(entry.array("provider")?),
        record_id: RecordId(entry.array("record_id")?),
        section: entry.text("section")?.to_owned(),
        epoch: entry.u32("epoch")?,
        content_type: entry.text("content_type")?.to_owned(),
        capsule: entry.array("capsule")?,
    };
    same("header", &done("header", header.encode())?, &entry.bytes("header")?)?;

    let (encoding, content) = (entry.u8("encoding")?, entry.bytes("content")?);
    let sealed = entry.bytes("sealed")?;
    let made = done("seal", seal_record(&key, &header, encoding, &content))?;
    same("sealed", &made, &sealed)?;

    let opened = done("open", open_record(&key, &header, &sealed, CONTENT_LIMIT))?;
    let expected = match encoding {
        0 => content,
        _ => done("content", zstd::decode_all(content.as_slice()))?,
    };
    same("opened content", &opened, &expected)?;
    let mut altered = sealed;
    if let Some(byte) = altered.last_mut() {
        *byte ^= 1;
    }
    let opened = open_record(&key, &header, &altered, CONTENT_LIMIT);
    refused("an altered record", opened.is_err())
}
