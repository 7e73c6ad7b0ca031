//! How secrets are held: one newtype per key role, zeroized when dropped, without `Debug`,
//! `PartialEq`, `Copy` or any serialisation. Equality is constant-time, through
//! [`subtle::ConstantTimeEq`].

/// A secret of a fixed number of random bytes.
macro_rules! secret_bytes {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// Takes the secret's bytes; the caller wipes its own copy.
            #[must_use]
            pub fn from_bytes(bytes: &[u8; $len]) -> Self {
                Self(*bytes)
            }

            /// Draws a fresh secret.
            pub fn random(rng: &mut (impl rand_core::CryptoRng + ?Sized)) -> Self {
                let mut bytes = [0; $len];
                rng.fill_bytes(&mut bytes);
                let secret = Self(bytes);
                zeroize::Zeroize::zeroize(&mut bytes);
                secret
            }

            /// The bytes, for storing them in a protected place.
            #[must_use]
            pub fn expose(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl subtle::ConstantTimeEq for $name {
            fn ct_eq(&self, other: &Self) -> subtle::Choice {
                self.0.as_slice().ct_eq(other.0.as_slice())
            }
        }
    };
}

/// A secret that is a scalar with a role of its own.
macro_rules! secret_scalar {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(crate::Scalar);

        impl $name {
            /// Gives a scalar this role.
            #[must_use]
            pub fn from_scalar(scalar: crate::Scalar) -> Self {
                Self(scalar)
            }

            /// Decodes 32 big-endian bytes.
            ///
            /// # Errors
            /// [`crate::ScalarError`] for 0 and for values not below the group order.
            pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, crate::ScalarError> {
                crate::Scalar::from_bytes(bytes).map(Self)
            }

            /// Draws a fresh one.
            pub fn random(rng: &mut (impl rand_core::CryptoRng + ?Sized)) -> Self {
                Self(crate::Scalar::random(rng))
            }

            /// 32 big-endian bytes, wiped when dropped.
            #[must_use]
            pub fn to_bytes(&self) -> zeroize::Zeroizing<[u8; 32]> {
                self.0.to_bytes()
            }

            /// The scalar itself.
            #[must_use]
            pub fn scalar(&self) -> &crate::Scalar {
                &self.0
            }
        }

        impl subtle::ConstantTimeEq for $name {
            fn ct_eq(&self, other: &Self) -> subtle::Choice {
                self.0.ct_eq(&other.0)
            }
        }
    };
}

pub(crate) use {secret_bytes, secret_scalar};
