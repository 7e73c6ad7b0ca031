//! Sections 8 and 9: tokens, terms, bridged tokens, order codes.

use sealdex_crypto::{
    Bits, BridgeScalar, DomainMaster, FieldToken, FieldTokenKey, GateOrderSecret, InnerOrderKey, MemberKey,
    MemberOrderSecret, MemberTokenSecret, NoiseKey, OuterOrderKey, RecordId, ScopeKey, TermKey, WalkKey, field_token,
    interval, mul_many, noise, order_term, token_point,
};

use super::entry::{Entry, done, equal, integer, same, same_secret};
use super::keys::check_parts;

pub(super) fn token(entry: &Entry<'_>) -> Result<(), String> {
    let (domain, field) = (entry.text("domain")?, entry.text("field")?);
    check_parts(&[domain.as_bytes(), field.as_bytes()])?;
    let secret = MemberTokenSecret::from_bytes(&entry.array("member_token_secret")?);
    let key = FieldTokenKey::derive(&secret, domain, field, entry.u32("epoch")?);
    let inner = key.inner(&entry.bytes("value")?);
    same("inner", &inner, &entry.bytes("inner")?)?;
    let known = entry.bytes("scope_key")?;
    let term_key = TermKey::from_bytes(&entry.array("term_key")?);
    let derived = ScopeKey::derive_bytes(&term_key, domain, &scope(entry)?);
    same_secret("scope_key", derived.as_slice(), &known)?;
    let term = scope_key(entry, domain)?.term(&inner);
    same("term", &term.0, &entry.bytes("term")?)
}

pub(super) fn bridged_token(entry: &Entry<'_>) -> Result<(), String> {
    let (domain, field) = (entry.text("domain")?, entry.text("field")?);
    let value = entry.bytes("value")?;
    let point = done("point", token_point(domain, field, &value))?;
    same("point", &point.to_bytes(), &entry.bytes("point")?)?;
    let master = DomainMaster::from_scalar(entry.scalar("master")?);
    let bridged = entry.bytes("bridged")?;
    same("K·P", &point.mul(master.scalar()).to_bytes(), &bridged)?;

    let check = |entry: &Entry<'_>, member: &MemberKey, bridge: &BridgeScalar| {
        same("key", member.to_bytes().as_slice(), &entry.bytes("key")?)?;
        same("bridge", bridge.to_bytes().as_slice(), &entry.bytes("bridge")?)?;
        let inner = done("inner", member.inner(domain, field, &value))?;
        same("inner", &inner.to_bytes(), &entry.bytes("inner")?)?;
        let bridge = BridgeScalar::from_scalar(entry.scalar("bridge")?);
        let given = entry.point("inner")?;
        same("bridged", &bridge.bridge(&given).to_bytes(), &bridged)?;
        let many = mul_many(&[given, given], bridge.scalar());
        equal("a batch", many, vec![bridge.bridge(&given).to_bytes(); 2])
    };
    let mut pairs = Vec::new();
    for member in entry.list("members")? {
        let member = Entry::new(member);
        let key = MemberKey::from_scalar(member.scalar("key")?);
        let bridge = master.bridge_for(&key);
        check(&member, &key, &bridge)?;
        pairs.push((key, bridge));
    }
    // The file does not say whose child it is; it must fit one of the members.
    let child = entry.object("child")?;
    let c = child.scalar("c")?;
    let mut fit = Err("the entry has no member to delegate from".to_owned());
    for (key, bridge) in &pairs {
        let (child_key, c_inverse) = key.delegate_with(&c);
        fit = check(&child, &child_key, &bridge.delegate(&c_inverse));
        if fit.is_ok() {
            break;
        }
    }
    fit.map_err(|why| format!("child: {why}"))?;
    check_parts(&[domain.as_bytes()])?;
    let term = scope_key(entry, domain)?.term(&bridged);
    same("term", &term.0, &entry.bytes("term")?)
}

pub(super) fn order_code(entry: &Entry<'_>) -> Result<(), String> {
    let layers = Layers::read(entry)?;
    for (index, case) in entry.list("cases")?.iter().enumerate() {
        let case = layers.case(&Entry::new(case));
        case.map_err(|why| format!("cases[{index}]: {why}"))?;
    }
    layers.query(&entry.object("query")?)
}

