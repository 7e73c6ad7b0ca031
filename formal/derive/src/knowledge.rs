//! What follows from what is known.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    lattice::Lattice,
    term::{Base, Generator, Monomial, Term, share},
};

/// What an attacker can do with scalars beside multiplying and inverting them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalars {
    /// Products and inverses only: the subgroup that the known monomials generate.
    Group,
    /// Roots as well, which are easy modulo a known prime: the rational closure of that subgroup.
    Roots,
}

/// Everything that follows from a set of terms.
pub struct Knowledge {
    scalars: Scalars,
    /// Terms in play: those known, those asked for, and their parts.
    terms: BTreeSet<Term>,
    column: BTreeMap<Generator, usize>,
    known: BTreeSet<Term>,
    points: BTreeSet<(Base, Monomial)>,
    lattice: Lattice,
    /// Shamir sharings in play: secret, threshold and the indices seen.
    sharings: BTreeMap<(Monomial, usize), BTreeSet<usize>>,
}

impl Knowledge {
    /// Saturates `known` with respect to what may be asked: `goals` and their parts.
    #[must_use]
    pub fn of<'a>(
        known: impl IntoIterator<Item = &'a Term>,
        goals: impl IntoIterator<Item = &'a Term>,
        scalars: Scalars,
    ) -> Self {
        let known: BTreeSet<Term> = known.into_iter().cloned().collect();
        let (mut terms, mut generators) = (BTreeSet::new(), BTreeSet::new());
        known.iter().for_each(|t| t.visit(&mut terms, &mut generators));
        goals.into_iter().for_each(|t| t.visit(&mut terms, &mut generators));
        let mut sharings: BTreeMap<_, BTreeSet<usize>> = BTreeMap::new();
        for generator in &generators {
            if let Generator::Share { of, threshold, index } = generator {
                sharings.entry((of.clone(), *threshold)).or_default().extend([0, *index]);
            }
        }
        let lattice = Lattice::new(generators.len());
        let column = generators.into_iter().enumerate().map(|(i, g)| (g, i)).collect();
        let points = BTreeSet::from([(Base::G, Monomial::one())]);
        let mut out = Self { scalars, terms, column, known: BTreeSet::new(), points, lattice, sharings };
        known.into_iter().for_each(|t| {
            out.learn(t);
        });
        while out.step() {}
        out
    }

    /// Takes a term in. Whether it was new.
    fn learn(&mut self, term: Term) -> bool {
        if !self.known.insert(term.clone()) {
            return false;
        }
        match term {
            Term::Scalar(m) => {
                let v = self.vector(&m);
                self.lattice.insert(v);
            }
            Term::Point(m, base) => {
                self.points.insert((base, m));
            }
            Term::List(of) => of.into_iter().for_each(|t| {
                self.learn(t);
            }),
            Term::Signed(_, body) => {
                self.learn(*body);
            }
            Term::Public(_) | Term::Secret(_) | Term::Hash(..) | Term::Sealed(..) => {}
        }
        true
    }

    /// One round of every rule. Whether anything was learnt.
    fn step(&mut self) -> bool {
        let mut new: Vec<Term> = Vec::new();
        for term in &self.known {
            if let Term::Sealed(key, body) = term
                && !self.known.contains(body)
                && self.derives(key)
            {
                new.push((**body).clone());
            }
        }
        for generator in self.column.keys() {
            let term = Monomial::of(generator.clone()).term();
            if let Generator::Hash(_, of) = generator
                && !self.known.contains(&term)
                && of.iter().all(|t| self.derives(t))
            {
                new.push(term);
            }
        }
        for term in &self.terms {
            if let Term::Point(_, base @ Base::At(value)) = term {
                let start = Term::Point(Monomial::one(), base.clone());
                if !self.known.contains(&start) && self.derives(value) {
                    new.push(start);
                }
            }
        }
        // Lagrange: `threshold` values of one polynomial, all times the same thing, give any other.
        let shares = self.column.keys().filter(|g| matches!(g, Generator::Share { .. }));
        let shares = shares.map(|g| Monomial::of(g.clone()).term());
        for term in self.terms.iter().cloned().chain(shares) {
            if !self.derives(&term) && self.combines(&term) {
                new.push(term);
            }
        }
        let mut grew = false;
        for term in new {
            grew |= self.learn(term);
        }
        grew
    }

    /// Whether enough shares give a scalar or a point.
    fn combines(&self, term: &Term) -> bool {
        let monomial = match term {
            Term::Scalar(m) | Term::Point(m, _) => m,
            _ => return false,
        };
        let with = |m: Monomial| match term {
            Term::Point(_, base) => Term::Point(m, base.clone()),
            _ => Term::Scalar(m),
        };
        self.sharings.iter().any(|((of, threshold), indices)| {
            indices.iter().any(|wanted| {
                let rest = monomial.over(&share(of, *threshold, *wanted));
                let others = indices.iter().filter(|i| *i != wanted);
                let held = others.filter(|i| self.derives(&with(share(of, *threshold, **i).times(&rest))));
                held.count() >= *threshold
            })
        })
    }

    fn vector(&self, m: &Monomial) -> Vec<i128> {
        let mut v = vec![0; self.column.len()];
        for (generator, exponent) in m.parts() {
            // What the scenario never mentions is independent of everything in it.
            let Some(column) = self.column.get(generator) else { panic!("{generator:?} is not in play") };
            v[*column] = exponent.into();
        }
        v
    }

    fn has_scalar(&self, m: &Monomial) -> bool {
        match self.scalars {
            Scalars::Group => self.lattice.contains(self.vector(m)),
            Scalars::Roots => self.lattice.spans(self.vector(m)),
        }
    }

    /// Whether `term`, one of the goals or a part of anything given, follows.
    ///
    /// # Panics
    /// If it has a generator that is in none of them.
    #[must_use]
    pub fn derives(&self, term: &Term) -> bool {
        if self.known.contains(term) {
            return true;
        }
        match term {
            Term::Public(_) => true,
            Term::Secret(_) => false,
            Term::Scalar(m) => self.has_scalar(m),
            Term::Point(m, base) => self.points.iter().any(|(b, from)| b == base && self.has_scalar(&m.over(from))),
            Term::Hash(_, of) | Term::List(of) => of.iter().all(|t| self.derives(t)),
            Term::Sealed(key, body) => self.derives(key) && self.derives(body),
            Term::Signed(key, body) => self.has_scalar(key) && self.derives(body),
        }
    }
}

