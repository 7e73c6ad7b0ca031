//! What parties hold and send, in the free algebra that section 1 of SDX-1 stands for.

use std::collections::{BTreeMap, BTreeSet};

/// A term. Equal terms are equal values; different terms are taken never to collide.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Term {
    /// A name everybody knows: labels, ids, a guess of a value.
    Public(String),
    /// Fresh random bytes.
    Secret(String),
    /// A scalar: a product of generators.
    Scalar(Monomial),
    /// A point: a scalar times a base.
    Point(Monomial, Base),
    /// HKDF, HMAC or SHA-256 under a label: one-way, and without collisions.
    Hash(String, Vec<Term>),
    /// Authenticated encryption: opens under the key, and not otherwise.
    Sealed(Box<Term>, Box<Term>),
    /// A message with a signature; whoever sees it reads the message.
    Signed(Monomial, Box<Term>),
    /// Several values together.
    List(Vec<Term>),
}

/// Where a point starts from. Nobody knows a logarithm of one base to another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Base {
    /// The curve's base point.
    G,
    /// `hash_to_curve` of a value.
    At(Box<Term>),
}

/// What scalars are products of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Generator {
    /// A fresh random scalar.
    Fresh(String),
    /// `H2S`: a scalar that is a hash.
    Hash(String, Vec<Term>),
    /// `f(index)` of a Shamir sharing with `f(0) = of`.
    Share { of: Monomial, threshold: usize, index: usize },
}

/// A product of generators with integer exponents, none of them 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Monomial(BTreeMap<Generator, i64>);

impl Monomial {
    /// The scalar 1.
    #[must_use]
    pub fn one() -> Self {
        Self::default()
    }

    /// One generator.
    #[must_use]
    pub fn of(generator: Generator) -> Self {
        Self(BTreeMap::from([(generator, 1)]))
    }

    /// The product.
    #[must_use]
    pub fn times(&self, other: &Self) -> Self {
        let mut out = self.0.clone();
        for (generator, exponent) in &other.0 {
            *out.entry(generator.clone()).or_insert(0) += exponent;
        }
        out.retain(|_, e| *e != 0);
        Self(out)
    }

    /// The inverse.
    #[must_use]
    pub fn inverse(&self) -> Self {
        Self(self.0.iter().map(|(g, e)| (g.clone(), -e)).collect())
    }

    /// `self / other`.
    #[must_use]
    pub fn over(&self, other: &Self) -> Self {
        self.times(&other.inverse())
    }

    /// Generators and exponents.
    pub fn parts(&self) -> impl Iterator<Item = (&Generator, i64)> {
        self.0.iter().map(|(g, e)| (g, *e))
    }

    /// The term.
    #[must_use]
    pub fn term(&self) -> Term {
        Term::Scalar(self.clone())
    }

    /// `self · G`.
    #[must_use]
    pub fn g(&self) -> Term {
        Term::Point(self.clone(), Base::G)
    }

    /// `self · point`.
    ///
    /// # Panics
    /// If `point` is no point: the scenario is wrong.
    #[must_use]
    pub fn on(&self, point: &Term) -> Term {
        match point {
            Term::Point(m, base) => Term::Point(self.times(m), base.clone()),
            other => panic!("{other:?} is no point"),
        }
    }
}

/// A name everybody knows.
#[must_use]
pub fn public(name: &str) -> Term {
    Term::Public(name.into())
}

/// Fresh random bytes.
#[must_use]
pub fn secret(name: &str) -> Term {
    Term::Secret(name.into())
}

/// A fresh random scalar.
#[must_use]
pub fn scalar(name: &str) -> Monomial {
    Monomial::of(Generator::Fresh(name.into()))
}

/// `H2S(label, …)`.
#[must_use]
pub fn h2s(label: &str, of: &[Term]) -> Monomial {
    Monomial::of(Generator::Hash(label.into(), of.to_vec()))
}

/// `f(index)` of a sharing of `of` among nodes, any `threshold` of which can combine.
#[must_use]
pub fn share(of: &Monomial, threshold: usize, index: usize) -> Monomial {
    if index == 0 { of.clone() } else { Monomial::of(Generator::Share { of: of.clone(), threshold, index }) }
}

/// `hash_to_curve(value)`.
#[must_use]
pub fn curve_point(value: &Term) -> Term {
    Term::Point(Monomial::one(), Base::At(Box::new(value.clone())))
}

/// HKDF, HMAC or SHA-256 under a label.
#[must_use]
pub fn hash(label: &str, of: &[Term]) -> Term {
    Term::Hash(label.into(), of.to_vec())
}

/// `body` under `key`.
#[must_use]
pub fn sealed(key: &Term, body: &Term) -> Term {
    Term::Sealed(Box::new(key.clone()), Box::new(body.clone()))
}

/// `body` signed by `key`.
#[must_use]
pub fn signed(key: &Monomial, body: &Term) -> Term {
    Term::Signed(key.clone(), Box::new(body.clone()))
}

/// Several values together.
#[must_use]
pub fn list(of: &[Term]) -> Term {
    Term::List(of.to_vec())
}

impl Term {
    /// This term and everything it is made of, and the generators in it.
    pub fn visit(&self, terms: &mut BTreeSet<Term>, generators: &mut BTreeSet<Generator>) {
        if !terms.insert(self.clone()) {
            return;
        }
        match self {
            Self::Public(_) | Self::Secret(_) => {}
            Self::Scalar(m) => m.visit(terms, generators),
            Self::Point(m, base) => {
                m.visit(terms, generators);
                if let Base::At(value) = base {
                    value.visit(terms, generators);
                }
            }
            Self::Hash(_, of) | Self::List(of) => of.iter().for_each(|t| t.visit(terms, generators)),
            Self::Sealed(key, body) => {
                key.visit(terms, generators);
                body.visit(terms, generators);
            }
            Self::Signed(key, body) => {
                key.visit(terms, generators);
                body.visit(terms, generators);
            }
        }
    }
}

impl Monomial {
    fn visit(&self, terms: &mut BTreeSet<Term>, generators: &mut BTreeSet<Generator>) {
        for (generator, _) in self.parts() {
            if generators.insert(generator.clone()) {
                match generator {
                    Generator::Fresh(_) => {}
                    Generator::Hash(_, of) => of.iter().for_each(|t| t.visit(terms, generators)),
                    Generator::Share { of, .. } => of.term().visit(terms, generators),
                }
            }
        }
    }
}
