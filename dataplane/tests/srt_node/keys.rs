//! Callers that encrypt: whose keys are derived, when, and which keys are used.

use codecs::srt::{ControlType, KeyLength, Passphrase, RejectReason};
use dataplane::config::Config;
use dataplane::session::srt::Settings;

use super::node::{self, Publisher};
use super::{SrtPeer, assert_played, listening, played_gops, recorded};
use crate::on_both_backends;

on_both_backends! {
    who_publishes_is_told_no_key_and_may_have_small_packets
    who_plays_is_told_no_key_and_needs_large_packets
    keys_are_derived_in_a_share_of_each_turn
    who_has_no_secret_or_a_wrong_one_is_refused
}

const LENGTHS: [KeyLength; 3] = [KeyLength::Aes128, KeyLength::Aes192, KeyLength::Aes256];

fn secret(text: &[u8]) -> Option<Passphrase> {
    Some(Passphrase::new(text).unwrap())
}

fn ours() -> Option<Passphrase> {
    secret(b"a secret of many")
}

fn encrypting(key_length: KeyLength) -> Settings {
    Settings { passphrase: ours(), key_length, ..Settings::default() }
}

fn who_publishes_is_told_no_key_and_may_have_small_packets(mut config: Config) {
    config.srt.passphrase = ours();
    let (server, srt) = listening(config, 1);
    let mut recorder = Publisher::start(server.rtmp, "source");
    recorder.send_frames(10);
    let mut player = SrtPeer::with(srt, "read:source", encrypting(KeyLength::Aes128));
    player.connect();
    let packets = played_gops(player, &mut recorder);
    for (number, length) in LENGTHS.into_iter().enumerate() {
        // Its own side asks no more of it than what it sends.
        let settings = Settings { mtu: 700, sends: false, ..encrypting(length) };
        let name = format!("copy{number}");
        let mut publisher = SrtPeer::with(srt, &format!("publish:{name}"), settings);
        publisher.connect();
        publisher.publish(&packets);
        publisher.published();
        assert_played(&server, &name);
        assert!(!publisher.heard.contains(&ControlType::KeyRequest), "its key is enough");
    }
}

fn who_plays_is_told_no_key_and_needs_large_packets(mut config: Config) {
    config.srt.passphrase = ours();
    let (server, srt) = listening(config, 1);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(20);
    for length in LENGTHS {
        let mut player = SrtPeer::with(srt, "read:cam", encrypting(length));
        player.connect();
        player.until("it plays", |player| player.received.len() > 5_000);
        assert!(player.received.chunks(188).all(|packet| packet[0] == 0x47), "{length:?}");
        assert!(!player.heard.contains(&ControlType::KeyRequest), "its key is enough");
        let small = Settings { mtu: 1_300, ..encrypting(length) };
        let mut small = SrtPeer::with(srt, "read:cam", small);
        assert_eq!(small.refusal(), RejectReason::ROGUE);
    }
}

fn keys_are_derived_in_a_share_of_each_turn(mut config: Config) {
    config.srt.passphrase = ours();
    config.shards.truncate(1);
    let (server, srt) = listening(config, 0);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(20);
    let caller = |_| SrtPeer::with(srt, "read:cam", encrypting(KeyLength::Aes256));
    let mut callers: Vec<_> = (0..16).map(caller).collect();
    // All of them are allowed at once.
    let held = server.control.hold();
    for _ in 0..3 {
        callers.iter_mut().for_each(SrtPeer::turn);
    }
    drop(held);
    let is_in = |peer: &SrtPeer| peer.connection.is_some();
    while !callers.iter().all(is_in) {
        callers.iter_mut().for_each(SrtPeer::turn);
        let refused: Vec<_> = callers.iter().filter_map(|peer| peer.refused).collect();
        assert_eq!(refused, []);
    }
    let totals = server.control.snapshot();
    assert!(totals.sum(|c| c.srt_keys_put_off) > 0, "some waited for another turn");
    assert_eq!(totals.sum(|c| c.plays_started), callers.len() as u64);
}

fn who_has_no_secret_or_a_wrong_one_is_refused(mut config: Config) {
    let (server, srt) = listening(config.clone(), 1);
    let _source = recorded(&server, srt);
    let _publisher = Publisher::start(server.rtmp, "cam");
    server.control.stream_started("cam");
    let mut encrypts = SrtPeer::with(srt, "read:cam", encrypting(KeyLength::Aes128));
    assert_eq!(encrypts.refusal(), RejectReason::UNSECURE);
    drop(server);
    config.srt.passphrase = ours();
    let (server, srt) = listening(config, 1);
    let _publisher = Publisher::start(server.rtmp, "cam");
    server.control.stream_started("cam");
    for (passphrase, reason) in
        [(None, RejectReason::UNSECURE), (secret(b"another secret"), RejectReason::BAD_SECRET)]
    {
        for way in ["read:cam", "publish:other"] {
            let settings = Settings { passphrase: passphrase.clone(), ..Settings::default() };
            let mut peer = SrtPeer::with(srt, way, settings).deaf_to(2);
            assert_eq!(peer.refusal(), reason, "{way}");
        }
    }
    // For a name that is taken no keys are derived, and a wrong secret is not told from a good one.
    let wrong = Settings { passphrase: secret(b"another secret"), ..Settings::default() };
    let mut late = SrtPeer::with(srt, "publish:cam", wrong);
    assert_eq!(late.refusal(), RejectReason::CONFLICT);
}
