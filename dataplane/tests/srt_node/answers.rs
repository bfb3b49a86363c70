//! Calls that one shard hears and another one answers, and answers that get lost.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use codecs::srt::RejectReason;
use dataplane::config::Config;
use dataplane::control::Event;
use dataplane::ids::ShardId;

use super::node::{self, Publisher, Server};
use super::{SrtPeer, listening};
use crate::on_both_backends;

on_both_backends! {
    who_was_let_in_elsewhere_hears_it_again
    who_was_refused_elsewhere_hears_it_again
    a_call_whose_session_ends_unheard_may_come_again
}

/// Answers of which a caller hears nothing.
const LOST: usize = 2;
/// One of so many callers comes to a shard that the others did not come to.
const CALLERS_MAX: usize = 64;
/// Where streams live.
const HOME: ShardId = ShardId(1);

/// Calls until both shards have heard a call; `act` says which one heard it.
fn by_every_shard(mut act: impl FnMut(usize) -> ShardId) {
    let mut heard = BTreeSet::new();
    for number in 0..CALLERS_MAX {
        heard.insert(act(number));
        if heard.len() == 2 {
            return;
        }
    }
    panic!("the kernel takes all callers to {heard:?}");
}

/// The shard that heard the call of a peer, which the other one serves or not.
fn heard_by(server: &Server, peer: SocketAddr) -> ShardId {
    let totals = server.control.snapshot();
    let sessions: Vec<_> = totals.sessions().filter(|session| session.peer == peer).collect();
    assert_eq!(sessions.len(), 1, "one caller, one session");
    assert_eq!(sessions[0].shard, HOME);
    sessions[0].id.accepted_by()
}

fn who_was_let_in_elsewhere_hears_it_again(config: Config) {
    let (server, srt) = listening(config, HOME.0);
    by_every_shard(|number| {
        let mut peer = SrtPeer::new(srt, &format!("publish:cam{number}")).deaf_to(LOST);
        peer.connect();
        heard_by(&server, peer.addr())
    });
}

fn who_was_refused_elsewhere_hears_it_again(config: Config) {
    let (server, srt) = listening(config, HOME.0);
    let _holder = Publisher::start(server.rtmp, "cam");
    server.control.stream_started("cam");
    by_every_shard(|_| {
        let mut peer = SrtPeer::new(srt, "publish:cam").deaf_to(LOST);
        assert_eq!(peer.refusal(), RejectReason::CONFLICT);
        let (_, told) = server.control.event("it was refused", |event| match event {
            Event::PublishRefused(refusal) => refusal.publisher.peer == peer.addr(),
            _ => false,
        });
        let Event::PublishRefused(refusal) = told else { unreachable!("it was matched") };
        refusal.publisher.session.accepted_by()
    });
}

fn a_call_whose_session_ends_unheard_may_come_again(config: Config) {
    // Nobody answers, so that sessions end without a word.
    let (server, srt) = listening(config, HOME.0);
    server.control.judge(Box::new(|_| None));
    let mut peer = SrtPeer::new(srt, "publish:cam");
    let asked = |server: &Server| server.control.snapshot().sum(|c| c.authorize_asked);
    peer.until("its call is judged", |_| asked(&server) == 1);
    // It is not heard for a while, and its session is over.
    server.control.until("it is gone", |totals| totals.sum(|c| c.connections) == 0);
    peer.until("its call is judged once more", |_| asked(&server) == 2);
    assert_eq!(peer.refused, None);
}
