//! Made-up records of eight indexed fields, and questions about them. A record is a function of its number, so that
//! every contender is given the same ones and nobody holds them all.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use sealdex_crypto::RecordId;

/// Fields whose order is searched, of 32 bits.
pub const ORDER_FIELDS: usize = 2;
/// Fields that are searched by equality.
pub const TOKEN_FIELDS: usize = 5;
/// Words there are.
const VOCABULARY: u64 = 20_000;
/// Bytes of a sealed record, and of its routing tag.
const SEALED: usize = 900;
pub const TAG: usize = 110;
/// A minute some years ago, and the minutes since: what the second order field holds.
const FIRST_MINUTE: u64 = (1 << 31) + 25_000_000;
const MINUTES: u64 = 5_000_000;

pub struct Record {
    pub id: RecordId,
    pub order: [u32; ORDER_FIELDS],
    pub tokens: [String; TOKEN_FIELDS],
    pub words: Vec<String>,
}

/// How many values each token field has.
fn cardinalities(records: u64) -> [u64; TOKEN_FIELDS] {
    [2, 20, 1000, (records / 100).max(1), records]
}

fn token(field: usize, value: u64) -> String {
    match field {
        0 => ["female", "male"][value as usize % 2].to_owned(),
        1 => format!("http://terminology.hl7.org/status|{value}"),
        2 | 3 => format!("http://loinc.org|{value}-{}", value % 10),
        _ => format!("urn:oid:2.16.840.1|{value:010}"),
    }
}

fn word(n: u64) -> String {
    // Syllables, so that words share beginnings as words do.
    let mut text = String::new();
    let mut rest = n + 400;
    while rest > 0 {
        text.push(char::from(b"bcdfghklmnprstvz"[(rest % 16) as usize]));
        text.push(char::from(b"aeiou"[(rest / 16 % 5) as usize]));
        rest /= 80;
    }
    text
}

impl Record {
    pub fn new(n: u64, records: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(n);
        let mut id = [0; 16];
        id[..8].copy_from_slice(&n.to_be_bytes());
        rng.fill(&mut id[8..]);
        let of = cardinalities(records);
        let words = rng.random_range(4..=8);
        Self {
            id: RecordId(id),
            order: [rng.random(), (FIRST_MINUTE + rng.random_range(0..MINUTES)) as u32],
            tokens: std::array::from_fn(|field| token(field, rng.random_range(0..of[field]))),
            // Some words are in most records, most in few.
            words: (0..words).map(|_| word((VOCABULARY as f64 * rng.random::<f64>().powi(3)) as u64)).collect(),
        }
    }

    /// Its sealed bytes: to everybody but its readers, noise.
    pub fn sealed(n: u64) -> Vec<u8> {
        let mut sealed = vec![0; SEALED];
        StdRng::seed_from_u64(!n).fill(&mut sealed[..]);
        sealed
    }

    pub fn tag(n: u64) -> Vec<u8> {
        let mut tag = vec![0; TAG];
        StdRng::seed_from_u64(n ^ 1 << 63).fill(&mut tag[..]);
        tag
    }
}

/// A condition; more than one must hold together.
#[derive(Clone)]
pub enum Condition {
    /// An order field's value, both ends included.
    Range {
        field: usize,
        from: u32,
        to: u32,
    },
    Token {
        field: usize,
        value: String,
    },
    Word(String),
}

/// One question: conditions, and the order and size of a page if not everything is wanted.
#[derive(Clone)]
pub struct Question {
    pub all: Vec<Condition>,
    /// The order field, largest first, and how many.
    pub page: Option<(usize, usize)>,
}

/// Questions of one shape.
pub struct Shape {
    pub name: &'static str,
    /// Every contender must give as many answers to each.
    pub questions: Vec<Question>,
}

/// The shapes, with questions drawn for this many records.
pub fn shapes(records: u64, of_each: usize) -> Vec<Shape> {
    let mut rng = StdRng::seed_from_u64(0xa5);
    let of = cardinalities(records);
    let mut range = |field: usize, hits: u64| {
        let (first, span) = if field == 0 { (0, 1 << 32) } else { (FIRST_MINUTE, MINUTES) };
        let width = ((span as f64 * hits as f64 / records as f64) as u64).clamp(1, span - 1);
        let from = first + rng.random_range(0..span - width);
        Condition::Range { field, from: from as u32, to: (from + width - 1) as u32 }
    };
    let wide = 10_000.min(records / 2);
    let shape =
        |name, make: &mut dyn FnMut() -> Question| Shape { name, questions: (0..of_each).map(|_| make()).collect() };
    let plain = |all: Vec<Condition>| Question { all, page: None };
    let mut values = StdRng::seed_from_u64(0x5a);
    let mut of_field = |field: usize| {
        let value = token(field, values.random_range(0..of[field]));
        Condition::Token { field, value }
    };
    let mut words = StdRng::seed_from_u64(0x3c);
    vec![
        shape("narrow range, about 100 hits", &mut || plain(vec![range(0, 100)])),
        shape("wide range, about 10,000 hits", &mut || plain(vec![range(0, wide)])),
        shape("term, about 100 hits", &mut || plain(vec![of_field(3)])),
        shape("word", &mut || plain(vec![Condition::Word(word(words.random_range(2000..VOCABULARY)))])),
        shape("term and a fifth of the time", &mut || plain(vec![of_field(3), range(1, records / 5)])),
        shape("page of 50 of a twentieth, latest first", &mut || Question {
            all: vec![of_field(1)],
            page: Some((1, 50)),
        }),
    ]
}
