//! SDX-1 as scenarios: sections 3 to 8, and the rows of the table of section 12.
//!
//! Each takes a [`Fault`]; [`Fault::None`] is the suite as specified.

use crate::{
    scenario::Scenario,
    term::{Monomial, Term, curve_point, h2s, hash, list, public, scalar, sealed, secret, share, signed},
};

/// A mistake planted into the suite, to see that the check finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The suite as specified.
    None,
    /// The cloud is given the routing tag key.
    TagKeyToCloud,
    /// The cloud is given the term key.
    TermKeyToCloud,
    /// The cloud is given the bridge scalars.
    BridgesToCloud,
    /// `d` is hashed from `X`, `B` and `A` without `x·B`.
    RekeyWithoutReader,
    /// The owner hands `d` to the gate beside `rk`.
    RekeySecretSent,
    /// `d` is hashed from `x` alone and told to each reader.
    RekeyOfXAlone,
    /// The same, and the owner takes one `x` for two readers.
    RekeyOfXAloneReused,
    /// One `x` for two readers; `d` as specified.
    SameX,
    /// Section secrets do not depend on the epoch.
    NoEpoch,
    /// Section secrets do not depend on the section.
    NoSection,
    /// `K` without `S`.
    CapsuleWithoutShared,
    /// `K` without `E`.
    CapsuleWithoutE,
    /// The provider takes one `r` for two capsules, and `K` is without `E`.
    CapsuleStatic,
    /// The bridge scalar is the member's own key.
    BridgeIsKey,
    /// Every member is given `K` itself.
    KeyIsMaster,
    /// The new group seed is a hash of the old one.
    NewGroupSeedHashed,
    /// The new group seed is wrapped under the old one.
    NewGroupSeedUnderOld,
    /// Everybody sees the rotation factor.
    FactorPublished,
    /// The gate forgets the old scalar and keeps the factor.
    FactorKept,
    /// Children get their parent's key.
    ChildIsParent,
    /// One share is enough.
    ThresholdOne,
}

use Fault as F;

fn text(s: &str) -> Term {
    public(s)
}

/// `a = H2S("sdx1/section", seed, section, epoch)` (section 3).
fn section_secret(fault: F, seed: &Term, section: &str, epoch: &str) -> Monomial {
    match fault {
        F::NoEpoch => h2s("sdx1/section", &[seed.clone(), text(section)]),
        F::NoSection => h2s("sdx1/section", &[seed.clone(), text(epoch)]),
        _ => h2s("sdx1/section", &[seed.clone(), text(section), text(epoch)]),
    }
}

/// One upload batch: a capsule, its key, one record under it (sections 4 and 7).
struct Batch {
    r: Monomial,
    e: Term,
    key: Term,
    content: Term,
    sealed: Term,
}

impl Batch {
    fn new(fault: F, name: &str, a: &Monomial, context: &str) -> Self {
        let r = if fault == F::CapsuleStatic { scalar("r") } else { scalar(&format!("r {name}")) };
        let (e, a_pub, shared) = (r.g(), a.g(), r.times(a).g());
        let key = match fault {
            F::CapsuleWithoutShared => hash("sdx1/capsule", &[e.clone(), a_pub, text(context)]),
            F::CapsuleWithoutE | F::CapsuleStatic => hash("sdx1/capsule", &[shared, a_pub, text(context)]),
            _ => hash("sdx1/capsule", &[shared, e.clone(), a_pub, text(context)]),
        };
        let content = secret(&format!("content {name}"));
        let record = hash("sdx1/record", &[key.clone(), text(name)]);
        Self { r, e, content: content.clone(), sealed: sealed(&record, &content), key }
    }
}

/// One grant: section secret, reader, the owner's `x` (section 5).
struct Grant {
    x: Monomial,
    x_pub: Term,
    shared: Term,
    d: Monomial,
    rk: Monomial,
}

impl Grant {
    fn new(fault: F, owner: &str, name: &str, a: &Monomial, b: &Monomial) -> Self {
        let same = matches!(fault, F::SameX | F::RekeyOfXAloneReused);
        let x = scalar(&if same { format!("x of {owner}") } else { format!("x of {owner} for {name}") });
        let d = rekey_secret(fault, &x, b, a);
        Self { x_pub: x.g(), shared: x.times(b).g(), rk: a.over(&d), x, d }
    }

