//! Codes of public code systems, as they appear in exchanged records.

/// One code with its name.
#[derive(Clone, Copy)]
pub(crate) struct Code {
    pub(crate) system: &'static str,
    pub(crate) code: &'static str,
    pub(crate) display: &'static str,
}

pub(crate) const fn snomed(code: &'static str, display: &'static str) -> Code {
    Code { system: "http://snomed.info/sct", code, display }
}

pub(crate) const fn loinc(code: &'static str, display: &'static str) -> Code {
    Code { system: "http://loinc.org", code, display }
}

pub(crate) const fn rxnorm(code: &'static str, display: &'static str) -> Code {
    Code { system: "http://www.nlm.nih.gov/research/umls/rxnorm", code, display }
}

pub(crate) const fn cvx(code: &'static str, display: &'static str) -> Code {
    Code { system: "http://hl7.org/fhir/sid/cvx", code, display }
}

/// Long-lasting conditions that shape a patient's values and drugs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(crate) enum Trait {
    Diabetes,
    Prediabetes,
    Hypertension,
    Hyperlipidemia,
    Obesity,
    KidneyDisease,
    HeartFailure,
    AtrialFibrillation,
    CoronaryDisease,
    Copd,
    Asthma,
    Hypothyroidism,
    Depression,
    Osteoarthritis,
    Osteoporosis,
    Anemia,
    Migraine,
    Dementia,
}

