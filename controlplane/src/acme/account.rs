//! Account: who we are to an authority.

use instant_acme::{Account, AccountCredentials, ExternalAccountKey, NewAccount};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::disk::off;
use super::failure::{Cost, Failure};
use super::transport::Transport;
use super::vault::Vault;
use crate::bridge::Ask;
use crate::config::AcmeSection;
use crate::outbound::Address;

/// An account as it lies in its file.
#[derive(Deserialize, Serialize)]
struct Entry {
    /// Whom the authority writes to.
    contact: Vec<String>,
    /// The address of the account, and its key.
    credentials: AccountCredentials,
}

/// The account that is kept; `None` if there is none. The authority is told whom it writes to, if
/// that is new; why it does not take it, if so, is no reason to have no certificates.
pub(super) async fn kept(
    section: &AcmeSection,
    (vault, asks): (&Vault, &mpsc::Sender<Ask>),
    transport: &Transport,
) -> Result<Option<(Account, Option<Failure>)>, Failure> {
    let own = vault.clone();
    let Some(json) = off(asks, move || own.account()).await?? else { return Ok(None) };
    let entry = serde_json::from_str::<Entry>(&json);
    let Entry { contact, credentials } = entry.map_err(|error| {
        let what = format!("the account in the data directory cannot be read: {error}");
        Failure::free(what, "remove account.json there for a new one")
    })?;
    // What is written again is the same but for the people.
    let again = serde_json::from_str::<Entry>(&json).map(|entry| entry.credentials);
    let failed = |error: instant_acme::Error| Failure::of_account(&error, section.challenge);
    let builder = Account::builder_with_http(Box::new(transport.clone()));
    let account = builder.from_credentials(credentials).await.map_err(failed)?;
    if let (false, Ok(credentials)) = (contact == section.contact.0, again) {
        let people = people(section);
        let people: Vec<_> = people.iter().map(String::as_str).collect();
        match account.update_contacts(&people).await.map_err(failed) {
            Ok(()) => keep(section, (vault, asks), credentials).await?,
            Err(failure) if failure.cost == Cost::Counted && !failure.is_account() => {
                return Ok(Some((account, Some(failure))));
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(Some((account, None)))
}

/// A new account, which is kept.
pub(super) async fn open(
    section: &AcmeSection,
    directory: &Address,
    (vault, asks): (&Vault, &mpsc::Sender<Ask>),
    transport: &Transport,
) -> Result<Account, Failure> {
    let binding = section.binding().map(|(id, key)| ExternalAccountKey::new(id.to_owned(), &key));
    let people = people(section);
    let people: Vec<_> = people.iter().map(String::as_str).collect();
    let new = NewAccount {
        contact: &people,
        terms_of_service_agreed: section.terms_agreed,
        only_return_existing: false,
    };
    let builder = Account::builder_with_http(Box::new(transport.clone()));
    let made = builder.create(&new, directory.with_query(), binding.as_ref()).await;
    // Accounts are counted, too; what was not reached counts nothing.
    let failed = |error: instant_acme::Error| Failure::of_account(&error, section.challenge);
    let (account, credentials) = made.map_err(failed)?;
    keep(section, (vault, asks), credentials).await?;
    tracing::info!(authority = %directory, "an account was opened");
    Ok(account)
}

async fn keep(
    section: &AcmeSection,
    (vault, asks): (&Vault, &mpsc::Sender<Ask>),
    credentials: AccountCredentials,
) -> Result<(), Failure> {
    let entry = Entry { contact: section.contact.0.clone(), credentials };
    let json = serde_json::to_string(&entry).expect("an account is plain data");
    let vault = vault.clone();
    Ok(off(asks, move || vault.keep_account(&json)).await??)
}

fn people(section: &AcmeSection) -> Vec<String> {
    section.contact.0.iter().map(|one| format!("mailto:{one}")).collect()
}
