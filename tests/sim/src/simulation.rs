//! One simulation: a workload and its faults, then everything is made well again and must add up.

use std::{
    rc::Rc,
    sync::{
        Arc, Mutex as Lock, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sealdex_client::{GrantRequest, owner};
use sealdex_fhir::{Record, Suite};
use sealdex_net::{CallError, clock::now_ms, reply};
use sealdex_provider::Written;
use sealdex_wire::{
    consent::{Accepted, SubmitGrants},
    ingest::CloudStats,
};
use tokio::{task::JoinHandle, time::sleep};

use crate::{
    chance::{Chance, Of},
    model::{CODES, During, MISSING, Model, Question, Recorded, Said, Version, Word, tenths},
    network::{Faults, Network},
    outside::{self, SKEW},
    panics,
    parties::{ACCEPTED, DOMAIN, Failed, PATIENTS, PROVIDERS, Parties, READERS, SECTION},
    trace::Trace,
};

/// How one simulation went.
pub struct Outcome {
    /// Of all that happened.
    pub hash: String,
    /// Lines of the trace.
    pub lines: u64,
    /// What must not have happened.
    pub violations: Vec<String>,
    /// The end of the trace.
    pub last: Vec<String>,
    /// Answers that were judged.
    pub judged: u64,
    /// Crashes of servers and hospitals.
    pub crashes: u64,
    /// Kept tickets that were tried after a revocation.
    pub tickets: u64,
}

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Steps of the workload.
    pub steps: usize,
    /// Whether each line of the trace is printed as it comes.
    pub told: bool,
}

/// Longest that the network keeps a request, ms.
const LATEST: i64 = 20_000;

impl Default for Settings {
    fn default() -> Self {
        Self { steps: 40, told: false }
    }
}

/// Runs a seed, on this thread.
pub fn run(seed: u64, settings: Settings) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let trace = Arc::new(Trace::new(settings.told));
        let _here = outside::begin(Arc::new(Chance::new(seed, Of::Process)));
        let home = folder();
        let (mut counts, _) = (Counts::default(), panics::take());
        match Simulation::found(seed, home.path(), trace.clone()).await {
            Err(error) => trace.violation(format!("the domain cannot be founded: {error}")),
            Ok(simulation) => {
                let simulation = Rc::new(simulation);
                let whole = async {
                    simulation.work(settings.steps).await;
                    if let Err(error) = simulation.end().await {
                        trace.violation(format!("with everything well again: {error}"));
                    }
                };
                tokio::task::LocalSet::new().run_until(whole).await;
                counts = simulation.counts();
            }
        }
        for panic in panics::take() {
            trace.violation(format!("a role panicked: {panic}"));
        }
        let Counts { judged, crashes, tickets } = counts;
        let ((lines, hash), violations, last) = (trace.hash(), trace.violations(), trace.last());
        Outcome { hash, lines, violations, last, judged, crashes, tickets }
    })
}

/// Where files are: in memory, if the system has such a place.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

#[derive(Clone, Copy, Default)]
struct Counts {
    judged: u64,
    crashes: u64,
    tickets: u64,
}

/// Everything of one simulation.
struct Simulation {
    parties: Parties,
    model: Lock<Model>,
    workload: Chance,
    trace: Arc<Trace>,
    counts: Lock<Counts>,
    /// What each hospital, patient and server is at.
    pushing: [Turn; PROVIDERS],
    speaking: [Turn; PATIENTS],
    restarting: [Turn; 2],
    links: Vec<sealdex_member::GateLink>,
    /// Grants as each patient signed them.
    signed: [Lock<Vec<SubmitGrants>>; PATIENTS],
}

/// One thing at a time.
#[derive(Clone, Default)]
struct Turn(Arc<AtomicBool>);

impl Turn {
    fn take(&self) -> Option<Taken> {
        (!self.0.swap(true, Ordering::Relaxed)).then(|| Taken(self.clone()))
    }
}

struct Taken(Turn);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Lock<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const GATE: usize = 0;
const CLOUD: usize = 1;

impl Simulation {
    async fn found(seed: u64, home: &std::path::Path, trace: Arc<Trace>) -> Result<Self, Failed> {
        let network = Network::new(Arc::new(Chance::new(seed, Of::Network)), trace.clone());
        let workload = Chance::new(seed, Of::Workload);
        let parties = Parties::found(home, network, &Arc::new(Chance::new(seed, Of::Disk)), &workload).await?;
        let links = (0..PATIENTS).map(|n| parties.patient_link(n)).collect::<Result<_, _>>()?;
        Ok(Self {
            parties,
            model: Lock::default(),
            workload,
            trace,
            counts: Lock::default(),
            pushing: Default::default(),
            speaking: Default::default(),
            restarting: Default::default(),
            links,
            signed: Default::default(),
        })
    }

