//! SeSPHR's studies: keys for many users; encryption, decryption and turnaround by the size of a record.

use std::time::{Duration, Instant};

use sealdex_client::Session;
use sealdex_crypto::{
    Capsule, ENCODING_PLAIN, Identity, IdentitySeed, PrincipalId, RecordHeader, RecordId, Scalar, capsule_context,
    encapsulate, reencapsulate, seal_record,
};
use sealdex_open::{ReaderKey, SectionSecret, make_grant, open_record};
use sealdex_tests::{World, servers::Place};

use super::{Size, begin, grouped, row, short, study};
use crate::{
    measure::{in_turn, median},
    report::{Axis, Chart, Series, Study},
};

const ABOUT: &str = "The studies of Ali et al. (SeSPHR), and beside them what they report, on an i7-2600 in Java, over Amazon S3: another \
machine, another curve, another network, so only the shape compares. Keys: both key pairs of each user, one core. Encryption: \
capsule and sealing; decryption: the gate's turn, the reader's multiplication, opening. Turnaround: a record pushed by its \
hospital until it can be found, and found, re-encapsulated, fetched and opened by a reader, all roles on this machine over HTTP.";

/// Keys, sealing, turnaround.
///
/// # Panics
/// Where the domain fails.
pub async fn run(size: Size) -> Study {
    let machine = begin();
    let mut table = vec![row(["what", "size", "time, ms"])];
    let mut keys = Series::new("Sealdex");
    for users in size.of(vec![10u32, 100, 1_000, 10_000], vec![10, 100]) {
        let started = Instant::now();
        for _ in 0..users {
            let identity = Identity::from_seed(&IdentitySeed::from_bytes(&rand::random::<[u8; 32]>()));
            std::hint::black_box(identity.public());
        }
        let seconds = started.elapsed().as_secs_f64();
        keys.points.push([f64::from(users), seconds]);
        table.push(row(["keys of users", &grouped(f64::from(users)), &short(seconds * 1e3)]));
    }
    let sizes = size.of(
        vec![1usize << 10, 10 << 10, 50 << 10, 200 << 10, 1 << 20, 2 << 20, 5 << 20, 10 << 20],
        vec![1 << 10, 100 << 10],
    );
    let [mut sealing, mut opening, mut pushing, mut reading] =
        ["encryption", "decryption", "pushed until found", "found and opened"].map(Series::new);
    for bytes in &sizes {
        let [seal, open] = in_memory(*bytes, size);
        let x = *bytes as f64 / 1024.0;
        sealing.points.push([x, seal]);
        opening.points.push([x, open]);
        table.push(row(["encryption", &kib(*bytes), &short(seal * 1e3)]));
        table.push(row(["decryption", &kib(*bytes), &short(open * 1e3)]));
    }
    for (bytes, push, read) in turnaround(&sizes, size).await {
        let x = bytes as f64 / 1024.0;
        pushing.points.push([x, push]);
        reading.points.push([x, read]);
        table.push(row(["pushed until found", &kib(bytes), &short(push * 1e3)]));
        table.push(row(["found and opened", &kib(bytes), &short(read * 1e3)]));
    }
    let reported = |name: &str, points: &[[f64; 2]]| Series::reported(name, points.to_vec());
    let chart = |name: &str, title: &str, x: &str, series| Chart {
        name: name.into(),
        title: title.into(),
        x: Axis::log(x),
        y: Axis::log("s"),
        bars: Vec::new(),
        series,
    };
    let charts = vec![
        chart("sesphr-keys", "Keys for many users", "users", vec![keys, reported("SeSPHR", &[[10_000.0, 2.16]])]),
        chart(
            "sesphr-records",
            "Encryption and decryption of a record",
            "KiB",
            vec![
                sealing,
                opening,
                reported("SeSPHR, encryption", &[[50.0, 0.13], [2048.0, 1.29]]),
                reported("SeSPHR, decryption", &[[2048.0, 0.25]]),
            ],
        ),
        chart("sesphr-turnaround", "Turnaround of a record", "KiB", vec![pushing, reading]),
    ];
    study("sesphr", ABOUT, size, vec![table], charts, machine)
}

