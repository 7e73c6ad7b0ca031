//! `sealdex domain`: the authority's commands.

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use comfy_table::Table;
use sealdex_client::{
    Ceremony,
    ceremony::{AUTHORITY_KIND, CLOUD_KIND, GATE_KIND, LedgerChange, Standing},
    owner,
};
use sealdex_member::{GateLink, MEMBER_KIND, MemberKeys, Trusted, keys::write_secrets};
use sealdex_net::{Peer, peer::Http};
use sealdex_schema::{IndexKind, Schema, Scope};
use sealdex_wire::{
    consent::{Accepted, Bridge},
    family::MemberList,
    operations::ResumeGate,
    roster::{Budget, Proofs, Role, Roster, Server, Status},
};

use crate::{
    audit::{self, AuditorCommand},
    failure::Failure,
    key_options::KeyOptions,
    ledger, nodes,
    output::table,
    places::{AuthorityDir, schema_text, write_json},
    trace,
};

#[derive(Subcommand)]
pub(crate) enum DomainCommand {
    /// Found a domain: keys of authority, gate and cloud, an empty roster, the schema.
    Init {
        /// New folder for the authority. Keep it offline.
        #[arg(long)]
        dir: PathBuf,
        /// Name of the domain.
        #[arg(long)]
        name: String,
        /// Address members will reach the gate at; once for each of its nodes.
        #[arg(long, default_value = "http://127.0.0.1:7411")]
        gate_url: Vec<String>,
        /// Share the gate's scalars over this many nodes. Addresses not given follow from the first: ten ports on each.
        #[arg(long, requires = "threshold", value_parser = clap::value_parser!(u16).range(2..=64))]
        gates: Option<u16>,
        /// How many of the nodes it takes to answer: more than half.
        #[arg(long, requires = "gates")]
        threshold: Option<u16>,
        /// Address members will reach the cloud at.
        #[arg(long, default_value = "http://127.0.0.1:7412")]
        cloud_url: String,
        /// Schema: a TOML file, or fhir-r4, diabetes130.
        #[arg(long, default_value = "fhir-r4")]
        schema: String,
        /// Without logs: nothing the cloud does can be checked, and pushing costs a little less. Not to be changed later.
        #[arg(long)]
        no_log: bool,
        #[command(flatten)]
        keys: KeyOptions,
    },
    /// Enrol a member: writes its folder and tells gate and cloud, which must be running.
    Enrol {
        /// The authority's folder.
        #[arg(long)]
        dir: PathBuf,
        /// Name in the roster.
        #[arg(long)]
        name: String,
        /// What it may do.
        #[arg(long)]
        role: RoleName,
        /// It may count and never read: the smallest count it is told, and what counts are multiples of.
        #[arg(long)]
        counts_from: Option<u32>,
        /// Revoked member whose grants it takes over (`sealdex member take-over`), after that one's key leaked.
        #[arg(long)]
        succeeds: Option<String>,
        /// New folder for the member.
        #[arg(long)]
        out: PathBuf,
        /// Certificates to trust gate and cloud by, PEM.
        #[arg(long)]
        ca: Option<PathBuf>,
        #[command(flatten)]
        keys: KeyOptions,
    },
    /// Revoke a member and everyone it enrolled.
    Revoke {
        /// The authority's folder.
        #[arg(long)]
        dir: PathBuf,
        /// Name in the roster.
        #[arg(long)]
        name: String,
        /// Certificates to trust gate and cloud by, PEM.
        #[arg(long)]
        ca: Option<PathBuf>,
        #[command(flatten)]
        keys: KeyOptions,
    },
    /// What a member with all below it may ask in 24 hours, each for itself; for everyone else when none is named.
    Budget {
        /// The authority's folder.
        #[arg(long)]
        dir: PathBuf,
        /// Name in the roster.
        #[arg(long)]
        name: Option<String>,
        /// Tokens searched for.
        #[arg(long)]
        tokens: u64,
        /// Ranges searched for.
        #[arg(long)]
        ranges: u64,
        /// Index entries bridged.
        #[arg(long)]
        entries: u64,
        /// Certificates to trust gate and cloud by, PEM.
        #[arg(long)]
        ca: Option<PathBuf>,
        #[command(flatten)]
        keys: KeyOptions,
    },
    /// Name whose key file was found in the wild, what it could reach and what it did reach; with --revoke, revoke it
    /// and everyone below it at once.
    Trace {
        /// The authority's folder.
        #[arg(long)]
        dir: PathBuf,
        /// The key file, or a file with a principal id in hex.
        keyfile: PathBuf,
        /// Revoke it and everyone below it.
        #[arg(long)]
        revoke: bool,
        /// Rows shown of each list.
        #[arg(long, default_value_t = 20)]
        rows: u32,
        /// Certificates to trust gate and cloud by, PEM.
        #[arg(long)]
        ca: Option<PathBuf>,
        #[command(flatten)]
        keys: KeyOptions,
    },
    /// Send the roster to gate and cloud again, for instance to a cloud that starts anew.
    Announce {
        /// The authority's folder.
        #[arg(long)]
        dir: PathBuf,
        /// Certificates to trust gate and cloud by, PEM.
        #[arg(long)]
        ca: Option<PathBuf>,
        #[command(flatten)]
        keys: KeyOptions,
    },
    /// Let a gate that was restored from a backup serve again: sends the roster, then accepts the loss.
    ResumeGate {
        /// The authority's folder.
        #[arg(long)]
        dir: PathBuf,
        /// Time of the backup, as the gate says it: what came after it, revocations too, may be lost.
        #[arg(long, value_name = "TIME", value_parser = crate::gate::time)]
        accept_loss_after: u64,
        /// Certificates to trust gate and cloud by, PEM.
        #[arg(long)]
        ca: Option<PathBuf>,
        #[command(flatten)]
        keys: KeyOptions,
    },
    /// Prepare a node that is to join the gate: its key file. It is dealt its shares by `domain reshare`.
    AddNode {
        /// The authority's folder.
        #[arg(long)]
        dir: PathBuf,
        /// Address members will reach it at.
        #[arg(long)]
        url: String,
        #[command(flatten)]
        keys: KeyOptions,
    },
    /// Share the gate's scalars anew: refreshes every node, and adds, replaces or leaves out some. No patient takes part.
    Reshare {
        /// The authority's folder.
        #[arg(long)]
        dir: PathBuf,
        /// Nodes to add, as `domain add-node` numbered them; they must be running.
        #[arg(long)]
        with: Vec<u16>,
        /// Nodes to leave out.
        #[arg(long)]
        without: Vec<u16>,
        /// How many it takes from then on; as many as now when not given.
        #[arg(long)]
        threshold: Option<u16>,
        /// Certificates to trust the nodes by, PEM.
        #[arg(long)]
        ca: Option<PathBuf>,
        #[command(flatten)]
        keys: KeyOptions,
    },
    /// Who witnesses the domain's logs, and which checkpoints are believed. Without a change, shows it.
    #[command(after_help = "Examples:
  sealdex domain ledger --dir domain --witness 'hospital-a/w+1f2e3d4c+BA…' http://127.0.0.1:7431
  sealdex domain ledger --dir domain --quorum 2 --max-age 300
  sealdex domain ledger --dir domain --proofs member

Witnesses make their keys with `sealdex witness keygen`. With --proofs gate (as founded) the gate checks that the cloud
left nothing out; with --proofs member the member that asks checks too, and so learns how many records match that it may
not read.")]
    Ledger {
        /// The authority's folder.
        #[arg(long)]
        dir: PathBuf,
        /// A witness to add: its verifier key, and the address the cloud reaches it at.
        #[arg(long, num_args = 2, value_names = ["KEY", "URL"])]
        witness: Vec<String>,
        /// A witness to leave out, by the name in its key.
        #[arg(long)]
        without: Vec<String>,
        /// How many witnesses must have cosigned a checkpoint.
        #[arg(long)]
        quorum: Option<u32>,
        /// Oldest that their cosignatures may be, seconds.
        #[arg(long, value_parser = clap::value_parser!(u64).range(10..))]
        max_age: Option<u64>,
        /// Who checks that answers are whole.
        #[arg(long)]
        proofs: Option<ProofsName>,
        /// Certificates to trust gate and cloud by, PEM.
        #[arg(long)]
        ca: Option<PathBuf>,
        #[command(flatten)]
        keys: KeyOptions,
    },
    /// Who reads every act in the log of acts.
    #[command(subcommand)]
    Auditor(AuditorCommand),
    /// Show the roster.
    Show {
        /// The authority's folder.
        #[arg(long)]
        dir: PathBuf,
        #[command(flatten)]
        keys: KeyOptions,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum RoleName {
    Provider,
    User,
}

impl From<RoleName> for Role {
    fn from(r: RoleName) -> Self {
        match r {
            RoleName::Provider => Self::Provider,
            RoleName::User => Self::User,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ProofsName {
    Gate,
    Member,
}

pub(crate) async fn run(command: DomainCommand) -> Result<(), Failure> {
    match command {
        DomainCommand::Init { dir, name, gate_url, gates, threshold, cloud_url, schema, no_log, keys } => {
            let text = schema_text(&schema)?;
            let dir = AuthorityDir(dir);
            let urls = nodes::addresses(gate_url, gates)?;
            let founding = Founding { name: &name, gate_urls: &urls, threshold, cloud_url: &cloud_url, log: !no_log };
            init(&dir, &founding, &text, &keys)?;
            println!("Domain {name} is founded in {}.", dir.0.display());
            println!("Next: start the servers on their machines,");
            println!("  sealdex serve cloud --keys {} --dir cloud-data", dir.cloud().display());
            match threshold {
                None => println!("  sealdex serve gate --keys {} --store gate.redb", dir.gate().display()),
                Some(_) => nodes::say_how_to_serve(&dir, &urls),
            }
            println!("then enrol members: sealdex domain enrol --help");
            Ok(())
        }
        DomainCommand::Enrol { dir, name, role, counts_from, succeeds, out, ca, keys } => {
            let authority = Authority::open(AuthorityDir(dir), &keys, ca.as_deref())?;
            let unknown = |n: &String| Failure::new(format!("the roster has no member named \"{n}\""));
            let before = |n: &String| authority.ceremony.roster.named(n).map(|m| m.id).ok_or_else(|| unknown(n));
            let standing = Standing { counts_from, succeeds: succeeds.as_ref().map(before).transpose()? };
            authority.enrol_as(&[(name.clone(), role.into(), out.clone())], standing, &keys).await?;
            println!("{name} is enrolled; its folder is {}. Hand it over safely.", out.display());
            Ok(())
        }
        DomainCommand::Revoke { dir, name, ca, keys } => {
            let mut authority = Authority::open(AuthorityDir(dir), &keys, ca.as_deref())?;
            authority.revoke(&name).await?;
            println!("{name} is revoked, and everyone below it.");
            Ok(())
        }
        DomainCommand::Budget { dir, name, tokens, ranges, entries, ca, keys } => {
            let mut authority = Authority::open(AuthorityDir(dir), &keys, ca.as_deref())?;
            let unknown = |n: &String| Failure::new(format!("the roster has no member named \"{n}\""));
            let id = |n: &String| authority.ceremony.roster.named(n).map(|m| m.id).ok_or_else(|| unknown(n));
            let member = name.as_ref().map(id).transpose()?;
            authority.ceremony.set_budget(Budget { member, tokens, ranges, entries });
            authority.announce(Vec::new()).await?;
            let who = name.unwrap_or_else(|| "Everyone without a budget of their own".into());
            println!("{who}: {tokens} tokens, {ranges} ranges, {entries} index entries in 24 hours.");
            Ok(())
        }
        DomainCommand::Trace { dir, keyfile, revoke, rows, ca, keys } => {
            let mut authority = Authority::open(AuthorityDir(dir), &keys, ca.as_deref())?;
            trace::run(&mut authority, &keyfile, revoke, rows, &keys).await
        }
        DomainCommand::Announce { dir, ca, keys } => {
            let mut authority = Authority::open(AuthorityDir(dir), &keys, ca.as_deref())?;
            authority.ceremony.roster.version += 1;
            authority.announce(Vec::new()).await?;
            println!("Gate and cloud have roster version {}.", authority.ceremony.roster.version);
            Ok(())
        }
        DomainCommand::ResumeGate { dir, accept_loss_after, ca, keys } => {
            let mut authority = Authority::open(AuthorityDir(dir), &keys, ca.as_deref())?;
            authority.ceremony.roster.version += 1;
            authority.announce(Vec::new()).await?;
            let roster_version = authority.ceremony.roster.version;
            let request = ResumeGate { accept_loss_after, roster_version };
            let _: Accepted = authority.gate()?.post_json("/v1/resume", &request).await?;
            println!("The gate serves again, with roster version {roster_version}.");
            println!("Members enrolled after the backup have no bridge scalar there: enrol them anew.");
            Ok(())
        }
        DomainCommand::AddNode { dir, url, keys } => nodes::add(&AuthorityDir(dir), &url, &keys),
        DomainCommand::Reshare { dir, with, without, threshold, ca, keys } => {
            let authority = Authority::open(AuthorityDir(dir), &keys, ca.as_deref())?;
            nodes::reshare(authority, &with, &without, threshold).await
        }
        DomainCommand::Ledger { dir, witness, without, quorum, max_age, proofs, ca, keys } => {
            let with = witness.as_chunks().0.iter().map(|[key, url]| (key.clone(), url.clone())).collect();
            let proofs = proofs.map(|p| match p {
                ProofsName::Gate => Proofs::Gate,
                ProofsName::Member => Proofs::Member,
            });
            let change = LedgerChange { with, without, quorum, max_age, proofs };
            ledger::change(Authority::open(AuthorityDir(dir), &keys, ca.as_deref())?, change).await
        }
        DomainCommand::Auditor(command) => audit::auditor(command).await,
        DomainCommand::Show { dir, keys } => {
            let (ceremony, _) = AuthorityDir(dir).open(&keys)?;
            show(&ceremony);
            Ok(())
        }
    }
}

fn show(ceremony: &Ceremony) {
    let roster = &ceremony.roster;
    println!("Domain {}, roster version {}", roster.domain, roster.version);
    if let Some(sharing) = roster.sharing {
        let (of, epoch) = (roster.gates.len(), sharing.epoch);
        println!("The gate takes {} of its {of} nodes; epoch {epoch} of the sharing of its scalars", sharing.threshold);
    }
    let mut t = table(&["who", "role", "status", "id", "where"]);
    for (role, servers) in [("gate", &roster.gates), ("cloud", &roster.clouds)] {
        for s in servers {
            let node = s.node.map(|n| format!("node {n}")).unwrap_or_default();
            t.add_row([&node, role, "", &s.id.to_string(), &s.url]);
        }
    }
    for m in &roster.members {
        let role = match m.role {
            Role::Provider => "provider",
            Role::User => "user",
        };
        let status = match m.status {
            Status::Active => "active",
            Status::Revoked => "revoked",
        };
        t.add_row([m.name.as_deref().unwrap_or(""), role, status, &m.id.to_string(), ""]);
    }
    println!("{t}");
}

/// A domain to be.
pub(crate) struct Founding<'a> {
    pub(crate) name: &'a str,
    /// The gate, or its nodes.
    pub(crate) gate_urls: &'a [String],
    /// How many nodes it takes.
    pub(crate) threshold: Option<u16>,
    pub(crate) cloud_url: &'a str,
    /// Whether what the cloud does is logged.
    pub(crate) log: bool,
}

/// Founds a domain in a new folder. With a threshold, the gate has a node at each address.
pub(crate) fn init(
    dir: &AuthorityDir,
    founding: &Founding<'_>,
    schema: &str,
    keys: &KeyOptions,
) -> Result<(), Failure> {
    Schema::parse(schema)?;
    let Founding { name, gate_urls, threshold, cloud_url, log } = *founding;
    let (mut ceremony, nodes, cloud) = match (threshold, gate_urls) {
        (Some(threshold), urls) => Ceremony::found_shared(name, urls, threshold, cloud_url)?,
        (None, [url]) => {
            let (ceremony, cloud) = Ceremony::found(name, url, cloud_url)?;
            (ceremony, Vec::new(), cloud)
        }
        (None, _) => return Err(Failure::new("several gates take --gates and --threshold")),
    };
    if !log {
        ceremony.roster.ledger = None;
    }
    let passphrase = keys.to_write()?;
    write_secrets(&dir.authority(), AUTHORITY_KIND, &ceremony.keys, passphrase.as_ref())?;
    for (number, node) in (1..).zip(&nodes) {
        write_secrets(&dir.node(number), GATE_KIND, node, passphrase.as_ref())?;
    }
    if nodes.is_empty() {
        write_secrets(&dir.gate(), GATE_KIND, &ceremony.keys.gate, passphrase.as_ref())?;
    }
    write_secrets(&dir.cloud(), CLOUD_KIND, &cloud, passphrase.as_ref())?;
    write_json(&dir.pack(), &ceremony.pack(schema))
}

/// The authority at work, with its connections.
pub(crate) struct Authority {
    pub(crate) dir: AuthorityDir,
    pub(crate) ceremony: Ceremony,
    schema: String,
    http: Http,
}

impl Authority {
    pub(crate) fn open(dir: AuthorityDir, keys: &KeyOptions, ca: Option<&Path>) -> Result<Self, Failure> {
        let (ceremony, schema) = dir.open(keys)?;
        Ok(Self { dir, ceremony, schema, http: Http::new(ca)? })
    }

    pub(crate) fn gate(&self) -> Result<GateLink, Failure> {
        Ok(GateLink::new(&self.http, &self.ceremony.roster, self.ceremony.identity(), false)?)
    }

    pub(crate) fn cloud(&self) -> Result<Peer, Failure> {
        let cloud = self.ceremony.roster.clouds.first().ok_or_else(|| Failure::new("the roster lists no cloud"))?;
        self.peer(cloud)
    }

    /// One server.
    pub(crate) fn peer(&self, server: &Server) -> Result<Peer, Failure> {
        let domain = &self.ceremony.roster.domain;
        Ok(Peer::new(self.http.clone(), &server.url, domain, server.id, Some(self.ceremony.identity()))?)
    }

    /// Sends the roster to both servers, then keeps it as the newest pack.
    pub(crate) async fn announce(&self, bridges: Vec<Bridge>) -> Result<(), Failure> {
        let gates: Vec<Peer> = self.ceremony.roster.gates.iter().map(|g| self.peer(g)).collect::<Result<_, _>>()?;
        for error in self.ceremony.announce(&gates, &self.cloud()?, bridges).await? {
            eprintln!("note: a node of the gate learns of this from the others when it is back: {error}");
        }
        write_json(&self.dir.pack(), &self.ceremony.pack(&self.schema))
    }

    /// Everybody, with those whom members enrolled, as the gate has it.
    pub(crate) async fn everybody(&self) -> Result<Roster, Failure> {
        let list: MemberList = self.gate()?.get_json("/v1/members").await?;
        Ok(list.family.merge(&self.ceremony.roster)?)
    }

    /// Revokes a member, whoever enrolled it, and everyone below it.
    pub(crate) async fn revoke(&mut self, name: &str) -> Result<(), Failure> {
        if self.ceremony.roster.named(name).is_some() {
            self.ceremony.revoke(name)?;
        } else {
            let all = self.everybody().await?;
            let member = all.named(name).ok_or_else(|| Failure::new(format!("nobody is named \"{name}\"")))?;
            self.ceremony.revoke_below(member.id);
        }
        self.announce(Vec::new()).await
    }

    /// Enrols members: key files first, then the servers, then their packs. If the servers cannot be
    /// told, the key files are removed again and nothing has changed.
    pub(crate) async fn enrol(self, members: &[(String, Role, PathBuf)], keys: &KeyOptions) -> Result<Self, Failure> {
        self.enrol_as(members, Standing::default(), keys).await
    }

    /// As [`Authority::enrol`], for members with a special standing.
    pub(crate) async fn enrol_as(
        mut self,
        members: &[(String, Role, PathBuf)],
        standing: Standing,
        keys: &KeyOptions,
    ) -> Result<Self, Failure> {
        let passphrase = keys.to_write()?;
        let (mut bridges, mut written, mut made) = (Vec::new(), Vec::new(), Vec::new());
        for (name, role, out) in members {
            let (secrets, bridge) = self.ceremony.enrol_as(name, *role, standing)?;
            let path = out.join("member.key");
            write_secrets(&path, MEMBER_KIND, &secrets, passphrase.as_ref())?;
            written.push(path);
            bridges.push(bridge);
            made.push(MemberKeys::new(secrets));
        }
        if let Err(e) = self.announce(bridges).await {
            for path in written {
                // The key was announced nowhere, so nothing is lost with it.
                let _ = std::fs::remove_file(path);
            }
            return Err(e);
        }
        let pack = self.ceremony.pack(&self.schema);
        for ((name, role, out), member) in members.iter().zip(&made) {
            write_json(&out.join("domain.json"), &pack)?;
            if *role == Role::Provider {
                let trusted = pack.verify(&self.ceremony.roster.domain, &self.ceremony.roster.authority)?;
                publish_directory(member, &trusted, &self.http).await?;
                let manifest = out.join("provider.toml");
                if !manifest.exists() {
                    std::fs::write(&manifest, format!("name = \"{name}\"\nsources = []\n"))
                        .map_err(|e| Failure::new(format!("cannot write {}: {e}", manifest.display())))?;
                }
            }
        }
        Ok(self)
    }
}

/// A provider owns what belongs to no patient: it publishes keys for that, and lets every member read its
/// directories.
pub(crate) async fn publish_directory(member: &MemberKeys, trusted: &Trusted, http: &Http) -> Result<(), Failure> {
    let gate = trusted.gate(http, member)?;
    let owner = owner::Owner::from_seed(&member.secrets.seed);
    let sections: Vec<String> = trusted.schema.provider_sections().map(|s| s.name.clone()).collect();
    if sections.is_empty() {
        return Ok(());
    }
    let newest: Vec<(String, u32)> = sections.iter().map(|s| (s.clone(), 0)).collect();
    owner::publish(&gate, vec![owner.profile(&trusted.roster.domain, 1, &newest, &[owner.id()])]).await?;
    let grant = |section| owner::GrantRequest {
        domain: &trusted.roster.domain,
        reader: trusted.everyone,
        section,
        epoch: 0,
        purpose: sealdex_wire::consent::ANY_PURPOSE,
        not_before: 0,
        not_after: u64::from(u32::MAX),
        limits: Default::default(),
    };
    let grants: Vec<_> = trusted.schema.directory_sections().map(|s| (&owner, grant(&s.name))).collect();
    owner::grant_all(&gate, &grants).await?;
    Ok(())
}

/// `sealdex schema check`.
pub(crate) fn check_schema(name: &str) -> Result<(), Failure> {
    let schema = Schema::parse(&schema_text(name)?)?;
    let names: Vec<&str> = schema.sections().iter().map(|s| s.name.as_str()).collect();
    println!("Sections: {}", names.join(", "));
    let mut t: Table = table(&["field", "index", "scope", "why"]);
    for (type_name, record_type) in schema.types() {
        for f in &record_type.fields {
            let kind = match &f.index {
                IndexKind::Token => "token",
                IndexKind::Bridged => "bridged",
                IndexKind::Words => "words",
                IndexKind::Order(_) => "order",
                IndexKind::Cover(_) => "cover",
            };
            let scope = if f.scope == Scope::Merged { "merged" } else { "isolated" };
            t.add_row([format!("{type_name}.{}", f.name), kind.into(), scope.into(), f.reason.clone()]);
        }
    }
    println!("{t}");
    Ok(())
}
