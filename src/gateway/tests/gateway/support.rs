//! A real domain on loopback, a gateway in front of it, and a plain HTTP client.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use sealdex_gateway::{GatewayConfig, Member, ServeError, serve};
use sealdex_member::MemberKeys;
use sealdex_tests::{World, servers::Place};
use serde_json::Value as Json;
use tokio::{sync::oneshot, task::JoinHandle};

/// Who reads in all tests.
pub(crate) const READER: &str = "ana";

/// A domain whose patients let the reader see everything, with everything pushed.
pub(crate) async fn world(patients: u32, hospitals: u32) -> (tempfile::TempDir, World) {
    let home = tempfile::tempdir().unwrap();
    let mut world = World::generated(home.path(), patients, hospitals, &[READER], Place::Process).await;
    world.enrol_patients().await;
    world.grant_everything(READER).await;
    world.push_all().await;
    (home, world)
}

/// What a gateway of the reader needs.
pub(crate) fn member(world: &World) -> Member {
    Member {
        keys: MemberKeys::new(world.readers[READER].secrets.clone()),
        trusted: world.trusted(),
        http: world.http.clone(),
        purpose: "treatment".into(),
        most_opened: 100_000,
    }
}

/// A gateway that runs.
pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), ServeError>>,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    /// Status and code of the first issue, after checking that it is an OperationOutcome.
    pub(crate) fn refusal(&self) -> (u16, String) {
        let json = self.json();
        assert_eq!(json["resourceType"], "OperationOutcome", "{json}");
        assert_eq!(self.header("content-type"), "application/fhir+json; charset=utf-8");
        assert!(!json["issue"][0]["diagnostics"].as_str().unwrap().is_empty());
        (self.status, json["issue"][0]["code"].as_str().unwrap().to_owned())
    }
}

impl Running {
    pub(crate) async fn start(config: GatewayConfig) -> Self {
        let (ready, bound) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(serve(config, ready, async move {
            let _ = stopped.await;
        }));
        let addr = bound.await.unwrap();
        Self { addr, stop: Some(stop), task, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    pub(crate) fn base(&self) -> String {
        format!("http://{}/fhir", self.addr)
    }

    pub(crate) async fn stop(mut self) {
        let _ = self.stop.take().unwrap().send(());
        drop(self.client);
        self.task.await.unwrap().unwrap();
    }

    /// `path` is below the base, or absolute.
    pub(crate) async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base()) };
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.client.request(request.body(Full::from(body.to_owned())).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body: body.collect().await.unwrap().to_bytes() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, path, headers, "").await
    }

    pub(crate) async fn post(&self, path: &str, media: &str, body: &str) -> Answer {
        self.send(Method::POST, path, &[("content-type", media)], body).await
    }

    /// A searchset.
    pub(crate) async fn search(&self, path: &str) -> Json {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
        let json = answer.json();
        assert_eq!((&json["resourceType"], &json["type"]), (&"Bundle".into(), &"searchset".into()));
        json
    }
}

/// `Type/id` of a Bundle's entries of a mode, in order.
pub(crate) fn identities(bundle: &Json, mode: &str) -> Vec<String> {
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    let of_mode = entries.iter().filter(|e| e["search"]["mode"] == mode);
    of_mode.map(|e| identity(&e["resource"])).collect()
}

pub(crate) fn identity(resource: &Json) -> String {
    format!("{}/{}", resource["resourceType"].as_str().unwrap(), resource["id"].as_str().unwrap_or_default())
}

/// URL of a Bundle's link.
pub(crate) fn link<'b>(bundle: &'b Json, relation: &str) -> Option<&'b str> {
    bundle["link"].as_array()?.iter().find(|l| l["relation"] == relation)?["url"].as_str()
}

/// Identities of all records of a type in the domain, sorted.
pub(crate) fn all(world: &World, kind: &str) -> Vec<String> {
    let records = world.hospitals.iter().flat_map(|h| world.records(h));
    let set: std::collections::BTreeSet<String> =
        records.filter(|r| r.resource_type == kind).map(|r| r.identity()).collect();
    set.into_iter().collect()
}
