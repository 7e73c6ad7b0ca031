//! Everyone in the demonstration: authority, servers, hospitals, patients, a clinician.

use std::{
    ffi::OsStr,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use indicatif::MultiProgress;
use sealdex_client::{
    GrantRequest, Patient, Session, Wallet,
    ceremony::LedgerChange,
    owner,
    session::{DEFAULT_PURPOSE, MOST_OPENED},
};
use sealdex_dataset::Manifest as DataManifest;
use sealdex_fhir::{Mapping, total_bytes};
use sealdex_gateway::GatewayConfig;
use sealdex_net::{Listen, clock::now_s};
use sealdex_provider::{Manifest, Progress, PushSettings};
use sealdex_wire::{
    consent::ANY_PURPOSE,
    ingest::CloudStats,
    roster::{Proofs, Role},
};
use serde_json::Value as Json;
use tokio::signal::unix::{SignalKind, signal};

use super::{
    report::Ingest,
    servers::{Server, free_port, peak_mb},
};
use crate::{
    domain::{Authority, Founding, init},
    failure::Failure,
    key_options::KeyOptions,
    output::table,
    owners::{enrol_patients, patients_in, save_wallet},
    places::{AuthorityDir, Member},
    push::{bar, follow, push_provider},
    witness::keygen,
};

/// Who asks.
pub(super) const CLINICIAN: &str = "dr-lindqvist";
/// Who is in the ward.
pub(super) const NURSES: [&str; 2] = ["nurse-okafor", "nurse-haddad"];
/// Witnesses of the domain's logs, and how many of them it takes.
const WITNESSES: u16 = 3;
const QUORUM: u32 = 2;
/// Hospitals that push at the same time.
const AT_ONCE: usize = 2;

/// A hospital and what it brings.
struct Hospital {
    name: String,
    dir: PathBuf,
    records: PathBuf,
    member: Member,
}

/// Everyone.
pub(super) struct World {
    home: PathBuf,
    authority: Authority,
    /// The gate, or its nodes, with their ports.
    gates: Vec<(Option<Server>, u16)>,
    cloud: Server,
    witnesses: Vec<Server>,
    hospitals: Vec<Hospital>,
    mapping: Option<Mapping>,
    wallet: Wallet,
    clinician: Member,
    nurses: [Member; 2],
    /// The clinician's session.
    pub(super) session: Session,
}

/// When the program is asked to end.
fn interrupted() -> Result<impl Future<Output = ()>, Failure> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// One hospital per sub-folder.
fn hospitals_in(data: &Path) -> Result<Vec<(String, PathBuf)>, Failure> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(data).map_err(|e| Failure::new(format!("{}: {e}", data.display())))?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() && !name.starts_with('.') {
            found.push((name, path));
        }
    }
    if found.is_empty() {
        return Err(Failure::new(format!(
            "{} has no sub-folders; the demonstration takes one per hospital",
            data.display()
        )));
    }
    found.sort();
    Ok(found)
}

/// Starts the gate, or a node of it.
async fn serve_gate(home: &Path, number: u16, shared: bool, port: u16) -> Result<Server, Failure> {
    let dir = AuthorityDir(home.join("domain"));
    let name = if shared { format!("gate-{number}") } else { "gate".to_owned() };
    let (key, store) = (if shared { dir.node(number) } else { dir.gate() }, home.join(format!("{name}.redb")));
    let arguments: [&OsStr; 6] =
        ["serve".as_ref(), "gate".as_ref(), "--keys".as_ref(), key.as_ref(), "--store".as_ref(), store.as_ref()];
    Server::start(&arguments, port, &home.join(format!("{name}.log"))).await
}

