//! Who is called again: whoever's time has come, however many others wait, and no sooner.

use codecs::rtmp::message::{Csid, MessageKind};

use super::*;
use crate::node::{FRAME_MS, GOP_FRAMES, payload};

on_both_backends! {
    those_who_wait_keep_nobody_from_being_called_again
    a_push_of_nothing_that_it_carries_is_given_up
}

/// Many more than are called in one round.
const WAITING: u64 = 300;

fn those_who_wait_keep_nobody_from_being_called_again(config: Config) {
    let (server, _) = listening(config, 1);
    let mut host = Host::start(Settings::default()).refusing(RejectReason::OVERLOAD);
    for number in 0..WAITING {
        let push = peer(1_000 + number, host.addr(), "publish:nothing");
        dial(&server, &format!("waiting{number}"), Role::Play, &[push]);
    }
    let is_waiting = |state: &DialState| *state == DialState::Waiting;
    // Their order is another one each time, so that one of them alone may be lucky.
    let pulls = ["a", "b", "c", "d"];
    for (number, name) in (0..).zip(pulls) {
        dial(&server, name, Role::Publish, &[peer(number, host.addr(), name)]);
    }
    news(&server, 1_000 + WAITING - 1, "the last of them waits", is_waiting);
    host.until("all are called again and again", |host| {
        pulls.iter().all(|name| host.calls.iter().filter(|call| call == name).count() > 2)
    });
    assert!(!host.calls.iter().any(|call| call == "publish:nothing"));
}

fn a_push_of_nothing_that_it_carries_is_given_up(config: Config) {
    let (server, _) = listening(config, 1);
    let mut publisher = Publisher::bare(server.rtmp, "cam");
    for number in 0..100_u32 {
        // VP9 by its FourCC, keyframes and others, and no sound.
        let kind = if number.is_multiple_of(GOP_FRAMES) { 0x91 } else { 0xa1 };
        let body = [&[kind][..], b"vp09", &payload(number, 100)].concat();
        publisher.message(Csid::VIDEO, MessageKind::Video, 1, number * FRAME_MS, &body);
    }
    publisher.flush();
    server.control.until("all units", |t| t.sum(|c| c.units_received) == 100);
    let mut host = Host::start(Settings::default());
    let push = Dial { attempts_max: 3, ..peer(1, host.addr(), "publish:cam") };
    dial(&server, "cam", Role::Play, &[push]);
    host.until("it is called as often as it may", |host| host.calls.len() == 3);
    let failed = |state: &DialState| matches!(state, DialState::Failed { .. });
    let news = news(&server, 1, "it is given up", failed);
    assert_eq!(news.state, DialState::Failed { reason: DialFailure::Ended("no_track") });
    assert_eq!((news.attempt, host.calls.len()), (3, 3));
}
