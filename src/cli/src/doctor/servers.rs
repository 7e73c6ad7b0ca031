//! What servers say of themselves: `/readyz`, `Date`, `/metrics`, the log's checkpoint.

use std::{collections::HashMap, path::Path, time::Duration};

use bytes::Bytes;
use http::{Request, Response, header::DATE};
use sealdex_lognet::{
    client::LogClient,
    domain::{Which, policy},
};
use sealdex_net::{Retry, clock::now_s, exchange::usable, peer::Http, tls::server_expiry};
use sealdex_wire::roster::{Ledger, Roster};
use time::{PrimitiveDateTime, macros::format_description};

use super::{Findings, Level, files};

const PATIENCE: Duration = Duration::from_secs(10);
/// Longest answer read.
const MOST: usize = 4 << 20;
/// Clock differences: worth a warning; and refused by every server, seconds.
const CLOCKS: [u64; 2] = [10, 120];
/// Hours since a store was looked through; a server does so daily.
const UNCHECKED: f64 = 72.0;
/// Batches the search index may be behind.
const LAG: f64 = 64.0;

/// What a server says of itself in its metrics.
#[derive(Default)]
struct Metrics(HashMap<String, f64>);

impl Metrics {
    fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|l| !l.starts_with('#'));
        Self(
            lines
                .filter_map(|l| l.rsplit_once(' '))
                .filter_map(|(k, v)| Some((k.to_owned(), v.parse().ok()?)))
                .collect(),
        )
    }

    fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// Of the first with these labels, as they are written.
    fn labelled(&self, name: &str, label: &str) -> Option<f64> {
        self.0.iter().find(|(k, _)| k.starts_with(name) && k.contains(label)).map(|(_, v)| *v)
    }

    /// The value of a label.
    fn label(&self, name: &str, label: &str) -> Option<String> {
        let (key, _) = self.0.iter().find(|(k, _)| k.starts_with(name))?;
        let (_, rest) = key.split_once(&format!("{label}=\""))?;
        Some(rest.split('"').next()?.to_owned())
    }
}

async fn get(http: &Http, url: &str, path: &str) -> Result<Response<Bytes>, String> {
    let request = Request::get(format!("{url}{path}")).body(Bytes::new()).map_err(|e| e.to_string())?;
    http.send(request, MOST, PATIENCE).await.map_err(|e| e.to_string())
}

/// The servers of a roster, and its log.
pub(super) async fn of(http: &Http, file: &Path, roster: &Roster, ca: Option<&Path>, found: &mut Findings) {
    for server in roster.gates.iter().chain(&roster.clouds) {
        let Some(metrics) = look(http, &server.url, ca, found).await else { continue };
        let role = if roster.clouds.contains(server) { "cloud" } else { "gate" };
        let Some(version) = metrics.labelled("sealdex_roster_version", role) else { continue };
        let (version, own) = (version as u64, roster.version);
        let said = format!("its roster is version {version}, that of {} is {own}", file.display());
        let (level, advice) = match version.cmp(&own) {
            std::cmp::Ordering::Less => (Level::Wrong, "the authority sends it: sealdex domain announce"),
            std::cmp::Ordering::Equal => (Level::Ok, ""),
            // Members take over the gate's newer roster by themselves.
            std::cmp::Ordering::Greater => (Level::Warning, "the pack is an older one: get domain.json again"),
        };
        found.add(level, "roster-version", &server.url, said, advice);
    }
    if let (Some(ledger), Some(cloud)) = (&roster.ledger, roster.clouds.first()) {
        for which in [Which::Batches, Which::Acts] {
            log(http, &which.url(&cloud.url), ledger, which, found).await;
        }
    }
}

