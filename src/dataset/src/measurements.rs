//! What is measured, and how the values depend on who is measured.

use crate::{
    codes::{Code, Trait, Traits, loinc},
    random::{Random, mix},
};

/// One quantity. Values are in thousandths of its unit.
pub(crate) struct Analyte {
    pub(crate) code: Code,
    pub(crate) unit: &'static str,
    /// Fraction digits a usual report shows.
    pub(crate) places: u32,
    centre: i64,
    spread: i64,
    /// Never outside these.
    pub(crate) bounds: (i64, i64),
    shifts: &'static [(Trait, i64)],
}

/// A person at one moment, as far as values depend on it.
#[derive(Clone, Copy)]
pub(crate) struct Body {
    /// What sets this person apart from others with the same traits, always in the same way.
    pub(crate) personal: u64,
    pub(crate) traits: Traits,
    pub(crate) age: i64,
    pub(crate) female: bool,
    /// Ill at this moment.
    pub(crate) fever: bool,
}

impl Analyte {
    /// Draws a value for `body`, in thousandths: the usual value, shifted by what the person has,
    /// by the person, and by the day.
    pub(crate) fn draw(&self, body: &Body, random: &mut Random) -> i64 {
        let habit = mix(body.personal ^ self.code.code.bytes().fold(0, |h, b| h * 131 + u64::from(b)));
        let own = (habit % 1000) as i64 * self.spread / 1000 - self.spread / 2;
        // From mild (half of the usual shift) to severe (almost twice).
        let severity = 500 + (habit >> 20) as i64 % 1400;
        let shift: i64 = self.shifts.iter().filter(|(t, _)| body.traits & t.bit() != 0).map(|(_, s)| s).sum();
        let shift = shift * severity / 1000;
        let value = random.about(self.centre + own + shift + self.by_age(body), self.spread);
        value.clamp(self.bounds.0, self.bounds.1)
    }

    fn by_age(&self, body: &Body) -> i64 {
        let young = (18 - body.age).max(0);
        match self.code.code {
            "8480-6" => (body.age - 40).max(0) * 250 - young * 1_300,
            "8462-4" => -young * 900,
            "8867-4" => young * 1_500 + if body.fever { 12_000 } else { 0 },
            "8310-5" if body.fever => 1_400,
            "33914-3" => -(body.age - 30).max(0) * 700,
            "38483-4" if body.female => -120,
            "718-7" if body.female => -1_100,
            _ => 0,
        }
    }
}

macro_rules! analyte {
    ($code:literal, $name:literal, $unit:literal, $places:literal, $centre:literal +- $spread:literal, $low:literal..$high:literal
     $(, $shift_trait:ident $shift:literal)* $(,)?) => {
        Analyte {
            code: loinc($code, $name),
            unit: $unit,
            places: $places,
            centre: $centre,
            spread: $spread,
            bounds: ($low, $high),
            shifts: &[$((Trait::$shift_trait, $shift)),*],
        }
    };
}

pub(crate) const HBA1C: &[Analyte] = &[
    analyte!("4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood", "%", 1, 5_250 +- 180, 4_000..14_000, Diabetes 2_400, Prediabetes 700),
    analyte!("14959-1", "Microalbumin/Creatinine [Mass Ratio] in Urine", "mg/g", 1, 12_000 +- 9_000, 500..900_000, Diabetes 25_000, KidneyDisease 90_000),
];

