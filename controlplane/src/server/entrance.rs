//! Entrance: the control listeners, opened before anybody is told of them.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use super::start::data_directory;
use crate::api::Token;
use crate::config::Loaded;
use crate::error::Error;

/// The open listeners of the API, and the token that it wants.
pub(super) struct Entrance {
    /// Without TLS.
    pub(super) plain: Option<TcpListener>,
    /// Inside TLS.
    pub(super) tls: Option<TcpListener>,
    pub(super) token: Token,
}

impl Entrance {
    /// Opens those that are enabled; `None` if none is.
    ///
    /// Errors: an address that cannot be listened on, or no file for the token.
    pub(super) fn open(loaded: &Loaded) -> Result<Option<Self>, Error> {
        let section = &loaded.settings.listeners;
        let open = |enabled: bool, name, addr| match enabled {
            true => listen(name, addr).map(Some),
            false => Ok(None),
        };
        let (control, control_tls) = (&section.control, &section.control_tls);
        let plain = open(control.enabled, "listeners.control", control.addr)?;
        let tls = open(control_tls.enabled, "listeners.control_tls", control_tls.addr)?;
        if plain.is_none() && tls.is_none() {
            return Ok(None);
        }
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        let token = Token::open(&data_directory(loaded), credentials.as_deref())?;
        Ok(Some(Self { plain, tls, token }))
    }

    /// Where they are, the one without TLS first.
    pub(super) fn addresses(&self) -> [Option<SocketAddr>; 2] {
        [&self.plain, &self.tls].map(|listener| listener.as_ref()?.local_addr().ok())
    }
}

fn listen(name: &str, addr: SocketAddr) -> Result<TcpListener, Error> {
    let open = || {
        let listener = TcpListener::bind(addr)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    open().map_err(|error| Error::listen(name, addr, &error))
}
