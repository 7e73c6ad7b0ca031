//! The session with the domain, kept in step with its roster.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use sealdex_client::{Session, session::AskError};
use sealdex_member::{MemberKeys, PackError, Trusted};
use sealdex_net::peer::Http;

/// How often the gate is asked for a newer roster.
const REFRESH: Duration = Duration::from_secs(300);

/// What it takes to ask the domain.
pub struct Member {
    /// The user's keys.
    pub keys: MemberKeys,
    /// Roster and schema.
    pub trusted: Trusted,
    /// Connections.
    pub http: Http,
    /// Purpose of use of everything that is asked.
    pub purpose: String,
    /// Most records one search may open.
    pub most_opened: u64,
}

/// The current session.
pub(crate) struct Domain {
    member: Member,
    session: RwLock<Arc<Session>>,
}

impl Member {
    fn session(&self, trusted: Trusted) -> Result<Session, AskError> {
        let session = Session::new(&self.http, &self.keys, trusted)?;
        Ok(session.for_purpose(&self.purpose).opening_at_most(self.most_opened))
    }
}

impl Domain {
    pub(crate) fn new(member: Member) -> Result<Self, AskError> {
        let session = member.session(member.trusted.clone())?;
        Ok(Self { member, session: RwLock::new(Arc::new(session)) })
    }

    /// The session of now.
    pub(crate) fn session(&self) -> Arc<Session> {
        self.session.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The domain's name.
    pub(crate) fn name(&self) -> &str {
        &self.member.trusted.roster.domain
    }

    /// Purpose of use.
    pub(crate) fn purpose(&self) -> &str {
        &self.member.purpose
    }

    /// Asks the gate for its roster, and takes it over if it is newer.
    ///
    /// # Errors
    /// When the gate does not answer, or with a roster that is not the authority's.
    pub(crate) async fn refresh(&self) -> Result<(), PackError> {
        let before = self.session().trusted().clone();
        let gate = before.gate(&self.member.http, &self.member.keys)?;
        let mut trusted = before.clone();
        trusted.refresh(&gate).await?;
        if trusted.roster.version != before.roster.version {
            match self.member.session(trusted) {
                Ok(session) => *self.session.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(session),
                Err(error) => tracing::warn!(%error, "the newer roster cannot be used"),
            }
        }
        Ok(())
    }

    /// Refreshes for ever.
    pub(crate) async fn keep_fresh(self: Arc<Self>) {
        loop {
            tokio::time::sleep(REFRESH).await;
            if let Err(error) = self.refresh().await {
                tracing::warn!(%error, "the roster could not be refreshed; going on with the one at hand");
            }
        }
    }
}
