//! What people try who want in with a signature that was not made for them.

use dataplane::control::{AuthorizeRequest, Intent, Role};
use dataplane::ids::{Secret, StreamName};

use super::*;
use crate::auth::moment::Moment;
use crate::auth::seconds::Seconds;
use crate::auth::tests::request;
use crate::registry::TenantName;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const OTHER: &str = "fedcba9876543210fedcba9876543210";
const NOW: u64 = 1_764_425_000;

fn name(text: &str) -> StreamName {
    StreamName::parse(text).unwrap()
}

fn signed() -> Signed {
    Signed {
        keys: vec![
            SignedKey::new("main", SECRET, None).unwrap(),
            SignedKey::new("old", OTHER, Some(Seconds(NOW + 60))).unwrap(),
        ],
        leeway: 5,
        enforce: false,
    }
}

/// What is signed for a player of news/cam for an hour from now.
fn plain(stream: &StreamName) -> Statement<'_> {
    let expires = Seconds(NOW + 3_600);
    Statement { role: Role::Play, stream, expires, not_before: None, ip: None }
}

fn query(statement: &Statement<'_>) -> String {
    statement.query(&signed().keys[0])
}

fn asked(intent: Intent, stream: &str, query: &str) -> AuthorizeRequest {
    AuthorizeRequest { query: Secret(query.to_owned()), ..request(intent, stream, "") }
}

fn at(now: u64) -> Moment {
    Moment::at(Seconds(now))
}

fn told(request: &AuthorizeRequest, now: u64) -> &'static str {
    match signed().judge(request, at(now)) {
        None => "none",
        Some(Ok(_)) => "good",
        Some(Err(flaw)) => flaw.name(),
    }
}

#[test]
fn a_signature_is_the_one_that_any_tool_computes() {
    // printf 'grandstand-signed-url-1\nplay\nnews/cam\n1764428600\n\n\nmain' |
    //   openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef -binary |
    //   basenc --base64url | tr -d =
    let stream = name("news/cam");
    let known = "exp=1764428600&kid=main&sig=FrQCx588P393RLkZ-vNWgpC3KeAahRto3lUAtDn4q_Y";
    assert_eq!(query(&plain(&stream)), known);
    // The same of 'grandstand-signed-url-1\npublish\nnews/cam\n1764428600\n1764425000\n' and
    // '2001:db8::/32\nmain'.
    let bound = Statement {
        role: Role::Publish,
        not_before: Some(Seconds(NOW)),
        ip: Some("2001:db8::/32"),
        ..plain(&stream)
    };
    let known = "exp=1764428600&nbf=1764425000&ip=2001%3Adb8%3A%3A%2F32&kid=main\
                 &sig=cike4fiOq4ECn-SvxpI0au1y6bXlLGq6Lb_t_7kcdio";
    assert_eq!(query(&bound), known);
}

#[test]
fn who_came_in_by_a_signature_need_not_leave_when_it_is_over() {
    let stream = name("news/cam");
    let (from, end) = (NOW + 10, NOW + 60);
    let bound =
        Statement { not_before: Some(Seconds(from)), expires: Seconds(end), ..plain(&stream) };
    let judged = |signed: Signed, query: &str, entry: u64, now: u64| {
        let moment = Moment::since(Seconds(entry), Seconds(now));
        match signed.judge(&asked(Intent::Play, "news/cam", query), moment).unwrap() {
            Ok(over) => format!("good until {}", over.0 - NOW),
            Err(flaw) => flaw.name().to_owned(),
        }
    };
    let late = end + 1_000;
    // With the five seconds by which clocks may differ.
    for (entry, now, expected) in [
        (NOW + 20, late, "good until 65"),
        (end + 5, late, "good until 65"),
        (end + 6, late, "signature_expired"),
        (late, late, "signature_expired"),
        (NOW, from - 6, "signature_early"),
        (NOW, from - 5, "good until 65"),
    ] {
        assert_eq!(judged(signed(), &query(&bound), entry, now), expected, "{entry} {now}");
    }
    // Whose time is kept to leaves when it is over, however long he has been in.
    let enforced = Signed { enforce: true, ..signed() };
    assert_eq!(judged(enforced.clone(), &query(&bound), NOW + 20, late), "signature_expired");
    assert_eq!(judged(enforced, &query(&bound), NOW + 20, end), "good until 65");
    // So does everybody who came in by a key that was taken away.
    let by_old = bound.query(&signed().keys[1]);
    assert_eq!(judged(signed(), &by_old, NOW + 20, NOW + 60), "good until 60");
    assert_eq!(judged(signed(), &by_old, NOW + 20, NOW + 61), "signature_key_retired");
}

