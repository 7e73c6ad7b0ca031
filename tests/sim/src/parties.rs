//! A domain: its servers, hospitals, patients and readers, each with what it keeps when it dies.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use sealdex_client::{
    Ceremony, OwnerEntry, Session,
    ceremony::{CloudSecretsFile, GateSecretsFile, LedgerChange},
    owner,
};
use sealdex_cloud::{Cloud, CloudKeys, store::RedbStore as CloudStore};
use sealdex_gate::{
    Gate, GateSecrets, Running, cloud::HttpCloud, nodes::exchange::HttpLink, store::RedbStore as GateStore,
};
use sealdex_lognet::witness;
use sealdex_member::{DomainPack, GateLink, MemberKeys, Trusted};
use sealdex_net::{
    Peer, Retry,
    clock::now_ms,
    guard::{Bounds, guard},
    peer::Http,
};
use sealdex_provider::{Journal, OwnerMap, Writer, WriterInput};
use sealdex_schema::FHIR_R4;
use sealdex_tlog::note::{CosignerKey, KeyName, VerifierKey};
use sealdex_wire::{
    codec, limits,
    roster::{Proofs, Role, Server},
};
use tokio::sync::Mutex;

use crate::{chance::Chance, disk::Disk, network::Network};

/// Name of the domain.
pub const DOMAIN: &str = "simulated";
const GATE: &str = "127.0.0.1:7001";
const CLOUD: &str = "127.0.0.1:7002";
const WITNESS: &str = "127.0.0.1:7003";
/// Hospitals.
pub const PROVIDERS: usize = 2;
/// Patients.
pub const PATIENTS: usize = 3;
/// Readers.
pub const READERS: usize = 2;
/// The section everything is in.
pub const SECTION: &str = "observations";

/// How far clocks may be off, milliseconds: beyond it every signed request is refused.
pub const ACCEPTED: i64 = limits::CLOCK_SKEW_MS as i64;

/// What goes wrong while a domain is set up or taken up again.
pub type Failed = Box<dyn std::error::Error>;

/// A hospital.
pub struct Provider {
    /// Name on the network.
    pub name: String,
    /// Where its journal is.
    pub disk: Disk,
    keys: MemberKeys,
    owners: PathBuf,
    /// Its process, if it is up.
    pub writer: Mutex<Option<Arc<Writer>>>,
}

/// A patient.
pub struct Patient {
    /// Name on the network.
    pub name: String,
    /// Keys.
    pub entry: OwnerEntry,
    /// How far its clock is off, milliseconds.
    pub skew: i64,
}

/// A reader.
pub struct Reader {
    /// Name on the network.
    pub name: String,
    /// Keys.
    pub keys: MemberKeys,
    /// How far its clock is off, milliseconds.
    pub skew: i64,
    /// Its process.
    pub session: Mutex<Option<Arc<Session>>>,
}

/// Everybody.
pub struct Parties {
    /// The network between them.
    pub network: Arc<Network>,
    /// Folder of what is kept in files.
    pub home: PathBuf,
    ceremony: Ceremony,
    pack: DomainPack,
    cloud_keys: CloudSecretsFile,
    gate_keys: GateSecretsFile,
    /// The cloud's store.
    pub cloud_disk: Disk,
    /// The gate's store.
    pub gate_disk: Disk,
    cloud: Mutex<Option<Cloud>>,
    gate: Mutex<Option<Running>>,
    /// Hospitals.
    pub providers: Vec<Provider>,
    /// Patients.
    pub patients: Vec<Patient>,
    /// Readers.
    pub readers: Vec<Reader>,
}