    /// The owner makes it: the gate gets the scalar, and what the owner signs.
    fn send(&self, s: &mut Scenario, fault: F, owner: (&str, &Monomial), reader: (&str, &Monomial), a: &Monomial) {
        let statement = list(&[a.g(), reader.1.g(), self.x_pub.clone(), self.rk.g()]);
        s.knows(owner.0, &[self.x.term()]);
        s.send(owner.0, &["gate"], &[self.rk.term(), signed(owner.1, &statement)]);
        if fault == F::RekeySecretSent {
            s.send(owner.0, &["gate"], &[self.d.term()]);
        }
        if matches!(fault, F::RekeyOfXAlone | F::RekeyOfXAloneReused) {
            let told = sealed(&hash("told", std::slice::from_ref(&self.shared)), &self.d.term());
            s.send(owner.0, &[reader.0, "gate", "cloud"], &[told, self.x_pub.clone()]);
        }
    }

    /// The gate turns a capsule for the reader, who also gets `E`, `X` and `A`.
    fn serve(&self, s: &mut Scenario, reader: &str, batch: &Batch, a: &Monomial) {
        s.send("gate", &[reader], &[batch.e.clone(), self.rk.on(&batch.e), self.x_pub.clone(), a.g()]);
    }
}

/// `d = H2S("sdx1/rekey", X, B, x·B, A)`.
fn rekey_secret(fault: F, x: &Monomial, b: &Monomial, a: &Monomial) -> Monomial {
    match fault {
        F::RekeyWithoutReader => h2s("sdx1/rekey", &[x.g(), b.g(), a.g()]),
        F::RekeyOfXAlone | F::RekeyOfXAloneReused => h2s("sdx1/rekey", &[x.term()]),
        _ => h2s("sdx1/rekey", &[x.g(), b.g(), x.times(b).g(), a.g()]),
    }
}

/// The routing tag (section 6).
fn tag(patient: &Term, section: &str, epoch: &str, batch: &Batch) -> Term {
    sealed(&secret("gate_tag_key"), &list(&[patient.clone(), text(section), text(epoch), batch.e.clone()]))
}

/// Everybody sees public halves: the strongest assumption, and nearly so in practice.
fn publish(s: &mut Scenario, parties: &[&str], terms: &[Term]) {
    for party in parties {
        s.knows(party, terms);
    }
}

/// A provider uploads: the sealed record to the cloud, the capsule to the gate, the tag from gate
/// to cloud.
fn upload(s: &mut Scenario, provider: &str, patient: &Term, section: &str, epoch: &str, batch: &Batch) {
    s.knows(provider, &[batch.r.term(), batch.content.clone(), patient.clone()]);
    s.send(provider, &["cloud"], std::slice::from_ref(&batch.sealed));
    s.send(provider, &["gate"], &[batch.e.clone(), patient.clone()]);
    s.send("gate", &["cloud"], &[tag(patient, section, epoch, batch)]);
    // An honest gate never has sealed records. Nothing keeps it from signing itself a ticket.
    s.send("cloud", &["gate"], std::slice::from_ref(&batch.sealed));
}