/// One server. What it says of itself, if it answers.
pub(super) async fn look(http: &Http, url: &str, ca: Option<&Path>, found: &mut Findings) -> Option<HeldMetrics> {
    let url = match usable(url) {
        Ok(url) => url,
        Err(error) => {
            found.add(Level::Wrong, "server", url, error, "give the address as the roster has it");
            return None;
        }
    };
    tls(&url, ca, found).await;
    let ready = match get(http, &url, "/readyz").await {
        Ok(ready) => ready,
        Err(error) => {
            found.add(Level::Wrong, "server", &url, error, "start it; see its log, its address, the network, --ca");
            return None;
        }
    };
    let said = String::from_utf8_lossy(ready.body()).trim().chars().take(300).collect::<String>();
    let (level, advice) = match (ready.status().as_u16(), said.as_str()) {
        (200, "ready") => (Level::Ok, ""),
        (200, s) if s.contains("damaged") => (
            Level::Wrong,
            "restore it from a backup: docs/OPERATING.md, docs/GATE.md; of a cloud, sealdex verify tells what differs",
        ),
        (200, _) => (Level::Warning, "it answers, and says what it waits for: docs/GATE.md, docs/OPERATING.md"),
        _ => (Level::Wrong, "it says what it waits for; a cloud or gate without a roster: sealdex domain announce"),
    };
    found.add(level, "ready", &url, said, advice);
    clock(&ready, &url, found);
    let metrics = match get(http, &url, "/metrics").await {
        Ok(answer) if answer.status().is_success() => Metrics::parse(&String::from_utf8_lossy(answer.body())),
        _ => {
            let advice = "let /metrics through to this machine, to have versions, lag and limits checked";
            found.add(Level::Warning, "metrics", &url, "not to be had", advice);
            return None;
        }
    };
    figures(&metrics, &url, found);
    Some(HeldMetrics(metrics))
}

/// Metrics of a server that was looked at.
pub(super) struct HeldMetrics(Metrics);

impl HeldMetrics {
    fn labelled(&self, name: &str, label: &str) -> Option<f64> {
        self.0.labelled(name, &format!("\"{label}\""))
    }
}

async fn tls(url: &str, ca: Option<&Path>, found: &mut Findings) {
    let Ok(uri) = url.parse::<http::Uri>() else { return };
    if uri.scheme_str() != Some("https") {
        return;
    }
    let (host, port) = (uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(443));
    match tokio::time::timeout(PATIENCE, server_expiry(host, port, ca)).await {
        Ok(Ok(end)) => files::ends(end, url, found),
        Ok(Err(e)) => found.add(Level::Wrong, "certificate", url, e, "renew it, or trust it by --ca"),
        Err(_) => found.add(Level::Wrong, "certificate", url, "no answer in time", "see whether it runs"),
    }
}

fn clock(answer: &Response<Bytes>, url: &str, found: &mut Findings) {
    let format =
        format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
    let date = answer.headers().get(DATE).and_then(|v| v.to_str().ok());
    let Some(at) = date.and_then(|d| PrimitiveDateTime::parse(d, format).ok()) else {
        return found.add(Level::Warning, "clock", url, "it does not tell its time", "look at its clock by hand");
    };
    let off = at.assume_utc().unix_timestamp().abs_diff(i64::try_from(now_s()).unwrap_or(i64::MAX));
    let level = match off {
        o if o >= CLOCKS[1] => Level::Wrong,
        o if o >= CLOCKS[0] => Level::Warning,
        _ => Level::Ok,
    };
    let advice = "set both clocks by NTP: a request whose time is two minutes off is refused";
    found.add(level, "clock", url, format!("{off} s from this machine's"), advice);
}

