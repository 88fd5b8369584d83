//! What is measured: for each scenario the calls that prepare it, the request that is repeated, and a check afterwards
//! that the server did what it acknowledged.
//!
//! The one thing to know: each repeated request differs from the one before. An update to the state that is there already
//! may be answered without a write, and would then measure nothing.

mod infisical;
mod mindbridge;
mod update_piiano;
mod update_unleash;
mod verify;

use crate::Error;
use crate::client::{Connection, Outgoing};

use infisical::{UpdateInfisical, VerifyInfisical};
use mindbridge::{UpdateMindbridge, VerifyMindbridge};
use update_piiano::UpdatePiiano;
use update_unleash::UpdateUnleash;
use verify::Verify;

/// One thing that a server can be asked to do over and over.
#[derive(Debug)]
pub(crate) enum Scenario {
    Verify(Verify),
    VerifyInfisical(VerifyInfisical),
    VerifyMindbridge(VerifyMindbridge),
    UpdateUnleash(UpdateUnleash),
    UpdatePiiano(UpdatePiiano),
    UpdateInfisical(UpdateInfisical),
    UpdateMindbridge(UpdateMindbridge),
}

impl Scenario {
    /// Prepares every scenario on a fresh development server, in the order in
    /// which they are measured.
    pub(crate) async fn prepare_all(connection: &mut Connection) -> Result<Vec<Self>, Error> {
        let verify = Verify::prepare(connection).await?;
        let (verify_infisical, update_infisical) = infisical::prepare(connection).await?;
        Ok(vec![
            Self::Verify(verify),
            Self::VerifyInfisical(verify_infisical),
            Self::VerifyMindbridge(VerifyMindbridge::prepare(connection).await?),
            Self::UpdateUnleash(UpdateUnleash::prepare(connection, 1).await?),
            Self::UpdateUnleash(UpdateUnleash::prepare(connection, 1_000).await?),
            Self::UpdatePiiano(UpdatePiiano::prepare(connection).await?),
            Self::UpdateInfisical(update_infisical),
            Self::UpdateMindbridge(UpdateMindbridge::prepare(connection).await?),
        ])
    }

    /// Prepares one update over many tokens, on a server that knows the admin
    /// token of development servers.
    pub(crate) async fn prepare_update(
        connection: &mut Connection,
        tokens: usize,
    ) -> Result<Self, Error> {
        let scenario = UpdateUnleash::prepare(connection, tokens).await?;
        Ok(Self::UpdateUnleash(scenario))
    }

    /// The heading of the scenario's table.
    pub(crate) fn title(&self) -> String {
        match self {
            Self::Verify(_) => "verify: POST /edge/validate, one token".to_owned(),
            Self::VerifyInfisical(_) => {
                "verify infisical: GET /api/v1/identities/details, one token".to_owned()
            }
            Self::VerifyMindbridge(_) => {
                "verify mindbridge: GET /api/v1/api-tokens/current, one token".to_owned()
            }
            Self::UpdateUnleash(scenario) => scenario.title(),
            Self::UpdatePiiano(_) => {
                "update piiano: PATCH …/collections/{collection}/tokens, tags of one token"
                    .to_owned()
            }
            Self::UpdateInfisical(_) => {
                "update infisical: PATCH …/token-auth/tokens/{id}, name of one token".to_owned()
            }
            Self::UpdateMindbridge(scenario) => scenario.title(),
        }
    }

    /// The request with this number.
    pub(crate) fn request(&self, sequence: u64) -> Outgoing {
        match self {
            Self::Verify(scenario) => scenario.request(),
            Self::VerifyInfisical(scenario) => scenario.request(),
            Self::VerifyMindbridge(scenario) => scenario.request(),
            Self::UpdateUnleash(scenario) => scenario.request(sequence),
            Self::UpdatePiiano(scenario) => scenario.request(sequence),
            Self::UpdateInfisical(scenario) => scenario.request(sequence),
            Self::UpdateMindbridge(scenario) => scenario.request(sequence),
        }
    }

    /// The size of the body that answers it with 200, and of the bare handler's.
    pub(crate) fn answer_bytes(&self) -> usize {
        match self {
            Self::Verify(scenario) => scenario.answer_bytes(),
            Self::VerifyInfisical(scenario) => scenario.answer_bytes(),
            Self::VerifyMindbridge(scenario) => scenario.answer_bytes(),
            // Both products answer an update with an empty body.
            Self::UpdateUnleash(_) | Self::UpdatePiiano(_) => 0,
            Self::UpdateInfisical(scenario) => scenario.answer_bytes(),
            Self::UpdateMindbridge(scenario) => scenario.answer_bytes(),
        }
    }

