//! FHIR searches over real servers find what brute force finds in the plaintext, in the same order.
#![allow(clippy::unwrap_used)] // a test stops where it cannot go on

use sealdex_client::search::WHOLE;
use sealdex_fhir::search::{Handling, pairs, parse};
use sealdex_tests::{World, servers::Place};

const SEARCHES: [&str; 26] = [
    "Observation?_sort=-date,code",
    "Observation?code=4548-4&_sort=value-quantity",
    "Observation?code=4548-4,2339-0&date=ge2015&value-quantity=gt5",
    "Observation?combo-code-value-quantity=8480-6$ge120&_sort=date",
    "Observation?component-code-value-quantity=8462-4$lt80,8480-6$gt140",
    "Observation?category=vital-signs&date=lt2014-06",
    "Observation?value-quantity=ap100||mg/dL",
    "Observation?code:not=4548-4&status=final&date=2016",
    "Observation?patient.gender=female&code=8302-2",
    "Observation?subject:Patient.birthdate=lt1970&code=29463-7&_sort=-value-quantity",
    "Observation?encounter.class=EMER,IMP",
    "Patient?_sort=family,given",
    "Patient?name=a&gender=male",
    "Patient?birthdate=ge1960&_sort=birthdate",
    "Patient?address-city:contains=o",
    "Patient?_has:Condition:patient:code=44054006",
    "Patient?_has:Observation:patient:_has:DiagnosticReport:result:status=final",
    "Patient?gender:not=female&deceased=false",
    "Encounter?date=2016&_sort=-date",
    "Encounter?date=gt2015-06&class=AMB",
    "Encounter?service-provider.name=a",
    "Condition?code:text=dia",
    "Condition?clinical-status=active&onset-date=lt2010",
    "DiagnosticReport?result.code=4548-4",
    "MedicationRequest?status=active&authoredon=ap2018-01-01",
    "Organization?name=har",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_found_is_what_brute_force_finds() {
    let home = tempfile::tempdir().unwrap();
    let mut world = World::generated(home.path(), 14, 3, &["ana"], Place::Process).await;
    world.enrol_patients().await;
    world.grant_everything("ana").await;
    world.push_all().await;
    let (session, corpus) = (world.session("ana"), world.corpus());
    let (mut nonempty, mut longest) = (0, 0);
    for text in SEARCHES {
        let (kind, query) = text.split_once('?').unwrap();
        let search = parse(kind, &pairs(query), Handling::Strict).unwrap_or_else(|e| panic!("{text}: {e}"));
        let expected: Vec<String> = corpus.search(&search).0.into_iter().map(|h| h.identity).collect();
        let found = session.search(&search).await.unwrap().matches;
        let found: Vec<String> = found.into_iter().map(|h| h.identity).collect();
        assert_eq!(found, expected, "{text}");
        for start in [0, expected.len() / 2] {
            let listed = session.list(&search, start, 7).await.unwrap();
            let page: Vec<String> = listed.page.into_iter().map(|h| h.identity).collect();
            let wanted: Vec<String> = expected.iter().skip(start).take(7).cloned().collect();
            assert_eq!((&listed.order, page), (&expected, wanted), "{text}, a page from {start}");
        }
        nonempty += usize::from(!expected.is_empty());
        longest = longest.max(expected.len());
    }
    assert!(nonempty > 20, "only {nonempty} searches find anything");
    assert!(longest > WHOLE, "none is longer than what is held whole: {longest}");
}
