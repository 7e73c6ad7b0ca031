//! Hospitals with their organizations and practitioners, and who refers to which.

use crate::{
    DatasetError,
    names::{self, FAMILY, FEMALE, MALE},
    random::{Id, Random, Stream},
    settings::Settings,
    sink::{Kind, Sink},
};

/// Units within one hospital that encounters name as their provider.
const UNITS: [&str; 3] = ["", " Outpatient Clinic", " Emergency Centre"];
const STAFF: usize = 8;
/// Practitioners who work at every hospital now and then.
const VISITORS: usize = 4;

pub(crate) struct Practitioner {
    id: Id,
    female: bool,
    given: &'static str,
    family: &'static str,
    number: u64,
}

pub(crate) struct Hospital {
    pub(crate) folder: String,
    title: String,
    pub(crate) units: [Id; UNITS.len()],
    staff: Vec<Practitioner>,
    city: &'static (&'static str, &'static str, &'static str),
    /// Minutes east of UTC that its systems are set to.
    pub(crate) offset: i64,
    /// Which of the visitors its records name.
    visitors_seen: [bool; VISITORS],
    laboratory_seen: bool,
}

/// Everything that belongs to no patient.
pub(crate) struct World {
    pub(crate) hospitals: Vec<Hospital>,
    visitors: Vec<Practitioner>,
    /// A laboratory that works for all hospitals.
    laboratory: Id,
}

impl World {
    pub(crate) fn new(settings: &Settings) -> Self {
        let mut random = Random::new(settings.seed, Stream::Visitors);
        let laboratory = random.id();
        let visitors = (0..VISITORS).map(|_| Practitioner::draw(&mut random)).collect();
        let hospitals =
            settings.hospital_names().enumerate().map(|(i, name)| Hospital::new(settings.seed, i, name)).collect();
        Self { hospitals, visitors, laboratory }
    }

    /// A hospital, the first of the list more often than the last.
    pub(crate) fn any_hospital(&self, random: &mut Random) -> usize {
        let n = self.hospitals.len() as u64;
        random.below(n).min(random.below(n + n.div_ceil(2))) as usize
    }

    /// Somebody to see a patient at this hospital.
    pub(crate) fn practitioner(&mut self, hospital: usize, random: &mut Random) -> Id {
        let h = &mut self.hospitals[hospital];
        if random.percent(6) {
            let visitor = random.below(VISITORS as u64) as usize;
            h.visitors_seen[visitor] = true;
            self.visitors[visitor].id
        } else {
            h.staff[random.below(STAFF as u64) as usize].id
        }
    }

    /// Who reports laboratory results at this hospital: its own main unit or the shared laboratory.
    pub(crate) fn laboratory(&mut self, hospital: usize, random: &mut Random) -> Id {
        let h = &mut self.hospitals[hospital];
        if random.percent(30) {
            h.laboratory_seen = true;
            self.laboratory
        } else {
            h.units[0]
        }
    }

    /// Writes each hospital's own organizations and staff, and those it shares and has referred to.
    pub(crate) fn write(&self, sink: &mut Sink) -> Result<(), DatasetError> {
        for (i, h) in self.hospitals.iter().enumerate() {
            for (unit, id) in UNITS.iter().zip(h.units) {
                write_organization(sink, i, id, &format!("{}{unit}", h.title), h.city)?;
            }
            if h.laboratory_seen {
                write_organization(sink, i, self.laboratory, "Meridian Reference Laboratory", &names::CITIES[0])?;
            }
            let visitors = self.visitors.iter().zip(h.visitors_seen).filter_map(|(v, seen)| seen.then_some(v));
            for p in h.staff.iter().chain(visitors) {
                p.write(sink, i)?;
            }
        }
        Ok(())
    }
}

impl Hospital {
    fn new(seed: u64, index: usize, folder: String) -> Self {
        let mut random = Random::new(seed, Stream::Hospital(index as u64));
        let title = folder.split('-').map(capitalised).collect::<Vec<_>>().join(" ") + " Hospital";
        Self {
            title,
            folder,
            units: std::array::from_fn(|_| random.id()),
            staff: (0..STAFF).map(|_| Practitioner::draw(&mut random)).collect(),
            city: &names::CITIES[index % names::CITIES.len()],
            offset: [0, -300, 60, 0, -360, 330][index % 6],
            visitors_seen: [false; VISITORS],
            laboratory_seen: false,
        }
    }
}

fn capitalised(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    first.to_ascii_uppercase() + rest
}

impl Practitioner {
    fn draw(random: &mut Random) -> Self {
        let female = random.percent(50);
        Self {
            id: random.id(),
            female,
            given: random.pick(if female { FEMALE } else { MALE }),
            family: random.pick(FAMILY),
            number: 9_990_000_000 + random.below(10_000_000),
        }
    }

    fn write(&self, sink: &mut Sink, hospital: usize) -> Result<(), DatasetError> {
        sink.write(hospital, Kind::Practitioner, |j| {
            j.id(self.id);
            j.array("identifier", |j| {
                j.item(|j| {
                    j.text("system", "http://hl7.org/fhir/sid/us-npi");
                    j.text("value", &self.number.to_string());
                });
            });
            j.bool("active", true);
            j.array("name", |j| {
                j.item(|j| {
                    j.text("family", self.family);
                    j.array("given", |j| j.text_item(self.given));
                    j.array("prefix", |j| j.text_item("Dr."));
                });
            });
            j.text("gender", if self.female { "female" } else { "male" });
        })
    }
}

fn write_organization(
    sink: &mut Sink,
    hospital: usize,
    id: Id,
    name: &str,
    (city, state, postcode): &(&str, &str, &str),
) -> Result<(), DatasetError> {
    sink.write(hospital, Kind::Organization, |j| {
        j.id(id);
        j.bool("active", true);
        j.array("type", |j| {
            j.item(|j| {
                j.array("coding", |j| {
                    j.item(|j| {
                        j.text("system", "http://terminology.hl7.org/CodeSystem/organization-type");
                        j.text("code", "prov");
                        j.text("display", "Healthcare Provider");
                    });
                });
                j.text("text", "Healthcare Provider");
            });
        });
        j.text("name", name);
        j.array("address", |j| {
            j.item(|j| {
                j.text("city", city);
                j.text("state", state);
                j.text("postalCode", postcode);
                j.text("country", "US");
            });
        });
    })
}
