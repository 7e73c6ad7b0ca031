//! One patient's course: visits over the years, each with what was found and done.
//!
//! A visit happens at one hospital, and everything it leaves behind lies in that hospital's folder
//! and refers only to what lies there too.

use crate::{
    DatasetError,
    calendar::{DAY, YEAR},
    codes::{self, ALLERGIES, Acute, Chronic, Code, Trait, Traits, snomed},
    hospital::World,
    json::{Decimal, Json},
    measurements::{self as m, Analyte, Body, Panel},
    person::Person,
    random::{Id, Random},
    settings::Settings,
    sink::{Kind, Sink},
};

/// Why a patient comes.
#[derive(Clone, Copy)]
enum Reason {
    CheckUp,
    FollowUp,
    Illness,
    Emergency,
    Stay,
    Prenatal,
}

impl Reason {
    /// Encounter class, type, and which unit of the hospital it is at.
    fn encounter(self) -> (&'static str, Code, usize) {
        match self {
            Self::CheckUp => ("AMB", snomed("185349003", "Encounter for check up (procedure)"), 1),
            Self::FollowUp => ("AMB", snomed("390906007", "Follow-up encounter"), 1),
            Self::Illness => ("AMB", snomed("185345009", "Encounter for symptom"), 1),
            Self::Emergency => ("EMER", snomed("50849002", "Emergency room admission (procedure)"), 2),
            Self::Stay => ("IMP", snomed("183452005", "Encounter Inpatient"), 0),
            Self::Prenatal => ("AMB", snomed("424619006", "Prenatal visit"), 1),
        }
    }
}

/// One encounter, as what it leaves behind refers to it.
#[derive(Clone, Copy)]
struct Visit {
    id: Id,
    hospital: usize,
    start: i64,
    end: i64,
    practitioner: Id,
    body: Body,
}

/// Writes one patient's records.
pub(crate) struct Course<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) world: &'a mut World,
    pub(crate) sink: &'a mut Sink,
    pub(crate) random: Random,
    pub(crate) person: Person,
    /// Conditions and their first day.
    pub(crate) onsets: Vec<(&'static Chronic, i64)>,
    /// Hospitals that see this patient; every one does at least once.
    pub(crate) hospitals: Vec<usize>,
    /// Days on which visits may fall.
    pub(crate) days: (i64, i64),
    pub(crate) visits: usize,
}

type Written = Result<(), DatasetError>;

