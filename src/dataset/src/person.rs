//! Who a patient is: what the Patient resource says, and what shapes the course.

use crate::{
    DatasetError,
    calendar::{self, DAY, YEAR},
    codes::{CHRONIC, Chronic, Trait},
    names::{CITIES, FAMILY, FEMALE, MALE, STREETS},
    random::{Id, Random},
    settings::Settings,
    sink::{Kind, Sink},
};

/// A patient.
pub(crate) struct Person {
    pub(crate) id: Id,
    /// What distinguishes this person's values from those of others, always in the same way.
    pub(crate) habit: u64,
    pub(crate) female: bool,
    /// Day of birth.
    pub(crate) born: i64,
    /// Instant of death.
    died: Option<i64>,
    given: [&'static str; 2],
    family: &'static str,
    social: String,
    record: String,
    phone: String,
    house: u64,
    street: &'static str,
    city: &'static (&'static str, &'static str, &'static str),
}

impl Person {
    /// Draws patient number `index` of a data set whose records run over `window`; also returns the
    /// days on which visits may fall.
    pub(crate) fn draw(index: u64, settings: &Settings, window: (i64, i64), random: &mut Random) -> (Self, (i64, i64)) {
        let (since, until) = window;
        let female = random.percent(51);
        let old = is_nth(index, settings.born_before_1920_percent);
        let born = if old {
            random.between(calendar::days(1908, 1, 1), calendar::days(1919, 12, 31))
        } else {
            // From newborn to 96 at the end, more of the old, as in hospitals; half a year of records at least.
            let days = [96, 88].map(|oldest| random.between(200, oldest * 36_525 / 100));
            until - days[0].max(days[1])
        };
        let first = since.max(born + 2);
        let age_at_end = (until - born) / YEAR;
        let dies = old || random.below(100) < (age_at_end - 50).max(0) as u64;
        let last = if old {
            (first + random.between(180, 4 * YEAR)).min(until)
        } else if dies {
            random.between((first + 180).min(until), until)
        } else {
            until
        };
        let names = if female { FEMALE } else { MALE };
        let person = Self {
            id: random.id(),
            habit: random.u64(),
            female,
            born,
            died: dies.then(|| last * DAY + random.between(0, DAY - 1)),
            given: [random.pick(names), random.pick(names)],
            family: random.pick(FAMILY),
            social: format!("999-{:02}-{:04}", random.between(10, 99), random.between(1, 9_999)),
            record: format!("MRN-{:08}", 10_000_000 + index),
            phone: format!("555-01{:02}-{:04}", random.between(0, 99), random.between(0, 9_999)),
            house: random.between(1, 240) as u64,
            street: random.pick(STREETS),
            city: &CITIES[random.below(CITIES.len() as u64) as usize],
        };
        (person, (first, if dies { (last - 1).max(first) } else { last }))
    }

    /// Whole years lived on `day`, near enough.
    pub(crate) fn age(&self, day: i64) -> i64 {
        ((day - self.born) * 100 / 36_525).max(0)
    }

    /// The lasting conditions this person gets, each with its first day, up to `last`.
    pub(crate) fn onsets(&self, last: i64, random: &mut Random) -> Vec<(&'static Chronic, i64)> {
        let age = self.age(last);
        let mut out: Vec<(&Chronic, i64)> = Vec::new();
        for chronic in CHRONIC {
            let lived = age - chronic.from_age;
            if lived <= 0 {
                continue;
            }
            let has = |kind| out.iter().any(|(c, _)| c.kind == kind);
            let mut percent = chronic.percent_at_80 * lived / (80 - chronic.from_age);
            match chronic.kind {
                Trait::Prediabetes if has(Trait::Diabetes) => percent = 0,
                Trait::KidneyDisease | Trait::CoronaryDisease if has(Trait::Diabetes) => percent *= 2,
                Trait::HeartFailure if has(Trait::Hypertension) => percent = percent * 3 / 2,
                Trait::Osteoporosis if !self.female => percent /= 3,
                _ => {}
            }
            if random.below(100) < percent.max(0) as u64 {
                let first = self.born + chronic.from_age * 36_525 / 100;
                out.push((chronic, random.between(first, last)));
            }
        }
        out
    }

    /// Writes the Patient, the same at every hospital.
    pub(crate) fn write(&self, sink: &mut Sink, hospital: usize) -> Result<(), DatasetError> {
        sink.write(hospital, Kind::Patient, |j| {
            j.id(self.id);
            j.array("identifier", |j| {
                for (code, display, system, value) in [
                    ("MR", "Medical Record Number", "http://records.sealdex.example/mrn", &self.record),
                    ("SS", "Social Security Number", "http://hl7.org/fhir/sid/us-ssn", &self.social),
                ] {
                    j.item(|j| {
                        j.object("type", |j| {
                            j.array("coding", |j| {
                                j.item(|j| {
                                    j.text("system", "http://terminology.hl7.org/CodeSystem/v2-0203");
                                    j.text("code", code);
                                    j.text("display", display);
                                });
                            });
                        });
                        j.text("system", system);
                        j.text("value", value);
                    });
                }
            });
            j.array("name", |j| {
                j.item(|j| {
                    j.text("use", "official");
                    j.text("family", self.family);
                    j.array("given", |j| self.given.iter().for_each(|g| j.text_item(g)));
                });
            });
            j.array("telecom", |j| {
                j.item(|j| {
                    j.text("system", "phone");
                    j.text("value", &self.phone);
                    j.text("use", "home");
                });
            });
            j.text("gender", if self.female { "female" } else { "male" });
            j.date("birthDate", self.born);
            if let Some(died) = self.died {
                // In UTC, not in the hospital's time: the line must be the same everywhere.
                j.utc("deceasedDateTime", died);
            }
            let (city, state, postcode) = self.city;
            j.array("address", |j| {
                j.item(|j| {
                    j.array("line", |j| j.text_item(&format!("{} {}", self.house, self.street)));
                    j.text("city", city);
                    j.text("state", state);
                    j.text("postalCode", postcode);
                    j.text("country", "US");
                });
            });
        })
    }
}

/// Whether `index` is one of the evenly spaced `percent` of all numbers.
fn is_nth(index: u64, percent: u32) -> bool {
    let steps = |i: u64| (i * u64::from(percent) + 50) / 100;
    steps(index + 1) > steps(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_met_and_spread_out() {
        for percent in [0, 5, 30, 100] {
            assert_eq!((0..1000).filter(|i| is_nth(*i, percent)).count(), percent as usize * 10, "{percent}");
        }
        assert_eq!((0..40).filter(|i| is_nth(*i, 5)).collect::<Vec<_>>(), [9, 29]);
    }
}