    /// Whether a body of this size can be the good answer: its size is the only
    /// thing about it that is looked at while one measures.
    pub(crate) fn fits(&self, bytes: usize) -> bool {
        match self {
            Self::UpdateMindbridge(scenario) => scenario.fits(bytes),
            _ => bytes == self.answer_bytes(),
        }
    }

    /// Reads the state back after `issued` requests, all of which have been
    /// acknowledged; an error says what was acknowledged and is not there.
    pub(crate) async fn confirm(
        &self,
        connection: &mut Connection,
        issued: u64,
    ) -> Result<(), Error> {
        match self {
            // Every single answer has been compared already.
            Self::Verify(_) | Self::VerifyInfisical(_) | Self::VerifyMindbridge(_) => Ok(()),
            Self::UpdateUnleash(scenario) => scenario.confirm(connection, issued).await,
            Self::UpdatePiiano(scenario) => scenario.confirm(connection, issued).await,
            Self::UpdateInfisical(scenario) => scenario.confirm(connection, issued).await,
            Self::UpdateMindbridge(scenario) => scenario.confirm(connection, issued).await,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http_body_util::BodyExt;
    use hyper::StatusCode;

    use super::*;
    use crate::fake::{self, Manners};

    /// Prepares all scenarios, sends a few requests of each and returns what the
    /// check says, by title.
    async fn confirmations(manners: Manners) -> Vec<(String, Result<(), String>)> {
        let address = fake::serve(fake::router(manners)).await;
        let mut connection = Connection::open(address).await.unwrap();
        let mut confirmations = Vec::new();
        for scenario in Scenario::prepare_all(&mut connection).await.unwrap() {
            for sequence in 0..3 {
                let answer = connection
                    .exchange(scenario.request(sequence))
                    .await
                    .unwrap();
                assert_eq!(answer.status, StatusCode::OK, "{}", scenario.title());
                assert!(scenario.fits(answer.body.len()), "{}", scenario.title());
            }
            let confirmed = scenario.confirm(&mut connection, 3).await;
            confirmations.push((
                scenario.title(),
                confirmed.map_err(|error| error.to_string()),
            ));
        }
        confirmations
    }

    #[tokio::test]
    async fn what_was_acknowledged_is_found_again() {
        let confirmations = confirmations(Manners::Good).await;
        assert_eq!(confirmations.len(), 8);
        for (title, confirmed) in confirmations {
            assert_eq!(confirmed, Ok(()), "{title}");
        }
    }

    #[tokio::test]
    async fn updates_that_were_acknowledged_and_forgotten_are_noticed() {
        for (title, confirmed) in confirmations(Manners::ForgetsUpdates).await {
            if title.starts_with("verify") {
                continue;
            }
            let objection = confirmed.unwrap_err();
            assert!(
                objection.contains("after 3 acknowledged updates"),
                "{title}: {objection}"
            );
        }
    }

    #[tokio::test]
    async fn a_server_without_the_development_credentials_is_refused() {
        let address = fake::serve(fake::router(Manners::KnowsNobody)).await;
        let mut connection = Connection::open(address).await.unwrap();
        let error = Scenario::prepare_all(&mut connection)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("the development token is not confirmed"),
            "{error}"
        );
        let error = UpdateUnleash::prepare(&mut connection, 1)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("bench-0-of-1: 401"), "{error}");
        let error = UpdatePiiano::prepare(&mut connection)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("Piiano collection: 401"), "{error}");
        let error = infisical::prepare(&mut connection).await.unwrap_err();
        assert!(error.to_string().contains("Infisical: 401"), "{error}");
        for error in [
            VerifyMindbridge::prepare(&mut connection)
                .await
                .unwrap_err(),
            UpdateMindbridge::prepare(&mut connection)
                .await
                .unwrap_err(),
        ] {
            let error = error.to_string();
            assert!(error.contains("development token: 401"), "{error}");
        }
    }

    #[tokio::test]
    async fn successive_updates_differ() {
        let address = fake::serve(fake::router(Manners::Good)).await;
        let mut connection = Connection::open(address).await.unwrap();
        for scenario in Scenario::prepare_all(&mut connection)
            .await
            .unwrap()
            .into_iter()
            .filter(|scenario| scenario.title().starts_with("update"))
        {
            let mut bodies = Vec::new();
            for sequence in [0, 1, 1_000, 1_001] {
                let body = scenario
                    .request(sequence)
                    .into_body()
                    .collect()
                    .await
                    .unwrap();
                bodies.push(body.to_bytes());
            }
            bodies.sort_unstable();
            bodies.dedup();
            assert_eq!(bodies.len(), 4, "{}", scenario.title());
        }
    }
}
