//! Names and places to draw from. Any likeness of a drawn combination to a person is chance.

pub(crate) const FEMALE: &[&str] = &[
    "Ada",
    "Amara",
    "Anna",
    "Beatriz",
    "Carla",
    "Chloe",
    "Dana",
    "Elena",
    "Fatima",
    "Grace",
    "Hannah",
    "Ines",
    "Jana",
    "Josephine",
    "Karin",
    "Leila",
    "Lucía",
    "Mai",
    "Margaret",
    "Nadia",
    "Nora",
    "Olga",
    "Priya",
    "Renée",
    "Rosa",
    "Ruth",
    "Sofia",
    "Tamsin",
    "Uma",
    "Vera",
    "Wanda",
    "Yuki",
    "Zoë",
];

pub(crate) const MALE: &[&str] = &[
    "Aaron", "Adrian", "Amir", "André", "Ben", "Carlos", "Daniel", "Emil", "Felix", "George", "Hugo", "Ivan", "Jack",
    "Jorge", "Kofi", "Leo", "Luis", "Marek", "Nikhil", "Oscar", "Owen", "Pablo", "Quentin", "Rafael", "Samuel",
    "Søren", "Theo", "Uri", "Victor", "Walter", "Xavier", "Yusuf", "Zachary",
];

pub(crate) const FAMILY: &[&str] = &[
    "Abara", "Adler", "Almeida", "Bauer", "Brennan", "Castillo", "Chen", "Dubois", "Ekström", "Farah", "Fischer",
    "Garcia", "Goldberg", "Haddad", "Hansen", "Ibrahim", "Ito", "Jansen", "Johnson", "Kaplan", "Kowalski", "Larsen",
    "Lee", "Marín", "Mbeki", "Müller", "Nakamura", "Nguyen", "Núñez", "O'Connor", "Okafor", "Patel", "Petrov", "Quinn",
    "Reyes", "Rossi", "Sato", "Schmidt", "Silva", "Singh", "Smith", "Tanaka", "Torres", "Ueda", "Vargas", "Weber",
    "Wright", "Yilmaz", "Young", "Zhang",
];

pub(crate) const STREETS: &[&str] = &[
    "Alder Lane",
    "Bridge Street",
    "Canal Walk",
    "Dock Road",
    "Elm Street",
    "Foundry Row",
    "Granite Way",
    "High Street",
    "Ivy Court",
    "Juniper Avenue",
    "Kiln Lane",
    "Lighthouse Road",
    "Market Square",
    "Orchard Street",
    "Station Road",
];

/// City, state and postcode; the cities are made up.
pub(crate) const CITIES: &[(&str, &str, &str)] = &[
    ("Fairmont Landing", "MA", "00151"),
    ("Harbor Point", "MA", "00174"),
    ("Linden", "VT", "00263"),
    ("Eastmoor", "NH", "00285"),
    ("Quarry Hill", "ME", "00306"),
    ("Saltmarsh", "RI", "00331"),
    ("Old Mill", "CT", "00352"),
];
