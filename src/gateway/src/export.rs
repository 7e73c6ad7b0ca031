//! FHIR Bulk Data export. A job goes through the sealed store once, opens everything and counts; what it hands
//! out are links that say which stretch of the store a file is. A download opens that stretch again while it is
//! sent: nothing is kept in the clear, and a link is as good after a restart as before.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::body::Body;
use bytes::Bytes;
use http::{Method, StatusCode, header};
use sealdex_client::{Session, Walk, session::AskError};
use sealdex_crypto::RecordId;
use sealdex_fhir::{
    Hit,
    search::{resource_type, resource_types},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;
use time::OffsetDateTime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::{
    auth::Access,
    call::{Call, Content, Reply},
    clock, labels,
    negotiation::NDJSON,
    outcome::Outcome,
    query::{encode, last, list},
    resource::last_updated,
    search::wanted_types,
    server::Gateway,
    tokens::LinkKey,
};

/// Records opened at once.
const STRETCH: u32 = 2000;
/// Stretches of a file: so it holds at most 10,000 resources.
const STRETCHES: usize = 5;
/// How long a job's link is good.
const LIFE: Duration = Duration::from_secs(24 * 3600);
/// Jobs under way at once.
const RUNNING: usize = 2;
/// Jobs remembered.
const JOBS: usize = 64;
/// Downloads at once.
const DOWNLOADS: usize = 8;

/// What a job's link says.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    id: String,
    types: Vec<String>,
    since: Option<String>,
    /// When it was asked for.
    at: String,
    request: String,
}

/// What a file's link says: a stretch of the store.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct File {
    kind: String,
    /// Where it starts; the beginning when absent.
    from: Option<String>,
    /// Largest record id in it; the end when absent.
    until: Option<String>,
    since: Option<String>,
}

#[derive(Clone, Default)]
struct Progress {
    types: usize,
    resources: u64,
}

enum State {
    Running(Progress),
    Done(Vec<(File, u64)>),
    Failed(Outcome),
    Cancelled,
}

struct Job {
    state: State,
    made: Instant,
    task: Option<tokio::task::AbortHandle>,
}

/// Jobs and downloads under way.
pub(crate) struct Exports {
    jobs: Arc<Mutex<HashMap<String, Job>>>,
    downloads: Arc<Semaphore>,
}

impl Default for Exports {
    fn default() -> Self {
        Self { jobs: Arc::default(), downloads: Arc::new(Semaphore::new(DOWNLOADS)) }
    }
}

