"""Every request comes in by the way that its route is described to need, and by no other.

A route that is described to need a key of a scope is asked with a key of that scope only; what
providers deliver is signed as they sign. A route that asks for more than its description says is
found because the request is refused; one that asks for less by `no_other_way_in_is_open`.
"""

import base64
import hashlib
import hmac
import itertools
import json
import os
import time
from urllib.parse import unquote_to_bytes, urlsplit

import requests
import schemathesis

KEYS = json.loads(os.environ["OPTOUT_KEYS"])
# As scripts/contract sets the senders up.
SECRETS = json.loads(os.environ["OPTOUT_SECRETS"])


def ways_in(operation):
    """What the description asks for: security schemes with scopes. Nothing: everybody may ask."""
    ways = operation.definition.raw.get("security", [])
    return {scheme: scopes for way in ways for scheme, scopes in way.items()}


def key_of(case, scopes):
    if overrides(case.body):
        return KEYS["resubscribe,admin"]
    return KEYS[scopes[0] if scopes else "add"]


def overrides(body):
    """Whether a resubscribe is to lift more than its scope alone may."""
    items = body.get("items", [body]) if isinstance(body, dict) else []
    items = items if isinstance(items, list) else []
    return any(isinstance(item, dict) and item.get("override") is True for item in items)


class WayIn(requests.auth.AuthBase):
    """Adds what opens a route, once the bytes of the request are known."""

    def __init__(self, case, right=True):
        self.case, self.right = case, right

    def __call__(self, request):
        for scheme, scopes in ways_in(self.case.operation).items():
            getattr(self, scheme.replace("-", "_"))(request, scopes)
        return request

    def mac(self, kind, secret, signed):
        return hmac.new(secret.encode() if self.right else b"guessed", signed, kind).digest()

    def key(self, request, scopes):
        key = key_of(self.case, scopes) if self.right else "optout_guessed"
        request.headers["Authorization"] = f"Bearer {key}"

    def meta_signature(self, request, _):
        tag = self.mac(hashlib.sha256, SECRETS["meta"], body_of(request)).hex()
        request.headers["X-Hub-Signature-256"] = f"sha256={tag}"

    def meta_token(self, request, _):
        if not self.right:
            request.url = request.url.replace(SECRETS["token"], "guessed")

    def twilio_signature(self, request, _):
        query = urlsplit(request.url).query
        signed = (SECRETS["url"] + (f"?{query}" if query else "")).encode()
        pairs = sorted(set(pairs_of(body_of(request))))
        signed += b"".join(name + value for name, value in pairs)
        tag = self.mac(hashlib.sha1, SECRETS["twilio"], signed)
        request.headers["X-Twilio-Signature"] = base64.b64encode(tag).decode()

    def webhook_signature(self, request, _):
        headers = request.headers
        digest = hashlib.sha256(body_of(request)).hexdigest()
        right = {"webhook-id": f"delivery-{digest}", "webhook-timestamp": str(int(time.time()))}
        # What a case leaves out on purpose stays out.
        if not all(name in headers for name in right):
            return
        headers.update(right)
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode()
        tag = self.mac(hashlib.sha256, SECRETS["generic"], signed + body_of(request))
        headers["webhook-signature"] = "v1," + base64.b64encode(tag).decode()


def body_of(request):
    body = request.body or b""
    return body.encode() if isinstance(body, str) else body


def pairs_of(form):
    for pair in form.split(b"&"):
        if pair:
            name, _, value = pair.partition(b"=")
            yield tuple(unquote_to_bytes(it.replace(b"+", b" ")) for it in (name, value))


@schemathesis.hook
def before_call(context, case, kwargs):
    if ways_in(case.operation):
        kwargs["auth"] = WayIn(case)
    if "sender" in case.path_parameters:
        case.path_parameters["sender"] = "own"
    if "meta-token" in ways_in(case.operation) and case.meta.generation.mode.is_positive:
        challenge = "".join(it for it in str(case.query.get("hub.challenge")) if it.isalnum())
        asked = {"hub.mode": "subscribe", "hub.verify_token": SECRETS["token"]}
        case.query.update(asked, **{"hub.challenge": challenge.encode("ascii", "ignore").decode() or "1"})


class From(requests.adapters.HTTPAdapter):
    """Asks from an address of its own: wrong keys are counted for each."""

    def __init__(self, address):
        self.address = address
        super().__init__()

    def init_poolmanager(self, *args, **kwargs):
        super().init_poolmanager(*args, source_address=(self.address, 0), **kwargs)


asked = set()
addresses = (f"127.0.{high}.{low}" for high in itertools.count(1) for low in range(1, 255))


@schemathesis.check
def no_other_way_in_is_open(ctx, response, case):
    """A right request is sent again without, and with wrong, keys and signatures."""
    ways = ways_in(case.operation)
    if not ways or response.status_code != 200 or case.operation.label in asked:
        return
    asked.add(case.operation.label)

    def status(change):
        sent = response.request.copy()
        for name in ("Authorization", "X-Hub-Signature-256", "X-Twilio-Signature", "webhook-signature"):
            sent.headers.pop(name, None)
        with requests.Session() as session:
            session.mount("http://", From(next(addresses)))
            return session.send(change(sent), timeout=30).status_code

    def with_key(key):
        return lambda sent: sent.headers.update(Authorization=f"Bearer {key}") or sent

    if "meta-token" not in ways:
        assert status(lambda sent: sent) == 401, f"{case.operation.label} needs nothing"
    assert status(WayIn(case, right=False)) == 401, f"{case.operation.label} takes what is made up"
    scopes = ways.get("key", [])
    for scope, key in KEYS.items():
        if scopes and not set(scope.split(",")) & set(scopes):
            assert status(with_key(key)) == 403, f"{scope} opens {case.operation.label}"
