//! Push and query with every role in this process, over real HTTP on loopback, as ratios to what they
//! cannot beat: reading the same records as JSON, and the point arithmetic of the capsules opened.
//!
//! `cargo bench -p sealdex-benches --bench end_to_end`; `SEALDEX_BENCH_PATIENTS` sets the size (default 100).
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a benchmark stops where it cannot go on, and prints

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use sealdex_client::{Ceremony, GrantRequest, OwnerEntry, Session, ceremony::CloudSecretsFile, owner};
use sealdex_cloud::{CloudConfig, CloudKeys};
use sealdex_crypto::{Point, Scalar};
use sealdex_fhir::{QueryDoc, Record, Source, SourceItem, Suite};
use sealdex_gate::{GateConfig, GateSecrets};
use sealdex_member::{DomainPack, MemberKeys, MemberSecrets, Trusted};
use sealdex_net::{Listen, Peer, guard::Bounds, peer::Http};
use sealdex_provider::{Journal, OwnerMap, Progress, PushInput, PushSettings, push};
use sealdex_schema::{FHIR_R4, Owner as RecordOwner, Schema};
use sealdex_wire::{codec, roster::Role};

const QUESTIONS: &str = include_str!("../../queries/demo.json");
const REPEAT: usize = 21;

struct World {
    http: Http,
    pack: DomainPack,
    ceremony: Ceremony,
    home: PathBuf,
}

fn port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn serve(home: &Path, ceremony: &Ceremony, cloud: &CloudSecretsFile, ports: (u16, u16)) {
    let cloud_keys = CloudKeys { domain: cloud.domain.clone(), authority: cloud.authority, seed: cloud.seed.clone() };
    let config = CloudConfig {
        data_dir: home.join("cloud"),
        listen: Listen::loopback(ports.1),
        keys: cloud_keys,
        bounds: Bounds::default(),
    };
    let (up, cloud_up) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let ready = move |_| {
            let _ = up.send(());
        };
        sealdex_cloud::serve(config, ready, std::future::pending()).await.unwrap();
    });
    cloud_up.await.unwrap();
    let secrets = GateSecrets::from_json(codec::to_json(&ceremony.keys.gate).as_bytes()).unwrap();
    let config = GateConfig::loopback(secrets, home.join("gate.redb"), ports.0);
    let (up, gate_up) = tokio::sync::oneshot::channel();
    tokio::spawn(async move { sealdex_gate::serve(config, up, std::future::pending()).await.unwrap() });
    gate_up.await.unwrap();
}

impl World {
    async fn found(home: &Path, members: &[(String, Role)]) -> (Self, Vec<MemberSecrets>) {
        let ports = (port(), port());
        let url = |p: u16| format!("http://127.0.0.1:{p}");
        let (mut ceremony, cloud) = Ceremony::found("bench", &url(ports.0), &url(ports.1)).unwrap();
        serve(home, &ceremony, &cloud, ports).await;
        let enrolled: Vec<_> = members.iter().map(|(n, r)| ceremony.enrol(n, *r).unwrap()).collect();
        let (secrets, bridges) = enrolled.into_iter().unzip();
        let http = Http::new(None).unwrap();
        let peer = |s: &sealdex_wire::roster::Server| {
            Peer::new(http.clone(), &s.url, "bench", s.id, Some(ceremony.identity())).unwrap()
        };
        let (gate, cloud) = (peer(&ceremony.roster.gates[0]), peer(&ceremony.roster.clouds[0]));
        ceremony.announce(&gate, &cloud, bridges).await.unwrap();
        let pack = ceremony.pack(FHIR_R4);
        (Self { http, pack, ceremony, home: home.into() }, secrets)
    }

    fn trusted(&self) -> Trusted {
        self.pack.verify("bench", &self.ceremony.roster.authority).unwrap()
    }
}

fn records(dir: &Path) -> Vec<Record> {
    let record = |item| match item {
        SourceItem::Record(raw) => Some(Record::parse(raw).unwrap()),
        _ => None,
    };
    Source::open(dir, None).unwrap().filter_map(record).collect()
}

fn main() {
    let patients = std::env::var("SEALDEX_BENCH_PATIENTS").ok().and_then(|p| p.parse().ok()).unwrap_or(100);
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("records");
    let settings = sealdex_dataset::Settings { patients, ..Default::default() };
    let made = sealdex_dataset::generate(&settings, &data, &mut |_| {}).unwrap();
    let names: Vec<String> = made.hospitals.iter().map(|h| h.name.clone()).collect();
    tokio::runtime::Runtime::new().unwrap().block_on(run(home.path(), &data, &names));
}