/// Whether `goal` follows from `known`.
#[must_use]
pub fn derives(known: &[Term], goal: &Term, scalars: Scalars) -> bool {
    Knowledge::of(known, [goal], scalars).derives(goal)
}

#[cfg(test)]
#[allow(clippy::cloned_ref_to_slice_refs)] // `&[k.clone()]` reads better beside `&[k.clone(), l]`
mod tests {
    use super::*;
    use crate::term::{curve_point, h2s, hash, list, public, scalar, sealed, secret, signed};

    fn check(known: &[Term], goal: &Term) -> bool {
        derives(known, goal, Scalars::Group)
    }

    #[test]
    fn scalars_form_a_group_and_points_hide_them() {
        let (a, b, c) = (scalar("a"), scalar("b"), scalar("c"));
        assert!(check(&[a.term(), a.times(&b).term()], &b.term()));
        assert!(check(&[a.times(&b).term(), b.times(&c).term()], &a.over(&c).term()));
        assert!(!check(&[a.times(&b).term(), b.times(&c).term()], &a.times(&c).term()));
        assert!(!check(&[a.g()], &a.term()));
        assert!(check(&[a.g(), b.term()], &a.times(&b).g()));
        assert!(!check(&[a.g(), b.g()], &a.times(&b).g()), "Diffie-Hellman");
        assert!(check(&[a.times(&b).g(), b.term()], &a.g()));
        let v = secret("v");
        assert!(check(&[a.term(), v.clone()], &a.on(&curve_point(&v))));
        assert!(!check(&[a.term(), a.g()], &a.on(&curve_point(&v))), "bases are independent");
        assert!(!check(&[a.on(&curve_point(&v))], &a.g()));
    }

    #[test]
    fn roots_are_an_ability_of_its_own() {
        let a = scalar("a");
        let squared = a.times(&a);
        assert!(!derives(&[squared.term()], &a.term(), Scalars::Group));
        assert!(derives(&[squared.term()], &a.term(), Scalars::Roots));
        assert!(!derives(&[squared.g()], &a.g(), Scalars::Roots), "no roots of points");
    }

    #[test]
    fn hashes_sealing_and_signing_are_free() {
        let (k, m) = (secret("k"), secret("m"));
        let box_ = sealed(&hash("x", &[k.clone()]), &m);
        assert!(!check(&[box_.clone()], &m) && !check(&[box_.clone(), hash("y", &[k.clone()])], &m));
        assert!(check(&[box_, k.clone()], &m));
        assert!(!check(&[hash("x", &[k.clone()])], &k));
        let s = h2s("s", &[k.clone(), public("0")]);
        assert!(check(&[k.clone(), s.inverse().times(&scalar("z")).term()], &scalar("z").term()));
        assert!(!check(&[s.term()], &h2s("s", &[k.clone(), public("1")]).term()));
        let key = scalar("sign");
        assert!(check(&[signed(&key, &m)], &m));
        assert!(!check(&[signed(&key, &m), k.clone()], &signed(&key, &k)));
        assert!(check(&[key.term(), k.clone()], &signed(&key, &list(&[k]))));
    }

    #[test]
    fn a_key_inside_a_box_opens_the_next() {
        let (k, l, m) = (secret("k"), h2s("l", &[scalar("q").g()]), secret("m"));
        let known = [sealed(&l.times(&scalar("w")).g(), &m), sealed(&k, &scalar("q").term()), k, scalar("w").g()];
        assert!(check(&known, &m));
        assert!(!check(&known[..2], &m));
    }

    #[test]
    fn shares_combine_from_the_threshold_on() {
        let (rk, e, d) = (scalar("rk"), scalar("e"), scalar("d"));
        let f = |j| share(&rk, 3, j);
        assert!(check(&[f(1).term(), f(2).term(), f(4).term()], &rk.term()));
        assert!(!check(&[f(1).term(), f(2).term()], &rk.term()));
        assert!(check(&[f(1).term(), f(2).term(), rk.term()], &f(4).term()), "f(0) is a value like the others");
        let at = |j: usize| f(j).times(&e).g();
        assert!(check(&[at(1), at(2), at(3), d.term()], &d.times(&rk).times(&e).g()));
        assert!(!check(&[at(1), at(2), f(3).g(), d.term()], &d.times(&rk).times(&e).g()));
        assert!(check(&[at(1), f(2).term(), f(3).term(), e.g()], &rk.times(&e).g()));
        assert!(!check(&[at(1), at(2), at(3)], &rk.term()), "no logarithms");
    }
}
