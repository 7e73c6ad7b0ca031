//! From HTTP to calls and back.

use std::{
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, HttpBody as _},
    extract::{Request, State},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderName, HeaderValue, Method, StatusCode, header, request::Parts};
use http_body_util::{BodyExt as _, Limited};
use sealdex_fhir::search::resource_type;
use sealdex_net::bodies::{Unread, whole};
use sealdex_wire::problem;

use crate::{
    call::{Call, Reply},
    negotiation::{BodyKind, Prefer, Wants, body_kind, wants, wants_ndjson},
    outcome::Outcome,
    query::{decode, segment},
    resource::{reply, version},
    server::Gateway,
    summary::View,
    target::Target,
};

/// How long the gate's last answer counts for readiness.
const READY: Duration = Duration::from_secs(10);
/// Largest error of an inner layer that is turned into an OperationOutcome, bytes.
const PROBLEM: usize = 64 << 10;

/// The gateway's routes, without the guard around them.
pub(crate) fn router(gateway: Arc<Gateway>, base: &str) -> Router {
    let mut router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route(&format!("{base}/"), any(entry))
        .route(&format!("{base}/{{*path}}"), any(entry));
    if !base.is_empty() {
        router = router.route(base, any(entry));
    }
    router.with_state(gateway)
}

/// The layer outside all others: ids of requests, panics, and errors of inner layers as OperationOutcomes.
pub(crate) fn outermost(router: Router) -> Router {
    router.layer(from_fn(outer))
}

async fn outer(request: Request, next: Next) -> Response {
    let name = HeaderName::from_static("x-request-id");
    let given = request.headers().get(&name).filter(|v| {
        (1..=128).contains(&v.len()) && v.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
    });
    let id = given.cloned().or_else(|| HeaderValue::from_str(&uuid::Uuid::now_v7().to_string()).ok());
    let shown = id.as_ref().and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let span = tracing::info_span!("gateway", id = shown);
    let run = AssertUnwindSafe(next.run(request)).catch_unwind();
    let response = match tracing::Instrument::instrument(run, span).await {
        Ok(response) => response,
        Err(_) => Outcome::internal("a handler panicked").into_response(),
    };
    let mut response = as_outcome(response).await;
    response.headers_mut().extend(id.map(|id| (name, id)));
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Errors that are not in FHIR's form, in it.
async fn as_outcome(response: Response) -> Response {
    let status = response.status();
    let media = response.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let own = media.starts_with("application/fhir+json") || media.starts_with("application/json");
    if own || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let is_problem = media == problem::CONTENT_TYPE;
    let (parts, body) = response.into_parts();
    let detail = match Limited::new(body, PROBLEM).collect().await {
        Ok(body) if is_problem => serde_json::from_slice::<problem::Problem>(&body.to_bytes()).ok().map(|p| p.detail),
        _ => None,
    };
    let (code, text) = match status {
        StatusCode::NOT_FOUND => ("not-found", "no such path on this server"),
        StatusCode::METHOD_NOT_ALLOWED => ("not-supported", "no such method on this path"),
        StatusCode::REQUEST_TIMEOUT => ("timeout", "the request took too long: narrow it"),
        StatusCode::SERVICE_UNAVAILABLE => ("throttled", "too many requests at once: try again"),
        _ if status.is_client_error() => ("invalid", "the request was refused"),
        _ => ("exception", "the gateway failed"),
    };
    let mut out = Outcome::new(status, code, detail.unwrap_or_else(|| text.to_owned()));
    out.headers = [header::RETRY_AFTER, header::ALLOW]
        .iter()
        .filter_map(|n| Some((n.clone(), parts.headers.get(n)?.clone())))
        .collect();
    out.into_response()
}

async fn readyz(State(gateway): State<Arc<Gateway>>) -> Result<&'static str, Outcome> {
    let held = || gateway.answered.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let recent = held().is_some_and(|at| at.elapsed() < READY);
    if !recent {
        let refreshed = tokio::time::timeout(Duration::from_secs(5), gateway.domain.refresh()).await;
        if !matches!(refreshed, Ok(Ok(()))) {
            let text = "the domain's gate does not answer: is it running, and is its address right?";
            return Err(Outcome::new(StatusCode::SERVICE_UNAVAILABLE, "transient", text));
        }
        *held() = Some(Instant::now());
    }
    Ok("ready\n")
}

async fn entry(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let started = Instant::now();
    let head = request.method() == Method::HEAD;
    let (parts, body) = request.into_parts();
    let mut seen = Seen { name: "unknown", wants: Wants::default() };
    let reply = gateway.serve(parts, body, &mut seen).await.unwrap_or_else(Reply::from);
    let status = reply.status.as_u16();
    let labels = [("interaction", seen.name.to_owned()), ("status", status.to_string())];
    metrics::counter!("sealdex_gateway_interactions_total", &labels).increment(1);
    metrics::histogram!("sealdex_gateway_interaction_seconds", &labels[..1]).record(started.elapsed().as_secs_f64());
    tracing::debug!(interaction = seen.name, status, "answered");
    let response = reply.into_response(seen.wants);
    if head { bodiless(response) } else { response }
}

