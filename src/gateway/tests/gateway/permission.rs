//! Who may call: clients with tokens and scopes, and what refuses to start.

use http::Method;
use sealdex_gateway::{Access, Clients, GatewayConfig, ServeError, serve};
use sealdex_net::Listen;
use sealdex_tests::World;

use crate::support::{Running, member, world};

const FILE: &str = r#"
[[client]]
id = "reader"
secret = "a secret of the reading client"
scopes = ["system/*.read"]

[[client]]
id = "writer"
secret = "a secret of the writing client"
scopes = ["system/*.write"]
"#;

fn clients(world: &World) -> Access {
    let path = world.home.join("clients.toml");
    std::fs::write(&path, FILE).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    Access::Clients(Clients::read(&path).unwrap())
}

async fn token(g: &Running, client: &str, secret: &str) -> (u16, serde_json::Value) {
    let form = format!("grant_type=client_credentials&client_id={client}&client_secret={}", secret.replace(' ', "+"));
    let answer = g.post("/auth/token", "application/x-www-form-urlencoded", &form).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    (answer.status, answer.json())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_what_its_scopes_say() {
    let (_home, world) = world(2, 1).await;
    let g =
        Running::start(GatewayConfig { access: clients(&world), ..GatewayConfig::loopback(member(&world), 0) }).await;
    // Without a token: only what says how to get one.
    for path in ["/Patient", "/Patient/1", "/$export", "/_export/file/x", "/Patient/1/$everything"] {
        let refused = g.get(path).await;
        assert_eq!(refused.refusal(), (401, "login".into()), "{path}");
        assert!(refused.header("www-authenticate").starts_with("Bearer"), "{path}");
    }
    assert_eq!(g.post("", "application/fhir+json", "{}").await.refusal(), (401, "login".into()));
    let smart = g.get("/.well-known/smart-configuration").await.json();
    assert_eq!(smart["token_endpoint"], format!("{}/auth/token", g.base()));
    let security = &g.get("/metadata").await.json()["rest"][0]["security"];
    assert_eq!(security["service"][0]["coding"][0]["code"], "OAuth");

    assert_eq!(token(&g, "reader", "a guess").await.0, 401);
    assert_eq!(g.send(Method::GET, "/auth/token", &[], "").await.refusal(), (405, "not-supported".into()));
    let (status, granted) = token(&g, "reader", "a secret of the reading client").await;
    assert_eq!((status, &granted["scope"]), (200, &"system/*.read".into()));
    let bearer = |json: &serde_json::Value| format!("Bearer {}", json["access_token"].as_str().unwrap());
    let (read, write) = (bearer(&granted), bearer(&token(&g, "writer", "a secret of the writing client").await.1));
    assert_eq!(g.get_with("/Patient", &[("authorization", &read)]).await.status, 200);
    assert_eq!(
        g.get_with("/Patient", &[("authorization", &format!("{read}x"))]).await.refusal(),
        (401, "login".into())
    );
    assert_eq!(g.get_with("/Patient", &[("authorization", &write)]).await.refusal(), (403, "forbidden".into()));
    let headers = |token: &str| {
        [
            ("authorization".to_owned(), token.to_owned()),
            ("content-type".to_owned(), "application/fhir+json".to_owned()),
        ]
    };
    let send = async |method: Method, path: &str, token: &str, body: &str| {
        let headers = headers(token);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        g.send(method, path, &headers, body).await
    };
    let patient = r#"{"resourceType":"Patient","id":"1"}"#;
    assert_eq!(send(Method::PUT, "/Patient/1", &read, patient).await.refusal(), (403, "forbidden".into()));
    assert_eq!(
        send(Method::PUT, "/Patient/1", &write, patient).await.refusal().0,
        405,
        "allowed, but nothing writes here"
    );
    // A batch is no way around.
    let batch = r#"{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"GET","url":"Patient"}}]}"#;
    let through = send(Method::POST, "", &write, batch).await.json();
    assert_eq!(through["entry"][0]["response"]["status"], "403 Forbidden");
    g.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_unsafe_does_not_start() {
    let (_home, world) = world(1, 1).await;
    let config = || GatewayConfig::loopback(member(&world), 0);
    let start = async |config| serve(config, tokio::sync::oneshot::channel().0, std::future::ready(())).await;
    let beyond = |access| GatewayConfig {
        access,
        listen: Listen { addr: "0.0.0.0:0".parse().unwrap(), tls: None, insecure: true },
        ..config()
    };
    assert!(matches!(start(beyond(Access::Open)).await, Err(ServeError::Open(_))), "never open to others");
    assert!(start(beyond(clients(&world))).await.is_ok(), "behind a proxy, with clients");
    let plain = GatewayConfig {
        listen: Listen { addr: "0.0.0.0:0".parse().unwrap(), tls: None, insecure: false },
        ..beyond(clients(&world))
    };
    assert!(matches!(start(plain).await, Err(ServeError::Bind { .. })), "no TLS");
    for path in ["fhir", "/fhir/", "/a b", "//", "/metrics"] {
        let bad = GatewayConfig { base_path: path.into(), ..config() };
        assert!(matches!(start(bad).await, Err(ServeError::BasePath(_))), "{path}");
    }
    for url in ["fhir.example", "ftp://x/fhir", "https://x/fhir/", "https://x/fhir?a"] {
        let bad = GatewayConfig { base_url: Some(url.into()), ..config() };
        assert!(matches!(start(bad).await, Err(ServeError::BaseUrl(_))), "{url}");
    }
    // At the root, under a name of its own.
    let g = Running::start(GatewayConfig {
        base_path: String::new(),
        base_url: Some("https://fhir.north.example/r4".into()),
        ..config()
    })
    .await;
    let root = format!("http://{}", g.addr);
    let found = g.search(&format!("{root}/Patient")).await;
    assert_eq!(crate::support::link(&found, "self"), Some("https://fhir.north.example/r4/Patient"));
    assert_eq!(g.get(&format!("{root}/healthz")).await.status, 200);
    g.stop().await;
}
