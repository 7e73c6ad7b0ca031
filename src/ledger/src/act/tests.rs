use sealdex_crypto::IdentitySeed;
use sealdex_wire::{
    Signed,
    acts::{AccessRow, Act, AuditEntry, AuditKind, LogRow, SignedBy, Spent, Word},
    consent::Revocation,
};

use super::{content::Head, content::Sealer, *};

const DOMAIN: &str = "north";

fn identity(n: u8) -> Identity {
    Identity::from_seed(&IdentitySeed::from_bytes(&[n; 32]))
}

struct Only(Vec<PublicIdentity>);

impl Gates for Only {
    fn gate(&self, id: PrincipalId) -> Option<PublicIdentity> {
        self.0.iter().find(|g| g.id() == id).copied()
    }
}

fn row(owner: PrincipalId, part: u32, purpose: &str) -> LogRow {
    let access = AccessRow {
        at: 5,
        kind: AuditKind::Search,
        caller: PrincipalId([9; 16]),
        purpose: Some(purpose.into()),
        section: Some("labs".into()),
        reader: None,
        count: 2,
        emergency: false,
        search: None,
    };
    LogRow { owner, part: Some(part), access, word: None }
}

fn act(number: u64, rows: Vec<LogRow>, documents: usize) -> Act {
    let entry = AuditEntry {
        at: 1000 + number,
        kind: AuditKind::Search,
        caller: PrincipalId([9; 16]),
        owner: None,
        purpose: Some("treatment".into()),
        count: 2,
        owners: rows.len() as u64,
        spent: Spent::default(),
    };
    let word = PublicWord { hash: B32([4; 32]), signature: Signature([5; 64]) };
    Act { act: number, entry, documents: vec![word; documents], rows }
}

/// Entries of acts in a row, sealed for auditors and for those owners whose keys are known.
fn logged(gate: &Identity, auditors: &[&Identity], owners: &[&Identity], acts: &[Act]) -> Vec<Vec<u8>> {
    let auditor = |a: &&Identity| row_key(DOMAIN, gate, &a.public(), gate.id(), Reader::Auditor(a.id()));
    let auditors: Vec<RowKey> = auditors.iter().map(auditor).collect();
    let sealer = Sealer { domain: DOMAIN, gate, auditors: &auditors };
    let mut head = Head::default();
    let mut key = |id: PrincipalId| {
        let owner = owners.iter().find(|o| o.id() == id)?;
        Some(row_key(DOMAIN, gate, &owner.public(), gate.id(), Reader::Owner(id)))
    };
    let mut out = Vec::new();
    for act in acts {
        for signed in sealer.entries(act, head, &mut key, &mut rand::rng()) {
            head = Head { number: signed.entry.number, digest: signed.digest() };
            out.push(signed.to_entry());
        }
    }
    out
}

#[test]
fn owners_and_auditors_read_what_is_theirs_and_nothing_else() {
    let (gate, auditor, ana, ben, stranger) = (identity(1), identity(2), identity(3), identity(4), identity(5));
    let rows = vec![row(ana.id(), 0, "a"), row(ben.id(), 1, "b"), row(ana.id(), 2, "c")];
    let entries = logged(&gate, &[&auditor], &[&ana, &ben], &[act(7, rows.clone(), 0)]);
    let signed = SignedAct::from_entry(&entries[0]).expect("an entry");
    assert_eq!(signed.entry.rows.len(), 3, "one for the auditor, one for each owner");
    let public = gate.public();
    let own = ActReader::new(DOMAIN, &ana).as_owner(&signed, &public).expect("readable").expect("hers");
    assert_eq!((own.act, own.rows), (7, vec![rows[0].clone(), rows[2].clone()]));
    let own = ActReader::new(DOMAIN, &ben).as_owner(&signed, &public).expect("readable").expect("his");
    assert_eq!(own.rows, rows[1..2]);
    let mut reader = ActReader::new(DOMAIN, &auditor);
    let all = reader.as_auditor(&signed, &public).expect("readable").expect("everything");
    assert_eq!(all.rows.len(), 3);
    assert_eq!(reader.as_owner(&signed, &public), Ok(None), "an auditor is no owner");
    assert_eq!(ActReader::new(DOMAIN, &stranger).as_owner(&signed, &public), Ok(None));
    assert_eq!(ActReader::new("south", &ana).as_owner(&signed, &public), Ok(None), "keys are of one domain");
    let bytes = &entries[0];
    for secret in [&ana.id().0[..], &ben.id().0, &[9; 16], b"treatment", b"labs", b"search"] {
        assert!(!bytes.windows(secret.len()).any(|w| w == secret), "nothing of it in clear");
    }
}

