//! Codes that sort as their values do: section 9 of the suite beside order-preserving encryption.

use std::cell::RefCell;
use std::rc::Rc;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use sealdex_crypto::*;

use crate::Failure;
use crate::measure::{Contender, rates};
use crate::outside;
use crate::report::{Better, Group, OURS, Peer, Target};
use crate::settings::Settings;

const NOT_COMPARABLE: &str = "\
ope and pyope are order-preserving encryption after Boldyreva and others (2009): deterministic, one key, so whoever \
stores the codes sees which values are equal and how often, and whoever holds the key computes any code and decrypts \
it. ope-simplified has their shape, but draws its coins from the value and not from its key, so it is no encryption \
at all; it is here because it is on crates.io. Our codes are one-to-many (equal values have different codes), made \
under two keys of which no party holds both, and do not decrypt: the value is in the sealed record. In exchange they \
are 64 bits where ope's are 32. At 16 bits they cost 14 HMACs: 4 of the member's walk, 8 of the gate's over codes of \
32 bits, 2 for what makes them one-to-many. ope makes about one a bit, by a key it prepares each time, with sampling in \
floating point between, and takes as long as some eighty of ours: twenty times as fast would be four, which is less than \
the 5 of one layer by itself. So no code of this construction meets that target; pyope is slower by far. All of them show whoever stores the codes the order of the values. Order-revealing \
encryption (ore-rs) shows it only to whoever compares with its function, cannot stand in an ordinary sorted index, \
and is not measured for its licence. The peers take values of 15 or 16 bits unless a row says otherwise; compare \
them with our 16 bits.";

/// The licence, and its sentences for which these are left out.
const LICENCES: [(&str, &str); 3] = [
    (
        "ore-rs 0.10.0",
        "its licence permits to \"use the CipherStash Source Code solely for an Authorised Purpose\" (2.1 c), which is \"to verify \
         the operation, integrity and security of the CipherStash Client Software\" (2.4), and \"specifically excludes any use of \
         any part of the CipherStash Client Software to execute any queries other than Licensed Queries\" (2.3)",
    ),
    (
        "clww-ore 0.6.0, cllw-ore 0.5.2",
        "PolyForm Internal Use 1.0.0: \"Use of the software for the internal business operations of you and your company is use \
         for a permitted purpose\"; a comparison that is published is not plainly that",
    ),
    ("rust-opse", "not on crates.io"),
];

pub fn compare(settings: &Settings) -> Result<Vec<Group>, Failure> {
    let mut group = Group::new("order codes", "codes/s", Better::Higher, NOT_COMPARABLE);
    let mut contenders = Vec::new();
    for bits in Bits::FIELD {
        contenders.extend(ours(bits, [16, 32].contains(&bits.get())));
    }
    let sixteen = both(Bits::FIELD[2]);
    let ope = Peer::linked("ope", "", "MIT");
    contenders.push(boldyreva(&sixteen, &ope));
    let simplified = Peer::linked("ope-simplified", "", "MIT");
    contenders.push(without_key(&sixteen, &simplified)?);
    let mut pyope = None;
    match outside::pyope() {
        Ok(process) => {
            let peer = Peer { name: "pyope".into(), version: process.version.clone(), licence: "MIT" };
            contenders.extend(pyopes(process, &peer));
            pyope = Some(peer);
        }
        Err(why) => group.skip("pyope", why),
    }
    for (peer, why) in LICENCES {
        group.skip(peer, why);
    }
    group.rows = rates(settings, contenders)?;
    group.compare();
    let slowest = Bits::FIELD.map(|bits| group.median(&both(bits), OURS)).into_iter().fold(f64::INFINITY, f64::min);
    let fastest = |what: (&str, &str)| {
        let ratios = [Some(&ope), pyope.as_ref()].into_iter().flatten().map(|p| group.ratio(what, (&sixteen, &p.name)));
        ratios.fold(f64::INFINITY, f64::min)
    };
    let one_layer = layer(Bits::FIELD[2], "the member's layer");
    let wide = both(Bits::FIELD[6]);
    let slow = pyope.as_ref().map_or("", |p| &p.name);
    group.targets = vec![
        Target::at_least(
            "our codes, both layers, one core, the slowest of all widths a field may have",
            250_000.0,
            slowest,
        ),
        Target::at_least(
            "ours of 16 bits, both layers, over the fastest that encrypts",
            20.0,
            fastest((&sixteen, OURS)),
        ),
        Target::at_least("one layer of it, under one key as theirs, over the same", 20.0, fastest((&one_layer, OURS))),
        Target::at_least(
            "ours of 32 bits, both layers, over pyope of 32 bits",
            20.0,
            group.ratio((&wide, OURS), (&wide, slow)),
        ),
    ];
    Ok(vec![group])
}

