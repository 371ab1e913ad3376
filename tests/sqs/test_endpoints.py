"""Where requests go and which region signs them: for every host of AWS that botocore knows, and by its own settings."""

import pytest
from aiobotocore.session import get_session
from botocore.config import Config
from botocore.exceptions import EndpointVariantError
from botocore.session import Session

from dawdle.abc import Outgoing
from dawdle.backends.sqs import SQS
from dawdle.backends.sqs._endpoint import Endpoint, resolve_endpoint
from dawdle.backends.sqs._queue_address import QueueAddress
from dawdle.errors import BackendError, ConfigurationError

pytestmark = pytest.mark.anyio

AWS = "https://sqs.eu-central-1.amazonaws.com/1/orders"
LOCAL = "http://sqs.us-east-1.localhost.localstack.cloud:4566"


def endpoint_of(url, region=None, endpoint=None):
    return resolve_endpoint(QueueAddress.checked(url, region, endpoint), get_session())


@pytest.fixture(autouse=True)
def no_region(credentials, monkeypatch):
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("url", "region", "endpoint"),
    [
        (AWS, "eu-central-1", None),
        ("https://eu-west-1.queue.amazonaws.com/1/q", "eu-west-1", None),
        ("https://queue.amazonaws.com/1/q", "us-east-1", None),
        ("https://sqs.cn-north-1.amazonaws.com.cn/1/q", "cn-north-1", None),
        ("https://sqs.us-gov-west-1.amazonaws.com/1/q", "us-gov-west-1", None),
        ("https://sqs.us-iso-east-1.c2s.ic.gov/1/q", "us-iso-east-1", None),
        ("https://sqs.us-isob-east-1.sc2s.sgov.gov/1/q", "us-isob-east-1", None),
        ("https://sqs.eu-nowhere-9.amazonaws.com/1/q", "eu-nowhere-9", None),
        ("https://sqs-fips.us-east-1.amazonaws.com/1/q", "us-east-1", "https://sqs-fips.us-east-1.amazonaws.com"),
        ("https://sqs.us-east-1.api.aws/1/q", "us-east-1", "https://sqs.us-east-1.api.aws"),
        ("https://sqs-fips.us-east-1.api.aws/1/q", "us-east-1", "https://sqs-fips.us-east-1.api.aws"),
        (
            "https://sqs.cn-north-1.api.amazonwebservices.com.cn/1/q",
            "cn-north-1",
            "https://sqs.cn-north-1.api.amazonwebservices.com.cn",
        ),
        (
            "https://vpce-0a1b-2c3d.sqs.us-east-2.vpce.amazonaws.com/1/q",
            "us-east-2",
            "https://vpce-0a1b-2c3d.sqs.us-east-2.vpce.amazonaws.com",
        ),
        (
            "https://vpce-0a1b-eu-west-1a.sqs.eu-west-1.vpce.amazonaws.com:8443/1/q",
            "eu-west-1",
            "https://vpce-0a1b-eu-west-1a.sqs.eu-west-1.vpce.amazonaws.com:8443",
        ),
        ("https://sqs.eu-west-1.amazonaws.com:8443/1/q", "eu-west-1", "https://sqs.eu-west-1.amazonaws.com:8443"),
        ("http://localhost:9324/000000000000/q", None, "http://localhost:9324"),
        (
            "https://sqs.eu-west-1.amazonaws.com.example.org/1/q",
            None,
            "https://sqs.eu-west-1.amazonaws.com.example.org",
        ),
        ("https://s3.eu-west-1.amazonaws.com/1/q", None, "https://s3.eu-west-1.amazonaws.com"),
    ],
)
def test_a_url_says_its_region_and_where_requests_go(url, region, endpoint):
    assert endpoint_of(url) == Endpoint(region, endpoint)


def test_a_partition_that_this_botocore_knows_needs_nothing_of_ours():
    partitions = Session().get_component("data_loader").load_data("partitions")["partitions"]
    if not any(each["id"] == "aws-eusc" for each in partitions):
        pytest.skip("the sovereign cloud of Europe came with a later botocore")
    assert endpoint_of("https://sqs.eusc-de-east-1.amazonaws.eu/1/q") == Endpoint("eusc-de-east-1", None)


def regions():
    """Return two regions of each partition that botocore knows."""
    session = Session()
    data = session.get_component("data_loader").load_data("partitions")
    for partition in data["partitions"]:
        yield from [each for each in partition["regions"] if not each.endswith("-global")][:2]


