"""Texts as the formats write them, and names as they allow them."""

import json
import re

__all__ = ["hcl_text", "logical_id", "yaml_text"]


def hcl_text(text: str) -> str:
    """Return a text as HCL writes it: as JSON does, and without templates."""
    return json.dumps(text, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")


def yaml_text(text: str) -> str:
    """Return a text as YAML writes it, quoted: `no`, `1e3` and `a: b` stay texts."""
    return json.dumps(text, ensure_ascii=False)


def logical_id(name: str) -> str:
    """Return a queue's name in letters and digits alone, a letter first: `orders-dead.fifo` is `OrdersDeadFifo`."""
    joined = "".join(word[:1].upper() + word[1:] for word in re.split(r"[^A-Za-z0-9]+", name))
    return joined if joined[:1].isalpha() else f"Queue{joined}"