fn figures(m: &Metrics, url: &str, found: &mut Findings) {
    if let Some(version) = m.label("sealdex_build_info", "version") {
        let own = env!("CARGO_PKG_VERSION");
        let level = if version == own { Level::Ok } else { Level::Warning };
        let advice = "run one version everywhere; what changed between them is in CHANGELOG.md";
        found.add(level, "version", url, format!("{version}, this program is {own}"), advice);
    }
    if let (Some(open), Some(most)) = (m.get("sealdex_process_open_files"), m.get("sealdex_process_max_files")) {
        let level = match open / most.max(1.0) {
            share if share > 0.8 => Level::Wrong,
            _ if most < 4096.0 => Level::Warning,
            _ => Level::Ok,
        };
        found.add(
            level,
            "file-limit",
            url,
            format!("{open} of {most} files open"),
            "LimitNOFILE= in its unit, or ulimit -n",
        );
    }
    if let Some(lag) = m.get("sealdex_cloud_index_lag_batches") {
        let level = if lag > LAG { Level::Warning } else { Level::Ok };
        let advice = "wait; if it does not fall, see its log for what the index says, and its disk";
        found.add(level, "index-lag", url, format!("{lag} batches cannot be searched yet"), advice);
    }
    if let Some(free) = m.get("sealdex_cloud_disk_free_bytes").or(m.get("sealdex_gate_disk_free_bytes")) {
        let whole = m.get("sealdex_cloud_disk_bytes").or(m.get("sealdex_gate_disk_bytes"));
        let level = match whole {
            _ if free < f64::from(1 << 30) => Level::Wrong,
            Some(whole) if free < whole / 10.0 => Level::Warning,
            _ => Level::Ok,
        };
        found.add(level, "disk-space", url, format!("{:.1} GB free", free / 1e9), "make room on its machine");
    }
    for role in ["cloud", "gate"] {
        if let Some(taken) = m.get(&format!("sealdex_{role}_backup_taken_seconds")) {
            let minutes = (now_s() as f64 - taken).max(0.0) / 60.0;
            let level = if minutes > 120.0 { Level::Wrong } else { Level::Ok };
            let advice = "see its log for why backups fail";
            found.add(level, "backup", url, format!("the newest is of {minutes:.0} minutes ago"), advice);
        } else if m.label("sealdex_build_info", "role").as_deref() == Some(role) {
            let advice = "--backup-dir, or see that what backs its machine up takes a consistent state of its store";
            found.add(Level::Warning, "backup", url, "it takes none by itself, or has taken none yet", advice);
        }
        if let Some(checked) = m.get(&format!("sealdex_{role}_checked_seconds")) {
            let hours = (now_s() as f64 - checked).max(0.0) / 3600.0;
            let level = if hours > UNCHECKED { Level::Warning } else { Level::Ok };
            let advice = "its log says why looks do not come to their end; of a copy of the store: sealdex verify";
            found.add(level, "store-checked", url, format!("looked through {hours:.0} hours ago"), advice);
        }
    }
}

async fn log(http: &Http, url: &str, ledger: &Ledger, which: Which, found: &mut Findings) {
    let policy = match policy(ledger, which) {
        Ok(policy) => policy,
        Err(error) => return found.add(Level::Wrong, "log", url, error, "the authority: sealdex domain ledger"),
    };
    let fetched = match LogClient::new(http.clone(), url) {
        Ok(client) => {
            client.with_retry(Retry::NONE).with_timeout(PATIENCE).checkpoint().await.map_err(|e| e.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    let note = match fetched {
        Ok(note) => note,
        Err(error) => {
            let advice = "a log that has nothing yet is served after the first batch or act; else see the cloud's log";
            return found.add(Level::Warning, "log", url, error, advice);
        }
    };
    let verified = match policy.verify(&note) {
        Ok(verified) => verified,
        Err(error) => {
            let advice =
                "too few witnesses cosign, or another key signed: see sealdex_cloud_log_failures_total, and witnesses";
            return found.add(Level::Wrong, "log-quorum", url, error, advice);
        }
    };
    let (size, by, of) = (verified.checkpoint().size(), verified.cosignatures().len(), policy.witnesses().len());
    let said = format!("{size} entries, cosigned by {by} of {of} witnesses, {} needed", policy.quorum());
    let level = if by < of { Level::Warning } else { Level::Ok };
    found.add(level, "log-quorum", url, said, "a witness does not cosign: see whether it runs");
    if let Some(at) = verified.time() {
        let age = now_s().saturating_sub(at);
        let level = if age > ledger.max_age { Level::Wrong } else { Level::Ok };
        let said = format!("cosigned {age} s ago, {} s is the oldest that is believed", ledger.max_age);
        found.add(level, "log-age", url, said, "witnesses are away: nothing is answered until they are back");
    }
}
