//! sealdex-crypto
