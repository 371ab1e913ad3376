"""Requests are signed as botocore signs them, to the byte, and as AWS's published vectors say."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from dawdle.backends.sqs._data_plane._signer import Request, Signer
from dawdle.backends.sqs._data_plane._template import template_for
from dawdle.errors import BackendError

VECTORS = Path(__file__).parent / "aws4_testsuite"
KEYS = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
THEN = datetime(2015, 8, 30, 12, 36, tzinfo=UTC).timestamp()
HEADERS = (
    ("X-Amz-Target", "AmazonSQS.SendMessageBatch"),
    ("Content-Type", "application/x-amz-json-1.0"),
    ("x-amzn-query-mode", "true"),
    ("User-Agent", "aiobotocore/3.10.0 md/Botocore#1.43.117"),
)
SIGNED = ("content-type", "host", "x-amz-date", "x-amz-target", "x-amzn-query-mode")


def parsed(head):
    """Return the request line and the headers of a head."""
    line, *lines, end, rest = head.decode().split("\r\n")
    assert (end, rest) == ("", "")
    return line, [tuple(each.split(": ", 1)) for each in lines]


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*.req")), ids=lambda path: path.stem)
def test_aws_published_vectors_are_signed_as_published(path):
    top, _, body = path.read_text().partition("\n\n")
    sent = dict(line.split(":", 1) for line in top.splitlines()[1:])
    constant = [(name, value) for name, value in sent.items() if name in {"My-Header1", "Content-Type"}]
    signed = sorted({*(name.lower() for name in sent)} - {"x-amz-security-token"})
    template = template_for(f"https://{sent['Host']}/", "us-east-1", "service", {"any": constant}, signed)
    credentials = Credentials(*KEYS, sent.get("X-Amz-Security-Token"))
    _, headers = parsed(Signer(template).head(Request("any", body.encode(), "i"), THEN, credentials))
    assert dict(headers)["Authorization"] == path.with_suffix(".authz").read_text()
    assert sent.items() <= dict(headers).items()


def test_the_vectors_are_there():
    assert len(list(VECTORS.glob("*.req"))) == len(list(VECTORS.glob("*.authz"))) == 7


def signed_by_botocore(url, operation_headers, region, service, credentials, moment, body):
    request = AWSRequest("POST", url, headers=dict(operation_headers), data=body)
    request.context["timestamp"] = datetime.fromtimestamp(int(moment), UTC).strftime("%Y%m%dT%H%M%SZ")
    auth = SigV4Auth(credentials, service, region)
    auth._modify_request_before_signing(request)
    text = auth.string_to_sign(request, auth.canonical_request(request))
    auth._inject_signature_to_request(request, auth.signature(text, request))
    return dict(request.headers.items())


printable = st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S")), min_size=1, max_size=40)
spaced = st.text(st.sampled_from("ab/=+  "), max_size=20)
words = st.text(st.sampled_from("abcxyz019-"), min_size=1, max_size=12)
hosts = st.builds(
    "{}{}".format,
    st.sampled_from(["sqs.eu-west-1.amazonaws.com", "localhost", "127.0.0.1", "[::1]", "Vpce-0a.SQS.example"]),
    st.sampled_from(["", ":80", ":443", ":4566", ":8443"]),
)
paths = st.one_of(st.just("/"), st.text(st.sampled_from("ab/._~%2-+*"), max_size=20).map("/{}".format))
secrets = st.builds(ReadOnlyCredentials, printable, printable, st.one_of(st.none(), st.just(""), printable, spaced))
requests = st.tuples(
    st.integers(0, 3),
    st.one_of(st.floats(0, 4e9), st.integers(1_795_824_000 - 2, 1_795_824_000 + 2)),  # also about a midnight
    st.binary(max_size=300),
    st.sampled_from(["SendMessageBatch", "DeleteMessageBatch"]),
)


@given(
    scheme=st.sampled_from(["http", "https"]),
    host=hosts,
    path=paths,
    region=words,
    service=words,
    keys=st.lists(secrets, min_size=4, max_size=4),
    value=spaced,
    sent=st.lists(requests, min_size=1, max_size=8),
)
def test_it_signs_as_botocore_does(scheme, host, path, region, service, keys, value, sent):
    """One signer signs several requests: what it keeps of an earlier one must not show in a later one."""
    url = f"{scheme}://{host}{path}"
    sends, deletes = (
        [("X-Amz-Target", f"AmazonSQS.{name}"), *HEADERS[1:], ("X-Odd", value)] for name in ("Send", "Delete")
    )
    headers = {"SendMessageBatch": sends, "DeleteMessageBatch": deletes}
    signer = Signer(template_for(url, region, service, headers, sorted([*SIGNED, "x-odd"])))
    for number, moment, body, operation in sent:
        credentials = keys[number]
        theirs = signed_by_botocore(url, headers[operation], region, service, credentials, moment, body)
        line, ours = parsed(signer.head(Request(operation, body, "id-1"), moment, credentials))
        assert line == f"POST {path} HTTP/1.1"
        assert theirs.items() <= dict(ours).items()
        added = {
            "Host",
            "Accept",
            "Accept-Encoding",
            "amz-sdk-invocation-id",
            "amz-sdk-request",
            "Content-Length",
        }
        assert {name for name, _ in ours} - theirs.keys() == added
        assert dict(ours)["Content-Length"] == str(len(body))
        assert len(dict(ours)) == len(ours)
        listed = signer.headers(Request(operation, body, "id-1"), moment, credentials)
        assert sorted(listed) == sorted(each for each in ours if each[0] != "Host")


def signer():
    return Signer(
        template_for("https://sqs.eu-west-1.amazonaws.com/", "eu-west-1", "sqs", {"SendMessageBatch": HEADERS}, SIGNED)
    )


def test_a_head_is_complete():
    request = Request("SendMessageBatch", b"{}", "00000000-0000-4000-8000-000000000000", "attempt=2")
    head = signer().head(request, THEN, ReadOnlyCredentials(*KEYS, "token"))
    line, headers = parsed(head)
    assert line == "POST / HTTP/1.1"
    assert [name for name, _ in headers] == [
        "Host",
        "X-Amz-Target",
        "Content-Type",
        "x-amzn-query-mode",
        "User-Agent",
        "Accept",
        "Accept-Encoding",
        "X-Amz-Date",
        "X-Amz-Security-Token",
        "Authorization",
        "amz-sdk-invocation-id",
        "amz-sdk-request",
        "Content-Length",
    ]
    assert dict(headers)["amz-sdk-request"] == "attempt=2"


@pytest.mark.parametrize("text", ["canary-7f3a\n", "canary-7f3a\r\nHost: other", "\x00canary-7f3a"], ids=repr)
@pytest.mark.parametrize("which", [0, 2])
def test_a_line_break_in_credentials_does_not_become_a_header(text, which):
    keys = ["a", "b", "c"]
    keys[which] = text
    used = signer()
    for _ in range(2):  # also when it is asked again
        with pytest.raises(BackendError, match="contains a line break or another control") as caught:
            used.head(Request("SendMessageBatch", b"{}", "i"), THEN, ReadOnlyCredentials(*keys))
        assert caught.value.kind == "denied"
        assert "canary" not in str(caught.value)
