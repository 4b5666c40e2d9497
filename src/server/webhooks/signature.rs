//! Did the provider send these bytes?
//!
//! Pure: headers, bytes and secrets in, yes or no out. Promises: what is signed is compared in
//! constant time and as it arrived, before anything in it is read; a signature that is missing,
//! doubled or written otherwise fits nothing; an empty secret signs nothing. Leaves to others:
//! where secrets are kept, and what becomes of a refusal (`routes`).

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::form::Pair;
use crate::time::Timestamp;

/// Meta's header.
const META: &str = "x-hub-signature-256";
/// Twilio's header.
const TWILIO: &str = "x-twilio-signature";
/// The headers of Standard Webhooks.
const GENERIC_ID: &str = "webhook-id";
const GENERIC_TIME: &str = "webhook-timestamp";
const GENERIC: &str = "webhook-signature";

/// How far the clock of whoever signs may be from ours.
const TOLERANCE_SECONDS: i64 = 5 * 60;
/// Signatures in one header: several while a secret is exchanged for another.
const SIGNATURES_MAX: usize = 8;
/// Bytes of the id of a delivery.
const ID_BYTES_MAX: usize = 256;

/// What Meta's header says of a body.
pub(in crate::server) struct MetaSigned([u8; 32]);

impl MetaSigned {
    /// Reads `sha256=` and 64 hexadecimal digits, given once.
    pub(in crate::server) fn of(headers: &HeaderMap) -> Option<MetaSigned> {
        let digits = one(headers, META)?.strip_prefix("sha256=")?.as_bytes();
        let mut tag = [0; 32];
        if digits.len() != 2 * tag.len() {
            return None;
        }
        for (byte, pair) in tag.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16);
            *byte = u8::try_from(digit(0)? << 4 | digit(1)?).ok()?;
        }
        Some(MetaSigned(tag))
    }

    /// Whether this secret made it over these bytes.
    pub(in crate::server) fn is_by(&self, secret: &[u8], body: &[u8]) -> bool {
        is_tag::<Hmac<Sha256>>(secret, &[body], &self.0)
    }
}

/// What Twilio's header says of a request.
pub(in crate::server) struct TwilioSigned(Vec<u8>);

impl TwilioSigned {
    /// Reads Base64, given once.
    pub(in crate::server) fn of(headers: &HeaderMap) -> Option<TwilioSigned> {
        let tag = BASE64.decode(one(headers, TWILIO)?).ok()?;
        (tag.len() == 20).then_some(TwilioSigned(tag))
    }

    /// Whether this token made it over the address and the pairs of a form: sorted by name, each
    /// value of a name once, without anything between.
    pub(in crate::server) fn is_by(&self, token: &[u8], url: &str, form: &[Pair]) -> bool {
        let mut pairs: Vec<(&[u8], &[u8])> =
            form.iter().map(|(name, it)| (&**name, &**it)).collect();
        pairs.sort_unstable();
        pairs.dedup();
        let mut parts = vec![url.as_bytes()];
        parts.extend(pairs.into_iter().flat_map(|(name, value)| [name, value]));
        is_tag::<Hmac<Sha1>>(token, &parts, &self.0)
    }
}

/// Whether `bodySHA256`, which Twilio puts into the signed address, belongs to a body.
pub(in crate::server) fn is_body_digest(hex: &str, body: &[u8]) -> bool {
    let digest: String = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
    digest.as_bytes().ct_eq(hex.to_ascii_lowercase().as_bytes()).into()
}

/// What the headers of Standard Webhooks say of a body.
pub(in crate::server) struct GenericSigned<'a> {
    /// The id of the delivery, the same at each attempt.
    pub(in crate::server) id: &'a str,
    timestamp: &'a str,
    seconds: i64,
    tags: Vec<Vec<u8>>,
}

