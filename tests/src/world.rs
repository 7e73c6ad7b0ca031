//! A domain with hospitals, patients and readers.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use sealdex_client::{Ceremony, GrantRequest, OwnerEntry, Session, ceremony::CloudSecretsFile, owner};
use sealdex_fhir::{Corpus, Mapping, Record, Source, SourceItem};
use sealdex_lognet::DomainLog;
use sealdex_member::{DomainPack, GateLink, MEMBER_KIND, MemberKeys, Trusted, keys::write_secrets};
use sealdex_net::{Peer, peer::Http};
use sealdex_provider::{Journal, OwnerMap, Progress, PushError, PushInput, PushReport, PushSettings, push};
use sealdex_schema::{FHIR_R4, Owner as RecordOwner, Schema};
use sealdex_wire::{
    consent::Bridge,
    roster::{Role, Server},
};

use crate::servers::{Place, Servers, free_port};

/// Name of every test domain.
pub const DOMAIN: &str = "test";

/// A hospital: its folder has key, pack, manifest and owner map.
pub struct Hospital {
    /// Name in the roster.
    pub name: String,
    /// Folder of the provider.
    pub dir: PathBuf,
    /// Folder of its records.
    pub records: PathBuf,
    /// Keys.
    pub keys: MemberKeys,
}

/// Everyone.
pub struct World {
    /// Folder of everything.
    pub home: PathBuf,
    /// The servers.
    pub servers: Servers,
    /// The authority.
    pub ceremony: Ceremony,
    /// Pack of roster and schema.
    pub pack: DomainPack,
    /// Connections.
    pub http: Http,
    /// Hospitals.
    pub hospitals: Vec<Hospital>,
    /// Readers by name.
    pub readers: BTreeMap<String, MemberKeys>,
    /// Patients by reference.
    pub owners: BTreeMap<String, OwnerEntry>,
    /// Schema.
    pub schema: Schema,
    /// How tables are read.
    pub mapping: Option<Mapping>,
}

/// What records there are.
#[derive(Clone)]
pub struct Kind {
    /// The schema's text.
    pub schema: String,
    /// How tables are read, where records are rows.
    pub mapping: Option<Mapping>,
}

impl Kind {
    /// FHIR R4.
    pub fn fhir() -> Self {
        Self { schema: FHIR_R4.to_owned(), mapping: None }
    }
}

/// Generated records, a folder a hospital.
pub fn generate(home: &Path, patients: u32, providers: u32) -> PathBuf {
    let data = home.join("records");
    let settings = sealdex_dataset::Settings { patients, providers, ..Default::default() };
    sealdex_dataset::generate(&settings, &data, &mut |_| {}).unwrap();
    data
}

impl World {
    /// Founds a domain: hospitals are the sub-folders of `data`. `ports` are the addresses the roster
    /// names, when they differ from the servers' own (proxies).
    pub async fn found(
        home: &Path,
        data: &Path,
        readers: &[&str],
        place: Place,
        ports: [u16; 2],
        roster_ports: Option<[u16; 2]>,
    ) -> Self {
        let named = roster_ports.unwrap_or(ports);
        let url = |p: u16| format!("http://127.0.0.1:{p}");
        let founded = Ceremony::found(DOMAIN, &url(named[0]), &url(named[1])).unwrap();
        Self::of(home, data, readers, place, ports, founded, Kind::fhir()).await
    }

    /// As [`World::found`] for records of another kind, with or without logs.
    pub async fn of_kind(home: &Path, data: &Path, readers: &[&str], place: Place, kind: Kind, logged: bool) -> Self {
        let ports = [free_port(), free_port()];
        let [gate, cloud] = ports.map(|p| format!("http://127.0.0.1:{p}"));
        let (mut ceremony, keys) = Ceremony::found(DOMAIN, &gate, &cloud).unwrap();
        if !logged {
            ceremony.roster.ledger = None;
        }
        Self::of(home, data, readers, place, ports, (ceremony, keys), kind).await
    }

