//! A domain on one machine, run through the program itself.
#![allow(clippy::unwrap_used, dead_code)] // a test stops where it cannot go on, and uses what it needs

use std::{
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

pub(crate) const EXE: &str = env!("CARGO_BIN_EXE_sealdex");

/// What the domain's gate is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    Single,
    /// Three nodes, two of which must agree.
    TwoOfThree,
}

pub(crate) struct Stage {
    pub(crate) home: tempfile::TempDir,
    pub(crate) servers: Vec<Child>,
    /// Ports of the gate, or of its nodes.
    pub(crate) ports: Vec<u16>,
    /// Port of the cloud.
    pub(crate) cloud: u16,
}

impl Drop for Stage {
    fn drop(&mut self) {
        for server in &mut self.servers {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

pub(crate) use sealdex_tests::servers::free_port;

impl Stage {
    /// A domain with its servers, a provider and users, and two patients with an observation each; the first has a
    /// psychiatric one too.
    pub(crate) fn set(users: &[&str], gate: Gate) -> Self {
        let mut stage = Self { home: tempfile::tempdir().unwrap(), servers: Vec::new(), ports: Vec::new(), cloud: 0 };
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let ports: Vec<u16> = (0..if gate == Gate::Single { 1 } else { 3 }).map(|_| free_port()).collect();
        let (urls, cloud): (Vec<String>, u16) = (ports.iter().copied().map(url).collect(), free_port());
        stage.cloud = cloud;
        let cloud_url = url(cloud);
        let mut init = vec!["domain", "init", "--dir", "domain", "--name", "north", "--cloud-url", &cloud_url];
        urls.iter().for_each(|url| init.extend(["--gate-url", url]));
        if gate == Gate::TwoOfThree {
            init.extend(["--gates", "3", "--threshold", "2"]);
        }
        stage.done(&init);
        let listen = |port: u16| format!("127.0.0.1:{port}");
        stage.serve(
            &["serve", "cloud", "--keys", "domain/cloud.key", "--dir", "cloud", "--listen", &listen(cloud)],
            cloud,
        );
        for (n, port) in (1..).zip(ports) {
            stage.ports.push(port);
            match gate {
                Gate::Single => stage.serve_gate("domain/gate.key", "gate-1.redb", port),
                Gate::TwoOfThree => stage.start_node(n),
            }
        }
        stage.done(&["domain", "enrol", "--dir", "domain", "--name", "h1", "--role", "provider", "--out", "h1"]);
        for user in users {
            stage.done(&["domain", "enrol", "--dir", "domain", "--name", user, "--role", "user", "--out", user]);
        }
        stage.write(
            "records/all.ndjson",
            &[patient("a"), patient("b"), weight("w1", "a", ""), weight("w2", "b", ""), weight("m1", "a", PSY)]
                .join("\n"),
        );
        stage.done(&["owners", "enrol", "--provider", "h1", "--wallet", "w.key", "records"]);
        stage.done(&["push", "--provider", "h1", "records"]);
        stage
    }

    fn serve_gate(&mut self, key: &str, store: &str, port: u16) {
        let listen = format!("127.0.0.1:{port}");
        self.serve(&["serve", "gate", "--keys", key, "--store", store, "--listen", &listen], port);
    }

    /// Starts the cloud again, in the place of the one before, with more options.
    pub(crate) fn restart_cloud(&mut self, dir: &str, options: &[&str]) {
        self.kill_cloud();
        let (listen, port) = (format!("127.0.0.1:{}", self.cloud), self.cloud);
        let serve = ["serve", "cloud", "--keys", "domain/cloud.key", "--dir", dir, "--listen", &listen];
        self.serve(&[&serve, options].concat(), port);
        if let Some(new) = self.servers.pop() {
            self.servers[0] = new;
        }
    }

    /// `kill -9` of the cloud.
    pub(crate) fn kill_cloud(&mut self) {
        let _ = self.servers[0].kill();
        self.servers[0].wait().unwrap();
    }

    /// Starts a node of the gate, by its number.
    pub(crate) fn start_node(&mut self, node: usize) {
        let (key, store, port) = (format!("domain/gate-{node}.key"), format!("gate-{node}.redb"), self.ports[node - 1]);
        self.serve_gate(&key, &store, port);
        // It takes the place of one that was killed.
        if self.servers.len() > node + 1
            && let Some(new) = self.servers.pop()
        {
            self.servers[node] = new;
        }
    }

    /// `kill -9` of a node of the gate, by its number.
    pub(crate) fn kill_node(&mut self, node: usize) {
        self.servers[node].kill().unwrap();
        self.servers[node].wait().unwrap();
    }

    /// Waits until a node is level with the others.
    pub(crate) fn until_level(&self, node: usize) {
        let began = Instant::now();
        loop {
            let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.ports[node - 1])).unwrap();
            std::io::Write::write_all(&mut stream, b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                .unwrap();
            let mut said = String::new();
            std::io::Read::read_to_string(&mut stream, &mut said).unwrap();
            if said.ends_with("ready\n") {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "node {node} says {said}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(EXE);
        command.args(arguments).arg("--insecure-plain-keys").current_dir(self.home.path());
        command
    }

    pub(crate) fn serve(&mut self, arguments: &[&str], port: u16) {
        let mut command = self.command(arguments);
        self.servers.push(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(60), "{arguments:?} does not come up");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub(crate) fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub(crate) fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?} was done");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// As `done`, for an owner of the wallet.
    pub(crate) fn own(&self, arguments: &[&str]) -> String {
        self.done(&[arguments, &["--wallet", "w.key", "--domain", "domain/domain.json"]].concat())
    }

    /// Ids of the observations a member finds for a purpose.
    pub(crate) fn finds(&self, member: &str, purpose: &str) -> Vec<String> {
        let question = r#"{"resource":"Observation"}"#;
        let found = self.done(&["query", "--member", member, "--purpose", purpose, "--format", "csv", question]);
        let mut ids: Vec<String> =
            found.lines().skip(1).filter_map(|l| l.split(',').next().map(str::to_owned)).collect();
        ids.sort();
        ids
    }

    pub(crate) fn principal(&self, owner: &str) -> String {
        let shown = self.done(&["owners", "show", "--wallet", "w.key"]);
        let row = shown.lines().find(|l| l.contains(owner)).unwrap();
        row.split_whitespace().find(|w| w.len() == 32 && w.chars().all(|c| c.is_ascii_hexdigit())).unwrap().to_owned()
    }
}

pub(crate) const PSY: &str =
    r#""meta":{"security":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"PSY"}]},"#;

pub(crate) fn patient(id: &str) -> String {
    format!(r#"{{"resourceType":"Patient","id":"{id}","birthDate":"1970-01-01"}}"#)
}

pub(crate) fn weight(id: &str, of: &str, meta: &str) -> String {
    format!(
        r#"{{"resourceType":"Observation","id":"{id}",{meta}"status":"final","code":{{"text":"c"}},"subject":{{"reference":"Patient/{of}"}},"valueQuantity":{{"value":71}}}}"#
    )
}

pub(crate) fn ids(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| format!("Observation/{n}")).collect()
}

/// Runs a command in the stage's folder, with no keys but those it names.
pub(crate) fn plain(stage: &Stage, arguments: &[&str]) -> Output {
    Command::new(EXE).args(arguments).current_dir(stage.home.path()).output().unwrap()
}

/// All that a command printed.
pub(crate) fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(|b| String::from_utf8_lossy(b).into_owned()).concat()
}

/// Waits for it, on a busy machine too.
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(90), "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