/// Both layers of one field.
struct Layers {
    bits: Bits,
    field: String,
    field_token: FieldToken,
    tag: [u8; 8],
    walk: WalkKey,
    inner: InnerOrderKey,
    outer: OuterOrderKey,
}

impl Layers {
    fn read(entry: &Entry<'_>) -> Result<Self, String> {
        let (domain, field) = (entry.text("domain")?, entry.text("field")?);
        check_parts(&[domain.as_bytes(), field.as_bytes()])?;
        let (epoch, scope) = (entry.u32("epoch")?, scope(entry)?);
        let token_secret = MemberTokenSecret::from_bytes(&entry.array("member_token_secret")?);
        let token = field_token(&token_secret, domain, field, epoch);
        same("field_token", &token.0, &entry.bytes("field_token")?)?;
        let tag = scope_key(entry, domain)?.tag(&token);
        same("tag", &tag, &entry.bytes("tag")?)?;

        let member = MemberOrderSecret::from_bytes(&entry.array("member_order_secret")?);
        let inner_key = InnerOrderKey::derive_bytes(&member, domain, field, epoch);
        same_secret("inner_key", inner_key.as_slice(), &entry.bytes("inner_key")?)?;
        let gate = GateOrderSecret::from_bytes(&entry.array("gate_order_secret")?);
        let outer_key = OuterOrderKey::derive_bytes(&gate, domain, &token, epoch, &scope);
        same_secret("outer_key", outer_key.as_slice(), &entry.bytes("outer_key")?)?;
        Ok(Self {
            bits: done("bits", Bits::new(entry.u8("bits")?))?,
            field: field.to_owned(),
            field_token: token,
            tag,
            walk: WalkKey::from_bytes(&inner_key),
            inner: InnerOrderKey::derive(&member, domain, field, epoch),
            outer: OuterOrderKey::derive(&gate, domain, &token, epoch, &scope),
        })
    }

    fn case(&self, case: &Entry<'_>) -> Result<(), String> {
        let q = case.u64("q")?;
        let (lo, size) = done("interval", interval(&self.walk, self.bits, q))?;
        equal("lo", lo, case.u64("lo")?)?;
        equal("size", size, case.u64("size")?)?;

        let record_id = RecordId(case.array("record_id")?);
        let provider = NoiseKey::from_bytes(&case.array("provider_noise_key")?);
        let drawn = noise(&provider, &record_id, self.field.as_bytes());
        let inner = done("inner", self.inner.code(self.bits, q, drawn))?;
        equal("inner", inner, case.u64("inner")?)?;

        let gate = NoiseKey::from_bytes(&case.array("gate_noise_key")?);
        let drawn = noise(&gate, &record_id, &self.field_token.0);
        let outer = self.outer.code(self.bits, case.u64("inner")?, drawn);
        let outer = done("outer", outer)?;
        equal("outer", outer, case.u64("outer")?)?;
        let term = order_term(self.tag, outer);
        same("order_term", &term.0, &case.bytes("order_term")?)
    }

    fn query(&self, query: &Entry<'_>) -> Result<(), String> {
        let (from, to) = (query.u64("from")?, query.u64("to")?);
        let inner = done("query inner", self.inner.bounds(self.bits, from, to))?;
        equal("query inner", inner, pair(query, "inner")?)?;
        let outer = self.outer.bounds(self.bits, inner.0, inner.1);
        equal("query outer", done("query outer", outer)?, pair(query, "outer")?)
    }
}

fn pair(entry: &Entry<'_>, name: &str) -> Result<(u64, u64), String> {
    match entry.list(name)? {
        [low, high] => Ok((integer(name, low)?, integer(name, high)?)),
        _ => Err(format!("field {name} is not a pair")),
    }
}

fn scope(entry: &Entry<'_>) -> Result<Vec<u8>, String> {
    let scope = entry.bytes("scope")?;
    check_parts(&[&scope])?;
    Ok(scope)
}

fn scope_key(entry: &Entry<'_>, domain: &str) -> Result<ScopeKey, String> {
    let term_key = TermKey::from_bytes(&entry.array("term_key")?);
    Ok(ScopeKey::derive(&term_key, domain, &scope(entry)?))
}
