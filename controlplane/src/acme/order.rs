//! Order: one certificate of one name, from the question to the chain.
//!
//! ```text
//!   new order --> authorisation --pending--> show, "ready" --> poll --valid--> key and request
//!                      | valid                                  | invalid         |
//!                      +----------------------------------------|---------------> poll --> chain
//!                                                               v
//!                                                            Failure
//! ```

use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, Identifier,
    NewOrder, Order, OrderStatus, RetryPolicy,
};
use tokio::sync::{mpsc, oneshot};

use super::challenge::Challenge;
use super::failure::{AGAIN, Cost, Failure};
use super::told::AcmeAsk;
use crate::bridge::Ask;
use crate::config::ChallengeKind;

/// How the authority is asked whether it has come to an end.
const POLLS: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(500))
    .backoff(1.5)
    .timeout(Duration::from_secs(120));

/// What a certificate is ordered for.
pub(super) struct Errand<'a> {
    /// The name.
    pub(super) domain: &'a str,
    /// How the authority is shown that it leads here.
    pub(super) kind: ChallengeKind,
    /// The certificate that it takes the place of, where the authority wants to know.
    pub(super) replaces: Option<CertificateIdentifier<'a>>,
}

/// Has the authority find `challenge`, or nothing any more, on every shard and listener.
pub(super) async fn show(
    asks: &mpsc::Sender<Ask>,
    challenge: Option<Challenge>,
) -> Result<(), Failure> {
    let ends = || Failure::free("the node ends", AGAIN);
    let (reply, shown) = oneshot::channel();
    let ask = Ask::Acme(AcmeAsk::Show { challenge, reply });
    asks.send(ask).await.map_err(|_| ends())?;
    let everywhere = shown.await.map_err(|_| ends())?;
    // A shard that does not answer in time is one that the authority may meet: it will tell.
    drop(everywhere.await);
    Ok(())
}

impl Errand<'_> {
    /// Orders the certificate; the PEM of its key and of its chain.
    pub(super) async fn run(
        &self,
        account: &Account,
        asks: &mpsc::Sender<Ask>,
    ) -> Result<String, Failure> {
        let counted = |error: Error| Failure::of(&error, Cost::Counted, self.kind);
        let mut order = self.begin(account).await?;
        self.answer(&mut order, asks).await?;
        match order.poll_ready(&POLLS).await {
            Ok(OrderStatus::Ready | OrderStatus::Valid) => {}
            Ok(_) => return Err(self.reason(&mut order).await.unwrap_or_else(unexplained)),
            Err(error) => {
                let reason = self.reason(&mut order).await;
                return Err(reason.unwrap_or_else(|| counted(error)));
            }
        }
        let key = order.finalize().await.map_err(counted)?;
        let chain = order.poll_certificate(&POLLS).await.map_err(counted)?;
        Ok(format!("{}\n{chain}", key.trim_end()))
    }

    async fn begin(&self, account: &Account) -> Result<Order, Failure> {
        let identifiers = [Identifier::Dns(self.domain.to_owned())];
        let failed = |error: Error| Failure::of_account(&error, self.kind);
        if let Some(replaces) = self.replaces.clone() {
            match account.new_order(&NewOrder::new(&identifiers).replaces(replaces)).await {
                // It was replaced before, or is of another account: that is no reason to have none.
                Err(Error::Api(problem)) if !is_final(&problem) => {}
                Err(Error::Unsupported(_)) => {}
                other => return other.map_err(failed),
            }
        }
        account.new_order(&NewOrder::new(&identifiers)).await.map_err(failed)
    }

    /// Shows what is wanted for each authorisation that is not there yet: there is one.
    async fn answer(&self, order: &mut Order, asks: &mpsc::Sender<Ask>) -> Result<(), Failure> {
        let counted = |error: Error| Failure::of(&error, Cost::Counted, self.kind);
        let mut authorizations = order.authorizations();
        while let Some(next) = authorizations.next().await {
            let mut authorization = next.map_err(counted)?;
            match authorization.status {
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                status => {
                    let what = format!("the authorisation is {status:?} from the beginning");
                    return Err(Failure::counted(what, AGAIN));
                }
            }
            let kind = match self.kind {
                ChallengeKind::Http => ChallengeType::Http01,
                ChallengeKind::TlsAlpn => ChallengeType::TlsAlpn01,
            };
            let Some(mut challenge) = authorization.challenge(kind) else {
                return Err(Failure::counted(
                    "the authority does not offer this kind of challenge",
                    "set acme.challenge to the other one",
                ));
            };
            let answer = challenge.key_authorization();
            let shown = match self.kind {
                ChallengeKind::Http => Some(Challenge::http(&challenge.token, answer.as_str())),
                ChallengeKind::TlsAlpn => {
                    Challenge::tls_alpn(self.domain, answer.digest().as_ref())
                }
            };
            let Some(shown) = shown else {
                return Err(Failure::counted("the answer cannot be made", AGAIN));
            };
            show(asks, Some(shown)).await?;
            challenge.set_ready().await.map_err(counted)?;
        }
        Ok(())
    }

    /// What the authority found instead of the answer, if it says so.
    async fn reason(&self, order: &mut Order) -> Option<Failure> {
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            let state = authorization.refresh().await.ok()?;
            let problem = state.challenges.iter().find_map(|challenge| challenge.error.as_ref());
            if let Some(problem) = problem {
                return Some(Failure::of_problem(problem, self.kind));
            }
        }
        None
    }
}

/// True if another question would be answered the same way.
fn is_final(problem: &instant_acme::Problem) -> bool {
    let name = problem.r#type.as_deref().unwrap_or_default();
    [":rateLimited", ":accountDoesNotExist", ":rejectedIdentifier", ":unauthorized"]
        .iter()
        .any(|end| name.ends_with(end))
}

fn unexplained() -> Failure {
    Failure::counted("the authority refused the name without a reason", AGAIN)
}