impl World {
    /// Founds the domain, starts the servers, enrols hospitals and clinician.
    pub(super) async fn found(
        home: &Path,
        data: &Path,
        schema: &str,
        mapping: Option<Mapping>,
        sharing: Option<(u16, u16)>,
        log: bool,
    ) -> Result<Self, Failure> {
        let keys = KeyOptions::plain();
        let named = hospitals_in(data)?;
        let nodes = sharing.map_or(1, |(nodes, _)| nodes);
        let ports: Vec<u16> = (0..nodes).map(|_| free_port()).collect::<Result<_, _>>()?;
        let cloud_port = free_port()?;
        let dir = AuthorityDir(home.join("domain"));
        let url = |port| format!("http://127.0.0.1:{port}");
        let urls: Vec<String> = ports.iter().copied().map(url).collect();
        let threshold = sharing.map(|(_, threshold)| threshold);
        let founding = Founding { name: "demo", gate_urls: &urls, threshold, cloud_url: &url(cloud_port), log };
        init(&dir, &founding, schema, &keys)?;
        let (cloud_data, cloud_key) = (home.join("cloud"), dir.cloud());
        let arguments: [&OsStr; 6] = [
            "serve".as_ref(),
            "cloud".as_ref(),
            "--keys".as_ref(),
            cloud_key.as_ref(),
            "--dir".as_ref(),
            cloud_data.as_ref(),
        ];
        let cloud = Server::start(&arguments, cloud_port, &home.join("cloud.log")).await?;
        let mut gates = Vec::new();
        for (number, port) in (1..).zip(ports) {
            gates.push((Some(serve_gate(home, number, sharing.is_some(), port).await?), port));
        }
        let mut watched = Vec::new();
        for n in (1..=WITNESSES).filter(|_| log) {
            let (port, key) = (free_port()?, home.join(format!("witness-{n}.key")));
            let verifier = keygen(&format!("demo.example/witness-{n}"), &key, &keys)?;
            watched.push((verifier, port, key));
        }
        let place = |kind: &str, name: &str| home.join(kind).join(name);
        let mut members: Vec<_> =
            named.iter().map(|(n, _)| (n.clone(), Role::Provider, place("providers", n))).collect();
        for user in [CLINICIAN].into_iter().chain(NURSES) {
            members.push((user.into(), Role::User, place("users", user)));
        }
        let mut authority = Authority::open(dir, &keys, None)?;
        let mut witnesses = Vec::new();
        for (n, (_, port, key)) in (1..).zip(&watched) {
            let (memory, pack) = (home.join(format!("witness-{n}")), authority.dir.pack());
            let arguments: [&OsStr; 8] = [
                "witness".as_ref(),
                "serve".as_ref(),
                "--keys".as_ref(),
                key.as_ref(),
                "--dir".as_ref(),
                memory.as_ref(),
                "--domain".as_ref(),
                pack.as_ref(),
            ];
            witnesses.push(Server::start(&arguments, *port, &home.join(format!("witness-{n}.log"))).await?);
        }
        let with = watched.into_iter().map(|(key, port, _)| (key, url(port))).collect();
        // The clinician may read everything, so nothing is learnt from seeing every match.
        let (quorum, proofs) = (Some(QUORUM), Some(Proofs::Member));
        if log {
            authority.ceremony.set_ledger(LedgerChange { with, quorum, proofs, ..LedgerChange::default() })?;
        }
        let authority = authority.enrol(&members, &keys).await?;
        let mut hospitals = Vec::new();
        for (name, records) in named {
            let dir = place("providers", &name);
            let member = Member::open_dir(&dir, &keys, None).await?;
            hospitals.push(Hospital { name, dir, records, member });
        }
        let clinician = Member::open_dir(&place("users", CLINICIAN), &keys, None).await?;
        let nurses = [
            Member::open_dir(&place("users", NURSES[0]), &keys, None).await?,
            Member::open_dir(&place("users", NURSES[1]), &keys, None).await?,
        ];
        let session = Session::new(&clinician.http, &clinician.keys, clinician.trusted.clone())?;
        let wallet = Wallet::new("demo", clinician.keys.secrets.authority);
        Ok(Self {
            home: home.into(),
            authority,
            gates,
            cloud,
            witnesses,
            hospitals,
            mapping,
            wallet,
            clinician,
            nurses,
            session,
        })
    }

    /// The clinician, believing the cloud.
    pub(super) fn unverified(&self) -> Result<Session, Failure> {
        let Member { http, keys, trusted, .. } = &self.clinician;
        Ok(Session::new(http, keys, trusted.clone())?.unverified())
    }