fn both(bits: Bits) -> String {
    format!("{} bits, all of it", bits.get())
}

fn layer(bits: Bits, name: &str) -> String {
    format!("{} bits, {name}", bits.get())
}

/// Keys as in a domain; a new record and value for every code. Both layers, and each by itself where that is wanted.
fn ours(bits: Bits, each: bool) -> Vec<Contender<'static>> {
    let peer = &Peer::ours();
    let token = field_token(&MemberTokenSecret::from_bytes(&[1; 32]), "north", "observation.value", 0);
    let inner = InnerOrderKey::derive(&MemberOrderSecret::from_bytes(&[3; 32]), "north", "observation.value", 0);
    let outer = OuterOrderKey::derive(&GateOrderSecret::from_bytes(&[4; 32]), "north", &token, 0, &[]);
    let provider = NoiseKey::from_bytes(&[5; 32]);
    let gate = NoiseKey::from_bytes(&[6; 32]);
    let drawing = || {
        let mut rng = StdRng::seed_from_u64(u64::from(bits.get()));
        move || (RecordId(rng.random()), rng.random::<u64>() & bits.max())
    };
    let member_layer = || {
        let (inner, provider, mut next) = (inner.clone(), provider.clone(), drawing());
        move || {
            let (record, value) = next();
            (record, inner.code(bits, value, noise(&provider, &record, b"observation.value")))
        }
    };
    let gate_layer = {
        let (outer, gate) = (outer.clone(), gate.clone());
        move |record: RecordId, code: u64| outer.code(bits, code, noise(&gate, &record, &token.0))
    };
    let mut contenders = vec![Contender::new(both(bits), peer, {
        let (mut member, gate) = (member_layer(), gate_layer.clone());
        move || {
            let (record, code) = member();
            code.and_then(|code| gate(record, code))
        }
    })];
    if each {
        contenders.push(Contender::new(layer(bits, "the member's layer"), peer, member_layer()));
        contenders.push(Contender::new(layer(bits, "the gate's layer"), peer, {
            let mut next = drawing();
            move || {
                let (record, value) = next();
                // Spread over the inner codes as those are.
                gate_layer(record, value << 16 | u64::from(record.0[0]))
            }
        }));
    }
    contenders
}

fn boldyreva(what: &str, peer: &Peer) -> Contender<'static> {
    const KEY: ope::OpeKey = *b"this is a key 10";
    let ope = ope::get_ope(&KEY);
    let mut rng = StdRng::seed_from_u64(7);
    // 65,532 is the largest it takes.
    Contender::new(what, peer, move || ope.encrypt(rng.random_range(1..=65_531)).is_ok()).note("values to 65,531")
}

fn without_key(what: &str, peer: &Peer) -> Result<Contender<'static>, Failure> {
    let ope = ope_simplified::ope::Ope::new(b"a key of 16 byte", None, None).map_err(|e| format!("{e:?}"))?;
    let mut rng = StdRng::seed_from_u64(8);
    let work = move || ope.encrypt(rng.random_range(0..32_767)).is_ok();
    Ok(Contender::new(what, peer, work).note("15 bits to 15 bits, and does not use its key"))
}

fn pyopes(process: outside::Outside, peer: &Peer) -> Vec<Contender<'static>> {
    let process = Rc::new(RefCell::new(process));
    // A hundred values a turn at least, however long they take: more than a thousand in all.
    [(both(Bits::FIELD[2]), "order15", "15 bits to 31"), (both(Bits::FIELD[6]), "order32", "32 bits to 48")]
        .into_iter()
        .map(|(what, operation, note)| {
            let process = process.clone();
            let ask = move |count: u64| {
                let asked = count.max(100);
                let took = process.borrow_mut().time(operation, asked)?;
                Ok(took.mul_f64(count as f64 / asked as f64))
            };
            Contender::timing_itself(what, peer, Box::new(ask)).note(note)
        })
        .collect()
}
