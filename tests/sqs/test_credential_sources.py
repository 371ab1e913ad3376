"""Wherever botocore finds credentials, SQS gets requests that are signed with them: each kind of source once."""

import asyncio
import hashlib
import json
import re

import pytest
from botocore.credentials import SSOProvider

from dawdle.abc import Outgoing
from dawdle.backends.sqs import SQS

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

EXPIRES = "2099-01-01T00:00:00Z"
STS = (
    '<{0}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{0}Result><Credentials>'
    "<AccessKeyId>{1}</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>{2}</SessionToken>"
    f"<Expiration>{EXPIRES}</Expiration></Credentials></{{0}}Result></{{0}}Response>"
)
KEY, TOKEN = "ASIATEMPORARY", "token/of+a=role"


class Server:
    """STS, SSO, the metadata services, and an SQS that notes who signed what it got."""

    def __init__(self):
        self.signed_by = []
        self.asked = []

    def answer(self, method, path, headers, body):
        keys = {"AccessKeyId": KEY, "SecretAccessKey": "secret", "Token": TOKEN, "Expiration": EXPIRES}
        if "x-amz-target" in headers:
            key, names = re.search(r"Credential=(\w+)/.*SignedHeaders=([\w;-]+)", headers["authorization"]).groups()
            token = headers.get("x-amz-security-token")
            assert (token is not None) == ("x-amz-security-token" in names.split(";"))
            self.signed_by.append((key, token))
            entries = json.loads(body).get("Entries", [])
            return json.dumps({"Successful": [{"Id": entry["Id"]} for entry in entries]} if entries else {})
        self.asked.append(f"{method} {path}")
        if action := re.search(r"Action=(\w+)", body):
            self.asked.append(action[1])
            return STS.format(action[1], KEY, TOKEN)
        if path.startswith("/federation/credentials"):
            sso = {"accessKeyId": KEY, "secretAccessKey": "secret", "sessionToken": TOKEN, "expiration": 4070908800000}
            return json.dumps({"roleCredentials": sso})
        if path == "/container":
            assert headers["authorization"] == "pod token"
            return json.dumps(keys)
        if path == "/latest/api/token":
            return "metadata token"
        if path.endswith("/security-credentials/"):
            return "worker"
        assert path.endswith("/security-credentials/worker")
        return json.dumps({"Code": "Success", "LastUpdated": "2026-01-01T00:00:00Z", **keys})

    async def serve(self, reader, writer):
        try:
            line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
            headers = {name.lower(): value for name, value in (each.split(": ", 1) for each in lines)}
            body = (await reader.readexactly(int(headers.get("content-length", 0)))).decode()
            method, path, _ = line.split(" ")
            text = self.answer(method, path, headers, body).encode()
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n".encode() + text)
            await writer.drain()
        finally:
            writer.close()


@pytest.fixture
async def server(monkeypatch):
    server = Server()
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        for service in ("STS", "SSO"):
            monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", server.url)
        yield server


@pytest.fixture
def config(credentials, monkeypatch, tmp_path):
    """Write the config file of AWS. Without that there is none, and there are no credentials either."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    def write(text):
        (tmp_path / "config").write_text(text)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))

    return write


@pytest.fixture(params=[None, "aiobotocore"])
def use(request):
    return lambda server: calls_of(server, request.param)


async def calls_of(server, client):
    """Make one call of each kind, on a queue that is opened for it."""
    async with SQS(f"{server.url}/123456789012/orders", wait=0, client=client) as queue:
        assert await queue.send([Outgoing(b"one")]) == [None]
        assert await queue.receive(1, 0) == []
        assert await queue.ack(["receipt"]) == [None]
        assert await queue.renew(["receipt"]) == [None]
    return server.signed_by


async def test_keys_in_the_environment(server, use, config, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert await use(server) == [("AKIAENVIRONMENT", None)] * 4


async def test_a_session_token_in_the_environment(server, use, config, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    assert await use(server) == [(KEY, TOKEN)] * 4


async def test_a_profile(server, use, config, monkeypatch):
    config("[profile shop]\naws_access_key_id = AKIAPROFILE\naws_secret_access_key = secret\n")
    monkeypatch.setenv("AWS_PROFILE", "shop")
    assert await use(server) == [("AKIAPROFILE", None)] * 4


async def test_an_assumed_role(server, use, config):
    config(
        "[default]\nrole_arn = arn:aws:iam::123456789012:role/worker\nsource_profile = keys\n"
        "[profile keys]\naws_access_key_id = AKIAKEYS\naws_secret_access_key = secret\n"
    )
    assert await use(server) == [(KEY, TOKEN)] * 4
    assert server.asked == ["POST /", "AssumeRole"]


async def test_a_role_of_a_service_account(server, use, config, monkeypatch, tmp_path):
    """IRSA on EKS: a web identity token in a file."""
    (tmp_path / "token").write_text("web identity")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/worker")
    assert await use(server) == [(KEY, TOKEN)] * 4
    assert server.asked == ["POST /", "AssumeRoleWithWebIdentity"]


async def test_a_single_sign_on(server, use, config, monkeypatch, tmp_path):
    start = "https://shop.awsapps.com/start"
    config(
        f"[default]\nsso_start_url = {start}\nsso_region = us-east-1\n"
        "sso_account_id = 123456789012\nsso_role_name = worker\n"
    )
    monkeypatch.setattr(SSOProvider, "_SSO_TOKEN_CACHE_DIR", str(tmp_path))  # it looks for the home when it is imported
    name = hashlib.sha1(start.encode()).hexdigest()
    (tmp_path / f"{name}.json").write_text(json.dumps({"accessToken": "sso token", "expiresAt": EXPIRES}))
    assert await use(server) == [(KEY, TOKEN)] * 4
    assert [each.partition("?")[0] for each in server.asked] == ["GET /federation/credentials"]


async def test_a_container(server, use, config, monkeypatch):
    """ECS, and Pod Identity on EKS."""
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{server.url}/container")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "pod token")
    assert await use(server) == [(KEY, TOKEN)] * 4
    assert server.asked == ["GET /container"]


async def test_an_instance(server, use, config, monkeypatch):
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"{server.url}/")
    assert await use(server) == [(KEY, TOKEN)] * 4
    assert "PUT /latest/api/token" in server.asked


async def test_a_program(server, use, config, tmp_path):
    program = tmp_path / "credentials.sh"
    keys = {"Version": 1, "AccessKeyId": KEY, "SecretAccessKey": "secret", "SessionToken": TOKEN, "Expiration": EXPIRES}
    program.write_text(f"#!/bin/sh\necho '{json.dumps(keys)}'\n")
    program.chmod(0o700)
    config(f"[default]\ncredential_process = {program}\n")
    assert await use(server) == [(KEY, TOKEN)] * 4