    /// Says who there is.
    pub(super) fn introduce(&self, made: Option<&DataManifest>) {
        let roster = &self.authority.ceremony.roster;
        let mut t = table(&["party", "who", "holds"]);
        t.add_row(["authority", "an offline ceremony", "the domain's master scalar; no records, no running server"]);
        t.add_row(["cloud", &roster.clouds[0].url, "sealed records, 16-byte terms; no key to any of it"]);
        for gate in &roster.gates {
            match gate.node {
                None => t.add_row(["gate", &gate.url, "scalars it multiplies with; no record, no reading key"]),
                Some(node) => {
                    let holds = "a share of every scalar, of no use without the others'; no record, no reading key";
                    t.add_row([&format!("node {node} of the gate"), gate.url.as_str(), holds])
                }
            };
        }
        for h in &self.hospitals {
            t.add_row(["hospital", &h.name, &h.records.display().to_string()]);
        }
        for witness in roster.ledger.iter().flat_map(|l| &l.witnesses) {
            t.add_row(["witness", witness.url.as_str(), "what the logs showed it; no record, no name"]);
        }
        t.add_row(["clinician", CLINICIAN, "own key; reads what patients grant"]);
        println!("{t}");
        if let Some(made) = made {
            println!(
                "The records are generated: {} patients who do not exist, {} records.",
                made.patients, made.resources
            );
        }
    }

    /// Every patient in the records gets keys, admits the hospitals that know them, and grants the
    /// clinician everything.
    pub(super) async fn consent(&mut self) -> Result<(), Failure> {
        let started = Instant::now();
        let mut published = 0;
        for h in &self.hospitals {
            let patients = patients_in(&[h.records.clone().into()], self.mapping.as_ref(), &h.member.trusted)?;
            published +=
                enrol_patients(&mut self.wallet, &patients, &h.member, &h.dir.join("owners.ndjson"), false).await?;
        }
        save_wallet(&self.home.join("patients.key"), &self.wallet, &KeyOptions::plain())?;
        let sections: Vec<String> = self.session.trusted().schema.patient_sections().map(|s| s.name.clone()).collect();
        let reader = self.clinician.keys.identity.public();
        let now = now_s();
        // Everything: sections of labelled records, where there are some, too.
        let owners: Vec<(owner::Owner, Vec<&String>)> =
            self.wallet.owners.values().map(|e| (e.owner(), e.sections.keys().collect())).collect();
        let mut granted = 0;
        for part in owners.chunks(4096) {
            let requests: Vec<_> = part
                .iter()
                .flat_map(|(owner, sections)| {
                    sections.iter().map(move |section| {
                        let request = GrantRequest {
                            domain: "demo",
                            reader,
                            section,
                            epoch: 0,
                            purpose: ANY_PURPOSE,
                            not_before: now.saturating_sub(60),
                            not_after: now + 86_400,
                            limits: Default::default(),
                        };
                        (owner, request)
                    })
                })
                .collect();
            // Signed by the owners; carried by a member, as a hospital's front desk would.
            granted += owner::grant_all(&self.clinician.gate, &requests).await?;
        }
        granted += self.hospitals_consent(now).await?;
        println!(
            "{} patients, each with a key for every one of {} sections: {}",
            owners.len(),
            sections.len(),
            sections.join(", ")
        );
        println!(
            "{published} signed profiles and {granted} signed grants in {:.1} s.",
            started.elapsed().as_secs_f64()
        );
        Ok(())
    }

    /// Hospitals grant the clinician what is theirs: records that name no patient.
    async fn hospitals_consent(&self, now: u64) -> Result<u64, Failure> {
        let sections: Vec<String> = self.session.trusted().schema.provider_sections().map(|s| s.name.clone()).collect();
        let owners: Vec<_> =
            self.hospitals.iter().map(|h| owner::Owner::from_seed(&h.member.keys.secrets.seed)).collect();
        let request = |section| GrantRequest {
            domain: "demo",
            reader: self.clinician.keys.identity.public(),
            section,
            epoch: 0,
            purpose: ANY_PURPOSE,
            not_before: now.saturating_sub(60),
            not_after: now + 86_400,
            limits: Default::default(),
        };
        let all: Vec<_> = owners.iter().flat_map(|o| sections.iter().map(move |s| (o, request(s)))).collect();
        Ok(owner::grant_all(&self.clinician.gate, &all).await?)
    }

