//! A PostgreSQL server of our own, in a temporary directory, over a unix socket.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use postgres::{Client, NoTls};
use tempfile::TempDir;

use crate::Failure;

/// What its documentation advises for loading in bulk ("Populating a Database") and as a start for memory ("Resource
/// Consumption"), with everything a crash must not lose still written through.
const SETTINGS: &str = "
listen_addresses = ''
fsync = on
synchronous_commit = on
full_page_writes = on
shared_buffers = 2GB
effective_cache_size = 6GB
maintenance_work_mem = 1GB
max_wal_size = 16GB
checkpoint_timeout = 30min
wal_level = minimal
max_wal_senders = 0
random_page_cost = 1.1
";

pub struct Server {
    dir: TempDir,
    bin: PathBuf,
    user: Option<(u32, u32)>,
    pub client: Client,
    pub version: String,
}

impl Server {
    /// Starts one; the error says what is missing.
    pub fn start(parent: &Path) -> Result<Self, Failure> {
        let bin = binaries().ok_or("no postgres and initdb in the path or below /usr/lib/postgresql")?;
        let user = user()?;
        let dir = tempfile::Builder::new().prefix("sealdex-peers-pg").tempdir_in(parent)?;
        if let Some((uid, gid)) = user {
            chown(dir.path(), Some(uid), Some(gid))?;
        }
        let data = dir.path().join("data");
        let mut initdb = command(&bin, "initdb", user);
        initdb.args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "-D"]).arg(&data);
        done(&mut initdb)?;
        let settings = format!("{SETTINGS}unix_socket_directories = '{}'\n", dir.path().display());
        let conf = data.join("postgresql.conf");
        fs::write(&conf, fs::read_to_string(&conf)? + &settings)?;
        let mut start = command(&bin, "pg_ctl", user);
        start.arg("-D").arg(&data).arg("-l").arg(dir.path().join("log")).args(["-w", "start"]);
        done(&mut start)?;
        let socket = dir.path().display().to_string();
        let connected = Client::connect(&format!("host={socket} user=postgres dbname=postgres"), NoTls);
        let mut client = match connected {
            Ok(client) => client,
            Err(e) => {
                stop(&bin, user, &data);
                return Err(e.into());
            }
        };
        let version: String = client.query_one("SHOW server_version", &[])?.try_get(0)?;
        let version = version.split(' ').next().unwrap_or_default().to_owned();
        Ok(Self { dir, bin, user, client, version })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        stop(&self.bin, self.user, &self.dir.path().join("data"));
    }
}

fn stop(bin: &Path, user: Option<(u32, u32)>, data: &Path) {
    let mut stop = command(bin, "pg_ctl", user);
    if let Err(e) = done(stop.arg("-D").arg(data).args(["-m", "immediate", "-w", "stop"])) {
        eprintln!("PostgreSQL did not stop: {e}");
    }
}

fn binaries() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        dirs.extend(versions.filter_map(|v| Some(v.ok()?.path().join("bin"))));
    }
    let whole = |dir: &PathBuf| ["postgres", "initdb", "pg_ctl"].iter().all(|name| dir.join(name).exists());
    dirs.into_iter().find(whole)
}

/// Whom the server runs as: it refuses to be root. `None` when we are not root ourselves.
fn user() -> Result<Option<(u32, u32)>, Failure> {
    let id = |args: &[&str]| -> Option<u32> {
        let out = Command::new("id").args(args).output().ok()?;
        String::from_utf8(out.stdout).ok()?.trim().parse().ok()
    };
    if id(&["-u"]) != Some(0) {
        return Ok(None);
    }
    match (id(&["-u", "postgres"]), id(&["-g", "postgres"])) {
        (Some(uid), Some(gid)) => Ok(Some((uid, gid))),
        _ => Err("PostgreSQL does not run as root, and there is no user postgres: run this as somebody else".into()),
    }
}

fn command(bin: &Path, name: &str, user: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(bin.join(name));
    command.current_dir("/").stdin(Stdio::null());
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command
}

fn done(command: &mut Command) -> Result<(), Failure> {
    // Not a pipe: the server keeps what it inherits, and its end would be waited for.
    let (out, err) = (tempfile::tempfile()?, tempfile::tempfile()?);
    let status = command.stdout(out).stderr(err.try_clone()?).status();
    let status = status.map_err(|e| format!("{command:?} did not start: {e}"))?;
    if status.success() {
        return Ok(());
    }
    use std::io::{Read, Seek};
    let (mut err, mut text) = (err, String::new());
    err.rewind()?;
    err.read_to_string(&mut text)?;
    Err(format!("{command:?} failed: {}", text.lines().last().unwrap_or("it did not say why")).into())
}
