"""Loaded by schemathesis; see api_contract.py."""

import schemathesis

WAITING = {"acquireLock", "campaign", "observeElection"}
HEADER = "Quorate-Timeout-Ms"
LONGEST_MS = 60_000
ENOUGH_MS = 300


@schemathesis.hook
def before_call(context, case, kwargs):
    """Who waits for a lock waits for as long as the request allows: a valid time is cut short, any other is sent."""
    if case.operation.definition.raw.get("operationId") not in WAITING:
        return
    asked = str(case.headers.get(HEADER, LONGEST_MS))
    if asked.isdigit() and ENOUGH_MS < int(asked) <= LONGEST_MS:
        case.headers[HEADER] = str(ENOUGH_MS)


@schemathesis.hook
def filter_case(context, case):
    """The cluster's own keyspace, of which the tool learns from the list, takes no writes: no schema says so."""
    return case.method in ("GET", "HEAD") or case.path_parameters.get("keyspace") != "meta"