    /// All hospitals push, some at once.
    pub(super) async fn push(&self) -> Result<Ingest, Failure> {
        let started = Instant::now();
        let bars = MultiProgress::new();
        let slots = tokio::sync::Semaphore::new(AT_ONCE);
        let pushes = self.hospitals.iter().map(|h| self.push_one(h, &bars, &slots));
        let mut t = table(&["hospital", "records", "batches", "sent", "rejected", "seconds", "records/s"]);
        let mut resources = 0;
        let reports = futures_util::future::join_all(pushes).await;
        let seconds = started.elapsed().as_secs_f64();
        for (h, report) in self.hospitals.iter().zip(reports) {
            let r = report?;
            resources += r.pushed;
            let s = r.elapsed.as_secs_f64();
            let sent = format!("{:.1} MB", r.bytes_sent as f64 / 1e6);
            let rate = format!("{:.0}", r.pushed as f64 / s.max(1e-9));
            t.add_row([
                h.name.clone(),
                r.pushed.to_string(),
                r.batches.to_string(),
                sent,
                r.rejected.to_string(),
                format!("{s:.2}"),
                rate,
            ]);
            for reject in &r.first_rejects {
                println!("rejected: {reject}");
            }
        }
        println!("{t}");
        println!(
            "{resources} records sealed, pushed, durable and searchable in {seconds:.2} s: {:.0} records/s with all roles on this machine",
            resources as f64 / seconds
        );
        Ok(Ingest { resources, seconds })
    }

    async fn push_one(
        &self,
        h: &Hospital,
        bars: &MultiProgress,
        slots: &tokio::sync::Semaphore,
    ) -> Result<sealdex_provider::PushReport, Failure> {
        let _slot = slots.acquire().await?;
        let manifest = Manifest::read(&h.dir)?;
        let progress = Arc::new(Progress::default());
        let bar = bars.add(bar(total_bytes(&h.records)?, &h.name));
        let following = follow(bar.clone(), progress.clone());
        let settings = PushSettings { rejects: Some(manifest.rejects.clone()), ..PushSettings::default() };
        let report = push_provider(
            &h.member,
            &manifest,
            vec![h.records.clone().into()],
            self.mapping.clone(),
            settings,
            progress,
        )
        .await;
        following.abort();
        bar.finish_and_clear();
        report
    }

    /// Numbers, and one record as it is stored.
    pub(super) async fn show_cloud(&self) -> Result<(), Failure> {
        let cloud = self.authority.cloud()?;
        let s: CloudStats = cloud.get_json("/v1/stats").await?;
        println!(
            "{} sealed records, {:.1} MB, and an index of {:.1} MB. One record, whole:",
            s.records,
            s.sealed_bytes as f64 / 1e6,
            s.index_bytes as f64 / 1e6
        );
        let excerpt: Json = cloud.get_json("/v1/excerpt?n=1").await?;
        let text = serde_json::to_string_pretty(&excerpt)?;
        for line in text.lines().take(40) {
            println!("   {}", line.chars().take(110).collect::<String>());
        }
        Ok(())
    }

    fn owner(&self, patient: &str) -> Result<owner::Owner, Failure> {
        let entry = self.wallet.owners.get(patient).ok_or_else(|| Failure::new(format!("{patient} has no keys")))?;
        Ok(entry.owner())
    }

    pub(super) fn clinician(&self) -> &Member {
        &self.clinician
    }

    pub(super) fn nurses(&self) -> [&Member; 2] {
        self.nurses.each_ref()
    }

    /// Nodes that the gate can do without.
    pub(super) fn spare_nodes(&self) -> std::ops::RangeInclusive<u16> {
        let threshold = self.authority.ceremony.roster.sharing.map_or(1, |s| s.threshold);
        1..=self.gates.len() as u16 - threshold
    }

    /// Kills a node as a power cut does.
    pub(super) async fn kill_node(&mut self, number: u16) {
        if let Some(gate) = self.gates.get_mut(usize::from(number) - 1).and_then(|(gate, _)| gate.take()) {
            gate.kill().await;
        }
    }

