"""The example message log among the documents: what its import says, and what the refunds end as."""

import pytest

PROMISED = {
    "mho1623985552430": ("easylink", "success", []),
    "mho1624007315478": ("easylink", "success", []),
    "mho1624009000001": ("easylink", "closed", ["overdue"]),
    "mho1624009200002": ("easylink", "failed", []),
    "cr-1001": ("evocloud", "success", []),
    "cr-1002": ("evocloud", "success", []),
    "cr-1003": ("evocloud", "success", ["conflict"]),
    "cr-1004": ("evocloud", "created", ["in_doubt"]),
    "s22tring": ("bbmsl", "success", []),
    "s23tring": ("bbmsl", "success", ["contradicted"]),
    "refund_25072": ("evonet", "received", ["mismatch"]),
    "refund_25073": ("evonet", "success", []),
    "refund_25074": ("evonet", "success", []),
    "refund_25075": ("evonet", "received", ["unrecognised"]),
}


@pytest.fixture
def told(run, log_file):
    return run("ingest", log_file, "--db", "new.db")


def test_its_import_tells_of_the_line_that_cannot_be_used(told):
    assert told.code == 1
    assert "line 23: bbmsl message cannot be read" in told.err + told.out
    assert "41 lines: 37 recorded, 1 known already, 2 orphaned, 0 quarantined, 1 unusable" in told.out


def test_its_refunds_end_as_promised(told, run):
    listed = run("list", "--json", "--db", "new.db").json
    assert {
        each["refund_id"]: (each["gateway"], each["state"], each["attention"]) for each in listed
    } == PROMISED


def test_importing_it_again_changes_nothing(told, run, log_file):
    before = run("list", "--json", "--db", "new.db").out
    assert "41 lines: 0 recorded, 40 known already" in run("ingest", log_file, "--db", "new.db").out
    assert run("list", "--json", "--db", "new.db").out == before


@pytest.mark.parametrize("gateway", [b'"evocloud"', b'"evonet"', b'"bbmsl"', b'"easylink"'])
def test_every_gateway_has_a_part(log_file, gateway):
    assert sum(gateway in line for line in log_file.read_bytes().splitlines()) > 3
