//! Clients that are slow, silent, or lie.

use std::time::{Duration, Instant};

use sealdex_net::clock::now_ms;
use sealdex_tests::{World, servers::Place};
use tokio::io::AsyncWriteExt as _;

use crate::{
    EXE, finds,
    raw::{Signing, connect, get, read_all, send, status},
    resident, there, world,
};

/// Seconds after which who is slow is closed at the latest: 10 by the server's clock, and what a busy machine adds.
const CLOSED: u64 = 30;
/// Seconds within which an answer comes.
const ANSWERED: u64 = 30;

/// A byte a second; when the server closes, and what it said.
async fn trickle(port: u16, first: &str) -> (u64, String) {
    let mut stream = connect(port).await;
    stream.write_all(first.as_bytes()).await.unwrap();
    let began = Instant::now();
    loop {
        let (said, closed) = read_all(&mut stream, 1).await;
        if closed {
            return (began.elapsed().as_secs(), said);
        }
        assert!(began.elapsed() < Duration::from_secs(2 * CLOSED), "still open");
        if !said.is_empty() || stream.write_all(b"a").await.is_err() {
            let (rest, _) = read_all(&mut stream, 5).await;
            return (began.elapsed().as_secs(), said + &rest);
        }
    }
}

/// Asks a thousand times a thousand questions and reads no answer; when the server gives up.
async fn never_reads(port: u16) -> u64 {
    let mut stream = connect(port).await;
    let questions = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    let began = Instant::now();
    let asking = async { while stream.write_all(questions.as_bytes()).await.is_ok() {} };
    let closed = tokio::time::timeout(Duration::from_secs(120), asking).await;
    assert!(closed.is_ok(), "who reads nothing is still served");
    began.elapsed().as_secs()
}

async fn endless(port: u16, head: &str) -> (usize, String) {
    let mut stream = connect(port).await;
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = [b"10000\r\n".as_slice(), &vec![b'x'; 0x10000], b"\r\n"].concat();
    let mut sent = 0;
    while sent < 1 << 30 && stream.write_all(&chunk).await.is_ok() {
        sent += 0x10000;
    }
    (sent, read_all(&mut stream, 5).await.0)
}

async fn slow_ones(port: u16, stated: &str) {
    let (head, body, silent) =
        tokio::join!(trickle(port, "GET /healthz HTTP/1.1\r\nX-"), trickle(port, stated), trickle_nothing(port));
    assert!(head.0 <= CLOSED, "a head is waited for {} s", head.0);
    assert!(body.0 <= CLOSED && status(&body.1) == 408, "a body is waited for {} s: {}", body.0, body.1);
    assert!(silent <= CLOSED, "silence is waited for {silent} s");
}

async fn trickle_nothing(port: u16) -> u64 {
    let (began, mut stream) = (Instant::now(), connect(port).await);
    let (_, closed) = read_all(&mut stream, 2 * CLOSED).await;
    assert!(closed, "a silent connection stays open");
    began.elapsed().as_secs()
}

/// Each is refused at once, and says why.
async fn liars(world: &World) {
    let by = &world.hospitals[0].keys.identity;
    let (cloud, gate) = (world.servers.cloud_port, world.servers.gate_port());
    let to_cloud = Signing { by, to: world.ceremony.roster.clouds[0].id };
    let to_gate = Signing { by, to: world.ceremony.roster.gates[0].id };
    let long = send(cloud, to_cloud.head("/v1/batches", 10 << 30).as_bytes(), ANSWERED).await;
    assert_eq!(status(&long.0), 413, "{}", long.0);
    let header = format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "a".repeat(200 << 10));
    assert_eq!(status(&send(cloud, header.as_bytes(), ANSWERED).await.0), 431);
    let headers: String = (0..5000).map(|n| format!("X-{n}: a\r\n")).collect();
    let many = send(cloud, format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{headers}\r\n").as_bytes(), ANSWERED).await;
    assert_eq!(status(&many.0), 431, "{}", many.0);

    let (sent, _) =
        endless(cloud, &to_cloud.head("/v1/batches", 0).replace("Content-Length: 0", "Transfer-Encoding: chunked"))
            .await;
    assert!(sent < 256 << 20, "{} MiB were taken", sent >> 20);

    for body in [vec![0x81; 300_000], vec![0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00], {
        let mut text = vec![0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        text.extend([0; 64]);
        text
    }] {
        let (asked, before) = (Instant::now(), resident(world.servers.pids().0));
        let answer =
            send(cloud, &to_cloud.request("/v1/batches", "application/cbor", &body, now_ms()), ANSWERED).await.0;
        assert_eq!(status(&answer), 400, "{answer}");
        assert!(asked.elapsed() < Duration::from_secs(ANSWERED));
        assert!(resident(world.servers.pids().0) < before + (64 << 20), "a claimed length costs its reader memory");
    }
    let nested = "[".repeat(500_000);
    let answer =
        send(gate, &to_gate.request("/v1/owners/lookup", "application/json", nested.as_bytes(), now_ms()), ANSWERED)
            .await
            .0;
    assert_eq!(status(&answer), 400, "{answer}");

    let request = to_gate.request("/v1/owners/lookup", "application/json", br#"{"owners":[]}"#, now_ms());
    let (first, again) = (send(gate, &request, ANSWERED).await.0, send(gate, &request, ANSWERED).await.0);
    assert_ne!(status(&first), 401, "{first}");
    assert!(status(&again) == 401 && again.contains("received before"), "{again}");
    let late = to_gate.request("/v1/owners/lookup", "application/json", b"{}", now_ms() + 600_000);
    let late = send(gate, &late, ANSWERED).await.0;
    assert!(
        status(&late) == 401
            && (late.contains("differs by 600 s") || late.contains("differs by 59"))
            && late.contains("set the clock"),
        "{late}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_silent_and_lying_clients_are_contained() {
    let home = tempfile::tempdir().unwrap();
    let world = world(home.path(), 3, 1, Place::Binary(EXE.into())).await;
    world.push_all().await;
    let (cloud, gate) = (world.servers.cloud_port, world.servers.gate_port());
    let by = &world.hospitals[0].keys.identity;
    let to_cloud = Signing { by, to: world.ceremony.roster.clouds[0].id }.head("/v1/batches", 1 << 20);
    let to_gate = Signing { by, to: world.ceremony.roster.gates[0].id }.head("/v1/bridge", 1 << 20);
    let before = resident(world.servers.pids().0);
    let meanwhile = async {
        liars(&world).await;
        for _ in 0..4 {
            let asked = Instant::now();
            assert_eq!(finds(&world, "reader").await.unwrap(), there(&world, &[0]));
            assert_eq!(status(&get(cloud, "/readyz").await), 200);
            assert!(asked.elapsed() < Duration::from_secs(ANSWERED), "{:?}", asked.elapsed());
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let (_, _, by_cloud, by_gate, ()) = tokio::join!(
        slow_ones(cloud, &to_cloud),
        slow_ones(gate, &to_gate),
        never_reads(cloud),
        never_reads(gate),
        meanwhile
    );
    println!("who reads nothing was served for {by_cloud} s and {by_gate} s");
    assert!(by_cloud < 100 && by_gate < 100);
    assert!(resident(world.servers.pids().0) < before + (300 << 20));
}
