//! `sealdex carer`: letting someone act for an owner, and acting for one.

use clap::Subcommand;
use sealdex_client::carer::{Carer, PassTo};
use sealdex_crypto::PrincipalId;
use sealdex_net::clock::now_s;

use crate::{
    failure::Failure,
    groups::MemberOptions,
    output::table,
    patients::{Patients, WalletOptions, day},
    places::Member,
};

#[derive(Subcommand)]
#[command(
    after_help = "A carer may revoke, answer requests, and pass on what it may read itself. The owner's keys stay with the owner.
Examples:
  sealdex carer add    --wallet w.key --domain domain.json --owner Patient/1 --carer ana --days 365
  sealdex carer grant  --member users/ana --patient 5f…e1 --section observations --to ben --days 30
  sealdex carer revoke --member users/ana --patient 5f…e1 --section observations --from ben"
)]
pub(crate) enum CarerCommand {
    /// Give a member a mandate to act for an owner.
    Add {
        #[command(flatten)]
        who: WalletOptions,
        /// Member, by name.
        #[arg(long)]
        carer: String,
        /// Section it extends to; repeat for several. All when none is named.
        #[arg(long = "section")]
        sections: Vec<String>,
        /// Days it holds.
        #[arg(long, default_value_t = 365)]
        days: u64,
    },
    /// End a mandate, and whatever its carer passed on.
    Remove {
        #[command(flatten)]
        who: WalletOptions,
        /// Member, by name.
        #[arg(long)]
        carer: String,
    },
    /// Owners a member acts for.
    List {
        #[command(flatten)]
        who: MemberOptions,
    },
    /// Let another read what the carer may read itself.
    Grant {
        #[command(flatten)]
        who: MemberOptions,
        /// The owner's principal id.
        #[arg(long)]
        patient: PrincipalId,
        /// Section; repeat for several.
        #[arg(long = "section", required = true)]
        sections: Vec<String>,
        /// Who may read: a member's name, or group@manager.
        #[arg(long)]
        to: String,
        /// Days it holds; never longer than the carer's own grant.
        #[arg(long, default_value_t = 30)]
        days: u64,
    },
    /// Revoke in an owner's name.
    Revoke {
        #[command(flatten)]
        who: MemberOptions,
        /// The owner's principal id.
        #[arg(long)]
        patient: PrincipalId,
        /// Section; repeat for several. All when none is named.
        #[arg(long = "section")]
        sections: Vec<String>,
        /// From whom: a member's name, or group@manager.
        #[arg(long)]
        from: String,
    },
    /// Unanswered requests to an owner the member acts for.
    Requests {
        #[command(flatten)]
        who: MemberOptions,
        /// The owner's principal id.
        #[arg(long)]
        patient: PrincipalId,
    },
    /// Decline a request in an owner's name.
    Decline {
        #[command(flatten)]
        who: MemberOptions,
        /// The owner's principal id.
        #[arg(long)]
        patient: PrincipalId,
        /// Its number.
        #[arg(long)]
        number: u64,
    },
}

pub(crate) async fn run(command: CarerCommand) -> Result<(), Failure> {
    match command {
        CarerCommand::Add { who, carer, sections, days } => {
            let patients = Patients::open(who).await?;
            for label in patients.labels() {
                let until = now_s() + days * 86_400;
                patients.patient(&label)?.mandate(&carer, sections.clone(), until).await?;
                println!("{carer} may act for {label} until {}.", day(until));
            }
        }
        CarerCommand::Remove { who, carer } => {
            let patients = Patients::open(who).await?;
            for label in patients.labels() {
                let count = patients.patient(&label)?.mandate(&carer, Vec::new(), 0).await?;
                println!("{carer} acts for {label} no longer; {} grants it passed on ended.", count.saturating_sub(1));
            }
        }
        CarerCommand::List { who } => {
            let me = who.open().await?;
            let mandates = Carer::new(&me.keys, &me.trusted, me.gate.clone()).mandates().await?;
            let mut t = table(&["patient", "sections", "until"]);
            for m in &mandates {
                let sections = if m.sections.is_empty() { "all".into() } else { m.sections.join(", ") };
                t.add_row([m.owner.to_string(), sections, day(m.not_after)]);
            }
            println!("{t}\n{} mandates", mandates.len());
        }
        CarerCommand::Grant { who, patient, sections, to, days } => {
            let me = who.open().await?;
            let (reader, group) = reader(&me, &to).await?;
            let pass = PassTo { reader, group, not_after: now_s() + days * 86_400 };
            let carer = Carer::new(&me.keys, &me.trusted, me.gate.clone());
            let count = carer.pass_on(patient, &sections, &pass).await?;
            println!("{to} may read {} of {patient} ({count} grants).", sections.join(", "));
        }
        CarerCommand::Revoke { who, patient, sections, from } => {
            let me = who.open().await?;
            let (reader, _) = reader(&me, &from).await?;
            let id = reader.identity().map_err(|e| Failure::new(e.to_string()))?.id();
            let count = Carer::new(&me.keys, &me.trusted, me.gate.clone()).revoke(patient, id, &sections).await?;
            println!("Revoked: {count} grants of {patient} to {from} ended.");
        }
        CarerCommand::Requests { who, patient } => {
            let me = who.open().await?;
            let found = Carer::new(&me.keys, &me.trusted, me.gate.clone()).requests(patient).await?;
            let mut t = table(&["request", "from", "sections", "purpose", "days", "reason"]);
            for r in &found {
                let name = me.trusted.roster.member(r.caller).and_then(|m| m.name.clone()).unwrap_or_default();
                let (sections, purpose) = (r.ask.sections.join(", "), r.ask.purpose.clone());
                t.add_row([
                    r.number.to_string(),
                    name,
                    sections,
                    purpose,
                    r.ask.days.to_string(),
                    r.ask.reason.clone(),
                ]);
            }
            println!("{t}\n{} requests", found.len());
        }
        CarerCommand::Decline { who, patient, number } => {
            let me = who.open().await?;
            Carer::new(&me.keys, &me.trusted, me.gate.clone()).decline(patient, number).await?;
            println!("Request {number} is declined.");
        }
    }
    Ok(())
}

/// Keys of a member or group by name.
async fn reader(
    me: &Member,
    name: &str,
) -> Result<(sealdex_wire::roster::PublicKeys, Option<sealdex_wire::consent::GroupKey>), Failure> {
    if name.contains('@') {
        let group = sealdex_client::group::named(&me.gate, &me.trusted, name).await?;
        return Ok((group.charter.group, Some(group.key())));
    }
    let member = me.trusted.roster.named(name);
    Ok((member.ok_or_else(|| Failure::new(format!("the roster has no member \"{name}\"")))?.keys, None))
}
