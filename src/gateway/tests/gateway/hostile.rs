//! What is malformed, too large, too slow or made up, and servers that are gone: always an OperationOutcome,
//! never a panic, never a short answer.

use http::Method;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use sealdex_gateway::GatewayConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{Running, member, world};

const FHIR: &str = "application/fhir+json";

#[tokio::test(flavor = "multi_thread")]
async fn every_error_is_an_outcome() {
    let (_home, world) = world(2, 1).await;
    let config = GatewayConfig { max_body: 10_000, ..GatewayConfig::loopback(member(&world), 0) };
    let g = Running::start(config).await;
    let code = |status: u16, code: &str| (status, code.to_owned());
    let root = format!("http://{}", g.addr);
    assert_eq!(g.get(&format!("{root}/elsewhere")).await.refusal(), code(404, "not-found"));
    assert_eq!(g.get("/a/b/c/d/e/f").await.refusal(), code(404, "not-found"));
    assert_eq!(g.get("/Patient?name=%zz").await.refusal(), code(400, "invalid"));
    assert_eq!(
        g.get_with("/Patient", &[("accept", "application/fhir+xml")]).await.refusal(),
        code(406, "not-supported")
    );
    assert_eq!(g.get("/Patient?_format=xml").await.refusal(), code(406, "not-supported"));
    assert_eq!(g.get_with("/Patient", &[("host", "evil.example")]).await.refusal(), code(400, "invalid"));
    for (method, path, allow) in [
        (Method::DELETE, "/Patient/1", "GET, HEAD"),
        (Method::PATCH, "/Patient/1", "GET, HEAD, PUT, DELETE"),
        (Method::GET, "/Patient/_search", "POST"),
        (Method::POST, "/metadata", "GET, HEAD"),
        (Method::OPTIONS, "/Patient/1", "GET, HEAD, PUT, DELETE"),
        (Method::PUT, "/$export", "GET"),
    ] {
        let answer = g.send(method.clone(), path, &[], "").await;
        assert_eq!(answer.refusal(), code(405, "not-supported"), "{method} {path}");
        assert_eq!(answer.header("allow"), allow, "{method} {path}");
    }
    assert_eq!(g.get("/Patient/1/$validate").await.refusal(), code(501, "not-supported"));
    assert_eq!(g.post("/Patient/_search", "text/plain", "a=b").await.refusal(), code(415, "not-supported"));
    assert_eq!(g.post("/Patient/_search", FHIR, "{}").await.refusal(), code(415, "not-supported"));
    assert_eq!(g.post("", "application/fhir+xml", "<Bundle/>").await.refusal(), code(415, "not-supported"));
    assert_eq!(g.post("", FHIR, "{\"resourceType\":").await.refusal(), code(400, "structure"));
    assert_eq!(g.post("", FHIR, "[]").await.refusal(), code(400, "structure"));
    assert_eq!(g.post("", FHIR, &"[".repeat(9_000)).await.refusal(), code(400, "structure"));
    assert_eq!(g.post("", FHIR, &" ".repeat(10_001)).await.refusal(), code(413, "too-long"));
    assert_eq!(
        g.post("", FHIR, r#"{"resourceType":"Bundle","type":"transaction"}"#).await.refusal(),
        code(501, "not-supported")
    );
    assert_eq!(g.post("", FHIR, r#"{"resourceType":"Bundle","type":"history"}"#).await.refusal(), code(400, "invalid"));

    // The client's id comes back; one that is none is replaced.
    assert_eq!(g.get_with("/metadata", &[("x-request-id", "a-1.b")]).await.header("x-request-id"), "a-1.b");
    let made = g.get_with("/Patient/nobody", &[("x-request-id", "a b\"")]).await.header("x-request-id").to_owned();
    assert_eq!(made.len(), 36);
    // Pages of other origins are told nothing.
    let cross = g.get_with("/Patient", &[("origin", "https://evil.example")]).await;
    assert!(cross.headers.keys().all(|k| !k.as_str().starts_with("access-control")));
    g.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_are_gone_are_named() {
    let (_home, mut world) = world(2, 1).await;
    let g = Running::start(GatewayConfig::loopback(member(&world), 0)).await;
    let bounds = sealdex_net::guard::Bounds { concurrency: 8, timeout: std::time::Duration::from_millis(1) };
    let hasty = Running::start(GatewayConfig { bounds, ..GatewayConfig::loopback(member(&world), 0) }).await;
    assert_eq!(hasty.get("/Observation").await.refusal(), (408, "timeout".into()));
    hasty.stop().await;
    let narrow = sealdex_gateway::Member { most_opened: 3, ..member(&world) };
    let narrow = Running::start(GatewayConfig::loopback(narrow, 0)).await;
    assert_eq!(narrow.get("/Observation").await.refusal(), (422, "too-costly".into()));
    narrow.stop().await;
    world.servers.stop_cloud().await;
    let (status, code) = g.get("/Patient").await.refusal();
    assert!((status == 502 || status == 503) && code == "transient", "{status} {code}");
    world.servers.stop_gate().await;
    let answer = g.get("/Patient").await;
    assert_eq!(answer.refusal(), (503, "transient".into()));
    assert!(!answer.header("retry-after").is_empty());
    assert_eq!(g.get(&format!("http://{}/readyz", g.addr)).await.refusal(), (503, "transient".into()));
    assert_eq!(g.get("/metadata").await.status, 200, "what needs nobody else is served");
    g.stop().await;
}

/// Whatever stands in a request line, the server answers and goes on.
#[tokio::test(flavor = "multi_thread")]
async fn arbitrary_requests_harm_nothing() {
    let (_home, world) = world(2, 1).await;
    let g = Running::start(GatewayConfig::loopback(member(&world), 0)).await;
    let addr = g.addr;
    let names = [
        "_id",
        "code",
        "date",
        "_sort",
        "_count",
        "_page",
        "_include",
        "_has:Observation:subject:code",
        "subject:Patient.name",
        "_type",
        "x",
    ];
    let word = prop_oneof![
        "[ -~]{0,12}",
        "[0-9.:|,$\\\\-]{0,8}",
        Just("ge2020".to_owned()),
        Just("%".to_owned()),
        Just("%00%ff".to_owned())
    ];
    let query = prop::collection::vec((prop::sample::select(names.to_vec()), word), 0..4);
    let segment = prop_oneof![
        Just("Patient".to_owned()),
        Just("Observation".to_owned()),
        Just("$everything".to_owned()),
        Just("*".to_owned()),
        Just("_search".to_owned()),
        Just("_export/file".to_owned()),
        Just("metadata".to_owned()),
        "[!-~]{1,8}"
    ];
    let path = prop::collection::vec(segment, 0..4);
    let method = prop::sample::select(vec!["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"]);
    let body = prop_oneof![
        Just(String::new()),
        Just("{\"resourceType\":\"Bundle\",\"type\":\"batch\",\"entry\":[{}]}".to_owned()),
        "[ -~]{0,30}"
    ];
    let handle = tokio::runtime::Handle::current();
    let run = move || {
        let mut runner = TestRunner::new(Config { cases: 150, failure_persistence: None, ..Config::default() });
        runner.run(&(method, path, query, body), |(method, path, query, body)| {
            let query: Vec<String> = query.iter().map(|(n, v)| format!("{n}={v}")).collect();
            let target = format!("/fhir/{}?{}", path.join("/"), query.join("&")).replace(' ', "+");
            let request = format!(
                "{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/fhir+json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let answer = handle.block_on(async {
                let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
                stream.write_all(request.as_bytes()).await.unwrap();
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).await.unwrap();
                answer
            });
            let text = String::from_utf8_lossy(&answer);
            let status: u16 = text.get(9..12).and_then(|s| s.parse().ok()).unwrap_or(0);
            prop_assert!((200..500).contains(&status) || status == 501, "{} for {}", text, target);
            Ok(())
        })
    };
    tokio::task::spawn_blocking(run).await.unwrap().unwrap();
    assert_eq!(g.get("/metadata").await.status, 200);
    g.stop().await;
}
