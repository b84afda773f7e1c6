"""The recorded table of the client matrix has every client and every feature, described as the code describes them."""

from __future__ import annotations

import json

from tests.clients_matrix import results
from tests.clients_matrix.clients import CLIENTS, DRIVERS
from tests.clients_matrix.environments import ENVIRONMENTS
from tests.clients_matrix.features import FEATURES
from tests.clients_matrix.matrix import MODES


def test_the_table_has_every_client_with_its_versions_and_its_setting() -> None:
    recorded = {name: {**row, "cells": None} for name, row in results.read().items()}

    assert recorded == {name: {**results.described(name), "cells": None} for name in CLIENTS}


def test_the_table_has_every_feature_of_every_client_in_both_modes() -> None:
    cases = {(feature, mode) for feature in FEATURES for mode in MODES}

    for name, row in results.read().items():
        assert {(feature, mode) for feature, modes in row["cells"].items() for mode in modes} == cases, name


def test_the_table_describes_the_features_as_the_code_does() -> None:
    assert json.loads(results.FILE.read_text(encoding="utf-8"))["features"] == results.features()


def test_every_driver_and_every_environment_is_used() -> None:
    assert all((DRIVERS / client.driver).is_file() for client in CLIENTS.values())
    assert {client.environment.name for client in CLIENTS.values()} == set(ENVIRONMENTS)
