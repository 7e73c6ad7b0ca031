//! `sealdex doctor`: looks at an installation, changes nothing, and says what is wrong and what to do.

mod files;
mod servers;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, ValueEnum};
use sealdex_net::peer::Http;
use sealdex_wire::roster::Roster;
use serde::Serialize;

use crate::{failure::Failure, output::table, places::roster_of};

/// Exit code when something is wrong.
const WRONG: u8 = 3;

#[derive(Args)]
#[command(after_help = "Examples:
  sealdex doctor --member users/ana
  sealdex doctor --cloud cloud-data --backup-dir /backups --keys cloud.key --url https://cloud.example
  sealdex doctor --gate gate.redb --backup-dir /gate-backups --keys gate.key --tls-cert chain.pem
  sealdex doctor --url http://127.0.0.1:7411 --format json

It opens no key file and no store, so it asks for no passphrase and can look at what is running. Ends with 0 when nothing is
wrong (warnings may be), with 3 when something is, with 1 when it could not look.")]
pub(crate) struct DoctorOptions {
    /// A member's folder: key file, domain pack, and the servers that it names.
    #[arg(long, value_name = "DIR")]
    member: Vec<PathBuf>,
    /// A provider's folder: its key file and its owner map.
    #[arg(long, value_name = "DIR")]
    provider: Vec<PathBuf>,
    /// A cloud's data folder.
    #[arg(long, value_name = "DIR")]
    cloud: Vec<PathBuf>,
    /// A gate's store.
    #[arg(long, value_name = "STORE")]
    gate: Vec<PathBuf>,
    /// Folder of backups, of a cloud or a gate.
    #[arg(long, value_name = "DIR")]
    backup_dir: Vec<PathBuf>,
    /// Oldest the newest backup may be: a number and s, m, h or d.
    #[arg(long, value_name = "TIME", default_value = "2h")]
    backup_age: sealdex_net::clock::Every,
    /// Key file.
    #[arg(long, value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// Certificate chain, PEM.
    #[arg(long, value_name = "FILE")]
    tls_cert: Vec<PathBuf>,
    /// Domain pack: its servers and its log are looked at.
    #[arg(long, value_name = "FILE")]
    domain: Vec<PathBuf>,
    /// A server, by its address.
    #[arg(long, value_name = "URL")]
    url: Vec<String>,
    /// Only these checks count and are shown, by their names: for health checks of containers, `server` and `ready`.
    #[arg(long, value_name = "CHECK")]
    only: Vec<String>,
    /// Certificates to trust servers by, PEM.
    #[arg(long)]
    ca: Option<PathBuf>,
    /// Output.
    #[arg(long, value_enum, default_value_t)]
    format: DoctorFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum DoctorFormat {
    /// For people.
    #[default]
    Table,
    /// One document.
    Json,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warning,
    Wrong,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
struct Finding {
    level: Level,
    /// A word for it, for programs.
    check: &'static str,
    /// File or server.
    subject: String,
    found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "String::is_empty")]
    advice: String,
}

/// What was found so far.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, level: Level, check: &'static str, subject: impl ToString, found: impl ToString, advice: &str) {
        let (subject, found, advice) = (subject.to_string(), found.to_string(), advice.to_owned());
        let advice = if level == Level::Ok { String::new() } else { advice };
        self.0.push(Finding { level, check, subject, found, advice });
    }

    fn ok(&mut self, check: &'static str, subject: impl ToString, found: impl ToString) {
        self.add(Level::Ok, check, subject, found, "");
    }
}

pub(crate) async fn run(o: DoctorOptions) -> Result<ExitCode, Failure> {
    let named = [&o.member, &o.provider, &o.cloud, &o.gate, &o.backup_dir, &o.keys, &o.tls_cert, &o.domain];
    if named.iter().all(|n| n.is_empty()) && o.url.is_empty() {
        return Err(Failure::new(
            "say what to look at: --member, --provider, --cloud, --gate, --domain, --keys, --url, … (--help)",
        ));
    }
    let mut found = Findings::default();
    let mut rosters: Vec<(PathBuf, Roster)> = Vec::new();
    for dir in &o.member {
        files::folder(dir, "member-folder", &mut found);
        files::key(&dir.join("member.key"), &mut found);
        pack(&dir.join("domain.json"), &mut rosters, &mut found);
    }
    o.provider.iter().for_each(|dir| files::provider(dir, &mut found));
    o.domain.iter().for_each(|file| pack(file, &mut rosters, &mut found));
    o.keys.iter().for_each(|file| files::key(file, &mut found));
    o.cloud.iter().for_each(|dir| files::cloud(dir, &mut found));
    o.gate.iter().for_each(|store| files::gate(store, &mut found));
    o.backup_dir.iter().for_each(|dir| files::backups(dir, o.backup_age.0, &mut found));
    o.tls_cert.iter().for_each(|file| files::certificate(file, &mut found));
    if !o.cloud.is_empty() || !o.gate.is_empty() {
        files::limits(&mut found);
    }
    let http = Http::new(o.ca.as_deref())?;
    let ca = o.ca.as_deref();
    for url in &o.url {
        servers::look(&http, url, ca, &mut found).await;
    }
    for (file, roster) in &rosters {
        servers::of(&http, file, roster, ca, &mut found).await;
    }
    if !o.only.is_empty() {
        found.0.retain(|f| o.only.iter().any(|only| only == f.check));
    }
    let worst = found.0.iter().map(|f| f.level).max().unwrap_or(Level::Ok);
    print(&found.0, worst, o.format)?;
    Ok(if worst == Level::Wrong { ExitCode::from(WRONG) } else { ExitCode::SUCCESS })
}

fn pack(file: &std::path::Path, rosters: &mut Vec<(PathBuf, Roster)>, found: &mut Findings) {
    match roster_of(file) {
        Ok(roster) => {
            let said = format!("domain {}, roster version {}, signed by its authority", roster.domain, roster.version);
            found.ok("domain-pack", file.display(), said);
            rosters.push((file.into(), roster));
        }
        Err(error) => found.add(
            Level::Wrong,
            "domain-pack",
            file.display(),
            error,
            "get domain.json from the authority again (sealdex domain enrol wrote it)",
        ),
    }
}

fn print(found: &[Finding], worst: Level, format: DoctorFormat) -> Result<(), Failure> {
    if format == DoctorFormat::Json {
        println!("{}", serde_json::to_string_pretty(&serde_json::json!({ "worst": worst, "findings": found }))?);
        return Ok(());
    }
    let mut rows = table(&["", "check", "of", "found"]);
    for f in found {
        let mark = match f.level {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Wrong => "WRONG",
        };
        rows.add_row([mark, f.check, &f.subject, &f.found]);
    }
    println!("{rows}");
    for f in found.iter().filter(|f| f.level != Level::Ok) {
        println!("{} ({}): {}", f.check, f.subject, f.advice);
    }
    let count = |level| found.iter().filter(|f| f.level == level).count();
    println!("{} in order, {} warnings, {} wrong.", count(Level::Ok), count(Level::Warning), count(Level::Wrong));
    Ok(())
}
