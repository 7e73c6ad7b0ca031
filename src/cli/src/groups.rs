//! `sealdex group`: wards, roles, study teams.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use sealdex_client::{Manager, group};
use sealdex_wire::{Signed, group::Handover};

use crate::{
    failure::Failure,
    key_options::KeyOptions,
    output::table,
    patients::day,
    places::{Member, write_json},
};

#[derive(Args)]
pub(crate) struct MemberOptions {
    /// The member's folder.
    #[arg(long)]
    member: PathBuf,
    /// Certificates to trust the gate by, PEM.
    #[arg(long)]
    ca: Option<PathBuf>,
    #[command(flatten)]
    keys: KeyOptions,
}

impl MemberOptions {
    pub(crate) async fn open(&self) -> Result<Member, Failure> {
        Member::open_dir(&self.member, &self.keys, self.ca.as_deref()).await
    }

    pub(crate) fn dir(&self) -> &PathBuf {
        &self.member
    }

    pub(crate) fn keys(&self) -> &KeyOptions {
        &self.keys
    }
}

#[derive(Subcommand)]
#[command(after_help = "Examples:
  sealdex group found --member users/dr-house --name ward-3 ana ben
  sealdex grant --wallet w.key --domain domain.json --owner Patient/1 --all-sections --to ward-3@dr-house
  sealdex group remove --member users/dr-house --name ward-3 ben      refused at once, then its grants are rotated")]
pub(crate) enum GroupCommand {
    /// Found a group; whoever founds it manages it.
    Found {
        #[command(flatten)]
        who: MemberOptions,
        /// Its name.
        #[arg(long)]
        name: String,
        /// Members, by name.
        members: Vec<String>,
    },
    /// Add members. What they see of the past is for each owner's grant to say.
    Add {
        #[command(flatten)]
        who: MemberOptions,
        /// The group's name.
        #[arg(long)]
        name: String,
        /// Members, by name.
        #[arg(required = true)]
        members: Vec<String>,
    },
    /// Remove members: refused at once, and the group gets a new key.
    Remove {
        #[command(flatten)]
        who: MemberOptions,
        /// The group's name.
        #[arg(long)]
        name: String,
        /// Members, by name.
        #[arg(required = true)]
        members: Vec<String>,
    },
    /// Go on with a rotation that was interrupted.
    Rotate {
        #[command(flatten)]
        who: MemberOptions,
        /// The group's name.
        #[arg(long)]
        name: String,
    },
    /// Groups of the domain and who is in them.
    List {
        #[command(flatten)]
        who: MemberOptions,
    },
    /// Write a document that hands a group over to another member.
    HandOver {
        #[command(flatten)]
        who: MemberOptions,
        /// The group's name.
        #[arg(long)]
        name: String,
        /// The new manager, by name.
        #[arg(long)]
        to: String,
        /// File to write.
        #[arg(long)]
        out: PathBuf,
    },
    /// Take a group over with such a document.
    TakeOver {
        #[command(flatten)]
        who: MemberOptions,
        /// The group, as name@manager.
        #[arg(long)]
        name: String,
        /// The document.
        #[arg(long)]
        document: PathBuf,
    },
}

async fn own(member: &Member, name: &str) -> Result<group::Group, Failure> {
    let full = match name.contains('@') {
        true => name.to_owned(),
        false => format!("{name}@{}", member.keys.secrets.name),
    };
    Ok(group::named(&member.gate, &member.trusted, &full).await?)
}

pub(crate) async fn run(command: GroupCommand) -> Result<(), Failure> {
    match command {
        GroupCommand::Found { who, name, members } => {
            let me = who.open().await?;
            let id = Manager::new(&me.keys, &me.trusted, me.gate.clone()).found(&name, &members).await?;
            let own = &me.keys.secrets.name;
            println!("The group {name}@{own} ({id}) has {} members. Owners grant to it by that name.", members.len());
        }
        GroupCommand::Add { who, name, members } => {
            let me = who.open().await?;
            let group = own(&me, &name).await?;
            Manager::new(&me.keys, &me.trusted, me.gate.clone()).add(&group, &members).await?;
            println!("{} joined {name}.", members.join(", "));
        }
        GroupCommand::Remove { who, name, members } => {
            let me = who.open().await?;
            let manager = Manager::new(&me.keys, &me.trusted, me.gate.clone());
            let group = manager.remove(&own(&me, &name).await?, &members).await?;
            println!("{} left {name} and is refused from now on.", members.join(", "));
            rotate(&manager, &group).await?;
        }
        GroupCommand::Rotate { who, name } => {
            let me = who.open().await?;
            rotate(&Manager::new(&me.keys, &me.trusted, me.gate.clone()), &own(&me, &name).await?).await?;
        }
        GroupCommand::List { who } => list(&who.open().await?).await?,
        GroupCommand::HandOver { who, name, to, out } => {
            let me = who.open().await?;
            let group = own(&me, &name).await?;
            let handover = Manager::new(&me.keys, &me.trusted, me.gate.clone()).hand_over(&group, &to)?;
            write_json(&out, &handover)?;
            println!(
                "{to} takes {name} over with: sealdex group take-over --name {name}@{} --document {}",
                me.keys.secrets.name,
                out.display()
            );
        }
        GroupCommand::TakeOver { who, name, document } => {
            let me = who.open().await?;
            let read = |e: std::io::Error| Failure::new(format!("{}: {e}", document.display()));
            let handover: Signed<Handover> = serde_json::from_slice(&std::fs::read(&document).map_err(read)?)?;
            let group = group::named(&me.gate, &me.trusted, &name).await?;
            Manager::new(&me.keys, &me.trusted, me.gate.clone()).take_over(&group, handover).await?;
            println!("{name} is managed by {} now.", me.keys.secrets.name);
        }
    }
    Ok(())
}

async fn rotate(manager: &Manager<'_>, group: &group::Group) -> Result<(), Failure> {
    let style = ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = ProgressBar::new_spinner().with_style(style);
    bar.set_message("rotating grants to the group's new key");
    let count = manager.rotate(group, |n| bar.set_message(format!("{n} grants rotated"))).await?;
    bar.finish_and_clear();
    println!("{count} grants are rotated to the group's new key (generation {}).", group.charter.generation);
    Ok(())
}

async fn list(me: &Member) -> Result<(), Failure> {
    let name = |id| me.trusted.roster.member(id).and_then(|m| m.name.clone()).unwrap_or_else(|| id.to_string());
    let mut t = table(&["group", "generation", "member", "since"]);
    let groups = group::list(&me.gate, &me.trusted, false).await?;
    for g in &groups {
        let manager = g.manager().map(name).unwrap_or_default();
        let full = format!("{}@{manager}", g.charter.name);
        for m in &g.charter.members {
            t.add_row([full.clone(), g.charter.generation.to_string(), name(m.member), day(m.since / 1000)]);
        }
        if g.charter.members.is_empty() {
            t.add_row([full, g.charter.generation.to_string(), "(nobody)".into(), String::new()]);
        }
    }
    println!("{t}\n{} groups", groups.len());
    Ok(())
}