#[test]
fn a_signature_opens_one_direction_of_one_stream() {
    let stream = name("news/cam");
    let shown = query(&plain(&stream));
    for (intent, stream, told_as) in [
        (Intent::Play, "news/cam", "good"),
        (Intent::Publish, "news/cam", "signature_wrong"),
        (Intent::Connect, "news/cam", "none"),
        (Intent::Play, "news/cam2", "signature_wrong"),
        (Intent::Play, "news/Cam", "signature_wrong"),
        (Intent::Play, "news", "signature_wrong"),
        (Intent::Play, "live/news/cam", "signature_wrong"),
        (Intent::Play, "news/cam/cam", "signature_wrong"),
    ] {
        assert_eq!(told(&asked(intent, stream, &shown), NOW), told_as, "{intent:?} {stream}");
    }
}

#[test]
fn time_is_judged_at_both_ends_with_the_same_leeway() {
    let stream = name("a");
    let (from, to) = (NOW + 100, NOW + 200);
    let limited =
        Statement { expires: Seconds(to), not_before: Some(Seconds(from)), ..plain(&stream) };
    let shown = asked(Intent::Play, "a", &query(&limited));
    for (now, told_as) in [
        (from - 6, "signature_early"),
        (from - 5, "good"),
        (to + 5, "good"),
        (to + 6, "signature_expired"),
        (0, "signature_early"),
        (u64::MAX, "signature_expired"),
    ] {
        assert_eq!(told(&shown, now), told_as, "{now}");
    }
    let endless = Statement { expires: Seconds(u64::MAX), ..plain(&stream) };
    assert_eq!(told(&asked(Intent::Play, "a", &query(&endless)), NOW), "good");
    let over = signed().judge(&shown, at(from)).unwrap().unwrap();
    assert_eq!(over, Seconds(to + 5));
}

#[test]
fn keys_overlap_and_end_and_none_signs_for_another() {
    let (stream, keys) = (name("a"), signed().keys);
    let by_old = plain(&stream).query(&keys[1]);
    let by_old = asked(Intent::Play, "a", &by_old);
    assert_eq!(
        (told(&by_old, NOW + 60), told(&by_old, NOW + 61)),
        ("good", "signature_key_retired")
    );
    assert_eq!(signed().judge(&by_old, at(NOW)).unwrap().unwrap(), Seconds(NOW + 60));
    // The same secret under another name signs something else.
    let renamed = by_old.query.0.replace("kid=old", "kid=main");
    assert_eq!(told(&asked(Intent::Play, "a", &renamed), NOW), "signature_wrong");
    let twin = SignedKey::new("twin", SECRET, None).unwrap();
    let by_twin = plain(&stream).query(&twin).replace("kid=twin", "kid=main");
    assert_eq!(told(&asked(Intent::Play, "a", &by_twin), NOW), "signature_wrong");
    let unknown = asked(Intent::Play, "a", &plain(&stream).query(&twin));
    assert_eq!(told(&unknown, NOW), "signature_key_unknown");
    for (id, secret) in [("", SECRET), ("a b", SECRET), ("a&b", SECRET), ("a", &SECRET[1..])] {
        assert_eq!(SignedKey::new(id, secret, None), None, "{id}");
    }
    assert!(!format!("{:?}", signed()).contains(SECRET));
}

#[test]
fn an_address_is_the_peers_own_however_it_is_written() {
    let stream = name("a");
    for (ip, peer, told_as) in [
        ("192.0.2.1", "192.0.2.1", "good"),
        ("192.0.2.1", "::ffff:192.0.2.1", "good"),
        ("192.0.2.0/24", "192.0.2.77", "good"),
        ("192.0.2.1", "192.0.2.2", "signature_address"),
        ("192.0.2.0/24", "192.0.3.1", "signature_address"),
        ("2001:db8::/32", "2001:db8::7", "good"),
        ("2001:db8::7", "2001:db8::8", "signature_address"),
        ("0.0.0.0/0", "2001:db8::8", "signature_address"),
    ] {
        let shown = query(&Statement { ip: Some(ip), ..plain(&stream) });
        let mut request = asked(Intent::Play, "a", &shown);
        request.peer.set_ip(peer.parse().unwrap());
        assert_eq!(told(&request, NOW), told_as, "{ip} {peer}");
        // Without the address, and with a wider one, it is no signature any more.
        let escaped = ip.replace(':', "%3A").replace('/', "%2F");
        for other in [String::new(), "&ip=0.0.0.0%2F0".to_owned(), "&ip=%3A%3A%2F0".to_owned()] {
            let widened = shown.replace(&format!("&ip={escaped}"), &other);
            if widened != shown {
                request.query = Secret(widened);
                assert_eq!(told(&request, NOW), "signature_wrong", "{ip} as {other}");
            }
        }
    }
}

