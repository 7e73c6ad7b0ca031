//! A ward whose members change, and an emergency: shown with the records of one patient.

use sealdex_client::{
    Manager, NewcomersRule, Patient, Session, emergency, group,
    patient::{Epochs, Offer},
};
use sealdex_fhir::{QueryDoc, Suite};
use sealdex_net::clock::now_s;
use sealdex_wire::consent::ANY_PURPOSE;

use super::world::{CLINICIAN, NURSES, World};
use crate::{failure::Failure, places::Member};

/// Answers a member gets to the question.
async fn answers(member: &Member, doc: &QueryDoc) -> Result<usize, Failure> {
    let session = Session::new(&member.http, &member.keys, member.trusted.clone())?;
    Ok(session.ask(doc).await?.hits.len())
}

async fn offer(patient: &Patient, to: &str, section: &str, wakers: &[String]) -> Result<(), Failure> {
    let emergency = match wakers.is_empty() {
        true => None,
        false => Some(patient.emergency(wakers, 30).await?),
    };
    let offer = Offer {
        reader: patient.reader(to).await?,
        sections: vec![section.to_owned()],
        epochs: Epochs::All,
        purposes: vec![ANY_PURPOSE.to_owned()],
        not_before: now_s().saturating_sub(60),
        not_after: now_s() + 86_400,
        newcomers: NewcomersRule::All.now(),
        providers: Vec::new(),
        emergency,
    };
    patient.offer(&offer).await?;
    Ok(())
}

fn expect(what: &str, right: bool) -> Result<(), Failure> {
    if right { Ok(()) } else { Err(Failure::new(format!("{what}: this must not happen"))) }
}

/// Grants a section of a patient to a ward, removes somebody from it; then an emergency.
pub(super) async fn on_stage(world: &World, kind: &str, patient: &str, section: &str) -> Result<(), Failure> {
    // Everything of a type: what a member finds of it is what it was granted.
    let suite = Suite::parse(&format!(r#"{{"resource":"{kind}"}}"#), Some(kind))?;
    let doc = suite.queries.first().ok_or_else(|| Failure::new("no question"))?;
    let [first, second] = world.nurses();
    let (name, full) = ("ward-3", format!("ward-3@{CLINICIAN}"));
    let lead = world.clinician();
    let manager = Manager::new(&lead.keys, &lead.trusted, lead.gate.clone());
    manager.found(name, &NURSES.map(str::to_owned)).await?;
    let owner = world.patient(patient)?;
    offer(&owner, &full, section, &[]).await?;
    let (a, b) = (answers(first, doc).await?, answers(second, doc).await?);
    println!(
        "{CLINICIAN} founds {name}. {patient} grants it \"{section}\": {} gets {a} answers, {} {b}.",
        NURSES[0], NURSES[1]
    );
    expect("the ward reads nothing", a > 0 && a == b)?;
    let group = group::named(&lead.gate, &lead.trusted, &full).await?;
    let group = manager.remove(&group, &[NURSES[1].to_owned()]).await?;
    let refused = answers(second, doc).await?;
    let rotated = manager.rotate(&group, |_| ()).await?;
    let still = answers(first, doc).await?;
    println!(
        "{} leaves the ward: {refused} answers, at once. {rotated} grants are rotated to its new key, the patient took no part: {} still gets {still}.",
        NURSES[1], NURSES[0]
    );
    expect("who left still reads", refused == 0 && still == a)?;
    let wakers = [NURSES[0].to_owned(), CLINICIAN.to_owned()];
    offer(&owner, NURSES[1], section, &wakers).await?;
    let dormant = answers(second, doc).await?;
    let id = owner.id();
    let asked =
        emergency::ask(&first.keys, &first.gate, id, second.keys.identity.id(), 20, "unconscious, no relatives")
            .await?;
    let one = answers(second, doc).await?;
    let woken = emergency::countersign(&lead.keys, &lead.trusted, &lead.gate, &asked).await?;
    let awake = answers(second, doc).await?;
    owner.close_emergency(&woken).await?;
    let closed = answers(second, doc).await?;
    println!(
        "The patient had left {} an emergency grant: {dormant} answers while it sleeps, {one} when one person asks, {awake} when a second signs, {closed} when it is ended.",
        NURSES[1]
    );
    expect("the emergency is not as it should be", (dormant, one, awake, closed) == (0, 0, a, 0))?;
    let told = owner.accesses().await?.all.iter().filter(|a| a.emergency).count();
    println!("All of it is in the patient's access log ({told} entries are marked as an emergency).");
    Ok(())
}
