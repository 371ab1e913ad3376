"""Which kind of no it was, and that its text gives nothing away."""

import ssl
import traceback

import botocore.session
import pytest
from botocore.exceptions import ClientError, CredentialRetrievalError, ParamValidationError, SSLError

from dawdle.backends.sqs._error_codes import STALE_CREDENTIALS, fault_kind_of
from dawdle.backends.sqs._errors import has_stale_credentials, safe_cause, to_backend_error, to_fault
from dawdle.errors import BackendError

CANARY = "canary-7f3a"


def answered(code, status, message=""):
    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "ReceiveMessage")


def told(error):
    """Return all that is ever printed of an error, its causes included."""
    try:
        raise to_backend_error(error, "ReceiveMessage on q", uncertain=False) from safe_cause(error)
    except BackendError as raised:
        return "".join(traceback.format_exception(raised)) + repr(raised)


def test_every_error_of_the_service_model_has_a_kind():
    model = botocore.session.get_session().get_service_model("sqs")
    kinds = {shape.name: fault_kind_of(shape.name) for shape in model.error_shapes}
    assert len(kinds) > 20
    assert None not in kinds.values(), kinds
    kms = {name: kind for name, kind in kinds.items() if name.startswith("Kms")}
    assert {name for name, kind in kms.items() if kind != "denied"} == {"KmsThrottled"}
    assert kinds["KmsThrottled"] == kinds["OverLimit"] == kinds["RequestThrottled"] == "throttled"
    assert {name for name, kind in kinds.items() if kind == "lost"} == {"MessageNotInflight", "ReceiptHandleIsInvalid"}
    assert {name for name, kind in kinds.items() if kind == "missing"} == {
        "QueueDeletedRecently",
        "QueueDoesNotExist",
        "ResourceNotFoundException",
    }


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("AWS.SimpleQueueService.NonExistentQueue", 400, "missing"),
        ("com.amazonaws.sqs#QueueDoesNotExist", 400, "missing"),
        ("RequestThrottled", 403, "throttled"),
        ("InvalidAddress", 404, "refused"),
        ("AWS.SimpleQueueService.UnsupportedOperation", 400, "refused"),
        ("ReadCountOutOfRange", 400, "refused"),
        ("InvalidAction", 400, "refused"),
        ("AccessDeniedException", 400, "denied"),
        ("SignatureDoesNotMatch", 403, "denied"),
        ("InternalError", 500, "unavailable"),
        ("ServiceUnavailable", 503, "unavailable"),
        ("RequestTimeout", 408, "unavailable"),
        ("SomethingOf2031", 400, "unavailable"),
        ("SomethingOf2031", 429, "throttled"),
        ("Unknown", 300, "unavailable"),
        ("", 403, "unavailable"),
        ("404", 404, "unavailable"),
        ("413", 413, "unavailable"),
        ("429", 429, "throttled"),
        ("502", 502, "unavailable"),
    ],
)
def test_only_what_is_known_to_be_ours_is_refused(code, status, kind):
    assert to_backend_error(answered(code, status), "x", uncertain=False).kind == kind


def test_only_credentials_that_are_no_good_any_more_are_stale():
    assert all(fault_kind_of(code) == "denied" for code in STALE_CREDENTIALS)
    assert has_stale_credentials(answered("com.amazon.coral.service#ExpiredTokenException", 400))
    for code in ("AccessDenied", "AccessDeniedException", "KmsAccessDenied", "RequestThrottled", "403", ""):
        assert not has_stale_credentials(answered(code, 403))
    assert has_stale_credentials(
        RuntimeError("Credentials were refreshed, but the refreshed credentials are still expired.")
    )
    assert not has_stale_credentials(RuntimeError("Session is closed"))


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (f"Value {CANARY} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.", "lost"),
        (
            f"Value {CANARY} for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not …",
            "lost",
        ),
        (
            "Value 9 for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout is beyond the limit.",
            "refused",
        ),
        (
            f"Value for parameter ReceiptHandle is invalid. Reason: {CANARY} for parameter Body is invalid. Reason: No",
            "refused",
        ),
        (f"{CANARY}", "refused"),
    ],
)
def test_a_handle_that_was_good_once_is_lost_and_what_sqs_repeats_of_ours_is_not_shown(message, kind):
    fault = to_fault("InvalidParameterValue", message, True)
    assert fault.kind == kind
    assert CANARY not in repr(fault)
    error = answered("InvalidParameterValue", 400, message)
    assert to_backend_error(error, "x", uncertain=False).kind == kind
    assert CANARY not in told(error)
    if "Reason: " in message:
        assert message.rpartition("Reason: ")[2] in told(error)


def test_of_an_unknown_code_in_a_batch_sqs_says_whose_fault_it_is():
    assert to_fault("Odd", None, True).kind == "refused"
    assert to_fault("Odd", None, False).kind == "unavailable"
    assert to_fault("", None, None).kind == "unavailable"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (answered("SignatureDoesNotMatch", 403, f"x-amz-security-token:{CANARY}"), "denied"),
        (answered("IncompleteSignature", 403, f"Authorization=AWS4-HMAC-SHA256 Credential={CANARY}"), "denied"),
        (answered("ValidationException", 400, f"Value '{CANARY}' at 'messageBody'"), "refused"),
        (answered("ReceiptHandleIsInvalid", 404, f"The handle {CANARY} is not valid"), "lost"),
        (answered("InternalError", 500, f"could not store {CANARY}"), "unavailable"),
        (answered("403", 403, f"<html>you sent {CANARY}</html>"), "unavailable"),
        (answered(f"<{CANARY}>", 403), "unavailable"),
        (ParamValidationError(report=f"Invalid type for parameter Body, value: {CANARY}"), "refused"),
        (CredentialRetrievalError(provider="custom-process", error_msg=f"secret {CANARY}"), "denied"),
        (
            SSLError(endpoint_url=f"https://me:{CANARY}@h/", error=ssl.SSLCertVerificationError("expired")),
            "unavailable",
        ),
        (KeyError(CANARY), "unavailable"),
        (OSError(f"https://me:{CANARY}@h/"), "unavailable"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_no_text_gives_away_what_it_was_told(error, kind):
    assert to_backend_error(error, "x", uncertain=False).kind == kind
    assert CANARY not in told(error)


def test_what_gives_nothing_away_is_shown_with_its_cause():
    error = answered(
        "AccessDenied", 403, "User: arn:aws:iam::1:user/x is not authorized to perform: sqs:ReceiveMessage"
    )
    assert "is not authorized to perform: sqs:ReceiveMessage" in str(to_backend_error(error, "x", uncertain=False))
    assert safe_cause(error) is error
    error = CredentialRetrievalError(provider="custom-process", error_msg="x")
    assert str(to_backend_error(error, "x", uncertain=False)) == "CredentialRetrievalError from custom-process (x)"


def test_an_error_that_nobody_expected_says_where_it_comes_from():
    with pytest.raises(KeyError) as caught:
        raise KeyError(CANARY)
    assert f"KeyError in {__name__}, line " in str(to_backend_error(caught.value, "x", uncertain=False))
