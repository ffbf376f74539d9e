"""The library panel that lays the normal band over an expression on a dashboard of your own."""

from __future__ import annotations

import json
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from boards.band import band
from boards.parts import EXPLORER, SOURCE, link

# The example of the README; whoever uses the panel puts their own in.
_EXPRESSION = 'job:checkout_latency:p99{job="checkout"}'
_SELECTOR = 'signal="checkout_latency",job="checkout"'
# A dashboard of yours need not have our variable; this is the uid in grafana/provisioning.
_SOURCE_UID = "prometheus"


def overlay() -> dict[str, Any]:
    """Return the library element, as Grafana's API takes it."""
    panel = band(
        "Checkout latency and what is normal for it",
        "Replace the expression of query A, and signal and job in the others.",
        _SELECTOR,
        observed=_EXPRESSION,
    )
    text = json.dumps(panel.build(), cls=JSONEncoder)
    model = json.loads(text.replace(str(SOURCE.uid), _SOURCE_UID))
    model["links"] = [
        {
            "title": "Signal explorer",
            "type": "link",
            "url": link(EXPLORER, signal="checkout_latency", job="checkout").replace(
                "${datasource:queryparam}&", ""
            ),
        }
    ]
    return {"name": "Normal band", "uid": "anomaly-band", "kind": 1, "model": model}
