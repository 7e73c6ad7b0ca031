//! The generator's randomness: xoshiro256** seeded by splitmix64 (Blackman and Vigna, 2018).
//!
//! Written out here, and not taken from a crate, because the bytes of a data set must not change
//! with a dependency's version. Integers only: no result depends on how a platform rounds. It is
//! no source of secrets.

/// What a stream of random numbers is for; each stream is independent of all others.
#[derive(Clone, Copy)]
pub(crate) enum Stream {
    Hospital(u64),
    Visitors,
    Patient(u64),
}

/// A stream of random numbers.
pub(crate) struct Random {
    s: [u64; 4],
}

/// One step of splitmix64: a bijection that spreads every bit of `x` over the result.
pub(crate) fn mix(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Random {
    /// The stream `stream` of the data set `seed`. Patient 7 is the same whether 10 or 10 million
    /// patients are made.
    pub(crate) fn new(seed: u64, stream: Stream) -> Self {
        let (kind, index) = match stream {
            Stream::Hospital(i) => (1, i),
            Stream::Visitors => (2, 0),
            Stream::Patient(i) => (3, i),
        };
        let mut x = mix(mix(seed) ^ kind) ^ index;
        let s = std::array::from_fn(|_| {
            let out = mix(x);
            x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
            out
        });
        Self { s }
    }

    pub(crate) fn u64(&mut self) -> u64 {
        let s = &mut self.s;
        let out = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        out
    }

    /// Below `n`, which is not 0. Multiply and shift: the bias is below 2⁻⁴⁰ for every `n` used here.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.u64()) * u128::from(n)) >> 64) as u64
    }

    /// Both ends included.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low) as u64 + 1) as i64
    }

    pub(crate) fn percent(&mut self, chance: u32) -> bool {
        self.below(100) < u64::from(chance)
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// Bell-shaped about `centre`, never further off than `2·spread`: the mean of four draws.
    pub(crate) fn about(&mut self, centre: i64, spread: i64) -> i64 {
        let sum: i64 = (0..4).map(|_| self.between(-spread, spread)).sum();
        centre + sum / 2
    }

    /// A resource id, in the form of a version 4 UUID.
    pub(crate) fn id(&mut self) -> Id {
        let hi = (self.u64() & !0xf000) | 0x4000;
        let lo = (self.u64() & !(0b11 << 62)) | (0b10 << 62);
        Id(hi, lo)
    }
}

/// A resource id: 128 bits, shown as a UUID.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Id(u64, u64);

impl Id {
    pub(crate) fn text(self) -> [u8; 36] {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut out = [b'-'; 36];
        let mut at = 0;
        for byte in self.0.to_be_bytes().into_iter().chain(self.1.to_be_bytes()) {
            if matches!(at, 8 | 13 | 18 | 23) {
                at += 1;
            }
            out[at] = HEX[usize::from(byte >> 4)];
            out[at + 1] = HEX[usize::from(byte & 15)];
            at += 2;
        }
        out
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.text().iter().try_for_each(|b| std::fmt::Write::write_char(f, char::from(*b)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix_gives_the_published_numbers() {
        // Reference sequence of splitmix64 from state 1234567.
        let states = [1_234_567_u64, 1_234_567_u64.wrapping_add(0x9e37_79b9_7f4a_7c15)];
        assert_eq!(states.map(mix), [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

    #[test]
    fn xoshiro_gives_the_published_numbers() {
        // Reference sequence of xoshiro256** from state 1, 2, 3, 4.
        let mut r = Random { s: [1, 2, 3, 4] };
        assert_eq!([r.u64(), r.u64(), r.u64(), r.u64()], [11_520, 0, 1_509_978_240, 1_215_971_899_390_074_240]);
    }

    #[test]
    fn draws_stay_in_their_bounds_and_reach_them() {
        let mut r = Random::new(1, Stream::Visitors);
        let mut seen = [false; 7];
        for _ in 0..1000 {
            seen[(r.between(-3, 3) + 3) as usize] = true;
            assert!((80..=120).contains(&r.about(100, 10)));
        }
        assert_eq!(seen, [true; 7]);
    }

    #[test]
    fn ids_are_uuids() {
        let id = Random::new(1, Stream::Patient(0)).id().to_string();
        let b = id.as_bytes();
        assert_eq!((b.len(), b[8], b[14], b[23]), (36, b'-', b'4', b'-'));
        assert!(b"89ab".contains(&b[19]));
    }
}
