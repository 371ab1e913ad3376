"""What is learned from botocore is what botocore sends: for every kind of endpoint, and without sending anything."""

import contextlib
from datetime import UTC, datetime

import pytest
from aiobotocore.awsrequest import AioAWSResponse
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore import UNSIGNED, xform_name
from botocore.credentials import ReadOnlyCredentials

from dawdle.backends.sqs._calls import TimeLimits
from dawdle.backends.sqs._client_set import ClientSet, ClientSettings
from dawdle.backends.sqs._data_plane._signer import FIRST_ATTEMPT, Request, Signer, later_attempt
from dawdle.backends.sqs._data_plane._template import OPERATIONS, learn_template
from dawdle.backends.sqs._queue_address import QueueAddress
from dawdle.backends.sqs._request_attempts import RequestAttempts, observe_attempts, observed

pytestmark = pytest.mark.anyio

URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"
LOADER = get_session().get_component("data_loader")  # AWS's models are read once
KEYS = {"aws_access_key_id": "AKIDREAL", "aws_secret_access_key": "canary-secret"}


@pytest.fixture(autouse=True)
def no_settings(credentials, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


class Sent(Exception):
    """Stands for the answer to a request, which is not sent."""


async def sent_by_botocore(client, operation):
    """Return the request that botocore would send, with the real credentials."""
    seen = []

    def stop(request, **_):
        seen.append(request)
        raise Sent

    client.meta.events.register("before-send.sqs", stop)
    try:
        with pytest.raises(Sent):
            await getattr(client, xform_name(operation))(QueueUrl=URL, **OPERATIONS[operation])
    finally:
        client.meta.events.unregister("before-send.sqs", stop)
    (request,) = seen
    return request


def text_of(value):
    return value.decode() if isinstance(value, bytes) else value


async def compare(client, template, keys):
    """Compare each operation's request of botocore's, header by header, with ours at the same time."""
    signer = Signer(template)
    for operation in OPERATIONS:
        theirs = await sent_by_botocore(client, operation)
        headers = {name: text_of(value) for name, value in theirs.headers.items()}
        moment = datetime.strptime(headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        ours = signer.headers(Request(operation, theirs.body, headers["amz-sdk-invocation-id"]), moment, keys)
        assert template.url == theirs.url
        assert {name: value for name, value in ours if not name.startswith("Accept")} == headers


@contextlib.asynccontextmanager
async def client_of(region="eu-west-1", keys=None, **options):
    config = AioConfig(**{"retries": {"total_max_attempts": 1}, **options.pop("config", {})})
    session = get_session()
    session.register_component("data_loader", LOADER)
    async with session.create_client(
        "sqs", region_name=region, config=config, **(KEYS if keys is None else keys), **options
    ) as client:
        yield client


FIPS, DUAL = {"use_fips_endpoint": True}, {"use_dualstack_endpoint": True}
ENDPOINTS = {
    "plain": ({}, "https://sqs.eu-west-1.amazonaws.com/"),
    "fips": ({"region": "us-east-1", "config": FIPS}, "https://sqs-fips.us-east-1.amazonaws.com/"),
    "dual-stack": ({"config": DUAL}, "https://sqs.eu-west-1.api.aws/"),
    "both": ({"region": "us-east-1", "config": FIPS | DUAL}, "https://sqs-fips.us-east-1.api.aws/"),
    "gov": ({"region": "us-gov-west-1"}, "https://sqs.us-gov-west-1.amazonaws.com/"),
    "gov fips": ({"region": "us-gov-west-1", "config": FIPS}, "https://sqs.us-gov-west-1.amazonaws.com/"),
    "china": ({"region": "cn-north-1"}, "https://sqs.cn-north-1.amazonaws.com.cn/"),
    "iso": ({"region": "us-iso-east-1"}, "https://sqs.us-iso-east-1.c2s.ic.gov/"),
    "of tomorrow": ({"region": "eu-nowhere-9"}, "https://sqs.eu-nowhere-9.amazonaws.com/"),
    "VPC endpoint": (
        {"region": "us-east-2", "endpoint_url": "https://vpce-0a1b.sqs.us-east-2.vpce.amazonaws.com"},
        "https://vpce-0a1b.sqs.us-east-2.vpce.amazonaws.com/",
    ),
    "local": ({"endpoint_url": "http://127.0.0.1:4566"}, "http://127.0.0.1:4566/"),
    "with a path": ({"endpoint_url": "http://127.0.0.1:4566/a~b/%20c/"}, "http://127.0.0.1:4566/a~b/%20c/"),
    "default port": ({"endpoint_url": "https://sqs.example:443"}, "https://sqs.example:443/"),
    "other port": ({"endpoint_url": "https://sqs.example:80"}, "https://sqs.example:80/"),
    "IPv6": ({"endpoint_url": "http://[::1]:4566"}, "http://[::1]:4566/"),
    "capitals": ({"endpoint_url": "https://SQS.Example"}, "https://SQS.Example/"),
}


@pytest.mark.parametrize("kind", ENDPOINTS)
async def test_requests_go_where_botocore_would_send_them_with_its_headers(kind):
    options, url = ENDPOINTS[kind]
    async with client_of(**options) as client:
        template = await learn_template(client, URL)
        assert (template.url, template.region) == (url, options.get("region", "eu-west-1"))
        await compare(client, template, ReadOnlyCredentials("AKIDREAL", "canary-secret", None))


SERVICES = "[default]\nservices = here\n[services here]\nsqs =\n  endpoint_url = {}\n"
PLAIN = "[default]\nendpoint_url = {}\n"


@pytest.mark.parametrize("setting", ["AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL", SERVICES, PLAIN])
async def test_an_endpoint_in_botocores_settings_is_botocores(setting, monkeypatch, tmp_path):
    if setting.startswith("AWS_"):
        monkeypatch.setenv(setting, "http://localhost:4566")
    else:
        (tmp_path / "config").write_text(setting.format("http://localhost:4566"))
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    async with client_of() as client:
        template = await learn_template(client, URL)
        assert (template.url, template.host, template.region) == (
            "http://localhost:4566/",
            "localhost:4566",
            "eu-west-1",
        )
        await compare(client, template, ReadOnlyCredentials("AKIDREAL", "canary-secret", None))


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("AWS_USE_FIPS_ENDPOINT", "https://sqs-fips.us-east-1.amazonaws.com/"),
        ("AWS_USE_DUALSTACK_ENDPOINT", "https://sqs.us-east-1.api.aws/"),
    ],
)
async def test_a_variant_in_the_environment_is_botocores(variable, url, monkeypatch):
    monkeypatch.setenv(variable, "true")
    async with client_of("us-east-1") as client:
        assert (await learn_template(client, URL)).url == url