impl Exports {
    fn with<T>(&self, f: impl FnOnce(&mut HashMap<String, Job>) -> T) -> T {
        f(&mut self.jobs.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends all jobs; their links start them again.
    pub(crate) fn stop(&self) {
        self.with(|jobs| jobs.drain().for_each(|(_, j)| j.task.into_iter().for_each(|t| t.abort())));
    }
}

fn seal(keys: &LinkKey, label: &str, value: &impl Serialize) -> String {
    keys.seal(label, &[], serde_json::to_string(value).unwrap_or_default().as_bytes())
}

fn open<T: DeserializeOwned>(keys: &LinkKey, label: &str, text: &str) -> Option<T> {
    serde_json::from_slice(&keys.open(label, &[], text)?).ok()
}

fn unknown() -> Outcome {
    Outcome::not_found(
        "no such export: it was cancelled, has expired, or was never made by this gateway; start it again",
    )
}

impl Gateway {
    /// `GET $export`, `GET Patient/$export`.
    pub(crate) fn export(&self, call: &Call, of_patients: bool) -> Result<Reply, Outcome> {
        let order = self.order(call, of_patients)?;
        let token = seal(&self.keys, labels::JOB, &order);
        self.start(order)?;
        let url = format!("{}/_export/status/{token}", call.base);
        Ok(Reply::empty(StatusCode::ACCEPTED).with(header::CONTENT_LOCATION, &url))
    }

    fn order(&self, call: &Call, of_patients: bool) -> Result<Order, Outcome> {
        if !call.prefer.asynchronous {
            return Err(Outcome::invalid("an export runs in the background: send Prefer: respond-async"));
        }
        let known = ["_type", "_since", "_outputFormat", "_format", "_pretty"];
        if let Some((name, _)) =
            call.pairs.iter().find(|(n, _)| !known.contains(&n.as_str())).filter(|_| !call.prefer.lenient)
        {
            let text = format!(
                "an export does not take {name}; it takes _type, _since and _outputFormat; Prefer: handling=lenient leaves it out"
            );
            return Err(Outcome::new(StatusCode::BAD_REQUEST, "not-supported", text));
        }
        if let Some(format) = last(&call.pairs, "_outputFormat")
            && !["application/fhir+ndjson", "application/fhir ndjson", "application/ndjson", "ndjson"].contains(&format)
        {
            let text = format!("_outputFormat={format:?} is not written; application/fhir+ndjson is");
            return Err(Outcome::new(StatusCode::BAD_REQUEST, "not-supported", text));
        }
        let since = last(&call.pairs, "_since");
        if since.is_some_and(|s| clock::parse(s).is_none()) {
            return Err(Outcome::invalid("_since is no instant, such as 2024-02-03T04:05:06Z"));
        }
        let asked = list(&call.pairs, "_type");
        let types = if of_patients {
            wanted_types("Patient", &asked)?
        } else if let Some(bad) = asked.iter().find(|t| resource_type(t).is_none()) {
            return Err(Outcome::invalid(format!("_type names {bad:?}, which is no resource type of R4")));
        } else {
            resource_types().filter(|t| asked.is_empty() || asked.iter().any(|a| a == t)).map(str::to_owned).collect()
        };
        let path = if of_patients { "Patient/$export" } else { "$export" };
        let query = encode(&call.pairs);
        let mark = if query.is_empty() { "" } else { "?" };
        Ok(Order {
            id: uuid::Uuid::now_v7().to_string(),
            types,
            since: since.map(str::to_owned),
            at: clock::now_text(),
            request: format!("{}/{path}{mark}{query}", call.base),
        })
    }

    fn start(&self, order: Order) -> Result<(), Outcome> {
        self.exports.with(|jobs| {
            jobs.retain(|_, j| j.made.elapsed() < LIFE);
            let running = jobs.values().filter(|j| matches!(j.state, State::Running(_))).count();
            if running >= RUNNING {
                let text = format!("{running} exports are under way already: wait for one, or cancel it");
                return Err(Outcome::new(StatusCode::TOO_MANY_REQUESTS, "throttled", text)
                    .with(header::RETRY_AFTER, http::HeaderValue::from_static("30")));
            }
            while jobs.len() >= JOBS {
                let settled = jobs.iter().filter(|(_, j)| !matches!(j.state, State::Running(_)));
                let Some(oldest) = settled.min_by_key(|(_, j)| j.made).map(|(id, _)| id.clone()) else { break };
                jobs.remove(&oldest);
            }
            let (id, session, all) = (order.id.clone(), self.domain.session(), self.exports.jobs.clone());
            jobs.insert(
                id.clone(),
                Job { state: State::Running(Progress::default()), made: Instant::now(), task: None },
            );
            let task = tokio::spawn({
                let id = id.clone();
                async move {
                    let update = |state: State| {
                        let mut jobs = all.lock().unwrap_or_else(PoisonError::into_inner);
                        if let Some(job) = jobs.get_mut(&id).filter(|j| matches!(j.state, State::Running(_))) {
                            job.state = state;
                        }
                    };
                    let state = match count(&session, &order, &|p| update(State::Running(p))).await {
                        Ok(files) => State::Done(files),
                        Err(e) => State::Failed(e.into()),
                    };
                    update(state);
                }
            });
            if let Some(job) = jobs.get_mut(&id) {
                job.task = Some(task.abort_handle());
            }
            Ok(())
        })
    }

    /// `GET _export/status/TOKEN`, and `DELETE` to cancel.
    pub(crate) fn export_status(&self, call: &Call, token: &str) -> Result<Reply, Outcome> {
        let order: Order = open(&self.keys, labels::JOB, token).ok_or_else(unknown)?;
        let age = clock::parse(&order.at).map(|at| OffsetDateTime::now_utc() - at);
        if age.is_none_or(|age| age > LIFE) {
            return Err(unknown());
        }
        if call.method == Method::DELETE {
            return self.cancel(&order);
        }
        if !self.exports.with(|jobs| jobs.contains_key(&order.id)) {
            // Made before a restart.
            self.start(order.clone())?;
        }
        self.exports.with(|jobs| match jobs.get(&order.id).map(|j| &j.state) {
            None | Some(State::Cancelled) => Err(unknown()),
            Some(State::Failed(outcome)) => Err(outcome.clone()),
            Some(State::Running(p)) => {
                let text = format!("{} of {} types, {} resources", p.types, order.types.len(), p.resources);
                let progress = http::HeaderName::from_static("x-progress");
                Ok(Reply::empty(StatusCode::ACCEPTED).with(progress, &text).with(header::RETRY_AFTER, "2"))
            }
            Some(State::Done(files)) => Ok(self.manifest(call, &order, files)),
        })
    }

    fn cancel(&self, order: &Order) -> Result<Reply, Outcome> {
        self.exports.with(|jobs| {
            let new = || Job { state: State::Cancelled, made: Instant::now(), task: None };
            let job = jobs.entry(order.id.clone()).or_insert_with(new);
            if let Some(task) = job.task.take() {
                task.abort();
            }
            job.state = State::Cancelled;
        });
        Ok(Reply::empty(StatusCode::ACCEPTED))
    }

    fn manifest(&self, call: &Call, order: &Order, files: &[(File, u64)]) -> Reply {
        let output: Vec<_> = files
            .iter()
            .map(|(file, count)| {
                let url = format!("{}/_export/file/{}", call.base, seal(&self.keys, labels::FILE, file));
                json!({ "type": file.kind, "url": url, "count": count })
            })
            .collect();
        let manifest = json!({
            "transactionTime": order.at,
            "request": order.request,
            "requiresAccessToken": matches!(self.access, Access::Clients(_)),
            "output": output,
            "error": [],
        });
        let reply = Reply {
            status: StatusCode::OK,
            headers: Default::default(),
            content: Content::Json(manifest.to_string().into_bytes()),
        };
        let until = clock::parse(&order.at).map(|at| at + LIFE).and_then(clock::http_date);
        reply.with(header::EXPIRES, until.as_ref().and_then(|d| d.to_str().ok()).unwrap_or("0"))
    }

    /// `GET _export/file/TOKEN`.
    pub(crate) async fn export_file(&self, token: &str) -> Result<Reply, Outcome> {
        let file: File = open(&self.keys, labels::FILE, token).ok_or_else(unknown)?;
        let slot = self.exports.downloads.clone().try_acquire_owned().map_err(|_| {
            Outcome::new(
                StatusCode::TOO_MANY_REQUESTS,
                "throttled",
                "too many files are being downloaded: wait for one",
            )
            .with(header::RETRY_AFTER, http::HeaderValue::from_static("5"))
        })?;
        let mut reading = Reading::new(self.domain.session(), &file)?;
        // The first part is made before the head is sent: what fails at once is told properly.
        let first = reading.next().await?;
        let (to, mut parts) = mpsc::channel::<Result<Bytes, std::io::Error>>(1);
        tokio::spawn(send(reading, first, to, slot));
        let stream = futures_util::stream::poll_fn(move |cx| parts.poll_recv(cx));
        let content = Content::Stream(Body::from_stream(stream), NDJSON);
        Ok(Reply { status: StatusCode::OK, headers: Default::default(), content })
    }
}

/// Sends a file's parts while the next is opened. A failure ends the connection, so that nobody takes a part
/// for the whole.
async fn send(
    mut reading: Reading,
    first: Option<Vec<Hit>>,
    to: mpsc::Sender<Result<Bytes, std::io::Error>>,
    _slot: OwnedSemaphorePermit,
) {
    let mut part = first;
    while let Some(hits) = part {
        let mut lines = Vec::new();
        for hit in hits {
            line(&hit, &mut lines);
        }
        if to.send(Ok(lines.into())).await.is_err() {
            return;
        }
        part = match reading.next().await {
            Ok(next) => next,
            Err(error) => {
                tracing::warn!(%error, "a bulk download was cut off");
                let _ = to.send(Err(std::io::Error::other("the export was cut off"))).await;
                return;
            }
        };
    }
}

/// One line of NDJSON: the resource as it was stored, unless it was stored over several lines.
fn line(hit: &Hit, out: &mut Vec<u8>) {
    if hit.bytes.iter().any(|b| *b == b'\n' || *b == b'\r') {
        out.extend_from_slice(hit.json.to_string().as_bytes());
    } else {
        out.extend_from_slice(&hit.bytes);
    }
    out.push(b'\n');
}

/// A stretch of the store being read.
struct Reading {
    session: Arc<Session>,
    walk: Walk,
    until: Option<RecordId>,
    since: Option<OffsetDateTime>,
}

impl Reading {
    fn new(session: Arc<Session>, file: &File) -> Result<Self, AskError> {
        let from = file.from.as_ref().and_then(|f| hex::decode(f).ok());
        let until = file.until.as_ref().and_then(|u| hex::decode(u).ok()).and_then(|b| b.try_into().ok()).map(RecordId);
        let walk = session.walk(&file.kind, from)?;
        Ok(Self { session, walk, until, since: file.since.as_deref().and_then(clock::parse) })
    }

    async fn next(&mut self) -> Result<Option<Vec<Hit>>, AskError> {
        let stretch = self.session.stretch(&mut self.walk, STRETCH, self.until).await?;
        Ok(stretch.map(|s| fresh(s.hits, self.since)))
    }
}

/// What changed since; what does not say when it did, is kept.
fn fresh(hits: Vec<Hit>, since: Option<OffsetDateTime>) -> Vec<Hit> {
    let Some(since) = since else { return hits };
    hits.into_iter().filter(|h| last_updated(&h.json).is_none_or(|at| at >= since)).collect()
}

/// Goes through everything once: which files there are, and what each holds.
async fn count(
    session: &Session,
    order: &Order,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Vec<(File, u64)>, AskError> {
    let since = order.since.as_deref().and_then(clock::parse);
    let (mut files, mut seen) = (Vec::new(), Progress::default());
    for kind in &order.types {
        let mut walk = session.walk(kind, None)?;
        let new = |from: Option<String>| File { kind: kind.clone(), from, until: None, since: order.since.clone() };
        let (mut file, mut held, mut stretches) = (new(None), 0, 0);
        while let Some(stretch) = session.stretch(&mut walk, STRETCH, None).await? {
            held += fresh(stretch.hits, since).len() as u64;
            stretches += 1;
            if stretches == STRETCHES && stretch.next.is_some() {
                file.until = stretch.last.map(|id| hex::encode(id.0));
                let full = std::mem::replace(&mut file, new(stretch.next.map(hex::encode)));
                seen.resources += held;
                files.push((full, held));
                (held, stretches) = (0, 0);
                progress(seen.clone());
            }
        }
        files.push((file, held));
        seen.resources += held;
        seen.types += 1;
        progress(seen.clone());
    }
    files.retain(|(_, held)| *held > 0);
    Ok(files)
}