    /// A domain without logs over generated records.
    pub async fn unlogged(home: &Path, patients: u32, providers: u32, readers: &[&str], place: Place) -> Self {
        let data = generate(home, patients, providers);
        Self::of_kind(home, &data, readers, place, Kind::fhir(), false).await
    }

    async fn of(
        home: &Path,
        data: &Path,
        readers: &[&str],
        place: Place,
        ports: [u16; 2],
        (ceremony, cloud): (Ceremony, CloudSecretsFile),
        kind: Kind,
    ) -> Self {
        let servers = Servers::start(place, home, (ports[0], ports[1]), &ceremony.keys.gate, &cloud).await;
        Self::enrolled(home, data, readers, ceremony, servers, kind).await
    }

    /// A domain whose gate has `nodes` nodes, `threshold` of which must agree, over generated records.
    pub async fn shared(
        home: &Path,
        patients: u32,
        providers: u32,
        readers: &[&str],
        place: Place,
        (nodes, threshold): (u16, u16),
    ) -> Self {
        let data = generate(home, patients, providers);
        let url = |p: u16| format!("http://127.0.0.1:{p}");
        let (ports, cloud_port): (Vec<u16>, u16) = ((0..nodes).map(|_| free_port()).collect(), free_port());
        let urls: Vec<String> = ports.iter().copied().map(url).collect();
        let (ceremony, files, cloud) = Ceremony::found_shared(DOMAIN, &urls, threshold, &url(cloud_port)).unwrap();
        let mut servers = Servers::start(place, home, (ports[0], cloud_port), &files[0], &cloud).await;
        for (file, port) in files.iter().zip(&ports).skip(1) {
            servers.add_node(file, *port).await;
        }
        Self::enrolled(home, &data, readers, ceremony, servers, Kind::fhir()).await
    }

    async fn enrolled(
        home: &Path,
        data: &Path,
        readers: &[&str],
        mut ceremony: Ceremony,
        servers: Servers,
        kind: Kind,
    ) -> Self {
        let mut names: Vec<String> = std::fs::read_dir(data)
            .unwrap()
            .map(|e| e.unwrap())
            .filter(|e| e.path().is_dir())
            .map(|e| e.file_name().into_string().unwrap())
            .collect();
        names.sort();
        let mut bridges = Vec::new();
        let mut enrol = |name: &str, role| {
            let (secrets, bridge) = ceremony.enrol(name, role).unwrap();
            bridges.push(bridge);
            secrets
        };
        let providers: Vec<_> = names.iter().map(|n| enrol(n, Role::Provider)).collect();
        let users: Vec<_> = readers.iter().map(|n| enrol(n, Role::User)).collect();
        let pack = ceremony.pack(&kind.schema);
        let hospitals = names.iter().zip(providers).map(|(name, secrets)| {
            let dir = home.join("providers").join(name);
            write_secrets(&dir.join("member.key"), MEMBER_KIND, &secrets, None).unwrap();
            std::fs::write(dir.join("domain.json"), serde_json::to_vec(&pack).unwrap()).unwrap();
            std::fs::write(dir.join("provider.toml"), format!("name = \"{name}\"\n")).unwrap();
            Hospital { name: name.clone(), dir, records: data.join(name), keys: MemberKeys::new(secrets) }
        });
        let hospitals: Vec<Hospital> = hospitals.collect();
        let readers = readers.iter().map(|n| (*n).to_owned()).zip(users.into_iter().map(MemberKeys::new)).collect();
        let world = Self {
            home: home.into(),
            servers,
            pack,
            http: Http::new(None).unwrap(),
            hospitals,
            readers,
            owners: BTreeMap::new(),
            schema: Schema::parse(&kind.schema).unwrap(),
            mapping: kind.mapping,
            ceremony,
        };
        world.announce(bridges).await;
        world.directories().await;
        world
    }