async def test_a_session_token_is_sent_and_signed_and_the_app_id_is_in_the_user_agent(monkeypatch):
    monkeypatch.setenv("AWS_SDK_UA_APP_ID", "shop-7")
    async with client_of(
        keys={**KEYS, "aws_session_token": "canary-token"}, config={"user_agent_extra": "dawdle"}
    ) as client:
        template = await learn_template(client, URL)
        assert "canary" not in repr(template)
        for headers in template.headers.values():
            assert "app/shop-7" in dict(headers)["User-Agent"]
            assert dict(headers)["User-Agent"].endswith(" dawdle")
        await compare(client, template, ReadOnlyCredentials("AKIDREAL", "canary-secret", "canary-token"))


async def test_nothing_is_sent_or_counted_and_no_credentials_are_needed():
    async with client_of(keys={}, endpoint_url="http://127.0.0.1:1") as client:
        observe_attempts(client.meta.events)
        attempts = RequestAttempts(deadline=0)
        with observed(attempts):
            template = await learn_template(client, URL)
        assert template is not None
        assert not attempts.uncertain


async def test_no_role_is_assumed(monkeypatch, tmp_path):
    (tmp_path / "config").write_text(
        "[default]\nrole_arn = arn:aws:iam::123456789012:role/worker\nsource_profile = keys\n"
        "[profile keys]\naws_access_key_id = a\naws_secret_access_key = b\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
    async with client_of(keys={}) as client:
        assert await learn_template(client, URL) is not None


async def test_a_client_is_as_before_once_its_template_is_learned():
    async with client_of() as client:
        first = await learn_template(client, URL)
        request = await sent_by_botocore(client, "ReceiveMessage")
        assert b"Credential=AKIDREAL/" in request.headers["Authorization"]
        assert await learn_template(client, URL) == first


async def test_the_clients_of_a_queue_have_one():
    settings = ClientSettings.of(
        QueueAddress.checked(URL, None, None),
        TimeLimits(20, response_seconds=10, max_attempts=3),
        past_botocore=False,
    )
    clients = await ClientSet().open(settings)
    try:
        for client in (clients.botocore._poll_client, clients.botocore._request_client):
            assert (await learn_template(client, URL)).url == "https://sqs.eu-west-1.amazonaws.com/"
    finally:
        await clients.close()


def odd_header(request, **_):
    odd_header.count += 1
    request.headers["traceparent"] = f"00-{odd_header.count:032x}-{odd_header.count:016x}-01"


odd_header.count = 0


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"config": {"signature_version": UNSIGNED}}, "they are not all signed by SigV4"),
        ({"endpoint_url": "http://me:canary@localhost:4566"}, "the endpoint has more than a scheme, a host"),
        ({"endpoint_url": "http://localhost:4566/?a=canary"}, "the endpoint has more than a scheme, a host"),
    ],
    ids=["unsigned", "user info", "query"],
)
async def test_what_our_signer_does_not_know_is_left_to_botocore_and_logged(options, why, caplog):
    caplog.set_level("INFO", logger="dawdle")
    async with client_of(**options) as client:
        assert await learn_template(client, URL) is None
    assert f"requests for {URL} are made by botocore alone: {why}" in caplog.text
    assert "canary" not in caplog.text