    fn network(&self) -> &Arc<Network> {
        &self.parties.network
    }

    fn counts(&self) -> Counts {
        *lock(&self.counts)
    }

    /// The workload. What is begun goes on while the next is.
    async fn work(self: &Rc<Self>, steps: usize) {
        self.network().set(Faults::BAD);
        let mut begun: Vec<JoinHandle<()>> = Vec::new();
        for step in 0..steps {
            self.trace.step(step);
            begun.push(self.step());
            let pause = if self.workload.per_mille(300) { 0 } else { self.workload.within(1, 900) };
            sleep(Duration::from_millis(pause)).await;
            self.restart_failed();
        }
        self.trace.step(steps);
        self.network().set(Faults::default());
        let disks = [&self.parties.gate_disk, &self.parties.cloud_disk, &self.parties.providers[0].disk];
        disks.iter().for_each(|disk| disk.mend());
        for task in begun {
            match tokio::time::timeout(Duration::from_secs(400), task).await {
                Err(_) => self.trace.violation("something has not ended after minutes without faults".into()),
                Ok(Err(panic)) => self.trace.violation(format!("the workload stopped: {panic}")),
                Ok(Ok(())) => {}
            }
            self.restart_failed();
        }
    }

    /// Begins one thing.
    fn step(self: &Rc<Self>) -> JoinHandle<()> {
        let (me, chance) = (self.clone(), &self.workload);
        match chance.below(100) {
            0..30 => {
                let (n, records) = (chance.below(PROVIDERS), self.records());
                tokio::task::spawn_local(async move { me.push(n, records).await })
            }
            30..43 => {
                let (patient, reader) = (chance.below(PATIENTS), chance.below(READERS));
                let seconds = if chance.per_mille(200) { chance.within(1, 20) } else { 1_000_000 };
                let word = Word::Grant(seconds);
                tokio::task::spawn_local(async move { me.say(patient, reader, word).await })
            }
            43..53 => {
                let (patient, reader) = (chance.below(PATIENTS), chance.below(READERS));
                tokio::task::spawn_local(async move { me.say(patient, reader, Word::Revoke).await })
            }
            53..57 => {
                let (patient, which) = (chance.below(PATIENTS), chance.below(1 << 20));
                tokio::task::spawn_local(async move { me.carry(patient, which).await })
            }
            57..83 => {
                let (reader, question) = (chance.below(READERS), self.question());
                tokio::task::spawn_local(async move { drop(me.ask(reader, question).await) })
            }
            what => self.misfortune(what),
        }
    }

    fn misfortune(self: &Rc<Self>, what: usize) -> JoinHandle<()> {
        let (me, chance) = (self.clone(), &self.workload);
        let away = Duration::from_millis(chance.within(1, 4000));
        match what {
            83..86 => tokio::task::spawn_local(async move { me.restart(GATE, away).await }),
            86..90 => {
                let lose = chance.below(4);
                tokio::task::spawn_local(async move {
                    me.restart_cloud(away, lose).await;
                })
            }
            90..93 => {
                let n = chance.below(PROVIDERS);
                tokio::task::spawn_local(async move { me.restart_provider(n, away).await })
            }
            93..95 => {
                let n = chance.below(READERS);
                tokio::task::spawn_local(async move { me.parties.start_reader(n).await.unwrap() })
            }
            95..97 => {
                let operations = chance.within(0, 40);
                let disk = match chance.below(3) {
                    0 => &self.parties.gate_disk,
                    1 => &self.parties.cloud_disk,
                    _ => &self.parties.providers[0].disk,
                };
                self.trace.note("a disk fails soon");
                disk.fail_in(operations);
                tokio::task::spawn_local(async {})
            }
            _ => {
                let pairs = [("cloud", "witness"), ("gate", "cloud"), ("reader-0", "gate"), ("hospital-0", "cloud")];
                let (from, to) = pairs[chance.below(pairs.len())];
                tokio::task::spawn_local(async move {
                    me.trace.note(&format!("{from} cannot reach {to}"));
                    me.network().cut(from, to, true);
                    sleep(3 * away).await;
                    me.network().cut(from, to, false);
                })
            }
        }
    }

