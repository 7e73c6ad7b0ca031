//! `sealdex emergency`: break-glass.

use clap::Subcommand;
use sealdex_client::{
    Patient,
    emergency::{self, text},
};
use sealdex_crypto::PrincipalId;
use sealdex_net::clock::now_s;
use sealdex_wire::{B32, care::WakeState};

use crate::{
    failure::Failure,
    groups::MemberOptions,
    output::table,
    patients::{Patients, WalletOptions, day},
};

#[derive(Subcommand)]
#[command(after_help = "A patient leaves a dormant grant with: sealdex grant … --waker er@north --minutes 240
Examples:
  sealdex emergency ask  --member users/ana --patient 5f…e1 --for er@north --minutes 60 --reason 'unconscious'
  sealdex emergency list --member users/ben
  sealdex emergency sign --member users/ben --id 9c41…            the second person; from then on it is awake")]
pub(crate) enum EmergencyCommand {
    /// Ask for an emergency grant to be woken: the first of two people.
    Ask {
        #[command(flatten)]
        who: MemberOptions,
        /// The owner's principal id.
        #[arg(long)]
        patient: PrincipalId,
        /// Whose dormant grant: a member's name, or group@manager; the member's own when not given.
        #[arg(long = "for")]
        reader: Option<String>,
        /// How long, minutes.
        #[arg(long, default_value_t = 60)]
        minutes: u64,
        /// Why; the owner reads it.
        #[arg(long)]
        reason: String,
    },
    /// Sign what another asked for: the second of two people.
    Sign {
        #[command(flatten)]
        who: MemberOptions,
        /// Its id, or the beginning of it.
        #[arg(long)]
        id: String,
    },
    /// Emergencies the member may sign, or has signed.
    List {
        #[command(flatten)]
        who: MemberOptions,
    },
    /// End one before its time, as one of those who signed it.
    End {
        #[command(flatten)]
        who: MemberOptions,
        /// Its id, or the beginning of it.
        #[arg(long)]
        id: String,
    },
    /// Emergencies of an owner's records.
    Of {
        #[command(flatten)]
        who: WalletOptions,
    },
    /// End one before its time, as the owner.
    Close {
        #[command(flatten)]
        who: WalletOptions,
        /// Its id, or the beginning of it.
        #[arg(long)]
        id: String,
    },
}

fn hex(id: &B32) -> String {
    format!("{id:?}")
}

fn find<'a>(all: &'a [WakeState], id: &str) -> Result<&'a WakeState, Failure> {
    let mut fitting = all.iter().filter(|w| !id.is_empty() && hex(&w.id).starts_with(id));
    match (fitting.next(), fitting.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(Failure::new(format!("no emergency \"{id}\": see `sealdex emergency list`"))),
        _ => Err(Failure::new(format!("several emergencies begin with \"{id}\": give more of the id"))),
    }
}

fn status(wake: &WakeState) -> Result<&'static str, Failure> {
    Ok(match (wake.closed_at, wake.woken_at) {
        (Some(_), _) => "ended",
        (None, _) if text(wake)?.until <= now_s() => "over",
        (None, Some(_)) => "AWAKE",
        (None, None) => "waits for a second person",
    })
}

pub(crate) async fn run(command: EmergencyCommand) -> Result<(), Failure> {
    match command {
        EmergencyCommand::Ask { who, patient, reader, minutes, reason } => {
            let me = who.open().await?;
            let reader = match reader {
                None => me.keys.identity.id(),
                Some(name) if name.contains('@') => {
                    sealdex_client::group::named(&me.gate, &me.trusted, &name).await?.id
                }
                Some(name) => {
                    let member = me.trusted.roster.named(&name);
                    member.ok_or_else(|| Failure::new(format!("the roster has no member \"{name}\"")))?.id
                }
            };
            let state = emergency::ask(&me.keys, &me.gate, patient, reader, minutes, &reason).await?;
            let id = hex(&state.id);
            println!("Emergency {} waits for a second person: sealdex emergency sign --id {}", &id[..16], &id[..16]);
        }
        EmergencyCommand::Sign { who, id } => {
            let me = who.open().await?;
            let found = emergency::list(&me.gate).await?;
            let wake = find(&found, &id)?;
            let text = text(wake)?;
            let state = emergency::countersign(&me.keys, &me.trusted, &me.gate, wake).await?;
            println!(
                "Emergency {}: {}, until {}. The patient is told.",
                &hex(&state.id)[..16],
                status(&state)?,
                day(text.until)
            );
        }
        EmergencyCommand::List { who } => {
            let me = who.open().await?;
            let found = emergency::list(&me.gate).await?;
            let name = |id| me.trusted.roster.member(id).and_then(|m| m.name.clone()).unwrap_or_else(|| id.to_string());
            let mut t = table(&["emergency", "patient", "reason", "signed by", "until", "status"]);
            for wake in &found {
                let text = text(wake)?;
                let by: Vec<String> = wake.signed.iter().map(|s| name(s.signer)).collect();
                let (id, until) = (hex(&wake.id)[..16].to_owned(), day(text.until));
                t.add_row([id, text.owner.to_string(), text.reason, by.join(", "), until, status(wake)?.into()]);
            }
            println!("{t}\n{} emergencies", found.len());
        }
        EmergencyCommand::End { who, id } => {
            let me = who.open().await?;
            let found = emergency::list(&me.gate).await?;
            let wake = find(&found, &id)?;
            emergency::end(&me.gate, wake).await?;
            println!("Emergency {} is ended.", &hex(&wake.id)[..16]);
        }
        EmergencyCommand::Of { who } => {
            let patients = Patients::open(who).await?;
            for label in patients.labels() {
                let patient = patients.patient(&label)?;
                let found = patient.emergencies().await?;
                println!("{label}\n{}\n{} emergencies", as_table(&patient, &found).await?, found.len());
            }
        }
        EmergencyCommand::Close { who, id } => {
            let patient = Patients::open(who).await?.only()?;
            let found = patient.emergencies().await?;
            let wake = find(&found, &id)?;
            patient.close_emergency(wake).await?;
            println!("Emergency {} is ended.", &hex(&wake.id)[..16]);
        }
    }
    Ok(())
}

pub(crate) async fn as_table(patient: &Patient, emergencies: &[WakeState]) -> Result<comfy_table::Table, Failure> {
    let mut t = table(&["emergency", "for", "reason", "signed by", "asked", "until", "status"]);
    for wake in emergencies {
        let text = text(wake)?;
        let by: Vec<String> = wake.signed.iter().map(|s| patient.name_of(s.signer)).collect();
        t.add_row([
            hex(&wake.id)[..16].to_owned(),
            patient.reader_name(text.reader).await?,
            text.reason.clone(),
            by.join(", "),
            day(text.asked_at / 1000),
            day(text.until),
            status(wake)?.into(),
        ]);
    }
    Ok(t)
}
