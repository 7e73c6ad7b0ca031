//! Cloud and gate, in this process or as processes that can be killed.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use sealdex_client::ceremony::{CLOUD_KIND, CloudSecretsFile, GATE_KIND, GateSecretsFile};
use sealdex_cloud::{CloudConfig, CloudKeys, compaction::CompactPlan};
use sealdex_gate::{GateConfig, GateSecrets};
use sealdex_net::{Listen, guard::Bounds};
use sealdex_wire::codec;
use tokio::{sync::oneshot, task::JoinHandle};

/// Where servers run.
#[derive(Clone, Debug)]
pub enum Place {
    /// Here.
    Process,
    /// As `EXE serve …`.
    Binary(PathBuf),
}

enum Running {
    Task(oneshot::Sender<()>, JoinHandle<()>),
    Child(Child),
}

/// A gate, or a node of one.
struct Node {
    port: u16,
    keys: GateSecretsFile,
    running: Option<Running>,
}

/// Both servers, of which the gate may have several nodes. Ports and data stay the same over restarts.
pub struct Servers {
    place: Place,
    home: PathBuf,
    /// Port of the cloud.
    pub cloud_port: u16,
    cloud_keys: CloudSecretsFile,
    gates: Vec<Node>,
    cloud: Option<Running>,
}

/// A port nobody uses now, given out once. Not one of those that connections get by themselves: a server that is down for a
/// moment would lose it to one.
///
/// # Panics
/// If every port is taken.
pub fn free_port() -> u16 {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    const PORTS: std::ops::Range<u32> = 10_240..32_768;
    let begin = std::process::id().wrapping_mul(61);
    for _ in PORTS {
        let at = begin.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed));
        let port = (PORTS.start + at % (PORTS.end - PORTS.start)) as u16;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("every port from {} on is taken", PORTS.start);
}