async fn run(home: &Path, data: &Path, names: &[String]) {
    let schema = Schema::fhir_r4();
    let mut members: Vec<_> = names.iter().map(|n| (n.clone(), Role::Provider)).collect();
    members.push(("reader".into(), Role::User));
    let (world, mut secrets) = World::found(home, &members).await;
    let reader = MemberKeys::new(secrets.pop().unwrap());
    let hospitals: Vec<MemberKeys> = secrets.into_iter().map(MemberKeys::new).collect();

    let read = Instant::now();
    let by_hospital: Vec<Vec<Record>> = names.iter().map(|n| records(&data.join(n))).collect();
    let reading = read.elapsed().as_secs_f64();
    let maps = consent(&world, &schema, &by_hospital, &hospitals, &reader).await;

    let started = Instant::now();
    let mut pushed = 0;
    for ((name, keys), map) in names.iter().zip(&hospitals).zip(maps) {
        pushed += push_one(&world, keys, name, data, map).await;
    }
    let seconds = started.elapsed().as_secs_f64();
    let rate = pushed as f64 / seconds;
    println!(
        "push: {pushed} records, {rate:.0} records/s; {:.1} x reading them as JSON on one core",
        seconds / reading
    );

    let multiply = multiply_cost();
    let session = Session::new(&world.http, &reader, world.trusted()).unwrap();
    println!("query: median of {REPEAT}; the floor is two decodings and multiplications a capsule, on one core");
    for doc in &Suite::parse(QUESTIONS, None).unwrap().queries {
        let (ms, opened, capsules, hits) = ask(&session, doc).await;
        let floor = 2.0 * capsules as f64 * multiply * 1e3;
        let title = doc.title.as_deref().unwrap_or_default();
        println!(
            "  {ms:7.2} ms  {hits:5} answers  {opened:5} opened  {capsules:5} capsules  {:6.1} x floor  {title}",
            ms / floor.max(1e-6)
        );
    }
}

/// Keys and grants for every patient; the owner map of each hospital.
async fn consent(
    world: &World,
    schema: &Schema,
    records: &[Vec<Record>],
    hospitals: &[MemberKeys],
    reader: &MemberKeys,
) -> Vec<OwnerMap> {
    let trusted = world.trusted();
    let sections: Vec<String> = schema.patient_sections().map(|s| s.name.clone()).collect();
    let mut owners: std::collections::BTreeMap<String, OwnerEntry> = Default::default();
    let mut maps = Vec::new();
    for (records, keys) in records.iter().zip(hospitals) {
        let owner_of = |r: &Record| match schema.owner(&r.resource_type, &r.id, &r.json) {
            Ok(RecordOwner::Patient(p)) => Some(p),
            _ => None,
        };
        let mut map = OwnerMap::default();
        for patient in records.iter().filter_map(owner_of).collect::<BTreeSet<_>>() {
            let entry = owners.entry(patient.clone()).or_insert_with(OwnerEntry::random);
            entry.admit(keys.identity.id(), &sections);
            map.insert(patient, entry.owner().id());
        }
        maps.push(map);
        let own = owner::Owner::from_seed(&keys.secrets.seed);
        let gate = trusted.gate(&world.http, keys).unwrap();
        owner::publish(&gate, vec![own.profile("bench", 1, &[("directory".into(), 0)], &[own.id()])]).await.unwrap();
    }
    let gate = trusted.gate(&world.http, reader).unwrap();
    let carrier = trusted.gate(&world.http, &hospitals[0]).unwrap();
    let profiles = owners.values_mut().map(|e| e.next_profile("bench")).collect();
    owner::publish(&carrier, profiles).await.unwrap();
    let all: Vec<owner::Owner> = owners.values().map(OwnerEntry::owner).collect();
    let grants: Vec<_> = all
        .iter()
        .flat_map(|o| sections.iter().map(move |section| (o, section)))
        .map(|(o, section)| {
            let request = GrantRequest {
                domain: "bench",
                reader: reader.identity.public(),
                section,
                epoch: 0,
                purpose: "any",
                not_before: 0,
                not_after: u64::from(u32::MAX),
            };
            (o, request)
        })
        .collect();
    let started = Instant::now();
    let count = owner::grant_all(&gate, &grants).await.unwrap();
    println!(
        "grants: {count}, {:.0} a second made, signed, checked and stored",
        count as f64 / started.elapsed().as_secs_f64()
    );
    maps
}

async fn push_one(world: &World, keys: &MemberKeys, name: &str, data: &Path, owners: OwnerMap) -> u64 {
    let trusted = world.trusted();
    let input = PushInput {
        keys,
        trusted: &trusted,
        gate: trusted.gate(&world.http, keys).unwrap(),
        cloud: trusted.cloud(&world.http, Some(keys)).unwrap(),
        owners,
        journal: Journal::open(&world.home.join(format!("{name}.redb"))).unwrap(),
        sources: vec![data.join(name)],
        mapping: None,
        settings: PushSettings::default(),
        progress: Arc::new(Progress::default()),
    };
    let report = push(input).await.unwrap();
    assert_eq!(report.rejected, 0, "{:?}", report.first_rejects);
    report.pushed
}

/// Seconds for one decoding and multiplication.
fn multiply_cost() -> f64 {
    let mut rng = rand::rng();
    let (point, scalar) = (Scalar::random(&mut rng).base_mul().to_bytes(), Scalar::random(&mut rng));
    let started = Instant::now();
    for _ in 0..500 {
        std::hint::black_box(Point::from_bytes(&point).unwrap().mul(&scalar));
    }
    started.elapsed().as_secs_f64() / 500.0
}

async fn ask(session: &Session, doc: &QueryDoc) -> (f64, u64, u64, usize) {
    let mut times = Vec::new();
    let mut last = None;
    for _ in 0..REPEAT {
        let started = Instant::now();
        last = Some(session.ask(doc).await.unwrap());
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let answer = last.unwrap();
    (times[REPEAT / 2], answer.cost.opened, answer.cost.capsules, answer.hits.len())
}