    /// Starts the nodes that were killed, and waits until all are level with the others.
    pub(super) async fn start_nodes(&mut self) -> Result<(), Failure> {
        for (number, (gate, port)) in (1..).zip(&mut self.gates) {
            if gate.is_none() {
                *gate = Some(serve_gate(&self.home, number, true, *port).await?);
            }
        }
        for gate in &self.authority.ceremony.roster.gates {
            let peer = self.authority.peer(gate)?;
            while peer.call(http::Method::GET, "/readyz", sealdex_net::reply::JSON, Default::default()).await?.as_ref()
                != b"ready\n"
            {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
        // Nodes that did not answer are passed over for a while: a new session asks all of them.
        let clinician = &self.clinician;
        self.session = Session::new(&clinician.http, &clinician.keys, clinician.trusted.clone())?;
        Ok(())
    }

    /// A patient, connected to the gate.
    pub(super) fn patient(&self, label: &str) -> Result<Patient, Failure> {
        let entry = self.wallet.owners.get(label).ok_or_else(|| Failure::new(format!("{label} has no keys")))?;
        let (trusted, http) = (self.clinician.trusted.clone(), &self.clinician.http);
        Ok(Patient::new(label, entry.clone(), trusted, http)?)
    }

    /// A patient takes a section back. Milliseconds until the gate acknowledged.
    pub(super) async fn revoke(&self, patient: &str, section: &str) -> Result<f64, Failure> {
        let revocation = self.owner(patient)?.revocation("demo", self.clinician.keys.identity.id(), Some(section));
        let started = Instant::now();
        owner::revoke_all(&self.clinician.gate, vec![revocation]).await?;
        Ok(started.elapsed().as_secs_f64() * 1e3)
    }

    /// A patient grants a section.
    pub(super) async fn grant(&self, patient: &str, section: &str) -> Result<(), Failure> {
        let owner = self.owner(patient)?;
        let request = GrantRequest {
            domain: "demo",
            reader: self.clinician.keys.identity.public(),
            section,
            epoch: 0,
            purpose: ANY_PURPOSE,
            not_before: now_s().saturating_sub(60),
            not_after: now_s() + 86_400,
            limits: Default::default(),
        };
        owner::grant_all(&self.clinician.gate, &[(&owner, request)]).await?;
        Ok(())
    }

    /// Largest memory of each process so far.
    pub(super) fn memory(&self) {
        let text = |mb: Option<f64>| mb.map_or_else(|| "unknown here".into(), |m| format!("{m:.0} MB"));
        println!(
            "Largest memory: cloud {}, gate {}, everyone else (the hospitals' pushes, patients, clinician in one process) {}",
            text(self.cloud.peak_mb()),
            text(self.gates.iter().filter_map(|(gate, _)| gate.as_ref()?.peak_mb()).max_by(f64::total_cmp)),
            text(peak_mb("self"))
        );
    }

    /// Serves FHIR with the clinician's key until interrupted.
    pub(super) async fn serve_gateway(&self, addr: SocketAddr) -> Result<(), Failure> {
        let Member { keys, trusted, http, .. } =
            Member::open_dir(&self.home.join("users").join(CLINICIAN), &KeyOptions::plain(), None).await?;
        let (purpose, most_opened) = (DEFAULT_PURPOSE.to_owned(), MOST_OPENED);
        let member = sealdex_gateway::Member { keys, trusted, http, purpose, most_opened };
        let config =
            GatewayConfig { listen: Listen { addr, tls: None, insecure: false }, ..GatewayConfig::loopback(member, 0) };
        let (ready, bound) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            if let Ok(addr) = bound.await {
                println!(
                    "{CLINICIAN}'s gateway is at http://{addr}/fhir; every program on this machine may ask it now. Try:"
                );
                println!("  curl 'http://{addr}/fhir/metadata'");
                println!(
                    "  curl 'http://{addr}/fhir/Observation?code=4548-4&value-quantity=ge6.5&_count=5&_pretty=true'"
                );
                println!("Interrupt (Ctrl-C) to end.");
            }
        });
        Ok(sealdex_gateway::serve(config, ready, interrupted()?).await?)
    }

    /// Stops the servers.
    pub(super) async fn stop(self) {
        for (gate, _) in self.gates {
            if let Some(gate) = gate {
                gate.stop().await;
            }
        }
        self.cloud.stop().await;
        for witness in self.witnesses {
            witness.stop().await;
        }
    }
}