pub(crate) const METABOLIC: &[Analyte] = &[
    analyte!("2339-0", "Glucose [Mass/volume] in Blood", "mg/dL", 1, 88_000 +- 10_000, 55_000..420_000, Diabetes 72_000, Prediabetes 22_000),
    analyte!("6299-2", "Urea nitrogen [Mass/volume] in Blood", "mg/dL", 1, 13_500 +- 4_500, 5_000..95_000, KidneyDisease 17_000),
    analyte!("38483-4", "Creatinine [Mass/volume] in Blood", "mg/dL", 2, 900 +- 160, 300..7_500, KidneyDisease 1_050),
    analyte!("49765-1", "Calcium [Mass/volume] in Blood", "mg/dL", 1, 9_400 + -450, 7_200..12_500),
    analyte!(
        "2947-0",
        "Sodium [Moles/volume] in Blood",
        "mmol/L",
        0,
        140_000 + -2_600,
        122_000..158_000,
        HeartFailure - 3_000
    ),
    analyte!("6298-4", "Potassium [Moles/volume] in Blood", "mmol/L", 1, 4_200 +- 400, 2_700..6_800, KidneyDisease 500),
    analyte!("2069-3", "Chloride [Moles/volume] in Blood", "mmol/L", 0, 103_000 + -3_000, 88_000..118_000),
    analyte!("20565-8", "Carbon dioxide, total [Moles/volume] in Blood", "mmol/L", 0, 25_500 +- 2_500, 14_000..38_000, Copd 3_000),
];

/// Reported beside the metabolic panel; which unit it has depends on the hospital.
pub(crate) const EGFR: Analyte = analyte!(
    "33914-3",
    "Glomerular filtration rate/1.73 sq M.predicted",
    "mL/min/{1.73_m2}",
    1,
    106_000 + -12_000,
    6_000..150_000,
    KidneyDisease - 38_000,
);
pub(crate) const EGFR_OTHER_UNIT: &str = "mL/min";

pub(crate) const LIPIDS: &[Analyte] = &[
    analyte!("2093-3", "Cholesterol [Mass/volume] in Serum or Plasma", "mg/dL", 0, 182_000 +- 22_000, 95_000..380_000, Hyperlipidemia 48_000),
    analyte!("2571-8", "Triglycerides", "mg/dL", 0, 115_000 +- 40_000, 35_000..750_000, Hyperlipidemia 70_000, Diabetes 40_000, Obesity 25_000),
    analyte!("18262-6", "Low Density Lipoprotein Cholesterol", "mg/dL", 1, 104_000 +- 20_000, 30_000..270_000, Hyperlipidemia 45_000),
    analyte!(
        "2085-9",
        "High Density Lipoprotein Cholesterol",
        "mg/dL",
        0,
        56_000 + -11_000,
        18_000..110_000,
        Obesity - 9_000
    ),
];

pub(crate) const BLOOD_COUNT: &[Analyte] = &[
    analyte!(
        "6690-2",
        "Leukocytes [#/volume] in Blood by Automated count",
        "10*3/uL",
        1,
        7_000 + -2_000,
        1_800..28_000
    ),
    analyte!(
        "789-8",
        "Erythrocytes [#/volume] in Blood by Automated count",
        "10*6/uL",
        2,
        4_750 + -420,
        2_400..6_600,
        Anemia - 850
    ),
    analyte!("718-7", "Hemoglobin [Mass/volume] in Blood", "g/dL", 1, 14_900 + -1_000, 5_500..19_000, Anemia - 4_200),
    analyte!(
        "4544-3",
        "Hematocrit [Volume Fraction] of Blood by Automated count",
        "%",
        1,
        43_500 + -3_300,
        18_000..57_000,
        Anemia - 10_500
    ),
    analyte!(
        "787-2",
        "MCV [Entitic volume] by Automated count",
        "fL",
        1,
        89_000 + -4_500,
        62_000..118_000,
        Anemia - 9_000
    ),
    analyte!(
        "777-3",
        "Platelets [#/volume] in Blood by Automated count",
        "10*3/uL",
        0,
        255_000 + -55_000,
        40_000..700_000
    ),
];

pub(crate) const THYROID: &[Analyte] = &[analyte!(
    "3016-3", "Thyrotropin [Units/volume] in Serum or Plasma", "m[IU]/L", 2, 2_100 +- 900, 50..60_000, Hypothyroidism 4_200,
)];

pub(crate) const LUNGS: &[Analyte] =
    &[analyte!("19926-5", "FEV1/FVC", "%", 1, 80_000 + -4_500, 25_000..95_000, Copd - 27_000, Asthma - 8_000)];