#[test]
fn there_is_one_way_to_write_a_signature() {
    let stream = name("a");
    let shown = query(&plain(&stream));
    let (head, signature) = shown.split_once("sig=").unwrap();
    let with = |signature: &str| format!("{head}sig={signature}");
    let mut flipped = signature.to_owned();
    flipped.replace_range(..1, if signature.starts_with('A') { "B" } else { "A" });
    // The last letter holds four bits of the last byte and two that must be zero.
    let last = signature.chars().next_back().unwrap();
    let loose = char::from(u8::try_from(last).unwrap() + 1);
    let loose = format!("{}{loose}", &signature[..42]);
    for (what, query, told_as) in [
        ("as it is", shown.clone(), "good"),
        ("among others", format!("latency=low&{shown}&x"), "good"),
        ("said twice alike", format!("{shown}&{shown}"), "good"),
        ("escaped", with(&format!("%{:02x}{}", signature.as_bytes()[0], &signature[1..])), "good"),
        ("empty", with(""), "signature_malformed"),
        ("cut", with(&signature[..42]), "signature_malformed"),
        ("padded", with(&format!("{signature}=")), "signature_malformed"),
        ("longer", with(&format!("{signature}AAAA")), "signature_malformed"),
        ("half", with(&signature[..22]), "signature_malformed"),
        ("another one", with(&flipped), "signature_wrong"),
        ("loose bits", with(&loose), "signature_malformed"),
        ("the alphabet of base64", with(&"+".repeat(43)), "signature_malformed"),
        ("hex", with(&"ab".repeat(32)), "signature_malformed"),
        ("broken escape", with(&format!("%{signature}")), "signature_malformed"),
        ("line feed", with(&format!("{signature}%0A")), "signature_malformed"),
        ("two", format!("{shown}&sig={flipped}"), "signature_malformed"),
        ("two, the good one last", format!("sig={flipped}&{shown}"), "signature_malformed"),
        ("two times", format!("{shown}&exp=9999999999"), "signature_malformed"),
        ("two keys", format!("{shown}&kid=old"), "signature_malformed"),
        ("no key", shown.replace("&kid=main", ""), "signature_malformed"),
        ("no time", shown.replace("exp=", "ex="), "signature_malformed"),
        ("a time with a zero", shown.replace("exp=", "exp=0"), "signature_malformed"),
        ("a time with a sign", shown.replace("exp=", "exp=%2B"), "signature_malformed"),
        ("a longer time", shown.replace("exp=1", "exp=2"), "signature_wrong"),
        ("a time beyond all", shown.replace("exp=", "exp=9999999999999"), "signature_malformed"),
        ("a beginning that was not signed", format!("{shown}&nbf=1"), "signature_wrong"),
        ("an address that is none", format!("{shown}&ip=host"), "signature_malformed"),
        ("a key with a line feed", shown.replace("kid=main", "kid=main%0A"), "signature_malformed"),
        ("nothing", String::new(), "none"),
        ("no signature", "exp=1&kid=main".to_owned(), "none"),
    ] {
        assert_eq!(told(&asked(Intent::Play, "a", &query), NOW), told_as, "{what}: {query}");
    }
    let huge = format!("{head}sig={}", "A".repeat(1 << 20));
    assert_eq!(told(&asked(Intent::Play, "a", &huge), NOW), "signature_malformed");
}

#[test]
fn a_key_says_whose_the_streams_are_that_are_published_by_it() {
    let mut judge = signed();
    judge.keys[0].tenant = TenantName::parse("acme");
    let stream = name("a");
    let whose = |intent: Intent, query: &str| {
        let request = asked(intent, "a", query);
        judge.judge(&request, at(NOW)).unwrap().unwrap();
        judge.tenant(&request).map(|tenant| tenant.to_string())
    };
    let publish = Statement { role: Role::Publish, ..plain(&stream) };
    let [main, old] = [0, 1].map(|at| publish.query(&judge.keys[at]));
    assert_eq!(whose(Intent::Publish, &main).as_deref(), Some("acme"));
    assert_eq!(whose(Intent::Publish, &old), None);
    assert_eq!(whose(Intent::Play, &plain(&stream).query(&judge.keys[0])), None);
}