#[test]
fn every_bit_and_every_cut_is_noticed() {
    let (gate, ana) = (identity(1), identity(3));
    let entry = logged(&gate, &[], &[&ana], &[act(0, vec![row(ana.id(), 0, "a")], 1)]).remove(0);
    let gates = Only(vec![gate.public()]);
    assert!(ActsView::new(DOMAIN).add(&entry, &gates).is_ok());
    assert!(ActsView::new("south").add(&entry, &gates).is_err(), "another domain");
    for bit in 0..8 * entry.len() {
        let mut bent = entry.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        assert!(ActsView::new(DOMAIN).add(&bent, &gates).is_err(), "bit {bit}");
    }
    for cut in 0..entry.len() {
        assert_eq!(SignedAct::from_entry(&entry[..cut]), Err(BadAct::Malformed), "cut at {cut}");
    }
    assert_eq!(SignedAct::from_entry(&[entry.as_slice(), &[0]].concat()), Err(BadAct::Malformed));
    assert_eq!(SignedAct::from_entry(&vec![2; 60_001]), Err(BadAct::TooLong(60_001)));
    let read = SignedAct::from_entry(&entry).expect("an entry");
    assert_eq!(read.to_entry(), entry);
}

#[test]
fn long_acts_are_split_and_each_part_fits() {
    let (gate, ana, ben) = (identity(1), identity(3), identity(4));
    let long = "x".repeat(1000);
    for auditors in [0_u8, 1, 9] {
        let auditors: Vec<Identity> = (0..auditors).map(|n| identity(100 + n)).collect();
        let auditors: Vec<&Identity> = auditors.iter().collect();
        let mut rows: Vec<LogRow> = (0..300).map(|n| row(ana.id(), n, &long)).collect();
        rows.extend((300..400).map(|n| row(ben.id(), n, "")));
        let entries = logged(&gate, &auditors, &[&ana, &ben], &[act(0, rows.clone(), 900), act(1, Vec::new(), 0)]);
        let (mut view, gates) = (ActsView::new(DOMAIN), Only(vec![gate.public()]));
        let (mut own, mut all, mut documents, mut reader) = (Vec::new(), Vec::new(), 0, ActReader::new(DOMAIN, &ana));
        for entry in &entries {
            assert!(entry.len() <= limits::ACT_ENTRY, "{} bytes", entry.len());
            let signed = view.add(entry, &gates).expect("follows");
            documents += signed.entry.documents.len();
            own.extend(reader.as_owner(&signed, &gate.public()).expect("readable").into_iter().flat_map(|r| r.rows));
            if let Some(auditor) = auditors.last() {
                let row = ActReader::new(DOMAIN, auditor).as_auditor(&signed, &gate.public());
                all.extend(row.expect("readable").expect("a row in every part").rows);
            }
        }
        assert!(entries.len() > 5);
        assert_eq!(documents, 900);
        assert_eq!(own, rows[..300]);
        assert!(auditors.is_empty() || all.len() == 400);
    }
}

#[test]
fn gaps_repetitions_forks_and_strangers_are_named() {
    let (gate, other) = (identity(1), identity(2));
    let acts: Vec<Act> = (0..4).map(|n| act(n, Vec::new(), 0)).collect();
    let entries = logged(&gate, &[], &[], &acts);
    let gates = Only(vec![gate.public(), other.public()]);
    let told = |order: &[&Vec<u8>]| -> Vec<String> {
        let mut view = ActsView::new(DOMAIN);
        order.iter().filter_map(|e| view.add(e, &gates).err()).map(|e| e.to_string()).collect()
    };
    let [a, b, c, d] = &entries[..] else { panic!("four") };
    assert!(told(&[a, b, c, d]).is_empty());
    let id = gate.id();
    let missing = format!("entry 2 of the log of acts is act 3 of gate {id}, expected 2: acts were left out");
    assert_eq!(told(&[a, c, d]), std::slice::from_ref(&missing), "told once");
    assert_eq!(told(&[a, c, b])[0], missing);
    assert!(told(&[a, c, b])[1].contains("act 2 of gate") && told(&[a, c, b])[1].contains("repeated or put"));
    assert!(told(&[a, a])[0].contains("is act 1 of gate"));
    let interleaved = logged(&other, &[], &[], &acts);
    assert!(told(&[a, &interleaved[0], &interleaved[1], b]).is_empty(), "each gate has its own chain");
    // The same number with another content, signed by the gate itself.
    let second = logged(&gate, &[], &[], &[act(0, Vec::new(), 0), act(8, Vec::new(), 0), act(2, Vec::new(), 0)]);
    assert!(told(&[a, b, &second[2]])[0].contains("signed two different ones"));
    let foreign = logged(&identity(7), &[], &[], &acts);
    assert!(told(&[a, &foreign[0]])[0].contains("which the roster does not list"));
    assert!(told(&[a, &vec![1; 50]])[0].contains("this is no entry"));
}