impl Parties {
    /// Founds a domain: everybody is up, and every patient has admitted every hospital.
    pub async fn found(
        home: &Path,
        network: Arc<Network>,
        disks: &Arc<Chance>,
        workload: &Chance,
    ) -> Result<Self, Failed> {
        let (mut ceremony, cloud_keys) =
            Ceremony::found(DOMAIN, &format!("http://{GATE}"), &format!("http://{CLOUD}"))?;
        let gate_keys = ceremony.keys.gate.clone();
        serve_witness(home, &network, &mut ceremony, workload)?;
        let mut secrets = Vec::new();
        for n in 0..PROVIDERS {
            secrets.push(ceremony.enrol(&format!("hospital-{n}"), Role::Provider)?);
        }
        for n in 0..READERS {
            secrets.push(ceremony.enrol(&format!("reader-{n}"), Role::User)?);
        }
        let (secrets, bridges): (Vec<_>, Vec<_>) = secrets.into_iter().unzip();
        let mut secrets = secrets.into_iter().map(MemberKeys::new);
        // The first of each is never so far off that no server listens to it.
        let skew = |n: usize| match workload.below(8) {
            0 if n > 0 => (ACCEPTED + workload.within(5_000, 90_000) as i64) * [1, -1][workload.below(2)],
            1 | 2 => workload.within(0, 40_000) as i64 - 20_000,
            _ => 0,
        };
        let provider = |(n, keys): (usize, MemberKeys)| Provider {
            name: format!("hospital-{n}"),
            disk: Disk::new(disks.clone()),
            owners: home.join(format!("owners-{n}.ndjson")),
            keys,
            writer: Mutex::default(),
        };
        let providers: Vec<Provider> = secrets.by_ref().take(PROVIDERS).enumerate().map(provider).collect();
        let reader = |(n, keys)| Reader { name: format!("reader-{n}"), keys, skew: skew(n), session: Mutex::default() };
        let readers: Vec<Reader> = secrets.enumerate().map(reader).collect();
        let patient = |n| {
            let mut entry = OwnerEntry::random();
            for provider in &providers {
                entry.admit(provider.keys.identity.id(), &[SECTION.to_owned(), "demographics".to_owned()]);
            }
            Patient { name: format!("patient-{n}"), entry, skew: skew(n) }
        };
        let patients: Vec<Patient> = (0..PATIENTS).map(patient).collect();
        for provider in &providers {
            let mut map = OwnerMap::default();
            for (n, patient) in patients.iter().enumerate() {
                map.insert(format!("Patient/{n}"), patient.entry.owner().id());
            }
            map.write(&provider.owners)?;
        }
        let (cloud_disk, gate_disk) = (Disk::new(disks.clone()), Disk::new(disks.clone()));
        let pack = ceremony.pack(FHIR_R4);
        let mut parties = Self {
            network,
            home: home.to_owned(),
            ceremony,
            pack,
            cloud_keys,
            gate_keys,
            cloud_disk,
            gate_disk,
            cloud: Mutex::default(),
            gate: Mutex::default(),
            providers,
            patients,
            readers,
        };
        parties.start_cloud().await?;
        parties.start_gate().await?;
        let http = parties.network.connect("authority");
        let identity = parties.ceremony.identity();
        let authority =
            |http: &Http, to: &Server| Peer::new(http.clone(), &to.url, DOMAIN, to.id, Some(identity.clone()));
        let roster = &parties.ceremony.roster;
        let cloud = authority(&http, &roster.clouds[0])?;
        let gate = authority(&http, &roster.gates[0])?;
        parties.ceremony.announce(&[gate], &cloud, bridges).await?;
        let profiles = parties.patients.iter_mut().map(|p| p.entry.next_profile(DOMAIN)).collect();
        let link = parties.trusted()?.gate(&parties.network.connect("registrar"), &parties.providers[0].keys)?;
        owner::publish(&link, profiles).await?;
        for n in 0..PROVIDERS {
            parties.start_provider(n).await?;
        }
        for n in 0..READERS {
            parties.start_reader(n).await?;
        }
        Ok(parties)
    }

    /// Roster and schema.
    pub fn trusted(&self) -> Result<Trusted, Failed> {
        Ok(self.pack.verify(DOMAIN, &self.ceremony.roster.authority)?)
    }

    /// Starts the cloud from what its disk has.
    pub async fn start_cloud(&self) -> Result<(), Failed> {
        let keys = CloudKeys {
            domain: self.cloud_keys.domain.clone(),
            authority: self.cloud_keys.authority,
            seed: self.cloud_keys.seed.clone(),
        };
        let http = self.network.connect("cloud");
        let store = Arc::new(CloudStore::over(self.cloud_disk.open())?);
        let cloud = Cloud::start(self.cloud_dir(), keys, Bounds::default(), store, http).await?;
        self.network.serve(CLOUD, "cloud", cloud.router());
        *self.cloud.lock().await = Some(cloud);
        Ok(())
    }

    /// The cloud dies.
    pub async fn kill_cloud(&self) {
        self.network.kill("cloud");
        self.cloud_disk.crash();
        drop(self.cloud.lock().await.take());
    }

    /// The cloud ends as it is told to.
    pub async fn stop_cloud(&self) {
        if let Some(cloud) = self.cloud.lock().await.take() {
            self.network.kill("cloud");
            cloud.stop().await;
        }
    }

    /// Folder of the cloud's index and logs.
    pub fn cloud_dir(&self) -> PathBuf {
        self.home.join("cloud")
    }

