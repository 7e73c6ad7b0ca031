//! A malicious cloud: whatever it alters, drops, invents, hides or replays is detected, and the message says what.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test stops where it cannot go on

use std::{path::Path, time::Duration};

use sealdex_client::{AskError, CheckedBy, Session};
use sealdex_cloud::{CloudConfig, CloudKeys, compaction::CompactPlan};
use sealdex_crypto::RecordId;
use sealdex_fhir::{QueryDoc, Suite};
use sealdex_ledger::{AnswerProof, RecordsProof, versions::Versions};
use sealdex_lognet::{
    DomainLog,
    domain::{Which, log_key},
};
use sealdex_net::{Listen, guard::Bounds};
use sealdex_provider::{PushError, PushReport};
use sealdex_tests::{
    World,
    servers::{Place, free_port},
    tampering::LyingCloud,
};
use sealdex_tlog::{checkpoint::Checkpoint, note::Note};
use sealdex_wire::{
    codec,
    consent::SecretBytes,
    roster::Proofs,
    search::{CloudMatches, Fetched},
};
use serde_json::json;

/// A domain whose cloud is behind a liar, watched by two witnesses of which it takes `quorum`.
struct Watched {
    world: World,
    liar: LyingCloud,
    _home: tempfile::TempDir,
}

fn write(dir: &Path, hospital: &str, from: u32, to: u32, value: u32) {
    let dir = dir.join(hospital);
    std::fs::create_dir_all(&dir).unwrap();
    let mut lines = vec![json!({"resourceType": "Patient", "id": format!("{hospital}-p")}).to_string()];
    lines.extend((from..to).map(|n| {
        json!({
            "resourceType": "Observation", "id": format!("{hospital}-{n}"), "status": "final",
            "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
            "subject": {"reference": format!("Patient/{hospital}-p")},
            "effectiveDateTime": "2020-02-02T10:00:00Z",
            "valueQuantity": {"value": value + n, "unit": "/min"}
        })
        .to_string()
    }));
    std::fs::write(dir.join("all.ndjson"), lines.join("\n") + "\n").unwrap();
}

async fn watched(quorum: u32, proofs: Proofs) -> Watched {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    for hospital in ["north", "south"] {
        write(&data, hospital, 0, 30, 60);
    }
    let (gate, cloud) = (free_port(), free_port());
    let liar = LyingCloud::start(cloud).await;
    let ports = Some([gate, liar.port]);
    let mut world = World::found(home.path(), &data, &["ana"], Place::Process, [gate, cloud], ports).await;
    world.watch(2, quorum, proofs).await;
    world.enrol_patients().await;
    world.grant_everything("ana").await;
    Watched { world, liar, _home: home }
}

impl Watched {
    fn log(&self, folder: Option<&Path>) -> DomainLog {
        let trusted = self.world.trusted();
        let (ledger, cloud) = (trusted.roster.ledger.as_ref().unwrap(), &trusted.roster.clouds[0].url);
        DomainLog::open(&self.world.http, &trusted.roster.domain, ledger, cloud, folder).unwrap()
    }

    /// A hospital pushes, and looks into the log.
    async fn push(&self, hospital: usize) -> Result<PushReport, PushError> {
        let h = &self.world.hospitals[hospital];
        self.world.push_logged(h, Some(self.log(Some(&h.dir.join("log"))))).await
    }

    async fn push_all(&self) {
        for n in 0..self.world.hospitals.len() {
            let report = self.push(n).await.unwrap();
            assert_eq!((report.rejected, report.unlogged), (0, None), "{:?}", report.first_rejects);
        }
    }

    fn session(&self) -> Session {
        self.world.session("ana")
    }
}

fn doc(text: &str) -> QueryDoc {
    Suite::parse(text, None).unwrap().queries.remove(0)
}

/// Heart rates from 70 to 79: ten of each hospital.
fn range() -> QueryDoc {
    doc(r#"{"resource":"Observation","filters":[
        {"field":"token","op":"eq","value":"http://loinc.org|8867-4"},
        {"field":"value","op":"between","value":["70","79"]}]}"#)
}

