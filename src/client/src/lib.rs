//! sealdex-client