    /// Whoever's disk has failed dies of it, a while later.
    fn restart_failed(self: &Rc<Self>) {
        let away = Duration::from_millis(500);
        if self.parties.gate_disk.has_failed() {
            let me = self.clone();
            drop(tokio::task::spawn_local(async move { me.restart(GATE, away).await }));
        }
        if self.parties.cloud_disk.has_failed() {
            let me = self.clone();
            drop(tokio::task::spawn_local(async move { me.restart_cloud(away, 0).await }));
        }
        if self.parties.providers[0].disk.has_failed() {
            let me = self.clone();
            drop(tokio::task::spawn_local(async move { me.restart_provider(0, away).await }));
        }
    }

    fn died(&self, who: &str) {
        self.trace.note(&format!("{who} dies"));
        lock(&self.counts).crashes += 1;
    }

    async fn restart(self: &Rc<Self>, which: usize, away: Duration) {
        let Some(_turn) = self.restarting[which].take() else { return };
        self.died("the gate");
        self.parties.kill_gate().await;
        sleep(away).await;
        if let Err(error) = self.parties.start_gate().await {
            self.trace.violation(format!("the gate does not start again: {error}"));
        }
    }

    /// The cloud dies; what can be made anew from its store may be lost.
    async fn restart_cloud(self: &Rc<Self>, away: Duration, lose: usize) {
        let Some(_turn) = self.restarting[CLOUD].take() else { return };
        self.died("the cloud");
        self.parties.kill_cloud().await;
        sleep(away).await;
        let dir = self.parties.cloud_dir();
        let lost = match lose {
            1 => std::fs::remove_dir_all(dir.join("index")),
            2 => damage(&dir.join("index")),
            _ => Ok(()),
        };
        if lost.is_ok() && lose != 0 {
            self.trace.note("the index of the cloud is lost or damaged");
        }
        if let Err(error) = self.parties.start_cloud().await {
            self.trace.violation(format!("the cloud does not start again: {error}"));
        }
    }

    async fn restart_provider(self: &Rc<Self>, n: usize, away: Duration) {
        self.died(&self.parties.providers[n].name);
        self.parties.kill_provider(n).await;
        sleep(away).await;
        if self.parties.providers[n].writer.lock().await.is_some() {
            return;
        }
        if let Err(error) = self.parties.start_provider(n).await {
            self.trace.violation(format!("{} does not start again: {error}", self.parties.providers[n].name));
        }
    }

    /// A few records to push: which, and what they say now; `None` for what they said before.
    fn records(&self) -> Vec<(usize, Option<(usize, i64)>)> {
        let chance = &self.workload;
        let mut which: Vec<usize> = (0..1 + chance.below(3)).map(|_| chance.below(6)).collect();
        which.sort_unstable();
        which.dedup();
        let new = |n| (n, (!chance.per_mille(200)).then(|| (chance.below(CODES.len()), chance.within(10, 200) as i64)));
        which.into_iter().map(new).collect()
    }

    fn question(&self) -> Question {
        let chance = &self.workload;
        let code = chance.below(CODES.len());
        match chance.below(3) {
            0 => Question::Code(code),
            1 => Question::AtLeast(code, chance.within(10, 200) as i64),
            _ => Question::Largest(code, 1 + chance.below(3)),
        }
    }