impl Trait {
    /// Its bit in a [`Traits`].
    pub(crate) const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// A set of [`Trait`]s, one bit each.
pub(crate) type Traits = u32;

/// A long-lasting condition: who has it, and what follows.
pub(crate) struct Chronic {
    pub(crate) kind: Trait,
    pub(crate) code: Code,
    /// Youngest age at onset, years.
    pub(crate) from_age: i64,
    /// Chance by age 80, percent, growing linearly from `from_age`.
    pub(crate) percent_at_80: i64,
    pub(crate) drugs: &'static [Code],
    pub(crate) plan: Option<(Code, &'static [Code])>,
}

const DIET: Code = snomed("160670007", "Diabetic diet");
const EXERCISE: Code = snomed("229065009", "Exercise therapy");
const RECEPTOR_BLOCKER: Code = snomed("698358001", "Angiotensin II receptor antagonist therapy");
const QUIT_SMOKING: Code = snomed("710081004", "Smoking cessation therapy");

/// Order matters: a diabetic is no longer prediabetic, so diabetes is drawn first.
pub(crate) const CHRONIC: &[Chronic] = &[
    Chronic {
        kind: Trait::Diabetes,
        code: snomed("44054006", "Diabetes mellitus type 2 (disorder)"),
        from_age: 30,
        percent_at_80: 32,
        drugs: &[
            rxnorm("860975", "24 HR Metformin hydrochloride 500 MG Extended Release Oral Tablet"),
            rxnorm(
                "106892",
                "Insulin isophane, human 70 UNT/ML / insulin regular, human 30 UNT/ML Injectable Suspension",
            ),
        ],
        plan: Some((snomed("698360004", "Diabetes self management plan"), &[DIET, EXERCISE])),
    },
    Chronic {
        kind: Trait::Prediabetes,
        code: snomed("15777000", "Prediabetes"),
        from_age: 25,
        percent_at_80: 35,
        drugs: &[],
        plan: None,
    },
    Chronic {
        kind: Trait::Hypertension,
        code: snomed("38341003", "Hypertensive disorder, systemic arterial (disorder)"),
        from_age: 25,
        percent_at_80: 65,
        drugs: &[
            rxnorm("314076", "Lisinopril 10 MG Oral Tablet"),
            rxnorm("310798", "Hydrochlorothiazide 25 MG Oral Tablet"),
            rxnorm("197361", "Amlodipine 5 MG Oral Tablet"),
        ],
        plan: Some((snomed("443402002", "Lifestyle education regarding hypertension"), &[EXERCISE])),
    },
    Chronic {
        kind: Trait::Hyperlipidemia,
        code: snomed("55822004", "Hyperlipidemia"),
        from_age: 30,
        percent_at_80: 50,
        drugs: &[rxnorm("312961", "Simvastatin 20 MG Oral Tablet"), rxnorm("617310", "Atorvastatin 20 MG Oral Tablet")],
        plan: Some((snomed("736285004", "Hyperlipidemia clinical management plan"), &[EXERCISE])),
    },
    Chronic {
        kind: Trait::Obesity,
        code: snomed("162864005", "Body mass index 30+ - obesity (finding)"),
        from_age: 15,
        percent_at_80: 40,
        drugs: &[],
        plan: None,
    },
    Chronic {
        kind: Trait::KidneyDisease,
        code: snomed("433144002", "Chronic kidney disease stage 3 (disorder)"),
        from_age: 45,
        percent_at_80: 25,
        drugs: &[],
        plan: None,
    },
    Chronic {
        kind: Trait::HeartFailure,
        code: snomed("42343007", "Congestive heart failure (disorder)"),
        from_age: 50,
        percent_at_80: 14,
        drugs: &[
            rxnorm("313988", "Furosemide 40 MG Oral Tablet"),
            rxnorm("866412", "24 HR Metoprolol Succinate 100 MG Extended Release Oral Tablet"),
        ],
        plan: Some((snomed("735984001", "Heart failure self management plan"), &[RECEPTOR_BLOCKER, EXERCISE])),
    },
    Chronic {
        kind: Trait::AtrialFibrillation,
        code: snomed("49436004", "Atrial fibrillation (disorder)"),
        from_age: 50,
        percent_at_80: 14,
        drugs: &[
            rxnorm("855332", "Warfarin Sodium 5 MG Oral Tablet"),
            rxnorm("197604", "Digoxin 0.125 MG Oral Tablet"),
        ],
        plan: None,
    },
    Chronic {
        kind: Trait::CoronaryDisease,
        code: snomed("53741008", "Coronary arteriosclerosis (disorder)"),
        from_age: 45,
        percent_at_80: 20,
        drugs: &[rxnorm("243670", "Aspirin 81 MG Oral Tablet"), rxnorm("309362", "Clopidogrel 75 MG Oral Tablet")],
        plan: None,
    },
    Chronic {
        kind: Trait::Copd,
        code: snomed("13645005", "Chronic obstructive lung disease (disorder)"),
        from_age: 45,
        percent_at_80: 15,
        drugs: &[rxnorm(
            "896209",
            "60 ACTUAT Fluticasone propionate 0.25 MG/ACTUAT / salmeterol 0.05 MG/ACTUAT Dry Powder Inhaler",
        )],
        plan: Some((
            snomed("412776001", "Chronic obstructive pulmonary disease clinical management plan"),
            &[QUIT_SMOKING],
        )),
    },
    Chronic {
        kind: Trait::Asthma,
        code: snomed("195967001", "Asthma (disorder)"),
        from_age: 3,
        percent_at_80: 14,
        drugs: &[rxnorm("745679", "200 ACTUAT Albuterol 0.09 MG/ACTUAT Metered Dose Inhaler")],
        plan: Some((snomed("699728000", "Asthma self management"), &[EXERCISE])),
    },
    Chronic {
        kind: Trait::Hypothyroidism,
        code: snomed("40930008", "Hypothyroidism (disorder)"),
        from_age: 30,
        percent_at_80: 10,
        drugs: &[rxnorm("892246", "Levothyroxine Sodium 0.1 MG Oral Tablet")],
        plan: None,
    },
    Chronic {
        kind: Trait::Depression,
        code: snomed("370143000", "Major depressive disorder (disorder)"),
        from_age: 14,
        percent_at_80: 18,
        drugs: &[rxnorm("312941", "Sertraline 50 MG Oral Tablet")],
        plan: None,
    },
    Chronic {
        kind: Trait::Osteoarthritis,
        code: snomed("239873007", "Osteoarthritis of knee (disorder)"),
        from_age: 45,
        percent_at_80: 35,
        drugs: &[rxnorm("849574", "Naproxen sodium 220 MG Oral Tablet")],
        plan: None,
    },
    Chronic {
        kind: Trait::Osteoporosis,
        code: snomed("64859006", "Osteoporosis (disorder)"),
        from_age: 55,
        percent_at_80: 25,
        drugs: &[rxnorm("904419", "Alendronic acid 10 MG Oral Tablet")],
        plan: None,
    },
    Chronic {
        kind: Trait::Anemia,
        code: snomed("271737000", "Anemia (disorder)"),
        from_age: 12,
        percent_at_80: 14,
        drugs: &[rxnorm("310325", "Ferrous sulfate 325 MG Oral Tablet")],
        plan: None,
    },
    Chronic {
        kind: Trait::Migraine,
        code: snomed("37796009", "Migraine (disorder)"),
        from_age: 12,
        percent_at_80: 15,
        drugs: &[],
        plan: None,
    },
    Chronic {
        kind: Trait::Dementia,
        code: snomed("26929004", "Alzheimer's disease (disorder)"),
        from_age: 65,
        percent_at_80: 18,
        drugs: &[rxnorm("997223", "Donepezil hydrochloride 10 MG Oral Tablet")],
        plan: None,
    },
];

/// A passing illness or injury and its usual treatment.
#[derive(Clone, Copy)]
pub(crate) struct Acute {
    pub(crate) code: Code,
    /// Days until it is over.
    pub(crate) lasts: (i64, i64),
    pub(crate) drug: Option<Code>,
    pub(crate) procedure: Option<Code>,
}

const ACETAMINOPHEN: Code = rxnorm("313782", "Acetaminophen 325 MG Oral Tablet");
const IBUPROFEN: Code = rxnorm("310965", "Ibuprofen 200 MG Oral Tablet");
const AMOXICILLIN: Code = rxnorm("308182", "Amoxicillin 250 MG Oral Capsule");
const XRAY: Code = snomed("399208008", "Plain chest X-ray (procedure)");
const SUTURE: Code = snomed("288086009", "Suture open wound");

/// Seen in practices.
pub(crate) const MINOR: &[Acute] = &[
    acute("444814009", "Viral sinusitis (disorder)", (7, 28), None, None),
    acute(
        "195662009",
        "Acute viral pharyngitis (disorder)",
        (5, 14),
        Some(ACETAMINOPHEN),
        Some(snomed("117015009", "Throat culture (procedure)")),
    ),
    acute(
        "10509002",
        "Acute bronchitis (disorder)",
        (7, 21),
        Some(ACETAMINOPHEN),
        Some(snomed("23426006", "Measurement of respiratory function (procedure)")),
    ),
    acute(
        "43878008",
        "Streptococcal sore throat (disorder)",
        (5, 12),
        Some(rxnorm("834061", "Penicillin V Potassium 250 MG Oral Tablet")),
        Some(snomed("117015009", "Throat culture (procedure)")),
    ),
    acute("65363002", "Otitis media", (6, 20), Some(AMOXICILLIN), None),
    acute("44465007", "Sprain of ankle", (10, 30), Some(IBUPROFEN), None),
    acute(
        "68566005",
        "Urinary tract infectious disease (disorder)",
        (4, 14),
        Some(AMOXICILLIN),
        Some(snomed("117010004", "Urine culture")),
    ),
    acute("25374005", "Gastroenteritis (disorder)", (2, 8), None, None),
    acute(
        "75498004",
        "Acute bacterial sinusitis (disorder)",
        (7, 21),
        Some(rxnorm("562251", "Amoxicillin 250 MG / Clavulanate 125 MG Oral Tablet")),
        None,
    ),
];

/// Seen in emergency departments.
pub(crate) const URGENT: &[Acute] = &[
    acute("284549007", "Laceration of hand", (10, 30), Some(ACETAMINOPHEN), Some(SUTURE)),
    acute("283371005", "Laceration of forearm", (10, 30), Some(ACETAMINOPHEN), Some(SUTURE)),
    acute("62106007", "Concussion with no loss of consciousness", (14, 60), None, None),
    acute(
        "65966004",
        "Fracture of forearm",
        (30, 90),
        Some(IBUPROFEN),
        Some(snomed("274474001", "Bone immobilization")),
    ),
    acute("29857009", "Chest pain (finding)", (1, 3), None, Some(XRAY)),
    acute("128613002", "Seizure disorder", (1, 20), None, None),
];

/// Reasons for a stay in hospital.
pub(crate) const SEVERE: &[Acute] = &[
    acute("233604007", "Pneumonia (disorder)", (10, 35), Some(AMOXICILLIN), Some(XRAY)),
    acute(
        "74400008",
        "Appendicitis",
        (7, 21),
        Some(ACETAMINOPHEN),
        Some(snomed("80146002", "Excision of appendix (procedure)")),
    ),
    acute(
        "22298006",
        "Myocardial infarction (disorder)",
        (10, 40),
        Some(rxnorm("705129", "Nitroglycerin 0.4 MG/ACTUAT Mucosal Spray")),
        Some(snomed("415070008", "Percutaneous coronary intervention")),
    ),
    acute(
        "230690007",
        "Cerebrovascular accident (disorder)",
        (20, 90),
        Some(rxnorm("309362", "Clopidogrel 75 MG Oral Tablet")),
        None,
    ),
];

const fn acute(
    code: &'static str,
    display: &'static str,
    lasts: (i64, i64),
    drug: Option<Code>,
    procedure: Option<Code>,
) -> Acute {
    Acute { code: snomed(code, display), lasts, drug, procedure }
}

pub(crate) const PREGNANCY: Code = snomed("72892002", "Normal pregnancy");

pub(crate) const PRENATAL_PROCEDURES: &[Code] = &[
    snomed("225158009", "Auscultation of the fetal heart"),
    snomed("274804006", "Evaluation of uterine fundal height"),
    snomed("169230002", "Ultrasound scan for fetal viability"),
];

pub(crate) const CHECK_UP_PROCEDURES: &[Code] = &[
    snomed("428191000124101", "Documentation of current medications"),
    snomed("171207006", "Depression screening"),
    snomed("73761001", "Colonoscopy"),
    snomed("127783003", "Spirometry (procedure)"),
];

/// Vaccines of childhood, then of every autumn and of old age.
pub(crate) const CHILD_VACCINES: &[Code] = &[
    cvx("20", "DTaP"),
    cvx("10", "IPV"),
    cvx("03", "MMR"),
    cvx("21", "varicella"),
    cvx("62", "HPV, quadrivalent"),
    cvx("114", "meningococcal MCV4P"),
];
pub(crate) const INFLUENZA: Code = cvx("140", "Influenza, seasonal, injectable, preservative free");
pub(crate) const ADULT_VACCINES: &[Code] = &[cvx("113", "Td (adult) preservative free"), cvx("52", "Hep A, adult")];
pub(crate) const SENIOR_VACCINES: &[Code] =
    &[cvx("133", "Pneumococcal conjugate PCV 13"), cvx("121", "zoster"), cvx("113", "Td (adult) preservative free")];

/// Allergies with the category FHIR files them under.
pub(crate) const ALLERGIES: &[(Code, &str)] = &[
    (snomed("91936005", "Allergy to penicillin"), "medication"),
    (snomed("419474003", "Allergy to mould"), "environment"),
    (snomed("232347008", "Dander (animal) allergy"), "environment"),
    (snomed("300913006", "Shellfish allergy"), "food"),
    (snomed("418689008", "Allergy to grass pollen"), "environment"),
    (snomed("232350006", "House dust mite allergy"), "environment"),
    (snomed("91935009", "Allergy to peanuts"), "food"),
    (snomed("300916003", "Latex allergy"), "environment"),
    (snomed("424213003", "Allergy to bee venom"), "environment"),
];

/// Smoking status, by share: never, former, current.
pub(crate) const SMOKING: [Code; 3] = [
    snomed("266919005", "Never smoker"),
    snomed("8517006", "Former smoker"),
    snomed("449868002", "Current every day smoker"),
];