pub(crate) const SYSTOLIC: Analyte = analyte!("8480-6", "Systolic blood pressure", "mm[Hg]", 0, 116_000 +- 9_000, 70_000..230_000, Hypertension 26_000, Obesity 5_000);
pub(crate) const DIASTOLIC: Analyte =
    analyte!("8462-4", "Diastolic blood pressure", "mm[Hg]", 0, 75_000 +- 6_000, 38_000..135_000, Hypertension 13_000);

pub(crate) const PULSE: Analyte = analyte!("8867-4", "Heart rate", "/min", 0, 71_000 +- 9_000, 38_000..185_000, AtrialFibrillation 16_000, HeartFailure 8_000);
pub(crate) const VITALS: &[Analyte] = &[
    analyte!("9279-1", "Respiratory rate", "/min", 0, 14_500 +- 2_000, 8_000..42_000, Copd 3_500),
    analyte!("8310-5", "Body temperature", "Cel", 1, 36_750 + -300, 34_800..41_200),
    analyte!(
        "2708-6",
        "Oxygen saturation in Arterial blood",
        "%",
        0,
        97_600 + -1_000,
        72_000..100_000,
        Copd - 4_500,
        HeartFailure - 2_000
    ),
];

pub(crate) const HEIGHT: Code = loinc("8302-2", "Body Height");
pub(crate) const WEIGHT: Code = loinc("29463-7", "Body Weight");
pub(crate) const BMI: Code = loinc("39156-5", "Body Mass Index");
pub(crate) const BLOOD_PRESSURE: Code = loinc("55284-4", "Blood Pressure");
pub(crate) const PAIN: Code = loinc("72514-3", "Pain severity - 0-10 verbal numeric rating [Score] - Reported");
pub(crate) const SMOKING_STATUS: Code = loinc("72166-2", "Tobacco smoking status NHIS");

/// What a laboratory reports together.
pub(crate) struct Panel {
    pub(crate) code: Code,
    pub(crate) analytes: &'static [Analyte],
    /// Whether the estimated filtration rate is part of it.
    pub(crate) with_egfr: bool,
}

pub(crate) const METABOLIC_PANEL: Panel =
    Panel { code: loinc("51990-0", "Basic Metabolic Panel"), analytes: METABOLIC, with_egfr: true };
pub(crate) const LIPID_PANEL: Panel =
    Panel { code: loinc("57698-3", "Lipid Panel"), analytes: LIPIDS, with_egfr: false };
pub(crate) const COUNT_PANEL: Panel = Panel {
    code: loinc("58410-2", "Complete blood count (hemogram) panel - Blood by Automated count"),
    analytes: BLOOD_COUNT,
    with_egfr: false,
};

/// Height in millimetres and weight in grams; the body mass index follows from them.
pub(crate) fn build(body: &Body, random: &mut Random) -> (i64, i64) {
    let own = mix(body.personal ^ 0x4ec4);
    let adult = if body.female { 1_630 } else { 1_760 } + (own % 160) as i64 - 80;
    let height = 500 + (adult - 500) * body.age.min(18) / 18;
    let mut index = 21_000 + (own >> 32) as i64 % 5_500 - (18 - body.age).max(0) * 300;
    if body.traits & Trait::Obesity.bit() != 0 {
        index += 9_500;
    }
    if body.traits & Trait::Diabetes.bit() != 0 {
        index += 2_000;
    }
    let index = random.about(index, 450);
    (height, index * height * height / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    #[test]
    fn a_condition_shows_in_the_values() {
        let mut random = Random::new(1, Stream::Visitors);
        let mut mean = |analyte: &Analyte, traits| {
            (0..400)
                .map(|i| {
                    analyte.draw(&Body { personal: mix(i), traits, age: 60, female: false, fever: false }, &mut random)
                })
                .sum::<i64>()
                / 400
        };
        assert!(mean(&HBA1C[0], Trait::Diabetes.bit()) > 7_000);
        assert!(mean(&HBA1C[0], 0) < 5_700);
        assert!(mean(&SYSTOLIC, Trait::Hypertension.bit()) > mean(&SYSTOLIC, 0) + 20_000);
        assert!(mean(&EGFR, Trait::KidneyDisease.bit()) < 60_000);
    }
}