/// All of one code: a term.
fn term() -> QueryDoc {
    doc(r#"{"resource":"Observation","filters":[{"field":"token","op":"eq","value":"http://loinc.org|8867-4"}]}"#)
}

/// The three highest.
fn top() -> QueryDoc {
    doc(r#"{"resource":"Observation","filters":[{"field":"token","op":"eq","value":"http://loinc.org|8867-4"}],
        "topk":{"field":"value","k":3}}"#)
}

/// What a session answers is refused, with a message that says so.
async fn refused(session: &Session, doc: &QueryDoc, says: &str) {
    let error = session.ask(doc).await.map(|a| a.hits.len()).expect_err("it was tampered with").to_string();
    assert!(error.contains(says), "expected \"{says}\", got: {error}");
}

fn proof_of(page: &CloudMatches) -> AnswerProof {
    codec::from_cbor(page.proof.as_ref().unwrap()).unwrap()
}

fn flip(bytes: &mut [u8]) {
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
}

#[tokio::test(flavor = "multi_thread")]
async fn honest_answers_are_proved() {
    for (proofs, by) in [(Proofs::Gate, CheckedBy::Gate), (Proofs::Member, CheckedBy::Member)] {
        let w = watched(2, proofs).await;
        w.push_all().await;
        let session = w.session();
        for (doc, hits) in [(range(), 20), (term(), 60), (top(), 3)] {
            let answer = session.ask(&doc).await.unwrap();
            assert_eq!(answer.hits.len(), hits);
            let proved = answer.proved.unwrap();
            assert_eq!((proved.unproved, proved.by, proved.batches), (vec![], by, 2));
            assert!(proved.records as usize >= hits && proved.pairs as usize >= hits && proved.bytes > 0);
            assert_eq!(proved.withheld, 0);
        }
        let all = doc(r#"{"resource":"Patient"}"#);
        let answer = session.ask(&all).await.unwrap().proved.unwrap();
        assert!(answer.records >= 2);
        // The same questions without any checking, for those who ask for it.
        let blind = w.session().unverified();
        assert_eq!(blind.ask(&range()).await.unwrap().proved, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn altered_bits_are_found_and_named() {
    for proofs in [Proofs::Gate, Proofs::Member] {
        let w = watched(1, proofs).await;
        w.push_all().await;
        let session = w.session();
        w.liar.alters::<Fetched>("/v1/records", |f| flip(f.sealed[0].as_mut().unwrap()));
        refused(&session, &range(), "the sealed bytes of record").await;
        w.liar.alters::<CloudMatches>("/v1/search", |page| flip(&mut page.matches[3].2));
        refused(&session, &range(), "the routing tag of record").await;
        w.liar.alters::<CloudMatches>("/v1/search", |page| {
            let mut proof = proof_of(page);
            flip(&mut proof.runs[0].pairs);
            page.proof = Some(codec::to_cbor(&proof).into());
        });
        refused(&session, &term(), "the index of batch 1 of provider").await;
        w.liar.alters::<CloudMatches>("/v1/search", |page| {
            let mut proof = proof_of(page);
            flip(proof.terms.iter_mut().find(|t| !t.is_empty()).unwrap());
            page.proof = Some(codec::to_cbor(&proof).into());
        });
        refused(&session, &range(), "the index entries of record").await;
        w.liar.alters::<Fetched>("/v1/records", |f| {
            let mut proofs: Vec<RecordsProof> = codec::from_cbor(f.proofs.as_ref().unwrap()).unwrap();
            proofs[0].leaves[0].sealed[0] ^= 1;
            f.proofs = Some(codec::to_cbor(&proofs).into());
        });
        refused(&session, &range(), "were altered").await;
        w.liar.alters::<Fetched>("/v1/records", |f| f.proofs = None);
        refused(&session, &range(), "without the proof").await;
        w.liar.is_honest();
        assert_eq!(session.ask(&range()).await.unwrap().hits.len(), 20);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dropped_invented_or_reordered_is_found() {
    let w = watched(1, Proofs::Gate).await;
    w.push_all().await;
    let session = w.session();
    // Wherever it is dropped: from a range, a term, the first or last place, the top of an order.
    for (doc, at) in [(range(), 0), (range(), 7), (term(), 59), (top(), 0)] {
        w.liar.alters::<CloudMatches>("/v1/search", move |page| {
            page.matches.remove(at);
        });
        refused(&session, &doc, "matches and was left out").await;
    }
    // The end of a page: the last match is gone, and nothing is said to follow.
    w.liar.alters::<CloudMatches>("/v1/search", |page| {
        page.matches.pop();
        page.next = None;
    });
    refused(&session, &term(), "matches and was left out").await;
    w.liar.alters::<CloudMatches>("/v1/search", |page| page.next = None);
    refused(&session, &top(), "does not reach over all that was asked for").await;
    w.liar.alters::<CloudMatches>("/v1/search", |page| page.matches[2].0 = RecordId([7; 16]));
    refused(&session, &range(), "left out").await;
    w.liar.alters::<CloudMatches>("/v1/search", |page| {
        let mut other = page.matches[2].clone();
        other.0 = RecordId([7; 16]);
        page.matches.push(other);
    });
    refused(&session, &range(), "no batch in the log has it").await;
    w.liar.alters::<CloudMatches>("/v1/search", |page| page.matches.swap(1, 2));
    refused(&session, &range(), "not in the order").await;
    w.liar.alters::<CloudMatches>("/v1/search", |page| {
        let mut proof = proof_of(page);
        proof.runs.remove(0);
        page.proof = Some(codec::to_cbor(&proof).into());
    });
    refused(&session, &range(), "out of its proof").await;
    w.liar.alters::<CloudMatches>("/v1/search", |page| page.proof = None);
    refused(&session, &range(), "without the proof").await;
    // A cloud that says that nothing can be proved is not believed to have proved anything.
    w.liar.alters::<CloudMatches>("/v1/search", |page| {
        let mut proof = proof_of(page);
        proof.unproved = Some("I am too busy".into());
        page.matches.pop();
        page.proof = Some(codec::to_cbor(&proof).into());
    });
    let answer = session.ask(&range()).await.unwrap();
    assert_eq!(answer.proved.unwrap().unproved, ["I am too busy"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_hidden_or_replayed_is_found() {
    for proofs in [Proofs::Gate, Proofs::Member] {
        let w = watched(1, proofs).await;
        w.push_all().await;
        // What the cloud answers now, it will answer again later.
        let kept = w.liar.keeps();
        let folder = tempfile::tempdir().unwrap();
        let session = w.session().remembering(&w.world.http, folder.path()).unwrap();
        assert_eq!(session.ask(&range()).await.unwrap().hits.len(), 20);
        w.liar.is_honest();
        // All of north's rates are corrected, beyond the range.
        write(&w.world.home.join("data"), "north", 0, 30, 160);
        assert_eq!(w.push(0).await.unwrap().replaced, 30);
        let later = w.session();
        assert_eq!(later.ask(&range()).await.unwrap().hits.len(), 10);
        let old = kept.lock().unwrap().clone();
        let replay = move |only: &'static str| {
            let old = old.clone();
            move |path: &str, _: &[u8], _: &[u8]| {
                old.iter().find(|(p, _)| p == path && path == only).map(|(_, answer)| answer.clone())
            }
        };
        w.liar.says(replay("/v1/search"));
        refused(&later, &range(), "the cloud hides its newest batches").await;
        // A session from before knows of the new batch from the log alone, as soon as it looks there again.
        tokio::time::sleep(Duration::from_millis(2100)).await;
        refused(&session, &range(), "the cloud hides its newest batches").await;
        tokio::time::sleep(Duration::from_millis(2100)).await;
        w.liar.says(replay("/log/batches/checkpoint"));
        refused(&later, &range(), "an old checkpoint of").await;
        // So does a program that starts anew, if it remembers.
        drop(session);
        w.liar.is_honest();
        let again = w.session().remembering(&w.world.http, folder.path()).unwrap();
        assert_eq!(again.ask(&range()).await.unwrap().hits.len(), 10);
        drop(again);
        w.liar.says(replay("/log/batches/checkpoint"));
        let again = w.session().remembering(&w.world.http, folder.path()).unwrap();
        refused(&again, &range(), "an old checkpoint of").await;
    }
}

/// An older version that a later batch replaced is no answer, also where completeness cannot be proved.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_version_is_not_passed_off_as_the_newest() {
    let w = watched(0, Proofs::Gate).await;
    w.push_all().await;
    let kept = w.liar.keeps();
    w.session().ask(&range()).await.unwrap();
    w.liar.is_honest();
    write(&w.world.home.join("data"), "north", 0, 30, 160);
    w.push(0).await.unwrap();
    let old = kept.lock().unwrap().clone();
    w.liar.says(move |path, _, _| {
        let (_, answer) = old.iter().find(|(p, _)| p == path && path.starts_with("/v1/"))?;
        if path != "/v1/search" {
            return Some(answer.clone());
        }
        let mut page: CloudMatches = codec::from_cbor(answer).unwrap();
        let mut proof = proof_of(&page);
        (proof.size, proof.unproved) = (3, Some("I am too busy".into()));
        page.proof = Some(codec::to_cbor(&proof).into());
        Some(codec::to_cbor(&page))
    });
    refused(&w.session(), &range(), "a later batch replaced or deleted it").await;
}

/// Two clients are shown different histories: whoever asks for cosignatures believes one of them at most.
#[tokio::test(flavor = "multi_thread")]
async fn a_forked_log_finds_no_quorum() {
    let w = watched(2, Proofs::Gate).await;
    w.push_all().await;
    w.session().ask(&range()).await.unwrap();
    // The cloud signs a second history: as many batches, another root. Its own witnesses' signatures do not fit it.
    let seed = w.world.servers.cloud_seed();
    let key = log_key(&seed, "test", Which::Batches).unwrap();
    let forged = Checkpoint::new(key.name().as_str(), 2, [9; 32]).unwrap();
    let forged: Note = key.sign(forged.to_string()).unwrap();
    let bytes = forged.to_bytes();
    w.liar.says(move |path, _, _| (path == "/log/batches/checkpoint").then(|| bytes.clone()));
    refused(&w.session(), &range(), "0 of 2 witnesses have cosigned").await;
    // A witness that has seen the first history refuses the second.
    let ledger = w.world.ceremony.roster.ledger.clone().unwrap();
    let witnesses = sealdex_lognet::domain::witnesses(&ledger).unwrap();
    let cosigners = sealdex_lognet::Cosigners::new(w.world.http.clone(), witnesses).unwrap();
    let none = |_, _| Ok::<_, std::fmt::Error>(Vec::new());
    let gathered = cosigners.gather(&forged, none, 2, Duration::from_secs(5)).await.unwrap();
    assert_eq!((gathered.cosigned.len(), gathered.missing.len()), (0, 2), "{:?}", gathered.missing);
    assert!(gathered.missing[0].1.to_string().contains("forked"), "{}", gathered.missing[0].1);
}

/// The log itself: entries dropped, reordered or altered.
#[tokio::test(flavor = "multi_thread")]
async fn altered_logs_are_not_believed() {
    let w = watched(1, Proofs::Gate).await;
    w.push_all().await;
    w.liar.says(|path, _, answer| {
        path.contains("/tile/entries/").then(|| {
            let mut altered = answer.to_vec();
            flip(&mut altered);
            altered
        })
    });
    let error = w.session().ask(&range()).await.map(|a| a.hits.len()).expect_err("altered");
    assert!(matches!(error, AskError::Verify(_) | AskError::Call(_)), "{error}");
    assert!(error.to_string().contains("log"), "{error}");
    w.liar.says(|path, _, answer| {
        path.contains("/tile/entries/").then(|| {
            // Two entries of one length change places.
            let (first, second) = answer.split_at(answer.len() / 2);
            [second, first].concat()
        })
    });
    w.session().ask(&range()).await.map(|a| a.hits.len()).expect_err("reordered");
    w.liar.is_honest();
    assert_eq!(w.session().ask(&range()).await.unwrap().hits.len(), 20);
}

/// What a provider is told: it neither ends records that are none of its own, nor lets the cloud lose what it has
/// acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn providers_do_not_believe_the_cloud_either() {
    let w = watched(1, Proofs::Gate).await;
    w.push_all().await;
    write(&w.world.home.join("data"), "north", 0, 30, 160);
    // An older version that is none: another record of the same hospital, with its proof.
    w.liar.alters::<Versions>("/v1/versions", |v| {
        for records in &mut v.records {
            records.leaves[0].origin.0[0] ^= 1;
        }
    });
    let error = w.push(0).await.map(|r| r.pushed).expect_err("it lied").to_string();
    assert!(error.contains("no batch") || error.contains("another root"), "{error}");
    // The last statement is denied.
    w.liar.alters::<Versions>("/v1/versions", |v| v.last = None);
    let error = w.push(0).await.map(|r| r.pushed).expect_err("it lied").to_string();
    assert!(error.contains("the cloud hides this provider's newest batches"), "{error}");
    // An honest cloud goes on where it was, and nothing was lost.
    w.liar.is_honest();
    assert_eq!(w.push(0).await.unwrap().replaced, 30);
    let answer = w.session().ask(&range()).await.unwrap();
    assert_eq!((answer.hits.len(), answer.proved.unwrap().unproved), (10, vec![]));
    // Without its journal, a provider learns from the cloud what it has stated and what it replaces.
    std::fs::remove_dir_all(w.world.hospitals[0].dir.join("push.state")).unwrap();
    assert_eq!(w.push(0).await.unwrap().replaced, 31);
    assert_eq!(w.session().ask(&range()).await.unwrap().hits.len(), 10);
}

/// The gate and the readers of a domain whose cloud loses its log and makes it anew see no difference; one that comes
/// back with an older store does not start.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_made_anew_from_the_store_and_never_the_other_way_round() {
    let mut w = watched(2, Proofs::Gate).await;
    w.push_all().await;
    let session = w.session();
    assert_eq!(session.ask(&range()).await.unwrap().hits.len(), 20);
    w.world.servers.stop_cloud().await;
    std::fs::remove_dir_all(w.world.home.join("cloud/log")).unwrap();
    w.world.servers.start_cloud().await;
    let mut log = w.log(None);
    log.reach(2, &w.world.trusted(), Duration::from_secs(20)).await.unwrap();
    assert_eq!(session.ask(&range()).await.unwrap().hits.len(), 20);

    // An older store under the log: what it would log next is another history.
    w.world.servers.stop_cloud().await;
    let dir = w.world.servers.cloud_dir();
    let older = std::fs::read(dir.join("store.redb")).unwrap();
    w.world.servers.start_cloud().await;
    write(&w.world.home.join("data"), "north", 0, 30, 160);
    w.push(0).await.unwrap();
    w.world.servers.stop_cloud().await;
    std::fs::write(dir.join("store.redb"), older).unwrap();
    let keys = CloudKeys {
        domain: "test".into(),
        authority: w.world.ceremony.roster.authority,
        seed: SecretBytes(w.world.servers.cloud_seed()),
    };
    let config = CloudConfig {
        data_dir: dir,
        listen: Listen::loopback(0),
        keys,
        bounds: Bounds::default(),
        backup: None,
        compact: CompactPlan::default(),
    };
    let never = |_| unreachable!("it does not start");
    let error = sealdex_cloud::serve(config, never, std::future::pending()).await.unwrap_err().to_string();
    assert!(error.contains("the store has 2 entries of a log that has 3"), "{error}");
}