/// The table of section 12: one domain with two hospitals, a granted user, a member without a
/// grant, a patient with two sections and two epochs.
#[must_use]
pub fn domain(fault: F) -> Scenario {
    let mut s = Scenario::new("Section 12: who together can derive which key");
    let parties = ["owner", "writer", "hospital", "user", "user2", "member", "gate", "cloud", "authority"];

    // The ceremony (section 8b; what the authority's key file holds). K is called `master`.
    let master = scalar("master");
    let (tok, ord) = (secret("member_token_secret"), secret("member_order_secret"));
    let (term_key, gate_order) = (secret("term_key"), secret("gate_order_secret"));
    let (tag_key, everyone) = (secret("gate_tag_key"), secret("everyone seed"));
    let gate_keys = [term_key.clone(), gate_order.clone(), tag_key.clone(), secret("gate seed")];
    s.knows("authority", &[master.term(), tok.clone(), ord.clone(), everyone.clone()]);
    s.knows("authority", &gate_keys);
    s.send("authority", &["gate"], &gate_keys);
    let key_of = |member: &str| if fault == F::KeyIsMaster { master.clone() } else { scalar(&format!("k {member}")) };
    for member in ["writer", "hospital", "user", "user2", "member"] {
        let k = key_of(member);
        s.knows("authority", &[k.term()]);
        s.send("authority", &[member], &[k.term(), tok.clone(), ord.clone(), everyone.clone()]);
        let delta = if fault == F::BridgeIsKey { k } else { master.over(&k) };
        s.send("authority", &["gate"], &[delta.term()]);
        if fault == F::BridgesToCloud {
            s.send("authority", &["cloud"], &[delta.term()]);
        }
    }
    match fault {
        F::TagKeyToCloud => s.send("gate", &["cloud"], std::slice::from_ref(&tag_key)),
        F::TermKeyToCloud => s.send("gate", &["cloud"], std::slice::from_ref(&term_key)),
        _ => {}
    }

    // The patient, two readers, and the group of all members.
    let (seed, sign, patient) = (secret("owner seed"), scalar("owner sign"), secret("patient id"));
    s.knows("owner", &[seed.clone(), sign.term(), patient.clone()]);
    let (b, b2) = (scalar("b user"), scalar("b user2"));
    s.knows("user", &[b.term(), patient.clone()]);
    s.knows("user2", &[b2.term()]);
    let all = h2s("sdx1/identity/enc", &[everyone]);
    let (a0, a1) = (section_secret(fault, &seed, "labs", "0"), section_secret(fault, &seed, "labs", "1"));
    let an = section_secret(fault, &seed, "notes", "0");
    let hospital_seed = secret("hospital seed");
    s.knows("hospital", &[hospital_seed.clone(), scalar("hospital sign").term()]);
    let ah = section_secret(fault, &hospital_seed, "directory", "0");
    publish(&mut s, &parties, &[a0.g(), a1.g(), an.g(), ah.g(), b.g(), b2.g(), all.g()]);

    // Records: two batches of labs in epoch 0, one in epoch 1, one of notes, the hospital's own.
    let labs = Batch::new(fault, "labs 0", &a0, "labs 0");
    let unserved = Batch::new(fault, "labs 0, unserved", &a0, "labs 0");
    let next = Batch::new(fault, "labs 1", &a1, "labs 1");
    let notes = Batch::new(fault, "notes 0", &an, "notes 0");
    let own = Batch::new(fault, "directory", &ah, "directory 0");
    upload(&mut s, "writer", &patient, "labs", "0", &labs);
    upload(&mut s, "writer", &patient, "labs", "0", &unserved);
    upload(&mut s, "writer", &patient, "labs", "1", &next);
    upload(&mut s, "writer", &patient, "notes", "0", &notes);
    upload(&mut s, "hospital", &public("hospital id"), "directory", "0", &own);

    // Grants: labs 0 to user; labs 1 and notes 0 to user2; the hospital's directory to everyone.
    let grants = [
        ("user", &b, &a0, Some(&labs), "user labs 0"),
        ("user2", &b2, &a1, Some(&next), "user2 labs 1"),
        ("user2", &b2, &an, None, "user2 notes 0"),
    ];
    for (reader, key, a, served, name) in grants {
        let grant = Grant::new(fault, "owner", name, a, key);
        grant.send(&mut s, fault, ("owner", &sign), (reader, key), a);
        if let Some(batch) = served {
            grant.serve(&mut s, reader, batch, a);
            s.send("cloud", &[reader], std::slice::from_ref(&batch.sealed));
        }
    }
    let to_all = Grant::new(fault, "hospital", "everyone directory", &ah, &all);
    to_all.send(&mut s, fault, ("hospital", &scalar("hospital sign")), ("member", &all), &ah);

    // The index: the writer's value, as token, bridged token and order code (sections 8 and 9).
    let scope = |id: &str| hash("sdx1/scope", &[term_key.clone(), text("domain"), text(id)]);
    let inner = |value: &Term| hash("token", &[hash("sdx1/token", &[tok.clone(), text("code")]), value.clone()]);
    let term = |id: &str, x: &Term| hash("sdx1/term", &[scope(id), x.clone()]);
    let order = |value: &Term| {
        let inner = hash("interval", &[hash("sdx1/mopse", &[ord.clone(), text("age")]), value.clone()]);
        hash("interval", &[hash("sdx1/mopse", &[gate_order.clone(), text("age")]), inner])
    };
    let value = secret("a patient's value");
    s.knows("writer", std::slice::from_ref(&value));
    s.send("writer", &["gate"], &[inner(&value), key_of("writer").on(&curve_point(&value))]);
    let bridged = |value: &Term| master.on(&curve_point(value));
    s.send("gate", &["cloud"], &[term("writer", &inner(&value)), term("", &inner(&value))]);
    if fault != F::BridgeIsKey {
        s.send("gate", &["cloud"], &[term("writer", &bridged(&value))]);
    }

    // A guess is a value that is in nobody's records; whoever can make its entry can try any value.
    let guess = public("guess");
    s.goal("master", &master.term());
    s.goal("k of writer", &key_of("writer").term());
    s.goal("guess token", &inner(&guess));
    s.goal("guess bridged", &bridged(&guess));
    s.goal("guess term", &term("writer", &inner(&guess)));
    s.goal("guess merged", &term("", &inner(&guess)));
    s.goal("guess order", &order(&guess));
    s.goal("patient", &patient);
    s.goal("labs 0", &labs.content);
    s.goal("labs 0 unserved", &unserved.content);
    s.goal("secret labs 0", &a0.term());
    s.goal("labs 1", &next.content);
    s.goal("secret labs 1", &a1.term());
    s.goal("notes 0", &notes.content);
    s.goal("directory", &own.content);

    let index = ["guess token", "guess term", "guess merged", "guess order"];
    let gate_member = [&["master", "k of writer", "guess bridged", "patient"][..], &index].concat();
    let with = |more: &[&'static str]| [&gate_member[..], more].concat();
    s.expect(&["cloud"], &[]);
    s.expect(&["gate"], &["patient"]);
    s.expect(&["member"], &["guess token"]);
    s.expect(&["hospital"], &["guess token", "directory"]);
    s.expect(&["user"], &["guess token", "patient", "labs 0"]);
    s.expect(&["writer"], &["k of writer", "guess token", "patient", "labs 0", "labs 0 unserved", "labs 1", "notes 0"]);
    s.expect(
        &["owner"],
        &["patient", "secret labs 0", "secret labs 1"], // with what gate and cloud send it: below
    );
    s.expect(
        &["owner", "cloud", "gate"],
        &["patient", "labs 0", "labs 0 unserved", "secret labs 0", "labs 1", "secret labs 1", "notes 0"],
    );
    s.expect(&["cloud", "hospital"], &["guess token", "directory"]);
    s.expect(&["cloud", "member"], &["guess token"]);
    s.expect(&["cloud", "user"], &["guess token", "patient", "labs 0"]);
    s.expect(&["cloud", "gate"], &["patient"]);
    // The directory is granted to everyone, so to any member.
    s.expect(&["gate", "member"], &with(&["directory"]));
    s.expect(&["gate", "user"], &with(&["labs 0", "labs 0 unserved", "secret labs 0", "directory"]));
    s.expect(&["cloud", "gate", "member"], &with(&["directory"]));
    s.expect(&["cloud", "gate", "user"], &with(&["labs 0", "labs 0 unserved", "secret labs 0", "directory"]));
    s.expect(
        &["cloud", "gate", "user", "member", "hospital"],
        &with(&["labs 0", "labs 0 unserved", "secret labs 0", "directory"]),
    );
    let ceremony = [&["master", "k of writer", "guess bridged"][..], &index].concat();
    s.expect(&["authority"], &ceremony);
    s.expect(&["authority", "cloud"], &[&ceremony[..], &["patient"]].concat());
    s.expect(&["authority", "gate"], &with(&["directory"]));
    s
}

/// Sections 4 to 6: one grant, its revocation, a later epoch, a second reader.
#[must_use]
pub fn grant(fault: F) -> Scenario {
    let mut s = Scenario::new("Grant: user is granted labs in epoch 0, then revoked; user2 goes on");
    let parties = ["owner", "provider", "user", "user2", "stranger", "gate", "cloud"];
    let (seed, sign) = (secret("owner seed"), scalar("owner sign"));
    s.knows("owner", &[seed.clone(), sign.term()]);
    let (b, b2, bs) = (scalar("b user"), scalar("b user2"), scalar("b stranger"));
    s.knows("user", &[b.term()]);
    s.knows("user2", &[b2.term()]);
    s.knows("stranger", &[bs.term()]);
    s.knows("gate", &[secret("gate_tag_key")]);
    let (a0, a1) = (section_secret(fault, &seed, "labs", "0"), section_secret(fault, &seed, "labs", "1"));
    publish(&mut s, &parties, &[a0.g(), a1.g(), b.g(), b2.g(), bs.g(), sign.g(), public("patient id")]);

    let first = Batch::new(fault, "first", &a0, "labs 0");
    let second = Batch::new(fault, "second", &a0, "labs 0");
    let third = Batch::new(fault, "third", &a1, "labs 1");
    for (epoch, batch) in [("0", &first), ("0", &second), ("1", &third)] {
        upload(&mut s, "provider", &public("patient id"), "labs", epoch, batch);
    }

    let to_user = Grant::new(fault, "owner", "user", &a0, &b);
    to_user.send(&mut s, fault, ("owner", &sign), ("user", &b), &a0);
    to_user.serve(&mut s, "user", &first, &a0);
    s.deletes("gate", &[to_user.rk.term()]);
    let to_user2 = Grant::new(fault, "owner", "user2", &a0, &b2);
    to_user2.send(&mut s, fault, ("owner", &sign), ("user2", &b2), &a0);
    to_user2.serve(&mut s, "user2", &second, &a0);
    let later = Grant::new(fault, "owner", "user2, epoch 1", &a1, &b2);
    later.send(&mut s, fault, ("owner", &sign), ("user2", &b2), &a1);
    later.serve(&mut s, "user2", &third, &a1);

    let statement = |reader: &Monomial| list(&[a0.g(), reader.g(), scalar("x forged").g(), scalar("rk forged").g()]);
    publish(&mut s, &parties, &[scalar("x forged").term(), scalar("rk forged").term()]);
    s.goal("K first", &first.key);
    s.goal("K second", &second.key);
    s.goal("a epoch 0", &a0.term());
    s.goal("K epoch 1", &third.key);
    s.goal("a epoch 1", &a1.term());
    s.goal("d of user", &to_user.d.term());
    s.goal("rk of user2", &to_user2.rk.term());
    s.goal("grant to stranger", &signed(&sign, &statement(&bs)));

    s.expect(&["user"], &["K first", "d of user"]);
    s.expect(&["user2"], &["K second", "K epoch 1"]);
    s.expect(&["stranger"], &[]);
    s.expect(&["cloud"], &[]);
    s.expect(&["gate"], &["rk of user2"]);
    s.expect(&["cloud", "gate"], &["rk of user2"]);
    s.expect(&["gate", "stranger"], &["rk of user2"]);
    s.expect(&["cloud", "gate", "stranger"], &["rk of user2"]);
    s.expect(&["cloud", "user"], &["K first", "d of user"]);
    s.expect(&["user", "stranger"], &["K first", "d of user"]);
    s.expect(&["user", "user2"], &["K first", "K second", "K epoch 1", "d of user"]);
    // A gate that is honest until the end has deleted the scalar; one that was not keeps it.
    s.expect(&["gate@late", "user"], &["K first", "d of user", "rk of user2"]);
    s.expect(&["cloud", "gate@late", "user"], &["K first", "d of user", "rk of user2"]);
    s.expect(&["gate", "user"], &["K first", "K second", "a epoch 0", "d of user", "rk of user2"]);
    s.expect(&["cloud", "gate", "user"], &["K first", "K second", "a epoch 0", "d of user", "rk of user2"]);
    s.expect(&["provider"], &["K first", "K second", "K epoch 1"]);
    s.expect(&["owner"], &["a epoch 0", "a epoch 1", "d of user", "rk of user2", "grant to stranger"]);
    s.expect(
        &["owner", "gate@late"],
        &[
            "K first",
            "K second",
            "K epoch 1",
            "a epoch 0",
            "a epoch 1",
            "d of user",
            "rk of user2",
            "grant to stranger",
        ],
    );
    s
}

/// Section 5, groups: the manager makes a new group key when a member leaves.
#[must_use]
pub fn group(fault: F) -> Scenario {
    let mut s = Scenario::new("Group: leaver had the old seed, stayer has both, the gate turned the scalar");
    let parties = ["owner", "provider", "manager", "leaver", "stayer", "gate", "cloud"];
    let (seed, sign) = (secret("owner seed"), scalar("owner sign"));
    s.knows("owner", &[seed.clone(), sign.term()]);
    s.knows("gate", &[secret("gate_tag_key")]);
    let (old, new) = (
        secret("old group seed"),
        match fault {
            F::NewGroupSeedHashed => hash("next", &[secret("old group seed")]),
            _ => secret("new group seed"),
        },
    );
    s.knows("manager", &[old.clone(), new.clone()]);
    let enc = |seed: &Term| h2s("sdx1/identity/enc", std::slice::from_ref(seed));
    let (b, b_new) = (enc(&old), enc(&new));
    let (bl, bs) = (scalar("b leaver"), scalar("b stayer"));
    s.knows("leaver", &[bl.term()]);
    s.knows("stayer", &[bs.term()]);
    let (a0, a1) = (section_secret(fault, &seed, "labs", "0"), section_secret(fault, &seed, "labs", "1"));
    publish(&mut s, &parties, &[a0.g(), a1.g(), b.g(), b_new.g(), bl.g(), bs.g(), public("patient id")]);

    // Seeds are wrapped for each member by a key agreed with the manager's fresh scalar; all see it.
    let wrap = |s: &mut Scenario, name: &str, to: &Monomial, seed: &Term| {
        let w = scalar(&format!("wrap {name}"));
        s.knows("manager", &[w.term()]);
        let boxed = sealed(&hash("wrap", &[w.times(to).g()]), seed);
        s.send("manager", &["leaver", "stayer", "gate", "cloud"], &[w.g(), boxed]);
    };
    wrap(&mut s, "old leaver", &bl, &old);
    wrap(&mut s, "old stayer", &bs, &old);

    let before = Batch::new(fault, "before", &a0, "labs 0");
    let after = Batch::new(fault, "after", &a0, "labs 0");
    let next = Batch::new(fault, "next epoch", &a1, "labs 1");
    for (epoch, batch) in [("0", &before), ("0", &after), ("1", &next)] {
        upload(&mut s, "provider", &public("patient id"), "labs", epoch, batch);
    }
    let grant = Grant::new(fault, "owner", "group", &a0, &b);
    grant.send(&mut s, fault, ("owner", &sign), ("leaver", &b), &a0);
    grant.serve(&mut s, "leaver", &before, &a0);
    s.send("gate", &["manager"], std::slice::from_ref(&grant.x_pub));

    // Rotation: b' for who stays, the factor d/d' to the gate, which forgets rk and the factor.
    wrap(&mut s, "new stayer", &bs, &new);
    if fault == F::NewGroupSeedUnderOld {
        let boxed = sealed(&hash("wrap", std::slice::from_ref(&old)), &new);
        s.send("manager", &["leaver", "stayer", "gate", "cloud"], &[boxed]);
    }
    let d_new = rekey_secret(fault, &grant.x, &b_new, &a0);
    let factor = grant.d.over(&d_new);
    s.send("manager", &["gate"], &[factor.term()]);
    if fault == F::FactorPublished {
        s.send("manager", &["leaver", "cloud"], &[factor.term()]);
    }
    let rk_new = grant.rk.times(&factor);
    s.send("gate", &["gate"], &[rk_new.term()]);
    s.deletes("gate", &[grant.rk.term()]);
    if fault != F::FactorKept {
        s.deletes("gate", &[factor.term()]);
    }
    let turned = rk_new.on(&after.e);
    s.send("gate", &["stayer"], &[after.e.clone(), turned, grant.x_pub.clone()]);
    let to_new = Grant::new(fault, "owner", "group, epoch 1", &a1, &b_new);
    to_new.send(&mut s, fault, ("owner", &sign), ("stayer", &b_new), &a1);

    s.goal("K before", &before.key);
    s.goal("K after", &after.key);
    s.goal("a epoch 0", &a0.term());
    s.goal("d new", &d_new.term());
    s.goal("b new", &b_new.term());
    s.goal("K epoch 1", &next.key);
    s.goal("a epoch 1", &a1.term());

    s.expect(&["leaver"], &["K before"]);
    s.expect(&["leaver", "cloud"], &["K before"]);
    s.expect(&["stayer"], &["K after", "d new", "b new"]);
    s.expect(&["gate"], &[]);
    s.expect(&["gate", "cloud"], &[]);
    // The old key does not fit the new scalar ...
    s.expect(&["leaver", "gate@late"], &["K before"]);
    s.expect(&["leaver", "gate@late", "cloud"], &["K before"]);
    // ... but a gate that kept what it had (the old scalar, or the factor) opens the old epoch.
    s.expect(&["leaver", "gate"], &["K before", "K after", "a epoch 0", "d new"]);
    s.expect(
        &["stayer", "gate@late"],
        &["K before", "K after", "a epoch 0", "d new", "b new", "K epoch 1", "a epoch 1"],
    );
    s.expect(&["manager"], &["d new", "b new"]);
    s.expect(
        &["manager", "gate@late"],
        &["K before", "K after", "a epoch 0", "d new", "b new", "K epoch 1", "a epoch 1"],
    );
    s
}

/// Section 8b, hierarchy: a member enrols a child by itself.
#[must_use]
pub fn enrolment(fault: F) -> Scenario {
    let mut s = Scenario::new("Delegated enrolment: a child's key is the parent's times c; then it is revoked");
    let (master, c) = (scalar("master"), scalar("c"));
    let (k, k_other) = (scalar("k parent"), scalar("k other"));
    s.knows("authority", &[master.term(), k.term(), k_other.term()]);
    s.send("authority", &["parent"], &[k.term()]);
    s.send("authority", &["other"], &[k_other.term()]);
    s.send("authority", &["gate"], &[master.over(&k).term(), master.over(&k_other).term()]);
    s.knows("cloud", &[public("nothing")]);
    s.knows("parent", &[c.term()]);
    let k_child = if fault == F::ChildIsParent { k.clone() } else { k.times(&c) };
    s.send("parent", &["child"], &[k_child.term()]);
    let inverse = k.over(&k_child);
    let delta_child = master.over(&k_child);
    if fault == F::ChildIsParent {
        s.knows("gate", &[inverse.term(), delta_child.term()]);
    } else {
        s.send("parent", &["gate"], &[inverse.term()]);
        s.send("gate", &["gate"], &[delta_child.term()]);
        s.deletes("gate", &[inverse.term(), delta_child.term()]);
    }
    let guess = curve_point(&public("guess"));
    s.goal("master", &master.term());
    s.goal("k parent", &k.term());
    s.goal("k child", &k_child.term());
    s.goal("k other", &k_other.term());
    s.goal("guess bridged", &master.on(&guess));
    s.goal("guess token of parent", &k.on(&guess));

    let all = ["master", "k parent", "k child", "k other", "guess bridged", "guess token of parent"];
    s.expect(&["child"], &["k child"]);
    s.expect(&["child", "cloud"], &["k child"]);
    s.expect(&["child", "other"], &["k child", "k other"]);
    s.expect(&["gate"], &[]);
    s.expect(&["gate", "cloud"], &[]);
    s.expect(&["parent"], &["k parent", "k child", "guess token of parent"]);
    s.expect(&["parent", "other"], &["k parent", "k child", "k other", "guess token of parent"]);
    s.expect(&["gate", "child"], &all);
    s.expect(&["gate", "parent"], &all);
    s.expect(&["gate", "other"], &all);
    // After the child is revoked at an honest gate its key fits nothing.
    s.expect(&["gate@late", "child"], &["k child"]);
    s.expect(&["gate@late", "other"], &["master", "k parent", "k other", "guess bridged", "guess token of parent"]);
    s
}

/// Section 5, threshold gate: `rk` and a bridge scalar shared 2 of 3.
#[must_use]
pub fn threshold(fault: F) -> Scenario {
    let mut s = Scenario::new("Threshold gate: rk and a bridge scalar shared 2 of 3");
    let t = if fault == F::ThresholdOne { 1 } else { 2 };
    let seed = secret("owner seed");
    s.knows("owner", std::slice::from_ref(&seed));
    let (b, master, k) = (scalar("b user"), scalar("master"), scalar("k member"));
    s.knows("user", &[b.term()]);
    s.knows("halfway", &[b.term()]);
    s.knows("member", &[k.term()]);
    let (a0, a1) = (section_secret(fault, &seed, "labs", "0"), section_secret(fault, &seed, "labs", "1"));
    let parties = ["owner", "user", "halfway", "member", "node1", "node2", "node3"];
    publish(&mut s, &parties, &[a0.g(), a1.g(), b.g()]);
    let grant = Grant::new(fault, "owner", "user", &a0, &b);
    let delta = master.over(&k);
    let (first, second) = (Batch::new(fault, "first", &a0, "labs 0"), Batch::new(fault, "second", &a0, "labs 0"));
    let later = Batch::new(fault, "later", &a1, "labs 1");
    // The owner deals out shares of rk; the authority, here the dealer, those of the scalar.
    for j in 1..=3 {
        let node = format!("node{j}");
        s.knows(&node, &[share(&grant.rk, t, j).term(), share(&delta, t, j).term(), grant.x_pub.clone()]);
        s.knows(&node, &[first.e.clone(), second.e.clone(), later.e.clone()]);
        if j <= 2 {
            let turned = share(&grant.rk, t, j).on(&first.e);
            s.send(&node, &["user"], &[first.e.clone(), turned, grant.x_pub.clone()]);
        }
    }
    let half = share(&grant.rk, t, 1).on(&first.e);
    s.send("node1", &["halfway"], &[first.e.clone(), half, grant.x_pub.clone()]);

    s.goal("K first", &first.key);
    s.goal("K second", &second.key);
    s.goal("a epoch 0", &a0.term());
    s.goal("rk", &grant.rk.term());
    s.goal("master", &master.term());
    s.goal("third share of rk", &share(&grant.rk, t, 3).term());
    s.goal("K epoch 1", &later.key);

    s.expect(&["user"], &["K first"]);
    s.expect(&["halfway"], &[]);
    s.expect(&["node1"], &[]);
    s.expect(&["node1", "node2"], &["rk", "third share of rk"]);
    s.expect(&["node1", "node2", "node3"], &["rk", "third share of rk"]);
    s.expect(&["user", "node1"], &["K first"]);
    s.expect(&["user", "node3"], &["K first", "third share of rk"]);
    s.expect(&["halfway", "node2"], &["K first"]);
    s.expect(&["user", "node1", "node2"], &["K first", "K second", "a epoch 0", "rk", "third share of rk"]);
    s.expect(&["member", "node1"], &[]);
    s.expect(&["member", "node1", "node2"], &["rk", "third share of rk", "master"]);
    s
}

/// How a carer's grant ends in [`carer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CarerEnds {
    /// The carer's scalar is deleted, the one made from it stays.
    SubGrantStays,
    /// Both are deleted.
    AllDeleted,
    /// Only the one the carer handed on is deleted.
    SubGrantOnly,
}