@pytest.mark.slow
@pytest.mark.parametrize("variant", [{}, {"use_fips_endpoint": True}, {"use_dualstack_endpoint": True}], ids=str)
def test_every_host_that_botocore_itself_would_choose_is_understood(variant):
    session = Session()
    for region in regions():
        options = {"region_name": region, "aws_access_key_id": "x", "aws_secret_access_key": "x"}
        try:
            chosen = session.create_client("sqs", config=Config(**variant), **options).meta.endpoint_url
        except EndpointVariantError:
            continue  # the region has none
        found = endpoint_of(f"{chosen}/123456789012/orders")
        assert found.region == region, chosen
        goes_to = session.create_client("sqs", endpoint_url=found.url, **options).meta.endpoint_url
        assert goes_to == chosen


@pytest.fixture
def configure(tmp_path, monkeypatch):
    """Write the config file of AWS."""

    def write(text):
        path = tmp_path / "config"
        path.write_text(text)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(path))

    return write


SERVICES = "[default]\nservices = here\n[services here]\nsqs =\n  endpoint_url = {}\n"
PLAIN = "[default]\nendpoint_url = {}\n"
VPC = "https://vpce-0a1b.sqs.us-east-1.vpce.amazonaws.com/1/q"


@pytest.mark.parametrize("url", [AWS, VPC, f"{LOCAL}/000000000000/orders"])
@pytest.mark.parametrize("setting", ["AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL", SERVICES, PLAIN])
def test_where_botocores_settings_say_an_endpoint_it_is_left_to_botocore(monkeypatch, configure, url, setting):
    if setting.startswith("AWS_"):
        monkeypatch.setenv(setting, "http://localhost:4566")
    else:
        configure(setting.format("http://localhost:4566"))
    assert endpoint_of(url).url is None
    assert endpoint_of(url, endpoint="http://localhost:1").url == "http://localhost:1"
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    assert endpoint_of(url).url == {AWS: None, VPC: VPC.removesuffix("/1/q")}.get(url, LOCAL)


def test_what_is_told_wins_over_the_url():
    assert endpoint_of(AWS, "us-east-1", "http://localhost:1") == Endpoint("us-east-1", "http://localhost:1")


@pytest.mark.parametrize(
    ("url", "region", "endpoint"),
    [
        (AWS, "eu-central-1", None),
        (LOCAL + "/1/q", None, LOCAL),
        ("http://127.0.0.1:1/1/q", None, "http://127.0.0.1:1"),
    ],
)
def test_another_client_is_told_where_the_queue_is(url, region, endpoint):
    arguments = SQS(url).client_arguments()
    assert arguments == {"region_name": region, "endpoint_url": endpoint}
    given = SQS(url, region="eu-central-1", endpoint_url="http://127.0.0.1:2").client_arguments()
    assert given == {"region_name": "eu-central-1", "endpoint_url": "http://127.0.0.1:2"}


async def test_requests_go_where_the_config_file_says(server, configure, monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    configure(SERVICES.format(server.queue_url("orders").removesuffix("/000000000000/orders")))
    async with SQS("http://queue.invalid:1/000000000000/orders") as queue:
        assert await queue.send([Outgoing(b"one")]) == [None]
    assert len(server.queue("orders")) == 1


async def test_requests_go_where_the_url_says_when_settings_are_to_be_ignored(server, monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    async with SQS(server.queue_url("orders")) as queue:
        assert await queue.send([Outgoing(b"one")]) == [None]
    assert len(server.queue("orders")) == 1


async def test_a_services_section_that_is_not_there_is_named(configure):
    configure("[default]\nservices = nowhere\n")
    with pytest.raises(BackendError, match='"nowhere" services configuration does not exist'):
        async with SQS("http://localhost:9324/000000000000/orders", region="us-east-1"):
            pass


async def test_a_region_that_is_not_the_urls_is_an_error_before_the_first_call(monkeypatch):
    monkeypatch.setenv("DAWDLE_SQS_REGION", "us-east-1")
    with pytest.raises(ConfigurationError, match="the region is 'us-east-1', but .* is a queue in eu-central-1: leave"):
        async with SQS(AWS):
            pass
    assert endpoint_of(AWS, "us-east-1", "http://localhost:1").region == "us-east-1"
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", "http://localhost:4566")
    assert endpoint_of(AWS, "us-east-1").region == "us-east-1"
