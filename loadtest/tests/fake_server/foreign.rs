//! What other servers do over HTTP: chunks, redirects, connections that end between two answers.

use crate::server::{Manner, Ports, start};
use crate::{assert_sound, fanout, run};

/// Plays segments for 3 s.
fn segments(ports: &Ports, options: &str) -> loadtest::measurement::Measurement {
    let outcome = run(&format!(
        "fanout --url http://127.0.0.1:{}/live/fake/index.m3u8?key=1 --players 6 --sampled 2 \
         --publish-url rtmp://127.0.0.1:{}/live/fake --window 3s --gop 500ms --bitrate 400k \
         {options}",
        ports.http, ports.rtmp
    ));
    let of = outcome.unwrap().measurements.remove(0);
    assert_eq!((of.held, of.refused, of.failed, of.closed), (6, 0, 0, 0), "{of:?}");
    assert_eq!((of.lost, of.duplicated, of.corrupt), (0, 0, 0), "{of:?}");
    assert_eq!((of.transport_faults, of.missed_segments), (0, 0), "{of:?}");
    // Each player had some two seconds of 50 kB, sampled or not.
    assert!(of.frames > 30 && of.received_bytes > 6 * 80_000, "{of:?}");
    of
}

#[test]
fn streams_in_chunks_are_held_measured_and_judged() {
    for target in ["fake.flv?key=1", "fake.ts"] {
        let Ports { rtmp, http, .. } = start(Manner::Chunked);
        let url = format!("http://127.0.0.1:{http}/live/{target}");
        let of = &fanout(&url, rtmp, "6").unwrap().measurements[0];
        assert_sound(of);
        assert_eq!((of.lost, of.corrupt, of.transport_faults), (0, 0, 0), "{of:?}");
        assert_eq!(of.reconnects, 0, "{of:?}");
    }
}

#[test]
fn segments_in_chunks_are_held_and_measured() {
    let of = segments(&start(Manner::Chunked), "");
    assert_eq!(of.reconnects, 0, "{of:?}");
}

#[test]
fn a_mirror_takes_chunks_and_connections_that_end() {
    for manner in [Manner::Chunked, Manner::Hasty] {
        let Ports { rtmp, http, .. } = start(manner);
        let name = format!("grandstand-foreign-{}-{http}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let url = format!("rtmp://127.0.0.1:{rtmp}/live/fake");
        let line = format!("publish --url {url} --gop 200ms --duration 4s");
        let publisher = std::thread::spawn(move || run(&line).unwrap());
        let mirrored = run(&format!(
            "mirror --url http://127.0.0.1:{http}/live/fake/index.m3u8 --into {} --duration 3s",
            folder.display()
        ));
        publisher.join().unwrap();
        let list = std::fs::read_to_string(folder.join("media.m3u8")).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(mirrored.unwrap().mirrored.unwrap().segments >= 3);
        assert!(list.starts_with("#EXTM3U"), "{list}");
    }
}

#[test]
fn connections_that_end_between_two_answers_are_opened_again() {
    let of = segments(&start(Manner::Hasty), "");
    // Each answer cost a connection: two playlists, and some segments, of each player.
    assert!(of.reconnects >= 6 * 4, "{of:?}");
}

#[test]
fn players_go_where_they_are_led() {
    for target in ["fake.flv?key=1", "fake.ts?key=1"] {
        let Ports { rtmp, http, .. } = start(Manner::Leading);
        let url = format!("http://127.0.0.1:{http}/live/{target} --tls-insecure");
        let of = &fanout(&url, rtmp, "6").unwrap().measurements[0];
        assert_sound(of);
        assert_eq!((of.lost, of.corrupt), (0, 0), "{of:?}");
    }
    segments(&start(Manner::Leading), "--tls-insecure");
}

#[test]
fn who_is_led_around_gives_up() {
    for target in ["fake.flv?key=1", "fake.ts?key=1", "fake/index.m3u8"] {
        let Ports { rtmp, http, .. } = start(Manner::Circling);
        let url = format!("http://127.0.0.1:{http}/live/{target} --tls-insecure");
        let told = format!("{:#}", fanout(&url, rtmp, "2").unwrap_err());
        assert!(told.contains("refused: led elsewhere more than 5 times"), "{told}");
    }
}
