//! What people try who want in with a token that was not made for them.

use dataplane::control::{AuthorizeRequest, Intent};
use dataplane::ids::Secret;
use serde_json::{Value, json};

use super::issuing::{SECRET, hs256, letters, p256, raw, rs256, rsa_jwk, token};
use super::*;
use crate::auth::moment::Moment;
use crate::auth::seconds::Seconds;
use crate::auth::tests::request;

const NOW: u64 = 1_764_425_000;
const MALFORMED: &str = "token_malformed";

fn issuer(jwks: &[Value]) -> Issuer {
    let set = json!({"keys": jwks}).to_string();
    Issuer { leeway: 5, file: KeySet::read(set.as_bytes(), true).unwrap(), ..Issuer::default() }
}

fn secret_jwk(kid: &str) -> Value {
    json!({"kty": "oct", "kid": kid, "k": letters(SECRET)})
}

fn shown(intent: Intent, stream: &str, token: &str) -> AuthorizeRequest {
    request(intent, stream, token)
}

fn told_at(issuer: &Issuer, request: &AuthorizeRequest, now: u64) -> &'static str {
    match issuer.judge(None, request, Moment::at(Seconds(now))) {
        None => "none",
        Some(Judged::Good(..)) => "good",
        Some(Judged::Bad(flaw)) => flaw.name(),
    }
}

fn told(issuer: &Issuer, token: &str) -> &'static str {
    told_at(issuer, &shown(Intent::Play, "news/cam", token), NOW)
}

fn claims() -> Value {
    json!({"exp": NOW + 60, "streams": ["news/*"], "play": true})
}

/// The claims with others.
fn with(more: Value) -> Value {
    let mut claims = claims();
    let Value::Object(more) = more else { panic!("an object") };
    for (name, value) in more {
        claims[name] = value;
    }
    claims
}

fn signed(claims: &Value) -> String {
    token(&json!({"alg": "HS256", "kid": "s"}), claims, hs256(SECRET))
}

#[test]
fn a_token_says_whose_the_stream_is_that_is_published_by_it() {
    let issuer = issuer(&[secret_jwk("s")]);
    let judged = |intent: Intent, tenant: Value| {
        let claims = with(json!({ "publish": true, "tenant": tenant }));
        let asked = shown(intent, "news/cam", &signed(&claims));
        match issuer.judge(None, &asked, Moment::at(Seconds(NOW))) {
            Some(Judged::Good(_, tenant)) => tenant.map_or("nobody's".into(), |t| t.to_string()),
            Some(Judged::Bad(flaw)) => flaw.name().to_owned(),
            None => panic!("it is a token"),
        }
    };
    assert_eq!(judged(Intent::Publish, json!("acme-1")), "acme-1");
    assert_eq!(judged(Intent::Play, json!("acme-1")), "nobody's", "a player names no owner");
    assert_eq!(judged(Intent::Play, json!({"id": 7})), "nobody's");
    for wrong in [json!("a/b"), json!(""), json!("=cmd()"), json!(["acme"]), json!(7), json!({})] {
        assert_eq!(judged(Intent::Publish, wrong.clone()), "token_malformed", "{wrong}");
    }
}

#[test]
fn who_came_in_by_a_token_need_not_leave_when_it_is_over() {
    let issuer = issuer(&[secret_jwk("s")]);
    let asked = shown(Intent::Play, "news/cam", &signed(&with(json!({"nbf": NOW}))));
    let judged = |issuer: &Issuer, entry: u64, now: u64| match issuer.judge(
        None,
        &asked,
        Moment::since(Seconds(entry), Seconds(now)),
    ) {
        Some(Judged::Bad(flaw)) => flaw.name(),
        Some(Judged::Good(Seconds(over), None)) if over == NOW + 65 => "good",
        other => panic!("{other:?}"),
    };
    let late = NOW + 9_000;
    for (entry, now, expected) in [
        (NOW, late, "good"),
        (NOW + 64, late, "good"),
        (NOW + 65, late, "token_expired"),
        (NOW - 60, NOW - 6, "token_early"),
    ] {
        assert_eq!(judged(&issuer, entry, now), expected, "{entry} {now}");
    }
    let enforced = Issuer { enforce: true, ..issuer };
    assert_eq!(judged(&enforced, NOW, late), "token_expired");
}

