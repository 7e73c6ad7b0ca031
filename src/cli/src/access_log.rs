//! `sealdex access-log`: who did what with a patient's records, as the gate tells it or as the public log has it.

use std::path::PathBuf;

use clap::Args;
use sealdex_client::{Accesses, Differences, Patient};
use sealdex_net::{clock::now_ms, peer::Http};
use sealdex_wire::consent::{Access, AccessKind};

use crate::{
    consent::{ListFormat, ListOptions, patient_of, print_lines},
    failure::Failure,
    output::table,
    patients::day,
};

#[derive(Args)]
#[command(after_help = "Examples:
  sealdex access-log --wallet w.key --domain domain.json --owner Patient/1
  sealdex access-log --wallet w.key --domain domain.json --owner Patient/1 --from-log --log-dir acts
      reads the public log, which the gate cannot change afterwards, and says where the gate tells something else")]
pub(crate) struct AccessLogOptions {
    #[command(flatten)]
    list: ListOptions,
    /// Read the public log of acts instead of asking the gate, and compare it with what the gate says.
    #[arg(long)]
    from_log: bool,
    /// Folder of a copy of the log: read on from there, and notice when the log takes something back.
    #[arg(long, requires = "from_log")]
    log_dir: Option<PathBuf>,
}

/// `sealdex access-log`; whether the log is in order and says what the gate says.
pub(crate) async fn run(o: AccessLogOptions) -> Result<bool, Failure> {
    let patient = patient_of(&o.list)?;
    if o.from_log {
        return from_log(&patient, &o).await;
    }
    let Accesses { all, silent } = patient.accesses().await?;
    if !silent.is_empty() {
        let nodes: Vec<String> = silent.iter().map(ToString::to_string).collect();
        eprintln!("note: nodes {} of the gate do not answer; pushes that they led are missing", nodes.join(", "));
    }
    print(&patient, &all, o.list.format, "as the gate has them")?;
    Ok(true)
}

async fn from_log(patient: &Patient, o: &AccessLogOptions) -> Result<bool, Failure> {
    let http = Http::new(o.list.ca.as_deref())?;
    let log = patient.logged(&http, o.log_dir.as_deref()).await?;
    let logged = patient.logged_accesses(&log);
    print(patient, &logged, o.list.format, &format!("in the public log of {} acts", log.size))?;
    for alarm in &log.alarms {
        eprintln!("ALARM: {alarm}");
    }
    let told = match patient.accesses().await {
        Ok(told) => told,
        Err(error) => {
            eprintln!("note: the gate was not compared with the log: {error}");
            return Ok(log.alarms.is_empty());
        }
    };
    let differences = patient.differences(&told.all, &log, now_ms());
    say(patient, &differences);
    Ok(log.alarms.is_empty() && differences.is_none())
}

fn say(patient: &Patient, differences: &Differences) {
    let Differences { not_logged, not_yet, not_told } = differences;
    let line = |a: &Access| {
        let (who, what) = (patient.name_of(a.caller), what(patient, a));
        format!("act {} of {}: {who} {what}", a.place.act, day(a.at / 1000))
    };
    for access in not_logged {
        eprintln!("ALARM: the gate tells this, the log does not have it: {}", line(access));
    }
    for access in not_told {
        eprintln!("ALARM: the log has this, the gate does not tell it: {}", line(access));
    }
    if !not_yet.is_empty() {
        eprintln!("note: {} of the last minute are not in the log yet; look again", not_yet.len());
    }
    if differences.is_none() {
        eprintln!("The gate says the same as the log.");
    }
}

/// What an access was, in a few words.
pub(crate) fn what(patient: &Patient, a: &Access) -> String {
    let reader = a.reader.map(|r| patient.name_of(r)).unwrap_or_default();
    let what = match a.kind {
        AccessKind::Search => "searched, and was given".into(),
        AccessKind::Push => "pushed".into(),
        AccessKind::Grant => format!("granted to {reader}"),
        AccessKind::Revocation => format!("revoked from {reader}"),
        AccessKind::Emergency if a.count == 1 => format!("asked for an emergency of {reader}"),
        AccessKind::Emergency if a.count == 2 => format!("WOKE the emergency grant to {reader}"),
        AccessKind::Emergency => format!("ended the emergency of {reader}"),
        AccessKind::Request => format!("asked, or had answered, access for {reader}"),
        AccessKind::Erasure => "ordered to erase".into(),
        AccessKind::Mandate if a.count == 0 => format!("ended the mandate of {reader}"),
        AccessKind::Mandate => format!("made {reader} a carer"),
    };
    if a.emergency && a.kind == AccessKind::Search { format!("EMERGENCY: {what}") } else { what }
}

fn print(patient: &Patient, all: &[Access], format: ListFormat, whence: &str) -> Result<(), Failure> {
    match format {
        ListFormat::Fhir => return print_lines(all.iter().map(|a| patient.audit_json(a))),
        ListFormat::Json => return print_lines(all.iter().filter_map(|a| serde_json::to_value(a).ok())),
        ListFormat::Table => {}
    }
    let mut t = table(&["when", "who", "what", "section", "records", "purpose"]);
    for a in all {
        let count = if a.reader.is_none() { a.count.to_string() } else { String::new() };
        let section = a.section.clone().unwrap_or_else(|| "all".into());
        let (who, purpose) = (patient.name_of(a.caller), a.purpose.clone().unwrap_or_default());
        t.add_row([day(a.at / 1000), who, what(patient, a), section, count, purpose]);
    }
    println!("{t}\n{} entries, {whence}", all.len());
    Ok(())
}