#[test]
fn parts_of_an_act_come_together() {
    let gate = identity(1);
    let gates = Only(vec![gate.public()]);
    let entries = logged(&gate, &[], &[], &[act(0, Vec::new(), 900), act(1, Vec::new(), 0)]);
    assert_eq!(entries.len(), 3);
    let mut view = ActsView::new(DOMAIN);
    assert!(view.add(&entries[0], &gates).is_ok());
    // The gate itself leaves the second part out and chains on.
    let mut next = SignedAct::from_entry(&entries[2]).expect("an entry").entry;
    (next.number, next.previous) = (2, view.head(gate.id()).digest);
    let next = next.sign(DOMAIN, &gate, &mut rand::rng()).to_entry();
    assert!(matches!(view.add(&next, &gates), Err(ActError::Part { seq: 2, part: 1, parts: 1, .. })));
}

#[test]
fn a_row_that_its_reader_cannot_read_is_told() {
    let (gate, ana) = (identity(1), identity(3));
    let key = row_key(DOMAIN, &gate, &ana.public(), gate.id(), Reader::Owner(ana.id()));
    let entry = ActEntry {
        gate: gate.id(),
        number: 1,
        previous: [0; 32],
        at: 1,
        part: 1,
        parts: 1,
        documents: Vec::new(),
        rows: vec![SealedRow { hint: key.hint(1), sealed: key.seal(1, b"something else") }],
    };
    let signed = entry.sign(DOMAIN, &gate, &mut rand::rng());
    let read = ActReader::new(DOMAIN, &ana).as_owner(&signed, &gate.public());
    assert_eq!(read, Err(UnreadableRow { gate: gate.id(), number: 1 }));
    assert!(read.is_err_and(|e| e.to_string().contains("act 1 of gate")));
}

#[test]
fn a_word_is_checked_without_its_document() {
    let by = identity(3);
    let said = Revocation {
        domain: "d".into(),
        owner: by.id(),
        reader: PrincipalId([2; 16]),
        section: None,
        purpose: None,
        revoked_at: 5,
    };
    let signed = Signed::sign(&said, &by, &mut rand::rng());
    let word = Word::of(&signed, SignedBy::Owner);
    assert_eq!(by.public().verify(&word.hash.0, &word.signature), Ok(()));
    let other = Signed::sign(&Revocation { revoked_at: 6, ..said }, &by, &mut rand::rng());
    assert_ne!(Word::of(&other, SignedBy::Owner).hash, word.hash);
    assert!(by.public().verify(&word.hash.0, &other.signature).is_err());
}

/// Not an assertion: what a search of 200 owners costs in sealing.
#[test]
#[allow(clippy::print_stdout)]
fn sealing_is_quick() {
    let gate = identity(1);
    let owners: Vec<Identity> = (0..200).map(|n| identity(n as u8)).collect();
    let keys: std::collections::HashMap<PrincipalId, RowKey> = owners
        .iter()
        .map(|o| (o.id(), row_key(DOMAIN, &gate, &o.public(), gate.id(), Reader::Owner(o.id()))))
        .collect();
    let auditors = [row_key(DOMAIN, &gate, &identity(2).public(), gate.id(), Reader::Auditor(identity(2).id()))];
    let sealer = Sealer { domain: DOMAIN, gate: &gate, auditors: &auditors };
    let act = act(0, owners.iter().zip(0..).map(|(o, n)| row(o.id(), n, "treatment")).collect(), 0);
    let started = std::time::Instant::now();
    let rounds = 10;
    for _ in 0..rounds {
        let entries = sealer.entries(&act, Head::default(), &mut |id| keys.get(&id).cloned(), &mut rand::rng());
        assert!(!entries.is_empty());
    }
    let entries = sealer.entries(&act, Head::default(), &mut |id| keys.get(&id).cloned(), &mut rand::rng());
    let bytes: usize = entries.iter().map(|e| e.to_entry().len()).sum();
    println!("200 owners: {:?} an act, {} entries, {bytes} bytes", started.elapsed() / rounds, entries.len());
}
