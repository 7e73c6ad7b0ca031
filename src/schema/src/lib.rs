//! sealdex-schema
