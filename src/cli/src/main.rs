//! `sealdex`: everything a person or a job runs.
#![allow(clippy::print_stdout)] // this is the program whose business is to print

mod access_log;
mod anchor;
mod audit;
mod carers;
mod consent;
mod custodian;
mod dataset;
mod demo;
mod domain;
mod emergencies;
mod failure;
mod gate;
mod gateway;
mod groups;
mod key_options;
mod keyfile;
mod ledger;
mod members;
mod monitor;
mod nodes;
mod output;
mod owners;
mod patients;
mod places;
mod policies;
mod push;
mod query;
mod requests;
mod selftest;
mod serve;
mod stats;
mod trace;
mod verify;
mod witness;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Failure;

/// Half of what the system's allocator takes for many small objects made and dropped by many threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Many hospitals, one index, nobody reads it.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  sealdex demo                                   the whole story on generated records
  sealdex dataset generate --patients 50 --providers 5 --seed 7 --out /tmp/records
  sealdex domain init --dir domain --name north
  sealdex serve cloud --keys domain/cloud.key --dir cloud-data
  sealdex serve gate --keys domain/gate.key --store gate.redb
  sealdex domain enrol --dir domain --name northgate --role provider --out providers/northgate
  sealdex push --provider providers/northgate records/
  sealdex serve gateway --member users/ana --open       then: curl localhost:8080/fhir/Patient
  sealdex query --member users/ana --file question.json --format table

See docs/DEVELOPMENT.md and README.md for the whole walk-through.";

#[derive(Subcommand)]
enum Command {
    /// Run the whole story on one machine: five hospitals, a cloud, a gate, a clinician.
    Demo(demo::DemoOptions),
    /// Make synthetic records, or split a table among providers.
    #[command(subcommand)]
    Dataset(dataset::DatasetCommand),
    /// Found a domain, enrol and revoke members, look at the roster.
    #[command(subcommand)]
    Domain(domain::DomainCommand),
    /// Run a cloud, a gate, or a FHIR gateway.
    #[command(subcommand)]
    Serve(serve::ServeCommand),
    /// Enrol patients: make their keys, publish their profiles, let a provider write.
    #[command(subcommand)]
    Owners(owners::OwnersCommand),
    /// Let a member read sections of owners in a wallet.
    Grant(consent::GrantOptions),
    /// Take back what was granted. In force when the command returns.
    Revoke(consent::RevokeOptions),
    /// List grants as the gate holds them.
    Grants(consent::ListOptions),
    /// An owner's consent as a whole: show, export, import, renew, begin new epochs.
    #[command(subcommand)]
    Consent(policies::ConsentCommand),
    /// Standing policies: "my GP may read everything but notes".
    #[command(subcommand)]
    Policy(policies::PolicyCommand),
    /// Ask an owner for access, and answer.
    #[command(subcommand)]
    Request(requests::RequestCommand),
    /// Break-glass: wake a dormant grant, by two people, for a reason and a time.
    #[command(subcommand)]
    Emergency(emergencies::EmergencyCommand),
    /// Let somebody act for an owner, and act for one.
    #[command(subcommand)]
    Carer(carers::CarerCommand),
    /// Groups: wards, roles, study teams.
    #[command(subcommand)]
    Group(groups::GroupCommand),
    /// Enrol below oneself; new keys for old ones.
    #[command(subcommand)]
    Member(members::MemberCommand),
    /// Count without reading, for members who may do no more.
    Count(members::CountOptions),
    /// List who read a patient's records, granted and revoked: as the gate has it, or the public log.
    AccessLog(access_log::AccessLogOptions),
    /// Read everything in the log of acts, as an auditor or the authority.
    Audit(audit::AuditOptions),
    /// Watch the logs and the roster for what nobody who may has signed.
    Monitor(monitor::MonitorOptions),
    /// Seal records and push them to the cloud.
    Push(push::PushOptions),
    /// Ask one encrypted question over all hospitals.
    Query(query::QueryOptions),
    /// Make a wallet for owners who keep their own keys.
    Keygen(owners::KeygenOptions),
    /// Restore, check and resume the store of a gate.
    #[command(subcommand)]
    Gate(gate::GateCommand),
    /// Look at key files, and change how they are sealed.
    #[command(subcommand)]
    Keyfile(keyfile::KeyfileCommand),
    /// Check a schema file.
    #[command(subcommand)]
    Schema(SchemaCommand),
    /// What the cloud stores, in numbers.
    Stats(stats::StatsOptions),
    /// Check a cloud's data against its log: what is stored is what was signed, all of it, and nothing else.
    Verify(verify::VerifyOptions),
    /// Anchor checkpoints of the logs on an EVM chain, and check the logs against it. Never needed for anything else.
    #[command(subcommand)]
    Anchor(anchor::AnchorCommand),
    /// Watch logs: check that they only grow, and cosign.
    #[command(subcommand)]
    Witness(witness::WitnessCommand),
    /// Check this program's cryptography against known answers.
    Selftest(selftest::SelftestOptions),
}

