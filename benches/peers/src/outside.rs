//! Peers that are programs of their own: asked over a pipe, they time themselves, so the pipe is not measured and they
//! take their turns with the rest.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::Failure;
use crate::report::version_in;

/// A running peer. Ends with its standard input.
pub struct Outside {
    child: Child,
    ask: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// Its version, as it says itself.
    pub version: String,
}

impl Outside {
    fn start(command: &mut Command) -> Result<Self, Failure> {
        let said = format!("{command:?}");
        let mut child = (command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn())
            .map_err(|e| format!("{said} did not start: {e}"))?;
        let (ask, answers) = (child.stdin.take(), child.stdout.take().ok_or("a pipe is missing")?);
        let mut outside = Self { child, ask, answers: BufReader::new(answers), version: String::new() };
        let ready = outside.line()?;
        let version = ready.strip_prefix("ready").ok_or(format!("{said} said {ready:?} and not that it is ready"))?;
        outside.version = version.trim().into();
        Ok(outside)
    }

    fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err("the peer ended; what it wrote to standard error says why".into());
        }
        Ok(line.trim().into())
    }

    /// How long `count` times an operation took the peer.
    pub fn time(&mut self, operation: &str, count: u64) -> Result<Duration, Failure> {
        let ask = self.ask.as_mut().ok_or("the peer has been stopped")?;
        writeln!(ask, "{operation} {count}")?;
        ask.flush()?;
        let line = self.line()?;
        let nanos =
            line.parse().map_err(|_| format!("{operation} was answered with {line:?}, not with nanoseconds"))?;
        Ok(Duration::from_nanos(nanos))
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        // The end of its input is the end of the peer.
        self.ask.take();
        let _ = self.child.wait();
    }
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("outside")
}

/// Where peers are installed: beside what cargo builds.
fn installed(name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target")).join("outside").join(name)
}

fn run(command: &mut Command) -> Result<(), Failure> {
    let said = format!("{command:?}");
    let done = command.stdin(Stdio::null()).output().map_err(|e| format!("{said} did not start: {e}"))?;
    if done.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&done.stderr);
    Err(format!("{said} failed: {}", text.lines().last().unwrap_or("it did not say why")).into())
}

/// recrypt, built by cargo.
pub fn recrypt() -> Result<Outside, Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = here().join("recrypt/Cargo.toml");
    let mut command = Command::new(cargo);
    command.args(["run", "--release", "--quiet", "--locked", "--manifest-path"]).arg(manifest);
    let mut outside = Outside::start(&mut command)?;
    outside.version = version_in(include_str!("../outside/recrypt/Cargo.lock"), "recrypt", "");
    Ok(outside)
}

/// pyope, in a virtual environment.
pub fn pyope() -> Result<Outside, Failure> {
    let venv = installed("pyope");
    let python = venv.join("bin/python");
    if !python.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "pyope==0.2.2"]))?;
    Outside::start(Command::new(&python).arg(here().join("pyope_peer.py")))
}

/// CipherSweet, in a directory of node modules.
pub fn ciphersweet() -> Result<Outside, Failure> {
    let dir = installed("ciphersweet");
    std::fs::create_dir_all(&dir)?;
    if !dir.join("node_modules/ciphersweet-js").exists() {
        // With sodium-native, as its documentation advises for speed.
        let wanted = ["install", "--no-save", "--silent", "ciphersweet-js@2.0.6", "sodium-native@3.4.1"];
        run(Command::new("npm").args(wanted).current_dir(&dir))?;
    }
    let script = dir.join("ciphersweet_peer.js");
    std::fs::copy(here().join("ciphersweet_peer.js"), &script)?;
    Outside::start(Command::new("node").arg(script).current_dir(&dir))
}