    /// A hospital pushes records, if it is not at it.
    async fn push(&self, n: usize, records: Vec<(usize, Option<(usize, i64)>)>) {
        let Some(_turn) = self.pushing[n].take() else { return };
        let Some(writer) = self.parties.providers[n].writer.lock().await.clone() else { return };
        let mut written = Vec::new();
        for (record, content) in records {
            let id = format!("Observation/h{n}-{record}");
            let begun = self.trace.now();
            let mut model = lock(&self.model);
            let patient = record % PATIENTS;
            let known = model.records.entry(id.clone()).or_insert_with(|| Recorded {
                provider: n,
                patient,
                versions: Vec::new(),
            });
            let number = known.versions.len() as u32 + 1;
            if let Some((code, value)) = content.or_else(|| known.versions.is_empty().then_some((0, 100))) {
                let bytes = observation(&id, patient, number, code, value);
                let new = Version { number, code, value, bytes, begun, acknowledged: None };
                // Now and then a record is put back to what it said before the last version.
                let before = known.versions.iter().rev().nth(1).filter(|_| value % 4 == 0).cloned();
                known.versions.push(before.map_or(new, |v| Version { number, begun, acknowledged: None, ..v }));
            }
            if let Some(version) = known.versions.last() {
                written.push((id, version.number, version.bytes.clone()));
            }
        }
        let named: Vec<String> = written.iter().map(|(id, v, _)| format!("{id} v{v}")).collect();
        self.trace.note(&format!("hospital-{n} pushes {}", named.join(", ")));
        let parsed = written.iter().map(|(_, _, bytes)| Record::from_bytes(bytes.clone()).unwrap()).collect();
        let done = tokio::select! {
            biased;
            done = writer.write(parsed) => done,
            () = self.dead(n, &writer) => return self.trace.note(&format!("hospital-{n} died pushing")),
        };
        match done {
            Err(error) => self.trace.note(&format!("hospital-{n}: {}", kind(&error))),
            Ok(done) => {
                let now = self.trace.now();
                for ((id, number, _), done) in written.iter().zip(done) {
                    match done {
                        Written::Stored { .. } | Written::Unchanged => {
                            let mut model = lock(&self.model);
                            let version =
                                model.records.get_mut(id).and_then(|r| r.versions.get_mut(*number as usize - 1));
                            let Some(version) = version else { continue };
                            version.acknowledged.get_or_insert(now);
                        }
                        Written::Rejected(reject) => {
                            self.trace.violation(format!("{id} was rejected: {}", reject.reason));
                        }
                    }
                }
                self.trace.note(&format!("hospital-{n} pushed"));
            }
        }
    }

    /// Until a hospital's process is another one.
    async fn dead(&self, n: usize, writer: &Arc<sealdex_provider::Writer>) {
        loop {
            sleep(Duration::from_millis(5)).await;
            let now = self.parties.providers[n].writer.lock().await.clone();
            if now.is_none_or(|now| !Arc::ptr_eq(&now, writer)) {
                return;
            }
        }
    }

    /// A patient grants or revokes, if it is not at it. A grant is for so many seconds.
    async fn say(&self, patient: usize, reader: usize, word: Word) {
        let Some(_turn) = self.speaking[patient].take() else { return };
        let (word, begun) = match word {
            Word::Grant(seconds) => (Word::Grant(now_ms() / 1000 + seconds), self.trace.now()),
            Word::Revoke => (word, self.trace.now()),
        };
        let place = {
            let mut model = lock(&self.model);
            let said = model.words.entry((patient, reader)).or_default();
            said.push(Said { word, begun, acknowledged: None });
            said.len() - 1
        };
        let me = &self.parties.patients[patient];
        self.trace.note(&format!("patient-{patient} says {} of reader-{reader}", spoken(word)));
        let done = SKEW.scope(me.skew, self.submit(patient, reader, word)).await;
        self.trace.note(&format!("patient-{patient}: {}", done.as_ref().map_or_else(call_kind, |_| "done".into())));
        // What a clock that is ahead has signed is fresh when it was long enough on its way.
        if done.is_ok() && (me.skew < -ACCEPTED || me.skew > ACCEPTED + LATEST) {
            self.trace
                .violation(format!("patient-{patient} was listened to, though its clock is off by {} ms", me.skew));
        }
        if done.is_ok() {
            let mut model = lock(&self.model);
            if let Some(said) = model.words.get_mut(&(patient, reader)).and_then(|w| w.get_mut(place)) {
                said.acknowledged = Some(self.trace.now());
            }
        }
    }

    async fn submit(&self, patient: usize, reader: usize, word: Word) -> Result<(), CallError> {
        let (owner, link) = (self.parties.patients[patient].entry.owner(), &self.links[patient]);
        let reader = self.parties.readers[reader].keys.identity.public();
        match word {
            Word::Grant(until) => {
                let request = GrantRequest {
                    domain: DOMAIN,
                    reader,
                    section: SECTION,
                    epoch: 0,
                    purpose: "any",
                    not_before: 0,
                    not_after: until,
                    limits: Default::default(),
                };
                // As `grant_all` does, but on this thread, whose clock is simulated.
                let made = owner::submit(link, DOMAIN, vec![owner.grant(&request, None)]);
                lock(&self.signed[patient]).push(made.clone());
                link.post_json::<_, Accepted>("/v1/grants", &made).await.map(|_| ())
            }
            Word::Revoke => {
                let revocation = owner.revocation(DOMAIN, reader.id(), Some(SECTION));
                owner::revoke_all(link, vec![revocation]).await.map(|_| ())
            }
        }
    }