    /// Sends the roster to all servers.
    pub async fn announce(&self, bridges: Vec<Bridge>) {
        let gates: Vec<Peer> = self.ceremony.roster.gates.iter().map(|g| self.authority(g)).collect();
        let cloud = self.authority(&self.ceremony.roster.clouds[0]);
        self.ceremony.announce(&gates, &cloud, bridges).await.unwrap();
    }

    /// A domain with in-process servers over generated records.
    pub async fn generated(home: &Path, patients: u32, providers: u32, readers: &[&str], place: Place) -> Self {
        let data = generate(home, patients, providers);
        Self::found(home, &data, readers, place, [free_port(), free_port()], None).await
    }

    /// A server, called by the authority.
    pub fn authority(&self, server: &Server) -> Peer {
        Peer::new(self.http.clone(), &server.url, DOMAIN, server.id, Some(self.ceremony.identity())).unwrap()
    }

    /// Roster and schema.
    pub fn trusted(&self) -> Trusted {
        self.pack.verify(DOMAIN, &self.ceremony.roster.authority).unwrap()
    }

    /// The gate, called by a member.
    pub fn gate(&self, keys: &MemberKeys) -> GateLink {
        self.trusted().gate(&self.http, keys).unwrap()
    }

    /// A reader's folder, as `domain enrol` would have written it.
    pub fn reader_dir(&self, reader: &str) -> PathBuf {
        let dir = self.home.join("users").join(reader);
        write_secrets(&dir.join("member.key"), MEMBER_KIND, &self.readers[reader].secrets, None).unwrap();
        std::fs::write(dir.join("domain.json"), serde_json::to_vec(&self.pack).unwrap()).unwrap();
        dir
    }

    /// A reader's session.
    pub fn session(&self, reader: &str) -> Session {
        Session::new(&self.http, &self.readers[reader], self.trusted()).unwrap()
    }

    async fn directories(&self) {
        for h in &self.hospitals {
            let (own, gate) = (owner::Owner::from_seed(&h.keys.secrets.seed), self.gate(&h.keys));
            let sections: Vec<(String, u32)> = self.schema.provider_sections().map(|s| (s.name.clone(), 0)).collect();
            owner::publish(&gate, vec![own.profile(DOMAIN, 1, &sections, &[own.id()])]).await.unwrap();
            for section in self.schema.directory_sections() {
                let request = self.request(self.trusted().everyone, &section.name, "any");
                owner::grant_all(&gate, &[(&own, request)]).await.unwrap();
            }
        }
    }