    /// Starts the gate from what its disk has.
    pub async fn start_gate(&self) -> Result<(), Failed> {
        let secrets = GateSecrets::from_json(codec::to_json(&self.gate_keys).as_bytes())?;
        let http = self.network.connect("gate");
        let store = GateStore::over(self.gate_disk.open())?;
        let link = HttpLink::new(http.clone(), secrets.domain(), secrets.identity().clone());
        let log = Some(self.home.join("gate.ledger"));
        let cloud = HttpCloud::new(http, secrets.domain(), secrets.identity().clone(), log);
        let gate = Gate::open(secrets, store, Arc::new(cloud), Arc::new(now_ms), 64)?;
        let running = Running::start(&gate, link).await?;
        self.network.serve(GATE, "gate", guard(sealdex_gate::router(gate), "gate", Bounds::default()));
        *self.gate.lock().await = Some(running);
        Ok(())
    }

    /// The gate dies.
    pub async fn kill_gate(&self) {
        self.network.kill("gate");
        self.gate_disk.crash();
        drop(self.gate.lock().await.take());
    }

    /// Starts a hospital's writer from what its journal has.
    pub async fn start_provider(&self, n: usize) -> Result<(), Failed> {
        let (provider, trusted) = (&self.providers[n], self.trusted()?);
        let http = self.network.connect(&provider.name);
        let input = WriterInput {
            keys: &provider.keys,
            trusted: &trusted,
            gate: trusted.gate(&http, &provider.keys)?,
            cloud: trusted.cloud(&http, Some(&provider.keys))?,
            owners: provider.owners.clone(),
            journal: Journal::over(provider.disk.open())?,
            log: None,
        };
        *provider.writer.lock().await = Some(Arc::new(Writer::open(input)?));
        Ok(())
    }

    /// A hospital's writer dies. Whatever it was at is to be dropped first.
    pub async fn kill_provider(&self, n: usize) {
        let provider = &self.providers[n];
        self.network.kill(&provider.name);
        provider.disk.crash();
        drop(provider.writer.lock().await.take());
    }

    /// Starts a reader anew.
    pub async fn start_reader(&self, n: usize) -> Result<(), Failed> {
        let reader = &self.readers[n];
        let http = self.network.join(&reader.name);
        let session = Session::new(&http, &reader.keys, self.trusted()?)?;
        *reader.session.lock().await = Some(Arc::new(session));
        Ok(())
    }

    /// The gate, called by a patient.
    pub fn patient_link(&self, n: usize) -> Result<GateLink, Failed> {
        let patient = &self.patients[n];
        let http = self.network.connect(&patient.name);
        Ok(GateLink::new(&http, &self.trusted()?.roster, patient.entry.owner().identity(), true)?)
    }

    /// The cloud, called by a hospital or, unsigned, by anybody.
    pub fn cloud_peer(&self, who: &str, provider: Option<usize>) -> Result<Peer, Failed> {
        let keys = provider.map(|n| &self.providers[n].keys);
        Ok(self.trusted()?.cloud(&self.network.join(who), keys)?.with_retry(Retry::NONE))
    }

    /// Checks the cloud's store, which must have been stopped, against its log, as `sealdex verify` does.
    pub fn verify(&self) -> Result<sealdex_cloud::verify::Verified, Failed> {
        std::fs::write(self.cloud_dir().join("store.redb"), self.cloud_disk.image())?;
        let roster = &self.ceremony.roster;
        let (id, authority) = (roster.clouds[0].id, &roster.authority);
        Ok(sealdex_cloud::verify::verify(&self.cloud_dir(), DOMAIN, id, authority, &mut |_, _| {})?)
    }
}

fn serve_witness(home: &Path, network: &Network, ceremony: &mut Ceremony, workload: &Chance) -> Result<(), Failed> {
    let key = CosignerKey::from_seed(KeyName::new("simulated/w1")?, &[1; 32]);
    let ledger = ceremony.roster.ledger.clone().ok_or("a domain without logs")?;
    let logs = [&ledger.batches, &ledger.acts].map(|k| VerifierKey::parse(k));
    let logs = logs.into_iter().map(|k| k.map(|k| (k.name().as_str().to_owned(), vec![k])));
    let logs = logs.collect::<Result<Vec<_>, _>>()?;
    let proofs = if workload.per_mille(500) { Proofs::Gate } else { Proofs::Member };
    let with = vec![(key.verifier().to_string(), format!("http://{WITNESS}"))];
    ceremony.set_ledger(LedgerChange { with, quorum: Some(1), proofs: Some(proofs), ..LedgerChange::default() })?;
    network.serve(WITNESS, "witness", witness::open(home.join("witness"), key, logs, Bounds::default())?);
    Ok(())
}
