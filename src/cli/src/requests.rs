//! `sealdex request`: asking an owner for access, and answering.

use clap::Subcommand;
use sealdex_client::Patient;
use sealdex_crypto::PrincipalId;
use sealdex_wire::{
    care::{AnswerRequest, AskAccess, Asked, ListRequests, RequestList, RequestState, RequestStatus},
    consent::Accepted,
};

use crate::{
    failure::Failure,
    groups::MemberOptions,
    output::table,
    patients::{Patients, WalletOptions, day},
};

#[derive(Subcommand)]
#[command(after_help = "Examples:
  sealdex request make --member users/ana --patient 5f…e1 --section observations --reason 'second opinion' --days 30
  sealdex request list --wallet w.key --domain domain.json --owner Patient/1
  sealdex request approve --wallet w.key --domain domain.json --owner Patient/1 --number 3 --days 7")]
pub(crate) enum RequestCommand {
    /// Ask an owner for access.
    Make {
        #[command(flatten)]
        who: MemberOptions,
        /// The owner's principal id, as the owner or its hospital tells it (`sealdex owners show`).
        #[arg(long)]
        patient: PrincipalId,
        /// For a group the member belongs to, as name@manager; else for itself.
        #[arg(long)]
        group: Option<String>,
        /// Section; repeat for several.
        #[arg(long = "section", required = true)]
        sections: Vec<String>,
        /// Purpose of use.
        #[arg(long, default_value = "treatment")]
        purpose: String,
        /// Days it would hold.
        #[arg(long, default_value_t = 30)]
        days: u32,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// Requests the member made, and what became of them.
    Made {
        #[command(flatten)]
        who: MemberOptions,
    },
    /// Take a request back.
    Withdraw {
        #[command(flatten)]
        who: MemberOptions,
        /// The owner's principal id.
        #[arg(long)]
        patient: PrincipalId,
        /// Its number.
        #[arg(long)]
        number: u64,
    },
    /// Requests to an owner.
    List {
        #[command(flatten)]
        who: WalletOptions,
        /// Answered ones too.
        #[arg(long)]
        all: bool,
    },
    /// Grant what was asked for, or less.
    Approve {
        #[command(flatten)]
        who: WalletOptions,
        /// Its number.
        #[arg(long)]
        number: u64,
        /// Only this section of it; repeat for several.
        #[arg(long = "section")]
        sections: Vec<String>,
        /// For fewer days.
        #[arg(long)]
        days: Option<u32>,
    },
    /// Decline.
    Decline {
        #[command(flatten)]
        who: WalletOptions,
        /// Its number.
        #[arg(long)]
        number: u64,
    },
}

pub(crate) async fn run(command: RequestCommand) -> Result<(), Failure> {
    match command {
        RequestCommand::Make { who, patient, group, sections, purpose, days, reason } => {
            let me = who.open().await?;
            let reader = match group {
                None => me.keys.identity.id(),
                Some(name) => sealdex_client::group::named(&me.gate, &me.trusted, &name).await?.id,
            };
            let ask = AskAccess { owner: patient, reader, sections, purpose, days, reason };
            let asked: Asked = me.gate.post_json("/v1/requests", &ask).await?;
            println!("Request {} is before its owner. See `sealdex request made`.", asked.number);
        }
        RequestCommand::Made { who } => {
            let me = who.open().await?;
            let request = ListRequests { owner: None, pending: false };
            let found: RequestList = me.gate.post_json("/v1/requests/list", &request).await?;
            let mut t = table(&["number", "patient", "sections", "purpose", "asked", "status"]);
            for r in &found.requests {
                let (number, patient) = (r.number.to_string(), r.ask.owner.to_string());
                let status = format!("{:?}", r.status).to_lowercase();
                let (sections, asked) = (r.ask.sections.join(", "), day(r.asked_at / 1000));
                t.add_row([number, patient, sections, r.ask.purpose.clone(), asked, status]);
            }
            println!("{t}\n{} requests", found.requests.len());
        }
        RequestCommand::Withdraw { who, patient, number } => {
            let me = who.open().await?;
            let answer = AnswerRequest { owner: patient, number, status: RequestStatus::Withdrawn };
            let _: Accepted = me.gate.post_json("/v1/requests/answer", &answer).await?;
            println!("Request {number} is withdrawn.");
        }
        RequestCommand::List { who, all } => {
            let patients = Patients::open(who).await?;
            for label in patients.labels() {
                let patient = patients.patient(&label)?;
                let found = patient.requests(!all).await?;
                println!("{label}\n{}\n{} requests", as_table(&patient, &found).await?, found.len());
            }
        }
        RequestCommand::Approve { who, number, sections, days } => {
            let mut patients = Patients::open(who).await?;
            let mut patient = patients.only()?;
            patient.sync().await?;
            let count = patient.approve(number, &sections, days).await?;
            patients.keep(&patient);
            patients.save()?;
            println!("Request {number} is approved ({count} grants).");
        }
        RequestCommand::Decline { who, number } => {
            Patients::open(who).await?.only()?.decline(number).await?;
            println!("Request {number} is declined.");
        }
    }
    Ok(())
}

pub(crate) async fn as_table(patient: &Patient, requests: &[RequestState]) -> Result<comfy_table::Table, Failure> {
    let mut t = table(&["request", "from", "for", "sections", "purpose", "days", "reason", "asked", "status"]);
    for r in requests {
        t.add_row([
            r.number.to_string(),
            patient.name_of(r.caller),
            patient.reader_name(r.ask.reader).await?,
            r.ask.sections.join(", "),
            r.ask.purpose.clone(),
            r.ask.days.to_string(),
            r.ask.reason.clone(),
            day(r.asked_at / 1000),
            format!("{:?}", r.status).to_lowercase(),
        ]);
    }
    Ok(t)
}