    /// A grant that was signed before comes again, from whoever has a copy of it: nothing changes by it.
    async fn carry(&self, patient: usize, which: usize) {
        let signed = {
            let signed = lock(&self.signed[patient]);
            signed.get(which % signed.len().max(1)).cloned()
        };
        let Some(signed) = signed else { return };
        self.trace.note(&format!("a grant of patient-{patient} comes again"));
        let skew = self.parties.patients[patient].skew;
        let done = SKEW.scope(skew, self.links[patient].post_json::<_, Accepted>("/v1/grants", &signed)).await;
        self.trace.note(&format!("the grant: {}", done.map_or_else(|e| call_kind(&e), |_| "taken".into())));
    }

    /// A reader asks; whether it was answered, and what with.
    async fn ask(&self, reader: usize, question: Question) -> Result<Vec<String>, String> {
        let (me, document) = (&self.parties.readers[reader], question.document());
        let Some(session) = me.session.lock().await.clone() else { return Err("not up".into()) };
        let document = Suite::parse(&document, None).unwrap().queries.remove(0);
        let (from, unix, altered) = (self.trace.now(), now_ms() / 1000, self.network().altered());
        self.trace.note(&format!("reader-{reader} asks {question:?}"));
        let answer = match SKEW.scope(me.skew, session.ask(&document)).await {
            Ok(answer) => answer,
            Err(error) => {
                let kind = format!("{error}");
                let kind = kind.chars().take(160).collect::<String>();
                self.trace.note(&format!("reader-{reader} is told an error"));
                return Err(kind);
            }
        };
        if me.skew < -ACCEPTED || me.skew > ACCEPTED + LATEST {
            self.trace.violation(format!("reader-{reader} was answered, though its clock is off by {} ms", me.skew));
        }
        let during = During { from, to: self.trace.now(), unix: (unix, now_ms() / 1000) };
        let hits: Vec<(String, Vec<u8>)> = answer.hits.into_iter().map(|h| (h.identity, h.bytes)).collect();
        let mut ids: Vec<String> = hits.iter().map(|(id, _)| id.clone()).collect();
        if !matches!(question, Question::Largest(..)) {
            ids.sort();
        }
        self.trace.note(&format!("reader-{reader} is answered {ids:?}"));
        let unproved = answer.proved.map_or_else(Vec::new, |p| p.unproved);
        // Then it says itself that it may be short; what is in it must be right all the same.
        let short = self.network().altered() > altered && !unproved.is_empty();
        lock(&self.counts).judged += 1;
        let wrong = lock(&self.model).judge(question, reader, &hits, during);
        for wrong in wrong.into_iter().filter(|wrong| !short || !wrong.contains(MISSING)) {
            self.trace.violation(format!("reader-{reader} asked {question:?} from {from} ms on: {wrong}"));
        }
        Ok(ids)
    }

    /// Everything is made well again, and must add up.
    async fn end(self: &Rc<Self>) -> Result<(), Failed> {
        for pair in [("cloud", "witness"), ("gate", "cloud"), ("reader-0", "gate"), ("hospital-0", "cloud")] {
            self.network().cut(pair.0, pair.1, false);
        }
        // Whatever is late arrives, and clocks that are behind are past the last start of a server.
        sleep(Duration::from_secs(25)).await;
        self.trace.note("everything is well again");
        self.settle().await?;
        for n in (0..READERS).filter(|n| self.parties.readers[*n].skew.abs() <= ACCEPTED) {
            // Once as it was, with what it has learnt; once anew.
            for _ in 0..2 {
                for code in 0..CODES.len() {
                    for question in [Question::Code(code), Question::AtLeast(code, 100), Question::Largest(code, 2)] {
                        self.ask(n, question).await?;
                    }
                }
                self.parties.start_reader(n).await?;
            }
        }
        self.thieves().await?;
        let cloud = self.parties.cloud_peer("counter", Some(0))?;
        let stats: CloudStats = cloud.get_json("/v1/stats").await?;
        let live = lock(&self.model).live();
        if stats.records != live {
            self.trace.violation(format!("the cloud has {} live records, and there are {live}", stats.records));
        }
        self.parties.stop_cloud().await;
        let verified = self.parties.verify()?;
        for difference in &verified.differences {
            self.trace.violation(format!("sealdex verify: {difference}"));
        }
        if verified.witnessed < verified.batches {
            self.trace.violation(format!("of {} batches {} are witnessed", verified.batches, verified.witnessed));
        }
        Ok(())
    }