impl<'a> GenericSigned<'a> {
    /// Reads id, time and the signatures of version 1, each header given once.
    pub(in crate::server) fn of(headers: &'a HeaderMap) -> Option<GenericSigned<'a>> {
        let id = one(headers, GENERIC_ID)?;
        let timestamp = one(headers, GENERIC_TIME)?;
        let is_id =
            (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|it| it.is_ascii_graphic());
        // A dot parts what is signed: with one more in the id, another id and time could sign alike.
        if !is_id || id.contains('.') || !timestamp.bytes().all(|it| it.is_ascii_digit()) {
            return None;
        }
        let seconds = timestamp.parse().ok()?;
        let listed = one(headers, GENERIC)?.split(' ').filter_map(|it| it.strip_prefix("v1,"));
        let tags = listed.take(SIGNATURES_MAX).filter_map(|it| BASE64.decode(it).ok());
        let tags: Vec<Vec<u8>> = tags.filter(|tag| tag.len() == 32).collect();
        (!tags.is_empty()).then_some(GenericSigned { id, timestamp, seconds, tags })
    }

    /// Whether it was signed lately, by our clock.
    pub(in crate::server) fn is_fresh(&self, now: Timestamp) -> bool {
        (now.as_millis() / 1000).abs_diff(self.seconds) <= TOLERANCE_SECONDS.unsigned_abs()
    }

    /// Whether this secret made one of the signatures over these bytes. A secret that begins with
    /// `whsec_` is Base64.
    pub(in crate::server) fn is_by(&self, secret: &str, body: &[u8]) -> bool {
        let decoded = secret.strip_prefix("whsec_").and_then(|text| BASE64.decode(text).ok());
        let key = decoded.as_deref().unwrap_or(secret.as_bytes());
        let parts = [self.id.as_bytes(), b".", self.timestamp.as_bytes(), b".", body];
        let fits = |tag: &Vec<u8>| is_tag::<Hmac<Sha256>>(key, &parts, tag);
        self.tags.iter().fold(false, |fit, tag| fit | fits(tag))
    }
}

/// Whether two short texts are the same, in a time that does not tell where they differ.
pub(in crate::server) fn is_same(one: &str, other: &str) -> bool {
    // Digests have one length, so that nothing is told of the secret's either.
    Sha256::digest(one.as_bytes()).ct_eq(&Sha256::digest(other.as_bytes())).into()
}

/// The value of a header that is given once.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    value.to_str().ok()
}

