//! Subgroups of `Z^n`, exactly: which exponent vectors are integer (or rational) combinations of
//! given ones.

/// A subgroup of `Z^n`, held as integer rows in echelon form (the Hermite normal form without
/// reduction above the pivots, which membership does not need).
#[derive(Clone)]
pub struct Lattice {
    /// Row at index `c` has its first non-zero entry, positive, in column `c`.
    rows: Vec<Option<Vec<i128>>>,
}

/// Entries stay tiny; one that does not fit is a fault of the caller, never a wrong verdict.
#[allow(clippy::expect_used)]
fn combine(x: i128, a: &[i128], y: i128, b: &[i128]) -> Vec<i128> {
    let term = |s: i128, v: i128| s.checked_mul(v).expect("exponents beyond 128 bits");
    a.iter().zip(b).map(|(a, b)| term(x, *a).checked_add(term(y, *b)).expect("exponents beyond 128 bits")).collect()
}

/// `(g, x, y)` with `g = gcd(a, b) = x·a + y·b`, `g > 0` for `a > 0`.
fn egcd(a: i128, b: i128) -> (i128, i128, i128) {
    let (mut r, mut s, mut t) = ((a, b), (1, 0), (0, 1));
    while r.1 != 0 {
        let q = r.0 / r.1;
        r = (r.1, r.0 - q * r.1);
        s = (s.1, s.0 - q * s.1);
        t = (t.1, t.0 - q * t.1);
    }
    if r.0 < 0 { (-r.0, -s.0, -t.0) } else { (r.0, s.0, t.0) }
}

impl Lattice {
    /// The trivial subgroup of `Z^n`.
    #[must_use]
    pub fn new(n: usize) -> Self {
        Self { rows: vec![None; n] }
    }

    /// Adds a generator. Whether the subgroup grew.
    pub fn insert(&mut self, mut v: Vec<i128>) -> bool {
        assert_eq!(v.len(), self.rows.len(), "a vector of another dimension");
        if self.contains(v.clone()) {
            return false;
        }
        for c in 0..v.len() {
            if v[c] == 0 {
                continue;
            }
            match &mut self.rows[c] {
                None => {
                    if v[c] < 0 {
                        v.iter_mut().for_each(|e| *e = -*e);
                    }
                    self.rows[c] = Some(v);
                    return true;
                }
                Some(row) => {
                    // A unimodular change of (row, v): the pivot becomes the gcd, v's entry 0.
                    let (g, x, y) = egcd(row[c], v[c]);
                    let rest = combine(row[c] / g, &v, -(v[c] / g), row);
                    *row = combine(x, row, y, &v);
                    v = rest;
                }
            }
        }
        true
    }

    /// Whether `v` is an integer combination of the generators.
    #[must_use]
    pub fn contains(&self, mut v: Vec<i128>) -> bool {
        for c in 0..v.len() {
            if v[c] != 0 {
                match &self.rows[c] {
                    Some(row) if v[c] % row[c] == 0 => v = combine(1, &v, -(v[c] / row[c]), row),
                    _ => return false,
                }
            }
        }
        true
    }

    /// Whether some multiple of `v` is an integer combination of the generators.
    #[must_use]
    pub fn spans(&self, mut v: Vec<i128>) -> bool {
        for c in 0..v.len() {
            if v[c] != 0 {
                let Some(row) = &self.rows[c] else { return false };
                v = combine(row[c], &v, -v[c], row);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_integer_combinations_and_nothing_else() {
        let mut l = Lattice::new(3);
        assert!(l.insert(vec![2, 4, 0]));
        assert!(l.insert(vec![3, 0, 1]));
        assert!(!l.insert(vec![5, 4, 1]));
        assert!(l.contains(vec![-1, 4, -1]) && l.contains(vec![0, 12, -2]));
        assert!(!l.contains(vec![1, 2, 0]) && l.spans(vec![1, 2, 0]));
        assert!(!l.contains(vec![0, 0, 1]) && !l.spans(vec![0, 0, 1]));
        assert!(l.insert(vec![1, 2, 0]), "a half of a generator is new");
        assert!(l.contains(vec![1, 2, 0]));
    }

    /// Against brute force over small coefficients.
    #[test]
    fn agrees_with_enumeration() {
        let mut state = 12345_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            i128::from((state >> 33) % 5) - 2
        };
        for _ in 0..200 {
            let rows: Vec<Vec<i128>> = (0..2).map(|_| (0..3).map(|_| next()).collect()).collect();
            let mut l = Lattice::new(3);
            rows.iter().for_each(|r| {
                l.insert(r.clone());
            });
            let target: Vec<i128> = (0..3).map(|_| next()).collect();
            // Coefficients are bounded by Cramer's rule on entries up to 2: |det| <= 8.
            let reached = (-60..=60).any(|x| (-60..=60).any(|y| combine(x, &rows[0], y, &rows[1]) == target));
            assert_eq!(l.contains(target.clone()), reached, "{rows:?} {target:?}");
        }
    }
}