async fn reachable(port: u16) {
    for _ in 0..600 {
        if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("nothing listens on port {port}");
}

impl Running {
    async fn stop(self) {
        match self {
            Self::Task(stop, task) => {
                let _ = stop.send(());
                task.await.unwrap();
            }
            Self::Child(mut child) => {
                child.kill().unwrap();
                child.wait().unwrap();
            }
        }
    }
}

async fn end(running: Option<Running>) -> bool {
    let Some(Running::Child(mut child)) = running else { panic!("no process of its own runs") };
    let asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(asked.success());
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.success();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

impl Servers {
    /// Starts both.
    pub async fn start(
        place: Place,
        home: &Path,
        ports: (u16, u16),
        gate: &GateSecretsFile,
        cloud: &CloudSecretsFile,
    ) -> Self {
        let home = home.to_owned();
        let mut servers = Self {
            place,
            home,
            cloud_port: ports.1,
            cloud_keys: cloud.clone(),
            gates: vec![Node { port: ports.0, keys: gate.clone(), running: None }],
            cloud: None,
        };
        servers.start_cloud().await;
        servers.start_gate().await;
        servers
    }

    /// Process ids of the cloud and of the gate's first node, where they are processes of their own.
    pub fn pids(&self) -> (u32, u32) {
        let pid = |running: Option<&Running>| match running {
            Some(Running::Child(child)) => child.id(),
            _ => panic!("no process of its own runs"),
        };
        (pid(self.cloud.as_ref()), pid(self.gates[0].running.as_ref()))
    }

    /// Asks the cloud's process to stop, and waits until it has; whether it said that all went well.
    pub async fn end_cloud(&mut self) -> bool {
        end(self.cloud.take()).await
    }

    /// As [`Servers::end_cloud`], the gate.
    pub async fn end_gate(&mut self) -> bool {
        end(self.gates[0].running.take()).await
    }

    /// Seed of the cloud's identity, which its logs' keys are made of.
    pub fn cloud_seed(&self) -> [u8; 32] {
        self.cloud_keys.seed.0
    }

    /// Folder of the cloud's data.
    pub fn cloud_dir(&self) -> PathBuf {
        self.home.join("cloud")
    }

    /// File of the gate's store.
    pub fn gate_store(&self) -> PathBuf {
        self.node_store(0)
    }

    /// Port of the gate, or of its first node.
    pub fn gate_port(&self) -> u16 {
        self.gates[0].port
    }

    /// File of the store of a node of the gate, counted from 0.
    pub fn node_store(&self, node: usize) -> PathBuf {
        self.home.join(if node == 0 { "gate.redb".to_owned() } else { format!("gate-{node}.redb") })
    }

    /// Keys of a node of the gate.
    pub fn node_keys(&self, node: usize) -> &GateSecretsFile {
        &self.gates[node].keys
    }

    /// Adds a node of the gate and starts it; its place.
    pub async fn add_node(&mut self, keys: &GateSecretsFile, port: u16) -> usize {
        self.gates.push(Node { port, keys: keys.clone(), running: None });
        self.start_node(self.gates.len() - 1).await;
        self.gates.len() - 1
    }

    fn spawn(
        &self,
        exe: &Path,
        (kind, name): (&str, &str),
        secrets: &[u8],
        rest: &[&std::ffi::OsStr],
        port: u16,
    ) -> Running {
        let keys = self.home.join(format!("{name}.key"));
        sealdex_keyfile::replace(&keys, kind, secrets, None).unwrap();
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(self.home.join(format!("{name}.log"))).unwrap();
        let mut command = Command::new(exe);
        command.args(["serve", kind, "--keys"]).arg(&keys).args(rest).args(["--listen", &format!("127.0.0.1:{port}")]);
        Running::Child(command.stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }

    /// Starts the cloud.
    pub async fn start_cloud(&mut self) {
        let (dir, port) = (self.cloud_dir(), self.cloud_port);
        let running = match &self.place {
            Place::Binary(exe) => {
                let secrets = codec::to_json(&self.cloud_keys);
                self.spawn(exe, (CLOUD_KIND, CLOUD_KIND), secrets.as_bytes(), &["--dir".as_ref(), dir.as_ref()], port)
            }
            Place::Process => {
                let keys = CloudKeys {
                    domain: self.cloud_keys.domain.clone(),
                    authority: self.cloud_keys.authority,
                    seed: self.cloud_keys.seed.clone(),
                };
                let config = CloudConfig {
                    data_dir: dir,
                    listen: Listen::loopback(port),
                    keys,
                    bounds: Bounds::default(),
                    backup: None,
                    compact: CompactPlan::default(),
                };
                let (stop, stopped) = oneshot::channel::<()>();
                let task = tokio::spawn(async move {
                    let stop = async move {
                        let _ = stopped.await;
                    };
                    sealdex_cloud::serve(config, |_| {}, stop).await.unwrap();
                });
                Running::Task(stop, task)
            }
        };
        self.cloud = Some(running);
        reachable(port).await;
    }

    /// Starts the gate.
    pub async fn start_gate(&mut self) {
        self.start_node(0).await;
    }

    /// Starts a node of the gate.
    pub async fn start_node(&mut self, node: usize) {
        let (store, port) = (self.node_store(node), self.gates[node].port);
        let secrets = codec::to_json(&self.gates[node].keys);
        let running = match &self.place {
            Place::Binary(exe) => {
                let name = if node == 0 { GATE_KIND.to_owned() } else { format!("{GATE_KIND}-{node}") };
                self.spawn(exe, (GATE_KIND, &name), secrets.as_bytes(), &["--store".as_ref(), store.as_ref()], port)
            }
            Place::Process => {
                let config = GateConfig::loopback(GateSecrets::from_json(secrets.as_bytes()).unwrap(), store, port);
                let (stop, stopped) = oneshot::channel::<()>();
                let (up, _) = oneshot::channel();
                let task = tokio::spawn(async move {
                    let stop = async move {
                        let _ = stopped.await;
                    };
                    sealdex_gate::serve(config, up, stop).await.unwrap();
                });
                Running::Task(stop, task)
            }
        };
        self.gates[node].running = Some(running);
        reachable(port).await;
    }

    /// Stops the cloud: `kill -9` for a process of its own.
    pub async fn stop_cloud(&mut self) {
        if let Some(running) = self.cloud.take() {
            running.stop().await;
        }
    }

    /// Stops the gate: `kill -9` for a process of its own.
    pub async fn stop_gate(&mut self) {
        self.stop_node(0).await;
    }

    /// Stops a node of the gate: `kill -9` for a process of its own.
    pub async fn stop_node(&mut self, node: usize) {
        if let Some(running) = self.gates[node].running.take() {
            running.stop().await;
        }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        let gates = self.gates.iter_mut().filter_map(|g| g.running.take());
        for running in gates.chain(self.cloud.take()) {
            if let Running::Child(mut child) = running {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}
