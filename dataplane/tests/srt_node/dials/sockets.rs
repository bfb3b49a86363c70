//! The sockets by which peers are called: they are there as long as somebody is called by them.

use std::net::UdpSocket;

use super::*;

on_both_backends! {
    a_socket_is_closed_with_its_last_session
    who_takes_the_place_of_another_calls_by_its_socket
}

/// More addresses than one shard calls from at one time.
const ADDRS: u64 = 40;

fn from(local: SocketAddr, dial: Dial) -> Dial {
    let DialPeer::Srt(said) = &*dial.peer else { panic!("it is of SRT") };
    let said = Said { local: Some(local), ..said.clone() };
    Dial { peer: Arc::new(DialPeer::Srt(said)), ..dial }
}

/// An address that nobody has.
fn free_addr() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

fn a_socket_is_closed_with_its_last_session(config: Config) {
    let (server, _) = listening(config, 1);
    let mut host = Host::start(Settings::default());
    for number in 0..ADDRS {
        let (local, name) = (free_addr(), format!("copy{number}"));
        let pull = from(local, peer(number, host.addr(), "x"));
        dial(&server, &name, Role::Publish, &[pull]);
        host.until("it is let in", |host| host.guest.is_some());
        let (_, at) = host.guest.take().unwrap();
        assert_eq!(at, local);
        connected(&server, number);
        assert!(UdpSocket::bind(local).is_err(), "it is open");
        dial(&server, &name, Role::Publish, &[]);
        host.until("the address is free again", |_| UdpSocket::bind(local).is_ok());
    }
}

fn who_takes_the_place_of_another_calls_by_its_socket(config: Config) {
    let (server, _) = listening(config, 1);
    let mut host = Host::start(Settings::default());
    let local = free_addr();
    for number in 0..10 {
        let pull = from(local, peer(number, host.addr(), &number.to_string()));
        dial(&server, "copy", Role::Publish, &[pull]);
        host.until("it is let in", |host| host.calls.last() == Some(&number.to_string()));
        assert_eq!(host.guest.as_ref().unwrap().1, local);
        let is = |state: &DialState| !matches!(state, DialState::Calling | DialState::Waiting);
        let state = news(&server, number, "it is connected", is).state;
        assert!(matches!(state, DialState::Connected { .. }), "{state:?}");
    }
}