async def test_a_header_that_changes_with_each_request_is_left_to_botocore(caplog):
    caplog.set_level("INFO", logger="dawdle")
    async with client_of() as client:
        client.meta.events.register("before-sign.sqs", odd_header)
        assert await learn_template(client, URL) is None
    assert "a header is not the same in each of them" in caplog.text


async def test_another_signature_is_left_to_botocore(caplog):
    """A botocore of tomorrow may sign otherwise: here one that signs a body of its own."""

    def other_body(request, **_):
        request.headers["X-Amz-Content-SHA256"] = "UNSIGNED-PAYLOAD"

    caplog.set_level("INFO", logger="dawdle")
    async with client_of() as client:
        client.meta.events.register("before-sign.sqs", other_body)
        assert await learn_template(client, URL) is None
    assert "this version of it signs in another way" in caplog.text


async def test_in_aws_lambda_it_is_left_to_botocore(monkeypatch, caplog):
    caplog.set_level("INFO", logger="dawdle")
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "worker")
    async with client_of() as client:
        assert await learn_template(client, URL) is None
    assert "AWS Lambda wants each request to name its invocation" in caplog.text


class Body:
    """The body of an answer."""

    raw_headers = ()  # where the oldest aiobotocore looks

    async def read(self):
        return b""


@pytest.mark.slow
@pytest.mark.parametrize("date", [None, "Sat, 28 Nov 2026 03:41:00 GMT", "soon"])
async def test_a_later_attempt_says_what_botocore_says(date):
    said = []

    def answer(request, **_):
        said.append(text_of(request.headers["amz-sdk-request"]))
        headers = {} if date is None else {"Date": date}
        return AioAWSResponse(request.url, 503 if len(said) < 3 else 200, headers, Body())

    config = {"retries": {"total_max_attempts": 3, "mode": "standard"}, "read_timeout": 10.0}
    async with client_of(config=config) as client:
        client.meta.events.register("before-send.sqs", answer)
        await client.delete_message_batch(QueueUrl=URL, **OPERATIONS["DeleteMessageBatch"])
    answered_at = 1_795_837_260.0 if date and date[-1] == "T" else None
    assert said == [FIRST_ATTEMPT, *(later_attempt(attempt, 3, answered_at, 10.0) for attempt in (2, 3))]


async def test_where_botocore_fails_an_app_still_opens_and_each_call_fails(caplog):
    def fail(**_):
        raise OSError("canary-7f3a")

    caplog.set_level("INFO", logger="dawdle")
    async with client_of() as client:
        client.meta.events.register("before-call.sqs", fail)
        assert await learn_template(client, URL) is None
    assert "are made by botocore alone: it raised OSError" in caplog.text
    assert "canary" not in caplog.text