/// The answer to `HEAD`: what `GET` would say, without saying it.
fn bodiless(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact() {
        parts.headers.insert(header::CONTENT_LENGTH, length.into());
    }
    Response::from_parts(parts, Body::empty())
}

/// What is known of a request when its answer is sent.
struct Seen {
    name: &'static str,
    wants: Wants,
}

impl Gateway {
    /// What a path names.
    pub(crate) fn target(&self, segments: &[String]) -> Result<Target, Outcome> {
        Target::parse(segments, &|name| resource_type(name).is_some())
    }

    async fn serve(&self, parts: Parts, body: Body, seen: &mut Seen) -> Result<Reply, Outcome> {
        let base = self.address.base(&parts.headers)?;
        let path = parts.uri.path().strip_prefix(&self.address.path).unwrap_or_default();
        let segments = path.split('/').filter(|s| !s.is_empty()).map(segment).collect::<Result<Vec<_>, _>>()?;
        let target = self.target(&segments)?;
        seen.name = target.name();
        let pairs = decode(parts.uri.query().unwrap_or_default())?;
        seen.wants = match target {
            Target::ExportFile(_) => wants_ndjson(&parts.headers).map(|()| Wants::default())?,
            Target::Token | Target::Smart => Wants::default(),
            _ => wants(&parts.headers, &pairs)?,
        };
        let public = matches!(target, Target::Metadata | Target::Smart | Target::Token);
        let authorization = parts.headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
        let scopes = if public { Default::default() } else { self.access.scopes(authorization)? };
        let mut call = Call {
            method: if parts.method == Method::HEAD { Method::GET } else { parts.method },
            target,
            pairs,
            prefer: Prefer::of(&parts.headers),
            base,
            wants: seen.wants,
            scopes,
            body: Bytes::new(),
            headers: parts.headers,
        };
        self.take_body(&mut call, body).await?;
        if call.pairs.iter().any(|(n, _)| n == "_format" || n == "_pretty") && !matches!(call.target, Target::Token) {
            // A form may say what form the answer takes.
            seen.wants = wants(&call.headers, &call.pairs)?;
        }
        self.answer(call).await
    }

    async fn take_body(&self, call: &mut Call, body: Body) -> Result<(), Outcome> {
        if matches!(call.method, Method::GET | Method::DELETE) {
            return Ok(());
        }
        let too_large = || {
            let text = format!("the body is larger than {} bytes: send less at once", self.max_body);
            Outcome::new(StatusCode::PAYLOAD_TOO_LARGE, "too-long", text)
        };
        if body.size_hint().lower() > self.max_body as u64 {
            return Err(too_large());
        }
        let body = whole(body, self.max_body).await.map_err(|e| match e {
            Unread::TooLong => too_large(),
            Unread::Broken(_) => Outcome::invalid("the body ended early"),
        })?;
        let forms = matches!(
            call.target,
            Target::System { search: true }
                | Target::Type { search: true, .. }
                | Target::Compartment { search: true, .. }
                | Target::Operation { .. }
                | Target::Token
        );
        match body_kind(&call.headers) {
            _ if body.is_empty() => {}
            Ok(Some(BodyKind::Form)) if forms => {
                let text = std::str::from_utf8(&body).map_err(|_| Outcome::invalid("the form is no UTF-8"))?;
                call.pairs.extend(decode(text)?);
            }
            Ok(Some(BodyKind::Fhir)) if !forms || matches!(call.target, Target::Operation { .. }) => call.body = body,
            Ok(None) if !forms => call.body = body,
            Err(refused) => return Err(refused),
            Ok(_) => {
                let wanted = if forms { "application/x-www-form-urlencoded" } else { "application/fhir+json" };
                let text = format!("the body must be {wanted} here: set Content-Type and send it so");
                return Err(Outcome::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-supported", text));
            }
        }
        Ok(())
    }

    /// Answers a call; of a batch, also each of its entries.
    pub(crate) fn answer(&self, call: Call) -> Pin<Box<dyn Future<Output = Result<Reply, Outcome>> + Send + '_>> {
        Box::pin(async move {
            self.permit(&call)?;
            if let Some(portal) = self.portal_for(&call.target) {
                return self.portal(portal, &call).await;
            }
            self.dispatch(&call).await
        })
    }

    /// Whether the client's scopes cover the call. A batch is checked entry by entry.
    fn permit(&self, call: &Call) -> Result<(), Outcome> {
        let (scope, held) = match (&call.target, call.method.as_str()) {
            (Target::Metadata | Target::Smart | Target::Token, _) | (Target::System { search: false }, "POST") => {
                return Ok(());
            }
            (Target::Type { search: false, .. }, "POST") | (Target::Instance { .. }, "PUT" | "DELETE" | "PATCH") => {
                ("system/*.write", call.scopes.write)
            }
            _ => ("system/*.read", call.scopes.read),
        };
        if held {
            Ok(())
        } else {
            Err(Outcome::forbidden(format!("this needs the scope {scope}, which the token does not have")))
        }
    }