#[test]
fn the_examples_of_the_specification_verify() {
    // RFC 7515 A.1, A.2 and A.3: the same claims, which open no stream.
    let claims = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19\
                  yb290Ijp0cnVlfQ";
    let secret = json!({"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75\
                        aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"});
    let point = json!({"kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
    let issuer = issuer(&[secret, rsa_jwk("r"), point]);
    for (header, signature) in [
        ("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
        (
            "eyJhbGciOiJSUzI1NiJ9",
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_\
             O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIA\
             RNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPq\
             vhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77\
             Rw",
        ),
        (
            "eyJhbGciOiJFUzI1NiJ9",
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1\
             Q",
        ),
    ] {
        let token = format!("{header}.{claims}.{signature}");
        let asked = shown(Intent::Play, "news/cam", &token);
        assert_eq!(told_at(&issuer, &asked, 1_300_819_379), "token_stream", "{header}");
        assert_eq!(told_at(&issuer, &asked, 1_300_819_385), "token_expired", "{header}");
        let other = format!("{header}.{claims}.{}", letters(hs256("x")(b"x")));
        assert_eq!(told(&issuer, &other), "token_signature", "{header}");
    }
}

#[test]
fn an_algorithm_is_that_of_the_key_and_never_that_of_the_token() {
    let (point, es256) = p256("p");
    let issuer = issuer(&[secret_jwk("s"), rsa_jwk("r"), point.clone()]);
    let header = |alg: &str, kid: &str| json!({"alg": alg, "kid": kid, "typ": "JWT"});
    for (alg, kid, sign) in [
        ("HS256", "s", &hs256(SECRET) as &dyn Fn(&[u8]) -> Vec<u8>),
        ("RS256", "r", &rs256),
        ("ES256", "p", &es256),
    ] {
        assert_eq!(told(&issuer, &token(&header(alg, kid), &claims(), sign)), "good", "{alg}");
        let nameless = token(&json!({"alg": alg}), &claims(), sign);
        assert_eq!(told(&issuer, &nameless), "good", "there is one key for {alg}");
    }
    // The public keys as everybody has them: in JSON, as raw numbers, as a point.
    let rsa = rsa_jwk("r");
    let raw_key = |jwk: &Value, part: &str| {
        use base64::Engine;
        let text = jwk[part].as_str().unwrap();
        base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap()
    };
    for public in [rsa.to_string().into_bytes(), raw_key(&rsa, "n"), raw_key(&point, "x")] {
        for kid in ["r", "p"] {
            let forged = token(&header("HS256", kid), &claims(), hs256(&public));
            assert_eq!(told(&issuer, &forged), "token_algorithm", "{kid}");
        }
        let nameless = token(&json!({"alg": "HS256"}), &claims(), hs256(&public));
        assert_eq!(told(&issuer, &nameless), "token_signature");
    }
    for alg in ["none", "None", "nOnE", "", "HS384", "hs256", "RS512", "ES256K", "EdDSA", "PS256"] {
        for kid in ["s", "r", "p"] {
            let forged = token(&header(alg, kid), &claims(), |_| Vec::new());
            assert_eq!(told(&issuer, &forged), "token_algorithm", "{alg} {kid}");
        }
    }
    let swapped = token(&header("ES256", "r"), &claims(), rs256);
    assert_eq!(told(&issuer, &swapped), "token_algorithm");
    let zeros = token(&header("ES256", "p"), &claims(), |_| vec![0; 64]);
    assert_eq!(told(&issuer, &zeros), "token_signature", "the signature of nothing");
}

#[test]
fn keys_are_found_by_name_and_only_there() {
    let other = "another secret, as long as it must be";
    let two = issuer(&[secret_jwk("s"), json!({"kty": "oct", "kid": "t", "k": letters(other)})]);
    let with_header = |header: Value| token(&header, &claims(), hs256(SECRET));
    for (header, told_as) in [
        (json!({"alg": "HS256", "kid": "s"}), "good"),
        (json!({"alg": "HS256", "kid": "t"}), "token_signature"),
        (json!({"alg": "HS256", "kid": "u"}), "token_key_unknown"),
        (json!({"alg": "HS256", "kid": ""}), "token_key_unknown"),
        (json!({"alg": "HS256", "kid": "../../dev/null"}), "token_key_unknown"),
        (json!({"alg": "HS256"}), "token_key_ambiguous"),
        (json!({"alg": "HS256", "kid": 1}), "token_malformed"),
        (json!({"alg": "HS256", "kid": "s", "jwk": secret_jwk("s")}), "good"),
        (json!({"alg": "HS256", "kid": "s", "crit": ["exp"]}), "token_critical"),
        (json!({"alg": "HS256", "kid": "s", "crit": null}), "token_critical"),
        (json!({"alg": "HS256", "kid": "s", "typ": "at+JWT"}), "good"),
        (json!({"alg": "HS256", "kid": "s", "typ": "application/jwt"}), "good"),
        (json!({"alg": "HS256", "kid": "s", "typ": "logout+jwt"}), "token_malformed"),
        (json!({"kid": "s"}), "token_malformed"),
        (json!(["HS256"]), "none"),
    ] {
        assert_eq!(told(&two, &with_header(header.clone())), told_as, "{header}");
    }
    // A key in the token, and where to fetch one, mean nothing.
    let own = "a secret of the attacker, long enough";
    let forged = json!({"alg": "HS256", "jwk": {"kty": "oct", "k": letters(own)},
        "jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/"});
    let one = issuer(&[secret_jwk("s")]);
    assert_eq!(told(&one, &token(&forged, &claims(), hs256(own))), "token_signature");
    let fetched = KeySet::read(json!({"keys": [rsa_jwk("new")]}).to_string().as_bytes(), false);
    let by_new = token(&json!({"alg": "RS256", "kid": "new"}), &claims(), rs256);
    let asked = shown(Intent::Play, "news/cam", &by_new);
    assert_eq!(told_at(&one, &asked, NOW), "token_key_unknown");
    let judged = one.judge(Some(&fetched.unwrap()), &asked, Moment::at(Seconds(NOW)));
    assert_eq!(judged, Some(Judged::Good(Seconds(NOW + 65), None)));
}

#[test]
fn a_set_has_keys_for_signatures_alone() {
    let read = |keys: Value, secrets| {
        KeySet::read(json!({"keys": keys}).to_string().as_bytes(), secrets).map(|set| set.len())
    };
    let (point, _) = p256("p");
    let change = |key: &Value, name: &str, value: Value| {
        let mut key = key.clone();
        key[name] = value;
        key
    };
    assert_eq!(read(json!([point, rsa_jwk("r"), secret_jwk("s")]), true), Ok(3));
    assert_eq!(read(json!([point, rsa_jwk("r"), secret_jwk("s")]), false), Ok(2));
    for unfit in [
        change(&point, "use", json!("enc")),
        change(&point, "alg", json!("ES384")),
        change(&point, "alg", json!("HS256")),
        change(&point, "crv", json!("P-384")),
        change(&point, "x", json!("AAAA")),
        change(&point, "key_ops", json!(["sign"])),
        change(&point, "kty", json!("OKP")),
        change(&point, "kid", json!("")),
        change(&rsa_jwk("r"), "n", json!(letters([1; 128]))),
        change(&rsa_jwk("r"), "e", json!(letters([1; 9]))),
        change(&rsa_jwk("r"), "n", json!("====")),
        change(&secret_jwk("s"), "k", json!(letters(&SECRET[1..]))),
        json!("key"),
        json!(null),
    ] {
        assert!(read(json!([unfit]), true).is_err(), "{unfit}");
        assert_eq!(read(json!([unfit, rsa_jwk("other")]), true), Ok(1), "{unfit}");
    }
    assert_eq!(read(json!([rsa_jwk("r"), rsa_jwk("r")]), true), Ok(1), "it is one");
    assert!(read(json!([point, p256("p").0]), true).is_err(), "which one?");
    let many: Vec<_> = (0..=KEYS_MAX).map(|number| rsa_jwk(&number.to_string())).collect();
    assert!(read(json!(many), true).is_err());
    for text in ["", "{", "[]", r#"{"keys":{}}"#, &"[".repeat(100_000)] {
        assert!(KeySet::read(text.as_bytes(), true).is_err(), "{:.9}", text);
    }
}

#[test]
fn claims_bind_to_time_stream_direction_address_and_service() {
    let mut issuer = issuer(&[secret_jwk("s")]);
    let at = |issuer: &Issuer, claims: Value, now| {
        told_at(issuer, &shown(Intent::Play, "news/cam", &signed(&claims)), now)
    };
    for (claims, now, told_as) in [
        (claims(), NOW + 64, "good"),
        (claims(), NOW + 65, "token_expired"),
        (with(json!({"nbf": NOW + 10})), NOW + 5, "good"),
        (with(json!({"nbf": NOW + 10})), NOW + 4, "token_early"),
        (with(json!({"exp": (NOW + 60) as f64 + 0.9})), NOW + 64, "good"),
        (with(json!({"exp": null})), NOW, "token_endless"),
        (with(json!({"exp": "9999999999"})), NOW, "token_malformed"),
        (with(json!({"exp": -1})), NOW, "token_malformed"),
        (with(json!({"exp": 1e300})), NOW, "token_malformed"),
        (with(json!({"nbf": 1e300})), NOW, "token_malformed"),
        (with(json!({"streams": "news/cam"})), NOW, "good"),
        (with(json!({"streams": "*"})), NOW, "good"),
        (with(json!({"streams": ["sport/*", "news/c*m"]})), NOW, "good"),
        (with(json!({"streams": "news/ca"})), NOW, "token_stream"),
        (with(json!({"streams": "NEWS/*"})), NOW, "token_stream"),
        (with(json!({"streams": "live/news/*"})), NOW, "token_stream"),
        (with(json!({"streams": []})), NOW, "token_stream"),
        (with(json!({"streams": vec!["*"; 65]})), NOW, "token_stream"),
        (with(json!({"streams": null})), NOW, "token_stream"),
        (with(json!({"play": false})), NOW, "token_stream"),
        (with(json!({"play": null, "publish": true})), NOW, "token_stream"),
        (with(json!({"play": "news/*", "streams": null})), NOW, "good"),
        (with(json!({"play": ["sport/*"], "streams": "*"})), NOW, "token_stream"),
        (with(json!({"play": "true"})), NOW, "token_stream"),
        (with(json!({"play": 1})), NOW, "token_malformed"),
        (with(json!({"ip": "192.0.2.1"})), NOW, "good"),
        (with(json!({"ip": "192.0.2.0/24"})), NOW, "good"),
        (with(json!({"ip": "192.0.2.2"})), NOW, "token_address"),
        (with(json!({"ip": ""})), NOW, "token_malformed"),
        (with(json!({"aud": "other"})), NOW, "token_audience"),
        (with(json!({"aud": []})), NOW, "token_audience"),
        (with(json!({"iss": "anybody"})), NOW, "good"),
    ] {
        assert_eq!(at(&issuer, claims.clone(), now), told_as, "{claims} at {now}");
    }
    (issuer.issuer, issuer.audience) = (Some("id".into()), vec!["edge".into(), "lab".into()]);
    for (claims, told_as) in [
        (claims(), "token_issuer"),
        (with(json!({"iss": "id/"})), "token_issuer"),
        (with(json!({"iss": "id"})), "token_audience"),
        (with(json!({"iss": "id", "aud": "edge"})), "good"),
        (with(json!({"iss": "id", "aud": ["x", "lab"]})), "good"),
        (with(json!({"iss": "id", "aud": ["x", "EDGE"]})), "token_audience"),
    ] {
        assert_eq!(at(&issuer, claims.clone(), NOW), told_as, "{claims}");
    }
    let publish = with(json!({"iss": "id", "aud": "edge", "publish": "news/cam", "play": false}));
    let publish = signed(&publish);
    for (intent, stream, told_as) in [
        (Intent::Publish, "news/cam", "good"),
        (Intent::Publish, "news/cam2", "token_stream"),
        (Intent::Play, "news/cam", "token_stream"),
        (Intent::Connect, "news/cam", "none"),
    ] {
        assert_eq!(told_at(&issuer, &shown(intent, stream, &publish), NOW), told_as, "{stream}");
    }
}

#[test]
fn there_is_one_way_to_write_a_token() {
    let issuer = issuer(&[secret_jwk("s")]);
    let good = signed(&claims());
    let (signed_part, signature) = good.rsplit_once('.').unwrap();
    let (header, body) = signed_part.split_once('.').unwrap();
    let deep = format!("{{\"exp\":{},\"a\":{}{}}}", NOW + 60, "[".repeat(900), "]".repeat(900));
    let twice = format!(r#"{{"exp":1,"exp":{},"streams":"*","play":true}}"#, NOW + 60);
    let head = r#"{"alg":"HS256","kid":"s"}"#;
    for (what, token, told_as) in [
        ("as it is", good.clone(), "good"),
        ("no signature", format!("{signed_part}."), "token_signature"),
        ("half a signature", format!("{signed_part}.{}", &signature[..20]), "token_signature"),
        ("a longer one", format!("{good}AAAA"), "token_signature"),
        ("padded", format!("{good}="), "token_malformed"),
        ("padded claims", format!("{header}.{body}=.{signature}"), "token_malformed"),
        ("another alphabet", good.replace(signature, &"+/".repeat(21)), "token_malformed"),
        ("spaces", good.replace('.', ". "), "token_malformed"),
        ("a tail", format!("{good}\n"), "token_malformed"),
        (
            "claims of another token",
            {
                let other = signed(&with(json!({"streams": "*"})));
                let (other, _) = other.rsplit_once('.').unwrap();
                format!("{other}.{signature}")
            },
            "token_signature",
        ),
        ("four parts", format!("{good}.{signature}"), "none"),
        ("two parts", signed_part.to_owned(), "none"),
        ("a key of a stream", "a.b.c".to_owned(), "none"),
        ("nothing", String::new(), "none"),
        ("no JSON", raw(head, "{", hs256(SECRET)), "token_malformed"),
        ("a list", raw(head, "[]", hs256(SECRET)), "token_malformed"),
        ("deep JSON", raw(head, &deep, hs256(SECRET)), "token_stream"),
        (
            "deep streams",
            raw(head, &deep.replace("\"a\"", "\"streams\""), hs256(SECRET)),
            MALFORMED,
        ),
        ("a claim twice", raw(head, &twice, hs256(SECRET)), "token_malformed"),
        (
            "a tail of JSON",
            raw(head, &format!("{}{{}}", claims()), hs256(SECRET)),
            "token_malformed",
        ),
        (
            "an algorithm twice",
            raw(r#"{"alg":"none","alg":"HS256","kid":"s"}"#, &claims().to_string(), hs256(SECRET)),
            "token_malformed",
        ),
        ("huge", raw(head, &"x".repeat(1 << 20), hs256(SECRET)), "token_malformed"),
        ("no UTF-8", format!("{header}.{}.{signature}", letters([0xff; 9])), "token_signature"),
    ] {
        assert_eq!(told(&issuer, &token), told_as, "{what}");
    }
    let asked = AuthorizeRequest {
        query: Secret(format!("token={good}")),
        ..shown(Intent::Play, "news/cam", &good)
    };
    let debug = format!("{asked:?} {issuer:?}");
    assert!(!debug.contains(&good) && !debug.contains(SECRET), "{debug}");
}
