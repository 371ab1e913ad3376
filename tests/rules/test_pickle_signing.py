"""The signature of a pickled call covers all of it, and only a key that is known makes one."""

from hypothesis import given
from hypothesis import strategies as st

from dawdle._rules.pickle_signing import PickleSigner

KEY, OTHER = b"k" * 16, b"o" * 16
CALLS = st.tuples(st.text(max_size=5), st.text(max_size=5), st.text(max_size=5), st.binary(max_size=9))


@given(CALLS, CALLS)
def test_a_signature_fits_its_call_and_no_other(call, other):
    signer = PickleSigner(KEY, [])
    signature = signer.sign(*call)
    assert signer.accepts(signature, *call)
    assert signer.accepts(signature, *other) == (call == other)


@given(CALLS, st.binary(max_size=40))
def test_only_the_key_and_the_old_keys_make_a_signature(call, forged):
    new, old = PickleSigner(KEY, [OTHER]), PickleSigner(OTHER, [])
    assert new.accepts(old.sign(*call), *call)
    assert not old.accepts(new.sign(*call), *call)
    assert not new.accepts(forged, *call)
    assert new.sign(*call) == PickleSigner(KEY.decode(), [OTHER]).sign(*call)