    async fn dispatch(&self, call: &Call) -> Result<Reply, Outcome> {
        match (&call.target, call.method.as_str()) {
            (Target::Metadata, "GET") => Ok(self.metadata(call)),
            (Target::Smart, "GET") => self.smart(call),
            (Target::Token, _) => Ok(self.access.token(call)),
            (Target::System { search: false }, "GET") | (Target::System { search: true }, "POST") => {
                self.search_types(call).await
            }
            (Target::System { search: false }, "POST") => self.batch(call).await,
            (Target::Type { kind, search: false }, "GET") | (Target::Type { kind, search: true }, "POST") => {
                self.search_type(call, kind).await
            }
            (Target::Type { kind, search: false }, "POST") => self.create(call, kind).await,
            (Target::Type { search: false, .. }, "PUT" | "DELETE" | "PATCH") => {
                Err(Outcome::not_supported("conditional update, patch and delete are not supported: use the id"))
            }
            (Target::Instance { kind, id }, "GET") => self.read(call, kind, id, None).await,
            (Target::Instance { kind, id }, "PUT") => self.update(call, kind, id).await,
            (Target::Instance { kind, id }, "DELETE") => self.delete(call, kind, id).await,
            (Target::Version { kind, id, version }, "GET") => self.read(call, kind, id, Some(version)).await,
            (Target::Compartment { of, id, kind, search }, method)
                if method == if *search { "POST" } else { "GET" } =>
            {
                self.search_compartment(call, of, id, kind.as_deref()).await
            }
            (Target::Operation { on, name }, method) => self.operation(call, on, name, method).await,
            (Target::ExportStatus(token), "GET" | "DELETE") => self.export_status(call, token),
            (Target::ExportFile(token), "GET") => self.export_file(token).await,
            (Target::History, _) => Err(Outcome::not_supported(
                "no history is kept: the store holds the current version of each record; read it without _history",
            )),
            (target, method) => Err(refuse_method(target, method)),
        }
    }

    async fn operation(&self, call: &Call, on: &[String], name: &str, method: &str) -> Result<Reply, Outcome> {
        match (on, name, method) {
            ([kind, id], "everything", "GET" | "POST") if kind == "Patient" => self.everything(call, id).await,
            ([], "export", "GET") => self.export(call, false),
            ([kind], "export", "GET") if kind == "Patient" => self.export(call, true),
            ([kind, _], "everything", _) if kind == "Patient" => {
                Err(Outcome::method("GET, HEAD, POST", "$everything is asked for by GET or POST"))
            }
            ([], "export", _) => Err(Outcome::method("GET", "an export is asked for by GET")),
            ([kind], "export", _) if kind == "Patient" => Err(Outcome::method("GET", "an export is asked for by GET")),
            _ => Err(Outcome::not_supported(format!(
                "there is no operation ${name} here; there are Patient/ID/$everything, $export and Patient/$export"
            ))),
        }
    }

    /// `GET Type/ID`, `GET Type/ID/_history/VID`.
    async fn read(&self, call: &Call, kind: &str, id: &str, wanted: Option<&str>) -> Result<Reply, Outcome> {
        let view = View::of(&call.pairs)?;
        let hit = self.domain.session().read(&[format!("{kind}/{id}")]).await?.pop();
        let Some(hit) = hit else { return Err(self.missing(kind, id).await) };
        let current = version(&hit.json, &hit.bytes);
        if wanted.is_some_and(|v| v != current) {
            return Err(Outcome::not_found(format!(
                "only the current version of {kind}/{id} is kept, which is {current}"
            )));
        }
        Ok(reply(&hit, &view, &call.headers))
    }
}

fn refuse_method(target: &Target, method: &str) -> Outcome {
    let (allow, next) = match target {
        Target::System { search: false } => ("GET, HEAD, POST", "GET searches, POST takes a batch"),
        Target::System { search: true }
        | Target::Type { search: true, .. }
        | Target::Compartment { search: true, .. } => {
            ("POST", "_search takes a form by POST; GET searches without _search")
        }
        Target::Type { .. } => ("GET, HEAD, POST", "GET searches, POST creates"),
        Target::Instance { .. } => ("GET, HEAD, PUT, DELETE", "records are read, put and deleted, not patched"),
        Target::ExportStatus(_) => ("GET, HEAD, DELETE", "GET tells how far it is, DELETE cancels"),
        _ => ("GET, HEAD", "this is only read"),
    };
    let method: String = method.chars().take(16).collect();
    Outcome::method(allow, format!("{method} is not served here: {next}"))
}