    /// A grant that holds for ever.
    pub fn request<'a>(
        &self,
        reader: sealdex_crypto::PublicIdentity,
        section: &'a str,
        purpose: &'a str,
    ) -> GrantRequest<'a> {
        GrantRequest {
            domain: DOMAIN,
            reader,
            section,
            epoch: 0,
            purpose,
            not_before: 0,
            not_after: u64::from(u32::MAX),
            limits: Default::default(),
        }
    }

    /// All records of a hospital.
    pub fn records(&self, hospital: &Hospital) -> Vec<Record> {
        let record = |item| match item {
            SourceItem::Record(raw) => Some(Record::parse(raw).unwrap()),
            _ => None,
        };
        Source::open(&hospital.records, self.mapping.as_ref()).unwrap().filter_map(record).collect()
    }

    /// Every patient gets keys and admits the hospitals that know them; owner maps are written.
    pub async fn enrol_patients(&mut self) {
        let sections: Vec<String> = self.schema.patient_sections().map(|s| s.name.clone()).collect();
        for h in &self.hospitals {
            let patient = |r: &Record| match self.schema.owner(&r.resource_type, &r.id, &r.json) {
                Ok(RecordOwner::Patient(p)) => Some(p),
                _ => None,
            };
            let mut map = OwnerMap::default();
            for p in self.records(h).iter().filter_map(patient).collect::<BTreeSet<_>>() {
                let entry = self.owners.entry(p.clone()).or_insert_with(OwnerEntry::random);
                entry.admit(h.keys.identity.id(), &sections);
                map.insert(p, entry.owner().id());
            }
            map.write(&h.dir.join("owners.ndjson")).unwrap();
        }
        let profiles = self.owners.values_mut().map(|e| e.next_profile(DOMAIN)).collect();
        let gate = self.gate(&self.hospitals[0].keys);
        owner::publish(&gate, profiles).await.unwrap();
    }

    /// Every patient grants a reader these sections.
    pub async fn grant(&self, reader: &str, sections: &[String], purpose: &str) -> u64 {
        let keys = &self.readers[reader];
        let owners: Vec<owner::Owner> = self.owners.values().map(OwnerEntry::owner).collect();
        let request = |section| self.request(keys.identity.public(), section, purpose);
        let all: Vec<_> = owners.iter().flat_map(|o| sections.iter().map(move |s| (o, request(s)))).collect();
        owner::grant_all(&self.gate(keys), &all).await.unwrap()
    }

    /// Every patient, and every hospital for what names no patient, grants a reader everything.
    pub async fn grant_everything(&self, reader: &str) -> u64 {
        let sections: Vec<String> = self.schema.patient_sections().map(|s| s.name.clone()).collect();
        let own: Vec<String> = self.schema.provider_sections().map(|s| s.name.clone()).collect();
        let identity = self.readers[reader].identity.public();
        for h in &self.hospitals {
            let owner = owner::Owner::from_seed(&h.keys.secrets.seed);
            let grants: Vec<_> = own.iter().map(|s| (&owner, self.request(identity, s, "any"))).collect();
            owner::grant_all(&self.gate(&h.keys), &grants).await.unwrap();
        }
        self.grant(reader, &sections, "any").await
    }

    /// A hospital pushes its records.
    ///
    /// # Errors
    /// Whatever stops the job.
    pub async fn push(&self, hospital: &Hospital) -> Result<PushReport, PushError> {
        self.push_logged(hospital, None).await
    }

    /// As [`World::push`], and looks whether the log has it.
    ///
    /// # Errors
    /// Whatever stops the job.
    pub async fn push_logged(&self, hospital: &Hospital, log: Option<DomainLog>) -> Result<PushReport, PushError> {
        let trusted = self.trusted();
        let input = PushInput {
            keys: &hospital.keys,
            trusted: &trusted,
            gate: self.gate(&hospital.keys),
            cloud: trusted.cloud(&self.http, Some(&hospital.keys)).unwrap(),
            owners: OwnerMap::read(&hospital.dir.join("owners.ndjson")).unwrap(),
            log,
            journal: Journal::open(&hospital.dir.join("push.state/journal.redb"))?,
            sources: vec![hospital.records.clone().into()],
            mapping: self.mapping.clone(),
            settings: PushSettings { rejects: Some(hospital.dir.join("rejects.ndjson")), ..PushSettings::default() },
            progress: Arc::new(Progress::default()),
        };
        push(input).await
    }

    /// All hospitals push, and nothing is rejected. Number of records.
    pub async fn push_all(&self) -> u64 {
        let mut pushed = 0;
        for h in &self.hospitals {
            let report = self.push(h).await.unwrap();
            assert_eq!(report.rejected, 0, "{:?}", report.first_rejects);
            pushed += report.pushed;
        }
        pushed
    }

    /// As [`World::push_all`], all hospitals at once.
    pub async fn push_at_once(&self) -> u64 {
        let pushes = self.hospitals.iter().map(|h| async move {
            let report = self.push(h).await.unwrap();
            assert_eq!(report.rejected, 0, "{:?}", report.first_rejects);
            report.pushed
        });
        futures_util::future::join_all(pushes).await.into_iter().sum()
    }

    /// Everything in plaintext, to compare answers with.
    pub fn corpus(&self) -> Corpus {
        let mut corpus = Corpus::default();
        for h in &self.hospitals {
            for r in self.records(h) {
                corpus.add(r, &h.name);
            }
        }
        corpus
    }
}