fn kib(bytes: usize) -> String {
    format!("{} KiB", grouped(bytes as f64 / 1024.0))
}

/// Seconds to seal and to open a record of so many bytes, capsule included.
fn in_memory(bytes: usize, size: Size) -> [f64; 2] {
    let mut rng = rand::rng();
    let owner = SectionSecret::from_scalar(Scalar::random(&mut rng));
    let reader = ReaderKey::from_scalar(Scalar::random(&mut rng));
    let grant = make_grant(&owner, &reader.public(), &Scalar::random(&mut rng));
    let context = capsule_context("north", "labs", 0);
    let content = vec![7u8; bytes];
    let header = |capsule: &Capsule| RecordHeader {
        domain: "north".into(),
        provider: PrincipalId([1; 16]),
        record_id: RecordId([2; 16]),
        section: "labs".into(),
        epoch: 0,
        content_type: "application/fhir+json".into(),
        capsule: capsule.to_bytes(),
    };
    let (capsule, key) = encapsulate(&owner.public(), &context, &mut rng);
    let sealed = seal_record(&key, &header(&capsule), ENCODING_PLAIN, &content).unwrap();
    let mut seal = || {
        let (capsule, key) = encapsulate(&owner.public(), &context, &mut rng);
        std::hint::black_box(seal_record(&key, &header(&capsule), ENCODING_PLAIN, &content).unwrap());
    };
    let mut open = || {
        let turned = reencapsulate(&grant.rk, &capsule);
        let secret = reader.rekey_secret(&grant.x_pub, &owner.public());
        let key = secret.open(&capsule, &turned, &owner.public(), &context);
        std::hint::black_box(open_record(&key, &header(&capsule), &sealed, 1 << 30).unwrap());
    };
    let times = in_turn(size.of(7, 2), Duration::from_millis(size.of(20, 1)), &mut [&mut seal, &mut open]);
    [times[0], times[1]]
}

/// Bytes, seconds until a pushed record can be found, seconds to find and open it: medians.
async fn turnaround(sizes: &[usize], size: Size) -> Vec<(usize, f64, f64)> {
    let home = tempfile::tempdir().unwrap();
    let mut world = World::generated(home.path(), 2, 1, &["reader"], Place::Process).await;
    world.enrol_patients().await;
    world.grant_everything("reader").await;
    world.push_all().await;
    let patient = world.owners.keys().next().unwrap().clone();
    let session = world.session("reader");
    let mut found = Vec::new();
    for bytes in sizes {
        let (mut pushes, mut reads) = (Vec::new(), Vec::new());
        for round in 0..size.of(5, 1) {
            let id = format!("size-{bytes}-{round}");
            let (push, read) = once(&world, &session, &patient, &id, *bytes).await;
            pushes.push(push);
            reads.push(read);
        }
        found.push((*bytes, median(pushes), median(reads)));
    }
    found
}

async fn once(world: &World, session: &Session, patient: &str, id: &str, bytes: usize) -> (f64, f64) {
    let hospital = &world.hospitals[0];
    std::fs::remove_dir_all(&hospital.records).unwrap();
    std::fs::create_dir_all(&hospital.records).unwrap();
    // Base64 of noise: neither compression nor the index makes it smaller.
    let noise: String = (0..bytes).map(|_| char::from(b'A' + (rand::random::<u8>() % 26))).collect();
    let record = serde_json::json!({
        "resourceType": "Observation", "id": id, "status": "final", "code": { "text": "an attachment" },
        "subject": { "reference": patient }, "valueString": noise,
    });
    std::fs::write(hospital.records.join("Observation.ndjson"), record.to_string() + "\n").unwrap();
    let started = Instant::now();
    let report = world.push(hospital).await.unwrap();
    let pushed = started.elapsed().as_secs_f64();
    assert_eq!(report.pushed, 1, "{:?}", report.first_rejects);
    let started = Instant::now();
    let hits = session.read(&[format!("Observation/{id}")]).await.unwrap();
    assert_eq!(hits.len(), 1);
    (pushed, started.elapsed().as_secs_f64())
}