/// A carer hands its grant on: the gate multiplies `rk1` by `d1·d2⁻¹`, so that `rk2 = a·d2⁻¹` fits
/// user2 under an `X2` of the carer's. Not in SDX-1; the algebra of its groups allows it.
#[must_use]
pub fn carer(fault: F, ends: CarerEnds) -> Scenario {
    let mut s = Scenario::new(match ends {
        CarerEnds::SubGrantStays => "Carer: revoked at the gate, what it handed on to user2 stays",
        CarerEnds::AllDeleted => "Carer: revoked at the gate with what it handed on",
        CarerEnds::SubGrantOnly => "Carer: stays, what it handed on to user2 is revoked",
    });
    let (seed, sign) = (secret("owner seed"), scalar("owner sign"));
    s.knows("owner", &[seed.clone(), sign.term()]);
    s.knows("gate", &[secret("gate_tag_key")]);
    let (b1, b2) = (scalar("b carer"), scalar("b user2"));
    s.knows("carer", &[b1.term()]);
    s.knows("user2", &[b2.term()]);
    let (a0, a1) = (section_secret(fault, &seed, "labs", "0"), section_secret(fault, &seed, "labs", "1"));
    let parties = ["owner", "provider", "carer", "user2", "gate", "cloud"];
    publish(&mut s, &parties, &[a0.g(), a1.g(), b1.g(), b2.g(), public("patient id")]);
    let mine = Batch::new(fault, "to carer", &a0, "labs 0");
    let theirs = Batch::new(fault, "to user2", &a0, "labs 0");
    let unserved = Batch::new(fault, "unserved", &a0, "labs 0");
    let next = Batch::new(fault, "next epoch", &a1, "labs 1");
    for (epoch, batch) in [("0", &mine), ("0", &theirs), ("0", &unserved), ("1", &next)] {
        upload(&mut s, "provider", &public("patient id"), "labs", epoch, batch);
    }
    let first = Grant::new(fault, "owner", "carer", &a0, &b1);
    first.send(&mut s, fault, ("owner", &sign), ("carer", &b1), &a0);
    first.serve(&mut s, "carer", &mine, &a0);
    // The carer's own x2, so that user2 can derive d2 and nobody else but the carer.
    let second = Grant::new(fault, "carer", "user2", &a0, &b2);
    s.knows("carer", &[second.x.term()]);
    let factor = first.d.over(&second.d);
    s.send("carer", &["gate"], &[factor.term(), second.x_pub.clone()]);
    s.send("gate", &["gate"], &[second.rk.term()]);
    second.serve(&mut s, "user2", &theirs, &a0);
    let (gone, live) = match ends {
        CarerEnds::SubGrantStays => (vec![&first.rk, &factor], "rk2"),
        CarerEnds::AllDeleted => (vec![&first.rk, &factor, &second.rk], "none"),
        CarerEnds::SubGrantOnly => (vec![&factor, &second.rk], "rk1"),
    };
    for m in gone {
        if !(fault == F::FactorKept && *m == factor) {
            s.deletes("gate", &[m.term()]);
        }
    }

    s.goal("K to carer", &mine.key);
    s.goal("K to user2", &theirs.key);
    s.goal("K unserved", &unserved.key);
    s.goal("a epoch 0", &a0.term());
    s.goal("d1", &first.d.term());
    s.goal("d2", &second.d.term());
    s.goal("K epoch 1", &next.key);
    s.goal("a epoch 1", &a1.term());

    let epoch = ["K to carer", "K to user2", "K unserved", "a epoch 0", "d1", "d2"];
    s.expect(&["carer"], &["K to carer", "d1", "d2"]);
    s.expect(&["user2"], &["K to user2", "d2"]);
    s.expect(&["carer", "user2"], &["K to carer", "K to user2", "d1", "d2"]);
    s.expect(&["carer", "cloud"], &["K to carer", "d1", "d2"]);
    s.expect(&["gate"], &[]);
    s.expect(&["gate", "cloud"], &[]);
    s.expect(&["gate", "carer"], &epoch);
    s.expect(&["gate", "user2"], &epoch);
    let carer_late: &[&str] = if live == "none" { &["K to carer", "d1", "d2"] } else { &epoch };
    s.expect(&["gate@late", "carer"], carer_late);
    // What user2 needs for a is rk2: with it also K of the carer's, and no d1.
    let user2_late: &[&str] = if live == "rk2" {
        &["K to carer", "K to user2", "K unserved", "a epoch 0", "d2"]
    } else {
        &["K to user2", "d2"]
    };
    s.expect(&["gate@late", "user2"], user2_late);
    s
}

/// All of them, as specified.
#[must_use]
pub fn all(fault: Fault) -> Vec<Scenario> {
    vec![
        domain(fault),
        grant(fault),
        group(fault),
        enrolment(fault),
        threshold(fault),
        carer(fault, CarerEnds::SubGrantStays),
        carer(fault, CarerEnds::AllDeleted),
        carer(fault, CarerEnds::SubGrantOnly),
    ]
}
