//! sealdex-provider