    /// Hospitals push what was not acknowledged again, patients say it again: after this everything is certain.
    async fn settle(self: &Rc<Self>) -> Result<(), Failed> {
        for n in 0..PROVIDERS {
            self.push(n, (0..6).map(|record| (record, None)).collect()).await;
        }
        let unsettled: Vec<String> = {
            let model = lock(&self.model);
            let open = |v: &Version| v.acknowledged.is_none();
            let last_open = |r: &Recorded| r.versions.last().is_some_and(open);
            model.records.iter().filter(|(_, r)| last_open(r)).map(|(id, _)| id.clone()).collect()
        };
        if !unsettled.is_empty() {
            return Err(format!("these records cannot be pushed: {unsettled:?}").into());
        }
        for patient in 0..PATIENTS {
            for reader in 0..READERS {
                let last = lock(&self.model).words.get(&(patient, reader)).and_then(|w| w.last().copied());
                let word = match last {
                    Some(Said { word: Word::Revoke, .. }) => Word::Revoke,
                    Some(Said { word: Word::Grant(_), .. }) => Word::Grant(1_000_000),
                    None => continue,
                };
                self.say(patient, reader, word).await;
                let last = lock(&self.model).words.get(&(patient, reader)).and_then(|w| w.last().copied());
                let heard = last.is_some_and(|said| said.acknowledged.is_some());
                if !heard && self.parties.patients[patient].skew.abs() <= ACCEPTED {
                    return Err(format!("patient-{patient} is not listened to").into());
                }
            }
        }
        Ok(())
    }

    /// Tickets that a reader kept are of no use once what they rest on was revoked.
    async fn thieves(self: &Rc<Self>) -> Result<(), Failed> {
        self.say(0, 0, Word::Grant(1_000_000)).await;
        self.network().tickets();
        let mut seen = Vec::new();
        for code in 0..CODES.len() {
            let found = self.ask(0, Question::Code(code)).await?;
            let kept = self.network().tickets();
            seen.extend(kept.into_iter().map(|(_, ticket)| (ticket, found.clone())));
        }
        self.say(0, 0, Word::Revoke).await;
        let thief = self.parties.cloud_peer("thief", None)?;
        for (ticket, found) in seen {
            let of_patient = |id: &String| lock(&self.model).records.get(id).is_some_and(|r| r.patient == 0);
            if !found.iter().any(of_patient) {
                continue;
            }
            lock(&self.counts).tickets += 1;
            let fetched = thief.call(http::Method::POST, "/v1/records", reply::CBOR, ticket).await;
            if fetched.is_ok() {
                self.trace.violation("a ticket was taken though what it rests on was revoked before".into());
            }
        }
        for code in 0..CODES.len() {
            self.ask(0, Question::Code(code)).await?;
        }
        Ok(())
    }
}

fn spoken(word: Word) -> &'static str {
    match word {
        Word::Grant(_) => "yes",
        Word::Revoke => "no",
    }
}

fn call_kind(error: &CallError) -> String {
    match error {
        CallError::Refused { problem, .. } => format!("refused, {}", problem.status),
        CallError::Unreachable { .. } => "no answer".into(),
        _ => "unusable answer".into(),
    }
}

/// What kind of failure, without what differs from run to run.
fn kind(error: &sealdex_provider::WriterError) -> String {
    match error {
        sealdex_provider::WriterError::Push(sealdex_provider::PushError::Call(error)) => call_kind(error),
        _ => "failed".into(),
    }
}

fn observation(id: &str, patient: usize, number: u32, code: usize, value: i64) -> Vec<u8> {
    let id = id.trim_start_matches("Observation/");
    format!(
        r#"{{"resourceType":"Observation","id":"{id}","meta":{{"versionId":"{number}"}},"status":"final","code":{{"coding":[{{"system":"http://loinc.org","code":"{}"}}]}},"subject":{{"reference":"Patient/{patient}"}},"effectiveDateTime":"2026-05-0{}","valueQuantity":{{"value":{},"unit":"1"}}}}"#,
        CODES[code],
        1 + number % 9,
        tenths(value)
    )
    .into_bytes()
}

/// Changes a byte in the middle of the largest file of a folder.
fn damage(folder: &std::path::Path) -> std::io::Result<()> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        files.push((entry.metadata()?.len(), entry.path()));
    }
    let (_, path) = files.into_iter().max().ok_or(std::io::ErrorKind::NotFound)?;
    let mut bytes = std::fs::read(&path)?;
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 0x40;
    }
    std::fs::write(path, bytes)
}