/// Whether `tag` is what this key makes of these parts.
fn is_tag<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]], tag: &[u8]) -> bool {
    if key.is_empty() {
        return false;
    }
    let Ok(mut mac) = <M as KeyInit>::new_from_slice(key) else { return false };
    for part in parts {
        Mac::update(&mut mac, part);
    }
    mac.verify_slice(tag).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::webhooks::form;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_body_and_its_signature_belong_together() {
        // RFC 4231, test case 2.
        let tag = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let (key, body) = (b"Jefe", b"what do ya want for nothing?");
        let signed = MetaSigned::of(&headers(&[(META, tag)])).unwrap();
        assert!(signed.is_by(key, body));
        assert!(!signed.is_by(b"", body) && !signed.is_by(b"jefe", body));
        for at in 0..body.len() {
            let mut other = body.to_vec();
            other[at] ^= 1;
            assert!(!signed.is_by(key, &other), "{at}");
        }
        let upper = format!("sha256={}", tag[7..].to_uppercase());
        assert!(MetaSigned::of(&headers(&[(META, &upper)])).unwrap().is_by(key, body));
    }

    #[test]
    fn a_signature_that_is_written_otherwise_fits_nothing() {
        let hex = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        for text in [
            "",
            "sha256=",
            hex,
            "sha256=5bdcc146",
            &format!("SHA256={hex}"),
            &format!("sha1={hex}"),
            &format!("sha256= {hex}"),
            &format!("sha256={hex}00"),
            &format!("sha256={}g", &hex[1..]),
            &format!("sha256={}é", &hex[2..]),
        ] {
            assert!(MetaSigned::of(&headers(&[(META, text)])).is_none(), "{text}");
        }
        let right = format!("sha256={hex}");
        assert!(MetaSigned::of(&headers(&[(META, &right), (META, &right)])).is_none());
        assert!(MetaSigned::of(&HeaderMap::new()).is_none());
    }

    /// The example of Twilio's own documentation and libraries.
    const URL: &str = "https://mycompany.com/myapp.php?foo=1&bar=2";
    const FORM: &[u8] = b"Digits=1234&To=%2B18005551212&From=%2B14158675309&Caller=%2B14158675309\
                          &CallSid=CA1234567890ABCDE";

    fn twilio(tag: &str) -> TwilioSigned {
        TwilioSigned::of(&headers(&[(TWILIO, tag)])).unwrap()
    }

    #[test]
    fn the_examples_of_the_provider_are_right() {
        let signed = twilio("RSOYDt4T1cUTdK1PDd93/VVr8B8=");
        assert!(signed.is_by(b"12345", URL, &form::read(FORM)));
        assert!(!signed.is_by(b"12345", "https://mycompany.com/myapp.php", &form::read(FORM)));
        assert!(!signed.is_by(b"", URL, &form::read(FORM)));
        let other = form::read(&[FORM, b"&x="].concat());
        assert!(!signed.is_by(b"12345", URL, &other));
        let repeated = b"Sid=CA123&SidAccount=AC123&Digits=5678&Digits=1234&Digits=1234";
        let signed = twilio("IK+Dwps556ElfBT0I3Rgjkr1wJU=");
        assert!(signed.is_by(b"12345", URL, &form::read(repeated)));
        let digest = "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620";
        let body = br#"{"property": "value", "boolean": true}"#;
        assert!(is_body_digest(digest, body));
        assert!(!is_body_digest(digest, br#"{"property":"value","boolean":true}"#));
        assert!(!is_body_digest("", body));
        for text in ["", "AAAA", "RSOYDt4T1cUTdK1PDd93/VVr8B8", "5bdcc146bf60754e6a042426089575c7"]
        {
            assert!(TwilioSigned::of(&headers(&[(TWILIO, text)])).is_none(), "{text}");
        }
    }

    const ID: (&str, &str) = (GENERIC_ID, "msg_p5jXN8AQM9LWM0D4loKWxJek");
    const TIME: (&str, &str) = (GENERIC_TIME, "1614265330");
    const TAG: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;

    #[test]
    fn a_delivery_is_signed_with_its_id_and_its_time() {
        let all = headers(&[ID, TIME, (GENERIC, TAG)]);
        let signed = GenericSigned::of(&all).unwrap();
        assert!(signed.is_by(SECRET, BODY) && !signed.is_by(SECRET, b"{}"));
        assert!(!signed.is_by("whsec_", BODY) && !signed.is_by("", BODY));
        let at = |seconds: i64| Timestamp::from_millis((1_614_265_330 + seconds) * 1000);
        assert!(signed.is_fresh(at(0)) && signed.is_fresh(at(300)) && signed.is_fresh(at(-300)));
        assert!(!signed.is_fresh(at(301)) && !signed.is_fresh(at(-301)));
        let later = headers(&[ID, (GENERIC_TIME, "1614265331"), (GENERIC, TAG)]);
        assert!(!GenericSigned::of(&later).unwrap().is_by(SECRET, BODY));
        let two = format!("v1a,AAAA v1,{} {TAG}", BASE64.encode([0; 32]));
        let rotated = headers(&[ID, TIME, (GENERIC, &two)]);
        assert!(GenericSigned::of(&rotated).unwrap().is_by(SECRET, BODY));
    }

    #[test]
    fn a_delivery_without_one_of_its_headers_is_not_signed() {
        let tag = (GENERIC, TAG);
        for pairs in [
            vec![ID, TIME],
            vec![ID, tag],
            vec![TIME, tag],
            vec![ID, ID, TIME, tag],
            vec![ID, TIME, TIME, tag],
            vec![ID, TIME, tag, tag],
            vec![ID, (GENERIC_TIME, "-1614265330"), tag],
            vec![ID, (GENERIC_TIME, "99999999999999999999"), tag],
            vec![(GENERIC_ID, "a.b"), TIME, tag],
            vec![ID, TIME, (GENERIC, "v1,")],
            vec![ID, TIME, (GENERIC, "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")],
        ] {
            assert!(GenericSigned::of(&headers(&pairs)).is_none(), "{pairs:?}");
        }
    }

    #[test]
    fn texts_are_the_same_or_not() {
        assert!(is_same("token", "token"));
        assert!(!is_same("token", "tokem") && !is_same("token", "") && !is_same("", "t"));
    }
}