#[derive(Subcommand)]
enum SchemaCommand {
    /// Parse a schema and list its sections and fields.
    Check {
        /// Schema, TOML; or the name of one that ships: fhir-r4, diabetes130.
        file: String,
    },
}

fn main() -> ExitCode {
    let options = Options::parse();
    let servers = matches!(options.command, Command::Serve(_) | Command::Witness(witness::WitnessCommand::Serve(_)));
    let default = if servers { "info" } else { "warn" };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| default.into());
    // A log that cannot be written, on a full disk, is no reason to fail: telling so on the same stream would panic.
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    log.log_internal_errors(false).init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("error: cannot start: {e}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(options.command)) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<ExitCode, Failure> {
    let done = |()| ExitCode::SUCCESS;
    let in_order = |ok: bool| if ok { ExitCode::SUCCESS } else { ExitCode::from(3) };
    match command {
        Command::Demo(o) => demo::run(o).await,
        Command::Dataset(c) => dataset::run(c).map(done),
        Command::Domain(c) => domain::run(c).await.map(done),
        Command::Serve(c) => serve::run(c).await.map(done),
        Command::Owners(c) => owners::run(c).await.map(done),
        Command::Grant(o) => consent::grant(o).await.map(done),
        Command::Revoke(o) => consent::revoke(o).await.map(done),
        Command::Grants(o) => consent::list(o).await.map(done),
        Command::Consent(c) => policies::consent(c).await.map(done),
        Command::Policy(c) => policies::policy(c).await.map(done),
        Command::Request(c) => requests::run(c).await.map(done),
        Command::Emergency(c) => emergencies::run(c).await.map(done),
        Command::Carer(c) => carers::run(c).await.map(done),
        Command::Group(c) => groups::run(c).await.map(done),
        Command::Member(c) => members::run(c).await.map(done),
        Command::Count(o) => members::count(o).await.map(done),
        Command::AccessLog(o) => access_log::run(o).await.map(in_order),
        Command::Audit(o) => audit::run(o).await.map(in_order),
        Command::Monitor(o) => monitor::run(o).await.map(in_order),
        Command::Push(o) => push::run(o).await,
        Command::Query(o) => query::run(o).await.map(done),
        Command::Keygen(o) => owners::keygen(o).map(done),
        Command::Gate(c) => gate::run(c),
        Command::Keyfile(c) => keyfile::run(c).map(done),
        Command::Schema(SchemaCommand::Check { file }) => domain::check_schema(&file).map(done),
        Command::Stats(o) => stats::run(o).await.map(done),
        Command::Verify(o) => verify::run(&o),
        Command::Anchor(c) => anchor::run(c).await.map(done),
        Command::Witness(c) => witness::run(c).await.map(done),
        Command::Selftest(o) => selftest::run(&o),
    }
}