impl Course<'_> {
    /// Writes the whole course: the visits at which lasting conditions were found, then others until
    /// the patient has enough resources.
    pub(crate) fn write(mut self) -> Written {
        let before = self.sink.lines;
        let range = self.settings.resources_per_patient;
        let enough = before + self.random.between(i64::from(range.min), i64::from(range.max)) as u64;
        self.check_up()?;
        for i in 0..self.onsets.len() {
            if self.sink.lines < enough {
                self.diagnosis(i)?;
            }
        }
        while self.sink.lines < enough || self.visits < self.hospitals.len() {
            self.any_visit()?;
        }
        for &hospital in &self.hospitals {
            self.person.write(self.sink, hospital)?;
        }
        Ok(())
    }

    fn any_visit(&mut self) -> Written {
        let may_be_pregnant = self.person.female && (18..42).contains(&self.person.age(self.days.1));
        match self.random.below(100) {
            0..28 => self.check_up(),
            28..58 if !self.onsets.is_empty() => self.follow_up(),
            28..62 if may_be_pregnant && self.random.percent(20) => self.prenatal(),
            28..86 => self.illness(),
            86..95 => self.emergency(),
            _ => self.stay(),
        }
    }

    // ---- visits ----

    fn begin(&mut self, reason: Reason, day: i64, why: Option<&Code>) -> Result<Visit, DatasetError> {
        let r = &mut self.random;
        // The first visits go round; after them most are at the first hospital.
        let at = match self.hospitals.get(self.visits) {
            Some(&h) => h,
            None if r.percent(60) => self.hospitals[0],
            None => r.pick(&self.hospitals),
        };
        self.visits += 1;
        let start = day * DAY + r.between(7 * 3600, 19 * 3600);
        let lasts = match reason {
            Reason::Stay => r.between(2, 9) * DAY + r.between(0, 20_000),
            Reason::Emergency => r.between(3_600, 30_000),
            _ => r.between(15, 60) * 60,
        };
        let visit = Visit {
            id: r.id(),
            hospital: at,
            start,
            end: start + lasts,
            practitioner: self.world.practitioner(at, r),
            body: self.body(day, matches!(reason, Reason::Illness | Reason::Emergency | Reason::Stay)),
        };
        let (class, kind, unit) = reason.encounter();
        let unit = self.world.hospitals[at].units[unit];
        let patient = self.person.id;
        self.sink.write(at, Kind::Encounter, |j| {
            j.id(visit.id);
            j.text("status", "finished");
            j.object("class", |j| {
                j.text("system", "http://terminology.hl7.org/CodeSystem/v3-ActCode");
                j.text("code", class);
            });
            j.array("type", |j| j.concept_item(&kind));
            j.reference("subject", "Patient", patient);
            j.array("participant", |j| j.item(|j| j.reference("individual", "Practitioner", visit.practitioner)));
            j.object("period", |j| {
                j.instant("start", visit.start);
                j.instant("end", visit.end);
            });
            if let Some(why) = why {
                j.array("reasonCode", |j| j.concept_item(why));
            }
            j.reference("serviceProvider", "Organization", unit);
        })?;
        Ok(visit)
    }

    fn any_day(&mut self) -> i64 {
        self.random.between(self.days.0, self.days.1)
    }

    fn body(&mut self, day: i64, ill: bool) -> Body {
        let traits = self.traits(day);
        let fever = ill && self.random.percent(45);
        Body { personal: self.person.habit, traits, age: self.person.age(day), female: self.person.female, fever }
    }

    fn traits(&self, day: i64) -> Traits {
        self.onsets.iter().filter(|(_, onset)| *onset <= day).map(|(c, _)| c.kind.bit()).fold(0, |a, b| a | b)
    }

    fn check_up(&mut self) -> Written {
        let day = self.any_day();
        let first = self.visits == 0;
        let visit = self.begin(Reason::CheckUp, day, None)?;
        if first {
            self.allergies(&visit)?;
        }
        self.vital_signs(&visit)?;
        self.height_and_weight(&visit)?;
        if visit.body.age >= 16 {
            self.smoking(&visit)?;
        }
        if visit.body.age >= 25 && self.random.percent(55) {
            self.panel(&visit, &m::METABOLIC_PANEL)?;
            self.panel(&visit, &m::LIPID_PANEL)?;
            self.single(&visit, &m::HBA1C[0], "laboratory")?;
        }
        self.vaccinate(&visit)?;
        let procedure = self.random.pick(codes::CHECK_UP_PROCEDURES);
        self.procedure(&visit, &procedure)
    }

    /// The visit at which a lasting condition was written down, on its first day or, if that was
    /// before the records begin, soon after they do.
    fn diagnosis(&mut self, index: usize) -> Written {
        let (chronic, onset) = self.onsets[index];
        let day =
            if onset >= self.days.0 { onset } else { (self.days.0 + self.random.between(0, YEAR)).min(self.days.1) };
        let visit = self.begin(Reason::FollowUp, day, Some(&chronic.code))?;
        let began = if onset >= self.days.0 { visit.start } else { onset * DAY };
        let condition = self.condition(&visit, &chronic.code, began, None)?;
        self.blood_pressure(&visit)?;
        self.trait_panels(&visit, chronic.kind)?;
        for drug in chronic.drugs {
            if self.random.percent(70) {
                self.prescription(&visit, drug, Some(condition), true)?;
            }
        }
        if let Some((plan, activities)) = &chronic.plan {
            self.care_plan(&visit, plan, activities, condition)?;
        }
        Ok(())
    }

    fn follow_up(&mut self) -> Written {
        let (chronic, onset) = self.random.pick(&self.onsets);
        let day = self.random.between(onset.clamp(self.days.0, self.days.1), self.days.1);
        let visit = self.begin(Reason::FollowUp, day, Some(&chronic.code))?;
        self.blood_pressure(&visit)?;
        self.single(&visit, &m::PULSE, "vital-signs")?;
        self.height_and_weight(&visit)?;
        self.trait_panels(&visit, chronic.kind)?;
        if let Some(drug) = chronic.drugs.first() {
            self.prescription(&visit, drug, None, false)?;
        }
        Ok(())
    }

    fn illness(&mut self) -> Written {
        let day = self.any_day();
        let acute = self.random.pick(codes::MINOR);
        let visit = self.begin(Reason::Illness, day, Some(&acute.code))?;
        self.blood_pressure(&visit)?;
        for vital in &m::VITALS[1..] {
            self.single(&visit, vital, "vital-signs")?;
        }
        self.treat(&visit, &acute)
    }

    fn emergency(&mut self) -> Written {
        let day = self.any_day();
        let acute = self.random.pick(codes::URGENT);
        let visit = self.begin(Reason::Emergency, day, Some(&acute.code))?;
        self.vital_signs(&visit)?;
        self.pain(&visit)?;
        if self.random.percent(60) {
            self.panel(&visit, &m::COUNT_PANEL)?;
        }
        self.treat(&visit, &acute)
    }

    fn stay(&mut self) -> Written {
        // It may end after the last day of the records; then it began too late to count.
        let day = self.random.between(self.days.0, (self.days.1 - 12).max(self.days.0));
        let acute = self.random.pick(codes::SEVERE);
        let visit = self.begin(Reason::Stay, day, Some(&acute.code))?;
        let mut at = visit;
        while at.start < visit.end {
            self.vital_signs(&at)?;
            at.start += 2 * DAY;
        }
        self.panel(&visit, &m::COUNT_PANEL)?;
        self.panel(&visit, &m::METABOLIC_PANEL)?;
        self.treat(&visit, &acute)
    }

    fn prenatal(&mut self) -> Written {
        let latest = self.days.1 - 280;
        let age_limits = (self.person.born + 18 * YEAR, self.person.born + 42 * YEAR);
        let (from, to) = (self.days.0.max(age_limits.0), latest.min(age_limits.1));
        if from > to {
            return self.check_up();
        }
        let conceived = self.random.between(from, to);
        let visit = self.begin(Reason::Prenatal, conceived + 50, Some(&codes::PREGNANCY))?;
        self.condition(&visit, &codes::PREGNANCY, visit.start, Some((conceived + 270) * DAY))?;
        for week in 0..4 {
            let again = self.begin(Reason::Prenatal, conceived + 80 + week * 40, Some(&codes::PREGNANCY))?;
            self.blood_pressure(&again)?;
            let procedure = self.random.pick(codes::PRENATAL_PROCEDURES);
            self.procedure(&again, &procedure)?;
        }
        Ok(())
    }

    fn treat(&mut self, visit: &Visit, acute: &Acute) -> Written {
        let over = visit.start + self.random.between(acute.lasts.0, acute.lasts.1) * DAY;
        let over = (over <= (self.days.1 + 1) * DAY).then_some(over.max(visit.end));
        let condition = self.condition(visit, &acute.code, visit.start, over)?;
        if let Some(drug) = &acute.drug
            && self.random.percent(75)
        {
            self.prescription(visit, drug, Some(condition), false)?;
        }
        if let Some(procedure) = &acute.procedure
            && self.random.percent(70)
        {
            self.procedure(visit, procedure)?;
        }
        Ok(())
    }

    fn trait_panels(&mut self, visit: &Visit, kind: Trait) -> Written {
        match kind {
            Trait::Diabetes | Trait::Prediabetes => {
                for analyte in m::HBA1C {
                    self.single(visit, analyte, "laboratory")?;
                }
                self.panel(visit, &m::METABOLIC_PANEL)
            }
            Trait::Hyperlipidemia | Trait::CoronaryDisease => self.panel(visit, &m::LIPID_PANEL),
            Trait::KidneyDisease | Trait::Hypertension | Trait::HeartFailure => self.panel(visit, &m::METABOLIC_PANEL),
            Trait::Anemia => self.panel(visit, &m::COUNT_PANEL),
            Trait::Hypothyroidism => self.single(visit, &m::THYROID[0], "laboratory"),
            Trait::Copd | Trait::Asthma => self.single(visit, &m::LUNGS[0], "laboratory"),
            _ => self.pain(visit),
        }
    }

    // ---- observations ----

    fn observation(
        &mut self,
        visit: &Visit,
        category: &str,
        code: &Code,
        value: impl FnOnce(&mut Json<'_>),
    ) -> Result<Id, DatasetError> {
        let id = self.random.id();
        let patient = self.person.id;
        self.sink.write(visit.hospital, Kind::Observation, |j| {
            j.id(id);
            j.text("status", "final");
            j.array("category", |j| {
                j.item(|j| {
                    j.array("coding", |j| {
                        j.item(|j| {
                            j.text("system", "http://terminology.hl7.org/CodeSystem/observation-category");
                            j.text("code", category);
                            j.text("display", category);
                        });
                    });
                });
            });
            j.concept("code", code);
            j.reference("subject", "Patient", patient);
            j.reference("encounter", "Encounter", visit.id);
            j.instant("effectiveDateTime", visit.start);
            value(j);
        })?;
        Ok(id)
    }

    fn quantity(
        &mut self,
        visit: &Visit,
        category: &str,
        code: &Code,
        milli: i64,
        places: u32,
        unit: &str,
    ) -> Result<Id, DatasetError> {
        let value = Decimal::draw(milli, places, self.settings.long_decimals_percent, &mut self.random);
        self.observation(visit, category, code, |j| quantity(j, value, Some(unit)))
    }

    fn measure(&mut self, visit: &Visit, analyte: &Analyte, category: &str) -> Result<Id, DatasetError> {
        let milli = analyte.draw(&visit.body, &mut self.random);
        // One code, two units: half of the hospitals report the filtration rate without body surface.
        let other = analyte.code.code == m::EGFR.code.code && visit.hospital % 2 == 1;
        let unit = if other { m::EGFR_OTHER_UNIT } else { analyte.unit };
        self.quantity(visit, category, &analyte.code, milli, analyte.places, unit)
    }

    fn single(&mut self, visit: &Visit, analyte: &Analyte, category: &str) -> Written {
        self.measure(visit, analyte, category).map(drop)
    }

    fn vital_signs(&mut self, visit: &Visit) -> Written {
        self.blood_pressure(visit)?;
        self.single(visit, &m::PULSE, "vital-signs")?;
        m::VITALS.iter().try_for_each(|vital| self.single(visit, vital, "vital-signs"))
    }

    fn blood_pressure(&mut self, visit: &Visit) -> Written {
        let r = &mut self.random;
        let systolic = m::SYSTOLIC.draw(&visit.body, r);
        let diastolic = m::DIASTOLIC.draw(&visit.body, r).min(systolic - 15_000);
        let unit = (!r.percent(self.settings.missing_units_percent)).then_some(m::SYSTOLIC.unit);
        let long = self.settings.long_decimals_percent;
        let values = [
            (&m::DIASTOLIC, Decimal::draw(diastolic, 0, long, r)),
            (&m::SYSTOLIC, Decimal::draw(systolic, 0, long, r)),
        ];
        self.observation(visit, "vital-signs", &m::BLOOD_PRESSURE, |j| {
            j.array("component", |j| {
                for (analyte, value) in values {
                    j.item(|j| {
                        j.concept("code", &analyte.code);
                        quantity(j, value, unit);
                    });
                }
            });
        })?;
        Ok(())
    }

    fn height_and_weight(&mut self, visit: &Visit) -> Written {
        let (height, weight) = m::build(&visit.body, &mut self.random);
        self.quantity(visit, "vital-signs", &m::HEIGHT, height * 100, 1, "cm")?;
        self.quantity(visit, "vital-signs", &m::WEIGHT, weight, 1, "kg")?;
        self.quantity(visit, "vital-signs", &m::BMI, weight * 1_000_000 / (height * height), 2, "kg/m2")?;
        Ok(())
    }

    fn pain(&mut self, visit: &Visit) -> Written {
        let score = self.random.between(0, 10) * 1000;
        self.observation(visit, "survey", &m::PAIN, |j| {
            quantity(j, Decimal { milli: score, places: 0, tail: None }, Some("{score}"));
        })?;
        Ok(())
    }

    fn smoking(&mut self, visit: &Visit) -> Written {
        let status = codes::SMOKING[[0, 0, 0, 1, 2][(self.person.habit % 5) as usize]];
        self.observation(visit, "survey", &m::SMOKING_STATUS, |j| j.concept("valueCodeableConcept", &status))?;
        Ok(())
    }

    /// Laboratory results reported together: the observations, then the report that lists them.
    fn panel(&mut self, visit: &Visit, panel: &Panel) -> Written {
        let extra = panel.with_egfr.then_some(&m::EGFR);
        let mut results = [None; 12];
        for (slot, analyte) in results.iter_mut().zip(panel.analytes.iter().chain(extra)) {
            *slot = Some((self.measure(visit, analyte, "laboratory")?, analyte.code.display));
        }
        let id = self.random.id();
        let by = self.world.laboratory(visit.hospital, &mut self.random);
        let patient = self.person.id;
        self.sink.write(visit.hospital, Kind::DiagnosticReport, |j| {
            j.id(id);
            j.text("status", "final");
            j.array("category", |j| {
                j.item(|j| {
                    j.array("coding", |j| {
                        j.item(|j| {
                            j.text("system", "http://terminology.hl7.org/CodeSystem/v2-0074");
                            j.text("code", "LAB");
                            j.text("display", "Laboratory");
                        });
                    });
                });
            });
            j.concept("code", &panel.code);
            j.reference("subject", "Patient", patient);
            j.reference("encounter", "Encounter", visit.id);
            j.instant("effectiveDateTime", visit.start);
            j.instant("issued", visit.start + 7_200);
            j.array("performer", |j| j.reference_item("Organization", by, None));
            j.array("result", |j| {
                for (id, display) in results.iter().flatten() {
                    j.reference_item("Observation", *id, Some(display));
                }
            });
        })
    }

    // ---- everything else ----

    fn condition(&mut self, visit: &Visit, code: &Code, began: i64, over: Option<i64>) -> Result<Id, DatasetError> {
        let id = self.random.id();
        let patient = self.person.id;
        self.sink.write(visit.hospital, Kind::Condition, |j| {
            j.id(id);
            let status = if over.is_some() { "resolved" } else { "active" };
            j.status("clinicalStatus", "http://terminology.hl7.org/CodeSystem/condition-clinical", status);
            j.status("verificationStatus", "http://terminology.hl7.org/CodeSystem/condition-ver-status", "confirmed");
            j.concept("code", code);
            j.reference("subject", "Patient", patient);
            j.reference("encounter", "Encounter", visit.id);
            j.instant("onsetDateTime", began);
            if let Some(over) = over {
                j.instant("abatementDateTime", over);
            }
            j.instant("recordedDate", visit.start);
        })?;
        Ok(id)
    }

    fn prescription(&mut self, visit: &Visit, drug: &Code, for_what: Option<Id>, lasting: bool) -> Written {
        let id = self.random.id();
        let times = self.random.between(1, 3) as u64;
        let patient = self.person.id;
        self.sink.write(visit.hospital, Kind::MedicationRequest, |j| {
            j.id(id);
            j.text("status", if lasting { "active" } else { "stopped" });
            j.text("intent", "order");
            j.concept("medicationCodeableConcept", drug);
            j.reference("subject", "Patient", patient);
            j.reference("encounter", "Encounter", visit.id);
            j.instant("authoredOn", visit.start);
            j.reference("requester", "Practitioner", visit.practitioner);
            if let Some(condition) = for_what {
                j.array("reasonReference", |j| j.reference_item("Condition", condition, None));
            }
            j.array("dosageInstruction", |j| {
                j.item(|j| {
                    j.uint("sequence", 1);
                    j.object("timing", |j| {
                        j.object("repeat", |j| {
                            j.uint("frequency", times);
                            j.uint("period", 1);
                            j.text("periodUnit", "d");
                        });
                    });
                    j.bool("asNeededBoolean", !lasting);
                });
            });
        })
    }

    fn procedure(&mut self, visit: &Visit, code: &Code) -> Written {
        let id = self.random.id();
        // Some systems add a code of their own, without saying whose it is.
        let local = self.random.percent(5).then(|| format!("PX-{}", self.random.between(1000, 9999)));
        let end = (visit.start + self.random.between(5, 60) * 60).min(visit.end);
        let patient = self.person.id;
        self.sink.write(visit.hospital, Kind::Procedure, |j| {
            j.id(id);
            j.text("status", "completed");
            j.object("code", |j| {
                j.array("coding", |j| {
                    j.coding_item(code);
                    if let Some(local) = &local {
                        j.item(|j| j.text("code", local));
                    }
                });
                j.text("text", code.display);
            });
            j.reference("subject", "Patient", patient);
            j.reference("encounter", "Encounter", visit.id);
            j.object("performedPeriod", |j| {
                j.instant("start", visit.start);
                j.instant("end", end);
            });
        })
    }

    fn vaccinate(&mut self, visit: &Visit) -> Written {
        let pool = match visit.body.age {
            0..18 => codes::CHILD_VACCINES,
            18..65 => codes::ADULT_VACCINES,
            _ => codes::SENIOR_VACCINES,
        };
        let from_pool = self.random.percent(40).then(|| self.random.pick(pool));
        let influenza = self.random.percent(60).then_some(codes::INFLUENZA);
        for vaccine in influenza.iter().chain(&from_pool) {
            let id = self.random.id();
            let patient = self.person.id;
            self.sink.write(visit.hospital, Kind::Immunization, |j| {
                j.id(id);
                j.text("status", "completed");
                j.concept("vaccineCode", vaccine);
                j.reference("patient", "Patient", patient);
                j.reference("encounter", "Encounter", visit.id);
                j.instant("occurrenceDateTime", visit.start);
                j.bool("primarySource", true);
            })?;
        }
        Ok(())
    }

    fn allergies(&mut self, visit: &Visit) -> Written {
        if !self.random.percent(25) {
            return Ok(());
        }
        let first = self.random.below(ALLERGIES.len() as u64) as usize;
        for i in 0..self.random.between(1, 3) as usize {
            let (code, category) = &ALLERGIES[(first + i) % ALLERGIES.len()];
            let id = self.random.id();
            let criticality = self.random.pick(&["low", "low", "high"]);
            let patient = self.person.id;
            self.sink.write(visit.hospital, Kind::AllergyIntolerance, |j| {
                j.id(id);
                j.status(
                    "clinicalStatus",
                    "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical",
                    "active",
                );
                j.status(
                    "verificationStatus",
                    "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification",
                    "confirmed",
                );
                j.text("type", "allergy");
                j.array("category", |j| j.text_item(category));
                j.text("criticality", criticality);
                j.concept("code", code);
                j.reference("patient", "Patient", patient);
                j.reference("encounter", "Encounter", visit.id);
                j.instant("recordedDate", visit.start);
            })?;
        }
        Ok(())
    }

    fn care_plan(&mut self, visit: &Visit, plan: &Code, activities: &[Code], condition: Id) -> Written {
        let id = self.random.id();
        let patient = self.person.id;
        self.sink.write(visit.hospital, Kind::CarePlan, |j| {
            j.id(id);
            j.text("status", "active");
            j.text("intent", "order");
            j.array("category", |j| j.concept_item(plan));
            j.reference("subject", "Patient", patient);
            j.reference("encounter", "Encounter", visit.id);
            j.object("period", |j| j.instant("start", visit.start));
            j.array("addresses", |j| j.reference_item("Condition", condition, None));
            j.array("activity", |j| {
                for activity in activities {
                    j.item(|j| {
                        j.object("detail", |j| {
                            j.concept("code", activity);
                            j.text("status", "in-progress");
                        });
                    });
                }
            });
        })
    }
}

fn quantity(j: &mut Json<'_>, value: Decimal, unit: Option<&str>) {
    j.object("valueQuantity", |j| {
        j.decimal("value", value);
        if let Some(unit) = unit {
            j.text("unit", unit);
            j.text("system", "http://unitsofmeasure.org");
            j.text("code", unit);
        }
    });
}
